"""Forward calls as they are noted while nobody knows whether a backward will come: most never see one.

A note holds places in the graph and small samples, and keeps nothing alive of what a call has made. Once its graph is
gone, all that is left of a call is which modules took part in it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from pytest_gradhealth.measure.passes import statistics
from pytest_gradhealth.measure.passes.paths import place_of
from pytest_gradhealth.measure.passes.reductions import Reductions
from pytest_gradhealth.measure.passes.sampling import SAMPLED, Samples
from pytest_gradhealth.measure.passes.seen import Seen, is_freed
from pytest_gradhealth.measure.watching.schedule import is_observed

__all__ = ["Call", "Met", "Note"]

Arrived = Callable[[], Callable[[Seen, Tensor | None], None] | None]
"""Refers to who is told that a gradient came back; none once nobody listens any more."""


class Met(Seen):
    """A tensor on its way through the model, by its place in the graph until a backward begins."""

    def __init__(self, tensor: Tensor, kind: str, samples: Samples, reductions: Reductions, arrived: Arrived) -> None:
        self._arrived, self._kind = arrived, kind
        self.size, self.positions = tensor.numel(), statistics.count_positions(tensor) if tensor.ndim > 2 else 0
        self.place, self._number = 0, 0
        self._values: Tensor | None = None
        super().__init__(tensor, kind, samples, reductions)

    def describe(self, tensor: Tensor, kind: str) -> dict[str, float]:
        """Small tensors are described later, many at a time; of large ones a sample is taken."""
        if tensor.ndim == 0 or tensor.is_complex() or is_freed(tensor):
            return {}
        if self.size > SAMPLED or type(tensor) not in statistics.ORDINARY or statistics.is_ragged(tensor):
            return self._samples.add(tensor, kind)
        self._values = tensor.clone()
        return {}

    def await_gradient(self, tensor: Tensor) -> None:
        """Nothing is hooked before a backward begins."""
        self.place, self._number = place_of(tensor), tensor.output_nr

    def begin(self) -> None:
        """A backward begins, so that what was seen counts."""
        if self._values is not None:
            self.description, self._values = self._samples.add(self._values, self._kind), None

    @property
    def hooked(self) -> bool:
        """Whether a gradient can come back."""
        return self.place != 0

    @property
    def waits(self) -> bool:
        """Whether a gradient may come, and nothing looks out for it yet."""
        return self.place != 0 and self._handle is None

    def hook(self, node: Any) -> None:
        """Look out for it where the tensor came from."""
        self._handle = node.register_prehook(self._gradients_came)

    def hook_tensor(self) -> None:
        """The same for a tensor that came from no node, or from none that was found."""
        tensor = self._tensor()
        if tensor is not None:
            self._handle = tensor.register_hook(self.on_gradient)  # type: ignore[no-untyped-call]

    def release(self) -> None:
        """Take the hook off."""
        if self._handle is not None:
            self._handle.remove()

    def _gradients_came(self, gradients: tuple[Tensor | None, ...]) -> None:
        self.on_gradient(gradients[self._number])

    def on_gradient(self, gradient: Tensor | None) -> None:
        """A gradient came back; the probe decides whether it counts."""
        arrived = self._arrived()
        if arrived is not None:
            arrived(self, gradient)


@dataclass(slots=True)
class Note:
    """One call of one module."""

    name: str
    kind: str
    dropped: float
    given: list[Met]
    """The first floating-point input; of a model that is given indices, those."""
    fed: bool | None
    """Whether an input carried a graph; None: none is of floating point."""
    returned: list[Met]
    attached: bool
    places: list[int] | None
    """Where in the graph its inputs stand; None: it has no parameters, or made no graph."""
    layout: tuple[int, int] = (0, 0)
    """What a module with ``batch_first=False`` takes for time and for the batch."""
    calls: int = 1


class _Sign:
    """Hangs on a node of a graph, and is gone as soon as the node is."""


@dataclass(slots=True)
class Call:
    """One call from outside: what was noted inside, and whether what it returned can still be sent back."""

    samples: Samples
    reductions: Reductions
    notes: list[Note] = field(default_factory=list)
    met: list[Met] = field(default_factory=list)
    _latest: dict[int, Met] = field(default_factory=dict)
    signs: list[weakref.ref[_Sign]] = field(default_factory=list)
    _counts: dict[str, int] = field(default_factory=dict)
    _latest_notes: dict[str, Note] = field(default_factory=dict)

    def is_counted_only(self, name: str) -> bool:
        """Whether a module has been called so often that one more call is counted, and not looked at."""
        number = self._counts[name] = self._counts.get(name, 0) + 1
        if is_observed(number):
            return False
        self._latest_notes[name].calls += 1
        return True

    def add(self, note: Note) -> None:
        """One call of a module."""
        self.notes.append(note)
        self._latest_notes[note.name] = note

    def meet(self, tensor: Tensor, kind: str, arrived: Arrived) -> Met:
        """One entry per tensor and version, however many modules it passes through."""
        met = self._latest.get(id(tensor))
        if met is None or not met.is_of(tensor):
            met = self._latest[id(tensor)] = Met(tensor, kind, self.samples, self.reductions, arrived)
            self.met.append(met)
        return met

    def returned(self, outputs: Iterable[Tensor]) -> None:
        """What came out, with a graph."""
        for tensor in outputs:
            if tensor.grad_fn is not None:
                sign = _Sign()
                metadata: Any = tensor.grad_fn.metadata  # torch declares a function
                metadata.setdefault(_Sign, []).append(sign)
                self.signs.append(weakref.ref(sign))

    def is_gone(self) -> bool:
        """Whether the graph that it made is there no more, so that no backward will come by."""
        return not any(sign() for sign in self.signs)

    def strip(self) -> None:
        """Forget the tensors of a call that is gone; one that made no graph may have fed another model."""
        if not self.signs or not self.is_gone():
            return
        kept: dict[str, Note] = {}
        for note in self.notes:
            first = kept.setdefault(note.name, note)
            if first is not note:
                first.calls, first.attached = first.calls + note.calls, first.attached or note.attached
                first.fed = first.fed if note.fed is None else bool(first.fed) or note.fed
            note.given, note.returned, note.places = [], [], None
        self.notes, self.samples = [*kept.values()], Samples()
        self.met.clear()
        self._latest.clear()
        self.signs.clear()
