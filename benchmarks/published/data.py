"""Small data of the kind and scale that the programs train on. All are (inputs, targets)."""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn.functional import one_hot

Data = tuple[Tensor, Tensor]
SAMPLES = 512


def _generator() -> Generator:
    return torch.Generator().manual_seed(7)


def standardised(x: Tensor) -> Tensor:
    return (x - x.mean(0)) / x.std(0).clamp_min(1e-8)


def circles() -> Data:
    """Whether a point lies in the inner of two rings."""
    g = _generator()
    turn, inner = 6.2832 * torch.rand(SAMPLES, generator=g), torch.arange(SAMPLES) % 2
    radius = torch.where(inner == 1, 0.5, 1.0) + 0.08 * torch.randn(SAMPLES, generator=g)
    return torch.stack([radius * turn.cos(), radius * turn.sin()], 1), inner[:, None].float()


def blobs() -> Data:
    """Which of three clouds a point belongs to, one-hot."""
    g, kind = _generator(), torch.arange(SAMPLES) % 3
    centres = torch.tensor([[-3.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
    return centres[kind] + torch.randn(SAMPLES, 2, generator=g), one_hot(kind, 3).float()


def classes(data: Data) -> Data:
    """Numbers of classes in place of one-hot rows."""
    return data[0], data[1].argmax(1)


def digits(brightest: float = 1.0, flat: bool = True) -> Data:
    """Ten pictures of 16 x 16 strokes, shifted and noisy, from 0 to ``brightest``; one-hot."""
    g, kind = _generator(), torch.arange(SAMPLES) % 10
    strokes = (torch.rand(10, 4, 4, generator=g) > 0.6).float().repeat_interleave(4, 1).repeat_interleave(4, 2)
    x = (strokes[kind] * (0.5 + 0.5 * torch.rand(SAMPLES, 16, 16, generator=g))).clamp(0, 1)
    x = (x * brightest).round() if brightest > 1 else x
    return (x.flatten(1) if flat else x[:, None]), one_hot(kind, 10).float()


def newswires() -> Data:
    """Bags of 400 words about eight topics, as zeros and ones; one-hot."""
    g, kind = _generator(), torch.arange(SAMPLES) % 8
    likely = 0.02 + 0.15 * (torch.rand(8, 400, generator=g) > 0.85)
    return (torch.rand(SAMPLES, 400, generator=g) < likely[kind]).float(), one_hot(kind, 8).float()


def xor() -> Data:
    x = (torch.rand(SAMPLES, 2, generator=_generator()) > 0.5).float()
    return x, (x[:, :1] != x[:, 1:]).float()


def line(scale: float = 1.0) -> Data:
    """y = 2 x - 1, half of it below zero."""
    x = torch.linspace(-3, 4, SAMPLES)[:, None] * scale
    return x, 2 * x - 1


def fahrenheit(scaled: bool) -> Data:
    celsius = 1000 * torch.rand(SAMPLES, 1, generator=_generator()) - 500
    made = celsius, 1.8 * celsius + 32
    return (standardised(made[0]), standardised(made[1])) if scaled else made


def cubes(scaled: bool) -> Data:
    """x to the third of 1 to 4,000."""
    x = torch.linspace(1, 4000, SAMPLES)[:, None]
    return (standardised(x), standardised(x**3)) if scaled else (x, x**3)


def prices(scaled_targets: bool = True) -> Data:
    """What a house costs, by eight standardised features."""
    x = torch.randn(SAMPLES, 8, generator=_generator())
    y = 300_000 + 40_000 * (x[:, :1] + x[:, 1:2] * x[:, 2:3] - x[:, 3:4].abs())
    return x, standardised(y) if scaled_targets else y


def incomes(scaled: bool) -> Data:
    """Four features in their own units, from years to a yearly income, and whether somebody pays back."""
    z = torch.randn(SAMPLES, 4, generator=_generator())
    x = z * torch.tensor([10.0, 1.0, 20_000.0, 2.0]) + torch.tensor([40.0, 2.0, 50_000.0, 5.0])
    return (standardised(x) if scaled else x), (z[:, :1] * z[:, 1:2] > 0).float()


def without_last(data: Data) -> Data:
    """Targets of shape (n,)."""
    return data[0], data[1][:, 0]


def numbered(data: Data) -> Data:
    """Numbers of classes as a column of floats."""
    return data[0], data[1].argmax(1, keepdim=True).float()
