"""Networks for text and sound that stand nowhere else."""

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
    sequences_first,
    token_classes,
    waves,
)

VOCAB, WIDTH = 64, 32


def feed_forward(width: int = WIDTH, act: Callable[[], nn.Module] = nn.GELU) -> nn.Module:
    """Two linear layers."""
    return nn.Sequential(nn.Linear(width, 4 * width), act(), nn.Linear(4 * width, width))


def gpt_init(model: nn.Module) -> None:
    """N(0, 0.02) for matrices and tables, zero for biases."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)


def split(x: Tensor, heads: int = 2) -> Tensor:
    """Heads in front of places."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)  # type: ignore[no-untyped-call]


def joined(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)


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
        query, key = self.prepare(split(self.query(x), self.heads), split(self.key(x), self.heads))
        return self.out(joined(self.weigh(self.scores(query, key)) @ split(self.value(x), self.heads)))


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
        q1, q2 = split(self.query(x)).chunk(2, -1)
        k1, k2 = split(self.key(x)).chunk(2, -1)
        a, b, c, d = self.lambdas
        factor = (a * b).sum().exp() - (c * d).sum().exp() + 0.2
        weight = self.weigh(self.scores(q1, k1)) - factor * self.weigh(self.scores(q2, k2))
        return self.out(joined(0.8 * self.norm(weight @ split(self.value(x)))))


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
        query, key = (F.normalize(F.silu(split(layer(x))), dim=-1) for layer in (self.query, self.key))
        value, rate = split(F.silu(self.value(x))), self.rate(x).sigmoid().transpose(1, 2)[..., None, None]
        memory, told = torch.zeros(*value.shape[:2], value.shape[-1], key.shape[-1]), []
        for t in range(x.shape[1]):
            k, v = key[:, :, t, :, None], value[:, :, t, :, None]
            memory = memory + rate[:, :, t] * (v - memory @ k) @ k.transpose(-1, -2)
            told.append((memory @ query[:, :, t, :, None])[..., 0])
        return self.out(joined(self.norm(torch.stack(told, 2))))


class GatedLinearAttention(nn.Module):
    """Linear attention whose memory decays by a gate that the data decides, a root of 16 making it slow."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))
        self.decay = nn.Sequential(nn.Linear(WIDTH, 8, bias=False), nn.Linear(8, WIDTH))
        self.gate, self.norm = nn.Linear(WIDTH, WIDTH, bias=False), nn.RMSNorm(WIDTH // 2)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = split(self.query(x)) / 4, split(self.key(x)), split(self.value(x))
        keep = (F.logsigmoid(split(self.decay(x))) / 16).exp()
        memory, told = torch.zeros(*key.shape[:2], key.shape[-1], value.shape[-1]), []
        for t in range(x.shape[1]):
            memory = keep[:, :, t, :, None] * memory + key[:, :, t, :, None] * value[:, :, t, None]
            told.append((query[:, :, t, None] @ memory)[:, :, 0])
        return self.out(joined(self.norm(torch.stack(told, 2))) * F.silu(self.gate(x)))


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


class Macaron(nn.Module):
    """A conformer: half feed-forward, attention, a gated depthwise convolution, half feed-forward, norm."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = (nn.Sequential(nn.LayerNorm(WIDTH), feed_forward(act=nn.SiLU)) for _ in range(2))
        self.norm, self.attention = nn.LayerNorm(WIDTH), nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.norm_conv, self.up = nn.LayerNorm(WIDTH), nn.Conv1d(WIDTH, 2 * WIDTH, 1)
        self.depthwise, self.batch = nn.Conv1d(WIDTH, WIDTH, 5, padding=2, groups=WIDTH), nn.BatchNorm1d(WIDTH)
        self.down, self.end = nn.Conv1d(WIDTH, WIDTH, 1), nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.first(x) / 2
        normed = self.norm(x)
        x = x + self.attention(normed, normed, normed)[0]
        hidden = F.glu(self.up(self.norm_conv(x).transpose(1, 2)), 1)
        x = x + self.down(F.silu(self.batch(self.depthwise(hidden)))).transpose(1, 2)
        return self.end(x + self.last(x) / 2)


