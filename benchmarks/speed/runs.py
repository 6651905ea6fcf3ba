"""What the plugin costs a run of pytest: at its start, in a suite of 1,000 marked tests, in a large report."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed.models import residual_mlp
from pytest_gradhealth import Check, GradHealth, Settings
from pytest_gradhealth.report.html import render_html
from pytest_gradhealth.report.store import Report, StoredCheck, read_report, write_report

__all__ = ["measured"]

TESTS = 1000
CHECKS, LAYERS = 1000, 200
ONE = "def test(): pass\n"
SUITE = """
import pytest, torch, torch.nn.functional as F
torch.set_num_threads(1)
def parts():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
    return net, (torch.randn(16, 8), torch.randint(2, (16,)))
"""
BARE = """
@pytest.mark.parametrize("number", range({tests}))
def test(number):
    net, (x, y) = parts()
    F.cross_entropy(net(x), y).backward()
"""
MARKED = """
@pytest.mark.gradhealth
@pytest.mark.parametrize("number", range({tests}))
def test(number, gradhealth):
    net, batch = parts()
    gradhealth.check(net, batch, loss=F.cross_entropy)
"""


def measured(rounds: int = 7) -> dict[str, dict[str, float]]:
    """Seconds of processor time of each, without the plugin and with it; of a report, of writing and of reading it."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        return {
            "start of a run": _pair(here, rounds, ONE, ONE),
            "the same, without byte code": _pair(here, rounds, ONE, ONE, fresh=True),
            f"{TESTS:,} tests, each with a tiny model": _pair(
                here, 3, SUITE + BARE.format(tests=TESTS), SUITE + MARKED.format(tests=TESTS)
            ),
        } | _reports(here)


def _pair(here: Path, rounds: int, bare: str, ours: str, *, fresh: bool = False) -> dict[str, float]:
    """Medians of runs that take turns: without the plugin, and with it."""
    found: dict[str, list[float]] = {"without": [], "with": []}
    for _ in range(rounds + 1):
        found["without"].append(_run(here, bare, "-p", "no:gradhealth", fresh=fresh))
        found["with"].append(_run(here, ours, fresh=fresh))
    return {way: statistics.median(seconds[1:]) for way, seconds in found.items()}  # the first writes byte code


def _run(here: Path, text: str, *options: str, fresh: bool) -> float:
    (here / "test_it.py").write_text(text)
    with tempfile.TemporaryDirectory() as cache:
        interpreter = [sys.executable, *(["-B", "-X", f"pycache_prefix={cache}"] if fresh else [])]
        command = [*interpreter, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, "test_it.py"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, cwd=here, check=True, capture_output=True, env=_environment())
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _environment() -> dict[str, str]:
    root = str(Path(__file__).parents[2])
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}


def _reports(here: Path) -> dict[str, dict[str, float]]:
    """A report of many checks: seconds to write and to read it, and megabytes."""
    kept: list[Check] = []
    torch.manual_seed(0)
    case = residual_mlp(LAYERS - 1)
    GradHealth(Settings(device="cpu"), sink=kept.append).check(case.model(), case.batch(), case.loss)
    stored = tuple(StoredCheck(test=f"test_it.py::test[{i}]", file="test_it.py", check=kept[0]) for i in range(CHECKS))
    report, path, page = Report(checks=stored), here / "report.json", here / "report.html"
    found = {"write": _seconds(lambda: write_report(path, report)), "read": _seconds(lambda: read_report(path))}
    drawn = _seconds(lambda: page.write_text(render_html(report)))
    name = f"report of {CHECKS:,} checks of {LAYERS} layers"
    return {
        f"{name}, JSON": {**found, "megabytes": path.stat().st_size / 1e6},
        f"{name}, HTML": {"write": drawn, "megabytes": page.stat().st_size / 1e6},
    }


def _seconds(action: Any) -> float:
    began = time.process_time()
    action()
    return time.process_time() - began
