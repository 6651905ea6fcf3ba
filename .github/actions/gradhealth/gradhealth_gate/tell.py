"""The end of a run, on whatever way it came there: summary, annotations, outputs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from gradhealth_gate.annotations import annotate_faults
from gradhealth_gate.commands import annotate, clear_files, output, say, write_summary
from gradhealth_gate.course import Course
from gradhealth_gate.summary import Findings, headline, render
from pytest_gradhealth.report.escape import plain

__all__ = ["outputs", "tell"]


def tell(course: Course, environment: Mapping[str, str]) -> None:
    """Write the page, annotate, set the outputs, and say the verdict in the log."""
    planted = clear_files(environment)
    if planted:
        course.warnings.append(f"A test wrote to the runner's files, which was undone: {', '.join(planted)}.")
    findings = _findings(course)
    page = course.folder / "summary.md"
    text = render(findings)
    page.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
    if course.inputs is None or course.inputs.summary:
        write_summary(environment, text)
    _annotate(course)
    output(environment, outputs(course, page))
    say(f"gradhealth: {course.verdict.outcome}: {plain(headline(findings))}")


def _findings(course: Course) -> Findings:
    return Findings(
        verdict=course.verdict,
        name=course.inputs.name if course.inputs else "",
        problem=course.problem,
        notes=[*course.warnings, *course.verdict.notes],
        head=course.session.report if course.session and course.session.report.checks else None,
        base=course.base,
        comparison=course.comparison,
        revisions=_revisions(course),
        blocking=course.blocking,
    )


def _revisions(course: Course) -> str:
    head = course.repository.commit("HEAD")[:12] if course.repository else ""
    if not course.base_sha:
        return f"Head {head}." if head else ""
    how = "its baseline" if course.inputs and course.inputs.compare == "baseline" else "measured in this job"
    return f"Base {course.base_sha[:12]} ({course.base_origin}; {how}). Head {head}."


def _annotate(course: Course) -> None:
    if course.problem:
        annotate("error", f"Nothing could be judged: {course.problem}")
    for warning in course.warnings:
        annotate("warning", warning)
    inputs, session = course.inputs, course.session
    if inputs is None or session is None or not inputs.annotations:
        return
    top = course.repository.top if course.repository else inputs.workspace
    faults = course.verdict.serious(inputs.fail_on) if course.verdict.outcome == "fail" else course.verdict.faults
    annotate_faults(faults, "error" if course.failed else "warning", top, session.root)


def outputs(course: Course, page: Path) -> dict[str, object]:
    """The action's outputs, in the order of its metadata."""
    worst = course.verdict.worst
    report = course.folder / "head.json"
    return {
        "outcome": course.verdict.outcome,
        "violations": course.verdict.violations,
        "regressions": course.verdict.regressions,
        "compared": course.verdict.compared,
        "base-sha": course.base_sha,
        # A caller may paste it into a script, so no character is left that a shell could act on.
        "worst-layer": re.sub(r"[^\w. -]", "_", plain(worst.layer)) if worst else "",
        "report": report if report.is_file() else "",
        "base-report": course.base_path or "",
        "summary-file": page,
    }
