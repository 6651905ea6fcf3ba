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
    "number": lambda value: isinstance(value, (float, int)) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}

DOCUMENT = "the document"


def first_fault(value: Any, schema: Mapping[str, Any]) -> str | None:
    """The first place where ``value`` breaks ``schema``, as ``checks[2].line: expected ...``; None: it fits."""
    try:
        _check(value, schema, schema)
    except _FaultError as fault:
        return f"{fault.place or fault.whole}: {fault}"
    return None


class _FaultError(Exception):
    """What is wrong, and where: the place is told from inside out, as almost all values have no fault."""

    def __init__(self, text: str, whole: str = "") -> None:
        super().__init__(text)
        self.place, self.whole = "", whole

    def inside(self, place: str) -> None:
        """It is in what stands at this place."""
        self.place = f"{place}{self.place}" if not self.place or self.place[0] == "[" else f"{place}.{self.place}"


def _check(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> None:
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        return _check_any(value, schema["anyOf"], root)
    _check_type(value, schema)
    if "enum" in schema and value not in schema["enum"]:
        raise _FaultError(f"expected one of {', '.join(map(repr, schema['enum']))}, got {_short(value)}")
    if isinstance(value, dict):
        _check_object(value, schema, root)
    elif isinstance(value, list) and "items" in schema:
        _check_items(value, schema["items"], root)
    return None


def _check_any(value: Any, choices: list[Mapping[str, Any]], root: Mapping[str, Any]) -> None:
    faults = []
    for choice in choices:
        try:
            return _check(value, choice, root)
        except _FaultError as fault:
            faults.append(fault)
    raise max(faults, key=lambda fault: len(fault.place))  # what got furthest into the value was meant


def _check_type(value: Any, schema: Mapping[str, Any]) -> None:
    allowed = schema.get("type", ())
    for name in (allowed,) if isinstance(allowed, str) else allowed:
        if _TYPES[name](value):
            break
    else:
        if allowed:
            names = allowed if isinstance(allowed, str) else " or ".join(allowed)
            raise _FaultError(f"expected {names}, got {_short(value)}", DOCUMENT)
    minimum = schema.get("minimum")
    if minimum is not None and isinstance(value, (float, int)) and value < minimum:
        raise _FaultError(f"expected at least {minimum}, got {_short(value)}")


def _check_object(value: dict[str, Any], schema: Mapping[str, Any], root: Mapping[str, Any]) -> None:
    for name in schema.get("required", ()):
        if name not in value:
            raise _FaultError(f"{name!r} is missing", DOCUMENT)
    properties, other = schema.get("properties", {}), schema.get("additionalProperties")
    for name, item in value.items():
        inner = properties.get(name, other)
        if isinstance(inner, dict):
            try:
                _check(item, inner, root)
            except _FaultError as fault:
                fault.inside(name)
                raise


def _check_items(items: list[Any], schema: Mapping[str, Any], root: Mapping[str, Any]) -> None:
    for index, item in enumerate(items):
        try:
            _check(item, schema, root)
        except _FaultError as fault:
            fault.inside(f"[{index}]")
            raise


def _short(value: Any) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "an array"
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python prints
        return "a huge number"
    return text if len(text) <= 40 else f"{text[:40]}..."
