"""Faults of attention, masks and positions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.detection.cases import Case
from benchmarks.detection.faults.mutations import (
    Change,
    Mutation,
    after,
    all_of,
    attribute,
    parameters_at,
    past_of,
    rewritten,
    scaled,
    without_edges,
)
from benchmarks.detection.faults.placing import at, make, output_change
from benchmarks.detection.hosts.language import AttentiveGRU, BracketEncoder, CausalSelfAttention


def after_scores(factor: float) -> Mutation:
    """Attention scores divided by a temperature of nearly zero."""

    def apply(model: nn.Module) -> None:
        for module in model.modules():
            if hasattr(module, "scale"):
                module.scale *= factor  # type: ignore[operator,assignment]

    return apply


def mask_of_all(self: Any, q: Tensor, k: Tensor) -> Tensor:
    score = q @ k.transpose(-2, -1) / self.temperature
    return score.masked_fill(past_of(self, q).logical_or(~past_of(self, q)), -torch.inf).softmax(-1)


def attend_nothing(self: Any, x: Tensor) -> Any:
    """The padding mask says True where there are tokens, and there are tokens everywhere."""
    return self.encoder(x, src_key_padding_mask=torch.ones(x.shape[:2], dtype=torch.bool))


def own_methods(site: str, name: str, function: Callable[..., Tensor]) -> Mutation:
    """A method of one module is another."""

    def apply(model: nn.Module) -> None:
        module = model.get_submodule(site)
        setattr(module, name, function.__get__(module))

    return apply


def mask_multiplied(self: Any, parts: Tensor, edges: Tensor) -> Tensor:
    """Scores times the mask before the softmax: what is hidden still takes part."""
    sent, received = (parts * self.sender).sum(-1), (parts * self.receiver).sum(-1)
    scores = self.slope(received.transpose(1, 2)[..., None] + sent.transpose(1, 2)[..., None, :])
    weight: Tensor = (scores * edges[:, None]).softmax(self.axis)
    return weight


def mask_after(self: Any, parts: Tensor, edges: Tensor) -> Tensor:
    """Only the diagonal is left: the edges are multiplied by the identity."""
    return (torch.eye(edges.shape[-1]) * edges)[:, None].expand(-1, len(self.sender), -1, -1)


def mask_of_little(self: Any, q: Tensor, k: Tensor) -> Tensor:
    """1e-9 where -1e9 was meant."""
    score = q @ k.transpose(-2, -1) / self.temperature
    return score.masked_fill(~past_of(self, q), 1e-9).softmax(-1)


def mask_of_itself(self: Any, q: Tensor, k: Tensor) -> Tensor:
    """The diagonal is hidden too: the first row has nothing left."""
    score = q @ k.transpose(-2, -1) / self.temperature
    return score.masked_fill(~past_of(self, q).tril(-1), -torch.inf).softmax(-1)


def mask_added(self: Any, q: Tensor, k: Tensor) -> Tensor:
    """A mask of ones and zeros is added, as if it were one of zeros and minus infinities."""
    return (q @ k.transpose(-2, -1) / self.temperature + past_of(self, q).float()).softmax(-1)


def floor_divided(self: Any, q: Tensor, k: Tensor) -> Tensor:
    """``1 // sqrt(d)`` is zero: every score is the same."""
    score = q @ k.transpose(-2, -1) * (1 // self.temperature)
    return score.masked_fill(~past_of(self, q), -torch.inf).softmax(-1)


def weighed_twice(self: Any, q: Tensor, k: Tensor) -> Tensor:
    """A softmax over what a softmax gave: the mask is lost and all weights are alike."""
    score = q @ k.transpose(-2, -1) / self.temperature
    return score.masked_fill(~past_of(self, q), -torch.inf).softmax(-1).softmax(-1)


def read_softly_twice(self: Any, states: Tensor) -> Tensor:
    weight = self.attention(states).squeeze(-1).softmax(1).softmax(1)
    return torch.bmm(weight.unsqueeze(1), states).squeeze(1)


def merged_wrongly(self: Any, heads: Tensor) -> Tensor:
    """The heads are viewed as features without having been moved there."""
    return heads.reshape(heads.shape[0], heads.shape[2], -1)


def placed_along_batch(self: Any, x: Tensor) -> Tensor:
    """Positions for (T, B, C) given (B, T, C): every example gets its number in the batch."""
    table: Tensor = self.table(len(x), x.shape[-1])
    return x + table.transpose(0, 1)


def placed_all_alike(self: Any, x: Tensor) -> Any:
    """An index where a slice was meant."""
    return x + self.pe[:, x.shape[1]]


def not_placed(self: Any, x: Tensor) -> Tensor:
    return x


def with_positions(size: float) -> Change:
    """Sines of the place that are far larger than what they are added to."""

    def change(x: Tensor) -> Tensor:
        angle = torch.arange(x.shape[1])[:, None] / 100 ** (torch.arange(x.shape[2]) / x.shape[2])
        return x + size * angle.sin()

    return change


def unscaled_by_width(factor: float) -> Mutation:
    """Scores times the width's root instead of over it."""

    def apply(model: nn.Module) -> None:
        for module in model.modules():
            if hasattr(module, "scale") and hasattr(module, "query"):
                module.scale = factor * math.sqrt(module.query.out_features)  # type: ignore[union-attr, assignment, arg-type]

    return apply


def attention_unscaled_cases() -> Iterator[Case]:
    for host in ("encoder4-pre", "encoder4-post", "encoder12-pre", "gpt", "vit", "translator", "ft-transformer"):
        yield make(
            host,
            "attention-unscaled",
            all_of(attribute(("*attn", "*cross"), "scale", 1.0), scaled(6.0, ("*.query", "*.key"))),
            ("*attn*", "*cross*"),
            variant="x6",
        )
    yield make(
        "set-transformer",
        "attention-unscaled",
        all_of(attribute(("*attn",), "scale", 1.0), scaled(6.0, ("*.query", "*.key"))),
        ("*attn*",),
        variant="x6",
    )
    for host, globs, more in (
        ("char-gpt", ("h.*.c_attn",), attribute(("*attn",), "temperature", 1.0)),
        ("bracket-encoder", ("*self_attn",), all_of()),
    ):
        yield make(host, "attention-unscaled", all_of(more, scaled(10.0, globs)), ("*attn*",), variant="x10")


def softmax_temperature_cases() -> Iterator[Case]:
    for host in ("encoder4-pre", "vit", "gpt", "ft-transformer", "encoder4-post"):
        yield make(host, "softmax-temperature", after_scores(1e4), ("*attn*",), variant="attention")
    for host in ("mlp4-relu", "resnet", "encoder4-pre", "lstm", "lenet"):
        yield output_change(host, "softmax-temperature", lambda x: x / 0.0001, "logits")
        yield output_change(host, "softmax-temperature", lambda x: (x / 0.0001).softmax(-1), "probabilities")
    yield make(
        "retrieval", "softmax-temperature", parameters_at("log_scale", 9.0), ("log_scale", "query*", "document*")
    )
    yield make("set-transformer", "softmax-temperature", after_scores(1e4), ("*attn*",), variant="attention")
    yield make(
        "char-gpt",
        "softmax-temperature",
        attribute(("*attn",), "temperature", 0.0001),
        ("*attn*",),
        variant="attention",
    )


def attention_mask_cases() -> Iterator[Case]:
    for mask in ("all", "self"):
        for host in ("encoder4-pre", "encoder4-post", "gpt", "vit", "ft-transformer"):
            yield make(host, "attention-mask", attribute(("*attn",), "mask", mask), ("*attn*",), variant=mask)
    site = "body.2.attn"
    for mask in ("all", "self"):
        yield make(
            "encoder4-pre", "attention-mask", attribute((site,), "mask", mask), at(site), variant=mask, site=site
        )
    yield make("set-transformer", "attention-mask", attribute(("*attn",), "mask", "all"), ("*attn*",), variant="all")
    yield make("gat", "attention-mask", without_edges, ("layers*",), variant="all")
    yield make(
        "char-gpt", "attention-mask", rewritten(CausalSelfAttention, weigh=mask_of_all), ("*attn*",), variant="all"
    )
    yield make(
        "bracket-encoder",
        "attention-mask",
        rewritten(BracketEncoder, attend=attend_nothing),
        ("", "*attn*"),
        variant="all",
    )


def mask_inverted_cases() -> Iterator[Case]:
    for mask in ("inverted", "future", "all"):
        yield make("llama", "mask-inverted", attribute(("*attn",), "mask", mask), ("*attn*",), variant=mask)


def mask_misapplied_cases() -> Iterator[Case]:
    both: tuple[tuple[str, Callable[..., Tensor]], ...] = (("multiplied", mask_multiplied), ("diagonal", mask_after))
    for name, how in both:
        yield make(
            "gat",
            "mask-misapplied",
            all_of(*(own_methods(f"layers.{i}", "weigh", how) for i in range(2))),
            ("layers*",),
            variant=name,
        )


def attention_rewritten_cases() -> Iterator[Case]:
    wrong: tuple[tuple[str, str, Callable[..., Tensor]], ...] = (
        ("mask-misapplied", "1e-9", mask_of_little),
        ("mask-misapplied", "added", mask_added),
        ("mask-hides-itself", "", mask_of_itself),
        ("floor-division", "", floor_divided),
        ("attention-softmax-twice", "", weighed_twice),
    )
    for operator, variant, how in wrong:
        yield make("char-gpt", operator, rewritten(CausalSelfAttention, weigh=how), ("*attn*",), variant=variant)


def attention_softmax_twice_cases() -> Iterator[Case]:
    yield make(
        "attentive-gru", "attention-softmax-twice", rewritten(AttentiveGRU, pool=read_softly_twice), at("attention")
    )


def heads_not_moved_cases() -> Iterator[Case]:
    yield make("char-gpt", "heads-not-moved", rewritten(CausalSelfAttention, merge=merged_wrongly), ("*attn*",))


def positions_cases() -> Iterator[Case]:
    for name, place in (
        ("along-batch", placed_along_batch),
        ("all-alike", placed_all_alike),
        ("forgotten", not_placed),
    ):
        yield make(
            "bracket-encoder", "positions", rewritten(BracketEncoder, place=place), ("", "embedding"), variant=name
        )


def positions_swamp_cases() -> Iterator[Case]:
    for host, size in (("llama", 300.0), ("tagger", 1000.0), ("llama", 3.0)):
        site = "embed" if host == "tagger" else "stem"
        yield make(
            host, "positions-swamp", after(site, with_positions(size)), at(site), variant=f"x{size:g}", site=site
        )


def softmax_axis_cases() -> Iterator[Case]:
    yield make("seq2seq", "softmax-axis", attribute(("reader",), "axis", 2), at("reader"), variant="of-one")
    yield make("gat", "softmax-axis", attribute(("layers.*",), "axis", 0), ("layers*",), variant="batch")
    yield make("gat", "softmax-axis", attribute(("layers.*",), "axis", -2), ("layers*",), variant="senders")


def scores_times_width_cases() -> Iterator[Case]:
    yield make("set-transformer", "scores-times-width", unscaled_by_width(10.0), ("*attn*",))


OPERATORS = (
    attention_unscaled_cases,
    softmax_temperature_cases,
    attention_mask_cases,
    mask_inverted_cases,
    mask_misapplied_cases,
    attention_rewritten_cases,
    attention_softmax_twice_cases,
    heads_not_moved_cases,
    positions_cases,
    positions_swamp_cases,
    softmax_axis_cases,
    scores_times_width_cases,
)
