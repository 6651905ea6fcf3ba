"""Checks on several processes, started from one ordinary test: what they find is the test's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_gradhealth.errors import GradientHealthError, MeasurementError, RankFailedError
from pytest_gradhealth.record import Check, GradientRecord
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

    def distributed(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        nprocs: int = 2,
        backend: str = "",
        timeout: float = 600.0,
    ) -> None:
        """Call ``function(gradhealth, *arguments)`` in several processes that form a process group.

        What the first rank checks is kept as this test's; where the function checks nothing, what it trains is
        watched. The first failure of any rank ends all of them, within 15 s, and is the test's failure.

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

        given = (type(self), self._settings, self._tolerate is not None, place_of(function), arguments)
        answers = run_ranks(_on_rank, given, count=nprocs, backend=backend, timeout=timeout)
        failed = next((answer for answer in answers if answer.error), None)
        if failed is not None:
            raise RankFailedError(f"rank {failed.rank} of {nprocs} {failed.error}")
        self._take(min(answers, key=lambda answer: answer.rank))

    def _take(self, answer: Answer) -> None:
        """Keep the checks of a rank as this test's own."""
        __tracebackhide__ = True
        checks, problem, sick = answer.value
        for data in checks:
            check = Check.from_dict(data)
            check = replace(check, name=self._unique(check.name, check.record))
            self._sink(check)
            if not check.healthy:
                self.is_tolerated(check)
        if problem:
            raise GradientHealthError(problem, None if sick is None else Check.from_dict(sick))
        if not checks:
            raise MeasurementError(NOTHING_CHECKED)

    def _unique(self, name: str, record: GradientRecord) -> str:
        raise NotImplementedError

    def is_tolerated(self, check: Check) -> bool:
        """Whether a sick check is only told, and has been."""
        raise NotImplementedError


def _on_rank(
    kind: Callable[..., Any], settings: Settings, tolerant: bool, place: tuple[str, str, str], arguments: Sequence[Any]
) -> tuple[list[dict[str, Any]], str, dict[str, Any] | None]:
    """What each process does: the checks that it made, and what the last one was raised with."""
    from pytest_gradhealth.measure.sharding.launch import found_at

    checks: list[Check] = []
    problem: str = ""
    sick: dict[str, Any] | None = None
    health = kind(settings, sink=checks.append, tolerate=_let_pass if tolerant else None)
    try:
        with health.new_watch() as watch:
            found_at(*place)(health, *arguments)
        watched = [] if checks else health.judged_passes(watch)
        for check in watched:
            health._raise_if_sick(check)
    except GradientHealthError as error:
        problem, sick = str(error), None if error.check is None else error.check.to_dict()
    return [check.to_dict() for check in checks], problem, sick


def _let_pass(check: Check) -> None:
    """The first process tells it."""
