"""Hosts on sequences: recurrent, convolutional and state-space nets, forecasts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from benchmarks.detection.hosts.host import Host
from benchmarks.detection.vocabulary.stacks import Stack
from benchmarks.detection.vocabulary.tasks import Task, TaskBatch, classify, randint, regress


def prepare(rnn: nn.RNNBase) -> None:
    """Orthogonal recurrence, and for an LSTM an open forget gate."""
    for name, parameter in rnn.named_parameters():
        if name.startswith("weight_hh"):
            for chunk in parameter.detach().chunk(len(parameter) // rnn.hidden_size):
                nn.init.orthogonal_(chunk)
        elif name.startswith("bias") and isinstance(rnn, nn.LSTM):
            parameter.detach()[rnn.hidden_size : 2 * rnn.hidden_size].fill_(1.0)


class Recurrent(nn.Module):
    """Embedding, a recurrent layer, a linear read-out of the last state."""

    def __init__(self, cell: type[nn.RNNBase], width: int = 24, vocab: int = 6, classes: int = 3) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocab, width)
        self.rnn = cell(width, width, batch_first=True)  # type: ignore[call-arg, arg-type]
        self.head = nn.Linear(width, classes)
        prepare(self.rnn)

    def forward(self, tokens: Tensor) -> Tensor:
        states, _ = self.rnn(self.embed(tokens))
        return self.head(states[:, -1])


def first_token(length: int = 8, vocab: int = 6, classes: int = 3) -> Task:
    """The first token decides; everything after it is noise to be carried past."""

    def draw(g: Generator, size: int) -> TaskBatch:
        tokens = randint(g, vocab, size, length)
        return (tokens,), tokens[:, 0] % classes

    return classify(draw, classes)


class Unrolled(nn.Module):
    """The recurrence as a Python loop over two linear layers, with the tanh as a function."""

    def __init__(self, width: int = 24, vocab: int = 6, classes: int = 3) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocab, width)
        self.inward, self.recur = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.head, self.function = nn.Linear(width, classes), "tanh"
        nn.init.orthogonal_(self.recur.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        drive = self.inward(self.embed(tokens))
        state = torch.zeros_like(drive[:, 0])
        for t in range(tokens.shape[1]):
            state = getattr(torch, self.function)(drive[:, t] + self.recur(state))
        return self.head(state)


class TemporalBlock(nn.Module):
    """Causal dilated convolution on a residual stream."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(width, width, 2, dilation=dilation)
        self.act, self.conv2 = nn.ReLU(), nn.Conv1d(width, width, 1)
        self.residual = True

    def forward(self, x: Tensor) -> Tensor:
        padded = F.pad(x, (self.conv1.dilation[0], 0))
        out = self.conv2(self.act(self.conv1(padded)))
        return x + out if self.residual else out


class LastStep(nn.Module):
    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x[:, :, -1])


class ChannelsFirst(nn.Embedding):
    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens).transpose(1, 2)


def tcn(width: int = 24) -> nn.Module:
    blocks: list[nn.Module] = [TemporalBlock(width, 2**i) for i in range(4)]
    return Stack(ChannelsFirst(6, width), blocks, LastStep(width, 3))


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


def leaky(length: int = 14, decay: float = 0.8) -> Task:
    """The leaky sum of a random signal, weighed by a second one."""

    def draw(g: Generator, size: int) -> TaskBatch:
        x = torch.randn(size, length, 2, generator=g)
        weight = decay ** torch.arange(length - 1, -1, -1)
        return (x,), (x[..., 0] * weight).sum(1, keepdim=True).tanh() + 0.5 * (x[:, -1:, 1])

    return regress(draw)


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


def seasons(past: int = 24, ahead: int = 8) -> Task:
    """A sine on a slope, to be continued."""

    def draw(g: Generator, size: int) -> TaskBatch:
        phase, period = 6.283 * torch.rand(size, 1, generator=g), 6 + 6 * torch.rand(size, 1, generator=g)
        slope = 0.05 * torch.randn(size, 1, generator=g)
        time = torch.arange(past + ahead)
        line = (6.283 * time / period + phase).sin() + slope * (time - past)
        line = line + 0.05 * torch.randn(line.shape, generator=g)
        return (line[:, :past],), line[:, past:]

    return regress(draw)


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


def added(longest: int = 6) -> Task:
    """Lines of several lengths, filled up with zeros: the sum of what is marked, with noise in between."""

    def draw(g: Generator, size: int) -> TaskBatch:
        lengths = longest // 2 + randint(g, longest // 2 + 1, size)
        inside = (torch.arange(longest) < lengths[:, None]).float()
        value = (2 * torch.rand(size, longest, generator=g) - 1) * inside
        marked = (torch.rand(size, longest, generator=g) < 0.4).float() * inside
        return (torch.stack([value, marked], 2), lengths), (value * marked).sum(1, keepdim=True)

    return regress(draw)


