"""Hosts on images of eight by eight pixels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from benchmarks.detection.hosts.host import Host
from benchmarks.detection.vocabulary.stacks import PlainBlock, PreNorm, Stack, conv, he, initialise
from benchmarks.detection.vocabulary.tasks import (
    Task,
    TaskBatch,
    accuracy_gain,
    classify,
    explained,
    median_gain,
    pixel_gain,
    randint,
    stripes,
)

GLYPHS = ("010111010", "101010101", "111101111", "100100111")
SHAPES = ("111101111", "010111010", "101010101")


def conv_head(width: int, classes: int = 4) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


def vgg(norm: bool, depth: int = 6, width: int = 12) -> nn.Module:
    body: list[nn.Module] = [PlainBlock(width, width, norm, 2 if i == 2 else 1) for i in range(depth)]
    model = Stack(PlainBlock(1, width, norm), body, conv_head(width))
    initialise(model, he)
    return model


def directions(side: int = 8, noise: float = 0.3) -> Task:
    def draw(g: Generator, size: int) -> TaskBatch:
        kind = randint(g, 4, size)
        return (stripes(g, kind, side, noise),), kind

    return classify(draw, 4)


class LeNet(nn.Module):
    """Everything but the weights is a function: max-pool, ReLU, flatten."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv(1, 8), conv(8, 12)
        self.fc1, self.fc2 = nn.Linear(12 * 4, 32), nn.Linear(32, 24)
        self.head = nn.Linear(24, 4)
        self.function = "relu"

    def act(self, x: Tensor) -> Tensor:
        return getattr(torch, self.function)(x)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.act(self.conv1(x)), 2)
        x = F.max_pool2d(self.act(self.conv2(x)), 2).flatten(1)
        return self.head(self.act(self.fc2(self.act(self.fc1(x)))))


class BasicBlock(nn.Module):
    """ResNet's block; one ReLU module serves both places, as in torchvision."""

    def __init__(self, width: int, squeeze: bool = False) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(width, width, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width, bias=False), nn.BatchNorm2d(width)
        self.act = nn.ReLU(inplace=True)
        self.squeeze = (
            nn.Sequential(
                nn.AdaptiveAvgPool2d(1), conv(width, width // 2, size=1), nn.ReLU(), conv(width // 2, width, size=1)
            )
            if squeeze
            else None
        )
        self.residual = True

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.act(self.bn1(self.conv1(x)))))
        if self.squeeze is not None:
            out = out * self.squeeze(out).sigmoid()
        return self.act(x + out if self.residual else out)


def resnet(depth: int = 4, width: int = 12, squeeze: bool = False) -> nn.Module:
    return Stack(PlainBlock(1, width, True, 2), [BasicBlock(width, squeeze) for _ in range(depth)], conv_head(width))


