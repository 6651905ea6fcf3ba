"""A signal that arrives while this package changes something waits until that is done.

Ctrl-C and the timeout of pytest-timeout raise in the main thread, wherever it happens to be. Between two lines that
take down a model's state, or put it back, half of it would be lost. So signals wait while this package works, and
reach their handlers at once while the user's own code runs: data, model, loss and backward.

CPython runs handlers at the beginning of a function, after a call and at the end of a loop's turn, never between two
plain assignments. That is why flags are set in line, and not by a function.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, ParamSpec, TypeVar

__tracebackhide__ = True

__all__ = ["delivered", "uninterrupted"]

P = ParamSpec("P")
T = TypeVar("T")
Handler = Callable[[int, FrameType | None], Any]

NAMES = ("SIGINT", "SIGTERM", "SIGALRM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGVTALRM", "SIGPROF", "SIGBREAK")
NUMBERS = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))


class _Here(threading.local):
    waits = False
    """Whether a signal has to wait. Handlers run in the main thread alone, so no other thread's flag counts."""
    inside = False
    """Whether a context is open in this thread."""


_here = _Here()
_handlers: dict[int, Handler] = {}
"""The user's handlers, in whose place ours stands."""
_waiting: list[tuple[Handler, int]] = []
"""Without the frame in which it came: that would keep alive what the frame holds, a copy of a tensor for one."""
_raised: list[BaseException] = []
"""By a handler, in the user's code that is running."""
_escaped: list[BaseException] = []
"""The same, once it has left that code: whoever tries whether a model runs may not swallow it."""


class uninterrupted:
    """A context in which signals wait, unless :func:`delivered` runs. At its end they reach their handlers."""

    def __enter__(self) -> None:
        self._outermost = not _here.inside and threading.current_thread() is threading.main_thread()
        self._before, _here.waits = _here.waits, True
        if not self._outermost:
            return
        try:
            _take_over()
        except BaseException:
            try:
                _give_back()
            finally:
                _here.waits = False
            raise
        _here.inside = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        escaped = _escaped.copy()
        try:
            if self._outermost:
                _escaped.clear()
                _here.inside = False
                _give_back()
        finally:
            _here.waits = self._before
            if not _here.waits:
                _deliver()
        if self._outermost and error is None and escaped:
            raise escaped[0]


def delivered(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function of the user's, in which signals do what they do without this package."""
    before, _here.waits = _here.waits, False
    try:
        if _waiting:
            _deliver()
        return function(*args, **kwargs)
    except BaseException as error:
        if any(error is raised for raised in _raised):
            _escaped.append(error)
        raise
    finally:
        _here.waits = before
        _raised.clear()


def _came(number: int, frame: FrameType | None) -> None:
    """Stands in for the user's handler."""
    handler = _handlers.get(number, signal.default_int_handler)  # the user's code may keep ours, and set it again
    if _here.waits:
        _waiting.append((handler, number))
    else:
        _handle(handler, number, frame)


def _handle(handler: Handler, number: int, frame: FrameType | None) -> None:
    try:
        handler(number, frame)
    except BaseException as error:
        if _here.inside:
            _raised.append(error)
        raise


def _take_over() -> None:
    for number in NUMBERS:
        handler = signal.getsignal(number)
        if callable(handler) and handler is not _came:
            _handlers[number] = handler
            signal.signal(number, _came)


def _give_back() -> None:
    try:
        _put_back()
    finally:
        _put_back()  # a signal raises as soon as its own handler is there again


def _put_back() -> None:
    """Where the user's code has put another handler meanwhile, it stays."""
    for number, handler in list(_handlers.items()):
        if signal.getsignal(number) is _came:
            signal.signal(number, handler)
        del _handlers[number]


def _deliver() -> None:
    """Each handler is called, even where one before it raises."""
    if _waiting:
        try:
            _handle(*_waiting.pop(0), sys._getframe())
        finally:
            _deliver()
