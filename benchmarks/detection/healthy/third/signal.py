"""Speech, sound and time series."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case
from benchmarks.detection.healthy.common import (
    Build,
    Maker,
    Step,
    classify,
    fit,
    generator,
    later_cases,
    mlp,
    own_loss,
    prototypes,
    sequences_first,
    waves,
)


class ClippedReLU(nn.Hardtanh):
    """min(max(x, 0), 20)."""

    def __init__(self) -> None:
        super().__init__(0.0, 20.0)


class DeepSpeech(nn.Module):
    """Deep Speech: three dense layers with a clipped ReLU, a bidirectional RNN, one more layer, CTC."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        layers = [nn.Linear(12, width), ClippedReLU(), nn.Linear(width, width), ClippedReLU()]
        self.front = nn.Sequential(*layers, nn.Linear(width, width), ClippedReLU())
        self.rnn = nn.RNN(width, width, nonlinearity="relu", bidirectional=True, batch_first=True)
        self.back = nn.Sequential(nn.Linear(width, width), ClippedReLU(), nn.Linear(width, 8))

    def forward(self, x: Tensor, spoken: Tensor) -> Tensor:
        seen = self.rnn(self.front(x))[0]
        scores = self.back(sum(seen.chunk(2, -1))).log_softmax(-1).transpose(0, 1)
        frames, letters = (torch.full((len(x),), n) for n in (x.shape[1], spoken.shape[1]))
        return F.ctc_loss(scores, spoken, frames, letters)


def utterances(seed: int, size: int) -> Batch:
    """Four letters of seven, each for five noisy frames."""
    g = generator(seed)
    spoken = torch.randint(1, 8, (size, 4), generator=g)
    frames = prototypes(8, 12)[spoken].repeat_interleave(5, 1)
    return frames + 0.3 * torch.randn(frames.shape, generator=g), spoken


class ListenAttendSpell(nn.Module):
    """A pyramid of bidirectional LSTMs listens; a decoder attends and spells, taught by the truth."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.low = nn.LSTM(12, width // 2, bidirectional=True, batch_first=True)
        self.high = nn.LSTM(2 * width, width // 2, bidirectional=True, batch_first=True)
        self.embed, self.spell = nn.Embedding(8, width), nn.LSTMCell(2 * width, width)
        self.query, self.key, self.out = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(2 * width, 8)

    def forward(self, x: Tensor, spoken: Tensor) -> Tensor:
        heard = self.high(self.low(x)[0].unflatten(1, (-1, 2)).flatten(2))[0]
        keys, context = self.key(heard), torch.zeros_like(heard[:, 0])
        state, scores = (context, context), []
        for letter in F.pad(spoken, (1, 0))[:, :-1].unbind(1):
            state = self.spell(torch.cat([self.embed(letter), context], 1), state)
            weight = (keys @ self.query(state[0])[:, :, None]).softmax(1)
            context = (weight * heard).sum(1)
            scores.append(self.out(torch.cat([state[0], context], 1)))
        return F.cross_entropy(torch.stack(scores, 2), spoken)


class StatisticsPooling(nn.Module):
    """x-vector: mean and standard deviation over time."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.mean(2), x.var(2).clamp(min=1e-5).sqrt()], 1)


def x_vector() -> nn.Module:
    """A time-delay net, statistics pooling, two segment layers, as for speakers."""
    layers: list[nn.Module] = []
    for inputs, size, dilation in ((4, 5, 1), (24, 3, 2), (24, 3, 3), (24, 1, 1)):
        layers += [nn.Conv1d(inputs, 24, size, dilation=dilation), nn.ReLU(), nn.BatchNorm1d(24)]
    segment = [nn.Linear(48, 24), nn.ReLU(), nn.BatchNorm1d(24), nn.Linear(24, 24), nn.ReLU(), nn.BatchNorm1d(24)]
    return nn.Sequential(*layers, StatisticsPooling(), *segment, nn.Linear(24, 4))


