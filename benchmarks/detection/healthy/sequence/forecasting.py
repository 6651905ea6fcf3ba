"""Forecasts of time series."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import generator, only, prototypes, series, waves
from benchmarks.detection.vocabulary.blocks import mlp
from benchmarks.detection.vocabulary.losses import fit, own_loss


class NBeats(nn.Module):
    """Doubly residual blocks of backcasts and forecasts; as published, the last backcast goes nowhere."""

    def __init__(self, past: int = 24, ahead: int = 8, blocks: int = 3) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Sequential(mlp([past, 32, 32]), nn.ReLU()) for _ in range(blocks)])
        self.back = nn.ModuleList([nn.Linear(32, past) for _ in range(blocks)])
        self.ahead = nn.ModuleList([nn.Linear(32, ahead) for _ in range(blocks)])

    def forward(self, x: Tensor) -> Tensor:
        total = torch.zeros(())
        for block, back, ahead in zip(self.blocks, self.back, self.ahead, strict=True):
            h = block(x)
            x, total = x - back(h), total + ahead(h)
        return total


def ahead(model: nn.Module, batch: Batch) -> Tensor:
    """Squared error of the last eight values of a series."""
    x = batch[0][:, 0]
    return F.mse_loss(model(x[:, :24]), x[:, 24:])


def dlinear() -> nn.Module:
    """DLinear's seasonal part: one linear layer from past to future, starting at the mean."""
    layer = nn.Linear(24, 8)
    nn.init.constant_(layer.weight, 1 / 24)
    return layer


class DeepAR(nn.Module):
    """An LSTM with a Gaussian output for every step."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.LSTM(1, 32, 2, batch_first=True), nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.layer(x)[0])
        return out


def likelihood(model: nn.Module, batch: Batch) -> Tensor:
    """Gaussian negative log likelihood of every next value."""
    x = batch[0].transpose(1, 2)
    mean, scale = model(x[:, :-1]).chunk(2, dim=-1)
    out: Tensor = -torch.distributions.Normal(mean, F.softplus(scale) + 1e-3).log_prob(x[:, 1:]).mean()  # type: ignore[no-untyped-call]
    return out


class GatedResidual(nn.Module):
    """The gated residual network of the Temporal Fusion Transformer."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.skip = nn.Linear(inputs, width) if inputs != width else nn.Identity()
        self.first, self.second, self.gate = (
            nn.Linear(inputs, width),
            nn.Linear(width, width),
            nn.Linear(width, 2 * width),
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.skip(x) + F.glu(self.gate(self.second(F.elu(self.first(x)))), -1))


class Fusion(nn.Module):
    """A small Temporal Fusion Transformer: chosen variables, an LSTM, gated attention, quantiles."""

    def __init__(self, channels: int = 3, width: int = 16, ahead: int = 8) -> None:
        super().__init__()
        self.lift = nn.ModuleList(nn.Linear(1, width) for _ in range(channels))
        self.each = nn.ModuleList(GatedResidual(width, width) for _ in range(channels))
        self.choose, self.rnn = GatedResidual(channels * width, channels), nn.LSTM(width, width, batch_first=True)
        self.attention, self.gate = nn.MultiheadAttention(width, 2, batch_first=True), nn.Linear(width, 2 * width)
        self.norm, self.last, self.head = (
            nn.LayerNorm(width),
            GatedResidual(width, width),
            nn.Linear(width, 3 * channels * ahead),
        )

    def forward(self, x: Tensor) -> Tensor:
        lifted = [lift(x[..., i : i + 1]) for i, lift in enumerate(self.lift)]
        weight = self.choose(torch.cat(lifted, -1)).softmax(-1)
        chosen = torch.stack([each(v) for each, v in zip(self.each, lifted, strict=True)], -1) @ weight[..., None]
        hidden = self.rnn(chosen[..., 0])[0]
        hidden = self.norm(hidden + F.glu(self.gate(self.attention(hidden, hidden, hidden)[0]), -1))
        return self.head(self.last(hidden)[:, -1]).view(len(x), 3, -1, x.shape[2])


def pinball(model: nn.Module, batch: Batch) -> Tensor:
    """Three quantiles."""
    x, y = batch
    level = torch.tensor([0.1, 0.5, 0.9])[:, None, None]
    error = y[:, None] - model(x)
    return torch.maximum(level * error, (level - 1) * error).mean()


