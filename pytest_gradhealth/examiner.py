"""From what was measured to a check: judge, look again where needed, try cures, compare, keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pluggy

from pytest_gradhealth.hookspecs import plugins
from pytest_gradhealth.judge.copies import told_once
from pytest_gradhealth.judge.disagreement import disagreement
from pytest_gradhealth.judge.families import MISSING
from pytest_gradhealth.judge.judge import is_open, judge
from pytest_gradhealth.judge.limits import Limits
from pytest_gradhealth.judge.passes import verdict
from pytest_gradhealth.judge.random_depth import with_arrivals
from pytest_gradhealth.judge.remarks import designed, remarks
from pytest_gradhealth.judge.rules.disagreement import RULE
from pytest_gradhealth.record import Check, Finding, GradientRecord
from pytest_gradhealth.report.table import render_failure
from pytest_gradhealth.settings import Settings

if TYPE_CHECKING:
    from pytest_gradhealth.measure.runs.runner import Runner
    from pytest_gradhealth.measure.watching.watch import Watch

__tracebackhide__ = True

__all__ = ["Examiner"]

Explore = Callable[..., dict[str, Any]]
"""Given a check, what it was measured with and its settings: further fields of it, found by experiments."""
Accept = Callable[[str, GradientRecord, Finding], bool]
"""Given a check's name, its record and a finding: whether a team has accepted it."""
NOT_AGAIN = (
    "nothing: training inside a test cannot be repeated with a change; "
    "gradhealth.check(model, batches, loss=...) tries cures"
)
OTHER_SEEDS = (1, 2, 3)
"""Added to the seed where a gradient is missing: layers may be dropped, and tokens routed, at random."""
LATER_STEPS = (1, 2, 4, 8)
"""Optimiser steps after which the second look measures; it stops at the first that shows nothing any more."""


