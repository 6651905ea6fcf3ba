"""Which devices there are, and which of several a process takes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pytest_gradhealth.measure.runs.devices import own_device, own_index, resolve_devices
from pytest_gradhealth.measure.runs.placing import placed


@pytest.mark.parametrize(
    ("environment", "count", "index"),
    [
        ({}, 4, None),
        ({"PYTEST_XDIST_WORKER": "gw0"}, 4, 0),
        ({"PYTEST_XDIST_WORKER": "gw6"}, 4, 2),
        ({"PYTEST_XDIST_WORKER": "master"}, 4, None),
        ({"LOCAL_RANK": "1", "PYTEST_XDIST_WORKER": "gw2"}, 4, 1),
        ({"LOCAL_RANK": "3"}, 1, 0),
        ({"LOCAL_RANK": "3"}, 0, None),
    ],
)
def test_ranks_and_workers_take_devices_by_turns(environment: dict[str, str], count: int, index: int | None) -> None:
    assert own_index(environment, count) == index


def test_a_device_with_an_index_is_nobody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw3")
    assert own_device(torch.device("cuda", 1)) == torch.device("cuda", 1)
    assert own_device(torch.device("cpu")) == torch.device("cpu")


def test_all_devices_are_the_cpu_and_every_accelerator() -> None:
    kind = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    first, *others = resolve_devices("all")
    assert first == torch.device("cpu")
    assert others == [torch.device(kind.type, i) for i in range(torch.accelerator.device_count()) if kind]
    assert resolve_devices("auto") == [torch.device(kind.type if kind else "cpu")]


def test_a_model_moves_as_a_copy_and_stays_where_it_is_on_the_device() -> None:
    model = nn.Linear(2, 2)
    assert placed(model, torch.device("cpu")) is model
    assert placed(model, torch.device("meta")).weight.device.type == "meta"
    assert model.weight.device.type == "cpu"
