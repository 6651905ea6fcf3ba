"""What went through each module, over all passes of one model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from pytest_gradhealth.measure.passes.results import ModulePass, Pass
from pytest_gradhealth.record import Signal, parent_of

__all__ = ["median", "signals_of"]

COUNTS = frozenset(
    {
        "bad",
        "bad_gradient",
        "bad_return",
        "input_bad",
        "positions",
        "size",
        "steps",
        "taken_for_batch",
        "taken_for_time",
    }
)


def signals_of(passes: Sequence[Pass]) -> tuple[Signal, ...]:
    """Medians over the passes, in the order in which the modules begin."""
    seen: dict[str, list[ModulePass]] = {}
    for one in passes:
        for name, module in one.modules.items():
            seen.setdefault(name, []).append(module)
    starts = _starts({name: modules[0].order for name, modules in seen.items()})
    ordered = sorted(seen, key=lambda name: (starts[name], name.count(".") + bool(name)))
    return tuple(_signal(name, order, seen[name]) for order, name in enumerate(ordered))


def _starts(orders: Mapping[str, float]) -> dict[str, float]:
    """Modules are seen when they return; a parent begins where the first of its children does."""
    starts: dict[str, float] = {}
    for name in sorted(orders, key=orders.__getitem__):
        order = orders[name]
        while name not in starts:
            starts[name] = order
            name = parent_of(name)
    return starts


def _signal(name: str, order: int, modules: Sequence[ModulePass]) -> Signal:
    known = _combined([module.numbers for module in modules]).get
    fed = [module.fed for module in modules if module.fed is not None]
    return Signal(
        name=name,
        kind=modules[0].kind,
        order=order,
        calls=modules[0].calls,
        gradient=known("gradient"),
        input_gradient=known("returned"),
        attached=any(module.attached for module in modules),
        input_attached=any(fed) if fed else None,
        rms=known("rms") or 0.0,
        peak=max(abs(known("low") or 0.0), abs(known("high") or 0.0)),
        sample_variation=_known(known("samples")),
        token_variation=_known(known("tokens")),
        taken_for_time=int(known("taken_for_time") or 0),
        taken_for_batch=int(known("taken_for_batch") or 0),
        positions=int(known("positions") or 0),
        position_reach=_known(known("late")),
        saturation=known("flat"),
        dropout=known("dropped") or 0.0,
        zeros=known("zeros") or 0.0,
        input_min=known("input_low"),
        input_max=known("input_high"),
        input_variation=_known(known("input_samples")),
        steps=int(known("steps") or 0),
        time_reach=_carry(known("first_steps"), known("last_steps")),
        size=int(known("size") or 0),
        nonfinite=int(known("bad") or 0),
        nonfinite_input=int(known("input_bad") or 0),
        nonfinite_gradient=int(known("bad_gradient") or 0),
        nonfinite_input_gradient=int(known("bad_return") or 0),
    )


def _combined(passes: Sequence[Mapping[str, float]]) -> Mapping[str, float | None]:
    """The median of each number over the passes; of what is counted, the most."""
    if len(passes) == 1:
        return passes[0]
    found: dict[str, list[float]] = {}
    for numbers in passes:
        for name, number in numbers.items():
            found.setdefault(name, []).append(number)
    return {name: max(values) if name in COUNTS else median(values) for name, values in found.items()}


def _carry(early: float | None, late: float | None) -> float | None:
    return None if early is None or not late else early / late


def _known(share: float | None) -> float | None:
    """None where it was zero over zero: an output of zeros, or a non-finite one."""
    return None if share is None or math.isnan(share) else share


def median(values: Iterable[float | None]) -> float | None:
    """Of the numbers that are known; None: none is."""
    present = [value for value in values if value is not None]
    if len(present) == 1:  # most often, and NumPy's median is slow to start
        return float(present[0])
    return float(np.median(present)) if present else None
