"""What a scored task is: endless fresh batches, a loss and a score that is 0 at chance; what several tasks share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from benchmarks.detection.vocabulary.batches import generator

Inputs = tuple[Tensor, ...]
TaskBatch = tuple[Inputs, Any]
Draw = Callable[[Generator, int], TaskBatch]


@dataclass(frozen=True)
class Task:
    """``draw`` makes a batch; ``gain`` is 0 for the best constant answer and 1 for a perfect one."""

    draw: Draw
    loss: Callable[[Any, Any], Tensor]
    gain: Callable[[Any, Any], float]

    def batch(self, seed: int, size: int) -> TaskBatch:
        return self.draw(generator(seed), size)


def accuracy_gain(classes: int) -> Callable[[Tensor, Tensor], float]:
    def gain(out: Tensor, target: Tensor) -> float:
        hits = (out.argmax(-1) == target).float().mean().item()
        return (hits - 1 / classes) / (1 - 1 / classes)

    return gain


def explained(out: Tensor, target: Tensor) -> float:
    spread = (target - target.mean(0)).square().mean()
    return float(1 - (out.float() - target).square().mean() / spread)


def median_gain(out: Tensor, target: Tensor) -> float:
    """Accuracy over chance of a score that may be a logit or a probability: its own median splits evenly."""
    return 2 * ((out > out.median()).float() == target).float().mean().item() - 1


def pixel_gain(out: Tensor, target: Tensor) -> float:
    """Accuracy over chance of a mask; chance is to guess as many pixels as are in it."""
    share = target.mean()
    guess = (out > out.flatten().quantile(1 - share)).float()
    chance = share * share + (1 - share) * (1 - share)
    return float(((guess == target).float().mean() - chance) / (1 - chance))


def classify(draw: Draw, classes: int) -> Task:
    return Task(draw, F.cross_entropy, accuracy_gain(classes))


def regress(draw: Draw) -> Task:
    return Task(draw, F.mse_loss, explained)


def randint(g: Generator, high: int, *shape: int) -> Tensor:
    return torch.randint(high, shape, generator=g)


def angles(g: Generator, size: int, width: int) -> tuple[Tensor, Tensor]:
    """Points around the origin with noise columns appended, and their angle in turns."""
    turn = torch.rand(size, generator=g)
    radius = 1 + torch.rand(size, generator=g)
    noise = torch.randn(size, width - 2, generator=g) * 0.5
    plane = torch.stack([(2 * math.pi * turn).cos(), (2 * math.pi * turn).sin()], 1) * radius[:, None]
    return torch.cat([plane, noise], 1), turn


def stripes(g: Generator, kind: Tensor, side: int, noise: float) -> Tensor:
    """Stripes in one of four directions at a random phase: the mean image of every class is the same."""
    ways = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, -1.0]])[kind]
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    phase = torch.rand(len(kind), 1, 1, generator=g)
    wave = (ways[:, 0, None, None] * rows + ways[:, 1, None, None] * columns) / 4 + phase
    image = 1.4 * (2 * math.pi * wave).sin()
    return (image + noise * torch.randn(image.shape, generator=g))[:, None]


def sectors(g: Generator, size: int) -> TaskBatch:
    """In which quarter around the origin a point lies."""
    points, turn = angles(g, size, 6)
    return (points,), (turn * 4).long().clamp(max=3)
