"""The faulty half of the detection benchmark: small networks that learn, each with one thing wrong, by family of fault.

Whether a fault keeps its host from learning is not decided here but by training (``label.py``, ``labels.json``).
"""

from __future__ import annotations

from benchmarks.detection.cases import Case
from benchmarks.detection.hosts.reported import reported_cases

from . import (
    activation,
    attention,
    data,
    gradient_path,
    initialisation,
    loss,
    normalisation,
    numerics,
    output,
    parameters,
    recurrence,
    wiring,
)

FAMILIES = (
    activation,
    attention,
    data,
    gradient_path,
    initialisation,
    loss,
    normalisation,
    numerics,
    output,
    parameters,
    recurrence,
    wiring,
)


def faulty_cases() -> list[Case]:
    """Every fault, in a fixed order."""
    cases = [case for family in FAMILIES for operator in family.OPERATORS for case in operator()]
    cases += reported_cases()
    assert len({one.name for one in cases}) == len(cases), "two cases of the same name"
    return cases
