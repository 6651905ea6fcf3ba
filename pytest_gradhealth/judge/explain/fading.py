"""Gradients and signals that fade."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_gradhealth.errors import counted
from pytest_gradhealth.judge.explain.common import (
    INITIALISE,
    Explanation,
    activations,
    factor,
    gains_of,
    geometric_mean,
    saturated_modules,
)
from pytest_gradhealth.judge.view import SAME, View
from pytest_gradhealth.record import Signal

__all__ = ["collapse", "dim", "drowned", "faint", "forgetting", "overlooked", "vanishing"]

SLOPES = {"Sigmoid": "0.25", "Hardsigmoid": "0.17", "Softmax": "0.25"}
"""Largest slope of activations that shrink every signal."""
SHRINKING = ("Sigmoid", "Hardsigmoid", "Tanh", "Hardtanh", "Softsign", "Softmax")
SKIP = "add a normalisation or skip connections"
TINY = 1e-3
"""Largest input up to which it is the input that is too small."""


def vanishing(view: View, stretch: Sequence[str]) -> Explanation:
    """The rate at which the signal shrinks, and the activation that shrinks it."""
    if unnormalised := _unnormalised(view, view.unnormalised):
        return unnormalised
    gains = gains_of(view, stretch)
    rate = geometric_mean([1 / gain for gain in gains])
    culprits = activations(view, stretch)
    kind, count = (culprits.most_common(1) or [("", 0)])[0]
    where = f"through {count} {kind} layers" if count > 1 else f"at {stretch[0]!r}"
    cause = f"the signal shrinks {factor(rate)} per layer {where}" if rate > 1 else f"the signal is lost {where}"
    if kind in SLOPES:
        cause += f"; {kind.lower()}'s slope is at most {SLOPES[kind]}"
    if kind in SHRINKING:
        return Explanation(cause=cause, remedy=f"use ReLU or GELU with He initialisation, or {SKIP}")
    if len(stretch) == 1:
        remedy = f"look at the weights of {stretch[0]!r}: {INITIALISE}"
        return Explanation(cause=cause, remedy=remedy)
    remedy = f"{INITIALISE}, or {SKIP}"
    return Explanation(cause=cause, remedy=remedy)


def forgetting(signal: Signal) -> Explanation:
    """The factor per step, multiplied once for each."""
    cause = f"each step multiplies the gradient by about {signal.step_factor:.2g}"
    if signal.kind in ("RNN", "RNNCell"):
        remedy = "use an LSTM or GRU with a forget bias of 1 or more, orthogonal recurrent weights, or attention"
    else:
        remedy = "start the forget gate open (bias 1 or more, longer for longer sequences), or pool over all steps"
    return Explanation(cause=cause, remedy=remedy)


def overlooked(view: View, stretch: Sequence[str]) -> Explanation:
    """Averaging over all that came before, and the rate at which a position drowns in it."""
    rate = min(signal.position_reach for signal in view.leaves if signal.position_reach) ** (-1 / len(stretch))
    cause = (
        "causal attention mixes each position with all before it: without a skip connection nothing keeps late ones "
        f"apart, and they lose {factor(rate)} per layer over {counted(len(stretch), 'layer')}"
    )
    return Explanation(cause=cause, remedy="add the skip connection: x + attention(x) (Wu et al., 2024)")


def collapse(view: View, stretch: Sequence[str], what: str) -> Explanation:
    """Averaging over tokens, or biases that outweigh the signal."""
    if what == "tokens":
        cause = (
            "attention averages over positions until they are alike: without a skip connection nothing keeps them apart"
        )
        return Explanation(cause=cause, remedy="add the skip connection: x + attention(x) (Dong et al., 2021)")
    if len(stretch) == 1 and (view.variation or 0.0) < SAME:
        cause = f"behind {stretch[0]!r} all samples are one: averaged over the batch, or given by indices all alike"
        return Explanation(cause=cause, remedy="look at dim arguments there: dimension 0 holds the samples")
    kinds = activations(view, stretch)
    kind = next((kind for kind in kinds if kind in SHRINKING), "")
    if kind:
        cause = f"{kind} layers add the same constant to every sample while they shrink what differs"
        return Explanation(cause=cause, remedy=f"use ReLU or GELU, or {SKIP}")
    cause = "each layer shrinks what differs between samples more than what they share"
    return Explanation(cause=cause, remedy=f"{INITIALISE}, or {SKIP}")


def dim(view: View, stretch: Sequence[str]) -> Explanation:
    """Weights too small, or input out of scale."""
    first = view.leaves[0]
    if first.input_min is not None and first.input_peak < TINY:
        cause = f"the input reaches {first.input_peak:.0e} at most"
        return Explanation(cause=cause, remedy="scale the input to deviation 1")
    if unnormalised := _unnormalised(view, [name for name in stretch[:1] if name in view.unnormalised]):
        return unnormalised
    where = f"over {len(stretch)} layers" if len(stretch) > 1 else f"at {stretch[0]!r}"
    return Explanation(cause=f"weights shrink the signal {where}", remedy=f"{INITIALISE}, or {SKIP}")


def faint(view: View) -> Explanation:
    """The output hardly depends on the weights."""
    flat = saturated_modules(view)
    if flat:
        cause = f"{flat[-1].name!r} ({flat[-1].kind}) is saturated"
        return Explanation(cause=cause, remedy="feed logits to the loss, without an activation in between")
    cause = "the output, and with it the loss, hardly depends on the weights"
    return Explanation(cause=cause, remedy="check how the loss is scaled and what it is computed from")


def drowned(view: View) -> Explanation:
    """A loss out of scale."""
    cause = f"the loss is multiplied by something tiny (it is {view.record.loss:.0e}), or nearly nothing depends on it"
    remedy = "scale the loss to order one: Adam's eps of 1e-8 drowns such gradients, and SGD's step is nothing"
    return Explanation(cause=cause, remedy=remedy)


def _unnormalised(view: View, weak: Sequence[str]) -> Explanation | None:
    """A normalisation that does not normalise explains what fades behind it; None: there is none."""
    if not weak:
        return None
    size = view.normalised[weak[0]]
    cause = f"{weak[0]!r} returns {size:.0e} of the size that it should: eps outweighs its input, or it has one value"
    return Explanation(
        cause=cause, remedy="use the usual eps (1e-5), over several values, and do not scale its input down"
    )
