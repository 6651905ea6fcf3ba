"""Samples of a batch that a model mixes by their place in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytest_gradhealth import GradHealth, GradientHealthError, Settings
from pytest_gradhealth.record import GradientRecord

Measured = Callable[..., GradientRecord]
FEATURES, LENGTH, CLASSES = 6, 7, 5


class Averaging(nn.Module):
    """Averages the positions of a sequence after it has brought them to the front, in one way or another."""

    def __init__(self, to_front: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.inner, self.head, self.to_front = nn.Linear(FEATURES, 16), nn.Linear(16, CLASSES), to_front

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.head(self.to_front(self.inner(x)).tanh().mean(0))
        return made


class Recurrent(nn.Module):
    def __init__(self, batch_first: bool, last: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.cell, self.head, self.last = nn.GRU(FEATURES, 16, batch_first=batch_first), nn.Linear(16, CLASSES), last

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.head(self.last(self.cell(x)[0]))
        return made


class TwoWays(nn.Module):
    """Joins the last states of both directions, which stand first."""

    def __init__(self, permutes: bool) -> None:
        super().__init__()
        self.cell = nn.GRU(FEATURES, 8, batch_first=True, bidirectional=True)
        self.head, self.permutes = nn.Linear(16, CLASSES), permutes

    def forward(self, x: Tensor) -> Tensor:
        states = self.cell(x)[1]
        made: Tensor = self.head((states.transpose(0, 1) if self.permutes else states).reshape(len(x), -1))
        return made


class Positions(nn.Module):
    """Adds positions that stand first, as ``(positions, 1, features)``, to sequences that stand second."""

    def __init__(self, along: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.register_buffer("positions", torch.randn(50, 1, FEATURES))
        self.head, self.along = nn.Linear(FEATURES, CLASSES), along

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.head((x + self.along(self.positions, x)).tanh().mean(1))
        return made


class OverTheBatch(nn.Module):
    """Attention between the samples, on purpose, in a module that counts the first dimension as positions."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.head = nn.MultiheadAttention(FEATURES, 2), nn.Linear(FEATURES, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.head(x + self.attention(x, x, x)[0])
        return made


class Attended(nn.Module):
    """Attention over a sequence of which the last position is read."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(FEATURES, 2, batch_first=batch_first)
        self.head = nn.Linear(FEATURES, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.head((x + self.attention(x, x, x)[0])[:, -1])
        return made


class Weighed(nn.Module):
    """Additive attention over a sequence, whose weights are to sum to one along ``dim``."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.score, self.head, self.dim = nn.Linear(FEATURES, 1), nn.Linear(FEATURES, CLASSES), dim

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.head((self.score(x).softmax(self.dim) * x).sum(1))
        return made


