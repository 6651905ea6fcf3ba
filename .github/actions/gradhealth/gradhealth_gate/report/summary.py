"""The job's summary page: verdict, failing layers, the profile over depth, then all that the reports tell."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from gradhealth_gate.report.chart import profile_chart
from gradhealth_gate.verdict.fault import Fault, Verdict
from gradhealth_gate.verdict.outcome import FAILING
from gradhealth_gate.verdict.pairs import Pairs
from pytest_gradhealth.compare import Comparison
from pytest_gradhealth.record import Check
from pytest_gradhealth.report.difference import render_markdown as render_comparison
from pytest_gradhealth.report.escape import code, markdown, plain
from pytest_gradhealth.report.markdown import render_markdown as render_report
from pytest_gradhealth.report.store import Report, StoredCheck

__all__ = ["LARGEST", "Findings", "headline", "render"]

LARGEST = 1_000_000
"""Bytes; GitHub drops a summary above 1 MiB as a whole."""
ROWS = 50
"""Rows of the table."""
PER_CHECK = 5
"""Faults of one check in the table: one mistake may reach every layer."""
LAYERS_SHARE = 0.6
"""Share of the room that the folded layers of one check may take."""
ICONS = {"pass": ":white_check_mark:", "fail": ":x:", "error": ":warning:"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All that a summary tells."""

    verdict: Verdict
    name: str = ""
    problem: str = ""
    """Why nothing could be judged."""
    notes: Sequence[str] = ()
    head: Report | None = None
    base: Report | None = None
    comparison: Comparison | None = None
    revisions: str = ""
    """What was compared, in words."""
    blocking: bool = True
    """Whether what was found fails the step."""


def headline(findings: Findings) -> str:
    """The verdict in one line, without markup."""
    verdict = findings.verdict
    if findings.problem:
        return f"nothing could be judged: {findings.problem}"
    parts = [f"{verdict.violations} outside limits"] if verdict.violations else []
    if findings.comparison is not None:
        parts.append(f"{verdict.regressions or 'nothing'} worse than the base")
    elif not parts:
        parts.append("no sick one that its test does not expect" if _expected(findings) else "all healthy")
    count = len(findings.head.checks) if findings.head else 0
    allowed = "" if findings.blocking or verdict.outcome != "fail" else " (does not fail the step)"
    return f"{count} check{'s' if count != 1 else ''}, {', '.join(parts)}{allowed}"


def _expected(findings: Findings) -> bool:
    return findings.head is not None and not findings.head.healthy


def render(findings: Findings, largest: int = LARGEST) -> str:
    """The page, of less than ``largest`` bytes: the last sections get what room is left."""
    lines = list(_opening(findings))
    focus = _focus(findings)
    if focus is not None:
        before = Pairs(findings.base).partner(focus)
        sick = bool(focus.check.findings)
        old = before.check if before else None
        if old or not sick:
            lines += [f"**{code(focus.check.name)} in {code(focus.test)}**", "", *profile_chart(focus.check, old)]
        if not sick:
            lines += _layers(focus.check, old, int((largest - _size(lines)) * LAYERS_SHARE))
    if findings.comparison is not None and findings.verdict.outcome != "pass":
        lines += [render_comparison(findings.comparison.to_dict())]
    if findings.head is not None:
        lines += [render_report(_shown(findings.head), largest=largest - _size(lines) - 1000)]
    return "\n".join(lines).rstrip("\n") + "\n"


def _opening(findings: Findings) -> Iterator[str]:
    title = f"gradhealth: {findings.name}" if findings.name else "gradhealth"
    yield f"## {ICONS[findings.verdict.outcome]} {markdown(title)}"
    yield from ("", f"**{markdown(headline(findings))}**", "")
    if findings.verdict.faults:
        yield from (*_table(findings.verdict.faults), "")
    for note in findings.notes:
        yield from (f"> {markdown(note)}", "")
    if findings.revisions:
        yield from (f"<sub>{markdown(findings.revisions)}</sub>", "")


