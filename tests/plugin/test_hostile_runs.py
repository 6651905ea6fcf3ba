"""Whatever the options and the surroundings: the right outcome, no INTERNALERROR and no warning of ours."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

TESTS = """
import pytest
from small_nets import *

def test_healthy(gradhealth):
    gradhealth.check(net(), X, square)

@pytest.mark.gradhealth
def test_trained():
    square(net()(X)).backward()

def test_sick(gradhealth):
    gradhealth.check(net(), X, square, max_norm=1e-9)

@pytest.mark.gradhealth(max_norm=1e-9)
def test_trained_sick():
    square(net()(X)).backward()

@pytest.mark.xfail(strict=True)
@pytest.mark.gradhealth(max_norm=1e-9)
def test_expected():
    square(net()(X)).backward()

@pytest.mark.gradhealth(max_raito=1)
def test_bad_marker():
    pass

def test_plain():
    pass
"""
OUTCOMES = {"passed": 3, "failed": 2, "errors": 1, "xfailed": 1}


@pytest.fixture
def tests(project: pytest.Pytester) -> pytest.Pytester:
    project.makepyfile(test_nets=TESTS)
    return project


def assert_clean(text: str) -> None:
    assert "INTERNALERROR" not in text
    assert "Traceback" not in text
    assert "warnings summary" not in text
    assert "GradientHealthWarning" not in text


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["-v"],
        ["-q"],
        ["-qq"],
        ["--no-summary"],
        ["--no-header"],
        ["-p", "no:cacheprovider"],
        ["-p", "no:xdist"],
        ["-p", "no:rerunfailures", "-p", "no:xdist"],
        ["-p", "no:logging", "-p", "no:capture"],
        ["-W", "error"],
        ["--strict-markers"],
        ["--strict-config"],
        ["-o", "strict=true"],
        ["--tb=line"],
        ["--tb=native"],
        ["--tb=no"],
        ["--color=yes"],
        ["--gradhealth-report"],
        ["--gradhealth-report", "-q"],
        ["--gradhealth-report", "-v", "--gradhealth-ascii"],
        ["--gradhealth"],
        ["--junitxml=junit.xml"],
        ["--durations=3"],
        ["-x", "--maxfail=9"],
    ],
    ids=" ".join,
)
def test_every_test_has_its_outcome(tests: pytest.Pytester, arguments: list[str]) -> None:
    run = tests.inline_run(*arguments, "-p", "no:randomly")
    passed, skipped, failed = run.listoutcomes()
    errors = [report for report in failed if report.when == "setup"]
    found = {
        "passed": len(passed),
        "failed": len(failed) - len(errors),
        "errors": len(errors),
        "xfailed": sum(hasattr(report, "wasxfail") for report in skipped),
    }
    assert found == OUTCOMES
    assert run.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize(
    "arguments",
    [[], ["-W", "error"], ["-o", "strict=true"], ["--gradhealth-report"], ["-qq"], ["-p", "no:cacheprovider"], ["-n2"]],
    ids=" ".join,
)
def test_nothing_of_ours_is_in_the_way(tests: pytest.Pytester, arguments: list[str]) -> None:
    result = tests.runpytest(*arguments)
    if "-qq" not in arguments:
        result.assert_outcomes(**OUTCOMES)
    assert_clean(result.stdout.str() + result.stderr.str())


def test_without_a_terminal(tests: pytest.Pytester) -> None:
    result = tests.runpytest("-p", "no:terminal", "--gradhealth-report", "--gradhealth-json=report.json")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.stdout.str() == ""
    assert_clean(result.stderr.str())
    assert (tests.path / "report.json").exists()


def test_collecting_only_measures_nothing(tests: pytest.Pytester) -> None:
    result = tests.runpytest("--collect-only", "--gradhealth-report", "--gradhealth")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*7 tests collected*"])
    result.stdout.no_fnmatch_line("*gradhealth:*measured*")
    assert_clean(result.stdout.str() + result.stderr.str())


def test_the_verdict_is_the_message_in_junit(tests: pytest.Pytester) -> None:
    tests.runpytest("--junitxml=junit.xml")
    cases = {case.get("name"): case for case in ElementTree.parse(tests.path / "junit.xml").iter("testcase")}
    for name in ("test_sick", "test_trained_sick"):
        failure = cases[name].find("failure")
        assert failure is not None
        assert "GH702 large gradient norm in Sequential: " in (failure.get("message") or "").splitlines()[0]
    assert cases["test_healthy"].find("properties") is None


def test_the_verdict_is_the_summary_line(tests: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")  # which keeps pytest from shortening the lines
    result = tests.runpytest("-rf")
    verdict = "GH702 large gradient norm in Sequential: gradient norm of '*' is *, above max_norm=1e-09*"
    result.stdout.fnmatch_lines(
        [f"FAILED test_nets.py::test_sick - *{verdict}", f"FAILED test_nets.py::test_trained_sick - *{verdict}"]
    )


def test_a_quiet_run_shows_the_sentence_only(tests: pytest.Pytester) -> None:
    result = tests.runpytest("-q")
    result.stdout.fnmatch_lines(["E *GH702 large gradient norm in Sequential: *"])
    result.stdout.no_fnmatch_line("*params*")


@pytest.mark.parametrize(("columns", "fits"), [("40", 40), ("200", 200), ("1", 40), ("words", 80)])
def test_tables_fit_the_terminal(
    tests: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, columns: str, fits: int
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.delenv("LINES", raising=False)
    result = tests.runpytest("--gradhealth-report", "-k", "sick")
    # The verdict is one line, however long; below it stand remedies and the table.
    report = result.outlines[next(i for i, line in enumerate(result.outlines) if "gradient health" in line) :]
    body = [line for line in report if not line.startswith(("GH702", "test_nets", "gradhealth", "=", "FAILED"))]
    assert sum("layer" in line and "finding" in line for line in body) == 2
    assert max(map(len, body)) <= fits


def run(tests: pytest.Pytester, *arguments: str, **environment: str) -> Any:
    """A process of its own, with a closed stdin."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=tests.path,
        env={**os.environ, "PYTHONPATH": str(tests.path), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["-W", "ignore::pytest.PytestConfigWarning"], {"PYTHONOPTIMIZE": "1", "NO_COLOR": "1", "COLUMNS": "40"}),
        (["--gradhealth-report"], {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C", "FORCE_COLOR": "1"}),
    ],
    ids=["optimised", "ascii"],
)
def test_in_a_process_of_its_own(tests: pytest.Pytester, arguments: list[str], environment: dict[str, str]) -> None:
    done = run(tests, *arguments, **environment)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    text = done.stdout + done.stderr
    for part in ("2 failed", "3 passed", "1 xfailed", "1 error"):
        assert part in text
    assert_clean(text)
    if "PYTHONIOENCODING" in environment:
        assert text.isascii()
        assert "#######" in text
    else:
        assert "\x1b" not in text


def test_the_debugger_opens_at_the_users_line_and_leaves_when_stdin_is_closed(tests: pytest.Pytester) -> None:
    done = run(tests, "--pdb", "-k", "test_sick")
    assert "entering PDB" in done.stdout
    assert "> " + str(tests.path / "test_nets.py") in done.stdout
    assert "INTERNALERROR" not in done.stdout + done.stderr
    assert done.returncode in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.TESTS_FAILED)
