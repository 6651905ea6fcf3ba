"""A forecast, and how it reads: the verdict in one sentence, then every number over the ladder and at the target."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pytest_gradhealth.experiment.laws import Band, Law
from pytest_gradhealth.record import Curve, Projection

__all__ = ["Forecast", "Quantity", "Size", "bounded", "named", "projection", "render", "sentence"]

DRAWN = 24
"""Sizes at which a curve is drawn."""

KINDS = {
    "min_reach": "vanishing",
    "min_variation": "collapsed",
    "min_token_variation": "collapsed",
    "min_amplitude": "negligible",
    "min_gradient_rms": "negligible",
    "min_elasticity": "negligible",
    "max_elasticity": "exploding",
    "max_growth": "exploding",
    "max_initial_loss": "exploding",
    "max_saturation": "saturated",
}
"""What the rules call it where a limit is broken."""


Size = Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One number over the ladder, and what it would be at the target."""

    name: str
    limit_name: str
    """The limit on it; empty: it has none."""
    limit: float | None
    measured: tuple[tuple[Size, float], ...]
    """Size and number of each measurement."""
    law: Law
    at_target: Band
    since: int | None = None
    """The smallest size along the first axis from which the limit is broken; None: it is not, up to the target."""

    def at(self, size: Size) -> Band:
        """The forecast for any size."""
        return bounded(self.limit_name, self.law.at(size))

    @property
    def breaks(self) -> bool:
        """Whether the forecast breaks its limit."""
        return self._beyond(self.at_target.middle)

    @property
    def certain(self) -> bool:
        """Whether the whole band lies on one side of the limit."""
        return self._beyond(self.at_target.low) == self._beyond(self.at_target.high)

    def _beyond(self, value: float) -> bool:
        if self.limit is None:
            return False
        return value < self.limit if self.limit_name.startswith("min_") else value > self.limit


@dataclass(frozen=True, kw_only=True, repr=False)
class Forecast:
    """What a model would be at another size. Prints as a sentence and a table."""

    model: str
    target: Size
    quantities: tuple[Quantity, ...]
    rungs: tuple[tuple[Size, str], ...]
    """Each size of the ladder with its verdict: ``healthy``, or the kind of its first finding."""
    notes: tuple[str, ...] = ()
    """Why it should be trusted less."""

    @property
    def healthy(self) -> bool:
        """Whether no limit would be broken."""
        return not self.broken

    @property
    def broken(self) -> tuple[Quantity, ...]:
        """Numbers that would break their limit."""
        return tuple(quantity for quantity in self.quantities if quantity.breaks)

    @property
    def certain(self) -> bool:
        """Whether the band leaves no other verdict."""
        sick = [quantity for quantity in self.quantities if quantity.breaks and quantity.certain]
        return bool(sick) or all(quantity.certain for quantity in self.quantities)

    def __getitem__(self, name: str) -> Quantity:
        """A quantity by its name, as in ``reach``."""
        return next(quantity for quantity in self.quantities if quantity.name == name)

    def __repr__(self) -> str:
        return f"<Forecast of {sentence(self)}>"

    def __str__(self) -> str:
        return render(self)


def named(size: Size) -> str:
    """As in ``depth=8, width=64``."""
    return ", ".join(f"{axis}={value}" for axis, value in size.items())


def bounded(limit_name: str, band: Band) -> Band:
    """Shares are never above 1."""
    if limit_name not in ("min_reach", "max_saturation"):
        return band
    return Band(low=min(band.low, 1.0), middle=min(band.middle, 1.0), high=min(band.high, 1.0))


def sentence(forecast: Forecast) -> str:
    """The verdict in one sentence, with the number that decides."""
    rungs = [size for size, verdict in forecast.rungs if verdict == "healthy"]
    last, verdict = forecast.rungs[-1]
    small = f"healthy at {named(rungs[-1])}; " if rungs else f"{verdict} at {named(last)}; "
    place = f"at {named(forecast.target)}"
    if forecast.healthy:
        sure = "" if forecast.certain else " probably"
        return f"{forecast.model}: {small}{place}{sure} healthy too"
    worst = forecast.broken[0]
    since = f" from about {next(iter(forecast.target))}={worst.since} on" if worst.since else ""
    sure = "" if forecast.certain else "probably "
    return (
        f"{forecast.model}: {small}{place} {worst.name} would be {_with_band(worst)}: "
        f"{sure}{KINDS.get(worst.limit_name, 'sick')}{since}"
    )


