"""Workflow commands: lines of the log that the runner obeys."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pytest_gradhealth.report.escape import command, command_value

__all__ = ["annotate", "group", "say", "silenced"]

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
