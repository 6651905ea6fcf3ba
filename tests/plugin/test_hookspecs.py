"""The example of every extension point is run as it stands."""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Callable

import pytest

from pytest_gradhealth import hookspecs

HOOKS = [name for name in vars(hookspecs) if name.startswith("pytest_gradhealth_")]


def example(hook: str) -> str:
    """The indented code of a docstring."""
    lines = inspect.cleandoc(getattr(hookspecs, hook).__doc__).splitlines()
    start = next(i for i, line in enumerate(lines) if line.endswith("::"))
    return textwrap.dedent("\n".join(line for line in lines[start + 1 :]))


HEAD = """
import torch
from torch import nn
from small_nets import *

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(3, 4), nn.Linear(4, 2)
        self.criterion = nn.CrossEntropyLoss()

    def forward(self, x):
        return self.head(torch.relu(self.body(x)))

Y = torch.tensor([0, 1, 1, 0])
"""


def step(project: pytest.Pytester) -> None:
    project.makepyfile(HEAD + "def test_it(gradhealth):\n    assert gradhealth.measure(Net(), (X, Y)).loss > 0")
    project.runpytest().assert_outcomes(passed=1)


def rules(project: pytest.Pytester) -> None:
    project.makepyfile(
        HEAD
        + "def test_weak(gradhealth):\n    gradhealth.check(Net(), X, lambda out: (out * 1e-5).square().sum(), min_elasticity=0)\n"
        + "def test_strong(gradhealth):\n    gradhealth.check(Net(), X, square)"
    )
    result = project.runpytest()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*weak head in Net: head: norm *e-*"])


def columns(project: pytest.Pytester) -> None:
    project.makepyfile(HEAD + "def test_it(gradhealth):\n    gradhealth.check(Net(), X, square)")
    result = project.runpytest("--gradhealth-report")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["layer *weight finding", "body  Linear *"])


def metadata(project: pytest.Pytester) -> None:
    project.makepyfile(HEAD + "def test_it(gradhealth):\n    gradhealth.check(Net(), X, square)")
    project.runpytest("--gradhealth-json=report.json").assert_outcomes(passed=1)
    assert '"commit": "unknown"' in json.dumps(json.loads((project.path / "report.json").read_text()))


USES: dict[str, Callable[[pytest.Pytester], None]] = {
    "pytest_gradhealth_step": step,
    "pytest_gradhealth_rules": rules,
    "pytest_gradhealth_columns": columns,
    "pytest_gradhealth_metadata": metadata,
}


@pytest.mark.parametrize("hook", HOOKS)
def test_the_example_does_what_it_says(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, hook: str) -> None:
    monkeypatch.delenv("GITHUB_SHA", raising=False)
    project.makeconftest(example(hook))
    USES[hook](project)
