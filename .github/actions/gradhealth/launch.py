"""Runs pytest as ``python -m pytest`` does, in the project's environment, and notes what exit codes do not tell.

Started by the gate as ``PYTHON launch.py NOTES ARGUMENTS...``. What failed for a reason other than gradients is known
to pytest alone, so an observer in its main process writes it down.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from typing import Any

MOST = 1000
"""Failures that are noted."""
USAGE_ERROR = 4


class Observer:
    """A pytest plugin that changes nothing."""

    def __init__(self) -> None:
        self.notes: dict[str, Any] = {"plugin": True, "rootdir": "", "failed": [], "uncollected": []}

    def pytest_configure(self, config: Any) -> None:
        """Files in reports are relative to this folder."""
        self.notes["rootdir"] = str(config.rootpath)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Note a failure, of whatever kind."""
        if report.failed and len(self.notes["failed"]) < MOST:
            self.notes["failed"].append({"test": report.nodeid, "when": report.when})

    def pytest_collectreport(self, report: Any) -> None:
        """Note a file that could not be imported."""
        if report.failed and len(self.notes["uncollected"]) < MOST:
            self.notes["uncollected"].append(report.nodeid)


def main() -> int:
    """Run pytest; its exit code is this program's."""
    path, *arguments = sys.argv[1:]
    sys.argv = ["pytest", *arguments]
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = os.getcwd()
    observer = Observer()
    # Not imported, only looked for: pytest wants to be the first to import a plugin.
    missing = [name for name in ("pytest", "pytest_gradhealth") if importlib.util.find_spec(name) is None]
    if missing:
        print(f"{sys.executable} has no {' and no '.join(missing)}")
        return write(path, {"plugin": False}, USAGE_ERROR)
    import pytest

    code = int(pytest.main(arguments, plugins=[observer]))
    return write(path, observer.notes, code)


def write(path: str, notes: dict[str, Any], code: int) -> int:
    """Leave the notes where the gate looks for them."""
    with open(path, "w", encoding="ascii") as file:
        json.dump(notes, file)
    return code


if __name__ == "__main__":
    sys.exit(main())
