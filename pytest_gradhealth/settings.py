"""How models are measured and judged."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass, field

from pytest_gradhealth.errors import ConfigurationError
from pytest_gradhealth.judge.limits import Limits

__all__ = ["Settings"]

DEVICES = r"auto|all|cpu|mps|(cuda|xpu)(:\d+)?"

DTYPES = ("float32", "bfloat16", "float16", "autocast-bfloat16", "autocast-float16")
FORMATS = ("bfloat16", "float16", "float8_e4m3fn", "float8_e5m2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How models are measured and judged.

    Raises:
        ConfigurationError: a value is impossible.
    """

    limits: Limits = field(default_factory=Limits)
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda``, ``cuda:N``, ``mps``, ``xpu`` or ``all``."""
    device_from: str = "device"
    """Where the device was chosen, for the error where it is not there."""
    seed: int = 0
    """Seed of every random number generator while measuring."""
    max_batches: int = 4
    """Batches taken from an iterable at most."""
    try_seconds: float = 5.0
    """Time spent on trying cures on copies of a model that failed its check; 0: none are tried."""
    selftest_seconds: float = 60.0
    """Time spent on the self-test of one model, where it is asked for."""
    histograms: bool = False
    """Whether to look at every element of every gradient, for histograms and norms of order inf."""

    dtypes: tuple[str, ...] = ()
    """Precisions that a check is made in, one after the other; empty: the model's own."""
    formats: tuple[str, ...] = ()
    """Formats for which is forecast what gradients lose in them."""
    learning_rate: float | None = None
    """The one for which a check tells what rounding takes from updates; None: it does not."""

    def __post_init__(self) -> None:
        if not isinstance(self.device, str) or not re.fullmatch(DEVICES, self.device):
            raise ConfigurationError(f"device={self.device!r} must be one of auto, all, cpu, cuda, cuda:N, mps, xpu")
        for name, known in (("dtypes", DTYPES), ("formats", FORMATS)):
            object.__setattr__(self, name, _names(name, getattr(self, name), known))
        _require_int("seed", self.seed, low=0, high=2**64 - 1)
        _require_int("max_batches", self.max_batches, low=1)
        _require_seconds("try_seconds", self.try_seconds)
        _require_seconds("selftest_seconds", self.selftest_seconds)
        rate = self.learning_rate
        if rate is not None and (
            isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < math.inf
        ):
            raise ConfigurationError(f"learning_rate={rate!r} must be a number above 0")
        if not isinstance(self.histograms, bool):
            raise ConfigurationError(f"histograms={self.histograms!r} must be True or False")


def _names(field_name: str, given: object, known: Collection[str]) -> tuple[str, ...]:
    """Names of a list; a text may hold several with commas between."""
    entries = [given] if isinstance(given, str) else given
    if not isinstance(entries, Collection):
        raise ConfigurationError(f"{field_name}={given!r} must be a list of {', '.join(known)}")
    found: list[str] = []
    for entry in entries:
        found += [part.strip() for part in entry.split(",")] if isinstance(entry, str) else [entry]
    for name in found:
        if name not in known:
            raise ConfigurationError(f"{field_name}={given!r}: {name!r} must be one of {', '.join(known)}")
    return tuple(dict.fromkeys(found))


def _require_int(name: str, value: object, low: int, high: float = math.inf) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise ConfigurationError(f"{name}={value!r} must be a whole number of at least {low}")
    if value > high:
        raise ConfigurationError(f"{name}={value!r} must be a whole number of at most {high}")


def _require_seconds(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ConfigurationError(f"{name}={value!r} must be a number of seconds, 0 or more")
