"""GH506: log_softmax runs over another dimension than the classes."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.judge.families import OBJECTIVE
from pytest_gradhealth.judge.objectives import loss_of
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding

__all__ = ["RULE", "find"]

RULE = Rule(
    code="GH506",
    slug="softmax-over-samples",
    title="softmax over the wrong dimension",
    summary="log_softmax normalises over another dimension than the one that holds the classes.",
    family=OBJECTIVE,
    when_silenced=True,
    theory="""\
`nll_loss` looks for the classes in dimension 1. Behind `log_softmax(dim=0)` the probabilities of a class over the
batch add up to 1, not those of a sample over the classes, so the loss pits samples against each other ([PyTorch:
NLLLoss](https://docs.pytorch.org/docs/stable/generated/torch.nn.NLLLoss.html)).""",
    remedies=("Use `log_softmax(dim=1)`, or `cross_entropy` on the raw scores.",),
    sick="""\
model = lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
batch = torch.randn(32, 8), torch.randint(4, (32,))
loss = lambda output, target: F.nll_loss(F.log_softmax(output, dim=0), target)
""",
    healthy="""\
model = lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
batch = torch.randn(32, 8), torch.randint(4, (32,))
loss = lambda output, target: F.nll_loss(F.log_softmax(output, dim=1), target)
""",
)


def find(view: View) -> Iterator[Finding]:
    """The dimension of log_softmax is not the one in which nll_loss looks for the classes."""
    graph, last = loss_of(view)
    if graph.wrong_dim:
        yield RULE.finding(
            [last],
            "log_softmax runs over a different dimension than the classes of nll_loss",
            cause="it makes probabilities add up to 1 over the batch, not over the classes of a sample",
            remedy="use log_softmax(dim=1): dimension 1 holds the classes",
        )
