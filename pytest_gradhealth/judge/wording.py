"""Pieces of causes and remedies that several rules share."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NotRequired, TypedDict

from pytest_gradhealth.judge import localise
from pytest_gradhealth.judge.view import NORMALISES, View
from pytest_gradhealth.record import LayerGradient, Operation, Signal, short_place

__all__ = [
    "INITIALISE",
    "REVIVE",
    "SHRINKING",
    "SKIP",
    "UNEVEN",
    "Explanation",
    "activations",
    "cut_by",
    "dead_end",
    "factor",
    "gains_of",
    "geometric_mean",
    "growing",
    "located",
    "named",
    "place",
    "saturated_modules",
    "unnormalised",
    "unscaled",
]

SATURATED = 0.5
"""Share of flat outputs from which saturation is a cause."""
LARGE = 50
"""Largest input from which the input is too large."""
UNEVEN = 100
"""Size of the largest feature over the median feature's from which it drowns the others."""
INITIALISE = "use He initialisation (ReLU) or Xavier (tanh)"
SKIP = "add a normalisation or skip connections"
REVIVE = "use LeakyReLU or GELU, start biases at 0, or lower the learning rate"
SHRINKING = ("Sigmoid", "Hardsigmoid", "Tanh", "Hardtanh", "Softsign", "Softmax")
CHOSEN = frozenset({"argmax", "argmin", "argsort", "topk", "long", "to", "int", "bucketize"})
NUMBERS = frozenset({"item", "tolist", "numpy", "__array__", "__int__", "__float__"})
DRAWN = frozenset({"sample", "multinomial", "bernoulli", "poisson", "normal"})


class Explanation(TypedDict):
    """Why, and what to do; and where in the code, if that is known."""

    cause: str
    remedy: str
    where: NotRequired[str]


def saturated_modules(view: View) -> list[Signal]:
    """Activations most of whose outputs lie where their slope is near zero."""
    return [signal for signal in view.leaves if (signal.saturation or 0.0) > SATURATED]


def activations(view: View, stretch: Sequence[str]) -> Counter[str]:
    """Kinds of parameterless modules next to the layers of a stretch; where there are none, functions called there."""
    owners = set(view.record.names)
    orders = [signal.order for name in stretch if (signal := view.signal(name))]
    if not orders:
        return Counter()
    first, last = min(orders) - 2, max(orders) + 1
    modules = [s.kind for s in view.leaves if first <= s.order <= last and s.name not in owners]
    bending = (o for o in view.record.operations if not (o.nonfinite or o.infinite_slope))
    called = [o.name.rstrip("_").title() for o in bending if first <= o.order <= last]
    return Counter(kind for kind in modules or called if kind not in ("Dropout", "Identity", "Flatten"))


def gains_of(view: View, stretch: Sequence[str]) -> list[float]:
    """The gains of a stretch of layers that are known and finite."""
    layers = filter(None, map(view.layer, stretch))
    return [layer.gain for layer in layers if layer.gain and math.isfinite(layer.gain)]


def named(layer: str) -> str:
    """A layer in a sentence; the model itself has no name."""
    return repr(layer) if layer else "the model itself"


def factor(rate: float) -> str:
    """A factor in words."""
    return f"{rate:.1f}x" if rate < 1000 else f"{rate:.0e} times"


def geometric_mean(values: Sequence[float]) -> float:
    """Of the positive numbers; 1 where there is none."""
    positive = [value for value in values if value > 0]
    return math.exp(sum(map(math.log, positive)) / len(positive)) if positive else 1.0


def place(operation: Operation) -> str:
    """File and line of an operation, as part of a sentence; empty where they are not known."""
    return f" at {short_place(operation.where)}" if operation.where else ""


def cut_by(found: Operation) -> Explanation:
    """The operation that ended the graph."""
    return located(_cut_by(found), found)


def located(explanation: Explanation, operation: Operation) -> Explanation:
    """With the line of code that calls the operation."""
    return {**explanation, "where": operation.where}


