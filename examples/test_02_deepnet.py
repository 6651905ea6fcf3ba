"""DeepNet, 784-256-256-256-256-128-10: sigmoid against ReLU, trained side by side.

Both networks get the same images, the same optimiser and the same number of steps. In the sigmoid network the first
layer receives a gradient thousands of times smaller than the last one does, and the accuracy stays at chance (10 %);
the ReLU network learns (Glorot, Bordes and Bengio, 2011). The loss curve alone would not say which layer is to blame;
the table does. A plain yardstick is the ratio between layers: ``max_ratio`` in the marker says that no layer's gradient
may be 100 times smaller than another's. It is off by default, since a healthy architecture may have a wider range.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytest_gradhealth import GradientHealthError


class DeepNet(nn.Module):
    """Six linear layers with an activation between."""

    def __init__(self, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.activation = activation
        widths = (784, 256, 256, 256, 256, 128, 10)
        self.layers = nn.ModuleList(nn.Linear(fan_in, fan_out) for fan_in, fan_out in pairwise(widths))

    def forward(self, images: Tensor) -> Tensor:
        hidden = images.flatten(1)
        for layer in self.layers[:-1]:
            hidden = self.activation(layer(hidden))
        return self.layers[-1](hidden)


@pytest.mark.gradhealth(max_ratio=100)
@pytest.mark.xfail(strict=True, raises=GradientHealthError, reason="the first layer hears next to nothing")
def test_sigmoid_vanishes(gradhealth, large_digits):
    gradhealth.check(lambda: DeepNet(torch.sigmoid), large_digits.batches, loss=F.cross_entropy)


@pytest.mark.gradhealth(max_ratio=100)
def test_relu_is_healthy(gradhealth, large_digits):
    gradhealth.check(lambda: DeepNet(torch.relu), large_digits.batches, loss=F.cross_entropy)


def test_side_by_side(gradhealth, large_digits, record_property):
    accuracy, gradient = {}, {}
    for activation in (torch.sigmoid, torch.relu):
        name = activation.__name__
        model = DeepNet(activation)
        gradient[name] = gradhealth.measure(model, large_digits.batches, loss=F.cross_entropy)["layers.0"].norm
        train(model, large_digits.batches)
        accuracy[name] = accuracy_of(model, *large_digits.unseen)
        record_property(name, f"accuracy {accuracy[name]:.0%}, gradient of the first layer {gradient[name]:.1e}")
    assert accuracy["sigmoid"] < 0.2
    assert accuracy["relu"] > 0.8
    assert gradient["relu"] > 100 * gradient["sigmoid"]


def train(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> None:
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for images, labels in batches * 8:
        optimiser.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimiser.step()


@torch.no_grad()
def accuracy_of(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    return (model(images).argmax(dim=1) == labels).float().mean().item()
