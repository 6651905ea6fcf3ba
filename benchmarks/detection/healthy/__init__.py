"""The healthy half of the detection benchmark: what people build, as they initialise it, ordered by field."""

from __future__ import annotations

from benchmarks.detection.cases import Case

from . import generative, graphs, language, learning, reinforcement, science, sequence, tabular, vision

FIELDS = (vision, language, sequence, tabular, generative, reinforcement, graphs, science, learning)


def healthy_cases() -> list[Case]:
    """Every healthy case, in a fixed order."""
    return [case for field in FIELDS for module in field.MODULES for case in module.cases()]