class Pooled(nn.Module):
    """Weighs the samples of a batch, which are the instances of one bag."""

    def __init__(self) -> None:
        super().__init__()
        self.score, self.head = nn.Linear(FEATURES, 1), nn.Linear(FEATURES, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.head((self.score(x).softmax(0) * x).sum(0, keepdim=True))
        return made


class Noisy(Recurrent):
    """Draws noise in evaluation mode too."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + torch.randn_like(x))


class Rolled(nn.Module):
    """Rolls its input before anything has a graph."""

    def __init__(self, *dims: int) -> None:
        super().__init__()
        self.head, self.dims = nn.Linear(FEATURES * LENGTH, CLASSES), dims

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.head(torch.roll(x.flatten(1), 9, self.dims or None))
        return made


class Shuffled(nn.Module):
    """Draws an order for its layers, and puts the samples back into theirs, or does not."""

    def __init__(self, back: bool) -> None:
        super().__init__()
        self.inner, self.head, self.back = nn.Linear(FEATURES, 16), nn.Linear(16, CLASSES), back

    def forward(self, x: Tensor) -> Tensor:
        order = torch.randperm(len(x))
        made: Tensor = self.head(self.inner(x[order]).tanh())
        return made[order.argsort()] if self.back else made


class Averaged(nn.Module):
    """A module for samples, given the mean of sequences."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.inner(x.mean(1))
        return made


class EndToEnd(nn.Module):
    """Picks the next element of each sequence from sequences laid end to end, which begin every ``stride``."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.inner, self.head, self.stride = nn.Linear(FEATURES, 16), nn.Linear(16, CLASSES), stride

    def forward(self, x: Tensor) -> Tensor:
        flat = self.inner(x).flatten(0, 1)
        following = flat[torch.arange(len(x))[:, None] * self.stride + torch.arange(1, 3)]
        made: Tensor = self.head(following.tanh().mean(1))
        return made


class AgainstNegatives(nn.Module):
    """Scores each sample beside its class, and beside the next sample's: a negative."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.score = nn.Linear(FEATURES, 16), nn.Linear(32, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.inner(x).tanh()
        pairs = (torch.cat([h, other], 1) for other in (h, h.roll(1, 0)))
        return torch.cat([self.score(pair) for pair in pairs], 1)


class Paired(nn.Module):
    """A table of likenesses between samples and samples in a drawn order."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(FEATURES, 16)

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.inner(x)
        return h @ h[torch.randperm(len(h))].T


def sequences(*shape: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    return torch.randn(*shape, FEATURES, generator=draw), torch.randint(CLASSES, (8,), generator=draw)


def last_second(x: Tensor) -> Tensor:
    return x[:, -1]


def last_first(x: Tensor) -> Tensor:
    return x[-1]


MIXED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "view for transpose": (lambda: Averaging(lambda x: x.view(x.shape[1], x.shape[0], -1)), "head"),
    "batch_first forgotten": (lambda: Recurrent(False, last_second), "cell"),
    "attention over samples for time": (lambda: Attended(False), "attention"),
    "both directions joined by a view": (lambda: TwoWays(False), "head"),
    "softmax over the samples": (lambda: Weighed(0), "head"),
    "positions along the batch": (lambda: Positions(lambda p, x: p[: x.shape[0]]), "head"),
    "roll without dims": (Rolled, "head"),
    "a drawn order that is not undone": (lambda: Averaged(Shuffled(back=False)), "inner.inner"),
    "indices that count another dimension": (lambda: EndToEnd(3), "head"),
}


@pytest.mark.parametrize("name", MIXED)
def test_samples_that_are_mixed_by_their_place(measured: Measured, name: str) -> None:
    build, module = MIXED[name]
    record = measured(build, sequences(8, LENGTH), loss=F.cross_entropy)
    assert record.sample_mixing is not None
    assert record.sample_mixing > 0.1
    assert record.mixed_at == module


@pytest.mark.parametrize(
    ("name", "cause"),
    [("batch_first forgotten", "its batch_first is False"), ("softmax over the samples", "or a softmax over it")],
)
def test_the_cause_names_what_was_forgotten(name: str, cause: str) -> None:
    with pytest.raises(GradientHealthError) as caught:
        GradHealth(Settings(device="cpu")).check(MIXED[name][0], sequences(8, LENGTH), loss=F.cross_entropy)
    assert caught.value.check is not None
    (finding,) = (finding for finding in caught.value.check.findings if finding.code == "GH406")
    assert cause in finding.cause


KEPT: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "transpose": (lambda: Averaging(lambda x: x.transpose(0, 1)), sequences(8, LENGTH)),
    "batch_first": (lambda: Recurrent(True, last_second), sequences(8, LENGTH)),
    "sequences first": (lambda: Recurrent(False, last_first), sequences(LENGTH, 8)),
    "positions along the sequence": (lambda: Positions(lambda p, x: p[: x.shape[1], 0]), sequences(8, LENGTH)),
    "attention over time": (lambda: Attended(True), sequences(8, LENGTH)),
    "both directions joined": (lambda: TwoWays(True), sequences(8, LENGTH)),
    "attention over the batch": (OverTheBatch, sequences(8)),
    "softmax over the sequence": (lambda: Weighed(1), sequences(8, LENGTH)),
    "softmax over the instances of one bag": (Pooled, (sequences(8)[0], torch.tensor([2]))),
    "softmax over samples that each have many targets": (
        lambda: Weighed(0),
        (sequences(8, LENGTH)[0], torch.randn(8, CLASSES)),
    ),
    "roll along the sequence": (lambda: Rolled(-1), sequences(8, LENGTH)),
    "a drawn order that is undone": (lambda: Averaged(Shuffled(back=True)), sequences(8, LENGTH)),
    "indices into sequences laid end to end": (lambda: EndToEnd(LENGTH), sequences(8, LENGTH)),
    "negatives": (AgainstNegatives, (sequences(8)[0], torch.zeros(8, dtype=torch.long))),
    "a table of pairs": (Paired, (sequences(8)[0], torch.arange(8))),
    "noise": (lambda: Noisy(False, last_second), sequences(8, LENGTH)),
}


@pytest.mark.parametrize("name", KEPT)
def test_samples_that_are_kept_apart_or_mixed_on_purpose(measured: Measured, name: str) -> None:
    build, batch = KEPT[name]
    record = measured(build, batch, loss=F.cross_entropy)
    assert record.sample_mixing is None


def test_a_state_that_a_model_carries_along_is_no_difference(measured: Measured) -> None:
    class Stateful(Recurrent):
        state: Tensor | None = None

        def forward(self, x: Tensor) -> Tensor:
            made, self.state = self.cell(x, None if self.state is None else self.state[:, : x.shape[0]].detach())
            return self.head(self.last(made))  # type: ignore[no-any-return]

    assert (
        measured(lambda: Stateful(True, last_second), sequences(8, LENGTH), loss=F.cross_entropy).sample_mixing is None
    )
