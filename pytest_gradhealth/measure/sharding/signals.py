"""What each rank saw pass through the modules, as what the whole model saw of the global batch.

Ranks that were given the same data hold parts of one model: where their numbers differ, they are of parts of one
tensor. Ranks that were given other data hold other samples of one batch, and the loss is the mean of theirs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean

from pytest_gradhealth.measure.passes.results import ModulePass, Pass

__all__ = ["by_data", "whole_loss", "whole_modules"]

SAME = 1e-6
"""Relative difference below which two ranks' numbers are those of the same tensor."""
GRADIENTS = frozenset({"gradient", "returned", "first_steps", "last_steps"})
LOWEST = frozenset({"low", "input_low"})
SUMS = frozenset({"bad", "bad_gradient", "bad_return", "input_bad"})
ROOT_MEAN_SQUARES = frozenset({"rms", "input_rms"})
MEANS = frozenset({"zeros", "samples", "tokens", "flat", "late", "input_samples"})


def whole_modules(groups: Sequence[Sequence[Pass]]) -> dict[str, ModulePass]:
    """Every module with the numbers of all ranks, which stand in groups of those with the same data."""
    names = dict.fromkeys(name for group in groups for one in group for name in one.modules)
    return {name: _whole(name, groups) for name in names}


def whole_loss(everyone: Sequence[Pass]) -> float | None:
    """The mean over ranks."""
    losses = [one.loss for one in everyone if one.loss is not None]
    return fmean(losses) if losses else None


def by_data(everyone: Sequence[Pass]) -> list[list[Pass]]:
    """Ranks by what the model itself was given."""
    groups: dict[tuple[float | None, ...], list[Pass]] = {}
    for one in everyone:
        given = one.modules[""].numbers if "" in one.modules else {}
        key = tuple(given.get(name) for name in ("input_rms", "input_low", "input_high"))
        groups.setdefault(key, []).append(one)
    return list(groups.values())


def _whole(name: str, groups: Sequence[Sequence[Pass]]) -> ModulePass:
    seen = [[one.modules[name] for one in group if name in one.modules] for group in groups]
    everyone = [module for group in seen for module in group]
    keys = dict.fromkeys(key for module in everyone for key in module.numbers)
    fed = [module.fed for module in everyone if module.fed is not None]
    return ModulePass(
        kind=everyone[0].kind,
        order=everyone[0].order,
        calls=max(module.calls for module in everyone),
        attached=any(module.attached for module in everyone),
        fed=any(fed) if fed else None,
        numbers={key: _over_data(key, [_over_parts(key, group) for group in seen], len(groups)) for key in keys},
    )


def _over_parts(key: str, group: Sequence[ModulePass]) -> float | None:
    """Of one batch: the number itself where all ranks have the same tensor, else that of their parts together."""
    values = [module.numbers[key] for module in group if key in module.numbers]
    if not values:
        return None
    if all(math.isclose(value, values[0], rel_tol=SAME) for value in values):
        return values[0]
    if key in GRADIENTS:
        return math.hypot(*values)
    return _together(key, values)


def _over_data(key: str, found: Sequence[float | None], count: int) -> float:
    """Of the global batch, whose loss is the mean over its parts."""
    values = [value for value in found if value is not None]
    if key in GRADIENTS:
        return math.hypot(*values) / count
    return sum(values) if key == "size" else _together(key, values)


def _together(key: str, values: Sequence[float]) -> float:
    if key in ROOT_MEAN_SQUARES:
        return math.hypot(*values) / math.sqrt(len(values))
    combine: Callable[..., float] = max
    if key in LOWEST:
        combine = min
    elif key in SUMS:
        combine = sum
    elif key in MEANS:
        combine = fmean
    return float(combine(values))
