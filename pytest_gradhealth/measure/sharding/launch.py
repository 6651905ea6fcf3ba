"""Run one function in several processes that form a group, and tell what became of each.

The processes are started anew (``spawn``), so that nothing of the test session leaks into them, and watched by this
one: a process that ends takes the others with it, which else would wait for it.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from typing import Any

from pytest_gradhealth.errors import MeasurementError

__tracebackhide__ = True

__all__ = ["GRACE", "Answer", "found_at", "place_of", "run_ranks"]

CONSEQUENCES = ("Connection closed by peer", "Read error", "Timed out", "in vain")
"""What a rank says whose neighbour is gone."""
GRACE = 15.0
"""Seconds that the other ranks have to end by themselves once one has failed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one rank."""

    rank: int
    value: Any = None
    error: str = ""
    """What it raised, with the traceback, or how it ended; empty: it returned."""
    followed: bool = False
    """Whether it was ended because another had failed."""


def run_ranks(
    function: Callable[..., Any],
    arguments: Sequence[Any] = (),
    *,
    count: int,
    backend: str = "",
    timeout: float = 600.0,
) -> list[Answer]:
    """Call a function of a module in so many processes; the one that failed first comes first, then by rank.

    Args:
        function: found by its name in its module, since it must be found there again in another process.
        arguments: what it is called with; they must be picklable.
        count: number of processes, at least 1.
        backend: of the process group; empty: nccl where there are as many CUDA devices, else gloo.
        timeout: seconds after which whatever still runs is ended.

    Raises:
        MeasurementError: the function cannot be found from another process, or its arguments cannot go there.
    """
    place, context = place_of(function), multiprocessing.get_context("spawn")
    _require_startable(count, arguments)
    port, group = _free_port(), _Group(count, time.monotonic() + timeout, timeout)
    for rank in range(count):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(
            target=_run, args=(theirs, rank, count, port, backend, place, tuple(arguments)), daemon=True
        )
        process.start()
        theirs.close()
        group.add(process, ours)
    return group.answers()


def _require_startable(count: int, arguments: Sequence[Any]) -> None:
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise MeasurementError(f"nprocs={count!r} must be a whole number of at least 1")
    for argument in arguments:
        try:
            ForkingPickler.dumps(argument)
        except Exception as error:
            raise MeasurementError(
                f"{argument!r:.80} cannot go to another process ({error}): make it in the function that runs there"
            ) from None


class _Group:
    """The processes that are under way."""

    def __init__(self, count: int, deadline: float, timeout: float) -> None:
        self._count, self._deadline, self._timeout = count, deadline, timeout
        self._processes: list[Any] = []
        self._pipes: list[Connection] = []
        self._answers: dict[int, Answer] = {}
        self._failed = False

    def add(self, process: Any, pipe: Connection) -> None:
        self._processes.append(process)
        self._pipes.append(pipe)

    def answers(self) -> list[Answer]:
        try:
            while waiting := [rank for rank in range(self._count) if rank not in self._answers]:
                left = self._deadline - time.monotonic()
                if left <= 0 or not wait([self._pipes[rank] for rank in waiting], left):
                    self._give_up(waiting)
                    break
                for rank in waiting:
                    if self._pipes[rank].poll():
                        self._note(rank, self._received(rank))
        finally:
            self._end()
        return sorted(self._answers.values(), key=lambda one: (_innocence(one), one.rank))

    def _received(self, rank: int) -> Answer:
        try:
            value, error = self._pipes[rank].recv()
        except EOFError:
            self._processes[rank].join(GRACE)
            return Answer(rank, error=_ending(self._processes[rank].exitcode))
        return Answer(rank, value, error)

    def _note(self, rank: int, answer: Answer) -> None:
        self._answers[rank] = answer
        if answer.error and not self._failed:
            self._failed, self._deadline = True, min(self._deadline, time.monotonic() + GRACE)

    def _give_up(self, waiting: Sequence[int]) -> None:
        text = "was ended with the others" if self._failed else f"did not end within {self._timeout:g} s"
        for rank in waiting:
            self._answers[rank] = Answer(rank, error=text, followed=self._failed)

    def _end(self) -> None:
        for process in self._processes:
            process.join(0.0 if self._failed else GRACE)
            if process.is_alive():
                process.kill()
            process.join()


def _innocence(answer: Answer) -> int:
    """The least for the rank that failed by itself: others lose their connection to it, and may tell so earlier."""
    if not answer.error:
        return 3
    if answer.followed:
        return 2
    own = answer.error.splitlines()[0].partition("; then ")[0]
    return int(any(sign in own for sign in CONSEQUENCES))


def _run(
    pipe: Connection, rank: int, count: int, port: int, backend: str, place: tuple[str, str, str], arguments: Any
) -> None:
    """What each process does."""
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_PORT": port}
    os.environ.update({name: str(number) for name, number in numbers.items()}, MASTER_ADDR="127.0.0.1")
    try:
        _join_group(rank, count, backend)
        value = found_at(*place)(*arguments)
    except BaseException as error:
        pipe.send((None, "raised " + _told(error)))
        raise SystemExit(1) from None
    pipe.send((value, ""))
    _leave_group()


def _join_group(rank: int, count: int, backend: str) -> None:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(max((os.cpu_count() or 1) // count, 1))
    on_cuda = torch.cuda.is_available() and torch.cuda.device_count() >= count
    if on_cuda:
        torch.cuda.set_device(rank)
    dist.init_process_group(backend or ("nccl" if on_cuda else "gloo"))


def _leave_group() -> None:
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()


def _told(error: BaseException) -> str:
    """An error in one line, and behind it the traceback without this file."""
    frames = traceback.extract_tb(error.__traceback__)[1:]
    notes = getattr(error, "__notes__", ())
    lines = [f"{type(error).__name__}: {error}", *notes, *traceback.format_list(frames)]
    return "\n".join(line.rstrip("\n") for line in lines)


def place_of(function: Callable[..., Any]) -> tuple[str, str, str]:
    """Module, file and name by which another process finds a function."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    file = getattr(sys.modules.get(module or ""), "__file__", None)
    if not module or not file or "<" in name:
        raise MeasurementError(
            f"{name or function!r} cannot be found from another process: define it at the top level of a module"
        )
    return module, file, name


def found_at(module: str, file: str, name: str) -> Callable[..., Any]:
    """The function again, whichever way its module was imported there."""
    loaded = sys.modules.get(module) or _loaded(module, file)
    found: Any = loaded
    for part in name.split("."):
        found = getattr(found, part)
    return found  # type: ignore[no-any-return]


def _loaded(module: str, file: str) -> Any:
    spec = importlib.util.spec_from_file_location(module, file)
    assert spec is not None
    assert spec.loader is not None
    made = sys.modules[module] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was ended by signal {-code} ({signal.Signals(-code).name})"
    return f"ended without an answer, with exit code {code}"


def _free_port() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        port: int = made.getsockname()[1]
        return port
