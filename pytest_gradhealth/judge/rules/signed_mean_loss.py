"""GH504: errors are averaged before they are squared."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.judge.families import OBJECTIVE
from pytest_gradhealth.judge.objectives import loss_of
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding

__all__ = ["RULE", "find"]

RULE = Rule(
    code="GH504",
    slug="signed-mean-loss",
    title="cancelling errors",
    summary="Differences between outputs and targets are averaged before they are squared, so errors cancel.",
    family=OBJECTIVE,
    when_silenced=True,
    theory="""\
`(output - target).mean().square()` is zero as soon as the means agree: errors of opposite sign cancel, and only the
mean of the outputs is learnt. The mean squared error squares first ([Goodfellow et al.,
2016](https://www.deeplearningbook.org), section 5.1.4).""",
    remedies=("Square first: `(output - target).square().mean()`.",),
    sick="""\
model = lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
batch = torch.randn(32, 8), torch.randn(32, 1)
loss = lambda output, target: (output - target).mean().square()
""",
    healthy="""\
model = lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
batch = torch.randn(32, 8), torch.randn(32, 1)
loss = lambda output, target: (output - target).square().mean()
""",
)


def find(view: View) -> Iterator[Finding]:
    """Bare differences are summed up before they are squared or made positive."""
    graph, last = loss_of(view)
    if graph.signed_mean:
        yield RULE.finding(
            [last],
            "differences between outputs and targets are averaged before they are squared",
            cause="errors of opposite sign cancel, so only the mean of the outputs is learnt",
            remedy="square first: (output - target).square().mean()",
        )
