"""Where it is lost: the layer or the stretch of layers to look at, not every layer behind it."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from pytest_gradhealth.judge.view import SAME, View
from pytest_gradhealth.record import LayerGradient, Operation, Signal, parent_of

__all__ = [
    "collapse_stretch",
    "cut_site",
    "dead_end",
    "dimming_stretch",
    "exploding_stretch",
    "families",
    "first_nonfinite",
    "growing_stretch",
    "is_alive",
    "is_cut",
    "is_inside",
    "is_passed_by",
    "overlooking_stretch",
    "saturated_stretch",
    "shutters",
    "span",
    "vanishing_stretch",
]

LOSSY = 0.8
"""A gain below this loses signal; a gain above its inverse amplifies it."""
SILENT = 0.99
"""Share of flat slopes, or of zeros, from which nothing comes back."""
ALONE = 0.5
"""One layer that accounts for so large a share of the lost decades is the culprit alone."""


def span(view: View, layers: Sequence[str]) -> str:
    """A stretch of layers in words: the culprit alone, or its ends in forward order."""
    if len(layers) == 1:
        return f"at {layers[0] or 'the model'!r}"
    within = set(layers)
    ordered = [name for name in view.record.names if name in within]
    return f"over {len(layers)} layers from {ordered[0]!r} to {ordered[-1]!r}"


def vanishing_stretch(view: View) -> list[str]:
    """Layers at which the returning signal shrinks, the sharpest first."""
    return _sharpest(_falling(_gains(view))) or [view.front[-1].name]


def exploding_stretch(view: View) -> list[str]:
    """Layers at which the returning signal grows, the sharpest first; else the steepest layer."""
    return _sharpest(_rising(_gains(view))) or [max(view.trained, key=lambda layer: layer.sensitivity).name]


def growing_stretch(view: View) -> list[str]:
    """Layers behind which the signal is larger than behind the layer before, the sharpest first."""
    return _sharpest(_rising(_steps(view, lambda signal: signal.rms))) or [_first(view)]


def collapse_stretch(view: View, what: str) -> list[str]:
    """Layers behind which samples (or tokens) differ less than behind the layer before, the sharpest first."""

    def left(signal: Signal) -> float:
        variation = signal.token_variation if what == "tokens" else signal.sample_variation
        return 0.0 if variation is None else max(variation, SAME)

    return _sharpest(_falling(_steps(view, left))) or [_first(view)]


def overlooking_stretch(view: View) -> list[str]:
    """Layers behind which late positions count for more than behind the layer before, the sharpest first."""
    return _sharpest(_rising(_steps(view, lambda signal: signal.position_reach or 0.0))) or [_first(view)]


def saturated_stretch(view: View) -> list[str]:
    """Layers in front of bounded activations, that of the flattest first."""
    orders = [layer.order or 0 for layer in view.called]
    flattest = sorted(view.bounded, key=lambda signal: -(signal.saturation or 0.0))
    before = (bisect_left(orders, signal.order) - 1 for signal in flattest)
    return list(dict.fromkeys(view.called[i].name for i in before if i >= 0)) or [flattest[0].name]


def dimming_stretch(view: View) -> list[str]:
    """Layers behind which the signal is smaller than behind the layer before, the sharpest first."""
    return _sharpest(_falling(_steps(view, lambda signal: signal.amplitude or 0.0))) or [_first(view)]


def is_passed_by(view: View, stretch: Sequence[str]) -> bool:
    """Whether the gradient goes round the one layer of a stretch, as round a code book: straight through."""
    following = view.following(stretch[0])
    if len(stretch) > 1 or following is None or not following.norm or not following.predecessors:
        return False
    return stretch[0] not in view.upstream[following.name]


def dead_end(view: View, silent: Sequence[LayerGradient]) -> str:
    """The last silent layer in forward order, behind which the gradient is still alive.

    A layer that is given nothing but zeros is silent only because of the one before it.
    """
    ordered = sorted(silent, key=lambda layer: -1 if layer.order is None else layer.order)
    while len(ordered) > 1 and view.is_given_nothing(ordered[-1]):
        ordered.pop()
    return ordered[-1].name


def shutters(view: View, layer: str) -> Iterator[Operation | Signal | LayerGradient]:
    """What sends nothing back, between a layer and the next: a step, a mask, units that are off, weights at zero."""
    following = view.following(layer)
    end = following.name if following else None
    flat = [o for o in view.operations(layer, end) if o.zero_slope >= SILENT or o.constant is not None]
    passed = view.between(layer, end) if end else view.leaves[-2:]
    off = [s for s in passed if (s.zeros >= SILENT and not s.input_is_zero) or (s.saturation or 0.0) >= SILENT]
    found: list[Operation | Signal] = [*off, *flat]
    yield from sorted(found, key=lambda one: one.order)  # an operation comes behind the module that began before it
    if following is not None and (following.zero_weights or view.is_given_nothing(following)):
        yield following


def is_cut(view: View, layer: LayerGradient) -> bool:
    """Whether a layer that was called lost its way to the loss, rather than nobody using what it gives."""
    signal = view.signal(layer.name)
    if signal is None:  # its parent may use its weights, as attention does those of its projection
        user = view.layer(parent_of(layer.name))
        return user is not None and user is not layer and not user.norm and is_cut(view, user)
    if view.record.loss is not None and not view.trained:
        return True  # nothing at all is trained: the loss itself has no graph
    if not signal.attached:
        return True  # computed without a graph although its parameters ask for one
    if any(layer.name in operation.upstream for operation in view.record.operations):
        return True
    later = (other for other in view.restarts if other.order > signal.order)
    return any(not is_inside(other.name, layer.name) for other in later)


def cut_site(view: View, cut: Sequence[LayerGradient]) -> str:
    """The last layer that is cut off: the graph ends right behind it."""
    return max(cut, key=lambda layer: -1 if layer.order is None else layer.order).name


def is_inside(name: str, layer: str) -> bool:
    """Whether a module is a part of another."""
    return name.startswith(f"{layer}." if layer else "") and name != layer


def is_alive(view: View, layer: LayerGradient) -> bool:
    """Whether a layer, or a part of it, receives a gradient."""
    return layer.norm is not None or any(is_inside(other.name, layer.name) for other in view.trained)


def families(view: View, layers: Sequence[LayerGradient]) -> list[tuple[str, list[LayerGradient]]]:
    """Layers without a gradient, each group behind the name of the (first) module that was left out as a whole.

    Modules left out side by side are one group. A layer of which single parameters are left out goes by its own name.
    """
    lost = {layer.name for layer in layers if layer.norm is None}
    alive = {path for layer in view.judged if layer.name not in lost for path in _paths(layer.name)}
    groups: dict[str, tuple[str, list[LayerGradient]]] = {}
    for layer in layers:
        whole = next((path for path in _paths(layer.name) if path not in alive), layer.name)
        groups.setdefault(parent_of(whole) or whole, (whole, []))[1].append(layer)
    return list(groups.values())


def _paths(name: str) -> Iterator[str]:
    """A module's name behind those of the modules that it is in, the outermost first."""
    parts = name.split(".")
    return (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def first_nonfinite(view: View) -> tuple[str, str]:
    """The module where NaN or infinity first arises, and how to say it."""
    forward = _first_bad_forward(view)
    if forward is not None:
        return forward
    loss = view.record.loss
    if loss is not None and not math.isfinite(loss):
        name = view.leaves[-1].name if view.leaves else ""
        return name, f"the loss is {loss}: NaN or infinity arises behind {name!r}, the last module"
    return _first_bad_backward(view)


def _first_bad_forward(view: View) -> tuple[str, str] | None:
    """Outputs are judged only where the fault went on to the loss: masked logits stay where they are."""
    loss = view.record.loss
    if loss is not None and math.isfinite(loss):
        return None
    for signal in view.leaves:
        if signal.nonfinite_input:
            return signal.name, f"NaN or infinity arises in front of {signal.name!r} ({signal.nonfinite_input} values)"
        if signal.nonfinite:
            return signal.name, f"NaN or infinity arises in {signal.name!r} ({signal.nonfinite} values of its output)"
    return None


def _first_bad_backward(view: View) -> tuple[str, str]:
    """Gradients flow from the last module to the first: the last bad one is where it began."""
    for signal in reversed(view.leaves):
        if signal.nonfinite_gradient:
            return (
                signal.name,
                f"the loss is finite, but its gradient turns NaN or infinite right behind {signal.name!r}",
            )
        if signal.nonfinite_input_gradient:
            return signal.name, f"the loss is finite, but its gradient turns NaN or infinite inside {signal.name!r}"
    sick = [layer for layer in view.judged if layer.nan or layer.inf]
    return sick[-1].name, f"the gradient of {sick[-1].name!r} is NaN or infinite"


def _gains(view: View) -> dict[str, float]:
    return {layer.name: layer.gain for layer in view.trained if layer.gain and math.isfinite(layer.gain)}


def _falling(factors: dict[str, float]) -> dict[str, float]:
    """Decades lost at each layer that loses."""
    return {name: -math.log10(factor) for name, factor in factors.items() if factor < LOSSY}


def _rising(factors: dict[str, float]) -> dict[str, float]:
    """Decades won at each layer that amplifies."""
    return {name: math.log10(factor) for name, factor in factors.items() if factor > 1 / LOSSY}


def _steps(view: View, quantity: Callable[[Signal], float]) -> dict[str, float]:
    """For each layer, a quantity behind it (its activation included) over the quantity behind the layer before."""
    orders = [signal.order for signal in view.leaves]
    ends = [bisect_left(orders, layer.order or 0) for layer in view.called] + [len(orders)]
    values = [_last(quantity, view.leaves[start:end]) for start, end in pairwise(ends)]
    return {
        layer.name: value / before
        for layer, value, before in zip(view.called[1:], values[1:], values, strict=False)
        if before and value
    }


def _last(quantity: Callable[[Signal], float], signals: Sequence[Signal]) -> float:
    """Of the last module at which it is known; 0: at none."""
    return next((float(value) for signal in reversed(signals) if (value := quantity(signal))), 0.0)


def _first(view: View) -> str:
    """The first layer: what has no layer before it cannot be compared with it."""
    if view.called:
        return view.called[0].name
    return view.leaves[0].name if view.leaves else ""


def _sharpest(decades: dict[str, float]) -> list[str]:
    """The layer with the most lost decades first; alone where it accounts for most of them."""
    if not decades:
        return []
    ordered = sorted(decades, key=lambda name: -decades[name])
    alone = decades[ordered[0]] >= ALONE * sum(decades.values())
    return ordered[:1] if alone else ordered
