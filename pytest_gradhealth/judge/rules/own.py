"""The user's own bounds."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding, LayerGradient

__all__ = ["bounds", "ratio"]


def bounds(view: View) -> Iterator[Finding]:
    """The user's own limits on gradient norms."""
    for layer in view.trained:
        limits, norm = view.limits.of(layer.name), layer.norm or 0.0
        if limits.min_norm is not None and norm < limits.min_norm:
            yield _bound(layer, norm, limits.min_norm, "min_norm", "vanishing", "below")
        if limits.max_norm is not None and norm > limits.max_norm:
            yield _bound(layer, norm, limits.max_norm, "max_norm", "exploding", "above")


def _bound(layer: LayerGradient, norm: float, limit: float, name: str, kind: str, side: str) -> Finding:
    return Finding(
        kind=kind,
        layers=(layer.name,),
        message=f"gradient norm of {layer.name or '(model)'!r} is {norm:.1e}, {side} {name}={limit:g}",
        value=norm,
        limit=limit,
        limit_name=name,
    )


def ratio(view: View) -> Iterator[Finding]:
    """The user's own bound on strongest over weakest layer."""
    limit = view.limits.max_ratio
    if limit is None or len(view.trained) < 2:
        return
    weakest = min(view.trained, key=lambda layer: layer.norm or 0.0)
    strongest = max(view.trained, key=lambda layer: layer.norm or 0.0)
    low, high = weakest.norm or 0.0, strongest.norm or 0.0
    value = high / low if low else math.inf
    if value > limit:
        yield Finding(
            kind="ratio",
            layers=(weakest.name, strongest.name),
            message=f"gradient norm of {weakest.name!r} is {value:.1e} times smaller than that of "
            f"{strongest.name!r} (max_ratio={limit:g})",
            value=value,
            limit=limit,
            limit_name="max_ratio",
        )