class Res2Block(nn.Module):
    """ECAPA: a dilated convolution in four scales between two of size one, squeeze and excitation, a residual."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.inward, self.outward = nn.Conv1d(width, width, 1), nn.Conv1d(width, width, 1)
        part = width // 4
        self.convs = nn.ModuleList(nn.Conv1d(part, part, 3, padding=dilation, dilation=dilation) for _ in range(3))
        self.norms = nn.ModuleList(nn.BatchNorm1d(n) for n in (width, part, part, part, width))
        self.squeeze = nn.Sequential(nn.Linear(width, 8), nn.ReLU(), nn.Linear(8, width), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.norms[0](F.relu(self.inward(x))).chunk(4, 1))
        for i, conv in enumerate(self.convs):
            before = parts[i + 1] + parts[i] if i else parts[i + 1]
            parts[i + 1] = self.norms[i + 1](F.relu(conv(before)))
        out = self.norms[4](F.relu(self.outward(torch.cat(parts, 1))))
        return x + out * self.squeeze(out.mean(2))[:, :, None]


class Ecapa(nn.Module):
    """ECAPA-TDNN: all blocks are read together, attentive statistics, an additive angular margin."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(4, width, 5, padding=2), nn.ReLU(), nn.BatchNorm1d(width))
        self.blocks = nn.ModuleList(Res2Block(width, dilation) for dilation in (2, 3, 4))
        self.join = nn.Sequential(nn.Conv1d(3 * width, 32, 1), nn.ReLU())
        self.attend = nn.Sequential(nn.Conv1d(96, 8, 1), nn.ReLU(), nn.BatchNorm1d(8), nn.Tanh(), nn.Conv1d(8, 32, 1))
        self.embed = nn.Sequential(nn.BatchNorm1d(64), nn.Linear(64, 16), nn.BatchNorm1d(16))
        self.speakers = nn.Parameter(torch.empty(4, 16))
        nn.init.xavier_normal_(self.speakers, gain=1)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        seen = [self.stem(x)]
        for block in self.blocks:
            seen.append(block(sum(seen)))
        x = self.join(torch.cat(seen[1:], 1))
        mean, std = x.mean(2, keepdim=True), x.var(2, keepdim=True).clamp(min=1e-4).sqrt()
        weight = self.attend(torch.cat([x, mean.expand_as(x), std.expand_as(x)], 1)).softmax(2)
        mean = (weight * x).sum(2)
        std = ((weight * x.square()).sum(2) - mean.square()).clamp(min=1e-4).sqrt()
        cosine = F.normalize(self.embed(torch.cat([mean, std], 1))) @ F.normalize(self.speakers).T
        angle = cosine.clamp(-1 + 1e-6, 1 - 1e-6).acos() + 0.2 * F.one_hot(label, 4)
        return F.cross_entropy(30 * angle.cos(), label)


