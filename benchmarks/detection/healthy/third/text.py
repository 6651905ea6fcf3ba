"""Text models, recurrent cells, attentions and memories."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case
from benchmarks.detection.healthy.common import (
    SPECIAL,
    Build,
    Maker,
    Step,
    classify,
    generator,
    later_cases,
    next_token,
    own_loss,
    progressions,
    token_classes,
)

VOCAB, WIDTH = 64, 32


def gpt_init(model: nn.Module) -> None:
    """GPT-2's initialisation."""
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


class FastText(nn.Module):
    """fastText: words and hashed bigrams are averaged, one linear layer; its tables start uniform in 1 / width."""

    def __init__(self, buckets: int = 256) -> None:
        super().__init__()
        self.buckets, self.bag, self.head = buckets, nn.EmbeddingBag(VOCAB + buckets, 16), nn.Linear(16, 4, bias=False)
        nn.init.uniform_(self.bag.weight, -1 / 16, 1 / 16)
        nn.init.zeros_(self.head.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        pairs = (tokens[:, :-1] * 116049371 + tokens[:, 1:]) % self.buckets
        return self.head(self.bag(torch.cat([tokens, VOCAB + pairs], 1)))


class Bengio(nn.Module):
    """The neural probabilistic language model: tanh, and direct connections from the words to the output."""

    def __init__(self, order: int = 4) -> None:
        super().__init__()
        self.order, self.embed = order, nn.Embedding(VOCAB, 16)
        self.hidden, self.out = nn.Linear(order * 16, 48), nn.Linear(48, VOCAB)
        self.direct = nn.Linear(order * 16, VOCAB, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        context = F.pad(self.embed(tokens), (0, 0, self.order - 1, 0)).unfold(1, self.order, 1).flatten(2)
        return self.out(self.hidden(context).tanh()) + self.direct(context)


class CharCnn(nn.Module):
    """Zhang's character-level convolutions on one-hot letters; Gaussian weights of std 0.05, two dropped layers."""

    def __init__(self) -> None:
        super().__init__()
        first = [nn.Conv1d(VOCAB, 32, 7), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(32, 32, 3), nn.ReLU()]
        dense = [nn.Linear(352, 48), nn.ReLU(), nn.Dropout(0.5), nn.Linear(48, 48), nn.ReLU(), nn.Dropout(0.5)]
        self.net = nn.Sequential(*first, nn.Flatten(), *dense, nn.Linear(48, 4))
        for module in self.net:
            if isinstance(module, (nn.Conv1d, nn.Linear)):
                nn.init.normal_(module.weight, std=0.05)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.net(F.one_hot(tokens, VOCAB).float().transpose(1, 2))


class CharAware(nn.Module):
    """Kim's language model: words from their letters by convolutions, a highway, an LSTM; all within 0.05."""

    letters: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("letters", torch.randint(1, 27, (VOCAB, 6), generator=generator(5)))
        self.embed = nn.Embedding(27, 8, padding_idx=0)
        self.convs = nn.ModuleList(nn.Conv1d(8, 12, size) for size in (1, 2, 3))
        self.transform, self.gate = nn.Linear(36, 36), nn.Linear(36, 36)
        self.rnn, self.head = nn.LSTM(36, 48, 2, dropout=0.5, batch_first=True), nn.Linear(48, VOCAB)
        for weight in self.parameters():
            nn.init.uniform_(weight, -0.05, 0.05)
        nn.init.constant_(self.gate.bias, -2.0)

    def forward(self, tokens: Tensor) -> Tensor:
        letters = self.embed(self.letters).transpose(1, 2)
        words = torch.cat([conv(letters).tanh().amax(2) for conv in self.convs], 1)
        gate = self.gate(words).sigmoid()
        words = gate * F.relu(self.transform(words)) + (1 - gate) * words
        return self.head(self.rnn(words[tokens])[0])


class PointerGenerator(nn.Module):
    """Summaries that copy or generate, with a coverage vector and its loss."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.encode = nn.Embedding(VOCAB, 24), nn.LSTM(24, 16, bidirectional=True, batch_first=True)
        self.decode, self.reduce = nn.LSTMCell(24 + 32, 32), nn.Linear(32, 32)
        self.from_key, self.from_state = nn.Linear(32, 32, bias=False), nn.Linear(32, 32)
        self.from_coverage, self.score = nn.Linear(1, 32, bias=False), nn.Linear(32, 1, bias=False)
        self.switch, self.out = nn.Linear(32 + 32 + 24, 1), nn.Sequential(nn.Linear(64, 32), nn.Linear(32, VOCAB))

    def forward(self, text: Tensor, summary: Tensor) -> Tensor:
        keys, (last, _) = self.encode(self.embed(text))
        state = (self.reduce(last.transpose(0, 1).flatten(1)).relu(), torch.zeros(len(text), 32))
        context, coverage, cost = torch.zeros(len(text), 32), torch.zeros(text.shape), torch.zeros(())
        for previous, word in zip(F.pad(summary, (1, 0), value=2)[:, :-1].unbind(1), summary.unbind(1), strict=True):
            seen = self.embed(previous)
            state = self.decode(torch.cat([seen, context], 1), state)
            features = (
                self.from_key(keys) + self.from_state(state[0])[:, None] + self.from_coverage(coverage[..., None])
            )
            weight = self.score(features.tanh())[..., 0].softmax(1)
            context = (weight[..., None] * keys).sum(1)
            cost = cost + torch.minimum(weight, coverage).sum(1).mean()
            coverage = coverage + weight
            switch = self.switch(torch.cat([context, state[0], seen], 1)).sigmoid()
            chance = switch * self.out(torch.cat([state[0], context], 1)).softmax(1)
            chance = chance.scatter_add(1, text, (1 - switch) * weight)
            cost = cost - (chance.gather(1, word[:, None]) + 1e-12).log().mean()
        return cost / summary.shape[1]


def summaries(seed: int, size: int) -> Batch:
    """Texts and every third word of them."""
    text = torch.randint(SPECIAL, VOCAB, (size, 15), generator=generator(seed))
    return text, text[:, ::3]


class ConvTranslator(nn.Module):
    """ConvS2S: gated convolutions with weight normalisation, attention in every decoder layer, halves of variance."""

    def __init__(self, width: int = WIDTH, layers: int = 2) -> None:
        super().__init__()
        norm = nn.utils.parametrizations.weight_norm
        self.source, self.target = nn.Embedding(VOCAB, width), nn.Embedding(VOCAB, width)
        self.places = nn.Embedding(16, width)
        for table in (self.source, self.target, self.places):
            nn.init.normal_(table.weight, std=0.1)
        self.encode = nn.ModuleList(norm(self.conv(width)) for _ in range(layers))
        self.decode = nn.ModuleList(norm(self.conv(width)) for _ in range(layers))
        self.inward = nn.ModuleList(norm(self.linear(width, width)) for _ in range(layers))
        self.outward = nn.ModuleList(norm(self.linear(width, width)) for _ in range(layers))
        self.head = norm(self.linear(width, VOCAB))

    @staticmethod
    def conv(width: int) -> nn.Conv1d:
        """Three words wide, twice as many outputs, normal by 4 / fan in."""
        conv = nn.Conv1d(width, 2 * width, 3)
        nn.init.normal_(conv.weight, std=(4 / (3 * width)) ** 0.5)
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        return conv

    @staticmethod
    def linear(inputs: int, outputs: int) -> nn.Linear:
        """Normal by 1 / fan in."""
        layer = nn.Linear(inputs, outputs)
        nn.init.normal_(layer.weight, std=inputs**-0.5)
        nn.init.zeros_(layer.bias)
        return layer

    def placed(self, table: nn.Module, tokens: Tensor) -> Tensor:
        """Words and places."""
        return table(tokens) + self.places.weight[: tokens.shape[1]]

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        words = self.placed(self.source, source)
        x = words
        for conv in self.encode:
            x = (F.glu(conv(F.pad(x.transpose(1, 2), (1, 1))), 1).transpose(1, 2) + x) * 0.5**0.5
        values = (x + words) * 0.5**0.5
        given = self.placed(self.target, target[:, :-1])
        y = given
        for conv, inward, outward in zip(self.decode, self.inward, self.outward, strict=True):
            h = F.glu(conv(F.pad(y.transpose(1, 2), (2, 0))), 1).transpose(1, 2)
            weight = ((inward(h) + given) * 0.5**0.5 @ x.transpose(1, 2)).softmax(-1)
            seen = outward(weight @ values * source.shape[1] ** 0.5)
            y = ((h + seen) * 0.5**0.5 + y) * 0.5**0.5
        return F.cross_entropy(self.head(y).transpose(1, 2), target[:, 1:])


def shifted(seed: int, size: int) -> Batch:
    """A sentence and its translation: every word is the next one in the vocabulary."""
    source = torch.randint(SPECIAL, VOCAB - 1, (size, 8), generator=generator(seed))
    return source, F.pad(source + 1, (1, 0), value=2)


class Language(nn.Module):
    """A recurrent cell that is stepped by hand, between an embedding and a head."""

    def __init__(self, cell: Callable[[int], nn.Module], width: int = WIDTH) -> None:
        super().__init__()
        self.embed, self.cell, self.head = nn.Embedding(VOCAB, width), cell(width), nn.Linear(width, VOCAB)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.cell(self.embed(tokens)))


class Mogrifier(nn.Module):
    """The mogrifier LSTM: input and state gate each other for five rounds first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.cell, self.gates = nn.LSTMCell(width, width), nn.ModuleList(nn.Linear(width, width) for _ in range(5))

    def forward(self, x: Tensor) -> Tensor:
        state, memory, out = torch.zeros_like(x[:, 0]), torch.zeros_like(x[:, 0]), []
        for now in x.unbind(1):
            for i, gate in enumerate(self.gates):
                if i % 2 == 0:
                    now = 2 * gate(state).sigmoid() * now
                else:
                    state = 2 * gate(now).sigmoid() * state
            state, memory = self.cell(now, (state, memory))
            out.append(state)
        return torch.stack(out, 1)


class RecurrentHighway(nn.Module):
    """A recurrent highway net of depth three with coupled gates whose biases start at -2."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inward = nn.Linear(width, 2 * width, bias=False)
        self.recur = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(3))
        for layer in self.recur:
            nn.init.constant_(layer.bias[width:], -2.0)  # type: ignore[index]

    def forward(self, x: Tensor) -> Tensor:
        state, out = torch.zeros_like(x[:, 0]), []
        for now in self.inward(x).unbind(1):
            for i, layer in enumerate(self.recur):
                new, gate = (layer(state) + now if i == 0 else layer(state)).chunk(2, 1)
                state = state + gate.sigmoid() * (new.tanh() - state)
            out.append(state)
        return torch.stack(out, 1)


class SimpleRecurrent(nn.Module):
    """SRU, two layers: all products at once, an elementwise recurrence, a highway; its own scaled initialisation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weights = nn.ParameterList(torch.empty(width, 3 * width) for _ in range(2))
        self.states = nn.ParameterList(torch.empty(2, width) for _ in range(2))
        self.biases = nn.ParameterList(torch.zeros(2, width) for _ in range(2))
        for weight, state in zip(self.weights, self.states, strict=True):
            nn.init.uniform_(weight, -((3 / width) ** 0.5), (3 / width) ** 0.5)
            nn.init.uniform_(state, -((3 / width) ** 0.5) / 2**0.5, (3 / width) ** 0.5 / 2**0.5)

    def forward(self, x: Tensor) -> Tensor:
        for weight, own, bias in zip(self.weights, self.states, self.biases, strict=True):
            memory, out = torch.zeros_like(x[:, 0]), []
            new, forget, reset = (x @ weight).chunk(3, 2)
            for t in range(x.shape[1]):
                keep = (forget[:, t] + own[0] * memory + bias[0]).sigmoid()
                carry = (reset[:, t] + own[1] * memory + bias[1]).sigmoid()
                memory = keep * memory + (1 - keep) * new[:, t]
                out.append(carry * memory + (1 - carry) * x[:, t] * 3**0.5)
            x = torch.stack(out, 1)
        return x


class Clockwork(nn.Module):
    """A clockwork RNN: four groups of units tick at different rates and hear only the slower ones."""

    mask: Tensor
    period: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inward, self.recur = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        group = torch.arange(width) // (width // 4)
        self.register_buffer("mask", (group[:, None] <= group).float())
        self.register_buffer("period", 2**group)

    def forward(self, x: Tensor) -> Tensor:
        state, out = torch.zeros_like(x[:, 0]), []
        for t, now in enumerate(self.inward(x).unbind(1)):
            new = (now + F.linear(state, self.recur.weight * self.mask)).tanh()
            state = torch.where(t % self.period == 0, new, state)
            out.append(state)
        return torch.stack(out, 1)


class FastWeights(nn.Module):
    """Fast weights: an outer-product memory of recent states is asked at every step, then layer normalisation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inward, self.recur = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.norm = nn.LayerNorm(width)
        nn.init.eye_(self.recur.weight)
        with torch.no_grad():
            self.recur.weight.mul_(0.05)

    def forward(self, x: Tensor) -> Tensor:
        state, out = torch.zeros_like(x[:, 0]), []
        memory = x.new_zeros(len(x), x.shape[2], x.shape[2])
        for now in self.inward(x).unbind(1):
            boundary = now + self.recur(state)
            memory = 0.95 * memory + 0.5 * state[:, :, None] * state[:, None]
            state = self.norm(boundary).relu()
            state = self.norm(boundary + (memory @ state[:, :, None])[..., 0]).relu()
            out.append(state)
        return torch.stack(out, 1)


class StackRnn(nn.Module):
    """A recurrent net with a soft stack: push, pop or leave it alone, by a softmax."""

    def __init__(self, width: int, depth: int = 6) -> None:
        super().__init__()
        self.depth, self.cell = depth, nn.RNNCell(width + 8, width)
        self.act, self.value = nn.Linear(width, 3), nn.Linear(width, 8)

    def forward(self, x: Tensor) -> Tensor:
        state, stack, out = torch.zeros_like(x[:, 0]), x.new_zeros(len(x), self.depth, 8), []
        for now in x.unbind(1):
            state = self.cell(torch.cat([now, stack[:, 0]], 1), state)
            push, pop, keep = self.act(state).softmax(1)[:, :, None, None].unbind(1)
            pushed = torch.cat([self.value(state).sigmoid()[:, None], stack[:, :-1]], 1)
            popped = F.pad(stack[:, 1:], (0, 0, 0, 1))
            stack = push * pushed + pop * popped + keep * stack
            out.append(state)
        return torch.stack(out, 1)


class UnitaryRnn(nn.Module):
    """A unitary recurrence in complex numbers (phases, reflections, Fourier transforms) with modReLU."""

    order: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inward, self.outward = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.phases = nn.Parameter(torch.empty(3, width).uniform_(-math.pi, math.pi))
        self.mirrors = nn.Parameter(torch.empty(2, width, 2).uniform_(-1, 1))
        self.start = nn.Parameter(torch.empty(width, 2).uniform_(-((3 / 2 / width) ** 0.5), (3 / 2 / width) ** 0.5))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("order", torch.randperm(width))

    def reflect(self, x: Tensor, mirror: Tensor) -> Tensor:
        """A Householder reflection."""
        return x - 2 * (x @ mirror.conj())[:, None] * mirror / mirror.abs().square().sum()

    def forward(self, x: Tensor) -> Tensor:
        turns = torch.polar(torch.ones_like(self.phases), self.phases)
        mirrors = torch.view_as_complex(self.mirrors)
        state, out = torch.view_as_complex(self.start).expand(len(x), -1), []
        for now in torch.view_as_complex(self.inward(x).unflatten(2, (-1, 2))).unbind(1):
            state = self.reflect(torch.fft.fft(state * turns[0], norm="ortho"), mirrors[0])[:, self.order]
            state = self.reflect(torch.fft.ifft(state * turns[1], norm="ortho"), mirrors[1]) * turns[2] + now
            size = (state.real.square() + state.imag.square() + 1e-8).sqrt()
            state = F.relu(size + self.bias) / size * state
            out.append(torch.view_as_real(state).flatten(1))
        return self.outward(torch.stack(out, 1))


def orthogonal_rnn(width: int) -> nn.Module:
    """A ReLU RNN whose recurrent matrix is kept orthogonal by a parametrisation (matrix exponential)."""

    class Orthogonal(nn.Module):
        """The recurrence by hand, because the matrix is computed."""

        def __init__(self) -> None:
            super().__init__()
            self.inward = nn.Linear(width, width)
            recur = nn.Linear(width, width, bias=False)
            nn.init.orthogonal_(recur.weight)
            self.recur = nn.utils.parametrizations.orthogonal(recur, orthogonal_map="matrix_exp")

        def forward(self, x: Tensor) -> Tensor:
            state, out, matrix = torch.zeros_like(x[:, 0]), [], self.recur.weight
            for now in self.inward(x).unbind(1):
                state = F.relu(now + state @ matrix.T)  # type: ignore[operator]
                out.append(state)
            return torch.stack(out, 1)

    return Orthogonal()


class Block(nn.Module):
    """A pre-norm transformer block around the given attention and feed-forward."""

    def __init__(self, attention: nn.Module, feed: nn.Module | None = None) -> None:
        super().__init__()
        self.attention, self.norm1, self.norm2 = attention, nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.feed = feed or nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.feed(self.norm2(x))


class Decoder(nn.Module):
    """Words and places, two blocks, a norm and a head; GPT-2's initialisation unless the blocks bring their own."""

    def __init__(self, block: Build, init: bool = True) -> None:
        super().__init__()
        self.embed, self.places = nn.Embedding(VOCAB, WIDTH), nn.Embedding(16, WIDTH)
        self.blocks = nn.Sequential(block(), block())
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCAB, bias=False)
        if init:
            gpt_init(self)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens) + self.places.weight[: tokens.shape[1]]
        return self.head(self.norm(self.blocks(x)))


