"""Forward statistics of many tensors at a time, each from a sample of its elements.

A model has hundreds of outputs, and most say that nothing is odd: then a sample is enough, and tensors of one shape
share each operation. Where something is odd, the same numbers are taken of all elements.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from pytest_gradhealth.measure.passes import statistics

__all__ = ["SAMPLED", "Samples"]

SAMPLED = 1 << 12
"""Elements of a tensor that its forward statistics are taken from."""
WAITING = 1 << 18
"""Elements of samples that wait for others of their shape, at most: a megabyte."""
RUN = 16
"""Neighbouring elements that are taken together, as they lie in one line of a processor's cache."""
SHORT = 4
"""The same at each position of a sequence, of which fewer are taken: they come from more places."""
SEQUENCES = 32
"""Sequences that tell how much samples differ, and positions of each that tell how much those do."""
KEPT = 1 << 14
"""Elements up to which a whole tensor waits too."""

Numbers = dict[str, float]
Asked = tuple[Callable[..., dict[str, Tensor]], str, bool]
"""What is to be told of a sample: a function, and what it is given beside the samples."""


class _Group(NamedTuple):
    """Samples of one shape of which the same is asked, and where the numbers are to go."""

    samples: list[Tensor]
    numbers: list[Numbers]


class Samples:
    """Takes samples of tensors as they are now; what is told of them is known after ``collect``.

    Args:
        limit: elements of a tensor that are looked at; None: all.
    """

    def __init__(self, limit: int | None = SAMPLED) -> None:
        self._limit = limit
        self.left_out = False
        """Whether there were more elements than the limit."""
        self._groups: dict[tuple[Asked, torch.Size, torch.dtype, torch.device], _Group] = {}
        self._described: list[tuple[list[Numbers], dict[str, Tensor]]] = []

    def add(self, tensor: Tensor, kind: str = "") -> Numbers:
        """Describe a tensor that a module of some kind returned: :func:`statistics.describe`."""
        numbers: Numbers = {}
        values, sequence = statistics.real_values(tensor), statistics.count_positions(tensor) > 0
        slope = kind if statistics.has_slope(kind) else ""
        if slope == "Softmax" and values.ndim:
            self._put((_saturation, slope, False), self._rows(values), numbers)
            slope = ""
        self._put((statistics.describe, slope, sequence), self._sample(values, sequence), numbers)
        return numbers

    def collect(self) -> None:
        """Fill in all numbers, in one transfer from each device."""
        for (asked, *_), group in self._groups.items():
            self._describe(asked, *group)
        self._groups.clear()
        for device in {_device(described) for _, described in self._described}:
            here = [entry for entry in self._described if _device(entry[1]) == device]
            columns = [_column(values) for _, described in here for values in described.values()]
            told = iter(torch.cat(columns).tolist() if columns else [])
            for numbers, described in here:
                for name in described:
                    for one in numbers:
                        one[name] = next(told)
        self._described.clear()

    def _sample(self, values: Tensor, sequence: bool) -> Tensor:
        limit = self._limit
        if limit is None or values.numel() <= limit:
            return values
        self.left_out = True
        shape, strides, offset = _layout(values.shape, values.stride(), limit, sequence)
        return values.as_strided(shape, strides, values.storage_offset() + offset)

    def _rows(self, values: Tensor) -> Tensor:
        """Distributions of a softmax over the last dimension, each whole."""
        rows = values.reshape(-1, values.shape[-1])
        return rows if self._limit is None else rows[:: _step(len(rows), max(self._limit // values.shape[-1], 1))]

    def _put(self, asked: Asked, sample: Tensor, numbers: Numbers) -> None:
        if sample.numel() > KEPT:
            self._describe(asked, [sample], [numbers])
            return
        key = (asked, sample.shape, sample.dtype, sample.device)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group([], [])
        group.samples.append(sample.clone(memory_format=torch.contiguous_format))
        group.numbers.append(numbers)
        if len(group.samples) * sample.numel() >= WAITING:
            self._describe(asked, *self._groups.pop(key))

    def _describe(self, asked: Asked, samples: list[Tensor], numbers: list[Numbers]) -> None:
        describe, kind, sequence = asked
        stacked = samples[0][None] if len(samples) == 1 else torch.stack(samples)
        self._described.append((numbers, describe(stacked, kind=kind, sequence=sequence)))


@lru_cache(maxsize=1 << 12)
def _layout(
    shape: torch.Size, strides: tuple[int, ...], limit: int, sequence: bool
) -> tuple[torch.Size, tuple[int, ...], int]:
    """Shape, strides and offset of a sample of a tensor: most of a model's outputs are alike."""
    values = torch.empty_strided(shape, strides, device="meta")
    sample = _of_sequences(values, limit) if sequence else _of_samples(values, limit)
    return sample.shape, sample.stride(), int(sample.storage_offset())


def _of_samples(values: Tensor, limit: int) -> Tensor:
    """Short runs of elements at equal distances, the same of each sample: (samples, runs, elements)."""
    rows = values[:: _step(len(values), limit)]
    limit = limit // len(rows)
    if values.ndim == 1:
        return rows
    if limit < 2 * RUN or not rows[0].is_contiguous():
        return _thinned(rows, limit)
    length = rows[0].numel()
    distance = RUN * _step(length // RUN, limit // RUN)
    shape, strides = (len(rows), length // distance, RUN), (rows.stride(0), distance, 1)
    return rows.as_strided(shape, strides, rows.storage_offset())


def _of_sequences(values: Tensor, limit: int) -> Tensor:
    """Some samples, of each some positions, of each the same features: (samples, positions, ...)."""
    rows = values[:: _step(len(values), SEQUENCES)]
    limit = limit // len(rows)
    rows = rows[:, :: _step(rows.shape[1], max(limit // min(values.shape[2], RUN), SEQUENCES))]
    samples, positions, width = rows.shape
    count = max(limit // positions, 1)
    if count < 2 * SHORT or width < 2 * count or rows.stride(2) != 1:
        return rows[:, :, :: _step(width, count)]
    runs = count // SHORT
    shape, strides = (samples, positions, runs, SHORT), (*rows.stride()[:2], width // runs, 1)
    return rows.as_strided(shape, strides, rows.storage_offset())


def _step(length: int, limit: int) -> int:
    """The least odd number that leaves no more than the limit."""
    step = -(-length // limit)
    return step if step == 1 else step | 1


def _thinned(values: Tensor, limit: int) -> Tensor:
    """At most ``limit`` elements of each sample, from tensors that lie in any order."""
    while math.prod(values.shape[1:]) > limit:
        longest = max(range(1, values.ndim), key=lambda dim: values.shape[dim])
        step = -(-math.prod(values.shape[1:]) // limit)
        kept = max(values.shape[longest] // step, values.shape[longest] // 8, 1)
        index = [slice(None)] * values.ndim
        index[longest] = slice(None, None, _step(values.shape[longest], kept))
        values = values[tuple(index)]
    return values


def _saturation(rows: Tensor, kind: str, **given: object) -> dict[str, Tensor]:
    return {"flat": statistics.saturation(kind, rows)}


def _device(described: dict[str, Tensor]) -> torch.device:
    return next(iter(described.values())).device


def _column(values: Tensor) -> Tensor:
    return values.to(statistics.wide(values))
