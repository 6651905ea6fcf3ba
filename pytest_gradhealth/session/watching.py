"""A test that trains by itself: watched while it runs, judged in its call phase when it has passed."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gradhealth.checks import NOTHING_TRAINED, Checker
from pytest_gradhealth.errors import GradientHealthError, GradientHealthWarning
from pytest_gradhealth.record import Check
from pytest_gradhealth.report.text import one_line
from pytest_gradhealth.session.rendering import shown
from pytest_gradhealth.session.reporting import complain, only_reports

if TYPE_CHECKING:
    from pytest_gradhealth.measure.watching.watch import Watch

__all__ = ["noting_training", "watched", "why_nothing_can_be_watched"]

UNSEEN = (
    "nothing was measured: a backward pass ran, but through no module that was called in the test itself. What a "
    "fixture or another process trains, what torch.func differentiates and what runs inside a compiled function is not "
    "seen; use the fixture: gradhealth.check(model, batches, loss=...)"
)
FAILED = "the test failed by itself, or was skipped, and then nothing is judged"


class WatchedGradientHealthError(GradientHealthError, pytest.fail.Exception):  # type: ignore[name-defined, misc]
    """The verdict on a test that has ended: there is no line of it to show, so pytest prints the text alone."""

    __module__, __qualname__ = "builtins", "GradientHealthError"  # what the short summary puts in front of the verdict

    def __init__(self, message: str, check: Check | None = None) -> None:
        GradientHealthError.__init__(self, message, check)
        self.msg, self.pytrace = message, False


@contextmanager
def watched(item: pytest.Item, health: Checker, seen: dict[str, Any]) -> Iterator[None]:
    """Watch the models of a test. Its own failure comes first: then nothing is judged.

    What the watch saw is written into ``seen`` as plain data: backward passes, models measured, and what was not.

    Raises:
        GradientHealthError: a model is sick.
    """
    marked = item.get_closest_marker("gradhealth") is not None
    if not marked and "torch" not in sys.modules:  # a suite without torch does not pay for its import
        yield
        return
    problem = why_nothing_can_be_watched()
    if problem:
        if marked:
            _fail(item, problem)
        _warn_once(problem)
        yield
        return
    watch, passed = health.new_watch(), False
    try:
        with watch:
            yield
        passed = not getattr(item, "_excinfo", None)  # unittest reports what went wrong, or a skip, without raising it
    finally:
        problems = [*watch.problems(), *_reasons(watch)] if passed else [FAILED]
        seen |= {"backwards": watch.backwards, "models": 0, "problems": problems}
    if passed:
        _judge(item, health, watch, marked, seen)


@contextmanager
def noting_training(fixture: str, seen: dict[str, Any]) -> Iterator[None]:
    """Write into ``seen`` that a fixture trains, if it does; whatever it uses is set up before it."""
    if "torch" not in sys.modules:
        yield
        return
    from pytest_gradhealth.measure.watching.unwatched import Unwatched

    with Unwatched() as unwatched:
        yield
    if unwatched.backwards:
        seen.setdefault("fixtures", []).append(fixture)


def _reasons(watch: Watch) -> list[str]:
    return [reason] if (reason := watch.why_unmeasured()) else []


def why_nothing_can_be_watched() -> str:
    """Why this torch cannot be watched; empty: it can, or no test has imported it."""
    if "torch" not in sys.modules:
        return ""
    from pytest_gradhealth.measure import torch_private

    return torch_private.why_nothing_can_be_watched()


@cache
def _warn_once(problem: str) -> None:
    """A worker of pytest-xdist has no head of the run to say it at, but its warnings are shown."""
    warnings.warn(GradientHealthWarning(problem), stacklevel=3)


def _judge(item: pytest.Item, health: Checker, watch: Watch, marked: bool, seen: dict[str, Any]) -> None:
    own = health.count
    checks = health.judged_passes(watch)
    seen["models"] = len(checks) + own
    problems = list(map(one_line, watch.problems()))
    for text in watch.unjudged:
        if marked:
            _fail(item, one_line(text))
        complain(item, f"{item.nodeid}: {text}")
    if marked:
        if not checks and not own:
            told = "\n".join(f"could not measure {problem}" for problem in problems)
            _fail(item, told or (watch.why_unmeasured() or UNSEEN if watch.backwards else NOTHING_TRAINED))
        for problem in problems:
            warnings.warn(GradientHealthWarning(f"{one_line(item.nodeid)}: could not measure {problem}"), stacklevel=2)
    elif problems:
        item.add_report_section("call", "gradhealth", "\n".join(f"could not measure {p}" for p in problems))
    sick = [check for check in checks if not check.healthy and not health.is_tolerated(check)]
    if sick:
        text = "\n\n".join(shown(item.config, check) for check in sick)
        _raise_at(item, WatchedGradientHealthError(text, sick[0]))


def _raise_at(item: pytest.Item, error: GradientHealthError) -> None:
    """Raise an error from the first line of a test that has ended, where ``--tb=line`` and ``--pdb`` look for it."""
    __tracebackhide__ = True
    line = (item.location[1] or 0) + 1
    place = compile("\n" * (line - 1) + "raise error", str(item.path), "exec")
    scope = getattr(getattr(item, "obj", None), "__globals__", {})
    exec(place, {**scope, "error": error, "check": error.check})


def _fail(item: pytest.Item, problem: str) -> None:
    """A marked test of which nothing could be measured must not be green."""
    if not only_reports(item):
        pytest.fail(problem, pytrace=False)
    complain(item, f"{item.nodeid}: {problem}")
