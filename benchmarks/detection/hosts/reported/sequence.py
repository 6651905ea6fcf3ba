"""Reports on series, sound and recurrences."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from benchmarks.detection.hosts.reported.report import GITHUB, Report
from benchmarks.detection.vocabulary.tasks import Task, TaskBatch, classify, explained, randint, regress

FRAMES, BANDS = 24, 8


def peptides(g: Generator, size: int) -> TaskBatch:
    """Sequences of residues, and a cross section that grows with the mass: never negative."""
    residues = randint(g, 20, size, 12)
    mass = torch.linspace(0.2, 1, 20)[residues].sum(1, keepdim=True)
    return (residues,), mass / 7


def tones(g: Generator, size: int) -> TaskBatch:
    """One of four tones at a random phase, in noise."""
    kind = randint(g, 4, size)
    frequency = torch.tensor([0.05, 0.11, 0.17, 0.23])[kind]
    phase = torch.rand(size, 1, generator=g)
    wave = (2 * math.pi * (frequency[:, None] * torch.arange(96) + phase)).sin()
    return ((wave + 0.3 * torch.randn(size, 96, generator=g))[:, None],), kind


def speech(g: Generator, size: int) -> TaskBatch:
    """Noisy spectra with silence at the end of some, and the clean ones."""
    clean = torch.rand(size, FRAMES, 1, generator=g) * torch.rand(size, 1, BANDS, generator=g).square()
    noisy = (clean + 0.3 * torch.rand(size, FRAMES, BANDS, generator=g)).clone()
    noisy[::3, -6:], clean[::3, -6:] = 0, 0
    return (noisy,), clean


def recall(g: Generator, size: int) -> TaskBatch:
    """Two signals, the first shown early, the second late; the answer is their combination."""
    series = 0.2 * torch.randn(size, 10, 4, generator=g)
    early, late = randint(g, 2, size), randint(g, 2, size)
    series[:, 1, 0] += 2.0 * early - 1
    series[:, 8, 1] += 2.0 * late - 1
    return (series,), 2 * early + late


def latest_frames(g: Generator, size: int) -> TaskBatch:
    """Videos as features of frames: a change between two frames is what happens."""
    frames = torch.randn(size, 6, 8, generator=g)
    kind = randint(g, 4, size)
    frames[:, 4, 0] = 2.0 * (kind % 2) - 1
    frames[:, 5, 0] = 2.0 * (kind // 2) - 1
    return (frames,), kind


class CrossSection(nn.Module):
    """An LSTM for regression with a rectifier at its end, at an initialisation where it is off for every peptide."""

    def __init__(self, broken: bool, width: int = 24) -> None:
        super().__init__()
        self.broken = broken
        self.embed, self.lstm = nn.Embedding(20, width), nn.LSTM(width, width, batch_first=True)
        self.last = nn.Linear(width, 1)
        nn.init.constant_(self.last.bias, -0.6)

    def forward(self, residues: Tensor) -> Tensor:
        out = self.last(self.lstm(self.embed(residues))[0].mean(1))
        return out.relu() if self.broken else out


class GaborFront(nn.Module):
    """Filters of sound whose parameters pass through a constraint, by mistake without a graph."""

    def __init__(self, broken: bool, filters: int = 16) -> None:
        super().__init__()
        self.broken = broken
        self.kernel = nn.Parameter(torch.stack([torch.rand(filters) * 1.5, torch.full((filters,), 6.0)], 1))
        self.norm = nn.BatchNorm1d(filters)
        self.head = nn.Sequential(nn.Linear(filters, 32), nn.ReLU(), nn.Linear(32, 4))

    def constrained(self) -> Tensor:
        centre, width = self.kernel.unbind(1)
        return torch.stack([centre.clamp(0, math.pi), width.clamp(2, 12)], 1)

    def forward(self, sound: Tensor) -> Tensor:
        with torch.set_grad_enabled(not self.broken and torch.is_grad_enabled()):
            centre, width = self.constrained()[..., None].unbind(1)
        time = torch.arange(-12, 13, dtype=sound.dtype)
        window = (-0.5 * (time / width).square()).exp()
        real, imaginary = (F.conv1d(sound, (wave(centre * time) * window)[:, None]) for wave in (torch.cos, torch.sin))
        power = real.square() + imaginary.square()
        return self.head(self.norm((power + 1e-3).log()).mean(-1))


def correlation(out: Tensor, target: Tensor, eps_inside: float, eps_outside: float) -> Tensor:
    """How unlike the courses of each band are, by normalised vectors."""

    def normed(x: Tensor) -> Tensor:
        size = (x.square().sum(2, keepdim=True) + eps_inside).sqrt()
        return x / (size + eps_outside)

    return F.mse_loss(out, target) + 0.1 * (1 - (normed(out) * normed(target)).sum(2).mean())


def stoi(out: Tensor, target: Tensor) -> Tensor:
    return correlation(out, target, 1e-8, 0.0)


def stoi_without_eps(out: Tensor, target: Tensor) -> Tensor:
    return correlation(out, target, 0.0, 1e-8)


class Mask(nn.Module):
    """A mask on a noisy spectrum; silence stays silent."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(BANDS, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, BANDS))

    def forward(self, noisy: Tensor) -> Tensor:
        return noisy * self.net(noisy).sigmoid()