class PreActBlock(nn.Module):
    """Activations are functions here."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(width), conv(width, width, bias=False)
        self.bn2, self.conv2 = nn.BatchNorm2d(width), conv(width, width, bias=False)
        self.residual, self.function = True, "relu"

    def forward(self, x: Tensor) -> Tensor:
        act = getattr(torch, self.function)
        out = self.conv2(act(self.bn2(self.conv1(act(self.bn1(x))))))
        return x + out if self.residual else out


def preact(depth: int = 4, width: int = 12) -> nn.Module:
    return Stack(conv(1, width, 2), [PreActBlock(width) for _ in range(depth)], conv_head(width))


class ConvNeXtBlock(nn.Module):
    def __init__(self, width: int, scale: float = 0.1) -> None:
        super().__init__()
        self.depthwise = conv(width, width, groups=width)
        self.norm, self.fc1 = nn.LayerNorm(width), nn.Linear(width, 2 * width)
        self.act, self.fc2 = nn.GELU(), nn.Linear(2 * width, width)
        self.gamma = nn.Parameter(torch.full((width,), scale))
        self.residual = True

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        out = (self.gamma * self.fc2(self.act(self.fc1(out)))).permute(0, 3, 1, 2)
        return x + out if self.residual else out


def convnext(depth: int = 4, width: int = 16) -> nn.Module:
    return Stack(conv(1, width, 2), [ConvNeXtBlock(width) for _ in range(depth)], conv_head(width))


class Inverted(nn.Module):
    """MobileNetV2's block: expand, depthwise, project without an activation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = 2 * width
        self.expand, self.bn1, self.act1 = conv(width, hidden, size=1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6()
        self.depthwise, self.bn2 = conv(hidden, hidden, groups=hidden, bias=False), nn.BatchNorm2d(hidden)
        self.act2 = nn.ReLU6()
        self.project, self.bn3 = conv(hidden, width, size=1, bias=False), nn.BatchNorm2d(width)
        self.residual = True

    def forward(self, x: Tensor) -> Tensor:
        out = self.act2(self.bn2(self.depthwise(self.act1(self.bn1(self.expand(x))))))
        out = self.bn3(self.project(out))
        return x + out if self.residual else out


def mobilenet(depth: int = 3, width: int = 12) -> nn.Module:
    return Stack(PlainBlock(1, width, True, 2), [Inverted(width) for _ in range(depth)], conv_head(width))


class Grow(nn.Module):
    """DenseNet's layer: its output is appended to its input."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.norm, self.act, self.conv = nn.BatchNorm2d(inputs), nn.ReLU(), conv(inputs, growth, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.conv(self.act(self.norm(x)))], 1)


def densenet(depth: int = 5, growth: int = 6) -> nn.Module:
    body: list[nn.Module] = [Grow(8 + i * growth, growth) for i in range(depth)]
    return Stack(conv(1, 8, 2), body, conv_head(8 + depth * growth))


class ScaledConv(nn.Conv2d):
    """Convolution with standardised weights: a normaliser-free net's replacement for a norm."""

    def forward(self, x: Tensor) -> Tensor:
        mean, var = self.weight.mean((1, 2, 3), keepdim=True), self.weight.var((1, 2, 3), keepdim=True)
        fan_in = self.weight[0].numel()
        weight = (self.weight - mean) * (var * fan_in).clamp(min=1e-4).rsqrt() * 1.4
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)


class FreeBlock(nn.Module):
    def __init__(self, width: int, beta: float) -> None:
        super().__init__()
        self.conv1, self.conv2 = ScaledConv(width, width, 3, padding=1), ScaledConv(width, width, 3, padding=1)
        self.act1, self.act2 = nn.ReLU(), nn.ReLU()
        self.beta, self.alpha = beta, 0.3
        self.residual = True

    def forward(self, x: Tensor) -> Tensor:
        out = self.alpha * self.conv2(self.act2(self.conv1(self.act1(x / self.beta))))
        return x + out if self.residual else out


def normfree(depth: int = 4, width: int = 12) -> nn.Module:
    body: list[nn.Module] = [FreeBlock(width, (1 + 0.09 * i) ** 0.5) for i in range(depth)]
    return Stack(ScaledConv(1, width, 3, 2, 1), body, conv_head(width))


class MixerBlock(nn.Module):
    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.tokens = nn.Sequential(nn.Linear(tokens, 2 * tokens), nn.GELU(), nn.Linear(2 * tokens, tokens))
        self.channels = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.residual = True

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        x = x + mixed if self.residual else mixed
        out = self.channels(self.norm2(x))
        return x + out if self.residual else out


