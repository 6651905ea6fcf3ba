"""A convolutional network whose first convolution does not learn.

The first convolution should learn to see edges. Behind six sigmoids it receives hardly any gradient: its weights
stay what the random initialisation made them, and the layers above have to work with random features. With ReLU and
He initialisation the same network learns in two epochs (Krizhevsky, Sutskever and Hinton, 2012; He et al., 2015).
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytest_gradhealth import GradientHealthError


class ConvNet(nn.Module):
    """Six convolutions, two of which halve the image, and a linear layer."""

    def __init__(self, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.activation = activation
        self.convolutions = nn.ModuleList(
            nn.Conv2d(1 if i == 0 else 16, 16, kernel_size=3, padding=1, stride=2 if i in (1, 3) else 1)
            for i in range(6)
        )
        self.classify = nn.Linear(16 * 7 * 7, 10)
        if activation is torch.relu:
            for convolution in self.convolutions:
                nn.init.kaiming_normal_(convolution.weight)

    def forward(self, images: Tensor) -> Tensor:
        for convolution in self.convolutions:
            images = self.activation(convolution(images))
        return self.classify(images.flatten(1))


@pytest.mark.xfail(strict=True, raises=GradientHealthError, reason="six sigmoids stand between it and the loss")
def test_sigmoid_starves_the_first_convolution(gradhealth, large_digits):
    gradhealth.check(lambda: ConvNet(torch.sigmoid), large_digits.batches, loss=F.cross_entropy)


def test_relu_is_healthy(gradhealth, large_digits):
    gradhealth.check(lambda: ConvNet(torch.relu), large_digits.batches, loss=F.cross_entropy)


@pytest.mark.parametrize(("activation", "learns"), [(torch.sigmoid, False), (torch.relu, True)])
def test_how_far_the_first_convolution_moves(activation, learns, large_digits, record_property):
    model = ConvNet(activation)
    before = model.convolutions[0].weight.detach().clone()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
    for images, labels in large_digits.batches * 2:
        optimiser.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimiser.step()
    moved = ((model.convolutions[0].weight - before).norm() / before.norm()).item()
    record_property(activation.__name__, f"first convolution moved by {moved:.1e} of its size")
    assert (moved > 1e-2) is learns