def causal(length: int) -> Tensor:
    """True where one may look."""
    return torch.ones(length, length, dtype=torch.bool).tril()


class Primer(nn.Module):
    """Primer: a depthwise convolution of three words behind the projections; its feed-forward squares the ReLU."""

    def __init__(self, heads: int = 2) -> None:
        super().__init__()
        self.heads, self.qkv, self.out = heads, nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.local = nn.Conv1d(3 * WIDTH, 3 * WIDTH, 3, groups=3 * WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.local(F.pad(self.qkv(x).transpose(1, 2), (2, 0))).transpose(1, 2)
        query, key, value = mixed.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.out(seen.transpose(1, 2).flatten(2))


class SquaredReLU(nn.Module):
    """The square of the positive part."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x).square()


class AttentionFree(nn.Module):
    """AFT: learnt biases between places, an exponential of the keys, a sigmoid gate."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.bias = nn.Parameter(torch.empty(16, 16))
        nn.init.xavier_uniform_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).chunk(3, 2)
        length = x.shape[1]
        bias = self.bias[:length, :length].masked_fill(~causal(length), -torch.inf).exp()
        key = (key - key.amax(1, keepdim=True)).exp()
        return self.out(query.sigmoid() * (bias @ (key * value)) / (bias @ key))


class Sparsemax(nn.Module):
    """Attention whose weights are a projection onto the simplex: most of them are exactly zero."""

    def __init__(self, heads: int = 2) -> None:
        super().__init__()
        self.heads, self.qkv, self.out = heads, nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    @staticmethod
    def project(scores: Tensor) -> Tensor:
        """Sparsemax by sorting."""
        ranked = scores.sort(-1, descending=True).values
        rank = torch.arange(1, scores.shape[-1] + 1)
        total = ranked.cumsum(-1) - 1
        support = (rank * ranked > total).sum(-1, keepdim=True)
        return F.relu(scores - total.gather(-1, support - 1) / support)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        weight = self.project(scores.masked_fill(~causal(x.shape[1]), -1e4))
        return self.out((weight @ value).transpose(1, 2).flatten(2))