class Patches(nn.Module):
    """2x2 patches as tokens, with a learned place for each."""

    def __init__(self, width: int, tokens: int = 16) -> None:
        super().__init__()
        self.project = nn.Conv2d(1, width, 2, 2)
        self.places = nn.Parameter(0.1 * torch.randn(tokens, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.project(x).flatten(2).transpose(1, 2) + self.places


class TokenHead(nn.Module):
    """Norm, mean over tokens, linear."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.norm(x).mean(1))


def mixer(depth: int = 3, width: int = 16) -> nn.Module:
    return Stack(Patches(width), [MixerBlock(16, width) for _ in range(depth)], TokenHead(width, 4))


def vit(depth: int = 3, width: int = 16) -> nn.Module:
    return Stack(Patches(width), [PreNorm(width) for _ in range(depth)], TokenHead(width, 4))


class UNet(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.down1, self.down2 = PlainBlock(1, width, True), PlainBlock(width, 2 * width, True, 2)
        self.middle = PlainBlock(2 * width, 2 * width, True, 2)
        self.up2 = PlainBlock(4 * width, width, True)
        self.up1 = PlainBlock(2 * width, width, True)
        self.head = conv(width, 1, size=1)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.down1(x)
        coarse = self.down2(fine)
        deep = F.interpolate(self.middle(coarse), scale_factor=2)
        up = F.interpolate(self.up2(torch.cat([deep, coarse], 1)), scale_factor=2)
        return self.head(self.up1(torch.cat([up, fine], 1)))


def textures(side: int = 8) -> Task:
    """Which pixels lie on the upright stripes, right of a random border?"""

    def draw(g: Generator, size: int) -> TaskBatch:
        left, right = (stripes(g, torch.full((size,), k), side, 0.2) for k in (0, 1))
        border = 2 + randint(g, side - 3, size, 1, 1, 1)
        mask = torch.arange(side).expand(size, 1, side, side) >= border
        return (torch.where(mask, right, left),), mask.float()

    return Task(draw, F.binary_cross_entropy_with_logits, median_gain)


class RepBlock(nn.Module):
    """RepVGG: a 3x3 and a 1x1 convolution and the input itself, each normalised, added before the activation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv3, self.bn3 = conv(width, width, bias=False), nn.BatchNorm2d(width)
        self.conv1, self.bn1 = conv(width, width, size=1, bias=False), nn.BatchNorm2d(width)
        self.bn0, self.act = nn.BatchNorm2d(width), nn.ReLU()
        self.residual = True

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn3(self.conv3(x)) + self.bn1(self.conv1(x))
        return self.act(out + self.bn0(x) if self.residual else out)


def repvgg(depth: int = 4, width: int = 12) -> nn.Module:
    return Stack(conv(1, width, bias=False), [RepBlock(width) for _ in range(depth)], conv_head(width))


def glyphs(side: int = 8, noise: float = 0.3) -> Task:
    """Which of four 3x3 signs stands somewhere in the picture?"""
    signs = torch.tensor([[float(bit) for bit in glyph] for glyph in GLYPHS]).view(4, 3, 3)

    def draw(g: Generator, size: int) -> TaskBatch:
        kind, rows, columns = randint(g, 4, size), randint(g, side - 2, size), randint(g, side - 2, size)
        image = noise * torch.randn(size, 1, side, side, generator=g)
        for i in range(size):
            image[i, 0, rows[i] : rows[i] + 3, columns[i] : columns[i] + 3] += signs[kind[i]]
        return (image,), kind

    return classify(draw, 4)


class InceptionBlock(nn.Module):
    """Branches of several sizes side by side, concatenated."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.point = nn.Sequential(conv(inputs, width, size=1), nn.ReLU())
        self.narrow = nn.Sequential(conv(inputs, width, size=1), nn.ReLU(), conv(width, width), nn.ReLU())
        self.wide = nn.Sequential(conv(inputs, width, size=1), nn.ReLU(), conv(width, width, size=5), nn.ReLU())
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), conv(inputs, width, size=1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.point(x), self.narrow(x), self.wide(x), self.pool(x)], 1)


def inception(depth: int = 3, width: int = 4) -> nn.Module:
    stem = nn.Sequential(conv(1, 4 * width), nn.ReLU())
    model = Stack(stem, [InceptionBlock(4 * width, width) for _ in range(depth)], conv_head(4 * width))
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    return model


def stage(inputs: int, outputs: int, stride: int) -> nn.Module:
    return nn.Sequential(conv(inputs, outputs, stride, bias=False), nn.GroupNorm(4, outputs), nn.SiLU())


class Pyramid(nn.Module):
    """A feature pyramid: three scales bottom-up, laterals, top-down sums, a mask for every pixel."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.up1, self.up2, self.up3 = stage(1, width, 1), stage(width, width, 2), stage(width, width, 2)
        self.side1, self.side2, self.side3 = (conv(width, width, size=1) for _ in range(3))
        self.smooth = stage(width, width, 1)
        self.head = conv(width, 1, size=1)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.up1(x)
        middle = self.up2(fine)
        top = self.side3(self.up3(middle))
        down = self.side2(middle) + F.interpolate(top, scale_factor=2.0)
        return self.head(self.smooth(self.side1(fine) + F.interpolate(down, scale_factor=2.0)))


def chequered(side: int = 8) -> Task:
    """Which pixels lie in a rectangle with a chequered pattern? Brightness alone does not tell."""
    board = 2 * ((torch.arange(side)[:, None] + torch.arange(side)) % 2).float() - 1
    place = torch.arange(side)

    def between(g: Generator, size: int) -> Tensor:
        low, length = randint(g, side // 2, size, 1), 3 + randint(g, side // 2, size, 1)
        return (place >= low) & (place < low + length)

    def draw(g: Generator, size: int) -> TaskBatch:
        inside = (between(g, size)[:, :, None] & between(g, size)[:, None, :])[:, None]
        sign = 2 * randint(g, 2, size, 1, 1, 1).float() - 1
        plain = torch.randn(size, 1, side, side, generator=g).sign()
        image = torch.where(inside, sign * board, plain)
        return (image + 0.2 * torch.randn(image.shape, generator=g),), inside.float()

    return Task(draw, F.binary_cross_entropy_with_logits, pixel_gain)


class PooledBlock(nn.Module):
    """Convolution, leaky ReLU and, where asked for, a max-pool; no normalisation."""

    def __init__(self, inputs: int, outputs: int, pool: bool = False) -> None:
        super().__init__()
        self.conv, self.act = conv(inputs, outputs), nn.LeakyReLU(0.1)
        self.pool = nn.MaxPool2d(2) if pool else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.act(self.conv(x)))


def deep_cnn(depth: int = 8, width: int = 12, classes: int = 4) -> nn.Module:
    body: list[nn.Module] = [PooledBlock(width, width, i in (0, 4)) for i in range(depth)]
    model = Stack(PooledBlock(1, width), body, nn.Sequential(nn.Flatten(), nn.Linear(4 * width, classes)))
    initialise(model, he)
    return model


def gaps(side: int = 8, noise: float = 0.2) -> Task:
    """On which of its four sides has the ring a gap?"""
    ring = torch.ones(4, 4)
    ring[1:3, 1:3] = 0
    rings = []
    for turn in range(4):
        open_ring = ring.clone()
        open_ring[0, 1:3] = 0
        rings.append(open_ring.rot90(turn))
    signs = torch.stack(rings)

    def draw(g: Generator, size: int) -> TaskBatch:
        kind, rows, columns = randint(g, 4, size), randint(g, side - 3, size), randint(g, side - 3, size)
        image = noise * torch.randn(size, 1, side, side, generator=g)
        for i in range(size):
            image[i, 0, rows[i] : rows[i] + 4, columns[i] : columns[i] + 4] += 1.5 * signs[kind[i]]
        return (image,), kind

    return classify(draw, 4)


class Localiser(nn.Module):
    """What is in the picture, and where: one backbone, two heads, two losses."""

    def __init__(self, width: int = 10, kinds: int = 3) -> None:
        super().__init__()
        self.stem = PlainBlock(1, width, True)
        self.body = nn.Sequential(*(PlainBlock(width, width, True, 2 if i == 1 else 1) for i in range(3)))
        self.flat = nn.Flatten()
        self.kind, self.box = nn.Linear(16 * width, kinds), nn.Linear(16 * width, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.flat(self.body(self.stem(x)))
        return self.kind(hidden), self.box(hidden)


def found_where(side: int = 8, noise: float = 0.2) -> Task:
    """Which of three shapes is in the picture, and at which place? The gain is the mean of both."""
    shapes = torch.tensor([[float(bit) for bit in shape] for shape in SHAPES]).view(3, 3, 3)

    def draw(g: Generator, size: int) -> TaskBatch:
        kind, places = randint(g, 3, size), randint(g, side - 2, size, 2)
        image = noise * torch.randn(size, 1, side, side, generator=g)
        for i in range(size):
            row, column = places[i].tolist()
            image[i, 0, row : row + 3, column : column + 3] += shapes[kind[i]]
        return (image,), (kind, 2 * places.float() / (side - 3) - 1)

    def loss(out: tuple[Tensor, Tensor], target: Any) -> Tensor:
        return F.cross_entropy(out[0], target[0]) + F.smooth_l1_loss(out[1], target[1])

    def gain(out: tuple[Tensor, Tensor], target: Any) -> float:
        return 0.5 * max(accuracy_gain(3)(out[0], target[0]), 0.0) + 0.5 * max(explained(out[1], target[1]), 0.0)

    return Task(draw, loss, gain)


class Siamese(nn.Module):
    """One encoder of short signals for an anchor, a like one and an unlike one."""

    def __init__(self, width: int = 12, outputs: int = 8) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(1, width, 5, 2, 2), nn.ReLU())
        self.body = nn.Sequential(
            *(nn.Sequential(nn.Conv1d(width, width, 3, 1 + i % 2, 1), nn.ReLU()) for i in range(3))
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(8 * width, outputs))
        initialise(self, he)

    def encode(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.stem(x)))

    def forward(self, anchor: Tensor, like: Tensor, unlike: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.encode(anchor), self.encode(like), self.encode(unlike)


def alike(length: int = 32, kinds: int = 4, noise: float = 0.3) -> Task:
    """Sines of a few pitches with any phase: the anchor is to be nearer to the one of its own pitch."""

    def signal(g: Generator, pitch: Tensor) -> Tensor:
        phase = 2 * math.pi * torch.rand(len(pitch), 1, generator=g)
        wave = (2 * math.pi * (pitch[:, None] + 1.5) * torch.arange(length) / length + phase).sin()
        return (wave + noise * torch.randn(wave.shape, generator=g))[:, None]

    def draw(g: Generator, size: int) -> TaskBatch:
        pitch, step = randint(g, kinds, size), 1 + randint(g, kinds - 1, size)
        return tuple(signal(g, which) for which in (pitch, pitch, (pitch + step) % kinds)), torch.zeros(size)

    def loss(out: tuple[Tensor, Tensor, Tensor], target: Tensor) -> Tensor:
        return F.triplet_margin_loss(*out)

    def gain(out: tuple[Tensor, Tensor, Tensor], target: Tensor) -> float:
        anchor, like, unlike = (part.float() for part in out)
        near, far = (anchor - like).norm(dim=1), (anchor - unlike).norm(dim=1)
        return 2 * (near < far).float().mean().item() - 1

    return Task(draw, loss, gain)


class AllConv(nn.Module):
    """Ten convolutions in a row, strides in the place of pools, ReLU as a function, no norm."""

    def __init__(self, channels: int = 12, depth: int = 10, classes: int = 4) -> None:
        super().__init__()
        strides = [2 if i in (3, 6) else 1 for i in range(depth)]
        self.convs = nn.ModuleList(
            nn.Conv2d(channels if i else 1, channels, 3, stride, 1) for i, stride in enumerate(strides)
        )
        self.fc = nn.Linear(4 * channels, classes)
        self.nonlinearity: Callable[[Tensor], Tensor] = F.relu
        for layer in self.convs:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def features(self, x: Tensor) -> Tensor:
        for layer in self.convs:
            x = self.nonlinearity(layer(x))
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.flatten(self.features(x), 1))


def counted(side: int = 8, noise: float = 0.1) -> Task:
    """One to four bright squares, each of its own brightness: how many?"""

    def draw(g: Generator, size: int) -> TaskBatch:
        kind = randint(g, 4, size)
        order = torch.rand(size, 9, generator=g).argsort(1)
        lit = (order <= kind[:, None]).float() * (0.6 + torch.rand(size, 9, generator=g))
        cells = F.pad(lit.view(size, 3, 3, 1, 1).expand(-1, -1, -1, 2, 2), (0, 1, 0, 1))
        image = F.pad(cells.permute(0, 1, 3, 2, 4).reshape(size, 9, 9), (0, side - 9, 0, side - 9))
        return ((image + noise * torch.randn(image.shape, generator=g))[:, None],), kind

    return classify(draw, 4)


class GroupNormBlock(nn.Module):
    """The basic block of a ResNet, with group norm and a projection where the shape changes."""

    def __init__(self, inplanes: int, planes: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1, self.gn1 = nn.Conv2d(inplanes, planes, 3, stride, 1, bias=False), nn.GroupNorm(4, planes)
        self.conv2, self.gn2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False), nn.GroupNorm(4, planes)
        self.relu = nn.ReLU()
        same = stride == 1 and inplanes == planes
        self.downsample = nn.Identity() if same else nn.Conv2d(inplanes, planes, 1, stride, bias=False)

    def branch(self, x: Tensor) -> Tensor:
        return self.gn2(self.conv2(self.relu(self.gn1(self.conv1(x)))))

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.branch(x) + self.downsample(x))


