"""How long ``python -m pytest_gradhealth compare`` takes on two reports of 1,000 checks of 100 layers each.

Run it with ``python benchmarks/reports/compare.py``: it makes the reports in a temporary folder, in which every number
of every layer differs a little, and prints the time of each of five runs. The aim is less than 2 s. Where other work
runs beside it, the time on the CPU is what can be compared.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pytest_gradhealth.record import Check, GradientRecord, LayerGradient, Signal
from pytest_gradhealth.report.store import Report, StoredCheck, write_report

CHECKS, LAYERS, SIGNALS = 1000, 100, 150


def record(chance: random.Random) -> GradientRecord:
    """A record as large as that of a model with 100 layers and 150 modules."""
    names = [f"encoder.layers.{i}.self_attn.out_proj" for i in range(SIGNALS)]
    numbers = ("norm", "lowest", "highest", "weight_norm", "sensitivity", "reach", "signal", "gain")
    facts = {"kind": "Linear", "parameters": 262656, "trainable": 262656, "shape": (512, 512), "units": 512}
    layers = (
        LayerGradient(name=name, order=i, **facts, **{number: chance.uniform(0.8, 1.0) for number in numbers})  # type: ignore[arg-type]
        for i, name in enumerate(names[:LAYERS])
    )
    values = ("gradient", "rms", "peak", "samples", "low", "high")
    signals = (
        Signal(name=name, kind="Linear", order=i, input_attached=True, **{value: chance.random() for value in values})  # type: ignore[arg-type]
        for i, name in enumerate(names)
    )
    return GradientRecord(model="Net", torch="2.13.0", seed=0, loss=2.3, layers=tuple(layers), signals=tuple(signals))


def report(seed: int) -> Report:
    """1,000 checks of as many tests."""
    chance = random.Random(seed)
    tests = (f"tests/test_models.py::test_{i}" for i in range(CHECKS))
    checks = (
        StoredCheck(test=test, file="tests/test_models.py", check=Check(name="Net", record=record(chance)))
        for test in tests
    )
    return Report(checks=tuple(checks))


def main() -> None:
    """Make both reports and time the comparison."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, name) for name in ("base.json", "head.json")]
        for seed, path in enumerate(paths):
            write_report(path, report(seed))
            print(f"{path.name}: {path.stat().st_size / 1e6:.0f} MB")
        for _ in range(5):
            start, before = time.perf_counter(), os.times()
            subprocess.run([sys.executable, "-m", "pytest_gradhealth", "compare", *map(str, paths)], check=True)
            wall, after = time.perf_counter() - start, os.times()
            cpu = sum(after[2:4]) - sum(before[2:4])  # of children, user and system
            print(f"{wall:.2f} s, {cpu:.2f} s of it on the CPU")


if __name__ == "__main__":
    main()
