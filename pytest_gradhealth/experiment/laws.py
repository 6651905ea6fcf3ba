"""How a number changes with the size of a model: laws fitted in logarithms, with a prediction band."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["COVERAGE", "Band", "Law", "fit"]

COVERAGE = 0.9
"""Share of measurements that a band should hold."""
STUDENT = {1: 6.31, 2: 2.92, 3: 2.35, 4: 2.13, 5: 2.02, 6: 1.94, 7: 1.89, 8: 1.86, 9: 1.83, 12: 1.78, 20: 1.72}
"""Student's t of 0.95 by degrees of freedom; 1.70 beyond."""
PLAUSIBLE = 1e-3
"""Likelihood, relative to the best law's, from which a law counts: where two do, the band holds both."""
EXACT = 0.02
"""Decades of scatter below which one law is no likelier than another: three points lie on a line by chance."""
FLOOR = 0.05
"""Decades by which a number scatters at least."""
DEVIATION = 0.3
"""Share of what a law adds beyond the measured sizes by which it may be wrong, as a standard deviation: real laws bend.
This and ``FLOOR`` were set on every second family of ``benchmarks.experiment.forecast``."""
CENTRAL = 1.645
"""Standard deviations to either side that hold nine tenths of a normal distribution."""
SMALLEST = 1e-45
"""What float32 can hold: below it a number is lost."""

Sizes = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Band:
    """A forecast: the middle, and what holds nine of ten measurements. In the number's own unit."""

    low: float
    middle: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True)
class _Form:
    """One law: exponential in depth (a factor for each layer), or a power of it; in all else a power."""

    name: str
    logarithmic: frozenset[str]
    axes: tuple[str, ...]

    def row(self, sizes: Sizes) -> list[float]:
        return [1.0, *(math.log10(sizes[a]) if a in self.logarithmic else float(sizes[a]) for a in self.axes)]


class _Fit:
    """A form with its coefficients, by least squares of the decimal logarithm."""

    def __init__(self, form: _Form, sizes: Sequence[Sizes], values: Sequence[float]) -> None:
        self.form = form
        rows = np.array([form.row(size) for size in sizes])
        logs = np.log10(np.maximum(values, SMALLEST))
        self.coefficients, *_ = np.linalg.lstsq(rows, logs, rcond=None)
        self._within = rows @ self.coefficients
        self._inverse = np.linalg.pinv(rows.T @ rows)
        self.freedom = max(len(values) - rows.shape[1], 1)
        squares = float(((rows @ self.coefficients - logs) ** 2).sum())
        scatter = math.sqrt(squares / self.freedom)
        self.scatter = max(scatter, FLOOR)
        self.likelihood = -len(values) * math.log(max(scatter, EXACT))

    def band(self, sizes: Sizes) -> tuple[float, float, float]:
        """Decimal logarithms of the prediction interval."""
        row = np.array(self.form.row(sizes))
        middle = float(row @ self.coefficients)
        width = student(self.freedom) * self.scatter * math.sqrt(1 + float(row @ self._inverse @ row))
        beyond = float(np.abs(self._within - middle).min())
        width = math.hypot(width, CENTRAL * DEVIATION * beyond)
        return middle - width, middle, middle + width


@dataclass(frozen=True)
class Law:
    """What is known of one number: the likeliest law, and others that cannot be ruled out."""

    fits: tuple[_Fit, ...]

    @property
    def scatter(self) -> float:
        """Standard deviation of the measurements around the law, in decades."""
        return self.fits[0].scatter

    def at(self, sizes: Sizes) -> Band:
        """The forecast for a size."""
        found = [fit.band(sizes) for fit in self.fits]
        low, high = min(low for low, _, _ in found), max(high for _, _, high in found)
        return Band(low=_power(low), middle=_power(found[0][1]), high=_power(high))

    @property
    def words(self) -> str:
        """As in ``x0.31 for each depth`` or ``depth^-0.5``."""
        best = self.fits[0]
        parts = []
        for axis, slope in zip(best.form.axes, best.coefficients[1:], strict=True):
            power = f"{axis}^{slope:.2g}"
            parts.append(power if axis in best.form.logarithmic else f"x{_power(float(slope)):.2g} per {axis}")
        return ", ".join(parts)


def fit(sizes: Sequence[Sizes], values: Sequence[float]) -> Law:
    """The laws that explain positive values at these sizes, the likeliest first.

    Args:
        sizes: the size of each measurement by axis, as in ``{"depth": 8}``; axes that do not vary are left out.
        values: what was measured, positive.
    """
    axes = tuple(axis for axis in sizes[0] if len({size[axis] for size in sizes}) > 1)
    powers = _Form("power", frozenset(axes), axes)
    forms = [_Form("exponential", frozenset(axes) - {"depth"}, axes), powers] if "depth" in axes else [powers]
    fits = sorted((_Fit(form, sizes, values) for form in forms), key=lambda fit: -fit.likelihood)
    return Law(tuple(f for f in fits if f.likelihood > fits[0].likelihood + math.log(PLAUSIBLE)))


def student(freedom: int) -> float:
    """Student's t of 0.95."""
    return next((STUDENT[known] for known in sorted(STUDENT) if known >= freedom), 1.70)


def _power(exponent: float) -> float:
    return float(10.0 ** min(max(exponent, -300.0), 300.0))
