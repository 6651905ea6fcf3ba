"""One fault, one finding: a test that copies a model many times has one model to tell of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pytest_gradhealth.record import Finding, GradientRecord

__all__ = ["told_once"]

Verdict = tuple[GradientRecord, tuple[Finding, ...]]


def told_once(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts without those that say of a copy what was said of its like: same layers, same faults at them."""
    groups: dict[object, list[Verdict]] = {}
    for number, (record, findings) in enumerate(verdicts):
        layers = tuple((layer.name, layer.kind, layer.shape) for layer in record)
        alike = (record.model, layers, tuple((finding.kind, finding.layers) for finding in findings))
        groups.setdefault(alike if findings else number, []).append((record, findings))
    return [_first(group) for group in groups.values()]


def _first(group: Sequence[Verdict]) -> Verdict:
    record, findings = group[0]
    if len(group) == 1:
        return record, findings
    note = f"{len(group)} models of this make were trained, and the same was found in all of them; this is the first"
    return replace(record, notes=(*record.notes, note)), findings
