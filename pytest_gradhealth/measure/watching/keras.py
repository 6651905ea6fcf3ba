"""Keras 3 on torch: its models are torch modules, but keep their layers in lists of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

__all__ = ["as_torch", "leaves"]


def as_torch(model: nn.Module) -> nn.Module:
    """The model itself; for a Keras model a stand-in whose children are its layers, with the same parameters."""
    if not hasattr(type(model), "_flatten_layers"):
        return model
    view = _named(type(model))
    for name, layer in leaves(model):
        child = view._modules[name] = _named(type(layer))
        for variable in layer._trainable_variables + layer._non_trainable_variables:
            if isinstance(variable.value, nn.Parameter):
                child._parameters[variable.name] = variable.value
    return view


def leaves(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Every layer that holds no other, under a name without dots."""
    taken: set[str] = set()
    for layer in model._flatten_layers(include_self=False):  # type: ignore[operator]
        if not layer._layers:
            name = layer.name if layer.name not in taken else f"{layer.name}_{len(taken)}"
            taken.add(name)
            yield name.replace(".", "_"), layer


def _named(kind: type) -> nn.Module:
    """An empty module that calls itself like another."""
    made: nn.Module = type(kind.__name__, (nn.Module,), {"__module__": kind.__module__})()
    return made
