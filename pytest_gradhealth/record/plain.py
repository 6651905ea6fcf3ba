"""Dataclasses that become JSON-safe data, and come back.

This is the one place where numbers become Python floats, so that a record can cross a process boundary
(xdist serialises plain scalars only) and be written as JSON without a tensor or a NumPy scalar in it.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Self

__all__ = ["Plain", "encode"]


class Plain:
    """A dataclass that turns into JSON-safe data and back, field by field."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and numbers; what equals its default is left out.

        Floats keep six significant digits; non-finite ones become the strings ``nan``, ``inf`` and ``-inf``,
        since JSON has no word for them.
        """
        kind: Any = type(self)
        defaults = _defaults(kind)
        found: dict[str, Any] = {}
        for name, default in defaults.items():
            value = getattr(self, name)
            if value is not default and value != default:
                found[name] = encode(value)
        return found

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`; unknown keys are ignored, missing ones take their default."""
        kind: Any = cls
        decoders = _decoders(kind)
        return cls(**{name: decoders[name](value) for name, value in data.items() if name in decoders})


@cache
def _defaults(cls: Any) -> dict[str, Any]:
    """Every field with its default; a required field with a value that equals nothing."""
    fields = dataclasses.fields(cls)
    made = (f.default_factory() if f.default_factory is not dataclasses.MISSING else f.default for f in fields)
    return {f.name: default for f, default in zip(fields, made, strict=True)}


@cache
def _decoders(cls: Any) -> dict[str, Callable[[Any], Any]]:
    hints = typing.get_type_hints(cls)
    return {name: _decoder(hints[name]) for name in _defaults(cls)}


def _decoder(hint: Any) -> Callable[[Any], Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        inner = _decoder(next(part for part in arguments if part is not type(None)))
        return lambda value: None if value is None else inner(value)
    if origin is tuple:
        item = _decoder(arguments[0])
        return lambda value: tuple(map(item, value))
    if isinstance(hint, type) and issubclass(hint, Plain):
        return hint.from_dict
    return float if hint is float else _same


def _same(value: Any) -> Any:
    return value


def encode(value: Any) -> Any:
    """JSON-safe data of a value: see :meth:`Plain.to_dict`.

    Raises:
        TypeError: it is neither a number, a string, nor a list or mapping of them.
    """
    kind = type(value)
    if kind is float:  # most often: a record is numbers
        return float(f"{value:.6g}") if math.isfinite(value) else str(value)
    if value is None or kind in (str, int, bool):
        return value
    if isinstance(value, Plain):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str):
        return str(value)
    if not hasattr(value, "__float__"):
        raise TypeError(f"{value!r} is neither a number, a string, nor a list or mapping of them")
    return encode(float(value))
