"""What a check adds to a test's properties in a junit file."""

from __future__ import annotations

from pytest_gradhealth.record import Check
from pytest_gradhealth.report.escape import plain

__all__ = ["properties"]


def properties(check: Check) -> list[tuple[str, str]]:
    """Flat names and texts, such as ``gradhealth.Net.verdict`` and ``gradhealth.Net.lowest_reach``."""
    record = check.record
    layers = [layer for layer in record if not layer.frozen]
    norms = [layer.norm for layer in layers if layer.norm is not None]
    values: dict[str, object] = {
        "verdict": ("healthy" if check.healthy else "unhealthy") if check.judged else "measured",
        "findings": ", ".join(dict.fromkeys(finding.kind for finding in check.findings)),
        "culprit": check.findings[0].layer if check.findings else "",
        "device": record.device,
        "precision": record.precision,
        "layers": len(record),
        "lowest_reach": _number(min((layer.reach for layer in layers), default=None)),
        "weakest_norm": _number(min(norms, default=None)),
        "strongest_norm": _number(max(norms, default=None)),
        "loss": _number(record.loss),
    }
    return [(f"gradhealth.{plain(check.name)}.{name}", plain(value)) for name, value in values.items() if value != ""]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
