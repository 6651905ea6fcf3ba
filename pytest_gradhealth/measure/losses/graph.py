"""What the graph between a model's output and its loss says of the objective, read before a backward frees it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge
from torch.nn.functional import binary_cross_entropy, binary_cross_entropy_with_logits

from pytest_gradhealth.measure.losses.activations import (
    activation_in_front,
    clamped_share,
    excess_of_labels,
    is_divergence_of_probabilities,
    is_multilabel_softmax,
    smallest_softmax,
)
from pytest_gradhealth.measure.losses.bounds import output_range
from pytest_gradhealth.measure.losses.nodes import (
    SHAPING,
    behind,
    children,
    class_dimension,
    classes_of,
    name_of,
    rms,
    rows_of,
    shape_of,
    walk,
)
from pytest_gradhealth.measure.torch_private import saved_dimension
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
ARITHMETIC = SHAPING | {"Abs", "Add", "Div", "Log", "Mean", "Mul", "Neg", "Pow", "Rsub", "Sqrt", "Sub", "Sum"}
"""What may stand between a comparison and the loss."""
LINEAR = SHAPING | {"Add", "Div", "Mean", "Mul", "Neg", "Sum"}
"""What adds up, where one side only has a graph."""
GIVEN = frozenset({"Addmm", "Bmm", "Convolution", "Mm", "Sigmoid", "Softmax", "Tanh"})
"""What an output comes from."""
SIGNED = frozenset({"Div", "Mul", "Neg", "Rsub", "Sub"})
"""What may turn a sign."""
FOLLOWED = ARITHMETIC | DIFFERENCES | {"Gather", "Index", "Select", "Slice"}
LOGITS = "BinaryCrossEntropyWithLogits"
LIKELIHOODS = frozenset({"NllLoss", "NllLoss2D"})
TARGETED = LIKELIHOODS | {"BinaryCrossEntropy", "BinaryCrossEntropyWithLogits", "MseLoss", "HuberLoss", "SmoothL1Loss"}
"""Losses whose node keeps the targets."""
REGRESSIONS = frozenset({"HuberLoss", "MseLoss", "SmoothL1Loss"})
NO_REDUCTION = 0
"""As torch saves ``reduction="none"``."""
LARGEST = 700.0
"""Largest logarithm of which Python's floats hold the exponential."""
ENOUGH = 32
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
    terms = list(islice(walk(loss.grad_fn, lambda node: name_of(node) in FOLLOWED), MOST))
    likelihoods = [term for term in terms if name_of(term) in LIKELIHOODS]
    activation, activated = activation_in_front(terms)
    targets = [term._saved_target for term in terms if name_of(term) in TARGETED]
    bounded, lost = max(map(output_range, terms), key=lambda known: known[1], default=("", 0.0))
    return LossGraph(
        maximised=_raised(loss),
        broadcast=max((max(_pairs(term), _weighed_pairs(term)) for term in terms), default=0),
        initial_loss=_largest(_SURPRISES[name_of(term)](term) for term in terms if name_of(term) in _SURPRISES),
        classes=min(
            (n for n in (*map(classes_of, likelihoods), smallest_softmax(terms)) if n is not None), default=None
        ),
        unbounded=_adds_differences(loss.grad_fn),
        signed_mean=_cancels_differences(loss.grad_fn),
        wrong_dim=any(map(_is_across, likelihoods)),
        probability_sum=_largest(_mass(term) for term in likelihoods),
        output_scale=_largest(_overshoot(term) for term in terms if name_of(term) in REGRESSIONS),
        target_excess=max(
            (_beyond(term) for term in terms if name_of(term) == LOGITS), default=excess_of_labels(terms)
        ),
        output_bound=bounded,
        unreachable=lost,
        activation=activation,
        activated_loss=activated,
        multilabel_softmax=is_multilabel_softmax(terms),
        clamped=clamped_share(terms),
        ignored_targets=max(map(_ignored, likelihoods), default=0.0),
        constant_targets=bool(targets) and all(map(_is_constant, targets)),
        single_targets=max(map(_singles, targets), default=0),
        divergence_of_probabilities=any(map(is_divergence_of_probabilities, terms)),
    )


def _raised(loss: Tensor) -> str:
    """Name of the loss function that training makes larger; empty: there is none, or other terms stand beside it.

    A loss that consists of such functions alone, each with a negative sign, is turned upside down. Nothing is said
    of adversarial or contrastive objectives, in which one term is played against another.
    """
    nodes = list(walk(loss.grad_fn, _is_scalar_arithmetic))
    terms = [node for node in nodes if not _is_scalar_arithmetic(node)]
    if not terms or any(name_of(term) not in LOSSES for term in terms):
        return ""
    if SIGNED.isdisjoint(map(name_of, nodes)):
        return ""  # nobody's hooks on what lies in between are called for nothing
    edges = [GradientEdge(term, 0) for term in terms]
    slopes = torch.autograd.grad(loss, edges, retain_graph=True)
    return LOSSES[name_of(terms[0])] if all(bool((slope < 0).all()) for slope in slopes) else ""


