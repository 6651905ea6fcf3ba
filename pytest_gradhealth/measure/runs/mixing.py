"""Does a model mix the samples of a batch by their place in it?

``view`` for ``transpose``, a forgotten ``batch_first``, positions that are counted along the batch: every gradient
looks healthy, and the model learns from the inputs of other samples. The experiment needs no gradient. In evaluation
mode, the outputs of a permuted batch must be the permuted outputs (permutation equivariance; Zaheer et al., 2017,
https://arxiv.org/abs/1703.06114). Sets, attention over the batch and batch statistics keep that law, although they
mix samples on purpose. Where the batch has one label for each sample, they may not: a softmax or attention that runs
over the samples then is one over the wrong dimension, and other samples beside the first must not change its output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pytest_gradhealth.measure.losses.nodes import name_of, shape_of
from pytest_gradhealth.measure.passes.nesting import floating, map_leaves, tensors
from pytest_gradhealth.measure.passes.statistics import is_ragged
from pytest_gradhealth.measure.passes.structure import modules_of
from pytest_gradhealth.measure.torch_private import saved_dimension

__all__ = ["Mixing", "Suspicion", "mixing", "suspicion"]

SIZES = (4, 3, 5, 2)
"""Samples that are sent through the model: few, as they are enough; a number that is no other dimension's."""
NOTICEABLE = 1e-3
"""Difference over the outputs' root mean square from which it is no rounding."""
ROUNDING = 1e-5
"""The same where the first sample and the number of samples are what they were."""
SEQUENCE = 3
"""Dimensions of (time, samples, features)."""
SOFTMAX = frozenset({"Softmax", "LogSoftmax"})
MOVING = frozenset({"flip", "flipud", "randperm", "roll"})
"""Functions that move samples, where they are called without a dimension or with the wrong one."""
PICKING = frozenset({"Flip", "Gather", "Index", "IndexSelect", "Roll"})
"""Nodes that pick what stands somewhere."""
SEQUENTIAL = (nn.RNNBase, nn.MultiheadAttention)

Forward = Callable[[Any, int], Any]
"""Runs the model on a batch with a seed, from one and the same state, and returns its output."""


class Mixing(NamedTuple):
    """The first module whose outputs are not those of the same samples, and by how much, over their size."""

    module: str
    difference: float


class Suspicion(NamedTuple):
    """What in a model or its graph calls for the experiment; it costs a few forward passes over a few samples."""

    order: bool = False
    """Something could take another dimension for the batch."""
    company: bool = False
    """A softmax runs over the samples."""
    places: bool = False
    """Samples could be moved or picked by their place, although each has a target of its own."""


def suspicion(model: nn.Module, nodes: Iterable[Any], batch: Any) -> Suspicion:
    """Most models hold nothing that could be wrong."""
    given, nodes = list(tensors(batch)), list(nodes)
    size = 0 if any(map(is_ragged, given)) else next((tensor.shape[0] for tensor in given if tensor.ndim > 1), 0)
    if size < 2:
        return Suspicion()
    modules = modules_of(model).values()
    order = any(map(_counts_first, modules)) or any(_transposes(node, size) for node in nodes)
    places = bool(_count_singles(batch)) and (any(map(_moves, modules)) or any(_picks(node, size) for node in nodes))
    return Suspicion(order, any(_sums_to_one(node, size) for node in nodes), places)


def _moves(module: nn.Module) -> bool:
    """Whether its forward pass names a function that moves samples: what is done to the input leaves no node."""
    code = getattr(type(module).forward, "__code__", None)
    return code is not None and not MOVING.isdisjoint(code.co_names)


def _picks(node: Any, size: int) -> bool:
    """Whether something picks samples, or what stands in them, from all that are laid end to end."""
    if name_of(node) not in PICKING or getattr(node, "_saved_dim", None):
        return False
    before: Any = getattr(node, "_saved_self_sym_sizes", None) or shape_of(node)
    return bool(before) and before[0] > 1 and before[0] % size == 0


def _sums_to_one(node: Any, size: int) -> bool:
    """Whether it is a softmax over the samples of a batch."""
    result = getattr(node, "_saved_result", None) if name_of(node) in SOFTMAX else None
    if result is None or result.ndim < 2 or len(result) != size:
        return False
    return saved_dimension(node, result.ndim) == 0


