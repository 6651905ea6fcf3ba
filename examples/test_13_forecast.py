"""Tested small, trained large: what would this network be at four times its depth?

Every layer multiplies the gradient once more, so that its size over depth is an exponential (Schoenholz et al., 2017,
"Deep information propagation"): a factor of 0.6 is harmless over twelve layers and fatal over forty-eight. Measuring
three small networks gives the factor, and with it the depth from which a check would fail. Training small and
predicting large is what the coordinate check of mup does by eye (Yang et al., 2022, "Tensor Programs V").
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch.nn.functional as F
from torch import Tensor, nn

from pytest_gradhealth import GradientHealthError

LADDER, TARGET = (4, 8, 12), 48


class Residual(nn.Module):
    """A way past a normalised layer."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.layer = nn.LayerNorm(64), nn.Linear(64, 64)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layer(self.norm(x)).tanh()


def plain(depth: int) -> nn.Module:
    layers = [layer for _ in range(depth) for layer in (nn.Linear(64, 64), nn.Tanh())]
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(64, 10))


def residual(depth: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), *(Residual() for _ in range(depth)), nn.LayerNorm(64), nn.Linear(64, 10))


@pytest.fixture
def foretold(gradhealth, digits):
    def forecast(network: Callable[..., nn.Module]):
        return gradhealth.forecast(network, digits.batches[:2], F.cross_entropy, depth=LADDER, target={"depth": TARGET})

    return forecast


def test_the_plain_network_passes_small_and_would_vanish_large(foretold, record_property):
    told = foretold(plain)
    record_property("forecast", str(told).partition("\n\n")[0].replace("\n ", ""))
    assert [verdict for _, verdict in told.rungs] == ["healthy"] * len(LADDER)
    assert told["reach"].breaks


@pytest.mark.xfail(strict=True, raises=GradientHealthError, reason="it vanishes, as was foretold")
def test_the_large_one_vanishes(gradhealth, digits):
    gradhealth.check(lambda: plain(TARGET), digits.batches[:2], loss=F.cross_entropy)


def test_skip_connections_are_foretold_healthy_and_are(foretold, gradhealth, digits):
    assert foretold(residual).healthy
    gradhealth.check(lambda: residual(TARGET), digits.batches[:2], loss=F.cross_entropy)
