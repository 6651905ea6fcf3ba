"""Families of models of any depth, for forecasts: each is a function of the depth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH, CLASSES, SAMPLES = 32, 10, 16
Make = Callable[[], nn.Module]
Init = Callable[[Tensor], Any]


@dataclass(frozen=True)
class Family:
    """``make(depth=...)`` builds a model; ``batches`` are what it is measured with; ``target`` is the large depth."""

    name: str
    make: Callable[..., nn.Module]
    batches: Callable[[], list[Any]]
    target: int = 48
    ladder: tuple[int, ...] = (4, 8, 12)


def vectors() -> list[Any]:
    random = torch.Generator().manual_seed(0)
    return [(torch.randn(SAMPLES, WIDTH, generator=random), _labels(random)) for _ in range(2)]


def images() -> list[Any]:
    random = torch.Generator().manual_seed(0)
    return [(torch.randn(SAMPLES, 3, 8, 8, generator=random), _labels(random)) for _ in range(2)]


def words() -> list[Any]:
    random = torch.Generator().manual_seed(0)
    return [(torch.randint(0, 50, (8, 12), generator=random), torch.randint(0, CLASSES, (8,), generator=random))]


def _labels(random: torch.Generator) -> Tensor:
    return torch.randint(0, CLASSES, (SAMPLES,), generator=random)


class Layer(nn.Module):
    """A layer, a normalisation and an activation, with or without a way past them."""

    def __init__(self, layer: nn.Module, act: Make, norm: nn.Module | None, skip: bool, init: Init | None) -> None:
        super().__init__()
        self.layer, self.norm, self.act, self.skip = layer, norm or nn.Identity(), act(), skip
        if init is not None:
            init(layer.weight)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        changed = self.act(self.norm(self.layer(x)))
        return x + changed if self.skip else changed


def mlp(act: Make, init: Init | None = None, norm: Callable[[int], nn.Module] | None = None, skip: bool = False) -> Any:
    def make(depth: int) -> nn.Module:
        layers = [Layer(nn.Linear(WIDTH, WIDTH), act, norm(WIDTH) if norm else None, skip, init) for _ in range(depth)]
        return nn.Sequential(*layers, nn.Linear(WIDTH, CLASSES))

    return make


def cnn(act: Make, init: Init | None = None, norm: Callable[[int], nn.Module] | None = None, skip: bool = False) -> Any:
    def make(depth: int) -> nn.Module:
        layers = [
            Layer(nn.Conv2d(8, 8, 3, padding=1), act, norm(8) if norm else None, skip, init) for _ in range(depth)
        ]
        head = (nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, CLASSES))
        return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), *layers, *head)

    return make


class Block(nn.Module):
    """Attention and two linear layers, with normalisations before or behind them, or none."""

    def __init__(self, order: str, skip: bool, causal: bool) -> None:
        super().__init__()
        self.order, self.skip, self.causal = order, skip, causal
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))
        self.norm1: nn.Module = nn.LayerNorm(WIDTH) if order else nn.Identity()
        self.norm2: nn.Module = nn.LayerNorm(WIDTH) if order else nn.Identity()

    def attend(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (4, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def forward(self, x: Tensor) -> Tensor:
        for norm, branch in ((self.norm1, self.attend), (self.norm2, self.mlp)):
            changed = branch(norm(x) if self.order == "pre" else x)
            x = x + changed if self.skip else changed
            x = norm(x) if self.order == "post" else x
        return x


class Tokens(nn.Module):
    """Embedded words, or patches of an image, through blocks."""

    def __init__(self, depth: int, order: str, skip: bool, causal: bool, patches: bool) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, WIDTH, 2, stride=2) if patches else nn.Embedding(50, WIDTH)
        self.place = nn.Parameter(0.1 * torch.randn(16, WIDTH))
        self.blocks = nn.Sequential(*(Block(order, skip, causal) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, given: Tensor) -> Tensor:
        x = self.embed(given)
        x = x.flatten(2).transpose(1, 2) if x.ndim == 4 else x
        return self.head(self.norm(self.blocks(x + self.place[: x.size(1)])).mean(1))


def tokens(order: str, skip: bool = True, causal: bool = False, patches: bool = False) -> Any:
    return lambda depth: Tokens(depth, order, skip, causal, patches)


class Recurrent(nn.Module):
    """Stacked recurrent layers over words."""

    def __init__(self, kind: type[nn.GRU | nn.LSTM], depth: int) -> None:
        super().__init__()
        self.embed, self.rnn = nn.Embedding(50, WIDTH), kind(WIDTH, WIDTH, depth, batch_first=True)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, given: Tensor) -> Tensor:
        return self.head(self.rnn(self.embed(given))[0].mean(1))


def normal(deviation: float) -> Init:
    return lambda weight: nn.init.normal_(weight, std=deviation)


he, xavier, orthogonal = nn.init.kaiming_normal_, nn.init.xavier_normal_, nn.init.orthogonal_


def lecun(weight: Tensor) -> Tensor:
    return nn.init.normal_(weight, std=weight[0].numel() ** -0.5)


def group(channels: int) -> nn.Module:
    return nn.GroupNorm(4, channels)


def families() -> list[Family]:
    stacks = {
        "mlp tanh default": mlp(nn.Tanh),
        "mlp tanh Xavier": mlp(nn.Tanh, xavier),
        "mlp tanh orthogonal": mlp(nn.Tanh, orthogonal),
        "mlp tanh std 0.3": mlp(nn.Tanh, normal(0.3)),
        "mlp relu default": mlp(nn.ReLU),
        "mlp relu He": mlp(nn.ReLU, he),
        "mlp relu Xavier": mlp(nn.ReLU, xavier),
        "mlp relu std 0.1": mlp(nn.ReLU, normal(0.1)),
        "mlp relu std 0.35": mlp(nn.ReLU, normal(0.35)),
        "mlp leaky He": mlp(nn.LeakyReLU, he),
        "mlp gelu default": mlp(nn.GELU),
        "mlp gelu He": mlp(nn.GELU, he),
        "mlp silu He": mlp(nn.SiLU, he),
        "mlp selu LeCun": mlp(nn.SELU, lecun),
        "mlp sigmoid Xavier": mlp(nn.Sigmoid, xavier),
        "mlp softsign Xavier": mlp(nn.Softsign, xavier),
        "mlp relu BatchNorm": mlp(nn.ReLU, None, nn.BatchNorm1d),
        "mlp relu LayerNorm": mlp(nn.ReLU, None, nn.LayerNorm),
        "mlp tanh LayerNorm": mlp(nn.Tanh, None, nn.LayerNorm),
        "mlp relu skip": mlp(nn.ReLU, None, None, True),
        "mlp relu skip He": mlp(nn.ReLU, he, None, True),
        "mlp tanh skip": mlp(nn.Tanh, None, None, True),
        "mlp relu skip LayerNorm": mlp(nn.ReLU, None, nn.LayerNorm, True),
    }
    nets = {
        "cnn relu default": cnn(nn.ReLU),
        "cnn relu He": cnn(nn.ReLU, he),
        "cnn tanh Xavier": cnn(nn.Tanh, xavier),
        "cnn relu BatchNorm": cnn(nn.ReLU, None, nn.BatchNorm2d),
        "cnn relu GroupNorm": cnn(nn.ReLU, None, group),
        "resnet BatchNorm": cnn(nn.ReLU, None, nn.BatchNorm2d, True),
        "resnet GroupNorm": cnn(nn.ReLU, None, group, True),
        "resnet without norm": cnn(nn.ReLU, he, None, True),
    }
    readers = {
        "encoder pre-LN": tokens("pre"),
        "encoder post-LN": tokens("post"),
        "encoder without norm": tokens(""),
        "encoder pre-LN without skip": tokens("pre", skip=False),
        "GPT": tokens("pre", causal=True),
    }
    return [
        *(Family(name, make, vectors) for name, make in stacks.items()),
        *(Family(name, make, images) for name, make in nets.items()),
        *(Family(name, make, words, target=32) for name, make in readers.items()),
        Family("ViT", tokens("pre", patches=True), images, target=32),
        Family("GRU layers", lambda depth: Recurrent(nn.GRU, depth), words, target=16, ladder=(2, 4, 6)),
        Family("LSTM layers", lambda depth: Recurrent(nn.LSTM, depth), words, target=16, ladder=(2, 4, 6)),
    ]
