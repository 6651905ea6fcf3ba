"""GH701: a gradient norm is below your own limit."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.judge.families import OWN
from pytest_gradhealth.judge.rule import Limit, Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding

__all__ = ["RULE", "find"]

MIN_NORM = Limit("min_norm", None, 0, None, "NORM", "Smallest gradient norm of any layer")
RULE = Rule(
    code="GH701",
    slug="small-norm",
    title="small gradient norm",
    summary="The gradient norm of a layer is below the limit that you set.",
    family=OWN,
    limits=(MIN_NORM,),
    when_silenced=True,
    theory="""\
An absolute norm depends on the size of the layer and on the scale of the loss, so there is no default. Set it where
you know the model, for all layers or for some: `layers={"head.*": {"min_norm": 1e-6}}`.""",
)


def find(view: View) -> Iterator[Finding]:
    """Layers whose gradient norm is below the limit."""
    for layer in view.trained:
        limit, norm = view.limits.of(layer.name).min_norm, layer.norm or 0.0
        if limit is not None and norm < limit:
            yield RULE.finding(
                [layer.name],
                f"gradient norm of {layer.name or '(model)'!r} is {norm:.1e}, below {MIN_NORM.at(limit)}",
                value=norm,
                limit=limit,
                limit_name=MIN_NORM.name,
            )
