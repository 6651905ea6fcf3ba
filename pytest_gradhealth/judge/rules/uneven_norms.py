"""GH703: two gradient norms are further apart than your own limit."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pytest_gradhealth.judge.families import OWN
from pytest_gradhealth.judge.rule import Limit, Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding

__all__ = ["RULE", "find"]

MAX_RATIO = Limit("max_ratio", None, 1, None, "FACTOR", "Strongest over weakest layer's gradient norm")
RULE = Rule(
    code="GH703",
    slug="uneven-norms",
    title="uneven gradient norms",
    summary="The gradient norms of two layers are further apart than the limit that you set.",
    family=OWN,
    limits=(MAX_RATIO,),
    when_silenced=True,
    theory="""\
Layers of different sizes and scales have different norms in healthy networks too, so there is no default. With
plain SGD, which has one learning rate for all layers, a bound on the ratio is a bound on how unevenly layers train.""",
)


def find(view: View) -> Iterator[Finding]:
    """The strongest layer's norm over the weakest layer's is large."""
    limit = view.limits.max_ratio
    norms = {layer.name: layer.norm for layer in view.trained if layer.norm is not None}
    if limit is None or len(norms) < 2:
        return
    weakest, strongest = min(norms, key=norms.__getitem__), max(norms, key=norms.__getitem__)
    value = norms[strongest] / norms[weakest] if norms[weakest] else math.inf
    if value > limit:
        yield RULE.finding(
            [weakest, strongest],
            f"gradient norm of {weakest!r} is {value:.1e} times smaller than that of {strongest!r} "
            f"({MAX_RATIO.at(limit)})",
            value=value,
            limit=limit,
            limit_name=MAX_RATIO.name,
        )
