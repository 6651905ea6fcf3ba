"""What the optimisers of a test hold, what of it receives a gradient, and what really moves.

Torch calls global hooks around the step of every optimiser. Steps 1, 2, 5, 33, 257, ... are looked at closely, as
passes are: weights are compared with what they were. Of the others is noted only what received its first gradient.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from pytest_gradhealth.measure.passes.nesting import shard_of
from pytest_gradhealth.measure.passes.wrappers import plain_name
from pytest_gradhealth.measure.precisions.updates import HALVES, stays
from pytest_gradhealth.measure.sharding.updates import over_ranks
from pytest_gradhealth.measure.watching.schedule import is_due
from pytest_gradhealth.record import GradientRecord, LayerGradient, OptimiserUse, parent_of

__all__ = ["OptimiserTrace", "Update"]

LARGE = 50_000_000
"""Elements of an optimiser's parameters from which they are not copied."""


@dataclass(slots=True)
class Update:
    """What one step made of one layer, as sums over its parameters."""

    moved: float = 0.0
    """Sum of the squares of what was added."""
    size: float = 0.0
    """Sum of the squares of the weights before."""
    asked: int = 0
    """Elements in half precision whose gradient was not zero."""
    lost: int = 0
    """Those of them that stayed what they were."""

    @property
    def ratio(self) -> float | None:
        """Norm of the update over that of the weights; None: they were zero."""
        return math.sqrt(self.moved / self.size) if self.size else None

    @property
    def lost_share(self) -> float | None:
        """Share of the updates that rounding took away; None: the layer is not in half precision, or had nothing."""
        return self.lost / self.asked if self.asked else None

    elements: float = 0.0
    """Elements whose gradient was not zero."""
    stayed: list[float] = field(default_factory=list)
    """Those of them that would have stayed what they were, by format."""

    def add(self, numbers: Iterable[float]) -> None:
        """One more parameter."""
        moved, size, asked, lost, elements, *stayed = numbers
        self.elements += elements
        self.stayed = [a + b for a, b in zip(self.stayed or [0.0] * len(stayed), stayed, strict=True)]
        self.moved, self.size = self.moved + moved, self.size + size
        self.asked, self.lost = self.asked + int(asked), self.lost + int(lost)


@dataclass(slots=True)
class _Use:
    """One optimiser."""

    kind: str
    steps: int = 0
    informed: int = 0
    """Steps in front of which a backward ran."""
    backwards: int = 0
    held: dict[int, weakref.ref[Tensor]] = field(default_factory=dict)
    waiting: dict[int, weakref.ref[Tensor]] = field(default_factory=dict)
    learning_rate: float = 0.0
    eps_underflows: bool = False
    foreign: set[int] = field(default_factory=set)
    frozen: int = 0
    models: set[int] = field(default_factory=set)
    before: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """Parameters in a step that is looked at, each with a copy of what it was."""
    blank: bool = False
    """Whether none of them had a gradient other than zero as the step began."""
    looked_at: int = 0
    """Steps that were looked at, of the informed ones."""
    zeroed: int = 0
    """Those of them that began and ended without a gradient other than zero: some optimisers ask for one inside."""

    def hold(self, optimiser: Optimizer) -> None:
        """Parameters may be added at any time."""
        for group in optimiser.param_groups:
            self.learning_rate = max(self.learning_rate, float(group.get("lr") or 0.0))
            for parameter in group["params"]:
                if id(parameter) not in self.held:
                    self.held[id(parameter)] = self.waiting[id(parameter)] = weakref.ref(parameter)
                    self.eps_underflows |= not group.get("fused") and _underflows(group.get("eps"), parameter)

    def look_for_gradients(self) -> None:
        """Parameters that have received their first gradient."""
        for key, reference in list(self.waiting.items()):
            parameter = reference()
            if parameter is not None and parameter.is_leaf and parameter.grad is not None:
                del self.waiting[key]

    def parameters(self) -> Iterator[Tensor]:
        """Those that are still there."""
        return (parameter for reference in self.held.values() if (parameter := reference()) is not None)

    def is_blank(self) -> bool:
        """Whether all that is looked at in this step has no gradient, or one of zeros; each is held here as a whole."""
        held = [parameter for parameter, _ in self.before.values()]
        return all(shard_of(p) is p and (p.grad is None or not p.grad.any()) for p in held) and bool(held)

    def summary(self) -> OptimiserUse:
        """As it stands in the record."""
        return OptimiserUse(
            kind=self.kind,
            steps=self.informed,
            parameters=len(self.held),
            reached=len(self.held) - len(self.waiting),
            foreign=len(self.foreign & self.waiting.keys()),
            frozen=self.frozen,
            learning_rate=self.learning_rate,
            eps_underflows=self.eps_underflows,
            zeroed=0 < self.looked_at == self.zeroed,
        )


