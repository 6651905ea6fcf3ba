"""Faults of states and neighbours: recurrences, readers of sequences, messages in graphs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.detection.cases import Case
from benchmarks.detection.faults.mutations import Mutation, all_of, attribute, patch, rewritten, scaled, without_edges
from benchmarks.detection.faults.placing import at, make
from benchmarks.detection.hosts.graphs import SAGEConv
from benchmarks.detection.hosts.language import AttentiveGRU, opinions
from benchmarks.detection.hosts.sequence import SelectiveSSM, added, first_token


def read_last_step(self: Any, states: Tensor) -> Tensor:
    """The last place, where the backward direction has only just begun."""
    return states[:, -1]


def plain_recurrence(kind: str) -> Mutation:
    """A vanilla net in one direction takes the place of the GRU, and its last state is read."""

    def apply(model: nn.Module) -> None:
        model.gru = nn.RNN(16, 32, nonlinearity=kind, batch_first=True)
        model.attention = nn.Identity()
        rewritten(AttentiveGRU, pool=read_last_step)(model)

    return apply


def growing(self: Any, dt: Tensor) -> Tensor:
    """The minus is missing: the state grows at every step."""
    return torch.exp(dt[..., None] * self.A_log.exp())


def read_last_example(self: Any, states: Tensor) -> Tensor:
    """``states[-1]`` with the batch first: the last example speaks for all."""
    return states[-1].mean(0).expand(len(states), -1)


def hidden_edges(model: nn.Module) -> None:
    """The complement of the graph, as a mask the wrong way round gives it."""
    patch(model, lambda self, original, nodes, edges: original(nodes, 1 - edges))


def smoothed_over(self: Any, x: Tensor, adj: Tensor) -> Tensor:
    """Forty rounds of averaging where one was meant: all nodes of a component are the same."""
    share = (adj + torch.eye(len(adj[0]))) / (adj.sum(-1, keepdim=True) + 1)
    for _ in range(40):
        x = share @ x
    return x


def over_no_neighbours(self: Any, x: Tensor, adj: Tensor) -> Tensor:
    """A node without neighbours is divided by zero."""
    return adj @ x / adj.sum(dim=-1, keepdim=True)


def lone_nodes_hidden(self: Any, x: Tensor, adj: Tensor) -> Tensor:
    """The same with the NaN swept out of sight: backward it is still there."""
    degree = adj.sum(dim=-1, keepdim=True)
    return torch.where(degree > 0, adj @ x / degree, 0.0)


def long_sequence_cases() -> Iterator[Case]:
    long_batch = first_token(length=200).batch
    unrolled_batch = first_token(length=100).batch
    for host in ("rnn", "gru"):
        yield make(host, "long-sequence", None, ("rnn*", "embed*", "recur*", "inward*"), batch=long_batch)
    for variant, factor in (("", 1.0), ("contracting", 0.2)):
        yield make(
            "rnn-unrolled",
            "long-sequence",
            scaled(factor, ("recur",)),
            ("recur*", "inward*", "embed*"),
            variant=variant,
            batch=unrolled_batch,
        )
    for longest in (40, 100):
        yield make("elman", "long-sequence", None, at("cell"), variant=str(longest), batch=added(longest).batch)
    for kind in ("tanh", "relu"):
        yield make(
            "attentive-gru",
            "long-sequence",
            plain_recurrence(kind),
            at("gru"),
            variant=f"{kind}-120",
            batch=opinions(120).batch,
        )


def exploding_recurrence_cases() -> Iterator[Case]:
    linear = attribute(("",), "function", "clone")
    for factor, batch in ((3.0, first_token(length=60).batch), (8.0, first_token(length=100).batch)):
        yield make(
            "rnn-unrolled",
            "exploding-recurrence",
            all_of(linear, scaled(factor, ("recur",))),
            ("recur*", "inward*", "embed*"),
            variant=f"x{factor:g}",
            batch=batch,
        )
    for factor in (3.0, 10.0):
        yield make(
            "rnn-unrolled",
            "exploding-recurrence",
            scaled(factor, ("recur",)),
            ("recur*", "inward*", "embed*"),
            variant=f"tanh-x{factor:g}",
        )


def vanishing_recurrence_cases() -> Iterator[Case]:
    yield make("rnn-unrolled", "vanishing-recurrence", scaled(0.05, ("recur",)), ("recur*", "inward*", "embed*"))


def state_forgotten_cases() -> Iterator[Case]:
    for host, culprit in (("elman", at("cell")), ("seq2seq", at("cell"))):
        yield make(host, "state-forgotten", attribute(("",), "forgets", True), culprit)


def state_misread_cases() -> Iterator[Case]:
    for reads in ("first", "padding", "unsorted"):
        yield make("elman", "state-misread", attribute(("",), "reads", reads), ("cell*", "head*"), variant=reads)


def context_dropped_cases() -> Iterator[Case]:
    yield make("seq2seq", "context-dropped", attribute(("",), "context", 0.0), ("encoder*", "reader*", "source*"))


def batch_first_forgotten_cases() -> Iterator[Case]:
    yield make("lstm-lm", "batch-first-forgotten", attribute(("rnn",), "batch_first", False), at("rnn"))
    yield make(
        "bracket-encoder", "batch-first-forgotten", attribute(("*self_attn",), "batch_first", False), ("*self_attn*",)
    )
    yield make("attentive-gru", "batch-first-forgotten", attribute(("gru",), "batch_first", False), at("gru"))


def decay_sign_cases() -> Iterator[Case]:
    yield make("mamba", "decay-sign", rewritten(SelectiveSSM, decay=growing), ("layers*",))


def last_read_cases() -> Iterator[Case]:
    for name, how in (("example", read_last_example), ("step", read_last_step)):
        yield make(
            "attentive-gru", "last-read", rewritten(AttentiveGRU, pool=how), ("", *at("attention")), variant=name
        )


def edges_cases() -> Iterator[Case]:
    yield make("gin", "edges", without_edges, ("layers*",), variant="none")
    yield make("gin", "edges", hidden_edges, ("layers*",), variant="complement")


def neighbours_averaged_cases() -> Iterator[Case]:
    for name, how in (("over-smoothed", smoothed_over), ("degree-zero", over_no_neighbours)):
        yield make("sage-jump", name, rewritten(SAGEConv, aggregate=how), ("convs*",))


def degree_zero_cases() -> Iterator[Case]:
    yield make(
        "sage-jump", "degree-zero", rewritten(SAGEConv, aggregate=lone_nodes_hidden), ("convs*",), variant="hidden"
    )


OPERATORS = (
    long_sequence_cases,
    exploding_recurrence_cases,
    vanishing_recurrence_cases,
    state_forgotten_cases,
    state_misread_cases,
    context_dropped_cases,
    batch_first_forgotten_cases,
    decay_sign_cases,
    last_read_cases,
    edges_cases,
    neighbours_averaged_cases,
    degree_zero_cases,
)
