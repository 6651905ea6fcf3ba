"""The scale of the first weights decides whether a deep network can learn; clipping treats the symptom only.

A layer multiplies the size of a signal by about sqrt(fan_in / 2) times the standard deviation of its weights (with
ReLU). Too small, and both the signal and the gradient die out; too large, and both explode. He et al. (2015) and, for
symmetric activations, Glorot and Bengio (2010) choose the scale at which the factor is 1. Where gradients explode,
clipping their norm keeps the weights finite (Pascanu, Mikolov and Bengio, 2013). It saves a training that would
end in NaN, but the right scale would have been the better cure.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytest_gradhealth import GradientHealthError

sick = partial(pytest.mark.xfail, strict=True, raises=GradientHealthError)


def network(initialise: Callable[[Tensor], object], activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Flatten()]
    for _ in range(11):
        layers += [nn.Linear(64, 64), activation()]
    layers.append(nn.Linear(64, 10))
    for layer in layers:
        if isinstance(layer, nn.Linear):
            initialise(layer.weight)
            nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


def normal(std: float) -> Callable[[Tensor], object]:
    return partial(nn.init.normal_, std=std)


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda: network(normal(0.01)), id="too-small", marks=sick(reason="the gradient dies out")),
        pytest.param(lambda: network(nn.init.xavier_normal_, nn.Tanh), id="xavier-tanh"),
        pytest.param(lambda: network(nn.init.kaiming_normal_), id="he-relu"),
        pytest.param(lambda: network(normal(1.0)), id="too-large", marks=sick(reason="the signal explodes")),
    ],
)
def test_initialisation(build, gradhealth, digits):
    gradhealth.check(build, digits.batches, loss=F.cross_entropy)


@pytest.mark.parametrize(
    "max_norm",
    [
        pytest.param(None, id="unclipped", marks=sick(reason="one step of an exploded gradient ends in NaN")),
        pytest.param(1.0, id="clipped"),
    ],
)
def test_training_from_large_weights(max_norm, gradhealth, digits, record_property):
    model = network(normal(0.25))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
    with gradhealth.watch(model):
        for images, labels in digits.batches * 6:
            optimiser.zero_grad()
            loss = F.cross_entropy(model(images), labels)
            loss.backward()
            if max_norm is not None:
                nn.utils.clip_grad_norm_(model.parameters(), max_norm)
            optimiser.step()
        record_property("clipped" if max_norm else "unclipped", f"loss after six epochs {loss.item():.2g}")
