"""Do something to many cases: in several processes, with every result on disk as soon as it is there."""

from __future__ import annotations

import json
import os
import platform
import time
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from benchmarks.detection.cases import Case
from benchmarks.detection.faults import faulty_cases
from benchmarks.detection.healthy import healthy_cases
from benchmarks.detection.hosts import host_cases

RESULTS = Path(__file__).parent / "results"
EVERY = 15.0
"""Seconds between two writes."""

Json = dict[str, Any]


@cache
def all_cases() -> dict[str, Case]:
    """Every case by its name: healthy architectures, the hosts as they are, and the hosts with a fault."""
    found = (*healthy_cases(), *host_cases(), *faulty_cases())
    return {case.name: case for case in found}


def read(path: Path) -> Json:
    """What is in a result file; nothing where there is none."""
    found: Json = json.loads(path.read_text()) if path.exists() else {}
    return found


def write(path: Path, results: Json) -> None:
    """One line per case, in one step: a reader never sees half a file."""
    lines = [f"{json.dumps(name)}: {json.dumps(results[name], sort_keys=True)}" for name in sorted(results)]
    path.parent.mkdir(exist_ok=True, parents=True)
    fresh = path.with_suffix(".tmp")
    fresh.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    fresh.replace(path)


def spread(function: Callable[[Case], Any], names: Iterable[str], path: Path, *, jobs: int, resume: bool) -> Json:
    """``function`` of every case into the file; with ``resume``, of those only that are not in it yet."""
    results = read(path)
    todo = [name for name in names if not (resume and name in results)]
    written = time.monotonic()
    with ProcessPoolExecutor(jobs, initializer=prepare) as pool:
        for done in as_completed([pool.submit(partial(_of, function), name) for name in todo]):
            name, results[name] = done.result()
            if time.monotonic() - written > EVERY:
                write(path, results)
                written = time.monotonic()
    write(path, results)
    return results


def prepare() -> None:
    """One thread a process, so that what is measured does not depend on how many run."""
    torch.set_num_threads(1)
    torch.backends.mha.set_fastpath_enabled(False)  # the fused path would step around a patched forward
    warnings.simplefilter("ignore")


def surroundings() -> Json:
    """With what the numbers were made."""
    packages = {name: _version(name) for name in ("torch", "transformers", "numpy")}
    return {"cores": os.cpu_count(), "versions": {"Python": platform.python_version(), **packages}}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _of(function: Callable[[Case], Any], name: str) -> tuple[str, Any]:
    return name, function(all_cases()[name])
