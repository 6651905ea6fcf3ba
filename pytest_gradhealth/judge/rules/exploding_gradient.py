"""GH302: the loss is too steep for any step size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from pytest_gradhealth.judge import localise
from pytest_gradhealth.judge.families import EXPLODING
from pytest_gradhealth.judge.rule import Limit, Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.judge.wording import (
    INITIALISE,
    Explanation,
    factor,
    gains_of,
    geometric_mean,
    named,
    saturated_modules,
    unscaled,
)
from pytest_gradhealth.record import Finding

__all__ = ["HEADROOM", "RULE", "allowed_elasticity", "find"]

MAX_ELASTICITY = Limit(
    "max_elasticity", 1e3, 0, None, "FACTOR", "Largest relative change of the loss for one of a layer's weights"
)
RULE = Rule(
    code="GH302",
    slug="exploding-gradient",
    title="exploding gradient",
    summary="The gradient grows on its way back until the loss is too steep for any step size.",
    family=EXPLODING,
    limits=(MAX_ELASTICITY,),
    provisional=True,
    theory="""\
The *elasticity* of a layer is the relative change of the loss for a relative change of the layer's weights. An
elasticity of 1000 says that one per mille on the weights changes the loss by as much as the loss is. He and Glorot
initialisation keep the signal's size through depth ([He et al., 2015](https://arxiv.org/abs/1502.01852)); a network
that multiplies it by *g* per layer grows like *g* to the depth. Batch normalisation makes gradients grow by 1.21
per layer at initialisation, whatever the weights ([Yang et al., 2019](https://arxiv.org/abs/1902.08129)): the
default limit rises with it, up to a hundredfold; a limit of your own does not.""",
    remedies=(
        "Use He or Xavier initialisation, add a normalisation, and clip the gradient norm.",
        "Scale the input to mean 0 and standard deviation 1.",
    ),
    sick="""\
def model(gain=16.0):
    hidden = [nn.Linear(32, 32) for _ in range(12)]
    for layer in hidden:
        nn.init.normal_(layer.weight, std=gain * 32**-0.5)
    return nn.Sequential(*(part for layer in hidden for part in (layer, nn.Tanh())), nn.Linear(32, 4))

batch = torch.randn(32, 32), torch.randint(4, (32,))
loss = F.cross_entropy
""",
    healthy="""\
def model(gain=1.0):
    hidden = [nn.Linear(32, 32) for _ in range(12)]
    for layer in hidden:
        nn.init.normal_(layer.weight, std=gain * 32**-0.5)
    return nn.Sequential(*(part for layer in hidden for part in (layer, nn.Tanh())), nn.Linear(32, 4))

batch = torch.randn(32, 32), torch.randint(4, (32,))
loss = F.cross_entropy
""",
)

HEADROOM = 100
"""The most that batch normalisation may add: beyond it, a hundred layers without skip connections, nothing trains."""


def find(view: View) -> Iterator[Finding]:
    """The strongest layer's elasticity is large."""
    loss, limit, allowed = view.loss_scale, view.limits.max_elasticity, allowed_elasticity(view)
    if limit is None or allowed is None or not loss or view.strongest / loss <= allowed:
        return
    worst = localise.exploding_stretch(view)
    yield RULE.finding(
        worst,
        f"a change of 1 % in the weights of {named(worst[0])} changes the loss by {view.strongest / loss:.0e} % "
        f"({MAX_ELASTICITY.at(limit, here=allowed)})",
        value=view.strongest / loss,
        limit=allowed,
        limit_name=MAX_ELASTICITY.name,
        **_explanation(view, worst),
    )


def allowed_elasticity(view: View) -> float | None:
    """The default limit gives way to what batch normalisation does by itself, the user's own does not.

    Each batch normalisation with a ReLU makes the gradient grow by sqrt(pi / (pi - 1)), which the first steps remove.
    """
    limit = view.limits.max_elasticity
    if limit is None or not view.limits.is_default(MAX_ELASTICITY.name):
        return limit
    layers = sum(signal.kind.startswith("BatchNorm") for signal in view.leaves)
    return limit * min(math.sqrt(math.pi / (math.pi - 1)) ** layers, HEADROOM)


def _explanation(view: View, stretch: Sequence[str]) -> Explanation:
    """Weights too large, or an input out of scale."""
    if too_large := unscaled(view):
        return too_large
    rate = geometric_mean(gains_of(view, stretch))
    cause = f"the signal grows {factor(rate)} per layer on its way back" if rate > 1 else f"{stretch[0]!r} is too steep"
    flat = saturated_modules(view)
    if flat:
        cause += f"; {len(flat)} {flat[0].kind} layers are saturated"
    return Explanation(cause=cause, remedy=f"{INITIALISE}, add a normalisation, and clip the gradient norm")
