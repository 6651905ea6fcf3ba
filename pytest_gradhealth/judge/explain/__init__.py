"""A finding's cause and remedy, one sentence each, from what the record shows: one module a family of faults."""

from __future__ import annotations

from pytest_gradhealth.judge.explain.arrival import cut, dead_end, dead_units, of_unregistered, unregistered, unused
from pytest_gradhealth.judge.explain.common import Explanation
from pytest_gradhealth.judge.explain.fading import collapse, dim, drowned, faint, forgetting, overlooked, vanishing
from pytest_gradhealth.judge.explain.steep import exploding, growing, non_finite, saturated

__all__ = [
    "Explanation",
    "collapse",
    "cut",
    "dead_end",
    "dead_units",
    "dim",
    "drowned",
    "exploding",
    "faint",
    "forgetting",
    "growing",
    "non_finite",
    "of_unregistered",
    "overlooked",
    "saturated",
    "unregistered",
    "unused",
    "vanishing",
]
