"""What is missing in one pass and comes in another: layers dropped and tokens routed at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pytest_gradhealth.record import GradientRecord, LayerGradient

__all__ = ["with_arrivals"]


def with_arrivals(record: GradientRecord, others: Sequence[GradientRecord]) -> GradientRecord:
    """The record, with a parameter missing only where none of the others brought it a gradient either."""
    by_name: list[dict[str, LayerGradient]] = [{layer.name: layer for layer in other} for other in others]
    layers = (_arrived(layer, [found[layer.name] for found in by_name if layer.name in found]) for layer in record)
    return replace(record, layers=tuple(layers))


def _arrived(layer: LayerGradient, others: Sequence[LayerGradient]) -> LayerGradient:
    if not layer.missing:
        return layer
    missing = tuple(name for name in layer.missing if all(name in other.missing for other in others))
    shown = layer if layer.arrived else next((other for other in others if other.arrived), layer)
    return replace(shown, missing=missing)
