"""Records as a healthy and as a sick network would give them, without running one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pytest_gradhealth.record import Check, Finding, GradientRecord, LayerGradient, Signal
from pytest_gradhealth.report.store import Report, StoredCheck


def layer(name: str = "fc", order: int = 0, **fields: Any) -> LayerGradient:
    values: dict[str, Any] = {"kind": "Linear", "parameters": 72, "trainable": 72, "shape": (8, 8)}
    numbers: dict[str, Any] = {"norm": 0.1, "weight_norm": 2.0, "sensitivity": 0.2, "reach": 1.0, "signal": 0.05}
    return LayerGradient(name=name, order=order, **{**values, **numbers, "gain": 0.9, **fields})


def record(*layers: LayerGradient, **fields: Any) -> GradientRecord:
    chosen = layers or tuple(layer(f"fc{i}", i, norm=round(0.1 + 0.01 * i, 3), reach=(i + 1) / 8) for i in range(8))
    values: dict[str, Any] = {"model": "Net", "torch": "2.13.0", "seed": 0, "batches": 2, "samples": 4, "loss": 2.3}
    return GradientRecord(layers=chosen, **{**values, **fields})


def scaled(given: GradientRecord, factors: dict[str, float], **fields: Any) -> GradientRecord:
    """The record with the norm and signal of some layers multiplied (``*``: of all)."""

    def times(item: LayerGradient) -> LayerGradient:
        factor = factors.get(item.name, factors.get("*", 1.0))
        norm = None if item.norm is None else item.norm * factor
        signal = None if item.signal is None else item.signal * factor
        return replace(item, norm=norm, signal=signal)

    return replace(given, layers=tuple(map(times, given.layers)), **fields)


def stored(name: str = "test_net", *, findings: tuple[Finding, ...] = (), **fields: Any) -> StoredCheck:
    check = Check(name=fields.pop("check", "Net"), record=fields.pop("record", None) or record(), findings=findings)
    place = {"test": f"tests/test_model.py::{name}", "file": "tests/test_model.py", "line": 12}
    return StoredCheck(**{**place, "outcome": "failed" if findings else "passed", **fields}, check=check)


VANISHING = Finding(
    kind="vanishing-gradient",
    code="GH101",
    title="vanishing gradient",
    family="vanishing",
    layers=("fc1", "fc0"),
    message="reach 3.1e-09 of fc0 is below the limit 1e-04",
    value=3.1e-9,
    limit=1e-4,
    limit_name="min_reach",
    cause="sigmoid passes at most a quarter of the gradient",
    remedy="use ReLU, or normalise between the layers",
)

HOSTILE = (
    "</script><img src=x onerror=window.hacked=1>",
    "a|b`c`<b>d</b>",
    "@team #1 https://example.org",
    "line\nbreak\r\n::error::x",
    "::error file=a.py::##[error]x",
    "\u202egnp.exe \x1b[31m \udc80",
    "<!--<script>",
    "{{ 7 * 7 }}",
    "'\"><svg/onload=window.hacked=1>",
)


@pytest.fixture
def make_layer() -> Callable[..., LayerGradient]:
    return layer


@pytest.fixture
def make_record() -> Callable[..., GradientRecord]:
    return record


@pytest.fixture
def scale() -> Callable[..., GradientRecord]:
    return scaled


@pytest.fixture
def make_stored() -> Callable[..., StoredCheck]:
    return stored


@pytest.fixture
def vanishing() -> Finding:
    return VANISHING


@pytest.fixture
def hostile() -> tuple[str, ...]:
    return HOSTILE


@pytest.fixture
def report() -> Report:
    """One healthy and one sick check, and every field of a record away from its default once."""
    signal = Signal(
        name="fc0",
        kind="Linear",
        order=0,
        gradient=float("nan"),
        input_attached=True,
        rms=1.0,
        input_min=-2.0,
        input_max=2.0,
    )
    later = record(steps=1)
    full = record(
        layer("fc0", 0, norm=float("inf"), missing=("bias",), tied=("head",), inf=3),
        layer("fc1", None, norm=None, signal=None, gain=None, reach=0.0),
        signals=(signal,),
        notes=("a note",),
        later=later,
    )
    sick = stored("test_sick", findings=(VANISHING,), record=full)
    return Report(checks=(stored(), sick), environment={"python": "3.11"}, metadata={"commit": "abc"})