class Frames(nn.Module):
    """Layers over the frames of a sound, averaged and classified."""

    def __init__(self, *layers: nn.Module, inputs: int = 4) -> None:
        super().__init__()
        self.stem, self.body, self.head = nn.Linear(inputs, WIDTH), nn.Sequential(*layers), nn.Linear(WIDTH, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.stem(x)).mean(1))


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


class MuP(Mixer):
    """Maximal update parametrisation: attention by 1/d, zero queries, zero read-out with a multiplier."""

    def __init__(self) -> None:
        super().__init__(InverseWidth)
        for mix in self.mix:
            nn.init.zeros_(mix.query.weight)  # type: ignore[union-attr, arg-type]
        nn.init.zeros_(self.head.weight)


class InverseWidth(Attention):
    """Scores over the width, not its root."""

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        return query @ key.transpose(-1, -2) / query.shape[-1]


class TextCNN(nn.Module):
    """Kim's convolutions of several widths, maximum over time, dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCAB, WIDTH)
        nn.init.uniform_(self.embed.weight, -0.25, 0.25)
        self.convs = nn.ModuleList(nn.Conv1d(WIDTH, 16, size) for size in (3, 4, 5))
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(48, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens).transpose(1, 2)
        return self.head(self.drop(torch.cat([F.relu(conv(x)).amax(2) for conv in self.convs], 1)))


class DeepPyramid(nn.Module):
    """DPCNN: region embedding, pre-activated pairs of convolutions, halved each time."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.region = nn.Embedding(VOCAB, WIDTH), nn.Conv1d(WIDTH, WIDTH, 3, padding=1)
        self.convs = nn.ModuleList(nn.Conv1d(WIDTH, WIDTH, 3, padding=1) for _ in range(4))
        self.head = nn.Linear(WIDTH, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.region(self.embed(tokens).transpose(1, 2))
        for i in range(0, 4, 2):
            x = F.max_pool1d(x, 3, 2, 1)
            x = x + self.convs[i + 1](F.relu(self.convs[i](F.relu(x))))
        return self.head(x.amax(2))


class Hierarchical(nn.Module):
    """A hierarchical attention network: words to sentences to a document."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCAB, WIDTH)
        self.words, self.sentences = (nn.GRU(WIDTH, WIDTH // 2, batch_first=True, bidirectional=True) for _ in range(2))
        self.view = nn.ModuleList(nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh()) for _ in range(2))
        self.ask = nn.ParameterList(0.05 * torch.randn(WIDTH) for _ in range(2))
        self.head = nn.Linear(WIDTH, 2)

    def attend(self, level: int, states: Tensor) -> Tensor:
        weight = (self.view[level](states) @ self.ask[level]).softmax(1)
        return (weight[..., None] * states).sum(1)

    def forward(self, tokens: Tensor) -> Tensor:
        words = self.embed(tokens).unflatten(1, (4, -1))
        said = self.attend(0, self.words(words.flatten(0, 1))[0]).unflatten(0, (len(tokens), 4))  # type: ignore[no-untyped-call]
        return self.head(self.attend(1, self.sentences(said)[0]))


class RandomField(nn.Module):
    """A BiLSTM with a conditional random field: the negative log likelihood of a tagging."""

    def __init__(self, tags: int = 3) -> None:
        super().__init__()
        self.embed, self.emit = nn.Embedding(VOCAB, WIDTH), nn.Linear(WIDTH, tags)
        self.rnn = nn.LSTM(WIDTH, WIDTH // 2, batch_first=True, bidirectional=True)
        self.moves = nn.Parameter(torch.empty(tags, tags).uniform_(-0.1, 0.1))
        self.start, self.end = (nn.Parameter(torch.empty(tags).uniform_(-0.1, 0.1)) for _ in range(2))

    def forward(self, tokens: Tensor, tags: Tensor) -> Tensor:
        emitted = self.emit(self.rnn(self.embed(tokens))[0])
        alpha = self.start + emitted[:, 0]
        for t in range(1, tokens.shape[1]):
            alpha = (alpha[:, :, None] + self.moves + emitted[:, t, None]).logsumexp(1)
        total = (alpha + self.end).logsumexp(1)
        path = emitted.gather(2, tags[..., None])[..., 0].sum(1) + self.moves[tags[:, :-1], tags[:, 1:]].sum(1)
        return (total - path - self.start[tags[:, 0]] - self.end[tags[:, -1]]).mean()


class Biaffine(nn.Module):
    """A dependency parser: heads chosen by a biaffine form that starts at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCAB, WIDTH)
        self.rnn = nn.LSTM(WIDTH, WIDTH, batch_first=True, bidirectional=True)
        self.above, self.below = (nn.Sequential(nn.Linear(2 * WIDTH, 24), nn.LeakyReLU(0.1)) for _ in range(2))
        self.form = nn.Parameter(torch.zeros(25, 24))

    def forward(self, tokens: Tensor, heads: Tensor) -> Tensor:
        states = self.rnn(self.embed(tokens))[0]
        below = F.pad(self.below(states), (0, 1), value=1.0)
        scores = below @ self.form @ self.above(states).transpose(1, 2)
        return F.cross_entropy(scores.flatten(0, 1), heads.flatten())


