"""What a forecast said of a model at another size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_gradhealth.record.plain import Plain

__all__ = ["Curve", "Projection"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve(Plain):
    """One number over the first axis of a ladder of sizes, up to the target."""

    name: str
    """As in ``reach``."""
    law: str
    """How it changes, as in ``x0.31 per depth``."""
    limit_name: str = ""
    """The limit on it; empty: it has none."""
    limit: float | None = None
    breaks: bool = False
    """Whether the forecast breaks its limit."""
    measured_at: tuple[int, ...] = ()
    """Size of each measured model."""
    measured: tuple[float, ...] = ()
    """What was measured there."""
    sizes: tuple[int, ...] = ()
    """Sizes at which the law and its band are given, ascending; the last is the target."""
    low: tuple[float, ...] = ()
    """Lower end of the band that holds nine of ten measurements."""
    middle: tuple[float, ...] = ()
    """The law itself."""
    high: tuple[float, ...] = ()
    """Upper end of the band."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection(Plain):
    """A forecast as plain data."""

    sentence: str
    """The verdict, with the number that decides."""
    text: str
    """Verdict, table and notes at 80 columns."""
    healthy: bool
    """Whether no limit would be broken."""
    axis: str
    """The axis that the curves are drawn over, as in ``depth``."""
    target: Mapping[str, int] = field(default_factory=dict)
    curves: tuple[Curve, ...] = ()
    notes: tuple[str, ...] = ()
    """Why it should be trusted less."""
