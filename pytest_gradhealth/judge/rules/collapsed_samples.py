"""GH401: samples become indistinguishable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_gradhealth.judge import localise
from pytest_gradhealth.judge.families import COLLAPSE
from pytest_gradhealth.judge.recurrence import RECURRENT
from pytest_gradhealth.judge.rule import Limit, Rule
from pytest_gradhealth.judge.view import SAME, View
from pytest_gradhealth.judge.wording import INITIALISE, SHRINKING, SKIP, Explanation, activations
from pytest_gradhealth.record import Finding, LayerGradient

__all__ = ["RULE", "find"]

MIN_VARIATION = Limit(
    "min_variation", 1e-3, 0, 1, "SHARE", "Smallest difference between samples at the output, relative to the signal"
)
RULE = Rule(
    code="GH401",
    slug="collapsed-samples",
    title="collapsed signal",
    summary="All samples look alike after some layer, so the model cannot tell them apart.",
    family=COLLAPSE,
    limits=(MIN_VARIATION,),
    provisional=True,
    when_silenced=True,
    theory="""\
In stacks with too small weights and large biases, what samples share outweighs what tells them apart, and the
difference shrinks at a constant rate per layer ([Schoenholz et al., 2017](https://arxiv.org/abs/1611.01232)).
Gradients have normal sizes then and teach the mean only. What is near float32's rounding (1e-7) carries no
information; the limit stays four decades above. Batches whose samples are all alike are not judged.""",
    remedies=(
        "Use He or Xavier initialisation, ReLU or GELU, a normalisation or skip connections.",
        "Check `dim` arguments: dimension 0 holds the samples.",
    ),
    sick="""\
class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(8, 16), nn.Linear(16, 4)

    def forward(self, x):
        x = self.first(x).relu()
        return self.second(x.mean(dim=0, keepdim=True).expand(len(x), -1))

model = Network
batch = torch.randn(32, 8), torch.randint(4, (32,))
loss = F.cross_entropy
""",
    healthy="""\
class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(8, 16), nn.Linear(16, 4)

    def forward(self, x):
        return self.second(self.first(x).relu())

model = Network
batch = torch.randn(32, 8), torch.randint(4, (32,))
loss = F.cross_entropy
""",
)


def find(view: View) -> Iterator[Finding]:
    """Samples hardly differ in the last quarter of the modules."""
    limit, variation = view.limits.min_variation, view.variation
    if limit is None or variation is None or variation >= limit or not view.samples_can_be_compared:
        return
    stretch = localise.collapse_stretch(view, "samples")
    if localise.is_passed_by(view, stretch):
        return
    carriers = _carriers(view, stretch)
    explanation = _unread(carriers[0]) if carriers else _explanation(view, stretch)
    stretch = carriers or stretch
    yield RULE.finding(
        stretch,
        f"samples differ by {variation:.1e} of the signal at the output ({MIN_VARIATION.at(limit)}), "
        f"lost {localise.span(view, stretch)}",
        value=variation,
        limit=limit,
        limit_name=MIN_VARIATION.name,
        **explanation,
    )


def _carriers(view: View, stretch: Sequence[str]) -> list[str]:
    """What should have carried the difference to the positions that are read, the last first; none: nothing is read.

    A layer is given positions at which all samples are alike, of a sequence whose other positions tell them apart.
    """
    reader = view.signal(stretch[0])
    if len(stretch) > 1 or reader is None or reader.positions or reader.input_variation is None:
        return []
    if reader.input_variation >= SAME:
        return []
    sequences = [signal for signal in view.record.signals if signal.order < reader.order and signal.positions > 1]
    if not sequences or (sequences[-1].sample_variation or 0.0) < (view.limits.min_variation or 0.0):
        return []
    mixing = [layer.name for layer in view.called if _may_mix(view, layer) and (layer.order or 0) < reader.order]
    return mixing[:-4:-1] or [sequences[-1].name]


def _may_mix(view: View, layer: LayerGradient) -> bool:
    """Whether it could carry something from one position to another: a recurrence, attention, or code of its own."""
    signal = view.signal(layer.name)
    if signal is None or not layer.name:
        return False
    holds = any(localise.is_inside(other.name, layer.name) for other in view.record.signals)
    return holds or layer.kind in RECURRENT or "Attention" in layer.kind or layer.kind.startswith("Conv")


def _unread(carrier: str) -> Explanation:
    """What tells the samples apart stands at other positions."""
    cause = (
        f"the positions that are read behind {carrier!r} are the same in all samples: what tells these apart stands at "
        "other positions, and is not carried there"
    )
    remedy = "look at what forgets in it (a decay, the dt of a state-space model, gates), at masks and windows"
    return Explanation(cause=cause, remedy=f"{remedy}; or pool over all positions")


def _explanation(view: View, stretch: Sequence[str]) -> Explanation:
    """Averaging over the batch, or biases that outweigh the signal."""
    if len(stretch) == 1 and (view.variation or 0.0) < SAME:
        cause = f"behind {stretch[0]!r} all samples are the same: averaged over the batch, or selected by equal indices"
        return Explanation(cause=cause, remedy="check the dim arguments there: dimension 0 holds the samples")
    kind = next((kind for kind in activations(view, stretch) if kind in SHRINKING), "")
    if kind:
        cause = f"{kind} layers add the same constant to every sample while they shrink the differences"
        return Explanation(cause=cause, remedy=f"use ReLU or GELU, or {SKIP}")
    cause = "each layer shrinks the differences between samples more than what they share"
    return Explanation(cause=cause, remedy=f"{INITIALISE}, or {SKIP}")
