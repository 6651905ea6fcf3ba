"""One forward and backward pass, as numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pytest_gradhealth.measure.passes.histogram import Tally
from pytest_gradhealth.measure.passes.paths import Upstream
from pytest_gradhealth.record import LossGraph

__all__ = ["ModulePass", "ParameterPass", "Pass"]


@dataclass(frozen=True, slots=True)
class ModulePass:
    """What one pass showed at one module. ``numbers`` holds what :func:`statistics.describe` names, and more."""

    kind: str
    order: float
    calls: int
    attached: bool
    fed: bool | None
    numbers: dict[str, float]


@dataclass(frozen=True, slots=True)
class ParameterPass:
    """The gradient of one parameter in one pass; ``alive`` marks the units that received any, shape (units,)."""

    norm: float
    nan: int
    inf: int
    alive: npt.NDArray[np.bool_] | None
    tallies: tuple[Tally, ...] = ()
    """Its elements, one tally for each contribution; empty: not asked for."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One forward and backward pass, as numbers. Modules and parameters go by their first name in the model."""

    modules: dict[str, ModulePass]
    parameters: dict[str, ParameterPass]
    loss: float | None
    objective: LossGraph | None = None
    upstream: Upstream = field(default_factory=Upstream)
