"""Which rows and which columns a table has: what tells something about the verdict, in the pass that it speaks of."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import isclose

from pytest_gradhealth.record import Check, Finding, GradientRecord, LayerGradient, Signal

__all__ = ["Row", "evidence", "folded", "pass_of", "pass_title", "rows"]

CONTEXT = 1
"""Healthy layers shown on either side of one that matters."""
UNFOLDED = 16
"""Models of up to so many layers are never folded."""
MOST = 20
"""Lines that a folded table takes, folds included."""


@dataclass(frozen=True)
class Row:
    """A layer, or another module that a finding names."""

    name: str
    kind: str
    order: int
    layer: LayerGradient | None = None


def pass_of(check: Check) -> GradientRecord:
    """The pass whose numbers broke the limit: the first, or the later one where only that shows the fault."""
    record = check.record
    if record.later is None or not check.findings:
        return record
    first = check.findings[0]
    return record if _shows(record, first) or not _shows(record.later, first) else record.later


def _shows(record: GradientRecord, finding: Finding) -> bool:
    """Whether the numbers of a pass agree with a finding whose number a later pass may have."""
    found = [layer for layer in record if layer.name in finding.layers]
    if finding.fault == "non-finite":
        loss = record.loss
        return any(layer.nan or layer.inf for layer in record) or (loss is not None and not abs(loss) < float("inf"))
    if finding.fault == "dead" and finding.value is not None and found:
        return any(_close(layer.dead, finding.value) or layer.norm == 0 for layer in found)
    return True


def pass_title(check: Check) -> str:
    """Which of several passes the table is of; empty: there is one only."""
    record, later = check.record, check.record.later
    if later is None:
        return ""
    watched = record.seed is None
    shown = pass_of(check)
    if watched:
        return f"numbers of pass {shown.steps + 1} of {later.steps + 1}"
    steps = f"{later.steps} optimiser step{'s' if later.steps != 1 else ''}"
    return f"numbers after {steps}" if shown is later else f"numbers before training; looked at again after {steps}"


def rows(check: Check, record: GradientRecord) -> list[Row]:
    """Every layer in forward order, and each module without parameters that a finding names."""
    made = [Row(layer.name, layer.kind, layer.order or 0, layer) for layer in record]
    named = {name for finding in check.findings for name in finding.layers} - set(record.names)
    for signal in record.signals:
        if signal.name in named:
            place = next((i for i, row in enumerate(made) if row.layer and _after(row.layer, signal)), len(made))
            made.insert(place, Row(signal.name, signal.kind, signal.order))
    return made


def _after(layer: LayerGradient, signal: Signal) -> bool:
    return layer.order is not None and layer.order > signal.order


Evidence = Callable[[GradientRecord, Row], float | None]


def evidence(check: Check, record: GradientRecord) -> dict[str, Callable[[Row], float | None]]:
    """Columns besides the usual ones, by title: the numbers that the findings speak of."""
    titles = dict.fromkeys(title for finding in check.findings for title in _titles(finding, record))
    found: dict[str, Callable[[Row], float | None]] = {}
    for title in titles:
        cell = _cells(title, record)
        if any(cell(row) is not None for row in rows(check, record)):
            found[title] = cell
    return found


LIMITS = {
    "min_variation": "variation",
    "min_token_variation": "tokens",
    "min_amplitude": "amplitude",
    "max_growth": "rms",
    "max_initial_loss": "rms",
    "max_elasticity": "elasticity",
    "min_elasticity": "elasticity",
    "max_saturation": "saturated",
    "max_output_scale": "rms",
    "min_time_reach": "time reach",
    "min_position_reach": "position reach",
    "min_gradient_rms": "grad rms",
}
KINDS = {"collapse": "variation", "weak": "rms", "symmetric": "units"}
"""Columns of findings that break no limit of the user's."""


def _titles(finding: Finding, record: GradientRecord) -> Iterator[str]:
    if finding.limit_name in LIMITS:
        yield LIMITS[finding.limit_name]
    elif finding.limit_name == "min_reach":
        if "samples differ" in finding.message:
            yield "variation"
    elif finding.fault in KINDS:
        yield KINDS[finding.fault]
    elif finding.fault == "vanishing":
        yield "time reach"
    elif finding.fault == "non-finite":
        yield "nan+inf"


