"""The recurrent layers of torch.nn at their default initialisation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.detection.cases import Case, Maker
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import COUNTING, SEQUENCES, SPECIAL, generator, sequences_first, waves
from benchmarks.detection.vocabulary.losses import next_token

Kwargs = Mapping[str, Any]
SHORT = sequences_first(waves(10))


class Recurrent(nn.Module):
    """A recurrent layer of torch.nn and a linear head on its last output, or on the mean where it reads both ways."""

    def __init__(self, layer: nn.RNNBase, classes: int = 4) -> None:
        super().__init__()
        self.layer = layer
        self.head = nn.Linear(layer.hidden_size * (2 if layer.bidirectional else 1), classes)

    def forward(self, x: Tensor) -> Tensor:
        states = self.layer(x)[0]
        out: Tensor = self.head(states.mean(dim=1) if self.layer.bidirectional else states[:, -1])
        return out


class CellLoop(nn.Module):
    """A recurrent cell applied step by step."""

    def __init__(self, cell: nn.LSTMCell | nn.GRUCell) -> None:
        super().__init__()
        self.cell = cell
        self.head = nn.Linear(cell.hidden_size, 4)

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for moment in x.unbind(1):
            state = self.cell(moment, state)
        out: Tensor = self.head(state[0] if isinstance(state, tuple) else state)
        return out


class LanguageModel(nn.Module):
    """Embedding, recurrent layer and a decoder over the vocabulary."""

    def __init__(self, layer: nn.RNNBase, vocab: int = 64) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocab, layer.input_size)
        self.layer = layer
        self.decode = nn.Linear(layer.hidden_size, vocab)

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.decode(self.layer(self.embed(tokens))[0])
        return out


def deep_lstm() -> nn.Module:
    """Four stacked LSTM layers with dropout between them."""
    return Recurrent(nn.LSTM(1, 32, num_layers=4, dropout=0.2, batch_first=True))


class Tagger(nn.Module):
    """A label for every token, from a projected LSTM."""

    def __init__(self, layer: nn.LSTM) -> None:
        super().__init__()
        self.embed = nn.Embedding(64, layer.input_size)
        self.layer = layer
        self.head = nn.Linear(layer.proj_size, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.head(self.layer(self.embed(tokens))[0]).flatten(0, 1)
        return out


def tagging() -> Maker:
    """Tokens and whether each is larger than the one before."""

    def make(seed: int, size: int) -> tuple[Tensor, Tensor]:
        tokens = torch.randint(SPECIAL, 64, (size, 12), generator=generator(seed))
        return tokens, (tokens.diff(dim=1, prepend=tokens[:, :1]) > 0).long().flatten()

    return make


def recurrent() -> list[Case]:
    """RNN, GRU and LSTM: one and several layers, both directions, as classifiers and language models."""
    kinds: dict[str, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
    cases = []
    for name, kind in kinds.items():
        forms: dict[str, Kwargs] = {"": {}, "_2_layers": {"num_layers": 2}, "_bidirectional": {"bidirectional": True}}
        for suffix, options in forms.items():
            layer = partial(kind, 1, 32, batch_first=True, **options)
            build = partial(lambda made: Recurrent(made()), layer)
            cases.append(case(f"nn_{name}{suffix}", f"nn/{name}", build, SHORT if name == "rnn" else SEQUENCES))
        words = partial(lambda made: LanguageModel(made(32, 32, batch_first=True)), kind)
        cases.append(case(f"nn_{name}_language_model", f"nn/{name}", words, COUNTING, next_token))
    return [
        *cases,
        case("nn_rnn_relu", "nn/rnn", lambda: Recurrent(nn.RNN(1, 32, nonlinearity="relu", batch_first=True)), SHORT),
        case("nn_lstm_cell", "nn/lstm_cell", lambda: CellLoop(nn.LSTMCell(1, 32)), SHORT),
        case("nn_gru_cell", "nn/gru_cell", lambda: CellLoop(nn.GRUCell(1, 32)), SHORT),
        case("nn_lstm_4_layers_dropout", "nn/lstm", deep_lstm, SEQUENCES),
        case("nn_lstm_projected", "nn/lstm", lambda: Tagger(nn.LSTM(8, 32, proj_size=8, batch_first=True)), tagging()),
    ]


def cases() -> list[Case]:
    """The cases of this file."""
    return recurrent()
