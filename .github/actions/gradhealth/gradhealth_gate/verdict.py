"""What the reports mean for the pull request: pure functions over what was measured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from gradhealth_gate.measure import Session
from pytest_gradhealth.compare import Change, Comparison
from pytest_gradhealth.record import Finding
from pytest_gradhealth.report.store import Report, StoredCheck

__all__ = ["FAILING", "FROM_BASELINE", "Fault", "Verdict", "judge", "other_failures", "partner", "relevant"]

QUANTITIES = {
    "min_reach": "reach",
    "min_norm": "norm",
    "max_norm": "norm",
    "max_dead": "dead",
}
"""Limits whose finding tells a number of some layer, which the base then has too."""
FAILING = ("failed", "error")
"""Outcomes of a test that did not expect what was found."""
EXPECTED = ("xfailed", "skipped")
FROM_BASELINE = "baseline"
"""Name of the metadata of a report that was made from a baseline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One layer of one check that is outside a limit, worse than the base, or both."""

    test: str
    check: str
    file: str
    line: int
    layer: str
    what: str
    """Kind of the finding, or the number that moved."""
    message: str
    base: float | None = None
    head: float | None = None
    factor: float | None = None
    limit: float | None = None
    violation: bool = False
    regression: bool = False
    cause: str = ""
    remedy: str = ""


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
        wanted = {"limits": (True, False), "regression": (False, True)}.get(fail_on, (True, True))
        return tuple(f for f in self.faults if (f.violation and wanted[0]) or (f.regression and wanted[1]))


def relevant(comparison: Comparison, head: Report, base: Report) -> Comparison:
    """Without what is worse on purpose, or only looks new because a baseline knows numbers but no findings."""
    outcomes = {stored.test: stored.outcome for stored in head.checks}
    wanted = [change for change in comparison.regressions if _counts(change, outcomes.get(change.test, ""))]
    if FROM_BASELINE in base.metadata:
        wanted = [change for change in wanted if change.kind == "drift"]
    return replace(comparison, regressions=tuple(wanted))


def judge(head: Report, fail_on: str, comparison: Comparison | None = None, base: Report | None = None) -> Verdict:
    """The verdict on a report that can be relied on.

    Args:
        head: the report.
        fail_on: the action's input.
        comparison: with the base, only of what is relevant; None: there is none.
        base: the base's report.
    """
    violations = [fault for stored in head.checks for fault in _violations(stored, base)]
    verdict = Verdict(
        faults=tuple(sorted(_merged(violations, comparison), key=_gravity)),
        compared=int(comparison.head["checks"]) - len(comparison.new_checks) if comparison else 0,
        notes=tuple(_notes(head)),
    )
    return replace(verdict, outcome="fail" if verdict.serious(fail_on) else "pass")


def other_failures(session: Session) -> list[str]:
    """Tests that failed, but not for their gradients."""
    sick = {stored.test for stored in session.report.checks if stored.check.findings}
    return sorted((session.failed - sick) | session.broken)


def partner(stored: StoredCheck, base: Report | None) -> StoredCheck | None:
    """The same check in the base; on another device where there is but one."""
    same = [b for b in (base.checks if base else ()) if (b.test, b.check.name) == (stored.test, stored.check.name)]
    exact = [b for b in same if _place(b) == _place(stored)]
    return exact[0] if exact else same[0] if len(same) == 1 else None


def _place(stored: StoredCheck) -> tuple[str, str]:
    return stored.check.record.device, stored.check.record.precision


def _violations(stored: StoredCheck, base: Report | None) -> Iterator[Fault]:
    """The test has the last word: what a passing or xfailing test found, it expected."""
    if stored.outcome not in FAILING:
        return
    before = partner(stored, base) if stored.check.findings else None
    for finding in stored.check.findings:
        yield _violation(stored, finding, before)


def _violation(stored: StoredCheck, finding: Finding, before: StoredCheck | None) -> Fault:
    old = _base_value(stored, finding, before)
    return Fault(
        test=stored.test,
        check=stored.check.name,
        file=stored.file,
        line=stored.line,
        layer=finding.layer,
        what=finding.kind,
        message=finding.message,
        base=old,
        head=finding.value,
        factor=_factor(old, finding.value),
        limit=finding.limit,
        violation=True,
        cause=finding.cause,
        remedy=finding.remedy,
    )


def _base_value(stored: StoredCheck, finding: Finding, before: StoredCheck | None) -> float | None:
    """What the base measured where the head measured the finding's value, which need not be at the culprit."""
    quantity = QUANTITIES.get(finding.limit_name)
    if before is None or quantity is None or finding.value is None:
        return None
    for layer in sorted(stored.check.record, key=lambda layer: layer.name != finding.layer):
        value = getattr(layer, quantity)
        if value is not None and math.isclose(value, finding.value, rel_tol=1e-4) and layer.name in before.check.record:
            found: float | None = getattr(before.check.record[layer.name], quantity)
            return found
    return None


