"""What is known of a run so far; whatever happens to it, this is what the step tells in the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from gradhealth_gate.git import Repository
from gradhealth_gate.inputs import Inputs
from gradhealth_gate.measure import Session
from gradhealth_gate.verdict import Verdict
from pytest_gradhealth.compare import Comparison
from pytest_gradhealth.report.store import Report

__all__ = ["Course"]


@dataclass(slots=True, kw_only=True)
class Course:
    """Filled as the run goes on."""

    inputs: Inputs | None = None
    repository: Repository | None = None
    folder: Path
    session: Session | None = None
    base_sha: str = ""
    base_origin: str = ""
    base_path: Path | None = None
    base: Report | None = None
    comparison: Comparison | None = None
    warnings: list[str] = field(default_factory=list)
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
