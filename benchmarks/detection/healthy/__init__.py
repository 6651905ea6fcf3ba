"""The healthy half of the detection benchmark: architectures at their own initialisation, none of them tuned."""

from __future__ import annotations

from benchmarks.detection.cases import Case
from benchmarks.detection.healthy import first, fourth, second, third


def healthy_cases() -> list[Case]:
    """Every healthy case, in a fixed order."""
    return [case for part in (first, second, third, fourth) for module in part.MODULES for case in module.cases()]
