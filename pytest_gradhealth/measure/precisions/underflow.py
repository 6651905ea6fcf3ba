"""What of a gradient a narrower format would lose, forecast from the gradient as it was measured.

The elements are counted by the first bits of a float32 (see ``passes/histogram``), an eighth of a power of two wide. So
every limit of a format is known to that, on any machine, whether it has the format or not.

Sources: Micikevicius et al., "Mixed Precision Training" (2018), for float16 and loss scaling; Micikevicius et al., "FP8
Formats for Deep Learning" (2022), for float8 with one scale for each tensor.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from pytest_gradhealth.measure.passes.histogram import BINS, SHIFT, Tally
from pytest_gradhealth.measure.passes.parameters import largest_of
from pytest_gradhealth.measure.passes.results import ParameterPass, Pass
from pytest_gradhealth.record import GradientRecord, Underflow, parent_of

__all__ = ["Format", "format_of", "with_underflow"]

KEPT = 0.99
"""Share of the elements that a loss scale is to keep from zero."""
EDGES: npt.NDArray[np.float64] = (
    (np.arange(255 << 23 >> SHIFT, dtype=np.uint32) << SHIFT).view(np.float32).astype(np.float64)
)
"""Where the bins of finite sizes begin; the first holds zero."""


class Format(NamedTuple):
    """The range of a number format."""

    name: str
    largest: float
    normal: float
    """The smallest number with all its digits."""
    smallest: float
    """The smallest number at all; up to half of it rounds to zero."""
    scaled: bool
    """Whether each tensor is multiplied so that its largest element is the format's, as is done for float8."""


class _Tensor(NamedTuple):
    """The sizes of one gradient's elements that are not zero."""

    counts: npt.NDArray[np.int64]
    largest: float
    unit: float

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    def below(self, size: float) -> float:
        """Number of elements below a size; in the bin that it cuts, as if they lay evenly."""
        place = int(np.searchsorted(EDGES, size / self.unit, side="right")) - 1
        if place + 1 >= len(EDGES):
            return float(self.total)
        share = (size / self.unit - EDGES[place]) / (EDGES[place + 1] - EDGES[place])
        return float(self.counts[:place].sum() + share * self.counts[place])


def format_of(name: str) -> Format:
    """The range of a format by torch's name for it."""
    numbers = torch.finfo(getattr(torch, name))
    smallest = float(numbers.smallest_normal) * float(numbers.eps)
    return Format(name, float(numbers.max), float(numbers.smallest_normal), smallest, scaled=name.startswith("float8"))


def with_underflow(record: GradientRecord, passes: Sequence[Pass], formats: Sequence[str]) -> GradientRecord:
    """The record with what each layer's gradient would lose in each format; the passes have counted elements."""
    if not formats:
        return record
    by_layer = {name: list(held) for name, held in _by_layer(passes).items()}
    known = [format_of(name) for name in formats]
    layers = tuple(
        replace(layer, underflow=tuple(_forecast(by_layer[layer.name], one) for one in known))
        if by_layer.get(layer.name)
        else layer
        for layer in record
    )
    return replace(record, layers=layers)


def _by_layer(passes: Sequence[Pass]) -> Mapping[str, list[_Tensor]]:
    found: dict[str, list[_Tensor]] = {}
    for one in passes:
        for name, parameter in one.parameters.items():
            found.setdefault(parent_of(name), []).extend(_tensors(parameter))
    return found


def _tensors(parameter: ParameterPass) -> Iterator[_Tensor]:
    """The gradient of one parameter, put together of its parts; none where every element is zero."""
    held: list[Tally] = [tally for tally in parameter.tallies if tally.counts.any()]
    if held:
        counts = sum((tally.counts.reshape(2, -1).sum(axis=0) for tally in held), np.zeros(BINS // 2, np.int64))
        counts[0] = 0
        if counts.any():
            yield _Tensor(counts, largest_of(held), held[0].unit)


def _forecast(tensors: Sequence[_Tensor], form: Format) -> Underflow:
    """Shares of all elements of a layer that are not zero now."""
    factors = [form.largest / tensor.largest if form.scaled else 1.0 for tensor in tensors]
    total = sum(tensor.total for tensor in tensors)
    lost = sum(tensor.below(form.smallest / 2 / by) for tensor, by in zip(tensors, factors, strict=True))
    short = sum(tensor.below(form.normal / by) for tensor, by in zip(tensors, factors, strict=True))
    largest = max(tensor.largest for tensor in tensors)
    return Underflow(
        format=form.name,
        zero=lost / total,
        subnormal=max(short - lost, 0.0) / total,
        loss_scale=None if form.scaled else _loss_scale(tensors, form),
        max_loss_scale=None if form.scaled else 2.0 ** math.floor(math.log2(form.largest / largest)),
    )


def _loss_scale(tensors: Sequence[_Tensor], form: Format) -> float:
    """The smallest power of two that keeps enough elements from zero, at least 1."""
    total, scale = sum(tensor.total for tensor in tensors), 1.0
    while sum(tensor.below(form.smallest / 2 / scale) for tensor in tensors) > (1 - KEPT) * total:
        scale *= 2
    return scale
