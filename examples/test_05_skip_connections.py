"""More than a hundred layers: plain against skip connections.

Every layer multiplies the gradient once more. Whatever the factor, a hundred layers raise it to the hundredth power:
0.6 becomes 1e-22, and float32 keeps nothing that can move a weight. With a skip connection a layer adds to its input
instead of replacing it. The derivative is then 1 plus something, and the gradient has a way past every layer (He et
al., 2016, "Identity mappings in deep residual networks").
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytest_gradhealth import GradientHealthError


class VeryDeepNetwork(nn.Module):
    """104 hidden layers between a first and a last one."""

    def __init__(self, skip: bool) -> None:
        super().__init__()
        self.skip = skip
        self.first = nn.Linear(64, 32)
        self.hidden = nn.ModuleList(nn.Linear(32, 32) for _ in range(104))
        self.last = nn.Linear(32, 10)

    def forward(self, images: Tensor) -> Tensor:
        state = self.first(images.flatten(1))
        for layer in self.hidden:
            change = torch.tanh(layer(state))
            state = state + change if self.skip else change
        return self.last(state)


@pytest.mark.xfail(strict=True, raises=GradientHealthError, reason="0.6 to the power of 104 is nothing")
def test_plain_network_vanishes(gradhealth, digits):
    gradhealth.check(lambda: VeryDeepNetwork(skip=False), digits.batches, loss=F.cross_entropy)


def test_skip_connections_carry_the_gradient(gradhealth, digits):
    record = gradhealth.check(lambda: VeryDeepNetwork(skip=True), digits.batches, loss=F.cross_entropy)
    assert record["first"].norm > record["last"].norm / 100
