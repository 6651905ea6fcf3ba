"""What may stand in the place of attention, and stacks around it."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Case
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import VOCAB, WIDTH, progressions, token_classes
from benchmarks.detection.vocabulary.blocks import feed_forward, join_heads, split_heads
from benchmarks.detection.vocabulary.initialisation import gpt_init
from benchmarks.detection.vocabulary.losses import next_token


class Mixer(nn.Module):
    """A pre-norm residual stack around any mixing of places, as a causal language model."""

    def __init__(self, mix: Callable[[], nn.Module], layers: int = 3, places: int = 32, init: bool = True) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCAB, WIDTH)
        self.places = nn.Parameter(0.02 * torch.randn(places, WIDTH)) if places else None
        self.mix = nn.ModuleList(mix() for _ in range(layers))
        self.feed = nn.ModuleList(feed_forward() for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(2 * layers + 1))
        self.head = nn.Linear(WIDTH, VOCAB, bias=False)
        if init:
            gpt_init(self)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        x = x if self.places is None else x + self.places[: x.shape[1]]
        for i, (mix, feed) in enumerate(zip(self.mix, self.feed, strict=True)):
            x = x + mix(self.norms[2 * i](x))
            x = x + feed(self.norms[2 * i + 1](x))
        return self.head(self.norms[-1](x))


class Attention(nn.Module):
    """Causal attention; what the variants change is in ``scores`` and ``prepare``."""

    def __init__(self, heads: int = 2) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))
        self.heads = heads

    def prepare(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        return query, key

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        return query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5

    def weigh(self, scores: Tensor) -> Tensor:
        hidden = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        return scores.masked_fill(hidden, -math.inf).softmax(-1)

    def forward(self, x: Tensor) -> Tensor:
        query, key = self.prepare(split_heads(self.query(x), self.heads), split_heads(self.key(x), self.heads))
        return self.out(join_heads(self.weigh(self.scores(query, key)) @ split_heads(self.value(x), self.heads)))


class Alibi(Attention):
    """Attention with linear biases instead of positions."""

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        place = torch.arange(query.shape[-2])
        slope = 2.0 ** (-8 / self.heads * torch.arange(1, self.heads + 1))
        return super().scores(query, key) + slope[:, None, None] * (place - place[:, None])


class QueryKeyNorm(Attention):
    """Queries and keys on the unit sphere, a learnt scale."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(10.0))

    def prepare(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        return self.scale * query.shape[-1] ** 0.5 * F.normalize(query, dim=-1), F.normalize(key, dim=-1)


class TalkingHeads(Attention):
    """Linear maps between the heads, before and after the softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.after = (nn.Parameter(torch.eye(2) + 0.02 * torch.randn(2, 2)) for _ in range(2))

    def weigh(self, scores: Tensor) -> Tensor:
        weight = super().weigh(torch.einsum("nhij,hk->nkij", scores, self.before))
        return torch.einsum("nhij,hk->nkij", weight, self.after)


class Differential(Attention):
    """The difference of two softmax maps, the second times a lambda that starts at 0.2, with a norm behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.lambdas, self.norm = nn.Parameter(0.1 * torch.randn(4, 8)), nn.RMSNorm(16)

    def forward(self, x: Tensor) -> Tensor:
        q1, q2 = split_heads(self.query(x)).chunk(2, -1)
        k1, k2 = split_heads(self.key(x)).chunk(2, -1)
        a, b, c, d = self.lambdas
        factor = (a * b).sum().exp() - (c * d).sum().exp() + 0.2
        weight = self.weigh(self.scores(q1, k1)) - factor * self.weigh(self.scores(q2, k2))
        return self.out(join_heads(0.8 * self.norm(weight @ split_heads(self.value(x)))))


class Performer(Attention):
    """FAVOR+: positive random features, drawn once, in place of the softmax."""

    def __init__(self, features: int = 32) -> None:
        super().__init__()
        self.register_buffer("directions", torch.randn(16, features))

    def features(self, x: Tensor) -> Tensor:
        x = x / x.shape[-1] ** 0.25
        power = x @ self.directions - x.square().sum(-1, keepdim=True) / 2  # type: ignore[operator]
        return (power - power.amax((-1, -2), keepdim=True).detach()).exp() + 1e-4

    def weigh(self, scores: Tensor) -> Tensor:
        weight = scores.tril()
        return weight / weight.sum(-1, keepdim=True)

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        return self.features(query) @ self.features(key).transpose(-1, -2)


class Synthesizer(nn.Module):
    """Attention maps made by a perceptron from each token alone (dense synthesizer)."""

    def __init__(self, places: int = 32) -> None:
        super().__init__()
        self.map = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, places))
        self.value, self.out = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.map(x)[..., : x.shape[1]]
        hidden = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        return self.out(scores.masked_fill(hidden, -math.inf).softmax(-1) @ self.value(x))


