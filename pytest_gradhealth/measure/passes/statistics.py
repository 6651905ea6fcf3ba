"""Numbers of one tensor, left on its device: nothing here waits for an accelerator."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from pytest_gradhealth.measure.passes.histogram import BINS, LARGEST, SHIFT

__all__ = [
    "alive_units",
    "count_nonfinite",
    "count_positions",
    "describe",
    "flat_share",
    "is_ragged",
    "norm",
    "norms_by_step",
    "quarters",
    "quick_norm",
    "tally",
    "wide",
]

SLOPE = 0.01
"""An activation is flat where its slope is below this share of its largest."""
SQUARES = (1e-15, 1e15)
"""Norms whose squares stay well inside the range of float32."""
SEQUENCE = 3
"""Dimensions of a tensor that is taken for a batch of sequences."""
POSITIONS = 8
"""Positions from which the quarters of a sequence are compared."""
SAMPLED = 1 << 15
"""Elements of a tensor that its zeros and the difference between its samples are taken from; of more, every k-th."""


def norm(tensor: Tensor) -> Tensor:
    """L2 norm, accumulated in float64 (float32 where the device has no float64); scalar."""
    values = _real_values(tensor)
    size: Tensor = torch.linalg.vector_norm(values, dtype=wide(values))
    return size


def quick_norm(tensor: Tensor) -> Tensor:
    """L2 norm to six digits; scalar. A CPU tells at once whether float32 was wide enough, others would have to wait."""
    values = _real_values(tensor)
    if values.dtype != torch.float32 or values.device.type != "cpu":
        return norm(tensor)
    size: Tensor = torch.linalg.vector_norm(values)
    return size if SQUARES[0] < size < SQUARES[1] else norm(tensor)


def wide(tensor: Tensor) -> torch.dtype:
    """The widest floating type of the tensor's device: squares of gradients leave the range of float32."""
    return torch.float32 if tensor.device.type == "mps" else torch.float64


