"""The report as one HTML file that opens from disk: no network, no server, nothing that a name could inject.

Jinja escapes what it renders; the rest is data that the page's script only ever puts into text nodes. A content
security policy lets nothing run but the scripts whose hashes it lists.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import resources
from typing import Any

from pytest_gradhealth.record import Check, Curve, Finding, GradientRecord, LayerGradient, Projection
from pytest_gradhealth.report import selftest
from pytest_gradhealth.report.attempts import attempts
from pytest_gradhealth.report.baseline import Baseline, Key
from pytest_gradhealth.report.escape import plain, safe_address
from pytest_gradhealth.report.store import Report, StoredCheck

__all__ = ["render_html", "require_html"]

DIGITS = 4
_FLAGS = {
    "missing": "no gradient",
    "zero_gradients": "exactly zero",
    "zero_weights": "starts at zero",
    "tied": "tied with",
}


def require_html() -> None:
    """Make sure that the ``html`` extra is there.

    Raises:
        ImportError: it is not; the message says how to install it.
    """
    try:
        import jinja2  # noqa: F401
    except ImportError as error:
        raise ImportError(f"the HTML report needs jinja2 ({error}): pip install 'pytest-gradhealth[html]'") from None


def render_html(report: Report, baseline: Baseline | None = None, *, title: str = "Gradient health") -> str:
    """The whole report as one self-contained HTML file.

    Args:
        report: what to show.
        baseline: accepted records, drawn behind the checks they belong to.
        title: heading and title of the page.

    Raises:
        ImportError: the ``html`` extra is not installed.
    """
    require_html()
    from jinja2 import Environment
    from markupsafe import Markup

    checks = [_check(number, stored, baseline) for number, stored in enumerate(report.checks)]
    _link_siblings(checks)
    verdicts = [check["verdict"] for check in checks]
    scripts = [_asset("uPlot.iife.min.js"), _asset("report.js")]
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(_asset("report.html.j2"))
    return template.render(
        title=plain(title),
        checks=checks,
        groups=list(_groups(checks)),
        sick=verdicts.count("sick"),
        well=verdicts.count("well"),
        unjudged=verdicts.count("told"),
        environment=list(_facts({**report.environment, **report.metadata, "report by": _tool(report)})),
        data=Markup(_script_data({"checks": checks})),
        style=Markup(_asset("report.css")),
        library_style=Markup(_asset("uPlot.min.css")),
        library=Markup(scripts[0]),
        script=Markup(scripts[1]),
        script_hashes=Markup(" ".join(map(_hash, scripts))),
    )


def _asset(name: str) -> str:
    return resources.files("pytest_gradhealth.report").joinpath("assets", name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _script_data(value: Any) -> str:
    """JSON inside a script element: without ``<`` nothing can close it or open a comment."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _tool(report: Report) -> str:
    return " ".join(filter(None, (report.tool.get("name"), report.tool.get("version"))))


def _check(number: int, stored: StoredCheck, baseline: Baseline | None) -> dict[str, Any]:
    check, record = stored.check, stored.check.record
    accepted = baseline.find(Key.of(stored.test, check.name, record)) if baseline else None
    file, _, rest = stored.test.partition("::")
    return {
        "id": number,
        "verdict": ("well" if check.healthy else "sick") if check.judged else "told",
        "test": plain(stored.test),
        "short": plain(rest or file),
        "file": plain(stored.file or file),
        "line": stored.line,
        "outcome": plain(stored.outcome),
        "name": plain(check.name),
        **_record(record),
        "facts": list(_facts(_circumstances(record))),
        "findings": [_finding(finding) for finding in check.findings],
        "tried": [plain(told) for told in attempts(check)],
        "selftest": _selftest(check) if check.mutants else None,
        "forecast": _forecast(check.forecast) if check.forecast else None,
        "limits": {plain(name): value for name, value in check.limits.items() if _is_number(value)},
        "rules": list(_facts(check.limits)),
        "metadata": list(_facts(check.metadata)),
        "flags": [list(_flags(layer, check.by_design)) for layer in record],
        "extra": [_extra(title, cells, record) for title, cells in check.columns.items()],
        "shadows": list(_shadows(record, accepted)),
    }


def _record(record: GradientRecord) -> dict[str, Any]:
    """One column per number: a third of the size of one object per layer."""
    return {
        "model": plain(record.model),
        "device": plain(record.device),
        "precision": plain(record.precision),
        "steps": record.steps,
        "notes": [plain(note) for note in record.notes],
        "layers": [plain(layer.name) or "(model)" for layer in record],
        "kinds": [plain(layer.kind) for layer in record],
        "shapes": ["x".join(map(str, layer.shape)) for layer in record],
        "parameters": [layer.parameters for layer in record],
        "weight": [_short(layer.weight_norm) for layer in record],
        "gain": [_short(layer.gain) for layer in record],
        "dead": [_short(layer.dead) if layer.units else None for layer in record],
        **_curves(record),
    }


def _curves(record: GradientRecord) -> dict[str, list[Any]]:
    return {name: [_short(getattr(layer, name)) for layer in record] for name in ("norm", "reach", "signal")}