SIGNALS: Mapping[str, Callable[[Signal], float | None]] = {
    "variation": lambda signal: signal.sample_variation,
    "tokens": lambda signal: signal.token_variation,
    "amplitude": lambda signal: signal.amplitude,
    "rms": lambda signal: signal.rms,
    "saturated": lambda signal: signal.saturation,
    "time reach": lambda signal: signal.time_reach,
    "position reach": lambda signal: signal.position_reach,
}


def _cells(title: str, record: GradientRecord) -> Callable[[Row], float | None]:
    if title in SIGNALS:
        return lambda row: _behind(row, record, SIGNALS[title])

    def cell(row: Row) -> float | None:
        layer = row.layer
        if layer is None:
            return None
        if title == "units":
            return layer.units or None
        if title == "nan+inf":
            return layer.nan + layer.inf or None
        if title == "elasticity":
            return layer.sensitivity / abs(record.loss) if record.loss else None
        return None if layer.norm is None or not layer.trainable else layer.norm / layer.trainable**0.5

    return cell


def _behind(row: Row, record: GradientRecord, value: Callable[[Signal], float | None]) -> float | None:
    """The number of a module's output, else of the first module behind it that has one, up to the next layer."""
    orders = sorted(layer.order for layer in record if layer.order is not None and layer.order > row.order)
    end = orders[0] if orders else float("inf")
    here = (signal for signal in record.signals if signal.name == row.name or row.order < signal.order < end)
    return next((found for signal in here if (found := value(signal)) is not None), None)


def folded(check: Check, given: list[Row], verbosity: int) -> Iterator[Row | str]:
    """Rows that matter with their neighbours, the first and the last; words stand for those between."""
    shown = set(range(len(given))) if verbosity > 0 or len(given) <= UNFOLDED else _shown(check, given)
    sick = {name for finding in check.findings for name in finding.layers}
    for visible, group in itertools.groupby(range(len(given)), key=shown.__contains__):
        indices = list(group)
        if visible or len(indices) == 1:  # the words would take a line too
            yield from (given[i] for i in indices)
            continue
        bad = sum(given[i].name in sick for i in indices)
        yield f"{len(indices)} {f'layers, {bad} with findings' if bad else 'healthy layers'}"


def _shown(check: Check, given: list[Row]) -> set[int]:
    """Positions that are not folded away: the most telling first, as long as there is room for them."""
    shown: set[int] = set()
    for wanted in _by_rank(check, given):
        more = shown | {i for i in wanted if 0 <= i < len(given)}
        if _lines(more, len(given)) <= MOST:
            shown = more
    return shown


def _by_rank(check: Check, given: list[Row]) -> Iterator[list[int]]:
    """Groups of positions, the most telling first."""
    places = {row.name: i for i, row in enumerate(given)}
    culprits = [places[f.layer] for f in check.findings if f.layer in places]
    sick = sorted({places[name] for f in check.findings for name in f.layers if name in places})
    yield [0, len(given) - 1]
    yield from ([i] for i in culprits)
    runs = [[i for _, i in run] for _, run in itertools.groupby(enumerate(sick), lambda pair: pair[1] - pair[0])]
    yield from ([run[0], run[-1]] for run in runs)
    yield from ([i - CONTEXT, i + CONTEXT] for i in culprits)
    yield [1, len(given) - 2]
    yield from ([run[0] - CONTEXT, run[-1] + CONTEXT] for run in runs)
    for step in range(1, MOST):
        yield from ([i] for run in runs for i in (run[:step][-1], run[-step:][0]))
    yield from ([places[name]] for name in check.by_design if name in places)


def _lines(shown: set[int], count: int) -> int:
    """Lines of a table that shows these rows, with one for each fold between them."""
    known = sorted(shown | {-1, count})
    return len(shown) + sum(after - before > 1 for before, after in itertools.pairwise(known))


def _close(value: float | None, other: float | None) -> bool:
    return value is not None and other is not None and isclose(value, other, rel_tol=1e-3)
