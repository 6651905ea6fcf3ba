"""How the runner is spoken to: workflow commands in the log, and the files that it reads after the step."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pytest_gradhealth.report.escape import command, command_value

__all__ = ["annotate", "child_environment", "clear_files", "group", "output", "say", "silenced", "write_summary"]

FILES = ("GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_PATH", "GITHUB_STATE", "GITHUB_STEP_SUMMARY")
"""Variables that hold paths of files in which a step can give commands to the runner."""
HIDDEN = ("ACTIONS_ID_TOKEN_REQUEST_", "ACTIONS_RUNTIME_", "ACTIONS_RESULTS_", "ACTIONS_CACHE_", "GRADHEALTH_")
LONGEST = 4000
"""Characters of a message; the runner cuts at 4096."""


def say(text: str) -> None:
    """Print lines that the runner does not take for commands, whatever names are in them."""
    for line in text.splitlines():
        harmless = line.replace("##[", "## [")
        print(harmless.replace("::", ": :", 1) if harmless.lstrip().startswith("::") else harmless, flush=True)


def annotate(level: str, message: str, **properties: object) -> None:
    """An ``error``, ``warning`` or ``notice``, at a file and line where ``properties`` hold them."""
    given = {"title": "gradhealth", **{name: value for name, value in properties.items() if value}}
    words = ",".join(f"{name}={command_value(value)}" for name, value in given.items())
    print(f"::{level} {words}::{command(message[:LONGEST])}", flush=True)


@contextmanager
def group(title: str) -> Iterator[None]:
    """Fold what is printed inside."""
    print(f"::group::{command(title)}", flush=True)
    try:
        yield
    finally:
        print("::endgroup::", flush=True)


@contextmanager
def silenced() -> Iterator[None]:
    """Commands that are printed inside, such as by tests, are nothing but text."""
    token = secrets.token_hex(24)
    print(f"::stop-commands::{token}", flush=True)
    try:
        yield
    finally:
        # On a line of its own, even where the last one was left unfinished: else nothing after it would be heard.
        sys.stdout.flush()
        print(f"\n::{token}::", flush=True)


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What the tests may see: not the runner's files, not tokens of its services, not the gate's inputs."""
    return {name: value for name, value in environment.items() if name not in FILES and not name.startswith(HIDDEN)}


def clear_files(environment: Mapping[str, str]) -> list[str]:
    """Empty the runner's files for this step, in which only a test can have written, and name those that were not."""
    planted = [name for name in FILES if _size(environment.get(name)) > 0]
    for name in planted:
        Path(environment[name]).write_bytes(b"")
    return planted


def output(environment: Mapping[str, str], values: Mapping[str, object]) -> None:
    """Set the step's outputs; a random delimiter keeps a value from setting another."""
    path = environment.get("GITHUB_OUTPUT")
    if not path:
        return
    with open(path, "a", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
        for name, value in values.items():
            end = f"end-{secrets.token_hex(16)}"
            file.write(f"{name}<<{end}\n{value}\n{end}\n")


def write_summary(environment: Mapping[str, str], text: str) -> None:
    """Show Markdown on the job's page."""
    path = environment.get("GITHUB_STEP_SUMMARY")
    if path:
        with open(path, "a", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.write(text)


def _size(path: str | None) -> int:
    try:
        return os.stat(path).st_size if path else 0
    except OSError:
        return 0
