"""The columns of a record that a baseline keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_gradhealth.record import GradientRecord

__all__ = ["FACTS", "Numbers", "Profile"]

Numbers = Sequence[float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The columns of a record that a baseline keeps, each in forward order."""

    names: Sequence[str]
    kinds: Sequence[str]
    shapes: Sequence[Sequence[int]]
    norm: Numbers
    reach: Numbers
    signal: Numbers
    gain: Numbers
    weight: Numbers
    facts: Mapping[str, Any]
    """``model``, ``torch``, ``device``, ``precision``, ``seed``, ``batches``, ``samples``, ``loss``."""

    @classmethod
    def of(cls, record: GradientRecord) -> Profile:
        """The columns of a record."""
        layers = record.layers
        return cls(
            names=[layer.name for layer in layers],
            kinds=[layer.kind for layer in layers],
            shapes=[layer.shape for layer in layers],
            norm=[layer.norm for layer in layers],
            reach=[layer.reach for layer in layers],
            signal=[layer.signal for layer in layers],
            gain=[layer.gain for layer in layers],
            weight=[layer.weight_norm for layer in layers],
            facts={name: getattr(record, name) for name in FACTS},
        )

    @classmethod
    def load(cls, data: Mapping[str, Any]) -> Profile:
        """The columns of a record in the form of ``GradientRecord.to_dict()``, without building the record.

        Raises:
            TypeError, ValueError, KeyError, AttributeError: the data is not of that form.
        """
        layers = data.get("layers", ())
        names = [layer["name"] for layer in layers]
        if len(set(names)) != len(names) or not all(isinstance(name, str) for name in names):
            raise ValueError("layer names must be unique strings")
        return cls(
            names=names,
            kinds=[layer["kind"] for layer in layers],
            shapes=[layer.get("shape", ()) for layer in layers],
            norm=_column(layers, "norm", None),
            reach=_column(layers, "reach", 0.0),
            signal=_column(layers, "signal", None),
            gain=_column(layers, "gain", None),
            weight=_column(layers, "weight_norm", 0.0),
            facts={name: data.get(name, default) for name, default in FACTS.items()},
        )

    def column(self, quantity: str) -> Numbers:
        """The values of ``norm``, ``reach`` or ``signal``."""
        values: Numbers = getattr(self, quantity)
        return values


FACTS: Mapping[str, Any] = {
    "model": "",
    "torch": "",
    "device": "cpu",
    "precision": "float32",
    "seed": None,
    "batches": 1,
    "samples": None,
    "loss": None,
}


def _column(layers: Sequence[Mapping[str, Any]], name: str, default: float | None) -> Numbers:
    values = [layer.get(name, default) for layer in layers]
    try:
        # That there is nothing but numbers, by far the most common case, is known from one sum in C.
        sum(filter(None, values))
    except TypeError:
        return [None if value is None else float(value) for value in values]
    return values