class Sinc(nn.Module):
    """SincNet's filters: only the two frequencies of every band are learnt; they start on the mel scale."""

    window: Tensor
    time: Tensor

    def __init__(self, filters: int = 12, size: int = 33, rate: float = 4000) -> None:
        super().__init__()
        top = 2595 * math.log10(1 + (rate / 2 - 100) / 700)
        edges = 700 * (10 ** (torch.linspace(2595 * math.log10(1 + 30 / 700), top, filters + 1) / 2595) - 1)
        self.low, self.band, self.rate = nn.Parameter(edges[:-1]), nn.Parameter(edges.diff()), rate
        self.register_buffer("window", torch.hamming_window(size, periodic=False))
        self.register_buffer("time", 2 * math.pi * (torch.arange(size) - size // 2) / rate)

    def forward(self, x: Tensor) -> Tensor:
        low = 50 + self.low.abs()
        high = (low + 50 + self.band.abs()).clamp(max=self.rate / 2)
        middle = len(self.time) // 2
        half = self.time[middle + 1 :]
        right = ((high[:, None] * half).sin() - (low[:, None] * half).sin()) / (half / 2)
        centre = 2 * (high - low)[:, None]
        bank = torch.cat([right.flip(1), centre, right], 1) / (2 * (high - low)[:, None]) * self.window
        return F.conv1d(x, bank[:, None])


def sincnet() -> nn.Module:
    """Learnt band-pass filters on the raw waveform, then usual convolutions with layer normalisation."""
    front = [nn.LayerNorm(200), Sinc(), nn.MaxPool1d(3), nn.LayerNorm([12, 56]), nn.LeakyReLU()]
    second = [nn.Conv1d(12, 16, 5), nn.MaxPool1d(3), nn.LayerNorm([16, 17]), nn.LeakyReLU()]
    dense = [nn.Flatten(), nn.Linear(272, 32), nn.BatchNorm1d(32), nn.LeakyReLU(), nn.Linear(32, 4)]
    return nn.Sequential(*front, *second, *dense)


class Period(nn.Module):
    """A HiFi-GAN discriminator for one period; what it sees on the way is kept."""

    def __init__(self, period: int) -> None:
        super().__init__()
        norm, self.period = nn.utils.parametrizations.weight_norm, period
        sizes = ((1, 8, 3), (8, 16, 3), (16, 16, 1))
        self.convs = nn.ModuleList(norm(nn.Conv2d(a, b, (5, 1), (s, 1), (2, 0))) for a, b, s in sizes)
        self.post = norm(nn.Conv2d(16, 1, (3, 1), padding=(1, 0)))

    def forward(self, x: Tensor) -> list[Tensor]:
        x = F.pad(x, (0, -x.shape[2] % self.period), mode="reflect").unflatten(2, (-1, self.period))  # type: ignore[no-untyped-call]
        seen = []
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.1)
            seen.append(x)
        return [*seen, self.post(x)]


class HifiGenerator(nn.Module):
    """HiFi-GAN's generator with its losses: least squares, matching features, L1 of the spectrogram."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        norm = nn.utils.parametrizations.weight_norm
        self.pre, self.post = norm(nn.Conv1d(8, width, 7, padding=3)), norm(nn.Conv1d(width // 4, 1, 7, padding=3))
        sizes = ((width, width // 2), (width // 2, width // 4))
        self.ups = nn.ModuleList(norm(nn.ConvTranspose1d(a, b, 8, 4, 2)) for a, b in sizes)
        mix = (nn.Conv1d(b, b, 3, padding=d, dilation=d) for _, b in sizes for d in (1, 3))
        self.mix = nn.ModuleList(norm(conv) for conv in mix)
        self.judges = nn.ModuleList(Period(p) for p in (2, 3)).requires_grad_(False)
        for conv in (*self.ups, *self.mix, self.post):
            nn.init.normal_(conv.parametrizations.weight.original1, std=0.01)

    def generate(self, mel: Tensor) -> Tensor:
        """A waveform for a spectrogram."""
        x = self.pre(mel)
        for i, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, 0.1))
            for conv in self.mix[2 * i : 2 * i + 2]:
                x = x + conv(F.leaky_relu(x, 0.1))
        return self.post(F.leaky_relu(x)).tanh()

    def forward(self, sound: Tensor) -> Tensor:
        made = self.generate(self.mel(sound))
        cost = 45 * F.l1_loss(self.mel(made), self.mel(sound))
        for judge in self.judges:
            false, true = judge(made), judge(sound)
            pairs = zip(false[:-1], true[:-1], strict=True)
            cost = cost + (1 - false[-1]).square().mean() + 2 * sum(F.l1_loss(a, b) for a, b in pairs)
        return cost

    @staticmethod
    def mel(sound: Tensor) -> Tensor:
        """The logarithm of eight bands of the spectrogram."""
        padded = F.pad(sound, (8, 8), mode="reflect")[:, 0]
        window = torch.hann_window(32)
        frames = torch.stft(padded, 32, 16, window=window, center=False, return_complex=True)
        power = (torch.view_as_real(frames).square().sum(-1) + 1e-9).sqrt()
        return F.avg_pool1d(power.transpose(1, 2), 2).transpose(1, 2)[:, :8].clamp(min=1e-5).log()


def tones(seed: int, size: int) -> Tensor:
    """Chords of two tones."""
    g = generator(seed)
    pitch, time = 0.1 + 0.6 * torch.rand(size, 2, 1, generator=g), torch.arange(160.0)
    return 0.4 * (pitch * time + 6.283 * torch.rand(size, 2, 1, generator=g)).sin().sum(1, keepdim=True)


class WaveUNet(nn.Module):
    """A U-Net on the waveform: decimation down, interpolation up, tanh at the end."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        widths = [1, width, 2 * width, 3 * width]
        pairs = list(itertools.pairwise(widths))
        self.down = nn.ModuleList(nn.Conv1d(a, b, 15, padding=7) for a, b in pairs)
        self.deep = nn.Conv1d(3 * width, 4 * width, 15, padding=7)
        self.up = nn.ModuleList(nn.Conv1d(b + (i + 2) * width, b, 5, padding=2) for i, (_, b) in enumerate(pairs))
        self.head = nn.Conv1d(width + 1, 1, 1)

    def forward(self, sound: Tensor) -> Tensor:
        x, kept = sound, []
        for conv in self.down:
            x = F.leaky_relu(conv(x), 0.2)
            kept.append(x)
            x = x[:, :, ::2]
        x = F.leaky_relu(self.deep(x), 0.2)
        for conv, skip in zip(reversed(self.up), reversed(kept), strict=True):
            x = F.interpolate(x, skip.shape[2], mode="linear", align_corners=True)
            x = F.leaky_relu(conv(torch.cat([x, skip], 1)), 0.2)
        return self.head(torch.cat([x, sound], 1)).tanh()


def noisy_tones(seed: int, size: int) -> Batch:
    """Chords in noise, and without it."""
    clean = tones(seed, size)
    return clean + 0.3 * torch.randn(clean.shape, generator=generator(seed + 1)), clean


class DualPathRNN(nn.Module):
    """DPRNN: one LSTM within chunks, one across them, each with a projection, a norm and a residual; SI-SNR."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.encode, self.decode = nn.Conv1d(1, width, 8, 4, bias=False), nn.ConvTranspose1d(width, 1, 8, 4, bias=False)
        self.rnns = nn.ModuleList(nn.LSTM(width, width, bidirectional=True, batch_first=True) for _ in range(4))
        self.projections = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(4))
        self.norms = nn.ModuleList(nn.GroupNorm(1, width, eps=1e-8) for _ in range(4))
        self.act, self.mask = nn.PReLU(), nn.Conv1d(width, width, 1)

    def forward(self, sound: Tensor) -> Tensor:
        code = self.encode(sound)
        x = code[:, :, :36].unflatten(2, (6, 6))
        for i, (rnn, projection, norm) in enumerate(zip(self.rnns, self.projections, self.norms, strict=True)):
            rows = x if i % 2 == 0 else x.transpose(2, 3)
            line = rnn(rows.permute(0, 2, 3, 1).flatten(0, 1))[0]
            out = norm(projection(line).unflatten(0, (len(x), -1)).permute(0, 3, 1, 2))
            x = x + (out if i % 2 == 0 else out.transpose(2, 3))
        mask = F.relu(self.mask(self.act(x).flatten(2)))
        return self.decode(code[:, :, :36] * mask)


def signal_to_noise(model: nn.Module, batch: Batch) -> Tensor:
    """The scale-invariant ratio of signal to noise, in decibels, with the sign of a loss."""
    mixed, clean = batch
    made = model(mixed)[:, 0]
    clean = clean[:, 0, : made.shape[1]]
    made, clean = made - made.mean(1, keepdim=True), clean - clean.mean(1, keepdim=True)
    part = (made * clean).sum(1, keepdim=True) / (clean.square().sum(1, keepdim=True) + 1e-8) * clean
    return -10 * (part.square().sum(1) / ((made - part).square().sum(1) + 1e-8) + 1e-8).log10().mean()


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


def series(seed: int, size: int, length: int = 32, horizon: int = 8) -> Batch:
    """Two seasons, a trend and noise: the past and the future of three channels."""
    g = generator(seed)
    time, draw = torch.arange(float(length + horizon))[:, None], torch.rand(size, 4, 1, 3, generator=g)
    fast = (6.283 * time / 8 + 6.283 * draw[:, 0]).sin() * (0.5 + draw[:, 1])
    slow = (6.283 * time / 24 + 6.283 * draw[:, 2]).sin() + (draw[:, 3] - 0.5) * time / 20
    whole = fast + slow + 0.1 * torch.randn(size, length + horizon, 3, generator=g)
    return whole[:, :length], whole[:, length:]


class Times(nn.Module):
    """TimesNet: the series is folded by its strongest periods and seen as images."""

    def __init__(self, width: int = 16, length: int = 40) -> None:
        super().__init__()
        self.embed, self.extend = nn.Conv1d(3, width, 3, padding=1, padding_mode="circular"), nn.Linear(32, length)
        sizes = ((1, 3, 5), (1, 3, 5))
        self.images = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(width, width, n, padding=n // 2) for n in group) for group in sizes
        )
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 3)
        for conv in self.images.modules():
            if isinstance(conv, nn.Conv2d):
                nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(conv.bias)  # type: ignore[arg-type]

    def block(self, x: Tensor) -> Tensor:
        """Fold by two periods, convolve twice, unfold, mix by the strength of the periods."""
        strength = torch.fft.rfft(x, dim=1).abs().mean(2)
        best = strength.mean(0)[1:].topk(2).indices + 1
        outs = []
        for frequency in best.tolist():
            period = x.shape[1] // frequency
            folded = F.pad(x, (0, 0, 0, -x.shape[1] % period)).unflatten(1, (-1, period)).permute(0, 3, 1, 2)  # type: ignore[no-untyped-call]
            for i, group in enumerate(self.images):
                folded = torch.stack([conv(folded) for conv in group]).mean(0)  # type: ignore[attr-defined]
                folded = F.gelu(folded) if i == 0 else folded
            outs.append(folded.permute(0, 2, 3, 1).flatten(1, 2)[:, : x.shape[1]])
        weight = strength[:, best].softmax(1)
        return x + sum(out * weight[:, i, None, None] for i, out in enumerate(outs))

    def forward(self, past: Tensor) -> Tensor:
        mean, std = past.mean(1, keepdim=True), past.std(1, keepdim=True) + 1e-5
        x = self.embed(((past - mean) / std).transpose(1, 2))
        x = self.norm(self.block(self.extend(x).transpose(1, 2)))
        return self.head(x)[:, -8:] * std + mean


class Tide(nn.Module):
    """TiDE: dense residual blocks encode and decode a channel's past, a linear skip beside them."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.encode = nn.ModuleList([self.block(32, width), self.block(width, width)])
        self.decode = nn.ModuleList([self.block(width, 8 * 4)])
        self.last, self.skip = self.block(4, 1), nn.Linear(32, 8)

    @staticmethod
    def block(inputs: int, outputs: int) -> nn.ModuleList:
        """A branch, a linear skip and a norm."""
        branch = nn.Sequential(nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, outputs), nn.Dropout(0.1))
        return nn.ModuleList(
            [branch, nn.Linear(inputs, outputs), nn.LayerNorm(outputs) if outputs > 1 else nn.Identity()]
        )

    @staticmethod
    def apply_block(block: nn.Module, x: Tensor) -> Tensor:
        """The branch and the skip, normalised."""
        branch, skip, norm = block.children()
        return norm(branch(x) + skip(x))

    def forward(self, past: Tensor) -> Tensor:
        x = past.transpose(1, 2)
        code = x
        for block in (*self.encode, *self.decode):
            code = self.apply_block(block, code)
        out = self.apply_block(self.last, code.unflatten(2, (8, 4)))[..., 0]  # type: ignore[no-untyped-call]
        return (out + self.skip(x)).transpose(1, 2)


