"""Where NaN and infinity come from: operations outside of their domain, and slopes that are infinite."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pytest_gradhealth.measure.passes.nesting import floating

__all__ = ["count_made", "count_steep"]

POWERS = frozenset({"pow", "__pow__"})
ROOTS = frozenset({"sqrt", "std"}) | POWERS
"""Functions whose slope is infinite where the result is 0."""
ARCS = frozenset({"acos", "arccos", "arcsin", "asin"})
"""Functions whose slope is infinite at 1 and -1."""
SPECTRA = frozenset({"linalg_eigh", "linalg_svd", "svd"})
"""Functions whose vectors have no slope where two of their values are equal."""
FILLING = frozenset({"clone", "full", "full_like", "masked_fill", "new_full", "tensor", "triu", "tril", "where"})
"""Functions that put infinity in on purpose, for a mask."""


def count_made(name: str, args: tuple[Any, ...], result: Any) -> int:
    """NaN values in a result whose inputs have none, and infinite ones where nothing that is given is infinite."""
    if not isinstance(result, Tensor) or not result.is_floating_point() or not result.requires_grad:
        return 0
    bad = int(result.isnan().sum())
    given = floating(args)
    if bad:
        return 0 if any(bool(tensor.isnan().any()) for tensor in given) else bad
    if name.strip("_") in FILLING or any(bool(tensor.isinf().any()) for tensor in given):
        return 0
    return int(result.isinf().sum())


def count_steep(name: str, args: tuple[Any, ...], result: Any) -> int:
    """Points at which a function has no finite slope, so that a gradient that comes back turns infinite or NaN."""
    given = [tensor for tensor in args if isinstance(tensor, Tensor)]
    if not given or not any(tensor.requires_grad for tensor in floating(result)):
        return 0
    if name in ROOTS and isinstance(result, Tensor):
        return int(result.eq(0).sum()) if name not in POWERS or _is_root(args) else 0
    if name in ARCS:
        return int(given[0].abs().eq(1).sum())
    if name in SPECTRA:
        values = next(iter(tensor for tensor in floating(result) if tensor.ndim == given[0].ndim - 1), None)
        return 0 if values is None else int(values.diff(dim=-1).eq(0).sum())
    return 0


def _is_root(args: tuple[Any, ...]) -> bool:
    exponent = args[1] if len(args) > 1 else None
    if isinstance(exponent, Tensor):
        return exponent.numel() == 1 and 0 < float(exponent) < 1
    return isinstance(exponent, int | float) and 0 < exponent < 1
