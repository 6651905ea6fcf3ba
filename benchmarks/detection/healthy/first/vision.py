"""Published image networks, narrow and shallow, with the structure and the initialisation of their papers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case
from benchmarks.detection.healthy.common import (
    Apply,
    Maker,
    Residual,
    case,
    cast,
    generator,
    own_loss,
    pictures,
    pooled_head,
)

Make = Callable[..., nn.Module]

IMAGES = pictures(3, 32)
SMALL = pictures(3, 16)


def he(net: nn.Module, mode: Literal["fan_in", "fan_out"] = "fan_out") -> nn.Module:
    """He initialisation of the convolutions, as torchvision's own models have it."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode=mode, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return net


def conv_bn(
    inside: int, outside: int, kernel: int = 3, stride: int = 1, groups: int = 1, act: Make | None = nn.ReLU
) -> nn.Sequential:
    """Convolution, batch normalisation and, unless told otherwise, an activation."""
    conv = nn.Conv2d(inside, outside, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outside), *([act()] if act else []))


# --- before residual connections --------------------------------------------------------------------------------


def lenet() -> nn.Module:
    """LeNet-5 with tanh and average pooling."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 4),
    )  # fmt: skip


def alexnet() -> nn.Module:
    """AlexNet's five convolutions and three linear layers with dropout."""
    sizes = [(3, 16), (16, 32), (32, 48), (48, 32), (32, 32)]
    layers: list[nn.Module] = []
    for index, (inside, outside) in enumerate(sizes):
        layers += [nn.Conv2d(inside, outside, 3, padding=1), nn.ReLU(inplace=True)]
        layers += [nn.MaxPool2d(2)] if index in (0, 1, 4) else []
    head = [nn.Dropout(), nn.Linear(512, 64), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(64, 64), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), *head, nn.Linear(64, 4))


def vgg(norm: bool) -> nn.Module:
    """VGG-11 for small images, with or without batch normalisation, He initialisation."""
    layers: list[nn.Module] = []
    inside = 3
    for size in (16, 0, 24, 0, 32, 32, 0, 48, 48, 0, 48, 48, 0):
        if not size:
            layers.append(nn.MaxPool2d(2))
            continue
        layers += [nn.Conv2d(inside, size, 3, padding=1), *([nn.BatchNorm2d(size)] if norm else []), nn.ReLU()]
        inside = size
    return he(nn.Sequential(*layers, nn.Flatten(), nn.Linear(48, 4)))


def nin() -> nn.Module:
    """Network in network: pointwise convolutions after every spatial one, global average pooling as the classifier."""
    layers: list[nn.Module] = []
    for inside, kernel in ((3, 5), (24, 3)):
        layers += [nn.Conv2d(inside, 24, kernel, padding=kernel // 2), nn.ReLU()]
        layers += [nn.Conv2d(24, 24, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout()]
    return nn.Sequential(*layers, nn.Conv2d(24, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Inception(nn.Module):
    """GoogLeNet's block: four branches side by side."""

    def __init__(self, inside: int) -> None:
        super().__init__()
        self.one = conv_bn(inside, 8, 1)
        self.three = nn.Sequential(conv_bn(inside, 8, 1), conv_bn(8, 12))
        self.five = nn.Sequential(conv_bn(inside, 4, 1), conv_bn(4, 6, 5))
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), conv_bn(inside, 6, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], dim=1)


def googlenet() -> nn.Module:
    """Three inception blocks."""
    return nn.Sequential(
        conv_bn(3, 16, 3, 2), Inception(16), Inception(32), nn.MaxPool2d(2), Inception(32), *pooled_head(32)
    )


class Fire(nn.Module):
    """SqueezeNet's block."""

    def __init__(self, inside: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inside, squeezed, 1)
        self.one = nn.Conv2d(squeezed, expanded, 1)
        self.three = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.one(x)), F.relu(self.three(x))], dim=1)


