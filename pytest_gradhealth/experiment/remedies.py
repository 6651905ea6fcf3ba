"""Try cures on copies of a model that failed its check, and tell which of them make it healthy."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations, islice

import pluggy
from torch import nn

from pytest_gradhealth.checks import Settings
from pytest_gradhealth.experiment.cures import Cure, candidates
from pytest_gradhealth.experiment.subject import Subject, examined, value_of
from pytest_gradhealth.measure.runs.runner import Runner
from pytest_gradhealth.record import Attempt, Check

__all__ = ["Remedies"]

ENOUGH = 3
"""Cures after which no more are looked for."""
SHOWN = 2
"""Attempts told that cured nothing."""
PAIRS = 12
"""Pairs of cures tried where no single one helps."""


@dataclass(frozen=True)
class _Trial:
    cures: tuple[Cure, ...]
    check: Check


class Remedies:
    """Tries cures within a budget.

    Args:
        seconds: no new attempt begins when it would probably end later. How many fit depends on the machine; what an
            attempt shows does not.
        hook: the session's extension points, whose rules judge copies too.
    """

    def __init__(self, seconds: float, hook: pluggy.HookRelay | None = None) -> None:
        self._seconds, self._hook = seconds, hook

    def __call__(
        self, check: Check, runner: Runner, settings: Settings, factory: Callable[[], nn.Module] | None = None
    ) -> tuple[tuple[Attempt, ...], str]:
        """What was tried, best first, and what a reader should know about it. Never raises: the verdict stands."""
        subject = Subject.of(runner, settings.seed, factory)
        try:
            subject.copy()
        except Exception as error:
            return (), f"nothing: a copy of the model cannot be made ({type(error).__name__})"
        search = _Search(check, subject, settings, self._hook, time.perf_counter() + self._seconds)
        trials = [*islice(search.singles(), None)]
        if not any(trial.check.healthy for trial in trials):
            trials += islice(search.pairs(trials), None)
        told = [_attempt(check, trial) for trial in _best_first(trials)]
        return tuple(told), search.shortage(told)


class _Search:
    """One model's attempts, in the order of candidates, until enough have cured or time is up."""

    def __init__(
        self, check: Check, subject: Subject, settings: Settings, hook: pluggy.HookRelay | None, deadline: float
    ) -> None:
        self._check, self._subject, self._settings, self._hook = check, subject, settings, hook
        self._deadline, self._longest, self._cured, self._cut_short = deadline, 0.0, 0, False
        self._kinds = {finding.kind for finding in check.findings}

    def singles(self) -> Iterator[_Trial]:
        """One cure at a time."""
        yield from self._trials((cure,) for cure in candidates(self._check))

    def pairs(self, trials: list[_Trial]) -> Iterator[_Trial]:
        """Two cures together, where each alone applied and none healed."""
        useful = [trial.cures[0] for trial in trials]
        ranked = sorted(combinations(range(len(useful)), 2), key=sum)
        yield from self._trials((useful[a], useful[b]) for a, b in ranked[:PAIRS])

    def shortage(self, told: list[Attempt]) -> str:
        """Why there is no more to tell; empty where there is nothing to add."""
        if self._cut_short:
            return "not all candidates: the time was up; --gradhealth-try gives it more seconds"
        return "" if told else "no candidate applies"

    def _trials(self, candidates: Iterator[tuple[Cure, ...]]) -> Iterator[_Trial]:
        for cures in candidates:
            if self._cured >= ENOUGH:
                return
            if time.perf_counter() + self._longest > self._deadline:
                self._cut_short = True
                return
            begun = time.perf_counter()
            trial = self._trial(cures)
            self._longest = max(self._longest, time.perf_counter() - begun)
            if trial is not None:
                self._cured += trial.check.healthy
                yield trial

    def _trial(self, cures: tuple[Cure, ...]) -> _Trial | None:
        """None: there was nothing to change, or the changed model cannot run."""
        try:
            subject = self._subject.copy()
            if not all([cure.apply(subject) for cure in cures]):
                return None
            check = examined(subject, self._settings, self._hook)
        except Exception:
            return None
        lost = {finding.kind for finding in check.findings} & {"missing"} - self._kinds
        return None if lost or _is_same(check, self._check) else _Trial(cures, check)


def _is_same(one: Check, other: Check) -> bool:
    """Whether a change made no difference to what was found."""
    return one.findings == other.findings


def _best_first(trials: list[_Trial]) -> list[_Trial]:
    cured = [trial for trial in trials if trial.check.healthy]
    others = sorted((t for t in trials if not t.check.healthy), key=lambda t: len(t.check.findings))
    return [*cured, *others[:SHOWN]]


def _attempt(before: Check, trial: _Trial) -> Attempt:
    return Attempt(
        change=" and ".join(cure.name for cure in trial.cures),
        cures=trial.check.healthy,
        outcome=_outcome(before, trial.check),
        cause=" and ".join(cure.cause for cure in trial.cures),
        remedy="; ".join(cure.sentence for cure in trial.cures),
    )


def _outcome(before: Check, after: Check) -> str:
    """As in ``reach 5e-06 -> 0.61, healthy``."""
    first = before.findings[0]
    verdict = "healthy" if after.healthy else _still(before, after)
    value = value_of(after.record, first.limit_name)
    if first.value is None or value is None or not first.limit_name:
        return verdict
    name = first.limit_name.partition("_")[2].replace("_", " ")
    return f"{name} {first.value:.2g} -> {value:.2g}, {verdict}"


def _still(before: Check, after: Check) -> str:
    known = {finding.kind for finding in before.findings}
    kind = after.findings[0].kind
    return f"still {kind}" if kind in known else f"then {kind}"
