"""Sequences whose late positions drown in what came before them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from networks import CLASSES, WIDTH, Residual, examined, kinds
from torch import Tensor, nn

LENGTH = 24


class LookingBack(nn.Module):
    """Self-attention in which a position sees itself and all before it."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.out(F.scaled_dot_product_attention(*self.into(x).chunk(3, -1), is_causal=True))
        return output


class Reader(nn.Module):
    """A causal transformer; ``pooled``: one answer a sequence, from the last position."""

    def __init__(self, depth: int = 8, skip: bool = True, pooled: bool = False) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        for _ in range(depth):
            attend = [nn.LayerNorm(WIDTH), LookingBack()]
            think = [nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH)]
            blocks += [Residual(*attend), Residual(*think)] if skip else [*attend, *think]
        self.embed, self.places = nn.Embedding(11, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.body, self.pooled = nn.Sequential(*blocks, nn.LayerNorm(WIDTH)), pooled
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, tokens: Tensor) -> Tensor:
        states = self.body(self.embed(tokens) + self.places.weight)
        output: Tensor = self.head(states[:, -1] if self.pooled else states)
        return output


def step(model: nn.Module, tokens: Tensor) -> Tensor:
    scores = model(tokens)
    target = tokens % CLASSES
    return F.cross_entropy(scores.flatten(0, -2), target[:, -1] if scores.ndim == 2 else target.flatten())


def step_on_the_beginning(model: nn.Module, tokens: Tensor) -> Tensor:
    quarter = LENGTH // 4
    return F.cross_entropy(model(tokens)[:, :quarter].flatten(0, 1), (tokens % CLASSES)[:, :quarter].flatten())


def step_that_hardly_weighs_the_end(model: nn.Module, tokens: Tensor) -> Tensor:
    entropies = F.cross_entropy(model(tokens).transpose(1, 2), tokens % CLASSES, reduction="none")
    weights = torch.ones(LENGTH)
    weights[-(LENGTH // 4) :] = 1e-6
    return (weights * entropies).mean()


BATCHES = [torch.randint(11, (8, LENGTH), generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)]


@pytest.mark.parametrize("how", [{}, {"pooled": True}], ids=str)
def test_causal_attention_without_skip_connections(how: dict[str, Any]) -> None:
    (finding,) = examined(lambda: Reader(skip=False, **how), iter(BATCHES), step=step).findings
    assert finding.fault == "vanishing"
    assert finding.limit_name == "min_position_reach"
    assert all(name.endswith(".out") for name in finding.layers[:6]), finding.layers
    assert "causal attention" in finding.cause
    assert "skip connection" in finding.remedy
    assert not kinds(examined(lambda: Reader(**how), iter(BATCHES), step=step))


def test_a_shallow_one_still_learns() -> None:
    assert not kinds(examined(lambda: Reader(2, skip=False), iter(BATCHES), step=step))


@pytest.mark.parametrize("step", [step_on_the_beginning, step_that_hardly_weighs_the_end])
def test_a_loss_that_looks_at_the_beginning_only(step: Callable[[nn.Module, Tensor], Tensor]) -> None:
    assert not kinds(examined(Reader, iter(BATCHES), step=step))