def squeezenet() -> nn.Module:
    """SqueezeNet with torchvision's initialisation."""
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2), nn.ReLU(), Fire(16, 8, 16), Fire(32, 8, 16), nn.MaxPool2d(3, 2), Fire(32, 12, 24),
        nn.Dropout(), nn.Conv2d(48, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    nn.init.normal_(net[7].weight, std=0.01)  # type: ignore[arg-type]
    return net


class Highway(nn.Module):
    """A highway layer, whose gate starts out carrying the input through."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.transform, self.gate = nn.Linear(width, width), nn.Linear(width, width)
        nn.init.constant_(self.gate.bias, -2.0)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.gate(x))
        return gate * F.relu(self.transform(x)) + (1 - gate) * x


def highway(depth: int = 20) -> nn.Module:
    """A highway network."""
    stack = [Highway(32) for _ in range(depth)]
    return nn.Sequential(nn.Flatten(), nn.Linear(768, 32), nn.ReLU(), *stack, nn.Linear(32, 4))


# --- residual networks ------------------------------------------------------------------------------------------


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


def resnet(repeats: int, zero: bool = False) -> nn.Module:
    """ResNet-(6n+2), on request with the last normalisation of every branch starting at zero."""
    net = he(staged(Basic, repeats))
    for block in net.modules():
        if zero and isinstance(block, Basic):
            nn.init.zeros_(block.second[1].weight)  # type: ignore[arg-type]
    return net


class PreAct(nn.Module):
    """The pre-activation block, also wide."""

    def __init__(self, inside: int, outside: int, stride: int = 1, drop: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inside)
        self.first = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.rest = nn.Sequential(
            nn.BatchNorm2d(outside), nn.ReLU(), nn.Dropout(drop), nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        )
        self.short = nn.Conv2d(inside, outside, 1, stride, bias=False) if inside != outside else None

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.norm(x))
        out: Tensor = self.rest(self.first(h)) + (x if self.short is None else self.short(h))
        return out


class Bottleneck(nn.Module):
    """1x1, grouped 3x3, 1x1 around a projected shortcut: ResNeXt, or with ``excite`` SE-ResNet."""

    def __init__(self, inside: int, outside: int, stride: int = 1, groups: int = 4, excite: bool = False) -> None:
        super().__init__()
        parts = [conv_bn(inside, outside // 2, 1), conv_bn(outside // 2, outside // 2, 3, stride, groups)]
        self.branch = nn.Sequential(*parts, conv_bn(outside // 2, outside, 1, act=None))
        self.excite = Excite(outside, outside // 4) if excite else nn.Identity()
        same = inside == outside and stride == 1
        self.short = nn.Identity() if same else conv_bn(inside, outside, 1, stride, act=None)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.excite(self.branch(x)) + self.short(x))


class Excite(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, width: int, squeezed: int, gate: Make = nn.Sigmoid) -> None:
        super().__init__()
        self.scale = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, squeezed, 1), nn.ReLU(), nn.Conv2d(squeezed, width, 1), gate()
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x * self.scale(x)
        return out


class Dense(nn.Module):
    """DenseNet's layer: its output is appended to its input."""

    def __init__(self, inside: int, growth: int) -> None:
        super().__init__()
        self.new = nn.Sequential(
            nn.BatchNorm2d(inside), nn.ReLU(), nn.Conv2d(inside, 4 * growth, 1, bias=False),
            nn.BatchNorm2d(4 * growth), nn.ReLU(), nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.new(x)], dim=1)


