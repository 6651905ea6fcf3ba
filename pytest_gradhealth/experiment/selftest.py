"""Mutation testing of a gate: would the user's limits find what can go wrong in the user's own model?"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import zip_longest

import pluggy

from pytest_gradhealth.experiment.faults import Fault, faults
from pytest_gradhealth.experiment.subject import STRICTEST, Subject, examined, is_over, value_of
from pytest_gradhealth.experiment.training import losses_while_training, mean_losses
from pytest_gradhealth.measure.runs.runner import Runner
from pytest_gradhealth.record import Check, GradientRecord, Mutant
from pytest_gradhealth.settings import Settings

__all__ = ["mutants_of"]

STEPS = (20, 60)
"""Optimiser steps after which a survivor is compared with the model itself."""
LEARNING_RATE = 1e-3
AS_WELL = 0.9
"""Share of the model's own progress from which a mutant trains as well."""
SAME = 1e-4
"""Relative difference up to which two gradients are one."""
APART = 2.0
"""Factor from which a number tells a survivor from the healthy model."""
OTHERS = 4
"""Healthy measurements, with other seeds, that a limit must let pass."""


def mutants_of(
    check: Check,
    runner: Runner,
    settings: Settings,
    hook: pluggy.HookRelay | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> tuple[Mutant, ...]:
    """Seed every fault at every site into a copy of a healthy model, and judge it as the model was judged.

    Args:
        check: the healthy check.
        runner: what it was measured with.
        settings: what it was judged by. When its ``selftest_seconds`` are over no pass begins; the mutants left are
            reported as not run.
        hook: the session's extension points, whose rules judge mutants too.
        progress: told what is being done.
    """
    deadline, mutants = time.perf_counter() + settings.selftest_seconds, list[Mutant]()
    test = _SelfTest(check, runner, settings, hook, deadline)
    called = {signal.name for signal in check.record.signals}
    for fault in _in_turn(faults(runner.copy_of_model(), called)):
        mutant = None
        if not is_over(deadline):
            progress(f"{check.name}: self-test, {fault.name} {fault.layer}")
            with suppress(TimeoutError):
                mutant = test.mutant(fault)
        if is_over(deadline):  # what was cut short counts as little as what never began
            mutant = Mutant(fault=fault.name, sentence=fault.sentence, layer=fault.layer, outcome="not run")
        if mutant is not None:
            mutants.append(mutant)
    progress("")
    return tuple(mutants)


def _in_turn(found: Iterator[Fault]) -> Iterator[Fault]:
    """One fault of each site after the other, so that a budget that ends early leaves out no site as a whole."""
    sites: dict[str, list[Fault]] = {}
    for fault in found:
        sites.setdefault(fault.layer, []).append(fault)
    for turn in zip_longest(*sites.values()):
        yield from filter(None, turn)


class _SelfTest:
    """One healthy model, and what its mutants are compared with."""

    def __init__(
        self, check: Check, runner: Runner, settings: Settings, hook: pluggy.HookRelay | None, deadline: float
    ) -> None:
        self._check, self._runner, self._settings, self._hook = check, runner, settings, hook
        self._deadline = deadline
        self._progress: list[float] = []
        self._healthy: list[GradientRecord] = []

    def mutant(self, fault: Fault) -> Mutant | None:
        """What the check says of it; None: there is nothing to change at its site."""
        told = {"fault": fault.name, "sentence": fault.sentence, "layer": fault.layer}
        try:
            subject = Subject.of(self._runner, self._settings.seed, self._deadline)
            if not fault.apply(subject):
                return None
            check = examined(subject, self._settings, self._hook)
        except Exception as error:  # a mutant that cannot run is seen by any test
            return Mutant(**told, outcome="found", found_as=type(error).__name__)
        if not check.healthy:
            return Mutant(**told, outcome="found", found_as=check.findings[0].kind)
        if reason := self._equivalence(check.record, subject):
            return Mutant(**told, outcome="equivalent", found_as=reason)
        return Mutant(**told, outcome="survived", hint=self._hint(check.record))

    def _equivalence(self, record: GradientRecord, subject: Subject) -> str:
        """Why a survivor is no fault; empty: it is one."""
        if _is_same(record, self._check.record):
            return "its gradients are the same"
        if not self._progress:
            self._progress = _progress(Subject.of(self._runner, self._settings.seed, self._deadline))
        pairs = zip(STEPS, _progress(subject), self._progress, strict=False)
        good = (steps for steps, own, healthy in pairs if own >= AS_WELL * healthy > 0)
        return next((f"it trains as well in {steps} steps" for steps in good), "")

    def _hint(self, record: GradientRecord) -> str:
        """The limit that would tell it from the model, and how many healthy measurements that limit breaks."""
        found = [(ratio, name, limit) for name in STRICTEST for ratio, limit in self._apart(name, record)]
        if not found:
            return "no limit tells it from the healthy model"
        _, name, limit = max(found)
        alarms = sum(_breaks(name, value_of(other, name), limit) for other in self._others())
        return f"{name}={limit:.2g} finds it; {alarms} of {len(self._healthy)} healthy measurements break it"

    def _apart(self, name: str, record: GradientRecord) -> Iterator[tuple[float, float]]:
        """By what factor the two differ in a number, and the limit in between; nothing where it tells nothing."""
        healthy, mutant = value_of(self._check.record, name), value_of(record, name)
        if not healthy or not mutant or healthy < 0 or mutant < 0:
            return
        ratio = healthy / mutant if name.startswith("min_") else mutant / healthy
        if ratio > APART and math.isfinite(ratio):
            yield ratio, math.sqrt(healthy) * math.sqrt(mutant)

    def _others(self) -> Sequence[GradientRecord]:
        """The healthy model measured with other seeds: made anew by its factory, or dropping other units."""
        if not self._healthy:
            seeds = range(self._settings.seed + 1, self._settings.seed + 1 + OTHERS)
            self._healthy = [self._runner.measured_anew(seed) for seed in seeds if not is_over(self._deadline)]
        return self._healthy


def _breaks(name: str, value: float | None, limit: float) -> bool:
    if value is None:
        return False
    return value < limit if name.startswith("min_") else value > limit


def _is_same(one: GradientRecord, other: GradientRecord) -> bool:
    return one.names == other.names and all(
        a.missing == b.missing
        and a.frozen == b.frozen
        and (a.norm is None) == (b.norm is None)
        and math.isclose(a.norm or 0.0, b.norm or 0.0, rel_tol=SAME)
        for a, b in zip(one, other, strict=True)
    )


def _progress(subject: Subject) -> list[float]:
    """By how much the loss has fallen after ``STEPS`` of Adam; nothing where it cannot be trained."""
    losses, count = losses_while_training(subject, STEPS[-1], LEARNING_RATE), len(subject.batches)
    ends = (mean_losses(losses, count, steps) for steps in STEPS if losses)
    return [before - after if math.isfinite(before - after) else 0.0 for before, after in ends]
