"""Families of faults, the gravest first, and what follows from what."""

from __future__ import annotations

from pytest_gradhealth.judge.rule import Family

__all__ = [
    "COLLAPSE",
    "DEAD",
    "DISAGREEMENT",
    "DRIFT",
    "EXPLODING",
    "FADING",
    "MISSING",
    "MIXED",
    "NON_FINITE",
    "OBJECTIVE",
    "OPTIMISER",
    "OWN",
    "SATURATED",
    "STEEP",
    "SYMMETRIC",
    "UNDERFLOW",
    "UNREGISTERED",
    "UNSCALED",
    "VANISHING",
    "WEAK",
    "WRONG_BACKWARD",
]

FADING, STEEP = "fading", "steep"
LEADING = frozenset(
    {
        "clamped-probabilities",
        "closed-recurrent-gate",
        "excessive-steps",
        "single-class",
        "unscaled-input",
        "unscaled-targets",
        "vanishing-over-time",
    }
)
"""Rules that explain every gradient that fades, dies or is the same."""

NON_FINITE = Family("non-finite", STEEP)
OPTIMISER = Family("optimiser")
MISSING = Family("missing", follows=frozenset({"idle-optimiser"}))
UNREGISTERED = Family("unregistered")
MIXED = Family("mixed")
WRONG_BACKWARD = Family("wrong-backward")
SYMMETRIC = Family("symmetric", FADING, LEADING)
DEAD = Family("dead", FADING, LEADING | {"symmetric"})
VANISHING = Family("vanishing", FADING, LEADING | {"symmetric", "dead"})
COLLAPSE = Family("collapse", FADING, LEADING | {"symmetric", "dead", "vanishing"})
EXPLODING = Family("exploding", STEEP, frozenset({"unscaled-input"}))
SATURATED = Family("saturated", STEEP, frozenset({"exploding", "unscaled-input"}))
WEAK = Family("weak", FADING, LEADING | {"symmetric", "dead", "vanishing", "collapse"})
UNDERFLOW = Family("underflow")
OBJECTIVE = Family("objective")
UNSCALED = Family("unscaled")
OWN = Family("own-limit")
DISAGREEMENT = Family("disagreement")
DRIFT = Family("drift")