class GroupNormResNet(nn.Module):
    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.conv1, self.gn1 = nn.Conv2d(1, 8, 3, 1, 1, bias=False), nn.GroupNorm(4, 8)
        self.layer1 = nn.Sequential(GroupNormBlock(8, 8), GroupNormBlock(8, 8))
        self.layer2 = nn.Sequential(GroupNormBlock(8, 16, 2), GroupNormBlock(16, 16))
        self.fc = nn.Linear(256, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.gn1(self.conv1(x)))
        return self.fc(self.layer2(self.layer1(x)).flatten(1))


def beside(side: int = 8, noise: float = 0.2) -> Task:
    """A full square and a hollow one: which of the four ways leads from the one to the other?"""
    full, hollow = torch.ones(3, 3), torch.ones(3, 3)
    hollow[1, 1] = -1
    corners = ((0, 2, 5, 2), (2, 5, 2, 0), (5, 2, 0, 2), (2, 0, 2, 5))

    def draw(g: Generator, size: int) -> TaskBatch:
        kind, shift = randint(g, 4, size), randint(g, 3, size, 2) - 1
        image = noise * torch.randn(size, 1, side, side, generator=g)
        for i in range(size):
            rows, columns = (int(step) for step in shift[i])
            top, left, bottom, right = corners[int(kind[i])]
            across = (0, columns) if top != bottom else (rows, 0)
            for shape, row, column in ((full, top, left), (hollow, bottom, right)):
                y, x = row + across[0], column + across[1]
                image[i, 0, y : y + 3, x : x + 3] += shape
        return (image,), kind

    return classify(draw, 4)


