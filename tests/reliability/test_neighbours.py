"""Other plugins in the same run: every check is in the report, and no outcome is changed."""

from __future__ import annotations

import importlib.util
import json
from typing import Any, NamedTuple

import pytest

TESTS = """
import pytest, torch
from torch import nn

X = torch.linspace(-1, 1, 12).reshape(4, 3) ** 3

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))

def square(output):
    return output.square().mean()

@pytest.mark.parametrize("size", [1, 2, 3])
def test_sizes(gradhealth, size):
    gradhealth.check(net(), X * size, square)

def test_sick(gradhealth):
    gradhealth.check(net(), X, square, max_norm=1e-9)

@pytest.mark.gradhealth
def test_trained():
    square(net()(X)).backward()

def test_neither():
    pass
"""
CHECKS = {"test_sizes[1]", "test_sizes[2]", "test_sizes[3]", "test_sick", "test_trained"}


class Neighbour(NamedTuple):
    """What is installed, how it is asked for, and what it does to the outcome."""

    name: str
    module: str | None
    arguments: tuple[str, ...]
    outcome: dict[str, int] = {"passed": 5, "failed": 1}  # noqa: RUF012
    checks: set[str] = CHECKS


MATRIX = (
    Neighbour("xdist, load", "xdist", ("-n2",)),
    Neighbour("xdist, loadscope", "xdist", ("-n2", "--dist=loadscope")),
    Neighbour("xdist, worksteal", "xdist", ("-n2", "--dist=worksteal")),
    Neighbour("rerunfailures", "pytest_rerunfailures", ("--reruns=1",), {"passed": 5, "failed": 1, "rerun": 1}),
    Neighbour("randomly", "pytest_randomly", ("-p", "randomly")),
    Neighbour("timeout, signal", "pytest_timeout", ("--timeout=60", "--timeout-method=signal")),
    Neighbour("timeout, thread", "pytest_timeout", ("--timeout=60", "--timeout-method=thread")),
    Neighbour("cov", "pytest_cov", ("--cov=.", "--cov-report=")),
    Neighbour("asyncio", "pytest_asyncio", ("--asyncio-mode=auto",)),
    Neighbour("anyio", "anyio", ()),
    Neighbour("repeat", "pytest_repeat", ("--count=1",)),
    Neighbour("sugar", "pytest_sugar", ()),
    Neighbour("html", "pytest_html", ("--html=report.html",)),
    Neighbour("benchmark", "pytest_benchmark", ("--benchmark-disable",)),
    Neighbour("hypothesis", "hypothesis", ("--hypothesis-seed=1",)),
    Neighbour("memray", "pytest_memray", ("--memray",)),
    Neighbour("-x", None, ("-x",), {"passed": 3, "failed": 1}, CHECKS - {"test_trained"}),
    Neighbour("--sw", None, ("--sw",), {"passed": 3, "failed": 1}, CHECKS - {"test_trained"}),
    Neighbour("--lf without a last run", None, ("--lf",)),
    Neighbour("--setup-only", None, ("--setup-only",), {}, set()),
    Neighbour("--setup-plan", None, ("--setup-plan",), {}, set()),
    Neighbour("-W error", None, ("-W", "error", "-p", "no:asyncio")),  # which warns by itself
    Neighbour("-p no:logging", None, ("-p", "no:logging")),
    Neighbour("--capture=no", None, ("-s",)),
)


ALONE = ("xdist", "pytest_cov", "pytest_sugar", "pytest_memray")
"""They start processes, or change the process that they are in."""


@pytest.mark.parametrize("neighbour", MATRIX, ids=lambda neighbour: neighbour.name)
def test_records_are_complete_and_outcomes_unchanged(neighbour: Neighbour, pytester: pytest.Pytester) -> None:
    if neighbour.module and importlib.util.find_spec(neighbour.module) is None:
        pytest.skip(f"{neighbour.module} is not installed")
    pytester.makepyfile(TESTS)
    run = pytester.runpytest_subprocess if neighbour.module in ALONE else pytester.runpytest_inprocess
    order = () if neighbour.module == "pytest_randomly" else ("-p", "no:randomly")
    result = run("--gradhealth-json=report.json", *order, *neighbour.arguments)
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()
    assert outcomes(result) == neighbour.outcome
    assert recorded(pytester) == neighbour.checks


def outcomes(result: pytest.RunResult) -> dict[str, int]:
    told: dict[str, Any] = result.parseoutcomes()
    return {name: count for name, count in told.items() if name in ("passed", "failed", "rerun", "error", "errors")}