def tagged(length: int = 12, tags: int = 3) -> Maker:
    """Tokens with a tag each: the part of the vocabulary that the token before belongs to."""

    def make(seed: int, size: int) -> Batch:
        tokens = torch.randint(SPECIAL, VOCAB, (size, length), generator=generator(seed))
        return tokens, (tokens.roll(1, 1) * tags // VOCAB).clamp(max=tags - 1)

    return make


def headed(length: int = 12) -> Maker:
    """Tokens whose head is the next one, for even ones, or the one before."""

    def make(seed: int, size: int) -> Batch:
        tokens = torch.randint(SPECIAL, VOCAB, (size, length), generator=generator(seed))
        return tokens, (torch.arange(length) + 1 - 2 * (tokens % 2)).clamp(0, length - 1)

    return make


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


class Transducer(nn.Module):
    """RNN-T: encoder, prediction net and joint net, with the sum over all alignments."""

    def __init__(self, letters: int = 5) -> None:
        super().__init__()
        self.encoder, self.predict = nn.LSTM(4, WIDTH, batch_first=True), nn.LSTM(WIDTH, WIDTH, batch_first=True)
        self.embed, self.joint = nn.Embedding(letters, WIDTH), nn.Linear(2 * WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, letters)

    def forward(self, sound: Tensor, text: Tensor) -> Tensor:
        heard = self.encoder(sound)[0][:, ::2]
        said = self.predict(self.embed(F.pad(text, (1, 0))))[0]
        pairs = torch.cat(torch.broadcast_tensors(heard[:, :, None], said[:, None]), -1)  # type: ignore[no-untyped-call]
        logits = self.head(self.joint(pairs).tanh()).log_softmax(-1)
        blank, emit = (
            logits[..., 0],
            logits[:, :, :-1].gather(3, text[:, None, :, None].expand(-1, heard.shape[1], -1, 1)),
        )
        return -self.likelihood(blank, emit[..., 0]).mean()

    @staticmethod
    def likelihood(blank: Tensor, emit: Tensor) -> Tensor:
        row = F.pad(emit[:, 0].cumsum(1), (1, 0))
        for t in range(1, blank.shape[1]):
            stay, new = row + blank[:, t - 1], list[Tensor]()
            for u in range(blank.shape[2]):
                new.append(stay[:, 0] if u == 0 else torch.logaddexp(stay[:, u], new[-1] + emit[:, t, u - 1]))
            row = torch.stack(new, 1)
        return row[:, -1] + blank[:, -1, -1]


def spoken(frames: int = 16) -> Maker:
    """Noisy frames of four pitches, in two halves, and what they say."""

    def make(seed: int, size: int) -> Batch:
        g = generator(seed)
        text = torch.randint(1, 5, (size, 2), generator=g)
        sound = F.one_hot(text - 1, 4).float().repeat_interleave(frames // 2, 1)
        return sound + 0.3 * torch.randn(size, frames, 4, generator=g), text

    return make


class Separator(nn.Module):
    """Conv-TasNet: learnt filters, a dilated net with global norms that makes masks, filters back to sound."""

    def __init__(self, filters: int = 32, narrow: int = 16) -> None:
        super().__init__()
        self.encode = nn.Conv1d(1, filters, 8, 4, bias=False)
        self.decode = nn.ConvTranspose1d(filters, 1, 8, 4, bias=False)
        self.stem = nn.Sequential(nn.GroupNorm(1, filters), nn.Conv1d(filters, narrow, 1))
        self.body = nn.ModuleList(self.block(narrow, filters, 2**i) for i in range(3))
        self.mask = nn.Sequential(nn.PReLU(), nn.Conv1d(narrow, 2 * filters, 1), nn.Sigmoid())

    @staticmethod
    def block(narrow: int, wide: int, dilation: int) -> nn.Module:
        depthwise = nn.Conv1d(wide, wide, 3, padding=dilation, dilation=dilation, groups=wide)
        tail = [depthwise, nn.PReLU(), nn.GroupNorm(1, wide), nn.Conv1d(wide, narrow, 1)]
        return nn.Sequential(nn.Conv1d(narrow, wide, 1), nn.PReLU(), nn.GroupNorm(1, wide), *tail)

    def forward(self, mixture: Tensor) -> Tensor:
        code = F.relu(self.encode(mixture[:, None]))
        hidden = self.stem(code)
        for block in self.body:
            hidden = hidden + block(hidden)
        masked = self.mask(hidden).unflatten(1, (2, -1)) * code[:, None]
        return self.decode(masked.flatten(0, 1)).unflatten(0, (len(mixture), 2))[:, :, 0]


class Demucs(nn.Module):
    """A wave U-Net with gated convolutions, an LSTM in the middle, and rescaled initial weights (0.1)."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.down1 = nn.Sequential(nn.Conv1d(1, width, 8, 4, 2), nn.ReLU(), nn.Conv1d(width, 2 * width, 1), nn.GLU(1))
        self.down2 = nn.Sequential(
            nn.Conv1d(width, 2 * width, 8, 4, 2), nn.ReLU(), nn.Conv1d(2 * width, 4 * width, 1), nn.GLU(1)
        )
        self.rnn = nn.LSTM(2 * width, 2 * width, batch_first=True, bidirectional=True)
        self.project = nn.Linear(4 * width, 2 * width)
        self.up2 = nn.Sequential(
            nn.Conv1d(2 * width, 4 * width, 1), nn.GLU(1), nn.ConvTranspose1d(2 * width, width, 8, 4, 2), nn.ReLU()
        )
        self.up1 = nn.Sequential(
            nn.Conv1d(width, 2 * width, 1), nn.GLU(1), nn.ConvTranspose1d(width, 2, 8, 4, 2)
        )  # fmt: skip
        self.rescale()

    def rescale(self, reference: float = 0.1) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
                scale = (module.weight.std().detach() / reference) ** 0.5
                module.weight.data /= scale
                module.bias.data /= scale  # type: ignore[union-attr]

    def forward(self, mixture: Tensor) -> Tensor:
        one = self.down1(mixture[:, None])
        two = self.down2(one)
        middle = self.project(self.rnn(two.transpose(1, 2))[0]).transpose(1, 2)
        return self.up1(self.up2(middle + two) + one)


def mixtures(length: int = 128) -> Maker:
    """The sum of a slow and a fast sine, and the two of them."""

    def make(seed: int, size: int) -> Batch:
        g = generator(seed)
        phase, speed = 6.283 * torch.rand(size, 2, 1, generator=g), torch.tensor([[4.0], [24.0]])
        speed = speed * (1 + 0.3 * torch.rand(size, 2, 1, generator=g))
        parts = (speed * torch.linspace(0, 6.283, length) + phase).sin()
        return parts.sum(1), parts

    return make


def unmixed(model: nn.Module, batch: Batch) -> Tensor:
    """The negative scale-invariant signal-to-noise ratio, in a fixed order."""
    mixture, parts = batch
    guess = model(mixture)[..., : parts.shape[-1]]
    target = parts[..., : guess.shape[-1]]
    target, guess = target - target.mean(-1, keepdim=True), guess - guess.mean(-1, keepdim=True)
    along = (guess * target).sum(-1, keepdim=True) / (target.square().sum(-1, keepdim=True) + 1e-8) * target
    return -10 * (along.square().sum(-1) / ((guess - along).square().sum(-1) + 1e-8) + 1e-8).log10().mean()


def separated(model: nn.Module, batch: Batch) -> Tensor:
    """L1 of the sources."""
    return F.l1_loss(model(batch[0]), batch[1])


class Tacotron(nn.Module):
    """Text to spectrum: convolved text, a prenet with dropout, attention that knows its past, frames with a stop."""

    def __init__(self, bands: int = 6) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCAB, WIDTH)
        self.convs = nn.Sequential(nn.Conv1d(WIDTH, WIDTH, 5, padding=2), nn.BatchNorm1d(WIDTH), nn.ReLU())
        self.read = nn.LSTM(WIDTH, WIDTH // 2, batch_first=True, bidirectional=True)
        self.prenet = nn.ModuleList(nn.Linear(n, 16) for n in (bands, 16))
        self.cell, self.query = nn.LSTMCell(16 + WIDTH, WIDTH), nn.Linear(WIDTH, 16, bias=False)
        self.key, self.where = nn.Linear(WIDTH, 16, bias=False), nn.Conv1d(1, 16, 5, padding=2, bias=False)
        self.energy, self.frame = nn.Linear(16, 1, bias=False), nn.Linear(2 * WIDTH, bands)
        self.stop = nn.Linear(2 * WIDTH, 1)

    def forward(self, tokens: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        memory = self.read(self.convs(self.embed(tokens).transpose(1, 2)).transpose(1, 2))[0]
        keys, seen = self.key(memory), torch.zeros(tokens.shape[0], 1, tokens.shape[1])
        context, state, made = torch.zeros_like(memory[:, 0]), None, []
        for t in range(frames.shape[1]):
            x = frames[:, t - 1] if t else torch.zeros_like(frames[:, 0])
            for layer in self.prenet:
                x = F.dropout(F.relu(layer(x)), 0.5, True)
            state = self.cell(torch.cat([x, context], 1), state)
            energy = self.energy((self.query(state[0])[:, None] + keys + self.where(seen).transpose(1, 2)).tanh())
            weight = energy.softmax(1)
            seen, context = seen + weight.transpose(1, 2), (weight * memory).sum(1)
            made.append(torch.cat([state[0], context], 1))
        hidden = torch.stack(made, 1)
        return self.frame(hidden), self.stop(hidden)[..., 0]


def readings(length: int = 6, bands: int = 6) -> Maker:
    """Tokens, and a frame of sines for each."""

    def make(seed: int, size: int) -> Batch:
        tokens = torch.randint(SPECIAL, VOCAB, (size, length), generator=generator(seed))
        return tokens, (tokens[..., None] * torch.arange(1, bands + 1) / 10).sin()

    return make


def read_aloud(model: nn.Module, batch: Batch) -> Tensor:
    """Squared error of the frames and cross entropy of the stop."""
    tokens, frames = batch
    guess, stop = model(tokens, frames)
    end = torch.zeros_like(stop)
    end[:, -1] = 1
    return F.mse_loss(guess, frames) + F.binary_cross_entropy_with_logits(stop, end)


class Bidaf(nn.Module):
    """Context and question attend to each other; start and end are pointed at."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.similar = nn.Embedding(VOCAB, WIDTH), nn.Linear(3 * WIDTH, 1, bias=False)
        self.encode = nn.LSTM(WIDTH, WIDTH // 2, batch_first=True, bidirectional=True)
        self.model = nn.LSTM(4 * WIDTH, WIDTH // 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(5 * WIDTH, 2)

    def forward(self, context: Tensor, question: Tensor) -> Tensor:
        h, u = self.encode(self.embed(context))[0], self.encode(self.embed(question))[0]
        wide, ask = torch.broadcast_tensors(h[:, :, None], u[:, None])  # type: ignore[no-untyped-call]
        scores = self.similar(torch.cat([wide, ask, wide * ask], -1))[..., 0]
        to_question = scores.softmax(2) @ u
        to_context = (scores.amax(2).softmax(1)[:, None] @ h).expand_as(h)
        merged = torch.cat([h, to_question, h * to_question, h * to_context], -1)
        return self.head(torch.cat([merged, self.model(merged)[0]], -1))


def quizzes(length: int = 12) -> Maker:
    """A context and a two-token piece of it as the question; where does it stand?"""

    def make(seed: int, size: int) -> Batch:
        g = generator(seed)
        context = torch.randint(SPECIAL, VOCAB, (size, length), generator=g)
        start = torch.randint(length - 1, (size,), generator=g)
        question = torch.stack([context[range(size), start], context[range(size), start + 1]], 1)
        return context, question, torch.stack([start, start + 1], 1)

    return make


def answered(model: nn.Module, batch: Batch) -> Tensor:
    """Cross entropy of start and end."""
    return F.cross_entropy(model(*batch[:2]), batch[2])


class TreeLSTM(nn.Module):
    """A binary tree LSTM over a balanced tree."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.leaf = nn.Embedding(VOCAB, WIDTH), nn.Linear(WIDTH, 2 * WIDTH)
        self.merge, self.head = nn.Linear(2 * WIDTH, 5 * WIDTH), nn.Linear(WIDTH, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        memory, gate = self.leaf(self.embed(tokens)).chunk(2, -1)
        state = gate.sigmoid() * memory.tanh()
        while state.shape[1] > 1:
            pair = state.unflatten(1, (-1, 2)).flatten(2)
            i, left, right, o, g = self.merge(pair).chunk(5, -1)
            memory = memory.unflatten(1, (-1, 2))
            kept = left.sigmoid() * memory[:, :, 0] + right.sigmoid() * memory[:, :, 1]
            memory = i.sigmoid() * g.tanh() + kept
            state = o.sigmoid() * memory.tanh()
        return self.head(state[:, 0])


class SimCSE(nn.Module):
    """Sentences twice through an encoder with dropout; the other view has to be found, temperature 0.05."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCAB, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, 2, 64, 0.1, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.pool = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh())
        gpt_init(self)

    def forward(self, tokens: Tensor) -> Tensor:
        one, two = (F.normalize(self.pool(self.body(self.embed(tokens))[:, 0])) for _ in range(2))
        return F.cross_entropy(one @ two.T / 0.05, torch.arange(len(tokens)))


def sentences(seed: int, size: int) -> Batch:
    """Texts that begin with the same token, as BERT's do."""
    return F.pad(token_classes(VOCAB, 12)(seed, size)[0], (1, 0), value=1)


def cases() -> list[Case]:
    """All cases of this module."""
    mixes: dict[str, Build] = {
        "alibi": lambda: Mixer(Alibi, places=0), "query_key_norm": lambda: Mixer(QueryKeyNorm),
        "talking_heads": lambda: Mixer(TalkingHeads), "differential_transformer": lambda: Mixer(Differential),
        "performer": lambda: Mixer(Performer), "synthesizer": lambda: Mixer(Synthesizer),
        "gated_attention_unit": lambda: Mixer(GatedAttentionUnit), "hyena": lambda: Mixer(Hyena, init=False),
        "lru": lambda: Mixer(LinearRecurrentUnit, init=False), "deltanet": lambda: Mixer(Delta),
        "gated_linear_attention": lambda: Mixer(GatedLinearAttention), "qrnn": lambda: Mixer(QuasiRecurrent),
        "indrnn": lambda: Mixer(IndependentRNN, init=False), "mega": lambda: Mixer(MovingAverage), "mup": MuP,
        "reversible": Reversible, "awd_lstm": Dropped, "turing_machine": TuringMachine,
    }  # fmt: skip
    text: dict[str, Build] = {
        "universal_transformer": Universal, "text_cnn": TextCNN, "dpcnn": DeepPyramid,
        "hierarchical_attention": Hierarchical, "tree_lstm": TreeLSTM,
    }  # fmt: skip
    frames = sequences_first(waves(channels=4))
    others: dict[str, tuple[Build, Maker, Step]] = {
        "conformer": (lambda: Frames(Macaron(), Macaron()), frames, classify),
        "bilstm_crf": (RandomField, tagged(), own_loss),
        "biaffine_parser": (Biaffine, headed(), own_loss),
        "transducer": (Transducer, spoken(), own_loss),
        "conv_tasnet": (Separator, mixtures(132), unmixed),
        "demucs": (Demucs, mixtures(), separated),
        "tacotron": (Tacotron, readings(), read_aloud),
        "bidaf": (Bidaf, quizzes(), answered),
        "simcse": (SimCSE, sentences, own_loss),
    }
    lines, labelled = progressions(VOCAB, 12), token_classes(VOCAB, 16)
    models = {name: (build, lines, next_token) for name, build in mixes.items()}
    classifiers = {name: (build, labelled, classify) for name, build in text.items()}
    return later_cases(2, "sequence", {**models, **classifiers, **others})
