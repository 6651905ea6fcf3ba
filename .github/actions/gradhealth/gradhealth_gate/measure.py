"""One pytest session: started, and its outcome read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gradhealth_gate.running import run_visibly
from pytest_gradhealth.report.store import Report, StoreError, read_report

__all__ = ["Session", "run_pytest"]

LAUNCHER = Path(__file__).resolve().parent.parent / "launch.py"
PASSED, FAILED, USAGE, EMPTY = 0, 1, 4, 5
CODES = {
    2: "was interrupted, as by a file that cannot be imported",
    3: "had an internal error",
    USAGE: "refused its arguments",
    EMPTY: "found no test",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What is known of a pytest session that has ended."""

    code: int
    path: Path
    """Where its report is, if there is one."""
    plugin: bool = True
    """Whether pytest and the plugin could be imported."""
    root: Path
    """What the files in its report are relative to."""
    failed: frozenset[str] = frozenset()
    """Tests that failed in their call."""
    broken: frozenset[str] = frozenset()
    """Tests that failed in setup or teardown."""
    uncollected: tuple[str, ...] = ()
    report: Report = field(default_factory=Report)
    unreadable: str = ""
    """Why there is no report."""

    @property
    def problem(self) -> str:
        """Why its report cannot be relied on; empty: it can."""
        if not self.plugin:
            return "pytest-gradhealth is not installed for this Python"
        if self.code < 0:
            return f"pytest was ended by signal {-self.code}, as when memory runs out"
        if self.code not in (PASSED, FAILED):
            files = f": {', '.join(self.uncollected[:5])}" if self.uncollected else ""
            return f"pytest {CODES.get(self.code, f'ended with exit code {self.code}')}{files}"
        if self.unreadable:
            return f"there is no report: {self.unreadable}"
        return "" if self.report.checks else "no model was checked"


def run_pytest(
    python: Sequence[str], arguments: Sequence[str], directory: Path, environment: Mapping[str, str], path: Path
) -> Session:
    """Run the tests and read the report, which is left at ``path``.

    Raises:
        ProblemError: Python cannot be started.
    """
    notes = path.with_suffix(".notes.json")
    command = [*python, str(LAUNCHER), str(notes), f"--gradhealth-json={path}", *arguments]
    code = run_visibly(command, directory, environment)
    return read_session(code, path, notes, directory)


def read_session(code: int, path: Path, notes: Path, directory: Path) -> Session:
    """What a session left behind; anything may be missing."""
    known = _load(notes)
    failed = [(item["test"], item["when"]) for item in known.get("failed", [])]
    try:
        report, unreadable = read_report(path), ""
    except StoreError as error:
        report, unreadable = Report(), str(error)
    return Session(
        code=code,
        path=path,
        plugin=known.get("plugin", True),
        root=Path(known.get("rootdir") or directory),
        failed=frozenset(test for test, when in failed if when == "call"),
        broken=frozenset(test for test, when in failed if when != "call"),
        uncollected=tuple(known.get("uncollected", ())),
        report=report,
        unreadable=unreadable,
    )


def _load(path: Path) -> dict[str, Any]:
    try:
        loaded = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return loaded if isinstance(loaded, dict) else {}