def _adds_differences(start: Any) -> bool:
    """Whether a number is made of nothing but differences between outputs and targets, added up."""
    ends = _added_up(start)
    return bool(ends) and all(map(_is_difference, ends))


def _cancels_differences(start: Any) -> bool:
    """Whether such a number is all that is squared, or made positive."""
    ends = _added_up(start)
    bent = [end for end in ends if name_of(end) in ("Abs", "Pow") and shape_of(end) == ()]
    return bool(bent) and bent == ends and all(_adds_differences(child) for end in bent for child in children(end))


def _added_up(start: Any) -> list[Any]:
    """What is added up to a number."""
    return [node for node in islice(walk(start, _is_linear), MOST) if not _is_linear(node)]


def _is_linear(node: Any) -> bool:
    alone = len(children(node)) == 1
    return (name_of(node) in LINEAR and (alone or name_of(node) == "Add")) or (name_of(node) == "Sub" and not alone)


def _is_difference(node: Any) -> bool:
    """Between what a layer gives and a tensor without a graph; not the last step of a formula, nor 1 - x."""
    if name_of(node) not in ("Rsub", "Sub") or len(node.next_functions) < 2 or len(children(node)) != 1:
        return False
    given = behind(children(node)[0], SHAPING)
    return given is not None and name_of(given) in GIVEN and math.prod(shape_of(node) or ()) > 1


def _over_classes(term: Any) -> float:
    rows, target, classes = rows_of(term._saved_self), term._saved_target, classes_of(term)
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


def _ignored(term: Any) -> float:
    """Share of the targets that are no class, and so left out, as padding is."""
    target = term._saved_target
    return float((target == term._saved_ignore_index).float().mean()) if target.numel() else 0.0


def _is_constant(target: Tensor) -> bool:
    return target.numel() > 1 and bool((target == target.flatten()[0]).all())


def _singles(target: Tensor) -> int:
    """How many targets there are, where each stands by itself: of shape (samples,) or (samples, 1)."""
    return len(target) if target.ndim and target.numel() == len(target) else 0


def _mass(term: Any) -> float:
    return math.exp(min(float(rows_of(term._saved_self[:ENOUGH]).logsumexp(-1).mean()), LARGEST))


def _is_across(term: Any) -> bool:
    given = term.next_functions[0][0]
    if given is None or name_of(given) != "LogSoftmax":
        return False
    return saved_dimension(given, term._saved_self.ndim) != class_dimension(term._saved_self)


def _overshoot(term: Any) -> float:
    """Outputs over targets; the output is the side with a graph, whichever way round they were given."""
    output, target = term._saved_self, term._saved_target
    if term.next_functions[0][0] is None:
        output, target = target, output
    return rms(output) / max(rms(target), 1.0)


def _beyond(term: Any) -> float:
    """Of the mean or sum of all alone: what is weighted one by one may be left out, as padding is."""
    if term._saved_reduction == NO_REDUCTION or term._saved_weight is not None:
        return 0.0
    target = term._saved_target
    if not target.numel():
        return 0.0
    return max(float(-target.min()), float(target.max()) - 1, 0.0)


def _largest(values: Iterable[float]) -> float | None:
    return max((value for value in values if math.isfinite(value)), default=None)


def _is_scalar_arithmetic(node: Any) -> bool:
    return name_of(node) in ARITHMETIC and shape_of(node) == ()


def _pairs(node: Any) -> int:
    """n, where (n, 1) meets (n,) in a comparison, and broadcasts to (n, n).

    Where both sides carry a gradient, every pair is what was asked for.
    """
    inner = children(node)
    if name_of(node) not in DIFFERENCES or len(inner) != 1 or len(node.next_functions) < 2:
        return 0
    given = inner[0]
    wide = (shape_of(node) if name_of(node) == "Sub" else shape_of(given)) or ()
    if name_of(given) == "Expand":
        given = next(iter(children(given)), given)
    rows = wide[0] if wide else 0
    return rows if rows > 1 and wide == (rows, rows) and shape_of(given) in ((rows,), (rows, 1)) else 0


def _weighed_pairs(node: Any) -> int:
    """n, where n numbers are weighed by a table of all differences between n and n: an advantage without a graph."""
    if name_of(node) != "Mul" or len(children(node)) != 1 or len(node.next_functions) < 2:
        return 0
    shape = shape_of(node) or ()
    rows = shape[0] if len(shape) == 2 else 0
    if rows < 2 or shape != (rows, rows) or shape_of(children(node)[0]) not in ((rows,), (rows, 1)):
        return 0
    table = node._saved_self if node.next_functions[0][0] is None else node._saved_other
    return rows if table is not None and table.shape == shape and _holds_differences(table) else 0


def _holds_differences(table: Tensor) -> bool:
    """Whether each number is one of its row less one of its column, and neither rows nor columns are all alike."""
    row, column = table[:1] - table[0, 0], table[:, :1] - table[0, 0]
    known = table[0, 0] + row + column
    return bool(row.any()) and bool(column.any()) and torch.allclose(table, known, atol=1e-5)
