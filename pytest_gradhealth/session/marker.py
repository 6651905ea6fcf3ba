"""``@pytest.mark.gradhealth(...)``, validated and merged per field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import pytest

from pytest_gradhealth.errors import ConfigurationError, unknown
from pytest_gradhealth.judge.limits import Limits, merged
from pytest_gradhealth.settings import Settings

__all__ = ["apply_markers"]

LIMITS = frozenset(Limits.fields())
SETTINGS = frozenset(f.name for f in fields(Settings)) - {"limits", "device_from"}
ALLOWED = LIMITS | SETTINGS | {"enabled"}


def apply_markers(item: pytest.Item, settings: Settings) -> Settings | None:
    """The settings of one test: its nearest marker wins, field by field. None: it opted out.

    Raises:
        ConfigurationError: a marker has positional arguments, an unknown field or an impossible value.
    """
    given: dict[str, Any] = {}
    place = ""
    for node, mark in _far_to_near(item):
        place = _place(node)
        _require_known(mark, place)
        _changed(Settings(), mark.kwargs, place)  # each marker must be possible by itself ...
        given = merged(given, mark.kwargs)
        if "device" in mark.kwargs:
            given["device_from"] = place
    return _changed(settings, given, place) if given.pop("enabled", True) else None  # ... and all of them together


def _far_to_near(item: pytest.Item) -> list[tuple[Any, pytest.Mark]]:
    """Every marker with the module, class or function it is on, the nearest last.

    pytest puts the marks of ``pytest.param`` behind those of the function, and those of a class behind those of the
    classes it derives from; both are nearer.
    """
    chain = item.listchain()
    found = reversed(list(item.iter_markers_with_node("gradhealth")))
    return sorted(found, key=lambda pair: (chain.index(pair[0]), _rank(*pair)))


def _rank(node: Any, mark: pytest.Mark) -> int:
    """How near a marker is among those of one node."""
    if isinstance(node, pytest.Class):
        owners = [vars(base).get("pytestmark", ()) for base in reversed(node.obj.__mro__)]
    else:
        owners = [(), getattr(getattr(node, "callspec", None), "marks", ())]
    lists = [marks if isinstance(marks, list | tuple) else (marks,) for marks in owners]
    return next((i for i, marks in enumerate(lists) if any(getattr(m, "mark", m) is mark for m in marks)), 0)


def _changed(settings: Settings, given: Mapping[str, Any], place: str) -> Settings:
    limits = {name: value for name, value in given.items() if name in LIMITS}
    others = {name: value for name, value in given.items() if name in SETTINGS | {"device_from"}}
    try:
        return replace(settings, limits=settings.limits.extended(**limits), **others)
    except ConfigurationError as error:
        raise ConfigurationError(f"{place}: {error}") from None


def _require_known(mark: pytest.Mark, place: str) -> None:
    if mark.args:
        allowed = ", ".join(sorted(ALLOWED))
        raise ConfigurationError(f"{place} takes keyword arguments only, got {mark.args[0]!r}; allowed: {allowed}")
    for name in mark.kwargs.keys() - ALLOWED:
        raise ConfigurationError(f"{place} has no field {unknown(name, ALLOWED)}")
    enabled = mark.kwargs.get("enabled", True)
    if not isinstance(enabled, bool):
        raise ConfigurationError(f"{place}: enabled={enabled!r} must be True or False")


def _place(node: Any) -> str:
    return f"@pytest.mark.gradhealth on {node.nodeid or node.name}"
