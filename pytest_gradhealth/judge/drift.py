"""A record against a baseline: which layer's gradient norm, reach or signal moved by more than a factor.

Three things move numbers without anything being wrong with a layer, and are kept apart here:

* a loss that is scaled by a constant moves every norm and every signal by one factor: one finding, not a hundred;
* a gradient that is zero but for rounding (a bias in front of BatchNorm) is noise: below the noise floor of the
  precision, relative to the model's strongest layer, nothing is compared;
* layers that are added, removed or renamed are the author's doing: they are told as notes. Only a baseline of which
  fewer than half the layers are left is a finding, since it then says next to nothing about this model.

With another seed the initial weights are another draw, so single layers are not compared, only the scale and the shape
of the profile. With another torch, device, precision or batch size everything is compared, and the difference is said.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any

from pytest_gradhealth.judge.matching import Match
from pytest_gradhealth.judge.matching import match as match_layers
from pytest_gradhealth.judge.moves import QUANTITIES, Move, shown, size_of, told
from pytest_gradhealth.judge.profile import FACTS, Numbers, Profile
from pytest_gradhealth.judge.rules.drift import RULE
from pytest_gradhealth.record import Finding, GradientRecord

__all__ = ["Drift", "Move", "Profile", "drift", "drift_limit", "measure_drift"]

FLOORS = {"float64": 1e-12, "float32": 1e-6, "tf32": 1e-4, "bfloat16": 1e-3, "float16": 1e-3}
"""Below this share of the strongest layer's value a gradient is rounding noise, by precision."""
NAMED = 3
"""Layers that a message names before it counts the rest."""
TOGETHER = 0.8
"""Share of the layers that must have moved by one factor for it to be the scale of the loss."""
_TINY = 1e-300


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """All that differs between a record and its baseline."""

    model: tuple[Finding, ...] = ()
    """About the whole model: its common scale, the profile's shape, or that it is another model."""
    layers: Finding | None = None
    """About the layers that moved by themselves, all in one."""
    moves: tuple[Move, ...] = ()
    """The single numbers behind ``layers``, worst first."""
    differences: tuple[str, ...] = ()
    """What else is not as it was for the baseline: another torch, device, precision, seed or batch."""
    new: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Baseline's name to today's."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All that breaks the limit."""
        return self.model if self.layers is None else (*self.model, self.layers)

    @property
    def notes(self) -> tuple[str, ...]:
        """What breaks no limit and should be known, one clause each."""
        layers = (
            ("new since the baseline", self.new),
            ("in the baseline only", self.removed),
            ("renamed", [f"{old} is now {new}" for old, new in self.renamed.items()]),
        )
        return (*self.differences, *(f"{words}: {_some(names)}" for words, names in layers if names))


def drift(record: GradientRecord, baseline: GradientRecord, max_drift: float = 3.0) -> list[Finding]:
    """The findings of :func:`measure_drift`."""
    return list(measure_drift(record, baseline, max_drift).findings)


def measure_drift(
    record: GradientRecord | Profile, baseline: GradientRecord | Profile, max_drift: float = 3.0
) -> Drift:
    """Compare a record with its baseline.

    Args:
        record: what was measured now.
        baseline: what was accepted before.
        max_drift: factor (above 1, up or down) by which a layer's norm, reach or signal, the common scale of all of
            them, or the ratio between the profile's first and last quarter may differ.

    Raises:
        ValueError: ``max_drift`` is not a finite number above 1.
    """
    limit = drift_limit(max_drift)
    head = record if isinstance(record, Profile) else Profile.of(record)
    base = baseline if isinstance(baseline, Profile) else Profile.of(baseline)
    return _measure(head, base, limit, Match() if head.names == base.names else match_layers(head, base))


def drift_limit(given: float | str) -> float:
    """How far a number may move, as a person gives it.

    Raises:
        ValueError: it is no finite factor above 1.
    """
    try:
        limit = float(given)
    except ValueError:
        limit = math.nan
    if not 1 < limit < math.inf:
        raise ValueError(f"expected a factor above 1, got {given!r}")
    return limit


@dataclass(frozen=True, slots=True)
class _Column:
    """One quantity of the matched layers, on a common scale."""

    base: Numbers
    head: Numbers
    ratios: list[float]
    """Head over base without noise; nan: not comparable; 0 or infinite: nothing on one side."""
    scale: float
    """The factor by which all moved together; 1: they did not, or not by more than the limit."""


def _measure(head: Profile, base: Profile, limit: float, match: Match) -> Drift:
    told = Drift(
        differences=tuple(_differences(head, base)), new=match.new, removed=match.removed, renamed=match.renamed
    )
    names = head.names if match.pairs is None else [head.names[i] for i, _ in match.pairs]
    if 2 * len(names) < len(base.names):
        return replace(told, model=(_another_model(len(names), len(base.names), match.new, limit),))
    columns = {name: _compare(head, base, name, limit, match) for name in QUANTITIES}
    moves: list[Move] = []
    if not _other_seed(head, base):
        moves = [move for name, column in columns.items() for move in _moves(name, column, names, limit)]
        moves.sort(key=lambda move: -move.factor)
    findings = list(_scale_findings(columns, head, base, limit))
    if not moves:
        return replace(told, model=(*findings, *_shape_findings(columns, names, limit)))
    layers = _layer_finding(moves, *_culprit(head, base, names, match, moves, limit), limit)
    return replace(told, model=tuple(findings), layers=layers, moves=tuple(moves))


