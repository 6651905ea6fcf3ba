"""What the function at the end of a model can give, beside what the loss asks for."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch.nn.functional import binary_cross_entropy, binary_cross_entropy_with_logits

from pytest_gradhealth.measure.losses.nodes import SHAPING, behind, classes_of, name_of

__all__ = ["output_range"]

BENT = SHAPING | {"LogSoftmax"}
"""What may stand between a function that bounds the outputs and the loss."""
RANGES: dict[str, Callable[[Any], tuple[float, float]]] = {
    "Hardsigmoid": lambda node: (0.0, 1.0),
    "Elu": lambda node: (-float(node._saved_alpha), math.inf),
    "Hardtanh": lambda node: (node._saved_min_val, node._saved_max_val),
    "Relu": lambda node: (0.0, math.inf),
    "Sigmoid": lambda node: (0.0, 1.0),
    "Softplus": lambda node: (0.0, math.inf),
    "Softmax": lambda node: (0.0, 1.0),
    "Tanh": lambda node: (-1.0, 1.0),
}
"""Smallest and largest number that a function can give."""
UNBOUNDED = ("", 0.0)


def output_range(term: Any) -> tuple[str, float]:
    """The function that bounds the outputs, and the share of the best constant's loss that it makes unavoidable."""
    last = behind(term.next_functions[0][0], BENT) if name_of(term) in _LOST else None
    if last is None or name_of(last) not in RANGES:
        return UNBOUNDED
    lost, best = _LOST[name_of(term)](term, *RANGES[name_of(last)](last))
    return (name_of(last).lower(), lost / best) if 0 < best < math.inf else UNBOUNDED


def _lost_squares(term: Any, low: float, high: float) -> tuple[float, float]:
    """The least squared error with outputs in a range, and that of the best constant."""
    target = term._saved_target.float()
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
    classes = classes_of(term)
    return math.log1p((classes - 1) * math.exp(low - high)), math.log(classes)


_LOST: dict[str, Callable[[Any, float, float], tuple[float, float]]] = {
    "BinaryCrossEntropyWithLogits": _lost_bits,
    "HuberLoss": _lost_squares,
    "MseLoss": _lost_squares,
    "NllLoss": _lost_choices,
    "NllLoss2D": _lost_choices,
    "SmoothL1Loss": _lost_squares,
}
