"""Which layers lie on the same way to the loss: read off the graph that the backward is about to walk.

Layers that run one after the other need not be in one chain: the towers of an actor and a critic, experts, branches and
the heads of several losses stand side by side. What counts is whose parameters a layer's input was computed from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor
from torch.autograd.function import BackwardCFunction

from pytest_gradhealth.measure.torch_private import saved_dimension
from pytest_gradhealth.record import LayerGradient

__all__ = ["PathTrace", "Upstream", "leaves_behind", "place_of", "predecessors", "reaches", "with_reach"]

MOST = 30_000
"""Nodes of a graph that are walked; of a larger one nothing is known. Torch frees nodes that Python has seen by
recursion: a chain of 60,000 overflows the stack, and ends the process."""
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
LONE_CHOICE = "softmax over a single element"
SOFTMAXES = frozenset({"SoftmaxBackward0", "LogSoftmaxBackward0"})
COMPUTED = frozenset({"AddmmBackward0", "BmmBackward0", "ConvolutionBackward0", "EmbeddingBackward0", "MmBackward0"})
"""What makes scores of data; a softmax of a parameter alone holds nothing of the samples."""
NEAR = 200
"""Nodes in front of a softmax that are looked through for it."""
UNNUMBERED = (1 << 64) - 1
"""What torch gives to nodes that do not stand in the order in which the graph was made."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """Which layers lie in front of which. Sets are bits of whole numbers: a deep network has many in front of many."""

    names: tuple[str, ...] = ()
    """The layers by their bit, in the order in which they were first called."""
    ahead: Mapping[str, int] = field(default_factory=dict)
    """For each layer whose place in the graph is known, all layers that lie in front of it."""


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
        self.runs_python = False
        """Whether what was followed holds a ``torch.autograd.Function`` of Python, or was too large to tell. Its
        backward may run another inside, as a reentrant checkpoint does."""
        self._given: dict[str, set[int]] = {}
        self._ahead: dict[str, int] = {}
        self._returned: set[int] = set()
        self.toy_loss = ""
        """As in the record: how the loss was made of the outputs, where by next to nothing."""
        self.step_function = ""
        """A function of slope zero that the loss was computed through."""
        self._over_first: list[tuple[int, str]] = []

    def owns(self, layer: str, parameter: Tensor) -> None:
        """A parameter belongs to a layer."""
        self._owners.setdefault(place_of(parameter), layer)

    def called(self, layer: str, places: Iterable[int]) -> None:
        """A layer was called with tensors that stand at these places of the graph."""
        self._bits.setdefault(layer, 1 << len(self._bits))
        self._given.setdefault(layer, set()).update(places)

    def returned(self, outputs: Iterable[Tensor]) -> None:
        """These came out of the model as a whole. A number without dimensions is a loss that it made itself."""
        self._returned.update(place_of(tensor) for tensor in outputs if tensor.requires_grad and tensor.ndim)

    def follow(self, outputs: Iterable[Tensor], visit: Callable[[int, Any], None] | None = None) -> None:
        """Walk the graph behind what is about to be differentiated. Each node is visited once, without recursion.

        Args:
            outputs: what is to be differentiated.
            visit: is told of each node, with its place.
        """
        ends = [tensor.grad_fn for tensor in outputs if tensor.grad_fn is not None]
        self.toy_loss = _how_made(ends, self._returned) if len(ends) == 1 else ""
        over_first: list[tuple[int, int]] = []
        masks = self._masks(ends, visit, over_first)
        if not masks:
            return
        names = tuple(self._bits)
        for place, length in over_first:
            self._over_first.append((length, names[masks[place].bit_length() - 1] if masks[place] else ""))
        for layer, given in self._given.items():
            self._ahead[layer] = self._ahead.get(layer, 0)
            for place in given:
                self._ahead[layer] |= masks[place] if place in masks else self._bit(place)

    @property
    def softmax_over(self) -> tuple[int, str]:
        """The length of the first dimension, where softmaxes of computed scores run over it, and the layer in front.

        0: there is none, or another dimension is a multiple of it, or each of so many samples has one of its own.
        """
        length, layer = next(iter(self._over_first), (0, ""))
        return (length, layer) if length and len(self._over_first) % length else (0, "")

    def upstream(self) -> Upstream:
        """For each layer that was called, all whose parameters its input was computed from."""
        return Upstream(tuple(self._bits), dict(self._ahead))

    def _bit(self, place: int) -> int:
        owner = self._owners.get(place)
        return 0 if owner is None else self._bits.setdefault(owner, 1 << len(self._bits))

    def _masks(
        self, ends: list[Any], visit: Callable[[int, Any], None] | None, over_first: list[tuple[int, int]]
    ) -> dict[int, int]:
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
                self.runs_python = True
                return {}
            else:
                self.runs_python = self.runs_python or isinstance(node, BackwardCFunction)
                name = node.name()
                self.step_function = STEP_NODES.get(name, self.step_function)
                if name in SOFTMAXES:
                    self.step_function = self.step_function or _lone_choice(node)
                    over_first += ((place, length) for length in _over_first(node))
                if visit is not None:
                    visit(place, node)
                opened[place] = [(_place_of(child), child) for child, _ in node.next_functions if child is not None]
                waiting += [child for child in opened[place] if child[0] not in masks]
        return masks


def _lone_choice(node: Any) -> str:
    """A softmax that has a single element to choose: its result is always 1."""
    if node.name() != "SoftmaxBackward0":
        return ""
    result = node._saved_result
    return LONE_CHOICE if result.ndim and result.shape[saved_dimension(node, result.ndim)] == 1 else ""


def _over_first(node: Any) -> Iterator[int]:
    """The length of the first dimension, where a softmax runs over it and it can be no other than the samples."""
    shape = node._saved_result.shape
    if len(shape) < 2 or shape[0] < 2 or shape.numel() == shape[0] or saved_dimension(node, len(shape)) != 0:
        return
    if all(other % shape[0] for other in shape[1:]) and _is_computed(node):
        yield shape[0]


def _is_computed(node: Any) -> bool:
    """Whether data stand in front of a node, near it."""
    waiting, seen = [node], set[Any]()
    while waiting and len(seen) < NEAR:
        found = waiting.pop()
        if found.name() in COMPUTED:
            return True
        seen.add(found)
        waiting += [child for child, _ in found.next_functions if child is not None and child not in seen]
    return False


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


def predecessors(passes: Sequence[Upstream]) -> dict[str, tuple[str, ...]]:
    """For each layer those right in front of it, without those that are in front of another of them.

    Args:
        passes: of one :class:`PathTrace`, so that each layer has the same bit in all.
    """
    names = max((one.names for one in passes), key=len, default=())
    bits = {name: 1 << position for position, name in enumerate(names)}
    ahead: dict[str, int] = {}
    for one in passes:
        for layer, mask in one.ahead.items():
            ahead[layer] = ahead.get(layer, 0) | mask
    nearest = {layer: _nearest(mask & ~bits.get(layer, 0), names, ahead) for layer, mask in ahead.items()}
    return {layer: tuple(sorted(found)) for layer, found in nearest.items()}


def _nearest(mask: int, names: Sequence[str], ahead: Mapping[str, int]) -> list[str]:
    """Those that are in front of no other; of layers in front of each other, as in a loop, all.

    Layers called last are asked first: in front of them lie most of the others, which need not be asked.
    """
    kept, covered, left = 0, 0, mask
    while left:
        position = left.bit_length() - 1
        kept |= 1 << position
        covered |= _in_front(position, mask, names, ahead)
        left &= ~(covered | kept)
    return [names[position] for position in _positions(kept & ~covered)]


def _in_front(position: int, mask: int, names: Sequence[str], ahead: Mapping[str, int]) -> int:
    """What of a set lies in front of a layer, without what also lies behind it."""
    front, own = ahead.get(names[position], 0) & mask, 1 << position
    if not ahead.get(names[position], 0) & own:
        return front
    return sum(1 << other for other in _positions(front) if not ahead.get(names[other], 0) & own)


def _positions(mask: int) -> Iterator[int]:
    while mask:
        position = mask.bit_length() - 1
        yield position
        mask ^= 1 << position


def with_reach(layers: Sequence[LayerGradient]) -> tuple[LayerGradient, ...]:
    """The layers, each with its reach among them."""
    return tuple(replace(layer, reach=reach) for layer, reach in zip(layers, reaches(layers), strict=True))


def reaches(layers: Sequence[Any]) -> list[float]:
    """For each layer, or draft of one, the largest sensitivity at or before it over the largest on its way."""
    size = {x.name: x.sensitivity if math.isfinite(x.sensitivity) else 0.0 for x in layers}
    before, behind = _largest_before(layers, size), _largest_behind(layers, size)
    along = {name: max(before[name], behind[name]) for name in size}
    return [before[x.name] / along[x.name] if along[x.name] else 0.0 for x in layers]


def _largest_before(layers: Sequence[Any], size: Mapping[str, float]) -> dict[str, float]:
    """The largest size at each layer and in front of it: of one whose place is not known, among all earlier ones."""
    largest = dict(size)
    changed = True
    while changed:  # once more only where a loop leads back
        changed, running = False, 0.0
        for layer in layers:
            fronts = [largest[name] for name in layer.predecessors or () if name in largest]
            found = max([largest[layer.name], *fronts, *([running] if layer.predecessors is None else [])])
            changed = changed or found > largest[layer.name]
            largest[layer.name] = found
            running = max(running, found)
    return largest


def _largest_behind(layers: Sequence[Any], size: Mapping[str, float]) -> dict[str, float]:
    """The same for each layer and those that it lies in front of."""
    largest = dict(size)
    changed = True
    while changed:
        changed, running = False, 0.0
        for layer in reversed(layers):
            found = max(largest[layer.name], running)
            changed = changed or found > largest[layer.name]
            largest[layer.name] = found
            for name in layer.predecessors or ():
                if found > largest.get(name, math.inf):
                    largest[name], changed = found, True
            running = max(running, found) if layer.predecessors is None else running
    return largest


def leaves_behind(outputs: Iterable[Tensor]) -> set[int]:
    """The places of all leaves that outputs were computed from; of a graph that is too large, of those near them."""
    waiting = [tensor.grad_fn for tensor in outputs if tensor.grad_fn is not None]
    met = set(waiting)
    while waiting and len(met) < MOST:
        new = {child for child, _ in waiting.pop().next_functions if child is not None} - met
        met |= new
        waiting += new
    return {_place_of(node) for node in met}


def place_of(tensor: Tensor) -> int:
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
