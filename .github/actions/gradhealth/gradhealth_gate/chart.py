"""A check's profile over depth beside the base's, as a Mermaid chart, which GitHub draws."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pytest_gradhealth.record import Check

__all__ = ["profile_chart"]

POINTS = 60
LOWEST = -20.0
COLOURS = {"base": "#8c8c8c", "head": "#3b6fd4"}

Profile = Sequence[float | None]


def profile_chart(head: Check, base: Check | None) -> list[str]:
    """Gradient norms over the layers; nothing where there is no line to draw.

    Mermaid has no logarithmic axis, so the exponents are drawn. No name is in the chart, since one could break it.
    """
    norms = [_exponent(layer.norm) for layer in head.record]
    before = {} if base is None else {layer.name: _exponent(layer.norm) for layer in base.record}
    chosen = _chosen(len(norms))
    curves: dict[str, Profile] = {"head": [norms[i] for i in chosen]}
    if before:
        curves = {"base": [before.get(head.record.names[i]) for i in chosen], **curves}
    values = [value for curve in curves.values() for value in curve if value is not None]
    return _drawn(chosen, curves, min(values), max(values)) if len(chosen) > 1 and values else []


def _drawn(chosen: Sequence[int], curves: dict[str, Profile], least: float, most: float) -> list[str]:
    low, high = math.floor(least), math.floor(most) + 1
    palette = ", ".join(COLOURS[name] for name in curves)
    lines = [f"  line [{', '.join(f'{low if v is None else v:.2f}' for v in curve)}]" for curve in curves.values()]
    legend = "grey base, blue head" if "base" in curves else "blue head"
    return [
        "```mermaid",
        f'%%{{init: {{"themeVariables": {{"xyChart": {{"plotColorPalette": "{palette}"}}}}}}}}%%',
        "xychart-beta",
        f'  x-axis "layer, from input to loss" 1 --> {chosen[-1] + 1}',
        f'  y-axis "power of ten" {low} --> {high}',
        *lines,
        "```",
        f"<sub>gradient norm: {legend}</sub>",
        "",
    ]


def _chosen(count: int) -> list[int]:
    """All layers, or as many as a chart has points, evenly spaced from the first to the last."""
    points = min(count, POINTS)
    return [round(i * (count - 1) / max(points - 1, 1)) for i in range(points)]


def _exponent(value: float | None) -> float | None:
    if value is None or not math.isfinite(value) or value <= 0:
        return None
    return max(math.log10(value), LOWEST)
