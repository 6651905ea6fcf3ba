"""Reports on images."""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from benchmarks.detection.hosts.reported.report import GITHUB, Report
from benchmarks.detection.vocabulary.tasks import Task, TaskBatch, classify, randint, regress, stripes

SIDE, KINDS = 12, 4


def striped(g: Generator, size: int) -> TaskBatch:
    """Images of stripes in one of four directions."""
    kind = randint(g, KINDS, size)
    return (stripes(g, kind, SIDE, 0.3),), kind


def digits(g: Generator, size: int) -> TaskBatch:
    """Flat images in [0, 1], each a noisy template."""
    kind = randint(g, 10, size)
    templates = torch.rand(10, 64, generator=torch.Generator().manual_seed(7))
    return ((0.6 * templates[kind] + 0.4 * torch.rand(size, 64, generator=g)),), kind


def codes(g: Generator, size: int) -> TaskBatch:
    """Codes, and the smooth image that each stands for."""
    code = torch.randn(size, 4, generator=g)
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, SIDE), torch.linspace(-1, 1, SIDE), indexing="ij")
    waves = torch.stack([rows, columns, (3 * rows).sin(), (3 * columns).cos()])
    return (code,), torch.einsum("nk,khw->nhw", code, waves)[:, None].tanh()


def dark(g: Generator, size: int) -> TaskBatch:
    """Dark photographs, some of them grey, and how they should look: channels first."""
    bright = torch.rand(size, 3, 1, 1, generator=g) * 0.5 + 0.5 * torch.rand(size, 3, 8, 8, generator=g)
    bright[::4] = bright[::4].mean((1, 2, 3), keepdim=True)  # grey cards
    return (0.3 * bright,), bright


def generator(broken: bool) -> nn.Module:
    """A deconvolutional generator whose weights start ten times as large as meant: 0.2 for 0.02."""
    width = 24
    layers: list[nn.Module] = [nn.Linear(4, width * 9), nn.Unflatten(1, (width, 3, 3)), nn.LeakyReLU(0.2)]
    for scale in (2, 2, 1, 1, 1):
        layers += [nn.Upsample(scale_factor=scale), nn.Conv2d(width, width, 3, padding=1), nn.LeakyReLU(0.2)]
    layers += [nn.Conv2d(width, 1, 3, padding=1)]
    model = nn.Sequential(*layers)
    for module in model:
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, 0, 0.2 if broken else 0.08)
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    return model


def rectified(broken: bool) -> nn.Module:
    """A perceptron for digits that rectifies its scores, too."""
    sizes = [64, 52, 32, 24, 16, 10]
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*(layers if broken else layers[:-1]))


class Inflated(nn.Module):
    """A tower that calls the probability to keep what torch calls the probability to drop."""

    def __init__(self, broken: bool, dropout_keep_prob: float = 1.0) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.AvgPool2d(2),
        )  # fmt: skip
        self.dropout = nn.Dropout(dropout_keep_prob if broken else 1 - dropout_keep_prob)
        self.logits = nn.Conv2d(32, KINDS, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(self.dropout(self.features(x))).mean((2, 3))


class Curves(nn.Module):
    """Enhances photographs by curves that it learns."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        curve = self.second(self.first(x).relu())
        return x + curve * (x + 0.5)


def colour_balance(power_eps: float, out: Tensor, target: Tensor) -> Tensor:
    """The image's error, and how far the means of its colours are apart, with a root around squares."""
    red, green, blue = out.mean((2, 3)).unbind(1)
    apart = (red - green).square().square() + (red - blue).square().square() + (green - blue).square().square()
    wanted = target.mean((2, 3))
    ours = (apart + power_eps).pow(0.5)
    theirs = wanted.var(1)
    return F.mse_loss(out, target) + 0.01 * (ours - theirs).square().mean()


def grey_start(broken: bool) -> nn.Module:
    """At first the network changes nothing, so that a grey card stays grey."""
    del broken
    model = Curves()
    nn.init.zeros_(model.second.weight)
    nn.init.zeros_(model.second.bias)  # type: ignore[arg-type]
    return model


class LogProbabilities(nn.Module):
    """Ends in log_softmax in front of cross_entropy, which changes nothing: the normalisation of a normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.head = nn.Linear(64, KINDS)

    def forward(self, x: Tensor) -> Tensor:
        return F.log_softmax(self.head(self.body(x)), dim=1)


def frozen_start() -> nn.Module:
    """A pretrained trunk whose first block is frozen to save memory."""
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32),
        nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(288, KINDS),
    )  # fmt: skip
    model[:2].requires_grad_(False)
    return model


class ViT(nn.Module):
    """Attention that divides by the root of its width in front of the softmax, or by mistake behind it."""

    def __init__(self, broken: bool, width: int = 32, patch: int = 3) -> None:
        super().__init__()
        self.broken, self.width = broken, width
        self.patches = nn.Conv2d(1, width, patch, patch)
        self.place = nn.Parameter(torch.randn(1, (SIDE // patch) ** 2, width) * 0.1)
        self.norm, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 64), nn.GELU(), nn.Linear(64, width))
        self.head = nn.Linear(width, KINDS)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2) + self.place
        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)
        energy = q @ k.transpose(1, 2)
        scale = math.sqrt(self.width)
        weights = energy.softmax(-1) / scale if self.broken else (energy / scale).softmax(-1)
        x = x + self.out(weights @ v)
        return self.head((x + self.mlp(x)).mean(1))


def without_eps(out: Tensor, target: Tensor) -> Tensor:
    return colour_balance(0.0, out, target)


def with_eps(out: Tensor, target: Tensor) -> Tensor:
    return colour_balance(1e-5, out, target)


def whole_images(out: Tensor, target: Tensor) -> float:
    return float(1 - (out - target).square().mean() / (target - target.mean()).square().mean())


REPORTS = (
    Report(
        name="histogan-decoder",
        source=f"{GITHUB}sophiajw/HistAuGAN/pull/4",
        fault="init-ten-times",
        culprit=("*",),
        task=regress(codes),
        build=generator,
    ),
    Report(
        name="zero-to-all-digits",
        source=f"{GITHUB}hunkim/PyTorchZeroToAll/pull/4",
        fault="relu-before-cross-entropy",
        culprit=("8", "9"),
        task=classify(digits, 10),
        build=rectified,
    ),
    Report(
        name="i3d-head",
        source=f"{GITHUB}hassony2/kinetics_i3d_pytorch/issues/6",
        fault="dropout-keep-for-drop",
        culprit=("dropout", "logits"),
        task=classify(striped, KINDS),
        build=Inflated,
    ),
    Report(
        name="zero-dce-colour",
        source=f"{GITHUB}Li-Chongyi/Zero-DCE_extension/issues/2",
        fault="power-at-zero",
        culprit=("second", ""),
        task=Task(dark, with_eps, whole_images),
        build=grey_start,
        wrong_loss=without_eps,
    ),
    Report(
        name="vit-scaling",
        source=f"{GITHUB}FrancescoSaverioZuppichini/ViT/issues/2",
        fault="scaled-behind-softmax",
        culprit=("qkv", "out"),
        task=classify(striped, KINDS),
        build=ViT,
        steps=240,
    ),
    Report(
        name="log-softmax-twice",
        source=f"{GITHUB}rasbt/machine-learning-book/issues/37",
        task=classify(striped, KINDS),
        build=lambda broken: LogProbabilities(),
    ),
    Report(
        name="frozen-first-block",
        source=f"{GITHUB}FangyunWei/SLRT/issues/74",
        task=classify(striped, KINDS),
        build=lambda broken: frozen_start(),
    ),
)