class TwoWays(nn.Module):
    """A recurrence in both directions whose last states are joined by a reshape, over samples and directions alike."""

    def __init__(self, broken: bool, width: int = 16) -> None:
        super().__init__()
        self.broken = broken
        self.gru = nn.GRU(4, width, bidirectional=True, batch_first=True)
        self.head = nn.Sequential(nn.Linear(2 * width, 32), nn.ReLU(), nn.Linear(32, 4))

    def forward(self, series: Tensor) -> Tensor:
        hidden = self.gru(series)[1]
        if not self.broken:
            hidden = hidden.permute(1, 0, 2)
        return self.head(hidden.reshape(len(series), -1))


class FrameReader(nn.Module):
    """An LSTM over the features of frames that expects time first, and is given samples first."""

    def __init__(self, broken: bool, width: int = 24) -> None:
        super().__init__()
        self.frames = nn.Sequential(nn.Linear(8, width), nn.ReLU())
        self.lstm = nn.LSTM(width, width, batch_first=not broken)
        self.fc = nn.Linear(width, 4)

    def forward(self, frames: Tensor) -> Tensor:
        return self.fc(self.lstm(self.frames(frames))[0][:, -1])


REPORTS = (
    Report(
        name="peptide-ccs",
        source=f"{GITHUB}ProteomicsML/ProteomicsML/pull/203",
        fault="relu-at-the-end",
        culprit=("last",),
        task=regress(peptides),
        build=CrossSection,
        steps=240,
    ),
    Report(
        name="leaf-filters",
        source=f"{GITHUB}denfed/leaf-audio-pytorch/issues/3",
        fault="no-grad-constraint",
        culprit=("",),
        task=classify(tones, 4),
        build=GaborFront,
        steps=240,
    ),
    Report(
        name="stoi-loss",
        source=f"{GITHUB}mpariente/pytorch_stoi/pull/14",
        fault="sqrt-at-zero",
        culprit=("net*", ""),
        task=Task(speech, stoi, explained),
        build=lambda broken: Mask(),
        wrong_loss=stoi_without_eps,
    ),
    Report(
        name="gru-two-ways",
        source=f"{GITHUB}PaccMann/paccmann_chemistry/issues/5",
        fault="reshape-for-permute",
        culprit=("gru", "head*"),
        task=classify(recall, 4),
        build=TwoWays,
        steps=240,
    ),
    Report(
        name="video-lstm",
        source=f"{GITHUB}HHTseng/video-classification/issues/42",
        fault="batch-as-time",
        culprit=("lstm",),
        task=classify(latest_frames, 4),
        build=FrameReader,
        steps=240,
    ),
)