def _table(faults: Sequence[Fault]) -> Iterator[str]:
    yield "| | test | layer | what | base | head | change | limit |"
    yield "|:-:|:--|:--|:--|--:|--:|--:|--:|"
    rows = [row for of_one in _by_check(faults) for row in _rows(of_one)]
    yield from rows[:ROWS]
    if len(rows) > ROWS:
        yield f"\n... and {len(rows) - ROWS} more."


def _by_check(faults: Sequence[Fault]) -> Iterable[Sequence[Fault]]:
    """The faults of each check, in the order of their gravest."""
    found: dict[tuple[str, str], list[Fault]] = {}
    for fault in faults:
        found.setdefault((fault.test, fault.check), []).append(fault)
    return found.values()


def _rows(faults: Sequence[Fault]) -> Iterator[str]:
    """One for each of the gravest, and one that counts the rest."""
    for fault in faults[:PER_CHECK]:
        cells = [code(fault.test), code(fault.layer or "(model)"), markdown(_what(fault))]
        numbers = [_show(fault.base), _show(fault.head), _change(fault.base, fault.head, fault.factor)]
        icon = ":x:" if fault.violation else ":small_red_triangle:"
        yield f"| {' | '.join([icon, *cells, *numbers, _limit(fault)])} |"
    if len(faults) > PER_CHECK:
        yield f"| | {code(faults[0].test)} | ... and {len(faults) - PER_CHECK} more in this check | | | | | |"


def _what(fault: Fault) -> str:
    return f"{fault.what}, new" if fault.violation and fault.regression else fault.what


def _limit(fault: Fault) -> str:
    """A finding has a limit for its number; what moved, for the factor."""
    return _show(fault.limit) if fault.violation or fault.limit is None else f"{_show(fault.limit)}-fold"


def _focus(findings: Findings) -> StoredCheck | None:
    """The check with the gravest fault; without faults, the first that was compared."""
    checks = findings.head.checks if findings.head else ()
    worst = findings.verdict.worst
    if worst is not None:
        return next((s for s in checks if (s.test, s.check.name) == (worst.test, worst.check)), None)
    fine = [stored for stored in checks if not stored.check.findings]
    pairs = Pairs(findings.base)
    return next((stored for stored in fine if pairs.partner(stored)), next(iter(fine), None))


def _layers(check: Check, base: Check | None, room: int) -> list[str]:
    """All layers, folded, as far as there is room."""
    before = {} if base is None else {layer.name: layer.norm for layer in base.record}
    rows: list[str] = []
    for layer in check.record:
        old = before.get(layer.name)
        numbers = [_show(old), _show(layer.norm), _change(old, layer.norm, None)]
        row = f"| {code(layer.name or '(model)')} | {markdown(layer.kind)} | {' | '.join(numbers)} |"
        room -= _size([row])
        if room < 0:
            break
        rows.append(row)
    left = len(check.record) - len(rows)
    return [
        f"<details><summary>All {len(check.record)} layers</summary>",
        "",
        "| layer | kind | base | gradient norm | change |",
        "|:--|:--|--:|--:|--:|",
        *rows,
        *([f"\n... and {left} more, left out for size."] if left else []),
        "",
        "</details>",
        "",
    ]


def _shown(report: Report) -> Report:
    """Without what its tests expect to be unhealthy, which is no news."""
    shown = [stored for stored in report.checks if not stored.check.findings or stored.outcome in FAILING]
    return replace(report, checks=tuple(shown))


def _change(base: float | None, head: float | None, factor: float | None) -> str:
    if base is None or head is None:
        return "&ndash;" if factor is None else "lost" if math.isinf(factor) else f"{factor:.3g}-fold"
    if factor is None:
        factor = max(head / base, base / head) if _positive(base) and _positive(head) else None
    if factor is None or not math.isfinite(factor):
        return "&ndash;" if base == head else "lost" if not head else "new"
    return f"{'&divide;' if head < base else '&times;'}{factor:.3g}"


def _positive(value: float) -> bool:
    return 0 < value < math.inf


def _show(value: float | None) -> str:
    return "&ndash;" if value is None else plain(f"{value:.3g}")


def _size(lines: Sequence[str]) -> int:
    return sum(len(line.encode("utf-8", "backslashreplace")) + 1 for line in lines)
