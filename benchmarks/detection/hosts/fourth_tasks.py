"""The tasks of the hosts of the fourth round: text, pictures, graphs, tables, tokens and one differential equation."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from .tasks import Task, TaskBatch, classify, explained, randint, regress

LEXICON = ("bat", "cob", "dot", "nab", "oda", "tan")
LETTERS = "abcdnot"


# --- text and tokens ---------------------------------------------------------------------------------------------


def written(length: int = 12) -> Task:
    """Words of three letters one after the other; the last two letters of every word can be foretold.

    The gain is 0 for whoever always says the most frequent letter.
    """
    words = torch.tensor([[LETTERS.index(letter) for letter in word] for word in LEXICON])
    asked = torch.arange(length) % 3 != 2

    def draw(g: Generator, size: int) -> TaskBatch:
        text = words[randint(g, len(words), size, length // 3 + 1)].flatten(1)[:, : length + 1]
        return (text[:, :-1],), text[:, 1:]

    def loss(out: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(out[:, asked].flatten(0, 1), target[:, asked].flatten())

    def gain(out: Tensor, target: Tensor) -> float:
        right = target[:, asked]
        chance = right.flatten().bincount().max() / right.numel()
        return float(((out[:, asked].argmax(-1) == right).float().mean() - chance) / (1 - chance))

    return Task(draw, loss, gain)


def opinions(length: int = 7, vocab: int = 9) -> Task:
    """Good words, bad words, idle words, and a word that turns the next one round: is it praise in the end?"""
    worth = torch.tensor([0.0, 1.0, 2.0, 1.0, -1.0, -2.0, -1.0, 0.1, -0.1])

    def draw(g: Generator, size: int) -> TaskBatch:
        words = randint(g, vocab, size, length)
        turned = F.pad(words[:, :-1] == 0, (1, 0))
        return (words,), (torch.where(turned, -worth[words], worth[words]).sum(1) > 0).long()

    return classify(draw, 2)


def last_marked(length: int = 8) -> Task:
    """A line of numbers, some of them marked: the last marked one is to be kept in mind."""

    def draw(g: Generator, size: int) -> TaskBatch:
        value = torch.randn(size, length, generator=g)
        marked = torch.rand(size, length, generator=g) < 0.3
        marked[:, 0] = True
        last = (marked * torch.arange(length)).amax(1, keepdim=True)
        return (torch.stack([value, marked.float()], 2),), value.gather(1, last)

    return regress(draw)


def top_of_the_heap(count: int = 10) -> Task:
    """Points in any order: the second coordinate of the one whose first is the greatest."""

    def draw(g: Generator, size: int) -> TaskBatch:
        points = torch.randn(size, count, 2, generator=g)
        best = points[..., 0].argmax(1)
        return (points,), points[torch.arange(size), best, 1:]

    return regress(draw)


# --- pictures ----------------------------------------------------------------------------------------------------


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


def spots(side: int = 8, weight: float = 2e-3) -> Task:
    """Pictures of one round spot of any place and size, to be drawn again from few numbers."""
    grid = torch.linspace(-1, 1, side)

    def draw(g: Generator, size: int) -> TaskBatch:
        place, width = 1.4 * torch.rand(size, 2, 1, generator=g) - 0.7, 0.3 + 0.3 * torch.rand(size, 1, 1, generator=g)
        rows, columns = grid - place[:, 0], grid - place[:, 1]
        image = (-(rows[:, :, None].square() + columns[:, None].square()) / (2 * width.square())).exp()
        return (image[:, None],), image[:, None]

    def loss(out: tuple[Tensor, Tensor, Tensor], target: Tensor) -> Tensor:
        drawn, mean, spread = out
        divergence = 0.5 * (mean.square() + spread.exp() - 1 - spread).sum(1).mean()
        return F.mse_loss(drawn, target) + weight * divergence

    return Task(draw, loss, lambda out, target: explained(out[0], target))


# --- tables, graphs, equations -----------------------------------------------------------------------------------


def friedman() -> Task:
    """Friedman's function of ten numbers, of which five count, brought to mean zero and deviation one."""

    def draw(g: Generator, size: int) -> TaskBatch:
        x = torch.rand(size, 10, generator=g)
        waves, bowl = 10 * (math.pi * x[:, 0] * x[:, 1]).sin(), 20 * (x[:, 2] - 0.5).square()
        answer = (waves + bowl + 10 * x[:, 3] + 5 * x[:, 4] - 14.4) / 4.9
        return (3.46 * (x - 0.5),), answer[:, None]

    return regress(draw)


def bought(users: int = 30, shops: int = 12, days: int = 7) -> Task:
    """Is it bought? The kinds of the customer and the shop have to fit; on some days the price decides too."""
    kinds = torch.tensor([[1.0, -1.0, 0.4], [-0.7, 1.0, -1.0], [0.5, -0.6, 1.0]])

    def draw(g: Generator, size: int) -> TaskBatch:
        ids = torch.stack([randint(g, count, size) for count in (users, shops, days)], 1)
        numbers = torch.randn(size, 4, generator=g)
        score = 1.5 * kinds[ids[:, 0] % 3, ids[:, 1] % 3] + torch.where(ids[:, 2] < 3, numbers[:, 0], 0.0)
        return (numbers, ids), (score > 0).float()[:, None]

    def gain(out: Tensor, target: Tensor) -> float:
        share = target.mean().clamp(0.01, 0.99)
        guess = (out > out.flatten().quantile(1 - share)).float()
        chance = torch.maximum(share, 1 - share)
        return float(((guess == target).float().mean() - chance) / (1 - chance))

    return Task(draw, F.binary_cross_entropy_with_logits, gain)


def rumours(nodes: int = 8) -> Task:
    """A number for every node, of what its neighbours hold and of what theirs hold; some nodes have none."""

    def draw(g: Generator, size: int) -> TaskBatch:
        upper = (torch.rand(size, nodes, nodes, generator=g) < 0.25).float().triu(1)
        edges = upper + upper.transpose(1, 2)
        x = torch.randn(size, nodes, 3, generator=g)
        share = edges / edges.sum(-1, keepdim=True).clamp(min=1)
        near, far = share @ x[..., :1], share @ (share @ x[..., 1:2])
        return (x, edges), (1.5 * near + (2 * far).tanh() + 0.5 * x[..., 2:] * near).flatten(0, 1)

    return regress(draw)


def poisson() -> Task:
    """u'' = f between two walls, where u is known; the network's own derivatives enter the loss."""

    def draw(g: Generator, size: int) -> TaskBatch:
        place = 2 * torch.rand(size, 1, generator=g) - 1
        walls = torch.tensor([[-1.0], [1.0]])
        return (place, walls), (math.pi * place).sin() + 0.5 * place

    def loss(out: Any, target: Tensor) -> Tensor:
        inside, walls, bend = out
        force = -(math.pi**2) * (target - 0.5 * inside[1])
        known = torch.tensor([[-0.5], [0.5]])
        return 0.02 * F.mse_loss(bend, force) + F.mse_loss(walls, known)

    return Task(draw, loss, lambda out, target: explained(out[0][0], target))
