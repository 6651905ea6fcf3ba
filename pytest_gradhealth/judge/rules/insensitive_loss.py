"""GH107: the loss hardly depends on the weights."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.judge.families import WEAK
from pytest_gradhealth.judge.rule import Limit, Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.judge.wording import Explanation, named, saturated_modules, unscaled
from pytest_gradhealth.record import Finding

__all__ = ["RULE", "find"]

MIN_ELASTICITY = Limit(
    "min_elasticity", 1e-5, 0, None, "FACTOR", "Smallest relative change of the loss for one of the strongest layer"
)
RULE = Rule(
    code="GH107",
    slug="insensitive-loss",
    title="insensitive loss",
    summary="The loss hardly depends on the weights of any layer, so that no step changes it.",
    family=WEAK,
    limits=(MIN_ELASTICITY,),
    provisional=True,
    theory="""\
The *elasticity* of a layer is the relative change of the loss for a relative change of the layer's weights: the
gradient norm times the weight norm, over the loss. Gradient and loss grow together with the loss's scale, so the
quotient does not depend on it. Where it is below the limit in the strongest layer, doubling any layer's weights
would not be noticed. A model of a single layer is not judged: wherever its weights begin, one large step finds the
targets.""",
    remedies=(
        "Give the loss logits, without an activation in between.",
        "Check how the loss is scaled, and what it is computed from.",
    ),
    sick="""\
class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(8, 16), nn.Linear(16, 1)

    def forward(self, x):
        return 1e-9 * self.second(self.first(x).relu()) + 1

model = Network
batch = torch.randn(32, 8), torch.randn(32, 1)
loss = F.mse_loss
""",
    healthy="""\
class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(8, 16), nn.Linear(16, 1)

    def forward(self, x):
        return self.second(self.first(x).relu()) + 1

model = Network
batch = torch.randn(32, 8), torch.randn(32, 1)
loss = F.mse_loss
""",
)

OPENED = 10
"""How far above the limit a second look must be: a gate that opens does more than rounding noise."""


def find(view: View) -> Iterator[Finding]:
    """The strongest layer's elasticity is small."""
    limit, loss = view.limits.min_elasticity, view.loss_scale
    if limit is None or len(view.called) < 2 or not loss or not view.strongest:
        return
    if view.strongest / loss >= limit * (OPENED if view.record.steps else 1):
        return
    strongest = max(view.trained, key=lambda layer: layer.sensitivity)
    yield RULE.finding(
        [strongest.name],
        f"doubling the weights of {named(strongest.name)}, the strongest layer, would change the loss by only "
        f"{view.strongest / loss:.1e} of itself ({MIN_ELASTICITY.at(limit)})",
        value=view.strongest / loss,
        limit=limit,
        limit_name=MIN_ELASTICITY.name,
        **_explanation(view),
    )


def _explanation(view: View) -> Explanation:
    if too_large := unscaled(view):
        return too_large
    flat = saturated_modules(view)
    if flat:
        cause = f"{flat[-1].name!r} ({flat[-1].kind}) is saturated"
        return Explanation(cause=cause, remedy="give the loss logits, without an activation in between")
    cause = "the output, and with it the loss, hardly depends on the weights"
    return Explanation(cause=cause, remedy="check how the loss is scaled and what it is computed from")
