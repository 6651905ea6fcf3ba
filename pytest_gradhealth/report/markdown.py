"""The report as Markdown: for a step summary or a comment on a pull request."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from pytest_gradhealth.record import Check, Finding, GradientRecord, LayerGradient
from pytest_gradhealth.report.attempts import attempts
from pytest_gradhealth.report.escape import code, link, markdown, plain
from pytest_gradhealth.report.mermaid import Curve, depth_chart
from pytest_gradhealth.report.store import Report, StoredCheck

__all__ = ["LARGEST", "render_markdown"]

LARGEST = 900 * 1024
"""Bytes of UTF-8 that a rendering keeps below; GitHub refuses a step summary above 1 MiB."""
LISTED = 100
"""Healthy checks that are listed by name."""


def render_markdown(report: Report, *, largest: int = LARGEST) -> str:
    """The verdict, then the unhealthy checks, worst first, with chart and folded layers, then a list of the others.

    Args:
        report: what to show.
        largest: bytes to stay below. What does not fit loses its layers first, then its chart, then is only counted.
    """
    sick = sorted((stored for stored in report.checks if not stored.check.healthy), key=_gravity, reverse=True)
    fine = [stored for stored in report.checks if stored.check.healthy]
    head = [f"## {_verdict(report.checks, sick)}", ""]
    tail = [*_others(fine), *_environment(report)]
    room = largest - _bytes([*head, *tail]) - 200
    return "\n".join([*head, *_sections(sick, room), *tail]).rstrip("\n") + "\n"


def _gravity(stored: StoredCheck) -> tuple[bool, float]:
    """Non-finite gradients first, then by how far the worst limit is broken."""
    findings = stored.check.findings
    return any(finding.fault == "non-finite" for finding in findings), max(map(_distance, findings), default=0.0)


def _distance(finding: Finding) -> float:
    """Decades between the measured value and its limit; infinite where one of them is zero or no number."""
    if finding.value is None or finding.limit is None:
        return 0.0
    if not (math.isfinite(finding.value) and finding.value > 0 and finding.limit > 0):
        return math.inf
    return abs(math.log10(finding.value / finding.limit))


def _verdict(checks: Sequence[StoredCheck], sick: Sequence[StoredCheck]) -> str:
    if not checks:
        return "Gradient health: no checks"
    count = f"{len(checks)} check{'s' if len(checks) > 1 else ''}"
    if not sick:
        judged = any(stored.check.judged for stored in checks)
        return f"Gradient health: {count}, {'all healthy' if judged else 'measured only'}"
    return f"Gradient health: {len(sick)} of {count} unhealthy"


def _sections(sick: Sequence[StoredCheck], room: int) -> Iterator[str]:
    """As much of each check as there is room for, the worst first."""
    for shown, stored in enumerate(sick):
        for section in (_section(stored, chart=True, table=True), _section(stored, chart=True), _section(stored)):
            if _bytes(section) <= room:
                yield from section
                room -= _bytes(section)
                break
        else:
            yield f"... and {len(sick) - shown} more unhealthy, left out for size.\n"
            return


def _bytes(lines: Sequence[str]) -> int:
    return sum(len(line.encode("utf-8", "backslashreplace")) + 1 for line in lines)


def _section(stored: StoredCheck, *, chart: bool = False, table: bool = False) -> list[str]:
    check = stored.check
    lines = [f"### {code(stored.test)}", "", _circumstances(stored), ""]
    for finding in check.findings:
        lines += [*_finding(finding), ""]
    lines += _accepted(check)
    lines += [f"> **Tried:** {markdown(told)}  " for told in attempts(check)]
    lines += [""] * bool(check.tried)
    if chart:
        lines += _chart(check)
    if table and check.record.layers:
        lines += _table(check)
    return lines


def _circumstances(stored: StoredCheck) -> str:
    check, record = stored.check, stored.check.record
    where = f"{stored.file}:{stored.line}" if stored.line else stored.file
    name = check.name if check.name == record.model else f"{check.name} ({record.model})"
    facts = [name, record.device, record.precision, f"{len(record)} layers", where, stored.outcome]
    return " &middot; ".join(markdown(fact) for fact in facts if fact)


def _accepted(check: Check) -> Iterator[str]:
    for finding in check.accepted:
        yield f"> Accepted by the baseline: {link(finding.headline, finding.url)} {markdown(finding.message)}  "


def _finding(finding: Finding) -> Iterator[str]:
    yield f"> **{link(finding.headline, finding.url)}** {markdown(finding.message)}  "
    if finding.layers:
        rest = f" and {len(finding.layers) - 1} more" if len(finding.layers) > 1 else ""
        yield f"> **Layer:** {code(finding.layer or '(model)')}{rest}  "
    for name, text in (("Cause", finding.cause), ("Remedy", finding.remedy)):
        if text:
            yield f"> **{name}:** {markdown(text)}  "


def _chart(check: Check) -> list[str]:
    return depth_chart(
        [
            Curve(legend, colour, tuple(getattr(layer, name) for layer in check.record))
            for name, (colour, legend) in _CURVES.items()
        ]
    )


_CURVES = {
    "norm": ("#3b6fd4", "blue: gradient norm"),
    "reach": ("#d98324", "orange: reach"),
    "signal": ("#2a9d62", "green: signal"),
}


def _table(check: Check) -> list[str]:
    culprits = {name for finding in check.findings for name in finding.layers[:1]}
    head = ["#", "layer", "kind", "gradient norm", "reach", "signal", "dead"]
    rows = [_row(number, layer, layer.name in culprits) for number, layer in enumerate(check.record, 1)]
    return [
        f"<details><summary>All {len(check.record)} layers</summary>",
        "",
        f"| {' | '.join(head)} |",
        "|--:|:--|:--|--:|--:|--:|--:|",
        *rows,
        "",
        "</details>",
        "",
    ]


def _row(number: int, layer: LayerGradient, culprit: bool) -> str:
    name = code(layer.name or "(model)")
    dead = f"{layer.dead:.0%}" if layer.units else ""
    numbers = [_show(layer.norm), _show(layer.reach), _show(layer.signal), dead]
    cells = [f"{number}", f":x: **{name}**" if culprit else name, markdown(layer.kind), *numbers]
    return f"| {' | '.join(cells)} |"


def _show(value: float | None) -> str:
    return "&ndash;" if value is None else f"{value:.3g}"


def _others(fine: Sequence[StoredCheck]) -> Iterator[str]:
    if not fine:
        return
    judged = all(stored.check.judged for stored in fine)
    yield f"<details><summary>{len(fine)} {'healthy' if judged else 'healthy or only measured'}</summary>\n"
    for stored in fine[:LISTED]:
        yield f"- {code(stored.test)} {markdown(_summary(stored.check))}"
    if len(fine) > LISTED:
        yield f"- ... and {len(fine) - LISTED} more"
    yield "\n</details>\n"


def _summary(check: Check) -> str:
    record: GradientRecord = check.record
    reach = min((layer.reach for layer in record if not layer.frozen), default=None)
    reached = "" if reach is None else f", lowest reach {reach:.2g}"
    return f"{check.name} on {record.device}, {record.precision}: {len(record)} layers{reached}"


def _environment(report: Report) -> Iterator[str]:
    facts = {**report.environment, **report.metadata}
    if facts:
        yield (
            "<sub>"
            + ", ".join(f"{markdown(name)} {markdown(plain(value))}" for name, value in facts.items())
            + "</sub>"
        )
