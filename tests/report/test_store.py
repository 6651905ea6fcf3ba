"""The report on disk: what was written comes back, and every fault of a file is named."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import jsonschema
import pytest

from pytest_gradhealth.judge.drift import Profile
from pytest_gradhealth.record import GradientRecord, Histogram
from pytest_gradhealth.report import store
from pytest_gradhealth.report.store import Report, StoredCheck, StoreError, read_raw, read_report, write_report

ROOT = Path(store.__file__).parents[2]


def test_what_is_written_is_read_back(report, tmp_path):
    write_report(tmp_path / "new" / "report.json", report)
    found = read_report(tmp_path / "new" / "report.json")
    # NaN equals nothing, so the text is compared.
    assert repr(found) == repr(report)
    assert found.checks[1].check.record.later is not None
    assert list(tmp_path.joinpath("new").iterdir()) == [tmp_path / "new" / "report.json"]


def test_histograms_are_not_stored(make_stored, make_record, make_layer, tmp_path):
    spread = Histogram(lowest=0.0, highest=1.0, total=1.0, squares=1.0, edges=(1.0,), counts=(2,))
    with_histograms, without = (
        make_record(make_layer("fc", 0, histogram=found), later=make_record(make_layer("fc", 0, histogram=found)))
        for found in (spread, None)
    )
    write_report(tmp_path / "report.json", Report(checks=(make_stored(record=with_histograms),)))
    assert read_report(tmp_path / "report.json").checks[0].check.record == without


def test_the_document_fits_the_published_schema(report, tmp_path):
    write_report(tmp_path / "report.json", report)
    schema = store.report_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    document = json.loads(tmp_path.joinpath("report.json").read_text(encoding="utf-8"))
    validator.validate(document)
    document["checks"][0]["record"]["layers"][0]["norm"] = "large"
    assert not validator.is_valid(document)


def test_the_schema_is_the_dataclasses():
    spec = importlib.util.spec_from_file_location("report_schema", ROOT / "tools" / "report_schema.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.TARGET.read_text(encoding="utf-8") == module.text(), "run python tools/report_schema.py"


def test_the_quick_reader_leaves_out_what_compare_does_not_need(report, tmp_path):
    write_report(tmp_path / "report.json", report)
    whole = json.loads(tmp_path.joinpath("report.json").read_text(encoding="utf-8"))
    quick = read_raw(tmp_path / "report.json")
    assert whole["checks"][1]["record"].pop("signals")
    assert whole["checks"][1]["record"].pop("later")
    needed = {"name", "kind", "shape", "norm", "reach", "signal", "gain", "weight_norm"}
    for check in whole["checks"]:
        record = check["record"]
        record["layers"] = [{name: layer[name] for name in needed & layer.keys()} for layer in record["layers"]]
    assert quick == whole


def test_the_quick_reader_leaves_compare_what_it_needs(report, tmp_path):
    write_report(tmp_path / "report.json", report)
    whole = json.loads(tmp_path.joinpath("report.json").read_text(encoding="utf-8"))
    for quick, slow in zip(read_raw(tmp_path / "report.json")["checks"], whole["checks"], strict=True):
        assert Profile.load(quick["record"]) == Profile.load(slow["record"])


@pytest.mark.parametrize("name", ["a,  ", ',  "b": {}', ",  \n}", "a,  }"])
def test_the_quick_reader_is_not_misled_by_names(name, make_stored, make_record, make_layer, tmp_path):
    record = make_record(make_layer(name, 0), make_layer("other", 1))
    write_report(tmp_path / "report.json", Report(checks=(make_stored(name, record=record, check=name),)))
    (check,) = read_raw(tmp_path / "report.json")["checks"]
    assert (check["name"], check["test"]) == (name, f"tests/test_model.py::{name}")
    assert Profile.load(check["record"]) == Profile.load(record.to_dict())


def test_the_quick_reader_reads_any_layout(report, tmp_path):
    write_report(tmp_path / "report.json", report)
    document = json.loads(tmp_path.joinpath("report.json").read_text(encoding="utf-8"))
    for indent in (None, 1, 3):
        tmp_path.joinpath("other.json").write_text(json.dumps(document, indent=indent), encoding="utf-8-sig")
        names = [layer["name"] for layer in read_raw(tmp_path / "other.json")["checks"][1]["record"]["layers"]]
        assert names == ["fc0", "fc1"]
        assert repr(read_report(tmp_path / "other.json")) == repr(report)


def test_names_may_hold_anything(hostile, make_stored, make_layer, make_record, tmp_path):
    layers = tuple(make_layer(name, order) for order, name in enumerate(hostile))
    checks = tuple(make_stored(name, record=make_record(*layers)) for name in hostile)
    write_report(tmp_path / "report.json", Report(checks=checks))
    assert read_report(tmp_path / "report.json").checks == checks
    assert len(read_raw(tmp_path / "report.json")["checks"]) == len(hostile)


def test_metadata_with_numbers_that_json_lacks_stays_json(tmp_path):
    write_report(tmp_path / "report.json", Report(metadata={"best": float("inf"), "runs": (1, 2)}))
    text = tmp_path.joinpath("report.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=pytest.fail)["metadata"] == {"best": "inf", "runs": [1, 2]}


def test_a_failed_write_leaves_the_old_file_and_no_other(report, tmp_path):
    path = tmp_path / "report.json"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(TypeError):
        write_report(path, Report(metadata={"bad": object()}))
    path.unlink()
    path.mkdir()
    with pytest.raises((IsADirectoryError, PermissionError)):
        write_report(path, report)
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_of_the_old_file_keeps_it_whole(report, tmp_path):
    path = tmp_path / "report.json"
    path.write_text("old and long", encoding="utf-8")
    with path.open(encoding="utf-8") as old:
        assert old.read(3) == "old"
        write_report(path, report)
        assert old.read() == " and long"
    assert read_report(path).checks[0].test == report.checks[0].test


def test_a_link_keeps_pointing_to_its_file(report, tmp_path):
    tmp_path.joinpath("link.json").symlink_to(tmp_path / "real.json")
    write_report(tmp_path / "link.json", report)
    assert tmp_path.joinpath("link.json").is_symlink()
    assert len(read_report(tmp_path / "real.json").checks) == 2


FAULTS = {
    "": "is empty",
    "{": "cut short",
    "[1, 2": "cut short",
    '{"schema": 1, "checks": [{"test": "a': "cut short",
    "not json": "1:1: not JSON",
    '{\n<<<<<<< HEAD\n "schema": 1,\n=======\n>>>>>>> other\n}': ":2: holds a merge conflict",
    "[]": "not a gradhealth report",
    '{"checks": []}': "schema: expected",
    '{"schema": "1", "checks": []}': "schema: expected",
    '{"schema": true, "checks": []}': "schema: expected",
    '{"schema": 2, "checks": []}': "upgrade pytest-gradhealth",
    '{"schema": 1, "checks": {}}': "checks: expected an array",
    '{"schema": 1, "checks": [3]}': "checks[0]: expected",
    '{"schema": 1, "checks": [{"test": "a", "name": "b", "record": []}]}': "checks[0]",
    "[" * 100_000: "nested too deeply",
    '{"schema": 1, "checks": [' + "9" * 5000 + "]}": "digits",
}


@pytest.mark.parametrize("text", FAULTS, ids=list(FAULTS.values()))
def test_a_broken_file_is_named_with_the_way_out(text, tmp_path):
    path = tmp_path / "broken.json"
    path.write_text(text, encoding="utf-8")
    for read in (read_report, read_raw):
        with pytest.raises(StoreError) as error:
            read(path)
        assert FAULTS[text] in str(error.value)
        assert str(path) in str(error.value)


def test_a_file_that_is_no_text_or_no_file_is_named(tmp_path):
    tmp_path.joinpath("bytes.json").write_bytes(b"\xff\xfe\x00")
    for name, words in (("bytes.json", "not UTF-8"), ("none.json", "no such file"), (".", "is not a file")):
        with pytest.raises(StoreError, match=words):
            read_report(tmp_path / name)
    with pytest.raises(StoreError):
        read_report("a\0b")


def test_a_huge_file_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "LARGEST_FILE", 10)
    tmp_path.joinpath("big.json").write_text("x" * 11, encoding="utf-8")
    with pytest.raises(StoreError, match="only files up to"):
        read_report(tmp_path / "big.json")


@pytest.mark.parametrize(
    ("path", "value", "place"),
    [
        (("line",), "12", "checks[0].line: expected integer, got '12'"),
        (("record", "layers", 1, "norm"), "big", "checks[0].record.layers[1].norm"),
        (("record", "layers", 0, "name"), None, "checks[0].record.layers[0].name: expected string"),
        (("record", "layers", 0, "name"), "fc1", "checks[0]: layer names must be unique"),
        (("record", "layers"), {}, "checks[0].record.layers: expected array, got an object"),
        (("record", "layers", 0, "shape"), [1.5], "checks[0].record.layers[0].shape[0]"),
        (("findings",), [{"kind": "x"}], "checks[0].findings[0]: 'layers' is missing"),
        (("by_design",), {"fc0": 3}, "checks[0].by_design.fc0"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(path, value, place, make_stored, tmp_path):
    document = {"schema": 1, "checks": [make_stored().to_dict()]}
    target = document["checks"][0]
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    tmp_path.joinpath("report.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(StoreError) as error:
        read_report(tmp_path / "report.json")
    assert place in str(error.value)


def test_unknown_keys_of_a_later_minor_change_are_ignored(make_stored, tmp_path):
    data = make_stored().to_dict()
    data["colour"] = data["record"]["layers"][0]["colour"] = "red"
    tmp_path.joinpath("report.json").write_text(json.dumps({"schema": 1, "checks": [data]}), encoding="utf-8")
    assert read_report(tmp_path / "report.json").checks == (make_stored(),)


def test_a_stored_check_needs_no_layers(tmp_path):
    check = StoredCheck.from_dict({"test": "t", "file": "f", "name": "N", "record": {"model": "N"}})
    assert check.line == 0
    assert isinstance(check.check.record, GradientRecord)
    write_report(tmp_path / "report.json", Report(checks=(check,)))
    assert read_report(tmp_path / "report.json").checks == (check,)
