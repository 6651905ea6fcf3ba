"""Gradients that never come, or come as nothing."""

from __future__ import annotations

from pytest_gradhealth.judge import localise
from pytest_gradhealth.judge.explain.common import INITIALISE, Explanation
from pytest_gradhealth.judge.view import NORMALISES, View
from pytest_gradhealth.record import LayerGradient, Operation, Signal, UnregisteredParameter, path_of

__all__ = ["cut", "dead_end", "dead_units", "of_unregistered", "unregistered", "unused"]

REVIVE = "use LeakyReLU or GELU, start biases at 0, or lower the learning rate"
CHOSEN = frozenset({"argmax", "argmin", "argsort", "topk", "long", "to", "int", "bucketize"})
NUMBERS = frozenset({"item", "tolist", "numpy", "__array__", "__int__", "__float__"})
DRAWN = frozenset({"sample", "multinomial", "bernoulli", "poisson", "normal"})
RARE = 0.05
"""Share of zeros behind a layer up to which they do not explain its dead units."""


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
    cutting = [operation for operation in view.record.operations if operation.detaches]
    exact = (operation for operation in cutting if culprit in operation.upstream)
    return next(exact, None) or next((operation for operation in cutting if operation.order >= order), None)


def of_unregistered(found: UnregisteredParameter) -> str:
    """What holds parameters that the model does not list."""
    if found.where:
        return f"the {found.name} that {found.module or 'the model'!r} makes in its forward pass"
    return repr(path_of(found.module, found.name))


def unregistered(found: UnregisteredParameter) -> Explanation:
    """Made anew each time, or held where torch does not look."""
    if found.where:
        cause = f"{found.name} is made anew at {found.where}, in each forward pass"
        return Explanation(cause=cause, remedy="make it once, in __init__, and keep it as an attribute of the module")
    cause = f"{found.name!r} is a plain attribute: torch looks for parameters in Parameters and Modules only"
    remedy = "use nn.ModuleList, nn.ModuleDict, nn.ParameterList or nn.Parameter; or requires_grad_(False)"
    return Explanation(cause=cause, remedy=remedy)


def unused(view: View, layer: LayerGradient, whole: str) -> Explanation:
    """Never called, or called for nothing; ``whole`` is the module that was left out with the layer."""
    name = layer.name or "the model"
    if view.signal(layer.name) is None:
        left_out = whole if view.signal(whole) is None else layer.name
        cause = f"{left_out or 'the model'!r} is never called in the forward pass"
        return Explanation(cause=cause, remedy="call it, or remove it from the model; or list it in ignore=[...]")
    found = next((o for o in view.record.operations if o.detaches and layer.name in o.upstream), None)
    if found is not None:
        return _cut_by(found)
    if localise.is_alive(view, layer):
        cause = f"{name!r} runs, but its parameters {', '.join(layer.missing)} take no part in it"
        return Explanation(cause=cause, remedy="use them in forward, or remove them; or list the layer in ignore=[...]")
    cause = f"{name!r} is called, but nothing on the way to the loss uses its output"
    return Explanation(cause=cause, remedy="use its output, or do not compute it; or list it in ignore=[...]")


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
        case LayerGradient(zero_weights=(_, *_)) as following:
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
    cause = f"{operation.zero_slope:.0%} of the values of {operation.name}(){place} lie where its slope is zero"
    return Explanation(
        cause=cause, remedy="bring its input into range: smaller weights, a normalisation, a wider clamp"
    )


def dead_units(view: View, layer: LayerGradient) -> Explanation:
    """Units that no sample activates."""
    following = view.following(layer.name)
    activations = view.between(layer.name, following.name) if following else []
    zeros = max((signal.zeros for signal in activations), default=0.0)
    kind = next((signal.kind for signal in activations if signal.zeros == zeros and zeros), "the activation")
    if layer.dead_by_bias:
        cause = f"the biases of {layer.dead_by_bias:.0%} of its units keep {kind} at zero, whatever the input"
        return Explanation(cause=cause, remedy=REVIVE)
    if zeros < RARE:
        cause = "nothing behind it is zero as often: a hook, or a mask on its weights, keeps the gradient away"
        return Explanation(cause=cause, remedy="look for hooks on its parameters and for what is done to its weights")
    cause = f"{kind} behind it is zero for every sample in those units" + (
        f" ({zeros:.0%} of all outputs)" if zeros else ""
    )
    return Explanation(cause=cause, remedy=REVIVE)
