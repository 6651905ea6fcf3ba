"""Private names of torch: one module knows them, and a torch without one of them is measured all the same."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import pytest_gradhealth
from pytest_gradhealth.measure import torch_private

WITHOUT = """
import sys
from functools import reduce
import torch, torch._dynamo

taken = []
for place in sys.argv[1:]:
    path, _, name = place.rpartition(".")
    owner = reduce(getattr, path.split(".")[1:], torch)
    if name not in vars(owner):
        continue  # an older name of this torch does the same
    taken.append((owner, name, vars(owner)[name]))
    delattr(owner, name)
from pytest_gradhealth.measure import torch_private
for owner, name, own in taken:
    setattr(owner, name, own)
assert set(sys.argv[1:]) <= set(torch_private.MISSING) | {"torch.fx._symbolic_trace.is_fx_symbolic_tracing"}
"""
MEASURED = """
import torch.nn.functional as F
from torch import nn
from pytest_gradhealth import GradHealth
from pytest_gradhealth.errors import GradientHealthError

def net(activation, depth):
    torch.manual_seed(0)
    return nn.Sequential(*(m for _ in range(depth) for m in (nn.Linear(8, 8), activation())), nn.Linear(8, 3))

x, y = torch.randn(32, 8), torch.randint(0, 3, (32,))
healthy, sick = net(nn.ReLU, 1), net(nn.Sigmoid, 20)
"""
CHECKED = (
    MEASURED
    + """
GradHealth().check(healthy, (x, y), loss=F.cross_entropy)
try:
    GradHealth().check(sick, (x, y), loss=F.cross_entropy)
except GradientHealthError as error:
    print(error)
"""
)
WATCHED = (
    MEASURED
    + """
health = GradHealth()
with health.watch(healthy):
    F.cross_entropy(healthy(x), y).backward()
try:
    with health.watch(sick):
        F.cross_entropy(torch.compile(sick, backend="eager")(x), y).backward()
except GradientHealthError as error:
    print(error)
"""
)


def without(names: Sequence[str], code: str) -> str:
    """What a script prints in a torch that lacked private names when the package was imported."""
    command = [sys.executable, "-c", WITHOUT + code, *names]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def present(*, engine: bool) -> list[str]:
    names = (name for name in torch_private.NAMES if name not in torch_private.MISSING)
    return [name for name in names if name.endswith(torch_private.ENGINE) == engine]


def test_watch_and_check_find_the_fault_in_a_torch_without_any_of_the_names() -> None:
    assert without(present(engine=False), CHECKED + WATCHED).count("vanishing gradient in") == 2


def test_a_check_finds_the_fault_where_nothing_can_be_watched() -> None:
    assert "vanishing" in without(present(engine=True), CHECKED)


def test_every_other_room_leaves_private_names_to_the_one_module() -> None:
    private = re.compile(r"\btorch(\.\w+)*\._(?!_)\w+|_compiled_call_impl|getattr\(torch, \"_")
    package = Path(pytest_gradhealth.__file__).parent
    files = (path for path in package.rglob("*.py") if path.name != "torch_private.py")
    found = [
        f"{path.name}: {line.strip()}"
        for path in files
        for line in path.read_text("utf-8").splitlines()
        if private.search(line)
    ]
    assert not found


SUITE = """
import pytest, torch
from torch import nn

del torch.autograd._engine_run_backward

def train():
    nn.Linear(4, 4)(torch.randn(2, 4)).square().mean()

def test_plain(): train()
def test_again(): train()

@pytest.mark.gradhealth
def test_marked(): train()
"""


@pytest.mark.parametrize("arguments", [["--gradhealth"], ["--gradhealth", "-n1"]], ids=["one process", "xdist"])
def test_where_nothing_can_be_watched_the_run_says_so_and_a_marked_test_fails(
    pytester: pytest.Pytester, arguments: list[str]
) -> None:
    pytester.makepyfile(SUITE)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", *arguments)
    result.assert_outcomes(passed=2, failed=1, warnings=1)
    told = "*torch * has no torch.autograd._engine_run_backward, so that a watch would see no backward pass*"
    result.stdout.fnmatch_lines([told])
    if "-n1" not in arguments:
        head = result.outlines[
            : next(i for i, line in enumerate(result.outlines) if "::" in line or line.endswith("%]"))
        ]
        assert sum("no test can be watched" in line for line in head) == 1