class Inverted(nn.Module):
    """iTransformer: every channel is a token, normalised over time."""

    def __init__(self, past: int = 24, ahead: int = 8, width: int = 32) -> None:
        super().__init__()
        self.embed, self.head = nn.Linear(past, width), nn.Linear(width, ahead)
        layer = nn.TransformerEncoderLayer(width, 2, 64, 0.1, "gelu", batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        mean, spread = x.mean(1, keepdim=True), (x.var(1, keepdim=True, unbiased=False) + 1e-5).sqrt()
        out = self.head(self.body(self.embed(((x - mean) / spread).transpose(1, 2))))
        return out.transpose(1, 2) * spread + mean


class TsMixer(nn.Module):
    """TSMixer: perceptrons over time and over channels in turn, with batch normalisation."""

    def __init__(self, past: int = 24, ahead: int = 8, channels: int = 3) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm1d(past) for _ in range(4))
        self.time = nn.ModuleList(nn.Linear(past, past) for _ in range(2))
        self.wide = nn.ModuleList(mlp([channels, 16, channels]) for _ in range(2))
        self.head = nn.Linear(past, ahead)

    def forward(self, x: Tensor) -> Tensor:
        for i in range(2):
            x = x + F.relu(self.time[i](self.norms[2 * i](x).transpose(1, 2))).transpose(1, 2)
            x = x + self.wide[i](self.norms[2 * i + 1](x))
        return self.head(x.transpose(1, 2)).transpose(1, 2)


class LstNet(nn.Module):
    """LSTNet: convolution, a GRU, a GRU that skips, and an autoregression beside them."""

    def __init__(self, channels: int = 3, width: int = 16, skip: int = 4) -> None:
        super().__init__()
        self.conv, self.skip = nn.Conv1d(channels, width, 5), skip
        self.rnn, self.slow = nn.GRU(width, width, batch_first=True), nn.GRU(width, 8, batch_first=True)
        self.head, self.linear = nn.Linear(width + skip * 8, 8 * channels), nn.Linear(12, 8)

    def forward(self, x: Tensor) -> Tensor:
        seen = F.relu(self.conv(x.transpose(1, 2))).transpose(1, 2)
        fast = self.rnn(seen)[0][:, -1]
        lanes = seen.unflatten(1, (-1, self.skip)).transpose(1, 2).flatten(0, 1)  # type: ignore[no-untyped-call]
        slow = self.slow(lanes)[0][:, -1].unflatten(0, (len(x), self.skip)).flatten(1)
        straight = self.linear(x[:, -12:].transpose(1, 2)).transpose(1, 2)
        return self.head(torch.cat([fast, slow], 1)).view(len(x), 8, -1) + straight


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


def trends(seed: int, size: int, length: int = 32, horizon: int = 8) -> Batch:
    """Two seasons, a trend and noise: the past and the future of three channels."""
    g = generator(seed)
    time, draw = torch.arange(float(length + horizon))[:, None], torch.rand(size, 4, 1, 3, generator=g)
    fast = (6.283 * time / 8 + 6.283 * draw[:, 0]).sin() * (0.5 + draw[:, 1])
    slow = (6.283 * time / 24 + 6.283 * draw[:, 2]).sin() + (draw[:, 3] - 0.5) * time / 20
    whole = fast + slow + 0.1 * torch.randn(size, length + horizon, 3, generator=g)
    return whole[:, :length], whole[:, length:]


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


def sales(seed: int, size: int) -> tuple[Tensor, Tensor]:
    """Four weeks of daily sales in pieces, with a weekly rhythm and a level of each shop's own, and the next week."""
    g = generator(seed)
    level = 20 + 200 * torch.rand(size, 1, generator=g)
    week = 1 + 0.4 * prototypes(1, 7)[0].tanh()[torch.arange(35) % 7]
    trend = 1 + 0.01 * torch.randn(size, 1, generator=g) * torch.arange(35)
    series = torch.poisson((level * week * trend).clamp(min=1), generator=g)
    return series[:, :28], series[:, 28:]


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


def cases() -> list[Case]:
    """The cases of this file."""
    return [
        case("tab_nbeats", "tab/nbeats", NBeats, waves(32), ahead),
        case("tab_dlinear", "tab/dlinear", dlinear, waves(32), ahead),
        case("tab_deepar", "tab/deepar", DeepAR, waves(32), likelihood),
        case("second_tabular_temporal_fusion", "second/temporal_fusion", Fusion, series(), pinball, size=16, round=2),
        case("second_tabular_itransformer", "second/itransformer", Inverted, series(), fit, size=16, round=2),
        case("second_tabular_tsmixer", "second/tsmixer", TsMixer, series(), fit, size=16, round=2),
        case("second_tabular_lstnet", "second/lstnet", LstNet, series(), fit, size=16, round=2),
        case("third_signal_timesnet", "third/timesnet", Times, trends, fit, round=3),
        case("third_signal_tide", "third/tide", Tide, trends, fit, round=3),
        case("third_signal_segrnn", "third/segrnn", SegRNN, trends, fit, round=3),
        case("third_signal_scinet", "third/scinet", ScinetForecast, trends, fit, round=3),
        case("fourth_series_n_hits", "fourth/n_hits", HierarchicalInterpolation, sales, smape, round=4),
        case("fourth_series_es_rnn", "fourth/es_rnn", SmoothedRnn, only(sales), own_loss, round=4),
        case("fourth_series_mq_rnn", "fourth/mq_rnn", ManyQuantiles, sales, own_loss, round=4),
        case("fourth_series_graph_wavenet", "fourth/graph_wavenet", GraphWaveNet, traffic, fit, round=4),
    ]
