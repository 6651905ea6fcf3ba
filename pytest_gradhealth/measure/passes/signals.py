"""What went through each module, over all passes of one model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from pytest_gradhealth.measure.passes.probe import ModulePass, Pass
from pytest_gradhealth.record import Signal, parent_of

__all__ = ["median", "signals_of"]


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
    first = modules[0].numbers

    def middle(key: str) -> float | None:
        return first.get(key) if len(modules) == 1 else median(m.numbers.get(key) for m in modules)

    def most(key: str) -> int:
        return int(max(m.numbers.get(key, 0.0) for m in modules))

    fed = [m.fed for m in modules if m.fed is not None]
    low, high = middle("low"), middle("high")
    return Signal(
        name=name,
        kind=modules[0].kind,
        order=order,
        calls=modules[0].calls,
        gradient=middle("gradient"),
        input_gradient=middle("returned"),
        attached=any(m.attached for m in modules),
        input_attached=any(fed) if fed else None,
        rms=middle("rms") or 0.0,
        peak=max(abs(low or 0.0), abs(high or 0.0)),
        sample_variation=_known(middle("samples")),
        token_variation=_known(middle("tokens")),
        taken_for_time=most("taken_for_time"),
        taken_for_batch=most("taken_for_batch"),
        positions=most("positions"),
        position_reach=_known(middle("late")),
        saturation=middle("flat"),
        dropout=middle("dropped") or 0.0,
        zeros=middle("zeros") or 0.0,
        input_min=middle("input_low"),
        input_max=middle("input_high"),
        input_variation=_known(middle("input_samples")),
        steps=most("steps"),
        time_reach=_carry(middle("first_steps"), middle("last_steps")),
        size=most("size"),
        nonfinite=most("bad"),
        nonfinite_input=most("input_bad"),
        nonfinite_gradient=most("bad_gradient"),
        nonfinite_input_gradient=most("bad_return"),
    )


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