def _factor(old: float | None, new: float | None) -> float | None:
    """How far apart two numbers are, at least 1."""
    if old is None or new is None or not (old > 0 and new > 0 and math.isfinite(old) and math.isfinite(new)):
        return None
    return max(old / new, new / old)


def _counts(change: Change, outcome: str) -> bool:
    """The test has the last word: what it expects, by xfail or by catching the error, is no regression."""
    if outcome in EXPECTED:
        return False
    return change.kind == "drift" or outcome in FAILING


def _merged(violations: Sequence[Fault], comparison: Comparison | None) -> Iterator[Fault]:
    """A new finding is a violation and a regression, but one fault."""
    regressions, limit = (comparison.regressions, comparison.max_drift) if comparison else ((), 0.0)
    new = {(c.test, c.check, c.kind, c.layer) for c in regressions if c.kind != "drift"}
    yield from (replace(f, regression=(f.test, f.check, f.what, f.layer) in new) for f in violations)
    # A layer that drifted in norm, reach and signal is one matter, and none of its own where it is the culprit anyway;
    # the largest factor comes first.
    told = {(c.test, c.check, c.device, c.layer) for c in regressions if c.kind != "drift"}
    drifts = {(c.test, c.check, c.device, c.layer): c for c in reversed(regressions) if c.kind == "drift"}
    yield from (_drifted(change, limit) for place, change in drifts.items() if place not in told)


def _drifted(change: Change, limit: float) -> Fault:
    return Fault(
        test=change.test,
        check=change.check,
        file=change.file,
        line=change.line,
        layer=change.layer,
        what=_moved(change),
        message=change.message,
        base=change.base,
        head=change.head,
        factor=change.factor,
        limit=limit,
        regression=True,
        cause=change.cause,
        remedy=change.remedy,
    )


def _moved(change: Change) -> str:
    """What moved: where all layers moved by one factor, a layer's own is what it moved by beside that."""
    plain = _factor(change.base, change.head)
    apart = plain is not None and change.factor is not None and not math.isclose(plain, change.factor, rel_tol=0.02)
    return f"{change.quantity or 'all layers'}{', beside the others' if apart else ''}"


def _gravity(fault: Fault) -> tuple[bool, bool, float]:
    """Violations first, non-finite ones before all, then by distance from the limit or from the base."""
    distance = _factor(fault.limit, fault.head) if fault.violation else fault.factor
    return not fault.violation, fault.what != "non-finite", -(distance or 0.0)


def _notes(head: Report) -> Iterator[str]:
    expected = [stored for stored in head.checks if stored.check.findings and stored.outcome not in FAILING]
    if expected:
        yield f"{len(expected)} unhealthy as their tests expect (xfail, or an error that they catch)."
    if not any(stored.check.judged for stored in head.checks):
        yield "Nothing was held to limits: the tests only measure."
