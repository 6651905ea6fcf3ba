"""GH702: a gradient norm is above your own limit."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.judge.families import OWN
from pytest_gradhealth.judge.rule import Limit, Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding

__all__ = ["RULE", "find"]

MAX_NORM = Limit("max_norm", None, 0, None, "NORM", "Largest gradient norm of any layer")
RULE = Rule(
    code="GH702",
    slug="large-norm",
    title="large gradient norm",
    summary="The gradient norm of a layer is above the limit that you set.",
    family=OWN,
    limits=(MAX_NORM,),
    when_silenced=True,
    theory="""\
An absolute norm depends on the size of the layer and on the scale of the loss, so there is no default. A useful
limit is the norm at which training clips ([Pascanu et al.,
2013](https://proceedings.mlr.press/v28/pascanu13.html)).""",
)


def find(view: View) -> Iterator[Finding]:
    """Layers whose gradient norm is above the limit."""
    for layer in view.trained:
        limit, norm = view.limits.of(layer.name).max_norm, layer.norm or 0.0
        if limit is not None and norm > limit:
            yield RULE.finding(
                [layer.name],
                f"gradient norm of {layer.name or '(model)'!r} is {norm:.1e}, above {MAX_NORM.at(limit)}",
                value=norm,
                limit=limit,
                limit_name=MAX_NORM.name,
            )
