"""The one path from a model to a verdict: measure, judge, look again where needed, show.

Needs no pytest session: the ``gradhealth`` fixture is a :class:`GradHealth` whose settings and hooks come from pytest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import pluggy

from pytest_gradhealth.errors import ConfigurationError, GradientHealthError, MeasurementError
from pytest_gradhealth.hookspecs import plugins
from pytest_gradhealth.judge.copies import told_once
from pytest_gradhealth.judge.families import MISSING
from pytest_gradhealth.judge.judge import is_open, judge
from pytest_gradhealth.judge.limits import Limits
from pytest_gradhealth.judge.passes import verdict
from pytest_gradhealth.judge.random_depth import with_arrivals
from pytest_gradhealth.judge.remarks import designed, remarks
from pytest_gradhealth.on_ranks import OnRanks
from pytest_gradhealth.record import Check, Finding, GradientRecord
from pytest_gradhealth.report.table import render_failure
from pytest_gradhealth.results import Measurement, WatchResult, as_measurement
from pytest_gradhealth.settings import Settings

if TYPE_CHECKING:
    from torch import nn

    from pytest_gradhealth.measure.runs.runner import Runner
    from pytest_gradhealth.measure.watching.patches import Watch

__tracebackhide__ = True

__all__ = ["GradHealth", "check_gradients"]

Explore = Callable[..., dict[str, Any]]
"""Given a check, what it was measured with and its settings: further fields of it, found by experiments."""
Accept = Callable[[str, GradientRecord, Finding], bool]
"""Given a check's name, its record and a finding: whether a team has accepted it."""
P = ParamSpec("P")
T = TypeVar("T")

NOTHING_TRAINED = (
    "nothing was trained: no backward pass went through a model. Call loss.backward(), "
    "or use the fixture: gradhealth.check(model, batches, loss=...)"
)
NOT_AGAIN = (
    "nothing: what a test trains by itself cannot be run again with a change; "
    "gradhealth.check(model, batches, loss=...) can"
)
GIVEN_AS_NONE: dict[str, Any] = {
    "cause": "its gradient is None: nothing on the way to the loss depends on it",
    "remedy": "use it in the forward pass, leave it out of what is trained, or list it in ignore=[...]",
}
OTHER_SEEDS = (1, 2, 3)
"""Added to the seed where a gradient is missing: layers may be dropped, and tokens routed, at random."""
LATER_STEPS = (1, 2, 4, 8)
"""Optimiser steps after which the second look measures; it stops at the first that redeems the model."""


def _without_our_frames(method: Callable[P, T]) -> Callable[P, T]:
    """Show the user's own line under an error about what they gave, not how the package came to see it."""

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        __tracebackhide__ = True
        try:
            return method(*args, **kwargs)
        except (ConfigurationError, GradientHealthError, MeasurementError) as error:
            problem = error
        try:
            raise problem.with_traceback(None)
        finally:
            del problem  # the error holds this frame, and the frame must not hold the error: both keep the model alive

    return call


