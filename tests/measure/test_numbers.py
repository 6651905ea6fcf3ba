"""Every number of a record, against one worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from pytest_gradhealth.record import GradientRecord

Measured = Callable[..., GradientRecord]


def two_layers() -> nn.Sequential:
    """For x = (1, 1) the hidden values are (3, 7) and the output is 110."""
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1))
    weights = ([[1.0, 2.0], [3.0, 4.0]], [[1.0, 1.0]], [100.0])
    with torch.no_grad():
        for parameter, values in zip(model.parameters(), weights, strict=True):
            parameter.copy_(torch.tensor(values))
    return model


def total(output: Tensor) -> Tensor:
    return output.sum()


@pytest.fixture
def record(measured: Measured) -> GradientRecord:
    return measured(two_layers(), torch.ones(1, 2, requires_grad=True), loss=total)


def test_gradient_norms(record: GradientRecord) -> None:
    # dL/dW1 = ones(2, 2); dL/dW2 = (3, 7) and dL/db2 = 1
    assert record["0"].norm == pytest.approx(2.0)
    assert record["1"].norm == pytest.approx(math.sqrt(9 + 49 + 1))


def test_norms_of_single_parameters(record: GradientRecord) -> None:
    assert [found.name for found in record["1"].gradients] == ["weight", "bias"]
    assert record["1"]["weight"].norm == pytest.approx(math.sqrt(9 + 49))
    assert record["1"]["weight"].shape == (1, 2)
    assert record["1"]["bias"].vector_norm() == record["1"]["bias"].norm == pytest.approx(1.0)
    with pytest.raises(KeyError, match="no trainable parameter 'wieght' in '1'; it has weight, bias"):
        record["1"]["wieght"]


def test_norms_of_order_inf_are_measured_on_request(measured: Measured, record: GradientRecord) -> None:
    asked = measured(two_layers(), torch.ones(1, 2, requires_grad=True), loss=lambda out: -out.sum(), histograms=True)
    assert asked["1"]["weight"].vector_norm(math.inf) == pytest.approx(7.0)
    assert asked["1"]["bias"].vector_norm(math.inf) == pytest.approx(1.0)
    assert asked["1"].vector_norm(math.inf) == pytest.approx(7.0)
    assert asked["1"].vector_norm() == asked["1"].norm
    with pytest.raises(ValueError, match="measured on request only: give histograms=True"):
        record["1"].vector_norm(math.inf)
    with pytest.raises(ValueError, match="ord=1 is not measured"):
        record["1"]["weight"].vector_norm(1)


@pytest.mark.parametrize(("value", "norm"), [(math.inf, math.inf), (math.nan, math.nan)])
def test_a_norm_of_order_inf_hides_nothing(measured: Measured, value: float, norm: float) -> None:
    record = measured(two_layers(), torch.ones(1, 2), loss=lambda out: (out * value).sum(), histograms=True)
    assert record["1"].vector_norm(math.inf) == pytest.approx(norm, nan_ok=True)


def test_parameters_without_a_gradient_are_listed(measured: Measured) -> None:
    class Half(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return x @ self.weight.T

    record = measured(Half(2, 1), torch.ones(1, 2), loss=total)
    assert record[""]["bias"].norm is None
    again = GradientRecord.from_dict(record.to_dict())
    assert [(found.name, found.shape) for found in again[""].gradients] == [("weight", (1, 2)), ("bias", (1,))]


def test_weight_norms(record: GradientRecord) -> None:
    assert record["0"].weight_norm == pytest.approx(math.sqrt(1 + 4 + 9 + 16))
    assert record["1"].weight_norm == pytest.approx(math.sqrt(1 + 1 + 100**2))


def test_sensitivity_is_norm_times_weight_norm(record: GradientRecord) -> None:
    assert record["0"].sensitivity == pytest.approx(2 * math.sqrt(30))
    assert record["1"].sensitivity == pytest.approx(math.sqrt(59) * math.sqrt(10_002))


def test_reach_is_the_share_of_the_strongest_sensitivity(record: GradientRecord) -> None:
    assert record["0"].reach == pytest.approx(2 * math.sqrt(30) / (math.sqrt(59) * math.sqrt(10_002)))
    assert record["1"].reach == 1.0


def test_reach_is_not_lowered_by_a_weak_layer_behind_a_strong_one(measured: Measured) -> None:
    model = nn.Sequential(*(nn.Linear(2, 2, bias=False) for _ in range(3)))
    with torch.no_grad():
        for parameter, size in zip(model.parameters(), (4.0, 1.0, 0.0), strict=True):
            parameter.copy_(size * torch.eye(2))
    model[1].weight.requires_grad_(False)
    layers = measured(model, torch.ones(1, 2), step=lambda m, x: m(x).sum() + m[0].weight.sum()).layers
    # dL/dW0 = 1 (from the penalty only: the zero weight lets nothing through), |W0| = sqrt 32; the others bring nothing
    assert [layer.sensitivity for layer in layers] == pytest.approx([2 * math.sqrt(32), 0, 0])
    assert [layer.reach for layer in layers] == [1, 1, 1]


def test_signal_is_the_gradient_of_the_output(record: GradientRecord) -> None:
    assert record["1"].signal == pytest.approx(1.0)
    assert record["0"].signal == pytest.approx(math.sqrt(2))


def test_gain_is_the_change_of_the_signal_on_its_way_back(record: GradientRecord) -> None:
    assert record["1"].gain == pytest.approx(math.sqrt(2) / 1)
    # W1 transposed times (1, 1) is (4, 6), the gradient of the input
    assert record["0"].gain == pytest.approx(math.hypot(4, 6) / math.sqrt(2))


def test_gains_multiply_to_the_change_over_the_whole_network(measured: Measured) -> None:
    model = nn.Sequential(*(layer for _ in range(5) for layer in (nn.Linear(4, 4), nn.Tanh())))
    layers = measured(model, torch.randn(3, 4), loss=total).layers
    assert math.prod(layer.gain or math.nan for layer in layers[1:]) == pytest.approx(
        (layers[0].signal or math.nan) / (layers[-1].signal or math.nan)
    )


def test_gain_of_a_parent_that_owns_parameters_does_not_break_the_chain(measured: Measured) -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(4))
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return 1e3 * self.second(self.first(x * self.scale))

    record = measured(Scaled(), torch.randn(3, 4), loss=total)
    first, second = record["first"], record["second"]
    # The parent's output lies behind both: its signal is no measure of what went on between them.
    assert record[""].gain is None
    assert first.gain == pytest.approx((record.signals[1].input_gradient or math.nan) / (first.signal or math.nan))
    assert second.gain == pytest.approx((first.signal or math.nan) / (second.signal or math.nan))


def test_the_models_size(record: GradientRecord) -> None:
    first, second = record
    assert (first.kind, first.order, first.parameters, first.trainable, first.shape) == ("Linear", 1, 4, 4, (2, 2))
    assert (second.kind, second.order, second.parameters, second.trainable, second.shape) == ("Linear", 2, 3, 3, (1, 2))


def test_the_circumstances(record: GradientRecord) -> None:
    assert (record.model, record.device, record.precision) == ("Sequential", "cpu", "float32")
    assert (record.batches, record.samples, record.loss, record.seed, record.steps) == (1, 1, 110.0, 0, 0)
    assert record.torch == torch.__version__


@pytest.mark.parametrize(("scales", "median"), [((1, 5, 2), 2.0), ((4, 1), 2.5), ((3,), 3.0)])
def test_batches_are_combined_by_the_median_with_the_spread_kept(
    measured: Measured, scales: tuple[int, ...], median: float
) -> None:
    model = nn.Linear(1, 1, bias=False)
    layer = measured(model, [torch.full((1, 1), float(scale)) for scale in scales], loss=total)[""]
    assert (layer.norm, layer.lowest, layer.highest) == (median, min(scales), max(scales))


def test_the_loss_is_the_median_and_the_samples_those_of_the_smallest_batch(measured: Measured) -> None:
    with torch.no_grad():
        (model := nn.Linear(1, 1, bias=False)).weight.fill_(1.0)
    record = measured(model, [torch.ones(4, 1), torch.ones(2, 1), torch.ones(3, 1)], loss=total)
    assert (record.batches, record.samples, record.loss) == (3, 2, 3.0)


def test_dead_is_the_share_of_units_without_gradient(measured: Measured) -> None:
    model = nn.Sequential(nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0], [1.0], [-1.0], [-1.0]]))
        model[0].bias.zero_()
        model[2].weight.fill_(1.0)
    once = measured(model, torch.ones(2, 1), loss=total)["0"]
    assert (once.dead, once.units, once.zero_gradients) == (0.5, 4, ())
    # A unit that lives in any batch is alive.
    both = measured(model, [torch.ones(2, 1), -torch.ones(2, 1)], loss=total)["0"]
    assert (both.dead, both.units) == (0.0, 4)


def test_a_layer_of_which_no_unit_lives(measured: Measured) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    with torch.no_grad():
        model[0].bias.fill_(-100.0)
    layer = measured(model, torch.randn(4, 2), loss=total)["0"]
    assert (layer.norm, layer.dead, layer.zero_gradients, layer.missing) == (0.0, 1.0, ("weight", "bias"), ())


def test_the_units_of_a_convolution_and_its_transpose(measured: Measured) -> None:
    model = nn.Sequential(nn.Conv2d(1, 5, 3), nn.ReLU(), nn.ConvTranspose2d(5, 2, 3))
    with torch.no_grad():
        model[0].weight.abs_()
        model[0].bias[:2] = -100.0
    record = measured(model, torch.rand(2, 1, 8, 8), loss=total)
    assert (record["0"].units, record["0"].dead) == (5, 0.4)
    assert (record["2"].units, record["2"].dead) == (2, 0.0)


def test_a_unit_with_two_weights_dies_only_where_both_do(measured: Measured) -> None:
    """The input of the first step is zero and so is the gradient of its weights, not that of the recurrent ones."""
    record = measured(nn.RNN(3, 4, batch_first=True), torch.zeros(2, 5, 3), step=lambda m, x: m(x)[0].sum())
    assert record[""].zero_gradients == ("weight_ih_l0",)
    assert (record[""].units, record[""].dead) == (4, 0.0)


def test_rows_of_an_embedding_are_no_units(measured: Measured) -> None:
    model = nn.Sequential(nn.Embedding(100, 4), nn.Flatten(), nn.Linear(8, 2))
    record = measured(model, torch.tensor([[1, 2]]), loss=total)
    assert (record["0"].dead, record["0"].units) == (0.0, 0)


def test_missing_zero_and_closed_parameters_are_told_apart(measured: Measured) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used = nn.Linear(2, 2)
            self.unused = nn.Linear(2, 2)
            self.gated = nn.Linear(2, 2)
            nn.init.zeros_(self.gated.weight)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x).sum() + 0 * self.gated(x).sum()

    record = measured(Model(), torch.randn(3, 2))
    assert record["unused"].missing == ("weight", "bias")
    assert (record["unused"].norm, record["unused"].arrived) == (None, False)
    assert (record["gated"].zero_gradients, record["gated"].zero_weights) == (("weight", "bias"), ("weight",))
    assert (record["used"].missing, record["used"].zero_gradients, record["used"].zero_weights) == ((), (), ())


def test_nan_and_inf_are_counted(measured: Measured) -> None:
    model = nn.Linear(3, 1, bias=False)
    layer = measured(model, torch.tensor([[math.nan, math.inf, 1.0]]), loss=total)[""]
    assert (layer.nan, layer.inf) == (1, 1)
    assert not math.isfinite(layer.norm or 0.0)


def test_a_nan_loss_is_recorded_and_every_gradient_counted(measured: Measured) -> None:
    record = measured(nn.Linear(2, 2), torch.randn(3, 2), loss=lambda out: out.sum() * math.nan)
    assert math.isnan(record.loss or 0.0)
    assert (record[""].nan, record[""].inf) == (6, 0)


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_gradients_whose_squares_leave_the_range_of_float32(measured: Measured, size: float) -> None:
    record = measured(two_layers(), torch.ones(1, 2), loss=lambda out: out.sum() * size)
    assert record["0"].norm == pytest.approx(2.0 * size)
    assert record["1"].norm == pytest.approx(math.sqrt(59) * size)
    assert record["0"].signal == pytest.approx(math.sqrt(2) * size)
    assert record["1"].gain == pytest.approx(math.sqrt(2))
    assert record["0"].zero_gradients == ()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_gradients_whose_squares_leave_the_range_of_float64(measured: Measured, size: float) -> None:
    """Two parameters of 3 and 4 each: the norm of the norms must not be squared either."""
    model = nn.Linear(1, 1).double()
    layer = measured(model, torch.full((1, 1), 0.75).double(), loss=lambda out: out.sum() * 4 * size)[""]
    assert layer.norm == pytest.approx(5 * size, rel=1e-9, abs=0)


def test_what_a_signal_knows_of_its_modules_output(measured: Measured) -> None:
    record = measured(two_layers(), torch.ones(1, 2), loss=total)
    whole, first, last = record.signals
    assert [s.name for s in record.signals] == ["", "0", "1"]
    assert (first.rms, first.peak, first.input_min, first.input_max) == pytest.approx((math.sqrt(29), 7, 1, 1))
    assert (last.rms, last.peak, whole.calls, whole.attached, first.input_attached, last.input_attached) == (
        110,
        110,
        1,
        True,
        False,
        True,
    )


def test_samples_and_tokens_are_undefined_where_there_is_nothing_to_compare(measured: Measured) -> None:
    signal = measured(nn.Linear(2, 2), torch.randn(1, 2), loss=total).signals[0]
    assert (signal.sample_variation, signal.token_variation) == (None, None)


def test_how_much_samples_differ(measured: Measured) -> None:
    with torch.no_grad():
        (model := nn.Linear(1, 1, bias=False)).weight.fill_(1.0)
    # 1 and 3: mean 2, distance 1, root mean square sqrt 5
    assert measured(model, torch.tensor([[1.0], [3.0]]), loss=total).signals[0].sample_variation == pytest.approx(
        1 / 5**0.5
    )


def test_an_output_of_zeros_does_not_differ_by_nan(measured: Measured) -> None:
    model = nn.Linear(2, 2)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    signal = measured(model, torch.randn(3, 2), loss=total).signals[0]
    assert (signal.rms, signal.zeros, signal.sample_variation) == (0.0, 1.0, None)
