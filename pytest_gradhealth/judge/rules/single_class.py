"""GH505: a cross entropy has one class only."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.judge.families import OBJECTIVE
from pytest_gradhealth.judge.objectives import loss_of
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding

__all__ = ["RULE", "find"]

RULE = Rule(
    code="GH505",
    slug="single-class",
    title="cross entropy over a single class",
    summary="The cross entropy has a single class, so it is 0 whatever the model predicts.",
    family=OBJECTIVE,
    when_silenced=True,
    leads=True,
    theory="""\
A softmax over one number is 1, and its logarithm 0: the loss is zero, and with it every gradient. One output needs
a binary cross entropy ([PyTorch:
BCEWithLogitsLoss](https://docs.pytorch.org/docs/stable/generated/torch.nn.BCEWithLogitsLoss.html)).""",
    remedies=("Use `binary_cross_entropy_with_logits` for one output, or give the model an output per class.",),
    sick="""\
model = lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
batch = torch.randn(32, 8), torch.zeros(32, dtype=torch.long)
loss = F.cross_entropy
""",
    healthy="""\
model = lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
batch = torch.randn(32, 8), torch.randint(2, (32, 1)).float()
loss = F.binary_cross_entropy_with_logits
""",
)


def find(view: View) -> Iterator[Finding]:
    """The smallest number of classes is one."""
    graph, last = loss_of(view)
    if graph.classes == 1:
        yield RULE.finding(
            [last],
            "the cross entropy is over a single class, so it is 0 whatever the model predicts",
            cause="a softmax over one number is always 1",
            remedy="use binary_cross_entropy_with_logits for one output, or give the model an output per class",
        )
