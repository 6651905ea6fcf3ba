"""GH513: a cross entropy all of whose targets are left out."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.judge.families import NON_FINITE
from pytest_gradhealth.judge.objectives import loss_of
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding

__all__ = ["RULE", "find"]

RULE = Rule(
    code="GH513",
    slug="ignored-targets",
    title="every target ignored",
    summary="Every target equals ignore_index, so there is nothing to learn from.",
    family=NON_FINITE,
    when_silenced=True,
    leads=True,
    theory="""\
`cross_entropy` leaves out targets that equal `ignore_index` (-100). Where that holds for all of them, it divides 0 by
0: the loss is NaN, and so is every gradient.""",
    remedies=(
        "Look at how the labels are masked: a prompt that fills the whole sequence, padding, a wrong `ignore_index`.",
        "Skip such batches, or use `reduction='sum'` and divide by the number of tokens that count.",
    ),
    sick="""\
model = lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
batch = torch.randn(8, 8), torch.full((8,), -100)
loss = F.cross_entropy
""",
    healthy="""\
model = lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
batch = torch.randn(8, 8), torch.tensor([0, 1, 2, -100, 0, 1, 2, -100])
loss = F.cross_entropy
""",
)


def find(view: View) -> Iterator[Finding]:
    """Where not one target counts."""
    seen, last = loss_of(view)
    if seen.ignored_targets >= 1:
        yield RULE.finding(
            [last],
            "every target of a cross entropy equals ignore_index: its mean is 0 / 0",
            cause="all labels are masked, as where a prompt or padding fills the whole sequence",
            remedy="check how labels are masked, and skip batches in which none is left",
        )
