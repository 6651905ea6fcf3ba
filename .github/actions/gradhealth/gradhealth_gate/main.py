"""From the event to the verdict: refuse, measure, compare, judge, tell."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path

from gradhealth_gate.base import Bench, accepted_base, measure_base
from gradhealth_gate.basis import Occasion, find_base
from gradhealth_gate.commands import child_environment, group, silenced
from gradhealth_gate.course import Course
from gradhealth_gate.git import Repository
from gradhealth_gate.inputs import Inputs, read_inputs
from gradhealth_gate.measure import Session, run_pytest
from gradhealth_gate.problems import NoBaseError, ProblemError
from gradhealth_gate.running import resolved
from gradhealth_gate.tell import tell
from gradhealth_gate.verdict import judge, other_failures, relevant
from pytest_gradhealth.compare import compare_reports
from pytest_gradhealth.report.store import Report, StoreError

__all__ = ["main"]

PRIVILEGED = ("pull_request_target", "workflow_run")
NAMED = 5
"""Tests that a message names before it counts the rest."""


def main() -> int:
    """Run the gate; the exit code is the step's."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    environment = dict(os.environ)
    folder = Path(tempfile.mkdtemp(prefix="gradhealth-", dir=environment.get("RUNNER_TEMP") or None)).resolve()
    course = Course(folder=folder)
    try:
        _judge(course, environment)
    except ProblemError as problem:
        course.problem = str(problem)
    except Exception as error:
        with silenced():
            traceback.print_exc(file=sys.stdout)
        course.problem = f"the action itself failed: {error!r}"
    tell(course, environment)
    return int(course.failed)


def _stop(number: int, _: object) -> None:
    """A cancelled job still removes the base's tree."""
    raise SystemExit(128 + number)


def _judge(course: Course, environment: Mapping[str, str]) -> None:
    event = environment.get("GITHUB_EVENT_NAME", "")
    if event in PRIVILEGED:
        raise ProblemError(f"the event {event} gives a pull request's code this repository's rights; use pull_request")
    inputs = course.inputs = read_inputs(environment)
    course.repository = Repository.around(inputs.directory)
    visible = child_environment(environment)
    session = course.session = _measured(inputs, course.folder / "head.json", visible)
    if session.problem:
        raise ProblemError("; ".join(filter(None, [session.problem, _failures(session)])))
    if inputs.compare != "none":
        occasion = Occasion(event, _payload(environment), environment.get("GITHUB_SHA", ""))
        _compare(course, inputs, session, occasion, visible)
    _conclude(course, inputs, session)


def _measured(inputs: Inputs, path: Path, visible: Mapping[str, str]) -> Session:
    python = resolved(inputs.python, inputs.directory)
    with group("gradhealth: tests"):
        return run_pytest(python, inputs.pytest_args, inputs.directory, visible, path)


def _compare(course: Course, inputs: Inputs, session: Session, occasion: Occasion, visible: Mapping[str, str]) -> None:
    try:
        course.base_path, course.base = _base(course, inputs, occasion, visible)
        comparison = compare_reports(course.base_path, session.path, inputs.max_drift)
        if len(comparison.new_checks) == comparison.head["checks"]:
            raise NoBaseError("none of the checks is in the base")
        course.comparison = relevant(comparison, session.report, course.base)
    except StoreError as error:
        raise ProblemError(str(error)) from None
    except NoBaseError as reason:
        if inputs.require_base:
            raise ProblemError(f"a base is required, and {reason}") from None
        course.warnings.append(f"Compared with nothing: {reason}. Only the limits hold.")


def _base(course: Course, inputs: Inputs, occasion: Occasion, visible: Mapping[str, str]) -> tuple[Path, Report]:
    if course.repository is None:
        raise NoBaseError("the workspace is no git repository; use actions/checkout")
    basis = find_base(course.repository, occasion, inputs.base_ref)
    course.base_sha, course.base_origin = basis.sha, basis.origin
    course.warnings += basis.warnings
    bench = Bench(inputs=inputs, repository=course.repository, folder=course.folder, environment=visible)
    measure = accepted_base if inputs.compare == "baseline" else measure_base
    return measure(bench, basis.sha)


def _conclude(course: Course, inputs: Inputs, session: Session) -> None:
    verdict = judge(session.report, inputs.fail_on, course.comparison, course.base)
    failures = _failures(session)
    if failures and verdict.outcome == "pass":
        raise ProblemError(failures)
    if failures:
        course.warnings.append(f"{failures}.")
    if not verdict.compared and not any(stored.check.judged for stored in session.report.checks):
        raise ProblemError("no model was checked: the tests only measure, and there is nothing to compare with")
    course.verdict = verdict


def _failures(session: Session) -> str:
    """The tests that failed for another reason than gradients, in words."""
    others = other_failures(session)
    named = ", ".join(others[:NAMED]) + (f" and {len(others) - NAMED} more" if len(others) > NAMED else "")
    return f"{len(others)} failed for another reason than gradients: {named}" if others else ""


def _payload(environment: Mapping[str, str]) -> dict[str, object]:
    try:
        payload = json.loads(Path(environment["GITHUB_EVENT_PATH"]).read_bytes())
    except (KeyError, OSError, ValueError):
        return {}
    return payload if isinstance(payload, dict) else {}
