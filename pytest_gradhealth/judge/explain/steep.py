"""Gradients and signals that grow beyond what any step size suits, or beyond numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pytest_gradhealth.judge.explain.common import (
    INITIALISE,
    Explanation,
    factor,
    gains_of,
    geometric_mean,
    saturated_modules,
)
from pytest_gradhealth.judge.view import View

__all__ = ["exploding", "growing", "non_finite", "saturated"]

SCALE = "scale the input to mean 0 and deviation 1 (or 0..1)"
LARGE = 50
"""Largest input from which it is the input that is too large."""


def non_finite(view: View, culprit: str) -> Explanation:
    """Overflow forward, or an infinite slope."""
    signal, record = view.signal(culprit), view.record
    if signal is not None and signal.nonfinite_input and signal is view.leaves[0]:
        return Explanation(cause="the batch itself holds NaN or infinity", remedy="clean or normalise the input")
    if record.steps and any(use.eps_underflows for use in record.optimisers):
        use = next(use for use in record.optimisers if use.eps_underflows)
        cause = f"the eps of {use.kind} is zero in float16, so that its step is 0/0 wherever a gradient is zero"
        return Explanation(cause=cause, remedy="set eps=1e-4, or keep the weights in float32 and use torch.autocast")
    broken = next((layer.name for layer in record if not math.isfinite(layer.weight_norm)), None)
    if broken is not None:
        cause = f"the weights of {broken!r} hold NaN or infinity already: an earlier step was too large"
        return Explanation(cause=cause, remedy="lower the learning rate, clip the gradient norm, or warm up")
    if record.precision == "float16":
        cause = "float16 holds nothing beyond 65504"
        return Explanation(cause=cause, remedy="compute the large step in float32, or train in bfloat16")
    if record.loss is not None and math.isfinite(record.loss):
        cause = "some slope is infinite at the value it is taken at: sqrt, norm or a power at 0, log or division near 0"
        return Explanation(
            cause=cause, remedy="add a small constant inside: sqrt(x + eps), log(x + eps), x / (norm + eps)"
        )
    cause = (
        "an operation left its domain or the range of numbers: log or sqrt of a negative, division by 0, exp of a large"
    )
    return Explanation(
        cause=cause, remedy="clamp its input, use the stable form (log_softmax, logsumexp), or mask differently"
    )


def exploding(view: View, stretch: Sequence[str]) -> Explanation:
    """Weights too large, or input out of scale."""
    if unscaled := _unscaled(view):
        return unscaled
    rate = geometric_mean(gains_of(view, stretch))
    cause = f"the signal grows {factor(rate)} per layer on its way back" if rate > 1 else f"{stretch[0]!r} is too steep"
    flat = saturated_modules(view)
    if flat:
        cause += f"; {len(flat)} {flat[0].kind} layers are saturated"
    remedy = f"{INITIALISE}, add a normalisation, and clip the gradient norm"
    return Explanation(cause=cause, remedy=remedy)


def growing(view: View, stretch: Sequence[str]) -> Explanation:
    """The same on the way forward."""
    if unscaled := _unscaled(view):
        return unscaled
    where = f"over {len(stretch)} layers" if len(stretch) > 1 else f"at {stretch[0] or 'the model'!r}"
    cause = f"weights, or what stands between them (exp, a product, a sum), enlarge the signal {where}"
    return Explanation(cause=cause, remedy=f"{INITIALISE}, or add a normalisation")


def saturated(view: View, kind: str) -> Explanation:
    """Input or weights out of scale."""
    if unscaled := _unscaled(view):
        return unscaled
    cause = f"what {kind} is given is many times larger than where it bends"
    return Explanation(cause=cause, remedy=f"{INITIALISE}, or add a normalisation in front of it")


def _unscaled(view: View) -> Explanation | None:
    """An input that is too large explains all that is; None: it is not."""
    given = view.leaves[0].input_peak if view.leaves else 0.0
    return Explanation(cause=f"the input reaches {given:.0f}", remedy=SCALE) if given > LARGE else None
