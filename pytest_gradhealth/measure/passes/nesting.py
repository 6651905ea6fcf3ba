"""Tensors inside tuples, lists, dicts, dataclasses, distributions: find them, move them, keep the nesting."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from pytest_gradhealth.measure.torch_private import unwrapped

__tracebackhide__ = True

PLAIN = frozenset({bool, int, float, str, bytes, complex, type(None), type, range, slice, torch.dtype, torch.device})
"""Kinds of values that most often stand beside tensors and hold none."""

__all__ = ["PLAIN", "copied", "floating", "is_partial", "map_leaves", "sample_count", "shard_of", "tensors"]


def tensors(value: Any) -> Iterator[Tensor]:
    """Every tensor in a nested value, in order; what holds itself, as some lists do, is not entered again."""
    found: list[Tensor] = []
    _gather(value, found, ())
    return iter(found)


def _gather(value: Any, found: list[Tensor], inside: tuple[int, ...]) -> None:
    if isinstance(value, Tensor):
        found.append(value)
    elif type(value) not in PLAIN and id(value) not in inside:
        for item in _items(value):
            if isinstance(item, Tensor):
                found.append(item)
            elif type(item) not in PLAIN:
                _gather(item, found, (*inside, id(value)))


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, list | tuple | set | frozenset):
        return value
    if isinstance(value, dict):  # most often, and asking for any mapping is slow
        return value.values()
    if isinstance(value, Mapping):
        return value.values()
    if isinstance(value, Distribution):
        return vars(value).values()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return (getattr(value, field.name, None) for field in dataclasses.fields(value))
    return ()


def floating(value: Any) -> list[Tensor]:
    """The tensors that can carry a gradient: floating point or complex, with at least one element.

    Inside ``torch.vmap`` and other transforms of ``torch.func`` they are those that the transform works on.
    """
    found = map(unwrapped, (value,) if isinstance(value, Tensor) else tensors(value))
    return [tensor for tensor in found if (tensor.is_floating_point() or tensor.is_complex()) and tensor.numel()]


def copied(value: Any, device: torch.device) -> Any:
    """The same nesting with a copy of every tensor on the device, free of the graph that it came from.

    A model that works in place on its input, or collects the gradient of it, touches nothing of the user's.
    """

    def copy(leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            return leaf.detach().to(device, copy=True).requires_grad_(leaf.requires_grad)
        return leaf.to(device) if _moves_itself(leaf) else leaf

    return map_leaves(value, copy)


def shard_of(tensor: Tensor) -> Tensor:
    """The part that this process holds of a tensor that is spread over several (``DTensor``); else the tensor."""
    part: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return part


def is_partial(tensor: Tensor) -> bool:
    """Whether processes hold terms of a tensor, whose sum it is (``DTensor``): nobody has its values yet."""
    return any(placement.is_partial() for placement in getattr(tensor, "placements", ()))


def map_leaves(value: Any, change: Callable[[Any], Any]) -> Any:
    """The same nesting with everything that is no container changed; containers keep their type where they can."""
    if isinstance(value, Mapping):
        return _rebuilt(value, {key: map_leaves(item, change) for key, item in value.items()})
    if isinstance(value, tuple) and hasattr(value, "_fields") and not _moves_itself(value):
        return type(value)(*(map_leaves(item, change) for item in value))
    if type(value) in (list, tuple):
        return type(value)(map_leaves(item, change) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type) and not _moves_itself(value):
        return _changed_dataclass(value, change)
    return change(value)


def _moves_itself(value: Any) -> bool:
    """Besides tensors, graph batches and packed sequences know how to move."""
    return callable(getattr(value, "to", None)) and not isinstance(value, type | nn.Module)


def _rebuilt(original: Mapping[Any, Any], items: dict[Any, Any]) -> Any:
    if type(original) is dict:
        return items
    try:
        return type(original)(items)  # type: ignore[call-arg]
    except TypeError:
        return items


def _changed_dataclass(value: Any, change: Callable[[Any], Any]) -> Any:
    changes = {f.name: map_leaves(getattr(value, f.name), change) for f in dataclasses.fields(value) if f.init}
    return dataclasses.replace(value, **changes)


def sample_count(batch: Any) -> int | None:
    """Samples in a batch: the first dimension of its first tensor that has one."""
    return next((tensor.size(0) for tensor in tensors(batch) if tensor.ndim), None)
