"""The one path from a model to a verdict: measure, judge, look again where needed, show.

Needs no pytest session: the ``gradhealth`` fixture is one whose settings and hooks come from pytest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, Unpack

from pytest_gradhealth.errors import ConfigurationError, GradientHealthError, MeasurementError
from pytest_gradhealth.examiner import Examiner
from pytest_gradhealth.judge.families import MISSING
from pytest_gradhealth.judge.limit_types import LimitKeywords
from pytest_gradhealth.judge.passes import verdict
from pytest_gradhealth.on_ranks import OnRanks
from pytest_gradhealth.record import Check
from pytest_gradhealth.results import Measurement, WatchResult, as_measurement
from pytest_gradhealth.settings import Settings

if TYPE_CHECKING:
    from torch import nn

    from pytest_gradhealth.measure.runs.runner import Runner
    from pytest_gradhealth.measure.watching.watch import Watch

__tracebackhide__ = True

__all__ = ["Checker", "check_gradients"]

P = ParamSpec("P")
T = TypeVar("T")

NOTHING_TRAINED = (
    "nothing was trained: no backward pass went through a model. Call loss.backward(), "
    "or use the fixture: gradhealth.check(model, batches, loss=...)"
)
GIVEN_AS_NONE: dict[str, Any] = {
    "cause": "its gradient is None: nothing on the way to the loss depends on it",
    "remedy": "use it in the forward pass, leave it out of what is trained, or list it in ignore=[...]",
}


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


class Checker(Examiner, OnRanks):
    """Measures and judges models."""

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
        dtypes: Sequence[str] | None = None,
        learning_rate: float | None = None,
        histograms: bool | None = None,
        **limits: Unpack[LimitKeywords],
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
            dtypes: overrides the precisions that it is made in, as in ``["float32", "autocast-bfloat16"]``.
            learning_rate: tell which updates rounding takes from weights in half precision, of steps of this size.
            histograms: look at every element of every gradient: the record then has each layer's histogram, and norms
                of order inf (``record["fc"]["weight"].vector_norm(math.inf)``).
            **limits: override single limits, as in ``max_ratio=1e4``.

        Raises:
            GradientHealthError: a limit is broken; the message is the verdict and the table.
            MeasurementError: there is nothing to measure with what was given.
        """
        settings = self._with(device, seed, max_batches, limits, histograms, dtypes, learning_rate)
        first, *others = self._rehearsals(settings, model, batches, loss, step)
        checks = [self.examined(first, settings, name)]
        checks += [self.examined(rehearsal, settings, name, first) for rehearsal in others]
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
        dtypes: Sequence[str] | None = None,
        learning_rate: float | None = None,
        histograms: bool | None = None,
    ) -> Measurement:
        """Like :meth:`check`, without a verdict."""
        settings = self._with(device, seed, max_batches, {}, histograms, dtypes, learning_rate)
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
        **limits: Unpack[LimitKeywords],
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
    def watch(
        self, model: nn.Module | None = None, *, name: str | None = None, **limits: Unpack[LimitKeywords]
    ) -> Iterator[WatchResult]:
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
            problems = "; ".join(watch.problems())
            raise MeasurementError(f"could not measure {problems}" if problems else NOTHING_TRAINED)
        for check in checks:
            self._raise_if_sick(check)

    def new_watch(self, model: nn.Module | None = None) -> Watch:
        """A watch that measures what the settings ask for, not yet open."""
        from pytest_gradhealth.measure.watching.watch import Watch

        return Watch(model, histograms=self._settings.histograms, formats=self._settings.formats)

    def _with(
        self,
        device: str | None,
        seed: int | None,
        max_batches: int | None,
        limits: LimitKeywords,
        histograms: bool | None = None,
        dtypes: Sequence[str] | None = None,
        learning_rate: float | None = None,
    ) -> Settings:
        given = {
            "device": device,
            "seed": seed,
            "max_batches": max_batches,
            "histograms": histograms,
            "dtypes": dtypes,
            "learning_rate": learning_rate,
        }
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
        from pytest_gradhealth.measure.precisions.precision import precision_of
        from pytest_gradhealth.measure.runs.batches import as_batches, assumption, require_order
        from pytest_gradhealth.measure.runs.devices import resolve_devices
        from pytest_gradhealth.measure.runs.generators import held_by, isolated_rng
        from pytest_gradhealth.measure.runs.runner import Runner

        require_order(model, batches)
        devices = resolve_devices(settings.device, settings.device_from)
        precisions = tuple(map(precision_of, settings.dtypes)) or (None,)
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
                formats=settings.formats,
                learning_rate=settings.learning_rate,
                precision=precision,
                progress=self._progress,
                notes=(note,) if note else (),
            )
            for device in devices
            for precision in precisions
        ]

    def _raise_if_sick(self, check: Check) -> None:
        if not check.healthy and not self.is_tolerated(check):
            raise GradientHealthError(self._show(check), check)


def check_gradients(
    gradients: Any,
    weights: Any = None,
    *,
    loss: float | None = None,
    name: str = "gradients",
    **limits: Unpack[LimitKeywords],
) -> Measurement:
    """:meth:`Checker.check_gradients` with the default settings, outside a pytest session too."""
    return Checker().check_gradients(gradients, weights, loss=loss, name=name, **limits)