class GatedAttentionUnit(nn.Module):
    """FLASH's GAU: squared ReLU attention of one cheap head inside a gated unit."""

    def __init__(self, narrow: int = 16) -> None:
        super().__init__()
        self.up, self.out, self.narrow = nn.Linear(WIDTH, 4 * WIDTH + narrow), nn.Linear(2 * WIDTH, WIDTH), narrow
        self.gamma, self.beta = nn.Parameter(0.02 * torch.randn(2, narrow)), nn.Parameter(torch.zeros(2, narrow))

    def forward(self, x: Tensor) -> Tensor:
        gate, value, base = F.silu(self.up(x)).split([2 * WIDTH, 2 * WIDTH, self.narrow], -1)  # type: ignore[no-untyped-call]
        query, key = (base[..., None, :] * self.gamma + self.beta).unbind(-2)
        weight = (query @ key.transpose(-1, -2) / x.shape[1]).relu().square().tril()
        return self.out(gate * (weight @ value))


class Hyena(nn.Module):
    """Long convolutions whose filters a sine network makes from positions, with a decay, between two gates."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.short = nn.Conv1d(3 * WIDTH, 3 * WIDTH, 3, padding=2, groups=3 * WIDTH)
        self.first, self.second, self.last = nn.Linear(5, 16), nn.Linear(16, 16), nn.Linear(16, WIDTH, bias=False)
        self.bias = nn.Parameter(torch.randn(WIDTH))

    def kernel(self, length: int) -> Tensor:
        time = torch.linspace(0, 1, length)[:, None]
        bands = 2 * math.pi * time * torch.linspace(1e-4, 1, 2)
        hidden = self.second(self.first(torch.cat([time, bands.cos(), bands.sin()], 1)).sin()).sin()
        decay = torch.linspace(math.log(0.01) / 1.5, math.log(0.01) / 0.3, WIDTH).abs()
        return self.last(hidden) * (-time * decay).exp()

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[1]
        value, first, second = self.short(self.up(x).transpose(1, 2))[..., :length].chunk(3, 1)
        signal = value * first
        spectrum = torch.fft.rfft(signal, 2 * length) * torch.fft.rfft(self.kernel(length).T, 2 * length)
        mixed = torch.fft.irfft(spectrum, 2 * length)[..., :length] + signal * self.bias[:, None]
        return self.out((mixed * second).transpose(1, 2))


class LinearRecurrentUnit(nn.Module):
    """LRU: a complex diagonal recurrence on a ring, with the normalisation of its input."""

    def __init__(self, state: int = 16, low: float = 0.4, high: float = 0.99) -> None:
        super().__init__()
        radius = (torch.rand(state) * (high**2 - low**2) + low**2).sqrt()
        self.nu = nn.Parameter((-radius.log()).log())
        self.theta = nn.Parameter((2 * math.pi * torch.rand(state)).log())
        self.gamma = nn.Parameter((1 - radius**2).sqrt().log())
        self.inward = nn.Parameter(torch.randn(2, state, WIDTH) / (2 * WIDTH) ** 0.5)
        self.outward = nn.Parameter(torch.randn(2, WIDTH, state) / state**0.5)
        self.skip = nn.Parameter(torch.randn(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        decay = torch.polar((-self.nu.exp()).exp(), self.theta.exp())
        drive = torch.complex(x, torch.zeros_like(x)) @ torch.complex(*self.inward).T * self.gamma.exp()
        state, states = torch.zeros_like(drive[:, 0]), []
        for t in range(x.shape[1]):
            state = decay * state + drive[:, t]
            states.append(state)
        return (torch.stack(states, 1) @ torch.complex(*self.outward).T).real + self.skip * x


class Delta(nn.Module):
    """DeltaNet: a fast weight memory that is corrected by the error of what it recalls."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))
        self.rate, self.norm = nn.Linear(WIDTH, 2), nn.RMSNorm(WIDTH // 2)

    def forward(self, x: Tensor) -> Tensor:
        query, key = (F.normalize(F.silu(split_heads(layer(x))), dim=-1) for layer in (self.query, self.key))
        value, rate = split_heads(F.silu(self.value(x))), self.rate(x).sigmoid().transpose(1, 2)[..., None, None]
        memory, told = torch.zeros(*value.shape[:2], value.shape[-1], key.shape[-1]), []
        for t in range(x.shape[1]):
            k, v = key[:, :, t, :, None], value[:, :, t, :, None]
            memory = memory + rate[:, :, t] * (v - memory @ k) @ k.transpose(-1, -2)
            told.append((memory @ query[:, :, t, :, None])[..., 0])
        return self.out(join_heads(self.norm(torch.stack(told, 2))))


class GatedLinearAttention(nn.Module):
    """Linear attention whose memory decays by a gate that the data decides, a root of 16 making it slow."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))
        self.decay = nn.Sequential(nn.Linear(WIDTH, 8, bias=False), nn.Linear(8, WIDTH))
        self.gate, self.norm = nn.Linear(WIDTH, WIDTH, bias=False), nn.RMSNorm(WIDTH // 2)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = split_heads(self.query(x)) / 4, split_heads(self.key(x)), split_heads(self.value(x))
        keep = (F.logsigmoid(split_heads(self.decay(x))) / 16).exp()
        memory, told = torch.zeros(*key.shape[:2], key.shape[-1], value.shape[-1]), []
        for t in range(x.shape[1]):
            memory = keep[:, :, t, :, None] * memory + key[:, :, t, :, None] * value[:, :, t, None]
            told.append((query[:, :, t, None] @ memory)[:, :, 0])
        return self.out(join_heads(self.norm(torch.stack(told, 2))) * F.silu(self.gate(x)))


class QuasiRecurrent(nn.Module):
    """QRNN: convolutions make candidate and gates, a pooling without weights runs over time."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(WIDTH, 3 * WIDTH, 2)

    def forward(self, x: Tensor) -> Tensor:
        z, f, o = self.conv(F.pad(x.transpose(1, 2), (1, 0))).transpose(1, 2).chunk(3, -1)
        state, states = torch.zeros_like(x[:, 0]), []
        for t in range(x.shape[1]):
            keep = f[:, t].sigmoid()
            state = keep * state + (1 - keep) * z[:, t].tanh()
            states.append(o[:, t].sigmoid() * state)
        return torch.stack(states, 1)


class IndependentRNN(nn.Module):
    """IndRNN: every unit sees its own past only, by a weight from U(0, 1), with ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.inward, self.own = nn.Linear(WIDTH, WIDTH), nn.Parameter(torch.rand(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        drive, state, states = self.inward(x), torch.zeros_like(x[:, 0]), []
        for t in range(x.shape[1]):
            state = F.relu(drive[:, t] + self.own * state)
            states.append(state)
        return torch.stack(states, 1)


class MovingAverage(nn.Module):
    """Mega: a damped multi-dimensional moving average in front of single-head gated attention."""

    def __init__(self, dimensions: int = 4) -> None:
        super().__init__()
        self.alpha, self.delta = (nn.Parameter(0.2 * torch.randn(WIDTH, dimensions)) for _ in range(2))
        self.beta = nn.Parameter(torch.tensor([1.0, -1.0] * (dimensions // 2)) + 0.02 * torch.randn(WIDTH, dimensions))
        self.eta, self.omega = nn.Parameter(torch.randn(WIDTH, dimensions)), nn.Parameter(torch.randn(WIDTH))
        self.attention, self.gate = Attention(1), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        alpha, delta = self.alpha.sigmoid(), self.delta.sigmoid()
        time = torch.arange(x.shape[1])
        decay = (1 - alpha * delta)[..., None] ** time
        kernel = (alpha * self.beta * self.eta / alpha.shape[-1] ** 0.5)[..., None].mul(decay).sum(1)
        signal = x.transpose(1, 2)
        spectrum = torch.fft.rfft(signal, 2 * len(time)) * torch.fft.rfft(kernel, 2 * len(time))
        smooth = torch.fft.irfft(spectrum, 2 * len(time))[..., : len(time)] + signal * self.omega[:, None]
        hidden = F.silu(smooth.transpose(1, 2))
        return F.silu(self.gate(hidden)) * self.attention(hidden)


class InverseWidth(Attention):
    """Scores over the width, not its root."""

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        return query @ key.transpose(-1, -2) / query.shape[-1]


class MuP(Mixer):
    """Maximal update parametrisation: attention by 1/d, zero queries, zero read-out with a multiplier."""

    def __init__(self) -> None:
        super().__init__(InverseWidth)
        for mix in self.mix:
            nn.init.zeros_(mix.query.weight)  # type: ignore[union-attr, arg-type]
        nn.init.zeros_(self.head.weight)


class Reversible(nn.Module):
    """Reformer's reversible residuals: two streams, attention on one, feed-forward on the other."""

    def __init__(self, layers: int = 3) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(VOCAB, WIDTH), nn.Linear(2 * WIDTH, VOCAB)
        self.places = nn.Parameter(0.02 * torch.randn(32, WIDTH))
        self.attention = nn.ModuleList(nn.Sequential(nn.LayerNorm(WIDTH), Attention()) for _ in range(layers))
        self.feed = nn.ModuleList(nn.Sequential(nn.LayerNorm(WIDTH), feed_forward()) for _ in range(layers))
        self.norm = nn.LayerNorm(2 * WIDTH)

    def forward(self, tokens: Tensor) -> Tensor:
        left = right = self.embed(tokens) + self.places[: tokens.shape[1]]
        for attention, feed in zip(self.attention, self.feed, strict=True):
            left = left + attention(right)
            right = right + feed(left)
        return self.head(self.norm(torch.cat([left, right], -1)))


class Dropped(nn.Module):
    """AWD-LSTM: dropped recurrent weights, dropped words, one mask for all steps, tied output."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCAB, WIDTH)
        nn.init.uniform_(self.embed.weight, -0.1, 0.1)
        self.cells = nn.ModuleList(nn.LSTMCell(WIDTH, WIDTH) for _ in range(2))
        self.bias = nn.Parameter(torch.zeros(VOCAB))

    def locked(self, x: Tensor, p: float) -> Tensor:
        return x * F.dropout(torch.ones_like(x[:, :1]), p, self.training)

    def layer(self, cell: nn.LSTMCell, x: Tensor) -> Tensor:
        weight = F.dropout(cell.weight_hh, 0.5, self.training)
        state, memory, states = torch.zeros_like(x[:, 0]), torch.zeros_like(x[:, 0]), []
        drive = F.linear(x, cell.weight_ih, cell.bias_ih)
        for t in range(x.shape[1]):
            i, f, g, o = (drive[:, t] + F.linear(state, weight, cell.bias_hh)).chunk(4, 1)
            memory = f.sigmoid() * memory + i.sigmoid() * g.tanh()
            state = o.sigmoid() * memory.tanh()
            states.append(state)
        return torch.stack(states, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        words = F.dropout(torch.ones(VOCAB, 1), 0.1, self.training) * self.embed.weight
        x = self.locked(F.embedding(tokens, words), 0.3)
        for cell in self.cells:
            x = self.locked(self.layer(cell, x), 0.3)  # type: ignore[arg-type]
        return x @ self.embed.weight.T + self.bias


class TuringMachine(nn.Module):
    """A neural Turing machine: a controller that reads and writes a memory by content, erase and add."""

    def __init__(self, rows: int = 8, cells: int = 12) -> None:
        super().__init__()
        self.embed, self.cells = nn.Embedding(VOCAB, WIDTH), cells
        self.controller = nn.LSTMCell(WIDTH + cells, WIDTH)
        self.interface = nn.Linear(WIDTH, 4 * cells + 2)
        nn.init.xavier_uniform_(self.interface.weight, gain=1.4)
        nn.init.normal_(self.interface.bias, std=0.01)
        self.memory = nn.Parameter(torch.empty(rows, cells).uniform_(-0.3, 0.3), requires_grad=False)
        self.head = nn.Linear(WIDTH + cells, VOCAB)

    @staticmethod
    def address(memory: Tensor, key: Tensor, strength: Tensor) -> Tensor:
        match = F.cosine_similarity(memory, key[:, None] + 1e-16, dim=-1)
        return (F.softplus(strength) * match).softmax(1)

    def forward(self, tokens: Tensor) -> Tensor:
        memory = self.memory.expand(len(tokens), -1, -1)
        read, state, answers = torch.zeros(len(tokens), self.cells), None, []
        for x in self.embed(tokens).unbind(1):
            state = self.controller(torch.cat([x, read], 1), state)
            parts = self.interface(state[0]).split([self.cells] * 4 + [1, 1], 1)
            where = self.address(memory, parts[0], parts[4])[..., None]
            memory = memory * (1 - where * parts[2].sigmoid()[:, None]) + where * parts[3].tanh()[:, None]
            read = (self.address(memory, parts[1], parts[5])[..., None] * memory).sum(1)
            answers.append(self.head(torch.cat([state[0], read], 1)))
        return torch.stack(answers, 1)


class Universal(nn.Module):
    """A Universal Transformer: one layer for all steps, which knows step and place, and halts by itself (ACT)."""

    def __init__(self, steps: int = 4) -> None:
        super().__init__()
        self.embed, self.steps = nn.Embedding(VOCAB, WIDTH), steps
        self.layer = nn.TransformerEncoderLayer(WIDTH, 2, 64, 0.0, batch_first=True)
        self.halt, self.head = nn.Linear(WIDTH, 1), nn.Linear(WIDTH, 2)
        nn.init.ones_(self.halt.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        place, out = torch.arange(x.shape[1])[:, None], torch.zeros_like(x)
        left = torch.ones(*x.shape[:2], 1)
        for step in range(self.steps):
            angle = (place + step) / 100 ** (torch.arange(WIDTH) / WIDTH)
            halt = self.halt(x).sigmoid() if step < self.steps - 1 else torch.ones_like(left)
            x = self.layer(x + angle.sin())
            out, left = out + left * halt * x, left * (1 - halt)
        return self.head(out.mean(1))


def cases() -> list[Case]:
    """The cases of this file."""
    return [
        case(
            "second_sequence_alibi",
            "second/alibi",
            lambda: Mixer(Alibi, places=0),
            progressions(VOCAB, 12),
            next_token,
            round=2,
        ),
        case(
            "second_sequence_query_key_norm",
            "second/query_key_norm",
            lambda: Mixer(QueryKeyNorm),
            progressions(VOCAB, 12),
            next_token,
            round=2,
        ),
        case(
            "second_sequence_talking_heads",
            "second/talking_heads",
            lambda: Mixer(TalkingHeads),
            progressions(VOCAB, 12),
            next_token,
            round=2,
        ),
        case(
            "second_sequence_differential_transformer",
            "second/differential_transformer",
            lambda: Mixer(Differential),
            progressions(VOCAB, 12),
            next_token,
            round=2,
        ),
        case(
            "second_sequence_performer",
            "second/performer",
            lambda: Mixer(Performer),
            progressions(VOCAB, 12),
            next_token,
            round=2,
        ),
        case(
            "second_sequence_synthesizer",
            "second/synthesizer",
            lambda: Mixer(Synthesizer),
            progressions(VOCAB, 12),
            next_token,
            round=2,
        ),
        case(
            "second_sequence_gated_attention_unit",
            "second/gated_attention_unit",
            lambda: Mixer(GatedAttentionUnit),
            progressions(VOCAB, 12),
            next_token,
            round=2,
        ),
        case(
            "second_sequence_hyena",
            "second/hyena",
            lambda: Mixer(Hyena, init=False),
            progressions(VOCAB, 12),
            next_token,
            round=2,
        ),
        case(
            "second_sequence_lru",
            "second/lru",
            lambda: Mixer(LinearRecurrentUnit, init=False),
            progressions(VOCAB, 12),
            next_token,
            round=2,
        ),
        case(
            "second_sequence_deltanet",
            "second/deltanet",
            lambda: Mixer(Delta),
            progressions(VOCAB, 12),
            next_token,
            round=2,
        ),
        case(
            "second_sequence_gated_linear_attention",
            "second/gated_linear_attention",
            lambda: Mixer(GatedLinearAttention),
            progressions(VOCAB, 12),
            next_token,
            round=2,
        ),
        case(
            "second_sequence_qrnn",
            "second/qrnn",
            lambda: Mixer(QuasiRecurrent),
            progressions(VOCAB, 12),
            next_token,
            round=2,
        ),
        case(
            "second_sequence_indrnn",
            "second/indrnn",
            lambda: Mixer(IndependentRNN, init=False),
            progressions(VOCAB, 12),
            next_token,
            round=2,
        ),
        case(
            "second_sequence_mega",
            "second/mega",
            lambda: Mixer(MovingAverage),
            progressions(VOCAB, 12),
            next_token,
            round=2,
        ),
        case("second_sequence_mup", "second/mup", MuP, progressions(VOCAB, 12), next_token, round=2),
        case(
            "second_sequence_reversible", "second/reversible", Reversible, progressions(VOCAB, 12), next_token, round=2
        ),
        case("second_sequence_awd_lstm", "second/awd_lstm", Dropped, progressions(VOCAB, 12), next_token, round=2),
        case(
            "second_sequence_turing_machine",
            "second/turing_machine",
            TuringMachine,
            progressions(VOCAB, 12),
            next_token,
            round=2,
        ),
        case(
            "second_sequence_universal_transformer",
            "second/universal_transformer",
            Universal,
            token_classes(VOCAB, 16),
            round=2,
        ),
    ]
