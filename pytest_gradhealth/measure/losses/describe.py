"""What the user gave, in words: types and shapes, never the numbers in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

__all__ = ["describe"]

LONGEST = 60
"""Characters of a plain value that are shown."""
MOST = 6
"""Items of a sequence or mapping that are shown."""


def describe(value: Any, depth: int = 2) -> str:
    """A value as in ``a tuple (float32 tensor of shape (64, 3), int64 tensor of shape (64,))``."""
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} tensor of shape {tuple(value.shape)}"
    kind = type(value).__name__
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, nn.Module):
        return f"the module {kind}"
    if isinstance(value, Mapping):
        return f"a {kind} with keys {_listed(map(str, value))}"
    if isinstance(value, tuple | list | set | frozenset):
        inner = _listed(describe(item, depth - 1) for item in value) if depth else f"{len(value)} items"
        return f"a {kind} ({inner})" if depth == 2 else f"{kind} ({inner})"
    if dataclasses.is_dataclass(value):
        return f"a {kind} with fields {_listed(field.name for field in dataclasses.fields(value))}"
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        text = repr(value)
        return text if len(text) <= LONGEST else f"a {kind} of {len(text)} characters"
    name = getattr(value, "__name__", "")
    return f"the function {name}" if callable(value) and name else f"a {kind}"


def _listed(items: Any) -> str:
    found = list(items)
    return ", ".join([*found[:MOST], *(["..."] if len(found) > MOST else [])])