class AdaptiveSpan(nn.Module):
    """Every head learns how far it looks: a soft mask whose span starts at zero, with relative places."""

    def __init__(self, heads: int = 2, ramp: float = 4.0) -> None:
        super().__init__()
        self.heads, self.ramp, self.qkv = heads, ramp, nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.out, self.span = nn.Linear(WIDTH, WIDTH, bias=False), nn.Parameter(torch.zeros(heads, 1, 1))
        self.relative = nn.Parameter(torch.randn(WIDTH // heads, 16))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        place = torch.arange(x.shape[1])
        gap = place[:, None] - place
        moved = (query @ self.relative).gather(-1, gap.clamp(min=0).expand(len(x), self.heads, -1, -1))
        scores = (query @ key.transpose(-1, -2) + moved) / query.shape[-1] ** 0.5
        weight = scores.masked_fill(gap < 0, -torch.inf).softmax(-1)
        weight = weight * ((16 * self.span - gap) / self.ramp + 1).clamp(0, 1)
        weight = weight / (weight.sum(-1, keepdim=True) + 1e-8)
        return self.out((weight @ value).transpose(1, 2).flatten(2))


class NormalisedBlock(nn.Module):
    """nGPT: states live on a sphere and move by learnt step sizes; matrices have rows of length one."""

    def __init__(self, heads: int = 2) -> None:
        super().__init__()
        self.heads, base = heads, WIDTH**-0.5
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.up, self.down = nn.Linear(WIDTH, 8 * WIDTH, bias=False), nn.Linear(4 * WIDTH, WIDTH, bias=False)
        self.steps = nn.Parameter(torch.full((2, WIDTH), base))
        self.sharp, self.wide = nn.Parameter(torch.full((WIDTH // heads,), base)), nn.Parameter(torch.ones(8 * WIDTH))
        for layer in (self.qkv, self.out, self.up, self.down):
            nn.init.normal_(layer.weight, std=base)

    def attend(self, x: Tensor) -> Tensor:
        """Queries and keys of length one, scaled by what was learnt."""
        qkv = F.linear(x, F.normalize(self.qkv.weight, dim=1)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # type: ignore[no-untyped-call]
        sharp = self.sharp * WIDTH**0.5
        query, key = F.normalize(qkv[0], dim=-1) * sharp, F.normalize(qkv[1], dim=-1) * sharp
        seen = F.scaled_dot_product_attention(query, key, qkv[2], is_causal=True, scale=(WIDTH // self.heads) ** 0.5)
        return F.linear(seen.transpose(1, 2).flatten(2), F.normalize(self.out.weight, dim=0))

    def feed(self, x: Tensor) -> Tensor:
        """A gated feed-forward."""
        up, gate = (F.linear(x, F.normalize(self.up.weight, dim=1)) * self.wide * WIDTH**0.5).chunk(2, -1)
        return F.linear(up * F.silu(gate), F.normalize(self.down.weight, dim=0))

    def forward(self, x: Tensor) -> Tensor:
        for branch, step in zip((self.attend, self.feed), self.steps, strict=True):
            x = F.normalize(x, dim=-1)
            size = (step * 0.05 * WIDTH**0.5).abs()
            x = F.normalize(x + size * (F.normalize(branch(x), dim=-1) - x), dim=-1)
        return x


class NormalisedGpt(nn.Module):
    """nGPT between normalised tables, with a learnt scale of the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.places = nn.Embedding(VOCAB, WIDTH), nn.Embedding(16, WIDTH)
        self.blocks, self.head = (
            nn.Sequential(NormalisedBlock(), NormalisedBlock()),
            nn.Linear(WIDTH, VOCAB, bias=False),
        )
        self.scale = nn.Parameter(torch.full((VOCAB,), WIDTH**-0.5))
        for layer in (self.embed, self.places, self.head):
            nn.init.normal_(layer.weight, std=WIDTH**-0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        words = F.normalize(self.embed.weight, dim=1)[tokens] + self.places.weight[: tokens.shape[1]]
        logits = F.linear(self.blocks(F.normalize(words, dim=-1)), F.normalize(self.head.weight, dim=1))
        return logits * self.scale * WIDTH**0.5


class TestTime(nn.Module):
    """TTT-linear: the state is a linear model, trained by one gradient step per word on what the keys should say."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH)
        self.start, self.rate = nn.Parameter(0.02 * torch.randn(WIDTH, WIDTH)), nn.Linear(WIDTH, 1)
        self.norm, self.post = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).chunk(3, 2)
        rate, state, out = self.rate(x).sigmoid() / WIDTH, self.start.expand(len(x), -1, -1), []
        for t in range(x.shape[1]):
            error = (key[:, t, None] @ state)[:, 0] - (value[:, t] - key[:, t])
            state = state - rate[:, t, :, None] * key[:, t, :, None] * error[:, None]
            out.append(query[:, t] + self.norm((query[:, t, None] @ state)[:, 0]))
        return self.out(self.post(torch.stack(out, 1)))


class Diagonal(nn.Module):
    """S5: one complex diagonal state space for all channels, HiPPO-N's eigenvalues, learnt steps, GELU gate."""

    def __init__(self, states: int = 16) -> None:
        super().__init__()
        index = torch.arange(states, dtype=torch.float64)
        below = -((2 * index[:, None] + 1) * (2 * index + 1)).sqrt() / 2
        normal = below.tril(-1) - below.triu(1) - 0.5 * torch.eye(states, dtype=torch.float64)
        values, vectors = torch.linalg.eig(normal)
        inward = vectors.inverse() @ (torch.randn(states, WIDTH) / WIDTH**0.5).to(vectors)
        outward = (torch.randn(WIDTH, states) / states**0.5).to(vectors) @ vectors
        self.poles = nn.Parameter(torch.view_as_real(values).float().contiguous())
        self.b, self.c = (nn.Parameter(torch.view_as_real(m).float().contiguous()) for m in (inward, outward))
        self.d, self.step = nn.Parameter(torch.randn(WIDTH)), nn.Parameter(torch.empty(states).uniform_(-6.9, -2.3))
        self.gate = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        poles, b, c = (torch.view_as_complex(p) for p in (self.poles, self.b, self.c))
        poles = torch.complex(-poles.real.abs().clamp(min=1e-4), poles.imag)
        decay = (poles * self.step.exp()).exp()
        drive = x.to(b) @ (((decay - 1) / poles)[:, None] * b).T
        power = torch.arange(x.shape[1])
        kernel = decay[None, None] ** (power[:, None] - power).clamp(min=0)[..., None] * causal(len(power))[..., None]
        states = torch.einsum("tsn,bsn->btn", kernel, drive)
        out = F.gelu((states @ c.T).real + self.d * x)
        return out * self.gate(out).sigmoid()


class HyperConnected(nn.Module):
    """Hyper-connections: four streams, mixed before and after every layer by matrices that start as a residual."""

    def __init__(self, streams: int = 4, layers: int = 4) -> None:
        super().__init__()
        self.embed, self.places = nn.Embedding(VOCAB, WIDTH), nn.Embedding(16, WIDTH)
        feed = (nn.Sequential(nn.Linear(WIDTH, 64), nn.GELU(), nn.Linear(64, WIDTH)) for _ in range(layers // 2))
        pairs = zip((Primer() for _ in range(layers // 2)), feed, strict=True)
        self.layers = nn.ModuleList(layer for pair in pairs for layer in pair)
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(layers))
        first = torch.eye(streams).repeat(layers // streams + 1, 1)[:layers]
        self.reads, self.writes = nn.Parameter(first.clone()), nn.Parameter(torch.ones(layers, streams))
        self.mixes = nn.Parameter(torch.eye(streams).repeat(layers, 1, 1))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCAB, bias=False)
        gpt_init(self)

    def forward(self, tokens: Tensor) -> Tensor:
        x = (self.embed(tokens) + self.places.weight[: tokens.shape[1]])[..., None].expand(-1, -1, -1, 4)
        for i, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            out = layer(norm(x @ self.reads[i]))
            x = x @ self.mixes[i] + out[..., None] * self.writes[i]
        return self.head(self.norm(x.sum(-1)))


class ManyTokens(nn.Module):
    """Multi-token prediction: a shared trunk, one more block for every distance, one shared head."""

    def __init__(self, ahead: int = 3) -> None:
        super().__init__()
        self.trunk, self.ahead = Decoder(lambda: Block(Primer())), nn.ModuleList(Block(Primer()) for _ in range(ahead))
        gpt_init(self.ahead)

    def forward(self, tokens: Tensor) -> Tensor:
        n = len(self.ahead)
        given = tokens[:, :-n]
        x = self.trunk.blocks(self.trunk.embed(given) + self.trunk.places.weight[: given.shape[1]])
        cost = torch.zeros(())
        for i, block in enumerate(self.ahead):
            logits = self.trunk.head(self.trunk.norm(block(x)))
            truth = tokens[:, i + 1 : tokens.shape[1] - n + i + 1]
            cost = cost + F.cross_entropy(logits.flatten(0, 1), truth.flatten())
        return cost / n


class Linformer(nn.Module):
    """Attention over keys and values that were projected along the sequence to four places, shared by both."""

    def __init__(self, heads: int = 2, places: int = 4) -> None:
        super().__init__()
        self.heads, self.qkv, self.out = heads, nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH)
        self.shrink = nn.Parameter(torch.empty(16, places).uniform_(-(places**-0.5), places**-0.5))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        key, value = (torch.einsum("bhtd,tp->bhpd", part, self.shrink) for part in (key, value))
        return self.out(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class Reader(nn.Module):
    """Two blocks without a mask, the mean, a classifier."""

    def __init__(self, attention: Build) -> None:
        super().__init__()
        self.embed, self.places = nn.Embedding(VOCAB, WIDTH), nn.Embedding(16, WIDTH)
        self.blocks = nn.Sequential(Block(attention()), Block(attention()))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.norm(self.blocks(self.embed(tokens) + self.places.weight)).mean(1))


class Ponder(nn.Module):
    """PonderNet: a GRU thinks up to six times; the loss is expected over when it stops, near a geometric prior."""

    def __init__(self, steps: int = 6) -> None:
        super().__init__()
        self.steps, self.embed, self.cell = steps, nn.EmbeddingBag(VOCAB, WIDTH), nn.GRUCell(WIDTH, WIDTH)
        self.halt, self.head = nn.Linear(WIDTH, 1), nn.Linear(WIDTH, 4)

    def forward(self, tokens: Tensor, label: Tensor) -> Tensor:
        x = self.embed(tokens)
        state, left, chances, costs = self.cell(x), x.new_ones(len(x)), [], []
        for step in range(self.steps):
            halt = self.halt(state)[:, 0].sigmoid() if step < self.steps - 1 else x.new_ones(len(x))
            chances.append(left * halt)
            costs.append(F.cross_entropy(self.head(state), label, reduction="none"))
            left, state = left * (1 - halt), self.cell(x, state)
        chance = torch.stack(chances, 1)
        prior = 0.3 * 0.7 ** torch.arange(float(self.steps))
        away = F.kl_div((prior / prior.sum()).log().expand_as(chance), chance, reduction="batchmean")
        return (chance * torch.stack(costs, 1)).sum(1).mean() + 0.01 * away


class HierarchicalSoftmax(nn.Module):
    """CBOW whose answer is a path through a binary tree; vectors within 0.5 / width, the nodes at zero."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.words, self.nodes = nn.Embedding(VOCAB, width), nn.Embedding(VOCAB, width)
        nn.init.uniform_(self.words.weight, -0.5 / width, 0.5 / width)
        nn.init.zeros_(self.nodes.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        context = self.words(tokens.unfold(1, 5, 1)[..., [0, 1, 3, 4]]).mean(2)
        leaf, cost = tokens[:, 2:-2] + VOCAB, torch.zeros(())
        while int(leaf.max()) > 1:
            turn, leaf = (leaf % 2).float(), leaf // 2
            score = (context * self.nodes(leaf)).sum(-1)
            cost = cost + F.binary_cross_entropy_with_logits(score, turn)
        return cost


class Glove(nn.Module):
    """GloVe: two tables and two biases fit the logarithm of counts, weighted by them."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.words, self.contexts = nn.Embedding(VOCAB, width), nn.Embedding(VOCAB, width)
        self.bias, self.context_bias = nn.Embedding(VOCAB, 1), nn.Embedding(VOCAB, 1)
        for table in (self.words, self.contexts, self.bias, self.context_bias):
            nn.init.uniform_(table.weight, -0.5 / width, 0.5 / width)

    def forward(self, word: Tensor, context: Tensor, count: Tensor) -> Tensor:
        product = (self.words(word) * self.contexts(context)).sum(1)
        guess = product + self.bias(word)[:, 0] + self.context_bias(context)[:, 0]
        return ((count / 100).clamp(max=1) ** 0.75 * (guess - count.log()).square()).mean()


def counts(seed: int, size: int) -> Batch:
    """Words, contexts, and how often they meet."""
    g = generator(seed)
    word, context = torch.randint(VOCAB, (2, 8 * size), generator=g)
    return word, context, (150 / (1 + (word - context).abs())).round().clamp(min=1).float()


class Esim(nn.Module):
    """ESIM: premise and hypothesis are encoded, aligned softly, compared, composed and pooled."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.embed, self.encode = nn.Embedding(VOCAB, 24), nn.LSTM(24, width, bidirectional=True, batch_first=True)
        self.compare = nn.Sequential(nn.Linear(8 * width, width), nn.ReLU(), nn.Dropout(0.5))
        self.compose = nn.LSTM(width, width, bidirectional=True, batch_first=True)
        head = [nn.Linear(8 * width, width), nn.Tanh(), nn.Dropout(0.5), nn.Linear(width, 2)]
        self.head = nn.Sequential(nn.Dropout(0.5), *head)

    def forward(self, pair: Tensor) -> Tensor:
        one, two = (self.encode(self.embed(text))[0] for text in pair.chunk(2, 1))
        scores, pooled = one @ two.transpose(1, 2), []
        for own, other, weight in ((one, two, scores), (two, one, scores.transpose(1, 2))):
            seen = weight.softmax(-1) @ other
            both = self.compose(self.compare(torch.cat([own, seen, own - seen, own * seen], -1)))[0]
            pooled += [both.mean(1), both.amax(1)]
        return self.head(torch.cat(pooled, 1))


class Poincare(nn.Module):
    """Poincare embeddings of a tree: vectors within 0.001 of the origin, hyperbolic distances, ten negatives."""

    def __init__(self) -> None:
        super().__init__()
        self.points = nn.Embedding(VOCAB, 4)
        nn.init.uniform_(self.points.weight, -1e-3, 1e-3)

    def forward(self, child: Tensor, others: Tensor) -> Tensor:
        table = self.points.weight
        table = table / (table.norm(dim=1, keepdim=True) / (1 - 1e-5)).clamp(min=1)
        one, many = table[child][:, None], table[others]
        room = (1 - one.square().sum(-1)) * (1 - many.square().sum(-1))
        ratio = 2 * (one - many).square().sum(-1) / room
        distance = torch.acosh((1 + ratio).clamp(min=1 + 1e-5))
        return F.cross_entropy(-distance, torch.zeros(len(child), dtype=torch.long))


def tree(seed: int, size: int) -> Batch:
    """Nodes of a binary tree with their parent, and ten others."""
    g = generator(seed)
    child = torch.randint(2, VOCAB, (4 * size,), generator=g)
    others = torch.randint(1, VOCAB, (4 * size, 10), generator=g)
    return child, torch.cat([child[:, None] // 2, others], 1)


class Preference(nn.Module):
    """DPO: a policy and its frozen copy; the preferred text shall gain more than the other one."""

    def __init__(self) -> None:
        super().__init__()
        self.policy, self.reference = (Decoder(lambda: Block(Primer())) for _ in range(2))
        self.reference.load_state_dict(self.policy.state_dict())
        self.reference.requires_grad_(False)

    @staticmethod
    def likelihood(model: nn.Module, tokens: Tensor) -> Tensor:
        """The logarithm of a text's probability."""
        return -F.cross_entropy(model(tokens[:, :-1]).transpose(1, 2), tokens[:, 1:], reduction="none").sum(1)

    def forward(self, tokens: Tensor) -> Tensor:
        worse = tokens.flip(1)
        ours = self.likelihood(self.policy, tokens) - self.likelihood(self.policy, worse)
        theirs = self.likelihood(self.reference, tokens) - self.likelihood(self.reference, worse)
        return -F.logsigmoid(0.1 * (ours - theirs)).mean()


class ExponentialMoving(nn.Module):
    """A hierarchical gated recurrence (HGRN): forget gates with a lower bound that grows with depth."""

    def __init__(self, layers: int = 3) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(VOCAB, WIDTH), nn.Linear(WIDTH, VOCAB)
        self.floors = nn.Parameter(torch.zeros(layers, WIDTH))
        self.layers = nn.ModuleList(nn.Linear(WIDTH, 3 * WIDTH) for _ in range(layers))
        self.outs = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(2 * layers))

    def forward(self, tokens: Tensor) -> Tensor:
        x, share = self.embed(tokens), self.floors.softmax(0)
        floors = share.cumsum(0) - share[0]
        for i, (layer, out) in enumerate(zip(self.layers, self.outs, strict=True)):
            new, forget, gate = layer(self.norms[2 * i](x)).chunk(3, -1)
            forget = floors[i] + (1 - floors[i]) * forget.sigmoid()
            state, states = torch.zeros_like(x[:, 0]), []
            for t in range(x.shape[1]):
                state = forget[:, t] * state + (1 - forget[:, t]) * F.silu(new[:, t])
                states.append(state)
            x = x + out(self.norms[2 * i + 1](torch.stack(states, 1)) * F.silu(gate))
        return self.head(x)


def primed() -> nn.Module:
    """Primer's block."""
    return Block(Primer(), nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), SquaredReLU(), nn.Linear(4 * WIDTH, WIDTH)))


def entailed(seed: int, size: int) -> Batch:
    """Two texts in one, of one topic or of two."""
    g = generator(seed)
    label, topic = torch.randint(2, (size,), generator=g), torch.randint(2, (size,), generator=g)
    half = (VOCAB - SPECIAL) // 2
    words = SPECIAL + torch.randint(half, (size, 16), generator=g)
    second = torch.where(label == 1, topic, 1 - topic)
    return words + half * torch.stack([topic, second], 1).repeat_interleave(8, 1), label


def cases() -> list[Case]:
    """All cases of this module."""
    cells: dict[str, Callable[[int], nn.Module]] = {
        "mogrifier_lstm": Mogrifier, "recurrent_highway": RecurrentHighway, "simple_recurrent_unit": SimpleRecurrent,
        "clockwork_rnn": Clockwork, "fast_weights": FastWeights, "stack_rnn": StackRnn, "unitary_rnn": UnitaryRnn,
        "orthogonal_rnn": orthogonal_rnn,
    }  # fmt: skip
    writers: dict[str, Build] = {
        "bengio": Bengio, "char_aware": CharAware, "primer": lambda: Decoder(primed),
        "attention_free": lambda: Decoder(lambda: Block(AttentionFree())),
        "sparsemax": lambda: Decoder(lambda: Block(Sparsemax())),
        "adaptive_span": lambda: Decoder(lambda: Block(AdaptiveSpan()), init=False), "ngpt": NormalisedGpt,
        "test_time_training": lambda: Decoder(lambda: Block(TestTime()), init=False),
        "s5": lambda: Decoder(lambda: Block(Diagonal()), init=False), "hyper_connections": HyperConnected,
        "hgrn": ExponentialMoving,
    }  # fmt: skip
    lines, labelled = progressions(VOCAB, 14), token_classes(VOCAB, 16, 4)
    others: dict[str, tuple[Build, Maker, Step]] = {
        "fasttext": (FastText, labelled, classify),
        "char_cnn": (CharCnn, token_classes(VOCAB, 32, 4), classify),
        "linformer": (lambda: Reader(Linformer), labelled, classify),
        "pondernet": (Ponder, labelled, own_loss),
        "esim": (Esim, entailed, classify),
        "pointer_generator": (PointerGenerator, summaries, own_loss),
        "convs2s": (ConvTranslator, shifted, own_loss),
        "multi_token_prediction": (ManyTokens, lines, own_loss),
        "direct_preference": (Preference, lines, own_loss),
        "hierarchical_softmax": (HierarchicalSoftmax, lines, own_loss),
        "glove": (Glove, counts, own_loss),
        "poincare": (Poincare, tree, own_loss),
    }
    stepped: dict[str, tuple[Build, Maker, Step]] = {
        name: (lambda cell=cell: Language(cell), lines, next_token)  # type: ignore[misc]
        for name, cell in cells.items()
    }
    written = {name: (build, lines, next_token) for name, build in writers.items()}
    return later_cases(3, "text", {**stepped, **written, **others})
