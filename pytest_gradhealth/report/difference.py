"""The comparison of two reports for people: text, Markdown and GitHub's workflow commands.

All of them read the documented JSON object that ``compare --format json`` prints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pytest_gradhealth.errors import counted
from pytest_gradhealth.report.escape import command, command_value, markdown, plain

__all__ = ["render_github", "render_markdown", "render_text"]

SHOWN = 20
"""Checks that a rendering shows before it counts the rest."""
LINES = 5
"""Changes of one check that a rendering shows before it counts the rest."""

Change = Mapping[str, Any]


def render_text(comparison: Mapping[str, Any]) -> str:
    """Plain text, one paragraph per check."""
    lines = [_verdict(comparison)]
    for place, changes in _shown(comparison["regressions"]):
        lines += ["", place, *(f"  {line}" for line in _facts(changes))]
    lines += _rest(comparison["regressions"])
    if comparison["improvements"]:
        lines += ["", "no longer found:"]
        lines += [f"  {_place(c)}: {_kind(c)} {plain(c['layer'])}" for c in comparison["improvements"][:SHOWN]]
    notes = list(_notes(comparison))
    return "\n".join([*lines, *([""] if notes else []), *notes]) + "\n"


def render_markdown(comparison: Mapping[str, Any]) -> str:
    """A section for a step summary or a comment; names cannot break out of it."""
    lines = [f"### {markdown(_verdict(comparison))}"]
    for place, changes in _shown(comparison["regressions"]):
        lines += ["", f"**{markdown(place)}**", "", *(f"- {markdown(line)}" for line in _facts(changes))]
    lines += _rest(comparison["regressions"])
    if comparison["improvements"]:
        gone = [f"{_place(change)}: {_kind(change)} {change['layer']}" for change in comparison["improvements"][:SHOWN]]
        lines += ["", "No longer found:", "", *(f"- {markdown(line)}" for line in gone)]
    notes = [f"- {markdown(note)}" for note in _notes(comparison)]
    return "\n".join([*lines, *([""] if notes else []), *notes]) + "\n"


def render_github(comparison: Mapping[str, Any]) -> str:
    """Workflow commands: an error at the test of each check that got worse, and a notice with the verdict."""
    lines = []
    for place, changes in _shown(comparison["regressions"]):
        first = changes[0]
        where = [f"file={command_value(first['file'])}"] if first["file"] else []
        where += [f"line={first['line']}"] if first["file"] and first["line"] else []
        title = f"title={command_value(f'gradient health: {place}')}"
        message = command("\n".join(_facts(changes)))
        lines.append(f"::error {','.join([*where, title])}::{message}")
    lines.append(f"::notice title=gradient health::{command(_verdict(comparison))}")
    return "\n".join(lines) + "\n"


def _verdict(comparison: Mapping[str, Any]) -> str:
    regressions, head = comparison["regressions"], comparison["head"]
    compared = f"{counted(head['checks'], 'check')} against {comparison['base']['checks']}"
    if regressions:
        worse = len(_grouped(regressions))
        worst = comparison["worst"]
        return f"{counted(worse, 'check')} got worse ({compared}); worst: {_place(worst)}: {_fact(worst)}"
    if comparison["improvements"]:
        return (
            f"nothing got worse, {counted(len(_grouped(comparison['improvements'])), 'check')} got better ({compared})"
        )
    sick = f"; {head['unhealthy']} as unhealthy as before" if head["unhealthy"] else ""
    return f"gradients are as they were ({compared}){sick}"


def _place(change: Change) -> str:
    return (
        f"{plain(change['test'])} [{plain(change['check'])}, {plain(change['device'])}, {plain(change['precision'])}]"
    )


def _fact(change: Change) -> str:
    layer = f" {plain(change['layer'])}" if change["layer"] and change["kind"] != "drift" else ""
    return f"{_kind(change)}{layer}: {plain(change['message'])}"


def _kind(change: Change) -> str:
    return plain(f"{change.get('code', '')} {change['kind']}".strip())


def _facts(changes: Sequence[Change]) -> Iterator[str]:
    yield from map(_fact, changes[:LINES])
    if len(changes) > LINES:
        yield f"and {len(changes) - LINES} more"
    for name in ("cause", "remedy"):
        text = next((change[name] for change in changes if change[name]), "")
        if text:
            yield f"{name}: {plain(text)}"
    url = next((change["url"] for change in changes if change.get("url")), "")
    if url:
        yield f"docs: {plain(url)}"


def _grouped(changes: Sequence[Change]) -> dict[str, list[Change]]:
    """Changes by check, in the order of the first of each: a hundred layers of one check are one matter."""
    groups: dict[str, list[Change]] = {}
    for change in changes:
        groups.setdefault(_place(change), []).append(change)
    return groups


def _shown(changes: Sequence[Change]) -> list[tuple[str, list[Change]]]:
    return list(_grouped(changes).items())[:SHOWN]


def _rest(changes: Sequence[Change]) -> list[str]:
    hidden = len(_grouped(changes)) - SHOWN
    return ["", f"... and {counted(hidden, 'more check')}"] if hidden > 0 else []


def _notes(comparison: Mapping[str, Any]) -> Iterator[str]:
    for words, where in (("new", "new"), ("only in the base", "removed")):
        checks, layers = comparison["checks"][where], comparison["layers"][where]
        if checks:
            yield f"checks {words}: {_some([_place(check) for check in checks])}"
        if layers:
            yield f"layers {words}: {_some([plain(item['layer']) for item in layers])}"
    renamed = comparison["layers"]["renamed"]
    if renamed:
        pairs = [f"{plain(item['base'])} is now {plain(item['head'])}" for item in renamed]
        yield f"layers renamed: {_some(pairs)}"
    for note in comparison["notes"]:
        yield f"{plain(note['text'])} ({counted(note['checks'], 'check')})"


def _some(items: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(items))
    rest = f" and {len(distinct) - LINES} more" if len(distinct) > LINES else ""
    return ", ".join(distinct[:LINES]) + rest
