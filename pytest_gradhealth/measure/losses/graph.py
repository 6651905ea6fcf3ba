"""What the graph between a model's output and its loss says of the objective, read before a backward frees it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge
from torch.nn.functional import binary_cross_entropy, binary_cross_entropy_with_logits

from pytest_gradhealth.record import LossGraph

__all__ = ["read"]

LOSSES = {
    "BinaryCrossEntropy": "binary_cross_entropy",
    "BinaryCrossEntropyWithLogits": "binary_cross_entropy_with_logits",
    "ClampMin": "a hinge loss",
    "CtcLoss": "ctc_loss",
    "HuberLoss": "huber_loss",
    "MseLoss": "mse_loss",
    "MultiMarginLoss": "multi_margin_loss",
    "NllLoss": "cross_entropy",
    "NllLoss2D": "cross_entropy",
    "SmoothL1Loss": "smooth_l1_loss",
    "SoftMarginLoss": "soft_margin_loss",
}
"""Loss functions that are a node of their own in the graph, each the smaller the better."""
DIFFERENCES = frozenset({*LOSSES, "Sub"})
"""What compares an output with a target."""
SHAPING = frozenset({"Clone", "Expand", "Reshape", "Squeeze", "Stack", "UnsafeView", "View"})
ARITHMETIC = SHAPING | {"Abs", "Add", "Div", "Log", "Mean", "Mul", "Neg", "Pow", "Rsub", "Sqrt", "Sub", "Sum"}
"""What may stand between a comparison and the loss."""
LINEAR = SHAPING | {"Add", "Div", "Mean", "Mul", "Neg", "Sum"}
"""What adds up, where one side only has a graph."""
GIVEN = frozenset({"Addmm", "Bmm", "Convolution", "Mm", "Sigmoid", "Softmax", "Tanh"})
"""What an output comes from."""
SIGNED = frozenset({"Div", "Mul", "Neg", "Rsub", "Sub"})
"""What may turn a sign."""
FOLLOWED = ARITHMETIC | DIFFERENCES
BENT = SHAPING | {"LogSoftmax"}
"""What may stand between a function that bounds the outputs and the loss."""
LIKELIHOODS = frozenset({"NllLoss", "NllLoss2D"})
REGRESSIONS = frozenset({"HuberLoss", "MseLoss", "SmoothL1Loss"})
RANGES: dict[str, Callable[[Any], tuple[float, float]]] = {
    "Hardsigmoid": lambda node: (0.0, 1.0),
    "Hardtanh": lambda node: (node._saved_min_val, node._saved_max_val),
    "Sigmoid": lambda node: (0.0, 1.0),
    "Softmax": lambda node: (0.0, 1.0),
    "Tanh": lambda node: (-1.0, 1.0),
}
"""Smallest and largest number that a function can give."""
FAR = 3
"""Size of targets, over the largest output, up to which they may be random numbers made up for a test."""
NO_REDUCTION = 0
"""As torch saves ``reduction="none"``."""
UNBOUNDED = ("", 0.0)
WORD = 1 << 64
"""Torch saves a dimension that was counted from the end as an unsigned number."""
LARGEST = 700.0
"""Largest logarithm of which Python's floats hold the exponential."""
ENOUGH = 256
"""Rows of scores that tell whether they are log-probabilities."""
MOST = 1000
"""Nodes that are looked at: a model made of arithmetic alone is not followed to its beginning."""


@torch.no_grad()
def read(loss: Tensor) -> LossGraph | None:
    """What the graph of a loss tells of one pass; to be asked before a backward frees it.

    None: torch does not give out what the graph holds, as where it was changed in place. A backward will say so.
    """
    try:
        return _read(loss)
    except RuntimeError:
        return None


def _read(loss: Tensor) -> LossGraph:
    terms = list(islice(_walk(loss.grad_fn, lambda node: _name(node) in FOLLOWED), MOST))
    likelihoods = [term for term in terms if _name(term) in LIKELIHOODS]
    bounded, lost = max(map(_range, terms), key=lambda known: known[1], default=UNBOUNDED)
    return LossGraph(
        maximised=_raised(loss),
        broadcast=max(map(_pairs, terms), default=0),
        initial_loss=_largest(_SURPRISES[_name(term)](term) for term in terms if _name(term) in _SURPRISES),
        classes=min(map(_classes, likelihoods), default=None),
        unbounded=_adds_differences(loss.grad_fn),
        signed_mean=_cancels_differences(loss.grad_fn),
        wrong_dim=any(map(_is_across, likelihoods)),
        probability_sum=_largest(_mass(term) for term in likelihoods),
        output_scale=_largest(_overshoot(term) for term in terms if _name(term) in REGRESSIONS),
        target_excess=max(
            (_beyond(term) for term in terms if _name(term) == "BinaryCrossEntropyWithLogits"), default=0.0
        ),
        output_bound=bounded,
        unreachable=lost,
    )