def _cut_by(found: Operation) -> Explanation:
    where = place(found)
    if found.name in NUMBERS:
        cause = f"{found.name}(){where} turns a tensor into plain numbers, which carry no gradient"
        return Explanation(cause=cause, remedy="keep working with the tensor; convert to numbers for logging only")
    if found.name in DRAWN:
        cause = f"{found.name}(){where} draws a random sample, and sampling has no gradient"
        return Explanation(
            cause=cause, remedy="use rsample() or Gumbel-softmax, or train on the log-probability of the sample"
        )
    if found.name in CHOSEN:
        cause = f"{found.name}(){where} makes a discrete choice, which has no gradient"
        return Explanation(
            cause=cause, remedy="use a soft choice (softmax, Gumbel-softmax) or a straight-through estimator"
        )
    if found.name == "checkpoint":
        cause = f"a reentrant checkpoint{where} records no graph, since none of its inputs requires a gradient"
        return Explanation(cause=cause, remedy="use checkpoint(..., use_reentrant=False), or let an input require one")
    if found.name.endswith(".backward"):
        cause = f"{found.name} returns None for it; the forward{where} uses it"
        return Explanation(cause=cause, remedy="return the gradient of each input that has one")
    how = {"data": ".data", "no_grad": "torch.no_grad()"}.get(found.name, f"{found.name}()")
    cause = f"{how}{where} detaches the signal from the graph"
    return Explanation(cause=cause, remedy=f"remove {how} there, or freeze the layers in front of it")


def dead_end(view: View, culprit: str) -> Explanation:
    """What sends back no gradient: a rectifier that is always off, a flat step, a factor of zero."""
    empty = [
        layer for layer in view.trained if layer.starts_at_zero and layer.kind not in ("Embedding", "EmbeddingBag")
    ]
    if len(empty) > 1 and culprit in {layer.name for layer in empty}:
        cause = f"the weights of {len(empty)} layers are all zero, including this one's"
        return Explanation(cause=cause, remedy=f"start only the last layer of a branch at zero: {INITIALISE}")
    match next(localise.shutters(view, culprit), None):
        case Operation() as operation:
            return located(_flat_operation(operation), operation)
        case Signal(zeros=zeros) as signal if zeros < localise.SILENT:
            return _saturated(view, signal)
        case Signal() as signal:
            return _all_zeros(view, signal)
        case LayerGradient(zero_weights=(_, *_)) as following:
            cause = f"the weights of {following.name!r} behind it are all zero and stay zero"
            return Explanation(
                cause=cause, remedy="start one of two factors away from zero: the product of two zeros never moves"
            )
        case LayerGradient() as following:
            cause = f"the input of {following.name!r} behind it is all zeros"
            return Explanation(cause=cause, remedy="check the activation, mask or factor between the two")
    if too_large := unscaled(view):
        return too_large
    if view.record.step_function:
        return _flat_function(view.record.step_function)
    if view.record.steps and view.record.optimisers:
        cause = "it had a gradient at first, and the steps of an optimiser took it away: units died, or saturated"
        return Explanation(cause=cause, remedy="lower the learning rate, warm up, or clip the gradient norm")
    cause = "something between it and the loss has slope zero: a saturated activation, a clamp, a mask or a factor of 0"
    return Explanation(cause=cause, remedy="check what is applied to its output")


def _saturated(view: View, signal: Signal) -> Explanation:
    """An activation all of whose outputs lie where it is flat."""
    cause = f"{signal.name!r} ({signal.kind}) is saturated: its slope is zero at all of its outputs"
    remedy = "bring its input into range: smaller weights, a normalisation"
    return Explanation(cause=cause, remedy=remedy + (", a lower learning rate" if view.record.steps else ""))