def densenet(growth: int = 6, layers: int = 4) -> nn.Module:
    """Two dense blocks with a transition between them."""
    first = [Dense(12 + growth * i, growth) for i in range(layers)]
    wide = 12 + growth * layers
    between = [nn.BatchNorm2d(wide), nn.ReLU(), nn.Conv2d(wide, wide // 2, 1, bias=False), nn.AvgPool2d(2)]
    second = [Dense(wide // 2 + growth * i, growth) for i in range(layers)]
    last = wide // 2 + growth * layers
    parts = [*first, *between, *second, nn.BatchNorm2d(last), nn.ReLU()]
    return he(nn.Sequential(nn.Conv2d(3, 12, 3, 2, 1, bias=False), *parts, *pooled_head(last)), "fan_in")


class Inverted(nn.Module):
    """The inverted residual of MobileNetV2 and V3 and of EfficientNet."""

    def __init__(
        self, inside: int, outside: int, stride: int = 1, act: Make = nn.ReLU6, excite: Make | None = None
    ) -> None:
        super().__init__()
        wide = inside * 4
        middle = [excite(wide, inside)] if excite else []
        self.branch = nn.Sequential(
            conv_bn(inside, wide, 1, act=act), conv_bn(wide, wide, 3, stride, wide, act), *middle,
            conv_bn(wide, outside, 1, act=None),
        )  # fmt: skip
        self.skip = inside == outside and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.branch(x)
        return out + x if self.skip else out


class Shuffle(nn.Module):
    """ShuffleNetV2's unit: half of the channels pass, the other half is convolved, then both are shuffled."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.branch = nn.Sequential(
            conv_bn(half, half, 1), conv_bn(half, half, 3, groups=half, act=None), conv_bn(half, half, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, dim=1)
        mixed = torch.stack([left, self.branch(right)], dim=2)
        return mixed.flatten(1, 2)


def shufflenet() -> nn.Module:
    """Four units in two resolutions."""
    units = [Shuffle(24), Shuffle(24), nn.MaxPool2d(2), Shuffle(24), Shuffle(24)]
    return nn.Sequential(conv_bn(3, 24, 3, 2), *units, conv_bn(24, 48, 1), *pooled_head(48))


# --- residual networks without normalisation --------------------------------------------------------------------


class Fixup(nn.Module):
    """Fixup's block: scalar biases and a scale, the last convolution starting at zero."""

    def __init__(self, inside: int, outside: int, stride: int = 1, blocks: int = 9) -> None:
        super().__init__()
        self.first = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.biases = nn.ParameterList([nn.Parameter(torch.zeros(1)) for _ in range(4)])
        self.scale = nn.Parameter(torch.ones(1))
        self.stride, self.grown = stride, outside - inside
        nn.init.normal_(self.first.weight, std=(2 / (outside * 9)) ** 0.5 * blocks**-0.5)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.first(x + self.biases[0]) + self.biases[1])
        h = self.second(h + self.biases[2]) * self.scale + self.biases[3]
        short = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.grown))
        return F.relu(h + short)


def fixup() -> nn.Module:
    """A ResNet-20 with Fixup initialisation, the classifier starting at zero."""
    stem = nn.Sequential(he(nn.Conv2d(3, 8, 3, padding=1, bias=False)), nn.ReLU())
    net = staged(Fixup, 3, stem=stem)
    assert isinstance(net, nn.Sequential)
    assert isinstance(net[-1], nn.Linear)
    nn.init.zeros_(net[-1].weight)
    nn.init.zeros_(net[-1].bias)
    return net


class SkipInit(nn.Module):
    """SkipInit: an unnormalised branch behind a scalar that starts at zero."""

    def __init__(self, inside: int, outside: int, stride: int = 1) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.ReLU(), nn.Conv2d(inside, outside, 3, stride, 1), nn.ReLU(), nn.Conv2d(outside, outside, 3, 1, 1)
        )
        self.short = nn.Conv2d(inside, outside, 1, stride) if inside != outside else nn.Identity()
        self.alpha = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.short(x) + self.alpha * self.branch(x)
        return out


