"""What a model is given: how large its inputs are, and how uneven their features."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pytest_gradhealth.measure.passes.statistics import is_ragged
from pytest_gradhealth.record import ModelInput

__all__ = ["describe", "noted_inputs"]

ENOUGH = 1 << 18
"""Elements of an input that tell its scale."""


@contextmanager
def noted_inputs(model: nn.Module) -> Iterator[list[ModelInput]]:
    """Describe the floating-point inputs of the first call of a model, under the names of its arguments."""
    found: list[ModelInput] = []

    def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        handle.remove()
        given = {**{str(i): value for i, value in enumerate(args)}, **kwargs}
        found.extend(describe(name, value) for name, value in given.items() if _is_numbers(value))

    handle = model.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield found
    finally:
        handle.remove()


@torch.no_grad()
def describe(name: str, given: Tensor) -> ModelInput:
    """Scale of an input of shape (samples, ...); of shape (samples, features) also of its largest feature."""
    values = given.detach()[: max(ENOUGH // max(given[0].numel(), 1), 1)].float()
    finite = values.nan_to_num(0.0, 0.0, 0.0)
    feature, scale = _largest_feature(finite)
    return ModelInput(
        name=name,
        shape=tuple(given.shape),
        rms=float(finite.square().mean().sqrt()),
        low=float(finite.min()),
        high=float(finite.max()),
        whole=bool((finite == finite.round()).all()),
        feature=feature,
        feature_scale=scale,
    )


def _largest_feature(values: Tensor) -> tuple[int | None, float]:
    """The feature with the largest root mean square, and that over the median feature's."""
    if values.ndim != 2 or values.shape[1] < 2:
        return None, 1.0
    sizes = values.square().mean(0).sqrt()
    middle = float(sizes[sizes > 0].median()) if bool((sizes > 0).any()) else 0.0
    return int(sizes.argmax()), float(sizes.max()) / middle if middle else 1.0


def _is_numbers(value: Any) -> bool:
    if not isinstance(value, Tensor) or not value.is_floating_point() or is_ragged(value):
        return False
    return value.ndim > 1 and bool(value.numel())
