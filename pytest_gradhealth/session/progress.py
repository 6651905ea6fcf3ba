"""Where a long check stands, on the live terminal only: never in a log file, in a worker, or under ``-q``."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

__all__ = ["progress_of"]

PATIENCE = 2.0
"""Seconds that a check may take before it says where it is."""


def progress_of(config: pytest.Config) -> Callable[[str], None]:
    """What a check calls with each step of its way; the empty text ends it."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or config.get_verbosity() < 0 or not reporter.isatty:
        return lambda text: None
    return _Progress(config, reporter)


class _Progress:
    """One line that is written over, below the line of dots."""

    def __init__(self, config: pytest.Config, reporter: pytest.TerminalReporter) -> None:
        self._config, self._reporter = config, reporter
        self._began, self._shown = time.monotonic(), False

    def __call__(self, text: str) -> None:
        if not text:
            self._end()
        elif time.monotonic() - self._began > PATIENCE:
            self._write(f"gradhealth: {text}")

    def _end(self) -> None:
        if self._shown:
            self._write("")
        self._began, self._shown = time.monotonic(), False

    def _write(self, text: str) -> None:
        capture = self._config.pluginmanager.get_plugin("capturemanager")
        if capture is None:
            return self._rewrite(text)
        with capture.global_and_fixture_disabled():
            self._rewrite(text)

    def _rewrite(self, text: str) -> None:
        if not self._shown:
            self._reporter.ensure_newline()
            self._shown = True
        self._reporter.rewrite(text, erase=True)
        self._reporter.flush()
