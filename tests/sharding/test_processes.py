"""Groups of processes: started by a test, started by torchrun, and what becomes of the others when one fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest
import torch

pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or torch.__version__.startswith("2.6."),
    reason="torch 2.6 cannot fully_shard on the CPU; Windows has not been tried",
)

HEAD = """
import os, signal
import pytest, torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.distributed.fsdp import fully_shard

def net(activation=nn.ReLU, depth=2):
    torch.manual_seed(0)
    parts = [part for _ in range(depth) for part in (nn.Linear(8, 8), activation())]
    return nn.Sequential(*parts, nn.Linear(8, 3))

def data():
    g = torch.Generator().manual_seed(dist.get_rank())
    return torch.randn(32, 8, generator=g), torch.randint(0, 3, (32,), generator=g)

class Fragile(nn.Module):
    def __init__(self, what):
        super().__init__()
        self.body, self.what = net(), what

    def forward(self, x):
        if dist.get_rank() == 1 and self.what == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if dist.get_rank() == 1 and self.what == "raises":
            raise ValueError("no such sample")
        return self.body(x)
"""
STARTED = (
    HEAD
    + """
def train(gradhealth, activation, depth):
    gradhealth.check(fully_shard(net(getattr(nn, activation), depth)), data(), F.cross_entropy, device="cpu")

def fragile(gradhealth, what):
    gradhealth.check(fully_shard(Fragile(what)), data(), F.cross_entropy, device="cpu")

def by_itself(gradhealth):
    model, (x, y) = fully_shard(net(nn.Sigmoid, 20)), data()
    for _ in range(2):
        F.cross_entropy(model(x), y).backward()

def group_by_group(gradhealth, folder):
    rank, ranks = dist.get_rank(), dist.get_world_size()
    for number in range(2):
        dist.destroy_process_group()
        dist.init_process_group("gloo", init_method=f"file://{folder}/{number}", rank=rank, world_size=ranks)
        gradhealth.check(nn.parallel.DistributedDataParallel(net()), data(), F.cross_entropy, device="cpu", name="once")

def nothing(gradhealth): pass

def its_own(gradhealth):
    model = net(nn.Sigmoid, 20) if dist.get_rank() == 1 else net()
    gradhealth.check(model, data(), F.cross_entropy, device="cpu", name="stage")

def on_one_rank(gradhealth):
    from datetime import timedelta
    from pytest_gradhealth.measure.sharding import ranks
    ranks.PATIENCE = timedelta(seconds=2)
    if dist.get_rank() == 0:
        train(gradhealth, "ReLU", 2)

@pytest.mark.gradhealth
def test_trains_by_itself(gradhealth): gradhealth.distributed(by_itself)
def test_groups(gradhealth, tmp_path): gradhealth.distributed(group_by_group, str(tmp_path))
def test_nothing(gradhealth): gradhealth.distributed(nothing)
def test_healthy(gradhealth): gradhealth.distributed(train, "ReLU", 2)
def test_sick(gradhealth): gradhealth.distributed(train, "Sigmoid", 20)
def test_killed(gradhealth): gradhealth.distributed(fragile, "killed")
def test_raises(gradhealth): gradhealth.distributed(fragile, "raises")
def test_local(gradhealth): gradhealth.distributed(lambda gradhealth: None)
def test_own(gradhealth): gradhealth.distributed(its_own)
def test_gone(gradhealth): gradhealth.distributed(on_one_rank)
def test_none(gradhealth): gradhealth.distributed(nothing, nprocs=0)
def test_stays(gradhealth): gradhealth.distributed(nothing, lambda: 1)
"""
)


def test_a_test_starts_a_group_whose_checks_and_failures_are_its_own(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(STARTED)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-n2", "--gradhealth-json=health.json")
    result.assert_outcomes(passed=2, failed=10)
    result.stdout.fnmatch_lines_random(
        [
            "*vanishing gradient in Sequential: reach is *",
            "*vanishing gradient in stage: reach is *",
            "*RankFailedError: rank 1 of 2 was ended by signal 9 (SIGKILL)*",
            "*RankFailedError: rank 1 of 2 raised *rank 1 of 2 raised ValueError: no such sample*",
            "*MeasurementError: nothing was measured on any rank*",
            "*cannot be found from another process: define it at the top level of a module*",
            "*RankFailedError: rank 0 of 2 raised RankLostError: rank 0 of 2 waited 2 s for the other ranks*",
            "*; the function has returned on rank 1",
            "*MeasurementError: nprocs=0 must be a whole number of at least 1",
            "*MeasurementError: *<lambda>* cannot go to another process (*",
        ]
    )
    checks = json.loads((pytester.path / "health.json").read_text())["checks"]
    assert [(c["test"].split("::")[1], c["name"]) for c in checks] == [
        ("test_groups", "once"),
        ("test_groups", "once #2"),
        ("test_healthy", "Sequential"),
        ("test_own", "stage"),
        ("test_own", "stage (rank 1)"),
        ("test_sick", "Sequential"),
        ("test_trains_by_itself", "Sequential"),
    ]


def test_what_a_baseline_accepts_is_accepted_on_the_ranks_of_a_test_too(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(STARTED)
    options = ("-p", "no:cacheprovider", "-k", "test_sick", "--gradhealth-baseline=accepted.json")
    pytester.runpytest_subprocess(*options, "--gradhealth-update", "--gradhealth-update-on-ci").assert_outcomes(
        passed=1
    )
    path = pytester.path / "accepted.json"
    path.write_text(path.read_text().replace('"norm": ', '"norm": 9'))
    moved = pytester.runpytest_subprocess(*options)
    moved.assert_outcomes(failed=1)
    moved.stdout.fnmatch_lines(["*GH801 drift*", "gradhealth: 1 finding accepted by the baseline:"])


TORCHRUN = (
    HEAD
    + """
