"""The attention layers of torch.nn at their default initialisation."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import COUNTING, SEQUENCES, SPECIAL, TOKENS, patterns
from benchmarks.detection.vocabulary.blocks import Positions, token_encoder
from benchmarks.detection.vocabulary.losses import copied, next_token


class Causal(nn.Module):
    """A decoder-only language model out of encoder layers and a causal mask."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=True)
        self.embed = Positions()
        self.stack = nn.TransformerEncoder(layer, layers, nn.LayerNorm(32), enable_nested_tensor=False)
        self.head = nn.Linear(32, 64)

    def forward(self, tokens: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1])
        out: Tensor = self.head(self.stack(self.embed(tokens), mask=mask, is_causal=True))
        return out


class Translator(nn.Module):
    """nn.Transformer, which copies its source."""

    def __init__(self) -> None:
        super().__init__()
        self.source, self.target = Positions(), Positions()
        self.core = nn.Transformer(32, 4, 2, 2, 64, batch_first=True)
        self.head = nn.Linear(32, 64)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(target.shape[1])
        out: Tensor = self.head(self.core(self.source(source), self.target(target), tgt_mask=mask))
        return out


class Decoder(nn.Module):
    """nn.TransformerDecoder that reads an image-like memory."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerDecoderLayer(32, 4, 64, batch_first=True)
        self.memory, self.embed = nn.Linear(16, 32), Positions()
        self.stack = nn.TransformerDecoder(layer, 3)
        self.head = nn.Linear(32, 64)

    def forward(self, memory: Tensor, target: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(target.shape[1])
        out: Tensor = self.head(self.stack(self.embed(target), self.memory(memory), tgt_mask=mask))
        return out


class Attention(nn.Module):
    """A single nn.MultiheadAttention between two linear layers."""

    def __init__(self, bias: bool = True) -> None:
        super().__init__()
        self.inside = nn.Linear(1, 32)
        self.places = nn.Parameter(torch.randn(32, 32) * 0.02)
        self.attention = nn.MultiheadAttention(32, 4, bias=bias, add_bias_kv=not bias, batch_first=True)
        self.outside = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.inside(x) + self.places
        out: Tensor = self.outside(self.attention(h, h, h, need_weights=False)[0].mean(dim=1))
        return out


def told(model: nn.Module, batch: Batch) -> Tensor:
    """Cross entropy of a text that belongs to the class of the memory."""
    memory, label = batch
    text = SPECIAL + (label[:, None] * 7 + torch.arange(8)) % 60
    return F.cross_entropy(model(memory, text[:, :-1]).flatten(0, 1), text[:, 1:].flatten())


def attention() -> list[Case]:
    """Transformers of torch.nn, normalised before and after, two to twelve layers."""
    cases = []
    for layers in (2, 6, 12):
        for before in (True, False):
            name = f"nn_transformer_encoder_{'pre' if before else 'post'}_{layers}"
            build = partial(token_encoder, layers, before)
            cases.append(case(name, f"nn/encoder_{'pre' if before else 'post'}", build, TOKENS))
    return [
        *cases,
        case("nn_transformer_encoder_gelu", "nn/encoder_gelu", partial(token_encoder, 3, True, "gelu", 0.0), TOKENS),
        case("nn_transformer_causal_4", "nn/causal", partial(Causal, 4), COUNTING, next_token),
        case("nn_transformer_causal_12", "nn/causal", partial(Causal, 12), COUNTING, next_token),
        case("nn_transformer", "nn/transformer", Translator, COUNTING, copied),
        case("nn_transformer_decoder", "nn/decoder", Decoder, patterns(6, 16), told),
        case("nn_multihead_attention", "nn/attention", Attention, SEQUENCES),
        case("nn_multihead_attention_no_bias", "nn/attention", partial(Attention, False), SEQUENCES),
    ]


def cases() -> list[Case]:
    """The cases of this file."""
    return attention()
