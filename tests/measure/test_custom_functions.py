"""The backward of a ``torch.autograd.Function`` beside the derivative of its forward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytest_gradhealth.record import CustomFunction, GradientRecord

Measured = Callable[..., GradientRecord]
Backward = Callable[[Any, Tensor], Tensor]


def function(name: str, forward: Callable[[Tensor], Tensor], backward: Callable[[Tensor, Tensor], Tensor]) -> Any:
    """A Function from what its forward makes of x, and its backward of x and the gradient that comes back."""

    def save(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return forward(x)

    body = {"forward": staticmethod(save), "backward": staticmethod(lambda ctx, g: backward(ctx.saved_tensors[0], g))}
    return type(name, (torch.autograd.Function,), {"__module__": __name__, **body})


def slope(x: Tensor) -> Tensor:
    """The derivative of x * sigmoid(x)."""
    return x.sigmoid() * (1 + x * (1 - x.sigmoid()))


def swish(backward: Callable[[Tensor, Tensor], Tensor]) -> Any:
    return function("Swish", lambda x: x * x.sigmoid(), backward)


class Applying(nn.Module):
    def __init__(self, applied: Any) -> None:
        super().__init__()
        self.inner, self.head, self.applied = nn.Linear(6, 16), nn.Linear(16, 5), applied

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.head(self.applied.apply(self.inner(x)))
        return made


def found(measured: Measured, applied: Any) -> tuple[CustomFunction, ...]:
    draw = torch.Generator().manual_seed(0)
    batch = torch.randn(8, 6, generator=draw), torch.randint(5, (8,), generator=draw)
    return measured(lambda: Applying(applied), batch, loss=F.cross_entropy).custom_functions


@pytest.mark.parametrize(
    "backward",
    [lambda x, g: slope(x), lambda x, g: g * x.sigmoid(), lambda x, g: -g * slope(x), lambda x, g: torch.zeros_like(g)],
    ids=["ignores what comes back", "a term forgotten", "sign", "nothing"],
)
def test_a_backward_that_is_not_the_gradient(measured: Measured, backward: Any) -> None:
    (told,) = found(measured, swish(backward))
    assert told.name == "Swish"
    assert told.difference > 0.01


def test_a_backward_that_is_the_gradient(measured: Measured) -> None:
    (told,) = found(measured, swish(lambda x, g: g * slope(x)))
    assert told.difference < 1e-6


@pytest.mark.parametrize(
    ("forward", "backward"),
    [
        (lambda x: x.view_as(x), lambda x, g: -0.5 * g),
        (torch.round, lambda x, g: g),
        (torch.sign, lambda x, g: g / (1 + x.abs()) ** 2),
    ],
    ids=["gradient reversal", "straight-through", "surrogate"],
)
def test_a_gradient_that_is_changed_on_purpose(measured: Measured, forward: Any, backward: Any) -> None:
    assert not found(measured, function("OnPurpose", forward, backward))


class Masked(torch.autograd.Function):
    """Keeps what is above zero, and lets every gradient through."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * (x > 0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


class WayBack(torch.autograd.Function):
    """A product whose gradient takes a way of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, way_back: Tensor) -> Tensor:
        ctx.save_for_backward(way_back)
        return x @ weight

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient @ ctx.saved_tensors[0].T, None, None


class FeedbackAlignment(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(6, 16), nn.Linear(8, 5)
        self.register_buffer("weight", torch.randn(16, 8))
        self.register_buffer("way_back", torch.randn(16, 8))

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.head(WayBack.apply(self.inner(x), self.weight, self.way_back))
        return made


def test_a_gradient_that_passes_straight_through_a_mask(measured: Measured) -> None:
    (told,) = found(measured, Masked)
    assert told.difference < 1e-6


def test_a_way_back_of_its_own(measured: Measured) -> None:
    batch = torch.randn(8, 6), torch.randint(5, (8,))
    assert not measured(FeedbackAlignment, batch, loss=F.cross_entropy).custom_functions


def test_nothing_of_the_function_is_left_changed(measured: Measured) -> None:
    applied = swish(lambda x, g: g * slope(x))
    found(measured, applied)
    assert "apply" not in vars(applied)
