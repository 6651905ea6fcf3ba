"""Two measurements of one model, on two devices or in two precisions: where they differ by more than rounding explains.

Rounding adds up on the way through a network, so the limit is a multiple of the relative rounding error of one
operation. What is drawn at random differs too, and is told apart by a measurement with another seed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from pytest_gradhealth.errors import counted
from pytest_gradhealth.judge.limits import Limits
from pytest_gradhealth.judge.rules.disagreement import MAX_DISAGREEMENT, RULE
from pytest_gradhealth.record import Finding, GradientRecord

__all__ = ["disagreement"]

ROUNDING = {"bfloat16": 2.0**-8, "float16": 2.0**-11, "float64": 2.0**-53}
"""Relative rounding error of one operation, by precision."""
FLOAT32 = 2.0**-18
"""That of float32, with room for sums in another order."""
TF32 = 2.0**-11
"""That of float32 on CUDA, where convolutions round to TF32 by default."""
NOISE = 1e-3
"""Share of the largest gradient below which a layer's is the rounding of others."""


def disagreement(record: GradientRecord, reference: GradientRecord, limits: Limits) -> Finding | None:
    """The layers whose gradients differ, the one where it begins first; None: rounding explains all differences."""
    limit = limits.max_disagreement
    unit = max(_rounding(record), _rounding(reference))
    largest = max((layer.norm or 0.0 for layer in reference), default=0.0)
    if limit is None or not math.isfinite(largest):
        return None
    apart = {
        layer.name: (layer.norm or 0.0, reference[layer.name].norm or 0.0)
        for layer in record
        if layer.name in reference and layer.trainable and limits.judges(layer.name)
    }
    apart = {
        name: norms for name, norms in apart.items() if max(norms) > NOISE * largest and _apart(*norms) > limit * unit
    }
    if not apart:
        return None
    begins, told = next(_forward(record, reference, limit * unit), (list(apart)[-1], ""))
    name = begins if begins in apart else max(apart, key=lambda one: _apart(*apart[one]))
    here, there = apart[name]
    return RULE.finding(
        dict.fromkeys([begins, *apart]),
        f"gradient norm of {name or '(model)'!r} is {here:.3g} {_where(record)} and {there:.3g} {_where(reference)}, "
        f"{_apart(here, there) / unit:.0f} times what one rounding explains ({MAX_DISAGREEMENT.at(limit)}); "
        f"{counted(len(apart), 'layer')} differ",
        value=_apart(here, there) / unit,
        limit=limit,
        limit_name=MAX_DISAGREEMENT.name,
        cause=told or f"it begins on the way back at {begins!r}: forward, all outputs agree",
        remedy="compute there in float32, as inside torch.autocast(..., enabled=False), or raise the limit",
    )


def _forward(record: GradientRecord, reference: GradientRecord, most: float) -> Iterator[tuple[str, str]]:
    """Modules whose outputs differ in size already, the first first."""
    known = {signal.name: signal for signal in reference.signals}
    parents = {signal.name.rpartition(".")[0] for signal in record.signals if signal.name}
    for signal in sorted(record.signals, key=lambda one: one.order):
        other = known.get(signal.name)
        if other is not None and signal.name not in parents and _apart(signal.rms, other.rms) > most:
            sizes = (
                f"its output has a size of {signal.rms:.3g} {_where(record)} and {other.rms:.3g} {_where(reference)}"
            )
            yield signal.name, f"it begins on the way forward at {signal.name!r}: {sizes}"


def _apart(one: float, other: float) -> float:
    """The difference over the larger; infinite where only one is finite."""
    if not (math.isfinite(one) and math.isfinite(other)):
        return 0.0 if str(one) == str(other) else math.inf
    return abs(one - other) / max(abs(one), abs(other), 1e-300)


def _rounding(record: GradientRecord) -> float:
    name = record.precision.removeprefix("autocast-")
    return ROUNDING.get(name, TF32 if record.device.startswith("cuda") else FLOAT32)


def _where(record: GradientRecord) -> str:
    return f"on {record.device} in {record.precision}"
