"""Threads that train at the same time, each its own model, or one for another."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from pytest_gradhealth import GradHealth, Settings
from pytest_gradhealth.record import Check

BATCH = torch.linspace(-1, 1, 32).reshape(8, 4)


@pytest.fixture
def often_switched() -> Iterator[None]:
    """Python goes from thread to thread after nearly every operation."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def small(hidden: int) -> nn.Module:
    return nn.Sequential(nn.Linear(4, hidden), nn.Tanh(), nn.Linear(hidden, 2))


def loss_of(model: nn.Module) -> Tensor:
    return nn.functional.cross_entropy(model(BATCH), torch.arange(8) % 2)


def at_once(*work: Callable[[], object]) -> None:
    threads = [threading.Thread(target=each) for each in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def watched(run: Callable[[], object]) -> list[Check]:
    kept: list[Check] = []
    with GradHealth(Settings(device="cpu"), sink=kept.append).watch():
        run()
    return kept


def test_each_thread_trains_its_own(often_switched: None) -> None:
    models = [small(3), small(5)]

    def train(model: nn.Module) -> None:
        for _ in range(3):
            loss_of(model).backward()

    for _ in range(20):
        checks = watched(lambda: at_once(*(partial(train, model) for model in models)))
        assert len(checks) == 2
        assert all(layer.arrived for check in checks for layer in check.record)


def test_a_thread_sends_back_what_another_has_called() -> None:
    models = [small(3), small(5)]

    def run() -> None:
        loss_of(models[0]).backward()
        at_once(loss_of(models[1]).backward)

    assert len(watched(run)) == 2
