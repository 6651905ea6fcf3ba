"""A Transformer encoder without its residual connections.

Attention averages over positions. Without a way past it, block after block averages what is an average already: the
tokens become all alike, at a rate that grows with depth (Dong, Cordonnier and Loukas, 2021, "Attention is not all you
need"), and the samples follow. Layer normalisation keeps every gradient at a normal size, so a look at norms finds
nothing; the network still never leaves chance. What gives it away is how little samples differ at the output. With its
residual connections (Vaswani et al., 2017) the same encoder learns at once.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytest_gradhealth import GradientHealthError


class Block(nn.Module):
    """Attention, then two linear layers, each behind a layer normalisation."""

    def __init__(self, width: int, residual: bool) -> None:
        super().__init__()
        self.residual = residual
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, num_heads=4, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        normed = self.norm1(tokens)
        attended, _ = self.attention(normed, normed, normed, need_weights=False)
        tokens = tokens + attended if self.residual else attended
        changed = self.mlp(self.norm2(tokens))
        return tokens + changed if self.residual else changed


class Encoder(nn.Module):
    """Twelve blocks over the eight rows of a digit as tokens."""

    def __init__(self, residual: bool, width: int = 32) -> None:
        super().__init__()
        self.embed = nn.Linear(8, width)
        self.position = nn.Embedding(8, width)
        self.blocks = nn.Sequential(*(Block(width, residual) for _ in range(12)))
        self.norm = nn.LayerNorm(width)
        self.classify = nn.Linear(width, 10)

    def forward(self, images: Tensor) -> Tensor:
        rows = images.squeeze(1)
        positions = torch.arange(rows.shape[1], device=rows.device)
        tokens = self.blocks(self.embed(rows) + self.position(positions))
        return self.classify(self.norm(tokens).mean(dim=1))


@pytest.mark.xfail(strict=True, raises=GradientHealthError, reason="tokens and samples become all alike")
def test_without_residual_connections_it_collapses(gradhealth, digits):
    gradhealth.check(lambda: Encoder(residual=False), digits.batches, loss=F.cross_entropy)


def test_with_residual_connections_it_is_healthy(gradhealth, digits):
    gradhealth.check(lambda: Encoder(residual=True), digits.batches, loss=F.cross_entropy)
