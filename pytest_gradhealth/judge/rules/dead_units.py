"""GH203: most units of a layer have a gradient of zero."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.judge.families import DEAD
from pytest_gradhealth.judge.rule import Limit, Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.judge.wording import REVIVE, Explanation, unscaled
from pytest_gradhealth.record import Finding, LayerGradient

__all__ = ["RULE", "find"]

MAX_DEAD = Limit("max_dead", 0.9, 0, 1, "SHARE", "Largest share of a layer's units with a gradient of zero")
RULE = Rule(
    code="GH203",
    slug="dead-units",
    title="dead units",
    summary="Most units of a layer have a gradient of exactly zero in every batch, so they never change.",
    family=DEAD,
    limits=(MAX_DEAD,),
    provisional=True,
    also_follows=frozenset({"dead-layer"}),
    theory="""\
A rectifier that is off for every sample sends back exactly nothing ([Glorot et al.,
2011](https://proceedings.mlr.press/v15/glorot11a.html)). By chance, and in one small batch, three quarters of a
layer's units may be off in a healthy network. But a bias that lies more than five times below what the weights make
of their input (`||w||` times the input's root mean square) keeps its unit off in every batch: where that holds for
more than half of the units, a share of 0.5 is enough. The output layer is not judged, since a loss may ask for one
output only.""",
    remedies=("Use LeakyReLU or GELU, start biases at 0, or lower the learning rate.",),
    sick="""\
def model():
    first = nn.Linear(8, 64)
    nn.init.constant_(first.bias[:60], -100.0)
    return nn.Sequential(first, nn.ReLU(), nn.Linear(64, 4))

batch = torch.randn(32, 8), torch.randint(4, (32,))
loss = F.cross_entropy
""",
    healthy="""\
def model():
    first = nn.Linear(8, 64)
    nn.init.constant_(first.bias[:60], 0.0)
    return nn.Sequential(first, nn.ReLU(), nn.Linear(64, 4))

batch = torch.randn(32, 8), torch.randint(4, (32,))
loss = F.cross_entropy
""",
)

SHUT = 0.5
"""Share of units that biases hold shut, beyond those that they hold open, from which a layer counts as dead."""
RARE = 0.05
"""Share of zeros behind a layer up to which they do not explain its dead units."""


def find(view: View) -> Iterator[Finding]:
    """Hidden layers with a large share of units that receive nothing."""
    for layer in view.hidden:
        limit = view.limits.of(layer.name).max_dead
        alive = layer.norm and not view.is_given_nothing(layer)  # else it is silent as a whole, or has nothing to show
        if limit is None or not alive or not layer.units:
            continue
        shut = view.limits.of(layer.name).is_default(MAX_DEAD.name) and layer.dead_by_bias > SHUT
        allowed = SHUT if shut else limit
        if layer.dead > allowed:
            yield RULE.finding(
                [layer.name],
                f"{layer.dead:.0%} of the {layer.units} units of {layer.name!r} have zero gradient "
                f"({MAX_DEAD.at(limit, here=allowed)})",
                value=layer.dead,
                limit=allowed,
                limit_name=MAX_DEAD.name,
                **_explanation(view, layer),
            )


def _explanation(view: View, layer: LayerGradient) -> Explanation:
    """Units that no sample activates."""
    following = view.following(layer.name)
    activations = view.between(layer.name, following.name) if following else []
    zeros = max((signal.zeros for signal in activations), default=0.0)
    kind = next((signal.kind for signal in activations if signal.zeros == zeros and zeros), "the activation")
    if layer.dead_by_bias:
        cause = f"the biases of {layer.dead_by_bias:.0%} of its units keep {kind} at zero, whatever the input"
        return Explanation(cause=cause, remedy=REVIVE)
    if zeros < RARE:
        cause = "nothing behind it is zero as often: a hook, or a mask on its weights, blocks the gradient"
        return Explanation(cause=cause, remedy="check for hooks on its parameters and for what changes its weights")
    if too_large := unscaled(view):
        return too_large
    share = f" ({zeros:.0%} of all outputs)" if zeros else ""
    return Explanation(cause=f"{kind} behind it is zero for every sample in those units{share}", remedy=REVIVE)
