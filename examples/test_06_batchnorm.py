"""Batch normalisation between the layers of a sigmoid network.

A sigmoid makes the differences between samples four times smaller on the way forward and the gradient four times
smaller on the way back. Batch normalisation divides by the standard deviation of what it receives: small differences
are enlarged again, and since its derivative holds the same division, so is the gradient. The twelve sigmoid layers of
the first example become trainable, with the same weights and the same activation (Ioffe and Szegedy, 2015).
"""

from __future__ import annotations

import pytest
import torch.nn.functional as F
from torch import nn

from pytest_gradhealth import GradientHealthError


def sigmoid_network(normalised: bool) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Flatten()]
    for _ in range(11):
        layers.append(nn.Linear(64, 64))
        if normalised:
            layers.append(nn.BatchNorm1d(64))
        layers.append(nn.Sigmoid())
    return nn.Sequential(*layers, nn.Linear(64, 10))


@pytest.mark.xfail(strict=True, raises=GradientHealthError, reason="nothing makes up for the sigmoid's small slope")
def test_without_batchnorm_it_vanishes(gradhealth, digits):
    gradhealth.check(lambda: sigmoid_network(normalised=False), digits.batches, loss=F.cross_entropy)


def test_with_batchnorm_it_is_healthy(gradhealth, digits):
    gradhealth.check(lambda: sigmoid_network(normalised=True), digits.batches, loss=F.cross_entropy)
