"""The tasks of the hosts of the third round: as small as the others, none of them the same."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from .second_tasks import continued
from .tasks import Task, TaskBatch, accuracy_gain, classify, explained, randint, regress

QUANTILES = (0.1, 0.5, 0.9)
SHAPES = ("111101111", "010111010", "101010101")

# --- vectors -----------------------------------------------------------------------------------------------------


def colours() -> Task:
    """Three colours at every place of a plane, one of them with sharp edges."""

    def draw(g: Generator, size: int) -> TaskBatch:
        place = 2 * torch.rand(size, 2, generator=g) - 1
        x, y = place[:, :1], place[:, 1:]
        parts = [(6 * x + 2 * y).sin(), (5 * (x * x + y * y)).cos(), (4 * (4 * x).sin() * (3 * y).cos()).tanh()]
        return (place,), torch.cat(parts, 1)

    return regress(draw)


def pinball(out: Tensor, target: Tensor) -> Tensor:
    """The loss whose best answers are the quantiles."""
    level = torch.tensor(QUANTILES)
    error = target - out
    return torch.maximum(level * error, (level - 1) * error).mean()


def spreads() -> Task:
    """An answer whose noise differs from place to place; chance is the best constant quantiles."""

    def draw(g: Generator, size: int) -> TaskBatch:
        x = torch.randn(size, 4, generator=g)
        noise = torch.randn(size, 1, generator=g) * (0.05 + 0.3 * x[:, 2:3].abs())
        return (x,), 1.5 * (1.5 * x[:, :1]).sin() + x[:, 1:2].abs() + noise

    def gain(out: Tensor, target: Tensor) -> float:
        constant = target.quantile(torch.tensor(QUANTILES), dim=0).view(1, -1)
        return float(1 - pinball(out.float(), target) / pinball(constant, target))

    return Task(draw, pinball, gain)


# --- images and signals ------------------------------------------------------------------------------------------


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


def bars(side: int = 8) -> Task:
    """Pictures of black and white bars, to be shown again; chance is to guess as many pixels as are white."""

    def draw(g: Generator, size: int) -> TaskBatch:
        lit = torch.rand(size, 2, side, generator=g) < 0.25
        image = (lit[:, 0, :, None] | lit[:, 1, None, :]).float()[:, None]
        return (image,), image

    def gain(out: Tensor, target: Tensor) -> float:
        share = target.mean()
        guess = (out > out.flatten().quantile(1 - share)).float()
        chance = share * share + (1 - share) * (1 - share)
        return float(((guess == target).float().mean() - chance) / (1 - chance))

    return Task(draw, F.binary_cross_entropy_with_logits, gain)


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


# --- sets, graphs, sequences -------------------------------------------------------------------------------------


def signposts(nodes: int = 8) -> Task:
    """For every node: do the marked ones among its neighbours outweigh zero?"""

    def draw(g: Generator, size: int) -> TaskBatch:
        edges = (torch.rand(size, nodes, nodes, generator=g) < 0.3).float().triu(1)
        edges = edges + edges.transpose(1, 2) + torch.eye(nodes)
        marked = (torch.rand(size, nodes, 1, generator=g) < 0.6).float()
        value, noise = torch.randn(size, nodes, 1, generator=g), torch.randn(size, nodes, 2, generator=g)
        weight = (edges @ (marked * value))[..., 0]
        return (torch.cat([marked, value, noise], 2), edges), (weight > 0).long().flatten()

    return classify(draw, 2)


def ranges(count: int = 8) -> Task:
    """How far is the greatest of one coordinate from the least of the other?"""

    def draw(g: Generator, size: int) -> TaskBatch:
        width = 0.3 + torch.rand(size, 1, 1, generator=g)
        points = width * torch.randn(size, count, 2, generator=g)
        return (points,), points[..., 0].amax(1, keepdim=True) - points[..., 1].amin(1, keepdim=True)

    return Task(draw, F.smooth_l1_loss, explained)


def rotated(length: int = 4, vocab: int = 5) -> Task:
    """Write the source again, from its third token on and round, given the answer so far."""

    def draw(g: Generator, size: int) -> TaskBatch:
        source = randint(g, vocab, size, length)
        target = source.roll(-2, 1)
        given = torch.cat([torch.full((size, 1), vocab), target[:, :-1]], 1)
        return (source, given), target

    def loss(out: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(out.flatten(0, 1), target.flatten())

    return Task(draw, loss, accuracy_gain(vocab))


def braided(length: int = 8, vocab: int = 7) -> Task:
    """Two counts in turn: every token is one more than the one before last."""

    def draw(g: Generator, size: int) -> TaskBatch:
        start = randint(g, vocab, size, 2)
        place = torch.arange(length + 1)
        line = (start[:, place % 2] + place // 2) % vocab
        return (line[:, :-1],), line[:, 1:]

    return continued(draw, vocab, 1)


def added(longest: int = 6) -> Task:
    """Lines of several lengths, filled up with zeros: the sum of what is marked, with noise in between."""

    def draw(g: Generator, size: int) -> TaskBatch:
        lengths = longest // 2 + randint(g, longest // 2 + 1, size)
        inside = (torch.arange(longest) < lengths[:, None]).float()
        value = (2 * torch.rand(size, longest, generator=g) - 1) * inside
        marked = (torch.rand(size, longest, generator=g) < 0.4).float() * inside
        return (torch.stack([value, marked], 2), lengths), (value * marked).sum(1, keepdim=True)

    return regress(draw)
