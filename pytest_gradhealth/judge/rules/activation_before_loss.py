"""GH510: an activation in front of a loss that expects raw scores."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.judge.families import OBJECTIVE
from pytest_gradhealth.judge.objectives import loss_of
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding

__all__ = ["RULE", "find"]

BENDS = {
    "relu": "a ReLU gives no score below zero, and none of its zeros receives a gradient",
    "sigmoid": "a sigmoid is applied twice: its outputs of 0 to 1 become probabilities of 0.5 to 0.73",
    "softmax": "a softmax is applied twice: probabilities differ by 1 at most, so the second one can never be sure",
}
TWICE = "cross_entropy and binary_cross_entropy_with_logits apply their own softmax or sigmoid"

RULE = Rule(
    code="GH510",
    slug="activation-before-loss",
    title="activation before a loss that applies its own",
    summary="A softmax, sigmoid or ReLU stands in front of a loss that expects raw scores.",
    family=OBJECTIVE,
    when_silenced=True,
    leads=True,
    theory="""\
`cross_entropy` applies `log_softmax`, and `binary_cross_entropy_with_logits` a sigmoid: both expect raw scores of any
size and sign. A second softmax or sigmoid squeezes them into 0 to 1, which bounds the probabilities that the model can
give and shrinks every gradient; a ReLU takes every negative score away. The graph of the loss shows it, whatever the
numbers are. Some such models still learn, slowly and with a worse optimum.""",
    remedies=(
        "Remove the activation at the end of the model; apply it for predictions only.",
        "With probabilities that are needed anyway, use `nll_loss(log_probabilities)` or `binary_cross_entropy`.",
    ),
    sick="""\
model = lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3), nn.Softmax(-1))
batch = torch.randn(8, 8), torch.randint(3, (8,))
loss = F.cross_entropy
""",
    healthy="""\
model = lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
batch = torch.randn(8, 8), torch.randint(3, (8,))
loss = F.cross_entropy
""",
)


def find(view: View) -> Iterator[Finding]:
    """By the structure of the loss's graph alone."""
    seen, last = loss_of(view)
    if seen.activation:
        what = "a logarithm" if seen.activated_loss == "log" else seen.activated_loss
        yield RULE.finding(
            [last],
            f"{what} is given the output of a {seen.activation}",
            cause=BENDS[seen.activation],
            remedy=f"remove the {seen.activation} at the end of the model: {TWICE}",
        )
