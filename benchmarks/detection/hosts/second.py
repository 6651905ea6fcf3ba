"""Hosts of the second round: nets of kinds that none of the first is."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .dense import Stack
from .vision import conv, conv_head

# --- images ------------------------------------------------------------------------------------------------------


class RepBlock(nn.Module):
    """RepVGG: a 3x3 and a 1x1 convolution and the input itself, each normalised, added before the activation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv3, self.bn3 = conv(width, width, bias=False), nn.BatchNorm2d(width)
        self.conv1, self.bn1 = conv(width, width, size=1, bias=False), nn.BatchNorm2d(width)
        self.bn0, self.act = nn.BatchNorm2d(width), nn.ReLU()
        self.residual = True

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn3(self.conv3(x)) + self.bn1(self.conv1(x))
        return self.act(out + self.bn0(x) if self.residual else out)


def repvgg(depth: int = 4, width: int = 12) -> nn.Module:
    return Stack(conv(1, width, bias=False), [RepBlock(width) for _ in range(depth)], conv_head(width))


class InceptionBlock(nn.Module):
    """Branches of several sizes side by side, concatenated."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.point = nn.Sequential(conv(inputs, width, size=1), nn.ReLU())
        self.narrow = nn.Sequential(conv(inputs, width, size=1), nn.ReLU(), conv(width, width), nn.ReLU())
        self.wide = nn.Sequential(conv(inputs, width, size=1), nn.ReLU(), conv(width, width, size=5), nn.ReLU())
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), conv(inputs, width, size=1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.point(x), self.narrow(x), self.wide(x), self.pool(x)], 1)


def inception(depth: int = 3, width: int = 4) -> nn.Module:
    stem = nn.Sequential(conv(1, 4 * width), nn.ReLU())
    model = Stack(stem, [InceptionBlock(4 * width, width) for _ in range(depth)], conv_head(4 * width))
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    return model


def stage(inputs: int, outputs: int, stride: int) -> nn.Module:
    return nn.Sequential(conv(inputs, outputs, stride, bias=False), nn.GroupNorm(4, outputs), nn.SiLU())


class Pyramid(nn.Module):
    """A feature pyramid: three scales bottom-up, laterals, top-down sums, a mask for every pixel."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.up1, self.up2, self.up3 = stage(1, width, 1), stage(width, width, 2), stage(width, width, 2)
        self.side1, self.side2, self.side3 = (conv(width, width, size=1) for _ in range(3))
        self.smooth = stage(width, width, 1)
        self.head = conv(width, 1, size=1)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.up1(x)
        middle = self.up2(fine)
        top = self.side3(self.up3(middle))
        down = self.side2(middle) + F.interpolate(top, scale_factor=2.0)
        return self.head(self.smooth(self.side1(fine) + F.interpolate(down, scale_factor=2.0)))


# --- sequences ---------------------------------------------------------------------------------------------------


class Tagger(nn.Module):
    """A label for every token from an LSTM that reads both ways."""

    def __init__(self, vocab: int = 8, width: int = 24, tags: int = 4) -> None:
        super().__init__()
        self.embed, self.drop = nn.Embedding(vocab, width), nn.Dropout(0.1)
        self.rnn = nn.LSTM(width, width, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * width, tags)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.rnn(self.drop(self.embed(tokens)))[0])


class GatedConv(nn.Module):
    """Gated convolution over the past (Dauphin et al.), with weight normalisation and a residual."""

    def __init__(self, width: int, reach: int = 3) -> None:
        super().__init__()
        self.pad = nn.ConstantPad1d((reach - 1, 0), 0.0)
        self.conv = nn.utils.parametrizations.weight_norm(nn.Conv1d(width, 2 * width, reach))
        self.gate, self.residual = nn.GLU(1), True

    def forward(self, x: Tensor) -> Tensor:
        out = self.gate(self.conv(self.pad(x)))
        return x + out if self.residual else out


class Letters(nn.Module):
    def __init__(self, vocab: int, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocab, width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.embed(tokens).transpose(1, 2)


class EveryStep(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2))


