"""The verdict on a test that trains by itself: its first measured pass, its last, and what lies between."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from pytest_gradhealth.judge.families import (
    COLLAPSE,
    DEAD,
    EXPLODING,
    FAINT,
    NON_FINITE,
    SATURATED,
    SYMMETRIC,
    VANISHING,
)
from pytest_gradhealth.judge.judge import judge
from pytest_gradhealth.judge.limits import Limits
from pytest_gradhealth.judge.random_depth import with_arrivals
from pytest_gradhealth.judge.view import View
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
SIZES = frozenset(family.name for family in (DEAD, VANISHING, COLLAPSE, EXPLODING, SATURATED, FAINT, SYMMETRIC))
"""Families that ask how large something is."""


def verdict(passes: Sequence[GradientRecord], limits: Limits) -> tuple[GradientRecord, tuple[Finding, ...]]:
    """The record of a watched model and what is found in it; no error of ours fails a test that asked for nothing."""
    try:
        record = combined(passes)
        early, late = _found(record, limits)
        shown = _late_alone(record) if late and not early else record
        return shown, (*early, *late)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        note = f"could not be judged ({type(error).__name__}: {error}); please report this"
        return replace(passes[0], notes=(*passes[0].notes, note)), ()


def combined(passes: Sequence[GradientRecord]) -> GradientRecord:
    """One record of several passes: the first, with the last as its second look.

    What the loss is made of, and which share of a layer it uses, tells something where the test trains: a single
    backward may begin with anything.
    """
    first, last = with_arrivals(passes[0], passes[1:]), passes[-1]
    if last.steps < OPENED:
        first = replace(_without_shares(first), loss_graph=None)
    notes = tuple(toy.note for toy in _toys(first))
    first = replace(first, notes=(*first.notes, *notes))
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


def _found(record: GradientRecord, limits: Limits) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """What the first pass shows and the last has not redeemed, and what only the last shows.

    Before some passes are over, a finding that a closed gate could explain stands only where no gate is to be seen,
    and in a single pass weights that are alike may have been set so for the test. In the last pass gradients fade
    because the model has learnt, so that only what is exactly zero or not finite counts there.
    """
    findings = _lasting(record, record, limits)
    if record.later is None:
        return tuple(f for f in findings if f.fault != SYMMETRIC.name), ()  # set alike, to compare with known numbers
    last = _lasting(record, record.later, limits)
    faults = {finding.fault for finding in last}
    redeemed = tuple(f for f in findings if f.fault != NON_FINITE.name or f.fault in faults or _is_nan(record))
    known = {finding.fault for finding in redeemed}
    counts = {NON_FINITE.name, DEAD.name} if _may_be_dead(record, record.later) else {NON_FINITE.name}
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


def _lasting(record: GradientRecord, judged: GradientRecord, limits: Limits) -> tuple[Finding, ...]:
    """What is found in the record, or in its later pass, and will not be gone after a few more steps."""
    passes = record.later.steps if record.later else 0
    is_opening = has_opening_gate(record) and (passes < OPENED or any(map(_is_opening, record.later or ())))
    found = (f for f in _telling(judged, judge(judged, limits), limits) if not (f.provisional and is_opening))
    return tuple(f for f in found if not _is_starved(f))


def _is_starved(finding: Finding) -> bool:
    """Whether a gradient is not zero, but nothing beside the others: training takes it there, and away again."""
    return finding.kind == "starved-layer"


def has_opening_gate(record: GradientRecord) -> bool:
    """Whether a layer that multiplies a branch stands at (almost) zero and receives the gradient to open it."""
    return any(layer.norm and (_is_opening(layer) or _is_small(layer)) for layer in record)


class _Toy:
    """What makes a pass say nothing about some faults of the model: a loss or a batch made up for a test."""

    def __init__(self, note: str, faults: frozenset[str]) -> None:
        self.note, self._faults = note, faults

    def explains(self, finding: Finding) -> bool:
        """Whether the finding is none, on such a pass."""
        return not self._faults.isdisjoint({finding.fault, finding.kind})


def _telling(record: GradientRecord, findings: tuple[Finding, ...], limits: Limits) -> tuple[Finding, ...]:
    """Findings that no toy explains, and those that break a limit which the user has set."""
    toys = list(_toys(record))
    return tuple(f for f in findings if _is_set(limits, f.limit_name) or not any(toy.explains(f) for toy in toys))


def _is_set(limits: Limits, name: str) -> bool:
    return bool(name) and not limits.is_default(name)


def _toys(record: GradientRecord) -> Iterator[_Toy]:
    if record.loss == 0 and not any(layer.norm for layer in record):
        yield _Toy("the loss is exactly zero: there is nothing to learn, and gradients of zero are no fault", SIZES)
    view = View(record, Limits())
    if view.is_fed_zeros:
        yield _Toy("the input is all zeros: small gradients are no fault of the model then", SIZES)
    if view.is_plain_sum:
        note = "the loss is the plain sum or mean of the output: how much it depends on the weights is not judged"
        yield _Toy(note, frozenset({"insensitive-loss"}))


def _is_opening(layer: LayerGradient) -> bool:
    """Whether a weight that starts at zero is about to leave it."""
    return any("bias" not in name and name not in layer.zero_gradients for name in layer.zero_weights)


def _is_small(layer: LayerGradient) -> bool:
    scale = layer.weight_norm / layer.trainable**0.5 if layer.trainable else 1.0
    return 0 < scale < (GATE if len(layer.shape) < VECTORS else TINY)