class StandardConv(nn.Conv2d):
    """Scaled weight standardisation of the normaliser-free networks."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int = 1) -> None:
        super().__init__(inside, outside, kernel, stride, kernel // 2)
        nn.init.kaiming_normal_(self.weight, nonlinearity="linear")
        self.gain = nn.Parameter(torch.ones(outside, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        fan = self.weight[0].numel()
        mean, var = self.weight.mean((1, 2, 3), keepdim=True), self.weight.var((1, 2, 3), keepdim=True)
        weight = self.gain * (self.weight - mean) * torch.rsqrt((var * fan).clamp(min=1e-4))
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)


class Free(nn.Module):
    """NFNet's block: variance bookkeeping by alpha and beta, skip-init gain at zero."""

    def __init__(self, inside: int, outside: int, stride: int = 1, beta: float = 0.9) -> None:
        super().__init__()
        self.first, self.second = (
            StandardConv(inside, outside // 2, 1),
            StandardConv(outside // 2, outside // 2, 3, stride),
        )
        self.third = StandardConv(outside // 2, outside, 1)
        self.short = StandardConv(inside, outside, 1, stride) if inside != outside else None
        self.gain, self.beta = nn.Parameter(torch.zeros(())), beta

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(x) * self.beta
        short = x if self.short is None else self.short(h)
        branch: Tensor = self.third(self.act(self.second(self.act(self.first(h)))))
        return short + 0.2 * self.gain * branch

    @staticmethod
    def act(x: Tensor) -> Tensor:
        """GELU scaled to keep the variance."""
        return F.gelu(x) * 1.7015


# --- patches and tokens -----------------------------------------------------------------------------------------


def convmixer(width: int = 32, depth: int = 4) -> nn.Module:
    """ConvMixer."""

    def unit(conv: nn.Conv2d) -> nn.Sequential:
        return nn.Sequential(conv, nn.GELU(), nn.BatchNorm2d(width))

    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [
            Residual(unit(nn.Conv2d(width, width, 5, groups=width, padding=2))),
            unit(nn.Conv2d(width, width, 1)),
        ]
    return nn.Sequential(unit(nn.Conv2d(3, width, 4, 4)), *layers, *pooled_head(width))


class Patches(nn.Module):
    """Patch embedding with optional class token and learnt positions."""

    def __init__(self, width: int = 32, token: bool = False, places: bool = True) -> None:
        super().__init__()
        self.cut = nn.Conv2d(3, width, 8, 8)
        self.token = nn.Parameter(torch.zeros(1, 1, width)) if token else None
        self.places = nn.Parameter(torch.randn(1, 16 + token, width) * 0.02) if places else None

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.cut(x).flatten(2).transpose(1, 2)
        if self.token is not None:
            h = torch.cat([self.token.expand(h.shape[0], -1, -1), h], dim=1)
        return h if self.places is None else h + self.places


class Across(nn.Module):
    """A module applied to the token axis."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x.transpose(1, 2)).transpose(1, 2)
        return out


def feed(width: int, wide: int) -> nn.Sequential:
    """The usual two-layer feed-forward network."""
    return nn.Sequential(nn.Linear(width, wide), nn.GELU(), nn.Linear(wide, width))


def averaged(*layers: nn.Module, width: int = 32) -> nn.Module:
    """Patches, the given layers, mean pooling and a classifier."""
    return nn.Sequential(
        Patches(width, places=False), *layers, nn.LayerNorm(width), Apply(lambda x: x.mean(1)), nn.Linear(width, 4)
    )


def mixer() -> nn.Module:
    """MLP-Mixer."""
    layers: list[nn.Module] = []
    for _ in range(3):
        layers.append(Residual(nn.LayerNorm(32), Across(feed(16, 32))))
        layers.append(Residual(nn.LayerNorm(32), feed(32, 64)))
    return averaged(*layers)


class Gating(nn.Module):
    """gMLP's spatial gating unit, close to the identity at the start."""

    def __init__(self, width: int, tokens: int) -> None:
        super().__init__()
        self.norm, self.mix = nn.LayerNorm(width), nn.Linear(tokens, tokens)
        nn.init.uniform_(self.mix.weight, -1e-3 / tokens, 1e-3 / tokens)
        nn.init.ones_(self.mix.bias)

    def forward(self, x: Tensor) -> Tensor:
        passed, gate = x.chunk(2, dim=-1)
        gate = self.mix(self.norm(gate).transpose(1, 2)).transpose(1, 2)
        out: Tensor = passed * gate
        return out


def gmlp() -> nn.Module:
    """gMLP."""
    block = [
        Residual(nn.LayerNorm(32), nn.Linear(32, 64), nn.GELU(), Gating(32, 16), nn.Linear(32, 32)) for _ in range(4)
    ]
    return averaged(*block)


class Affine(nn.Module):
    """A scale and a shift per channel; with a small start and no shift this is LayerScale."""

    def __init__(self, width: int, start: float = 1.0, shift: bool = True) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((width,), start))
        self.shift = nn.Parameter(torch.zeros(width)) if shift else None

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale if self.shift is None else x * self.scale + self.shift


def resmlp() -> nn.Module:
    """ResMLP: affine layers in the place of normalisation and LayerScale at 0.1."""
    layers: list[nn.Module] = []
    for _ in range(4):
        layers.append(Residual(Affine(32), Across(nn.Linear(16, 16)), Affine(32, 0.1, shift=False)))
        layers.append(Residual(Affine(32), feed(32, 64), Affine(32, 0.1, shift=False)))
    return averaged(*layers)


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


def vit_block(scale: float | None = None, width: int = 32) -> nn.Sequential:
    """A pre-norm transformer block, on request with LayerScale."""
    scales = [[Affine(width, scale, shift=False)] if scale is not None else [] for _ in range(2)]
    return nn.Sequential(
        Residual(nn.LayerNorm(width), SelfAttention(width), *scales[0]),
        Residual(nn.LayerNorm(width), feed(width, 2 * width), *scales[1]),
    )


def vit(head: str, depth: int = 4) -> nn.Module:
    """ViT: class token with a head that starts at zero (as in the paper's code), or mean pooling."""
    pool = Apply(lambda x: x[:, 0]) if head == "zero" else Apply(lambda x: x.mean(dim=1))
    last = nn.Linear(32, 4)
    if head == "zero":
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
    return nn.Sequential(
        Patches(token=head == "zero"), *(vit_block() for _ in range(depth)), nn.LayerNorm(32), pool, last
    )


class CaiT(nn.Module):
    """CaiT: self-attention layers with LayerScale, then class attention."""

    def __init__(self, scale: float, depth: int = 6) -> None:
        super().__init__()
        self.embed = Patches()
        self.body = nn.Sequential(*(vit_block(scale) for _ in range(depth)))
        self.token = nn.Parameter(torch.randn(1, 1, 32) * 0.02)
        self.norm, self.attend = nn.LayerNorm(32), nn.MultiheadAttention(32, 4, batch_first=True)
        self.feed = Residual(nn.LayerNorm(32), feed(32, 64), Affine(32, scale, shift=False))
        self.scale = Affine(32, scale, shift=False)
        self.head = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 4))

    def forward(self, x: Tensor) -> Tensor:
        token = self.token.expand(x.shape[0], -1, -1)
        h = self.norm(torch.cat([token, self.body(self.embed(x))], dim=1))
        token = token + self.scale(self.attend(h[:, :1], h, h, need_weights=False)[0])
        out: Tensor = self.head(self.feed(token)[:, 0])
        return out


