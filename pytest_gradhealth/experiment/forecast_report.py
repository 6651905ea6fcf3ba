"""A forecast as text: the verdict in one sentence, then every number over the ladder and at the target."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Iterator, Sequence

from pytest_gradhealth.experiment.forecast import Forecast, Quantity, Size, named
from pytest_gradhealth.record import Curve, Projection

__all__ = ["projection", "render", "sentence"]

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