class OptimiserTrace:
    """The optimisers of one watch.

    Args:
        formats: forecast which updates weights would lose in them.
    """

    def __init__(self, formats: Sequence[str] = ()) -> None:
        self._formats = formats
        self._uses: list[_Use] = []
        self._by_optimiser: MutableMapping[Optimizer, _Use] = WeakKeyDictionary()
        self._held: set[int] = set()
        self._unheld: dict[int, set[str]] = {}
        self._updates: dict[int, list[dict[str, Update]]] = {}

    def begins(self, optimiser: Optimizer) -> None:
        """A step is about to be made."""
        use = self._use_of(optimiser)
        use.hold(optimiser)
        use.look_for_gradients()
        self._held |= use.held.keys()
        use.before.clear()
        if is_due(use.steps + 1) and sum(parameter.numel() for parameter in use.parameters()) < LARGE:
            use.before = {id(p): (p, shard_of(p.detach()).clone()) for p in use.parameters() if _is_ordinary(p)}
            use.blank = use.is_blank()

    def ended(self, optimiser: Optimizer, models: Callable[[], Mapping[int, nn.Module]], backwards: int) -> None:
        """A step has been made.

        Args:
            optimiser: whose step.
            models: those that were called so far and are still there, by the numbers they are asked for by.
            backwards: how many backward passes have run by now.
        """
        use = self._use_of(optimiser)
        use.steps += 1
        if backwards > use.backwards:
            use.informed += 1
            use.looked_at += bool(use.before)
            use.zeroed += bool(use.before) and use.blank and use.is_blank()
        use.backwards = backwards
        use.look_for_gradients()
        if is_due(use.steps):
            self._compare(use, models())
        use.before.clear()

    def uses_of(self, model: int) -> tuple[OptimiserUse, ...]:
        """Optimisers that hold parameters of a model, or parameters of none: of a model as it was."""
        return tuple(use.summary() for use in self._uses if model in use.models or use.foreign)

    def told(self, model: int, records: tuple[GradientRecord, ...]) -> tuple[GradientRecord, ...]:
        """The records of a model, with what the steps made of its layers: the first step's, else the last one's."""
        if model not in self._unheld:
            return records
        updates = self._updates.get(model, [])
        at = [0, *(len(updates) - 1 for _ in records[1:])]
        return tuple(
            replace(x, layers=tuple(self._with_update(model, y, updates[i] if updates else {}) for y in x))
            for x, i in zip(records, at, strict=True)
        )

    def _with_update(self, model: int, layer: LayerGradient, updates: Mapping[str, Update]) -> LayerGradient:
        update = updates.get(layer.name, Update())
        known = zip(self._formats, update.stayed, strict=False)
        shares = {form: stayed / update.elements for form, stayed in known if update.elements}
        return replace(
            layer,
            underflow=tuple(replace(one, lost_update=shares.get(one.format)) for one in layer.underflow),
            optimised=None if layer.frozen else layer.name not in self._unheld[model],
            update=update.ratio,
            lost_update=update.lost_share,
        )

    def _use_of(self, optimiser: Optimizer) -> _Use:
        use = self._by_optimiser.get(optimiser)
        if use is None:
            use = self._by_optimiser[optimiser] = _Use(type(optimiser).__name__)
            self._uses.append(use)
        return use

    def _compare(self, use: _Use, models: Mapping[int, nn.Module]) -> None:
        owners: dict[int, tuple[int, str]] = {}
        for number, model in models.items():
            listed = list(model.named_parameters())
            self._unheld[number] = {
                _layer_of(name) for name, p in listed if p.requires_grad and id(p) not in self._held
            }
            owners |= {id(p): (number, name) for name, p in listed}
        use.models = {owners[key][0] for key in use.held if key in owners}
        use.foreign = use.held.keys() - owners.keys()
        use.frozen = sum(not parameter.requires_grad for parameter in use.parameters())
        found: dict[int, dict[str, list[float]]] = {}
        for key, numbers in _differences(use.before, self._formats):
            if key in owners:
                number, name = owners[key]
                found.setdefault(number, {})[name] = numbers
        for number, mine in found.items():
            layers: dict[str, Update] = {}
            for name, total in over_ranks(models[number], mine).items():
                layers.setdefault(_layer_of(name), Update()).add(total)
            self._updates.setdefault(number, []).append(layers)


def _differences(before: dict[int, tuple[Tensor, Tensor]], formats: Sequence[str]) -> Iterator[tuple[int, list[float]]]:
    """For each parameter, as far as it is held here, the numbers of :class:`Update`, from one transfer for each."""
    for key, (parameter, earlier) in before.items():
        held = shard_of(parameter.detach())
        if held.shape != earlier.shape:
            continue
        wide = torch.promote_types(earlier.dtype, torch.float32)
        now, then = held.to(wide), earlier.to(wide)
        numbers = [(now - then).square().sum(), then.square().sum()]
        if parameter.grad is not None and (formats or parameter.dtype in HALVES):
            asked = shard_of(parameter.grad) != 0
            halves = asked if parameter.dtype in HALVES else torch.zeros_like(asked)
            numbers += [halves.sum(), (halves & (now == then)).sum(), asked.sum()]
            numbers += [(asked & stays(then, now - then, form)).sum() for form in formats]
        known = torch.stack([number.to(wide) for number in numbers]).tolist()
        yield key, known + [0.0] * (5 + len(formats) - len(known))


def _layer_of(parameter: str) -> str:
    """The layer that a parameter belongs to, as records call it."""
    return plain_name(parent_of(parameter))


def _is_ordinary(parameter: Tensor) -> bool:
    return parameter.layout == torch.strided and parameter.is_floating_point() and parameter.device.type != "meta"


def _underflows(eps: object, parameter: Tensor) -> bool:
    """Whether what is to keep a denominator from zero is itself zero in a parameter's precision."""
    return isinstance(eps, float) and eps > 0 and parameter.dtype == torch.float16 and not torch.tensor(eps).half()
