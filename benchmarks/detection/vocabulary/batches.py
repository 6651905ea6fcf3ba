"""Batches that several models share: what they look like and what is to be learnt from them."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Maker

SPECIAL = 4  # token ids below this stand for padding, mask, start and end, and are never drawn
VOCAB, WIDTH = 64, 32  # of small language models
NODES = 12  # of a graph
ITEMS = 500  # of a recommender
STATES_8, ACTIONS_4 = 8, 4  # of recorded transitions
STATES_6, ACTIONS_3 = 6, 3  # of recorded moves


def generator(seed: int) -> torch.Generator:
    """A random generator of its own, so that drawing data never disturbs the model's initialisation."""
    return torch.Generator().manual_seed(seed)


@cache
def prototypes(classes: int, *shape: int) -> Tensor:
    """One fixed random pattern per class: what makes the labels a function of the input."""
    return torch.randn(classes, *shape, generator=generator(classes * 1009 + len(shape)))


def patterns(*shape: int, classes: int = 4) -> Maker:
    """Noise of this shape around its class's pattern, with the class."""

    def make(seed: int, size: int) -> tuple[Tensor, Tensor]:
        g = generator(seed)
        labels = torch.randint(classes, (size,), generator=g)
        return 0.7 * prototypes(classes, *shape)[labels] + 0.7 * torch.randn(size, *shape, generator=g), labels

    return make


def pictures(channels: int = 3, side: int = 32, classes: int = 4) -> Maker:
    """Noisy images with a coarse 4x4 pattern per class, which pooling does not wipe out."""

    def make(seed: int, size: int) -> tuple[Tensor, Tensor]:
        g = generator(seed)
        labels = torch.randint(classes, (size,), generator=g)
        coarse = F.interpolate(prototypes(classes, channels, 4, 4)[labels], size=(side, side))
        return 0.7 * coarse + 0.7 * torch.randn(size, channels, side, side, generator=g), labels

    return make


def token_classes(vocab: int = 64, length: int = 16, classes: int = 2) -> Maker:
    """Random tokens, three in four of them from the part of the vocabulary that belongs to the class."""

    def make(seed: int, size: int) -> tuple[Tensor, Tensor]:
        g = generator(seed)
        labels = torch.randint(classes, (size,), generator=g)
        anything = torch.randint(SPECIAL, vocab, (size, length), generator=g)
        share = (vocab - SPECIAL) // classes
        typical = SPECIAL + labels[:, None] * share + torch.randint(share, (size, length), generator=g)
        return torch.where(torch.rand(size, length, generator=g) < 0.75, typical, anything), labels

    return make


def progressions(vocab: int = 64, length: int = 16) -> Maker:
    """Token sequences that count upwards in steps of one to three, so that the next token can be learnt."""

    def make(seed: int, size: int) -> Tensor:
        g = generator(seed)
        start = torch.randint(vocab - SPECIAL, (size, 1), generator=g)
        stride = torch.randint(1, 4, (size, 1), generator=g)
        return SPECIAL + (start + stride * torch.arange(length)) % (vocab - SPECIAL)

    return make


def regression(features: int = 16, targets: int = 1, scale: float = 1.0, offset: float = 0.0) -> Maker:
    """Gaussian inputs and a smooth, slightly noisy function of them."""

    def make(seed: int, size: int) -> tuple[Tensor, Tensor]:
        g = generator(seed)
        x = torch.randn(size, features, generator=g)
        clean = torch.tanh(x @ prototypes(features, targets) / features**0.5)
        return x, offset + scale * (clean + 0.1 * torch.randn(size, targets, generator=g))

    return make


def waves(length: int = 32, channels: int = 1, classes: int = 4) -> Maker:
    """Noisy sines whose frequency is the class."""

    def make(seed: int, size: int) -> tuple[Tensor, Tensor]:
        g = generator(seed)
        labels = torch.randint(classes, (size,), generator=g)
        phase = 6.283 * torch.rand(size, channels, 1, generator=g)
        time = torch.linspace(0, 6.283, length)
        clean = torch.sin((labels[:, None, None] + 1) * time + phase)
        return clean + 0.2 * torch.randn(size, channels, length, generator=g), labels

    return make


def only(maker: Maker, part: int = 0) -> Maker:
    """One part of another maker's batches."""

    def make(seed: int, size: int) -> Batch:
        return maker(seed, size)[part]

    return make


