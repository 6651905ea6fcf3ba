"""SARIF for code scanning, junit properties, TensorBoard's event files."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace

import jsonschema
import pytest

from pytest_gradhealth.record import Histogram
from pytest_gradhealth.report.junit import properties
from pytest_gradhealth.report.sarif import render_sarif
from pytest_gradhealth.report.store import Report
from pytest_gradhealth.report.tensorboard import require_tensorboard, write_tensorboard


def strict(**fields):
    return {"type": "object", "additionalProperties": False, "properties": fields, "required": list(fields)}


TEXT = {"type": "string", "minLength": 1}
MESSAGE = strict(text=TEXT)
PLACE = strict(
    artifactLocation=strict(uri={"type": "string", "pattern": "^[^/\\s\\\\<>|]+(/[^/\\s\\\\<>|]+)*$"}, uriBaseId=TEXT)
)
PLACE["properties"]["region"] = strict(startLine={"type": "integer", "minimum": 1})
RULE = strict(
    id=TEXT,
    name=TEXT,
    shortDescription=MESSAGE,
    fullDescription=MESSAGE,
    help=MESSAGE,
    defaultConfiguration=strict(level={"enum": ["none", "note", "warning", "error"]}),
    properties=strict(tags={"type": "array", "uniqueItems": True, "items": TEXT}),
)
RULE["properties"]["helpUri"] = {"type": "string", "pattern": "^https://"}
RESULT = strict(
    ruleId=TEXT,
    ruleIndex={"type": "integer", "minimum": 0},
    level={"enum": ["none", "note", "warning", "error"]},
    message=MESSAGE,
    locations={
        "type": "array",
        "items": strict(
            physicalLocation=PLACE,
            logicalLocations={
                "type": "array",
                "uniqueItems": True,
                "items": strict(fullyQualifiedName=TEXT, kind=TEXT),
            },
        ),
    },
    partialFingerprints={"type": "object", "additionalProperties": TEXT},
    properties={"type": "object"},
)
RESULT["properties"]["relatedLocations"] = {"type": "array", "items": strict(physicalLocation=PLACE, message=MESSAGE)}
RUN = strict(
    tool=strict(driver=strict(name=TEXT, version=TEXT, rules={"type": "array", "uniqueItems": True, "items": RULE})),
    columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
    originalUriBaseIds={"type": "object", "additionalProperties": strict(description=MESSAGE)},
    results={"type": "array", "items": RESULT},
)
SARIF = strict(**{"$schema": TEXT, "version": {"const": "2.1.0"}, "runs": {"type": "array", "items": RUN}})
"""The part of OASIS's sarif-schema-2.1.0.json (errata 01) that is used, with nothing else allowed."""


def test_sarif_has_one_result_per_finding_at_the_tests_line(report, vanishing):
    log = json.loads(render_sarif(report))
    jsonschema.validate(log, SARIF)
    (run,) = log["runs"]
    (rule,) = run["tool"]["driver"]["rules"]
    assert rule["id"] == "GH101"
    assert rule["helpUri"].endswith("/vanishing-gradient.md")
    assert "learn slowly" in rule["help"]["text"]
    (result,) = run["results"]
    assert result["ruleId"] == rule["id"]
    place = result["locations"][0]["physicalLocation"]
    assert (place["artifactLocation"]["uri"], place["region"]) == ("tests/test_model.py", {"startLine": 12})
    for text in (vanishing.message, vanishing.cause, vanishing.remedy):
        assert text in result["message"]["text"]


@pytest.mark.parametrize(
    ("where", "place"),
    [
        ("models/net.py:9", ("models/net.py", 9)),
        ("/elsewhere/net.py:9", ("tests/test_model.py", 12)),
        ("../net.py:9", ("tests/test_model.py", 12)),
        ("net.py:nine", ("tests/test_model.py", 12)),
    ],
)
def test_sarif_points_at_the_code_at_fault_and_names_the_test(where, place, make_stored, vanishing):
    log = json.loads(render_sarif(Report(checks=(make_stored(findings=(replace(vanishing, where=where),)),))))
    jsonschema.validate(log, SARIF)
    (result,) = log["runs"][0]["results"]
    physical = result["locations"][0]["physicalLocation"]
    assert (physical["artifactLocation"]["uri"], physical["region"]["startLine"]) == place
    related = [told["physicalLocation"]["artifactLocation"]["uri"] for told in result.get("relatedLocations", ())]
    assert related == (["tests/test_model.py"] if place[1] == 9 else [])


def test_sarif_survives_any_name_and_keeps_fingerprints(hostile, make_stored, vanishing):
    def log(value: float):
        checks = [
            make_stored(
                name,
                file=f"tests/{name.replace('/', '_')}",
                line=0,
                findings=(replace(vanishing, kind=name, value=value),),
            )
            for name in hostile
        ]
        return json.loads(render_sarif(Report(checks=tuple(checks))), parse_constant=pytest.fail)

    first, second = log(1.0), log(math.inf)
    jsonschema.validate(first, SARIF)
    results = first["runs"][0]["results"]
    assert all("region" not in result["locations"][0]["physicalLocation"] for result in results)
    assert [r["partialFingerprints"] for r in results] == [
        r["partialFingerprints"] for r in second["runs"][0]["results"]
    ]
    assert len({r["partialFingerprints"]["gradhealth/v1"] for r in results}) == len(hostile)


