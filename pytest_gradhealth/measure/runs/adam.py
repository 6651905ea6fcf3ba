"""Adam as in Kingma and Ba (2015), https://arxiv.org/abs/1412.6980, algorithm 1, without weight decay.

``torch.optim`` imports the compiler with the first optimiser it makes: seconds of a test run for eight steps.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from pytest_gradhealth.measure.passes.nesting import shard_of
from pytest_gradhealth.measure.sharding.shares import placed_as

__all__ = ["Adam"]

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class Adam:
    """Moves parameters by about ``rate`` a step, whatever the size of their gradients.

    Args:
        parameters: what is moved.
        rate: the learning rate.
        widened: whether gradients in half precision are averaged in single precision. ``torch.optim.Adam`` does not:
            there neither small squares nor epsilon are above zero.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], rate: float, *, widened: bool = True) -> None:
        self._parameters, self._rate, self._widened = list(parameters), rate, widened
        self._moments: dict[Tensor, tuple[Tensor, Tensor]] = {}
        self._steps = 0

    @torch.no_grad()
    def step(self) -> None:
        """One step along the gradients; parameters without one stay."""
        self._steps += 1
        for parameter in self._parameters:
            if parameter.grad is not None and parameter.numel():
                self._move(shard_of(parameter), shard_of(placed_as(parameter, parameter.grad)).to_dense())

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    def _move(self, parameter: Tensor, gradient: Tensor) -> None:
        if self._widened and gradient.dtype in (torch.float16, torch.bfloat16):
            gradient = gradient.float()
        zeros = (torch.zeros_like(gradient), torch.zeros_like(gradient.abs()))
        mean, square = self._moments.setdefault(parameter, zeros)
        mean.lerp_(gradient, 1 - BETA1)
        square.lerp_(gradient.abs() ** 2, 1 - BETA2)
        size = (square / (1 - BETA2**self._steps)).sqrt() + EPSILON
        parameter.sub_(self._rate * mean / (1 - BETA1**self._steps) / size)
