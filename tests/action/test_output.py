"""What people and the runner get to see, with names that try to break out of it."""

from __future__ import annotations

import io
import math
import os
import re
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import pytest
from gradhealth_gate.github.commands import annotate, group, say, silenced
from gradhealth_gate.github.files import RunnerFiles
from gradhealth_gate.process.isolation import visible_environment
from gradhealth_gate.report.annotations import annotate_faults, location
from gradhealth_gate.report.chart import profile_chart
from gradhealth_gate.report.publish import outputs, publish
from gradhealth_gate.report.summary import LARGEST, Findings, headline, render
from gradhealth_gate.state import GateRun
from gradhealth_gate.verdict.fault import Fault, Verdict
from gradhealth_gate.verdict.judge import judge
from runner import Result, _listen, _read_values
from samples import HOSTILE, make_finding, make_layer, make_report, make_stored

from pytest_gradhealth.record import Check, GradientRecord
from pytest_gradhealth.report.store import Report


def heard(text: str) -> Result:
    result = Result(code=0, log=text, outputs={}, summary="", environment="")
    _listen(result)
    return result


def printed(action: object, *arguments: object, **fields: object) -> Result:
    stream = io.StringIO()
    with redirect_stdout(stream):
        action(*arguments, **fields)  # type: ignore[operator]
    return heard(stream.getvalue())


def sick(count: int, **fields: object) -> Verdict:
    checks = [make_stored(f"test_{i}", findings=(make_finding(),), **fields) for i in range(count)]
    return judge(make_report(*checks), "any")


FOLD = ("<details>", "<summary>", "</summary>", "</details>")

# Commands


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_becomes_a_command(text: str) -> None:
    result = printed(say, f"{text}\n  {text}")
    assert (result.annotations, result.commands) == ([], [])


@pytest.mark.parametrize("text", HOSTILE)
def test_properties_and_messages_arrive_as_they_were(text: str) -> None:
    result = printed(annotate, "error", text, title=text, file=text, line=3)
    (annotation,) = result.annotations
    assert annotation.message == text
    assert annotation.properties == {"title": text, "file": text, "line": "3"}
    assert result.commands == []


def test_tests_are_silenced_even_after_an_unfinished_line() -> None:
    def noisy() -> None:
        with group("a"), silenced():
            print("::error::no\n##[error]no\n::add-mask::a\n::stop-commands::x\n::x::\nno newline", end="")
        annotate("error", "yes")

    result = printed(noisy)
    assert [annotation.message for annotation in result.annotations] == ["yes"]
    assert result.commands == []


def test_outputs_cannot_set_one_another(tmp_path: Path) -> None:
    path = tmp_path / "out"
    for value in HOSTILE:
        files = RunnerFiles({"GITHUB_OUTPUT": str(path)})
        files.set_outputs({"first": value, "second": "x"})
        assert _read_values(path.read_text("utf-8"))["second"] == "x"
        assert files.forged() == []
        path.unlink()
    RunnerFiles({}).set_outputs({"first": "x"})


def test_the_runners_files_and_tokens_are_hidden() -> None:
    secret = {
        "GITHUB_OUTPUT": "a",
        "GITHUB_ENV": "a",
        "GITHUB_PATH": "a",
        "GITHUB_STATE": "a",
        "GITHUB_STEP_SUMMARY": "a",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "a",
        "ACTIONS_RUNTIME_TOKEN": "a",
        "GRADHEALTH_PYTHON": "a",
        "GITHUB_TOKEN": "a",
    }
    assert visible_environment({**secret, "PATH": "b", "GITHUB_WORKSPACE": "c"}) == {
        "PATH": "b",
        "GITHUB_WORKSPACE": "c",
    }


