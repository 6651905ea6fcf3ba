"""Reports on samples that are mixed, and on sizes that do not fit."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from benchmarks.detection.hosts.reported.report import GITHUB, Report
from benchmarks.detection.vocabulary.blocks import perceptron
from benchmarks.detection.vocabulary.tasks import Task, TaskBatch, angles, classify, median_gain, randint, sectors

WIDTH, PLACES, STEPS, ATOMS, STATES = 16, 8, 7, 6, 12


def tours(g: Generator, size: int) -> TaskBatch:
    """Places visited; the next one is told by the last two."""
    tour = randint(g, PLACES, size, STEPS + 1)
    for step in range(2, STEPS + 1):
        tour[:, step] = (tour[:, step - 1] + tour[:, step - 2]) % PLACES
    return (tour[:, :-1],), tour[:, 1:]


def next_place(out: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(out.transpose(1, 2), target)


def next_place_gain(out: Tensor, target: Tensor) -> float:
    hits = (out.argmax(-1) == target)[:, 1:].float().mean().item()
    return (hits - 1 / PLACES) / (1 - 1 / PLACES)


class PositionalEncoding(nn.Module):
    """The tutorial's, of shape (positions, 1, features)."""

    pe: Tensor

    def __init__(self, width: int, longest: int = 500) -> None:
        super().__init__()
        place = torch.arange(longest)[:, None]
        rate = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
        pe = torch.zeros(longest, 1, width)
        pe[:, 0, 0::2], pe[:, 0, 1::2] = torch.sin(place * rate), torch.cos(place * rate)
        self.register_buffer("pe", pe)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.pe[: x.size(0)]


class NextPlace(nn.Module):
    """A tutorial's transformer, which wants the sequence first, on trajectories with the batch first."""

    def __init__(self, broken: bool, width: int = 32) -> None:
        super().__init__()
        self.broken, self.embed, self.place = broken, nn.Embedding(PLACES, width), PositionalEncoding(width)
        layer = nn.TransformerEncoderLayer(width, 4, 64, dropout=0.0)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, PLACES)

    def forward(self, tour: Tensor) -> Tensor:
        x = self.embed(tour)
        x = x if self.broken else x.transpose(0, 1)
        n = len(x)
        causal = torch.triu(torch.full((n, n), -math.inf), 1)
        x = self.head(self.encoder(self.place(x), mask=causal))
        return x if self.broken else x.transpose(0, 1)


def molecules(g: Generator, size: int) -> TaskBatch:
    """Graphs on a ring with a shortcut; the class is told by the neighbour of the marked atom."""
    atoms, kind = 0.3 * torch.randn(size, ATOMS, 8, generator=g), randint(g, 4, size)
    ring = (torch.eye(ATOMS) + torch.eye(ATOMS).roll(1, 0) + torch.eye(ATOMS).roll(-1, 0)).expand(size, -1, -1).clone()
    place = randint(g, ATOMS, size)
    atoms[torch.arange(size), place, kind] += 3
    return (atoms, ring), kind


class GraphAttention(nn.Module):
    """Attention along edges of graphs that are laid end to end."""

    def __init__(self, broken: bool, width: int = WIDTH) -> None:
        super().__init__()
        self.broken, self.project = broken, nn.Linear(8, width)
        self.a = nn.Parameter(torch.randn(2 * width) * 0.2)
        self.head = nn.Linear(width, 4)

    def forward(self, atoms: Tensor, adjacency: Tensor) -> Tensor:
        size, nodes = atoms.shape[:2]
        x, edges = self.project(atoms), adjacency.nonzero()
        flat = x.reshape(size * nodes, -1)
        stride = size if self.broken else nodes
        rows, columns = edges[:, 0] * stride + edges[:, 1], edges[:, 0] * stride + edges[:, 2]
        pairs = torch.cat([flat[rows % len(flat)], flat[columns % len(flat)]], 1)
        scores = adjacency.new_full(adjacency.shape, -9e15)
        scores[adjacency == 1] = F.leaky_relu(pairs @ self.a, 0.2)
        return self.head((scores.softmax(-1) @ x).relu().amax(1))


def waveforms(g: Generator, size: int) -> TaskBatch:
    """Ringdowns and chirps that are stored with their merger at the end; what rings after it tells the class."""
    kind, phase = randint(g, 4, size), torch.rand(size, 1, generator=g)
    time = torch.arange(32.0)
    wave = 0.3 * torch.randn(size, 32, generator=g)
    ring = (2 * math.pi * ((0.06 + 0.07 * kind[:, None]) * time[:10] + phase)).sin()
    wave[:, :10] += 2 * ring
    return (wave,), kind


class Rolled(nn.Module):
    """Brings the ringdown from the start of each waveform to its end, and looks there."""

    def __init__(self, broken: bool) -> None:
        super().__init__()
        self.broken, self.head = (
            broken,
            nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4)),
        )

    def forward(self, wave: Tensor) -> Tensor:
        joined = torch.roll(wave, -10) if self.broken else torch.roll(wave, -10, dims=-1)
        return self.head(joined[:, -16:])


def views(g: Generator, size: int) -> TaskBatch:
    """Two views of a thing each."""
    thing = torch.randn(size, 6, generator=g)
    one, other = (thing + 0.2 * torch.randn(size, 6, generator=g) for _ in range(2))
    return (one, other), torch.arange(size)