def _another_model(left: int, before: int, new: tuple[str, ...], limit: float) -> Finding:
    return RULE.finding(
        layers=new[:1],
        message=f"only {left} of the baseline's {before} layers are in this model",
        limit=limit,
        limit_name="max_drift",
        cause="the baseline was made from another model, or the model was rebuilt",
        remedy="compare with a record of this model",
    )


# What else differs


def _differences(head: Profile, base: Profile) -> Iterator[str]:
    consequence = {
        "seed": "; the weights are another draw, so only the scale and the shape of the profile are compared"
    }
    for name in FACTS:
        ours, theirs = head.facts[name], base.facts[name]
        if name != "loss" and ours != theirs and ours not in (None, "") and theirs not in (None, ""):
            yield f"{name} is {ours}, the baseline's is {theirs}{consequence.get(name, '')}"


def _other_seed(head: Profile, base: Profile) -> bool:
    ours, theirs = head.facts["seed"], base.facts["seed"]
    return ours is not None and theirs is not None and ours != theirs


# How far the numbers moved


def _compare(head: Profile, base: Profile, quantity: str, limit: float, match: Match) -> _Column:
    old, new = match.columns(base.column(quantity), head.column(quantity))
    if old == new:
        return _Column(base=old, head=new, ratios=[1.0] * len(new), scale=1.0)
    before, after = [value or 0.0 for value in old], [value or 0.0 for value in new]
    noise = max(_noise(head), _noise(base))
    scale = 1.0 if quantity == "reach" else _common_factor(before, after, noise)
    if not 1 / limit <= scale <= limit:
        ratios = _ratios(before, after, noise, scale)
        if _together(ratios, limit):
            return _Column(base=old, head=new, ratios=ratios, scale=scale)
    return _Column(base=old, head=new, ratios=_ratios(before, after, noise, 1.0), scale=1.0)