PLANTED = {
    "text": lambda path: path.write_text("/evil"),
    "link": lambda path: path.symlink_to(path.parent / "elsewhere"),
    "pipe": os.mkfifo,
    "folder": lambda path: (path / "deep").mkdir(parents=True),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_what_a_test_left_for_the_runner_is_undone(tmp_path: Path, kind: str) -> None:
    (tmp_path / "elsewhere").write_text("")
    path, clean = tmp_path / "path", tmp_path / "env"
    PLANTED[kind](path)
    clean.touch()
    variables = {"GITHUB_PATH": str(path), "GITHUB_ENV": str(clean), "GITHUB_OUTPUT": str(tmp_path / "absent")}
    files = RunnerFiles(variables)
    assert files.reset() == ["GITHUB_PATH"]
    assert path.is_file()
    assert not path.is_symlink()
    assert path.read_bytes() == b""
    files.write_summary("nothing is written where the runner asks for nothing")
    assert files.forged() == []


def test_what_is_written_after_the_gate_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "out"
    files = RunnerFiles({"GITHUB_OUTPUT": str(path), "GITHUB_ENV": str(tmp_path / "env")})
    files.set_outputs({"outcome": "fail"})
    assert files.forged() == []
    path.write_text(path.read_text().replace("fail", "pass"))
    (tmp_path / "env").write_text("PLANTED=1")
    assert files.forged() == ["GITHUB_ENV", "GITHUB_OUTPUT"]


def test_a_step_fails_whose_files_another_process_writes_to(tmp_path: Path) -> None:
    """Played by one file for two purposes."""
    run = GateRun(verdict=Verdict(outcome="pass"))
    files = {"GITHUB_OUTPUT": str(tmp_path / "file"), "GITHUB_STEP_SUMMARY": str(tmp_path / "file")}
    apart = {**files, "GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
    assert publish(run, apart, tmp_path) == 0
    assert publish(run, files, tmp_path) == 1


def test_the_worst_layer_is_harmless_in_a_shell() -> None:
    checks = [make_stored("t", findings=(make_finding("a.b-1 $(x)`y`'\"\n;|&<>"),))]
    verdict = judge(make_report(*checks), "any")
    values = outputs(GateRun(verdict=verdict), Path("s.md"))
    assert values["worst-layer"] == "a.b-1 __x__y___ _____"
    assert (values["report"], values["base-report"], values["base-sha"]) == ("", "", "")


# Annotations


def test_nine_tests_are_annotated_and_the_rest_is_counted(tmp_path: Path) -> None:
    result = printed(annotate_faults, sick(12).faults, "error", tmp_path, tmp_path)
    assert len(result.of_kind("error")) == 10
    assert result.dropped == 0
    assert "3 more tests" in result.annotations[-1].message
    assert result.annotations[0].place == ("tests/test_model.py", 12)


def test_a_test_is_annotated_once_with_some_of_its_layers(tmp_path: Path) -> None:
    findings = tuple(make_finding(f"fc{i}", cause="too large", remedy="clip") for i in range(40))
    verdict = judge(make_report(make_stored("t", findings=findings)), "any")
    (annotation,) = printed(annotate_faults, verdict.faults, "warning", tmp_path, tmp_path).of_kind("warning")
    assert "and 25 more" in annotation.message
    assert annotation.message.endswith("Cause: too large\nRemedy: clip")
    assert annotation.properties["title"] == "gradhealth: 40 outside limits in Net"


@pytest.mark.parametrize(
    ("file", "root", "expected"),
    [
        ("tests/a b.py", "", "tests/a b.py"),
        ("tests/a.py", "packages/one", "packages/one/tests/a.py"),
        ("../tests/a.py", "packages", "tests/a.py"),
        ("../../elsewhere.py", "packages", ""),
        ("", "", ""),
    ],
)
def test_files_are_told_from_the_top(tmp_path: Path, file: str, root: str, expected: str) -> None:
    assert location(file, tmp_path.resolve(), tmp_path.resolve() / root) == expected


# Summary


def page(report: Report, **fields: object) -> str:
    values = {"verdict": judge(report, "any"), "head": report, **fields}
    return render(Findings(**values))  # type: ignore[arg-type]


@pytest.mark.parametrize("text", HOSTILE)
def test_names_cannot_break_out_of_the_page(text: str) -> None:
    finding = make_finding(text, message=text, cause=text, remedy=text, kind=text)
    stored = make_stored(text, make_layer(text), findings=(finding,), check=text, file=text)
    shown = page(make_report(stored), name=text, notes=[text], problem=text)
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    outside = re.sub(r"`[^`\n]*`", "", shown.replace("```", ""))
    assert set(re.findall(r"<[^>]*>", outside)) <= {"<sub>", "</sub>", *FOLD}
    assert not re.search(r"\]\(|\*\*e|@team|(?<!&)#1", outside)
    assert outside.count("<details>") == outside.count("</details>") == 1
    for row in (line for line in shown.splitlines() if line.startswith("| :x:")):
        assert row.count(" | ") == 7


def test_the_page_tells_base_head_change_and_limit() -> None:
    head = make_report(make_stored("t", make_layer("fc0", norm=50.0), findings=(make_finding(),)))
    base = make_report(make_stored("t", make_layer("fc0", norm=0.1)))
    shown = render(Findings(verdict=judge(head, "any", None, base), head=head, base=base))
    assert "| :x: | `tests/test_model.py::t` | `fc0` | exploding | 0.1 | 50 | &times;500 | 10 |" in shown


def test_what_one_check_lost_in_many_layers_takes_few_rows() -> None:
    lost = {"what": "norm", "message": "lost", "base": 0.1, "factor": math.inf, "limit": 3.0, "regression": True}
    faults = [Fault(test=test, check="Net", layer=f"fc{i}", **lost) for test in ("a", "b") for i in range(9)]
    shown = render(Findings(verdict=Verdict(outcome="fail", faults=tuple(faults))))
    rows = [line for line in shown.splitlines() if "`a` |" in line]
    assert rows[0] == "| :small_red_triangle: | `a` | `fc0` | norm | 0.1 | &ndash; | lost | 3-fold |"
    assert rows[5] == "| | `a` | ... and 4 more in this check | | | | | |"
    assert len(rows) == shown.count("`b` |") == 6


@pytest.mark.parametrize("count", [2, 59, 61, 9000])
def test_a_chart_spans_all_layers_with_few_points(count: int) -> None:
    layers = [make_layer(f"fc{i}", norm=10.0 ** -(i % 9)) for i in range(count)]
    check = Check(name="Net", record=GradientRecord(model="Net", layers=tuple(layers)))
    chart = profile_chart(check, check)
    lines = [line for line in chart if line.startswith("  line")]
    assert len(lines) == 2
    assert lines[0].count(",") == min(count, 60) - 1
    assert f"1 --> {count}" in "".join(chart)


def test_a_chart_without_numbers_is_left_out() -> None:
    layers = (make_layer("a", norm=None), make_layer("b", norm=float("nan")), make_layer("c", norm=0.0))
    assert profile_chart(Check(name="Net", record=GradientRecord(model="Net", layers=layers)), None) == []
    assert profile_chart(make_stored("t", make_layer()).check, None) == []


@pytest.mark.parametrize("findings", [(), (make_finding("fc0"),)])
def test_nine_thousand_layers_fit(findings: tuple[object, ...]) -> None:
    name = "blocks.attention.projection" * 6
    layers = [make_layer(f"{name}.{i}") for i in range(9000)]
    report = make_report(make_stored("t", *layers, findings=findings))
    for size in (LARGEST, 60_000):
        findings_ = Findings(verdict=judge(report, "any"), head=report, base=report)
        shown = render(findings_, size)
        assert 1000 < len(shown.encode()) < size
        assert shown.count("<details>") == shown.count("</details>")
        assert shown.count("```") % 2 == 0


def test_many_sick_tests_fit() -> None:
    checks = [make_stored(f"test_{i}" * 30, findings=(make_finding("x" * 300),)) for i in range(3000)]
    shown = page(make_report(*checks))
    assert len(shown.encode()) < LARGEST
    assert "... and 2950 more." in shown


def test_expected_sickness_is_not_listed() -> None:
    expected = make_stored("test_expected", findings=(make_finding(),), outcome="xfailed")
    shown = page(make_report(expected, make_stored("test_fine")))
    assert "**2 checks, no sick one that its test does not expect**" in shown
    assert "test_expected" not in shown


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"problem": "no test"}, "nothing could be judged: no test"),
        ({"head": make_report(make_stored())}, "1 check, all healthy"),
        ({"head": make_report(make_stored(), make_stored("b")), "verdict": sick(2)}, "2 checks, 2 outside limits"),
    ],
)
def test_the_verdict_in_one_line(fields: dict[str, object], expected: str) -> None:
    values = {"verdict": Verdict(), **fields}
    assert headline(Findings(**values)) == expected  # type: ignore[arg-type]


def test_what_does_not_block_says_so() -> None:
    findings = Findings(verdict=replace(sick(1), outcome="fail"), head=make_report(make_stored()), blocking=False)
    assert headline(findings).endswith("(does not fail the step)")
