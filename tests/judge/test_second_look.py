"""Gates that may open: what a second look confirms, what it redeems, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from networks import BATCHES, HEALTHY, ZeroInit, blocks, examined
from records import changed, found, layer, record
from torch import Tensor

# --- by hand -----------------------------------------------------------------------------------------------------


def test_a_finding_that_a_gate_explains_stands_only_if_the_second_look_confirms_it() -> None:
    closed = record([layer(n, norm=0.0, sensitivity=0.0, reach=0.0) if n < 3 else layer(n) for n in range(8)])
    assert "dead" in {f.fault for f in found(closed)}
    assert found(replace(closed, later=record(steps=1))) == []
    assert "dead" in {f.fault for f in found(replace(closed, later=replace(closed, steps=8)))}


def test_what_explodes_may_be_infinite_in_the_second_look() -> None:
    steep = record(changed(2, sensitivity=1e5))
    assert [f.fault for f in found(steep)] == ["exploding"]
    assert [f.fault for f in found(replace(steep, later=record(loss=math.inf, steps=1)))] == ["exploding"]
    assert found(replace(steep, later=record(steps=1))) == []


def test_of_several_dead_layers_those_are_named_that_stay_dead() -> None:
    first = record([layer(n, norm=0.0, sensitivity=0.0) if n in (3, 5) else layer(n) for n in range(8)])
    later = record(changed(3, norm=0.0, sensitivity=0.0), steps=8)
    (finding,) = found(replace(first, later=later))
    assert finding.layers == ("fc3",)


# --- what a check costs ------------------------------------------------------------------------------------------


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    seen: list[int] = []
    backward = torch.Tensor.backward

    def count(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        seen.append(1)
        return backward(self, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, "backward", count)
    yield seen


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_model_costs_one_backward_pass_a_batch(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    build, batch = HEALTHY[name]
    with counted(monkeypatch) as passes:
        check = examined(build, [batch(seed=seed) for seed in range(3)])
    assert len(passes) == 3
    assert check.record.later is None


def test_a_model_of_closed_gates_pays_for_one_step_only(monkeypatch: pytest.MonkeyPatch) -> None:
    with counted(monkeypatch) as passes:
        check = examined(blocks(lambda: ZeroInit("zero weight")), BATCHES)
    assert not check.findings
    assert check.record.later is None or check.record.later.steps <= 2
    assert len(passes) <= 2 + (1 + 2) + (1 + 2)
