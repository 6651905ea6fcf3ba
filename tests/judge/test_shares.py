"""Layers that make several things at once, one of which receives no gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from networks import CLASSES, WIDTH, Apply, Residual, examined, kinds, sequences
from torch import Tensor, nn

BATCHES = [sequences(seed=1), sequences(seed=2)]


class Fused(nn.Module):
    """Attention whose query, key and value come out of one layer."""

    def __init__(self, how: str = "") -> None:
        super().__init__()
        self.into, self.out, self.how = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH), how

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.into(x).chunk(3, -1)
        if self.how == "key cut off":
            key = key.detach()
        scores = query @ key.transpose(1, 2) * (1 // WIDTH**0.5 if self.how == "floor division" else WIDTH**-0.5)
        output: Tensor = self.out(scores.softmax(-1) @ value)
        return output


def attentive(how: str = "") -> nn.Module:
    blocks = (Residual(nn.LayerNorm(WIDTH), Fused(how)) for _ in range(2))
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), *blocks, Apply(lambda x: x.mean(1)), nn.Linear(WIDTH, CLASSES))


@pytest.mark.parametrize(("how", "last"), [("key cut off", (WIDTH, 2 * WIDTH - 1)), ("floor division", (0, 47))])
def test_a_share_of_a_fused_layer_that_receives_nothing(how: str, last: tuple[int, int]) -> None:
    (finding,) = examined(lambda: attentive(how), BATCHES).findings
    assert finding.fault == "dead"
    assert finding.layers == ("1.branch.1.into", "2.branch.1.into")
    assert f"units {last[0]} to {last[1]} of the {3 * WIDTH} of '1.branch.1.into'" in finding.message
    assert not kinds(examined(attentive, BATCHES))


def test_attention_over_one_position_has_nothing_to_choose() -> None:
    assert not kinds(examined(attentive, [sequences(seed=1, length=1), sequences(seed=2, length=1)]))


def test_units_that_are_dead_by_chance_are_no_share() -> None:
    def build() -> nn.Module:
        model: Any = nn.Sequential(nn.Linear(WIDTH, 48), nn.ReLU(), nn.Linear(48, CLASSES))
        with torch.no_grad():
            model[0].bias[:16] = -100.0  # a third, shut by biases
            model[0].bias[20::7] = -100.0  # and others among the rest
        return model

    batch = sequences(length=1)
    assert not kinds(examined(build, [(batch[0].squeeze(1), batch[1])]))
