"""GH101: the gradient does not arrive in the early layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_gradhealth.judge import localise
from pytest_gradhealth.judge.families import VANISHING
from pytest_gradhealth.judge.rule import Limit, Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.judge.wording import (
    INITIALISE,
    SHRINKING,
    SKIP,
    Explanation,
    activations,
    factor,
    gains_of,
    geometric_mean,
    named,
    unnormalised,
)
from pytest_gradhealth.record import Finding

__all__ = ["RULE", "find"]

MIN_REACH = Limit("min_reach", 1e-4, 0, 1, "SHARE", "Smallest reach of the first quarter of the layers")
RULE = Rule(
    code="GH101",
    slug="vanishing-gradient",
    title="vanishing gradient",
    summary="The gradient fades on its way back, so that the early layers learn slowly or not at all.",
    family=VANISHING,
    limits=(MIN_REACH,),
    provisional=True,
    theory="""\
In a deep network the gradient is multiplied once per layer, by the slope of the activation and by the weights
([Bengio et al., 1994](https://doi.org/10.1109/72.279181); [Glorot & Bengio,
2010](https://proceedings.mlr.press/v9/glorot10a.html)). Sigmoid's slope is at most 0.25, so a stack of sigmoid
layers loses a factor of ten every one or two layers: the reach is near 3e-4 after 4 layers, 9e-8 after 8 and 4e-11
after 12. The default limit lies four decades below the strongest layer: Adam compensates for any factor up to
there, and healthy architectures stay above it.

In the ordered phase of a deep network, gradients and the differences between samples die out at the same rate per
layer ([Schoenholz et al., 2017](https://arxiv.org/abs/1611.01232)). Where both are seen, less of each is enough: a
reach below 1e-2 is a finding where samples differ by less than `min_variation`.""",
    remedies=(
        "Use ReLU or GELU with He initialisation.",
        "Add normalisation layers or skip connections.",
        "Where one layer alone loses the gradient, check its weights.",
    ),
    sick="""\
hidden = [layer for _ in range(8) for layer in (nn.Linear(16, 16), nn.Sigmoid())]
model = nn.Sequential(*hidden, nn.Linear(16, 4))
batch = torch.randn(32, 16), torch.randint(4, (32,))
loss = F.cross_entropy
""",
    healthy="""\
layers = [nn.Linear(16, 16) for _ in range(8)]
for layer in layers:
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
model = nn.Sequential(*(part for layer in layers for part in (layer, nn.ReLU())), nn.Linear(16, 4))
batch = torch.randn(32, 16), torch.randint(4, (32,))
loss = F.cross_entropy
""",
)

WITNESS = 1e-2
"""Reach below which a gradient counts as lost where the forward signal is lost too: half of the way, in decades."""
SLOPES = {"Sigmoid": "0.25", "Hardsigmoid": "0.17", "Softmax": "0.25"}
"""Largest slope of activations that shrink every signal."""


def find(view: View) -> Iterator[Finding]:
    """The first quarter of the layers has a small reach."""
    limit = view.limits.min_reach
    if limit is None or not view.front or not view.strongest:
        return
    last = max(view.front, key=lambda layer: layer.reach)
    variation = view.variation
    constant = view.samples_differ and variation is not None and variation < (view.limits.min_variation or 0.0)
    if last.reach >= limit and not (constant and last.reach < WITNESS):
        return
    stretch = localise.vanishing_stretch(view)
    why = f"({MIN_REACH.at(limit)})"
    if last.reach >= limit:
        why = f"and samples differ by only {variation:.1e} at the output"
    yield RULE.finding(
        stretch,
        f"reach is {last.reach:.1e} up to {named(last.name)} {why}, lost {localise.span(view, stretch)}",
        value=last.reach,
        limit=limit,
        limit_name=MIN_REACH.name,
        **_explanation(view, stretch),
    )


def _explanation(view: View, stretch: Sequence[str]) -> Explanation:
    """The rate at which the signal shrinks, and the activation that shrinks it."""
    if broken := unnormalised(view, view.unnormalised):
        return broken
    rate = geometric_mean([1 / gain for gain in gains_of(view, stretch)])
    kind, count = (activations(view, stretch).most_common(1) or [("", 0)])[0]
    where = f"through {count} {kind} layers" if count > 1 else f"at {stretch[0]!r}"
    cause = f"the signal shrinks {factor(rate)} per layer {where}" if rate > 1 else f"the signal is lost {where}"
    if kind in SLOPES:
        cause += f"; {kind.lower()}'s slope is at most {SLOPES[kind]}"
    if kind in SHRINKING:
        return Explanation(cause=cause, remedy=f"use ReLU or GELU with He initialisation, or {SKIP}")
    if len(stretch) == 1:
        return Explanation(cause=cause, remedy=f"check the weights of {stretch[0]!r}: {INITIALISE}")
    return Explanation(cause=cause, remedy=f"{INITIALISE}, or {SKIP}")