def hosts() -> list[Host]:
    """The hosts of this file."""
    return [
        Host(name="vgg-plain", build=lambda: vgg(False), task=directions(), steps=100, train_batch=32),
        Host(name="vgg-bn", build=lambda: vgg(True), task=directions(), steps=100, train_batch=32),
        Host(
            name="lenet",
            build=LeNet,
            task=directions(),
            chain="",
            sites=("conv1", "conv2", "fc2"),
            trunk=("conv*", "fc*"),
            steps=100,
            train_batch=32,
        ),
        Host(name="resnet", build=resnet, task=directions(), steps=100, train_batch=32),
        Host(name="preact-resnet", build=preact, task=directions(), steps=100, train_batch=32),
        Host(name="se-resnet", build=lambda: resnet(3, squeeze=True), task=directions(), steps=100, train_batch=32),
        Host(name="convnext", build=convnext, task=directions(), steps=100, train_batch=32),
        Host(name="mobilenet", build=mobilenet, task=directions(), steps=100, train_batch=32),
        Host(name="densenet", build=densenet, task=directions(), steps=100, train_batch=32),
        Host(name="normfree", build=normfree, task=directions(), steps=100, train_batch=32),
        Host(name="mixer", build=mixer, task=directions(), steps=100, train_batch=32),
        Host(name="vit", build=vit, task=directions(), steps=100, train_batch=32),
        Host(
            name="unet",
            build=UNet,
            task=textures(),
            chain="",
            sites=("down1", "middle", "up1"),
            trunk=("down*", "middle*", "up*"),
            steps=100,
            train_batch=24,
        ),
        Host(name="repvgg", build=repvgg, task=glyphs(), steps=100, train_batch=32, round=2),
        Host(name="inception", build=inception, task=glyphs(noise=0.15), steps=140, train_batch=24, round=2),
        Host(
            name="pyramid",
            build=Pyramid,
            task=chequered(),
            chain="",
            sites=("up1", "up3", "smooth"),
            trunk=("up*", "side*", "smooth*"),
            steps=100,
            train_batch=32,
            round=2,
        ),
        Host(name="deep-cnn", build=deep_cnn, task=gaps(), steps=100, train_batch=32, round=3),
        Host(name="localiser", build=Localiser, task=found_where(), steps=120, train_batch=32, round=3),
        Host(name="siamese", build=Siamese, task=alike(), steps=100, train_batch=32, round=3),
        Host(
            name="all-conv",
            build=AllConv,
            task=counted(),
            chain="",
            sites=("convs.1", "convs.5", "convs.8"),
            trunk=("convs*",),
            steps=120,
            train_batch=32,
            round=4,
        ),
        Host(
            name="groupnorm-resnet",
            build=GroupNormResNet,
            task=beside(),
            chain="",
            sites=("layer1.0", "layer1.1", "layer2.1"),
            trunk=("conv1", "gn1", "layer*"),
            steps=60,
            train_batch=32,
            round=4,
        ),
    ]
