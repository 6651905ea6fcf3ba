"""A loss that plateaus: watch the gradient of every layer through a short training loop.

A flat loss curve can mean that training is done, that the step size is wrong, or that the gradient does not arrive.
The trend per layer tells them apart. Here the loss of a sigmoid network stands still at ln(10), which is chance for
ten classes. Its last layer soon finds the best constant answer, and its first layers receive a ten-thousandth of the
gradient throughout: waiting or a larger step will not help. With ReLU the loss falls and all layers move together.

The marker alone is enough here: the plugin watches what the test trains, and judges it when the test has passed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytest_gradhealth import GradientHealthError

EPOCHS = 5


def network(activation: Callable[[], nn.Module], initialise: Callable[[Tensor], object]) -> nn.Sequential:
    layers: dict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    for i in range(1, 8):
        layers[f"linear{i}"] = nn.Linear(64, 64)
        layers[f"activation{i}"] = activation()
        initialise(layers[f"linear{i}"].weight)
    layers["linear8"] = nn.Linear(64, 10)
    return nn.Sequential(layers)


def train(model: nn.Sequential, batches: list[tuple[Tensor, Tensor]], note: Callable[[str, object], None]) -> None:
    """An ordinary loop. After each epoch the loss and each layer's gradient become one column of the trend."""
    layers = {name: layer for name, layer in model.named_children() if isinstance(layer, nn.Linear)}
    trend: dict[str, list[str]] = {"epoch": [], "loss": [], **{f"gradient of {name}": [] for name in layers}}
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for epoch in range(1, EPOCHS + 1):
        for images, labels in batches:
            optimiser.zero_grad()
            loss = F.cross_entropy(model(images), labels)
            loss.backward()
            optimiser.step()
        trend["epoch"].append(f"{epoch}")
        trend["loss"].append(f"{loss.item():.2f}")
        for name, layer in layers.items():
            trend[f"gradient of {name}"].append(f"{layer.weight.grad.norm():.0e}")
    for row, cells in trend.items():
        note(row, "".join(f"{cell:>9}" for cell in cells))


@pytest.mark.gradhealth
@pytest.mark.xfail(strict=True, raises=GradientHealthError, reason="the loss is flat since no gradient arrives")
def test_sigmoid_stands_still(digits, record_property):
    train(network(nn.Sigmoid, nn.init.xavier_normal_), digits.batches, record_property)


@pytest.mark.gradhealth
def test_relu_learns(digits, record_property):
    train(network(nn.ReLU, nn.init.kaiming_normal_), digits.batches, record_property)
