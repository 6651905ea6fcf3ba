"""Record and limits in, findings out: one function a rule, each with the reason for its threshold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from pytest_gradhealth.judge.limits import Limits
from pytest_gradhealth.judge.rules.arrival import dead, dropped, missing, silent_share, starved, unregistered
from pytest_gradhealth.judge.rules.fading import (
    collapse,
    dim,
    faint,
    overlooked,
    symmetric,
    undistinguished,
    unnormalised,
    vanishing,
)
from pytest_gradhealth.judge.rules.objective import objective, single
from pytest_gradhealth.judge.rules.optimiser import idle, lost_update, unoptimised
from pytest_gradhealth.judge.rules.own import bounds, ratio
from pytest_gradhealth.judge.rules.recurrent import forgetting, forgotten
from pytest_gradhealth.judge.rules.steep import exploding, non_finite, saturated
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding, GradientRecord

__all__ = ["is_open", "judge"]

Rule = Callable[[View], Iterator[Finding]]

RULES: tuple[Rule, ...] = (
    idle,
    unoptimised,
    lost_update,
    missing,
    unregistered,
    dead,
    silent_share,
    dropped,
    forgotten,
    vanishing,
    overlooked,
    collapse,
    undistinguished,
    exploding,
    saturated,
    dim,
    unnormalised,
    faint,
    objective,
    symmetric,
    bounds,
    ratio,
)
UNSILENCED: tuple[Rule, ...] = (
    idle,
    unoptimised,
    missing,
    unregistered,
    dropped,
    collapse,
    single,
    objective,
    symmetric,
    bounds,
    ratio,
)
"""Rules for which the size of a gradient in front of a silencing normalisation does not matter."""
FOLLOWS = {
    "idle-optimiser": ("missing", "unoptimised"),
    "symmetric": ("dead", "vanishing", "collapse", "faint"),
    "dead": ("vanishing", "collapse", "faint"),
    "vanishing": ("collapse", "faint"),
    "collapse": ("faint",),
    "exploding": ("saturated",),
}
"""What is only the consequence of a graver finding."""
FADING = frozenset({"vanishing", "collapse", "dead", "faint", "symmetric"})
STEEP = frozenset({"exploding", "saturated", "non-finite"})


def judge(record: GradientRecord, limits: Limits) -> tuple[Finding, ...]:
    """Every fact of the record that breaks a limit, the gravest first.

    A finding with ``gate`` set could be explained by a gate that is closed on purpose. It stands only where the
    record's second look, if it has one, still shows it.
    """
    view = View(record, limits)
    findings = _found(view)
    if view.later is None:
        return findings
    later = _found(view.later)
    if view.later.silencing and not view.silencing:
        return findings  # rounding noise redeems nothing
    still = {finding.kind for finding in later}
    confirmed = (_confirmed(f, later) for f in findings if not f.provisional or not _family(f.kind).isdisjoint(still))
    return tuple(dict.fromkeys(confirmed))


def is_open(record: GradientRecord, findings: Sequence[Finding], limits: Limits) -> bool:
    """Whether a later look may still redeem what was found, or has to be taken again to tell."""
    return any(finding.provisional for finding in findings) or View(record, limits).silencing is not None


def _found(view: View) -> tuple[Finding, ...]:
    """A graver fault hides what follows from it: NaN gradients have no size, a vanished signal has no variation."""
    grave = tuple(non_finite(view))
    if grave:
        return grave
    if view.silencing:
        return tuple(finding for rule in UNSILENCED for finding in rule(view))
    causes = (*forgetting(view), *single(view))
    found = [finding for rule in RULES for finding in rule(view)]
    if FADING.isdisjoint(finding.kind for finding in found):
        found += starved(view)
    kinds = {finding.kind for finding in found}
    hidden = FADING if causes else next((FOLLOWS[kind] for kind in FOLLOWS if kind in kinds), ())
    return (*causes, *(finding for finding in found if finding.kind not in hidden))


def _confirmed(finding: Finding, later: Sequence[Finding]) -> Finding:
    """Of dead layers those that are still dead: others only waited for a gate."""
    if finding.kind != "dead":
        return finding
    same = (other for other in later if other.kind == "dead" and other.layer in finding.layers)
    return next(same, next((other for other in later if other.kind == "dead"), finding))


def _family(kind: str) -> frozenset[str]:
    """Kinds that are one fault at different strength: a collapsed signal vanishes after the first steps, and what
    explodes becomes infinite, or saturates.
    """
    return next((family for family in (FADING, STEEP) if kind in family), frozenset({kind}))
