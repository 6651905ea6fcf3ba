"""Record and limits in, findings out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import replace

from pytest_gradhealth.judge.families import COLLAPSE, DEAD, NON_FINITE, VANISHING, WEAK
from pytest_gradhealth.judge.limits import Limits
from pytest_gradhealth.judge.registry import entries, group_of
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding, GradientRecord

__all__ = ["is_open", "judge"]

ONLY_OF_SAMPLES = (VANISHING, COLLAPSE, WEAK)
"""Families that say nothing where there is nothing to tell samples apart by."""


def judge(record: GradientRecord, limits: Limits) -> tuple[Finding, ...]:
    """Every fact of the record that breaks a limit, the gravest first.

    A provisional finding could be explained by a gate that is closed on purpose. It stands only where the record's
    second look, if it has one, still shows it.
    """
    view = View(record, limits)
    if view.later is None or (view.later.silencing and not view.silencing):
        return tuple(_found(view))  # rounding noise redeems nothing
    later = tuple(_found(view.later))
    still = {group_of(finding.fault) for finding in later}
    findings = _standing(view, still)
    return tuple(dict.fromkeys(_confirmed(finding, later) for finding in findings))


def is_open(record: GradientRecord, findings: Sequence[Finding], limits: Limits) -> bool:
    """Whether a later look may still redeem what was found, or has to be taken again to tell."""
    return any(finding.provisional for finding in findings) or View(record, limits).silencing is not None


def _standing(view: View, still: Set[str]) -> tuple[Finding, ...]:
    """What is found and not redeemed; where something is redeemed, what would have followed from it stands alone."""
    redeemed: set[str] = set()
    while True:
        findings = tuple(_found(view, redeemed))
        gone = {finding.kind for finding in findings if finding.provisional and group_of(finding.fault) not in still}
        if not gone:
            return findings
        redeemed |= gone


def _found(view: View, redeemed: Set[str] = frozenset()) -> Iterator[Finding]:
    """What each rule finds that does not only follow from a graver fault: a vanished signal has no variation."""
    known: set[str] = set()
    for rule, find in entries():
        if find is None or rule.slug in redeemed or NON_FINITE.name in known or not rule.follows.isdisjoint(known):
            continue
        if view.targets_are_constant and rule.family in ONLY_OF_SAMPLES:
            continue
        if (view.silencing and not rule.when_silenced) or not view.limits.asks(rule.code):
            continue
        for finding in find(_seen_by(rule, view)):
            if not finding.layers or any(view.limits.under(rule.code).judges(layer) for layer in finding.layers):
                known |= {rule.slug, rule.family.name, rule.family.group}
                yield finding


def _seen_by(rule: Rule, view: View) -> View:
    """The view without the layers that are ignored for this rule alone."""
    limits = view.limits.under(rule.code)
    return view if limits is view.limits else View(view.record, limits)


def _confirmed(finding: Finding, later: Sequence[Finding]) -> Finding:
    """Of dead layers those that are still dead: others only waited for a gate."""
    if finding.fault != DEAD.name:
        return finding
    same = (other for other in later if other.fault == DEAD.name and other.layer in finding.layers)
    found = next(same, next((other for other in later if other.fault == DEAD.name), finding))
    return replace(found, cause=finding.cause, remedy=finding.remedy) if found.layer == finding.layer else found
