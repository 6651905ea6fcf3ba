"""Experiments on a model that a user asks for: a self-test of the limits, and a forecast at another size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Unpack

from pytest_gradhealth.checks import Checker
from pytest_gradhealth.errors import MeasurementError
from pytest_gradhealth.judge.limit_types import LimitKeywords
from pytest_gradhealth.record import Check, Mutant
from pytest_gradhealth.report import selftest as shown
from pytest_gradhealth.report.table import verdict

if TYPE_CHECKING:
    from torch import nn

    from pytest_gradhealth.experiment.forecast import Forecast

__all__ = ["GradHealth", "SelfTest", "forecast", "selftest"]


class _Options(LimitKeywords, total=False):
    device: str | None
    seed: int | None
    max_batches: int | None


@dataclass(frozen=True, kw_only=True, repr=False)
class SelfTest:
    """What the limits find of the faults seeded into one model. Prints as its table."""

    check: Check
    """The check of the model itself, healthy."""
    mutants: tuple[Mutant, ...]

    @property
    def kill_rate(self) -> float:
        """Share (0 to 1) of the mutants found, without equivalents and those not run; 1 where none is left."""
        judged = [mutant for mutant in self.mutants if mutant.outcome in ("found", "survived")]
        return sum(mutant.outcome == "found" for mutant in judged) / len(judged) if judged else 1.0

    @property
    def survivors(self) -> tuple[Mutant, ...]:
        """Faults that the limits let pass."""
        return tuple(mutant for mutant in self.mutants if mutant.outcome == "survived")

    def __repr__(self) -> str:
        return f"<{shown.verdict(self.check.name, self.mutants)}>"

    def __str__(self) -> str:
        return shown.render(self.check.name, self.mutants)


class GradHealth(Checker):
    """The ``gradhealth`` fixture: measures, judges, and experiments on models."""

    def selftest(
        self,
        model: nn.Module | Callable[[], nn.Module],
        batches: Any,
        loss: Callable[..., Any] | None = None,
        step: Callable[..., Any] | None = None,
        *,
        seconds: float | None = None,
        device: str | None = None,
        seed: int | None = None,
        max_batches: int | None = None,
        **limits: Unpack[LimitKeywords],
    ) -> SelfTest:
        """Seed faults into copies of a healthy model, and tell which of them these limits find.

        Args:
            model: the model, or a function without arguments that makes one.
            batches: as for :meth:`check`.
            loss: as for :meth:`check`.
            step: as for :meth:`check`.
            seconds: overrides how long it may take; faults that are left then are reported as not run.
            device: overrides the configured device.
            seed: overrides the configured seed.
            max_batches: overrides how many batches are taken.
            **limits: override single limits, as in ``min_reach=1e-3``.

        Raises:
            MeasurementError: the model is not healthy by these limits, or there is nothing to measure.
        """
        from pytest_gradhealth.experiment.selftest import mutants_of

        settings = self._with(device, seed, max_batches, limits)
        if seconds is not None:
            settings = replace(settings, selftest_seconds=seconds)
        runner = self._rehearsals(settings, model, batches, loss, step)[0]
        check = Checker(settings, hook=self._hook).examined(runner, settings)
        if not check.healthy:
            raise MeasurementError(f"only a healthy model can be self-tested: {verdict(check)}")
        mutants = mutants_of(check, runner, settings, self._hook, self._progress)
        self._keep(replace(check, name=self._unique(check.name, check.record), mutants=mutants))
        return SelfTest(check=check, mutants=mutants)

    def forecast(
        self,
        factory: Callable[..., nn.Module],
        batches: Any,
        loss: Callable[..., Any] | None = None,
        step: Callable[..., Any] | None = None,
        *,
        target: Mapping[str, int],
        depth: Sequence[int] = (),
        width: Sequence[int] = (),
        device: str | None = None,
        seed: int | None = None,
        max_batches: int | None = None,
        **limits: Unpack[LimitKeywords],
    ) -> Forecast:
        """Measure a ladder of small models, and judge the large one that is meant by the laws they follow.

        Args:
            factory: makes a model of a size: ``factory(depth=8)``, ``factory(depth=8, width=64)``.
            batches: as for :meth:`check`; where they depend on the size, a function of it: ``batches(width=64)``.
            loss: as for :meth:`check`.
            step: as for :meth:`check`.
            target: the size that is meant, as in ``{"depth": 48}``.
            depth: depths to measure, three or more.
            width: widths to measure; with both, each with each.
            device: overrides the configured device.
            seed: overrides the configured seed; each size is made with three.
            max_batches: overrides how many batches are taken.
            **limits: override single limits, as in ``min_reach=1e-3``.

        Raises:
            ConfigurationError: ladder and target do not belong together.
            MeasurementError: there is nothing to measure with what was given.
        """
        from pytest_gradhealth.experiment.forecast import projection
        from pytest_gradhealth.experiment.ladder import ladder

        settings = self._with(device, seed, max_batches, limits)
        seen: list[Check] = []

        def checked(size: Mapping[str, int], number: int) -> Check:
            seeded = replace(settings, seed=settings.seed + number)
            given = batches(**size) if callable(batches) else batches
            runner = self._rehearsals(seeded, lambda: factory(**size), given, loss, step)[0]
            seen.append(Checker(seeded, hook=self._hook).examined(runner, seeded))
            return seen[-1]

        axes = {axis: sizes for axis, sizes in (("depth", depth), ("width", width)) if sizes}
        told = ladder(checked, axes, target, settings.limits)
        record = seen[-1].record
        name = self._unique(f"{record.model} forecast", record)
        self._keep(Check(name=name, record=record, judged=False, forecast=projection(told)))
        return told


def forecast(
    factory: Callable[..., nn.Module],
    batches: Any,
    loss: Callable[..., Any] | None = None,
    step: Callable[..., Any] | None = None,
    *,
    target: Mapping[str, int],
    depth: Sequence[int] = (),
    width: Sequence[int] = (),
    **options: Unpack[_Options],
) -> Forecast:
    """:meth:`GradHealth.forecast` with the default settings, outside a pytest session too."""
    return GradHealth().forecast(factory, batches, loss, step, target=target, depth=depth, width=width, **options)


def selftest(
    model: nn.Module | Callable[[], nn.Module],
    batches: Any,
    loss: Callable[..., Any] | None = None,
    step: Callable[..., Any] | None = None,
    *,
    seconds: float | None = None,
    **options: Unpack[_Options],
) -> SelfTest:
    """:meth:`GradHealth.selftest` with the default settings, outside a pytest session too."""
    return GradHealth().selftest(model, batches, loss, step, seconds=seconds, **options)
