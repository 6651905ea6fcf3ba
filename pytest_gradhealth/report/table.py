"""A check as text: the verdict in its first line, then the layer-by-layer table in forward order."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from pytest_gradhealth.record import Check, GradientRecord, LayerGradient
from pytest_gradhealth.report import rows as select
from pytest_gradhealth.report.rows import Row
from pytest_gradhealth.report.text import (
    ASCII,
    UNICODE,
    Symbols,
    abbreviated,
    count,
    ends,
    finite,
    narrowest,
    number,
    one_line,
)
from pytest_gradhealth.report.verdict import reasons, verdict, ways_out

__all__ = ["render", "render_failure", "verdict"]

NARROWEST = {"kind": 9, "finding": 11}
"""Widths below which the columns that hold words tell nothing."""
SHORTEST_NAME = 12
DECADES = 8
"""Orders of magnitude of the gradient norm that a bar spans, from the strongest layer down."""
LEFT_OUT = "  table:  hidden by -q; verbosity_gradhealth = 0 (ini file) shows it"


def render_failure(check: Check, *, width: int = 80, ascii_only: bool = False, verbosity: int = 0) -> str:
    """The text of a failed check: as :func:`render`, with how to change or accept what was found as its last lines."""
    text = render(check, width=width, ascii_only=ascii_only, verbosity=verbosity)
    ways = list(ways_out(check))
    return _plain("\n".join([text, *([""] if ways else []), *ways]), ascii_only)


def render(check: Check, *, width: int = 80, ascii_only: bool = False, verbosity: int = 0) -> str:
    """A check as shown in a report: verdict first, then cause and remedy, then the table.

    Args:
        check: what to show.
        width: columns to fit in.
        ascii_only: use no character beyond ASCII.
        verbosity: below 0 no table, above 0 every layer.
    """
    lines = [verdict(check), *reasons(check, width, verbosity)]
    if verbosity >= 0:
        title = select.pass_title(check)
        lines += ["", *([title] if title else []), *_table(check, width, ASCII if ascii_only else UNICODE, verbosity)]
    elif not check.healthy:
        lines.append(LEFT_OUT)
    return _plain("\n".join(lines), ascii_only)


def _plain(text: str, ascii_only: bool) -> str:
    return text.encode("ascii", "replace").decode() if ascii_only else text


def _table(check: Check, width: int, symbols: Symbols, verbosity: int) -> list[str]:
    from tabulate import DataRow, TableFormat, tabulate

    record = select.pass_of(check)
    shown = list(select.folded(check, select.rows(check, record), verbosity))
    columns = _fitting(_columns(check, record, shown, symbols), _needed(check, record), width, symbols)
    layout = TableFormat(None, None, None, None, DataRow("", " ", ""), DataRow("", " ", ""), 0, None)
    align = ["left" if column[0] in ("layer", "kind", "size", "finding") else "right" for column in columns]
    # Without headers, for which tabulate would widen every column by two.
    text = tabulate(list(zip(*columns, strict=True)), tablefmt=layout, colalign=align, disable_numparse=True)
    lines = [line.rstrip() for line in text.splitlines()]
    for index, item in enumerate(shown, start=1):
        if isinstance(item, str):  # a fold has no columns
            lines[index] = ends(f"{symbols.ellipsis} {item}", width, symbols)
    lines.insert(1, " ".join(symbols.rule * max(map(len, column)) for column in columns))
    return lines


Column = Sequence[str]


def _columns(check: Check, record: GradientRecord, shown: Sequence[Row | str], symbols: Symbols) -> list[Column]:
    """Every column as its title and one cell for each row; a fold's cells are empty."""
    marks = _marks(check, symbols)
    strongest = max((finite(layer.norm) for layer in record), default=0.0)
    layer_cells: dict[str, Callable[[LayerGradient], str]] = {
        "params": lambda layer: count(layer.parameters),
        "grad": _norm,
        "reach": lambda layer: "" if layer.frozen else number(layer.reach),
        "gain": lambda layer: number(layer.gain),
        "dead": lambda layer: f"{layer.dead:.0%}" if layer.units and layer.norm is not None else "",
        "size": lambda layer: _bar(layer.norm, strongest, symbols),
    }
    cells: dict[str, Callable[[Row], str]] = {"layer": _named, "kind": lambda row: one_line(row.kind)}
    for title, text in layer_cells.items():
        cells[title] = lambda row, text=text: text(row.layer) if row.layer else ""  # type: ignore[misc]
    for title, value in select.evidence(check, record).items():
        cells[title] = lambda row, value=value: number(value(row))  # type: ignore[misc]
    for title, own in check.columns.items():
        cells[one_line(title)] = lambda row, own=own: one_line(str(own.get(row.name, "")))  # type: ignore[misc]
    cells["finding"] = lambda row: marks.get(row.name, "")
    return [[title, *("" if isinstance(row, str) else cell(row) for row in shown)] for title, cell in cells.items()]


