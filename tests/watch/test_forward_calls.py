"""Forward calls that are never sent back: what is kept of them, and what is known of those that are."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pytest_gradhealth.measure.passes.paths import PathTrace
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


class Cell(nn.Module):
    """One step of a recurrence: what leads to the state alone shows in the next step."""

    def __init__(self, *, forgets: bool = False) -> None:
        super().__init__()
        self.given, self.kept = (nn.Parameter(torch.randn(8, 8) / 3) for _ in range(2))
        self.forgets = forgets

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        out = torch.tanh(x @ self.given)
        return out, out * 2 if self.forgets else out @ self.kept


@pytest.mark.parametrize("state_is_kept", [True, False])
def test_what_leads_to_the_state_of_a_cell_alone_is_not_missing_after_one_step(state_is_kept: bool) -> None:
    with Watch() as watch:
        returned = list(Cell()(torch.randn(16, 8)))
        out = returned[0] if state_is_kept else returned.pop(0)
        if not state_is_kept:
            returned.clear()
        out.square().mean().backward()
    ((record, *_),) = watch.passes()
    assert not record[""].missing
    assert any("kept not judged" in note for note in record.notes)


def test_what_leads_to_nothing_that_a_cell_returns_is_missing() -> None:
    with Watch() as watch:
        out, state = Cell(forgets=True)(torch.randn(16, 8))
        out.square().mean().backward()
    ((record, *_),) = watch.passes()
    assert state.requires_grad
    assert record[""].missing == ("kept",)


def test_of_a_jacobian_taken_row_by_row_few_rows_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    followed: list[int] = []
    follow = PathTrace.follow

    def noted(paths: PathTrace, *given: Any) -> None:
        followed.append(1)
        follow(paths, *given)

    monkeypatch.setattr(PathTrace, "follow", noted)

    def record_of(rows: int) -> GradientRecord:
        torch.manual_seed(0)
        model, x = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)), torch.randn(16, 6, requires_grad=True)
        with Watch() as watch:
            out = model(x)
            for row in range(rows):
                torch.autograd.grad(out[row % 16, 0], x, retain_graph=True)
            out.square().mean().backward()
        ((record, *_),) = watch.passes()
        return record

    alone = record_of(0)
    followed.clear()
    behind = record_of(100)
    assert [layer.norm for layer in behind] == [layer.norm for layer in alone]
    assert [signal.gradient for signal in behind.signals] == pytest.approx([s.gradient for s in alone.signals])
    assert len(followed) == 16 + 16 + 16 + 1


class Frees(nn.Module):
    """A reversible network gives back the memory of its input, which it can compute again."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(600, 600) / 25)

    def forward(self, x: Tensor) -> Tensor:
        out = x @ self.weight
        x.untyped_storage().resize_(0)
        return out


@pytest.mark.parametrize("samples", [2, 64])
def test_an_input_whose_memory_was_given_back_is_not_read(samples: int) -> None:
    """Reading it would end the process."""
    with Watch() as watch:
        Frees()(torch.randn(samples, 600))
    assert not list(watch.problems())
