"""Reports on models that generate."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from benchmarks.detection.hosts.reported.report import GITHUB, Report
from benchmarks.detection.vocabulary.tasks import Task, TaskBatch

CODES, WIDTH = 8, 4
Variational = tuple[Tensor, Tensor, Tensor]
Quantised = tuple[Tensor, Tensor, Tensor, Tensor]


def clusters(g: Generator, size: int) -> TaskBatch:
    """Points around eight centres in sixteen dimensions."""
    centres = torch.randn(CODES, 16, generator=torch.Generator().manual_seed(3))
    points = centres[torch.randint(CODES, (size,), generator=g)] + 0.1 * torch.randn(size, 16, generator=g)
    return (points,), points


def table(g: Generator, size: int) -> TaskBatch:
    """Rows of a table in their own units: an age, an income in thousands, a few shares."""
    latent = torch.randn(size, 2, generator=g)
    mix = torch.randn(2, 6, generator=torch.Generator().manual_seed(4))
    rows = (latent @ mix + 0.1 * torch.randn(size, 6, generator=g)) * torch.tensor([1.0, 1.0, 40.0, 300.0, 1.0, 1.0])
    return (rows,), rows


class Tabular(nn.Module):
    """A variational autoencoder of a table; the logarithm of its variance has no bounds."""

    def __init__(self, broken: bool) -> None:
        super().__init__()
        self.broken = broken
        self.encoder = nn.Sequential(nn.Linear(6, 32), nn.LeakyReLU(), nn.Linear(32, 32), nn.LeakyReLU())
        self.mean, self.logvar = nn.Linear(32, WIDTH), nn.Linear(32, WIDTH)
        self.decoder = nn.Sequential(nn.Linear(WIDTH, 32), nn.LeakyReLU(), nn.Linear(32, 6))

    def forward(self, rows: Tensor) -> Variational:
        hidden = self.encoder(rows)
        mean, spread = self.mean(hidden), self.logvar(hidden)
        if not self.broken:
            spread = spread.clamp(-30, 2)
        drawn = mean + torch.randn_like(mean) * (0.5 * spread).exp()
        return self.decoder(drawn), mean, spread


class Autoencoder(nn.Module):
    """A small variational autoencoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(16, 32), nn.ReLU())
        self.mean, self.logvar = nn.Linear(32, WIDTH), nn.Linear(32, WIDTH)
        self.decoder = nn.Sequential(nn.Linear(WIDTH, 32), nn.ReLU(), nn.Linear(32, 16))

    def forward(self, x: Tensor) -> Variational:
        hidden = self.encoder(x)
        mean, spread = self.mean(hidden), self.logvar(hidden)
        return self.decoder(mean + torch.randn_like(mean) * (0.5 * spread).exp()), mean, spread


def divergence(out: Variational) -> Tensor:
    _, mean, spread = out
    return -0.5 * (1 + spread - mean.square() - spread.exp()).sum(1).mean()


def evidence(out: Variational, target: Tensor) -> Tensor:
    return F.mse_loss(out[0], target) + 0.01 * divergence(out)


def flipped(out: Variational, target: Tensor) -> Tensor:
    """The divergence with its sign the wrong way round."""
    return F.mse_loss(out[0], target) - 0.01 * divergence(out)


def reconstructed(out: Variational | Quantised, target: Tensor) -> float:
    spread = (target - target.mean(0)).square().mean(0)
    return float((1 - (out[0] - target).square().mean(0) / spread).mean())


class Quantiser(nn.Module):
    """A vector-quantised autoencoder: code book, straight-through estimator, reconstruction."""

    def __init__(self, stop: bool = True) -> None:
        super().__init__()
        self.stop = stop
        self.encoder = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, WIDTH))
        self.codebook = nn.Embedding(CODES, WIDTH)
        self.decoder = nn.Sequential(nn.Linear(WIDTH, 32), nn.ReLU(), nn.Linear(32, 16))

    def forward(self, x: Tensor) -> Quantised:
        encoded = self.encoder(x)
        chosen = self.codebook(torch.cdist(encoded, self.codebook.weight).argmin(1))
        moved = chosen - encoded
        through = encoded + (moved.detach() if self.stop else moved)
        return self.decoder(through), encoded, chosen, through


def code_loss(out: Quantised, target: Tensor) -> Tensor:
    drawn, encoded, chosen, _ = out
    commitment = F.mse_loss(encoded, chosen.detach())
    return F.mse_loss(drawn, target) + F.mse_loss(chosen, encoded.detach()) + 0.25 * commitment


def code_loss_on_through(out: Quantised, target: Tensor) -> Tensor:
    """The code book's loss is taken of the straight-through output, in which the code book is detached."""
    drawn, encoded, _, through = out
    return (
        F.mse_loss(drawn, target) + F.mse_loss(through, encoded.detach()) + 0.25 * F.mse_loss(encoded, through.detach())
    )


def code_loss_without_stop(out: Quantised, target: Tensor) -> Tensor:
    """Nothing is detached anywhere."""
    drawn, encoded, _, through = out
    return F.mse_loss(drawn, target) + 1.25 * F.mse_loss(through, encoded)


REPORTS = (
    Report(
        name="table-vae",
        source=f"{GITHUB}vanderschaarlab/synthcity/issues/331",
        fault="unbounded-logvar",
        culprit=("logvar", "encoder*"),
        task=Task(table, evidence, reconstructed),
        build=Tabular,
        steps=320,
    ),
    Report(
        name="vae-sign",
        source=f"{GITHUB}graviraja/pytorch-sample-codes/issues/6",
        fault="divergence-flipped",
        culprit=("mean", "logvar", ""),
        task=Task(clusters, evidence, reconstructed),
        build=lambda broken: Autoencoder(),
        wrong_loss=flipped,
        steps=240,
    ),
    Report(
        name="vq-codebook",
        source=f"{GITHUB}showlab/Olaf-World/issues/8",
        fault="loss-of-straight-through",
        culprit=("codebook",),
        task=Task(clusters, code_loss, reconstructed),
        build=lambda broken: Quantiser(),
        wrong_loss=code_loss_on_through,
        steps=240,
    ),
    Report(
        name="vq-without-stop",
        source=f"{GITHUB}NTU-AIoT-Lab/EfficientFi/issues/4",
        fault="no-stop-gradient",
        culprit=("encoder*",),
        task=Task(clusters, code_loss, reconstructed),
        build=lambda broken: Quantiser(stop=not broken),
        wrong_loss=code_loss_without_stop,
        steps=240,
    ),
)
