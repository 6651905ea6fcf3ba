"""How the elements of a gradient are distributed, counted so that parameters and batches add up. No torch in here.

A bin is what the first bits of a float32 say: its sign, its exponent and three bits of its mantissa. So every bin is an
eighth of a power of two wide, no range has to be known before counting, and counting is a shift.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from pytest_gradhealth.record import Histogram

__all__ = ["BINS", "LARGEST", "SHIFT", "Tally", "histogram_of"]

SHIFT = 20
"""Bits of a float32 that do not matter."""
BINS = 1 << 32 - SHIFT
LARGEST = float(np.finfo(np.float32).max)
SHOWN = 8 * 8
"""Bins of either sign that a histogram has: below a 256th of its largest element, all lie in one around zero."""


@dataclass(frozen=True, slots=True)
class Tally:
    """The finite elements of one tensor. Counts by the first bits of a float32, shape (BINS,)."""

    counts: npt.NDArray[np.int64]
    lowest: float
    highest: float
    total: float
    squares: float
    unit: float = 1.0
    """What the bins' edges are to be multiplied with."""

    @classmethod
    def of(cls, array: npt.NDArray[Any]) -> Self:
        """Count an array; complex numbers are two each."""
        flat = np.ravel(array)
        values = (flat.view(flat.real.dtype) if np.iscomplexobj(flat) else flat).astype(np.float64)
        finite = values[np.isfinite(values)]
        if not finite.size:
            return cls(np.zeros(BINS, np.int64), 0.0, 0.0, 0.0, 0.0)
        bits = finite.clip(-LARGEST, LARGEST).astype(np.float32).view(np.int32)
        counts = np.bincount(bits >> SHIFT & BINS - 1, minlength=BINS)
        with np.errstate(over="ignore"):
            total, squares = float(finite.sum()), float(finite @ finite)
        return cls(counts, float(finite.min()), float(finite.max()), total, squares)

    def scaled(self, factor: float) -> Self:
        """The same elements, each multiplied with a positive factor."""
        return replace(
            self,
            lowest=self.lowest * factor,
            highest=self.highest * factor,
            total=self.total * factor,
            squares=self.squares * factor**2,
            unit=self.unit * factor,
        )


def histogram_of(tallies: Iterable[Tally]) -> Histogram | None:
    """All elements together; None: there is none. The tallies are of one unit."""
    found = [tally for tally in tallies if tally.counts.any()]
    if not found:
        return None
    edges, counts = _binned(sum((tally.counts for tally in found), np.zeros(BINS, np.int64)))
    highest = max(tally.highest for tally in found)
    return Histogram(
        lowest=min(tally.lowest for tally in found),
        highest=highest,
        total=sum(tally.total for tally in found),
        squares=sum(tally.squares for tally in found),
        edges=(*(edge * found[0].unit for edge in edges[:-1]), highest),
        counts=tuple(counts),
    )


def _binned(counts: npt.NDArray[np.int64]) -> tuple[Sequence[float], Sequence[int]]:
    """Upper edges and counts, from the lowest bin to the highest that hold anything."""
    positive, negative = counts.reshape(2, -1)
    top = int(np.flatnonzero(positive + negative)[-1])
    start = max(top + 1 - SHOWN, 1)  # the very first holds zero
    edge = (np.arange(start, top + 2, dtype=np.int32) << SHIFT).view(np.float32).astype(np.float64)
    around_zero = positive[:start].sum() + negative[:start].sum()
    binned = np.concatenate([negative[start : top + 1][::-1], [around_zero], positive[start : top + 1]])
    edges = np.concatenate([-edge[:-1][::-1], edge])
    held = np.flatnonzero(binned)
    kept = slice(held[0], held[-1] + 1)
    return edges[kept].tolist(), binned[kept].tolist()
