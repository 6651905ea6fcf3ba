"""What the package raises."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_gradhealth.record import Check

__all__ = [
    "ConfigurationError",
    "GradientHealthError",
    "GradientHealthWarning",
    "MeasurementError",
    "RankFailedError",
    "RankLostError",
    "WatchingUnavailable",
    "counted",
    "unknown",
]


class GradientHealthError(AssertionError):
    """A model's gradients broke a limit. ``check`` holds the record and the findings."""

    __module__ = "pytest_gradhealth"

    def __init__(self, message: str, check: Check | None = None) -> None:
        super().__init__(message)
        self.check = check


class MeasurementError(ValueError):
    """Nothing could be measured with what was given; the message names it and the way out."""

    __module__ = "pytest_gradhealth"


class RankLostError(MeasurementError):
    """A process that trains the model together with this one did not answer, so that none of them can go on."""

    __module__ = "pytest_gradhealth"


class RankFailedError(AssertionError):
    """One of the processes that a test has started raised, or ended; the message names its rank."""

    __module__ = "pytest_gradhealth"


class WatchingUnavailable(MeasurementError):
    """This version of torch gives a watch no place to look from; a check still measures."""

    __module__ = "pytest_gradhealth"


class ConfigurationError(ValueError):
    """A limit, a setting or a marker is impossible; the message names it, its value and what is allowed."""

    __module__ = "pytest_gradhealth"


class GradientHealthWarning(UserWarning):
    """A measurement says less than it seems to."""

    __module__ = "pytest_gradhealth"


def counted(number: int, thing: str) -> str:
    """A number of things in words: ``1 layer``, ``2 layers``."""
    return f"{number} {thing}{'s' if number != 1 else ''}"


def unknown(name: str, allowed: Iterable[str]) -> str:
    """The rest of a sentence about a name that does not exist: it, the nearest one, and all that do."""
    import difflib

    names = sorted(allowed)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{name!r}; {hint}allowed: {', '.join(names)}"
