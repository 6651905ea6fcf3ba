"""Which elements a gradient has: counted exactly, of any kind of tensor, and without a trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pytest_gradhealth
from pytest_gradhealth import GradHealth
from pytest_gradhealth.measure.passes.statistics import tally
from pytest_gradhealth.measure.runs.runner import Runner
from pytest_gradhealth.record import Check, GradientRecord, Histogram
from pytest_gradhealth.settings import Settings

Measured = Callable[..., GradientRecord]


def loss(output: Tensor) -> Tensor:
    return output.abs().square().mean()


def elements(model: nn.Module, *losses: Tensor) -> np.ndarray:
    """Every element of every parameter's gradient, by ``torch.autograd.grad``, which knows nothing of hooks."""
    found = [g for each in losses for g in torch.autograd.grad(each, list(model.parameters()), retain_graph=True)]
    dense = [g.to_dense() if g.is_sparse else g for g in found]
    real = [torch.view_as_real(g) if g.is_complex() else g for g in dense]
    return torch.cat([g.double().flatten() for g in real]).numpy()


def assert_is_of(histogram: Histogram | None, values: np.ndarray) -> None:
    assert histogram is not None
    assert (histogram.lowest, histogram.highest) == (values.min(), values.max())
    assert histogram.total == pytest.approx(values.sum(), rel=1e-5, abs=1e-9)
    assert histogram.squares == pytest.approx(np.square(values).sum(), rel=1e-5)
    assert sum(histogram.counts) == values.size
    assert list(histogram.edges) == sorted(histogram.edges)
    assert histogram.edges[-1] == histogram.highest
    # An edge belongs to the bin that is farther from zero, which np.histogram cannot say.
    inner = np.asarray(histogram.edges[:-1])
    below = [(values < edge).sum() if edge > 0 else (values <= edge).sum() for edge in inner]
    assert list(np.cumsum(histogram.counts)[:-1]) == below


def test_all_parameters_of_a_layer_over_all_batches(measured: Measured) -> None:
    model, batches = nn.Linear(30, 20), [torch.randn(8, 30), 50 * torch.randn(8, 30)]
    expected = elements(model, *(loss(model(batch)) for batch in batches))
    assert_is_of(measured(model, batches, loss=loss, histograms=True)[""].histogram, expected)


def test_nobody_pays_who_did_not_ask(measured: Measured) -> None:
    record = measured(nn.Linear(3, 2), torch.randn(4, 3), loss=loss)
    assert record[""].histogram is None
    assert "histogram" not in record[""].to_dict()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.complex64])
def test_every_precision(measured: Measured, dtype: torch.dtype) -> None:
    model, x = nn.Linear(5, 4, dtype=dtype), torch.randn(3, 5).to(dtype)
    assert_is_of(measured(model, x, loss=loss, histograms=True)[""].histogram, elements(model, loss(model(x))))


def test_numbers_beyond_the_range_of_float32_are_counted(measured: Measured) -> None:
    model, x = nn.Linear(2, 2).double(), torch.tensor([[1e100, 1e-100]], dtype=torch.float64)
    histogram = measured(model, x, loss=lambda out: out.sum(), histograms=True)[""].histogram
    assert histogram is not None
    assert (histogram.lowest, histogram.highest, sum(histogram.counts)) == (1e-100, 1e100, 6)
    assert list(histogram.edges) == sorted(histogram.edges)


def test_what_a_sparse_gradient_leaves_out_is_zero(measured: Measured) -> None:
    model, x = nn.Embedding(50, 4, sparse=True), torch.tensor([[1, 1, 3], [3, 1, 2]])
    assert_is_of(measured(model, x, loss=loss, histograms=True)[""].histogram, elements(model, loss(model(x))))


@pytest.mark.parametrize("value", [0.0, 3.0, -3.0])
def test_a_gradient_without_a_range(measured: Measured, value: float) -> None:
    model = nn.Linear(2, 2, bias=False)
    histogram = measured(model, torch.full((1, 2), value), loss=lambda out: out.sum(), histograms=True)[""].histogram
    assert histogram is not None
    assert (histogram.lowest, histogram.highest, histogram.edges, histogram.counts) == (value, value, (value,), (4,))


