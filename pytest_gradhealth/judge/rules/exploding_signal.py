"""GH303: the signal grows on its way forward."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pytest_gradhealth.judge import localise
from pytest_gradhealth.judge.families import EXPLODING
from pytest_gradhealth.judge.rule import Limit, Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.judge.wording import growing
from pytest_gradhealth.record import Finding

__all__ = ["RULE", "find"]

MAX_GROWTH = Limit("max_growth", 1e2, 1, None, "FACTOR", "Largest growth of the signal on its way forward")
RULE = Rule(
    code="GH303",
    slug="exploding-signal",
    title="exploding signal",
    summary="The signal grows on its way forward, until no step size suits all layers.",
    family=EXPLODING,
    limits=(MAX_GROWTH,),
    provisional=True,
    also_follows=frozenset({"exploding-gradient"}),
    theory="""\
In a homogeneous network (ReLU without biases) the growth forward cancels the growth backward in every weight
gradient, so gradients alone cannot show it ([He et al., 2015](https://arxiv.org/abs/1502.01852)). Growth by 100 is
two decades that no published initialisation makes; Adam may still learn from there, SGD does not. Where one layer
alone makes most of it, it may be a sum over many neighbours or a scale: there the limit is ten times as high. The
last module is not judged: it may hold the unit of the target.""",
    remedies=("Use He or Xavier initialisation, or add a normalisation.", "Scale the input."),
    sick="""\
def model(gain=5.0):
    hidden = [nn.Linear(32, 32, bias=False) for _ in range(6)]
    for layer in hidden:
        nn.init.normal_(layer.weight, std=gain * (2 / 32) ** 0.5)
    return nn.Sequential(*(part for layer in hidden for part in (layer, nn.ReLU())), nn.Linear(32, 4))

batch = torch.randn(32, 32), torch.randint(4, (32,))
loss = F.cross_entropy
""",
    healthy="""\
def model(gain=1.0):
    hidden = [nn.Linear(32, 32, bias=False) for _ in range(6)]
    for layer in hidden:
        nn.init.normal_(layer.weight, std=gain * (2 / 32) ** 0.5)
    return nn.Sequential(*(part for layer in hidden for part in (layer, nn.ReLU())), nn.Linear(32, 4))

batch = torch.randn(32, 32), torch.randint(4, (32,))
loss = F.cross_entropy
""",
)

JUMP = 10
"""How much more one layer alone may grow: it may sum over many neighbours, or hold a scale."""


def find(view: View) -> Iterator[Finding]:
    """The largest signal is many times that of the first quarter."""
    limit = view.limits.max_growth
    sizes = [signal for signal in view.leaves if signal.rms and math.isfinite(signal.rms)]
    body = sizes[:-1]  # a last scaling may be the unit of the target
    if limit is None or len(body) < 2:
        return
    start = max(max(signal.rms for signal in body[: math.ceil(len(body) / 4)]), 1.0)
    growth = max(signal.rms for signal in body) / start
    stretch = localise.growing_stretch(view)
    allowed = limit * (JUMP if len(stretch) == 1 else 1)
    if growth <= allowed:
        return
    yield RULE.finding(
        stretch,
        f"the signal grows {growth:.0e} times on its way forward "
        f"({MAX_GROWTH.at(limit, here=allowed)}), {localise.span(view, stretch)}",
        value=growth,
        limit=allowed,
        limit_name=MAX_GROWTH.name,
        **growing(view, stretch),
    )
