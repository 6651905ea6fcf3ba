"""Blocks that several hosts share, with the places where faults go."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.detection.cases import Build

Init = Callable[[Tensor], object]


def he(weight: Tensor) -> object:
    return nn.init.kaiming_normal_(weight, nonlinearity="relu")


def initialise(model: nn.Module, init: Init | None) -> None:
    """Weights by ``init``, biases zero; None leaves PyTorch's defaults."""
    for module in model.modules() if init else ():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.Conv1d):
            init(module.weight)  # type: ignore[misc]
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class Layer(nn.Module):
    def __init__(self, inputs: int, outputs: int, act: Build) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.act = act()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.linear(x))


class Stack(nn.Module):
    """stem, body, head: what most hosts are; the body is an ``nn.Sequential`` of blocks of equal width."""

    def __init__(self, stem: nn.Module, body: list[nn.Module], head: nn.Module) -> None:
        super().__init__()
        self.stem, self.body, self.head = stem, nn.Sequential(*body), head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.stem(x)))


def mlp(depth: int, act: Build, init: Init | None, *, inputs: int = 4, width: int = 32, outputs: int = 3) -> nn.Module:
    body: list[nn.Module] = [Layer(width, width, act) for _ in range(depth - 2)]
    model = Stack(Layer(inputs, width, act), body, nn.Linear(width, outputs))
    initialise(model, init)
    return model


class FunctionalLayer(nn.Module):
    """Its activation is a function called inside forward, named by a string."""

    def __init__(self, inputs: int, outputs: int, function: str = "relu") -> None:
        super().__init__()
        self.linear, self.function = nn.Linear(inputs, outputs), function

    def forward(self, x: Tensor) -> Tensor:
        return getattr(torch, self.function)(self.linear(x))


class Attention(nn.Module):
    def __init__(self, width: int, heads: int = 2) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.heads, self.scale, self.mask = heads, 1 / math.sqrt(width // heads), "none"

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(-2, -3)  # type: ignore[no-untyped-call]

    def hidden(self, rows: int, columns: int) -> Tensor:
        """True where attention is forbidden."""
        ones = torch.ones(rows, columns, dtype=torch.bool)
        return {"causal": ones.triu(1), "all": ones, "self": ~torch.eye(rows, columns, dtype=torch.bool)}[self.mask]

    def forward(self, x: Tensor, memory: Tensor | None = None) -> Tensor:
        source = x if memory is None else memory
        query, key, value = self.split(self.query(x)), self.split(self.key(source)), self.split(self.value(source))
        scores = query @ key.transpose(-1, -2) * self.scale
        if self.mask != "none":
            scores = scores.masked_fill(self.hidden(*scores.shape[-2:]), -math.inf)
        return self.out((scores.softmax(-1) @ value).transpose(-2, -3).flatten(-2))


class FeedForward(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class PreNorm(nn.Module):
    def __init__(self, width: int, mask: str = "none") -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width), Attention(width)
        self.norm2, self.mlp = nn.LayerNorm(width), FeedForward(width, 2 * width)
        self.attn.mask = mask
        self.residual = True

    def forward(self, x: Tensor) -> Tensor:
        if not self.residual:
            return self.mlp(self.norm2(self.attn(self.norm1(x))))
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class FirstToken(nn.Module):
    def __init__(self, width: int, classes: int, norm: bool = True) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width) if norm else nn.Identity()
        self.linear = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.norm(x[:, 0]))


def conv(inputs: int, outputs: int, stride: int = 1, groups: int = 1, size: int = 3, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=bias)


class PlainBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, norm: bool, stride: int = 1) -> None:
        super().__init__()
        self.conv = conv(inputs, outputs, stride, bias=not norm)
        self.norm = nn.BatchNorm2d(outputs) if norm else nn.Identity()
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x)))
