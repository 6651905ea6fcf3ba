"""The verdict on a test that trains by itself: its first measured pass, its last, and what lies between."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import NamedTuple

from pytest_gradhealth.judge.evidence import Circumstance, circumstances, is_set
from pytest_gradhealth.judge.families import DEAD, NON_FINITE, SYMMETRIC
from pytest_gradhealth.judge.judge import judge
from pytest_gradhealth.judge.limits import Limits
from pytest_gradhealth.judge.random_depth import with_arrivals
from pytest_gradhealth.record import Finding, GradientRecord, LayerGradient

__all__ = ["combined", "verdict"]

GATE = 1e-2
"""Root mean square of weights that multiply a branch, below which the branch is as good as closed."""
TINY = 3e-4
"""The same of weights that are multiplied with a vector. Common initialisations stay a decade above it."""
VECTORS = 2
"""Dimensions of a weight from which it is multiplied with vectors, and not with single numbers."""
OPENED = 4
"""Passes after which gates that start at zero have opened, two of them in a row."""
UNLEARNT = 0.5
"""Share of the first loss from which a model has not learnt so much that its gradients could be zero for that."""


def verdict(passes: Sequence[GradientRecord], limits: Limits) -> tuple[GradientRecord, tuple[Finding, ...]]:
    """The record of a watched model and what is found in it."""
    record = combined(passes)
    first = _look_at(record, passes, limits)
    record = replace(record, notes=(*record.notes, *_unjudged(first)))
    early, late = _found(record, first, passes, limits)
    return _late_alone(record) if late and not early else record, (*early, *late)


class _Look(NamedTuple):
    """What rules find in a record, and what circumstances of its passes may explain it."""

    findings: tuple[Finding, ...]
    circumstances: tuple[Circumstance, ...]


def _look_at(record: GradientRecord, passes: Sequence[GradientRecord], limits: Limits) -> _Look:
    return _Look(judge(record, limits), tuple(circumstances(record, passes)))


def combined(passes: Sequence[GradientRecord]) -> GradientRecord:
    """One record of several passes: the first, with the last as its second look.

    What the loss is made of, and which share of a layer it uses, tells something where the test trains: a single
    backward may begin with anything.
    """
    first, last = with_arrivals(passes[0], passes[1:]), passes[-1]
    if last.steps < OPENED:
        first = replace(_without_shares(first), loss_graph=None)
    if len(passes) == 1:
        return first
    last = next((one for one in passes[1:] if _is_nan(one)), last)
    return replace(first, later=_without_shares(last, {layer.name for layer in first if layer.silent_units}))


def _without_shares(record: GradientRecord, but: Collection[str] = ()) -> GradientRecord:
    """The record without shares of layers that receive nothing; what is silent later may only wait for its input."""
    return replace(record, layers=tuple(x if x.name in but else replace(x, silent_units=()) for x in record))


def _late_alone(record: GradientRecord) -> GradientRecord:
    """The last pass as the record: a table shows the pass that was judged."""
    if record.later is None:
        return record
    note = f"this is pass {record.later.steps + 1} of the test; nothing was found in its first"
    return replace(record.later, notes=(*record.notes, note))


def _found(
    record: GradientRecord, look: _Look, passes: Sequence[GradientRecord], limits: Limits
) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """What the first pass shows and the last has not redeemed, and what only the last shows.

    Before some passes are over, a finding that a closed gate could explain stands only where no gate is to be seen,
    and in a single pass weights that are alike may have been set so for the test. In the last pass gradients fade
    because the model has learnt, so that only what is exactly zero or not finite counts there.
    """
    findings = _lasting(record, look, limits)
    if record.later is None:
        return tuple(f for f in findings if f.fault != SYMMETRIC.name), ()  # set alike, to compare with known numbers
    last = _lasting(record, _look_at(record.later, passes, limits), limits)
    faults = {finding.fault for finding in last}
    redeemed = tuple(f for f in findings if f.fault != NON_FINITE.name or f.fault in faults or _is_nan(record))
    known = {finding.fault for finding in redeemed}
    swept = any(f.kind == "excessive-steps" for f in redeemed)  # they kill layers, too
    may_be_dead = not swept and _may_be_dead(record, record.later)
    counts = {NON_FINITE.name, DEAD.name} if may_be_dead else {NON_FINITE.name}
    return redeemed, tuple(f for f in last if f.fault in counts - known)


def _may_be_dead(first: GradientRecord, last: GradientRecord) -> bool:
    """Whether gradients of zero are a fault of some layers; all are zero also where there is nothing left to learn."""
    if any(layer.norm for layer in last):
        return True
    return first.loss is not None and last.loss is not None and abs(last.loss) >= UNLEARNT * abs(first.loss) > 0


def _is_nan(record: GradientRecord) -> bool:
    """A loss that is no number: what overflows under a gradient scaler is a gradient, and what is infinite may come
    back.
    """
    return record.loss is not None and math.isnan(record.loss)


def _lasting(record: GradientRecord, look: _Look, limits: Limits) -> tuple[Finding, ...]:
    """What is found in the record, or in its later pass, and will not be gone after a few more steps."""
    steps = record.later.steps if record.later else 0
    is_opening = has_opening_gate(record) and (steps < OPENED or any(map(_is_opening, record.later or ())))
    found = (f for f in _telling(look, limits) if not (f.provisional and is_opening))
    return tuple(f for f in found if not _is_starved(f))


def _is_starved(finding: Finding) -> bool:
    """Whether a gradient is not zero, but nothing beside the others: training takes it there, and away again."""
    return finding.kind == "starved-layer"


def has_opening_gate(record: GradientRecord) -> bool:
    """Whether a layer that multiplies a branch stands at (almost) zero and receives the gradient to open it."""
    return any(layer.norm and (_is_opening(layer) or _is_small(layer)) for layer in record)


def _telling(look: _Look, limits: Limits) -> tuple[Finding, ...]:
    """Findings that no circumstance explains, and those that break a limit which the user has set."""
    found, known = look
    return tuple(f for f in found if is_set(limits, f.limit_name) or not any(one.explains(f) for one in known))


def _unjudged(look: _Look) -> tuple[str, ...]:
    """What was not judged, and why."""
    found, known = look
    told = (one.note for one in known if one.is_told or any(one.explains(finding) for finding in found))
    return tuple(dict.fromkeys(told))


def _is_opening(layer: LayerGradient) -> bool:
    """Whether a weight that starts at zero is about to leave it."""
    return any("bias" not in name and name not in layer.zero_gradients for name in layer.zero_weights)


def _is_small(layer: LayerGradient) -> bool:
    scale = layer.weight_norm / layer.trainable**0.5 if layer.trainable else 1.0
    return 0 < scale < (GATE if len(layer.shape) < VECTORS else TINY)