def _raised(loss: Tensor) -> str:
    """Name of the loss function that training makes larger; empty: there is none, or other terms stand beside it.

    A loss that consists of such functions alone, each with a negative sign, is turned upside down. Nothing is said
    of adversarial or contrastive objectives, in which one term is played against another.
    """
    nodes = list(_walk(loss.grad_fn, _is_scalar_arithmetic))
    terms = [node for node in nodes if not _is_scalar_arithmetic(node)]
    if not terms or any(_name(term) not in LOSSES for term in terms):
        return ""
    if SIGNED.isdisjoint(map(_name, nodes)):
        return ""  # nobody's hooks on what lies in between are called for nothing
    edges = [GradientEdge(term, 0) for term in terms]
    slopes = torch.autograd.grad(loss, edges, retain_graph=True)
    return LOSSES[_name(terms[0])] if all(bool((slope < 0).all()) for slope in slopes) else ""


def _adds_differences(start: Any) -> bool:
    """Whether a number is made of nothing but differences between outputs and targets, added up."""
    ends = _added_up(start)
    return bool(ends) and all(map(_is_difference, ends))


def _cancels_differences(start: Any) -> bool:
    """Whether such a number is all that is squared, or made positive."""
    ends = _added_up(start)
    bent = [end for end in ends if _name(end) in ("Abs", "Pow") and _shape(end) == ()]
    return bool(bent) and bent == ends and all(_adds_differences(child) for end in bent for child in _children(end))


def _added_up(start: Any) -> list[Any]:
    """What is added up to a number."""
    return [node for node in islice(_walk(start, _is_linear), MOST) if not _is_linear(node)]


def _is_linear(node: Any) -> bool:
    alone = len(_children(node)) == 1
    return (_name(node) in LINEAR and (alone or _name(node) == "Add")) or (_name(node) == "Sub" and not alone)


def _is_difference(node: Any) -> bool:
    """Between what a layer gives and a tensor without a graph; not the last step of a formula, nor 1 - x."""
    if _name(node) not in ("Rsub", "Sub") or len(node.next_functions) < 2 or len(_children(node)) != 1:
        return False
    given = _behind(_children(node)[0], SHAPING)
    return given is not None and _name(given) in GIVEN and math.prod(_shape(node) or ()) > 1


def _over_classes(term: Any) -> float:
    rows, target, classes = _rows(term._saved_self), term._saved_target, _classes(term)
    known = (target >= 0) & (target < classes)  # the rest is left out, as padding is
    taken = rows.gather(-1, target.where(known, 0).unsqueeze(-1)).squeeze(-1)[known]
    return -float(taken.mean()) / math.log(classes) if classes > 1 else math.nan


def _over_two(entropy: Callable[[Tensor, Tensor], Tensor], term: Any) -> float:
    return float(entropy(term._saved_self.float(), term._saved_target.float())) / math.log(2)


_SURPRISES: dict[str, Callable[[Any], float]] = {
    "BinaryCrossEntropy": partial(_over_two, binary_cross_entropy),
    "BinaryCrossEntropyWithLogits": partial(_over_two, binary_cross_entropy_with_logits),
    "NllLoss": _over_classes,
    "NllLoss2D": _over_classes,
}


def _mass(term: Any) -> float:
    return math.exp(min(float(_rows(term._saved_self[:ENOUGH]).logsumexp(-1).mean()), LARGEST))


def _is_across(term: Any) -> bool:
    given = term.next_functions[0][0]
    if given is None or _name(given) != "LogSoftmax":
        return False
    return bool(given._saved_dim % WORD % term._saved_self.ndim != _class_dimension(term._saved_self))


def _classes(term: Any) -> int:
    return int(term._saved_self.shape[_class_dimension(term._saved_self)])


def _rows(scores: Tensor) -> Tensor:
    """Classes last."""
    return scores.float().movedim(_class_dimension(scores), -1)


def _class_dimension(scores: Tensor) -> int:
    """Where ``nll_loss`` looks for the classes."""
    return min(1, scores.ndim - 1)


