"""GH602: all units of a layer start alike."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.errors import counted
from pytest_gradhealth.judge.families import SYMMETRIC
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding

__all__ = ["RULE", "find"]

RULE = Rule(
    code="GH602",
    slug="identical-units",
    title="identical units",
    summary="All units of a layer hold the same weights, so they receive the same gradient and never differ.",
    family=SYMMETRIC,
    provisional=True,
    when_silenced=True,
    theory="""\
Units that start with the same incoming *and* outgoing weights receive the same gradient and stay the same: the
layer has one unit, however wide it is ([Goodfellow et al., 2016](https://www.deeplearningbook.org), section 8.4).
The first steps break up a single constant layer between random ones, which the second look sees.""",
    remedies=("Initialise with random weights: He (ReLU) or Xavier (tanh).",),
    sick="""\
def model():
    layers = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 4)
    for layer in layers:
        nn.init.constant_(layer.weight, 0.1)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])

batch = torch.randn(32, 8), torch.randint(4, (32,))
loss = F.cross_entropy
""",
    healthy="""\
def model():
    layers = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 4)
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])

batch = torch.randn(32, 8), torch.randint(4, (32,))
loss = F.cross_entropy
""",
)


def find(view: View) -> Iterator[Finding]:
    """Hidden layers whose units all hold the same weights."""
    alike = [layer for layer in view.hidden if layer.identical_units]
    if not alike:
        return
    first = alike[0]
    more = f", and so do those of {counted(len(alike) - 1, 'other layer')}" if len(alike) > 1 else ""
    yield RULE.finding(
        [layer.name for layer in alike],
        f"all {first.units} units of {first.name!r} hold the same weights{more}",
        value=float(len(alike)),
        cause="a constant initialisation: units that start alike receive the same gradient and never differ",
        remedy="initialise with random weights: He (ReLU) or Xavier (tanh)",
    )
