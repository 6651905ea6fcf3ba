"""Checks on several processes, started from one ordinary test: what they find is the test's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_gradhealth.errors import GradientHealthError, MeasurementError, RankFailedError
from pytest_gradhealth.record import Check, Finding, GradientRecord
from pytest_gradhealth.settings import Settings

if TYPE_CHECKING:
    from pytest_gradhealth.measure.sharding.launch import Answer

__tracebackhide__ = True

__all__ = ["OnRanks"]

NOTHING_CHECKED = (
    "nothing was measured on any rank: the function neither checks a model nor sends a backward pass through one. "
    "Call gradhealth.check(model, batches, loss=...) in it, or train"
)


class OnRanks:
    """The part of ``Checker`` that starts processes."""

    _settings: Settings
    _sink: Callable[[Check], None]
    _tolerate: Callable[[Check], None] | None
    _accept: Callable[[str, GradientRecord, Finding], bool] | None
    _compare: Callable[[Check], tuple[tuple[Finding, ...], tuple[str, ...]]] | None
    _names: dict[tuple[str, str, str], int]

    def distributed(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        nprocs: int = 2,
        backend: str = "",
        timeout: float = 600.0,
    ) -> None:
        """Call ``function(gradhealth, *arguments)`` in several processes that form a process group.

        What the ranks check is kept as this test's: once where they train one model together, and with the number of
        the rank where one has a model of its own. Where the function checks nothing, what it trains is watched. The
        first failure of any rank ends all of them, within 15 s, and is the test's failure.

        Args:
            function: defined at the top level of a module; ``gradhealth`` has ``check``, ``measure`` and ``watch``.
            *arguments: picklable.
            nprocs: number of processes.
            backend: of the process group; by default nccl where there are as many CUDA devices, else gloo.
            timeout: seconds after which whatever still runs is ended.

        Raises:
            GradientHealthError: a limit is broken.
            MeasurementError: the function neither checks nor trains anything.
            RankFailedError: a rank raised or ended; the message names it.
        """
        __tracebackhide__ = True
        from pytest_gradhealth.measure.sharding.launch import place_of, run_ranks

        kind: Callable[..., Any] = type(self)
        examiner = partial(kind, self._settings, accept=self._accept, compare=self._compare)
        given = (examiner, self._names, self._tolerate is not None, place_of(function), arguments)
        answers = run_ranks(_on_rank, given, count=nprocs, backend=backend, timeout=timeout)
        failed = next((answer for answer in answers if answer.error), None)
        if failed is not None:
            raise RankFailedError(f"rank {failed.rank} of {nprocs} {_with_those_gone(failed.error, answers)}")
        self._take(sorted(answers, key=lambda answer: answer.rank))

    def _take(self, answers: Sequence[Answer]) -> None:
        """Keep the checks of all ranks as this test's own: once where they are of one model, else with the rank."""
        __tracebackhide__ = True
        taken: dict[str, dict[str, Any]] = {}
        for answer in answers:
            for data in answer.value[0]:
                first = taken.setdefault(data["name"], data)
                if first is data or first != data:
                    name = data["name"] if first is data else f"{data['name']} (rank {answer.rank})"
                    self._keep_told(replace(Check.from_dict(data), name=name))
        self._names = answers[0].value[3]
        for _, problem, sick, _ in (answer.value for answer in answers):
            if problem:
                raise GradientHealthError(problem, None if sick is None else Check.from_dict(sick))
        if not taken:
            raise MeasurementError(NOTHING_CHECKED)

    def _keep_told(self, check: Check) -> None:
        self._sink(check)
        if not check.healthy:
            self.is_tolerated(check)

    def is_tolerated(self, check: Check) -> bool:
        """Whether a sick check is only told, and has been."""
        raise NotImplementedError


def _with_those_gone(error: str, answers: Sequence[Answer]) -> str:
    """What a rank raised; where it had waited for ranks whose function had returned, with their numbers."""
    gone = ", ".join(str(answer.rank) for answer in answers if not answer.error)
    first, newline, rest = error.partition("\n")
    told = f"; the function has returned on rank {gone}" if gone and "in vain" in first else ""
    return first + told + newline + rest


def _on_rank(
    examiner: Callable[..., Any],
    names: dict[tuple[str, str, str], int],
    tolerant: bool,
    place: tuple[str, str, str],
    arguments: Sequence[Any],
) -> tuple[list[dict[str, Any]], str, dict[str, Any] | None, dict[tuple[str, str, str], int]]:
    """What each process does: the checks that it made, what the last one was raised with, and the names it gave."""
    from pytest_gradhealth.measure.sharding.launch import found_at

    checks: list[Check] = []
    problem: str = ""
    sick: dict[str, Any] | None = None
    health = examiner(sink=checks.append, tolerate=_let_pass if tolerant else None)
    health._names = names
    function = found_at(*place)  # imports what it needs before the watch begins
    try:
        with health.new_watch() as watch:
            function(health, *arguments)
        watched = [] if checks else health.judged_passes(watch)
        problems = "; ".join(watch.problems())
        if problems and not checks:
            raise MeasurementError(f"could not measure {problems}")
        for check in watched:
            health._raise_if_sick(check)
    except GradientHealthError as error:
        problem, sick = str(error), None if error.check is None else error.check.to_dict()
    return [check.to_dict() for check in checks], problem, sick, health._names


def _let_pass(check: Check) -> None:
    """The first process tells it."""
