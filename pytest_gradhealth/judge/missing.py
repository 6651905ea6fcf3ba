"""Trainable parameters without a gradient: cut off from the loss, or left out."""

from __future__ import annotations

from pytest_gradhealth.judge import design, localise
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import LayerGradient

__all__ = ["cut_layers", "unused_layers"]


def cut_layers(view: View) -> list[LayerGradient]:
    """Layers that were called and lost their way to the loss."""
    return [layer for layer in _lost(view) if layer.norm is None and localise.is_cut(view, layer)]


def unused_layers(view: View) -> list[LayerGradient]:
    """Layers that were never called, or whose result nothing uses, as a whole or in part."""
    cut_off = {layer.name for layer in cut_layers(view)}
    return [layer for layer in _lost(view) if layer.name not in cut_off]


def _lost(view: View) -> list[LayerGradient]:
    return [layer for layer in view.judged if layer.missing and not design.reason(view, layer)]