def gated_conv(depth: int = 4, width: int = 24, vocab: int = 5) -> nn.Module:
    return Stack(Letters(vocab, width), [GatedConv(width) for _ in range(depth)], EveryStep(width, vocab))


class Rotary(nn.Module):
    """Causal attention with rotary positions; ``mask`` names what is hidden."""

    def __init__(self, width: int, heads: int = 2) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.heads, self.scale, self.mask = heads, 1 / math.sqrt(width // heads), "causal"

    def turned(self, x: Tensor) -> Tensor:
        half = x.shape[-1] // 2
        angle = torch.arange(x.shape[-2])[:, None] * 100 ** (-torch.arange(half) / half)
        left, right = x[..., :half], x[..., half:]
        return torch.cat([left * angle.cos() - right * angle.sin(), left * angle.sin() + right * angle.cos()], -1)

    def hidden(self, length: int) -> Tensor:
        ones = torch.ones(length, length, dtype=torch.bool)
        return {"causal": ones.triu(1), "inverted": ones.tril(), "future": ones.tril(-1), "all": ones}[self.mask]

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        scores = self.turned(query) @ self.turned(key).transpose(-1, -2) * self.scale
        weight = scores.masked_fill(self.hidden(x.shape[1]), -math.inf).softmax(-1)
        return self.out((weight @ value).transpose(1, 2).flatten(-2))


class SwiGLU(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate, self.up = nn.Linear(width, hidden, bias=False), nn.Linear(width, hidden, bias=False)
        self.act, self.down = nn.SiLU(), nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.act(self.gate(x)) * self.up(x))


class LlamaBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.attn = nn.RMSNorm(width), Rotary(width)
        self.norm2, self.mlp = nn.RMSNorm(width), SwiGLU(width, 2 * width)
        self.residual = True

    def forward(self, x: Tensor) -> Tensor:
        if not self.residual:
            return self.mlp(self.norm2(self.attn(self.norm1(x))))
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


def llama(depth: int = 3, width: int = 24, vocab: int = 7) -> nn.Module:
    head = nn.Sequential(nn.RMSNorm(width), nn.Linear(width, vocab, bias=False))
    model = Stack(nn.Embedding(vocab, width), [LlamaBlock(width) for _ in range(depth)], head)
    for parameter in model.parameters():
        if parameter.dim() == 2:
            nn.init.normal_(parameter, std=width**-0.5 / 2)
    return model


class MinGRU(nn.Module):
    """minGRU: gate and candidate see the input only; a residual around, LayerNorm in front."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.gate, self.candidate = nn.LayerNorm(width), nn.Linear(width, width), nn.Linear(width, width)
        self.out, self.residual, self.cut = nn.Linear(width, width), True, False

    def forward(self, x: Tensor) -> Tensor:
        drive = self.norm(x)
        gate, fresh = self.gate(drive).sigmoid(), self.candidate(drive)
        state, states = torch.zeros_like(x[:, 0]), []
        for t in range(x.shape[1]):
            before = state.detach() if self.cut else state
            state = (1 - gate[:, t]) * before + gate[:, t] * fresh[:, t]
            states.append(state)
        out = self.out(torch.stack(states, 1))
        return x + out if self.residual else out


class LastRow(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[:, -1])


def mingru(depth: int = 2, width: int = 16) -> nn.Module:
    return Stack(nn.Linear(2, width), [MinGRU(width) for _ in range(depth)], LastRow(width, 1))


class Forecast(nn.Module):
    """N-HiTS: blocks at ever finer scales subtract what they explain and add what they foretell."""

    def __init__(self, past: int = 24, ahead: int = 8, width: int = 32) -> None:
        super().__init__()
        self.ahead, self.scales = ahead, (4, 2, 1)
        self.body = nn.ModuleList(
            nn.Sequential(nn.Linear(past // s, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
            for s in self.scales
        )
        self.back = nn.ModuleList(nn.Linear(width, past // s) for s in self.scales[:-1])
        self.heads = nn.ModuleList(nn.Linear(width, max(ahead // s, 2)) for s in self.scales)

    def forward(self, x: Tensor) -> Tensor:
        answer = torch.zeros(len(x), self.ahead)
        for i, scale in enumerate(self.scales):
            hidden = self.body[i](F.max_pool1d(x[:, None], scale)[:, 0])
            answer = answer + F.interpolate(self.heads[i](hidden)[:, None], size=self.ahead, mode="linear")[:, 0]
            if i < len(self.back):
                x = x - F.interpolate(self.back[i](hidden)[:, None], size=x.shape[1], mode="linear")[:, 0]
        return answer


# --- vectors, ids, graphs ----------------------------------------------------------------------------------------


class Sine(nn.Module):
    """SIREN's layer with its own initialisation."""

    def __init__(self, inputs: int, outputs: int, speed: float, first: bool = False) -> None:
        super().__init__()
        self.linear, self.speed = nn.Linear(inputs, outputs), speed
        bound = 1 / inputs if first else math.sqrt(6 / inputs) / speed
        nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return (self.speed * self.linear(x)).sin()


def siren(depth: int = 3, width: int = 32, speed: float = 6.0) -> nn.Module:
    head = nn.Linear(width, 1)
    nn.init.uniform_(head.weight, -math.sqrt(6 / width) / speed, math.sqrt(6 / width) / speed)
    return Stack(Sine(2, width, speed, first=True), [Sine(width, width, speed) for _ in range(depth)], head)


class Cross(nn.Module):
    """DCN-v2: the input times a linear map of the current layer, added to it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, first: Tensor, x: Tensor) -> Tensor:
        return first * self.linear(x) + x


class Clicks(nn.Module):
    """Embeddings of ids beside numbers; crosses and a deep part in parallel."""

    def __init__(self, rows: int = 10, width: int = 8, fields: int = 3, numbers: int = 3) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(rows, width) for _ in range(fields))
        for table in self.tables:
            nn.init.normal_(table.weight, std=0.1)  # type: ignore[arg-type]
        total = fields * width + numbers
        self.cross = nn.ModuleList(Cross(total) for _ in range(2))
        self.body = nn.Sequential(nn.Linear(total, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
        self.head = nn.Linear(total + 32, 1)

    def forward(self, ids: Tensor, numbers: Tensor) -> Tensor:
        first = torch.cat([*(table(ids[:, i]) for i, table in enumerate(self.tables)), numbers], 1)
        crossed = first
        for layer in self.cross:
            crossed = layer(first, crossed)
        return self.head(torch.cat([crossed, self.body(first)], 1))


class Isomorphism(nn.Module):
    """GIN: sums over neighbours and a perceptron in every layer; sums over nodes of every layer are read out."""

    def __init__(self, inputs: int = 4, width: int = 24, depth: int = 3) -> None:
        super().__init__()
        self.stem = nn.Linear(inputs, width)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
            for _ in range(depth)
        )
        self.own = nn.Parameter(torch.zeros(depth))
        self.head = nn.Linear(width, 3)

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        hidden = self.stem(nodes)
        for own, layer in zip(self.own, self.layers, strict=True):
            hidden = layer((1 + own) * hidden + edges @ hidden)
        return self.head(hidden.mean(1))


class Coupling(nn.Module):
    """RealNVP: one half moves by what the other says."""

    def __init__(self, side: int, width: int = 32) -> None:
        super().__init__()
        self.side = side
        self.net = nn.Sequential(nn.Linear(1, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.out = nn.Linear(width, 2)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def squashed(self, raw: Tensor) -> Tensor:
        return raw.tanh() * 2

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        still, moving = x[:, self.side : self.side + 1], x[:, 1 - self.side : 2 - self.side]
        raw, shift = self.out(self.net(still)).chunk(2, 1)
        scale = self.squashed(raw)
        moved = moving * scale.exp() + shift
        return torch.cat([still, moved] if self.side == 0 else [moved, still], 1), scale[:, 0]


class Flow(nn.Module):
    def __init__(self, depth: int = 6) -> None:
        super().__init__()
        self.body = nn.ModuleList(Coupling(i % 2) for i in range(depth))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        volume = torch.zeros(len(x))
        for layer in self.body:
            x, grown = layer(x)
            volume = volume + grown
        return x, volume


def tower(inputs: int, width: int = 32, outputs: int = 16) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, width), nn.LayerNorm(width), nn.GELU(), nn.Linear(width, width), nn.GELU(),
        nn.Linear(width, outputs),
    )  # fmt: skip


class Retrieval(nn.Module):
    """Two towers, compared by cosine over a learnt temperature."""

    def __init__(self, inputs: int = 6) -> None:
        super().__init__()
        self.query, self.document = tower(inputs), tower(inputs)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, query: Tensor, document: Tensor) -> Tensor:
        left, right = F.normalize(self.query(query), dim=1), F.normalize(self.document(document), dim=1)
        return left @ right.T * self.log_scale.exp()


class ActorCritic(nn.Module):
    """PPO's shared tanh trunk: orthogonal, gain sqrt(2), 0.01 for the policy and 1 for the value."""

    def __init__(self, inputs: int = 4, width: int = 48, actions: int = 4) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh())
        self.policy, self.value = nn.Linear(width, actions), nn.Linear(width, 1)
        for layer, gain in ((self.body[0], 2**0.5), (self.body[2], 2**0.5), (self.policy, 0.01), (self.value, 1.0)):
            nn.init.orthogonal_(layer.weight, gain)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.body(state)
        return self.policy(hidden), self.value(hidden)