class SelectiveSSM(nn.Module):
    """Mamba's block as a loop: a state whose decay and whose input depend on what is read."""

    def __init__(self, d_model: int, d_state: int = 4, expand: int = 2) -> None:
        super().__init__()
        d_inner = expand * d_model
        self.in_proj, self.out_proj = nn.Linear(d_model, 2 * d_inner, bias=False), nn.Linear(d_inner, d_model, False)
        self.conv1d = nn.Conv1d(d_inner, d_inner, 2, padding=1, groups=d_inner)
        self.x_proj, self.dt_proj = nn.Linear(d_inner, 2 * d_state, bias=False), nn.Linear(d_inner, d_inner)
        self.A_log = nn.Parameter(torch.arange(1, d_state + 1).float().log().repeat(d_inner, 1))
        self.D = nn.Parameter(torch.ones(d_inner))
        nn.init.constant_(self.dt_proj.bias, -1.5)

    def decay(self, dt: Tensor) -> Tensor:
        return torch.exp(-dt[..., None] * self.A_log.exp())

    def scan(self, x: Tensor) -> Tensor:
        dt = F.softplus(self.dt_proj(x))
        b, c = self.x_proj(x).chunk(2, dim=-1)
        kept, given = self.decay(dt), (dt * x)[..., None] * b[:, :, None]
        state, ys = torch.zeros_like(given[:, 0]), []
        for t in range(x.shape[1]):
            state = kept[:, t] * state + given[:, t]
            ys.append((state * c[:, t, None]).sum(-1))
        return torch.stack(ys, dim=1) + self.D * x

    def forward(self, x: Tensor) -> Tensor:
        inner, gate = self.in_proj(x).chunk(2, dim=-1)
        inner = F.silu(self.conv1d(inner.transpose(1, 2))[..., : x.shape[1]].transpose(1, 2))
        return self.out_proj(self.scan(inner) * F.silu(gate))


class MambaLayer(nn.Module):
    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.norm, self.mixer = nn.RMSNorm(d_model), SelectiveSSM(d_model)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mixer(self.norm(x))


class Mamba(nn.Module):
    def __init__(self, inputs: int = 2, d_model: int = 16, n_layer: int = 2) -> None:
        super().__init__()
        self.inlet = nn.Linear(inputs, d_model)
        self.layers = nn.Sequential(*(MambaLayer(d_model) for _ in range(n_layer)))
        self.norm_f, self.readout = nn.RMSNorm(d_model), nn.Linear(d_model, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.norm_f(self.layers(self.inlet(x))[:, -1]))


def last_marked(length: int = 8) -> Task:
    """A line of numbers, some of them marked: the last marked one is to be kept in mind."""

    def draw(g: Generator, size: int) -> TaskBatch:
        value = torch.randn(size, length, generator=g)
        marked = torch.rand(size, length, generator=g) < 0.3
        marked[:, 0] = True
        last = (marked * torch.arange(length)).amax(1, keepdim=True)
        return (torch.stack([value, marked.float()], 2),), value.gather(1, last)

    return regress(draw)


def hosts() -> list[Host]:
    """The hosts of this file."""
    return [
        Host(
            name="lstm",
            build=lambda: Recurrent(nn.LSTM),
            task=first_token(),
            chain="",
            sites=("embed", "rnn"),
            trunk=("embed*", "rnn*"),
        ),
        Host(
            name="gru",
            build=lambda: Recurrent(nn.GRU),
            task=first_token(),
            chain="",
            sites=("embed", "rnn"),
            trunk=("embed*", "rnn*"),
        ),
        Host(
            name="rnn",
            build=lambda: Recurrent(nn.RNN),
            task=first_token(),
            chain="",
            sites=("embed", "rnn"),
            trunk=("embed*", "rnn*"),
        ),
        Host(
            name="rnn-unrolled",
            build=Unrolled,
            task=first_token(),
            chain="",
            sites=("embed", "inward", "recur"),
            trunk=("embed*", "inward*", "recur*"),
        ),
        Host(name="tcn", build=tcn, task=first_token()),
        Host(name="mingru", build=mingru, task=leaky(), train_batch=32, round=2),
        Host(name="nhits", build=Forecast, task=seasons(), trunk=("body*", "back*", "heads*"), round=2),
        Host(
            name="elman",
            build=Elman,
            task=added(),
            chain="",
            sites=("cell",),
            trunk=("cell*",),
            steps=240,
            train_batch=32,
            round=3,
        ),
        Host(
            name="mamba",
            build=Mamba,
            task=last_marked(),
            chain="",
            sites=("inlet", "layers.0", "layers.1"),
            trunk=("inlet*", "layers*"),
            steps=100,
            train_batch=32,
            round=4,
        ),
    ]
