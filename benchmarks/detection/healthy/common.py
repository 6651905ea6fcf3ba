"""Batches and small layers which several of the healthy models share."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import ROUNDS, Batch, Case

Maker = Callable[[int, int], Batch]
Step = Callable[[nn.Module, Batch], Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]
Build = Callable[[], nn.Module]

Kwargs = Mapping[str, Any]

SPECIAL = 4  # token ids below this stand for padding, mask, start and end, and are never drawn


def generator(seed: int) -> torch.Generator:
    """A random generator of its own, so that drawing data never disturbs the model's initialisation."""
    return torch.Generator().manual_seed(seed)


@cache
def prototypes(classes: int, *shape: int) -> Tensor:
    """One fixed random pattern per class: what makes the labels a function of the input."""
    return torch.randn(classes, *shape, generator=generator(classes * 1009 + len(shape)))


def patterns(*shape: int, classes: int = 4) -> Maker:
    """Noise of this shape around its class's pattern, with the class."""

    def make(seed: int, size: int) -> tuple[Tensor, Tensor]:
        g = generator(seed)
        labels = torch.randint(classes, (size,), generator=g)
        return 0.7 * prototypes(classes, *shape)[labels] + 0.7 * torch.randn(size, *shape, generator=g), labels

    return make


def pictures(channels: int = 3, side: int = 32, classes: int = 4) -> Maker:
    """Noisy images with a coarse 4x4 pattern per class, which pooling does not wipe out."""

    def make(seed: int, size: int) -> tuple[Tensor, Tensor]:
        g = generator(seed)
        labels = torch.randint(classes, (size,), generator=g)
        coarse = F.interpolate(prototypes(classes, channels, 4, 4)[labels], size=(side, side))
        return 0.7 * coarse + 0.7 * torch.randn(size, channels, side, side, generator=g), labels

    return make


def token_classes(vocab: int = 64, length: int = 16, classes: int = 2) -> Maker:
    """Random tokens, three in four of them from the part of the vocabulary that belongs to the class."""

    def make(seed: int, size: int) -> tuple[Tensor, Tensor]:
        g = generator(seed)
        labels = torch.randint(classes, (size,), generator=g)
        anything = torch.randint(SPECIAL, vocab, (size, length), generator=g)
        share = (vocab - SPECIAL) // classes
        typical = SPECIAL + labels[:, None] * share + torch.randint(share, (size, length), generator=g)
        return torch.where(torch.rand(size, length, generator=g) < 0.75, typical, anything), labels

    return make


def progressions(vocab: int = 64, length: int = 16) -> Maker:
    """Token sequences that count upwards in steps of one to three, so that the next token can be learnt."""

    def make(seed: int, size: int) -> Tensor:
        g = generator(seed)
        start = torch.randint(vocab - SPECIAL, (size, 1), generator=g)
        stride = torch.randint(1, 4, (size, 1), generator=g)
        return SPECIAL + (start + stride * torch.arange(length)) % (vocab - SPECIAL)

    return make


def regression(features: int = 16, targets: int = 1, scale: float = 1.0, offset: float = 0.0) -> Maker:
    """Gaussian inputs and a smooth, slightly noisy function of them."""

    def make(seed: int, size: int) -> tuple[Tensor, Tensor]:
        g = generator(seed)
        x = torch.randn(size, features, generator=g)
        clean = torch.tanh(x @ prototypes(features, targets) / features**0.5)
        return x, offset + scale * (clean + 0.1 * torch.randn(size, targets, generator=g))

    return make


def waves(length: int = 32, channels: int = 1, classes: int = 4) -> Maker:
    """Noisy sines whose frequency is the class."""

    def make(seed: int, size: int) -> tuple[Tensor, Tensor]:
        g = generator(seed)
        labels = torch.randint(classes, (size,), generator=g)
        phase = 6.283 * torch.rand(size, channels, 1, generator=g)
        time = torch.linspace(0, 6.283, length)
        clean = torch.sin((labels[:, None, None] + 1) * time + phase)
        return clean + 0.2 * torch.randn(size, channels, length, generator=g), labels

    return make


def only(maker: Maker, part: int = 0) -> Maker:
    """One part of another maker's batches."""

    def make(seed: int, size: int) -> Batch:
        return maker(seed, size)[part]

    return make


def sequences_first(maker: Maker) -> Maker:
    """Channels last, as recurrent layers and transformers want it."""

    def make(seed: int, size: int) -> tuple[Tensor, Tensor]:
        x, y = maker(seed, size)
        return x.transpose(1, 2).contiguous(), y

    return make


def cast(maker: Maker, dtype: torch.dtype) -> Maker:
    """The same batches with their floating-point tensors in another precision."""

    def make(seed: int, size: int) -> tuple[Tensor, ...]:
        return tuple(t.to(dtype) if t.is_floating_point() else t for t in maker(seed, size))

    return make


def supervised(loss: Loss = F.cross_entropy) -> Step:
    """The usual step: the loss between the output and the target."""

    def step(model: nn.Module, batch: Batch) -> Tensor:
        x, y = batch
        return loss(model(x), y)

    return step


def next_token(model: nn.Module, tokens: Batch) -> Tensor:
    """Cross entropy of every token given those before it."""
    logits = model(tokens[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())


def reconstruct(model: nn.Module, x: Batch) -> Tensor:
    """Mean squared error of an autoencoder."""
    return F.mse_loss(model(x), x)


def own_loss(model: nn.Module, batch: Batch) -> Tensor:
    """For models whose forward pass returns the loss itself."""
    loss: Tensor = model(*batch) if isinstance(batch, tuple) else model(batch)
    return loss


classify: Step = supervised()
fit: Step = supervised(F.mse_loss)


def case(
    name: str, host: str, build: Callable[[], nn.Module], batch: Maker, step: Step = classify, size: int = 8
) -> Case:
    """A healthy case."""
    return Case(name=name, host=host, build=build, batch=batch, step=step, batch_size=size)


def later_cases(round: int, field: str, given: Mapping[str, tuple[Build, Maker, Step]], size: int = 8) -> list[Case]:
    """Cases of a later round: name, then model, batches and step; each is a host of its own."""
    prefix = ROUNDS[round]
    return [
        Case(
            name=f"{prefix}_{field}_{name}", host=f"{prefix}/{name}", build=build, batch=batch, step=step,
            batch_size=size, round=round,
        )
        for name, (build, batch, step) in given.items()
    ]  # fmt: skip


class Residual(nn.Module):
    """The input plus what a branch makes of it."""

    def __init__(self, *branch: nn.Module) -> None:
        super().__init__()
        self.branch = nn.Sequential(*branch)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.branch(x)
        return out


class Apply(nn.Module):
    """A function in the place of a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def mlp(sizes: Sequence[int], activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers with an activation between them and none at the end."""
    layers: list[nn.Module] = []
    for wide, narrow in itertools.pairwise(sizes):
        layers += [nn.Linear(wide, narrow), activation()]
    return nn.Sequential(*layers[:-1])


def pooled_head(channels: int, classes: int = 4) -> list[nn.Module]:
    """Global average pooling and a classifier."""
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]
