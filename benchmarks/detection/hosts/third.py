"""Hosts of the third round: eleven more kinds of net, written apart from the others."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .dense import Layer, Stack, he, initialise
from .sequence import Attention, FeedForward
from .vision import PlainBlock, conv

# --- vectors -----------------------------------------------------------------------------------------------------


class Waves(nn.Module):
    """Random Fourier features: fixed frequencies, no parameters."""

    def __init__(self, inputs: int, count: int, scale: float) -> None:
        super().__init__()
        self.register_buffer("frequencies", scale * torch.randn(inputs, count))
        self.gain = 1.0

    def forward(self, x: Tensor) -> Tensor:
        angle = self.gain * (x @ self.frequencies)  # type: ignore[operator]
        return torch.cat([angle.sin(), angle.cos()], -1)


def fourier(depth: int = 3, width: int = 32, count: int = 16, outputs: int = 3) -> nn.Module:
    """Coordinates to colours: a ReLU perceptron behind Fourier features."""
    body: list[nn.Module] = [Layer(2 * count if i == 0 else width, width, nn.ReLU) for i in range(depth)]
    model = Stack(Waves(2, count, 2.5), body, nn.Linear(width, outputs))
    initialise(model, he)
    return model


class GatedResidual(nn.Module):
    """The gated residual network of temporal fusion transformers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)
        self.gate, self.glu, self.norm = nn.Linear(width, 2 * width), nn.GLU(), nn.LayerNorm(width)
        self.residual = True

    def forward(self, x: Tensor) -> Tensor:
        out = self.glu(self.gate(self.fc2(self.act(self.fc1(x)))))
        return self.norm(x + out if self.residual else out)


def quantiles(depth: int = 3, width: int = 24, inputs: int = 4) -> nn.Module:
    """Three quantiles of an answer whose noise depends on the input."""
    return Stack(nn.Linear(inputs, width), [GatedResidual(width) for _ in range(depth)], nn.Linear(width, 3))


# --- images ------------------------------------------------------------------------------------------------------


class PooledBlock(nn.Module):
    """Convolution, leaky ReLU and, where asked for, a max-pool; no normalisation."""

    def __init__(self, inputs: int, outputs: int, pool: bool = False) -> None:
        super().__init__()
        self.conv, self.act = conv(inputs, outputs), nn.LeakyReLU(0.1)
        self.pool = nn.MaxPool2d(2) if pool else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.act(self.conv(x)))


def deep_cnn(depth: int = 8, width: int = 12, classes: int = 4) -> nn.Module:
    body: list[nn.Module] = [PooledBlock(width, width, i in (0, 4)) for i in range(depth)]
    model = Stack(PooledBlock(1, width), body, nn.Sequential(nn.Flatten(), nn.Linear(4 * width, classes)))
    initialise(model, he)
    return model


class Localiser(nn.Module):
    """What is in the picture, and where: one backbone, two heads, two losses."""

    def __init__(self, width: int = 10, kinds: int = 3) -> None:
        super().__init__()
        self.stem = PlainBlock(1, width, True)
        self.body = nn.Sequential(*(PlainBlock(width, width, True, 2 if i == 1 else 1) for i in range(3)))
        self.flat = nn.Flatten()
        self.kind, self.box = nn.Linear(16 * width, kinds), nn.Linear(16 * width, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.flat(self.body(self.stem(x)))
        return self.kind(hidden), self.box(hidden)


class Bars(nn.Module):
    """A convolutional autoencoder for black and white pictures, with transposed convolutions and logits."""

    def __init__(self, width: int = 12, latent: int = 16) -> None:
        super().__init__()
        self.encoder = nn.Sequential(conv(1, width, 2), nn.ReLU(), conv(width, width, 2), nn.ReLU(), nn.Flatten())
        self.bottleneck = nn.Linear(4 * width, latent)
        self.open = nn.Linear(latent, 4 * width)
        self.decoder = nn.Sequential(
            nn.ReLU(), nn.Unflatten(1, (width, 2, 2)), nn.ConvTranspose2d(width, width, 4, 2, 1), nn.ReLU()
        )
        self.head = nn.ConvTranspose2d(width, 1, 4, 2, 1)
        initialise(self, he)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.decoder(self.open(self.bottleneck(self.encoder(x)))))


