"""Walking the nodes of an autograd graph, without recursion."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from torch import Tensor

__all__ = [
    "SHAPING",
    "behind",
    "children",
    "class_dimension",
    "classes_of",
    "name_of",
    "rms",
    "rows_of",
    "shape_of",
    "walk",
]

SHAPING = frozenset({"Clone", "Expand", "Reshape", "Squeeze", "Stack", "UnsafeView", "View"})
"""What changes a shape and no value."""


def walk(start: Any, further: Callable[[Any], bool]) -> Iterator[Any]:
    """Nodes from one back, each once, behind those only that lead ``further``."""
    waiting, seen = [start], set()
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += children(node) if further(node) else []
            yield node


def behind(node: Any, passed: frozenset[str]) -> Any:
    """The first node on the way back that is none of those to be passed; None: the way ends before."""
    while node is not None and name_of(node) in passed:
        node = next(iter(children(node)), None)
    return node


def children(node: Any) -> list[Any]:
    """What a node hands its gradient to."""
    return [child for child, _ in node.next_functions if child is not None]


def name_of(node: Any) -> str:
    """As in ``Sub`` for ``SubBackward0``."""
    return _stem(node.name())


@lru_cache(maxsize=1024)
def _stem(name: str) -> str:
    return re.sub(r"Backward\d*$", "", name)


def shape_of(node: Any) -> tuple[int, ...] | None:
    """Shape of the tensor that the node made; None: this version of torch does not tell."""
    known = getattr(node, "_input_metadata", None)
    return tuple(known[0].shape) if known else None


def classes_of(term: Any) -> int:
    """Number of classes of ``nll_loss``."""
    return int(term._saved_self.shape[class_dimension(term._saved_self)])


def rows_of(scores: Tensor) -> Tensor:
    """Classes last."""
    return scores.float().movedim(class_dimension(scores), -1)


def class_dimension(scores: Tensor) -> int:
    """Where ``nll_loss`` looks for the classes."""
    return min(1, scores.ndim - 1)


def rms(tensor: Tensor) -> float:
    """Root mean square of a tensor."""
    return float(tensor.float().square().mean().sqrt())
