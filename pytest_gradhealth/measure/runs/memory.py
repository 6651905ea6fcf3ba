"""What to do where a batch does not fit into the memory of a device: measure a part of it, and say so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pytest_gradhealth.measure.passes.nesting import map_leaves, sample_count
from pytest_gradhealth.measure.passes.statistics import is_ragged

__all__ = ["halved", "is_out_of_memory", "smallest"]

CPU = "can't allocate memory"
"""What torch's own allocator says on the CPU, where it has no error of its own."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether a device, or the machine itself, had no more memory."""
    return isinstance(error, torch.OutOfMemoryError) or CPU in str(error)


def halved(batches: Sequence[Any]) -> list[Any] | None:
    """The first half of every batch; None: they hold less than four samples, or something that cannot be cut."""
    cut = [_cut(batch) for batch in batches]
    return None if None in [smallest([one]) for one in cut] or smallest(cut) == smallest(batches) else cut


def smallest(batches: Sequence[Any]) -> int | None:
    """Samples in the smallest batch; None: unknown."""
    return min((count for batch in batches if (count := sample_count(batch)) is not None), default=None)


def _cut(batch: Any) -> Any:
    count = sample_count(batch) or 0
    if count < 4:
        return batch

    def cut(leaf: Any) -> Any:
        is_of_samples = isinstance(leaf, Tensor) and leaf.ndim and not is_ragged(leaf) and leaf.size(0) == count
        return leaf[: count // 2] if is_of_samples else leaf

    return map_leaves(batch, cut)