def sequences_first(maker: Maker) -> Maker:
    """Channels last, as recurrent layers and transformers want it."""

    def make(seed: int, size: int) -> tuple[Tensor, Tensor]:
        x, y = maker(seed, size)
        return x.transpose(1, 2).contiguous(), y

    return make


def cast(maker: Maker, dtype: torch.dtype) -> Maker:
    """The same batches with their floating-point tensors in another precision."""

    def make(seed: int, size: int) -> tuple[Tensor, ...]:
        return tuple(t.to(dtype) if t.is_floating_point() else t for t in maker(seed, size))

    return make


VECTORS = patterns(16)
IMAGES_16 = pictures(3, 16)
TOKENS = token_classes(classes=4)
COUNTING = progressions()
PIXELS = only(pictures(3, 16))
POINTS = only(patterns(8))


def transitions(continuous: bool = False) -> Maker:
    """States, actions, rewards that favour one action per state, next states and ends of episodes."""

    def make(seed: int, size: int) -> tuple[Tensor, ...]:
        g = generator(seed)
        state, after = torch.randn(2, size, STATES_8, generator=g).unbind(0)
        best = torch.tanh(state @ prototypes(STATES_8, ACTIONS_4))
        action = torch.rand(size, ACTIONS_4, generator=g) * 2 - 1 if continuous else random_actions(size, g)
        score = -((action - best) ** 2).mean(dim=1) if continuous else best.gather(1, action[:, None])[:, 0]
        return state, action, score, after, (torch.rand(size, generator=g) < 0.1).float()

    return make


def random_actions(size: int, g: torch.Generator) -> Tensor:
    """Random discrete actions."""
    return torch.randint(ACTIONS_4, (size,), generator=g)


def histories(length: int = 8) -> Maker:
    """Item histories that go up by a step of their own."""

    def make(seed: int, size: int) -> Tensor:
        g = generator(seed)
        step = torch.randint(1, 4, (size, 1), generator=g)
        return (torch.randint(ITEMS, (size, 1), generator=g) + step * torch.arange(length)) % ITEMS

    return make


SEQUENCES = sequences_first(waves(32))


def dictation() -> Maker:
    """Three symbols, each held for six frames."""

    def make(seed: int, size: int) -> tuple[Tensor, Tensor]:
        g = generator(seed)
        words = torch.randint(1, 6, (size, 3), generator=g)
        frames = F.one_hot(words.repeat_interleave(6, dim=1), 8).float()
        return frames + 0.3 * torch.randn(frames.shape, generator=g), words

    return make


IMAGES_32 = pictures(3, 32)


def segments(side: int = 16) -> Maker:
    """Images of coarse blocks and their label per pixel."""

    def make(seed: int, size: int) -> tuple[Tensor, Tensor]:
        g = generator(seed)
        blocks = F.interpolate(torch.randint(3, (size, 1, 4, 4), generator=g).float(), size=(side, side))
        return blocks - 1 + 0.3 * torch.randn(size, 3, side, side, generator=g), blocks[:, 0].long()

    return make


def dense_moons(seed: int, size: int) -> Tensor:
    """Points of the plane on two half circles."""
    g = generator(seed)
    angle, side = math.pi * torch.rand(4 * size, generator=g), torch.randint(2, (4 * size,), generator=g)
    upper, lower = torch.stack([angle.cos(), angle.sin()], 1), torch.stack([1 - angle.cos(), 0.5 - angle.sin()], 1)
    return torch.where(side[:, None] == 0, upper, lower) + 0.05 * torch.randn(4 * size, 2, generator=g)


def grey(seed: int, size: int) -> Tensor:
    """Grey pictures of sixteen levels, as integers."""
    image = pictures(1, 8)(seed, size)[0]
    return ((0.5 + 0.2 * image).clamp(0, 1) * 15).round().long()


def documents(seed: int, size: int) -> Tensor:
    """Word counts of documents about one or two of five topics."""
    g = generator(seed)
    topics = (2 * prototypes(5, 60)).softmax(1)
    mix = torch.rand(size, 5, generator=g) ** 4
    words = torch.multinomial(mix / mix.sum(1, keepdim=True) @ topics, 80, True, generator=g)
    return F.one_hot(words, 60).sum(1).float()


def changes_of_state(seed: int, size: int) -> Batch:
    """Normalised states and actions, and how the state changes, less in some places."""
    g = generator(seed)
    x = torch.randn(4 * size, 10, generator=g)
    clean = (x @ prototypes(10, 8) / 3).tanh()
    return x, clean + 0.2 * clean.abs() * torch.randn(4 * size, 8, generator=g)


