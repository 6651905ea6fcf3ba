"""A ladder of small models is measured, and the laws it follows tell what a large one would be."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from pytest_gradhealth.errors import ConfigurationError
from pytest_gradhealth.experiment.forecast import Forecast, Quantity, Size, bounded, named
from pytest_gradhealth.experiment.laws import fit
from pytest_gradhealth.experiment.subject import value_of
from pytest_gradhealth.judge.limits import Limits
from pytest_gradhealth.judge.rules.exploding_gradient import HEADROOM, allowed_elasticity
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Check, GradientRecord
from pytest_gradhealth.report.table import verdict

__all__ = ["ladder"]

SEEDS = 3
"""Models measured at each size."""
LIMITED = {
    "min_reach": 1.0,
    "min_variation": None,
    "min_token_variation": None,
    "min_amplitude": None,
    "min_gradient_rms": None,
    "min_elasticity": None,
    "max_elasticity": None,
    "max_growth": 1.0,
    "max_initial_loss": 1.0,
    "max_saturation": None,
}
"""Limits on numbers that follow a law, each with the number where no rule reports one; None: unknown then."""
FAR = 8
"""How many times the largest size of the ladder a target may be, before its forecast is called far."""
ROUGH = 0.5
"""Scatter in decades from which no law fits."""


def ladder(
    checked: Callable[[Size, int], Check],
    axes: Mapping[str, Sequence[int]],
    target: Size,
    limits: Limits,
) -> Forecast:
    """Check every size, fit a law to every number that has a limit, and judge the target by those limits.

    Args:
        checked: the check of a model of a size, made with the n-th seed.
        axes: the sizes to measure, as in ``{"depth": [4, 8, 12]}``; with several axes, each with each.
        target: the size to judge, as in ``{"depth": 48}``.
        limits: what it is judged by.

    Raises:
        ConfigurationError: ladder and target do not belong together.
    """
    _require_ladder(axes, target)
    rungs: list[tuple[Size, list[Check]]] = []
    for values in itertools.product(*axes.values()):
        size = dict(zip(axes, values, strict=True))
        rungs.append((size, [checked(size, seed) for seed in range(SEEDS)]))
    seen = [check for _, checks in rungs for check in checks]
    excused = {name for name in LIMITED if any(_is_excused(check, name, limits) for check in seen)}
    quantities = tuple(_quantities(rungs, axes, target, limits, excused))
    return Forecast(
        model=rungs[0][1][0].record.model,
        target=dict(target),
        quantities=quantities,
        rungs=tuple((size, _verdict(checks)) for size, checks in rungs),
        notes=tuple(_notes(axes, target, quantities, rungs)),
    )


def _require_ladder(axes: Mapping[str, Sequence[int]], target: Size) -> None:
    if not axes:
        raise ConfigurationError("give a ladder of sizes, as in depth=[4, 8, 12]")
    for axis, values in axes.items():
        if axis not in target:
            raise ConfigurationError(f"target={dict(target)!r} has no {axis!r}: add the size to forecast")
        if len(set(values)) != len(values) or not all(isinstance(v, int) and v > 0 for v in values):
            raise ConfigurationError(f"{axis}={list(values)!r} must be different whole numbers above 0")
    for axis in target:
        if axis not in axes:
            raise ConfigurationError(f"target[{axis!r}] has no ladder: give {axis}=[...]")
    if max(len(values) for values in axes.values()) < 2:
        raise ConfigurationError("a ladder needs two sizes at least, and three to tell one law from another")


def _is_excused(check: Check, name: str, limits: Limits) -> bool:
    """Whether a limit is broken at first, and a second look has excused it: it does not decide for this model."""
    value, limit = value_of(check.record, name), getattr(limits, name)
    if value is None or limit is None:
        return False
    broken = value < limit if name.startswith("min_") else value > limit
    return broken and check.healthy


def _quantities(
    rungs: Sequence[tuple[Size, list[Check]]],
    axes: Mapping[str, Sequence[int]],
    target: Size,
    limits: Limits,
    excused: set[str],
) -> Iterator[Quantity]:
    for name, fallback in LIMITED.items():
        reported = [(size, value_of(check.record, name), check) for size, checks in rungs for check in checks]
        values = [(size, fallback if value is None else value) for size, value, _ in reported]
        known = tuple((size, v) for size, v in values if v is not None and math.isfinite(v) and v >= 0)
        if len(known) < len(reported) or all(value is None for _, value, _ in reported):
            continue
        limit = None if name in excused else _limit_at(name, rungs, target, limits)
        yield _fitted(name.partition("_")[2].replace("_", " "), name, limit, known, axes, target)
    for label, of in (("update", _update), ("loss", lambda record: record.loss)):
        numbers = [(size, of(check.record)) for size, checks in rungs for check in checks]
        told = tuple((size, float(v)) for size, v in numbers if v is not None and math.isfinite(v) and v > 0)
        if len(told) == len(numbers):
            yield _fitted(label, "", None, told, axes, target)


def _limit_at(name: str, rungs: Sequence[tuple[Size, list[Check]]], target: Size, limits: Limits) -> float | None:
    """The limit at the target: each batch normalisation raises what the loss may depend on the weights."""
    limit: float | None = getattr(limits, name)
    if name != "max_elasticity" or limit is None:
        return limit
    allowed = [(size, allowed_elasticity(View(check.record, limits)) or limit) for size, (check, *_) in rungs]
    law = fit([size for size, _ in allowed], [value for _, value in allowed])
    return min(law.at(target).middle, limit * HEADROOM) if len({value for _, value in allowed}) > 1 else allowed[0][1]


def _update(record: GradientRecord) -> float | None:
    """The largest gradient over its weights: the relative change for a learning rate of one."""
    ratios = [layer.norm / layer.weight_norm for layer in record if layer.norm and layer.weight_norm]
    return max(ratios, default=None)


def _fitted(
    name: str,
    limit_name: str,
    limit: float | None,
    measured: tuple[tuple[Size, float], ...],
    axes: Mapping[str, Sequence[int]],
    target: Size,
) -> Quantity:
    law = fit([size for size, _ in measured], [value for _, value in measured])
    band = bounded(limit_name, law.at(target))
    made = Quantity(name=name, limit_name=limit_name, limit=limit, measured=measured, law=law, at_target=band)
    if not made.breaks:
        return made
    axis = next(iter(axes))
    since = next((n for n in range(1, target[axis] + 1) if made._beyond(law.at({**target, axis: n}).middle)), None)
    return replace(made, since=since)


def _verdict(checks: Sequence[Check]) -> str:
    return next((check.findings[0].fault for check in checks if not check.healthy), "healthy")


def _notes(
    axes: Mapping[str, Sequence[int]],
    target: Size,
    quantities: Sequence[Quantity],
    rungs: Sequence[tuple[Size, list[Check]]],
) -> Iterator[str]:
    for axis, values in axes.items():
        if len(values) < 3:
            yield f"the ladder is too short: {len(values)} sizes of {axis} cannot tell a factor per step from a power"
        if target[axis] > FAR * max(values):
            yield f"{axis}={target[axis]} is far: {target[axis] / max(values):.0f} times the largest size measured"
    settled = any(quantity.breaks and quantity.certain for quantity in quantities)
    limited = [quantity for quantity in quantities if quantity.limit is not None]
    rough = [quantity for quantity in limited if quantity.law.scatter > ROUGH]
    for quantity in rough:
        yield f"no law fits {quantity.name}: it scatters by {quantity.law.scatter:.1f} decades around the best"
    open_ones = [quantity.name for quantity in limited if not quantity.certain and quantity not in rough]
    if open_ones and not settled:
        yield f"{', '.join(open_ones)} may lie on either side of the limit: measure larger sizes"
    for size, checks in rungs:
        for check in checks[:1]:
            if not check.healthy and not check.findings[0].limit_name:
                yield f"sick already at {named(size)}: {verdict(check)}"
