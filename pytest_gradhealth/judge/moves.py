"""A layer's number that moved, and how it is told."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["QUANTITIES", "Move", "shown", "size_of", "told"]

QUANTITIES = {"norm": "gradient norm", "reach": "reach", "signal": "signal"}


@dataclass(frozen=True, slots=True)
class Move:
    """One layer's value that moved by more than the limit."""

    layer: str
    quantity: str
    """``norm``, ``reach`` or ``signal``."""
    base: float | None
    head: float | None
    ratio: float
    """Head over base, once what all layers moved by is taken out; 0 or infinite: to or from nothing; nan: no number."""
    scale: float
    """What all layers moved by; 1: they did not move together."""

    @property
    def factor(self) -> float:
        """How far, at least 1, without regard to the direction and to a common scale; infinite: to or from nothing."""
        return size_of(self.ratio)

    @property
    def change(self) -> str:
        """Both values, and how far they are apart."""
        return f"{shown(self.base)} -> {shown(self.head)} ({self._distance})"

    @property
    def _distance(self) -> str:
        if not math.isfinite(self.head or 0.0):
            return "not finite"
        if not math.isfinite(self.base or 0.0):
            return "finite again"
        return told(self.ratio) + ("" if self.scale == 1.0 or math.isinf(self.factor) else " than the others")

    def __str__(self) -> str:
        return f"{QUANTITIES[self.quantity]} of {self.layer or 'the model'} {self.change}"


def size_of(ratio: float) -> float:
    """How far a ratio is from 1, whatever its direction: at least 1, or infinite."""
    if math.isnan(ratio) or not ratio:
        return math.inf
    return max(ratio, 1 / ratio)


def told(ratio: float) -> str:
    """A ratio in words, as in ``3.2x less``."""
    size, fell = size_of(ratio), ratio < 1
    if math.isinf(size):
        return "lost" if fell else "new"
    number = f"{size:.0f}" if 100 <= size < 1e6 else f"{size:.3g}"
    return f"{number}x {'less' if fell else 'more'}"


def shown(value: float | None) -> str:
    """A number of a layer, or that it has none."""
    return "no gradient" if value is None else f"{value:.3g}"
