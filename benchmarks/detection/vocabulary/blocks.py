"""Layers and small networks that several models are built of."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.vocabulary.batches import VOCAB, WIDTH

Make = Callable[..., nn.Module]


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


def backbone() -> nn.Sequential:
    """A small image encoder with 32 features."""
    return nn.Sequential(conv_bn(3, 16, 3, 2), conv_bn(16, 32, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten())


class CausalAttention(nn.Module):
    """Masked self-attention with one projection."""

    def __init__(self, width: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.project, self.out, self.heads = nn.Linear(width, 3 * width), nn.Linear(width, width), heads

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.project(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out


class Block(nn.Module):
    """A transformer block around any token mixer: pre-norm, post-norm (DeepNorm with ``alpha``), ReZero or plain."""

    def __init__(self, mix: nn.Module, kind: str = "pre", alpha: float = 1.0, width: int = 32) -> None:
        super().__init__()
        self.mix, self.feed, self.kind, self.alpha = mix, feed(width, 2 * width), kind, alpha
        normed = kind in ("pre", "post")
        self.norm1, self.norm2 = (nn.LayerNorm(width) if normed else nn.Identity() for _ in range(2))
        self.gate = nn.Parameter(torch.zeros(1)) if kind == "rezero" else None

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "post":
            x = self.norm1(self.alpha * x + self.mix(x))
            return self.norm2(self.alpha * x + self.feed(x))
        gate = 1.0 if self.gate is None else self.gate
        x = x + gate * self.mix(self.norm1(x))
        out: Tensor = x + gate * self.feed(self.norm2(x))
        return out


class Decoder(nn.Module):
    """Token and position embeddings, blocks and a head over the vocabulary, tied to the embedding on request."""

    def __init__(self, blocks: list[nn.Module], tied: bool = False, normed: bool = True) -> None:
        super().__init__()
        self.embed, self.blocks = Positions(), nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(32) if normed else nn.Identity()
        self.head = nn.Linear(32, VOCAB, bias=False)
        if tied:
            self.head.weight = self.embed.tokens.weight

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.head(self.norm(self.blocks(self.embed(tokens))))
        return out


def gpt(depth: int = 4) -> nn.Module:
    """GPT-2's initialisation: N(0, 0.02), the ends of the branches over the root of twice the depth; tied head."""
    net = Decoder([Block(CausalAttention()) for _ in range(depth)], tied=True)
    for name, weight in net.named_parameters():
        if weight.dim() > 1:
            shrunk = name.endswith(("mix.out.weight", "feed.2.weight"))
            nn.init.normal_(weight, std=0.02 / math.sqrt(2 * depth) if shrunk else 0.02)
        elif name.endswith("bias"):
            nn.init.zeros_(weight)
    return net


class Positions(nn.Module):
    """Token embeddings plus learnt positions."""

    def __init__(self, width: int = 32, vocab: int = 64, length: int = 32) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab, width)
        self.places = nn.Embedding(length, width)

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.tokens(tokens) + self.places(torch.arange(tokens.shape[1]))
        return out


def token_encoder(layers: int, before: bool, activation: str = "relu", dropout: float = 0.1) -> nn.Module:
    """nn.TransformerEncoder over tokens, mean pooling and a classifier."""
    layer = nn.TransformerEncoderLayer(32, 4, 64, dropout, activation, batch_first=True, norm_first=before)
    norm = nn.LayerNorm(32) if before else None
    stack = nn.TransformerEncoder(layer, layers, norm, enable_nested_tensor=False)
    return nn.Sequential(Positions(), stack, Apply(lambda x: x.mean(dim=1)), nn.Linear(32, 4))


def conv_bn(
    inside: int, outside: int, kernel: int = 3, stride: int = 1, groups: int = 1, act: Make | None = nn.ReLU
) -> nn.Sequential:
    """Convolution, batch normalisation and, unless told otherwise, an activation."""
    conv = nn.Conv2d(inside, outside, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outside), *([act()] if act else []))


class Basic(nn.Module):
    """Two 3x3 convolutions around a shortcut without parameters (option A), the CIFAR form of the ResNet paper."""

    def __init__(self, inside: int, outside: int, stride: int = 1, extra: nn.Module | None = None) -> None:
        super().__init__()
        self.first, self.second = conv_bn(inside, outside, 3, stride), conv_bn(outside, outside, act=None)
        self.extra, self.stride, self.grown = extra or nn.Identity(), stride, outside - inside

    def forward(self, x: Tensor) -> Tensor:
        short = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.grown))
        return F.relu(self.extra(self.second(self.first(x))) + short)


def staged(
    block: Make, repeats: int, widths: tuple[int, ...] = (8, 16, 32), stem: nn.Module | None = None
) -> nn.Module:
    """Stages of blocks, each but the first halving the resolution."""
    layers: list[nn.Module] = [stem or conv_bn(3, widths[0])]
    inside = widths[0]
    for stage, width in enumerate(widths):
        for index in range(repeats):
            layers.append(block(inside, width, 2 if stage and not index else 1))
            inside = width
    return nn.Sequential(*layers, *pooled_head(inside))


def feed(width: int, wide: int) -> nn.Sequential:
    """The usual two-layer feed-forward network."""
    return nn.Sequential(nn.Linear(width, wide), nn.GELU(), nn.Linear(wide, width))


class SelfAttention(nn.Module):
    """Attention of a sequence to itself, with the usual truncated normal of vision transformers."""

    def __init__(self, width: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.project, self.out, self.heads = nn.Linear(width, 3 * width), nn.Linear(width, width), heads
        nn.init.trunc_normal_(self.project.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.project(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(*parts)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out


def small_cnn(outputs: int = 4) -> nn.Sequential:
    """Two convolutions with batch norm and a head."""
    layers: list[nn.Module] = []
    for inputs, width in ((3, 16), (16, 32)):
        layers += [nn.Conv2d(inputs, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers, *pooled_head(32, outputs))


def bare(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer without a bias."""
    return nn.Linear(inputs, outputs, bias=False)


def split_heads(x: Tensor, count: int = 2) -> Tensor:
    """Split the width into heads, ahead of the length."""
    return x.unflatten(-1, (count, -1)).transpose(1, 2)  # type: ignore[no-untyped-call]


def join_heads(x: Tensor) -> Tensor:
    """The heads side by side again."""
    return x.transpose(1, 2).flatten(2)


def feed_forward(width: int = WIDTH, act: Callable[[], nn.Module] = nn.GELU) -> nn.Module:
    """Two linear layers."""
    return nn.Sequential(nn.Linear(width, 4 * width), act(), nn.Linear(4 * width, width))


class Add(nn.Module):
    """A residual block with ReLU behind the sum."""

    def __init__(self, *branch: nn.Module) -> None:
        super().__init__()
        self.branch = nn.Sequential(*branch)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.branch(x))


def symmetric(adjacency: Tensor) -> Tensor:
    """The adjacency over the root of both degrees."""
    root = adjacency.sum(-1).clamp(min=1).rsqrt()
    return root[:, :, None] * adjacency * root[:, None]


def perceptron(inputs: int, outputs: int) -> nn.Sequential:
    """Two layers, 32 wide."""
    return nn.Sequential(nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, outputs))
