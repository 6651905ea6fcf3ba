"""The same model, batches and seed give the same record."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pytest_gradhealth import GradHealth, Settings
from pytest_gradhealth.record import GradientRecord


class Random(nn.Module):
    """Draws from every generator."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.drop, self.second = nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        noise = random.random() + float(np.random.rand()) + torch.rand(())
        output: Tensor = self.second(self.drop(self.first(x))) * noise
        return output


def measure(model: Any, batches: Any, **settings: Any) -> GradientRecord:
    return GradHealth(Settings(device="cpu", **settings)).measure(model, batches, loss=lambda out: out.square().sum())


def norms(record: GradientRecord) -> list[float | None]:
    return [layer.norm for layer in record]


def test_a_model_gives_the_same_record_twice() -> None:
    model, x = Random(), torch.randn(6, 4)
    first = measure(model, x).to_dict()
    torch.rand(5), random.random(), np.random.rand()
    assert measure(model, x).to_dict() == first


def test_a_factory_gives_the_same_record_twice() -> None:
    x = torch.randn(6, 4)
    first = measure(Random, x).to_dict()
    torch.rand(5)
    assert measure(Random, x).to_dict() == first


def test_shuffled_data_gives_the_same_record_twice() -> None:
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(16, 4)), batch_size=2, shuffle=True)
    model = Random()
    assert measure(model, data).to_dict() == measure(model, data).to_dict()


@pytest.mark.parametrize("model", [Random, Random()], ids=["factory", "model"])
def test_another_seed_gives_another_record(model: Any) -> None:
    x = torch.randn(6, 4)
    assert norms(measure(model, x, seed=1)) != norms(measure(model, x, seed=2))
    assert measure(model, x, seed=1).seed == 1


def test_the_seed_is_that_of_the_call_where_it_gives_one() -> None:
    x, gradhealth = torch.randn(6, 4), GradHealth(Settings(device="cpu", seed=1))
    called = gradhealth.measure(Random, x, loss=torch.sum, seed=2)
    assert called.seed == 2
    assert norms(called) == norms(GradHealth(Settings(device="cpu", seed=2)).measure(Random, x, loss=torch.sum))


def test_a_batch_the_model_overwrites_is_whole_again_at_the_second_look() -> None:
    from pytest_gradhealth.measure.runs.runner import Runner

    model = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 2))
    rehearsal = Runner(model, [torch.randn(6, 4)], loss=torch.sum)
    assert rehearsal.measure() == rehearsal.measure()