@pytest.fixture(scope="session", autouse=True)
def group():
    dist.init_process_group("gloo")
    yield
    dist.destroy_process_group()

def test_together(gradhealth):
    gradhealth.check(fully_shard(net(nn.Sigmoid, 20)), data(), F.cross_entropy, device="cpu", name="whole")

def test_apart(gradhealth):
    gradhealth.check(net(), data(), F.cross_entropy, device="cpu", name=f"own {dist.get_rank()}")

def test_on_one_rank_only():
    assert dist.get_rank() == 0
"""
)


def torchrun(pytester: pytest.Pytester, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "-m", "pytest"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "RANK", "WORLD"))}
    return subprocess.run(
        [*command, "-p", "no:cacheprovider", *arguments],
        cwd=pytester.path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_torchrun_writes_one_report_of_all_ranks_and_all_end_alike(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TORCHRUN)
    done = torchrun(pytester, "--gradhealth-json=health.json")
    assert done.returncode != 0
    assert done.stdout.count("vanishing gradient in whole") >= 2, done.stdout + done.stderr
    assert done.stdout.count("json written to") == 1
    checks = json.loads((pytester.path / "health.json").read_text())["checks"]
    assert [c["name"] for c in checks] == ["own 0", "own 1", "whole"]
    assert (
        len([line for line in done.stdout.splitlines() if line.startswith("FAILED") and "test_together" in line]) == 2
    )


LOST = (
    HEAD
    + """
def test_lost(gradhealth):
    dist.init_process_group("gloo")
    gradhealth.check(fully_shard(Fragile("raises")), data(), F.cross_entropy, device="cpu")

def test_next(gradhealth):
    gradhealth.check(fully_shard(net()), data(), F.cross_entropy, device="cpu")
"""
)


def test_a_rank_that_leaves_the_others_waiting_ends_the_run_with_its_number(pytester: pytest.Pytester) -> None:
    """The first rank waits in a collective of the model's own, where nobody can reach it."""
    pytester.makepyfile(LOST)
    began = time.monotonic()
    done = torchrun(pytester)
    assert time.monotonic() - began < 60 + 60  # starting takes its time on a busy machine
    assert done.returncode != 0
    assert "rank 1 of 2 raised ValueError: no such sample" in done.stdout, done.stdout + done.stderr


LATE = """
import torch, torch.distributed as dist, torch.nn.functional as F
from torch import nn

def test_imported_inside():
    dist.init_process_group("gloo", init_method="file://{file}", rank=0, world_size=1)
    try:
        from torch.distributed.pipelining import PipelineStage, ScheduleGPipe
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        schedule = ScheduleGPipe(PipelineStage(net, 0, 1, torch.device("cpu")), 2, loss_fn=F.cross_entropy)
        for _ in range({steps}):
            schedule.step(torch.randn(8, 4), target=torch.randint(3, (8,)))
    finally:
        dist.destroy_process_group()
"""


@pytest.mark.parametrize("steps", [1, 3])
def test_a_step_of_a_pipeline_that_nobody_was_told_of_is_not_judged_as_a_model(
    pytester: pytest.Pytester, steps: int
) -> None:
    pytester.makepyfile(LATE.format(file=pytester.path / "store", steps=steps))
    options = ("-p", "no:cacheprovider", "--gradhealth", "--gradhealth-json=health.json")
    result = pytester.runpytest_subprocess(*options)
    result.assert_outcomes(passed=1)
    assert ("imported after the watch had begun" in result.stdout.str()) == (steps == 1)
    assert len(json.loads((pytester.path / "health.json").read_text())["checks"]) == (steps > 1)
