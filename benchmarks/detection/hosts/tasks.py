"""The small synthetic tasks the hosts learn: endless fresh batches, a loss, and a score that is 0 at chance."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

Inputs = tuple[Tensor, ...]
TaskBatch = tuple[Inputs, Any]
Draw = Callable[[Generator, int], TaskBatch]


@dataclass(frozen=True)
class Task:
    """``draw`` makes a batch; ``gain`` is 0 for the best constant answer and 1 for a perfect one."""

    draw: Draw
    loss: Callable[[Any, Any], Tensor]
    gain: Callable[[Any, Any], float]

    def batch(self, seed: int, size: int) -> TaskBatch:
        return self.draw(torch.Generator().manual_seed(seed), size)


def accuracy_gain(classes: int) -> Callable[[Tensor, Tensor], float]:
    def gain(out: Tensor, target: Tensor) -> float:
        hits = (out.argmax(-1) == target).float().mean().item()
        return (hits - 1 / classes) / (1 - 1 / classes)

    return gain


def explained(out: Tensor, target: Tensor) -> float:
    spread = (target - target.mean(0)).square().mean()
    return float(1 - (out.float() - target).square().mean() / spread)


def classify(draw: Draw, classes: int) -> Task:
    return Task(draw, F.cross_entropy, accuracy_gain(classes))


def regress(draw: Draw) -> Task:
    return Task(draw, F.mse_loss, explained)


def randint(g: Generator, high: int, *shape: int) -> Tensor:
    return torch.randint(high, shape, generator=g)


# --- vectors -----------------------------------------------------------------------------------------------------


def angles(g: Generator, size: int, width: int) -> tuple[Tensor, Tensor]:
    """Points around the origin with noise columns appended, and their angle in turns."""
    turn = torch.rand(size, generator=g)
    radius = 1 + torch.rand(size, generator=g)
    noise = torch.randn(size, width - 2, generator=g) * 0.5
    plane = torch.stack([(2 * math.pi * turn).cos(), (2 * math.pi * turn).sin()], 1) * radius[:, None]
    return torch.cat([plane, noise], 1), turn


def sectors(classes: int = 3, width: int = 4, repeats: int = 2) -> Task:
    """Each class owns opposite sectors of the plane: no linear read-out of the input beats chance."""

    def draw(g: Generator, size: int) -> TaskBatch:
        points, turn = angles(g, size, width)
        return (points,), (turn * classes * repeats).long() % classes

    return classify(draw, classes)


def real_or_fake() -> Task:
    """Points of a ring against points of a blob with the same mean."""

    def draw(g: Generator, size: int) -> TaskBatch:
        ring, _ = angles(g, size, 2)
        blob = torch.randn(size, 2, generator=g) * 0.7
        real = torch.rand(size, 1, generator=g) < 0.5
        return (torch.where(real, ring, blob),), real.float()

    def gain(out: Tensor, target: Tensor) -> float:
        # A probability above one half or a logit above zero: whichever the model emits, its own median splits evenly.
        return 2 * ((out > out.median()).float() == target).float().mean().item() - 1

    return Task(draw, F.binary_cross_entropy_with_logits, gain)


def action_values() -> Task:
    """The reward of one taken action out of three; scored on all three."""

    def draw(g: Generator, size: int) -> TaskBatch:
        state = torch.randn(size, 4, generator=g)
        x, y = state[:, 0], state[:, 1]
        values = torch.stack([(x * y).tanh(), x.abs() - 0.8, (x - y).sin()], 1)
        return (state,), (values, randint(g, 3, size, 1))

    def loss(out: Tensor, target: tuple[Tensor, Tensor]) -> Tensor:
        values, action = target
        return F.mse_loss(out.gather(1, action), values.gather(1, action))

    return Task(draw, loss, lambda out, target: explained(out, target[0]))


def manifold(width: int = 16, latent: int = 3) -> Draw:
    """Curved three-dimensional data in a wider space; the target is the input itself."""

    def draw(g: Generator, size: int) -> TaskBatch:
        fixed = torch.Generator().manual_seed(7)
        first, second = torch.randn(latent, width, generator=fixed), torch.randn(width, width, generator=fixed)
        x = (torch.randn(size, latent, generator=g) @ first).sin() @ second / width**0.5 * 1.4
        return (x,), x

    return draw


def variational(weight: float = 0.02) -> Task:
    def loss(out: tuple[Tensor, Tensor, Tensor], target: Tensor) -> Tensor:
        recon, mean, logvar = out
        divergence = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum(1).mean()
        return F.mse_loss(recon, target) + weight * divergence

    return Task(manifold(), loss, lambda out, target: explained(out[0], target))


def two_questions() -> Task:
    """A class and a number asked of the same point."""

    def draw(g: Generator, size: int) -> TaskBatch:
        points, turn = angles(g, size, 4)
        return (points,), ((turn * 6).long() % 3, (points[:, :1] * points[:, 1:2]))

    def loss(out: tuple[Tensor, Tensor], target: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(out[0], target[0]) + F.mse_loss(out[1], target[1])

    def gain(out: tuple[Tensor, Tensor], target: tuple[Tensor, Tensor]) -> float:
        return (accuracy_gain(3)(out[0], target[0]) + max(explained(out[1], target[1]), -1.0)) / 2

    return Task(draw, loss, gain)


def ratings(users: int = 24, items: int = 24) -> Task:
    """Whether a user likes an item depends on both of their hidden kinds and on neither alone."""

    def draw(g: Generator, size: int) -> TaskBatch:
        fixed = torch.Generator().manual_seed(11)
        likes = torch.tensor([[2.0, 0.0, -2.0], [-2.0, 2.0, 0.0], [0.0, -2.0, 2.0]])
        user, item = randint(g, users, size), randint(g, items, size)
        kinds = torch.randperm(users, generator=fixed)[user] % 3, torch.randperm(items, generator=fixed)[item] % 3
        return (user, item), likes[kinds[0], kinds[1]][:, None] + 0.1 * torch.randn(size, 1, generator=g)

    return regress(draw)


def table() -> Task:
    """Four numbers and two categories; the category decides which product of numbers decides."""

    def draw(g: Generator, size: int) -> TaskBatch:
        numbers, kinds = torch.randn(size, 4, generator=g), randint(g, 2, size, 2)
        sign = torch.where(kinds[:, 0] == 0, numbers[:, 0], -numbers[:, 1])
        return (numbers, kinds), (sign > 0).long()

    return classify(draw, 2)


# --- images, points, graphs --------------------------------------------------------------------------------------


def stripes(g: Generator, kind: Tensor, side: int, noise: float) -> Tensor:
    """Stripes in one of four directions at a random phase: the mean image of every class is the same."""
    ways = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, -1.0]])[kind]
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    phase = torch.rand(len(kind), 1, 1, generator=g)
    wave = (ways[:, 0, None, None] * rows + ways[:, 1, None, None] * columns) / 4 + phase
    image = 1.4 * (2 * math.pi * wave).sin()
    return (image + noise * torch.randn(image.shape, generator=g))[:, None]


def directions(side: int = 8, noise: float = 0.3) -> Task:
    def draw(g: Generator, size: int) -> TaskBatch:
        kind = randint(g, 4, size)
        return (stripes(g, kind, side, noise),), kind

    return classify(draw, 4)


def textures(side: int = 8) -> Task:
    """Which pixels lie on the upright stripes, right of a random border?"""

    def draw(g: Generator, size: int) -> TaskBatch:
        left, right = (stripes(g, torch.full((size,), k), side, 0.2) for k in (0, 1))
        border = 2 + randint(g, side - 3, size, 1, 1, 1)
        mask = torch.arange(side).expand(size, 1, side, side) >= border
        return (torch.where(mask, right, left),), mask.float()

    def gain(out: Tensor, target: Tensor) -> float:
        return 2 * ((out > out.median()).float() == target).float().mean().item() - 1

    return Task(draw, F.binary_cross_entropy_with_logits, gain)


def shapes(count: int = 16) -> Task:
    """A cloud of points, shuffled and turned: a ring, a disc or a line."""

    def draw(g: Generator, size: int) -> TaskBatch:
        kind = randint(g, 3, size)
        turn, radius = torch.rand(size, count, generator=g), torch.rand(size, count, generator=g).sqrt()
        radius = torch.where(kind[:, None] == 0, 1.0, radius)
        line = turn.where(kind[:, None] != 2, turn[:, :1]) * 2 * math.pi
        side = torch.where(kind[:, None] == 2, torch.rand(size, count, generator=g) * 2 - 1, radius) * 1.5
        return (torch.stack([line.cos() * side, line.sin() * side], 2),), kind

    return classify(draw, 3)


def neighbourhoods(nodes: int = 12) -> Task:
    """A node's class is whether its own sign agrees with that of its neighbours' mean."""

    def draw(g: Generator, size: int) -> TaskBatch:
        edges = (torch.rand(size, nodes, nodes, generator=g) < 0.2).float().triu(1)
        edges = edges + edges.transpose(1, 2) + torch.eye(nodes)
        own = torch.randn(size, nodes, 4, generator=g)
        mean = edges @ own[..., :1] / edges.sum(-1, keepdim=True)
        return (own, edges / edges.sum(-1, keepdim=True)), ((own[..., 1] * mean[..., 0]) > 0).long().flatten()

    return classify(draw, 2)


# --- sequences ---------------------------------------------------------------------------------------------------


def first_token(length: int = 8, vocab: int = 6, classes: int = 3) -> Task:
    """The first token decides; everything after it is noise to be carried past."""

    def draw(g: Generator, size: int) -> TaskBatch:
        tokens = randint(g, vocab, size, length)
        return (tokens,), tokens[:, 0] % classes

    return classify(draw, classes)


def looked_up(length: int = 8, vocab: int = 6, classes: int = 3) -> Task:
    """Read out at position 0, decided by the token at position 3: attention has to fetch it."""

    def draw(g: Generator, size: int) -> TaskBatch:
        tokens = randint(g, vocab, size, length)
        tokens[:, 0] = 0
        return (tokens,), tokens[:, 3] % classes

    return classify(draw, classes)


def before_after(length: int = 10, vocab: int = 6) -> Task:
    """Which of two marker tokens comes first?"""

    def draw(g: Generator, size: int) -> TaskBatch:
        tokens = 2 + randint(g, vocab - 2, size, length)
        places = torch.rand(size, length, generator=g).argsort(1)[:, :2]
        tokens.scatter_(1, places, torch.tensor([[0, 1]]).expand(size, 2))
        return (tokens,), (places[:, 0] < places[:, 1]).long()

    return classify(draw, 2)


def echo(length: int = 9, vocab: int = 6, period: int = 3) -> Task:
    """Every token repeats the one ``period`` places before; the first period cannot be known and is not asked."""

    def draw(g: Generator, size: int) -> TaskBatch:
        tokens = randint(g, vocab, size, period).repeat(1, length // period + 1)[:, : length + 1]
        return (tokens[:, :-1],), tokens[:, 1:]

    def flat(out: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        return out[:, period - 1 :].flatten(0, 1), target[:, period - 1 :].flatten()

    return Task(draw, lambda o, t: F.cross_entropy(*flat(o, t)), lambda o, t: accuracy_gain(vocab)(*flat(o, t)))


def reversal(length: int = 4, vocab: int = 6) -> Task:
    """Write the source backwards, given the target so far."""

    def draw(g: Generator, size: int) -> TaskBatch:
        source = randint(g, vocab, size, length)
        target = source.flip(1)
        given = torch.cat([torch.full((size, 1), vocab), target[:, :-1]], 1)
        return (source, given), target

    def loss(out: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(out.flatten(0, 1), target.flatten())

    return Task(draw, loss, accuracy_gain(vocab))


def caption_matches() -> Task:
    """An image of stripes and a sentence of words: the picture's direction plus the word names the class."""

    def draw(g: Generator, size: int) -> TaskBatch:
        kind, words = randint(g, 2, size), randint(g, 6, size, 4)
        return (stripes(g, kind, 8, 0.2), words), 2 * kind + words[:, 1] % 2

    return classify(draw, 4)
