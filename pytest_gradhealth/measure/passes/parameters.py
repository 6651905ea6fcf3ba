"""What came to each parameter of a layer, as part of its record. No torch in here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Protocol

from pytest_gradhealth.measure.passes.histogram import Tally
from pytest_gradhealth.measure.passes.signals import median
from pytest_gradhealth.record import ParameterGradient

__all__ = ["largest_of", "parameter_gradient"]


class Came(Protocol):
    """The gradient of one parameter in one pass."""

    @property
    def norm(self) -> float: ...
    @property
    def nan(self) -> int: ...
    @property
    def inf(self) -> int: ...
    @property
    def tallies(self) -> tuple[Tally, ...]: ...


def parameter_gradient(name: str, shape: Sequence[int], passes: Sequence[Came]) -> ParameterGradient:
    """Medians over the passes in which a gradient came; ``name`` is the one within its layer."""
    return ParameterGradient(
        name=name,
        shape=tuple(shape),
        norm=median(came.norm for came in passes),
        largest=median(_largest(came) for came in passes),
    )


def _largest(came: Came) -> float | None:
    if not came.tallies:
        return None
    return math.nan if came.nan else math.inf if came.inf else largest_of(came.tallies)


def largest_of(tallies: Iterable[Tally]) -> float:
    """The largest absolute value of the finite elements."""
    return max(max(-tally.lowest, tally.highest) for tally in tallies)
