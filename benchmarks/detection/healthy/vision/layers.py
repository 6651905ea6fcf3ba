"""The convolutions of torch.nn at their default initialisation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn
from torch.nn.utils import parametrizations

from benchmarks.detection.cases import Case
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import IMAGES_16, only, patterns, waves
from benchmarks.detection.vocabulary.blocks import pooled_head
from benchmarks.detection.vocabulary.losses import reconstruct


def conv_net(norm: Callable[[int], nn.Module] | None = None, depth: int = 3, width: int = 16) -> nn.Module:
    """Convolutions with a normalisation between them and the activation, pooled at the end."""
    layers: list[nn.Module] = []
    for index in range(depth):
        layers.append(nn.Conv2d(width if index else 3, width, 3, padding=1, stride=2 if index == 1 else 1))
        layers += [norm(width)] if norm else []
        layers.append(nn.ReLU())
    return nn.Sequential(*layers, *pooled_head(width))


def depthwise() -> nn.Module:
    """Depthwise convolutions, each followed by a pointwise one."""
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, padding=1)]
    for _ in range(2):
        layers += [nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 1)]
    return nn.Sequential(*layers, nn.ReLU(), *pooled_head(16))


def dilated() -> nn.Module:
    """Dilated convolutions."""
    layers: list[nn.Module] = []
    for channels, gap in ((3, 1), (16, 2), (16, 4)):
        layers += [nn.Conv2d(channels, 16, 3, padding=gap, dilation=gap), nn.ReLU()]
    return nn.Sequential(*layers, *pooled_head(16))


def autoencoder() -> nn.Module:
    """Strided convolutions down, transposed convolutions up."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 24, 3, 2, 1), nn.ReLU(),
        nn.ConvTranspose2d(24, 16, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(16, 3, 4, 2, 1),
    )  # fmt: skip


def upsampling() -> nn.Module:
    """Down by pooling, up by pixel shuffle."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(),
        nn.Conv2d(16, 12, 3, padding=1), nn.PixelShuffle(2),
    )  # fmt: skip


def conv1d() -> nn.Module:
    """Convolutions over time."""
    return nn.Sequential(
        nn.Conv1d(1, 16, 5, padding=2), nn.BatchNorm1d(16), nn.ReLU(), nn.MaxPool1d(2),
        nn.Conv1d(16, 32, 5, padding=2), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(32, 4),
    )  # fmt: skip


def conv3d() -> nn.Module:
    """Convolutions over a small volume."""
    return nn.Sequential(
        nn.Conv3d(1, 8, 3, padding=1), nn.BatchNorm3d(8), nn.ReLU(), nn.MaxPool3d(2),
        nn.Conv3d(8, 16, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(16, 4),
    )  # fmt: skip


def parametrised(kind: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """A conv net whose weights go through a parametrisation."""
    return nn.Sequential(
        kind(nn.Conv2d(3, 16, 3, padding=1)), nn.ReLU(), kind(nn.Conv2d(16, 16, 3, stride=2, padding=1)), nn.ReLU(),
        *pooled_head(16),
    )  # fmt: skip


def convolutions() -> list[Case]:
    """Convolutional networks with and without normalisation, in one to three dimensions."""
    norms: dict[str, Callable[[int], nn.Module] | None] = {
        "plain": None, "batchnorm": nn.BatchNorm2d, "groupnorm": partial(nn.GroupNorm, 4),
        "instancenorm": partial(nn.InstanceNorm2d, affine=True),
    }  # fmt: skip
    cases = [case(f"nn_conv_{k}", f"nn/conv_{k}", partial(conv_net, v), IMAGES_16) for k, v in norms.items()]
    kinds: dict[str, Callable[[nn.Module], nn.Module]] = {
        "weight_norm": parametrizations.weight_norm, "spectral_norm": parametrizations.spectral_norm,
        "orthogonal": parametrizations.orthogonal,
    }  # fmt: skip
    cases += [case(f"nn_{k}", f"nn/{k}", partial(parametrised, v), IMAGES_16) for k, v in kinds.items()]
    return [
        *cases,
        case("nn_conv_batchnorm_8_layers", "nn/conv_batchnorm", partial(conv_net, nn.BatchNorm2d, 8), IMAGES_16),
        case("nn_conv_depthwise", "nn/conv_depthwise", depthwise, IMAGES_16),
        case("nn_conv_dilated", "nn/conv_dilated", dilated, IMAGES_16),
        case("nn_conv_transposed", "nn/conv_transposed", autoencoder, only(IMAGES_16), reconstruct),
        case("nn_pixel_shuffle", "nn/pixel_shuffle", upsampling, only(IMAGES_16), reconstruct),
        case("nn_conv1d", "nn/conv1d", conv1d, waves(32)),
        case("nn_conv3d", "nn/conv3d", conv3d, patterns(1, 8, 8, 8)),
    ]


def cases() -> list[Case]:
    """The cases of this file."""
    return convolutions()
