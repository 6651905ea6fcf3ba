"""From the event to the verdict: refuse, measure the base, measure the head, compare, judge, report.

The base comes first, so that no test of the change has run when it is measured. Whatever is read of the head's session
is read when none of its processes is left.
"""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gradhealth_gate.base.commit import find_base
from gradhealth_gate.base.measure import Bench, accepted_base, measure_base
from gradhealth_gate.base.repository import Repository
from gradhealth_gate.errors import BaseUnavailableError, GateError, NoBaseError
from gradhealth_gate.github.commands import group, silenced
from gradhealth_gate.github.event import Event
from gradhealth_gate.inputs import Inputs, read_inputs
from gradhealth_gate.process.descendants import end_descendants
from gradhealth_gate.process.isolation import isolated_environment, protect_process, visible_environment
from gradhealth_gate.process.run import resolved
from gradhealth_gate.report.publish import publish
from gradhealth_gate.session import Session, run_pytest
from gradhealth_gate.state import GateRun, Results
from gradhealth_gate.verdict.judge import judge, other_failures, relevant
from gradhealth_gate.verdict.notes import steering_files
from pytest_gradhealth.compare import Comparison, compare_reports
from pytest_gradhealth.report.store import Report, StoreError

__all__ = ["main"]

NAMED = 5
"""Tests that a message names before it counts the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """What a run works with."""

    environment: Mapping[str, str]
    visible: Mapping[str, str]
    """The part of the environment that tests see."""
    folder: Path
    """For what is needed until the tests have ended."""
    parent: str | None
    """Where folders are made."""


def main(arguments: Sequence[str]) -> int:
    """Run the gate; the exit code is the step's.

    Args:
        arguments: none; the gate gives them to itself (see ``isolated_environment``).
    """
    environment = isolated_environment(arguments)
    protect_process()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    parent = environment.get("RUNNER_TEMP") or None
    folder = Path(tempfile.mkdtemp(prefix="gradhealth-", dir=parent)).resolve()
    place = Workplace(environment=environment, visible=visible_environment(environment), folder=folder, parent=parent)
    run = GateRun()
    try:
        return _gate(run, place)
    finally:
        with suppress(RecursionError):
            shutil.rmtree(folder, ignore_errors=True)


def _stop(number: int, _: object) -> None:
    """A cancelled job still removes the base's tree."""
    raise SystemExit(128 + number)


def _gate(run: GateRun, place: Workplace) -> int:
    with _explained(run):
        _measure(run, place)
    with _explained(run):
        end_descendants()
    # From here on no process of the tests is left that could write to what is written.
    results = Results(place.parent)
    with _explained(run):
        _judge(run, results)
    return publish(run, place.environment, results.folder)


@contextmanager
def _explained(run: GateRun) -> Iterator[None]:
    """Whatever goes wrong inside is reported, and the first of it is the reason."""
    try:
        yield
    except GateError as error:
        run.problem = run.problem or str(error)
    except Exception as error:
        with silenced():
            traceback.print_exc(file=sys.stdout)
        run.problem = run.problem or f"the action itself failed: {error!r}"


def _measure(run: GateRun, place: Workplace) -> None:
    event = Event.of(place.environment)
    if event.privileged:
        raise GateError(
            f"the event {event.name} gives a pull request's code this repository's rights; use pull_request"
        )
    inputs = run.inputs = read_inputs(place.environment)
    repository = Repository.around(inputs.directory, place.folder / "git")
    if repository is not None:
        run.top, run.head_sha = repository.top, repository.commit("HEAD")
    if inputs.compare != "none":
        _measure_base(run, inputs, repository, event, place)
    python = resolved(inputs.python, inputs.directory)
    with group("gradhealth: tests"):
        run.session = run_pytest(python, inputs.pytest_args, inputs.directory, place.visible, place.folder)


def _measure_base(run: GateRun, inputs: Inputs, repository: Repository | None, event: Event, place: Workplace) -> None:
    try:
        if repository is None:
            raise BaseUnavailableError("the workspace is no git repository; use actions/checkout")
        base = find_base(repository, event, inputs.base_ref)
        run.base_sha, run.base_origin = base.sha, base.origin
        run.warnings += base.warnings
        run.notes += _steered(repository.changed(base.sha))
        bench = Bench(inputs=inputs, repository=repository, folder=place.folder, environment=place.visible)
        run.base = (accepted_base if inputs.compare == "baseline" else measure_base)(bench, base.sha)
    except NoBaseError as reason:
        _refuse_or_warn(run, inputs, event, reason)


def _refuse_or_warn(run: GateRun, inputs: Inputs, event: Event, reason: NoBaseError) -> None:
    """Where a change is reviewed, a base that is there must be compared with: else whoever breaks it would pass."""
    lenient = inputs.require_base == "false"
    if inputs.require_base == "true" or (not lenient and event.reviewed and isinstance(reason, BaseUnavailableError)):
        raise GateError(f"a base is required, and {reason}; `require-base: false` makes this a warning")
    run.warnings.append(f"Compared with nothing: {reason}. Only the limits hold.")


def _judge(run: GateRun, results: Results) -> None:
    session, inputs = run.session, run.inputs
    if session is None or inputs is None or run.problem:
        return
    if session.report.checks:
        run.reports["head"] = results.keep("head", session.report)
    if session.problem:
        raise GateError("; ".join(filter(None, [session.problem, _failures(session)])))
    if run.base is not None:
        run.reports["base"] = results.keep("base", run.base)
        run.comparison = _compared(run, session.report, run.base, inputs.max_drift)
    _conclude(run, inputs, session)


def _compared(run: GateRun, head: Report, base: Report, max_drift: float) -> Comparison:
    try:
        comparison = compare_reports(run.reports["base"], run.reports["head"], max_drift)
    except StoreError as error:
        raise GateError(str(error)) from None
    return relevant(comparison, head, base)


def _conclude(run: GateRun, inputs: Inputs, session: Session) -> None:
    verdict = judge(session.report, inputs.fail_on, run.comparison, run.base, allow_lost=inputs.allow_lost_checks)
    failures = _failures(session)
    if failures and verdict.outcome == "pass":
        raise GateError(failures)
    if failures:
        run.warnings.append(f"{failures}.")
    if not verdict.compared and not any(stored.check.judged for stored in session.report.checks):
        raise GateError("no model was checked: the tests only measure, and there is nothing to compare with")
    run.verdict = verdict


def _failures(session: Session) -> str:
    """The tests that failed for another reason than gradients, in words."""
    others = other_failures(session)
    named = ", ".join(others[:NAMED]) + (f" and {len(others) - NAMED} more" if len(others) > NAMED else "")
    return f"{len(others)} failed for another reason than gradients: {named}" if others else ""


def _steered(changed: Sequence[str]) -> list[str]:
    named = steering_files(changed)
    return [f"This change also touches what decides how tests run: {', '.join(named)}."] if named else []
