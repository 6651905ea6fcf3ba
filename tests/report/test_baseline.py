"""The baseline file: what a reviewer sees of it, and what an update leaves alone."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from pytest_gradhealth.judge.drift import drift
from pytest_gradhealth.report.baseline import Baseline, Key, accept_command, read_baseline, update_baseline
from pytest_gradhealth.report.store import StoreError, write_report

KEY = Key("tests/test_model.py::test_net", "Net", "cpu", "float32")


def test_what_is_accepted_does_not_drift_afterwards(make_stored, tmp_path):
    assert update_baseline(tmp_path / "base.json", [make_stored()]) == (KEY,)
    found = read_baseline(tmp_path / "base.json").find(KEY)
    assert found is not None
    assert drift(make_stored().check.record, found, 1.01) == []
    assert (found.torch, found.seed, found.loss) == ("2.13.0", 0, 2.3)
    assert found["fc0"].shape == (8, 8)


def test_the_file_has_one_short_line_per_layer_and_sorted_keys(make_stored, make_record, make_layer, tmp_path):
    record = make_record(make_layer("z", 0, norm=0.0123456789), make_layer("a", 1, norm=None, signal=float("nan")))
    update_baseline(tmp_path / "base.json", [make_stored(name, record=record) for name in ("test_b", "test_a")])
    text = tmp_path.joinpath("base.json").read_text(encoding="utf-8")
    lines = [line.strip() for line in text.splitlines()]
    start = '"z": {"kind": "Linear", "shape": [8, 8], "norm": 0.01235, "reach": 1, "signal": 0.05, "gain": 0.9'
    assert sum(line.startswith(start) for line in lines) == 2
    assert list(json.loads(text)["checks"]) == ["tests/test_model.py::test_a", "tests/test_model.py::test_b"]
    entry = read_baseline(tmp_path / "base.json").records[replace(KEY, test="tests/test_model.py::test_a")]
    assert entry.names == ("z", "a"), "layers keep their forward order"
    assert entry["a"].norm is None


def test_an_update_touches_what_ran_and_deletes_nothing(make_stored, make_record, scale, tmp_path):
    path = tmp_path / "base.json"
    cuda = make_record(device="cuda")
    update_baseline(path, [make_stored("test_a"), make_stored("test_b"), make_stored("test_a", record=cuda)])
    before = path.read_text(encoding="utf-8").splitlines()
    changed = update_baseline(path, [make_stored("test_a", record=scale(make_record(), {"fc3": 2.0}))])
    after = path.read_text(encoding="utf-8").splitlines()
    assert [(key.test, key.device) for key in changed] == [("tests/test_model.py::test_a", "cpu")]
    different = [new for old, new in zip(before, after, strict=True) if old != new]
    assert len(different) == 1
    assert '"fc3"' in different[0]


def test_rounding_does_not_fill_the_diff(make_stored, make_record, scale, tmp_path):
    path = tmp_path / "base.json"
    update_baseline(path, [make_stored()])
    written = path.stat().st_mtime_ns, path.read_bytes()
    assert update_baseline(path, [make_stored(record=scale(make_record(), {"fc1": 1.004}))]) == ()
    assert (path.stat().st_mtime_ns, path.read_bytes()) == written
    assert update_baseline(path, [make_stored(record=make_record(torch="2.14.0"))]) == (KEY,)


def test_another_device_stands_in_and_the_same_one_comes_first(make_record):
    records = {replace(KEY, device="cuda"): make_record(device="cuda")}
    records[replace(KEY, precision="bfloat16")] = make_record(precision="bfloat16")
    baseline = Baseline(records)
    assert baseline.find(KEY) == make_record(device="cuda")
    assert Baseline({**records, KEY: make_record()}).find(KEY) == make_record()
    assert baseline.find(replace(KEY, test="other")) is None
    assert baseline.find(replace(KEY, check="Other")) is None


def test_names_may_hold_anything(hostile, make_stored, make_layer, make_record, tmp_path):
    record = make_record(*(make_layer(name, order) for order, name in enumerate(hostile)))
    checks = [make_stored(name, record=record, check=name) for name in hostile]
    update_baseline(tmp_path / "base.json", checks)
    found = read_baseline(tmp_path / "base.json")
    assert sorted(found.records) == sorted(Key.of(item.test, item.check.name, record) for item in checks)
    assert all(drift(record, entry) == [] for entry in found.records.values())


def test_a_missing_file_is_an_error_unless_it_is_to_be_made(tmp_path):
    with pytest.raises(StoreError, match="no such file"):
        read_baseline(tmp_path / "none.json")
    assert read_baseline(tmp_path / "none.json", missing_ok=True) == Baseline()


ENTRY = '{"layers": {"a": {"kind": "Linear", "norm": 1}}}'
FAULTS = {
    '{"schema": 1, "checks": {\n<<<<<<< HEAD\n': ":2: holds a merge conflict",
    '{"schema": 1, "checks": {"t"': "cut short",
    "[]": "the document: expected object",
    '{"schema": 9, "checks": {}}': "upgrade",
    '{"schema": 0, "checks": {}}': "schema: expected at least 1",
    '{"schema": 1, "checks": {"t": {"Net": ' + ENTRY + "}}}": "expected a key as in",
    '{"schema": 1, "checks": {"t": {"N, cpu, f": ' + ENTRY + ', "N, cpu, f": ' + ENTRY + "}}}": "is there twice",
    '{"schema": 1, "checks": {"t": {"N, cpu, f": {"layers": []}}}}': "layers: expected object, got an array",
    '{"schema": 1, "checks": {"t": {"N, cpu, f": {"layers": {"a": {"kind": "L", "norm": "1"}}}}}}': ".norm: expected",
    '{"schema": 1, "checks": {"t": {"N, cpu, f": {"layers": {"a": {"kind": "L", "norm": 1'
    + "0" * 400
    + "}}}}}}": "large",
    '{"schema": 1, "checks": {"t": {"N, cpu, f": {"layers": {"a": {"kind": "L", "shape": [-1]}}}}}}': "at least 0",
    '{"a":' * 100_000: "nested too deeply",
}


@pytest.mark.parametrize("text", FAULTS, ids=list(FAULTS.values()))
def test_a_broken_baseline_is_named_and_left_alone(text, make_stored, tmp_path):
    path = tmp_path / "base.json"
    path.write_text(text, encoding="utf-8")
    for use in (lambda: read_baseline(path), lambda: update_baseline(path, [make_stored()])):
        with pytest.raises(StoreError) as error:
            use()
        assert FAULTS[text] in str(error.value)
        assert str(path) in str(error.value)
    assert path.read_text(encoding="utf-8") == text


def test_a_report_is_not_mistaken_for_a_baseline(report, tmp_path):
    write_report(tmp_path / "report.json", report)
    with pytest.raises(StoreError, match="is a report, not a baseline"):
        read_baseline(tmp_path / "report.json")


def test_the_command_that_accepts_can_be_pasted():
    command = accept_command("my base.json", "tests/test_a.py::test_x[a b]")
    assert command == "pytest 'tests/test_a.py::test_x[a b]' '--gradhealth-baseline=my base.json' --gradhealth-update"
