"""Passes of our own, which no watch may count as the test's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["is_paused", "paused"]


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


def is_paused() -> bool:
    """Whether this thread runs a pass of our own."""
    return _here.paused
