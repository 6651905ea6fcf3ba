"""What was measured on which device, in which precision, how spread: ``python benchmarks/hardware.py --write``.

Each row measures one network, and compares the gradient norm of every layer with that of the whole network in
float32 on the CPU. Without ``--write`` the table is printed; with it, it goes to docs/hardware.md.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from pytest_gradhealth import GradHealth
from pytest_gradhealth.errors import MeasurementError
from pytest_gradhealth.measure.sharding.launch import run_ranks
from pytest_gradhealth.record import Check, GradientRecord
from pytest_gradhealth.settings import DTYPES, Settings

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "sharding"))
import sharded_networks as networks  # type: ignore[import-not-found]  # noqa: E402

PAGE = ROOT / "docs" / "hardware.md"
BEGIN, END = "<!-- hardware:begin -->\n", "<!-- hardware:end -->\n"
DEVICES = ("cpu", "cuda", "mps", "xpu")
PRECISIONS = DTYPES
SPREAD = {
    "DistributedDataParallel, 2 ranks": ("ddp", 2),
    "fully_shard, 2 ranks": ("fsdp", 2),
    "fully_shard, 4 ranks": ("fsdp", 4),
    "fully_shard, activation checkpointing, 2 ranks": ("checkpointed", 2),
    "fully_shard, parameters on the CPU, 2 ranks": ("offloaded", 2),
    "fully_shard, bfloat16 policy, 2 ranks": ("bfloat16", 2),
    "hybrid (replicate x shard), 4 ranks": ("hybrid", 4),
    "tensor parallel, 2 ranks": ("tensor parallel", 2),
    "fully_shard x tensor parallel, 4 ranks": ("two dimensions", 4),
}
STAGES = 2
"""Ranks of the pipelines."""
PIPELINES = {f"pipeline ({kind}), {STAGES} ranks": kind for kind in networks.SCHEDULES}

Row = tuple[str, str, str, str]


def rows() -> Iterator[Row]:
    """Device, precision, parallelism, and the largest difference or why there is none."""
    whole, stages = measured("cpu", "float32"), measured("cpu", "float32", blocks=4)
    for device in DEVICES:
        for precision in PRECISIONS:
            try:
                yield device, precision, "one process", difference(measured(device, precision), whole)
            except (MeasurementError, RuntimeError) as error:
                yield device, precision, "one process", f"not available here: {str(error).splitlines()[0]}"
                break
    found = {count: spread(count) for count in sorted({count for _, count in SPREAD.values()})}
    for name, (way, count) in SPREAD.items():
        record = GradientRecord.from_dict(found[count][way])
        yield "cpu (gloo)", record.precision, name, difference(record, whole)
    for name, kind in PIPELINES.items():
        record = GradientRecord.from_dict(found[STAGES][kind])
        yield "cpu (gloo)", record.precision, name, difference(record, stages)
    if not torch.cuda.is_available():
        yield "cuda (nccl)", "any", "any", "not available here: no CUDA device"
    yield "any", "any", "FullyShardedDataParallel (FSDP1)", "refused: it flattens parameters"


def measured(device: str, precision: str, blocks: int = 2) -> GradientRecord:
    """The record of the whole network in one process."""
    health = GradHealth(Settings(device=device, dtypes=(precision,)))
    return health.measure(networks.Network(blocks=blocks), networks.batch(), F.cross_entropy)


def spread(count: int) -> dict[str, Any]:
    """The records of the network in every way that takes so many ranks."""
    ways = [way for way, ranks in SPREAD.values() if ranks == count]
    kinds = list(networks.SCHEDULES) if count == STAGES else []
    first = run_ranks(on_ranks, (ways, kinds), count=count)[0]
    if first.error:
        raise SystemExit(f"rank {first.rank} of {count} {first.error}")
    return dict(first.value)


def on_ranks(ways: list[str], kinds: list[str]) -> dict[str, Any]:
    """What each rank does."""
    return {way: _on_rank(way) for way in ways} | {kind: _in_stages(kind) for kind in kinds}


def _on_rank(way: str) -> dict[str, Any]:
    model, mine = networks.WAYS[way](networks.Network)
    return GradHealth().measure(model, mine, F.cross_entropy, device="cpu").to_dict()


def _in_stages(kind: str) -> dict[str, Any]:
    whole = networks.Network(blocks=4)
    pipeline, checks = networks.Pipeline(lambda index, parts: networks.Part(whole, index, parts), kind), list[Check]()
    with GradHealth(sink=checks.append).watch():
        pipeline.step()
    return checks[0].record.to_dict()


def difference(record: GradientRecord, whole: GradientRecord) -> str:
    """By how much the layer that differs most does, as text."""
    found = max(abs((layer.norm or 0.0) / (whole[layer.name].norm or 1.0) - 1) for layer in record)
    return f"measured here: largest difference {found:.1e}"


def main() -> None:
    """Print the table, or write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the table to docs/hardware.md")
    lines = [
        "| device | precision | parallelism | gradient norms, beside float32 in one process |",
        "|---|---|---|---|",
    ]
    lines += [f"| {' | '.join(row)} |" for row in rows()]
    about = f"torch {torch.__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    table = "\n".join([f"Measured with {about}.", "", *lines, ""])
    if not parser.parse_args().write:
        print(table)
        return
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(before + BEGIN + table + END + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    main()