def _overshoot(term: Any) -> float:
    return _rms(term._saved_self) / max(_rms(term._saved_target), 1.0)


def _beyond(term: Any) -> float:
    """Of the mean or sum of all alone: what is weighted one by one may be left out, as padding is."""
    if term._saved_reduction == NO_REDUCTION or term._saved_weight is not None:
        return 0.0
    target = term._saved_target
    if not target.numel():
        return 0.0
    return max(float(-target.min()), float(target.max()) - 1, 0.0)


def _range(term: Any) -> tuple[str, float]:
    """The function that bounds the outputs, and the share of the best constant's loss that it makes unavoidable."""
    last = _behind(term.next_functions[0][0], BENT) if _name(term) in _LOST else None
    if last is None or _name(last) not in RANGES:
        return UNBOUNDED
    lost, best = _LOST[_name(term)](term, *RANGES[_name(last)](last))
    return (_name(last).lower(), lost / best) if 0 < best < math.inf else UNBOUNDED


def _lost_squares(term: Any, low: float, high: float) -> tuple[float, float]:
    """The least squared error with outputs in a range, and that of the best constant."""
    target = term._saved_target.float()
    if _rms(target) <= FAR * max(abs(low), abs(high)):
        return 0.0, math.inf
    lost, best = (float((target - kept).square().mean()) for kept in (target.clamp(low, high), target.mean()))
    return lost, best


def _lost_bits(term: Any, low: float, high: float) -> tuple[float, float]:
    """The same for a binary cross entropy, less what targets between 0 and 1 leave uncertain anyway."""
    target = term._saved_target.float().clamp(0, 1)
    uncertain = binary_cross_entropy(target, target)
    least = binary_cross_entropy_with_logits(target.logit().clamp(low, high), target)
    constant = binary_cross_entropy(target.mean().expand_as(target), target)
    return float(least - uncertain), float(constant - uncertain)


def _lost_choices(term: Any, low: float, high: float) -> tuple[float, float]:
    """The same for a cross entropy: the right class as high and the others as low as can be; a uniform guess."""
    classes = _classes(term)
    return math.log1p((classes - 1) * math.exp(low - high)), math.log(classes)


_LOST: dict[str, Callable[[Any, float, float], tuple[float, float]]] = {
    "BinaryCrossEntropyWithLogits": _lost_bits,
    "HuberLoss": _lost_squares,
    "MseLoss": _lost_squares,
    "NllLoss": _lost_choices,
    "NllLoss2D": _lost_choices,
    "SmoothL1Loss": _lost_squares,
}


def _rms(tensor: Tensor) -> float:
    return float(tensor.float().square().mean().sqrt())


def _largest(values: Iterable[float]) -> float | None:
    return max((value for value in values if math.isfinite(value)), default=None)


def _walk(start: Any, further: Callable[[Any], bool]) -> Iterator[Any]:
    """Nodes from one back, each once, behind those only that lead ``further``."""
    waiting, seen = [start], set()
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += _children(node) if further(node) else []
            yield node


def _is_scalar_arithmetic(node: Any) -> bool:
    return _name(node) in ARITHMETIC and _shape(node) == ()


def _pairs(node: Any) -> int:
    """n, where (n, 1) meets (n,) in a comparison, and broadcasts to (n, n).

    Where both sides carry a gradient, every pair is what was asked for.
    """
    children = _children(node)
    if _name(node) not in DIFFERENCES or len(children) != 1 or len(node.next_functions) < 2:
        return 0
    given = children[0]
    wide = (_shape(node) if _name(node) == "Sub" else _shape(given)) or ()
    if _name(given) == "Expand":
        given = next(iter(_children(given)), given)
    rows = wide[0] if wide else 0
    return rows if rows > 1 and wide == (rows, rows) and _shape(given) in ((rows,), (rows, 1)) else 0


def _behind(node: Any, passed: frozenset[str]) -> Any:
    """The first node on the way back that is none of those to be passed; None: the way ends before."""
    while node is not None and _name(node) in passed:
        node = next(iter(_children(node)), None)
    return node


def _children(node: Any) -> list[Any]:
    return [child for child, _ in node.next_functions if child is not None]


def _name(node: Any) -> str:
    """As in ``Sub`` for ``SubBackward0``."""
    return re.sub(r"Backward\d*$", "", node.name())


def _shape(node: Any) -> tuple[int, ...] | None:
    """Shape of the tensor that the node made; None: this version of torch does not tell."""
    known = getattr(node, "_input_metadata", None)
    return tuple(known[0].shape) if known else None