def mixing(model: nn.Module, batch: Any, forward: Forward, suspected: Suspicion) -> Mixing | None:
    """Compare the outputs of a permuted batch with the permuted outputs; None: they agree, or it cannot be told.

    Cannot be told: the model draws random numbers, takes batches of one size only, or is given anything that names
    samples by their place (indices of edges, a matrix of all pairs).
    """
    size = _size(batch)
    if size is None:
        return None
    few = _mapped(batch, 0, lambda tensor: tensor[:size])
    try:
        with torch.no_grad(), _Outputs(model) as seen:
            moved = _displacement(seen, forward, batch) if suspected.places else None
            if moved is not None or not (suspected.order or suspected.company):
                return moved
            outputs = seen.of(forward, few, 0)
            if _differ(outputs[""], seen.of(forward, few, 1)[""]):
                return None
            permuted = {dim: seen.of(forward, _permuted(few, dim), 0) for dim in _dimensions(few)}
            names = [
                name for name in outputs if suspected.company and _count_singles(few) and _samples(outputs[name], size)
            ]
            names = [seen.crossed] if seen.crossed else names
            crossed = _dependence(seen, forward, batch, size, names) if names else None
    except Exception:  # what runs on the whole batch need not run on a part of it
        return None
    if crossed is not None:
        return crossed
    if not _samples(outputs[""], size) or any(_agrees(outputs[""], made[""], size) for made in permuted.values()):
        return None
    mixed = (
        name for name, made in outputs.items() if _samples(made, size) and not _agrees(made, permuted[0][name], size)
    )
    first = next(mixed, "")
    return Mixing(first, max(_distance(a, b.flip(0)) for a, b in _pairs(outputs[""], permuted[0][""], size)))


class _Outputs:
    """Notes what every module returns, the model itself under the empty name, in the order in which they return."""

    def __init__(self, model: nn.Module) -> None:
        self._size = 0
        self._model, self._seen, self._handles = model, {}, []  # type: ignore[var-annotated]
        self.crossed = ""
        """The first module that takes the samples for time."""

    def __enter__(self) -> _Outputs:
        for name, module in self._model.named_modules():
            self._handles.append(module.register_forward_hook(self._noting(name)))
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()

    def of(self, forward: Forward, batch: Any, seed: int) -> dict[str, list[Tensor]]:
        """The outputs of one pass."""
        self._seen, self._size = {}, _count_singles(batch)
        forward(batch, seed)
        return self._seen

    def _noting(self, name: str) -> Callable[..., None]:
        def note(module: nn.Module, args: Any, output: Any) -> None:
            if not self.crossed and _takes_for_time(module, args, self._size):
                self.crossed = name
            self._seen.setdefault(name, [tensor.clone() for tensor in floating(output)])

        return note


def _dependence(seen: _Outputs, forward: Forward, batch: Any, size: int, names: Sequence[str]) -> Mixing | None:
    """The first of these modules where the first sample's output changes with others beside it; None: at none.

    What runs over the batch is the same whatever its order, so that a permutation does not show it.
    """
    one, other = (
        seen.of(forward, _mapped(batch, 0, taken), 0)
        for taken in (lambda x: x[:size], lambda x: torch.cat([x[:1], x[1 - size :]]))
    )
    for name in names:
        pairs = zip(one[name], other[name], strict=False)
        firsts = [(a[:1], b[:1]) for a, b in pairs if a.ndim and a.shape == b.shape and len(a) == size]
        differences = [found for a, b in firsts if (found := _distance(a, b)) > _rounding(a)]
        if differences:
            return Mixing(name, max(differences))
    return None