class GradHealth(OnRanks):
    """Measures and judges models."""

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

    @_without_our_frames
    def check(
        self,
        model: nn.Module | Callable[[], nn.Module],
        batches: Any,
        loss: Callable[..., Any] | None = None,
        step: Callable[..., Any] | None = None,
        *,
        name: str | None = None,
        device: str | None = None,
        seed: int | None = None,
        max_batches: int | None = None,
        **limits: Any,
    ) -> Measurement:
        """Send batches through a model, judge every layer's gradient, and return the record.

        Args:
            model: the model, or a function without arguments that makes one.
            batches: one batch (tensor, ``(inputs..., target)``, dict, dataclass) or an iterable of them.
            loss: ``loss(output, target)``; without it the model's own loss is used.
            step: ``step(model, batch)`` returning the loss, for everything else.
            name: what the check is called in reports; by default the model's class.
            device: overrides the configured device.
            seed: overrides the configured seed.
            max_batches: overrides how many batches are taken.
            **limits: override single limits, as in ``max_ratio=1e4``.

        Raises:
            GradientHealthError: a limit is broken; the message is the verdict and the table.
            MeasurementError: there is nothing to measure with what was given.
        """
        settings = self._with(device, seed, max_batches, limits)
        checks = [
            self.examined(rehearsal, settings, name)
            for rehearsal in self._rehearsals(settings, model, batches, loss, step)
        ]
        for check in checks:
            self._raise_if_sick(check)
        return as_measurement(checks[0].record)

    @_without_our_frames
    def measure(
        self,
        model: nn.Module | Callable[[], nn.Module],
        batches: Any,
        loss: Callable[..., Any] | None = None,
        step: Callable[..., Any] | None = None,
        *,
        device: str | None = None,
        seed: int | None = None,
        max_batches: int | None = None,
    ) -> Measurement:
        """Like :meth:`check`, without a verdict."""
        settings = self._with(device, seed, max_batches, {})
        rehearsals = self._rehearsals(settings, model, batches, loss, step)
        records = [rehearsal.measure() for rehearsal in rehearsals]
        for record in records:
            self._keep(Check(name=self._unique(record.model, record), record=record, judged=False))
        return as_measurement(records[0])

    @_without_our_frames
    def check_gradients(
        self,
        gradients: Any,
        weights: Any = None,
        *,
        loss: float | None = None,
        name: str = "gradients",
        **limits: Any,
    ) -> Measurement:
        """Judge gradients that come from anywhere: NumPy, JAX, TensorFlow or torch. Imports none of them but NumPy.

        Without weights layers are compared by their gradients' norms alone. What only modules show (signals, dead
        units, the second look) is not judged.

        Args:
            gradients: arrays by name in forward order, nested as you like; None: that parameter got no gradient.
            weights: the parameters, under the same names; where they are given, their order counts.
            loss: the loss that the gradients are of; without it their absolute size is not judged.
            name: what the check is called in reports.
            **limits: override single limits, as in ``max_ratio=1e4``.

        Raises:
            GradientHealthError: a limit is broken; the message is the verdict and the table.
            MeasurementError: these are no gradients.
        """
        from pytest_gradhealth.measure.arrays import record_of

        allowed = self._with(None, None, None, limits).limits
        found = record_of(gradients, weights, loss=loss, name=name, histograms=self._settings.histograms)
        record, findings = verdict([found], allowed)
        told = tuple(replace(f, **GIVEN_AS_NONE) if f.fault == MISSING.name else f for f in findings)
        check = self.conclude(
            record, (*told, *self._own_findings(record, allowed)), allowed, self._unique(name, record)
        )
        self._raise_if_sick(check)
        return as_measurement(check.record)

    @contextmanager
    def watch(self, model: nn.Module | None = None, *, name: str | None = None, **limits: Any) -> Iterator[WatchResult]:
        """Measure and judge what trains inside the block: this model, or every model that is found.

        What ``as`` names holds the records and checks once the block has ended::

            with gradhealth.watch(model) as watched:
                train(model)
            assert watched.records[0]["stem.conv"].reach > 1e-3

        Args:
            model: the model, whichever of its parts is called; by default whatever a backward pass goes through.
            name: what the check is called in reports; by default the model's class.
            **limits: override single limits, as in ``max_ratio=1e4``.

        Raises:
            GradientHealthError: a limit is broken, at the end of the block.
            MeasurementError: no backward pass went through the model inside the block.
        """
        __tracebackhide__ = True
        settings = self._with(None, None, None, limits)
        with self.new_watch(model) as watch:
            result = WatchResult()
            yield result
        checks = self.judged_passes(watch, settings, name)
        result.end(checks)
        if not checks:
            raise MeasurementError(NOTHING_TRAINED)
        for check in checks:
            self._raise_if_sick(check)

    def new_watch(self, model: nn.Module | None = None) -> Watch:
        """A watch that measures what the settings ask for, not yet open."""
        from pytest_gradhealth.measure.watching.patches import Watch

        return Watch(model, histograms=self._settings.histograms)

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

    def _with(self, device: str | None, seed: int | None, max_batches: int | None, limits: dict[str, Any]) -> Settings:
        given = {"device": device, "seed": seed, "max_batches": max_batches}
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if device is not None:
            changes["device_from"] = "device"
        return replace(self._settings, limits=self._settings.limits.extended(**limits), **changes)

    def _rehearsals(
        self,
        settings: Settings,
        model: nn.Module | Callable[[], nn.Module],
        batches: Any,
        loss: Callable[..., Any] | None,
        step: Callable[..., Any] | None,
    ) -> list[Runner]:
        from pytest_gradhealth.measure.passes.interrupts import delivered
        from pytest_gradhealth.measure.runs.batches import as_batches, assumption, require_order
        from pytest_gradhealth.measure.runs.devices import resolve_devices
        from pytest_gradhealth.measure.runs.generators import held_by, isolated_rng
        from pytest_gradhealth.measure.runs.runner import Runner

        require_order(model, batches)
        devices = resolve_devices(settings.device, settings.device_from)
        with isolated_rng(settings.seed, *held_by(batches)):  # shuffling and augmentation draw numbers too
            taken = delivered(as_batches, batches, settings.max_batches, loss)
        note = assumption(batches, loss)
        return [
            Runner(
                model,
                taken,
                loss=loss,
                step=step,
                extension=self._hook.pytest_gradhealth_step,
                device=device,
                seed=settings.seed,
                histograms=settings.histograms,
                progress=self._progress,
                notes=(note,) if note else (),
            )
            for device in devices
        ]

    def examined(self, rehearsal: Runner, settings: Settings, name: str | None = None) -> Check:
        """The verdict on what a runner measures; a sick model raises nothing here."""
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
        called = self._unique(name or record.model, record)
        opened, _ = self._sorted(called, record, findings)
        more = self._explored(record, opened, rehearsal, settings)
        self._progress("")
        return self.conclude(record, findings, limits, called, **more)

    def _explored(
        self, record: GradientRecord, findings: tuple[Finding, ...], rehearsal: Runner, settings: Settings
    ) -> dict[str, Any]:
        """What experiments on copies add to the verdict, which they never change."""
        if self._explore is None or rehearsal.is_shared:
            return {}
        check = Check(name=record.model, record=record, findings=findings, limits=settings.limits.to_dict())
        return self._explore(check, rehearsal, settings, self._hook, self._progress)

    def _is_settled(self, record: GradientRecord, seen: GradientRecord, limits: Limits) -> bool:
        """Whether the second look has redeemed the model."""
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

    def _raise_if_sick(self, check: Check) -> None:
        if not check.healthy and not self.is_tolerated(check):
            raise GradientHealthError(self._show(check), check)


def check_gradients(gradients: Any, weights: Any = None, **options: Any) -> Measurement:
    """:meth:`GradHealth.check_gradients` with the default settings, outside a pytest session too."""
    return GradHealth().check_gradients(gradients, weights, **options)
