"""The processes that come from this one, however far they went to be forgotten."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from gradhealth_gate.errors import GateError

__all__ = ["end_descendants"]

PATIENCE = 10.0
"""Seconds in which a killed process has to be gone."""
PAUSE = 0.002


def end_descendants() -> None:
    """Kill all of them: whose parent dies becomes this process's child, so the last generation is found too.

    Raises:
        GateError: one cannot be ended, such as another user's.
    """
    deadline = time.monotonic() + PATIENCE
    while children := dict(_children()):
        for pid in children:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        _reap()
        if time.monotonic() > deadline:
            named = ", ".join(f"{name} ({pid})" for pid, name in sorted(children.items())[:5])
            raise GateError(f"processes that the tests started cannot be ended: {named}")
        time.sleep(PAUSE)


def _children() -> Iterator[tuple[int, str]]:
    """Pid and name of every process whose parent is this one; none where there is no /proc."""
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError):
            name, _, rest = entry.read_text(errors="replace").partition(" (")[2].rpartition(") ")
            if int(rest.split()[1]) == os.getpid():
                yield int(entry.parent.name), name


def _reap() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
