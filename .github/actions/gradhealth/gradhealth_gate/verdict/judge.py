"""From two reports to a verdict: pure functions over what was measured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from gradhealth_gate.session import Session
from gradhealth_gate.verdict.fault import LOST, Fault, Verdict
from gradhealth_gate.verdict.notes import gone_layers, notes_on
from gradhealth_gate.verdict.outcome import EXPECTED, FAILING
from gradhealth_gate.verdict.pairs import Pairs
from pytest_gradhealth.compare import Change, Comparison
from pytest_gradhealth.record import Finding
from pytest_gradhealth.report.store import Report, StoredCheck

__all__ = ["FROM_BASELINE", "judge", "other_failures", "relevant"]

QUANTITIES = {
    "min_reach": "reach",
    "min_norm": "norm",
    "max_norm": "norm",
    "max_dead": "dead",
}
"""Limits whose finding tells a number of some layer, which the base then has too."""
FROM_BASELINE = "baseline"
"""Name of the metadata of a report that was made from a baseline."""
EXPLAINED = 100
"""Faults, the gravest first, for which the base's number is looked up; nobody is shown more."""


def relevant(comparison: Comparison, head: Report, base: Report) -> Comparison:
    """Without what was expected before too, or only looks new because a baseline knows numbers but no findings."""
    now, before = ({stored.test: stored.outcome for stored in report.checks} for report in (head, base))
    new = {(check["test"], check["check"]) for check in comparison.new_checks}
    wanted = [change for change in comparison.regressions if _counts(change, now, before, new)]
    if FROM_BASELINE in base.metadata:
        wanted = [change for change in wanted if change.kind == "drift"]
    return replace(comparison, regressions=tuple(wanted))


def judge(
    head: Report,
    fail_on: str,
    comparison: Comparison | None = None,
    base: Report | None = None,
    *,
    allow_lost: bool = False,
) -> Verdict:
    """The verdict on a report that can be read.

    Args:
        head: the report.
        fail_on: the action's input.
        comparison: with the base, only of what is relevant; None: there is none.
        base: the base's report.
        allow_lost: whether a check that only the base has is fine.
    """
    faults = [*_merged([fault for stored in head.checks for fault in _violations(stored)], comparison)]
    if comparison and not allow_lost:
        faults += [_lost(check) for check in comparison.removed_checks]
    faults = sorted(faults, key=_gravity)
    verdict = Verdict(
        faults=(*_explained(faults[:EXPLAINED], head, base), *faults[EXPLAINED:]),
        compared=int(comparison.head["checks"]) - len(comparison.new_checks) if comparison else 0,
        notes=(*notes_on(head, base), *gone_layers(comparison)),
    )
    return replace(verdict, outcome="fail" if verdict.serious(fail_on) else "pass")


def other_failures(session: Session) -> list[str]:
    """Tests that failed, but not for their gradients."""
    sick = {stored.test for stored in session.report.checks if stored.check.findings}
    return sorted((session.failed - sick) | session.broken)


def _violations(stored: StoredCheck) -> Iterator[Fault]:
    """Of a test that failed: what another one found, it says it expected."""
    if stored.outcome in FAILING:
        yield from (_violation(stored, finding) for finding in stored.check.findings)


def _violation(stored: StoredCheck, finding: Finding) -> Fault:
    file, line = finding.place or (stored.file, stored.line)
    return Fault(
        test=stored.test,
        check=stored.check.name,
        file=file,
        line=line,
        layer=finding.layer,
        code=finding.code,
        url=finding.url,
        what=finding.kind,
        message=finding.message,
        head=finding.value,
        limit=finding.limit,
        limit_name=finding.limit_name,
        violation=True,
        cause=finding.cause,
        remedy=finding.remedy,
    )


def _explained(faults: Sequence[Fault], head: Report, base: Report | None) -> Iterator[Fault]:
    """With the numbers that the base has where a limit is broken."""
    pairs, checks = Pairs(base), {(stored.test, stored.check.name): stored for stored in reversed(head.checks)}
    for fault in faults:
        stored = checks.get((fault.test, fault.check))
        before = pairs.partner(stored) if stored and fault.violation else None
        old = _base_value(stored, fault, before) if stored and before else None
        yield replace(fault, base=old, factor=_factor(old, fault.head)) if fault.violation else fault


