"""A check's profile over depth beside the base's."""

from __future__ import annotations

from pytest_gradhealth.record import Check
from pytest_gradhealth.report.mermaid import Curve, depth_chart

__all__ = ["profile_chart"]


def profile_chart(head: Check, base: Check | None) -> list[str]:
    """Gradient norms over the head's layers; nothing where there is no line to draw."""
    before = {} if base is None else {layer.name: layer.norm for layer in base.record}
    curves = [Curve("blue: gradient norm", "#3b6fd4", tuple(layer.norm for layer in head.record))]
    if before:
        curves.insert(0, Curve("grey: that of the base", "#8c8c8c", tuple(map(before.get, head.record.names))))
    return depth_chart(curves)
