"""Which layers lie on the same way to the loss: read off the graph that the backward is about to walk.

Layers that run one after the other need not be in one chain: the towers of an actor and a critic, experts, branches and
the heads of several losses stand side by side. What counts is whose parameters a layer's input was computed from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from pytest_gradhealth.record import LayerGradient, upstream_of

__all__ = ["PathTrace", "predecessors", "with_reach"]

MOST = 100_000
"""Nodes of a graph that are walked, about a fifth of a second; of a larger one nothing is known."""
CHOOSING = frozenset({"Gather", "Index", "MaskedSelect", "Narrow", "Select", "Slice", "Split", "Unbind"})
ADDING = frozenset({"Add", "Mean", "Sum"})
PLAIN = (
    CHOOSING
    | ADDING
    | {"Clone", "Div", "Expand", "Mul", "Neg", "Permute", "Reshape", "Squeeze", "Stack", "T", "ToCopy", "Transpose"}
    | {"Unsqueeze", "UnsafeView", "View"}
)
"""What a smoke test does to an output before it sends it back, with numbers that are no targets."""
BINARY = frozenset({"Div", "Mul"})
STEP_NODES = {f"{name.title()}Backward0": name for name in ("round", "floor", "ceil", "trunc", "sign")}
UNNUMBERED = (1 << 64) - 1
"""What torch gives to nodes that do not stand in the order in which the graph was made."""


class PathTrace:
    """What the layers of one pass were given, as places in the graph, and which layers lie in front of those.

    It holds numbers only: a graph may be freed, or its results thrown away, at any time.
    """

    def __init__(self) -> None:
        self._owners: dict[int, str] = {}
        self._bits: dict[str, int] = {}
        self.reset()

    def reset(self) -> None:
        """Forget the pass at hand, and not whose the parameters are."""
        self._given: dict[str, set[int]] = {}
        self._ahead: dict[str, int] = {}
        self._returned: set[int] = set()
        self.toy_loss = ""
        """As in the record: how the loss was made of the outputs, where by next to nothing."""
        self.step_function = ""
        """A function of slope zero that the loss was computed through."""

    def owns(self, layer: str, parameter: Tensor) -> None:
        """A parameter belongs to a layer."""
        self._owners.setdefault(_place(parameter), layer)
        self._bits.setdefault(layer, 1 << len(self._bits))

    def called(self, layer: str, inputs: Iterable[Tensor]) -> None:
        """A layer was called with these tensors."""
        self._given.setdefault(layer, set()).update(_place(tensor) for tensor in inputs if tensor.requires_grad)

    def returned(self, outputs: Iterable[Tensor]) -> None:
        """These came out of the model as a whole."""
        self._returned.update(_place(tensor) for tensor in outputs if tensor.requires_grad and tensor.numel() > 1)

    def follow(self, outputs: Iterable[Tensor]) -> None:
        """Walk the graph behind what is about to be differentiated. Each node is visited once, without recursion."""
        ends = [tensor.grad_fn for tensor in outputs if tensor.grad_fn is not None]
        self.toy_loss = _how_made(ends, self._returned) if len(ends) == 1 else ""
        masks = self._masks(ends)
        if not masks:
            return
        for layer, given in self._given.items():
            self._ahead[layer] = self._ahead.get(layer, 0)
            for place in given:
                self._ahead[layer] |= masks.get(place, self._bit(place))

    def upstream(self) -> dict[str, frozenset[str]]:
        """For each layer that was called, all whose parameters its input was computed from."""
        names = list(self._bits)
        return {layer: frozenset(_chosen(names, mask)) for layer, mask in self._ahead.items()}

    def _bit(self, place: int) -> int:
        owner = self._owners.get(place)
        return 0 if owner is None else self._bits[owner]

    def _masks(self, ends: list[Any]) -> dict[int, int]:
        """For each place in the graph the layers that its value depends on, one bit each; empty: it is too large."""
        masks: dict[int, int] = {}
        opened: dict[int, list[tuple[int, Any]]] = {}
        waiting = [(_place_of(end), end) for end in ends]
        while waiting:
            place, node = waiting[-1]
            if place in masks:
                waiting.pop()
            elif place in opened:
                waiting.pop()
                masks[place] = _union(masks.get(child, 0) for child, _ in opened.pop(place))
            elif place in self._owners:  # what a parameter was computed from lies outside the model
                masks[place] = self._bit(place)
            elif len(masks) + len(opened) > MOST:
                return {}
            else:
                self.step_function = STEP_NODES.get(node.name(), self.step_function)
                opened[place] = [(_place_of(child), child) for child, _ in node.next_functions if child is not None]
                waiting += [child for child in opened[place] if child[0] not in masks]
        return masks


def _how_made(ends: list[Any], returned: set[int]) -> str:
    """``element`` or ``sum`` where nothing but a choice or an addition stands between the outputs and a number."""
    passed, waiting = set[str](), list(ends)
    while waiting:
        node = waiting.pop()
        if _place_of(node) in returned:
            continue
        children = [child for child, _ in node.next_functions if child is not None]
        kind = node.name().partition("Backward")[0]
        if not children or kind not in PLAIN or (kind in BINARY and len(children) > 1):
            return ""
        passed.add(kind)
        waiting += children
    if passed & ADDING:
        return "sum"
    return "element" if passed & CHOOSING else ""


def predecessors(passes: Sequence[Mapping[str, frozenset[str]]]) -> dict[str, tuple[str, ...]]:
    """For each layer those right in front of it, without those that are in front of another of them."""
    ahead: dict[str, set[str]] = {}
    for upstream in passes:
        for layer, names in upstream.items():
            ahead.setdefault(layer, set()).update(names)
    return {layer: tuple(_nearest(names - {layer}, ahead)) for layer, names in ahead.items()}


def _nearest(names: set[str], ahead: Mapping[str, set[str]]) -> Iterator[str]:
    """Those that are in front of no other; of layers in front of each other, as in a loop, all."""
    covered: set[str] = set()
    kept: list[str] = []
    for name in sorted(names, key=lambda name: -len(ahead.get(name, ()))):
        if name not in covered:
            kept.append(name)
            covered |= {other for other in ahead.get(name, ()) if name not in ahead.get(other, ())}
    yield from sorted(kept)


def with_reach(layers: Sequence[LayerGradient]) -> tuple[LayerGradient, ...]:
    """The layers, each with its reach: the largest sensitivity at or before it over the largest on its way."""
    upstream = upstream_of(layers)
    size = {x.name: x.sensitivity if math.isfinite(x.sensitivity) else 0.0 for x in layers}
    before = {name: max([size[name], *(size[other] for other in ahead)]) for name, ahead in upstream.items()}
    along = dict(before)
    for name, ahead in upstream.items():
        for other in ahead:
            along[other] = max(along[other], size[name])
    return tuple(replace(x, reach=before[x.name] / along[x.name] if along[x.name] else 0.0) for x in layers)


def _place(tensor: Tensor) -> int:
    """Where a tensor enters the graph, as a number that holds nothing alive."""
    return -id(tensor) if tensor.grad_fn is None else int(tensor.grad_fn._sequence_nr())


def _place_of(node: Any) -> int:
    """The same for a node; what collects the gradient of a leaf, and bears no number, stands for the leaf."""
    number = int(node._sequence_nr())
    return -id(node.variable) if number == UNNUMBERED else number


def _union(masks: Iterable[int]) -> int:
    union = 0
    for mask in masks:
        union |= mask
    return union


def _chosen(names: Sequence[str], mask: int) -> Iterator[str]:
    return (name for position, name in enumerate(names) if mask >> position & 1)
