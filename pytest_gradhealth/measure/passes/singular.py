"""Where NaN and infinity come from: operations outside of their domain, and slopes that are infinite."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pytest_gradhealth.measure.passes.nesting import floating

__all__ = ["count_made", "count_steep"]

ROOTS = frozenset({"sqrt", "std", "pow", "__pow__"})
"""Functions whose slope is infinite where the result is 0."""
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
    """Zeros in what a root gives, at which a gradient that comes back is divided by zero."""
    if name not in ROOTS or not isinstance(result, Tensor) or not result.requires_grad:
        return 0
    if name in ("pow", "__pow__") and not _is_root(args):
        return 0
    return int(result.eq(0).sum())


def _is_root(args: tuple[Any, ...]) -> bool:
    exponent = args[1] if len(args) > 1 else None
    if isinstance(exponent, Tensor):
        return exponent.numel() == 1 and 0 < float(exponent) < 1
    return isinstance(exponent, int | float) and 0 < exponent < 1