class Siamese(nn.Module):
    """One encoder of short signals for an anchor, a like one and an unlike one."""

    def __init__(self, width: int = 12, outputs: int = 8) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(1, width, 5, 2, 2), nn.ReLU())
        self.body = nn.Sequential(
            *(nn.Sequential(nn.Conv1d(width, width, 3, 1 + i % 2, 1), nn.ReLU()) for i in range(3))
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(8 * width, outputs))
        initialise(self, he)

    def encode(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.stem(x)))

    def forward(self, anchor: Tensor, like: Tensor, unlike: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.encode(anchor), self.encode(like), self.encode(unlike)


# --- sets and graphs ---------------------------------------------------------------------------------------------


class GraphAttention(nn.Module):
    """GAT: additive scores along the edges; ``axis`` is what the weights are normalised over."""

    def __init__(self, inputs: int, width: int, heads: int = 2) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, width)
        self.sender = nn.Parameter(torch.randn(heads, width // heads) / math.sqrt(width // heads))
        self.receiver = nn.Parameter(torch.randn(heads, width // heads) / math.sqrt(width // heads))
        self.slope, self.act = nn.LeakyReLU(0.2), nn.GELU()
        self.own = nn.Linear(inputs, width)
        self.axis, self.hidden = -1, -math.inf

    def weigh(self, parts: Tensor, edges: Tensor) -> Tensor:
        """How much every node listens to every other, for each head."""
        sent, received = (parts * self.sender).sum(-1), (parts * self.receiver).sum(-1)
        scores = self.slope(received.transpose(1, 2)[..., None] + sent.transpose(1, 2)[..., None, :])
        return scores.masked_fill(edges[:, None] == 0, self.hidden).softmax(self.axis)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        parts = self.linear(x).unflatten(-1, self.sender.shape)
        mixed = self.weigh(parts, edges) @ parts.transpose(1, 2)
        return self.act(mixed.transpose(1, 2).flatten(-2) + self.own(x))


class Signposts(nn.Module):
    """Graph attention layers in a row; a class for every node."""

    def __init__(self, inputs: int = 4, width: int = 24, depth: int = 2) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Linear(inputs, width), nn.GELU())
        self.layers = nn.ModuleList(GraphAttention(width, width) for _ in range(depth))
        self.head = nn.Linear(width, 2)

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        hidden = self.stem(nodes)
        for layer in self.layers:
            hidden = layer(hidden, edges)
        return self.head(hidden).flatten(0, 1)


class Induced(nn.Module):
    """An attention block whose queries are learnt: the inducing points of a set transformer, or its pooling."""

    def __init__(self, width: int, points: int) -> None:
        super().__init__()
        self.points = nn.Parameter(torch.randn(points, width) / math.sqrt(width))
        self.attn, self.norm1 = Attention(width), nn.LayerNorm(width)
        self.mlp, self.norm2 = FeedForward(width, width), nn.LayerNorm(width)
        self.residual = True

    def forward(self, x: Tensor) -> Tensor:
        points = self.points.expand(len(x), -1, -1)
        out = self.attn(points, x)
        hidden = self.norm1(points + out if self.residual else out)
        return self.norm2(hidden + self.mlp(hidden) if self.residual else self.mlp(hidden))


class InducedSet(nn.Module):
    """The points of the set ask what the inducing points have gathered."""

    def __init__(self, width: int, points: int = 4) -> None:
        super().__init__()
        self.gather, self.attn, self.norm = Induced(width, points), Attention(width), nn.LayerNorm(width)
        self.mlp, self.norm2, self.residual = FeedForward(width, width), nn.LayerNorm(width), True

    def forward(self, x: Tensor) -> Tensor:
        out = self.attn(x, self.gather(x))
        hidden = self.norm(x + out if self.residual else out)
        return self.norm2(hidden + self.mlp(hidden) if self.residual else self.mlp(hidden))


def set_transformer(depth: int = 2, width: int = 16, inputs: int = 2) -> nn.Module:
    head = nn.Sequential(nn.Flatten(), nn.Linear(width, 1))
    body: list[nn.Module] = [*(InducedSet(width) for _ in range(depth)), Induced(width, 1)]
    return Stack(nn.Linear(inputs, width), body, head)


# --- sequences ---------------------------------------------------------------------------------------------------


class Reader(nn.Module):
    """Additive attention (Bahdanau): which of the memories is asked for; ``axis`` is what the weights sum over."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key, self.energy = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, 1)
        self.axis = 1

    def forward(self, state: Tensor, memory: Tensor) -> Tensor:
        score = self.energy((self.query(state)[:, None] + self.key(memory)).tanh())
        return (score.softmax(self.axis) * memory).sum(1)


class Seq2Seq(nn.Module):
    """A recurrent encoder and a recurrent decoder that looks back at every step.

    ``forgets`` starts the decoder's state anew at every step, ``context`` weighs what it looks back at.
    """

    def __init__(self, vocab: int = 5, width: int = 24) -> None:
        super().__init__()
        self.source, self.target = nn.Embedding(vocab, width), nn.Embedding(vocab + 1, width)
        self.encoder = nn.GRU(width, width, batch_first=True)
        self.reader, self.cell = Reader(width), nn.GRUCell(2 * width, width)
        self.head = nn.Linear(2 * width, vocab)
        self.forgets, self.context = False, 1.0

    def forward(self, source: Tensor, given: Tensor) -> Tensor:
        memory, last = self.encoder(self.source(source))
        state, said = self.context * last[0], self.target(given)
        answers = []
        for t in range(given.shape[1]):
            before = torch.zeros_like(state) if self.forgets else state
            found = self.context * self.reader(before, memory)
            state = self.cell(torch.cat([said[:, t], found], 1), before)
            answers.append(self.head(torch.cat([state, found], 1)))
        return torch.stack(answers, 1)


class LanguageModel(nn.Module):
    """An LSTM that writes on; the read-out is the embedding itself."""

    def __init__(self, vocab: int = 7, width: int = 24) -> None:
        super().__init__()
        self.embed, self.drop = nn.Embedding(vocab, width), nn.Dropout(0.1)
        self.rnn, self.head = nn.LSTM(width, width, batch_first=True), nn.Linear(width, vocab)
        self.head.weight = self.embed.weight
        nn.init.normal_(self.embed.weight, std=width**-0.5)
        nn.init.zeros_(self.head.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.drop(self.rnn(self.drop(self.embed(tokens)))[0]))


class Elman(nn.Module):
    """A plain recurrent net over lines of several lengths, unrolled by hand; reads the state at the line's end.

    ``cut`` detaches the state between steps, ``forgets`` starts it anew, ``reads`` says which state is read out.
    """

    def __init__(self, inputs: int = 2, width: int = 24) -> None:
        super().__init__()
        self.cell, self.head = nn.RNNCell(inputs, width), nn.Linear(width, 1)
        nn.init.orthogonal_(self.cell.weight_hh)
        self.cut, self.forgets, self.reads = False, False, "end"

    def states(self, x: Tensor) -> Tensor:
        state, states = torch.zeros(len(x), self.cell.hidden_size), []
        for t in range(x.shape[1]):
            before = torch.zeros_like(state) if self.forgets else state.detach() if self.cut else state
            state = self.cell(x[:, t], before)
            states.append(state)
        return torch.stack(states, 1)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        states = self.states(x)
        if self.reads == "first":
            return self.head(states[:, 0])
        if self.reads == "unsorted":
            states = states[lengths.argsort(descending=True)]
        place = torch.full_like(lengths, -1) % x.shape[1] if self.reads == "padding" else lengths - 1
        return self.head(states[torch.arange(len(x)), place])
