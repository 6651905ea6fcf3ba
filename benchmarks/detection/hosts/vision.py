"""Hosts on 8x8 images: plain, residual, dense, separable and normaliser-free conv nets, U-Net, Mixer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .dense import Stack, he, initialise


def conv(inputs: int, outputs: int, stride: int = 1, groups: int = 1, size: int = 3, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=bias)


def conv_head(width: int, classes: int = 4) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


class PlainBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, norm: bool, stride: int = 1) -> None:
        super().__init__()
        self.conv = conv(inputs, outputs, stride, bias=not norm)
        self.norm = nn.BatchNorm2d(outputs) if norm else nn.Identity()
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x)))


def vgg(norm: bool, depth: int = 6, width: int = 12) -> nn.Module:
    body: list[nn.Module] = [PlainBlock(width, width, norm, 2 if i == 2 else 1) for i in range(depth)]
    model = Stack(PlainBlock(1, width, norm), body, conv_head(width))
    initialise(model, he)
    return model


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
