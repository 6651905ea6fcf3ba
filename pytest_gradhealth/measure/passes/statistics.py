"""Numbers of one tensor, left on its device: nothing here waits for an accelerator."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from pytest_gradhealth.measure.passes.histogram import BINS, LARGEST, SHIFT
from pytest_gradhealth.measure.passes.nesting import shard_of

__all__ = [
    "Scalar",
    "alive_units",
    "count_nonfinite",
    "count_positions",
    "describe",
    "fetch",
    "flat_share",
    "has_slope",
    "is_ragged",
    "norm",
    "norms_by_step",
    "position_norms",
    "quarters",
    "real_values",
    "row_norms",
    "saturation",
    "stacked_units",
    "tally",
    "units_norm",
    "wide",
]

Scalar = float | Tensor
"""A number that is known, or one that is still on an accelerator, which nothing waits for."""
SLOPE = 0.01
"""An activation is flat where its slope is below this share of its largest."""
SQUARES = (1e-15, 1e15)
"""Norms whose squares stay well inside the range of float32."""
SEQUENCE = 3
"""Dimensions of a tensor that is taken for a batch of sequences."""
POSITIONS = 8
"""Positions from which the quarters of a sequence are compared."""
ORDINARY = (Tensor, nn.Parameter)
"""Types of tensors that are no part of a larger one."""
ROW = 1024
"""Elements whose squares float32 adds up to seven digits, whatever they are."""
FEW = 4 * ROW
"""Elements of which a copy in float64 costs less than a second call."""


def norm(tensor: Tensor) -> Scalar:
    """L2 norm to seven digits."""
    values = real_values(tensor)
    if values.device.type != "cpu":
        size: Tensor = torch.linalg.vector_norm(values, dtype=wide(values))
        return size
    if values.dtype == torch.float32 and values.numel() > FEW:
        quick = _norm_by_rows(values)
        if SQUARES[0] < quick < SQUARES[1]:
            return quick
    return float(torch.linalg.vector_norm(values, dtype=torch.float64))


def position_norms(gradients: Tensor) -> tuple[Scalar, Tensor]:
    """L2 norm to seven digits, and the norms at each position of (samples, positions, features).

    The second has the shape (samples, positions, parts), as the features of a position may be taken in parts.
    """
    values = real_values(gradients)
    samples, positions, width = values.shape
    parts = _parts(width)
    if parts and values.dtype == torch.float32 and values.device.type == "cpu":
        by_parts = values.reshape(samples, positions, parts, width // parts)
        sizes = torch.linalg.vector_norm(by_parts if by_parts.is_contiguous() else by_parts.contiguous(), dim=3)
        size = float(torch.linalg.vector_norm(sizes, dtype=torch.float64))
        if SQUARES[0] < size < SQUARES[1]:
            return size, sizes
    sizes = torch.linalg.vector_norm(values, dim=2, keepdim=True, dtype=wide(values))
    whole: Tensor = torch.linalg.vector_norm(sizes)
    return (float(whole) if values.device.type == "cpu" else whole), sizes


def fetch(lists: Iterable[list[Scalar]]) -> None:
    """Put numbers in the place of those that are still on a device, in one transfer from each."""
    waiting = [(numbers, i, n) for numbers in lists for i, n in enumerate(numbers) if isinstance(n, Tensor)]
    for device in {number.device for *_, number in waiting}:
        here = [entry for entry in waiting if entry[2].device == device]
        stacked = torch.stack([number.reshape(()).to(wide(number)) for *_, number in here])
        for (numbers, index, _), number in zip(here, stacked.tolist(), strict=True):
            numbers[index] = number


def _norm_by_rows(values: Tensor) -> float:
    """Squares added up in float32 over rows and in float64 from there: twelve times as fast as in float64 alone."""
    flat = values.view(-1) if values.is_contiguous() else _flat(values)
    if flat is None:
        return math.nan
    whole = len(flat) // ROW * ROW
    sizes = torch.linalg.vector_norm(flat[:whole].view(-1, ROW), dim=1)
    size = float(torch.linalg.vector_norm(sizes, dtype=torch.float64))
    return size if whole == len(flat) else math.hypot(size, float(torch.linalg.vector_norm(flat[whole:])))


def _flat(values: Tensor) -> Tensor | None:
    """The elements in the order in which they lie in memory; None: they do not lie one behind the other."""
    order = sorted(range(values.ndim), key=values.stride, reverse=True)
    ordered = values.permute(order)
    return ordered.view(-1) if ordered.is_contiguous() else None


def units_norm(gradient: Tensor, dimension: int) -> tuple[Scalar, Tensor]:
    """L2 norm, and for each unit, the index along ``dimension``, whether any of its weights has a gradient.

    The second has the shape (units,). One look at a large matrix tells both.
    """
    quick = gradient.dtype == torch.float32 and gradient.device.type == "cpu" and gradient.is_contiguous()
    if dimension or not quick or not gradient.numel():  # units without inputs have no elements
        return norm(gradient), alive_units(gradient, dimension)
    rows = gradient.detach().view(len(gradient), -1)
    parts = _parts(rows.shape[1])
    if not parts:
        return norm(gradient), alive_units(gradient, dimension)
    sizes = torch.linalg.vector_norm(rows.view(-1, rows.shape[1] // parts), dim=1)
    size = float(torch.linalg.vector_norm(sizes, dtype=torch.float64))
    if not SQUARES[0] < size < SQUARES[1]:
        return norm(gradient), alive_units(gradient, dimension)
    alive = sizes.view(len(rows), parts).amax(1).ne(0)
    return size, alive if bool(alive.all()) else alive_units(gradient, dimension)


def stacked_units(gradients: Tensor) -> tuple[Tensor, Tensor]:
    """The same for several gradients of float32 on a CPU, (gradients, units, ...), with rows of at most ``ROW``.

    Returns:
        Norms of the shape (gradients,), and what is alive of the shape (gradients, units).
    """
    rows = gradients.flatten(2)
    sizes = torch.linalg.vector_norm(rows, dim=2)
    alive = sizes.ne(0)
    norms = torch.linalg.vector_norm(sizes, dim=1, dtype=torch.float64)
    if not bool(alive.all()) or not bool(((norms > SQUARES[0]) & (norms < SQUARES[1])).all()):
        alive, norms = rows.any(dim=2), row_norms(gradients.flatten(1))
    return norms, alive


def _parts(length: int) -> int:
    """Into how many equal parts of at most ``ROW`` a row can be cut; 0: into none."""
    least = max(-(-length // ROW), 1)
    return next((parts for parts in range(least, least + 8) if length % parts == 0), 0)


def wide(tensor: Tensor) -> torch.dtype:
    """The widest floating type of the tensor's device: squares of gradients leave the range of float32."""
    return torch.float32 if tensor.device.type == "mps" else torch.float64


