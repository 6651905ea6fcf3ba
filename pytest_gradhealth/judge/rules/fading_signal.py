"""GH404: the signal dies out on its way forward."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_gradhealth.judge import localise
from pytest_gradhealth.judge.families import WEAK
from pytest_gradhealth.judge.rule import Limit, Rule
from pytest_gradhealth.judge.view import View, highest
from pytest_gradhealth.judge.wording import INITIALISE, SKIP, Explanation, unnormalised
from pytest_gradhealth.record import Finding

__all__ = ["RULE", "find"]

MIN_AMPLITUDE = Limit(
    "min_amplitude", 1e-4, 0, None, "RMS", "Smallest size of what differs between samples at the output"
)
RULE = Rule(
    code="GH404",
    slug="fading-signal",
    title="fading signal",
    summary="The signal shrinks on its way forward until hardly anything of it is left at the output.",
    family=WEAK,
    limits=(MIN_AMPLITUDE,),
    provisional=True,
    theory="""\
A loss tells samples apart by numbers of order one. Weights that are too small shrink the signal by a constant
factor per layer ([Glorot & Bengio, 2010](https://proceedings.mlr.press/v9/glorot10a.html)); where what differs
between samples arrives with a root mean square of 1e-4, outputs of order one are out of reach.""",
    remedies=(
        "Use He or Xavier initialisation, a normalisation or skip connections.",
        "Scale the input to standard deviation 1.",
    ),
    sick="""\
def model(gain=0.1):
    hidden = [nn.Linear(32, 32, bias=False) for _ in range(5)]
    for layer in hidden:
        nn.init.normal_(layer.weight, std=gain * (2 / 32) ** 0.5)
    return nn.Sequential(*(part for layer in hidden for part in (layer, nn.ReLU())), nn.Linear(32, 4))

batch = torch.randn(32, 32), torch.randint(4, (32,))
loss = F.cross_entropy
""",
    healthy="""\
def model(gain=1.0):
    hidden = [nn.Linear(32, 32, bias=False) for _ in range(5)]
    for layer in hidden:
        nn.init.normal_(layer.weight, std=gain * (2 / 32) ** 0.5)
    return nn.Sequential(*(part for layer in hidden for part in (layer, nn.ReLU())), nn.Linear(32, 4))

batch = torch.randn(32, 32), torch.randint(4, (32,))
loss = F.cross_entropy
""",
)

TINY = 1e-3
"""Largest input up to which it is the input that is too small."""


def find(view: View) -> Iterator[Finding]:
    """What differs between samples is small in the last quarter of the modules."""
    limit = view.limits.min_amplitude
    amplitude = highest([signal.amplitude for signal in view.back])
    if limit is None or amplitude is None or amplitude >= limit or not view.samples_can_be_compared:
        return
    stretch = localise.dimming_stretch(view)
    if localise.is_passed_by(view, stretch):
        return
    yield RULE.finding(
        stretch,
        f"differences between samples have a size of {amplitude:.1e} at the output ({MIN_AMPLITUDE.at(limit)}), "
        f"lost {localise.span(view, stretch)}",
        value=amplitude,
        limit=limit,
        limit_name=MIN_AMPLITUDE.name,
        **_explanation(view, stretch),
    )


def _explanation(view: View, stretch: Sequence[str]) -> Explanation:
    """Weights too small, or an input out of scale."""
    first = view.leaves[0]
    if first.input_min is not None and first.input_peak < TINY:
        cause = f"the input has no value above {first.input_peak:.0e}"
        return Explanation(cause=cause, remedy="scale the input to standard deviation 1")
    if broken := unnormalised(view, [name for name in stretch[:1] if name in view.unnormalised]):
        return broken
    where = f"over {len(stretch)} layers" if len(stretch) > 1 else f"at {stretch[0]!r}"
    return Explanation(cause=f"small weights shrink the signal {where}", remedy=f"{INITIALISE}, or {SKIP}")