class Contrast(nn.Module):
    """MoCo's two encoders in one batch: keys are shuffled for the normalisation, and put back in order, or not."""

    def __init__(self, broken: bool) -> None:
        super().__init__()
        self.broken, self.encoder = (
            broken,
            nn.Sequential(nn.Linear(6, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, WIDTH)),
        )

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        order = torch.randperm(len(other))
        keys = F.normalize(self.encoder(other[order]), dim=1)
        if not self.broken:
            keys = keys[order.argsort()]
        return F.normalize(self.encoder(one), dim=1) @ keys.T / 0.2


def matched(out: Tensor, target: Tensor) -> float:
    chance = 1 / len(target)
    return ((out.argmax(1) == target).float().mean().item() - chance) / (1 - chance)


class ActorCritic(nn.Module):
    """The value has one column, as a head gives it."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.actor, self.critic = perceptron(6, WIDTH), nn.Linear(WIDTH, 4), nn.Linear(WIDTH, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body(x).relu()
        return self.actor(h), self.critic(h)


def advantages(out: tuple[Tensor, Tensor], best: Tensor, broken: bool = False) -> Tensor:
    """A2C over actions that were tried; ``broken`` takes a column of values from a row of rewards."""
    logits, value = out
    action = (torch.arange(len(best)) * 7) % 4
    reward = (action == best).float()
    advantage = reward - (value if broken else value.squeeze(-1)).detach()
    chosen = advantage * logits.log_softmax(-1)[torch.arange(len(best)), action]
    return F.mse_loss(value.squeeze(-1), reward) - chosen.mean()


def acts(out: tuple[Tensor, Tensor], best: Tensor) -> float:
    return ((out[0].argmax(-1) == best).float().mean().item() - 0.25) / 0.75


def rare(g: Generator, size: int) -> TaskBatch:
    points, turn = angles(g, size, 6)
    return (points,), (turn > 0.5).float()


def focal(out: Tensor, target: Tensor, broken: bool = False) -> Tensor:
    """The sigmoid focal loss; ``broken`` hands probabilities to the function that makes them of logits."""
    scores = out[:, 0]
    probability = scores.sigmoid()
    error = F.binary_cross_entropy_with_logits(probability if broken else scores, target, reduction="none")
    hit = probability * target + (1 - probability) * (1 - target)
    return (error * (1 - hit) ** 2).mean()


def frames(g: Generator, size: int) -> TaskBatch:
    """Small pictures as they are stored: 0 to 255, and where the bright spot is."""
    pictures, kind = randint(g, 120, size, 1, 8, 8).float(), randint(g, 4, size)
    for i, k in enumerate(kind.tolist()):
        row, column = 4 * (k // 2), 4 * (k % 2)
        pictures[i, 0, row : row + 4, column : column + 4] += 100
    return (pictures,), kind


class Pictures(nn.Module):
    """NatureCNN in small; what prepares pictures divides by 255, and one of the two ways to it does not."""

    def __init__(self, broken: bool) -> None:
        super().__init__()
        self.scale = 1.0 if broken else 255.0
        self.body = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Tanh(), nn.Conv2d(8, 16, 3), nn.Tanh(), nn.Flatten())
        self.head = nn.Linear(256, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x / self.scale))


REPORTS = (
    Report(
        name="next-place",
        source=f"{GITHUB}songyangco/GETNext/issues/2",
        fault="batch-as-sequence",
        culprit=("place", "encoder*"),
        task=Task(tours, next_place, next_place_gain),
        build=NextPlace,
        steps=240,
    ),
    Report(
        name="graphs-end-to-end",
        source=f"{GITHUB}phlippe/uvadlc_notebooks/issues/5",
        fault="stride-of-other-dimension",
        culprit=("",),
        task=classify(molecules, 4),
        build=GraphAttention,
    ),
    Report(
        name="rolled-waveforms",
        source=f"{GITHUB}ML4GW/amplfi/pull/190",
        fault="rolled-without-dims",
        culprit=("", "head*"),
        task=classify(waveforms, 4),
        build=Rolled,
    ),
    Report(
        name="shuffled-keys",
        source=f"{GITHUB}CoinCheung/DenseCL/issues/1",
        fault="not-put-back",
        culprit=("", "encoder*"),
        task=Task(views, F.cross_entropy, matched),
        build=Contrast,
    ),
    Report(
        name="advantage-table",
        source=f"{GITHUB}PacktPublishing/Deep-Reinforcement-Learning-Hands-On/issues/33",
        fault="broadcast-n-by-1",
        culprit=("actor", "critic", ""),
        task=Task(sectors, advantages, acts),
        build=lambda broken: ActorCritic(),
        wrong_loss=lambda out, best: advantages(out, best, broken=True),
    ),
    Report(
        name="focal-twice",
        source=f"{GITHUB}itakurah/focal-loss-pytorch/pull/5",
        fault="double-sigmoid",
        culprit=("2", ""),
        task=Task(rare, focal, lambda out, target: median_gain(out[:, 0], target)),
        build=lambda broken: perceptron(6, 1),
        wrong_loss=lambda out, target: focal(out, target, broken=True),
    ),
    Report(
        name="stored-pictures",
        source=f"{GITHUB}hill-a/stable-baselines/issues/328",
        fault="unscaled-pictures",
        culprit=("body.0", "body.1", ""),
        task=classify(frames, 4),
        build=Pictures,
    ),
)
