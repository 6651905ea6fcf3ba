"""GH403: the input is nearly constant."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.judge.families import COLLAPSE
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding

__all__ = ["RULE", "find"]

RULE = Rule(
    code="GH403",
    slug="constant-input",
    title="nearly constant input",
    summary="The samples of the input hardly differ from each other, and so do the outputs.",
    family=COLLAPSE,
    provisional=True,
    theory="""\
An input whose mean is a hundred times its standard deviation makes the loss ten thousand times as steep along the
mean as along what tells samples apart ([LeCun et al., 1998](https://doi.org/10.1007/3-540-49430-8_2), section 4.3):
the step that the mean allows is as much too small for everything else. Pixels that were divided by 255 twice and
then centred are such an input. A normalisation over the batch removes the mean, and then nothing is reported.""",
    remedies=("Subtract the mean and divide by the standard deviation, once.",),
    sick="""\
model = lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
batch = 1 + 0.003 * torch.randn(32, 8), torch.randint(4, (32,))
loss = F.cross_entropy
""",
    healthy="""\
model = lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
batch = torch.randn(32, 8), torch.randint(4, (32,))
loss = F.cross_entropy
""",
)

OFFSET = 1e-2
"""Deviation of the input over its size, below which its mean is ten thousand times as steep as its differences."""
RESTORED = 10
"""How much more than that the outputs must differ where the model itself restores the difference."""


def find(view: View) -> Iterator[Finding]:
    """Both the input and the output are nearly constant."""
    given = [signal.input_variation for signal in view.entries if signal.input_variation is not None]
    variation = view.variation
    if not given or variation is None or not view.samples_can_be_compared:
        return
    if max(given) >= OFFSET or variation >= OFFSET * RESTORED:
        return
    yield RULE.finding(
        [view.entries[0].name],
        f"samples differ by {max(given):.1e} of the input (at least {OFFSET:.0e} is needed) and by {variation:.1e} of "
        "the output",
        value=max(given),
        cause="the input is nearly constant: scaled twice, or far from zero",
        remedy="subtract its mean and divide by its standard deviation, once",
    )
