"""Kill rates of the default limits on healthy architectures, by fault.

    python -m benchmarks.experiment.selftest [--hosts N] [--seconds S]

The architectures are hosts of the detection benchmark, every n-th of them by name. A host that is not healthy by the
default limits is left out and said.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from benchmarks.detection.hosts import HOSTS, case
from benchmarks.detection.run import BATCH_SEEDS
from benchmarks.detection.spread import prepare
from pytest_gradhealth import MeasurementError, selftest

RESULTS = Path(__file__).with_name("selftest.json")


def examine(name: str, seconds: float) -> dict[str, Any] | None:
    """Outcomes by fault; None: it is not healthy."""
    one = case(HOSTS[name])
    batches = [one.batch(seed, one.batch_size) for seed in BATCH_SEEDS]
    begun = time.perf_counter()
    try:
        result = selftest(one.build, batches, step=one.step, seconds=seconds, device="cpu")
    except MeasurementError as error:
        print(f"{name}: {error}", flush=True)
        return None
    return {
        "kill_rate": round(result.kill_rate, 3),
        "mutants": [[mutant.fault, mutant.layer, mutant.outcome] for mutant in result.mutants],
        "hinted": sum("finds it" in mutant.hint for mutant in result.survivors),
        "seconds": round(time.perf_counter() - begun, 1),
    }


def table(found: dict[str, Any]) -> str:
    """Faults by outcome as Markdown."""
    count: dict[str, Counter[str]] = {}
    for host in found.values():
        for fault, _, outcome in host["mutants"]:
            count.setdefault(fault, Counter())[outcome] += 1
    rows = ["| fault | found | survived | equivalent | kill rate |", "|---|---|---|---|---|"]
    total: Counter[str] = Counter()
    for fault, outcomes in (*count.items(), ("all", total)):
        judged = outcomes["found"] + outcomes["survived"]
        rate = f"{outcomes['found'] / judged:.0%}" if judged else ""
        rows.append(f"| {fault} | {outcomes['found']} | {outcomes['survived']} | {outcomes['equivalent']} | {rate} |")
        if fault != "all":
            total.update(outcomes)
    return "\n".join(rows)


def main() -> None:
    """Examine hosts and write what was found."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--hosts", type=int, default=20)
    options.add_argument("--seconds", type=float, default=40.0)
    given = options.parse_args()
    prepare()
    names = sorted(HOSTS)
    found: dict[str, Any] = {}
    for name in names[:: max(len(names) // given.hosts, 1)][: given.hosts]:
        torch.manual_seed(0)
        result = examine(name, given.seconds)
        if result is not None:
            found[name] = result
            print(name, result["kill_rate"], result["seconds"], flush=True)
            RESULTS.write_text(json.dumps(found, indent=None) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
