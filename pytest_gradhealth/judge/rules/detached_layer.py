"""GH105: the graph ends between a layer and the loss."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.errors import counted
from pytest_gradhealth.judge import localise
from pytest_gradhealth.judge.families import MISSING
from pytest_gradhealth.judge.missing import cut_layers
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.judge.wording import Explanation, cut_by, located, named, place
from pytest_gradhealth.record import Finding, Operation

__all__ = ["RULE", "find"]

RULE = Rule(
    code="GH105",
    slug="detached-layer",
    title="detached layer",
    summary="An operation cuts the graph between a layer and the loss, so that the layer receives no gradient.",
    family=MISSING,
    when_silenced=True,
    theory="""\
No gradient is not a zero gradient: PyTorch leaves `.grad` at `None`. The model is traced once more, forward only,
to find the operation whose input has a graph and whose result has none: `detach`, `.data`, `no_grad`, `argmax`,
`item`, NumPy, a new tensor. The graph in front of it is walked back to the parameters, so that exactly those layers
are named, the last one first ([PyTorch: autograd
mechanics](https://docs.pytorch.org/docs/stable/notes/autograd.html)).""",
    remedies=(
        "Remove the operation that detaches, or freeze the layers in front of it with `requires_grad_(False)`.",
        "Replace a discrete choice by a soft one, or use a straight-through estimator.",
        "Replace `sample()` by `rsample()`, or train on the log-probability of the sample.",
    ),
    sick="""\
class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.head = nn.Linear(8, 16), nn.Linear(16, 4)

    def forward(self, x):
        return self.head(self.encoder(x).relu().detach())

model = Network
batch = torch.randn(32, 8), torch.randint(4, (32,))
loss = F.cross_entropy
""",
    healthy="""\
class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.head = nn.Linear(8, 16), nn.Linear(16, 4)

    def forward(self, x):
        return self.head(self.encoder(x).relu())

model = Network
batch = torch.randn(32, 8), torch.randint(4, (32,))
loss = F.cross_entropy
""",
)


def find(view: View) -> Iterator[Finding]:
    """Layers that were called and receive no gradient, although something behind them does."""
    cut = cut_layers(view)
    if not cut:
        return
    culprit = localise.cut_site(view, cut)
    names = [layer.name for layer in cut if layer.name != culprit]
    behind = f"; neither it nor {counted(len(names), 'other layer')} can learn" if names else "; it cannot learn"
    yield RULE.finding(
        [culprit, *names],
        f"no gradient reaches {_what(view, culprit)}{behind}",
        value=float(len(cut)),
        **_explanation(view, culprit),
    )


def _what(view: View, culprit: str) -> str:
    """The layer; of a module that holds others, its own parameters."""
    layer = view.record[culprit]
    if any(localise.is_inside(signal.name, culprit) for signal in view.record.signals):
        return f"{', '.join(map(repr, layer.missing))} of {named(culprit)}"
    return named(culprit)


def _explanation(view: View, culprit: str) -> Explanation:
    """The operation that ended the graph, with the line of code where it was seen."""
    found = _cutting(view, culprit)
    if found is not None and _is_code_book(view, culprit):
        told = Explanation(
            cause=f"{culprit!r} enters the loss by a choice (argmin) and a detach() alone{place(found)}, as a "
            "straight-through estimator has it",
            remedy="take its loss of the rows it gives, in front of the detach(): mse_loss(rows, encoded.detach())",
        )
        return located(told, found)
    signal = view.signal(culprit)
    if signal is not None and not signal.attached and (found is None or found.name == "no_grad"):
        if found is None:
            cause = f"{named(culprit)} runs under torch.no_grad(), in a reentrant checkpoint none of whose inputs "
            cause += "requires a gradient, or on detached weights"
            remedy = "remove no_grad there, use checkpoint(..., use_reentrant=False), or freeze the layer"
            return Explanation(cause=cause, remedy=remedy)
        cause = f"{named(culprit)} runs under torch.no_grad(){place(found)}, but its parameters are trainable"
        told = Explanation(cause=cause, remedy="remove no_grad there, or freeze the layer with requires_grad_(False)")
        return located(told, found)
    if found is not None:
        return cut_by(found)
    return Explanation(
        cause=f"the graph ends right behind {culprit!r}",
        remedy="look for detach(), .data, .item(), NumPy or an index such as argmax between it and the loss",
    )


def _cutting(view: View, culprit: str) -> Operation | None:
    signal = view.signal(culprit)
    order = -1 if signal is None else signal.order
    cutting = [operation for operation in view.record.operations if operation.detaches]
    exact = [operation for operation in cutting if culprit in operation.upstream]
    exact.sort(
        key=lambda operation: operation.name.endswith(".backward")
    )  # runs without a graph, and may still be right
    return next(iter(exact), None) or next((operation for operation in cutting if operation.order >= order), None)


def _is_code_book(view: View, culprit: str) -> bool:
    """Whether its rows are chosen by what they are, and are detached as well: a vector quantiser."""
    cutting = {o.name for o in view.record.operations if o.detaches and culprit in o.upstream}
    return not cutting.isdisjoint(("argmin", "argmax", "topk")) and "detach" in cutting