def measured(seed: int, size: int) -> tuple[Tensor, Tensor]:
    """Six numbers around one of two patterns."""
    g = generator(seed)
    label = torch.randint(2, (size,), generator=g)
    return prototypes(2, 6)[label] + 0.6 * torch.randn(size, 6, generator=g), label


def moons(seed: int, size: int) -> Batch:
    """Two half circles."""
    g = generator(seed)
    turn, upper = math.pi * torch.rand(size, generator=g), torch.rand(size, generator=g) < 0.5
    x = torch.where(upper, turn.cos(), 1 - turn.cos())
    y = torch.where(upper, turn.sin(), 0.5 - turn.sin())
    return torch.stack([x, y], 1) + 0.1 * torch.randn(size, 2, generator=g)


def bits(seed: int, size: int) -> Batch:
    """Binary patterns."""
    return (patterns(32)(seed, size)[0] > 0).float()


def moves(seed: int, size: int) -> Batch:
    """States, actions, rewards, next states and whether it ended there."""
    g = generator(seed)
    state, action = torch.randn(size, STATES_6, generator=g), torch.randint(ACTIONS_3, (size,), generator=g)
    reward = (state[:, :ACTIONS_3].gather(1, action[:, None])[:, 0]).tanh()
    after = 0.9 * state + 0.3 * torch.randn(size, STATES_6, generator=g)
    return state, action, reward, after, (torch.rand(size, generator=g) < 0.1).float()


def series(past: int = 24, ahead: int = 8, channels: int = 3) -> Maker:
    """Sines with noise in several channels, and how they go on."""

    def make(seed: int, size: int) -> Batch:
        g = generator(seed)
        phase, period = (torch.rand(size, 1, channels, generator=g) for _ in range(2))
        time = torch.arange(past + ahead)[:, None]
        x = (6.283 * (time / (6 + 6 * period) + phase)).sin() + 0.1 * torch.randn(
            size, past + ahead, channels, generator=g
        )
        return x[:, :past], x[:, past:]

    return make


def spots(side: int = 16) -> Maker:
    """A bright square of one of four colours somewhere; its centre on a grid of half the size, and its size."""
    colours = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]])

    def make(seed: int, size: int) -> Batch:
        g = generator(seed)
        kind, places = torch.randint(4, (size,), generator=g), torch.randint(2, side // 2 - 2, (size, 2), generator=g)
        half = torch.randint(1, 4, (size,), generator=g)
        axis = torch.arange(side)
        rows, columns = ((axis - 2 * places[:, i : i + 1]).abs() <= half[:, None] for i in (0, 1))
        mask = (rows[:, :, None] & columns[:, None]).float()[:, None]
        image = mask * colours[kind][:, :, None, None] + 0.3 * torch.randn(size, 3, side, side, generator=g)
        return image, (kind, places, half.float())

    return make


def rings(seed: int, size: int) -> Tensor:
    """Points of the plane on two circles."""
    g = generator(seed)
    angle, radius = 6.283 * torch.rand(4 * size, generator=g), 1 + torch.randint(2, (4 * size,), generator=g)
    place = radius[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
    return place + 0.1 * torch.randn(4 * size, 2, generator=g)


def binary_patterns(seed: int, size: int) -> Tensor:
    """Black and white patterns of thirty-six pixels."""
    g = generator(seed)
    ideal = prototypes(4, 36)[torch.randint(4, (size,), generator=g)] > 0
    return (ideal ^ (torch.rand(size, 36, generator=g) < 0.05)).float()


def blobs(seed: int, size: int) -> Batch:
    """Noisy images with one bright disc, its mask, and its centre and radius as shares of the side."""
    g = generator(seed)
    centre, radius = 0.3 + 0.4 * torch.rand(size, 2, generator=g), 0.12 + 0.12 * torch.rand(size, generator=g)
    rows, columns = torch.meshgrid(torch.linspace(0, 1, 16), torch.linspace(0, 1, 16), indexing="ij")
    gap = (rows - centre[:, 1, None, None]).square() + (columns - centre[:, 0, None, None]).square()
    mask = (gap.sqrt() < radius[:, None, None]).long()
    image = 0.3 * torch.randn(size, 3, 16, 16, generator=g) + mask[:, None]
    return image, mask, torch.cat([centre, radius[:, None]], 1)
