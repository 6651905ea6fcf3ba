"""Which devices there are, and which of several a process takes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.profiler import ProfilerActivity, profile

from pytest_gradhealth.measure.runs.devices import own_device, own_index, resolve_devices
from pytest_gradhealth.measure.runs.placing import placed
from pytest_gradhealth.measure.runs.runner import Runner


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


def transfers(depth: int) -> tuple[int, int]:
    """Numbers that one measurement waits for and brings to the host, and comparisons that it waits for."""
    torch.manual_seed(0)
    layers = (part for _ in range(depth) for part in (nn.Linear(8, 8), nn.Tanh()))
    runner = Runner(nn.Sequential(*layers), [(torch.randn(16, 8), torch.arange(16) % 8)], loss=F.cross_entropy)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        runner.measure()
    counts = {event.key: event.count for event in profiler.key_averages()}
    return counts["aten::_local_scalar_dense"], counts["aten::equal"]


def test_what_a_measurement_waits_for_does_not_grow_with_the_layers() -> None:
    """On an accelerator each of them would be a wait; on the CPU the same calls are counted."""
    few, many = transfers(3), transfers(30)
    assert few[0] == many[0]
    assert many[1] <= 30  # whether two units of a layer begin with the same weights