class SegRNN(nn.Module):
    """SegRNN: segments of a channel go through a GRU, whose state answers all future segments at once."""

    def __init__(self, width: int = 32, segment: int = 4) -> None:
        super().__init__()
        self.segment, self.embed = segment, nn.Sequential(nn.Linear(segment, width), nn.ReLU())
        self.rnn = nn.GRU(width, width, batch_first=True)
        self.places, self.channels = nn.Parameter(torch.randn(2, width // 2)), nn.Parameter(torch.randn(3, width // 2))
        self.head = nn.Sequential(nn.Dropout(0.1), nn.Linear(width, segment))

    def forward(self, past: Tensor) -> Tensor:
        size, last = len(past), past[:, -1:]
        x = (past - last).transpose(1, 2).flatten(0, 1).unflatten(1, (-1, self.segment))  # type: ignore[no-untyped-call]
        state = self.rnn(self.embed(x))[1]
        asked = torch.cat([self.places.repeat(3, 1), self.channels.repeat_interleave(2, 0)], 1).repeat(size, 1)[:, None]
        out = self.head(self.rnn(asked, state.repeat_interleave(2, 1))[0])
        return out.reshape(size, 3, -1).transpose(1, 2) + last


class Scinet(nn.Module):
    """SCINet: even and odd steps teach each other, recursively; tanh and exp couple them."""

    def __init__(self, width: int = 3, levels: int = 2) -> None:
        super().__init__()
        self.phi, self.psi, self.rho, self.eta = (self.teacher(width) for _ in range(4))
        self.halves = nn.ModuleList(Scinet(width, levels - 1) for _ in range(2)) if levels > 1 else None

    @staticmethod
    def teacher(width: int) -> nn.Module:
        """Two convolutions, tanh at the end."""
        first = [nn.ReplicationPad1d((2, 2)), nn.Conv1d(width, 4 * width, 3), nn.LeakyReLU(0.01), nn.Dropout(0.1)]
        return nn.Sequential(*first, nn.Conv1d(4 * width, width, 3), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        even, odd = x[..., ::2], x[..., 1::2]
        scaled_even, scaled_odd = even * self.phi(odd).exp(), odd * self.psi(even).exp()
        even, odd = scaled_even + self.eta(scaled_odd), scaled_odd - self.rho(scaled_even)
        if self.halves is not None:
            even, odd = self.halves[0](even), self.halves[1](odd)
        return torch.stack([even, odd], -1).flatten(-2)


class ScinetForecast(nn.Module):
    """The tree of SCINet with a residual, and a linear map to the future."""

    def __init__(self) -> None:
        super().__init__()
        self.tree, self.head = Scinet(), nn.Linear(32, 8, bias=False)

    def forward(self, past: Tensor) -> Tensor:
        x = past.transpose(1, 2)
        return self.head(x + self.tree(x)).transpose(1, 2)


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


class DeepSvdd(nn.Module):
    """Deep SVDD: no biases anywhere, and a fixed centre that the features shall come close to."""

    centre: Tensor

    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Conv1d(4, 16, 5, padding=2, bias=False), nn.BatchNorm1d(16, affine=False), nn.LeakyReLU()]
        deep = [nn.MaxPool1d(2), nn.Conv1d(16, 16, 5, padding=2, bias=False), nn.BatchNorm1d(16, affine=False)]
        self.net = nn.Sequential(*layers, *deep, nn.LeakyReLU(), nn.Flatten(), nn.Linear(256, 8, bias=False))
        with torch.no_grad():
            centre = self.net(waves(channels=4)(99, 32)[0]).mean(0)
        self.register_buffer("centre", torch.where(centre.abs() < 0.1, 0.1 * centre.sign(), centre))

    def forward(self, x: Tensor, _: Tensor) -> Tensor:
        return (self.net(x) - self.centre).square().sum(1).mean()


class SoundTagger(nn.Module):
    """Weakly labelled sound events: a log spectrogram, convolutions, a GRU and attention over frames."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(17)
        conv = [nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.AvgPool2d((4, 1))]
        self.conv, self.rnn = nn.Sequential(*conv), nn.GRU(4 * width, width, bidirectional=True, batch_first=True)
        self.attend, self.tell = nn.Conv1d(2 * width, 4, 1), nn.Conv1d(2 * width, 4, 1)
        for layer in (self.conv[0], self.attend, self.tell):
            nn.init.xavier_uniform_(layer.weight)  # type: ignore[arg-type]

    def forward(self, sound: Tensor) -> Tensor:
        window = torch.hann_window(32)
        power = torch.stft(sound[:, 0], 32, 16, window=window, return_complex=True).abs().square()
        x = self.conv(self.norm((power + 1e-5).log())[:, None])
        x = self.rnn(x.flatten(1, 2).transpose(1, 2))[0].transpose(1, 2)
        weight = self.attend(x).tanh().softmax(2)
        return (weight * self.tell(x).sigmoid()).sum(2).clamp(1e-6, 1 - 1e-6)


def events(seed: int, size: int) -> Batch:
    """Noise in which some of four tones sound for a while."""
    g = generator(seed)
    present, time = (torch.rand(size, 4, generator=g) < 0.4).float(), torch.arange(160.0)
    start = 80 * torch.rand(size, 4, 1, generator=g)
    heard = (torch.tensor([0.3, 0.8, 1.4, 2.2])[:, None] * time).sin() * ((time > start) & (time < start + 80))
    return (present[:, :, None] * heard).sum(1, keepdim=True) + 0.2 * torch.randn(size, 1, 160, generator=g), present


def tagged(model: nn.Module, batch: Batch) -> Tensor:
    """Binary cross entropy of every event."""
    x, y = batch
    return F.binary_cross_entropy(model(x), y)


def cases() -> list[Case]:
    """All cases of this module."""
    short, raw = waves(channels=4), waves(200)
    models: dict[str, tuple[Build, Maker, Step]] = {
        "deepspeech": (DeepSpeech, utterances, own_loss),
        "listen_attend_spell": (ListenAttendSpell, utterances, own_loss),
        "x_vector": (x_vector, short, classify),
        "ecapa_tdnn": (Ecapa, short, own_loss),
        "sincnet": (sincnet, raw, classify),
        "hifigan_generator": (HifiGenerator, tones, own_loss),
        "wave_u_net": (WaveUNet, noisy_tones, fit),
        "dual_path_rnn": (DualPathRNN, noisy_tones, signal_to_noise),
        "inception_time": (InceptionTime, short, classify),
        "lstm_fcn": (LstmFcn, short, classify),
        "eegnet": (eegnet, waves(64, 4), classify),
        "rocket": (Rocket, short, classify),
        "legendre_memory": (lambda: nn.Sequential(Legendre(4, 24), nn.Linear(24, 4)), sequences_first(short), classify),
        "timesnet": (Times, series, fit),
        "tide": (Tide, series, fit),
        "segrnn": (SegRNN, series, fit),
        "scinet": (ScinetForecast, series, fit),
        "kalmannet": (KalmanNet, tracked, fit),
        "deep_svdd": (DeepSvdd, short, own_loss),
        "sound_tagger": (SoundTagger, events, tagged),
    }
    return later_cases(3, "signal", models)
