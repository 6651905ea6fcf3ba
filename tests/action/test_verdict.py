"""From reports to a verdict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from gradhealth_gate.session import Session
from gradhealth_gate.verdict.fault import Verdict
from gradhealth_gate.verdict.judge import FROM_BASELINE, judge, other_failures, relevant
from gradhealth_gate.verdict.notes import steering_files
from samples import make_finding, make_layer, make_report, make_stored

from pytest_gradhealth.compare import compare_reports
from pytest_gradhealth.report.store import Report, StoredCheck, write_report

SICK = make_stored("test_net", make_layer("fc0", norm=50.0), findings=(make_finding(),))
FINE = make_stored("test_net", make_layer("fc0", norm=0.1))


def verdict(tmp_path: Path, head: Report, base: Report, fail_on: str = "any", **options: bool) -> Verdict:
    for name, report in (("head", head), ("base", base)):
        write_report(tmp_path / f"{name}.json", report)
    comparison = compare_reports(tmp_path / "base.json", tmp_path / "head.json")
    return judge(head, fail_on, relevant(comparison, head, base), base, **options)


def test_healthy_passes() -> None:
    found = judge(make_report(FINE), "any")
    assert (found.outcome, found.violations, found.regressions, found.compared) == ("pass", 0, 0, 0)
    assert found.worst is None


def test_a_new_finding_is_one_fault_with_the_bases_number(tmp_path: Path) -> None:
    found = verdict(tmp_path, make_report(SICK), make_report(FINE))
    (first, *_) = found.faults
    assert (found.outcome, found.violations, found.compared) == ("fail", 1, 1)
    assert (first.base, first.head, first.limit) == (0.1, 50.0, 10.0)
    assert first.factor == pytest.approx(500)
    assert first.violation
    assert first.regression


def test_a_layer_that_moved_in_several_ways_is_one_regression(tmp_path: Path) -> None:
    layers = [make_layer(f"fc{i}") for i in range(8)]
    moved = [make_layer("fc0", norm=1e3, signal=1e2, reach=0.01), *layers[1:]]
    found = verdict(tmp_path, make_report(make_stored("t", *moved)), make_report(make_stored("t", *layers)))
    assert (found.violations, found.regressions, found.outcome) == (0, 1, "fail")
    assert found.faults[0].factor == pytest.approx(1e4)
    assert (found.faults[0].what, found.faults[0].limit) == ("norm", 3.0)


def test_a_layer_apart_from_a_common_move_is_told_so(tmp_path: Path) -> None:
    layers = [make_layer(f"fc{i}") for i in range(8)]
    moved = [make_layer("fc0", norm=0.05), *(make_layer(f"fc{i}", norm=1.0) for i in range(1, 8))]
    found = verdict(tmp_path, make_report(make_stored("t", *moved)), make_report(make_stored("t", *layers)))
    assert {fault.what for fault in found.faults} == {"norm, beside the others", "all layers"}


@pytest.mark.parametrize(
    ("fail_on", "head", "base", "outcome"),
    [
        ("any", SICK, SICK, "fail"),
        ("limits", SICK, SICK, "fail"),
        ("regression", SICK, SICK, "pass"),
        ("never", SICK, SICK, "fail"),
        ("regression", SICK, FINE, "fail"),
        ("any", FINE, SICK, "pass"),
    ],
)
def test_what_fails_is_chosen(tmp_path: Path, fail_on: str, head: StoredCheck, base: StoredCheck, outcome: str) -> None:
    assert verdict(tmp_path, make_report(head), make_report(base), fail_on).outcome == outcome


def test_limits_do_not_mind_what_moved(tmp_path: Path) -> None:
    layers = [make_layer(f"fc{i}") for i in range(8)]
    moved = make_stored("t", make_layer("fc0", norm=1e3), *layers[1:])
    found = verdict(tmp_path, make_report(moved), make_report(make_stored("t", *layers)), "limits")
    assert (found.outcome, found.regressions) == ("pass", 1)


def hidden(outcome: str, name: str = "test_net") -> StoredCheck:
    return make_stored(name, make_layer("fc0", norm=0.1), findings=(make_finding(),), outcome=outcome)


@pytest.mark.parametrize("outcome", ["passed", "xfailed", "skipped", "xpassed"])
def test_sickness_that_no_test_fails_for_is_named(outcome: str) -> None:
    found = judge(make_report(hidden(outcome)), "any")
    assert (found.outcome, found.faults) == ("pass", ())
    assert f"1 unhealthy, but the test did not fail: tests/test_model.py::test_net ({outcome})" in found.notes[0]


@pytest.mark.parametrize("outcome", ["passed", "xfailed", "skipped", "xpassed"])
def test_sickness_that_no_test_fails_for_is_worse_than_a_healthy_base(tmp_path: Path, outcome: str) -> None:
    found = verdict(tmp_path, make_report(hidden(outcome)), make_report(FINE))
    assert (found.outcome, found.violations, found.regressions) == ("fail", 0, 1)
    assert found.faults[0].what == "exploding, but its test did not fail"


@pytest.mark.parametrize("outcome", ["passed", "xfailed"])
def test_sickness_that_the_base_expects_too_is_no_news(tmp_path: Path, outcome: str) -> None:
    assert verdict(tmp_path, make_report(hidden(outcome)), make_report(hidden(outcome))).faults == ()


@pytest.mark.parametrize(("outcome", "expected"), [("xfailed", "pass"), ("skipped", "pass"), ("passed", "fail")])
def test_a_new_test_says_with_xfail_that_it_expects_sickness(tmp_path: Path, outcome: str, expected: str) -> None:
    head = make_report(FINE, hidden(outcome, "test_new"))
    assert verdict(tmp_path, head, make_report(FINE)).outcome == expected


def test_an_xfail_hides_no_drift_of_what_passed_before(tmp_path: Path) -> None:
    layers = [make_layer(f"fc{i}") for i in range(8)]
    moved = make_stored("t", make_layer("fc0", norm=1e3), *layers[1:], outcome="xfailed")
    before = make_stored("t", *layers)
    assert verdict(tmp_path, make_report(moved), make_report(before)).outcome == "fail"
    assert verdict(tmp_path, make_report(moved), make_report(replace(before, outcome="xfailed"))).outcome == "pass"


@pytest.mark.parametrize("fail_on", ["any", "limits", "regression"])
def test_a_check_that_only_the_base_has_fails(tmp_path: Path, fail_on: str) -> None:
    base, head = make_report(FINE, make_stored("test_gone")), make_report(FINE)
    found = verdict(tmp_path, head, base, fail_on)
    (fault,) = found.faults
    assert (found.outcome, found.regressions, fault.test) == ("fail", 1, "tests/test_model.py::test_gone")
    assert "allow-lost-checks" in fault.remedy
    assert verdict(tmp_path, head, base, fail_on, allow_lost=True).faults == ()


def test_a_renamed_test_is_a_lost_one(tmp_path: Path) -> None:
    found = verdict(tmp_path, make_report(make_stored("test_new")), make_report(make_stored("test_old")))
    assert (found.outcome, found.compared) == ("fail", 0)


@pytest.mark.parametrize(
    ("name", "old", "new", "looser"),
    [
        ("min_reach", 1e-4, 0.0, "min_reach 0.0001 is now 0"),
        ("min_reach", 1e-4, None, "min_reach 0.0001 is now off"),
        ("max_norm", 10.0, 1e3, "max_norm 10 is now 1000"),
        ("max_norm", 10.0, 1.0, ""),
        ("min_reach", 1e-4, 1e-3, ""),
    ],
)
def test_a_looser_limit_is_named(tmp_path: Path, name: str, old: float, new: float | None, looser: str) -> None:
    base, head = (make_report(with_limits(FINE, {name: value})) for value in (old, new))
    notes = " ".join(verdict(tmp_path, head, base).notes)
    assert looser in notes
    assert ("Limits are looser" in notes) == bool(looser)


def with_limits(stored: StoredCheck, limits: dict[str, object]) -> StoredCheck:
    return replace(stored, check=replace(stored.check, limits=limits))


def test_layers_that_are_gone_are_named(tmp_path: Path) -> None:
    base, head = (make_stored("t", *[make_layer(f"fc{i}") for i in range(n)]) for n in (8, 6))
    found = verdict(tmp_path, make_report(head), make_report(base))
    assert found.outcome == "pass"
    assert found.notes == ("Layers of the base are gone: 2 of Net in tests/test_model.py::t.",)


def test_what_decides_how_tests_run_is_named() -> None:
    changed = ["net/model.py", "tests/conftest.py", "pyproject.toml", "a/b.pth", "docs/conftest.py.md"]
    assert steering_files(changed) == ["tests/conftest.py", "pyproject.toml", "a/b.pth"]


def test_a_test_that_also_breaks_in_teardown_is_not_excused() -> None:
    broken = make_stored("test_net", findings=(make_finding(),), outcome="error")
    assert judge(make_report(broken), "any").outcome == "fail"


def test_a_baseline_knows_no_findings_so_none_is_new(tmp_path: Path) -> None:
    base = Report(checks=(make_stored("test_net", make_layer("fc0", norm=50.0)),), metadata={FROM_BASELINE: "b.json"})
    found = verdict(tmp_path, make_report(SICK), base, "regression")
    assert (found.outcome, found.violations, found.regressions) == ("pass", 1, 0)


def test_the_gravest_comes_first() -> None:
    mild, grave = make_finding("mild", value=20.0), make_finding("grave", value=1e6)
    worst = make_finding("worst", kind="non-finite", value=None, limit=None)
    checks = [make_stored(f"test_{i}", findings=(found,)) for i, found in enumerate((mild, grave, worst))]
    assert [fault.layer for fault in judge(make_report(*checks), "any").faults] == ["worst", "grave", "mild"]


def test_other_failures_are_told_apart(tmp_path: Path) -> None:
    session = Session(
        code=1,
        root=tmp_path,
        failed=frozenset({SICK.test, "tests/test_other.py::test_x"}),
        broken=frozenset({"tests/test_other.py::test_y"}),
        report=make_report(SICK),
    )
    assert other_failures(session) == ["tests/test_other.py::test_x", "tests/test_other.py::test_y"]


def test_measuring_alone_is_said() -> None:
    stored = make_stored()
    only = Report(checks=(StoredCheck.from_dict({**stored.to_dict(), "judged": False}),))
    assert "only measure" in judge(only, "any").notes[0]


@pytest.mark.parametrize(
    ("code", "fields", "problem"),
    [
        (0, {"plugin": False}, "not installed"),
        (-9, {}, "signal 9"),
        (2, {"uncollected": ("tests/a.py",)}, "interrupted, as by a file that cannot be imported: tests/a.py"),
        (3, {}, "internal error"),
        (4, {}, "refused its arguments"),
        (5, {}, "found no test"),
        (77, {}, "exit code 77"),
        (0, {"unreadable": "x: no such file"}, "there is no report: x"),
        (1, {}, "no model was checked"),
        (1, {"report": make_report(SICK)}, ""),
    ],
)
def test_a_session_that_cannot_be_relied_on(tmp_path: Path, code: int, fields: dict[str, object], problem: str) -> None:
    session = Session(code=code, root=tmp_path, **fields)  # type: ignore[arg-type]
    assert problem in session.problem
    assert bool(problem) == bool(session.problem)
