"""The tasks of the hosts of the second round: as small as the others, none of them the same."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from .tasks import Draw, Task, TaskBatch, accuracy_gain, angles, classify, randint, regress

GLYPHS = ("010111010", "101010101", "111101111", "100100111")


def fixed(*shape: int, seed: int = 11) -> Tensor:
    """Random numbers that belong to the task, the same in every batch."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def median_gain(out: Tensor, target: Tensor) -> float:
    """Accuracy over chance of a score that may be a logit or a probability."""
    return 2 * ((out > out.median()).float() == target).float().mean().item() - 1


# --- images ------------------------------------------------------------------------------------------------------


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

    def gain(out: Tensor, target: Tensor) -> float:
        share = target.mean()
        guess = (out > out.flatten().quantile(1 - share)).float()
        chance = share * share + (1 - share) * (1 - share)
        return float(((guess == target).float().mean() - chance) / (1 - chance))

    return Task(draw, F.binary_cross_entropy_with_logits, gain)


# --- sequences ---------------------------------------------------------------------------------------------------


def taller(length: int = 10, vocab: int = 8) -> Task:
    """For every token whether it is greater than its left and its right neighbour: four classes."""

    def draw(g: Generator, size: int) -> TaskBatch:
        tokens = randint(g, vocab, size, length)
        padded = F.pad(tokens, (1, 1), value=vocab)
        return (tokens,), 2 * (tokens > padded[:, :-2]).long() + (tokens > padded[:, 2:]).long()

    def loss(out: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(out.flatten(0, 1), target.flatten())

    def gain(out: Tensor, target: Tensor) -> float:
        """The four are not equally frequent: the best constant answer is the commonest."""
        chance = target.flatten().bincount().max().item() / target.numel()
        return ((out.argmax(-1) == target).float().mean().item() - chance) / (1 - chance)

    return Task(draw, loss, gain)


def continued(tokens: Draw, vocab: int, skip: int) -> Task:
    """Every token is to be foretold from those before, but for the first ones."""

    def flat(out: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        return out[:, skip:].flatten(0, 1), target[:, skip:].flatten()

    return Task(tokens, lambda o, t: F.cross_entropy(*flat(o, t)), lambda o, t: accuracy_gain(vocab)(*flat(o, t)))


def sums(length: int = 10, vocab: int = 5) -> Task:
    """Every token is the sum of the two before it."""

    def draw(g: Generator, size: int) -> TaskBatch:
        tokens = list(randint(g, vocab, size, 2).T)
        while len(tokens) <= length:
            tokens.append((tokens[-1] + tokens[-2]) % vocab)
        line = torch.stack(tokens, 1)
        return (line[:, :-1],), line[:, 1:]

    return continued(draw, vocab, 1)


def strides(length: int = 10, vocab: int = 7) -> Task:
    """Counting in steps that differ from line to line."""

    def draw(g: Generator, size: int) -> TaskBatch:
        start, stride = randint(g, vocab, size, 1), 1 + randint(g, 3, size, 1)
        line = (start + stride * torch.arange(length + 1)) % vocab
        return (line[:, :-1],), line[:, 1:]

    return continued(draw, vocab, 1)


def leaky(length: int = 14, decay: float = 0.8) -> Task:
    """The leaky sum of a random signal, weighed by a second one."""

    def draw(g: Generator, size: int) -> TaskBatch:
        x = torch.randn(size, length, 2, generator=g)
        weight = decay ** torch.arange(length - 1, -1, -1)
        return (x,), (x[..., 0] * weight).sum(1, keepdim=True).tanh() + 0.5 * (x[:, -1:, 1])

    return regress(draw)


def seasons(past: int = 24, ahead: int = 8) -> Task:
    """A sine on a slope, to be continued."""

    def draw(g: Generator, size: int) -> TaskBatch:
        phase, period = 6.283 * torch.rand(size, 1, generator=g), 6 + 6 * torch.rand(size, 1, generator=g)
        slope = 0.05 * torch.randn(size, 1, generator=g)
        time = torch.arange(past + ahead)
        line = (6.283 * time / period + phase).sin() + slope * (time - past)
        line = line + 0.05 * torch.randn(line.shape, generator=g)
        return (line[:, :past],), line[:, past:]

    return regress(draw)


# --- vectors, ids, graphs ----------------------------------------------------------------------------------------


def surface() -> Task:
    """A wavy function of two coordinates."""

    def draw(g: Generator, size: int) -> TaskBatch:
        place = 2 * torch.rand(size, 2, generator=g) - 1
        x, y = place[:, :1], place[:, 1:]
        return (place,), (5 * x).sin() * (4 * y).cos() + 0.5 * (6 * x * y).sin()

    return regress(draw)


def clicks(rows: int = 10) -> Task:
    """Two of three ids have to be crossed, and a number added, to foretell the click."""
    signs = fixed(3, rows).sign()

    def draw(g: Generator, size: int) -> TaskBatch:
        ids, numbers = randint(g, rows, size, 3), torch.randn(size, 3, generator=g)
        logit = signs[0][ids[:, 0]] * signs[1][ids[:, 1]] + 0.8 * numbers[:, 0] + 0.2 * signs[2][ids[:, 2]]
        return (ids, numbers), (logit[:, None] > 0).float()

    return Task(draw, F.binary_cross_entropy_with_logits, median_gain)


def topologies(nodes: int = 10) -> Task:
    """Shuffled graphs: a star, a ring or a path; the nodes carry noise."""
    ring = torch.eye(nodes).roll(1, 0) + torch.eye(nodes).roll(-1, 0)
    path = ring.clone()
    path[0, -1] = path[-1, 0] = 0
    star = torch.zeros(nodes, nodes)
    star[0, 1:] = star[1:, 0] = 1
    kinds = torch.stack([star, ring, path])

    def draw(g: Generator, size: int) -> TaskBatch:
        kind = randint(g, 3, size)
        order = torch.rand(size, nodes, generator=g).argsort(1)
        edges = kinds[kind][torch.arange(size)[:, None, None], order[:, :, None], order[:, None, :]]
        features = torch.cat([torch.ones(size, nodes, 1), 0.3 * torch.randn(size, nodes, 3, generator=g)], 2)
        return (features, edges), kind

    return classify(draw, 3)


def circle_density() -> Task:
    """Points of a noisy circle, to be modelled with their likelihood; chance is the best Gaussian."""
    width, chance = 0.15, math.log(2 * math.pi) + 1 + math.log(0.5 + 0.15**2)
    best = math.log(2 * math.pi) + 0.5 * (math.log(2 * math.pi * width**2) + 1)

    def draw(g: Generator, size: int) -> TaskBatch:
        turn = 2 * math.pi * torch.rand(size, generator=g)
        points = torch.stack([turn.cos(), turn.sin()], 1) + width * torch.randn(size, 2, generator=g)
        return (points,), points

    def loss(out: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
        place, volume = out
        return (0.5 * place.square() + 0.5 * math.log(2 * math.pi)).sum(1).mean() - volume.mean()

    return Task(draw, loss, lambda out, target: (chance - float(loss(out, target))) / (chance - best))


def noised() -> Task:
    """Points of a circle under noise of a known amount: foretell the noise."""

    def draw(g: Generator, size: int) -> TaskBatch:
        turn = 2 * math.pi * torch.rand(size, generator=g)
        time, noise = torch.rand(size, 1, generator=g), torch.randn(size, 2, generator=g)
        clean = 1.4 * torch.stack([turn.cos(), turn.sin()], 1)
        return ((math.pi / 2 * time).cos() * clean + (math.pi / 2 * time).sin() * noise, time), noise

    return regress(draw)


def partners(width: int = 6) -> Task:
    """Queries and the documents that belong to them; the others of the batch are the wrong answers."""
    turn = torch.linalg.qr(fixed(width, width))[0]

    def draw(g: Generator, size: int) -> TaskBatch:
        query = torch.randn(size, width, generator=g)
        found = (query @ turn).abs() + 0.2 * torch.randn(size, width, generator=g)
        return (query, found), torch.arange(size)

    def gain(out: Tensor, target: Tensor) -> float:
        """Eight documents to choose from, whatever the size of the batch."""
        blocks = [out[i : i + 8, i : i + 8] for i in range(0, len(out), 8)]
        hits = torch.stack([block.argmax(1) == torch.arange(len(block)) for block in blocks])
        return (hits.float().mean().item() - 1 / 8) / (1 - 1 / 8)

    return Task(draw, F.cross_entropy, gain)


def rings() -> Task:
    """Points near the origin against points of a ring around them."""

    def draw(g: Generator, size: int) -> TaskBatch:
        points, _ = angles(g, size, 2)
        kind = randint(g, 2, size)
        circle = F.normalize(points, dim=1) * (0.5 + kind[:, None])
        return (circle + 0.15 * torch.randn(size, 2, generator=g),), kind

    return classify(draw, 2)


def bandit(actions: int = 4) -> Task:
    """One action taken at random and its reward; scored by the action that the policy likes best."""

    def draw(g: Generator, size: int) -> TaskBatch:
        state = torch.randn(size, 4, generator=g)
        right = 2 * (state[:, 0] * state[:, 1] > 0).long() + (state[:, 2] > 0).long()
        taken = randint(g, actions, size)
        return (state,), (right, taken)

    def loss(out: tuple[Tensor, Tensor], target: Any) -> Tensor:
        (logits, value), (right, taken) = out, target
        reward = (right == taken).float()
        chosen = logits.log_softmax(-1).gather(1, taken[:, None])[:, 0]
        ratio = (chosen + math.log(actions)).exp()
        return -(ratio * (reward - 0.25)).mean() + 0.5 * F.mse_loss(value[:, 0], reward)

    return Task(draw, loss, lambda out, target: accuracy_gain(actions)(out[0], target[0]))
