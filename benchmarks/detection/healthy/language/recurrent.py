"""Recurrent cells as language models."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Case
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import VOCAB, WIDTH, generator, progressions
from benchmarks.detection.vocabulary.losses import next_token


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


def cases() -> list[Case]:
    """The cases of this file."""
    return [
        case(
            "third_text_mogrifier_lstm",
            "third/mogrifier_lstm",
            lambda: Language(Mogrifier),
            progressions(VOCAB, 14),
            next_token,
            round=3,
        ),
        case(
            "third_text_recurrent_highway",
            "third/recurrent_highway",
            lambda: Language(RecurrentHighway),
            progressions(VOCAB, 14),
            next_token,
            round=3,
        ),
        case(
            "third_text_simple_recurrent_unit",
            "third/simple_recurrent_unit",
            lambda: Language(SimpleRecurrent),
            progressions(VOCAB, 14),
            next_token,
            round=3,
        ),
        case(
            "third_text_clockwork_rnn",
            "third/clockwork_rnn",
            lambda: Language(Clockwork),
            progressions(VOCAB, 14),
            next_token,
            round=3,
        ),
        case(
            "third_text_fast_weights",
            "third/fast_weights",
            lambda: Language(FastWeights),
            progressions(VOCAB, 14),
            next_token,
            round=3,
        ),
        case(
            "third_text_stack_rnn",
            "third/stack_rnn",
            lambda: Language(StackRnn),
            progressions(VOCAB, 14),
            next_token,
            round=3,
        ),
        case(
            "third_text_unitary_rnn",
            "third/unitary_rnn",
            lambda: Language(UnitaryRnn),
            progressions(VOCAB, 14),
            next_token,
            round=3,
        ),
        case(
            "third_text_orthogonal_rnn",
            "third/orthogonal_rnn",
            lambda: Language(orthogonal_rnn),
            progressions(VOCAB, 14),
            next_token,
            round=3,
        ),
        case("third_text_bengio", "third/bengio", Bengio, progressions(VOCAB, 14), next_token, round=3),
        case("third_text_char_aware", "third/char_aware", CharAware, progressions(VOCAB, 14), next_token, round=3),
    ]
