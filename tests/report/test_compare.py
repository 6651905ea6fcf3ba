"""Two reports side by side, from the command line as the Action uses it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace

import pytest

from pytest_gradhealth.__main__ import main
from pytest_gradhealth.report.store import Report, write_report


@pytest.fixture
def compare(tmp_path, capsys):
    """Write two reports, compare them, and give the exit code and what was printed."""

    def run(base, head, *options):
        write_report(tmp_path / "base.json", Report(checks=tuple(base)))
        write_report(tmp_path / "head.json", Report(checks=tuple(head)))
        code = main(["compare", str(tmp_path / "base.json"), str(tmp_path / "head.json"), *options])
        out = capsys.readouterr().out
        return code, json.loads(out) if "json" in options else out

    return run


def test_the_same_report_is_the_same(compare, make_stored):
    code, found = compare([make_stored()], [make_stored()], "--format", "json")
    assert (code, found["outcome"], found["regressions"], found["worst"]) == (0, "same", [], None)
    assert found["schema"] == 1
    assert found["head"] == {**found["base"], "path": found["head"]["path"]}
    assert found["head"]["torch"] == ["2.13.0"]


def test_a_moved_layer_is_a_regression_with_both_numbers(compare, make_stored, make_record, scale):
    weak = make_stored(record=scale(make_record(), {"fc3": 0.1}))
    code, found = compare([make_stored()], [weak], "--format", "json")
    assert (code, found["outcome"]) == (1, "regression")
    assert found["worst"] == found["regressions"][0]
    norm = next(item for item in found["regressions"] if item["quantity"] == "norm")
    wanted = {"test": weak.test, "check": "Net", "layer": "fc3", "kind": "drift", "file": weak.file, "line": 12}
    assert norm.items() >= {**wanted, "device": "cpu", "precision": "float32", "base": 0.13, "head": 0.013}.items()
    assert norm["factor"] == pytest.approx(10, rel=1e-4)


def test_nothing_is_to_be_accepted_where_two_reports_are_compared(compare, make_stored, make_record, scale):
    weak, loud = scale(make_record(), {"fc3": 0.1}), scale(make_record(), {"*": 9.0})
    base, head = (
        [make_stored(name, record=found) for name, found in pairs]
        for pairs in ([("a", make_record()), ("b", make_record())], [("a", weak), ("b", loud)])
    )
    _, text = compare(base, head)
    assert "remedy: look at what changed in or behind fc3\n" in text
    assert "remedy: divide the loss by the factor, or scale the learning rate\n" in text


def test_the_limit_is_an_option(compare, make_stored, make_record, scale):
    weak = make_stored(record=scale(make_record(), {"fc3": 0.1}))
    assert compare([make_stored()], [weak], "--max-drift", "11")[0] == 0
    assert compare([make_stored()], [weak], "--max-drift", "9")[0] == 1


def test_a_new_finding_is_a_regression_and_an_old_one_is_not(compare, make_stored, vanishing):
    sick = make_stored(findings=(vanishing,))
    code, found = compare([make_stored()], [sick], "--format", "json")
    assert code == 1
    assert found["regressions"][0]["kind"] == "vanishing-gradient"
    assert found["regressions"][0]["layer"] == "fc1"
    assert found["regressions"][0]["cause"] == vanishing.cause
    code, found = compare([sick], [sick], "--format", "json")
    assert (code, found["outcome"], found["head"]["unhealthy"]) == (0, "same", 1)


def test_a_cured_check_is_an_improvement_though_its_numbers_moved(compare, make_stored, make_record, scale, vanishing):
    cured = make_stored(record=scale(make_record(), {"fc0": 1e6}))
    code, found = compare([make_stored(findings=(vanishing,))], [cured], "--format", "json")
    assert (code, found["outcome"]) == (0, "improved")
    assert [item["kind"] for item in found["improvements"]] == ["vanishing-gradient"]


def test_a_finding_follows_a_renamed_layer(compare, make_stored, make_record, vanishing):
    renamed = make_record(*(replace(item, name=f"net.{item.name}") for item in make_record()))
    head = make_stored(record=renamed, findings=(replace(vanishing, layers=("net.fc1",)),))
    code, found = compare([make_stored(findings=(vanishing,))], [head], "--format", "json")
    assert code == 0
    assert {"base": "fc1", "head": "net.fc1"}.items() <= found["layers"]["renamed"][1].items()


def test_new_and_removed_checks_are_told_and_a_sick_new_one_counts(compare, make_stored, vanishing):
    old, new = make_stored("test_old"), make_stored("test_new")
    code, found = compare([make_stored(), old], [make_stored(), new], "--format", "json")
    assert code == 0
    assert [item["test"] for item in found["checks"]["new"]] == [new.test]
    assert [item["test"] for item in found["checks"]["removed"]] == [old.test]
    assert compare([old], [old, make_stored("test_new", findings=(vanishing,))])[0] == 1


def test_the_same_check_on_another_device_is_compared_and_said(compare, make_stored, make_record):
    code, found = compare([make_stored()], [make_stored(record=make_record(device="cuda"))], "--format", "json")
    assert (code, found["checks"]) == (0, {"new": [], "removed": []})
    assert found["notes"] == [{"text": "device is cuda, the baseline's is cpu", "checks": 1}]


def test_devices_are_kept_apart(compare, make_stored, make_record, scale):
    cuda = make_stored(record=make_record(device="cuda"))
    weak = make_stored(record=scale(make_record(device="cuda"), {"fc3": 0.1}))
    _, found = compare([make_stored(), cuda], [make_stored(), weak], "--format", "json")
    assert {item["device"] for item in found["regressions"]} == {"cuda"}


def test_a_new_finding_has_its_code_its_page_and_the_line_at_fault(compare, make_stored, vanishing):
    found = replace(vanishing, where="models/net.py:9", url="https://example.org/GH101")
    _, told = compare([make_stored()], [make_stored(findings=(found,))], "--format", "json")
    (change,) = [change for change in told["regressions"] if change["kind"] != "drift"]
    assert (change["code"], change["url"]) == ("GH101", found.url)
    assert (change["file"], change["line"]) == ("models/net.py", 9)
    _, text = compare([make_stored()], [make_stored(findings=(found,))])
    assert "GH101 vanishing-gradient fc1: " in text
    assert f"docs: {found.url}" in text
    _, commands = compare([make_stored()], [make_stored(findings=(found,))], "--format", "github")
    assert commands.startswith("::error file=models/net.py,line=9,")


def test_text_names_the_worst_first_and_counts_the_rest(compare, make_stored, make_record, scale):
    many = [make_stored(f"test_{i}", record=scale(make_record(), {"fc3": 10.0 ** -(i % 3 + 1)})) for i in range(30)]
    _, text = compare([make_stored(f"test_{i}") for i in range(30)], many)
    assert text.startswith("30 checks got worse (30 checks against 30); worst: tests/test_model.py::test_2 ")
    assert "1000x less" in text.splitlines()[0]
    assert "... and 10 more checks" in text


def test_github_commands_cannot_be_forged(compare, make_stored, hostile, vanishing):
    heads = [make_stored(name, findings=(replace(vanishing, message=name),)) for name in hostile]
    code, text = compare([make_stored("other")], heads, "--format", "github")
    assert code == 1
    lines = text.splitlines()
    assert len(lines) == len(hostile) + 1
    assert all(re.match(r"::error file=tests/test_model.py,line=12,title=[^,:]*::\S", line) for line in lines[:-1])
    assert lines[-1].startswith(f"::notice title=gradient health::{len(hostile)} checks got worse")


def test_markdown_cannot_be_broken_out_of(compare, make_stored, hostile, vanishing):
    heads = [make_stored(name, findings=(replace(vanishing, message=name, layers=(name,)),)) for name in hostile]
    _, text = compare([make_stored("other")], heads, "--format", "markdown")
    assert not re.search(r"<[a-z/!]|@team|(?<!&)#1|https://|`|\|", text, re.IGNORECASE)
    assert "\u202e" not in text


@pytest.mark.parametrize(
    ("base", "head", "words"),
    [
        ("{}", "{}", "not a gradhealth report"),
        ('{"schema": 1, "checks": []}', '{"schema": 1, "checks": []}', "head.json: holds no checks"),
        ('{"schema": 1, "checks": []}', "<<<<<<< a\n", "head.json:1: holds a merge conflict"),
        (
            '{"schema": 1, "checks": [{"test": "t", "name": "n", "record": {"layers": [{"name": 3}]}}]}',
            '{"schema": 1, "checks": [{"test": "t", "name": "n", "record": {"layers": []}}]}',
            "head.json: the check n of t cannot be read",
        ),
    ],
)
def test_what_cannot_be_compared_is_a_usage_error(base, head, words, tmp_path, capsys):
    tmp_path.joinpath("base.json").write_text(base, encoding="utf-8")
    tmp_path.joinpath("head.json").write_text(head, encoding="utf-8")
    assert main(["compare", str(tmp_path / "base.json"), str(tmp_path / "head.json")]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert words in error


@pytest.mark.parametrize("value", ["1", "0.5", "nan", "inf", "three"])
def test_a_limit_that_is_no_factor_is_a_usage_error(value, capsys):
    with pytest.raises(SystemExit) as end:
        main(["compare", "a", "b", "--max-drift", value])
    assert end.value.code == 2
    assert "expected a factor above 1" in capsys.readouterr().err


def test_an_empty_base_makes_every_check_new(compare, make_stored):
    code, found = compare([], [make_stored()], "--format", "json")
    assert (code, len(found["checks"]["new"])) == (0, 1)


def test_schema_prints_the_schema(capsys):
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "pytest-gradhealth report"


def test_show_prints_every_check(report, tmp_path, capsys, monkeypatch):
    pytest.importorskip("pytest_gradhealth.report.table")
    monkeypatch.setenv("COLUMNS", "80")
    write_report(tmp_path / "report.json", report)
    assert main(["show", str(tmp_path / "report.json"), "--ascii"]) == 1
    out = capsys.readouterr().out
    assert "tests/test_model.py::test_net (passed)" in out
    assert "tests/test_model.py::test_sick (failed)" in out
    assert "fc1" in out


def test_the_command_line_imports_neither_torch_nor_pytest(report, tmp_path):
    write_report(tmp_path / "report.json", report)
    path = str(tmp_path / "report.json")
    for command in (["compare", path, path], ["schema"]):
        code = (
            f"import sys\nfrom pytest_gradhealth.__main__ import main\nmain({command!r})\n"
            "print(sorted({'torch', 'numpy', 'pytest', '_pytest', 'jinja2'} & set(sys.modules)), file=sys.stderr)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stderr.strip() == "[]"


def test_exit_codes_reach_the_shell(report, tmp_path):
    write_report(tmp_path / "report.json", report)
    run = [sys.executable, "-m", "pytest_gradhealth"]
    path = str(tmp_path / "report.json")
    assert subprocess.run([*run, "compare", path, path], capture_output=True).returncode == 0
    assert subprocess.run([*run, "compare", path, path + "x"], capture_output=True).returncode == 2
    assert subprocess.run(run, capture_output=True).returncode == 2


def test_a_reader_that_stops_early_sees_no_traceback():
    run = [sys.executable, "-m", "pytest_gradhealth", "schema"]
    with subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        process.wait()
        assert process.stderr is not None
        assert process.stderr.read() == b""
