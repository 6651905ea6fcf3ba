"""What is allowed."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from fnmatch import fnmatchcase
from typing import Any

from pytest_gradhealth.errors import ConfigurationError

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits a record is judged by. ``None`` means that a limit is off.

    Raises:
        ConfigurationError: a value is of the wrong type, out of range, or contradicts another.
    """

    max_ratio: float | None = field(default=None, metadata={"low": 1.0})
    """Strongest over weakest layer's gradient norm (at least 1)."""
    min_norm: float | None = field(default=None, metadata={"low": 0.0})
    """Smallest gradient norm of any layer."""
    max_norm: float | None = field(default=None, metadata={"low": 0.0})
    """Largest gradient norm of any layer."""
    min_reach: float | None = field(default=1e-4, metadata={"low": 0.0, "high": 1.0})
    """Smallest reach of the first quarter of the layers (0 to 1)."""
    max_dead: float | None = field(default=0.9, metadata={"low": 0.0, "high": 1.0})
    """Largest share (0 to 1) of a layer's units with an exactly zero gradient."""
    min_time_reach: float | None = field(default=1e-6, metadata={"low": 0.0, "high": 1.0})
    """Smallest gradient at the first quarter of a recurrence over that at the last, from 100 steps on. Gated cells
    (LSTM, GRU) are judged only by a limit of your own: training opens their gates."""
    min_variation: float | None = field(default=1e-3, metadata={"low": 0.0, "high": 1.0})
    """Smallest difference between samples, relative to the signal, that must be left in the last quarter."""
    min_token_variation: float | None = field(default=1e-5, metadata={"low": 0.0, "high": 1.0})
    """The same between the positions of a sequence: below it they have become one."""
    min_amplitude: float | None = field(default=1e-4, metadata={"low": 0.0})
    """Smallest root mean square, in the last quarter, of what differs between samples: the loss has to tell them
    apart by numbers of order one."""
    max_elasticity: float | None = field(default=1e3, metadata={"low": 0.0})
    """Largest relative change of the loss for a relative change of one layer's weights."""
    min_elasticity: float | None = field(default=1e-5, metadata={"low": 0.0})
    """The same for the strongest layer: below it the loss does not depend on the weights."""
    max_growth: float | None = field(default=1e2, metadata={"low": 1.0})
    """Largest growth of the signal's root mean square on its way forward, up to the output."""
    max_initial_loss: float | None = field(default=30.0, metadata={"low": 1.0})
    """Largest cross entropy at the first look over that of a uniform guess (ln of the number of classes), and largest
    outputs of a regression over its targets (or over 1)."""
    max_saturation: float | None = field(default=0.65, metadata={"low": 0.0, "high": 1.0})
    """Largest share of outputs at which a bounded activation (tanh and its kin) has next to no slope, in the median of
    three such modules or more. Tanh gets there with pre-activations of a root mean square of 6.6."""
    min_gradient_rms: float | None = field(default=1e-11, metadata={"low": 0.0})
    """Smallest root mean square of a gradient's elements in the layer where it is largest. Adam adds 1e-8 to what it
    divides by, so that a thousandth of that moves weights by a thousandth of the learning rate."""
    ignore: tuple[str, ...] = ()
    """Layers that are measured but not judged, as shell-style patterns."""
    layers: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    """Other limits for the layers that match a pattern: ``{"head.*": {"min_norm": 1e-6}}``."""

    def __post_init__(self) -> None:
        for name in self.scalars():
            _require_number(name, getattr(self, name))
        object.__setattr__(self, "ignore", _patterns(self.ignore))
        for pattern, changes in _overrides(self.layers).items():
            self._require_known(pattern, changes)
        if self.min_norm is not None and self.max_norm is not None and self.min_norm > self.max_norm:
            raise ConfigurationError(
                f"min_norm={self.min_norm:g} is above max_norm={self.max_norm:g}: no layer can meet both"
            )

    @classmethod
    def scalars(cls) -> tuple[str, ...]:
        """Names of the limits that are one number."""
        return tuple(f.name for f in fields(cls) if f.metadata)

    def judges(self, layer: str) -> bool:
        """Whether the layer is judged at all."""
        return not any(fnmatchcase(layer, pattern) for pattern in self.ignore)

    def of(self, layer: str) -> Limits:
        """The limits of one layer: later patterns win over earlier ones."""
        changes = [found for pattern, found in self.layers.items() if fnmatchcase(layer, pattern)]
        merged: dict[str, Any] = {name: value for found in changes for name, value in found.items()}
        return replace(self, layers={}, **merged) if changes else self

    def to_dict(self) -> dict[str, Any]:
        """The limits that are on, JSON-safe."""
        return {name: value for name, value in asdict(self).items() if value not in (None, (), {})}

    def _require_known(self, pattern: str, changes: Mapping[str, float | None]) -> None:
        for name, value in changes.items():
            if name not in self.scalars():
                allowed = ", ".join(self.scalars())
                raise ConfigurationError(
                    f"layers[{pattern!r}] sets {name!r}, which is no limit; a layer can have {allowed}"
                )
            _require_number(name, value, where=f"layers[{pattern!r}]: ")


def _require_number(name: str, value: object, where: str = "") -> None:
    if value is None:
        return
    bounds = Limits.__dataclass_fields__[name].metadata
    low, high = bounds["low"], bounds.get("high", math.inf)
    allowed = f"a number from {low:g} to {high:g}" if high < math.inf else f"a number of at least {low:g}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigurationError(f"{where}{name}={value!r} must be {allowed}, or None to switch it off")
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        raise ConfigurationError(f"{where}{name} is a number of {value.bit_length()} bits: it must be {allowed}")
    if not low <= value <= high:
        raise ConfigurationError(f"{where}{name}={value!r} is out of range: it must be {allowed}")


def _patterns(ignore: object) -> tuple[str, ...]:
    if isinstance(ignore, str):
        return (ignore,)
    if isinstance(ignore, list | tuple | set | frozenset) and all(isinstance(pattern, str) for pattern in ignore):
        return tuple(ignore)
    raise ConfigurationError(f"ignore={ignore!r} must be layer-name patterns, as in ignore=['head.*']")


def _overrides(layers: object) -> Mapping[str, Mapping[str, float | None]]:
    example = "as in layers={'head.*': {'min_norm': 1e-6}}"
    if not isinstance(layers, Mapping):
        raise ConfigurationError(f"layers={layers!r} must map layer-name patterns to limits, {example}")
    for pattern, changes in layers.items():
        if not isinstance(pattern, str) or not isinstance(changes, Mapping):
            raise ConfigurationError(f"layers[{pattern!r}]={changes!r} must be a mapping of limits, {example}")
    return layers
