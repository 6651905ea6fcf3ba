"""GH207: bounded activations are saturated."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from pytest_gradhealth.judge import localise
from pytest_gradhealth.judge.families import SATURATED
from pytest_gradhealth.judge.rule import Limit, Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.judge.wording import INITIALISE, Explanation, unscaled
from pytest_gradhealth.record import Finding

__all__ = ["RULE", "find"]

MAX_SATURATION = Limit(
    "max_saturation", 0.65, 0, 1, "SHARE", "Largest share of outputs at which bounded activations have no slope"
)
RULE = Rule(
    code="GH207",
    slug="saturated-activations",
    title="saturated activations",
    summary="Most outputs of the bounded activations lie where their slope is near zero.",
    family=SATURATED,
    limits=(MAX_SATURATION,),
    provisional=True,
    theory="""\
A tanh whose inputs have a standard deviation of 6.6 returns 65 % of its outputs where the slope is below 1 % of its
largest ([Glorot & Bengio, 2010](https://proceedings.mlr.press/v9/glorot10a.html)). Most units pass nothing on,
while those that do keep every gradient norm in the normal range. Other layers make up for one that is saturated;
hence the median of three such modules or more. Sigmoids and softmax are not judged: gates and choices stand at
their ends on purpose.""",
    remedies=(
        "Use Xavier initialisation, or a normalisation in front of the activations.",
        "Scale the input to mean 0 and standard deviation 1.",
    ),
    sick="""\
def model(scale=3.0):
    hidden = [nn.Linear(32, 32) for _ in range(4)]
    for layer in hidden:
        nn.init.normal_(layer.weight, std=scale * 32**-0.5)
        nn.init.normal_(layer.bias, std=8.0)
    return nn.Sequential(*(part for layer in hidden for part in (layer, nn.Tanh())), nn.Linear(32, 4))

batch = torch.randn(32, 32), torch.randint(4, (32,))
loss = F.cross_entropy
""",
    healthy="""\
def model():
    hidden = [nn.Linear(32, 32) for _ in range(4)]
    for layer in hidden:
        nn.init.xavier_normal_(layer.weight)
    return nn.Sequential(*(part for layer in hidden for part in (layer, nn.Tanh())), nn.Linear(32, 4))

batch = torch.randn(32, 32), torch.randint(4, (32,))
loss = F.cross_entropy
""",
)

SEVERAL = 3
"""Activations from which their median tells of the whole stack."""


def find(view: View) -> Iterator[Finding]:
    """The median of several bounded activations is saturated."""
    limit, several = view.limits.max_saturation, view.bounded
    if limit is None or len(several) < SEVERAL:
        return
    middle = statistics.median(signal.saturation or 0.0 for signal in several)
    if middle <= limit:
        return
    kind = several[0].kind
    yield RULE.finding(
        localise.saturated_stretch(view),
        f"{middle:.0%} of the outputs of {len(several)} {kind} modules (median) lie where the slope is near zero "
        f"({MAX_SATURATION.at(limit)})",
        value=middle,
        limit=limit,
        limit_name=MAX_SATURATION.name,
        **_explanation(view, kind),
    )


def _explanation(view: View, kind: str) -> Explanation:
    """Input or weights out of scale."""
    if too_large := unscaled(view):
        return too_large
    cause = f"the inputs of {kind} are many times larger than where it bends"
    return Explanation(cause=cause, remedy=f"{INITIALISE}, or add a normalisation in front of it")
