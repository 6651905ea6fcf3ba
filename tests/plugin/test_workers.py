"""Workers, reruns and subtests: the same report, and the last run of a test counts."""

from __future__ import annotations

import re

import pytest

TESTS = """
import pytest
from small_nets import *

@pytest.mark.parametrize("size", [1, 2, 3])
def test_sizes(gradhealth, size):
    gradhealth.check(net(), X * size, square)
    gradhealth.check(net(), X * size, square)

def test_inspected(gradhealth):
    gradhealth.measure(net(), X, square)

def test_sick(gradhealth):
    gradhealth.check(net(), X, square, max_norm=1e-9)

@pytest.mark.gradhealth
def test_trained():
    square(net()(X)).backward()
"""

ODD = """
import pytest
from small_nets import *

def test_numbers_that_are_not_finite(gradhealth):
    gradhealth.measure(net(), X * float("nan"), square)

runs = []

@pytest.mark.flaky(reruns=1)
def test_flaky(gradhealth):
    runs.append(1)
    gradhealth.check(net(), X, square, max_norm=1e-9 if len(runs) == 1 else 1e9)
"""

SUBTESTS = """
from small_nets import *

def test_it(gradhealth, subtests):
    for norm in (1e9, 1e-9, 1e9):
        with subtests.test(norm=norm):
            gradhealth.check(net(), X, square, max_norm=norm)
"""
WIDER = """
import os
import pytest

@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    os.environ["COLUMNS"] = "200"  # what workers see, who have no terminal to ask
"""
HAS_SUBTESTS = pytest.version_tuple >= (9, 0)


def report(result: pytest.RunResult) -> list[str]:
    """The section that we print, from its title to the closing line."""
    lines = result.outlines
    start = next(i for i, line in enumerate(lines) if "gradient health" in line)
    end = next(i for i, line in enumerate(lines) if i > start and line.startswith("gradhealth: "))
    return lines[start : end + 1]


