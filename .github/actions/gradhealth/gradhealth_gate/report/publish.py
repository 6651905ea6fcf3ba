"""The end of a run, on whatever way it came there: summary, annotations, outputs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from gradhealth_gate.github.commands import annotate, say
from gradhealth_gate.github.files import RunnerFiles
from gradhealth_gate.report.annotations import annotate_faults
from gradhealth_gate.report.summary import Findings, headline, render
from gradhealth_gate.state import GateRun
from pytest_gradhealth.report.escape import plain

__all__ = ["outputs", "publish"]

FORGED = 1


def publish(run: GateRun, environment: Mapping[str, str], folder: Path) -> int:
    """Write the page, annotate, set the outputs, say the verdict in the log, and return the step's exit code.

    Args:
        run: what happened.
        environment: with the paths of the runner's files.
        folder: where the summary is kept.
    """
    files = RunnerFiles(environment)
    planted = files.reset()
    if planted:
        run.warnings.append(f"A test wrote to the runner's files, which was undone: {', '.join(planted)}.")
    findings = _findings(run)
    page, text = folder / "summary.md", render(findings)
    page.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
    if run.inputs is None or run.inputs.summary:
        files.write_summary(text)
    _annotate(run)
    files.set_outputs(outputs(run, page))
    say(f"gradhealth: {run.verdict.outcome}: {plain(headline(findings))}")
    forged = files.forged()
    if forged:
        annotate(
            "error", f"Another process writes to the runner's files; do not rely on this step: {', '.join(forged)}"
        )
    return FORGED if forged else int(run.failed)


def _findings(run: GateRun) -> Findings:
    return Findings(
        verdict=run.verdict,
        name=run.inputs.name if run.inputs else "",
        problem=run.problem,
        notes=[*run.warnings, *run.verdict.notes, *run.notes],
        head=run.session.report if run.session and run.session.report.checks else None,
        base=run.base,
        comparison=run.comparison,
        revisions=_revisions(run),
        blocking=run.blocking,
    )


def _revisions(run: GateRun) -> str:
    head = run.head_sha[:12]
    if not run.base_sha:
        return f"Head {head}." if head else ""
    how = "its baseline" if run.inputs and run.inputs.compare == "baseline" else "measured in this job"
    return f"Base {run.base_sha[:12]} ({run.base_origin}; {how}). Head {head}."


def _annotate(run: GateRun) -> None:
    if run.problem:
        annotate("error", f"Nothing could be judged: {run.problem}")
    for warning in run.warnings:
        annotate("warning", warning)
    inputs, session = run.inputs, run.session
    if inputs is None or session is None or not inputs.annotations:
        return
    top = run.top or inputs.workspace
    faults = run.verdict.serious(inputs.fail_on) if run.verdict.outcome == "fail" else run.verdict.faults
    annotate_faults(faults, "error" if run.failed else "warning", top, session.root)


def outputs(run: GateRun, page: Path) -> dict[str, object]:
    """The action's outputs, in the order of its metadata."""
    worst = run.verdict.worst
    return {
        "outcome": run.verdict.outcome,
        "violations": run.verdict.violations,
        "regressions": run.verdict.regressions,
        "compared": run.verdict.compared,
        "base-sha": run.base_sha,
        # A caller may paste it into a script, so no character is left that a shell could act on.
        "worst-layer": re.sub(r"[^\w. -]", "_", plain(worst.layer)) if worst else "",
        "report": run.reports.get("head", ""),
        "base-report": run.reports.get("base", ""),
        "summary-file": page,
    }