def recorded(pytester: pytest.Pytester) -> set[str]:
    path = pytester.path / "report.json"
    return {check["test"].partition("::")[2] for check in json.loads(path.read_text("utf-8"))["checks"]}


def test_the_last_failures_are_checked_again(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TESTS)
    pytester.runpytest_inprocess()
    result = pytester.runpytest_inprocess("--lf", "--gradhealth-json=report.json")
    assert outcomes(result) == {"failed": 1}
    assert recorded(pytester) == {"test_sick"}


ASYNC = """
import asyncio, pytest, torch
from torch import nn

@pytest.mark.gradhealth
@pytest.mark.{marker}
async def test_trained():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    await asyncio.sleep(0)
    model(torch.randn(4, 3)).square().mean().backward()

@pytest.mark.{marker}
async def test_checked(gradhealth):
    gradhealth.check(nn.Linear(3, 2), torch.randn(4, 3), lambda output: output.square().mean())
"""


@pytest.mark.parametrize(("module", "marker"), [("pytest_asyncio", "asyncio"), ("anyio", "anyio")])
def test_tests_that_are_coroutines(module: str, marker: str, pytester: pytest.Pytester) -> None:
    pytest.importorskip(module)
    pytester.makeconftest("import pytest\n\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n")
    pytester.makepyfile(ASYNC.format(marker=marker))
    result = pytester.runpytest_inprocess("--gradhealth-json=report.json")
    assert outcomes(result) == {"passed": 2}
    assert recorded(pytester) == {"test_trained", "test_checked"}


CRASH = f"""{TESTS}
import os

def test_crash(gradhealth):
    gradhealth.check(net(), X, lambda output: os._exit(1))
"""


def test_a_worker_that_crashes_loses_its_own_check_alone(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(CRASH)
    result = pytester.runpytest_subprocess("-n2", "--gradhealth-json=report.json")
    assert outcomes(result) == {"passed": 5, "failed": 2}
    assert recorded(pytester) == CHECKS
    result.stdout.fnmatch_lines(["*worker 'gw*' crashed while running '*::test_crash'*"])


OTHER_KINDS = f'''{TESTS}
import unittest

class TestCase(unittest.TestCase):
    @pytest.mark.gradhealth
    def test_trained(self):
        square(net()(X)).backward()

    @pytest.fixture(autouse=True)
    def health(self, gradhealth):
        self.gradhealth = gradhealth

    def test_checked(self):
        self.gradhealth.check(net(), X, square)

def documented():
    """
    >>> getfixture("gradhealth").check(net(), X, square).loss > 0
    True
    """
'''


def test_unittest_and_doctest(pytester: pytest.Pytester) -> None:
    path = pytester.makepyfile(OTHER_KINDS)
    result = pytester.runpytest_inprocess("--doctest-modules", "--gradhealth-json=report.json")
    assert outcomes(result) == {"passed": 8, "failed": 1}
    others = {"TestCase::test_trained", "TestCase::test_checked", f"{path.stem}.documented"}
    assert recorded(pytester) == CHECKS | others


SLOW = """
import time, torch
from torch import nn

class Slow(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x):
        end = time.monotonic() + 30
        while time.monotonic() < end:
            pass
        return self.layer(x)

MODEL = Slow()
MODEL.layer.weight.grad = torch.ones(2, 3)

def test_too_slow(gradhealth):
    gradhealth.check(MODEL, torch.randn(4, 3), lambda output: output.square().mean())

def test_nothing_is_left():
    assert MODEL.layer.weight.grad.sum() == 6
    assert not MODEL._forward_hooks
    assert torch.is_grad_enabled()
    assert not MODEL.layer.weight._backward_hooks
"""


def test_a_timeout_ends_a_check_and_leaves_nothing(pytester: pytest.Pytester) -> None:
    pytest.importorskip("pytest_timeout")
    pytester.makepyfile(SLOW)
    result = pytester.runpytest_subprocess("--timeout=2", "--timeout-method=signal")
    assert outcomes(result) == {"passed": 1, "failed": 1}


def test_a_timeout_that_ends_the_process_leaves_the_old_report_whole(pytester: pytest.Pytester) -> None:
    pytest.importorskip("pytest_timeout")
    pytester.makepyfile(SLOW)
    old = pytester.path / "report.json"
    old.write_text("old")
    result = pytester.runpytest_subprocess("--timeout=2", "--timeout-method=thread", "--gradhealth-json=report.json")
    assert result.ret == 1
    assert "+ Timeout +" in result.stdout.str() + result.stderr.str()
    assert old.read_text() == "old"
    assert not [path for path in pytester.path.iterdir() if path.suffix == ".tmp"]
