"""A healthy record made by hand, what is changed of it, and what is found in it."""

from __future__ import annotations

from typing import Any

from pytest_gradhealth import Limits
from pytest_gradhealth.judge.judge import judge
from pytest_gradhealth.record import Finding, GradientRecord, LayerGradient, Signal


def layer(number: int, **fields: Any) -> LayerGradient:
    usual: dict[str, Any] = {
        "kind": "Linear",
        "order": 2 * number,
        "parameters": 600,
        "trainable": 600,
        "shape": (24, 24),
        "norm": 0.1,
        "weight_norm": 5.0,
        "sensitivity": 0.5,
        "reach": 1.0,
        "signal": 0.1,
        "gain": 1.0,
        "units": 24,
    }
    return LayerGradient(name=f"fc{number}", **{**usual, **fields})


def signal(number: int, **fields: Any) -> Signal:
    usual: dict[str, Any] = {
        "gradient": 0.1,
        "input_gradient": 0.1,
        "rms": 1.0,
        "peak": 3.0,
        "sample_variation": 0.8,
        "size": 192,
    }
    return Signal(
        name=f"fc{number}", kind="Linear", order=2 * number, **{**usual, "input_min": -3.0, "input_max": 3.0, **fields}
    )


def record(layers: list[LayerGradient] | None = None, **fields: Any) -> GradientRecord:
    own = [layer(number) for number in range(8)] if layers is None else layers
    signals = tuple(signal(number) for number in range(len(own)))
    return GradientRecord(
        **{"model": "Net", "loss": 1.6, "samples": 8, "batches": 2, "layers": tuple(own), "signals": signals, **fields}
    )


def changed(number: int, **fields: Any) -> list[LayerGradient]:
    return [layer(n, **(fields if n == number else {})) for n in range(8)]


def found(given: GradientRecord, **limits: Any) -> list[Finding]:
    return list(judge(given, Limits(**limits)))