def count_nonfinite(tensor: Tensor, size: Scalar) -> tuple[Scalar, Scalar]:
    """Number of NaN and of infinite values. There are none where the tensor's norm is known to be finite."""
    if isinstance(size, float) and math.isfinite(size):
        return 0.0, 0.0
    values = real_values(tensor)
    nan, inf = values.isnan().sum(), values.isinf().sum()
    return (float(nan), float(inf)) if isinstance(size, float) else (nan, inf)


def alive_units(gradient: Tensor, dimension: int) -> Tensor:
    """For each unit, the index along ``dimension``: does any of its weights have a gradient? Shape (units,), bool."""
    moved = gradient.detach().movedim(dimension, 0)
    return moved.flatten(1).any(dim=1)


def describe(tensors: Tensor, *, kind: str = "", sequence: bool = False) -> dict[str, Tensor]:
    """Root mean square, range, zeros, non-finite values and how much samples and positions differ.

    Args:
        tensors: several tensors of one shape, (tensors, samples, ...), of real numbers.
        kind: of the modules that returned them.
        sequence: whether their shape is (samples, positions, features).

    Returns:
        Numbers of each tensor, of the shape (tensors,).
    """
    values = tensors if tensors.dtype == torch.float64 else tensors.float()
    flat = values.reshape(len(values), -1)
    low, high = flat.amin(dim=1), flat.amax(dim=1)  # torch.aminmax along a dimension is ten times as slow
    sizes = row_norms(flat)
    described = {
        "rms": sizes / flat.shape[1] ** 0.5,
        "low": low,
        "high": high,
        "zeros": _share_of_zeros(flat),
        "bad": _count_bad(flat, high - low),
    }
    if values.ndim > 2 and values.shape[1] > 1:
        described["samples"] = _variation(values, 1, sizes)
    if sequence and values.shape[2] > 1:
        described["tokens"] = _variation(values, 2, sizes)
    if sequence and values.shape[2] >= POSITIONS:
        described["first"], described["last"] = quarters(values)
    if kind in _SLOPES:
        described["flat"] = saturation(kind, values)
    return described


def _count_bad(flat: Tensor, spread: Tensor) -> Tensor:
    """Non-finite values of each row; there are none where the rows' spread is known to be finite."""
    if spread.device.type == "cpu" and bool(spread.isfinite().all()):
        return spread.new_zeros(len(flat))
    return flat.isfinite().logical_not_().sum(dim=1)


def row_norms(rows: Tensor) -> Tensor:
    """L2 norm of each row to six digits, shape (rows,)."""
    if rows.dtype == torch.float32 and rows.device.type == "cpu":
        sizes: Tensor = __quick_norms(rows)
        if bool(((sizes > SQUARES[0]) & (sizes < SQUARES[1])).all()):
            return sizes
    return torch.linalg.vector_norm(rows, dim=1, dtype=wide(rows))  # type: ignore[no-any-return]


