"""The ``gradhealth`` fixture itself: one object for the whole session, which measures for the test that runs now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytest_gradhealth.experiment.laboratory import GradHealth

__all__ = ["CurrentHealth"]


class CurrentHealth(GradHealth):
    """Hands every call on to what belongs to the test at hand, so that a fixture of any scope may hold it."""

    def __init__(self, current: Callable[[], GradHealth]) -> None:
        self._current = current

    def __getattribute__(self, name: str) -> Any:
        own = object.__getattribute__(self, "_current")
        return object.__getattribute__(self, name) if name.startswith("__") else getattr(own(), name)
