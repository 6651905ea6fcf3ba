"""One line for a healthy case."""

from __future__ import annotations

from benchmarks.detection.cases import Build, Case, Maker, Step
from benchmarks.detection.vocabulary.losses import classify


def case(
    name: str,
    host: str,
    build: Build,
    batch: Maker,
    step: Step = classify,
    size: int = 8,
    round: int = 1,
    source: str = "",
) -> Case:
    """A model with nothing wrong; variants of one architecture share a ``host``."""
    return Case(name=name, host=host, build=build, batch=batch, step=step, batch_size=size, round=round, source=source)
