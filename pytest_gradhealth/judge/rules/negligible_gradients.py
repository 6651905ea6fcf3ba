"""GH108: every gradient is too small for an optimiser."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.judge.families import WEAK
from pytest_gradhealth.judge.rule import Limit, Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding

__all__ = ["RULE", "find"]

MIN_GRADIENT_RMS = Limit(
    "min_gradient_rms", 1e-11, 0, None, "RMS", "Smallest root mean square of the largest layer gradient"
)
RULE = Rule(
    code="GH108",
    slug="negligible-gradients",
    title="negligible gradients",
    summary="Every gradient is so small that the optimiser's own constants drown it.",
    family=WEAK,
    limits=(MIN_GRADIENT_RMS,),
    provisional=True,
    also_follows=frozenset({"insensitive-loss"}),
    theory="""\
Adam divides by the size of the gradient plus 1e-8 ([Kingma & Ba, 2015](https://arxiv.org/abs/1412.6980)). Gradients
a thousand times smaller than that move weights by a thousandth of the learning rate, and no other optimiser moves
anything by them either.""",
    remedies=("Scale the loss to order one.",),
    sick="""\
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
batch = torch.randn(32, 8), torch.randint(4, (32,))
loss = lambda output, target: 1e-12 * F.cross_entropy(output, target)
""",
    healthy="""\
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
batch = torch.randn(32, 8), torch.randint(4, (32,))
loss = F.cross_entropy
""",
)


def find(view: View) -> Iterator[Finding]:
    """The largest gradient, element by element, is below what an optimiser can use."""
    limit = view.limits.min_gradient_rms
    if limit is None or view.record.loss is None or not 0 < view.densest < limit:
        return
    yield RULE.finding(
        [view.trained[-1].name],
        f"no layer's gradient is larger than {view.densest:.0e} per element ({MIN_GRADIENT_RMS.at(limit)})",
        value=view.densest,
        limit=limit,
        limit_name=MIN_GRADIENT_RMS.name,
        cause=f"the loss is multiplied by a tiny factor (it is {view.record.loss:.0e}), or hardly depends on anything",
        remedy="scale the loss to order one: such gradients vanish beside Adam's eps of 1e-8",
    )