def _all_zeros(view: View, signal: Signal) -> Explanation:
    """A module that returns nothing but zeros."""
    if "Drop" in signal.kind:
        return Explanation(cause=f"{signal.name!r} drops everything", remedy="lower its probability p")
    if NORMALISES.search(signal.kind):
        cause = f"{signal.name!r} ({signal.kind}) normalises over a single value, so its output is always zero"
        return Explanation(cause=cause, remedy="normalise over a dimension with several values, or in larger groups")
    if "Embedding" in signal.kind:
        cause = f"{signal.name!r} ({signal.kind}) returns only zeros: all indices are padding, or its rows are zero"
        return Explanation(cause=cause, remedy="check the indices, padding_idx, and how the rows are initialised")
    if too_large := unscaled(view):
        return too_large
    if signal is view.leaves[-1]:
        cause = f"every output of {signal.name!r} ({signal.kind}) at the end of the model is zero"
        return Explanation(cause=cause, remedy=f"remove the {signal.kind} at the end: outputs may have any value then")
    cause = f"every output of {signal.name!r} ({signal.kind}) is zero: its units are dead"
    return Explanation(cause=cause, remedy=REVIVE)


def _flat_function(name: str) -> Explanation:
    """A function of slope zero in a watched test, where no line is known."""
    cause = f"the loss was computed through a {name}, whose slope is zero"
    choice = "apply it over another dimension, or give it several elements"
    step = "use a straight-through estimator: x + (round(x) - x).detach()"
    return Explanation(cause=cause, remedy=choice if name.startswith("softmax") else step)


def _flat_operation(operation: Operation) -> Explanation:
    where = place(operation)
    if operation.constant == 1:
        cause = f"{operation.name}(){where} runs over a single element, so its result is always 1"
        return Explanation(cause=cause, remedy="apply it over another dimension, or give it several elements")
    if operation.constant == 0:
        cause = f"{operation.name}(){where} returns only zeros"
        return Explanation(cause=cause, remedy="check the factor or the mask there")
    if operation.is_step:
        cause = f"{operation.name}(){where} has slope zero everywhere"
        return Explanation(cause=cause, remedy="use a straight-through estimator: x + (round(x) - x).detach()")
    cause = f"at {operation.zero_slope:.0%} of its values, {operation.name}(){where} has slope zero"
    return Explanation(
        cause=cause, remedy="bring its input into range: smaller weights, a normalisation, a wider clamp"
    )


def growing(view: View, stretch: Sequence[str]) -> Explanation:
    """Weights too large, or an input out of scale."""
    if too_large := unscaled(view):
        return too_large
    where = f"over {len(stretch)} layers" if len(stretch) > 1 else f"at {stretch[0] or 'the model'!r}"
    cause = f"weights, or what stands between them (exp, a product, a sum), enlarge the signal {where}"
    return Explanation(cause=cause, remedy=f"{INITIALISE}, or add a normalisation")


def unscaled(view: View) -> Explanation | None:
    """An input that is too large explains the rest; None: it is not, or a normalisation comes first."""
    if view.normalises_input:
        return None
    for given in view.record.inputs:
        if given.feature is not None and given.feature_scale > UNEVEN and given.high > LARGE:
            cause = f"feature {given.feature} of the input is {given.feature_scale:.3g} times as large as the others"
            return Explanation(
                cause=cause, remedy="standardise each feature: subtract its mean, divide by its deviation"
            )
    first = next(iter(view.leaves), None)
    if first is None or first.input_peak <= LARGE:
        return None
    remedy = "scale the input to mean 0 and standard deviation 1 (or to 0..1)"
    return Explanation(cause=f"the input has values up to {first.input_peak:.0f}", remedy=remedy)


def unnormalised(view: View, weak: Sequence[str]) -> Explanation | None:
    """A normalisation that does not normalise explains what fades behind it; None: there is none."""
    if not weak:
        return None
    size = view.normalised[weak[0]]
    cause = (
        f"{weak[0]!r} returns {size:.0e} of the size it should: its eps outweighs its input, or it normalises a "
        "single value"
    )
    return Explanation(
        cause=cause, remedy="use the usual eps (1e-5) over several values, and do not scale its input down"
    )
