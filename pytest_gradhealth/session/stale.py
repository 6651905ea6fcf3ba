"""What a baseline holds that no test measures or shows any more: reported, and removed on request."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import pytest

from pytest_gradhealth.report.baseline import Baseline, Fault, Key, read_baseline, write_baseline
from pytest_gradhealth.report.escape import plain
from pytest_gradhealth.report.store import StoredCheck, StoreError
from pytest_gradhealth.session import baselines, options

__all__ = ["Run", "look"]

MOST = 20
"""Stale entries that are named."""


class Run(NamedTuple):
    """What a session can say of a baseline."""

    checks: Sequence[StoredCheck]
    outcomes: Mapping[str, str]
    """Outcomes by node id."""
    collected: Collection[str]
    """Node ids of files that were collected as a whole."""


def look(config: pytest.Config, run: Run) -> list[str]:
    """Lines about what is stale in the baseline, which is removed where that was asked for."""
    path = baselines.path(config)
    if path is None:
        return []
    try:
        baseline = read_baseline(path, missing_ok=True)
        entries, faults = _entries(config, baseline, run), list(_faults(baseline, run))
        if not entries and not faults:
            return []
        prunes = bool(options.given(config, "prune")[0])
        if prunes:
            write_baseline(path, baseline.without(entries).merged(stored for _, _, stored in faults))
    except (OSError, StoreError) as error:
        return [f"ERROR: could not prune {path}: {error}"]
    named = [f"  {plain(key.test)}: {plain(key.label)}: no longer measured" for key in entries]
    named += [f"  {plain(key.test)}: {plain(key.label)}: {plain(fault)}: no longer found" for key, fault, _ in faults]
    more = [f"  and {len(named) - MOST} more"] if len(named) > MOST else []
    what = f"{len(named)} stale {'entry' if len(named) == 1 else 'entries'}"
    head = f"{what} removed from {path}; commit it" if prunes else f"{what} in {path}; --gradhealth-prune removes them"
    return [f"gradhealth: {head}", *named[:MOST], *more]


def _entries(config: pytest.Config, baseline: Baseline, run: Run) -> list[Key]:
    """Entries of tests that are gone, and of checks that a test has passed without."""
    measured = {(stored.test, stored.check.name) for stored in run.checks}
    files = {test.partition("::")[0] for test in run.collected}

    def is_gone(test: str) -> bool:
        file = test.partition("::")[0]
        return not (config.rootpath / file).exists() or (file in files and test not in run.collected)

    def is_stale(key: Key) -> bool:
        passed = run.outcomes.get(key.test) == "passed"
        return is_gone(key.test) or (passed and (key.test, key.check) not in measured)

    return sorted(filter(is_stale, baseline.records))


def _faults(baseline: Baseline, run: Run) -> Iterator[tuple[Key, Fault, StoredCheck]]:
    """Accepted findings that a test has passed without, whose check takes the entry's place when they are removed."""
    for stored in run.checks:
        key = baseline.nearest(Key.of(stored.test, stored.check.name, stored.check.record))
        if key is None or run.outcomes.get(stored.test) != "passed":
            continue
        found = stored.check.accepted
        yield from ((key, fault, stored) for fault in baseline.faults.get(key, ()) if not any(map(fault.covers, found)))
