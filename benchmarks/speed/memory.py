"""Peak memory of a check and of a bare step, each in a process of its own."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed.models import CASES

__all__ = ["measured"]

NAMES = ("gpt-212m", "resnet50")
WAYS = ("bare step", "check of a factory", "check of an instance", "measured pass")


def measured() -> dict[str, dict[str, float]]:
    """Megabytes above what the process held before: the model's own are in it, as each way makes the model."""
    return {CASES[name].name: {way: _peak(name, way) for way in WAYS} for name in NAMES}


def _peak(name: str, way: str) -> float:
    command = [sys.executable, "-m", "benchmarks.speed.memory", name, way]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _run(name: str, way: str) -> float:
    from pytest_gradhealth import GradHealth, Settings

    torch.set_num_threads(1)
    torch.manual_seed(0)
    case, health = CASES[name], GradHealth(Settings(device="cpu"))
    tiny: Any = torch.nn.Linear(2, 2)
    health.check(tiny, torch.randn(4, 2), lambda output: output.square().sum())  # imports are no part of a check
    before = _resident()
    batch = case.batch()
    if way == "check of a factory":
        health.check(case.model, batch, case.loss)
        return _resident() - before
    model = case.model()
    if way == "bare step":
        case.loss(model(batch[0]), batch[1]).backward()  # type: ignore[no-untyped-call]
    else:
        look = health.measure if way == "measured pass" else health.check
        look(model, batch, case.loss)
    return _resident() - before


def _resident() -> float:
    """The largest resident set so far, in megabytes; Linux counts that of the parent into ``ru_maxrss``."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / (1 << 10)
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


if __name__ == "__main__":
    print(_run(*sys.argv[1:]))