def _needed(check: Check, record: GradientRecord) -> set[str]:
    """Columns that the verdict's own numbers stand in."""
    limits = {finding.limit_name for finding in check.findings}
    reach = {"reach"} if "min_reach" in limits else set()
    dead = {"dead"} if "max_dead" in limits else set()
    return {*select.evidence(check, record), *reach, *dead}


def _fitting(columns: list[Column], needed: set[str], width: int, symbols: Symbols) -> list[Column]:
    """The columns that fit, the less telling ones left out; layer, kind and finding share the room that is left.

    Names of layers stay apart before any other column is kept, but for those that the verdict speaks of.
    """
    known = ("layer", "kind", "params", "grad", "reach", "gain", "dead", "size", "finding")
    own = [column[0] for column in columns if column[0] not in known]
    order = ["size", "params", "gain", *own, "dead", "kind", "reach"]
    for title in sorted(order, key=needed.__contains__):
        if sum(_narrowest(column, symbols) for column in columns) + len(columns) - 1 <= width:
            break
        columns = [column for column in columns if column[0] != title]
    widths = {column[0]: _narrowest(column, symbols) for column in columns}
    natural = {column[0]: max(map(len, column)) for column in columns}
    spare = width - sum(widths.values()) - len(columns) + 1
    if spare < 0:  # names that take more than there is
        widths["layer"] = max(widths["layer"] + spare, SHORTEST_NAME)
    for title, share in (("finding", 1 / 2), ("kind", 1 / 3), ("layer", 1), ("finding", 1), ("kind", 1)):
        more = min(natural.get(title, 0) - widths.get(title, 0), max(int(spare * share), 0))
        widths[title] = widths.get(title, 0) + more
        spare -= more
    return [_shortened(column, widths[column[0]], symbols) for column in columns]


def _narrowest(column: Column, symbols: Symbols) -> int:
    """The width below which a column tells nothing."""
    natural = max(map(len, column))
    if column[0] == "layer":
        return min(natural, max(SHORTEST_NAME, narrowest(column[1:], symbols)))
    return min(natural, NARROWEST.get(column[0], natural))


def _shortened(column: Column, width: int, symbols: Symbols) -> Column:
    if column[0] == "layer":
        return [column[0], *abbreviated(column[1:], width, symbols)]
    return [ends(text, width, symbols) for text in column]


def _named(row: Row) -> str:
    name = row.name or "(model)"
    tied = row.layer.tied if row.layer else ()
    return one_line(f"{name} = {', '.join(tied)}" if tied else name)


def _norm(layer: LayerGradient) -> str:
    if layer.frozen:
        return "frozen"
    return "none" if layer.norm is None else number(layer.norm)


def _marks(check: Check, symbols: Symbols) -> dict[str, str]:
    """The last column: what was found at a layer, or why an odd number there is meant to be."""
    marks = {name: one_line(reason) for name, reason in check.by_design.items()}
    for finding in check.findings:
        for layer in finding.layers:
            kinds = marks.get(layer, "") if layer in marks and layer not in check.by_design else symbols.sick
            marks[layer] = f"{kinds} {one_line(finding.fault)}" if finding.fault not in kinds else kinds
    return marks


def _bar(norm: float | None, strongest: float, symbols: Symbols) -> str:
    """One block per order of magnitude, from ``DECADES`` below the strongest layer up to it."""
    if not norm or not strongest or norm < 0 or not math.isfinite(norm):
        return symbols.empty * DECADES
    filled = round(DECADES + math.log10(norm) - math.log10(strongest))  # their quotient may leave the range of a float
    filled = min(max(filled, 0), DECADES)
    return symbols.bar * filled + symbols.empty * (DECADES - filled)