def _common_factor(before: list[float], after: list[float], noise: float) -> float:
    """The median factor between two columns: by how much all of them moved together, if they did."""
    least_before, least_after = noise * _largest(before), noise * _largest(after)
    pairs = zip(before, after, strict=True)
    ratios = sorted([h / b for b, h in pairs if h > 0 and b > _TINY and (b > least_before or h > least_after)])
    middle = ratios[len(ratios) // 2] if ratios else 1.0
    return middle if 0 < middle < math.inf else 1.0


def _ratios(before: list[float], after: list[float], noise: float, scale: float) -> list[float]:
    """Head over base on a common scale, without noise."""
    # A strongest layer that explodes must not lift the floor above its healthy neighbours.
    floor = max(noise * min(_largest(before), _largest(after) / scale), _TINY)
    least = floor * scale
    return [
        h / b / scale if floor < b < math.inf and least < h < math.inf else _rare_ratio(b, h / scale, floor)
        for b, h in zip(before, after, strict=True)
    ]


def _together(ratios: list[float], limit: float) -> bool:
    """Whether nearly all layers moved by the common factor."""
    near = math.sqrt(limit)
    return sum(1 / near <= ratio <= near for ratio in ratios) >= TOGETHER * len(ratios)


def _rare_ratio(base: float, head: float, floor: float) -> float:
    """Head over base where one is no plain number above the floor; what is below is lifted to it."""
    if base == head or (math.isnan(base) and math.isnan(head)) or (head <= floor and base <= floor):
        return 1.0
    if not head or not base:
        return math.inf if head else 0.0  # to or from exactly nothing is more than any factor
    return max(head, floor) / max(base, floor)  # nan, as it stands first, where one of them is


def _noise(profile: Profile) -> float:
    precision = str(profile.facts["precision"]).lower()
    return next((floor for name, floor in FLOORS.items() if name in precision), FLOORS["float32"])


def _largest(values: list[float]) -> float:
    """The largest finite value."""
    largest = max(values)  # most often it is that one; nan, only where it stands first
    if largest < math.inf:
        return largest
    return max([value for value in values if value < math.inf], default=0.0)


def _moves(quantity: str, column: _Column, names: Sequence[str], limit: float) -> list[Move]:
    low = 1 / limit
    moved = [i for i, ratio in enumerate(column.ratios) if not low <= ratio <= limit]  # nan is a move, too
    return [Move(names[i], quantity, column.base[i], column.head[i], column.ratios[i], column.scale) for i in moved]


# What is said of it


def _culprit(
    head: Profile, base: Profile, names: Sequence[str], match: Match, moves: Sequence[Move], limit: float
) -> tuple[str, str]:
    """The layer that explains the moves, and a sentence.

    Weights that start elsewhere explain everything. Failing that, the layer through which another share of the signal
    comes back does, if all before it moved; in a residual network a gain also moves where a branch ends, and there the
    layers that moved are themselves where to look.
    """
    changed = _moves("weight", _compare(head, base, "weight", limit, match), names, limit)
    if changed:
        return _explained("weight norm", changed)
    moved = {move.layer for move in moves}
    passing = [
        move
        for move in _moves("gain", _compare(head, base, "gain", limit, match), names, limit)
        if moved >= set(names[: names.index(move.layer)])
    ]
    if passing:
        return _explained("gain", passing)
    path = _common_path(moved)
    if path and len(moved) < len(names):
        return "", f"only layers in {path} moved, so the change is in there"
    return "", "the forward pass, the loss or the data changed"


def _explained(words: str, moves: Sequence[Move]) -> tuple[str, str]:
    worst = max(moves, key=lambda move: move.factor)
    others = f", and that of {len(moves) - 1} more" if len(moves) > 1 else ""
    return worst.layer, f"the {words} of {worst.layer or 'the model'} moved {worst.change}{others}"


def _common_path(names: Iterable[str]) -> str:
    """The module that holds all of these layers, or their one name; empty: the whole model does."""
    parts = [name.split(".") for name in names]
    shared = takewhile(lambda level: len(set(level)) == 1, zip(*parts, strict=False))
    return ".".join(level[0] for level in shared)


def _layer_finding(moves: Sequence[Move], culprit: str, cause: str, limit: float) -> Finding:
    layers = dict.fromkeys([culprit] if culprit else []) | dict.fromkeys(move.layer for move in moves)
    rest = f", and {len(moves) - NAMED} more" if len(moves) > NAMED else ""
    around = f" around {culprit}" if culprit else ""
    named = ", ".join(map(str, moves[:NAMED]))
    return RULE.finding(
        layers=tuple(layers),
        message=f"moved by more than {limit:g}x from the baseline{around}: {named}{rest}",
        value=moves[0].factor,
        limit=limit,
        limit_name="max_drift",
        cause=cause,
        remedy=f"look at what changed in or behind {next(iter(layers)) or 'the model'}",
    )


def _scale_findings(columns: Mapping[str, _Column], head: Profile, base: Profile, limit: float) -> Iterator[Finding]:
    scaled = {name: column.scale for name, column in columns.items() if column.scale != 1.0}
    if len(scaled) == 2 and size_of(scaled["norm"] / scaled["signal"]) < 1.2:
        del scaled["signal"]
        subject = "every gradient norm and signal"
    else:
        subject = ""
    for name, scale in scaled.items():
        what = subject or f"every {QUANTITIES[name]}"
        yield RULE.finding(
            layers=(),
            message=f"{what} moved by one factor from the baseline ({told(scale)}, limit {limit:g}x)",
            value=size_of(scale),
            limit=limit,
            limit_name="max_drift",
            cause=_scale_cause(scale, head.facts["loss"], base.facts["loss"]),
            remedy="divide the loss by the factor, or scale the learning rate",
        )


def _scale_cause(scale: float, loss: Any, before: Any) -> str:
    if _positive(loss) and _positive(before):
        change = f"{shown(float(before))} -> {shown(float(loss))}"
        if size_of(float(loss) / float(before) / scale) < 1.5:
            return f"the loss itself moved by that factor ({change}): it is scaled"
        return (
            f"the loss did not move by that factor ({change}): its gradient is scaled, or the last layers' inputs are"
        )
    return "the loss is scaled by a constant"


def _shape_findings(columns: Mapping[str, _Column], names: Sequence[str], limit: float) -> Iterator[Finding]:
    """Small moves of one direction up front and of the other at the end tilt the whole profile."""
    for quantity in ("norm", "signal"):
        ratios = columns[quantity].ratios
        quarter = len(ratios) // 4
        if quarter < 1:
            continue
        first, last = _mean(ratios[:quarter]), _mean(ratios[-quarter:])
        tilt = first / last if first and last else 1.0
        if not 1 / limit <= tilt <= limit:
            yield RULE.finding(
                layers=(names[0],),
                message=(
                    f"the profile of the {QUANTITIES[quantity]} over depth tilted: first to last quarter moved "
                    f"{told(tilt)} from the baseline (limit {limit:g}x), first quarter "
                    f"{told(first)}, last {told(last)}"
                ),
                value=size_of(tilt),
                limit=limit,
                limit_name="max_drift",
                cause="every layer passes a little less, or a little more, back than before",
                remedy="compare initialisation and normalisation with the baseline's",
            )


def _mean(ratios: list[float]) -> float:
    """Geometric mean of what is comparable; 0: nothing is."""
    logs = [math.log(ratio) for ratio in ratios if ratio > 0 and math.isfinite(ratio)]
    return math.exp(sum(logs) / len(logs)) if logs else 0.0


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and 0 < value < math.inf


def _some(items: Sequence[str]) -> str:
    rest = f" and {len(items) - 5} more" if len(items) > 5 else ""
    return ", ".join(items[:5]) + rest
