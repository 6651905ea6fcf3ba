"""The calls of one module, and the gradients of one parameter, gathered over a pass."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from pytest_gradhealth.measure.passes.histogram import Tally
from pytest_gradhealth.measure.passes.reductions import Came
from pytest_gradhealth.measure.passes.results import ModulePass, ParameterPass
from pytest_gradhealth.measure.passes.seen import Seen

__all__ = ["ModuleTrace", "ParameterTrace"]

MANY = 100
"""Calls of one module in a pass from which they are steps through time."""
INPUT = {name: f"input_{name}" for name in ("rms", "low", "high", "bad", "samples")}
"""What is told of a module's input."""
APART = ("flat", "first", "last")
"""What is told of an output elsewhere."""


@dataclass(slots=True)
class ModuleTrace:
    """The calls of one module within a pass."""

    kind: str
    order: float
    saturates: bool = False
    calls: int = 0
    attached: bool = False
    fed: bool | None = None
    size: int = 0
    positions: int = 0
    dropped: float = 0.0
    layout: tuple[int, int] = (0, 0)
    """Lengths of what a module with ``batch_first=False`` takes for time and for the batch."""
    inputs: list[Seen] = field(default_factory=list)
    outputs: list[Seen] = field(default_factory=list)
    saturating: list[Seen] = field(default_factory=list)
    by_step: list[Tensor] = field(default_factory=list)

    def finish(self) -> ModulePass:
        """As numbers, once those of all tensors are known."""
        numbers = self._forward()
        self._tell_backward(numbers)
        numbers["size"], numbers["positions"], numbers["dropped"] = self.size, self.positions, self.dropped
        if self.layout[0]:
            numbers["taken_for_time"], numbers["taken_for_batch"] = self.layout
        return ModulePass(self.kind, self.order, self.calls, self.attached, self.fed, numbers)

    def _forward(self) -> dict[str, float]:
        """What the last call returned; its size is the largest of all calls."""
        described = [seen.description for seen in self.outputs if seen.description]
        numbers = dict(described[-max(len(described) // max(self.calls, 1), 1)]) if described else {}
        for name in APART:
            numbers.pop(name, None)
        if self.calls > 1 and described:
            numbers |= {"rms": max(one["rms"] for one in described), "low": min(one["low"] for one in described)}
            numbers["high"] = max(one["high"] for one in described)
        if self.saturating:
            numbers["flat"] = max(seen.description.get("flat", 0.0) for seen in self.saturating)
        for seen in self.inputs:
            if given := seen.description:
                numbers.update((told, given[name]) for name, told in INPUT.items() if name in given)
                break
        return numbers

    def _tell_backward(self, numbers: dict[str, float]) -> None:
        for norm, bad, through in (("gradient", "bad_gradient", self.outputs), ("returned", "bad_return", self.inputs)):
            came = _all_came(through)
            if came:
                numbers[norm] = math.hypot(*(float(one.norm) for one in came))
                numbers[bad] = sum(float(one.nan) + float(one.inf) for one in came)
        if late := [share for seen in dict.fromkeys(self.outputs) for share in seen.reach]:
            numbers["late"] = max(late)
        if self.by_step or self.calls >= MANY:
            self._tell_time(numbers)

    def _tell_time(self, numbers: dict[str, float]) -> None:
        """Gradients at the first and the last quarter of the steps through time; none where there are few."""
        if self.by_step:
            steps = [norms.tolist() for norms in self.by_step]
            quarter = max(len(steps[0]) // 4, 1)
            numbers["first_steps"] = max(max(s[:quarter]) for s in steps)
            numbers["last_steps"] = max(max(s[-quarter:]) for s in steps)
            numbers["steps"] = len(steps[0])
            return
        quarter = len(self.outputs) // 4
        for name, seen in (("first_steps", self.outputs[:quarter]), ("last_steps", self.outputs[-quarter:])):
            if came := [one for tensor in seen for one in tensor.came]:
                numbers[name] = max(float(one.norm) for one in came)
        if "first_steps" in numbers:
            numbers["steps"] = float(self.calls)


def _all_came(through: list[Seen]) -> list[Came]:
    """All gradients that came to some tensors, each once."""
    if len(through) == 1:
        return through[0].came
    return [came for seen in dict.fromkeys(through) for came in seen.came]


@dataclass(slots=True)
class ParameterTrace:
    """What came to one parameter within a pass: its gradient, or contributions to it that could not be added up."""

    alone: bool
    """Whether the pass began with an empty ``.grad``, so that what is in it is this pass's own."""
    came: list[Came] = field(default_factory=list)
    tallies: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def clear(self) -> None:
        """Begin again."""
        self.came.clear()
        self.tallies.clear()

    def finish(self) -> ParameterPass:
        """As numbers, once those of all gradients are known."""
        tallies = tuple(Tally(counts.cpu().numpy(), *numbers.tolist()) for numbers, counts in self.tallies)
        first, *others = self.came
        norm = math.hypot(*(float(one.norm) for one in self.came)) if others else float(first.norm)
        nan, inf = (max(float(getattr(one, kind)) for one in self.came) for kind in ("nan", "inf"))
        return ParameterPass(norm, int(nan), int(inf), _any_alive(self.came), tallies)


def _any_alive(came: Iterable[Came]) -> Any:
    """The units that any gradient came to, shape (units,)."""
    masks = [one.alive for one in came if one.alive is not None]
    return np.logical_or.reduce(masks) if len(masks) > 1 else next(iter(masks), None)
