"""What one case of the detection benchmark is: a model, its data, its loss and, where it is sick, what is wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

Batch = Any


@dataclass(frozen=True, kw_only=True)
class Case:
    """One model of the benchmark.

    ``build`` makes the model at its own initialisation from the current RNG state; ``batch(seed, size)`` draws one
    batch of the task it is measured and trained on; ``step(model, batch)`` returns the scalar loss.
    ``culprit`` holds the module names (globs) of which one should be named first; empty for a healthy case.
    """

    name: str
    host: str
    build: Callable[[], nn.Module]
    batch: Callable[[int, int], Batch]
    step: Callable[[nn.Module, Batch], Tensor]
    operator: str = ""
    culprit: tuple[str, ...] = ()
    batch_size: int = 8

    @property
    def faulty(self) -> bool:
        """Whether a fault was put into the host; whether it matters is for the labels to say."""
        return bool(self.operator)

    @property
    def held(self) -> bool:
        """Whether the host belongs to the part on which no threshold was ever set (decided by its name alone)."""
        return hashlib.sha256(self.host.encode()).digest()[0] % 2 == 1
