"""Start a program of the project under test, and leave none of its processes behind."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from gradhealth_gate.errors import GateError
from gradhealth_gate.github.commands import silenced
from gradhealth_gate.process.descendants import end_descendants

__all__ = ["output_of", "resolved", "run_visibly"]


def run_visibly(command: Sequence[str], directory: Path, environment: Mapping[str, str]) -> int:
    """Run it with its output in the log, where no line of it is a command.

    Raises:
        GateError: it cannot be started, or what it left running cannot be ended.
    """
    with silenced():
        process = _start(command, directory, environment, stderr=subprocess.STDOUT)
        try:
            return process.wait()
        finally:
            # Whatever it left running could go on to print after commands are heard again.
            _end(process)


def output_of(command: Sequence[str], directory: Path, environment: Mapping[str, str]) -> str:
    """What it prints; empty where it fails."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    try:
        process = _start(command, directory, environment, **streams)
    except GateError:
        return ""
    try:
        printed = process.communicate()[0]
    finally:
        _end(process)
    return os.fsdecode(printed) if process.returncode == 0 else ""


def resolved(command: Sequence[str], *directories: Path) -> tuple[str, ...]:
    """A command with a relative path made absolute: of the first folder that has it, else of the last."""
    first, *rest = command
    if os.sep not in first or os.path.isabs(first):
        return tuple(command)
    # Not resolved further: the Python of a virtual environment is a link that must be started by its own name.
    paths = [directory / first for directory in directories]
    return (str(next((path for path in paths if path.exists()), paths[-1])), *rest)


def _start(
    command: Sequence[str], directory: Path, environment: Mapping[str, str], **streams: int
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command, cwd=directory, env=environment, stdin=subprocess.DEVNULL, start_new_session=True, **streams
        )
    except OSError as error:
        raise GateError(f"{command[0]} cannot be started: {error.strerror or error}") from None


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()
    end_descendants()