def count_nonfinite(tensor: Tensor, size: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Number of NaN and of infinite values; scalars. There are none where the tensor's norm is known to be finite."""
    if size is not None and _is_finite(size):
        none = size.new_zeros((), dtype=torch.int64)  # on its device, whatever the default is
        return none, none
    values = _real_values(tensor)
    return values.isnan().sum(), values.isinf().sum()


def _is_finite(scalar: Tensor) -> bool:
    """False also where asking would wait for an accelerator."""
    return scalar.device.type == "cpu" and math.isfinite(scalar)


def alive_units(gradient: Tensor, dimension: int) -> Tensor:
    """For each unit, the index along ``dimension``: does any of its weights have a gradient? Shape (units,), bool."""
    moved = gradient.detach().movedim(dimension, 0)
    if not moved.numel():  # units without inputs, as the last cluster of an adaptive softmax may be
        return moved.new_zeros(moved.shape[0], dtype=torch.bool)
    return moved.reshape(moved.shape[0], -1).abs().amax(dim=1).ne(0)


def describe(tensor: Tensor) -> dict[str, Tensor]:
    """Root mean square, range, zeros, non-finite values and how much samples and positions differ; scalars."""
    values = _real_values(tensor)
    values = values if values.dtype == torch.float64 else values.float()
    low, high = torch.aminmax(values)
    bad = sum(count_nonfinite(values, high - low))
    some = _thinned(values.reshape(values.shape[0], -1))
    described = {
        "rms": quick_norm(values) / values.numel() ** 0.5,
        "low": low,
        "high": high,
        "zeros": _share_of_zeros(some),
        "bad": bad,
    }
    if values.ndim > 1 and values.shape[0] > 1:
        described["samples"] = _variation(some, 0)
    if count_positions(values) > 1:
        described["tokens"] = _variation(values[: max(SAMPLED // values[0].numel(), 1)], 1)
    return described


def count_positions(tensor: Tensor) -> int:
    """Length of the sequence where a tensor has the shape (samples, positions, features); 0: it has not."""
    return tensor.shape[1] if tensor.ndim == SEQUENCE and not is_ragged(tensor) and tensor.numel() else 0


def is_ragged(tensor: Tensor) -> bool:
    """Whether it has no regular shape, as sparse and nested tensors have none."""
    return tensor.layout != torch.strided or tensor.is_nested


def quarters(tensor: Tensor) -> Tensor | None:
    """L2 norms at the first and the last quarter of a sequence's positions, shape (2,); None: no long sequence."""
    positions = count_positions(tensor)
    if positions < POSITIONS:
        return None
    quarter = positions // 4
    return torch.stack([norm(tensor[:, :quarter]), norm(tensor[:, -quarter:])])


def norms_by_step(gradient: Tensor, dimension: int) -> Tensor:
    """L2 norm at each position along a dimension. Shape (steps,)."""
    moved = gradient.detach().movedim(dimension, 0)
    norms: Tensor = torch.linalg.vector_norm(moved.reshape(len(moved), -1), dim=1, dtype=wide(moved))
    return norms


def flat_share(kind: str, output: Tensor) -> Tensor | None:
    """Share of a saturating activation's outputs where its slope is below ``SLOPE`` of its largest; scalar.

    For a softmax it is the share of distributions that give all but ``SLOPE`` to one place. None: the kind of
    module does not saturate.
    """
    slope = _SLOPES.get(kind)
    if slope is None or output.is_complex():
        return None
    return slope(output.detach()).lt(SLOPE).mean(dtype=torch.float32)


_SLOPES: dict[str, Callable[[Tensor], Tensor]] = {
    "Sigmoid": lambda y: 4 * y * (1 - y),
    "Tanh": lambda y: 1 - y * y,
    "Softsign": lambda y: (1 - y.abs()) ** 2,
    "Hardtanh": lambda y: y.lt(y.max()).logical_and(y.gt(y.min())).float(),
    "Hardsigmoid": lambda y: 4 * y * (1 - y),
    "Softmax": lambda y: 1 - y.amax(dim=-1),
}


def tally(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Lowest, highest, sum and sum of squares of the finite elements, shape (4,), and their counts, shape (BINS,).

    What a sparse tensor leaves out is zero; complex numbers are two each. Unlike the others, this waits for the device.
    """
    values = _real_values(tensor).reshape(-1)
    absent = tensor.numel() * (1 + tensor.is_complex()) - values.numel()
    # Taking elements out of a large tensor is slow, and most often there is nothing to take out.
    finite = values if values.sum(dtype=wide(values)).isfinite() else values[values.isfinite()]
    if absent > 0:
        finite = torch.cat([finite, finite.new_zeros(1)])
    if not len(finite):
        return finite.new_zeros(4), finite.new_zeros(BINS)
    total, size = finite.sum(dtype=wide(finite)), torch.linalg.vector_norm(finite, dtype=wide(finite))
    bits = finite.float().clamp(-LARGEST, LARGEST).view(torch.int32)
    counts = torch.bincount(bits >> SHIFT & BINS - 1, minlength=BINS)
    counts[0] += max(absent - 1, 0)
    low, high = torch.aminmax(finite)
    return torch.stack([low.to(total.dtype), high.to(total.dtype), total, size.square()]), counts


def _thinned(values: Tensor) -> Tensor:
    """Every k-th column of a matrix with many elements; k is odd, so that it comes to all places of an image."""
    step = values.numel() // SAMPLED | 1
    return values[:, ::step].contiguous() if 1 < step < values.shape[1] else values


def _share_of_zeros(values: Tensor) -> Tensor:
    """Comparing and counting is many times slower on a CPU."""
    return 1 - values.sign().abs_().nan_to_num_(1.0).mean(dtype=torch.float32)


def _variation(values: Tensor, dimension: int) -> Tensor:
    """Root mean square distance from the mean along a dimension, over the root mean square."""
    return quick_norm(values - values.mean(dim=dimension, keepdim=True)) / quick_norm(values)


def _real_values(tensor: Tensor) -> Tensor:
    """The stored values as real numbers: what a sparse tensor leaves out is zero."""
    values = tensor.detach()
    if values.layout == torch.sparse_coo:
        values = values.coalesce().values()
    elif is_ragged(values):
        values = values.values()
    if values.is_complex():
        values = torch.view_as_real(values.resolve_conj())
    return values
