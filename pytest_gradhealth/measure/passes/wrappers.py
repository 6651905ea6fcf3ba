"""Layers by the names that the model's author knows, without the parts that wrappers put into them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pytest_gradhealth.record import GradientRecord, LayerGradient, Operation, Signal

__all__ = ["plain_name", "with_plain_names", "with_plain_places"]

WRAPPED = frozenset({"_checkpoint_wrapped_module", "_orig_mod"})
"""Attributes in which activation checkpointing and ``torch.compile`` keep the module that they wrap."""


def plain_name(name: str) -> str:
    """The name of a module or parameter as it would be without wrappers."""
    return ".".join(part for part in name.split(".") if part not in WRAPPED)


def with_plain_names(record: GradientRecord) -> GradientRecord:
    """The record of a model as it would be without wrappers."""
    if not any(WRAPPED & set(layer.name.split(".")) for layer in record):
        return record
    layers = map(_plain_layer, record)
    held = (replace(found, module=plain_name(found.module)) for found in record.unregistered)
    return replace(
        record,
        layers=tuple(layers),
        signals=tuple(_inner(record.signals)),
        unregistered=tuple(held),
        operations=with_plain_places(record.operations),
    )


def with_plain_places(operations: Iterable[Operation]) -> tuple[Operation, ...]:
    """The same for the modules that call operations."""
    return tuple(
        replace(one, module=plain_name(one.module), upstream=tuple(map(plain_name, one.upstream))) for one in operations
    )


def _plain_layer(layer: LayerGradient) -> LayerGradient:
    before = layer.predecessors
    return replace(
        layer,
        name=plain_name(layer.name),
        tied=tuple(map(plain_name, layer.tied)),
        predecessors=None if before is None else tuple(map(plain_name, before)),
    )


def _inner(signals: Iterable[Signal]) -> Iterable[Signal]:
    """Of a wrapper and what it wraps, the latter: it has the longer name."""
    found: dict[str, Signal] = {}
    for signal in signals:
        name = plain_name(signal.name)
        if name not in found or len(signal.name) > len(found[name].name):
            found[name] = signal
    return (replace(signal, name=name) for name, signal in found.items())
