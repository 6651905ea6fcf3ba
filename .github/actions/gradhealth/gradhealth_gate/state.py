"""What is known of a run so far; whatever happens to it, this is what the step reports in the end."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from gradhealth_gate.inputs import Inputs
from gradhealth_gate.session import Session
from gradhealth_gate.verdict.fault import Verdict
from pytest_gradhealth.compare import Comparison
from pytest_gradhealth.report.store import Report, write_report

__all__ = ["GateRun", "Results"]


class Results:
    """The folder that the outputs point to. It is made once no process of the tests is left that could write to it."""

    def __init__(self, parent: str | None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="gradhealth-", dir=parent)).resolve()

    def keep(self, name: str, report: Report) -> Path:
        """Write a report."""
        path = self.folder / f"{name}.json"
        write_report(path, report)
        return path


@dataclass(slots=True, kw_only=True)
class GateRun:
    """Filled as the run goes on."""

    inputs: Inputs | None = None
    top: Path | None = None
    """Of the checkout."""
    head_sha: str = ""
    base_sha: str = ""
    base_origin: str = ""
    base: Report | None = None
    session: Session | None = None
    comparison: Comparison | None = None
    reports: dict[str, Path] = field(default_factory=dict)
    """``head`` and ``base``, where there is one."""
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """For the summary alone."""
    verdict: Verdict = field(default_factory=lambda: Verdict(outcome="error"))
    problem: str = ""

    @property
    def blocking(self) -> bool:
        """Whether what is found fails the step."""
        return self.inputs is None or self.inputs.fail_on != "never"

    @property
    def failed(self) -> bool:
        """Whether the step fails."""
        return self.verdict.outcome == "error" or (self.verdict.outcome == "fail" and self.blocking)
