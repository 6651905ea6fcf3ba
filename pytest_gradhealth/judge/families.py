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
    {"clamped-probabilities", "closed-recurrent-gate", "single-class", "unscaled-input", "vanishing-over-time"}
)
"""Rules that explain every gradient that fades, dies or is the same."""

NON_FINITE = Family("non-finite", 10, STEEP)
OPTIMISER = Family("optimiser", 15)
MISSING = Family("missing", 20, follows=frozenset({"idle-optimiser"}))
UNREGISTERED = Family("unregistered", 25)
SYMMETRIC = Family("symmetric", 30, FADING, LEADING)
DEAD = Family("dead", 40, FADING, LEADING | {"symmetric"})
VANISHING = Family("vanishing", 50, FADING, LEADING | {"symmetric", "dead"})
COLLAPSE = Family("collapse", 60, FADING, LEADING | {"symmetric", "dead", "vanishing"})
EXPLODING = Family("exploding", 70, STEEP, frozenset({"unscaled-input"}))
SATURATED = Family("saturated", 75, STEEP, frozenset({"exploding", "unscaled-input"}))
WEAK = Family("weak", 80, FADING, LEADING | {"symmetric", "dead", "vanishing", "collapse"})
OBJECTIVE = Family("objective", 90)
OWN = Family("own-limit", 95)
DISAGREEMENT = Family("disagreement", 97)
DRIFT = Family("drift", 98)
UNDERFLOW = Family("underflow", 85)
MIXED = Family("mixed", 27)
WRONG_BACKWARD = Family("wrong-backward", 28)
UNSCALED = Family("unscaled", 92)
