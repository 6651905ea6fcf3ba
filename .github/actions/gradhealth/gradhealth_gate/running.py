"""Start a program of the project under test, and leave none of its processes behind."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from gradhealth_gate.commands import silenced
from gradhealth_gate.problems import ProblemError

__all__ = ["output_of", "resolved", "run_visibly"]


def run_visibly(command: Sequence[str], directory: Path, environment: Mapping[str, str]) -> int:
    """Run it with its output in the log, where no line of it is a command.

    Raises:
        ProblemError: it cannot be started.
    """
    with silenced():
        try:
            process = subprocess.Popen(
                command,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise ProblemError(f"{command[0]} cannot be started: {error.strerror or error}") from None
        try:
            return process.wait()
        finally:
            # Whatever it left running could go on to print after commands are heard again.
            _end(process)


def output_of(command: Sequence[str], directory: Path, environment: Mapping[str, str]) -> str:
    """What it prints; empty where it fails."""
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="replace",
        )
    except OSError:
        return ""
    return done.stdout if done.returncode == 0 else ""


def resolved(command: Sequence[str], *directories: Path) -> tuple[str, ...]:
    """A command with a relative path made absolute: of the first folder that has it, else of the last."""
    first, *rest = command
    if os.sep not in first or os.path.isabs(first):
        return tuple(command)
    # Not resolved further: the Python of a virtual environment is a link that must be started by its own name.
    paths = [directory / first for directory in directories]
    return (str(next((path for path in paths if path.exists()), paths[-1])), *rest)


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (OSError, AttributeError):
        process.kill()
    process.wait()
