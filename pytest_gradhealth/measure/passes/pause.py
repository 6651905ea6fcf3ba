"""Passes of our own, which no watch may count as the test's."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

__all__ = ["aside", "collect_young", "is_paused", "paused", "without_collections"]

P = ParamSpec("P")
T = TypeVar("T")


class _Here(threading.local):
    paused = False


_here = _Here()


@contextmanager
def paused() -> Iterator[None]:
    """Passes in this context, in this thread, belong to no test."""
    before, _here.paused = _here.paused, True
    try:
        yield
    finally:
        _here.paused = before


def aside(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in such a context; a signal that raises at any moment cannot leave it open."""
    before, _here.paused = _here.paused, True
    try:
        return function(*args, **kwargs)
    finally:
        _here.paused = before


@contextmanager
def without_collections() -> Iterator[None]:
    """Python does not look for cycles meanwhile: thousands of small objects, none in a cycle, make it look often."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def collect_young() -> None:
    """Free the cycles that were made while Python did not look for any."""
    if not gc.isenabled():
        gc.collect(0)


def is_paused() -> bool:
    """Whether this thread runs a pass of our own."""
    return _here.paused
