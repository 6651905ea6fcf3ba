"""What one case of the detection benchmark is: a model, its data, its loss and, where it is sick, what is wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

Batch = Any
Build = Callable[[], nn.Module]
Maker = Callable[[int, int], Batch]
Step = Callable[[nn.Module, Batch], Tensor]
Loss = Callable[[Any, Any], Tensor]
Part = Literal["wild", "fresh", "held", "tuning"]
PARTS: tuple[Part, ...] = ("wild", "fresh", "held", "tuning")
ROUNDS = {1: "first", 2: "second", 3: "third", 4: "fourth"}
LATEST = max(ROUNDS)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One model of the benchmark.

    ``build`` makes the model at its own initialisation from the current RNG state; ``batch(seed, size)`` draws one
    batch of the task it is measured and trained on; ``step(model, batch)`` returns the scalar loss.
    ``culprit`` holds the module names (globs) of which one should be named first; empty for a healthy case.
    """

    name: str
    host: str
    build: Build
    batch: Maker
    step: Step
    operator: str = ""
    culprit: tuple[str, ...] = ()
    batch_size: int = 8
    round: int = 1
    """Which round of writing it is of; those after the first were written by somebody who had not seen the rules."""
    source: str = ""
    """Address of the public bug report that the case retells; empty where it was made up for the benchmark."""

    @property
    def faulty(self) -> bool:
        """Whether a fault was put into the host; whether it matters is for the labels to say."""
        return bool(self.operator)

    @property
    def part(self) -> Part:
        """What has a source is ``wild``; the latest round is ``fresh``; the misses of earlier ones have been worked on.

        No threshold was ever set on what is ``held``: of the first round, by the hash of the host's name.
        """
        if self.source:
            return "wild"
        if self.round == LATEST:
            return "fresh"
        held = self.round == 1 and hashlib.sha256(self.host.encode()).digest()[0] % 2 == 1
        return "held" if held else "tuning"
