"""Forward calls that are never sent back: what is kept of them, and what is known of those that are."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from pytest_gradhealth.measure.watching.watch import Watch
from pytest_gradhealth.record import GradientRecord


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.Dropout(0.0), nn.Linear(8, 3))


def x() -> Tensor:
    return torch.randn(16, 6)


def record_of(run: Callable[[], object]) -> GradientRecord:
    with Watch() as watch:
        run()
    assert not list(watch.problems())
    ((record, *_),) = watch.passes()
    return record


def test_every_module_is_known_although_its_output_was_gone_before_the_backward() -> None:
    """Between two layers nothing holds a tensor, and the next may get its address."""
    record = record_of(lambda: network()(x()).square().mean().backward())
    assert [signal.kind for signal in record.signals] == ["Sequential", "Linear", "ReLU", "Linear", "Dropout", "Linear"]
    assert all(signal.rms and signal.gradient for signal in record.signals)


def test_the_numbers_are_those_of_tensor_hooks() -> None:
    model, given, norms = network(), x(), []
    out: Tensor = given
    for layer in model:
        out = layer(out)
        out.register_hook(lambda gradient: norms.append(float(gradient.norm())))  # type: ignore[no-untyped-call]
    out.square().mean().backward()
    record = record_of(lambda: network()(given).square().mean().backward())
    assert [signal.gradient for signal in record.signals[1:]] == pytest.approx(norms[::-1], rel=1e-5)


def test_what_a_module_returned_is_what_it_was_before_it_was_changed_in_place() -> None:
    def run() -> None:
        torch.manual_seed(0)
        nn.Sequential(nn.Linear(6, 8), nn.ReLU(inplace=True), nn.Linear(8, 3))(x()).square().mean().backward()

    before, after = record_of(run).signals[1:3]
    assert before.zeros == 0 < after.zeros
    assert before.gradient != after.gradient


def test_a_result_that_is_thrown_away_takes_its_graph_along() -> None:
    kept: list[weakref.ref[Tensor]] = []

    class Keeps(nn.Module):
        def forward(self, given: Tensor) -> Tensor:
            made = given * 2
            kept.append(weakref.ref(made))
            return made.square()  # which saves what it is given

    model = nn.Sequential(nn.Linear(6, 8), Keeps(), nn.Linear(8, 3))
    gc.disable()
    try:
        with Watch():
            for _ in range(5):
                model(x())
            assert not any(reference() is not None for reference in kept)
    finally:
        gc.enable()


def test_calls_whose_results_were_thrown_away_before_the_one_that_is_sent_back() -> None:
    def run() -> None:
        model = network()
        for _ in range(3):
            model(x())
        model(x()).square().mean().backward()

    record = record_of(run)
    assert all(layer.norm for layer in record)
    assert record["0"].order is not None


def test_models_that_a_test_keeps_are_measured_once_each() -> None:
    models = [network() for _ in range(3)]
    with Watch() as watch:
        for model in models:
            model(x()).square().mean().backward()
    assert len(list(watch.passes())) == 3
    assert all(parameter._backward_hooks is None for model in models for parameter in model.parameters())


def test_a_module_that_is_called_very_often_is_looked_at_in_part_and_counted_in_full() -> None:
    def run() -> None:
        torch.manual_seed(0)
        cell, out = nn.Linear(6, 6), x()
        model = nn.Sequential(cell, nn.Tanh())
        loop = nn.Sequential(*[model] * 100, nn.Linear(6, 3))
        loop(out).square().mean().backward()

    record = record_of(run)
    assert next(signal.calls for signal in record.signals if signal.kind == "Tanh") == 100
    assert record["0.0"].norm
