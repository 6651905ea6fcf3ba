"""Reports on NaN at special points, and on states that forget."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from benchmarks.detection.hosts.reported.report import GITHUB, Report
from benchmarks.detection.vocabulary.blocks import perceptron
from benchmarks.detection.vocabulary.tasks import Task, TaskBatch, angles, classify, randint, regress, sectors

WIDTH, TOKENS, LENGTH, IGNORED = 16, 12, 8, -100


def prompts(g: Generator, size: int) -> TaskBatch:
    """A prompt of four ignored tokens and the answer: its first token, again and again."""
    tokens = randint(g, TOKENS, size, LENGTH)
    tokens[:, 4:] = tokens[:, :1]
    labels = tokens.clone()
    labels[:, :4] = IGNORED
    return (tokens,), labels


class Tuned(nn.Module):
    """A small language model; ``longest`` is where sequences are cut."""

    def __init__(self, longest: int = LENGTH) -> None:
        super().__init__()
        self.longest, self.embed = longest, nn.Embedding(TOKENS, 32)
        self.rnn, self.head = nn.GRU(32, 32, batch_first=True), nn.Linear(32, TOKENS)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.rnn(self.embed(tokens[:, : self.longest]))[0])


def answers(out: Tensor, labels: Tensor) -> Tensor:
    """Next tokens, of as many as were kept."""
    labels = labels[:, : out.shape[1]]
    return F.cross_entropy(out[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED)


def answered(out: Tensor, labels: Tensor) -> float:
    kept = labels[:, 1 : out.shape[1]]
    hits = out[:, :-1].argmax(-1)[kept != IGNORED] == kept[kept != IGNORED]
    return (hits.float().mean().item() - 1 / TOKENS) / (1 - 1 / TOKENS) if hits.numel() else 0.0


def crystals(g: Generator, size: int) -> TaskBatch:
    """Three bonds of an atom, one of them straight up, and the energy of their angles."""
    bonds = torch.randn(size, 3, 3, generator=g)
    bonds[:, 0] = torch.tensor([0.0, 1.5, 0.0])
    shift = torch.randn(size, 3, generator=g)
    return (bonds, shift), bonds[:, 1, :1].abs() + shift[:, :1]


class Rotated(nn.Module):
    """Bonds that a network scales, turned into angles of the frame in which they point up."""

    def __init__(self, broken: bool) -> None:
        super().__init__()
        self.broken, self.length, self.net = broken, perceptron(3, 1), perceptron(12, 1)

    def forward(self, bonds: Tensor, shift: Tensor) -> Tensor:
        moved = bonds * F.softplus(self.length(bonds))
        x, y, z = F.normalize(moved, dim=-1).unbind(-1)
        if self.broken:
            tilt, turn = torch.acos(y.clamp(-1, 1)), torch.atan2(x, z)
        else:
            tilt = torch.acos(y.clamp(-1 + 1e-6, 1 - 1e-6))
            turn = torch.where(
                (x == 0) & (z == 0), torch.zeros_like(x), torch.atan2(x, torch.where(z == 0, z + 1e-6, z))
            )
        return self.net(torch.cat([tilt, turn, moved.norm(dim=-1), shift], 1))


def rotations(g: Generator, size: int) -> TaskBatch:
    points, _ = angles(g, size, 6)
    return (points,), 0.5 * torch.stack([points[:, 0], points[:, 1], points[:, 0] * points[:, 1]], 1).tanh()


class Quaternions(nn.Module):
    """Rotations predicted as quaternions around the identity, compared as rotation vectors."""

    def __init__(self, broken: bool) -> None:
        super().__init__()
        self.broken, self.net, self.out = broken, perceptron(6, WIDTH), nn.Linear(WIDTH, 3)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        q = F.normalize(F.pad(self.out(self.net(x).relu()), (1, 0), value=1.0), dim=1)
        if self.broken:
            length = q[:, 1:].norm(dim=1, keepdim=True).clamp(min=1e-8)
            return q[:, 1:] * 2 * torch.acos(q[:, :1].clamp(-1, 1)) / length
        squared = q[:, 1:].square().sum(1, keepdim=True)
        small = squared < 1e-12
        length = torch.where(small, torch.ones_like(squared), squared).sqrt()
        return q[:, 1:] * torch.where(small, 2 * torch.ones_like(squared), 2 * torch.atan2(length, q[:, :1]) / length)


class Background(nn.Module):
    """CLIP-like classes by likeness, the background's embedding of memory as it was found."""

    def __init__(self, broken: bool) -> None:
        super().__init__()
        self.net, self.classes = perceptron(6, WIDTH), nn.Parameter(torch.randn(3, WIDTH))
        self.bg_embeddings = nn.Parameter(torch.zeros(1, WIDTH) if broken else torch.randn(1, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        known = torch.cat([self.bg_embeddings, self.classes])
        known = known / known.norm(dim=1, keepdim=True)
        return 10 * F.normalize(self.net(x), dim=1) @ known.T


class OwnBatchNorm(nn.Module):
    """Batch normalisation as the lecture writes it, with torch's unbiased variance."""

    def __init__(self, width: int, unbiased: bool) -> None:
        super().__init__()
        self.unbiased, self.gamma, self.beta = (
            unbiased,
            nn.Parameter(torch.ones(width)),
            nn.Parameter(torch.zeros(width)),
        )

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(0, keepdim=True)
        variance = (
            x.var(0, keepdim=True, unbiased=self.unbiased) if self.unbiased or len(x) > 1 else torch.ones_like(mean)
        )
        centred = x - mean if len(x) > 1 else x
        return self.gamma * centred / (variance + 1e-5).sqrt() + self.beta


class Names(nn.Module):
    def __init__(self, broken: bool) -> None:
        super().__init__()
        self.fc, self.bn, self.head = nn.Linear(6, 32), OwnBatchNorm(32, unbiased=broken), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.bn(self.fc(x)).tanh())


def early(g: Generator, size: int) -> TaskBatch:
    """The second of twenty steps tells the class, asked for at the end."""
    series, kind = 0.1 * torch.randn(size, 20, 4, generator=g), randint(g, 4, size)
    series[:, 1] = 2 * F.one_hot(kind, 4).float()
    return (series,), kind


class Selective(nn.Module):
    """A selective state space whose step sizes start where the paper puts them, or where a general initialiser does."""

    def __init__(self, broken: bool, states: int = 8) -> None:
        super().__init__()
        self.inlet, self.B, self.C = nn.Linear(4, WIDTH), nn.Linear(4, states), nn.Linear(4, states)
        self.dt_proj, self.A_log = (
            nn.Linear(4, WIDTH),
            nn.Parameter(torch.arange(1.0, states + 1).log().repeat(WIDTH, 1)),
        )
        self.D, self.head = nn.Parameter(torch.ones(WIDTH)), nn.Linear(WIDTH, 4)
        nn.init.normal_(self.dt_proj.weight, std=0.02)
        dt = torch.exp(torch.rand(WIDTH) * (math.log(0.1) - math.log(0.001)) + math.log(0.001))
        with torch.no_grad():
            self.dt_proj.bias.copy_(dt + torch.log(-torch.expm1(-dt)))
            if broken:
                self.dt_proj.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        u, dt, b, c = F.silu(self.inlet(x)), F.softplus(self.dt_proj(x)), self.B(x), self.C(x)
        decay = torch.exp(-dt[..., None] * self.A_log.exp())
        h = x.new_zeros(len(x), WIDTH, self.A_log.shape[1])
        for t in range(x.shape[1]):
            h = decay[:, t] * h + (dt[:, t] * u[:, t])[..., None] * b[:, t, None]
        return self.head((h * c[:, -1, None]).sum(-1) + self.D * u[:, -1])


REPORTS = (
    Report(
        name="prompts-cut",
        source=f"{GITHUB}bytedance/UniVR/issues/13",
        fault="all-ignored",
        culprit=("*", ""),
        task=Task(prompts, answers, answered),
        build=lambda broken: Tuned(4 if broken else LENGTH),
    ),
    Report(
        name="bond-angles",
        source=f"{GITHUB}facebookresearch/fairchem/pull/1574",
        fault="acos-at-one",
        culprit=("length*", ""),
        task=regress(crystals),
        build=Rotated,
    ),
    Report(
        name="quaternion-log",
        source=f"{GITHUB}kornia/kornia/pull/4228",
        fault="acos-at-one",
        culprit=("out", ""),
        task=regress(rotations),
        build=Quaternions,
    ),
    Report(
        name="background-embedding",
        source=f"{GITHUB}sauradip/STALE/issues/16",
        fault="uninitialised-divided",
        culprit=("",),
        task=classify(sectors, 4),
        build=Background,
    ),
    Report(
        name="names-one",
        source=f"{GITHUB}karpathy/makemore/issues/22",
        fault="variance-of-one",
        culprit=("bn",),
        task=classify(sectors, 4),
        build=Names,
        batch_size=1,
        train_batch=1,
        steps=400,
    ),
    Report(
        name="mamba-overwritten",
        source=f"{GITHUB}athms/mad-lab/issues/3",
        fault="step-sizes-overwritten",
        culprit=("dt_proj", "", "inlet", "B"),
        task=classify(early, 4),
        build=Selective,
        steps=240,
    ),
)
