"""GH508: the targets of a binary cross entropy are no probabilities."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.judge.families import OBJECTIVE
from pytest_gradhealth.judge.objectives import loss_of
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding

__all__ = ["RULE", "find"]

RULE = Rule(
    code="GH508",
    slug="targets-out-of-range",
    title="targets out of range",
    summary="The targets of a binary cross entropy lie outside 0 to 1, so the loss falls without end.",
    family=OBJECTIVE,
    when_silenced=True,
    theory="""\
A binary cross entropy has its least value where the output's probability equals the target. For a target of 255, or
of -1, there is no such output: the loss falls without end as the logits grow ([PyTorch:
BCEWithLogitsLoss](https://docs.pytorch.org/docs/stable/generated/torch.nn.BCEWithLogitsLoss.html)).""",
    remedies=("Scale the targets to 0..1, or use a loss for numbers of any size.",),
    sick="""\
model = lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
batch = torch.randn(32, 8), 2.0 * torch.randint(2, (32, 1)) - 1
loss = F.binary_cross_entropy_with_logits
""",
    healthy="""\
model = lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
batch = torch.randn(32, 8), torch.randint(2, (32, 1)).float()
loss = F.binary_cross_entropy_with_logits
""",
)

ROUNDING = 1e-3
"""What a probability in half precision may lie outside 0 to 1."""


def find(view: View) -> Iterator[Finding]:
    """A target lies outside 0 to 1."""
    graph, last = loss_of(view)
    if graph.target_excess > ROUNDING:
        yield RULE.finding(
            [last],
            f"the targets of a binary cross entropy lie up to {graph.target_excess:.3g} outside 0 to 1",
            value=graph.target_excess,
            cause="it expects probabilities; pixels of 0 to 255 or labels of -1 and 1 give it no least value",
            remedy="scale the targets to 0..1, or use a loss for numbers of any size",
        )
