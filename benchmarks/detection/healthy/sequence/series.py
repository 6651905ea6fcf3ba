"""Time series: classes, states, gaps and events."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import (
    generator,
    only,
    patterns,
    prototypes,
    sequences_first,
    series,
    waves,
)
from benchmarks.detection.vocabulary.blocks import Apply, mlp
from benchmarks.detection.vocabulary.losses import classify_pair, fit, own_loss


class Temporal(nn.Module):
    """A block of the TCN: two weight-normalised causal convolutions with dropout around a shortcut."""

    def __init__(self, inside: int, outside: int, gap: int) -> None:
        super().__init__()
        norm = nn.utils.parametrizations.weight_norm
        first = norm(nn.Conv1d(inside, outside, 3, padding=2 * gap, dilation=gap))
        second = norm(nn.Conv1d(outside, outside, 3, padding=2 * gap, dilation=gap))
        chomp = Apply(lambda x: x[..., : -2 * gap])
        self.branch = nn.Sequential(first, chomp, nn.ReLU(), nn.Dropout(0.2), second, chomp, nn.ReLU(), nn.Dropout(0.2))
        self.short = nn.Conv1d(inside, outside, 1) if inside != outside else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.branch(x) + self.short(x))


def tcn() -> nn.Module:
    """A temporal convolutional network that reads its last step."""
    body = [Temporal(1, 16, 1), Temporal(16, 16, 2), Temporal(16, 16, 4)]
    return nn.Sequential(*body, Apply(lambda x: x[..., -1]), nn.Linear(16, 4))


class Inception(nn.Module):
    """InceptionTime's module: a bottleneck, three long kernels and a pooled path."""

    def __init__(self, inputs: int, width: int = 8) -> None:
        super().__init__()
        self.bottleneck = nn.Conv1d(inputs, width, 1, bias=False)
        self.long = nn.ModuleList(nn.Conv1d(width, width, n, padding=n // 2, bias=False) for n in (5, 11, 19))
        self.pooled = nn.Sequential(nn.MaxPool1d(3, 1, 1), nn.Conv1d(inputs, width, 1, bias=False))
        self.norm = nn.BatchNorm1d(4 * width)

    def forward(self, x: Tensor) -> Tensor:
        short = self.bottleneck(x)
        return F.relu(self.norm(torch.cat([*(conv(short) for conv in self.long), self.pooled(x)], 1)))


class InceptionTime(nn.Module):
    """Three modules with a residual around them, mean over time."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(Inception(4), Inception(32), Inception(32))
        self.short = nn.Sequential(nn.Conv1d(4, 32, 1, bias=False), nn.BatchNorm1d(32))
        self.head = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.body(x) + self.short(x)).mean(2))


class LstmFcn(nn.Module):
    """LSTM-FCN: convolutions beside an LSTM that sees the series as one step (dimension shuffle), 0.8 dropped."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs, size in ((4, 16, 7), (16, 32, 5), (32, 16, 3)):
            conv = nn.Conv1d(inputs, outputs, size, padding=size // 2)
            nn.init.kaiming_uniform_(conv.weight)
            layers += [conv, nn.BatchNorm1d(outputs, eps=1e-3, momentum=0.01), nn.ReLU()]
        self.convs, self.lstm = nn.Sequential(*layers), nn.LSTM(32, 8, batch_first=True)
        self.dropout, self.head = nn.Dropout(0.8), nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        state = self.dropout(self.lstm(x)[0][:, -1])
        return self.head(torch.cat([self.convs(x).mean(2), state], 1))


def eegnet() -> nn.Module:
    """EEGNet: a temporal convolution, a depthwise one over electrodes, a separable one; ELU, Glorot weights."""
    first = [nn.Unflatten(1, (1, -1)), nn.Conv2d(1, 8, (1, 17), padding=(0, 8), bias=False), nn.BatchNorm2d(8)]
    space = [nn.Conv2d(8, 16, (4, 1), groups=8, bias=False), nn.BatchNorm2d(16), nn.ELU(), nn.AvgPool2d((1, 4))]
    deep = [nn.Conv2d(16, 16, (1, 7), padding=(0, 3), groups=16, bias=False), nn.Conv2d(16, 16, 1, bias=False)]
    last = [nn.BatchNorm2d(16), nn.ELU(), nn.AvgPool2d((1, 4)), nn.Dropout(0.25), nn.Flatten(), nn.Linear(64, 4)]
    model = nn.Sequential(*first, *space, nn.Dropout(0.25), *deep, *last)
    for module in model:
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(module.weight)
    nn.init.zeros_(model[-1].bias)  # type: ignore[arg-type]
    return model


class Rocket(nn.Module):
    """ROCKET: random convolutions that stay as they are; the maximum and the share above zero feed a linear layer."""

    def __init__(self, kernels: int = 64) -> None:
        super().__init__()
        convs = (nn.Conv1d(4, kernels // 4, 9, dilation=dilation, padding=4 * dilation) for dilation in (1, 2, 3, 4))
        self.convs, self.norm, self.head = nn.ModuleList(convs), nn.BatchNorm1d(2 * kernels), nn.Linear(2 * kernels, 4)
        for conv in self.convs.requires_grad_(False):
            nn.init.normal_(conv.weight)  # type: ignore[arg-type]
            nn.init.uniform_(conv.bias, -1, 1)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        seen = torch.cat([conv(x) for conv in self.convs], 1)
        return self.head(self.norm(torch.cat([seen.amax(2), (seen > 0).float().mean(2)], 1)))


class Legendre(nn.Module):
    """The Legendre memory unit: a fixed linear memory of the past beside a tanh state, LMU's own initialisation."""

    a: Tensor
    b: Tensor

    def __init__(self, inputs: int, width: int, order: int = 8, window: float = 32) -> None:
        super().__init__()
        index = torch.arange(order, dtype=torch.float64)
        row, column = torch.meshgrid(index, index, indexing="ij")
        sign = torch.where(row < column, -1.0, (-1.0) ** (row - column + 1))
        a, b = (2 * row + 1) / window * sign, ((2 * index + 1) * (-1.0) ** index / window)[:, None]
        whole = torch.matrix_exp(torch.cat([torch.cat([a, b], 1), torch.zeros(1, order + 1)]))
        self.register_buffer("a", whole[:order, :order].float())
        self.register_buffer("b", whole[:order, order].float())
        self.from_x, self.from_h = nn.Parameter(torch.empty(inputs)), nn.Parameter(torch.empty(width))
        self.from_m = nn.Parameter(torch.zeros(order))
        self.x, self.h = nn.Linear(inputs, width, bias=False), nn.Linear(width, width, bias=False)
        self.m = nn.Linear(order, width, bias=False)
        nn.init.uniform_(self.from_x, -((3 / inputs) ** 0.5), (3 / inputs) ** 0.5)
        nn.init.uniform_(self.from_h, -((3 / width) ** 0.5), (3 / width) ** 0.5)
        for layer in (self.x, self.h, self.m):
            nn.init.xavier_normal_(layer.weight)

    def forward(self, series: Tensor) -> Tensor:
        state = series.new_zeros(len(series), len(self.from_h))
        memory = series.new_zeros(len(series), len(self.b))
        for x in series.unbind(1):
            write = x @ self.from_x + state @ self.from_h + memory @ self.from_m
            memory = memory @ self.a.T + write[:, None] * self.b
            state = (self.x(x) + self.h(state) + self.m(memory)).tanh()
        return state


class KalmanNet(nn.Module):
    """KalmanNet: a known motion, and a GRU that learns the gain."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.inward, self.rnn = nn.Sequential(nn.Linear(6, width), nn.ReLU()), nn.GRUCell(width, width)
        self.gain = mlp([width, width, 4])

    def forward(self, seen: Tensor) -> Tensor:
        state, memory = seen.new_zeros(len(seen), 2), seen.new_zeros(len(seen), self.rnn.hidden_size)
        motion, update, states = torch.tensor([[1.0, 0.3], [-0.3, 0.95]]), torch.zeros_like(state), []
        for observed in seen.unbind(1):
            guess = state @ motion.T
            surprise = observed - guess
            memory = self.rnn(self.inward(F.normalize(torch.cat([surprise, observed, update], 1))), memory)
            update = (self.gain(memory).unflatten(1, (2, 2)) @ surprise[:, :, None])[..., 0]
            state = guess + update
            states.append(state)
        return torch.stack(states, 1)


def tracked(seed: int, size: int) -> Batch:
    """Noisy sights of a decaying rotation, and the truth."""
    g = generator(seed)
    motion, state, states = torch.tensor([[1.0, 0.3], [-0.3, 0.95]]), torch.randn(size, 2, generator=g), []
    for _ in range(16):
        state = state @ motion.T + 0.1 * torch.randn(size, 2, generator=g)
        states.append(state)
    truth = torch.stack(states, 1)
    return truth + 0.4 * torch.randn(truth.shape, generator=g), truth


class Missing(nn.Module):
    """GRU-D: values and states decay towards a mean with the time since anything was seen."""

    def __init__(self, inputs: int = 5, width: int = 24) -> None:
        super().__init__()
        self.width, self.rate = width, nn.Parameter(torch.rand(inputs) * 0.2)
        self.start, self.fade = nn.Parameter(torch.zeros(inputs)), nn.Linear(inputs, width)
        self.cell, self.norm, self.head = nn.GRUCell(2 * inputs, width), nn.BatchNorm1d(width), nn.Linear(width, 2)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        state, since, last = x.new_zeros(len(x), self.width), torch.zeros_like(x[:, 0]), torch.zeros_like(x[:, 0])
        mean = (x * seen).sum((0, 1)) / seen.sum((0, 1)).clamp(min=1)
        for value, mask in zip(x.unbind(1), seen.unbind(1), strict=True):
            keep = (-F.relu(self.rate * since + self.start)).exp()
            filled = mask * value + (1 - mask) * (keep * last + (1 - keep) * mean)
            state = (-F.relu(self.fade(since))).exp() * state
            state = self.cell(torch.cat([filled, mask], 1), state)
            last, since = mask * value + (1 - mask) * last, 1 + (1 - mask) * since
        return self.head(F.dropout(self.norm(state), 0.3, self.training))


def patients(seed: int, size: int) -> Batch:
    """Twelve hours of five standardised vital signs, most of them missing, and the outcome."""
    g = generator(seed)
    label = torch.randint(2, (size,), generator=g)
    drift = (label[:, None, None] - 0.5) * prototypes(2, 5)[1] * torch.arange(12)[:, None] / 4
    seen = (torch.rand(size, 12, 5, generator=g) < 0.4).float()
    return (drift + torch.randn(size, 12, 5, generator=g)) * seen, seen, label


class PointProcess(nn.Module):
    """RMTPP: the log intensity of the next event is the state's projection plus a drift in time; marks too."""

    def __init__(self, marks: int = 4, width: int = 24) -> None:
        super().__init__()
        self.embed, self.rnn = nn.Embedding(marks, 8), nn.LSTM(9, width, batch_first=True)
        self.rate, self.drift, self.mark = nn.Linear(width, 1), nn.Parameter(torch.tensor(0.1)), nn.Linear(width, marks)

    def forward(self, gaps: Tensor, marks: Tensor) -> Tensor:
        states = self.rnn(torch.cat([self.embed(marks), gaps[..., None]], 2)[:, :-1])[0]
        past, later = self.rate(states)[..., 0], gaps[:, 1:]
        log_rate = past + self.drift * later
        likelihood = log_rate + past.exp() / self.drift - log_rate.exp() / self.drift
        return F.cross_entropy(self.mark(states).transpose(1, 2), marks[:, 1:]) - likelihood.mean()


def events(seed: int, size: int) -> Batch:
    """Times between events in hours, longer after some kinds of event than after others, and the kinds."""
    g = generator(seed)
    start = torch.randint(4, (size, 1), generator=g)
    marks = (start + torch.arange(12) + (torch.rand(size, 12, generator=g) < 0.2)) % 4
    scale = torch.tensor([0.2, 0.5, 1.0, 2.0])[F.pad(marks[:, :-1], (1, 0))]
    return -scale * torch.rand(size, 12, generator=g).clamp(min=1e-3).log(), marks


def uniform(low: float, high: float, *shape: int) -> nn.Parameter:
    """A parameter that starts uniform in a range."""
    return nn.Parameter(torch.empty(*shape).uniform_(low, high))


class LiquidCell(nn.Module):
    """A liquid time-constant cell: leaky neurons with sigmoid synapses, solved by six fused Euler steps."""

    def __init__(self, inputs: int = 1, width: int = 12) -> None:
        super().__init__()
        self.width = width
        self.leak, self.rest, self.mass = uniform(0.001, 1, width), uniform(-0.2, 0.2, width), uniform(0.4, 0.6, width)
        for kind, count in (("sense", inputs), ("inner", width)):
            sign = torch.randint(2, (count, width)).float() * 2 - 1
            table = {"weight": uniform(0.001, 1, count, width), "steep": uniform(3, 8, count, width)}
            table |= {"place": uniform(0.3, 0.8, count, width), "reversal": nn.Parameter(sign)}
            setattr(self, kind, nn.ParameterDict(table))
        self.scale, self.shift = nn.Parameter(torch.ones(inputs)), nn.Parameter(torch.zeros(inputs))
        self.head = nn.Linear(width, 4)

    @staticmethod
    def currents(x: Tensor, table: nn.ParameterDict) -> tuple[Tensor, Tensor]:
        """What synapses drive and how much they conduct."""
        open_ = F.softplus(table["weight"]) * (table["steep"] * (x[..., None] - table["place"])).sigmoid()
        return (open_ * table["reversal"]).sum(1), open_.sum(1)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), self.width)
        mass, leak = F.softplus(self.mass) * 6, F.softplus(self.leak)
        for now in x.unbind(1):
            drive, conduct = self.currents(now * self.scale + self.shift, self.sense)  # type: ignore[arg-type]
            for _ in range(6):
                more, opened = self.currents(state, self.inner)  # type: ignore[arg-type]
                top = mass * state + leak * self.rest + drive + more
                state = top / (mass + leak + conduct + opened + 1e-8)
        return self.head(state)


class Reservoir(nn.Module):
    """An echo state network: a sparse recurrent reservoir that stays as it was drawn; only the readout learns."""

    inward: Tensor
    again: Tensor

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        weight = torch.randn(width, width) * (torch.rand(width, width) < 0.1)
        self.register_buffer("again", weight * 0.9 / torch.linalg.eigvals(weight).abs().max())
        self.register_buffer("inward", torch.empty(width, 1).uniform_(-0.5, 0.5))
        self.readout = nn.Linear(2 * width, 4)

    def forward(self, x: Tensor) -> Tensor:
        state, total = x.new_zeros(len(x), len(self.again)), torch.zeros(1)
        for now in x.unbind(1):
            state = 0.7 * state + 0.3 * (now @ self.inward.T + state @ self.again.T).tanh()
            total = total + state.square() / x.shape[1]
        return self.readout(torch.cat([state, total], 1))


class SequenceAutoencoder(nn.Module):
    """An LSTM autoencoder for anomalies: the last state is repeated and unrolled into the series."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.encode, self.decode = nn.LSTM(1, width, batch_first=True), nn.LSTM(width, width, batch_first=True)
        self.head = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        last = self.encode(x)[1][0][0]
        return F.l1_loss(self.head(self.decode(last[:, None].expand(-1, x.shape[1], -1))[0]), x)


class Controlled(nn.Module):
    """A neural controlled differential equation: the change of the state is a matrix times the change of the input."""

    def __init__(self, channels: int = 3, width: int = 8) -> None:
        super().__init__()
        self.start, self.field = nn.Linear(channels, width), mlp([width, 32, width * channels])
        self.head = nn.Linear(width, 8 * channels)

    def forward(self, x: Tensor) -> Tensor:
        state = self.start(x[:, 0])
        for change in x.diff(dim=1).unbind(1):
            field = self.field(state).tanh().view(len(x), -1, x.shape[2])
            state = state + (field @ change[..., None])[..., 0]
        return self.head(state).view(len(x), 8, -1)


class HyperLstm(nn.Module):
    """A small LSTM scales the gates of a larger one at every step, from a tenth on; their norms make up for that."""

    def __init__(self, inputs: int = 4, width: int = 24, small: int = 8) -> None:
        super().__init__()
        self.x, self.h = nn.Linear(inputs, 4 * width, bias=False), nn.Linear(width, 4 * width, bias=False)
        self.hyper, self.width = nn.LSTMCell(inputs + width, small), width
        self.codes = nn.Linear(small, 2 * 4)
        self.scales, self.bias = nn.ModuleList(nn.Linear(4, 4 * width) for _ in range(2)), nn.Linear(small, 4 * width)
        self.norms, self.norm = nn.ModuleList(nn.LayerNorm(width) for _ in range(4)), nn.LayerNorm(width)
        self.head = nn.Linear(width, 4)
        nn.init.zeros_(self.bias.weight)
        nn.init.zeros_(self.bias.bias)
        nn.init.zeros_(self.codes.weight)
        nn.init.ones_(self.codes.bias)
        for scale in self.scales:
            nn.init.constant_(scale.weight, 0.1 / 4)  # type: ignore[arg-type]
            nn.init.zeros_(scale.bias)  # type: ignore[arg-type]
        nn.init.orthogonal_(self.h.weight)

    def forward(self, x: Tensor) -> Tensor:
        state, memory = x.new_zeros(2, len(x), self.width)
        small: tuple[Tensor, Tensor] | None = None
        for now in x.unbind(1):
            small = self.hyper(torch.cat([now, state], 1), small)
            code = self.codes(small[0]).chunk(2, 1)
            gates = (
                self.scales[0](code[0]) * self.x(now) + self.scales[1](code[1]) * self.h(state) + self.bias(small[0])
            )
            i, f, o, g = (norm(part) for norm, part in zip(self.norms, gates.chunk(4, 1), strict=True))
            memory = (f + 1).sigmoid() * memory + i.sigmoid() * g.tanh()
            state = o.sigmoid() * self.norm(memory).tanh()
        return self.head(state)


def curves(seed: int, size: int) -> Batch:
    """Sequences of four channels around the pattern of their class."""
    x, label = patterns(12, 4)(seed, size)
    return x, label


def cases() -> list[Case]:
    """The cases of this file."""
    return [
        case("seq_tcn", "seq/tcn", tcn, waves(24)),
        case("third_signal_inception_time", "third/inception_time", InceptionTime, waves(channels=4), round=3),
        case("third_signal_lstm_fcn", "third/lstm_fcn", LstmFcn, waves(channels=4), round=3),
        case("third_signal_eegnet", "third/eegnet", eegnet, waves(64, 4), round=3),
        case("third_signal_rocket", "third/rocket", Rocket, waves(channels=4), round=3),
        case(
            "third_signal_legendre_memory",
            "third/legendre_memory",
            lambda: nn.Sequential(Legendre(4, 24), nn.Linear(24, 4)),
            sequences_first(waves(channels=4)),
            round=3,
        ),
        case("third_signal_kalmannet", "third/kalmannet", KalmanNet, tracked, fit, round=3),
        case("fourth_series_gru_d", "fourth/gru_d", Missing, patients, classify_pair, round=4),
        case("fourth_series_point_process", "fourth/point_process", PointProcess, events, own_loss, round=4),
        case(
            "fourth_series_liquid_time_constant",
            "fourth/liquid_time_constant",
            LiquidCell,
            sequences_first(waves(24)),
            round=4,
        ),
        case("fourth_series_echo_state", "fourth/echo_state", Reservoir, sequences_first(waves(24)), round=4),
        case(
            "fourth_series_lstm_autoencoder",
            "fourth/lstm_autoencoder",
            SequenceAutoencoder,
            only(sequences_first(waves(24))),
            own_loss,
            round=4,
        ),
        case("second_tabular_neural_cde", "second/neural_cde", Controlled, series(), fit, size=16, round=2),
        case("third_learning_hyper_lstm", "third/hyper_lstm", HyperLstm, curves, round=3),
    ]
