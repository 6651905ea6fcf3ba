"""What the user gave as data, as a list of batches."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from pytest_gradhealth.errors import MeasurementError
from pytest_gradhealth.measure.losses.describe import describe
from pytest_gradhealth.measure.losses.function import takes_target
from pytest_gradhealth.measure.passes.nesting import tensors

__tracebackhide__ = True

__all__ = ["as_batches", "assumption", "require_order"]


def require_order(model: Any, batches: Any) -> None:
    """Refuse a model in the place of the batches.

    Raises:
        MeasurementError: the two seem to be swapped; the message describes both without their numbers.
    """
    if isinstance(batches, nn.Module) or (
        callable(batches) and not isinstance(batches, Iterable) and not callable(model)
    ):
        raise MeasurementError(
            f"the model comes first, then the batches: got {describe(model)} as the model and {describe(batches)} as "
            "the batches. Write check(model, batches, loss=...)"
        )


def as_batches(given: Any, limit: int, loss: Any = None) -> list[Any]:
    """One batch, or the first ``limit`` of an iterable of batches.

    A tensor, tuple, mapping or dataclass is one batch; any other iterable holds batches. A list is one batch where it
    looks like what a default ``DataLoader`` yields, ``[input, target]``: its items differ in more than their number of
    samples, or are tensors with the same number of samples and the loss has use for a target.

    Raises:
        MeasurementError: there is no batch in it.
    """
    one = _is_batch(given, loss)
    if not one and not isinstance(given, Iterable):
        raise MeasurementError(
            f"batches must be a batch (tensor, tuple, dict, dataclass) or an iterable of batches, got {describe(given)}"
        )
    batches = [given] if one else list(itertools.islice(given, limit))
    if not batches:
        raise MeasurementError(f"batches is empty: {_emptiness(given)}")
    for index, batch in enumerate(batches):
        _require_data(batch, index)
    return batches


def assumption(given: Any, loss: Any = None) -> str:
    """What was assumed of a list that could be read in two ways, and how to say otherwise; empty: it could not."""
    if not isinstance(given, list) or len(given) < 2 or not all(isinstance(item, Tensor) for item in given):
        return ""
    if len(set(map(_form, given))) > 1 or (callable(loss) and not takes_target(loss)):
        return ""
    if not _is_batch(given, loss):
        return (
            f"the list of {len(given)} tensors was taken for {len(given)} batches without a target, since they differ "
            "in their number of samples; for one batch write a tuple: (x, y)"
        )
    return (
        f"the list of {len(given)} tensors was taken for one batch, (inputs..., target), as a DataLoader yields it; "
        "for several batches without a target write [(x,), (y,)]"
    )


def _is_batch(given: Any, loss: Any) -> bool:
    if isinstance(given, Tensor | tuple | Mapping | str | bytes):
        return True
    if dataclasses.is_dataclass(given) and not isinstance(given, type):
        return True
    if not isinstance(given, list):
        return hasattr(given, "to") and not isinstance(given, Iterable)
    if len(set(map(_form, given))) > 1:
        return True
    if callable(loss) and not takes_target(loss):
        return False
    alike = all(isinstance(item, Tensor) and item.ndim for item in given)
    return alike and len(given) > 1 and len({len(item) for item in given}) == 1


def _form(item: Any) -> Any:
    """What batches of one data set have in common: the type, and a tensor's shape but for the number of samples."""
    if isinstance(item, Tensor):
        return item.ndim, item.shape[1:], item.dtype
    return tuple if isinstance(item, list) else type(item)


def _emptiness(given: Any) -> str:
    if iter(given) is given:
        return "the generator was already used up, or yields nothing; pass a list, a DataLoader, or make it anew"
    return f"the {type(given).__name__} yields nothing; give at least one batch"


def _require_data(batch: Any, index: int) -> None:
    sizes = [tensor.numel() for tensor in tensors(batch)]
    if sizes and not any(sizes):
        raise MeasurementError(f"batch {index} holds no samples: every tensor in it is empty")
