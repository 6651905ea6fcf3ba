"""A finding's cause and remedy, one sentence each, from what the record shows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TypedDict

from pytest_gradhealth.judge import localise
from pytest_gradhealth.judge.view import NORMALISES, SAME, View
from pytest_gradhealth.record import LayerGradient, Operation, Signal, Stray

__all__ = [
    "Explanation",
    "collapse",
    "cut",
    "dead_end",
    "dead_units",
    "dim",
    "drowned",
    "exploding",
    "faint",
    "forgetting",
    "growing",
    "non_finite",
    "of_stray",
    "saturated",
    "unlisted",
    "unused",
    "vanishing",
]

SLOPES = {"Sigmoid": "0.25", "Hardsigmoid": "0.17", "Softmax": "0.25"}
"""Largest slope of activations that shrink every signal."""
SHRINKING = ("Sigmoid", "Hardsigmoid", "Tanh", "Hardtanh", "Softsign", "Softmax")
SATURATED = 0.5
"""Share of flat outputs from which saturation is a cause."""
INITIALISE = "initialise with He (ReLU) or Xavier (tanh) scale"
REVIVE = "use LeakyReLU or GELU, start biases at 0, or lower the learning rate"
SKIP = "add a normalisation or skip connections"
SCALE = "scale the input to mean 0 and deviation 1 (or 0..1)"
CHOSEN = frozenset({"argmax", "argmin", "argsort", "topk", "long", "to", "int", "bucketize"})
NUMBERS = frozenset({"item", "tolist", "numpy", "__array__", "__int__", "__float__"})
DRAWN = frozenset({"sample", "multinomial", "bernoulli", "poisson", "normal"})
RARE = 0.05
"""Share of zeros behind a layer up to which they do not explain its dead units."""
TINY = 1e-3
"""Largest input up to which it is the input that is too small."""
LARGE = 50
"""Largest input from which it is the input that is too large."""


class Explanation(TypedDict):
    """Why, and what to do."""

    cause: str
    remedy: str


def non_finite(view: View, culprit: str) -> Explanation:
    """Overflow forward, or an infinite slope."""
    signal, record = view.signal(culprit), view.record
    if signal is not None and signal.bad_input and signal is view.leaves[0]:
        return Explanation(cause="the batch itself holds NaN or infinity", remedy="clean or normalise the input")
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


def cut(view: View, culprit: str) -> Explanation:
    """The operation that ended the graph, with the line of code where it was seen."""
    found = _cutting(view, culprit)
    signal = view.signal(culprit)
    if signal is not None and not signal.attached and (found is None or found.name == "no_grad"):
        place = f" ({found.where})" if found and found.where else ""
        cause = (
            f"{culprit!r} runs under torch.no_grad(){place}, or on detached weights, though its parameters ask to train"
        )
        return Explanation(cause=cause, remedy="remove no_grad there, or freeze the layer with requires_grad_(False)")
    if found is None:
        return Explanation(
            cause=f"the graph ends right behind {culprit!r}",
            remedy="look for detach(), .data, .item(), NumPy or an index such as argmax between it and the loss",
        )
    return _cut_by(found)


def _cut_by(found: Operation) -> Explanation:
    place = f" at {found.where}" if found.where else ""
    if found.name in NUMBERS:
        cause = f"{found.name}(){place} turns a tensor into numbers, which know no graph"
        return Explanation(cause=cause, remedy="go on with the tensor itself: numbers are for printing")
    if found.name in DRAWN:
        cause = f"{found.name}(){place} draws at random, and draws have no slope"
        return Explanation(
            cause=cause, remedy="use rsample() or Gumbel-softmax, or the log-probability of what was drawn"
        )
    if found.name in CHOSEN:
        cause = f"{found.name}(){place} turns values into something without a slope"
        return Explanation(
            cause=cause, remedy="use a soft form (softmax, Gumbel-softmax) or a straight-through estimator"
        )
    cause = f"{found.name}(){place} takes the signal out of the graph"
    return Explanation(cause=cause, remedy=f"remove {found.name}() there, or freeze the layers in front of it")


def _cutting(view: View, culprit: str) -> Operation | None:
    signal = view.signal(culprit)
    order = -1 if signal is None else signal.order
    cutting = [operation for operation in view.record.operations if operation.cuts]
    exact = (operation for operation in cutting if culprit in operation.behind)
    return next(exact, None) or next((operation for operation in cutting if operation.order >= order), None)


def unused(view: View, layer: LayerGradient) -> Explanation:
    """Never called, or called for nothing."""
    name = layer.name or "the model"
    if view.signal(layer.name) is None:
        cause = f"{name!r} is never called in the forward pass"
        return Explanation(cause=cause, remedy="call it, or remove it from the model; or list it in ignore=[...]")
    found = next((o for o in view.record.operations if o.cuts and layer.name in o.behind), None)
    if found is not None:
        return _cut_by(found)
    if localise.is_alive(view, layer):
        cause = f"{name!r} runs, but its parameters {', '.join(layer.missing)} take no part in it"
        return Explanation(cause=cause, remedy="use them in forward, or remove them; or list the layer in ignore=[...]")
    cause = f"{name!r} is called, but nothing on the way to the loss uses its output"
    return Explanation(cause=cause, remedy="use its output, or do not compute it; or list it in ignore=[...]")


def of_stray(stray: Stray) -> str:
    """What holds parameters that the model does not list."""
    if stray.where:
        return f"the {stray.name} that {stray.module or 'the model'!r} makes in its forward pass"
    return repr(f"{stray.module}.{stray.name}" if stray.module else stray.name)


def unlisted(stray: Stray) -> Explanation:
    """Made anew each time, or held where torch does not look."""
    if stray.where:
        cause = f"{stray.name} is made anew at {stray.where}, in each forward pass"
        return Explanation(cause=cause, remedy="make it once, in __init__, and keep it as an attribute of the module")
    cause = f"{stray.name!r} is a plain attribute: torch looks for parameters in Parameters and Modules only"
    remedy = "use nn.ModuleList, nn.ModuleDict, nn.ParameterList or nn.Parameter; or requires_grad_(False)"
    return Explanation(cause=cause, remedy=remedy)


def dead_end(view: View, culprit: str) -> Explanation:
    """What sends back nothing: a rectifier that is always off, a flat step, a factor of zero."""
    empty = [
        layer for layer in view.trained if layer.starts_at_zero and layer.kind not in ("Embedding", "EmbeddingBag")
    ]
    if len(empty) > 1 and culprit in {layer.name for layer in empty}:
        cause = f"the weights of {len(empty)} layers are all zero, this one's too"
        return Explanation(cause=cause, remedy=f"only the last layer of a branch may start at zero: {INITIALISE}")
    match next(localise.shutters(view, culprit), None):
        case Operation() as operation:
            return _flat_operation(operation)
        case Signal(kind="Dropout") as dropout:
            return Explanation(cause=f"{dropout.name!r} drops everything", remedy="lower its probability p")
        case Signal() as signal if NORMALISES.search(signal.kind):
            cause = f"{signal.name!r} ({signal.kind}) returns nothing but zeros: it normalises over a single value"
            return Explanation(
                cause=cause, remedy="normalise over a dimension that has several values, or in larger groups"
            )
        case Signal() as signal if "Embedding" in signal.kind:
            cause = (
                f"{signal.name!r} ({signal.kind}) returns nothing but zeros: all indices are padding, or its rows zero"
            )
            return Explanation(cause=cause, remedy="look at the indices, at padding_idx, and at how the rows start")
        case Signal() as signal:
            cause = f"every output of {signal.name!r} ({signal.kind}) is zero: its units are dead"
            return Explanation(cause=cause, remedy=REVIVE)
        case LayerGradient(closed=closed) as following if closed:
            cause = f"the weights of {following.name!r} behind it are all zero, and stay so"
            return Explanation(
                cause=cause, remedy="start one of two factors away from zero: a product of two zeros never moves"
            )
        case LayerGradient() as following:
            cause = f"what {following.name!r} behind it is given is all zeros"
            return Explanation(cause=cause, remedy="look at the activation, mask or factor in between")
    cause = "something between it and the loss has slope zero: a saturated activation, a clamp, a mask or a factor of 0"
    return Explanation(cause=cause, remedy="look at what is applied to its output")


def _flat_operation(operation: Operation) -> Explanation:
    place = f" at {operation.where}" if operation.where else ""
    if operation.constant == 1:
        cause = f"{operation.name}(){place} runs over a single element: it is always 1"
        return Explanation(cause=cause, remedy="apply it over another dimension, or give it more to choose from")
    if operation.constant == 0:
        cause = f"{operation.name}(){place} gives nothing but zeros"
        return Explanation(cause=cause, remedy="look at the factor or the mask there")
    if operation.is_step:
        cause = f"{operation.name}(){place} has slope zero everywhere"
        return Explanation(cause=cause, remedy="use a straight-through estimator: x + (round(x) - x).detach()")
    cause = f"{operation.flat:.0%} of the values of {operation.name}(){place} lie where its slope is zero"
    return Explanation(
        cause=cause, remedy="bring its input into range: smaller weights, a normalisation, a wider clamp"
    )


def dead_units(view: View, layer: LayerGradient) -> Explanation:
    """Units that no sample activates."""
    following = view.following(layer.name)
    activations = view.between(layer.name, following.name) if following else []
    zeros = max((signal.zeros for signal in activations), default=0.0)
    kind = next((signal.kind for signal in activations if signal.zeros == zeros and zeros), "the activation")
    if layer.shut:
        cause = f"the biases of {layer.shut:.0%} of its units keep {kind} at zero, whatever the input"
        return Explanation(cause=cause, remedy=REVIVE)
    if zeros < RARE:
        cause = "nothing behind it is zero as often: a hook, or a mask on its weights, keeps the gradient away"
        return Explanation(cause=cause, remedy="look for hooks on its parameters and for what is done to its weights")
    cause = f"{kind} behind it is zero for every sample in those units" + (
        f" ({zeros:.0%} of all outputs)" if zeros else ""
    )
    return Explanation(cause=cause, remedy=REVIVE)


def vanishing(view: View, stretch: Sequence[str]) -> Explanation:
    """The rate at which the signal shrinks, and the activation that shrinks it."""
    if unnormalised := _unnormalised(view, view.unnormalised):
        return unnormalised
    gains = _gains(view, stretch)
    rate = _geometric_mean([1 / gain for gain in gains])
    culprits = _activations(view, stretch)
    kind, count = (culprits.most_common(1) or [("", 0)])[0]
    where = f"through {count} {kind} layers" if count > 1 else f"at {stretch[0]!r}"
    cause = f"the signal shrinks {_factor(rate)} per layer {where}" if rate > 1 else f"the signal is lost {where}"
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
    cause = f"each step multiplies the gradient by about {signal.rate:.2g}"
    if signal.kind in ("RNN", "RNNCell"):
        remedy = "use an LSTM or GRU with a forget bias of 1 or more, orthogonal recurrent weights, or attention"
    else:
        remedy = "start the forget gate open (bias 1 or more, longer for longer sequences), or pool over all steps"
    return Explanation(cause=cause, remedy=remedy)


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
    kinds = _activations(view, stretch)
    kind = next((kind for kind in kinds if kind in SHRINKING), "")
    if kind:
        cause = f"{kind} layers add the same constant to every sample while they shrink what differs"
        return Explanation(cause=cause, remedy=f"use ReLU or GELU, or {SKIP}")
    cause = "each layer shrinks what differs between samples more than what they share"
    return Explanation(cause=cause, remedy=f"{INITIALISE}, or {SKIP}")


def exploding(view: View, stretch: Sequence[str]) -> Explanation:
    """Weights too large, or input out of scale."""
    if unscaled := _unscaled(view):
        return unscaled
    rate = _geometric_mean(_gains(view, stretch))
    cause = (
        f"the signal grows {_factor(rate)} per layer on its way back" if rate > 1 else f"{stretch[0]!r} is too steep"
    )
    flat = _saturated(view)
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


def drowned(view: View) -> Explanation:
    """A loss out of scale."""
    cause = f"the loss is multiplied by something tiny (it is {view.record.loss:.0e}), or nearly nothing depends on it"
    remedy = "scale the loss to order one: Adam's eps of 1e-8 drowns such gradients, and SGD's step is nothing"
    return Explanation(cause=cause, remedy=remedy)


def dim(view: View, stretch: Sequence[str]) -> Explanation:
    """Weights too small, or input out of scale."""
    first = view.leaves[0]
    if first.low is not None and first.largest_given < TINY:
        cause = f"the input reaches {first.largest_given:.0e} at most"
        return Explanation(cause=cause, remedy="scale the input to deviation 1")
    if unnormalised := _unnormalised(view, [name for name in stretch[:1] if name in view.unnormalised]):
        return unnormalised
    where = f"over {len(stretch)} layers" if len(stretch) > 1 else f"at {stretch[0]!r}"
    return Explanation(cause=f"weights shrink the signal {where}", remedy=f"{INITIALISE}, or {SKIP}")


def faint(view: View) -> Explanation:
    """The output hardly depends on the weights."""
    flat = _saturated(view)
    if flat:
        cause = f"{flat[-1].name!r} ({flat[-1].kind}) is saturated"
        return Explanation(cause=cause, remedy="feed logits to the loss, without an activation in between")
    cause = "the output, and with it the loss, hardly depends on the weights"
    return Explanation(cause=cause, remedy="check how the loss is scaled and what it is computed from")


def _unnormalised(view: View, weak: Sequence[str]) -> Explanation | None:
    """A normalisation that does not normalise explains what fades behind it; None: there is none."""
    if not weak:
        return None
    size = view.normalised[weak[0]]
    cause = f"{weak[0]!r} returns {size:.0e} of the size that it should: eps outweighs its input, or it has one value"
    return Explanation(
        cause=cause, remedy="use the usual eps (1e-5), over several values, and do not scale its input down"
    )


def _unscaled(view: View) -> Explanation | None:
    """An input that is too large explains all that is; None: it is not."""
    given = view.leaves[0].largest_given if view.leaves else 0.0
    return Explanation(cause=f"the input reaches {given:.0f}", remedy=SCALE) if given > LARGE else None


def _saturated(view: View) -> list[Signal]:
    return [signal for signal in view.leaves if (signal.flat or 0.0) > SATURATED]


def _activations(view: View, stretch: Sequence[str]) -> Counter[str]:
    """Kinds of parameterless modules next to the layers of a stretch; where there are none, functions called there."""
    owners = set(view.record.names)
    orders = [signal.order for name in stretch if (signal := view.signal(name))]
    if not orders:
        return Counter()
    first, last = min(orders) - 2, max(orders) + 1
    modules = [s.kind for s in view.leaves if first <= s.order <= last and s.name not in owners]
    called = [o.name.rstrip("_").title() for o in view.record.operations if first <= o.order <= last]
    return Counter(kind for kind in modules or called if kind not in ("Dropout", "Identity", "Flatten"))


def _gains(view: View, stretch: Sequence[str]) -> list[float]:
    layers = filter(None, map(view.layer, stretch))
    return [layer.gain for layer in layers if layer.gain and math.isfinite(layer.gain)]


def _factor(rate: float) -> str:
    return f"{rate:.1f}x" if rate < 1000 else f"{rate:.0e} times"


def _geometric_mean(values: Sequence[float]) -> float:
    positive = [value for value in values if value > 0]
    return math.exp(sum(map(math.log, positive)) / len(positive)) if positive else 1.0
