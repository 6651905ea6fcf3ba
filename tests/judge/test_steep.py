"""Gradients and signals that explode, saturate, or are no numbers any more."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from networks import (
    BATCHES,
    CLASSES,
    SICK,
    WIDTH,
    Apply,
    batch_normalised,
    blocks,
    chain,
    examined,
    initialised,
    kinds,
    only,
    relu_mlp,
    rows,
)
from records import changed, found, record, signal
from torch import Tensor, nn

# --- by hand -----------------------------------------------------------------------------------------------------


def test_nan_in_one_layer_hides_every_other_finding() -> None:
    sick = [replace(x, reach=1e-9) for x in changed(2, nan=3, norm=math.nan)]
    (finding,) = found(record(sick))
    assert finding.fault == "non-finite"
    assert finding.layer == "fc2"


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_is_a_finding(loss: float) -> None:
    assert [finding.fault for finding in found(record(loss=loss))] == ["non-finite"]


def test_masked_logits_are_no_fault_while_the_loss_is_finite() -> None:
    signals = tuple(signal(n, nonfinite=12 if n == 7 else 0) for n in range(8))
    assert found(record(signals=signals)) == []


def test_an_infinite_norm_of_one_layer_does_not_break_the_others() -> None:
    given = record(changed(7, norm=math.inf, inf=4, sensitivity=math.inf))
    assert [f.fault for f in found(given)] == ["non-finite"]


# --- real models -------------------------------------------------------------------------------------------------


def test_exploding_saturated_tanh() -> None:
    finding = only(examined(*SICK["exploding tanh"][:1], BATCHES), "exploding")
    assert "Tanh layers are saturated" in finding.cause


@pytest.mark.parametrize("factor", [4.0, 10.0, 100.0])
def test_exploding_large_weights(factor: float) -> None:
    build = lambda: initialised(chain(8, nn.ReLU), lambda w: nn.init.normal_(w, std=factor * WIDTH**-0.5))  # noqa: E731
    assert examined(build, BATCHES).findings[0].fault == "exploding"


def test_exploding_a_hundred_layers_of_batch_normalisation() -> None:
    batches = [rows(16, seed=seed) for seed in (1, 2)]
    assert kinds(examined(batch_normalised(100), batches)) == ["exploding"]
    assert kinds(examined(batch_normalised(40), batches, max_elasticity=999)) == ["exploding"]


def loud(std: float) -> Callable[[], nn.Module]:
    """A head whose first logits are this far apart, for inputs of deviation 1."""
    return lambda: initialised(nn.Sequential(nn.Linear(WIDTH, CLASSES)), lambda w: nn.init.normal_(w, std=std / 5))


@pytest.mark.parametrize(("std", "alarm"), [(1.0, False), (20.0, False), (1000.0, True)])
@pytest.mark.parametrize("factor", [1e-6, 1.0])
def test_exploding_at_birth(std: float, alarm: bool, factor: float) -> None:
    check = examined(loud(std), BATCHES, loss=lambda output, target: factor * F.cross_entropy(output, target))
    assert kinds(check) == (["exploding"] if alarm else [])
    if alarm:
        assert "times that of a guess" in check.findings[0].message
        assert not kinds(examined(loud(std), BATCHES, max_initial_loss=None))


def test_padding_and_pixels_do_not_surprise() -> None:
    draw = torch.Generator().manual_seed(0)
    target = torch.randint(CLASSES, (8, 12, 12), generator=draw).masked_fill(torch.rand(8, 12, 12) < 0.5, -100)
    images = torch.randn(8, 3, 12, 12, generator=draw)
    loss = lambda output, target: F.cross_entropy(output, target, label_smoothing=0.1)  # noqa: E731
    check = examined(lambda: nn.Conv2d(3, CLASSES, 1), [(images, target)], loss=loss)
    assert not kinds(check)
    assert check.record.loss_graph
    assert check.record.loss_graph.initial_loss == pytest.approx(1.0, abs=0.2)


def wide_tanh(scale: float, activation: Callable[[], nn.Module] = nn.Tanh) -> Callable[[], nn.Module]:
    """Four bounded layers, each of which is given values of this deviation."""
    norm = lambda: nn.Sequential(nn.LayerNorm(WIDTH), Apply(lambda x: x * scale), activation())  # noqa: E731
    return lambda: chain(4, norm)


@pytest.mark.parametrize("activation", [nn.Tanh, nn.Hardtanh])
def test_saturated_activations_behind_a_normalisation(activation: Callable[[], nn.Module]) -> None:
    finding = only(examined(wide_tanh(20.0, activation), BATCHES), "saturated")
    assert f"4 {activation.__name__} modules" in finding.message
    assert set(finding.layers) <= {f"{2 * i + 1}.0" for i in range(4)}
    assert not kinds(examined(wide_tanh(20.0, activation), BATCHES, max_saturation=None))
    assert not kinds(examined(wide_tanh(1.0, activation), BATCHES))


def test_saturated_gates_are_no_fault() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.value, self.gate, self.shut = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Sigmoid()
            nn.init.constant_(self.gate.bias, 12.0)

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = x + self.value(x) * self.shut(self.gate(x))
            return output

    assert not kinds(examined(blocks(Gated, 4), BATCHES))


def test_non_finite_only_in_backward_names_the_first_layer() -> None:
    finding = only(examined(*SICK["nan in backward"][:1], BATCHES), "non-finite")
    assert finding.layer == "6"  # the module with the square root, behind layer 4 and its activation
    assert "the loss is finite" in finding.message


@pytest.mark.parametrize("bad", [torch.log, lambda x: x / 0, lambda x: torch.exp(x * 1e4)])
def test_non_finite_forward_names_the_first_layer(bad: Callable[[Tensor], Tensor]) -> None:
    build = lambda: chain(5, nn.Tanh, {1: [Apply(bad)]})  # noqa: E731
    finding = only(examined(build, BATCHES), "non-finite")
    assert finding.layer == "4"


def test_non_finite_input_is_not_blamed_on_the_model() -> None:
    x, y = rows()
    x[0, 0] = math.nan
    finding = only(examined(relu_mlp, [(x, y)]), "non-finite")
    assert "the batch itself" in finding.cause
