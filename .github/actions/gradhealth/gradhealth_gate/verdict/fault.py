"""What can be wrong with a change."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["LOST", "Fault", "Verdict"]

LOST = "lost check"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One layer of one check that is outside a limit, worse than the base, or both; or a check that is gone."""

    test: str
    check: str
    file: str = ""
    """Of the code at fault, where that is known; else of the test."""
    line: int = 0
    layer: str = ""
    code: str = ""
    """Code of the rule; empty: the rule of an extension, or none."""
    url: str = ""
    """Address of the rule's page."""
    what: str
    """Kind of the finding, or the number that moved."""
    message: str
    base: float | None = None
    head: float | None = None
    factor: float | None = None
    limit: float | None = None
    limit_name: str = ""
    violation: bool = False
    regression: bool = False
    cause: str = ""
    remedy: str = ""

    @property
    def lost(self) -> bool:
        """Whether the base checked what the change does not."""
        return self.what == LOST


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is said of the change."""

    outcome: str = "pass"
    faults: tuple[Fault, ...] = ()
    compared: int = 0
    notes: tuple[str, ...] = field(default=())

    @property
    def violations(self) -> int:
        """Findings outside the limits."""
        return sum(fault.violation for fault in self.faults)

    @property
    def regressions(self) -> int:
        """What is worse than the base."""
        return sum(fault.regression for fault in self.faults)

    @property
    def worst(self) -> Fault | None:
        """The gravest fault."""
        return self.faults[0] if self.faults else None

    def serious(self, fail_on: str) -> tuple[Fault, ...]:
        """The faults for which the step fails, or would fail if it were allowed to."""
        return tuple(fault for fault in self.faults if _wanted(fault, fail_on))


def _wanted(fault: Fault, fail_on: str) -> bool:
    """A check that is gone says nothing of its limits, so it counts whatever is asked for."""
    kinds: Iterable[bool] = {
        "limits": (fault.violation, fault.lost),
        "regression": (fault.regression,),
    }.get(fail_on, (fault.violation, fault.regression))
    return any(kinds)
