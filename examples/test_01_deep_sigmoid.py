"""A deep sigmoid network: the gradient fades on its way back to the first layer.

On its way back through a layer the gradient is multiplied by the weights and by the slope of the activation. The
sigmoid's slope is at most 1/4, so with weights that keep the size of a signal (Glorot and Bengio, 2010) every layer
takes away a factor of four: eleven layers back one millionth is left, and the first layers never learn (Hochreiter,
1991; Bengio, Simard and Frasconi, 1994). ReLU's slope is 1 wherever it is open, and with weights scaled for it (He
et al., 2015) the gradient arrives at full strength.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch.nn.functional as F
from torch import nn

from pytest_gradhealth import GradientHealthError


class DeepNetwork(nn.Sequential):
    """Twelve linear layers with an activation behind each but the last."""

    def __init__(self, activation: Callable[[], nn.Module], initialise: Callable[..., object]) -> None:
        layers: dict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
        for i in range(1, 12):
            layers[f"linear{i}"] = nn.Linear(64, 64)
            layers[f"activation{i}"] = activation()
            initialise(layers[f"linear{i}"].weight)
        layers["linear12"] = nn.Linear(64, 10)
        super().__init__(layers)


def sigmoid_network() -> DeepNetwork:
    return DeepNetwork(nn.Sigmoid, nn.init.xavier_normal_)


def relu_network() -> DeepNetwork:
    return DeepNetwork(nn.ReLU, nn.init.kaiming_normal_)


@pytest.mark.xfail(strict=True, raises=GradientHealthError, reason="the sigmoid's slope is at most 1/4")
def test_sigmoid_vanishes(gradhealth, digits):
    gradhealth.check(sigmoid_network, digits.batches, loss=F.cross_entropy)


def test_sigmoid_loses_a_factor_of_four_per_layer(gradhealth, digits):
    record = gradhealth.measure(sigmoid_network, digits.batches, loss=F.cross_entropy)
    assert all(layer.gain < 0.3 for layer in list(record)[1:])
    assert record["linear12"].norm / record["linear1"].norm > 1e6


def test_relu_is_healthy(gradhealth, digits):
    gradhealth.check(relu_network, digits.batches, loss=F.cross_entropy)
