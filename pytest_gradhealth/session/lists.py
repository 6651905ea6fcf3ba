"""Options that hold several values: what is selected, ignored, and limited for some layers alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pytest_gradhealth.errors import ConfigurationError

__all__ = ["entries", "limits_of_layers"]

EXAMPLE = "'head.*:min_norm=1e-6,max_dead=off'"


def entries(values: Sequence[Any]) -> list[Any]:
    """One entry for each value. A line of an ini file may hold several, as a list in the way of TOML."""
    found: list[Any] = []
    for value in values:
        listed = _list(value) if isinstance(value, str) and value.startswith("[") else None
        found += [value] if listed is None else listed
    return found


def _list(line: str) -> list[Any] | None:
    """None: no list, but a pattern that begins with a set of characters."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, list) else None


def limits_of_layers(given: Sequence[Any]) -> dict[str, dict[str, float | str]]:
    """Limits by name for each pattern of layers, from entries ``PATTERN:LIMIT=VALUE,...``.

    Raises:
        ConfigurationError: an entry reads otherwise.
    """
    found: dict[str, dict[str, float | str]] = {}
    for entry in given:
        pattern, colon, changes = str(entry).rpartition(":")
        if not (pattern and colon):
            raise ConfigurationError(f"layers={entry!r} must read PATTERN:LIMIT=VALUE, as in {EXAMPLE}")
        found.setdefault(pattern, {}).update(_change(entry, change) for change in changes.split(","))
    return found


def _change(entry: str, change: str) -> tuple[str, float | str]:
    name, equals, value = (part.strip() for part in change.partition("="))
    if not (name and equals and value):
        raise ConfigurationError(f"layers={entry!r} must read PATTERN:LIMIT=VALUE, as in {EXAMPLE}")
    try:
        return name, float(value)
    except ValueError:
        return name, value  # off, or an error that names the limit
