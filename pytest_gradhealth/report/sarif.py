"""The findings as SARIF 2.1.0, which code scanning shows at the line at fault, or at the test that found it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from pytest_gradhealth.judge.registry import find_rule
from pytest_gradhealth.record import Finding, docs_url
from pytest_gradhealth.report.escape import plain
from pytest_gradhealth.report.store import Report, StoredCheck

__all__ = ["render_sarif"]

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def render_sarif(report: Report) -> str:
    """One SARIF run: a rule for each kind of finding, and a result for each finding."""
    found = [(stored, finding) for stored in report.checks for finding in stored.check.findings]
    kinds = sorted({plain(finding.kind) for _, finding in found})  # no two rules may read the same
    log = {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": _driver(report.tool, kinds)},
                "columnKind": "unicodeCodePoints",
                "originalUriBaseIds": {"SRCROOT": {"description": {"text": "The root of the tests."}}},
                "results": list(_results(found, kinds)),
            }
        ],
    }
    return json.dumps(log, indent=1, ensure_ascii=False) + "\n"


def _driver(tool: Mapping[str, str], kinds: Sequence[str]) -> dict[str, Any]:
    name, version = tool.get("name", "pytest-gradhealth"), tool.get("version", "")
    return {"name": name, **({"version": version} if version else {}), "rules": [_rule(kind) for kind in kinds]}


def _rule(kind: str) -> dict[str, Any]:
    rule = find_rule(kind)
    text = rule.summary if rule else f"An extension of this project found {kind}."
    remedies = " ".join(rule.remedies) if rule else ""
    return {
        "id": _rule_id(kind),
        "name": "".join(word.capitalize() for word in re.findall(r"\w+", kind)) or "Finding",
        "shortDescription": {"text": rule.title.capitalize() if rule else kind.capitalize()},
        "fullDescription": {"text": text},
        "help": {"text": f"{text} {remedies} The result's message names the layer, the cause and the remedy."},
        **({"helpUri": docs_url(kind)} if rule else {}),
        "defaultConfiguration": {"level": "error"},
        "properties": {"tags": ["gradients", "training"]},
    }


def _rule_id(kind: str) -> str:
    """The code; of an extension's rule, its kind."""
    rule = find_rule(kind)
    return rule.code if rule else f"gradhealth/{kind}"


def _results(found: Iterable[tuple[StoredCheck, Finding]], kinds: Sequence[str]) -> Iterable[dict[str, Any]]:
    for stored, finding in found:
        kind = plain(finding.kind)
        yield {
            "ruleId": _rule_id(kind),
            "ruleIndex": kinds.index(kind),
            "level": "note" if stored.outcome == "xfailed" else "error",
            "message": {"text": _message(stored, finding)},
            "locations": [_location(stored, finding)],
            **_test(stored, finding),
            "partialFingerprints": {"gradhealth/v1": _fingerprint(stored, finding)},
            "properties": _properties(stored, finding),
        }


def _message(stored: StoredCheck, finding: Finding) -> str:
    reasons = (("Cause", finding.cause), ("Remedy", finding.remedy))
    sentences = [f"{stored.check.name}: {finding.message}", *(f"{name}: {text}" for name, text in reasons if text)]
    # Brackets would be read as links.
    return ". ".join(plain(sentence).rstrip(".") for sentence in sentences).translate({91: "\\[", 93: "\\]"}) + "."


def _location(stored: StoredCheck, finding: Finding) -> dict[str, Any]:
    physical = _physical(*(finding.place or (stored.file, stored.line)))
    names = [stored.test, *finding.layers[:1]]
    logical = [
        {"fullyQualifiedName": plain(name), "kind": kind}
        for name, kind in zip(names, ("function", "member"), strict=False)
    ]
    return {"physicalLocation": physical, "logicalLocations": logical}


def _physical(file: str, line: int) -> dict[str, Any]:
    uri = quote(file.encode("utf-8", "surrogatepass"), safe="/-._~")
    place: dict[str, Any] = {"artifactLocation": {"uri": uri, "uriBaseId": "SRCROOT"}}
    return {**place, "region": {"startLine": line}} if line > 0 else place


def _test(stored: StoredCheck, finding: Finding) -> dict[str, Any]:
    """The test, where the result points at the code that it has found."""
    if finding.place is None:
        return {}
    told = {
        "physicalLocation": _physical(stored.file, stored.line),
        "message": {"text": f"found by {plain(stored.test)}"},
    }
    return {"relatedLocations": [told]}


def _fingerprint(stored: StoredCheck, finding: Finding) -> str:
    """The same finding in the next run, whatever its numbers are."""
    record = stored.check.record
    parts = (stored.test, stored.check.name, record.device, record.precision, finding.kind, finding.layer)
    return sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _properties(stored: StoredCheck, finding: Finding) -> dict[str, Any]:
    record = stored.check.record
    numbers = {name: value for name, value in finding.to_dict().items() if name in ("value", "limit", "limit_name")}
    layers = [plain(name) for name in finding.layers]
    return {
        "test": plain(stored.test),
        "device": record.device,
        "precision": record.precision,
        "layers": layers,
        **numbers,
    }