def _displacement(seen: _Outputs, forward: Forward, batch: Any) -> Mixing | None:
    """The first module in which some samples change with the others; None: the model's outputs do not.

    A model that holds samples against each other on purpose, as against negatives, keeps a part of its output for
    each alone, or returns a table of all pairs. One that draws random numbers is tried twice.
    """
    outputs = list[Tensor]()
    for seed in (0, 1):
        size, one = _alone(seen, forward, batch, seed)
        if not size or (seed and not _differ(outputs, one[""])):
            return None
        for kept in (slice(size // 2), slice(size // 2, size)):
            other = seen.of(forward, _mapped(batch, 0, partial(_others_changed, size=size, kept=kept)), seed)
            changed = {name: _changes(one[name], other[name], kept, size) for name in one if name in other}
            if changed[""] and all(bool((change > 0).all()) for change in changed[""]):
                first = next(name for name, found in changed.items() if any(map(torch.any, found)))
                return Mixing(first, max(float(change.max()) for change in changed[""]))
        outputs = one[""]
    return None


def _alone(seen: _Outputs, forward: Forward, batch: Any, seed: int) -> tuple[int, dict[str, list[Tensor]]]:
    """A few samples and their outputs, none of which is a table of pairs; 0: there is no such number of samples."""
    for size in _sizes(batch):
        made = seen.of(forward, _mapped(batch, 0, partial(_others_changed, size=size, kept=slice(size))), seed)
        if _samples(made[""], size) and not any(size in tensor.shape[1:] for tensor in made[""]):
            return size, made
    return 0, {}


def _others_changed(tensor: Tensor, size: int, kept: slice) -> Tensor:
    """The first samples, of which those that are not kept give way to the last ones."""
    changed = tensor[-size:].clone()
    changed[kept] = tensor[:size][kept]
    return changed


def _changes(one: Sequence[Tensor], other: Sequence[Tensor], kept: slice, size: int) -> list[Tensor]:
    """For each output, and each of its columns, how much it changed for the samples that were kept, over its size."""
    changes = []
    for a, b in zip(one, other, strict=True):
        if a.ndim > 1 and a.shape == b.shape and a.shape[0] == size:
            change = (a[kept] - b[kept]).abs().amax(0) / a.abs().square().mean().sqrt()
            changes.append(torch.where(change > _rounding(a), change, 0))
    return changes


def _rounding(values: Tensor) -> float:
    """What the same sums over the same numbers may differ by, over their size: the shapes of both passes are one."""
    return max(ROUNDING, torch.finfo(values.dtype).eps)


def _count_singles(batch: Any) -> int:
    """Number of samples, where the batch holds one number for each, as a class; 0: it does not."""
    alone = (len(x) for x in tensors(batch) if x.ndim and x.numel() == len(x))
    return next(alone, 0)


def _takes_for_time(module: nn.Module, args: Any, samples: int) -> bool:
    if getattr(module, "batch_first", True) or not args or not isinstance(args[0], Tensor):
        return False
    shape = args[0].shape
    return samples > 1 and len(shape) == SEQUENCE and shape[0] == samples and shape[1] % samples != 0


def _counts_first(module: nn.Module) -> bool:
    """Whether it takes its first dimension for time, or holds something of shape (positions, 1, features)."""
    if isinstance(module, SEQUENTIAL) and not module.batch_first:
        return True
    return any(b is not None and b.ndim == 3 and b.shape[1] == 1 < b.shape[0] for b in module._buffers.values())


def _transposes(node: Any, size: int) -> bool:
    """Whether a view moves the batch to another dimension: numbers stay where they are, samples do not."""
    before = getattr(node, "_saved_self_sym_sizes", None) if "View" in node.name() else None
    after = shape_of(node) if before else None
    if not before or not after or tuple(before) == after:
        return False
    if before[0] == size:
        return sorted(before) == sorted(after) and after[0] != size
    return before[0] > 1 and len(before) > 1 and before[1] == size == after[0]


def _size(batch: Any) -> int | None:
    """How many samples to take; None: something in the batch may name samples by their place."""
    return next(iter(_sizes(batch)), None)


def _sizes(batch: Any) -> list[int]:
    """All numbers of samples that are no other dimension of the batch; the best one first."""
    given = [tensor for tensor in tensors(batch) if tensor.ndim]
    whole = {tensor.shape[0] for tensor in given}
    if len(whole) != 1 or any(tensor.ndim > 1 and tensor.shape[1] in whole for tensor in given):
        return []
    taken = {size for tensor in given for size in tensor.shape[1:]}
    return [size for size in SIZES if size <= min(whole) and size not in taken]


def _mapped(batch: Any, dim: int, change: Callable[[Tensor], Tensor]) -> Any:
    return map_leaves(batch, lambda x: change(x) if isinstance(x, Tensor) and x.ndim > dim else x)


def _permuted(batch: Any, dim: int) -> Any:
    return _mapped(batch, dim, lambda tensor: tensor.flip(dim))


def _dimensions(batch: Any) -> Sequence[int]:
    """The first dimension, and the second where it may be the batch: sequences that stand first."""
    first = next(tensors(batch))
    return (0, 1) if first.ndim > 1 else (0,)


def _samples(outputs: Sequence[Tensor], size: int) -> bool:
    return any(tensor.ndim > 1 and tensor.shape[0] == size for tensor in outputs)


def _pairs(outputs: Sequence[Tensor], permuted: Sequence[Tensor], size: int) -> Iterator[tuple[Tensor, Tensor]]:
    return ((a, b) for a, b in zip(outputs, permuted, strict=False) if a.ndim > 1 and a.shape[0] == size == b.shape[0])


def _agrees(outputs: Sequence[Tensor], permuted: Sequence[Tensor], size: int) -> bool:
    """Whether the outputs are permuted along one of their first two dimensions."""
    pairs = list(_pairs(outputs, permuted, size))
    return any(all(_distance(a, b.flip(dim)) < NOTICEABLE for a, b in pairs) for dim in (0, 1))


def _differ(outputs: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    return any(_distance(a, b) > 0 for a, b in zip(outputs, others, strict=True))


def _distance(one: Tensor, other: Tensor) -> float:
    """Largest difference over the root mean square; infinite where shapes differ."""
    if one.shape != other.shape:
        return float("inf")
    size = one.abs().square().mean().sqrt()
    return float((one - other).abs().max() / size) if size > 0 else 0.0
