"""Try cures on copies of a model that failed its check, and tell which of them make it healthy."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations

import pluggy

from pytest_gradhealth.experiment.cures import Cure, candidates
from pytest_gradhealth.experiment.cures.affine import is_affine
from pytest_gradhealth.experiment.cures.structure import ACTIVATED
from pytest_gradhealth.experiment.subject import Subject, examined, is_over, value_of
from pytest_gradhealth.experiment.training import loss_before_training, losses_while_training, mean_losses
from pytest_gradhealth.measure.runs.runner import Runner
from pytest_gradhealth.record import Attempt, Check
from pytest_gradhealth.settings import Settings

__all__ = ["tried"]

ENOUGH = 3
"""Cures after which no more are looked for."""
SHOWN = 2
"""Attempts told that cured nothing."""
PAIRS = 12
"""Pairs of cures tried where no single one helps."""
STEPS = 20
"""Steps of Adam in which the loss of a cured copy must fall."""
LEARNING_RATES = (1e-2, 1e-3)
"""Of these, one must do."""
FALLS = 0.05
"""Share of itself by which a loss must fall."""
PASSES = 3
"""Passes that a check takes at least: a bound for what a step of training takes."""


@dataclass(frozen=True)
class _Training:
    """What a few steps of training show of a copy that a check calls healthy."""

    before: float
    after: float
    stood: float = math.inf
    """The loss of the model as it is, by the objective of the copy: new weights begin at another loss, and what ends
    above this has shown nothing."""
    affine: bool = False
    """It is still no more than one layer: its task needs activations."""

    @property
    def falls(self) -> bool:
        """Whether the loss of the copy falls."""
        return self.after <= self.before - FALLS * abs(self.before)

    @property
    def agrees(self) -> bool:
        """Whether it does not disprove the cure."""
        return self.falls and self.after < self.stood and not self.affine

    def __str__(self) -> str:
        """As in ``; loss 2.3 -> 0.4 in 20 steps``."""
        told = f"loss {self.before:.2g} -> {self.after:.2g} in {STEPS} steps"
        if self.agrees:
            return f"; {told}"
        if not math.isfinite(self.after):
            return f", but the loss is infinite or NaN after {STEPS} steps of Adam"
        if self.affine:
            return ", but all layers are one affine map: no activations"
        return f", but {told}" + (f", from {self.stood:.2g} without it" if self.falls else "")


@dataclass(frozen=True)
class _Trial:
    cures: tuple[Cure, ...]
    check: Check
    training: _Training | None = None
    """None where there was no cause or no time to train."""

    @property
    def cured(self) -> bool:
        """Whether a check finds nothing any more, and training agrees."""
        return self.check.healthy and (self.training is None or self.training.agrees)

    @property
    def left(self) -> float:
        """The loss that training leaves; infinite where there was no time for it."""
        return math.inf if self.training is None else self.training.after


def tried(
    check: Check,
    runner: Runner,
    settings: Settings,
    hook: pluggy.HookRelay | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> tuple[tuple[Attempt, ...], str]:
    """What cures a model that failed, best first, and what a reader should know about the search.

    No attempt begins when it would probably end after ``settings.try_seconds``, and none makes another pass then. How
    many fit depends on the machine; what each of them shows does not. An attempt that cannot be made is left out: the
    verdict stands as it is.
    """
    search = _Search(check, runner, settings, hook, progress)
    try:
        runner.copy_of_model()
    except Exception as error:
        return (), f"nothing: {check.name} cannot be copied ({type(error).__name__})"
    trials = list(search.singles())
    if not any(trial.cured for trial in trials):
        trials += search.pairs(trials)
    told = tuple(_attempt(check, trial) for trial in _best_first(trials))
    return told, search.shortage(told)


class _Search:
    """One model's attempts, in the order of candidates, until enough have cured or time is up."""

    def __init__(
        self,
        check: Check,
        runner: Runner,
        settings: Settings,
        hook: pluggy.HookRelay | None,
        progress: Callable[[str], None],
    ) -> None:
        self._check, self._runner, self._settings, self._hook = check, runner, settings, hook
        self._progress, self._deadline = progress, time.perf_counter() + settings.try_seconds
        self._longest, self._cured, self._cut_short = 0.0, 0, False
        self._kinds = {finding.fault for finding in check.findings}
        self._candidates = tuple(candidates(check))

    def singles(self) -> Iterator[_Trial]:
        """One cure at a time; each with activations, where the model has none: nothing else can cure it then."""
        lacking = self._lacks_activations(Subject.of(self._runner, self._settings.seed, self._deadline))
        needed = (ACTIVATED,) if lacking else ()
        yield from self._trials(tuple(dict.fromkeys((*needed, cure))) for cure in self._candidates)

    def _lacks_activations(self, subject: Subject) -> bool:
        """Whether it is one affine map, and that can matter for what was found: a detach is mended all the same."""
        try:
            return ACTIVATED in self._candidates and is_affine(subject)
        except Exception:  # it cannot run with other inputs, or the time is over
            return False

    def pairs(self, trials: list[_Trial]) -> Iterator[_Trial]:
        """Two cures together, where each alone applied and none healed."""
        useful = [trial.cures[0] for trial in trials if len(trial.cures) == 1]
        ranked = sorted(combinations(range(len(useful)), 2), key=sum)
        yield from self._trials((useful[a], useful[b]) for a, b in ranked[:PAIRS])

    def shortage(self, told: tuple[Attempt, ...]) -> str:
        """Why there is no more to tell; empty where there is nothing to add."""
        if self._cut_short:
            return f"nothing more: try_seconds={self._settings.try_seconds:g} ran out (--gradhealth-try-seconds)"
        return "" if told else "nothing: no known cure applies here"

    def _trials(self, candidates: Iterator[tuple[Cure, ...]]) -> Iterator[_Trial]:
        for cures in candidates:
            if self._cured >= ENOUGH:
                return
            if time.perf_counter() + self._longest > self._deadline:
                self._cut_short = True
                return
            self._progress(f"{self._check.name}: trying {_named(cures)}")
            begun = time.perf_counter()
            trial = self._trial(cures)
            self._longest = max(self._longest, time.perf_counter() - begun)
            if trial is not None:
                self._cured += trial.cured
                yield trial

    def _trial(self, cures: tuple[Cure, ...]) -> _Trial | None:
        """None: there was nothing to change, or the changed model cannot run."""
        begun = time.perf_counter()
        try:
            subject = self._changed(cures)
            if subject is None:
                return None
            check = examined(subject, self._settings, self._hook)
            if is_over(self._deadline):
                return None  # it may be half a check
            lost = {finding.fault for finding in check.findings} & {"missing"} - self._kinds
            if lost or _is_same(check, self._check):
                return None
            passing = (time.perf_counter() - begun) / PASSES
            affordable = time.perf_counter() + len(LEARNING_RATES) * STEPS * passing < self._deadline
            return _Trial(cures, check, self._trained(cures) if check.healthy and affordable else None)
        except Exception:
            return None

    def _changed(self, cures: tuple[Cure, ...]) -> Subject | None:
        subject = Subject.of(self._runner, self._settings.seed, self._deadline)
        return subject if all(cure.apply(subject) for cure in cures) else None

    def _trained(self, cures: tuple[Cure, ...]) -> _Training | None:
        """What training a changed copy shows, by the learning rate that does it better; None: the time was over."""
        try:
            return min((self._trained_at(rate, cures) for rate in LEARNING_RATES), key=lambda one: one.after)
        except TimeoutError:
            return None

    def _trained_at(self, rate: float, cures: tuple[Cure, ...]) -> _Training:
        subject = self._changed(cures)
        assert subject is not None  # it was changed before, and so it is again
        stood = self._standing(subject)
        losses = losses_while_training(subject, STEPS, rate)
        before, after = mean_losses(losses, len(subject.batches), STEPS) if losses else (0.0, 0.0)
        return _Training(before, after, stood, self._lacks_activations(subject))

    def _standing(self, changed: Subject) -> float:
        """Where the model as it is stands, by another objective; infinite where it cannot be measured by it."""
        try:
            loss = loss_before_training(replace(changed, model=self._runner.copy_of_model()))
        except Exception:  # it was for the objective that the model was changed
            return math.inf
        return loss if math.isfinite(loss) else math.inf