def test_small_elements_lie_in_one_bin_around_zero(measured: Measured) -> None:
    model, x = nn.Linear(4, 1, bias=False), torch.tensor([[1.0, -0.5, 1e-3, -1e-6]])
    histogram = measured(model, x, loss=lambda out: out.sum(), histograms=True)[""].histogram
    assert histogram is not None
    low = next(i for i, edge in enumerate(histogram.edges) if edge > 0)
    assert 1 / 256 <= histogram.edges[low] < 1 / 128
    assert histogram.edges[low] == -histogram.edges[low - 1]
    assert histogram.counts[low] == 2
    assert len(histogram.counts) < 130


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_left_out(measured: Measured, value: float) -> None:
    assert not tally(torch.tensor([value]))[1].any()
    model, x = nn.Linear(3, 1, bias=False), torch.tensor([[1.0, value, -2.0]])
    histogram = measured(model, x, loss=lambda out: out.sum(), histograms=True)[""].histogram
    assert_is_of(histogram, np.array([1.0, -2.0]))
    assert measured(model, torch.full((1, 3), value), loss=lambda out: out.sum(), histograms=True)[""].histogram is None


class Uncountable(Tensor):
    """A kind of tensor that lacks an operation, as those of other libraries may."""

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.bincount:
            raise NotImplementedError(f"{cls.__name__} has no bincount")
        return super().__torch_function__(function, types, args, kwargs or {})


class SendsUncountable(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        return weight.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient.as_subclass(Uncountable)


class Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        weight: Tensor = SendsUncountable.apply(self.weight)
        return x * weight


def test_a_gradient_of_a_kind_of_its_own_is_counted_as_plain_numbers(measured: Measured) -> None:
    record = measured(nn.Sequential(Odd(), nn.Linear(3, 2)), torch.ones(1, 3), loss=loss, histograms=True)
    assert record["0"].norm
    assert record["0"].histogram is not None
    assert record["1"].histogram is not None


def test_counting_changes_nothing(measured: Measured) -> None:
    model, x = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.BatchNorm1d(8), nn.Linear(8, 2)), torch.randn(6, 4)
    loss(model(x)).backward()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    gradients, random = [p.grad.clone() for p in model.parameters()], torch.get_rng_state()

    def seen(**options: Any) -> list[tuple[float | None, float]]:
        return [(layer.norm, layer.weight_norm) for layer in measured(model, x, loss=loss, **options)]

    assert seen(histograms=True) == seen()
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(p.grad, gradient) for p, gradient in zip(model.parameters(), gradients, strict=True))


def test_the_second_look_has_its_own(measured: Measured) -> None:
    rehearsal = Runner(nn.Linear(3, 2), [torch.randn(4, 3)], loss=loss, histograms=True)
    first, later = rehearsal.measure()[""].histogram, rehearsal.look_again((2,), lambda record: True)[""].histogram
    assert first is not None
    assert later is not None
    assert first.highest != later.highest


def watched(train: Callable[[], None]) -> GradientRecord:
    seen: list[Check] = []
    with GradHealth(Settings(histograms=True), sink=seen.append).watch():
        train()
    return seen[0].record


def test_a_watched_pass_without_the_factor_of_a_gradient_scaler() -> None:
    model, x = nn.Linear(20, 10), torch.randn(4, 20)
    scaler = torch.amp.GradScaler("cpu", init_scale=1000.0)  # no power of two: bins do not fall on bins
    record = watched(lambda: scaler.scale(loss(model(x))).backward())
    histogram, expected = record[""].histogram, elements(model, loss(model(x)))
    assert histogram is not None
    assert (histogram.lowest, histogram.highest) == pytest.approx((expected.min(), expected.max()))
    assert histogram.squares == pytest.approx(np.square(expected).sum())
    assert sum(histogram.counts) == expected.size
    assert np.histogram(expected, [-1e9, *histogram.edges[:-1], 1e9])[0] == pytest.approx(histogram.counts, abs=1)


def test_backward_in_two_halves_is_one_gradient() -> None:
    model, x = nn.Linear(3, 2), torch.randn(4, 3)

    def train() -> None:
        output = model(x)
        for half in (output[:2], output[2:]):
            half.square().sum().backward(retain_graph=True)

    assert_is_of(watched(train)[""].histogram, elements(model, model(x).square().sum()))


def test_first_and_last_pass_of_a_loop() -> None:
    model = nn.Linear(3, 2)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)

    def train() -> None:
        for _ in range(2):
            optimiser.zero_grad()
            loss(model(torch.ones(1, 3))).backward()
            optimiser.step()

    record = watched(train)
    assert record.later is not None
    first, last = record[""].histogram, record.later[""].histogram
    assert first is not None
    assert last is not None
    assert abs(last.total) < abs(first.total)


def test_gradients_of_any_framework() -> None:
    seen: list[Check] = []
    gradients = {"fc": {"w": np.array([[1.0, -2.0], [np.nan, 0.5]]), "b": np.array([1j, 2.0])}}
    health = GradHealth(Settings(histograms=True), sink=seen.append)
    with pytest.raises(pytest_gradhealth.GradientHealthError):
        health.check_gradients(gradients)
    assert_is_of(seen[0].record["fc"].histogram, np.array([1.0, -2.0, 0.5, 0.0, 1.0, 2.0, 0.0]))
