"""What the user gave as data, as a list of batches."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from pytest_gradhealth.errors import MeasurementError
from pytest_gradhealth.measure.passes.nesting import tensors

__tracebackhide__ = True

__all__ = ["as_batches"]


def as_batches(given: Any, limit: int) -> list[Any]:
    """One batch, or the first ``limit`` of an iterable of batches.

    A tensor, tuple, mapping or dataclass is one batch; any other iterable holds batches. A list of tensors that
    differ in more than their number of samples is one batch too: a default ``DataLoader`` yields ``[input, target]``.

    Raises:
        MeasurementError: there is no batch in it.
    """
    if not _is_batch(given) and not isinstance(given, Iterable):
        raise MeasurementError(
            f"batches must be a batch (tensor, tuple, dict, dataclass) or an iterable of batches, "
            f"got {type(given).__name__}"
        )
    batches = [given] if _is_batch(given) else list(itertools.islice(given, limit))
    if not batches:
        raise MeasurementError(f"batches is empty: {_emptiness(given)}")
    for index, batch in enumerate(batches):
        _require_data(batch, index)
    return batches


def _is_batch(given: Any) -> bool:
    if isinstance(given, Tensor | tuple | Mapping | str | bytes):
        return True
    if dataclasses.is_dataclass(given) and not isinstance(given, type):
        return True
    if not (isinstance(given, list) and given and all(isinstance(item, Tensor) for item in given)):
        return hasattr(given, "to") and not isinstance(given, Iterable)
    return len({(item.shape[1:], item.ndim, item.dtype) for item in given}) > 1


def _emptiness(given: Any) -> str:
    if iter(given) is given:
        return "the generator was already used up, or yields nothing; pass a list, a DataLoader, or make it anew"
    return f"the {type(given).__name__} yields nothing; give at least one batch"


def _require_data(batch: Any, index: int) -> None:
    sizes = [tensor.numel() for tensor in tensors(batch)]
    if sizes and not any(sizes):
        raise MeasurementError(f"batch {index} holds no samples: every tensor in it is empty")
