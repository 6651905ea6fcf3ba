"""What a host is: a network with its task, and where faults go in it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.detection.cases import Build, Case
from benchmarks.detection.vocabulary.tasks import Task


@dataclass(frozen=True, kw_only=True)
class Host:
    """``chain`` names the ``nn.Sequential`` that carries the signal; ``sites`` places early, midway and late in it;
    ``trunk`` globs everything but the read-out; ``round`` and ``source`` are those of the cases made of it."""

    name: str
    build: Build
    task: Task
    chain: str = "body"
    sites: tuple[str, ...] = ()
    trunk: tuple[str, ...] = ("stem*", "body*")
    steps: int = 160
    batch_size: int = 8
    train_batch: int = 48
    round: int = 1
    source: str = ""

    def step(self, model: nn.Module, batch: Any) -> Tensor:
        inputs, target = batch
        return self.task.loss(model(*inputs), target)

    def places(self) -> tuple[str, ...]:
        """Early, midway and late in the chain, unless ``sites`` says otherwise."""
        if self.sites:
            return self.sites
        last = blocks(self) - 1
        return tuple(f"{self.chain}.{i}" for i in sorted({0, last // 2, last}))


@cache
def blocks(host: Host) -> int:
    """How many blocks the chain has."""
    with torch.random.fork_rng():
        return len(host.build().get_submodule(host.chain))  # type: ignore[arg-type]


def case(host: Host) -> Case:
    """The host itself, with nothing wrong."""
    return Case(
        name=f"host/{host.name}",
        host=host.name,
        build=host.build,
        batch=host.task.batch,
        step=host.step,
        batch_size=host.batch_size,
        round=host.round,
        source=host.source,
    )
