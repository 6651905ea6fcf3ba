"""Remedies that were tried: the failure text names what makes a copy of the network healthy.

A rule of thumb guesses a cause from numbers. Trying a cure on a copy, with the same data, loss and limits, shows it:
twenty sigmoid layers at PyTorch's default initialisation need both another activation and other weights; either alone
leaves the first layers without a gradient. A forgotten ``detach()`` is found by taking it out.
"""

from __future__ import annotations

import pytest
import torch.nn.functional as F
from torch import Tensor, nn

from pytest_gradhealth import Attempt, GradientHealthError


class Detached(nn.Module):
    """Features that a classifier was once trained on top of, detached; now they are meant to train too."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU())
        self.classify = nn.Linear(32, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.classify(self.features(images).detach())


def sigmoid_network() -> nn.Sequential:
    layers = [layer for _ in range(20) for layer in (nn.Linear(64, 64), nn.Sigmoid())]
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(64, 10))


@pytest.fixture
def tried(gradhealth, digits):
    """What was tried after a check has failed, the best first."""

    def check(network) -> tuple[Attempt, ...]:
        with pytest.raises(GradientHealthError) as failure:
            gradhealth.check(network, digits.batches, loss=F.cross_entropy)
        return failure.value.check.tried

    return check


@pytest.mark.gradhealth(try_seconds=120)
def test_the_detach_is_taken_out(tried, record_property):
    (attempt,) = tried(Detached)
    record_property("tried", f"{attempt.change}: {attempt.outcome}")
    assert attempt.cures
    assert attempt.cause.startswith("detach() at test_11_remedies.py:")


@pytest.mark.gradhealth(try_seconds=120)
def test_sigmoids_need_two_cures(tried, record_property):
    best = tried(sigmoid_network)[0]
    record_property("tried", f"{best.change}: {best.outcome}")
    assert best.cures
    assert set(best.cause.split(" and ")) == {"the activation", "the initialisation"}


@pytest.mark.gradhealth(try_seconds=0)
def test_nothing_is_tried_where_that_is_asked(tried):
    assert tried(Detached) == ()
