"""GH512: probabilities that a clamp in front of a logarithm cuts off."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.judge.families import OBJECTIVE
from pytest_gradhealth.judge.objectives import loss_of
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.judge.wording import Explanation, unscaled
from pytest_gradhealth.record import Finding

__all__ = ["RULE", "find"]

MOST = 0.5
"""Share of probabilities that are cut off from which the loss teaches next to nothing."""
SATURATED = Explanation(
    cause="the outputs are saturated: where the clamp cuts off, its slope is zero",
    remedy="compute the loss from raw scores (cross_entropy), and use smaller weights",
)

RULE = Rule(
    code="GH512",
    slug="clamped-probabilities",
    title="clamped probabilities",
    summary="Most probabilities lie outside the range of a clamp in front of a logarithm, so their gradient is zero.",
    family=OBJECTIVE,
    when_silenced=True,
    leads=True,
    theory="""\
`log(p.clamp(1e-7))` keeps the loss finite, and makes its slope zero for every probability below. A model that is sure
of the wrong class then receives no gradient at all, just where it needs it most. A stable form has a slope everywhere:
`log_softmax(x) = x - logsumexp(x)`.""",
    remedies=(
        "Compute the loss from raw scores: `cross_entropy`, `binary_cross_entropy_with_logits`, `log_softmax`.",
        "Bring the scores into range: smaller weights, scaled inputs.",
    ),
    sick="""\
model = lambda: nn.Sequential(nn.Linear(8, 3), nn.Softmax(-1))
batch = 1e4 * torch.randn(8, 8), torch.randint(3, (8,))

def loss(output, target):
    return -output.clamp(1e-7, 1 - 1e-7).log()[range(8), target].mean()
""",
    healthy="""\
model = lambda: nn.Linear(8, 3)
batch = torch.randn(8, 8), torch.randint(3, (8,))
loss = F.cross_entropy
""",
)


def find(view: View) -> Iterator[Finding]:
    """By the share of the clamp's input that lies outside its range."""
    seen, last = loss_of(view)
    if seen.clamped > MOST:
        yield RULE.finding(
            [last],
            f"a clamp in front of the loss's logarithm cuts off {seen.clamped:.0%} of the probabilities",
            value=seen.clamped,
            **(unscaled(view) or SATURATED),
        )
