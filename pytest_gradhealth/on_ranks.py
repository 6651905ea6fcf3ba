"""Checks on several processes, started from one ordinary test: what they find is the test's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_gradhealth.errors import GradientHealthError, RankFailedError
from pytest_gradhealth.record import Check, GradientRecord
from pytest_gradhealth.settings import Settings

if TYPE_CHECKING:
    from pytest_gradhealth.measure.sharding.launch import Answer

__tracebackhide__ = True

__all__ = ["OnRanks"]


class OnRanks:
    """The part of ``Checker`` that starts processes."""

    _settings: Settings
    _sink: Callable[[Check], None]

    def distributed(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        nprocs: int = 2,
        backend: str = "",
        timeout: float = 600.0,
    ) -> None:
        """Call ``function(gradhealth, *arguments)`` in several processes that form a process group.

        What the first rank checks is kept as this test's. The first failure of any rank ends all of them, within
        15 s, and is the test's failure.

        Args:
            function: defined at the top level of a module; ``gradhealth`` has ``check``, ``measure`` and ``watch``.
            *arguments: picklable.
            nprocs: number of processes.
            backend: of the process group; by default nccl where there are as many CUDA devices, else gloo.
            timeout: seconds after which whatever still runs is ended.

        Raises:
            GradientHealthError: a limit is broken.
            RankFailedError: a rank raised or ended; the message names it.
        """
        __tracebackhide__ = True
        from pytest_gradhealth.measure.sharding.launch import place_of, run_ranks

        given = (type(self), self._settings, place_of(function), arguments)
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
            self._sink(replace(check, name=self._unique(check.name, check.record)))
        if problem:
            raise GradientHealthError(problem, None if sick is None else Check.from_dict(sick))

    def _unique(self, name: str, record: GradientRecord) -> str:
        raise NotImplementedError


def _on_rank(
    kind: Callable[..., Any], settings: Settings, place: tuple[str, str, str], arguments: Sequence[Any]
) -> tuple[list[dict[str, Any]], str, dict[str, Any] | None]:
    """What each process does: the checks that it made, and what the last one was raised with."""
    from pytest_gradhealth.measure.sharding.launch import found_at

    checks: list[Check] = []
    problem: str = ""
    sick: dict[str, Any] | None = None
    try:
        found_at(*place)(kind(settings, sink=checks.append), *arguments)
    except GradientHealthError as error:
        problem, sick = str(error), None if error.check is None else error.check.to_dict()
    return [check.to_dict() for check in checks], problem, sick