def render(forecast: Forecast, *, width: int = 80) -> str:
    """The sentence, the table and the notes.

    Args:
        forecast: what to show.
        width: columns to fit in.
    """
    sizes = [size for size, _ in forecast.rungs]
    shown = sizes if len(sizes) <= 3 else [sizes[0], sizes[len(sizes) // 2], sizes[-1]]
    header = ["", *("/".join(map(str, size.values())) for size in shown), named(forecast.target), "limit", "law"]
    rows = [list(_row(quantity, shown)) for quantity in _told_once(forecast.quantities)]
    columns = [[title, *cells] for title, *cells in zip(header, *rows, strict=True)]
    widths = [max(map(len, column)) for column in columns]
    table = [" ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in [header, *rows]]
    table.insert(1, " ".join("-" * width for width in widths))
    lines = textwrap.wrap(sentence(forecast), width, subsequent_indent="  ", break_on_hyphens=False)
    notes = (textwrap.wrap(f"note: {note}", width, subsequent_indent="  ") for note in forecast.notes)
    return "\n".join([*lines, "", *(line.rstrip() for line in table), *(line for note in notes for line in note)])


def projection(forecast: Forecast) -> Projection:
    """The forecast as plain data, with the law and its band from the smallest size measured to the target."""
    axis = next(iter(forecast.target))
    return Projection(
        sentence=sentence(forecast),
        text=render(forecast),
        healthy=forecast.healthy,
        axis=axis,
        target=dict(forecast.target),
        curves=tuple(_curve(quantity, axis, forecast.target) for quantity in _told_once(forecast.quantities)),
        notes=forecast.notes,
    )


def _curve(quantity: Quantity, axis: str, target: Size) -> Curve:
    sizes = _spread(min(size[axis] for size, _ in quantity.measured), target[axis])
    bands = [quantity.at({**target, axis: size}) for size in sizes]
    return Curve(
        name=quantity.name,
        law=quantity.law.words,
        limit_name=quantity.limit_name,
        limit=quantity.limit,
        breaks=quantity.breaks,
        measured_at=tuple(size[axis] for size, _ in quantity.measured),
        measured=tuple(value for _, value in quantity.measured),
        sizes=sizes,
        low=tuple(band.low for band in bands),
        middle=tuple(band.middle for band in bands),
        high=tuple(band.high for band in bands),
    )


def _spread(first: int, last: int) -> tuple[int, ...]:
    """Whole numbers at equal ratios, both ends included."""
    found = {round(first * (last / first) ** (step / (DRAWN - 1))) for step in range(DRAWN)}
    return tuple(sorted(found | {first, last}))


def _told_once(quantities: Sequence[Quantity]) -> Iterator[Quantity]:
    """Without those that another one tells already: what has a smallest and a largest value allowed."""
    seen: set[str] = set()
    for quantity in sorted(quantities, key=lambda quantity: not quantity.breaks):
        if quantity.name not in seen:
            seen.add(quantity.name)
            yield quantity


def _row(quantity: Quantity, sizes: list[Size]) -> Iterator[str]:
    yield quantity.name
    for size in sizes:
        yield _number(statistics.median(value for where, value in quantity.measured if where == size))
    yield _with_band(quantity)
    sign = "<" if quantity.limit_name.startswith("max_") else ">"
    yield "" if quantity.limit is None else f"{'x ' if quantity.breaks else ''}{sign}{_number(quantity.limit)}"
    yield quantity.law.words


def _with_band(quantity: Quantity) -> str:
    band = quantity.at_target
    return f"{_number(band.middle)} ({_number(band.low)}..{_number(band.high)})"


def _number(value: float) -> str:
    if value and not 1e-3 <= abs(value) < 1e4:
        mantissa, exponent = f"{value:.0e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    return f"{value:.2g}" if value < 100 else f"{value:.0f}"
