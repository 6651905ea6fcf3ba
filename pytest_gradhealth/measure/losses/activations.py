"""The activation between a model's last layer and its loss, where the loss applies one of its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from pytest_gradhealth.measure.losses.nodes import SHAPING, behind, children, name_of, shape_of
from pytest_gradhealth.measure.torch_private import saved_dimension

__all__ = [
    "activation_in_front",
    "clamped_share",
    "excess_of_labels",
    "is_divergence_of_probabilities",
    "is_multilabel_softmax",
    "smallest_softmax",
]

OWN = {"LogSoftmax": "cross_entropy", "BinaryCrossEntropyWithLogits": "binary_cross_entropy_with_logits"}
"""Losses that expect raw scores, as they apply a softmax or a sigmoid themselves."""
ACTIVATIONS = frozenset({"Relu", "Sigmoid", "Softmax"})
NORMALISED = SHAPING | {"Clamp", "ClampMin", "ClampMax", "Add", "Div"}
"""What may stand between an activation and a logarithm written by hand."""
LABELLED = frozenset({"BinaryCrossEntropy", "MseLoss"})
"""Losses that compare probabilities with labels, one by one."""
ROUNDING = 0.1
"""How far the probabilities of one sample may add up to anything but 1."""


def activation_in_front(terms: Iterable[Any]) -> tuple[str, str]:
    """Activation and loss, as in ``("sigmoid", "binary_cross_entropy_with_logits")``; empty: there is none.

    A logarithm written by hand expects probabilities: of those, a ReLU gives none.
    """
    for term in terms:
        given = _given(term) if name_of(term) in OWN else None
        if given is not None and name_of(given) in ACTIVATIONS:
            return name_of(given).lower(), OWN[name_of(term)]
        source = _probability(term) if name_of(term) == "Log" else None
        if source is not None and name_of(source) == "Relu":
            return "relu", "log"
    return "", ""


def excess_of_labels(terms: Iterable[Any]) -> float:
    """How far the targets t of a binary cross entropy lie outside 0 to 1, where it is written by hand.

    Such a loss holds t * log(p) and (1 - t) * log(1 - p): the two factors add up to 1, as those of no other loss do.
    """
    factors: dict[str, list[Tensor]] = {"": [], "Rsub": []}
    for node in terms:
        factor = _factor(node) if name_of(node) == "Mul" else None
        behind_log = _name_behind_log(node) if factor is not None else ""
        if factor is not None and factor.numel() and behind_log:
            factors["Rsub" if behind_log == "Rsub" else ""].append(factor)
    pairs = ((t, rest) for t in factors[""] for rest in factors["Rsub"] if t.shape == rest.shape)
    targets = (t for t, rest in pairs if torch.allclose(t + rest, torch.ones_like(t)))
    return max((max(float(-t.min()), float(t.max()) - 1, 0.0) for t in targets), default=0.0)


def is_multilabel_softmax(terms: Iterable[Any]) -> bool:
    """Whether several labels, or none, are asked for at once of outputs that a softmax makes add up to 1."""
    for term in terms:
        given = _given(term) if name_of(term) in LABELLED else None
        if given is not None and name_of(given) == "Softmax" and _are_labels(term._saved_target):
            labels = term._saved_target.float().sum(saved_dimension(given, term._saved_target.ndim))
            return bool((labels - 1).abs().mean() > ROUNDING)
    return False


def is_divergence_of_probabilities(node: Any) -> bool:
    """Whether it is the c - t * p of ``kl_div``, with probabilities p in the place of their logarithms."""
    if name_of(node) != "Sub" or len(node.next_functions) != 2 or node.next_functions[0][0] is not None:
        return False
    product = node.next_functions[1][0]
    targets = _factor(product) if product is not None and name_of(product) == "Mul" else None
    if targets is None or not targets.numel() or bool(((targets < 0) | (targets > 1)).any()):
        return False
    given = _given(product)
    return given is not None and name_of(given) == "Softmax"


def _are_labels(targets: Tensor) -> bool:
    return bool(((targets == 0) | (targets == 1)).all())


def smallest_softmax(terms: Iterable[Any]) -> int | None:
    """Number of elements that a softmax in front of a loss chooses from, the smallest of several; None: no softmax."""
    sizes = []
    for term in terms:
        given = term if name_of(term) in ("LogSoftmax", "Softmax") else _given(term)
        shape = shape_of(given) if given is not None and name_of(given) in ("LogSoftmax", "Softmax") else None
        if shape:
            sizes.append(shape[saved_dimension(given, len(shape))])
    return min(sizes, default=None)


def clamped_share(terms: Iterable[Any]) -> float:
    """Share (0 to 1) of the probabilities that a clamp in front of a logarithm cuts off, where its slope is zero."""
    shares = [_cut_off(given) for term in terms if name_of(term) == "Log" and (given := _given(term)) is not None]
    return max(shares, default=0.0)


def _cut_off(node: Any) -> float:
    if not name_of(node).startswith("Clamp") or not hasattr(node, "_saved_self"):
        return 0.0
    source = _probability(node)
    if source is None or name_of(source) not in ACTIVATIONS:
        return 0.0
    value = node._saved_self
    low, high = (getattr(node, name, None) for name in ("_saved_min", "_saved_max"))
    outside = torch.zeros_like(value, dtype=torch.bool)
    outside |= value < low if low is not None else False
    outside |= value > high if high is not None else False
    return float(outside.float().mean()) if value.numel() else 0.0


def _probability(node: Any) -> Any:
    """The node of the activation behind what is clamped and normalised by hand."""
    return behind(next(iter(children(node)), None), NORMALISED)


def _name_behind_log(node: Any) -> str:
    """Name of what a product takes the logarithm of; empty: it has none."""
    log = next((child for child in children(node) if name_of(child) == "Log"), None)
    given = _given(log) if log is not None else None
    return "" if given is None else name_of(given)


def _factor(node: Any) -> Tensor | None:
    """What a product multiplies a tensor with a graph by, where it has none itself."""
    given = [child for child, _ in node.next_functions]
    if len(given) != 2 or (given[0] is None) == (given[1] is None):
        return None
    factor: Tensor | None = node._saved_other if given[1] is None else node._saved_self
    return factor


def _given(node: Any) -> Any:
    """The node that makes what this one is given, behind what only changes its shape."""
    return behind(next(iter(children(node)), None), SHAPING)
