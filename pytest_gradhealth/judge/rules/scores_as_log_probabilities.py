"""GH507: nll_loss gets raw scores."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.judge.families import OBJECTIVE
from pytest_gradhealth.judge.objectives import loss_of
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding

__all__ = ["RULE", "find"]

RULE = Rule(
    code="GH507",
    slug="scores-as-log-probabilities",
    title="scores instead of log-probabilities",
    summary="nll_loss or kl_div gets raw scores or probabilities instead of log-probabilities.",
    family=OBJECTIVE,
    when_silenced=True,
    theory="""\
`nll_loss` takes the negative of the number at the target and nothing else. On raw scores that falls without end as
all scores grow; on probabilities it is bounded, but its slope does not grow with the error. The exponentials of
log-probabilities add up to 1 ([PyTorch:
NLLLoss](https://docs.pytorch.org/docs/stable/generated/torch.nn.NLLLoss.html)). `kl_div` expects them as well, as its
first argument.""",
    remedies=(
        "Use `cross_entropy` on the raw scores, or put `log_softmax(dim=1)` behind them.",
        "Give `kl_div` the result of `log_softmax` as its first argument.",
    ),
    sick="""\
model = lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
batch = torch.randn(32, 8), torch.randint(4, (32,))
loss = F.nll_loss
""",
    healthy="""\
model = lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
batch = torch.randn(32, 8), torch.randint(4, (32,))
loss = lambda output, target: F.nll_loss(F.log_softmax(output, dim=1), target)
""",
)

TOO_MUCH = 1.5
"""What probabilities may add up to: 1, but for the rounding of half precision."""


def find(view: View) -> Iterator[Finding]:
    """The exponentials of what nll_loss is given add up to more than 1."""
    graph, last = loss_of(view)
    if graph.probability_sum is not None and graph.probability_sum > TOO_MUCH:
        yield RULE.finding(
            [last],
            f"the exponentials of the inputs of nll_loss add up to {graph.probability_sum:.3g} instead of 1",
            value=graph.probability_sum,
            cause="it expects log-probabilities and gets raw scores or probabilities",
            remedy="use cross_entropy on the raw scores, or put log_softmax(dim=1) behind them",
        )
    if graph.divergence_of_probabilities:
        yield RULE.finding(
            [last],
            "kl_div is given the output of a softmax",
            cause="its first argument should hold log-probabilities, and holds probabilities",
            remedy="use kl_div(log_softmax(scores, dim=1), target)",
        )
