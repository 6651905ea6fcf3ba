"""Parameters that received no gradient in the passes that were measured, and do in one that was not."""

from __future__ import annotations

import weakref
from dataclasses import replace

from torch import nn

from pytest_gradhealth.record import GradientRecord, path_of

__all__ = ["LateGradients"]


class LateGradients:
    """Layers may be dropped, and tokens routed, at random: what one pass leaves out comes in another."""

    def __init__(self) -> None:
        self._awaited: dict[str, weakref.ref[nn.Parameter]] = {}
        self._came: set[str] = set()

    def await_missing(self, model: nn.Module, record: GradientRecord) -> None:
        """Look out for what this pass has left out."""
        missing = {path_of(layer.name, name) for layer in record for name in layer.missing} - self._came
        if missing:
            self._awaited = {name: weakref.ref(p) for name, p in model.named_parameters() if name in missing}

    def look(self) -> None:
        """A backward pass is over that was not measured."""
        for name, reference in list(self._awaited.items()):
            parameter = reference()
            if parameter is not None and parameter.is_leaf and parameter.grad is not None:
                self._came.add(name)
                del self._awaited[name]

    def told(self, record: GradientRecord) -> GradientRecord:
        """The record, in which nothing is missing that came later."""
        if not self._came:
            return record
        layers = tuple(
            replace(layer, missing=tuple(name for name in layer.missing if path_of(layer.name, name) not in self._came))
            for layer in record
        )
        return replace(record, layers=layers)
