"""Curves over the depth of a model as a Mermaid chart, which GitHub draws wherever it shows Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Curve", "depth_chart"]

POINTS = 60
"""Layers that a chart shows of a deeper model, evenly chosen."""
LOWEST = -45.0
"""Exponent of the smallest number of float32; what is below is drawn there."""

Exponents = Sequence[float | None]


class Curve(NamedTuple):
    """One line of a chart: a value for each layer, from input to loss."""

    legend: str
    colour: str
    """Hexadecimal, as in ``#3b6fd4``."""
    values: Sequence[float | None]


def depth_chart(curves: Sequence[Curve]) -> list[str]:
    """Lines of Markdown with a chart of curves of one length; none where there is no line to draw.

    Mermaid has no logarithmic axis, so the exponents are drawn. No name from outside is in there: one could break it.
    """
    depth = len(curves[0].values) if curves else 0
    chosen = _evenly(depth)
    lines = [(curve, [_exponent(curve.values[i]) for i in chosen]) for curve in curves]
    drawn = [(curve, line) for curve, line in lines if any(value is not None for value in line)]
    return _chart(drawn, depth) if len(chosen) > 1 and drawn else []


def _chart(drawn: Sequence[tuple[Curve, Exponents]], depth: int) -> list[str]:
    values = [value for _, line in drawn for value in line if value is not None]
    low, high = math.floor(min(values)), math.floor(max(values)) + 1
    palette = ", ".join(curve.colour for curve, _ in drawn)
    lost = "; zero, missing and non-finite at the bottom" if any(None in line for _, line in drawn) else ""
    return [
        "```mermaid",
        f'%%{{init: {{"themeVariables": {{"xyChart": {{"plotColorPalette": "{palette}"}}}}}}}}%%',
        "xychart-beta",
        f'  x-axis "layer, from input to loss" 1 --> {depth}',
        f'  y-axis "power of ten" {low} --> {high}',
        *(f"  line [{', '.join(f'{low if v is None else v:.2f}' for v in line)}]" for _, line in drawn),
        "```",
        f"<sub>{', '.join(curve.legend for curve, _ in drawn)}{lost}</sub>",
        "",
    ]


def _evenly(count: int) -> list[int]:
    """At most :data:`POINTS` positions at one distance, with the first and the last."""
    points = min(count, POINTS)
    return [round(i * (count - 1) / max(points - 1, 1)) for i in range(points)]


def _exponent(value: float | None) -> float | None:
    if value is None or not math.isfinite(value) or value <= 0:
        return None
    return max(math.log10(value), LOWEST)
