"""Public bug reports, retold: each a network that learns, and the same network as it was reported."""

from __future__ import annotations

from benchmarks.detection.cases import Case

from . import crossed, generative, language, routing, sequence, singular, tabular, vision, withheld
from .report import Report

__all__ = ["REPORTS", "Report", "reported_cases"]

REPORTS: tuple[Report, ...] = tuple(
    report
    for field in (generative, language, routing, sequence, tabular, vision, withheld, crossed, singular)
    for report in field.REPORTS
)


def reported_cases() -> list[Case]:
    """The networks as they were reported; those without a fault are among the hosts."""
    return [report.case for report in REPORTS if report.fault]
