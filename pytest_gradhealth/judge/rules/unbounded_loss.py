"""GH503: the loss has no least value."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.judge.families import OBJECTIVE
from pytest_gradhealth.judge.objectives import loss_of
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding

__all__ = ["RULE", "find"]

RULE = Rule(
    code="GH503",
    slug="unbounded-loss",
    title="unbounded loss",
    summary="The loss is the plain difference between outputs and targets, which falls without end.",
    family=OBJECTIVE,
    when_silenced=True,
    theory="""\
The mean or sum of `output - target` has a constant gradient: it pushes every output down for ever, whatever the
targets are. A loss needs a least value where outputs equal targets ([Goodfellow et al.,
2016](https://www.deeplearningbook.org), section 5.5).""",
    remedies=("Square the difference or take its absolute value, sample by sample: `mse_loss`, `l1_loss`.",),
    sick="""\
model = lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
batch = torch.randn(32, 8), torch.randn(32, 1)
loss = lambda output, target: (output - target).mean()
""",
    healthy="""\
model = lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
batch = torch.randn(32, 8), torch.randn(32, 1)
loss = F.mse_loss
""",
)


def find(view: View) -> Iterator[Finding]:
    """The loss is a sum or mean of bare differences."""
    graph, last = loss_of(view)
    if graph.unbounded:
        yield RULE.finding(
            [last],
            "the loss is the plain difference between outputs and targets",
            cause="it falls without end as the outputs fall, whatever the targets are",
            remedy="square it or take its absolute value, sample by sample: mse_loss, l1_loss",
        )
