"""A check as text: the verdict in its first line, then the layer-by-layer table in forward order."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pytest_gradhealth.record import Check, LayerGradient

__all__ = ["render", "render_failure", "verdict"]

CONTEXT = 1
"""Healthy layers shown on either side of one that matters."""
UNFOLDED = 16
"""Models of up to so many layers are never folded."""
NARROWEST = {"layer": 12, "kind": 9, "finding": 11}
"""Widths below which the columns that hold words tell nothing."""
DECADES = 8
"""Orders of magnitude of the gradient norm that a bar spans, from the strongest layer down."""


@dataclass(frozen=True)
class _Symbols:
    sick: str
    ellipsis: str
    bar: str
    empty: str
    rule: str


UNICODE = _Symbols(sick="✗", ellipsis="…", bar="█", empty="·", rule="─")
ASCII = _Symbols(sick="x", ellipsis="~", bar="#", empty=".", rule="-")


def verdict(check: Check) -> str:
    """One sentence that stands alone: the culprit layer, the number and the limit."""
    if check.healthy:
        return _line(f"{check.name}: {'healthy' if check.judged else 'measured'} ({_circumstances(check)})")
    first, *others = check.findings
    more = f" (+{len(others)} more finding{'s' if len(others) > 1 else ''})" if others else ""
    return _line(f"{first.headline} in {check.name}: {first.message}{more}")


def render_failure(check: Check, *, width: int = 80, ascii_only: bool = False, verbosity: int = 0) -> str:
    """The text of a failed check: the verdict, cause and remedy of every finding, then the table."""
    return render(check, width=width, ascii_only=ascii_only, verbosity=verbosity)


def render(check: Check, *, width: int = 80, ascii_only: bool = False, verbosity: int = 0) -> str:
    """A check as shown in a report: verdict first, then cause and remedy, then the table.

    Args:
        check: what to show.
        width: columns to fit in.
        ascii_only: use no character beyond ASCII.
        verbosity: below 0 the verdict only, above 0 every layer.
    """
    lines = [verdict(check)]
    if verbosity >= 0:
        symbols = ASCII if ascii_only else UNICODE
        lines += [*_reasons(check, width), "", *_table(check, width, symbols, verbosity)]
    text = "\n".join(lines)
    return text.encode("ascii", "replace").decode() if ascii_only else text


def _circumstances(check: Check) -> str:
    record = check.record
    batches = f"{record.batches} batch{'es' if record.batches != 1 else ''}"
    loss = "" if record.loss is None else f", loss {record.loss:.3g}"
    return f"{len(record)} layers, {batches}, {record.device} {record.precision}{loss}"


def _reasons(check: Check, width: int) -> Iterator[str]:
    import textwrap

    def wrapped(text: str, start: str, indent: int) -> list[str]:
        sentence, _, command = text.partition("\n")
        margin = " " * indent  # an option's name is one word
        lines = textwrap.wrap(
            _line(sentence), width, initial_indent=start, subsequent_indent=margin, break_on_hyphens=False
        )
        return [*lines, margin + _line(command)] if command else lines

    for finding in check.findings:
        if len(check.findings) > 1:
            yield from wrapped(f"{finding.headline}: {finding.message}", "  ", 4)
        for label, text in (("cause", finding.cause), ("remedy", finding.remedy)):
            yield from wrapped(text, f"  {label + ':':<8}", 10)
    for note in check.record.notes:
        yield from wrapped(note, "  note:   ", 10)


def _table(check: Check, width: int, symbols: _Symbols, verbosity: int) -> list[str]:
    from tabulate import DataRow, TableFormat, tabulate

    marks, extra, shown = _marks(check, symbols), list(check.columns), list(_folded(check, verbosity))
    strongest = max((_finite(layer.norm) for layer in check.record), default=0.0)
    titles = ["layer", "kind", "params", "grad", "reach", "gain", "dead", "size", *map(_line, extra), "finding"]
    rows = [titles, *(_row(item, check, marks, extra, strongest, symbols) for item in shown)]
    columns = _fitting(list(zip(*rows, strict=True)), width, symbols)
    layout = TableFormat(None, None, None, None, DataRow("", " ", ""), DataRow("", " ", ""), 0, None)
    align = ["left" if column[0] in ("layer", "kind", "size", "finding") else "right" for column in columns]
    # Without headers, for which tabulate would widen every column by two.
    text = tabulate(list(zip(*columns, strict=True)), tablefmt=layout, colalign=align, disable_numparse=True)
    lines = [line.rstrip() for line in text.splitlines()]
    for index, item in enumerate(shown, start=1):
        if isinstance(item, str):  # a fold has no columns
            lines[index] = _shortened(f"{symbols.ellipsis} {item}", width, symbols)
    lines.insert(1, " ".join(symbols.rule * max(map(len, column)) for column in columns))
    return lines


Column = Sequence[str]


def _fitting(columns: list[Column], width: int, symbols: _Symbols) -> list[Column]:
    """The columns that fit, the less telling ones left out; layer, kind and finding share the room that is left."""
    own = [column[0] for column in columns[8:-1]]
    for title in ("size", "params", "gain", *own, "dead", "kind", "reach"):
        if sum(map(_narrowest, columns)) + len(columns) - 1 <= width:
            break
        columns = [column for column in columns if column[0] != title]
    widths = {column[0]: _narrowest(column) for column in columns}
    natural = {column[0]: max(map(len, column)) for column in columns}
    spare = width - sum(widths.values()) - len(columns) + 1
    for title, share in (("finding", 1 / 2), ("kind", 1 / 3), ("layer", 1), ("finding", 1), ("kind", 1)):
        more = min(natural.get(title, 0) - widths.get(title, 0), max(int(spare * share), 0))
        widths[title] = widths.get(title, 0) + more
        spare -= more
    return [[_shortened(text, widths[column[0]], symbols) for text in column] for column in columns]


def _narrowest(column: Column) -> int:
    """The width below which a column tells nothing."""
    natural = max(map(len, column))
    return min(natural, NARROWEST.get(column[0], natural))


def _row(
    item: LayerGradient | str,
    check: Check,
    marks: dict[str, str],
    extra: Sequence[str],
    strongest: float,
    symbols: _Symbols,
) -> list[str]:
    if isinstance(item, str):
        return [""] * (9 + len(extra))
    own = [_line(str(check.columns[title].get(item.name, ""))) for title in extra]
    return [
        _named(item),
        _line(item.kind),
        _count(item.parameters),
        _norm(item),
        "" if item.frozen else _number(item.reach),
        _number(item.gain),
        f"{item.dead:.0%}" if item.units and item.norm is not None else "",
        _bar(item.norm, strongest, symbols),
        *own,
        marks.get(item.name, ""),
    ]


def _named(layer: LayerGradient) -> str:
    name = layer.name or "(model)"
    return _line(f"{name} = {', '.join(layer.tied)}" if layer.tied else name)


def _norm(layer: LayerGradient) -> str:
    if layer.frozen:
        return "frozen"
    return "none" if layer.norm is None else _number(layer.norm)


def _marks(check: Check, symbols: _Symbols) -> dict[str, str]:
    """The last column: what was found at a layer, or why an odd number there is meant to be."""
    marks = {name: _line(reason) for name, reason in check.by_design.items()}
    for finding in check.findings:
        for layer in finding.layers:
            kinds = marks.get(layer, "") if layer in marks and layer not in check.by_design else symbols.sick
            marks[layer] = f"{kinds} {_line(finding.fault)}" if finding.fault not in kinds else kinds
    return marks


def _folded(check: Check, verbosity: int) -> Iterator[LayerGradient | str]:
    """Layers that matter with their neighbours, the first and the last; words stand for those between."""
    layers = check.record.layers
    shown = set(range(len(layers))) if verbosity > 0 or len(layers) <= UNFOLDED else _shown(check)
    sick = {name for finding in check.findings for name in finding.layers}
    for visible, group in itertools.groupby(range(len(layers)), key=shown.__contains__):
        indices = list(group)
        if visible or len(indices) == 1:  # the words would take a line too
            yield from (layers[i] for i in indices)
            continue
        bad = sum(layers[i].name in sick for i in indices)
        yield f"{len(indices)} {f'layers, {bad} with findings' if bad else 'healthy layers'}"


def _shown(check: Check) -> set[int]:
    """Positions of the layers that are not folded away."""
    layers = check.record.layers
    culprits = {finding.layer for finding in check.findings}
    matter = _ends(check, {name for finding in check.findings for name in finding.layers})
    if len(matter) < UNFOLDED:
        designed = _ends(check, set(check.by_design))
        matter |= designed if len(matter | designed) <= UNFOLDED else set()
    matter |= {i for i, layer in enumerate(layers) if layer.name in culprits}
    matter |= {0, 1, len(layers) - 2, len(layers) - 1}
    return {j for i in matter for j in range(i - CONTEXT, i + CONTEXT + 1) if 0 <= j < len(layers)}


def _ends(check: Check, names: set[str]) -> set[int]:
    """Positions of layers by name; of a long stretch of them both ends."""
    found = [i for i, layer in enumerate(check.record.layers) if layer.name in names]
    half = UNFOLDED // 2
    return set(found if len(found) <= UNFOLDED else found[:half] + found[-half:])


def _bar(norm: float | None, strongest: float, symbols: _Symbols) -> str:
    """One block per order of magnitude, from ``DECADES`` below the strongest layer up to it."""
    if not norm or not strongest or not math.isfinite(norm):
        return symbols.empty * DECADES
    filled = round(DECADES + math.log10(norm) - math.log10(strongest))  # their quotient may leave the range of a float
    filled = min(max(filled, 0), DECADES)
    return symbols.bar * filled + symbols.empty * (DECADES - filled)


def _shortened(text: str, width: int, symbols: _Symbols) -> str:
    """Both ends of a long name: the front tells the block, the end the layer."""
    if len(text) <= width:
        return text
    front = (width - len(symbols.ellipsis)) // 2
    return text[:front] + symbols.ellipsis + text[len(text) - (width - len(symbols.ellipsis) - front) :]


def _line(text: str) -> str:
    """Names may hold anything: nothing that breaks the line, moves the cursor or reverses the text comes through."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _count(parameters: int) -> str:
    if parameters < 1000:
        return str(parameters)
    for unit, size in (("k", 1e3), ("M", 1e6), ("G", 1e9)):
        if parameters < 999.5 * size:  # else it would round up to 1e+03
            return f"{parameters / size:.3g}{unit}"
    return f"{parameters / 1e12:.3g}T"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    if 0.01 <= abs(value) < 999.5:
        return f"{value:.0f}" if abs(value) >= 99.5 else f"{value:.2g}"
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits}e{int(exponent)}"


def _finite(value: float | None) -> float:
    return value if value is not None and math.isfinite(value) else 0.0
