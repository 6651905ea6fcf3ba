"""What experiments add to a check: cures that were tried where it failed, faults that were seeded where it did not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pluggy

from pytest_gradhealth.experiment.remedies import tried
from pytest_gradhealth.experiment.selftest import mutants_of
from pytest_gradhealth.measure.runs.runner import Runner
from pytest_gradhealth.record import Check
from pytest_gradhealth.settings import Settings

__all__ = ["explore"]


def explore(
    check: Check,
    runner: Runner,
    settings: Settings,
    hook: pluggy.HookRelay | None = None,
    progress: Callable[[str], None] = lambda text: None,
    *,
    selftest: bool = False,
) -> dict[str, Any]:
    """Further fields of the check, by their names.

    Args:
        check: the verdict so far.
        runner: what the model was measured with.
        settings: what it was judged by, and how long experiments may take.
        hook: the session's extension points, whose rules judge copies too.
        progress: told what is being done.
        selftest: seed faults into a healthy model.
    """
    if not check.healthy and settings.try_seconds:
        attempts, untried = tried(check, runner, settings, hook, progress)
        return {"tried": attempts, "untried": untried}
    if check.healthy and selftest:
        return {"mutants": mutants_of(check, runner, settings, hook, progress)}
    return {}
