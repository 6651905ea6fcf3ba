"""Pictures with language: questions about them and captions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import generator, prototypes
from benchmarks.detection.vocabulary.blocks import conv_bn, mlp
from benchmarks.detection.vocabulary.losses import own_loss


class Film(nn.Module):
    """FiLM: a GRU reads the question and scales and shifts every channel; coordinates are appended."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.embed, self.read = nn.Embedding(12, 16), nn.GRU(16, 32, batch_first=True)
        self.stem, self.film = (
            nn.Sequential(conv_bn(3, width, stride=2), conv_bn(width, width)),
            nn.Linear(32, 4 * width),
        )
        self.ins = nn.ModuleList(nn.Conv2d(width + 2, width, 1) for _ in range(2))
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(2))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width, affine=False) for _ in range(2))
        self.last, self.head = conv_bn(width, 32, 1), mlp([32, 32, 4])

    def forward(self, image: Tensor, text: Tensor, answer: Tensor) -> Tensor:
        x, axis = self.stem(image), torch.linspace(-1, 1, 6)
        place = torch.stack(torch.meshgrid(axis, axis, indexing="ij")).expand(len(x), -1, -1, -1)
        tuned = self.film(self.read(self.embed(text))[1][0]).chunk(2, 1)
        for start, conv, norm, film in zip(self.ins, self.convs, self.norms, tuned, strict=True):
            gamma, beta = film[..., None, None].chunk(2, 1)
            x = F.relu(start(torch.cat([x, place], 1)))
            x = x + F.relu((1 + gamma) * norm(conv(x)) + beta)
        return F.cross_entropy(self.head(self.last(x).amax((2, 3))), answer)


def questions(seed: int, size: int) -> Batch:
    """A picture of four patches with a colour each, a question naming a patch, and its colour."""
    g = generator(seed)
    colour = torch.randint(4, (size, 4), generator=g)
    asked = torch.randint(4, (size,), generator=g)
    image = prototypes(4, 3)[colour].transpose(1, 2).view(size, 3, 2, 2)
    image = F.interpolate(image, scale_factor=6) + 0.2 * torch.randn(size, 3, 12, 12, generator=g)
    text = torch.stack([torch.full_like(asked, 4), 5 + asked, torch.randint(9, 12, (size,), generator=g)], 1)
    return image, text, colour.gather(1, asked[:, None])[:, 0]


class Relations(nn.Module):
    """Santoro's relation network: every pair of places with the question, summed."""

    def __init__(self) -> None:
        super().__init__()
        self.see = nn.Sequential(conv_bn(3, 16, stride=2), conv_bn(16, 16, stride=2))
        self.embed, self.read = nn.Embedding(12, 16), nn.LSTM(16, 16, batch_first=True)
        self.pair, self.head = nn.Sequential(mlp([52, 48, 48]), nn.ReLU()), mlp([48, 32, 4])

    def forward(self, image: Tensor, text: Tensor, answer: Tensor) -> Tensor:
        axis = torch.linspace(-1, 1, 3)
        place = torch.stack(torch.meshgrid(axis, axis, indexing="ij")).expand(len(image), -1, -1, -1)
        things = torch.cat([self.see(image), place], 1).flatten(2).transpose(1, 2)
        count = things.shape[1]
        asked = self.read(self.embed(text))[1][0][0][:, None, None].expand(-1, count, count, -1)
        left, right = things[:, :, None].expand(-1, -1, count, -1), things[:, None].expand(-1, count, -1, -1)
        return F.cross_entropy(self.head(self.pair(torch.cat([left, right, asked], -1)).sum((1, 2))), answer)


class Captions(nn.Module):
    """Show, attend and tell: soft attention over places with a gate, and doubly stochastic regularisation."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.see = nn.Sequential(conv_bn(3, 16, stride=2), conv_bn(16, width, stride=2))
        self.embed, self.cell = nn.Embedding(12, 16), nn.LSTMCell(16 + width, width)
        self.start_h, self.start_c = nn.Linear(width, width), nn.Linear(width, width)
        self.key, self.ask, self.score = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, 1)
        self.gate, self.drop, self.head = nn.Linear(width, width), nn.Dropout(0.5), nn.Linear(width, 12)
        for weight in (self.embed.weight, self.head.weight):
            nn.init.uniform_(weight, -0.1, 0.1)
        nn.init.zeros_(self.head.bias)

    def forward(self, image: Tensor, words: Tensor) -> Tensor:
        places = self.see(image).flatten(2).transpose(1, 2)
        h, c = self.start_h(places.mean(1)), self.start_c(places.mean(1))
        keys, outs, weights = self.key(places), [], []
        for word in self.embed(F.pad(words, (1, 0))[:, :-1]).unbind(1):
            share = self.score(F.relu(keys + self.ask(h)[:, None])).softmax(1)
            read = self.gate(h).sigmoid() * (share * places).sum(1)
            h, c = self.cell(torch.cat([word, read], 1), (h, c))
            outs.append(self.head(self.drop(h)))
            weights.append(share)
        return F.cross_entropy(torch.stack(outs, 2), words) + (1 - torch.stack(weights).sum(0)).square().mean()


def captioned(seed: int, size: int) -> Batch:
    """A picture of four coloured patches, and the colours read row by row with their rows named."""
    g = generator(seed)
    colour = torch.randint(4, (size, 4), generator=g)
    image = F.interpolate(prototypes(4, 3)[colour].transpose(1, 2).reshape(size, 3, 2, 2), scale_factor=6)
    row = torch.tensor([10, 11]).expand(size, -1)
    words = torch.cat([row[:, :1], 4 + colour[:, :2], row[:, 1:], 4 + colour[:, 2:]], 1)
    return image + 0.2 * torch.randn(image.shape, generator=g), words


def cases() -> list[Case]:
    """The cases of this file."""
    return [
        case("fourth_vision_film", "fourth/film", Film, questions, own_loss, round=4),
        case("fourth_vision_relation_reasoning", "fourth/relation_reasoning", Relations, questions, own_loss, round=4),
        case("fourth_vision_show_attend_tell", "fourth/show_attend_tell", Captions, captioned, own_loss, round=4),
    ]
