"""Dying ReLU: one mistake with the learning rate closes units for good.

A ReLU that is negative for every input passes no gradient, so its weights receive nothing that could open it again.
Here the learning rate is far too high for two epochs. It is put right then, but more than nine in ten units of the
first layer are dead already, and the accuracy stays poor. A leaky ReLU goes through the same mistake: it keeps a small
slope below zero, so its units come back (Maas, Hannun and Ng, 2013; Lu et al., 2019). The table shows the share of
each layer's units whose weights receive a gradient of exactly zero. Some are closed by chance in any ReLU network;
``max_dead`` is the limit for more.
"""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytest_gradhealth import GradientHealthError


def network(activation: nn.Module) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            first=nn.Linear(64, 64),
            activation1=activation,
            second=nn.Linear(64, 64),
            activation2=activation,
            output=nn.Linear(64, 10),
        )
    )


def train_with_a_mistake(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> None:
    for learning_rate, epochs in ((0.2, 2), (0.003, 3)):
        optimiser = torch.optim.Adam(model.parameters(), lr=learning_rate)
        for images, labels in batches * epochs:
            optimiser.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimiser.step()


@torch.no_grad()
def accuracy_of(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    return (model(images).argmax(dim=1) == labels).float().mean().item()


@pytest.mark.xfail(strict=True, raises=GradientHealthError, reason="dead units receive no gradient and never recover")
def test_relu_dies(gradhealth, digits, record_property):
    model = network(nn.ReLU())
    train_with_a_mistake(model, digits.batches)
    record_property("ReLU", f"accuracy {accuracy_of(model, *digits.unseen):.0%}")
    gradhealth.check(model, digits.batches, loss=F.cross_entropy)


def test_leaky_relu_recovers(gradhealth, digits, record_property):
    model = network(nn.LeakyReLU(0.1))
    train_with_a_mistake(model, digits.batches)
    record_property("leaky ReLU", f"accuracy {accuracy_of(model, *digits.unseen):.0%}")
    gradhealth.check(model, digits.batches, loss=F.cross_entropy)
