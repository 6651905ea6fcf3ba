"""How tables look in this session: settled once on the controller, since workers have no terminal."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gradhealth.errors import ConfigurationError, GradientHealthError, MeasurementError, RankFailedError
from pytest_gradhealth.session import options

if TYPE_CHECKING:
    from pytest_gradhealth.record import Check

__all__ = ["error_indent", "headed_by_verdict", "send", "settle", "shown"]

ERROR_INDENT = 8
"""Columns that pytest puts in front of each line of an error that a test function raises."""
NARROWEST = 40
SENT = "gradhealth_appearance"
OURS = (ConfigurationError, GradientHealthError, MeasurementError, RankFailedError)


def settle(config: pytest.Config, ascii_only: bool) -> None:
    """Put width and character set among the options; on a worker, those of the controller."""
    sent = getattr(config, "workerinput", {}).get(SENT)
    if sent is not None:
        config.option.gradhealth_width, config.option.gradhealth_ascii = sent
        return
    config.option.gradhealth_width = max(NARROWEST, shutil.get_terminal_size().columns)
    config.option.gradhealth_ascii = ascii_only or not _can_draw(getattr(sys.__stdout__, "encoding", None))


def send(config: pytest.Config, workerinput: dict[str, Any]) -> None:
    """Let what was settled travel to a worker."""
    workerinput[SENT] = (config.option.gradhealth_width, config.option.gradhealth_ascii)


def shown(config: pytest.Config, check: Check, indent: int = 0) -> str:
    """The text of a failed check, to be printed behind so many columns."""
    from pytest_gradhealth.report.table import render_failure

    return render_failure(
        check,
        width=config.option.gradhealth_width - indent,
        ascii_only=config.option.gradhealth_ascii,
        verbosity=options.verbosity(config),
    )


def headed_by_verdict(report: pytest.TestReport, error: BaseException) -> None:
    """Take the error's name off the line that pytest's short summary shows: it is cut after so many columns."""
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is not None and isinstance(error, OURS):
        crash.message = str(error)


def error_indent(item: pytest.Item) -> int:
    """Columns in front of an error: pytest keeps the indentation of the line that raised it."""
    return ERROR_INDENT + 4 * (getattr(item, "cls", None) is not None)


def _can_draw(encoding: str | None) -> bool:
    try:
        "✗█…".encode(encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