def test_sarif_has_one_rule_for_kinds_that_read_the_same(make_stored, vanishing):
    kinds = ("too spiky", "too\nspiky", "too\tspiky")
    checks = tuple(make_stored(findings=(replace(vanishing, kind=kind),)) for kind in kinds)
    log = json.loads(render_sarif(Report(checks=checks)))
    jsonschema.validate(log, SARIF)
    assert [rule["id"] for rule in log["runs"][0]["tool"]["driver"]["rules"]] == ["gradhealth/too spiky"]


def test_sarif_without_findings_is_an_empty_run(make_stored):
    log = json.loads(render_sarif(Report(checks=(make_stored(),))))
    jsonschema.validate(log, SARIF)
    assert log["runs"][0]["results"] == []


def test_an_expected_failure_is_a_note(make_stored, vanishing):
    log = json.loads(render_sarif(Report(checks=(make_stored(findings=(vanishing,), outcome="xfailed"),))))
    assert log["runs"][0]["results"][0]["level"] == "note"


def test_properties_are_flat_texts(make_stored, vanishing):
    found = dict(properties(make_stored(findings=(vanishing,)).check))
    assert found["gradhealth.Net.verdict"] == "unhealthy"
    assert found["gradhealth.Net.findings"] == "vanishing-gradient"
    assert found["gradhealth.Net.culprit"] == "fc1"
    assert found["gradhealth.Net.lowest_reach"] == "0.125"
    assert found["gradhealth.Net.weakest_norm"] == "0.1"
    assert all(isinstance(value, str) for value in found.values())
    assert dict(properties(make_stored().check))["gradhealth.Net.verdict"] == "healthy"


def read_back(folder):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"histograms": 0, "scalars": 0})
    events.Reload()
    return events


@pytest.fixture
def tensorboard():
    return pytest.importorskip("tensorboard")


def test_tensorboard_reads_scalars_by_layer_and_step(tensorboard, make_stored, make_record, scale, tmp_path):
    later = replace(scale(make_record(), {"fc3": 2.0}), steps=1)
    (folder,) = write_tensorboard(tmp_path, Report(checks=(make_stored(record=replace(make_record(), later=later)),)))
    events = read_back(folder)
    points = [(point.step, pytest.approx(point.value)) for point in events.Scalars("gradient_norm/fc3")]
    assert points == [(0, 0.13), (1, 0.26)]
    tags = set(events.Tags()["scalars"])
    assert {f"{group}/fc{i}" for group in ("gradient_norm", "reach", "signal") for i in range(8)} <= tags
    assert events.Scalars("loss")[0].value == pytest.approx(2.3)


def test_tensorboard_reads_the_gradients_histogram(tensorboard, make_stored, make_record, make_layer, tmp_path):
    edges, counts = (-0.5, 0.0, 0.5, 1.0), (3, 5, 0, 2)
    spread = Histogram(lowest=-1.0, highest=1.0, total=-0.5, squares=4.0, edges=edges, counts=counts)
    layer = make_layer("fc", 0, norm=2.0, histogram=spread)
    (folder,) = write_tensorboard(tmp_path, Report(checks=(make_stored(record=make_record(layer)),)))
    (point,) = read_back(folder).Histograms("gradients/fc")
    found = point.histogram_value
    assert (found.min, found.max, found.num, found.sum, found.sum_squares) == (-1.0, 1.0, 10.0, -0.5, 4.0)
    assert (tuple(found.bucket), tuple(found.bucket_limit)) == (counts, edges)


def test_tensorboard_shows_the_spread_over_layers(tensorboard, make_stored, make_record, make_layer, tmp_path):
    layers = [make_layer(f"l{i}", i, norm=10.0**-i) for i in range(4)]
    layers += [make_layer("zero", 8, norm=0.0), make_layer("none", 9, norm=None), make_layer("nan", 7, norm=math.nan)]
    (folder,) = write_tensorboard(tmp_path, Report(checks=(make_stored(record=make_record(*layers)),)))
    events = read_back(folder)
    (point,) = events.Histograms("gradient_norm over all layers (power of ten)")
    assert (point.histogram_value.num, point.histogram_value.min, point.histogram_value.max) == (4, -3, 0)
    assert "gradient_norm/none" not in events.Tags()["scalars"]
    assert math.isnan(events.Scalars("gradient_norm/nan")[0].value)


def test_tensorboard_keeps_checks_apart_and_inside_the_folder(tensorboard, hostile, make_stored, make_record, tmp_path):
    checks = [make_stored(name) for name in (*hostile, "../../up", "x" * 500)]
    checks.append(make_stored(hostile[0], record=make_record(device="cuda")))
    folders = write_tensorboard(tmp_path / "logs", Report(checks=tuple(checks)))
    assert len(set(folders)) == len(checks)
    assert {folder.resolve().parent for folder in folders} == {(tmp_path / "logs").resolve()}
    assert all(any(folder.iterdir()) for folder in folders)


def test_a_missing_tensorboard_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ImportError, match=r"pip install 'pytest-gradhealth\[tensorboard\]'"):
        require_tensorboard()
