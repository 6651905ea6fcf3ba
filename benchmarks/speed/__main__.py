"""What a check costs: ``python -m benchmarks.speed [--pairs 15] [--only resnet50 mlp] [--parts time growth]``.

Each row is timed against a bare training step (forward and backward) of the same model, in turn, on one thread and in
processor time, so that what else the machine is doing meets both. Memory is the peak of the resident set of a process
of its own, less what that process held before. The tables of ``docs/cost.md`` are written from what is measured.
Other tools are timed too where they are installed: ``pip install torchlens torch-audit torchtest2 pytest-torch``.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import torch

from benchmarks.speed import growth, memory, report, runs, timing
from benchmarks.speed.models import CASES

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
PARTS = ("time", "growth", "memory", "runs")


def surroundings() -> dict[str, str]:
    """What a number depends on."""
    return {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "pytest-gradhealth": version("pytest-gradhealth"),
        "machine": platform.machine(),
    }


def main() -> None:
    """Measure, keep, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15, help="pairs of a bare step and what is timed")
    parser.add_argument("--only", nargs="*", choices=CASES, default=["resnet50", "vit", "gpt", "deep", "mlp"])
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS)
    rows = [*timing.ROWS, *timing.OTHERS]
    parser.add_argument("--rows", nargs="*", choices=rows, default=rows)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    found["surroundings"] = surroundings()
    if "time" in options.parts:
        for name in options.only:
            before = found.setdefault("time", {}).get(name, {}).get("rows", {})
            measured = timing.measured(CASES[name], options.rows, options.pairs)
            found["time"][name] = measured | {"rows": before | measured["rows"]}
            RESULTS.write_text(json.dumps(found, indent=1) + "\n")
            print(name, json.dumps(found["time"][name]), file=sys.stderr, flush=True)
    if "growth" in options.parts:
        found["growth"] = growth.measured()
    if "memory" in options.parts:
        found["memory"] = memory.measured()
    if "runs" in options.parts:
        found["runs"] = runs.measured()
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    report.write(found)


if __name__ == "__main__":
    main()