def _circumstances(record: GradientRecord) -> dict[str, Any]:
    facts = {
        "model": record.model,
        "device": record.device,
        "precision": record.precision,
        "loss": _short(record.loss),
        "batches": record.batches,
        "samples": record.samples,
        "seed": record.seed,
        "torch": record.torch,
        "after steps": record.steps or None,
    }
    return {name: value for name, value in facts.items() if value not in (None, "")}


def _finding(finding: Finding) -> dict[str, Any]:
    words = {name: plain(getattr(finding, name)) for name in ("headline", "message", "cause", "remedy")}
    return {**words, "url": safe_address(finding.url), "layers": [plain(name) or "(model)" for name in finding.layers]}


def _selftest(check: Check) -> dict[str, Any]:
    """The verdict, layers by faults, the faults of the whole model, and what would find the rest."""
    seeded = [mutant for mutant in check.mutants if mutant.layer]
    outcomes = {(mutant.layer, mutant.fault): mutant.outcome for mutant in seeded}
    faults = list(dict.fromkeys(mutant.fault for mutant in seeded))
    layers = list(dict.fromkeys(mutant.layer for mutant in seeded))
    return {
        "verdict": plain(selftest.verdict(check.name, check.mutants)),
        "faults": [plain(fault) for fault in faults],
        "rows": [[plain(layer), [outcomes.get((layer, fault), "") for fault in faults]] for layer in layers],
        "whole": [[plain(mutant.fault), mutant.outcome] for mutant in check.mutants if not mutant.layer],
        "told": [plain(text) for text in selftest.remarks(check.mutants)],
    }


def _forecast(found: Projection) -> dict[str, Any]:
    return {
        "sentence": plain(found.sentence),
        "healthy": found.healthy,
        "axis": plain(found.axis),
        "target": ", ".join(f"{plain(axis)}={size}" for axis, size in found.target.items()),
        "notes": [plain(note) for note in found.notes],
        "curves": [_curve(curve) for curve in found.curves],
    }


def _curve(curve: Curve) -> dict[str, Any]:
    numbers = {name: list(map(_short, getattr(curve, name))) for name in ("measured", "low", "middle", "high")}
    return {
        "name": plain(curve.name),
        "law": plain(curve.law),
        "limitName": plain(curve.limit_name),
        "limit": _short(curve.limit),
        "breaks": curve.breaks,
        "measuredAt": list(curve.measured_at),
        "sizes": list(curve.sizes),
        **numbers,
    }


def _flags(layer: LayerGradient, designed: Mapping[str, str]) -> Iterator[str]:
    if layer.name in designed:
        yield f"healthy by design: {plain(designed[layer.name])}"
    if layer.frozen:
        yield "frozen"
    if layer.order is None:
        yield "never called"
    for name, words in (("nan", "NaN"), ("inf", "infinite")):
        count = getattr(layer, name)
        if count:
            yield f"{count} {words}"
    for name, words in _FLAGS.items():
        found = getattr(layer, name)
        # Most biases start at zero; that is worth a word only where it may explain a gradient of zero.
        if found and (name != "zero_weights" or not layer.norm):
            yield f"{words}: {plain(', '.join(found))}"


def _extra(title: str, cells: Any, record: GradientRecord) -> dict[str, Any]:
    values = cells if isinstance(cells, Mapping) else {}
    return {"title": plain(title), "cells": [plain(values.get(layer.name, "")) for layer in record]}


def _shadows(record: GradientRecord, accepted: GradientRecord | None) -> Iterator[dict[str, Any]]:
    """Other curves over the same layers: the accepted ones, and those after some optimiser steps."""
    if accepted is not None:
        elsewhere = "" if accepted.device == record.device else f" ({plain(accepted.device)})"
        yield {"label": f"baseline{elsewhere}", "style": "dots", **_aligned(accepted, record)}
    if record.later is not None:
        steps = record.later.steps
        label = f"after {steps} step{'' if steps == 1 else 's'}" if steps else "last pass"
        yield {"label": label, "style": "dash", **_aligned(record.later, record)}


def _aligned(other: GradientRecord, record: GradientRecord) -> dict[str, list[Any]]:
    known = {layer.name: layer for layer in other}
    return {
        name: [_short(getattr(known[layer.name], name)) if layer.name in known else None for layer in record]
        for name in ("norm", "reach", "signal")
    }


def _link_siblings(checks: Sequence[dict[str, Any]]) -> None:
    """Let each check know those of the same model in the same test on another device or in another precision."""
    families: dict[tuple[str, str, tuple[str, ...]], list[dict[str, Any]]] = {}
    for check in checks:
        families.setdefault((check["test"], check["model"], tuple(check["layers"])), []).append(check)
    for family in families.values():
        for check in family:
            here = (check["device"], check["precision"])
            check["siblings"] = [other["id"] for other in family if (other["device"], other["precision"]) != here]


def _groups(checks: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """What needs attention first, then file by file."""
    sick = [check for check in checks if check["verdict"] == "sick"]
    files: dict[str, list[dict[str, Any]]] = {}
    for check in checks:
        if check["verdict"] != "sick":
            files.setdefault(check["file"], []).append(check)
    if sick:
        yield {"title": "Needs attention", "sick": True, "checks": sick}
    yield from ({"title": file, "sick": False, "checks": found} for file, found in files.items())


def _facts(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        yield plain(name), plain(text)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _short(value: float | None) -> float | str | None:
    if value is None or isinstance(value, int):
        return value
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else str(value)