def _base_value(stored: StoredCheck, fault: Fault, before: StoredCheck) -> float | None:
    """What the base measured where the head measured the finding's value, which need not be at the culprit."""
    quantity = QUANTITIES.get(fault.limit_name)
    if quantity is None or fault.head is None:
        return None
    for layer in sorted(stored.check.record, key=lambda layer: layer.name != fault.layer):
        value = getattr(layer, quantity)
        if value is not None and math.isclose(value, fault.head, rel_tol=1e-4) and layer.name in before.check.record:
            found: float | None = getattr(before.check.record[layer.name], quantity)
            return found
    return None


def _factor(old: float | None, new: float | None) -> float | None:
    """How far apart two numbers are, at least 1."""
    if old is None or new is None or not (old > 0 and new > 0 and math.isfinite(old) and math.isfinite(new)):
        return None
    return max(old / new, new / old)


def _counts(change: Change, now: Mapping[str, str], before: Mapping[str, str], new: set[tuple[str, str]]) -> bool:
    """An xfail that the base has too, or that a new test brings, is on purpose; whatever else hides sickness counts."""
    if now.get(change.test, "") not in EXPECTED:
        return True
    return (change.test, change.check) not in new and before.get(change.test, "") not in EXPECTED


def _merged(violations: Sequence[Fault], comparison: Comparison | None) -> Iterator[Fault]:
    """A new finding is a violation and a regression, but one fault."""
    regressions, limit = (comparison.regressions, comparison.max_drift) if comparison else ((), 0.0)
    found = {(c.test, c.check, c.kind, c.layer): c for c in regressions if c.kind != "drift"}
    failed = {(f.test, f.check, f.what, f.layer) for f in violations}
    yield from (replace(f, regression=(f.test, f.check, f.what, f.layer) in found) for f in violations)
    yield from (_unheeded(change) for place, change in found.items() if place not in failed)
    # A layer that drifted in norm, reach and signal is one matter, and none of its own where it is the culprit anyway;
    # the largest factor comes first.
    told = {(c.test, c.check, c.device, c.layer) for c in regressions if c.kind != "drift"}
    drifts = {(c.test, c.check, c.device, c.layer): c for c in reversed(regressions) if c.kind == "drift"}
    yield from (_drifted(change, limit) for place, change in drifts.items() if place not in told)


def _unheeded(change: Change) -> Fault:
    """A new finding of a test that did not fail."""
    return Fault(**_place(change), what=f"{change.kind}, but its test did not fail", head=change.head, regression=True)


def _drifted(change: Change, limit: float) -> Fault:
    numbers = {"base": change.base, "head": change.head, "factor": change.factor, "limit": limit}
    return Fault(**_place(change), **numbers, what=_moved(change), regression=True)


def _place(change: Change) -> dict[str, object]:
    names = ("test", "check", "file", "line", "layer", "code", "url", "message", "cause", "remedy")
    return {name: getattr(change, name) for name in names}


def _lost(check: Mapping[str, str]) -> Fault:
    return Fault(
        test=check["test"],
        check=check["check"],
        what=LOST,
        message=f"the base checks {check['check']} here, and this change does not",
        regression=True,
        remedy="Run the test again under its old name, or accept the loss with the input `allow-lost-checks`.",
    )


def _moved(change: Change) -> str:
    """What moved: where all layers moved by one factor, a layer's own is what it moved by beside that."""
    plain = _factor(change.base, change.head)
    apart = plain is not None and change.factor is not None and not math.isclose(plain, change.factor, rel_tol=0.02)
    return f"{change.quantity or 'all layers'}{', beside the others' if apart else ''}"


def _gravity(fault: Fault) -> tuple[bool, bool, bool, float]:
    """Violations first, non-finite ones before all, then checks that are gone, then by distance from limit or base."""
    distance = _factor(fault.limit, fault.head) if fault.violation else fault.factor
    return not fault.violation, fault.what != "non-finite", not fault.lost, -(distance or 0.0)
