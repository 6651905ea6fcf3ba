"""Where a model is measured: as it is where it can stay, else as a copy on another device or in another precision."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from pytest_gradhealth.errors import MeasurementError
from pytest_gradhealth.measure.losses.describe import describe
from pytest_gradhealth.measure.passes.interrupts import delivered
from pytest_gradhealth.measure.passes.structure import modules_of, parameters_of
from pytest_gradhealth.measure.precisions.precision import Precision
from pytest_gradhealth.measure.runs.devices import own_device
from pytest_gradhealth.measure.runs.trainable import require_trainable
from pytest_gradhealth.measure.sharding.ranks import ranks_of

__tracebackhide__ = True

__all__ = ["build", "copied_model", "placed"]


def build(model: nn.Module | Callable[[], nn.Module]) -> nn.Module:
    """The model itself, or what the user's factory makes.

    Raises:
        MeasurementError: it is no model, or nothing of it can be measured.
    """
    if not isinstance(model, nn.Module):
        if not callable(model):
            raise MeasurementError(f"model must be an nn.Module or a function that makes one, got {describe(model)}")
        made = delivered(model)
        if not isinstance(made, nn.Module):
            raise MeasurementError(f"the model factory must return an nn.Module, got {type(made).__name__}")
        model = made
    inner = getattr(model, "_orig_mod", None)  # torch.compile fuses hooks away: judge the eager module
    model = inner if isinstance(inner, nn.Module) else model
    if isinstance(model, torch.jit.ScriptModule):
        raise MeasurementError("a scripted model hides its layers: give the nn.Module it was made from")
    require_trainable(model)
    return model


def placed(model: nn.Module, device: torch.device | None, precision: Precision | None = None) -> nn.Module:
    """The model itself where it can stay; a copy where measuring would have to move or initialise it.

    A model that several processes train stays where they have put it.
    """
    parameters = parameters_of(modules_of(model)).values()
    lazy = any(map(nn.parameter.is_lazy, parameters))
    other = precision if precision is not None and not precision.suits(model) else None
    moves = device is not None and _is_elsewhere(parameters, device) and ranks_of(model) is None
    if not (lazy or other or moves):
        return model
    made = copied_model(model)
    if other is not None:
        made = made.to(other.dtype)
    return made.to(own_device(device)) if device is not None else made


def _is_elsewhere(parameters: Iterable[nn.Parameter], device: torch.device) -> bool:
    """A model spread over devices of the kind that was asked for stays as its owner placed it."""
    homes = {parameter.device for parameter in parameters}
    if {home.type for home in homes} != {device.type}:
        return True
    return device.index is not None and device not in homes


def copied_model(model: nn.Module) -> nn.Module:
    """A deep copy, also of what torch refuses to copy: lazy buffers, and results of a computation kept by a module."""
    memo: dict[int, Any] = {}
    for module in model.modules():
        for buffer in module.buffers(recurse=False):
            if nn.parameter.is_lazy(buffer):
                memo[id(buffer)] = _lazy_buffer(buffer)
        for value in vars(module).values():
            if isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    return copy.deepcopy(model, memo)


def _lazy_buffer(like: Tensor) -> Tensor:
    made: Callable[..., Tensor] = nn.parameter.UninitializedBuffer
    return made(dtype=like.dtype, device=like.device)
