"""The models that are timed, each with a batch and the loss of one training step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["CASES", "Case", "residual_mlp"]


@dataclass(frozen=True)
class Case:
    """A model as a factory, a batch, and the loss of the model's output and the target."""

    name: str
    model: Callable[[], nn.Module]
    batch: Callable[[], tuple[Tensor, Tensor]]
    loss: Callable[..., Tensor]


class Bottleneck(nn.Module):
    """As in He et al. (2016), https://arxiv.org/abs/1512.03385, with the stride in the 3x3 convolution."""

    def __init__(self, given: int, width: int, stride: int) -> None:
        super().__init__()
        made = 4 * width
        self.conv1, self.bn1 = nn.Conv2d(given, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, made, 1, bias=False), nn.BatchNorm2d(made)
        self.relu = nn.ReLU(inplace=True)
        self.skip = (
            nn.Identity()
            if stride == 1 and given == made
            else nn.Sequential(nn.Conv2d(given, made, 1, stride, bias=False), nn.BatchNorm2d(made))
        )

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        return self.relu(self.bn3(self.conv3(out)) + self.skip(x))


def resnet50() -> nn.Module:
    blocks, given = [], 64
    for stage, (width, depth) in enumerate(zip((64, 128, 256, 512), (3, 4, 6, 3), strict=True)):
        for index in range(depth):
            blocks.append(Bottleneck(given, width, 2 if stage and not index else 1))
            given = 4 * width
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, *, causal: bool) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.heads, self.causal = heads, causal

    def forward(self, x: Tensor) -> Tensor:
        samples, length, width = x.shape
        q, k, v = self.qkv(x).view(samples, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.proj(out.transpose(1, 2).reshape(x.shape))


class Block(nn.Module):
    """Pre-norm, as in GPT-2 and ViT."""

    def __init__(self, width: int, heads: int, *, causal: bool) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width, heads, causal=causal)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """Dosovitskiy et al. (2021), https://arxiv.org/abs/2010.11929."""

    def __init__(self, width: int = 384, layers: int = 12, heads: int = 6, patch: int = 16, image: int = 224) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(0.02 * torch.randn(1, (image // patch) ** 2 + 1, width))
        self.blocks = nn.Sequential(*(Block(width, heads, causal=False) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 1000)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1) + self.position
        return self.head(self.norm(self.blocks(x))[:, 0])


class GPT(nn.Module):
    """Radford et al. (2019)."""

    def __init__(self, width: int = 384, layers: int = 6, heads: int = 6, words: int = 8192, length: int = 128) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(words, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(Block(width, heads, causal=True) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, words, bias=False)
        nn.init.normal_(self.words.weight, std=0.02)
        nn.init.normal_(self.positions.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.words(tokens) + self.positions.weight[: tokens.shape[1]]
        return self.head(self.norm(self.blocks(x))).flatten(0, 1)


class Residual(nn.Module):
    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.linear, self.activation, self.scale = nn.Linear(width, width), nn.Tanh(), scale

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * self.activation(self.linear(x))


def residual_mlp(layers: int, width: int = 64, samples: int = 32) -> Case:
    """So many layers with a skip connection around each."""

    def model() -> nn.Module:
        return nn.Sequential(*(Residual(width, layers**-0.5) for _ in range(layers)), nn.Linear(width, 10))

    return Case(
        f"residual MLP, {layers:,} layers", model, partial(_images, samples, width, classes=10), F.cross_entropy
    )


def _images(*shape: int, classes: int) -> tuple[Tensor, Tensor]:
    return torch.randn(shape), torch.randint(classes, shape[:1])


def _gpt(width: int, layers: int, heads: int, words: int, samples: int, length: int) -> tuple[Any, Any, Any]:
    def batch() -> tuple[Tensor, Tensor]:
        tokens = torch.randint(words, (samples, length + 1))
        return tokens[:, :-1], tokens[:, 1:].reshape(-1)

    return lambda: GPT(width, layers, heads, words, length), batch, F.cross_entropy


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


CASES: dict[str, Case] = {
    "resnet50": Case(
        "ResNet-50, 8x3x128x128", resnet50, lambda: _images(8, 3, 128, 128, classes=1000), F.cross_entropy
    ),
    "vit": Case("ViT-S/16, 4x3x224x224", ViT, lambda: _images(4, 3, 224, 224, classes=1000), F.cross_entropy),
    "gpt": Case("GPT, 6 layers x 384, 4x128 tokens", *_gpt(384, 6, 6, 8192, 4, 128)),
    "deep": residual_mlp(1000),
    "mlp": Case("MLP, 3 layers", mlp, partial(_images, 32, 20, classes=10), F.cross_entropy),
    "gpt-212m": Case("GPT, 212 M parameters, 2x64 tokens", *_gpt(1024, 14, 16, 16384, 2, 64)),
}
