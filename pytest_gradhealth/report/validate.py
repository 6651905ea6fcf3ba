"""Hold plain data to a JSON Schema: the few words that this package's own schemas use, and the place of the fault."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["first_fault"]

_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}


def first_fault(value: Any, schema: Mapping[str, Any]) -> str | None:
    """The first place where ``value`` breaks ``schema``, as ``checks[2].line: expected ...``; None: it fits."""
    try:
        _check(value, schema, schema, "")
    except _FaultError as fault:
        return str(fault)
    return None


class _FaultError(Exception):
    pass


def _check(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], place: str) -> None:
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        return _check_any(value, schema["anyOf"], root, place)
    _check_type(value, schema, place)
    if "enum" in schema and value not in schema["enum"]:
        raise _FaultError(f"{place}: expected one of {', '.join(map(repr, schema['enum']))}, got {_short(value)}")
    if isinstance(value, dict):
        _check_object(value, schema, root, place)
    elif isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            _check(item, schema["items"], root, f"{place}[{index}]")
    return None


def _check_any(value: Any, choices: list[Mapping[str, Any]], root: Mapping[str, Any], place: str) -> None:
    faults = []
    for choice in choices:
        try:
            return _check(value, choice, root, place)
        except _FaultError as fault:
            faults.append(fault)
    # The choice that got furthest into the value is the one that was meant.
    raise max(faults, key=lambda fault: len(str(fault).partition(": ")[0]))


def _check_type(value: Any, schema: Mapping[str, Any], place: str) -> None:
    allowed = schema.get("type", [])
    allowed = [allowed] if isinstance(allowed, str) else allowed
    if allowed and not any(_TYPES[name](value) for name in allowed):
        raise _FaultError(f"{place or 'the document'}: expected {' or '.join(allowed)}, got {_short(value)}")
    minimum = schema.get("minimum")
    if minimum is not None and isinstance(value, int | float) and value < minimum:
        raise _FaultError(f"{place}: expected at least {minimum}, got {_short(value)}")


def _check_object(value: dict[str, Any], schema: Mapping[str, Any], root: Mapping[str, Any], place: str) -> None:
    for name in schema.get("required", ()):
        if name not in value:
            raise _FaultError(f"{place or 'the document'}: {name!r} is missing")
    properties = schema.get("properties", {})
    other = schema.get("additionalProperties")
    for name, item in value.items():
        inner = properties.get(name, other)
        if isinstance(inner, Mapping):
            _check(item, inner, root, f"{place}.{name}" if place else name)


def _short(value: Any) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "an array"
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python prints
        return "a huge number"
    return text if len(text) <= 40 else f"{text[:40]}..."
