"""Unusual models and surroundings: the right numbers, or an error that says what is wrong and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytest_gradhealth import GradHealth, MeasurementError, Settings

HEALTH = GradHealth(Settings(device="cpu"))
BATCH = (torch.randn(16, 8), torch.arange(16) % 3)


def norms(model: nn.Module, batch: Any = BATCH) -> list[float | None]:
    return [layer.norm for layer in HEALTH.check(model, batch, loss=F.cross_entropy)]


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
def test_a_layer_without_inputs() -> None:
    """The last cluster of an adaptive softmax, where each has a quarter of the features of the one before it."""
    model = nn.AdaptiveLogSoftmaxWithLoss(8, 20, [5, 10])
    record = HEALTH.measure(model, (torch.randn(16, 8), torch.arange(16) + 4), step=lambda m, b: m(*b).loss)
    assert record["head"].norm
    assert record.names == ("tail.0.0", "tail.0.1", "head")


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
@pytest.mark.filterwarnings("ignore:Initializing zero-element")
def test_a_linear_layer_of_no_width(shape: tuple[int, int]) -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.main, self.empty = nn.Linear(8, 3), nn.Linear(*shape)

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = self.main(x) + self.empty(x[:, : shape[0]]).sum(-1, keepdim=True)
            return output

    record = HEALTH.measure(Odd(), BATCH, loss=F.cross_entropy)
    assert record["main"].norm


@pytest.fixture
def on_meta() -> Iterator[None]:
    torch.set_default_device("meta")
    yield
    torch.set_default_device(None)


def test_another_default_device(request: pytest.FixtureRequest) -> None:
    model = small()
    expected = norms(model)
    request.getfixturevalue("on_meta")
    assert norms(model) == expected
    assert torch.get_default_device().type == "meta"


@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode])
def test_a_surrounding_without_gradients(around: Any) -> None:
    model = small()
    expected = norms(model)
    with around():
        assert norms(model) == expected
        assert norms(model, (BATCH[0].clone(), BATCH[1].clone())) == expected  # numbers that no graph may be built of
        assert HEALTH.check(small, BATCH, loss=F.cross_entropy)[0].norm == expected[0]  # made inside


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: nn.Linear(8, 3, device="meta"), "2 parameters (weight, bias) of Linear on the meta device"),
        (lambda: torch.inference_mode()(nn.Linear)(8, 3), "2 parameters (weight, bias) of Linear made inside torch.inference"),
    ],
)  # fmt: skip
def test_parameters_that_nothing_can_come_to(make: Any, words: str) -> None:
    with pytest.raises(MeasurementError) as caught:
        norms(make())
    assert str(caught.value).startswith(words)


def test_modules_that_torch_cannot_list() -> None:
    class Equal(nn.Linear):
        def __eq__(self, other: object) -> bool:
            return True

    with pytest.raises(MeasurementError, match="must define __hash__ too"):
        norms(Equal(8, 3))


def test_modules_that_are_equal_to_others() -> None:
    class Equal(nn.Linear):
        def __eq__(self, other: object) -> bool:
            return isinstance(other, Equal) and self.in_features == other.in_features

        __hash__ = nn.Module.__hash__

    torch.manual_seed(0)
    model = nn.Sequential(Equal(8, 8), nn.ReLU(), Equal(8, 3))
    before = [p.clone() for p in model.parameters()]
    assert all(norms(model))
    assert all(map(torch.equal, model.parameters(), before))


def test_attributes_that_are_never_missing() -> None:
    class Lenient(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = small()

        def __getattr__(self, name: str) -> Any:
            try:
                return super().__getattr__(name)
            except AttributeError:
                if name.startswith("__"):
                    raise
                return None

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = self.inner(x)
            return output

    assert norms(Lenient()) == norms(small())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("where", ["input", "parameter", "loss"])
def test_numbers_that_are_none(value: float, where: str) -> None:
    model, (x, y) = small(), BATCH
    if where == "input":
        x = x.clone().fill_(value)
    if where == "parameter":
        nn.init.constant_(model[0].weight, value)
    scale = value if where == "loss" else 1.0
    with pytest.raises(AssertionError) as caught:
        HEALTH.check(model, (x, y), loss=lambda out, target: F.cross_entropy(out, target) * scale)
    assert "NaN" in str(caught.value) or "infinit" in str(caught.value) or "inf" in str(caught.value)