def __quick_norms(rows: Tensor) -> Tensor:
    parts = _parts(rows.shape[1]) if rows.is_contiguous() else 0
    if not parts:
        return torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64)  # type: ignore[no-any-return]
    sizes = torch.linalg.vector_norm(rows.view(len(rows), parts, -1), dim=2)
    return torch.linalg.vector_norm(sizes, dim=1, dtype=torch.float64)  # type: ignore[no-any-return]


def count_positions(tensor: Tensor) -> int:
    """Length of the sequence where a tensor has the shape (samples, positions, features); 0: it has not."""
    return tensor.shape[1] if tensor.ndim == SEQUENCE and not is_ragged(tensor) and tensor.numel() else 0


def is_ragged(tensor: Tensor) -> bool:
    """Whether it has no regular shape, as sparse and nested tensors have none."""
    return tensor.layout != torch.strided or tensor.is_nested


def quarters(sequences: Tensor) -> tuple[Tensor, Tensor]:
    """L2 norms at the first and the last quarter of the positions, for each of (sequences, samples, positions, ...)."""
    quarter = sequences.shape[2] // 4
    first, last = sequences[:, :, :quarter], sequences[:, :, -quarter:]
    return row_norms(first.flatten(1)), row_norms(last.flatten(1))


def norms_by_step(gradient: Tensor, dimension: int) -> Tensor:
    """L2 norm at each position along a dimension. Shape (steps,)."""
    moved = gradient.detach().movedim(dimension, 0)
    norms: Tensor = torch.linalg.vector_norm(moved.reshape(len(moved), -1), dim=1, dtype=wide(moved))
    return norms


def has_slope(kind: str) -> bool:
    """Whether modules of a kind saturate, so that :func:`describe` tells the share of their outputs that do.

    That is the share at which the slope is below ``SLOPE`` of its largest; of a softmax the share of distributions
    that give all but ``SLOPE`` to one place.
    """
    return kind in _SLOPES


def saturation(kind: str, outputs: Tensor) -> Tensor:
    """That share of each of several tensors, (tensors, ...)."""
    slopes = _SLOPES[kind](outputs).reshape(len(outputs), -1)
    if slopes.device.type == "cpu" and slopes.numel() and bool(slopes.amin() >= SLOPE):
        return slopes.new_zeros(len(slopes), dtype=torch.float32)  # most often, and counting takes longer
    return slopes.lt(SLOPE).mean(dim=1, dtype=torch.float32)


def flat_share(kind: str, output: Tensor) -> float | None:
    """That share of one tensor; None: the kind of module does not saturate."""
    if kind not in _SLOPES or output.is_complex():
        return None
    return float(saturation(kind, output.detach()[None]))


_SLOPES: dict[str, Callable[[Tensor], Tensor]] = {
    "Sigmoid": lambda y: 4 * y * (1 - y),
    "Tanh": lambda y: 1 - y * y,
    "Softsign": lambda y: (1 - y.abs()) ** 2,
    "Hardtanh": lambda y: y.lt(_end(y, torch.amax)).logical_and(y.gt(_end(y, torch.amin))).float(),
    "Hardsigmoid": lambda y: 4 * y * (1 - y),
    "Softmax": lambda y: 1 - y.amax(dim=-1),
}
"""Slopes over the largest, of several tensors, (tensors, ...)."""


def _end(tensors: Tensor, reduce: Callable[..., Tensor]) -> Tensor:
    """The smallest or largest number of each tensor, shaped so that it can be compared with them."""
    return reduce(tensors, dim=tuple(range(1, tensors.ndim)), keepdim=True) if tensors.ndim > 1 else tensors


def tally(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Lowest, highest, sum and sum of squares of the finite elements, shape (4,), and their counts, shape (BINS,).

    What a sparse tensor leaves out is zero; complex numbers are two each. Unlike the others, this waits for the device.
    """
    values = real_values(tensor).reshape(-1)
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


def _share_of_zeros(rows: Tensor) -> Tensor:
    """Of each row. Comparing and counting is many times slower on a CPU, and most rows hold none."""
    sizes = rows.abs()
    if rows.device.type == "cpu" and bool((sizes.amin(dim=1) > 0).all()):
        return rows.new_zeros(len(rows), dtype=torch.float32)
    return 1 - sizes.sign_().nan_to_num_(1.0).mean(dim=1, dtype=torch.float32)


def _variation(values: Tensor, dimension: int, sizes: Tensor) -> Tensor:
    """Root mean square distance from the mean along a dimension, over the root mean square, of each tensor."""
    distances = (values - values.mean(dim=dimension, keepdim=True)).flatten(1)
    return row_norms(distances) / sizes


def real_values(tensor: Tensor) -> Tensor:
    """The stored values as real numbers: what a sparse tensor leaves out is zero."""
    values = tensor.detach() if type(tensor) in ORDINARY else shard_of(tensor.detach())
    if values.layout == torch.sparse_coo:
        values = values.coalesce().values()
    elif is_ragged(values):
        values = values.values()
    if values.is_complex():
        values = torch.view_as_real(values.resolve_conj())
    return values
