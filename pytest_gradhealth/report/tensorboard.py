"""The report as TensorBoard event files: one run per check, one tag per layer, one point per measured step."""

from __future__ import annotations

import hashlib
import math
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_gradhealth.record import GradientRecord, Histogram
from pytest_gradhealth.report.escape import plain
from pytest_gradhealth.report.store import Report, StoredCheck

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary

__all__ = ["require_tensorboard", "write_tensorboard"]

SCALARS = {"norm": "gradient_norm", "reach": "reach", "signal": "signal", "gain": "gain", "weight_norm": "weight_norm"}
"""Fields of a layer, and the group of tags that shows them."""


def require_tensorboard() -> None:
    """Make sure that the ``tensorboard`` extra is there.

    Raises:
        ImportError: it is not; the message says how to install it.
    """
    try:
        import tensorboard  # noqa: F401
    except ImportError as error:
        way_out = "pip install 'pytest-gradhealth[tensorboard]'"
        raise ImportError(f"TensorBoard files need tensorboard ({error}): {way_out}") from None


def write_tensorboard(folder: str | os.PathLike[str], report: Report) -> tuple[Path, ...]:
    """Add one run per check to a log folder, with TensorBoard's own writer.

    The step is the number of optimiser steps made before a measurement: 0, and that of the second look. Each layer has
    scalars (``gradient_norm/fc1``) and, where the record holds it, a histogram of its gradient's elements
    (``gradients/fc1``); each step has a histogram of the layers' norms as powers of ten.

    Returns:
        The runs' folders, in the report's order.

    Raises:
        ImportError: the ``tensorboard`` extra is not installed.
        OSError: the folder cannot be written to.
    """
    require_tensorboard()
    return tuple(_write_run(Path(folder) / _run_name(stored), stored) for stored in report.checks)


def _run_name(stored: StoredCheck) -> str:
    """A folder's name that any file system takes, and that two checks never share."""
    record = stored.check.record
    parts = (stored.test, stored.check.name, record.device, record.precision)
    readable = re.sub(r"\W+", "-", "-".join(parts), flags=re.ASCII).strip("-")[-80:]
    return f"{readable}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:8]}"


def _write_run(folder: Path, stored: StoredCheck) -> Path:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(folder))
    try:
        for step, record in _steps(stored.check.record):
            writer.add_event(Event(wall_time=time.time(), step=step, summary=_summary(record)))
    finally:
        writer.close()
    return folder


def _steps(record: GradientRecord) -> Iterator[tuple[int, GradientRecord]]:
    """Each measurement with a step of its own, in order."""
    step = record.steps
    yield step, record
    while record.later is not None:
        record = record.later
        step = max(record.steps, step + 1)
        yield step, record


def _summary(record: GradientRecord) -> Summary:
    from tensorboard.compat.proto.summary_pb2 import Summary

    values: list[dict[str, Any]] = []
    if record.loss is not None:
        values.append({"tag": "loss", "simple_value": record.loss})
    for layer in record:
        name = plain(layer.name) or "(model)"
        found = ((group, getattr(layer, field)) for field, group in SCALARS.items())
        values += [{"tag": f"{group}/{name}", "simple_value": value} for group, value in found if value is not None]
        if layer.histogram is not None:
            values.append({"tag": f"gradients/{name}", "histo": _gradients(layer.histogram)})
    powers = [math.log10(layer.norm) for layer in record if layer.norm and 0 < layer.norm < math.inf]
    if powers:
        values.append({"tag": "gradient_norm over all layers (power of ten)", "histo": _histogram(powers)})
    return Summary(value=[Summary.Value(**value) for value in values])


def _gradients(found: Histogram) -> HistogramProto:
    return _proto(found.lowest, found.highest, found.edges, found.counts, found.total, found.squares)


def _histogram(values: list[float]) -> HistogramProto:
    low, high = min(values), max(values)
    bins = 30 if high > low else 1
    counts = [0.0] * bins
    for value in values:
        counts[min(int((value - low) / (high - low) * bins), bins - 1) if high > low else 0] += 1
    width = (high - low) / bins
    edges = [*(low + width * (i + 1) for i in range(bins - 1)), high]
    return _proto(low, high, edges, counts, sum(values), sum(value * value for value in values))


def _proto(
    low: float, high: float, edges: Sequence[float], counts: Sequence[float], total: float, squares: float
) -> HistogramProto:
    from tensorboard.compat.proto.summary_pb2 import HistogramProto

    return HistogramProto(
        min=low, max=high, num=sum(counts), sum=total, sum_squares=squares, bucket_limit=edges, bucket=counts
    )
