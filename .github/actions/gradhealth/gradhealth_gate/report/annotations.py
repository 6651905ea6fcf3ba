"""One annotation per failing test, at its line."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from gradhealth_gate.github.commands import annotate
from gradhealth_gate.verdict.fault import Fault
from pytest_gradhealth.report.escape import plain

__all__ = ["annotate_faults", "location"]

MOST = 9
"""The runner shows ten of a kind per step; the tenth says how many more there are."""
LINES = 15
"""Faults that one annotation lists."""


def annotate_faults(faults: Sequence[Fault], level: str, top: Path, root: Path) -> None:
    """Annotate the tests in order of gravity.

    Args:
        faults: gravest first.
        level: ``error`` where the step fails, else ``warning``.
        top: the top of the checkout, which paths of annotations are relative to.
        root: what the faults' files are relative to.
    """
    tests: dict[str, list[Fault]] = {}
    for fault in faults:
        tests.setdefault(fault.test, []).append(fault)
    for found in list(tests.values())[:MOST]:
        _annotate(found, level, top, root)
    if len(tests) > MOST:
        annotate(level, f"{len(tests) - MOST} more tests have unhealthy gradients; the job's summary lists them.")


def _annotate(faults: Sequence[Fault], level: str, top: Path, root: Path) -> None:
    lines = [plain(_message(fault)) for fault in faults[:LINES]]
    if len(faults) > LINES:
        lines.append(f"and {len(faults) - LINES} more")
    first = faults[0]
    lines += [
        f"{name}: {plain(text)}"
        for name, text in (("Cause", first.cause), ("Remedy", first.remedy), ("Docs", first.url))
        if text
    ]
    title = f"gradhealth: {_counted(faults)} in {plain(first.check)}"
    file = location(first.file, top, root)
    annotate(level, "\n".join(lines), title=title, file=file, line=first.line if file else 0)


def location(file: str, top: Path, root: Path) -> str:
    """A test's file as seen from the top of the checkout; empty where it is not in there."""
    if not file:
        return ""
    path = os.path.relpath(os.path.realpath(root / file), top)
    return "" if path.startswith("..") else Path(path).as_posix()


def _message(fault: Fault) -> str:
    if not fault.violation:
        return fault.message
    new = " (new since the base)" if fault.regression else ""
    what = f"{fault.code} {fault.what}".strip()
    return f"{what} {fault.layer or 'the model'}: {fault.message}{new}"


def _counted(faults: Sequence[Fault]) -> str:
    outside, worse = sum(fault.violation for fault in faults), sum(fault.regression for fault in faults)
    parts = ((outside, "outside limits"), (worse, "worse than the base"))
    return ", ".join(f"{count} {words}" for count, words in parts if count)