class Windows(nn.Module):
    """Attention inside shifted windows: the core of Swin."""

    def __init__(self, width: int, shift: int, window: int = 4) -> None:
        super().__init__()
        self.norm, self.attend = nn.LayerNorm(width), SelfAttention(width)
        self.shift, self.window = shift, window

    def forward(self, x: Tensor) -> Tensor:
        b, h, w, c = x.shape
        size, moved = self.window, torch.roll(self.norm(x), (-self.shift, -self.shift), (1, 2))
        cut = moved.reshape(b, h // size, size, w // size, size, c).transpose(2, 3).reshape(-1, size * size, c)
        back = self.attend(cut).reshape(b, h // size, w // size, size, size, c).transpose(2, 3).reshape(b, h, w, c)
        return x + torch.roll(back, (self.shift, self.shift), (1, 2))


def swin() -> nn.Module:
    """Four window layers, every second one shifted."""
    layers: list[nn.Module] = []
    for index in range(4):
        layers += [Windows(32, 2 * (index % 2)), Residual(nn.LayerNorm(32), feed(32, 64))]
    last = [nn.LayerNorm(32), Apply(lambda x: x.mean((1, 2))), nn.Linear(32, 4)]
    return nn.Sequential(nn.Conv2d(3, 32, 4, 4), Apply(lambda x: x.permute(0, 2, 3, 1)), *layers, *last)


def convnext(scale: float) -> nn.Module:
    """ConvNeXt's block, channels last inside, with LayerScale."""

    def block(width: int) -> nn.Module:
        last, first = Apply(lambda x: x.permute(0, 2, 3, 1)), Apply(lambda x: x.permute(0, 3, 1, 2))
        inner = [nn.LayerNorm(width), feed(width, 4 * width), Affine(width, scale, shift=False)]
        return Residual(nn.Conv2d(width, width, 7, padding=3, groups=width), last, *inner, first)

    down = [nn.GroupNorm(1, 16), nn.Conv2d(16, 32, 2, 2)]
    net = nn.Sequential(nn.Conv2d(3, 16, 4, 4), block(16), block(16), *down, block(32), block(32), *pooled_head(32))
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return net


# --- dense prediction -------------------------------------------------------------------------------------------


def segments(side: int = 16) -> Maker:
    """Images of coarse blocks and their label per pixel."""

    def make(seed: int, size: int) -> tuple[Tensor, Tensor]:
        g = generator(seed)
        blocks = F.interpolate(torch.randint(3, (size, 1, 4, 4), generator=g).float(), size=(side, side))
        return blocks - 1 + 0.3 * torch.randn(size, 3, side, side, generator=g), blocks[:, 0].long()

    return make


def double(inside: int, outside: int) -> nn.Sequential:
    """Two convolutions: a step of the U-Net."""
    return nn.Sequential(conv_bn(inside, outside), conv_bn(outside, outside))


class UNet(nn.Module):
    """U-Net, on request with attention gates on its skips."""

    def __init__(self, gated: bool = False) -> None:
        super().__init__()
        self.first, self.second, self.bottom = double(3, 8), double(8, 16), double(16, 32)
        self.up2, self.up1 = nn.ConvTranspose2d(32, 16, 2, 2), nn.ConvTranspose2d(16, 8, 2, 2)
        self.join2, self.join1, self.head = double(32, 16), double(16, 8), nn.Conv2d(8, 3, 1)
        self.gate2 = AttentionGate(16) if gated else None
        self.gate1 = AttentionGate(8) if gated else None

    def forward(self, x: Tensor) -> Tensor:
        one = self.first(x)
        two = self.second(F.max_pool2d(one, 2))
        up = self.up2(self.bottom(F.max_pool2d(two, 2)))
        up = self.up1(self.join2(torch.cat([self.gate2(two, up) if self.gate2 else two, up], dim=1)))
        out: Tensor = self.head(self.join1(torch.cat([self.gate1(one, up) if self.gate1 else one, up], dim=1)))
        return out


class AttentionGate(nn.Module):
    """Attention U-Net's additive gate."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.skip, self.signal = conv_bn(width, width, 1, act=None), conv_bn(width, width, 1, act=None)
        self.gate = nn.Sequential(nn.ReLU(), nn.Conv2d(width, 1, 1), nn.BatchNorm2d(1), nn.Sigmoid())

    def forward(self, skip: Tensor, signal: Tensor) -> Tensor:
        out: Tensor = skip * self.gate(self.skip(skip) + self.signal(signal))
        return out


def fcn() -> nn.Module:
    """A fully convolutional network with an upsampled score map."""
    body = [conv_bn(3, 16), nn.MaxPool2d(2), conv_bn(16, 32), nn.MaxPool2d(2), conv_bn(32, 32)]
    return nn.Sequential(*body, nn.Conv2d(32, 3, 1), nn.Upsample(scale_factor=4, mode="bilinear"))


class Pyramid(nn.Module):
    """A feature pyramid and RetinaNet's heads: normal(0, 0.01) weights and the prior of one per cent in the bias."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.low, self.high = conv_bn(3, 16, 3, 2), conv_bn(16, 32, 3, 2)
        self.flat, self.deep = nn.Conv2d(16, 16, 1), nn.Conv2d(32, 16, 1)
        self.tower = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU())
        self.classify, self.place = nn.Conv2d(16, classes, 3, padding=1), nn.Conv2d(16, 4, 3, padding=1)
        for layer in (self.tower[0], self.classify, self.place):
            nn.init.normal_(layer.weight, std=0.01)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        nn.init.constant_(self.classify.bias, -4.595)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        low = self.low(x)
        deep = self.deep(self.high(low))
        maps = [self.flat(low) + F.interpolate(deep, scale_factor=2.0), deep]
        return [(self.classify(h), self.place(h)) for h in map(self.tower, maps)]


def focal(model: nn.Module, batch: Batch) -> Tensor:
    """Focal loss over both levels and a smooth L1 loss of the boxes, per positive."""
    x, labels = batch
    total = x.new_zeros(())
    for scores, places in model(x):
        target = F.one_hot(labels[:, :: 16 // scores.shape[2], :: 16 // scores.shape[3]], 3).permute(0, 3, 1, 2).float()
        target[:, 0] = 0
        miss = torch.where(target > 0, 1 - scores.sigmoid(), scores.sigmoid())
        entropy = F.binary_cross_entropy_with_logits(scores, target, reduction="none")
        total = total + (miss**2 * entropy).sum() / target.sum().clamp(min=1)
        total = total + F.smooth_l1_loss(places, target[:, 1:2].expand_as(places))
    out: Tensor = total
    return out


def yolo() -> nn.Module:
    """A small darknet with a box, an objectness and class scores per cell."""
    leaky: Make = partial(nn.LeakyReLU, 0.1)
    body = [conv_bn(3, 16, 3, 2, act=leaky), conv_bn(16, 32, 3, 2, act=leaky), conv_bn(32, 32, act=leaky)]
    return nn.Sequential(*body, nn.Conv2d(32, 8, 1))


def cells(model: nn.Module, batch: Batch) -> Tensor:
    """YOLO's loss: objectness everywhere, box and class where there is an object."""
    x, labels = batch
    made = model(x)
    target = labels[:, ::4, ::4]
    present = (target > 0).float()
    box = ((made[:, :4].sigmoid() - 0.25) ** 2).sum(dim=1) * present
    loss = F.binary_cross_entropy_with_logits(made[:, 4], present)
    out: Tensor = loss + 5 * box.mean() + (F.cross_entropy(made[:, 5:], target, reduction="none") * present).mean()
    return out


class DeeplySupervised(nn.Module):
    """Side outputs at every stage, as in deeply supervised and holistically nested networks."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList([conv_bn(3, 8), conv_bn(8, 16, 3, 2), conv_bn(16, 32, 3, 2)])
        self.sides = nn.ModuleList([nn.Conv2d(width, 3, 1) for width in (8, 16, 32)])

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        total = x.new_zeros(())
        for stage, side in zip(self.stages, self.sides, strict=True):
            x = stage(x)
            total = total + F.cross_entropy(F.interpolate(side(x), size=labels.shape[1:]), labels)
        return total / 3


# --- coordinates and single images ------------------------------------------------------------------------------


class Sine(nn.Module):
    """A SIREN layer with the initialisation of its paper."""

    def __init__(self, inside: int, outside: int, first: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(inside, outside)
        bound = 1 / inside if first else (6 / inside) ** 0.5 / 30
        nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(30 * self.linear(x))


def siren() -> nn.Module:
    """SIREN: sine layers and a linear output from the same distribution."""
    last = nn.Linear(32, 1)
    nn.init.uniform_(last.weight, -((6 / 32) ** 0.5) / 30, (6 / 32) ** 0.5 / 30)
    return nn.Sequential(Sine(2, 32, True), Sine(32, 32), Sine(32, 32), last)


class NeRF(nn.Module):
    """NeRF's MLP over a positional encoding, which comes in again half way up: a density and a colour."""

    scales: Tensor

    def __init__(self, frequencies: int = 6) -> None:
        super().__init__()
        self.register_buffer("scales", 2.0 ** torch.arange(frequencies) * 3.14159)
        wide = 2 * 2 * frequencies + 2
        self.trunk = nn.Sequential(nn.Linear(wide, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.after = nn.Sequential(nn.Linear(64 + wide, 64), nn.ReLU())
        self.density, self.colour = nn.Linear(64, 1), nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x: Tensor) -> Tensor:
        waves = (x[..., None] * self.scales).flatten(-2)
        code = torch.cat([x, waves.sin(), waves.cos()], dim=-1)
        h = self.after(torch.cat([self.trunk(code), code], dim=-1))
        return torch.sigmoid(self.colour(h)) * (1 - torch.exp(-F.softplus(self.density(h))))


def coordinates(points: int = 32) -> Maker:
    """Points of the plane and the brightness of a smooth picture there."""

    def make(seed: int, size: int) -> tuple[Tensor, Tensor]:
        x = 2 * torch.rand(size * points, 2, generator=generator(seed)) - 1
        return x, 0.5 + 0.4 * torch.sin(4 * x[:, :1]) * torch.cos(3 * x[:, 1:])

    return make


def prior() -> nn.Module:
    """Deep image prior: an hourglass that is fitted to one noisy picture from fixed noise."""
    body = [conv_bn(8, 16, 3, 2), conv_bn(16, 16), nn.Upsample(scale_factor=2.0), conv_bn(16, 16), nn.Conv2d(16, 3, 1)]
    return nn.Sequential(*body, nn.Sigmoid())


def noise_and_picture() -> Maker:
    """The fixed input noise and the noisy picture."""

    def make(seed: int, size: int) -> tuple[Tensor, Tensor]:
        fixed, g = torch.randn(1, 8, 16, 16, generator=generator(99)), generator(seed)
        image = F.interpolate(torch.rand(1, 3, 4, 4, generator=generator(98)), size=(16, 16))
        code = fixed + 0.03 * torch.randn(size, 8, 16, 16, generator=g)
        return code, (image + 0.1 * torch.randn(1, 3, 16, 16, generator=generator(97))).expand(size, -1, -1, -1)

    return make


# --- capsules ---------------------------------------------------------------------------------------------------


def squash(x: Tensor) -> Tensor:
    """The capsule non-linearity."""
    square = (x**2).sum(dim=-1, keepdim=True)
    return square / (1 + square) * x / torch.sqrt(square + 1e-8)


class Capsules(nn.Module):
    """CapsNet with two routing iterations, whose coefficients are detached as in the common implementations."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.primary = nn.Conv2d(3, 16, 5, 2), nn.Conv2d(16, 16, 3, 2)
        self.weight = nn.Parameter(0.1 * torch.randn(1, 16, 4, 8, 4))

    def forward(self, x: Tensor) -> Tensor:
        low = squash(self.primary(F.relu(self.conv(x))).reshape(x.shape[0], 16, 4))
        votes = (self.weight @ low[:, :, None, :, None])[..., 0]
        logits = torch.zeros(votes.shape[:3])
        for _ in range(2):
            logits = logits + (votes.detach() * self.route(logits, votes.detach())[:, None]).sum(dim=-1)
        out: Tensor = self.route(logits, votes).norm(dim=-1)
        return out

    @staticmethod
    def route(logits: Tensor, votes: Tensor) -> Tensor:
        """The upper capsules for the given couplings."""
        return squash((logits.softmax(dim=2)[..., None] * votes).sum(dim=1))


def margin(model: nn.Module, batch: Batch) -> Tensor:
    """The capsule margin loss."""
    x, y = batch
    length, target = model(x), F.one_hot(y, 4)
    return (target * F.relu(0.9 - length) ** 2 + 0.5 * (1 - target) * F.relu(length - 0.1) ** 2).sum(dim=1).mean()


def fit_pixels(model: nn.Module, batch: Batch) -> Tensor:
    """Squared error per pixel."""
    x, y = batch
    return F.mse_loss(model(x), y)


def classifiers() -> list[Case]:
    """The image classifiers."""
    mobile3: Make = partial(Inverted, act=nn.Hardswish, excite=partial(Excite, gate=nn.Hardsigmoid))
    efficient: Make = partial(Inverted, act=nn.SiLU, excite=Excite)
    builders: dict[str, Make] = {
        "alexnet": alexnet, "vgg11": partial(vgg, False), "vgg11_bn": partial(vgg, True), "nin": nin,
        "googlenet": googlenet, "squeezenet": squeezenet, "resnet20": partial(resnet, 3),
        "resnet56": partial(resnet, 9),
        "resnet20_zero_init": partial(resnet, 3, True), "resnet56_zero_init": partial(resnet, 9, True),
        "preact_resnet": lambda: he(staged(PreAct, 2)),
        "wide_resnet": lambda: he(staged(partial(PreAct, drop=0.3), 1, (16, 32, 48), nn.Conv2d(3, 16, 3, padding=1))),
        "resnext": lambda: he(staged(Bottleneck, 2, (16, 32))),
        "se_resnet": lambda: he(staged(partial(Bottleneck, groups=1, excite=True), 2, (16, 32))),
        "densenet": densenet, "mobilenet_v2_block": lambda: he(staged(Inverted, 2, (8, 16, 24))),
        "mobilenet_v3_block": lambda: he(staged(mobile3, 2, (8, 16, 24))),
        "efficientnet_block": lambda: he(staged(efficient, 2, (8, 16, 24))), "shufflenet": shufflenet,
        "fixup_resnet": fixup, "skipinit_resnet": lambda: he(staged(SkipInit, 2, stem=nn.Conv2d(3, 8, 3, padding=1))),
        "nfnet": lambda: staged(Free, 2, (16, 32), StandardConv(3, 16, 3, 2)),
        "convmixer": convmixer, "mlp_mixer": mixer, "gmlp": gmlp, "resmlp": resmlp, "cait_1e_1": partial(CaiT, 1e-1),
        "cait_1e_5": partial(CaiT, 1e-5), "cait_1e_6": partial(CaiT, 1e-6, 12), "vit_zero_head": partial(vit, "zero"),
        "vit_mean_pool": partial(vit, "mean"), "vit_12_layers": partial(vit, "mean", 12), "swin_windows": swin,
        "convnext_1e_6": partial(convnext, 1e-6),
    }  # fmt: skip
    return [case(f"vision_{name}", f"vision/{name}", build, IMAGES) for name, build in builders.items()]


def others() -> list[Case]:
    """Small-image classifiers, dense prediction, coordinates and odd losses."""
    maps = segments()
    return [
        case("vision_lenet5", "vision/lenet5", lenet, pictures(1, 28)),
        case("vision_highway_20", "vision/highway", highway, SMALL),
        case("vision_resnet20_bfloat16", "vision/resnet20", lambda: resnet(3).bfloat16(), cast(IMAGES, torch.bfloat16)),
        case("vision_resnet20_float64", "vision/resnet20", lambda: resnet(3).double(), cast(IMAGES, torch.float64)),
        case("vision_unet", "vision/unet", UNet, maps),
        case("vision_attention_unet", "vision/attention_unet", partial(UNet, True), maps),
        case("vision_fcn", "vision/fcn", fcn, maps),
        case("vision_retinanet", "vision/retinanet", Pyramid, maps, focal),
        case("vision_yolo", "vision/yolo", yolo, maps, cells),
        case("vision_deep_supervision", "vision/deep_supervision", DeeplySupervised, maps, own_loss),
        case("vision_siren", "vision/siren", siren, coordinates(), fit_pixels),
        case("vision_nerf", "vision/nerf", NeRF, coordinates(), fit_pixels),
        case("vision_deep_image_prior", "vision/deep_image_prior", prior, noise_and_picture(), fit_pixels),
        case("vision_capsules", "vision/capsules", Capsules, SMALL, margin),
    ]


def cases() -> list[Case]:
    """All cases of this module."""
    return classifiers() + others()