class Field(nn.Module):
    """The right-hand side of a differential equation that depends on time."""

    def __init__(self, width: int, hidden: int = 32) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(width + 1, hidden), nn.Softplus(), nn.Linear(hidden, width)

    def forward(self, time: float, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(torch.cat([x, torch.full_like(x[:, :1], time)], 1))))


class Ode(nn.Module):
    """An augmented neural ODE, solved by the midpoint rule."""

    def __init__(self, inputs: int = 2, width: int = 6, classes: int = 2, steps: int = 6) -> None:
        super().__init__()
        self.stem, self.body, self.steps = nn.Linear(inputs, width), Field(width), steps
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        state, size = self.stem(x), 1 / self.steps
        for i in range(self.steps):
            half = state + size / 2 * self.body(i * size, state)
            state = state + size * self.body((i + 0.5) * size, half)
        return self.head(state)


class Modulated(nn.Module):
    """A residual block whose norm is shifted, scaled and gated by the condition, starting at zero (adaLN-zero)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.fc1 = nn.LayerNorm(width, elementwise_affine=False), nn.Linear(width, 2 * width)
        self.act, self.fc2, self.condition = nn.SiLU(), nn.Linear(2 * width, width), nn.Linear(width, 3 * width)
        nn.init.zeros_(self.condition.weight)
        nn.init.zeros_(self.condition.bias)

    def forward(self, x: Tensor, given: Tensor) -> Tensor:
        shift, scale, gate = self.condition(F.silu(given)).chunk(3, 1)
        return x + gate * self.fc2(self.act(self.fc1(self.norm(x) * (1 + scale) + shift)))


class Denoiser(nn.Module):
    """Foretells the noise in a point, given how much there is."""

    def __init__(self, width: int = 32, depth: int = 3) -> None:
        super().__init__()
        self.stem = nn.Linear(2, width)
        self.time = nn.Sequential(nn.Linear(16, width), nn.SiLU(), nn.Linear(width, width))
        self.body = nn.ModuleList(Modulated(width) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 2)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        angle = time * 2.0 ** torch.arange(8)
        given = self.time(torch.cat([angle.sin(), angle.cos()], 1))
        hidden = self.stem(x)
        for block in self.body:
            hidden = block(hidden, given)
        return self.head(self.norm(hidden))
