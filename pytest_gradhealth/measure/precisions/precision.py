"""A precision that a model is checked in: its parameters and batches converted, or its forward pass under autocast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pytest_gradhealth.errors import MeasurementError
from pytest_gradhealth.measure.passes.nesting import map_leaves
from pytest_gradhealth.measure.sharding.ranks import ranks_of

__tracebackhide__ = True

__all__ = ["FIRST_SCALE", "Precision", "precision_of"]

FIRST_SCALE = 65536.0
"""What ``torch.amp.GradScaler`` begins with."""


class Precision(NamedTuple):
    """One precision."""

    name: str
    """As in settings and records: ``bfloat16``, ``autocast-bfloat16``."""
    dtype: torch.dtype
    autocast: bool
    """Whether parameters stay as they are, and torch chooses for each operation."""

    @property
    def first_scale(self) -> float:
        """What the loss is multiplied with at first, as with autocast to float16 it is trained."""
        return FIRST_SCALE if self.autocast and self.dtype == torch.float16 else 1.0

    def suits(self, model: nn.Module) -> bool:
        """Whether a model has it already.

        Raises:
            MeasurementError: several processes hold the model, so that it cannot be copied into another precision.
        """
        if ranks_of(model) is not None:
            raise MeasurementError(
                f"dtypes: {self.name} cannot be given to a model that several processes train; leave dtypes out, and "
                "give fully_shard a MixedPrecisionPolicy"
            )
        return self.autocast or all(p.dtype == self.dtype for p in model.parameters() if p.is_floating_point())

    def batches(self, given: Sequence[Any]) -> Sequence[Any]:
        """The batches with their floating-point numbers in it; autocast takes them as they are."""
        return given if self.autocast else [map_leaves(batch, self._converted) for batch in given]

    def step(self, step: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
        """The step under autocast, where that is asked for."""
        if not self.autocast:
            return step

        @wraps(step)
        def cast(*args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            with torch.autocast(device.type, self.dtype):
                return step(*args, **kwargs)

        return cast

    def _converted(self, leaf: Any) -> Any:
        return leaf.to(self.dtype) if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf


def precision_of(name: str) -> Precision:
    """A precision by its name in the settings."""
    kind = name.removeprefix("autocast-")
    return Precision(name, getattr(torch, kind), autocast=kind != name)
