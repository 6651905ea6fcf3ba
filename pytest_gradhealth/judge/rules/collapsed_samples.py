"""GH401: samples become indistinguishable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_gradhealth.judge import localise
from pytest_gradhealth.judge.families import COLLAPSE
from pytest_gradhealth.judge.rule import Limit, Rule
from pytest_gradhealth.judge.view import SAME, View
from pytest_gradhealth.judge.wording import INITIALISE, SHRINKING, SKIP, Explanation, activations
from pytest_gradhealth.record import Finding

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
    if not view.samples_differ or (view.record.samples or 0) < 2:
        return
    if limit is None or variation is None or variation >= limit:
        return
    stretch = localise.collapse_stretch(view, "samples")
    yield RULE.finding(
        stretch,
        f"samples differ by {variation:.1e} of the signal at the output ({MIN_VARIATION.at(limit)}), "
        f"lost {localise.span(view, stretch)}",
        value=variation,
        limit=limit,
        limit_name=MIN_VARIATION.name,
        **_explanation(view, stretch),
    )


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