def test_workers_print_the_same_report(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    project.makeconftest(WIDER)
    project.makepyfile(test_a=TESTS, test_b=ODD, **({"test_c": SUBTESTS} if HAS_SUBTESTS else {}))
    monkeypatch.setenv("COLUMNS", "50")
    alone = project.runpytest("--gradhealth-report", "-p", "no:xdist")
    monkeypatch.setenv("COLUMNS", "50")
    several = project.runpytest("--gradhealth-report", "-n2")
    failed = 3 if HAS_SUBTESTS else 1
    for result in (alone, several):
        result.stdout.fnmatch_lines([f"*{failed} failed, * passed, *1 rerun*"])
    assert report(several) == report(alone)
    assert sorted(map(str.strip, _errors(several))) == sorted(map(str.strip, _errors(alone)))


def _errors(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if line.startswith("E ")]


def test_the_report_names_each_test_and_check(project: pytest.Pytester) -> None:
    project.makepyfile(test_a=TESTS)
    lines = report(project.runpytest("--gradhealth-report"))
    assert [line for line in lines if line.startswith("test_a.py::")] == [
        "test_a.py::test_inspected",
        "test_a.py::test_sick",
        "test_a.py::test_sizes[1]",
        "test_a.py::test_sizes[1]",
        "test_a.py::test_sizes[2]",
        "test_a.py::test_sizes[2]",
        "test_a.py::test_sizes[3]",
        "test_a.py::test_sizes[3]",
        "test_a.py::test_trained",
    ]
    verdicts = [line for line in lines if re.match(r"(Sequential|GH\d)", line)]
    assert [line.partition(":")[0] for line in verdicts] == [
        "Sequential",
        "GH702 large gradient norm in Sequential",
        *["Sequential", "Sequential #2"] * 3,
        "Sequential",
    ]
    assert "measured" in verdicts[0]
    assert "healthy" in verdicts[2]


@pytest.mark.parametrize(
    ("tests", "closing"),
    [
        ("gradhealth.check(net(), X, square)", "gradhealth: 1 model measured, 2 layers, all healthy"),
        ("gradhealth.measure(net(), X, square)", "gradhealth: 1 model measured, 2 layers, none judged"),
        ("gradhealth.measure(nn.Linear(3, 2), X, square)", "gradhealth: 1 model measured, 1 layer, none judged"),
        (
            "gradhealth.check(net(), X, square, max_norm=1e-9)",
            "gradhealth: 1 model measured, 2 layers, 1 sick (GH702 large-norm 1)",
        ),
    ],
)
def test_the_closing_line(project: pytest.Pytester, tests: str, closing: str) -> None:
    project.makepyfile(f"from small_nets import *\ndef test_it(gradhealth):\n    {tests}")
    project.runpytest().stdout.fnmatch_lines([closing])


def test_nothing_is_said_where_nothing_was_measured(project: pytest.Pytester) -> None:
    project.makepyfile("def test_it():\n    pass")
    assert "grad" not in project.runpytest("--no-header", "--gradhealth-report").stdout.str()


def test_a_quiet_run_closes_without_a_word_unless_it_was_asked_for(project: pytest.Pytester) -> None:
    project.makepyfile("from small_nets import *\ndef test_it(gradhealth):\n    gradhealth.check(net(), X, square)")
    project.runpytest("-q").stdout.no_fnmatch_line("gradhealth:*")
    project.runpytest("-q", "--gradhealth-report").stdout.fnmatch_lines(["gradhealth: 1 model measured, *"])


def test_our_own_verbosity(project: pytest.Pytester) -> None:
    project.makeini("[pytest]\nverbosity_gradhealth = 1")
    project.makepyfile(
        """
        from small_nets import *
        def test_it(gradhealth):
            deep = nn.Sequential(*(nn.Linear(3, 3) for _ in range(30)))
            gradhealth.measure(deep, X, square)
        """
    )
    assert "healthy layers" not in project.runpytest("--gradhealth-report").stdout.str()
    quiet = project.runpytest("--gradhealth-report", "-o", "verbosity_gradhealth=0")
    quiet.stdout.fnmatch_lines(["* 26 healthy layers"])


FLAKY = """
import pytest
from small_nets import *

runs = []

def test_it(gradhealth):
    runs.append(1)
    first = len(runs) == 1
    {body}
"""


@pytest.mark.parametrize(
    ("body", "closing"),
    [
        (
            "gradhealth.check(net(), X, square, max_norm=1e-9 if first else 1e9)",
            "gradhealth: 1 model measured, 2 layers, all healthy",
        ),
        (
            "gradhealth.check(net(), X, square); gradhealth.check(nn.Linear(3, 2), X, square); assert not first",
            "gradhealth: 2 models measured, 3 layers, all healthy",
        ),
    ],
    ids=["sick first", "own failure first"],
)
def test_of_reruns_the_last_counts(project: pytest.Pytester, body: str, closing: str) -> None:
    project.makepyfile(FLAKY.format(body=body))
    result = project.runpytest("--reruns=1", "--gradhealth-report")
    result.stdout.fnmatch_lines(["*1 passed, 1 rerun in *"])
    result.stdout.fnmatch_lines([closing])
    assert [line for line in report(result) if line.startswith("GH702")] == []
    assert "#3" not in result.stdout.str()


def test_a_rerun_that_measures_nothing_leaves_nothing(project: pytest.Pytester) -> None:
    project.makepyfile(FLAKY.format(body="first and gradhealth.check(net(), X, square, max_norm=1e-9)"))
    result = project.runpytest("--reruns=1")
    result.stdout.fnmatch_lines(["*1 passed, 1 rerun in *"])
    result.stdout.no_fnmatch_line("gradhealth: *")


@pytest.mark.skipif(not HAS_SUBTESTS, reason="subtests came with pytest 9")
def test_subtests_count_once(project: pytest.Pytester) -> None:
    project.makepyfile(SUBTESTS)
    result = project.runpytest("--gradhealth-report")
    result.stdout.fnmatch_lines(["*SUBFAIL*"])
    assert report(result)[-1] == "gradhealth: 3 models measured, 6 layers, 1 sick (GH702 large-norm 1)"


def test_a_marked_test_that_fails_by_itself_is_not_judged(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest
        from small_nets import *

        @pytest.mark.gradhealth(max_norm=1e-9)
        def test_it():
            square(net()(X)).backward()
            assert 1 == 2
        """
    )
    result = project.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *assert 1 == 2"])
    result.stdout.no_fnmatch_line("*exploding*")
