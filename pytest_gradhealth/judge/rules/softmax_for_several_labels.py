"""GH511: a softmax where several labels may hold at once."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.judge.families import OBJECTIVE
from pytest_gradhealth.judge.objectives import loss_of
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding

__all__ = ["RULE", "find"]

RULE = Rule(
    code="GH511",
    slug="softmax-for-several-labels",
    title="softmax for several labels",
    summary="Several labels may hold at once, but a softmax makes their probabilities add up to 1.",
    family=OBJECTIVE,
    when_silenced=True,
    also_follows=frozenset({"single-class"}),
    theory="""\
A softmax shares a probability of 1 among the classes. Where a sample has two labels, neither can reach more than 0.5;
where it has none, the model must claim one all the same. Each label needs a sigmoid of its own.""",
    remedies=("Drop the softmax and use `binary_cross_entropy_with_logits`.",),
    sick="""\
model = lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 5), nn.Softmax(-1))
batch = torch.randn(8, 8), torch.tensor([[1.0, 1.0, 0.0, 1.0, 0.0]]).repeat(8, 1)
loss = F.binary_cross_entropy
""",
    healthy="""\
model = lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 5))
batch = torch.randn(8, 8), torch.tensor([[1.0, 1.0, 0.0, 1.0, 0.0]]).repeat(8, 1)
loss = F.binary_cross_entropy_with_logits
""",
)


def find(view: View) -> Iterator[Finding]:
    """Where the labels of a sample do not add up to 1."""
    seen, last = loss_of(view)
    if seen.multilabel_softmax:
        yield RULE.finding(
            [last],
            "several labels, or none, are asked for at once of a softmax, whose outputs add up to 1",
            cause="of two labels that hold, neither can reach more than 0.5",
            remedy="remove the softmax and use binary_cross_entropy_with_logits",
        )