def _named(cures: tuple[Cure, ...]) -> str:
    return " and ".join(cure.name for cure in cures)


def _cause_of(trial: _Trial) -> str:
    return " and ".join(cure.cause for cure in trial.cures)


def _is_same(one: Check, other: Check) -> bool:
    """Whether a change made no difference to what was found."""
    return one.findings == other.findings


def _best_first(trials: list[_Trial]) -> list[_Trial]:
    """Causes in the order in which they were tried; of cures of one cause first what training brings furthest."""
    causes = [_cause_of(trial) for trial in trials]
    cured = sorted((t for t in trials if t.cured), key=lambda t: (causes.index(_cause_of(t)), t.left))
    others = sorted((t for t in trials if not t.cured), key=lambda t: len(t.check.findings))
    return [*cured, *others[:SHOWN]]


def _attempt(before: Check, trial: _Trial) -> Attempt:
    return Attempt(
        change=_named(trial.cures),
        cures=trial.cured,
        outcome=_outcome(before, trial.check) + _shown(trial),
        cause=_cause_of(trial),
        remedy="; ".join(cure.sentence for cure in trial.cures),
    )


def _shown(trial: _Trial) -> str:
    """What training showed; a copy that is no cure needs none."""
    if trial.training is None:
        return "; not trained: no time" if trial.check.healthy else ""
    return str(trial.training)


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
    known = {finding.fault for finding in before.findings}
    kind = after.findings[0].fault
    return f"still {kind}" if kind in known else f"then {kind}"
