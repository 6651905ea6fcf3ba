"""``--gradhealth-baseline``: compare each check with what was accepted, or accept what was measured."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from pytest_gradhealth.judge.drift import drift_limit, measure_drift
from pytest_gradhealth.judge.rules.drift import RULE
from pytest_gradhealth.record import Check, Finding, GradientRecord
from pytest_gradhealth.report.baseline import NO_ENTRY, Baseline, Key, accept_command, read_baseline, update_baseline
from pytest_gradhealth.report.escape import plain
from pytest_gradhealth.report.store import StoredCheck, StoreError
from pytest_gradhealth.session import options

__all__ = ["Accepted", "acceptance_of", "accepted_baseline", "accepted_of", "path", "update"]

ACCEPTED = pytest.StashKey["Accepted | None"]()
DEFAULT_DRIFT = 3.0
MOST = 20
"""Changed entries that an update names."""


class Accepted:
    """The accepted records of a session, and how far a check may be from them; processes that a test starts get it."""

    def __init__(self, path: Path, baseline: Baseline, max_drift: float, command: Callable[[str], str]) -> None:
        self.path, self.baseline, self.max_drift, self._command = path, baseline, max_drift, command

    def accepts(self, test: str, name: str, record: GradientRecord, finding: Finding) -> bool:
        """Whether the baseline accepts what was found."""
        return self.baseline.accepts(Key.of(test, name, record), finding)

    def compare(self, test: str, check: Check) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
        """Findings and notes: how a check differs from what was accepted for it."""
        key = self.baseline.nearest(Key.of(test, check.name, check.record))
        if key is None:
            return (self._missing(test, check),), ()
        mended = [fault for fault in self.baseline.faults.get(key, ()) if not any(map(fault.covers, check.accepted))]
        if mended and check.healthy:  # its numbers must move
            return (), tuple(f"better than {self.path.name}: no {fault} any more" for fault in mended)
        record = self.baseline.records[key]
        drift = measure_drift(check.record, record, self.max_drift)
        return tuple(map(_acceptable, drift.findings)), drift.notes

    def _missing(self, test: str, check: Check) -> Finding:
        finding = RULE.finding(
            layers=(),
            message=f"{self.path.name} has no entry for {check.name!r} of this test",
            cause="nothing is wrong with the model: the check was never accepted, or the test or model was renamed",
            remedy=f"look at the table; to accept it:\n{self._command(test)}",
        )
        return replace(finding, title=NO_ENTRY)


def _acceptable(finding: Finding) -> Finding:
    return replace(finding, remedy=f"{finding.remedy}; if the change is intended, accept it with --gradhealth-update")


def accepted_of(config: pytest.Config) -> Accepted | None:
    """What checks are compared with; None: nothing, or this session accepts what it measures.

    Raises:
        pytest.UsageError: the file cannot be used, or an update was asked for on CI.
    """
    if ACCEPTED not in config.stash:
        config.stash[ACCEPTED] = _read(config)
    return config.stash[ACCEPTED]


def acceptance_of(item: pytest.Item) -> Callable[[str, GradientRecord, Finding], bool] | None:
    """Whether what is found in a test was accepted; an update accepts all of it. None: nothing can be."""
    accepted = accepted_of(item.config)
    if accepted is not None:
        return partial(accepted.accepts, item.nodeid)
    return _any if path(item.config) and _updates(item.config) else None


def accepted_baseline(config: pytest.Config) -> Baseline | None:
    """The accepted records themselves, for a report that draws them."""
    accepted = accepted_of(config)
    return None if accepted is None else accepted.baseline


def update(config: pytest.Config, checks: Sequence[StoredCheck]) -> str:
    """Accept what was measured, where this session was asked to; one line about it, or an empty one."""
    file = path(config)
    if file is None or not _updates(config):
        return ""
    try:
        changed = update_baseline(file, [stored for stored in checks if stored.check.judged])
    except (OSError, StoreError) as error:
        return f"ERROR: could not write {file}: {error}"
    named = "".join(f"\n  {plain(key.test)}: {plain(key.label)}" for key in changed[:MOST])
    more = f"\n  and {len(changed) - MOST} more" if len(changed) > MOST else ""
    entries = "1 entry" if len(changed) == 1 else f"{len(changed)} entries"
    return f"gradhealth: {entries} accepted into {file}; commit it{named}{more}"


def _read(config: pytest.Config) -> Accepted | None:
    file = path(config)
    if file is None:
        for asked in ("update", "prune"):
            if options.given(config, asked)[0]:
                raise pytest.UsageError(
                    f"--gradhealth-{asked} needs --gradhealth-baseline=PATH (or gradhealth_baseline)"
                )
        return None
    max_drift, source = options.given(config, "max_drift")
    try:
        limit = drift_limit(DEFAULT_DRIFT if max_drift is None else max_drift)
    except ValueError as error:
        raise pytest.UsageError(f"{source}: {error}") from None
    try:
        baseline = read_baseline(file, missing_ok=True)
    except StoreError as error:
        raise pytest.UsageError(str(error)) from None
    if _updates(config):
        return None
    value, source = options.given(config, "baseline")
    typed = value if source.startswith("--") else file
    root = None if config.invocation_params.dir == config.rootpath else config.rootpath
    return Accepted(file, baseline, limit, partial(_typed, typed, root))


def _typed(baseline: str | os.PathLike[str], root: Path | None, test: str) -> str:
    """The command that accepts a test, whose node id is typed in full where pytest was not started in its root."""
    file, colons, rest = test.partition("::")
    return accept_command(baseline, test if root is None else f"{root / file}{colons}{rest}")


def _any(name: str, record: GradientRecord, finding: Finding) -> bool:
    """An update accepts all that is found."""
    return True


def path(config: pytest.Config) -> Path | None:
    """The baseline's file; None: there is none."""
    value, source = options.given(config, "baseline")
    return options.path_of(config, value, source) if value else None


def _updates(config: pytest.Config) -> bool:
    forced = bool(options.given(config, "update_on_ci")[0])
    for asked in ("update", "prune"):
        if options.given(config, asked)[0] and os.environ.get("CI") and not forced:
            raise pytest.UsageError(
                f"--gradhealth-{asked} is refused because the variable CI is set: a baseline is accepted by a person. "
                "Run it on your machine, or force it with --gradhealth-update-on-ci"
            )
    return forced or bool(options.given(config, "update")[0])
