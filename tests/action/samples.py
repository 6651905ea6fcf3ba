"""Reports as the action's tests need them, without a network that was run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytest_gradhealth.record import Check, Finding, GradientRecord, LayerGradient
from pytest_gradhealth.report.store import Report, StoredCheck

ROOT = Path(__file__).resolve().parents[2]
ACTION = ROOT / ".github" / "actions" / "gradhealth"

HOSTILE = (
    "</details><img src=x onerror=alert(1)>",
    "a|b`c`<b>d</b> **e** [f](https://example.org)",
    "@team #1 $(touch pwned) `touch pwned` ${{ github.token }}",
    "line\nbreak\r\n::error::x\n##[error]y",
    "::set-output name=outcome::pass",
    "\u202egnp.exe \x1b[31m",
    "% , : ;",
)


def make_layer(name: str = "fc", **fields: Any) -> LayerGradient:
    numbers: dict[str, Any] = {"norm": 0.1, "weight_norm": 2.0, "sensitivity": 0.2, "reach": 1.0, "signal": 0.05}
    return LayerGradient(name=name, kind="Linear", parameters=72, trainable=72, **{"order": 0, **numbers, **fields})


def make_stored(name: str = "test_net", *layers: LayerGradient, **fields: Any) -> StoredCheck:
    record = GradientRecord(model="Net", layers=layers or (make_layer("fc0"), make_layer("fc1")))
    findings = fields.pop("findings", ())
    check = Check(name=fields.pop("check", "Net"), record=record, findings=findings)
    place = {"test": f"tests/test_model.py::{name}", "file": "tests/test_model.py", "line": 12}
    return StoredCheck(**{**place, "outcome": "failed" if findings else "passed", **fields}, check=check)


def make_finding(layer: str = "fc0", **fields: Any) -> Finding:
    values: dict[str, Any] = {"kind": "exploding", "message": f"norm 50 of {layer}", "value": 50.0, "limit": 10.0}
    return Finding(layers=(layer,), **{**values, "limit_name": "max_norm", **fields})


def make_report(*checks: StoredCheck) -> Report:
    return Report(checks=checks)
