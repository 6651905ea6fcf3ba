"""One pytest session: started, and what it left read as what it is, the word of a stranger."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gradhealth_gate.github.files import read_untrusted
from gradhealth_gate.process.run import run_visibly
from pytest_gradhealth.report.store import Report, StoreError, read_report

__all__ = ["EMPTY", "LARGEST_REPORT", "Session", "read_session", "run_pytest"]

LAUNCHER = Path(__file__).resolve().parent.parent / "launch.py"
LARGEST_REPORT = 200 << 20
"""Bytes; a larger report is refused."""
LARGEST_NOTES = 4 << 20
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

    @property
    def unchecked(self) -> bool:
        """Whether it ran well, and checked nothing."""
        return self.plugin and self.code in (PASSED, FAILED) and not self.unreadable and not self.report.checks


def run_pytest(
    python: Sequence[str], arguments: Sequence[str], directory: Path, environment: Mapping[str, str], folder: Path
) -> Session:
    """Run the tests, and read what they left before anybody else can write to it.

    Args:
        python: how the project's Python is started.
        arguments: pytest's.
        directory: where it is started.
        environment: what it sees.
        folder: where a folder for this one session is made.

    Raises:
        GateError: Python cannot be started, or the tests left a process that cannot be ended.
    """
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as name:
        path, notes = Path(name) / "report.json", Path(name) / "notes.json"
        command = [*python, str(LAUNCHER), str(notes), f"--gradhealth-json={path}", *arguments]
        code = run_visibly(command, directory, environment)
        return read_session(code, path, notes, directory)


def read_session(code: int, path: Path, notes: Path, directory: Path) -> Session:
    """What a session left behind; anything may be missing, or be something else."""
    known = _notes(notes)
    try:
        report, unreadable = _report(path), ""
    except FileNotFoundError:
        report, unreadable = Report(), f"{path.name}: no such file"
    except (StoreError, OSError) as error:
        report, unreadable = Report(), str(error)
    failed = [(item["test"], item.get("when")) for item in _listed(known, "failed", dict) if _is_text(item.get("test"))]
    root = known.get("rootdir")
    return Session(
        code=code,
        plugin=known.get("plugin") is not False,
        root=Path(root) if root and _is_text(root) else directory,
        failed=frozenset(test for test, when in failed if when == "call"),
        broken=frozenset(test for test, when in failed if when != "call"),
        uncollected=tuple(_listed(known, "uncollected", str)),
        report=report,
        unreadable=unreadable,
    )


def _report(path: Path) -> Report:
    content = read_untrusted(path, LARGEST_REPORT)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        copy.write_bytes(content)
        return read_report(copy)


def _notes(path: Path) -> dict[str, Any]:
    try:
        loaded = json.loads(read_untrusted(path, LARGEST_NOTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return loaded if isinstance(loaded, dict) else {}


def _listed(notes: Mapping[str, Any], name: str, kind: type) -> list[Any]:
    found = notes.get(name)
    return [item for item in found if isinstance(item, kind)] if isinstance(found, list) else []


def _is_text(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value