class Examiner:
    """The part of ``Checker`` that makes checks of measurements. It raises nothing where a model is sick."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        sink: Callable[[Check], None] | None = None,
        hook: pluggy.HookRelay | None = None,
        show: Callable[[Check], str] = render_failure,
        compare: Callable[[Check], tuple[tuple[Finding, ...], tuple[str, ...]]] | None = None,
        accept: Accept | None = None,
        progress: Callable[[str], None] = lambda text: None,
        explore: Explore | None = None,
        tolerate: Callable[[Check], None] | None = None,
    ) -> None:
        self._tolerate = tolerate
        self._settings = settings or Settings()
        self._sink = sink or (lambda check: None)
        self._hook = hook or plugins().hook
        self._show, self._compare, self._progress, self._explore = show, compare, progress, explore
        self._accept = accept
        self._names: dict[tuple[str, str, str], int] = {}

    def judged_passes(self, watch: Watch, settings: Settings | None = None, name: str | None = None) -> list[Check]:
        """A check for every model that a watch has seen trained; copies with one fault are one."""
        limits = (settings or self._settings).limits
        judged = []
        for passes in watch.passes():
            try:
                record, findings = verdict(passes, limits)
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                watch.could_not_judge(passes[0].model, error)
                continue
            judged.append((record, findings + self._own_findings(record, limits)))
        checks = []
        for record, told in told_once(judged):
            called = self._unique(name or record.model, record)
            opened, _ = self._sorted(called, record, told)
            untried = NOT_AGAIN if opened and self._explore and (settings or self._settings).try_seconds else ""
            checks.append(self.conclude(record, told, limits, called, untried=untried))
        return checks

    @property
    def count(self) -> int:
        """How many checks were made so far."""
        return sum(self._names.values())

    def examined(
        self, rehearsal: Runner, settings: Settings, name: str | None = None, first: Runner | None = None
    ) -> Check:
        """The verdict on what a runner measures; a sick model raises nothing here.

        Args:
            rehearsal: what measures.
            settings: how it is judged.
            name: what the check is called.
            first: the same model on another device or in another precision, to be compared with.
        """
        limits, record = settings.limits, rehearsal.measure()
        findings = self._judged(record, limits)
        if findings or any(layer.missing or layer.norm == 0 for layer in record):  # by design, or not: the trace tells
            if rehearsal.left_out:  # nothing is found by a sample alone
                record = rehearsal.measure(thorough=True)
            record = replace(record, operations=rehearsal.trace())
            findings = self._judged(record, limits)
        if any(finding.fault == MISSING.name for finding in findings):
            others = [rehearsal.measure(settings.seed + other) for other in OTHER_SEEDS]
            record = with_arrivals(record, others)
            findings = self._judged(record, limits)
        if any(finding.provisional for finding in findings):
            later = rehearsal.look_again(LATER_STEPS, lambda seen: self._is_settled(record, seen, limits))
            record = replace(record, later=replace(later, operations=record.operations))
            findings = self._judged(record, limits)
        findings += self._disagreements(record, first, settings)
        called = self._unique(name or record.model, record)
        opened, _ = self._sorted(called, record, findings)
        more = self._explored(record, opened, rehearsal, settings)
        self._progress("")
        return self.conclude(record, findings, limits, called, **more)

    def _disagreements(self, record: GradientRecord, first: Runner | None, settings: Settings) -> tuple[Finding, ...]:
        """Where it differs from the first measurement, and that does not differ as much from itself by chance."""
        if first is None or not settings.limits.asks(RULE.code):
            return ()
        reference, limits = first.measure(), settings.limits.under(RULE.code)
        found = disagreement(record, reference, limits)
        if found is None:
            return ()
        drawn = (first.measure(settings.seed + other) for other in OTHER_SEEDS)
        by_chance = any(disagreement(replace(x, precision=record.precision), reference, limits) for x in drawn)
        return () if by_chance else (found,)

    def _explored(
        self, record: GradientRecord, findings: tuple[Finding, ...], rehearsal: Runner, settings: Settings
    ) -> dict[str, Any]:
        """What experiments on copies add to the verdict, which they never change."""
        if self._explore is None or rehearsal.is_shared:
            return {}
        check = Check(name=record.model, record=record, findings=findings, limits=settings.limits.to_dict())
        return self._explore(check, rehearsal, settings, self._hook, self._progress)

    def _is_settled(self, record: GradientRecord, seen: GradientRecord, limits: Limits) -> bool:
        """Whether the second look shows nothing any more."""
        seen = replace(seen, operations=record.operations)
        return not is_open(seen, self._judged(seen, limits), limits)

    def _judged(self, record: GradientRecord, limits: Limits) -> tuple[Finding, ...]:
        return judge(record, limits) + self._own_findings(record, limits)

    def _own_findings(self, record: GradientRecord, limits: Limits) -> tuple[Finding, ...]:
        """What extensions find."""
        found = self._hook.pytest_gradhealth_rules(record=record, limits=limits)
        return tuple(finding for findings in found for finding in findings)

    def conclude(
        self,
        record: GradientRecord,
        findings: tuple[Finding, ...],
        limits: Limits,
        name: str,
        **more: Any,
    ) -> Check:
        """Make a check of a judged record, with what extensions add, and keep it."""
        opened, accepted = self._sorted(name, record, findings)
        record = replace(record, notes=record.notes + remarks(record, limits))
        columns = self._hook.pytest_gradhealth_columns(record=record)
        check = Check(
            name=name,
            record=record,
            findings=opened,
            accepted=accepted,
            limits=limits.to_dict(),
            **more,
            by_design=designed(record, limits),
            columns={
                str(title): {str(layer): str(text) for layer, text in cells.items()}
                for found in columns
                for title, cells in found.items()
            },
        )
        check = self._compared(check)
        facts: list[Mapping[str, Any]] = self._hook.pytest_gradhealth_metadata(check=check)
        return self._keep(replace(check, metadata={key: value for found in facts for key, value in found.items()}))

    def _sorted(
        self, name: str, record: GradientRecord, findings: tuple[Finding, ...]
    ) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
        """What fails the check, and what was accepted."""
        accepted = tuple(f for f in findings if self._accept and self._accept(name, record, f))
        return tuple(finding for finding in findings if finding not in accepted), accepted

    def _compared(self, check: Check) -> Check:
        """With what differs from the baseline."""
        if self._compare is None:
            return check
        findings, notes = self._compare(check)
        record = replace(check.record, notes=(*check.record.notes, *notes))
        return replace(check, record=record, findings=(*check.findings, *findings))

    def _keep(self, check: Check) -> Check:
        self._sink(check)
        return check

    def _unique(self, name: str, record: GradientRecord) -> str:
        """Numbered where a name comes again on the same device in the same precision."""
        key = (name, record.device, record.precision)
        self._names[key] = self._names.get(key, 0) + 1
        return name if self._names[key] == 1 else f"{name} #{self._names[key]}"

    def is_tolerated(self, check: Check) -> bool:
        """Whether a sick check is only told, and has been."""
        if self._tolerate is None:
            return False
        self._tolerate(check)
        return True
