"""What the graph between a model's output and its loss says of the objective, read before a backward frees it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge
from torch.nn.functional import binary_cross_entropy_with_logits

__all__ = ["crossed", "raised", "surprise"]

LOSSES = {
    "BinaryCrossEntropy": "binary_cross_entropy",
    "BinaryCrossEntropyWithLogits": "binary_cross_entropy_with_logits",
    "CtcLoss": "ctc_loss",
    "HuberLoss": "huber_loss",
    "MseLoss": "mse_loss",
    "NllLoss": "cross_entropy",
    "NllLoss2D": "cross_entropy",
    "SmoothL1Loss": "smooth_l1_loss",
}
"""Loss functions that are a node of their own in the graph, each the smaller the better."""
DIFFERENCES = frozenset({*LOSSES, "Sub"})
"""What compares an output with a target."""
SHAPING = frozenset({"Clone", "Expand", "Reshape", "Squeeze", "Stack", "UnsafeView", "View"})
ARITHMETIC = SHAPING | {"Abs", "Add", "Div", "Log", "Mean", "Mul", "Neg", "Pow", "Rsub", "Sqrt", "Sub", "Sum"}
"""What may stand between a comparison and the loss."""
MOST = 1000
"""Nodes that are looked at: a model made of arithmetic alone is not followed to its beginning."""


def raised(loss: Tensor) -> str:
    """Name of the loss function that training makes larger; empty: there is none, or other terms stand beside it.

    A loss that consists of such functions alone, each with a negative sign, is turned upside down. Nothing is said
    of adversarial or contrastive objectives, in which one term is played against another.
    """
    terms = [node for node in _walk(loss, _is_scalar_arithmetic) if not _is_scalar_arithmetic(node)]
    if not terms or any(_name(term) not in LOSSES for term in terms):
        return ""
    edges = [GradientEdge(term, 0) for term in terms]
    slopes = torch.autograd.grad(loss, edges, retain_graph=True)
    return LOSSES[_name(terms[0])] if all(bool((slope < 0).all()) for slope in slopes) else ""


def crossed(loss: Tensor) -> int:
    """How many outputs are compared with as many targets, each with each; 0: none are.

    An output of shape (n, 1) less targets of shape (n,) broadcasts to (n, n), and so do (n,) and (n, 1). Where both
    carry a gradient, every pair is what was asked for.
    """
    nodes = islice(_walk(loss, lambda node: _name(node) in ARITHMETIC | DIFFERENCES), MOST)
    return max(map(_pairs, nodes), default=0)


def surprise(loss: Tensor) -> float | None:
    """Cross entropy over that of a uniform guess (ln of the number of classes); the largest of several terms.

    None: the loss has no such term. Weights and scales of the terms do not count.
    """
    nodes = islice(_walk(loss, lambda node: _name(node) in ARITHMETIC), MOST)
    found = [
        _SURPRISES[_name(node)](node._saved_self, node._saved_target) for node in nodes if _name(node) in _SURPRISES
    ]
    return max((value for value in found if math.isfinite(value)), default=None)


def _over_classes(log_probabilities: Tensor, target: Tensor) -> float:
    rows = log_probabilities.movedim(min(1, log_probabilities.ndim - 1), -1)
    classes = rows.shape[-1]
    known = (target >= 0) & (target < classes)  # the rest is left out, as padding is
    taken = rows.gather(-1, target.where(known, 0).unsqueeze(-1)).squeeze(-1)[known]
    return -float(taken.mean()) / math.log(classes) if classes > 1 else math.nan


def _over_two(logits: Tensor, target: Tensor) -> float:
    return float(binary_cross_entropy_with_logits(logits.float(), target.float())) / math.log(2)


_SURPRISES: dict[str, Callable[[Tensor, Tensor], float]] = {
    "BinaryCrossEntropyWithLogits": _over_two,
    "NllLoss": _over_classes,
    "NllLoss2D": _over_classes,
}


def _walk(loss: Tensor, further: Callable[[Any], bool]) -> Iterator[Any]:
    """Nodes from the loss back, each once, behind those only that lead ``further``."""
    waiting, seen = [loss.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += _children(node) if further(node) else []
            yield node


def _is_scalar_arithmetic(node: Any) -> bool:
    return _name(node) in ARITHMETIC and _shape(node) == ()


def _pairs(node: Any) -> int:
    """n, where (n, 1) meets (n,) in a comparison whose other side carries no gradient."""
    children = _children(node)
    if _name(node) not in DIFFERENCES or len(children) != 1 or len(node.next_functions) < 2:
        return 0
    given = children[0]
    wide = (_shape(node) if _name(node) == "Sub" else _shape(given)) or ()
    if _name(given) == "Expand":
        given = next(iter(_children(given)), given)
    rows = wide[0] if wide else 0
    return rows if rows > 1 and wide == (rows, rows) and _shape(given) in ((rows,), (rows, 1)) else 0


def _children(node: Any) -> list[Any]:
    return [child for child, _ in node.next_functions if child is not None]


def _name(node: Any) -> str:
    """As in ``Sub`` for ``SubBackward0``."""
    return re.sub(r"Backward\d*$", "", node.name())


def _shape(node: Any) -> tuple[int, ...] | None:
    """Shape of the tensor that the node made; None: this version of torch does not tell."""
    known = getattr(node, "_input_metadata", None)
    return tuple(known[0].shape) if known else None
