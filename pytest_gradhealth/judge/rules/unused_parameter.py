"""GH106: a trainable parameter takes no part in the loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_gradhealth.errors import counted
from pytest_gradhealth.judge import localise
from pytest_gradhealth.judge.families import MISSING
from pytest_gradhealth.judge.missing import unused_layers
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.judge.wording import Explanation, cut_by, named
from pytest_gradhealth.record import Finding, LayerGradient

__all__ = ["RULE", "find"]

RULE = Rule(
    code="GH106",
    slug="unused-parameter",
    title="unused parameter",
    summary="A trainable parameter never receives a gradient, because nothing on the way to the loss uses it.",
    family=MISSING,
    when_silenced=True,
    theory="""\
A layer that `forward` never calls, or whose result nothing uses, keeps its initial weights for ever, and PyTorch
reports no error: `.grad` stays `None`. The commonest case is a new head that is attached to a pretrained model
under the wrong attribute name. Modules that were left out side by side are one finding.""",
    remedies=("Call the layer and use its result in `forward`, or remove it.",),
    sick="""\
class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, x):
        return self.head(self.first(x).relu())

model = Network
batch = torch.randn(32, 8), torch.randint(4, (32,))
loss = F.cross_entropy
""",
    healthy="""\
class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, x):
        return self.head(self.second(self.first(x).relu()).relu())

model = Network
batch = torch.randn(32, 8), torch.randint(4, (32,))
loss = F.cross_entropy
""",
)

HELD = frozenset({"ParameterList", "ParameterDict"})
"""Modules that hold parameters and are never called."""


def find(view: View) -> Iterator[Finding]:
    """Trainable parameters without a gradient that no operation cut off."""
    for left_out, group in localise.families(view, unused_layers(view)):
        yield _left_out(view, left_out, group)


def _left_out(view: View, left_out: str, group: Sequence[LayerGradient]) -> Finding:
    first = group[0]
    single = len(group) == 1 and localise.is_alive(view, first)
    what = f"parameter {first.missing[0]!r} of {named(first.name)}" if single else repr(left_out)
    more = f" ({counted(len(group), 'layer')} in all)" if len(group) > 1 else ""
    return RULE.finding(
        [layer.name for layer in group],
        f"{what} never receives a gradient{more}",
        **_explanation(view, first, left_out),
    )


def _explanation(view: View, layer: LayerGradient, whole: str) -> Explanation:
    """Never called, or called for nothing; ``whole`` is the module that was left out with the layer."""
    name = named(layer.name)
    found = next((o for o in view.record.operations if o.detaches and layer.name in o.upstream), None)
    if found is not None:
        return cut_by(found)
    if layer.kind in HELD:
        cause = f"nothing on the way to the loss uses the parameters in {name}"
        return Explanation(cause=cause, remedy="use them in forward, remove them, or list the layer in ignore=[...]")
    if not view.record.signals:  # only what parameters receive is known
        cause = f"nothing that reaches the loss with a graph was computed with {name}"
        return Explanation(cause=cause, remedy="call it, use its output without detach(), or list it in ignore=[...]")
    if view.signal(layer.name) is None:
        left_out = whole if view.signal(whole) is None else layer.name
        cause = f"{left_out or 'the model'!r} is never called in the forward pass"
        return Explanation(cause=cause, remedy="call it, remove it from the model, or list it in ignore=[...]")
    if localise.is_alive(view, layer):
        cause = f"{name} runs, but does not use its parameters {', '.join(layer.missing)}, or detaches them"
        remedy = "use them in forward without .data or no_grad, remove them, or list the layer in ignore=[...]"
        return Explanation(cause=cause, remedy=remedy)
    cause = f"{name} is called, but its output reaches the loss detached, only by a choice (argmax), or not at all"
    return Explanation(cause=cause, remedy="use its output without detach() or argmax, or list it in ignore=[...]")
