"""``--gradhealth=report``: what is found fails nothing. It becomes a warning of its test, and the summary shows it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import pytest

from pytest_gradhealth.errors import GradientHealthWarning
from pytest_gradhealth.report.table import verdict
from pytest_gradhealth.report.text import one_line
from pytest_gradhealth.session import options

if TYPE_CHECKING:
    from pytest_gradhealth.record import Check

__all__ = ["complain", "only_reports", "tolerance_of"]


def only_reports(item: pytest.Item) -> bool:
    """Whether a finding must not fail this test. One that is expected to fail may: otherwise it would pass strictly."""
    return options.mode(item.config) == "report" and item.get_closest_marker("xfail") is None


def tolerance_of(item: pytest.Item) -> Callable[[Check], None] | None:
    """What takes a sick check in the place of a failure; None: it fails its test."""
    return partial(_warn, item) if only_reports(item) else None


def complain(item: pytest.Item, text: str) -> None:
    """A warning at the test. ``-W error`` must not turn it into a failure."""
    text, (path, line, _) = one_line(text), item.location
    try:
        warnings.warn_explicit(GradientHealthWarning(text), None, path, (line or 0) + 1)
    except GradientHealthWarning:
        item.add_report_section("call", "gradhealth", text)


def _warn(item: pytest.Item, check: Check) -> None:
    complain(item, f"{item.nodeid}: {verdict(check)}")
