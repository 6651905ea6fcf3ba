"""Forecasts, irregular series, events, sound and speech."""

from __future__ import annotations

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
    only,
    own_loss,
    prototypes,
    sequences_first,
    waves,
)


def sales(seed: int, size: int) -> tuple[Tensor, Tensor]:
    """Four weeks of daily sales in pieces, with a weekly rhythm and a level of each shop's own, and the next week."""
    g = generator(seed)
    level = 20 + 200 * torch.rand(size, 1, generator=g)
    week = 1 + 0.4 * prototypes(1, 7)[0].tanh()[torch.arange(35) % 7]
    trend = 1 + 0.01 * torch.randn(size, 1, generator=g) * torch.arange(35)
    series = torch.poisson((level * week * trend).clamp(min=1), generator=g)
    return series[:, :28], series[:, 28:]


class HierarchicalInterpolation(nn.Module):
    """N-HiTS: stacks that pool the past at their own rate and interpolate what they forecast; window-normalised."""

    def __init__(self, past: int = 28, ahead: int = 7) -> None:
        super().__init__()
        self.past, self.ahead, self.rates, self.knots = past, ahead, (4, 2, 1), (2, 4, 7)
        self.nets = nn.ModuleList(
            mlp([past // rate, 48, 48, past + knots]) for rate, knots in zip(self.rates, self.knots, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        scale = x.abs().mean(1, keepdim=True)
        rest, out = x / scale, x[:, -1:] / scale
        for net, rate in zip(self.nets, self.rates, strict=True):
            theta = net(F.max_pool1d(rest[:, None], rate)[:, 0])
            rest = rest - theta[:, : self.past]
            out = out + F.interpolate(theta[:, None, self.past :], self.ahead, mode="linear")[:, 0]
        return out * scale


def smape(model: nn.Module, batch: Batch) -> Tensor:
    """The symmetric mean absolute percentage error."""
    x, y = batch
    guess = model(x)
    return 2 * ((guess - y).abs() / (guess.abs() + y.abs()).detach()).mean()


class SmoothedRnn(nn.Module):
    """ES-RNN: every series has levels and seasons of its own by Holt-Winters; a dilated LSTM does the rest."""

    def __init__(self, series: int = 8, width: int = 24) -> None:
        super().__init__()
        self.alpha, self.gamma = nn.Parameter(torch.full((series,), 0.5)), nn.Parameter(torch.full((series,), 0.5))
        self.season = nn.Parameter(torch.full((series, 7), 0.5))
        self.first, self.second = nn.LSTM(7, width, batch_first=True), nn.LSTM(width, width, batch_first=True)
        self.dense, self.head = nn.Linear(width, width), nn.Linear(width, 7)

    def smooth(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Levels and seasons, day by day."""
        alpha, gamma, seasons = self.alpha.sigmoid(), self.gamma.sigmoid(), list(self.season.exp().unbind(1))
        levels = [x[:, 0] / seasons[0]]
        for day in range(x.shape[1]):
            if day:
                levels.append(alpha * x[:, day] / seasons[day] + (1 - alpha) * levels[-1])
            seasons.append(gamma * x[:, day] / levels[-1] + (1 - gamma) * seasons[day])
        return torch.stack(levels, 1), torch.stack(seasons, 1)

    def forward(self, x: Tensor) -> Tensor:
        levels, seasons = self.smooth(x)
        days = torch.arange(7, 22, 7)
        windows = torch.stack([x[:, d - 7 : d] / seasons[:, d - 7 : d] / levels[:, d - 1 : d] for d in days], 1).log()
        out = self.first(windows)[0]
        out = out + self.second(out)[0]
        made = self.head(self.dense(out).tanh())
        truth = torch.stack([x[:, d : d + 7] / seasons[:, d : d + 7] / levels[:, d - 1 : d] for d in days], 1).log()
        gap, wiggle = truth - made, levels.log().diff(dim=1).diff(dim=1)
        return torch.maximum(0.48 * gap, -0.52 * gap).mean() + wiggle.square().mean()


class ManyQuantiles(nn.Module):
    """MQ-RNN: an LSTM, a global and a local decoder, three quantiles of every day ahead."""

    def __init__(self, width: int = 32, ahead: int = 7) -> None:
        super().__init__()
        self.rnn, self.ahead = nn.LSTM(2, width, batch_first=True), ahead
        self.globally, self.locally = nn.Linear(width + ahead, (ahead + 1) * 8), mlp([17, 16, 3])

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        scale = 1 + x.mean(1, keepdim=True)
        day = (torch.arange(28) % 7 / 7 - 0.5).expand_as(x)
        state = self.rnn(torch.stack([x / scale, day], 2))[1][0][0]
        later = (torch.arange(self.ahead) / 7 - 0.5).expand(len(x), -1)
        context = F.relu(self.globally(torch.cat([state, later], 1))).view(len(x), -1, 8)
        each = torch.cat([context[:, 1:], context[:, :1].expand(-1, self.ahead, -1), later[..., None]], 2)
        gap = (y / scale)[..., None] - self.locally(each)
        level = torch.tensor([0.1, 0.5, 0.9])
        return torch.maximum(level * gap, (level - 1) * gap).sum((1, 2)).mean()


class GraphWaveNet(nn.Module):
    """Graph WaveNet: gated dilated convolutions, diffusion over a graph that is learnt from node embeddings."""

    def __init__(self, nodes: int = 6, width: int = 16) -> None:
        super().__init__()
        self.source, self.target = nn.Parameter(torch.randn(nodes, 8)), nn.Parameter(torch.randn(8, nodes))
        self.enter, sizes = nn.Conv2d(1, width, 1), (1, 2, 4, 4)
        self.filters = nn.ModuleList(nn.Conv2d(width, width, (1, 2), dilation=d) for d in sizes)
        self.gates = nn.ModuleList(nn.Conv2d(width, width, (1, 2), dilation=d) for d in sizes)
        self.skips = nn.ModuleList(nn.Conv2d(width, 32, 1) for _ in sizes)
        self.mixes = nn.ModuleList(nn.Conv2d(3 * width, width, 1) for _ in sizes[1:])
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in sizes[1:])
        self.head = nn.Sequential(nn.ReLU(), nn.Conv2d(32, 32, 1), nn.ReLU(), nn.Conv2d(32, 4, 1))

    def forward(self, x: Tensor) -> Tensor:
        graph = F.relu(self.source @ self.target).softmax(1)
        y, skipped = self.enter(x[:, None]), torch.zeros(1)
        for i, (filtered, gate, skip) in enumerate(zip(self.filters, self.gates, self.skips, strict=True)):
            before, y = y, filtered(y).tanh() * gate(y).sigmoid()
            out = skip(y)
            skipped = out if i == 0 else skipped[..., -out.shape[-1] :] + out
            if i < len(self.mixes):
                once = torch.einsum("bcnt,nm->bcmt", y, graph)
                twice = torch.einsum("bcnt,nm->bcmt", once, graph)
                y = F.dropout(self.mixes[i](torch.cat([y, once, twice], 1)), 0.3, self.training)
                y = self.norms[i](y + before[..., -y.shape[-1] :])
        return self.head(skipped)[..., -1].transpose(1, 2)


def traffic(seed: int, size: int) -> tuple[Tensor, Tensor]:
    """Speeds at six sensors (normalised), each behind its neighbour, and the next four readings."""
    g = generator(seed)
    clock = torch.arange(16) / 3 + 6.283 * torch.rand(size, 1, 1, generator=g) - 0.7 * torch.arange(6)[:, None]
    speed = clock.sin() + 0.2 * torch.randn(size, 6, 16, generator=g)
    return speed[..., :12], speed[..., 12:]


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


def outcome(model: nn.Module, batch: Batch) -> Tensor:
    """Cross entropy of what came of it."""
    x, seen, label = batch
    return F.cross_entropy(model(x, seen), label)


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


def spectra(seed: int, size: int) -> tuple[Tensor, Tensor]:
    """Log spectrograms of twenty bands that rise and fall through three letters, and the letters."""
    g = generator(seed)
    letters = torch.randint(1, 6, (size, 3), generator=g)
    frames = letters.repeat_interleave(8, 1)
    x = -6 + 2 * prototypes(6, 20)[frames] + 0.7 * torch.randn(size, 24, 20, generator=g)
    return x.transpose(1, 2), letters


class QuartzNet(nn.Module):
    """QuartzNet: separable time-channel convolutions in residual blocks, normalised features, CTC."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.first = self.unit(20, width, 5)
        self.blocks = nn.ModuleList(
            nn.Sequential(self.unit(width, width, 7), self.unit(width, width, 7, False)) for _ in range(2)
        )
        self.sides = nn.ModuleList(
            nn.Sequential(nn.Conv1d(width, width, 1, bias=False), nn.BatchNorm1d(width)) for _ in range(2)
        )
        self.head = nn.Conv1d(width, 6, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv1d):
                nn.init.xavier_uniform_(module.weight)

    @staticmethod
    def unit(inputs: int, outputs: int, size: int, bent: bool = True) -> nn.Sequential:
        """Over time within channels, then across channels."""
        deep = nn.Conv1d(inputs, inputs, size, padding=size // 2, groups=inputs, bias=False)
        layers = [deep, nn.Conv1d(inputs, outputs, 1, bias=False), nn.BatchNorm1d(outputs, eps=1e-3)]
        return nn.Sequential(*layers, *([nn.ReLU()] if bent else []))

    def forward(self, x: Tensor, letters: Tensor) -> Tensor:
        y = self.first((x - x.mean(2, keepdim=True)) / (x.std(2, keepdim=True) + 1e-5))
        for block, side in zip(self.blocks, self.sides, strict=True):
            y = F.relu(block(y) + side(y))
        chances = self.head(y).log_softmax(1).permute(2, 0, 1)
        lengths = torch.full((len(x),), 24), torch.full((len(x),), 3)
        return F.ctc_loss(chances, letters, *lengths)


class FastSpeech(nn.Module):
    """FastSpeech 2: phonemes' durations and pitch are predicted, true ones used; transformers write the spectrum."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.embed, self.pitch = nn.Embedding(12, width, padding_idx=0), nn.Embedding(16, width)
        layer = nn.TransformerEncoderLayer(width, 2, 64, 0.1, batch_first=True)
        self.encode = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.decode = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.convs = nn.ModuleList(nn.Conv1d(width, width, 3, padding=1) for _ in range(4))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))
        self.heads, self.mel = nn.ModuleList(nn.Linear(width, 1) for _ in range(2)), nn.Linear(width, 20)

    def predict(self, x: Tensor, which: int) -> Tensor:
        """Two convolutions, norms, dropped channels and one number for every phoneme."""
        for i in (2 * which, 2 * which + 1):
            x = self.norms[i](F.relu(self.convs[i](x.transpose(1, 2))).transpose(1, 2))
            x = F.dropout(x, 0.5, self.training)
        return self.heads[which](x)[..., 0]

    @staticmethod
    def places(x: Tensor) -> Tensor:
        """The input plus sinusoids."""
        angle = torch.arange(x.shape[1])[:, None] * (-math.log(10000) * torch.arange(16) / 16).exp()
        return x + torch.cat([angle.sin(), angle.cos()], 1)

    def forward(self, phonemes: Tensor, durations: Tensor, pitch: Tensor, mel: Tensor) -> Tensor:
        x = self.encode(self.places(self.embed(phonemes)))
        lengths, heights = self.predict(x, 0), self.predict(x, 1)
        x = x + self.pitch(torch.bucketize(pitch, torch.linspace(-2, 2, 15)))
        owner = (durations.cumsum(1)[:, None] <= torch.arange(mel.shape[1])[:, None]).sum(2).clamp(max=x.shape[1] - 1)
        long = x.gather(1, owner[..., None].expand(-1, -1, x.shape[2]))
        spoken = self.mel(self.decode(self.places(long)))
        inside = (torch.arange(mel.shape[1]) < durations.sum(1, keepdim=True))[..., None]
        error = ((spoken - mel).abs() * inside).sum() / (20 * inside.sum())
        return error + F.mse_loss(lengths, durations.float().log1p()) + F.mse_loss(heights, pitch)


def spoken(seed: int, size: int) -> Batch:
    """Six phonemes with their durations in frames, their pitch, and the log spectrum they make."""
    g = generator(seed)
    phonemes = torch.randint(1, 12, (size, 6), generator=g)
    durations = 1 + phonemes % 4 + torch.randint(2, (size, 6), generator=g)
    pitch = prototypes(12, 1)[phonemes][..., 0] + 0.3 * torch.randn(size, 6, generator=g)
    owner = (durations.cumsum(1)[:, None] <= torch.arange(30)[:, None]).sum(2).clamp(max=5)
    mel = -5 + 1.5 * prototypes(12, 20)[phonemes.gather(1, owner)] + pitch.gather(1, owner)[..., None]
    return phonemes, durations, pitch, mel + 0.3 * torch.randn(mel.shape, generator=g)


class Unmix(nn.Module):
    """Open-Unmix: a normalised spectrum, a bidirectional LSTM with a skip around it, a mask by ReLU."""

    def __init__(self, bands: int = 24, width: int = 32) -> None:
        super().__init__()
        self.mean, self.scale = nn.Parameter(torch.full((bands,), -1.0)), nn.Parameter(torch.full((bands,), 0.7))
        self.out_mean, self.out_scale = nn.Parameter(torch.ones(bands)), nn.Parameter(torch.ones(bands))
        self.fc1, self.bn1 = nn.Linear(bands, width, bias=False), nn.BatchNorm1d(width)
        self.rnn = nn.LSTM(width, width // 2, 2, batch_first=True, bidirectional=True, dropout=0.4)
        self.fc2, self.bn2 = nn.Linear(2 * width, width, bias=False), nn.BatchNorm1d(width)
        self.fc3, self.bn3 = nn.Linear(width, bands, bias=False), nn.BatchNorm1d(bands)

    @staticmethod
    def flat(norm: nn.Module, x: Tensor) -> Tensor:
        """Batch norm over frames."""
        return norm(x.flatten(0, 1)).view_as(x)

    def forward(self, x: Tensor) -> Tensor:
        y = self.flat(self.bn1, self.fc1((x + self.mean) * self.scale)).tanh()
        y = torch.cat([y, self.rnn(y)[0]], -1)
        y = F.relu(self.flat(self.bn2, self.fc2(y)))
        return F.relu(self.flat(self.bn3, self.fc3(y)) * self.out_scale + self.out_mean) * x


def mixtures(seed: int, size: int) -> tuple[Tensor, Tensor]:
    """Magnitudes of a voice with harmonics over noise, and of the voice alone."""
    g = generator(seed)
    base = torch.randint(3, 7, (size, 1, 1), generator=g) + torch.randint(2, (size, 16, 1), generator=g)
    voice = ((torch.arange(24) + 1) % base == 0).float() * (0.5 + 2 * torch.rand(size, 16, 1, generator=g))
    return voice + torch.randn(size, 16, 24, generator=g).abs() * 0.6, voice


class SpeakerMargin(nn.Module):
    """GE2E: LSTM embeddings of speakers' utterances against centroids that leave out the utterance itself."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.rnn, self.project = nn.LSTM(20, width, 2, batch_first=True), nn.Linear(width, 16)
        self.weight, self.bias = nn.Parameter(torch.tensor(10.0)), nn.Parameter(torch.tensor(-5.0))
        for name, weight in self.rnn.named_parameters():
            nn.init.zeros_(weight) if "bias" in name else nn.init.xavier_normal_(weight)

    def forward(self, x: Tensor) -> Tensor:
        code = F.normalize(F.relu(self.project(self.rnn(x.flatten(0, 1))[0][:, -1])), dim=1, eps=1e-5)
        code = code.view(*x.shape[:2], -1)
        count = x.shape[1]
        mean, rest = code.mean(1), (code.sum(1, keepdim=True) - code) / (count - 1)
        across = F.cosine_similarity(code[:, :, None], mean, dim=-1)
        own = torch.eye(len(x), dtype=torch.bool)[:, None].expand_as(across)
        scores = torch.where(own, F.cosine_similarity(code, rest, dim=-1)[..., None], across)
        truth = torch.arange(len(x)).repeat_interleave(count)
        return F.cross_entropy((self.weight * scores + self.bias).flatten(0, 1), truth)


def speakers(seed: int, size: int) -> Tensor:
    """Four utterances of every speaker, as twelve frames of twenty log bands."""
    g = generator(seed)
    voice = torch.randn(size, 1, 1, 20, generator=g)
    return voice + torch.randn(size, 4, 12, 20, generator=g)


class Harmonics(nn.Module):
    """DDSP: loudness and pitch give amplitudes of harmonics and filtered noise; multi-scale spectral loss."""

    def __init__(self, width: int = 32, harmonics: int = 8) -> None:
        super().__init__()
        ins = (self.mlp(1, width), self.mlp(1, width))
        self.ins, self.rnn = nn.ModuleList(ins), nn.GRU(2 * width, width, batch_first=True)
        self.out, self.amps, self.noise = (
            self.mlp(3 * width, width),
            nn.Linear(width, harmonics + 1),
            nn.Linear(width, 9),
        )

    @staticmethod
    def mlp(inputs: int, width: int) -> nn.Sequential:
        """Two layers with norms and leaky ReLU."""
        layers: list[nn.Module] = []
        for size in (inputs, width):
            layers += [nn.Linear(size, width), nn.LayerNorm(width), nn.LeakyReLU()]
        return nn.Sequential(*layers)

    @staticmethod
    def positive(x: Tensor) -> Tensor:
        """The scaled sigmoid."""
        return 2 * x.sigmoid().pow(math.log(10)) + 1e-7

    def forward(self, pitch: Tensor, loudness: Tensor, sound: Tensor) -> Tensor:
        given = torch.cat([self.ins[0](pitch[..., None] / 1000), self.ins[1](loudness[..., None])], -1)
        x = self.out(torch.cat([self.rnn(given)[0], given], -1))
        total, parts = self.positive(self.amps(x)).split([1, 8], -1)  # type: ignore[no-untyped-call]
        number = torch.arange(1, 9)
        parts = parts * ((pitch[..., None] * number < 4000).float() + 1e-4)
        amps = (total * parts / parts.sum(-1, keepdim=True)).repeat_interleave(64, 1)
        phase = (6.283 * pitch.repeat_interleave(64, 1) / 8000).cumsum(1)
        tone = (amps * (phase[..., None] * number).sin()).sum(-1)
        shape = torch.fft.irfft(self.positive(self.noise(x) - 5).to(torch.cfloat), dim=-1)
        hiss = torch.rand(*x.shape[:2], 64) * 2 - 1
        hiss = torch.fft.irfft(torch.fft.rfft(hiss, 128) * torch.fft.rfft(shape, 128), dim=-1)[..., :64].flatten(1)
        made, loss = tone + hiss, torch.zeros(())
        for size in (256, 128, 64):
            window = torch.hann_window(size)
            a, b = (torch.stft(s, size, size // 4, window=window, return_complex=True).abs() for s in (made, sound))
            loss = loss + (a - b).abs().mean() + ((a + 1e-7).log() - (b + 1e-7).log()).abs().mean()
        return loss


def notes(seed: int, size: int) -> Batch:
    """Pitch in hertz and loudness of eight frames, and the sound of an instrument with falling harmonics."""
    g = generator(seed)
    pitch = (200 + 400 * torch.rand(size, 1, generator=g)).expand(-1, 8)
    loud = torch.rand(size, 8, generator=g)
    phase = (6.283 * pitch.repeat_interleave(64, 1) / 8000).cumsum(1)
    tone = sum((phase * n).sin() / n**1.5 for n in range(1, 7))
    sound = 0.5 * loud.repeat_interleave(64, 1) * tone + 0.01 * torch.randn(size, 512, generator=g)
    return pitch, loud * 2 - 1, sound


def cases() -> list[Case]:
    """All cases of this module."""
    sine = sequences_first(waves(24))
    models: dict[str, tuple[Build, Maker, Step]] = {
        "n_hits": (HierarchicalInterpolation, sales, smape),
        "es_rnn": (SmoothedRnn, only(sales), own_loss),
        "mq_rnn": (ManyQuantiles, sales, own_loss),
        "graph_wavenet": (GraphWaveNet, traffic, fit),
        "gru_d": (Missing, patients, outcome),
        "point_process": (PointProcess, events, own_loss),
        "liquid_time_constant": (LiquidCell, sine, classify),
        "echo_state": (Reservoir, sine, classify),
        "lstm_autoencoder": (SequenceAutoencoder, only(sine), own_loss),
        "quartznet": (QuartzNet, spectra, own_loss),
        "fastspeech2": (FastSpeech, spoken, own_loss),
        "open_unmix": (Unmix, mixtures, fit),
        "ge2e": (SpeakerMargin, speakers, own_loss),
        "ddsp": (Harmonics, notes, own_loss),
    }
    return later_cases(4, "series", models)
