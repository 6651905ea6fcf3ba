"""The whole action, executed: real repositories, real pytest sessions, real models.

Starting torch takes seconds, so each scenario is run once and several tests look at what it left.
"""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Any

import pytest
from runner import Step
from samples import ACTION, ROOT
from scene import BROKEN, HEALTHY, SICK, TEST, project, quick
from stage import PYTHON, Scenario, play

from pytest_gradhealth.report.baseline import update_baseline
from pytest_gradhealth.report.store import read_report

SLEEP = 90
"""Seconds that a test takes which is not stopped."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> pytest.TempPathFactory:
    return tmp_path_factory


# A pull request that makes a network sick


@pytest.fixture(scope="module")
def sickened(folders: pytest.TempPathFactory) -> Scenario:
    return play(folders.mktemp("sickened"), project(HEALTHY), project(SICK), name="deep net")


def test_sick_on_healthy_fails(sickened: Scenario) -> None:
    result = sickened.result
    assert result.code == 1
    assert result.outputs["outcome"] == "fail"
    assert result.outputs["violations"] == "1"
    assert int(result.outputs["regressions"]) > 1
    assert result.outputs["compared"] == "1"
    assert result.outputs["base-sha"] == sickened.base
    assert result.outputs["worst-layer"]


def test_sick_on_healthy_is_annotated_at_the_test(sickened: Scenario) -> None:
    (annotation,) = sickened.result.annotations
    line = TEST.splitlines().index("def test_gradients(gradhealth):") + 1
    assert (annotation.kind, annotation.place) == ("error", ("tests/test_gradients.py", line))
    assert annotation.message.startswith("GH101 vanishing-gradient ")
    assert "(new since the base)" in annotation.message
    assert "Remedy: " in annotation.message


def test_sick_on_healthy_has_a_page(sickened: Scenario) -> None:
    page = sickened.result.summary
    assert page.startswith("## :x: gradhealth: deep net\n\n**1 check, 1 outside limits, ")
    row = next(line for line in page.splitlines() if line.startswith("| :x: |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1] == "`tests/test_gradients.py::test_gradients`"
    assert cells[3] == "vanishing-gradient, new"
    assert cells[6].startswith("&divide;")
    assert cells[7] == "0.0001"
    assert page.count("```mermaid") == 2
    assert "<details><summary>All 13 layers</summary>" in page
    assert f"Base {sickened.base[:12]} (first parent of the pull request" in page
    assert Path(sickened.result.outputs["summary-file"]).read_text("utf-8") == page


def test_sick_on_healthy_leaves_reports_and_nothing_else(sickened: Scenario) -> None:
    head, base = (read_report(sickened.result.outputs[name]) for name in ("report", "base-report"))
    assert [stored.outcome for stored in head.checks] == ["failed"]
    assert base.healthy
    assert not Path(base.checks[0].check.record.source).exists()
    assert sickened.unchanged()
    assert (sickened.result.environment, sickened.result.commands) == ("", [])


def test_a_baseline_is_the_base_commits(sickened: Scenario, tmp_path: Path) -> None:
    """The pull request accepts its own sick network, which changes nothing."""
    files = {}
    for name in ("base-report", "report"):
        update_baseline(tmp_path / name, read_report(sickened.result.outputs[name]).checks)
        files[name] = (tmp_path / name).read_text("utf-8")
    place = "the base's/$(line).json"
    base, head = {place: files["base-report"]}, {place: files["report"]}
    for origin, outcome, code in ((base, "fail", 1), (head, "pass", 0)):
        folder = tmp_path / outcome
        given = {**project(SICK), **origin}, {**project(SICK), **head}
        played = play(folder, *given, "push", compare="baseline", baseline_file=place, fail_on="regression")
        assert (played.result.outputs["outcome"], played.result.code) == (outcome, code)
        assert played.result.outputs["compared"] == "1"
        assert played.result.outputs["violations"] == "1"
        assert (played.result.outputs["regressions"] == "0") == (outcome == "pass")
        assert "its baseline" in played.result.summary


# Other pairs of head and base


def test_healthy_on_sick_passes_in_a_push(tmp_path: Path) -> None:
    base, head = (project(code, source="src/") for code in (SICK, HEALTHY))
    played = play(tmp_path, base, head, "push", installed="src")
    result = played.result
    assert (result.code, result.annotations) == (0, [])
    numbers = {name: result.outputs[name] for name in ("outcome", "violations", "regressions", "compared", "base-sha")}
    assert list(numbers.values()) == ["pass", "0", "0", "1", played.base]
    assert result.outputs["worst-layer"] == ""
    assert result.summary.startswith("## :white_check_mark: gradhealth\n\n**1 check, nothing worse than the base**")
    assert "the branch before this push" in result.summary
    assert played.unchanged()


def test_as_sick_as_before_passes_a_merge_queue_that_asks_for_regressions(tmp_path: Path) -> None:
    base, head = quick("sick"), quick("sick", conftest="")
    result = play(tmp_path, base, head, "merge_group", fail_on="regression", require_base="true").result
    assert result.code == 0
    assert [result.outputs[name] for name in ("outcome", "violations", "regressions")] == ["pass", "1", "0"]
    assert [annotation.kind for annotation in result.annotations] == ["warning"]
    assert "what the merge queue builds on" in result.summary


def test_a_layer_that_moved_fails_a_pull_request_of_a_fork(tmp_path: Path) -> None:
    played = play(tmp_path, quick(), quick("moved"), fork=True, max_drift="5")
    result = played.result
    assert result.code == 1
    assert (result.outputs["outcome"], result.outputs["violations"]) == ("fail", "0")
    assert int(result.outputs["regressions"]) >= 1
    (annotation,) = result.of_kind("error")
    assert annotation.place[0] == "test_net.py"
    assert "worse than the base" in annotation.properties["title"]
    assert ":small_red_triangle:" in result.summary
    assert "grey: that of the base, blue: gradient norm" in result.summary


def test_a_base_without_the_tests_is_a_warning(tmp_path: Path) -> None:
    played = play(tmp_path, {"net.py": ""}, quick(), pytest_args="test_net.py")
    result = played.result
    assert (result.code, result.outputs["outcome"], result.outputs["compared"]) == (0, "pass", "0")
    (warning,) = result.annotations
    assert "Compared with nothing: the base commit has none of the tests" in warning.message
    assert warning.message in result.summary.replace("&#96;", "`")
    assert result.outputs["base-sha"] == played.base
    assert played.unchanged()


def test_a_broken_base_fails_a_pull_request(tmp_path: Path) -> None:
    played = play(tmp_path, {**quick(), "net.py": BROKEN}, quick("sick"))
    result = played.result
    assert (result.code, result.outputs["outcome"]) == (1, "error")
    (error,) = result.annotations
    assert "a base is required, and the base commit cannot be measured" in error.message
    assert "test_net.py" in error.message
    assert "nothing could be judged" in result.summary
    assert played.unchanged()


def test_a_base_that_imports_the_heads_code_is_noticed(tmp_path: Path) -> None:
    """As an import hook of an editable installation does it."""
    hook = "import os, sys\nsys.path.insert(0, os.environ['GITHUB_WORKSPACE'])\nimport net\n"
    base, head = (quick(state, conftest=hook) for state in ("healthy", "sick"))
    refused = play(tmp_path / "auto", base, head, fail_on="never").result
    assert (refused.code, refused.outputs["outcome"]) == (1, "error")
    assert "which is not the base's code" in refused.of_kind("error")[0].message
    result = play(tmp_path / "false", base, head, fail_on="never", require_base="false").result
    # Only the limits are left, which the caller asked to be told of, not stopped by.
    assert (result.code, result.outputs["outcome"], result.outputs["compared"]) == (0, "fail", "0")
    assert "which is not the base's code" in result.of_kind("warning")[0].message
    assert "does not fail the step" in result.summary
    assert result.of_kind("error") == []


# A monorepo in which everything has an unlucky name, and a test that talks to the runner

LOUD = """
import os, pathlib
import torch
import torch.nn.functional as F
from torch import nn

from net.model import Net

LAYER = "</details>|`$(touch pwned)` ::error::x\\n::error::y"


def test_loud(gradhealth):
    print("::error::from the test")
    print("##[error]from the test")
    print("::set-output name=outcome::pass")
    assert not [name for name in os.environ if name in ("GITHUB_OUTPUT", "GITHUB_ENV") or "GRADHEALTH" in name]
    for path in pathlib.Path(os.environ["RUNNER_TEMP"]).glob("set_*"):
        path.write_text("outcome=pass")
    net = Net()
    named = nn.Sequential()
    named._modules = {LAYER: net[0], **{str(i): layer for i, layer in enumerate(list(net)[1:])}}
    batch = torch.randn(16, 16, generator=torch.Generator().manual_seed(1)), torch.arange(16) % 4
    gradhealth.check(named, [batch], loss=F.cross_entropy, max_norm=MAX_NORM)


def test_not_asked_for():
    raise AssertionError
"""
NASTY = 'pack\'age $(touch pwned) "b"'


@pytest.fixture(scope="module")
def nasty(folders: pytest.TempPathFactory) -> Scenario:
    folder = folders.mktemp("nasty")
    python = folder / "my $(touch pwned) python's"
    python.write_text(f'#!/bin/sh\nexec {PYTHON} "$@"\n')
    python.chmod(0o755)
    other = project(BROKEN, BROKEN, "other package/")
    loose, strict = (project(HEALTHY, LOUD.replace("MAX_NORM", limit), f"{NASTY}/") for limit in ("None", "1e-9"))
    return play(
        folder,
        {**loose, **other},
        {**strict, **other},
        working_directory=NASTY,
        python=shlex.quote(str(python)),
        pytest_args="""-s -k "loud and not quiet" 'tests' -o 'junit_suite_name=$(touch pwned)'""",
        base_setup="""printf '%s' "$PWD" > setup; test -f tests/test_gradients.py; echo '::error::from setup'""",
        base_ref="HEAD~1",
        name="a `b` $(touch pwned) <b> ::error::z",
    )


def test_nasty_names_are_measured_and_compared(nasty: Scenario) -> None:
    result = nasty.result
    assert result.code == 1
    assert (result.outputs["outcome"], result.outputs["compared"]) == ("fail", "1")
    assert int(result.outputs["regressions"]) >= 1
    assert nasty.unchanged()
    assert not list(nasty.folder.rglob("pwned"))
    assert not list(nasty.checkout.rglob("setup"))


def test_a_test_cannot_speak_for_the_gate(nasty: Scenario) -> None:
    result = nasty.result
    assert result.commands == []
    (error,) = result.of_kind("error")
    assert error.place[0] == f"{NASTY}/tests/test_gradients.py"
    assert "from" not in error.properties["title"]
    (warning,) = result.of_kind("warning")
    assert "A test wrote to the runner's files, which was undone" in warning.message
    assert result.environment == ""


def test_nasty_names_stay_text(nasty: Scenario) -> None:
    page = nasty.result.summary
    assert page.startswith("## :x: gradhealth: a &#96;b&#96; &#36;(touch pwned) &#60;b&#62; &#58;:error::z\n")
    assert page.count("\n</details>") == page.count("<details><summary>")
    assert "$(touch" not in nasty.result.outputs["worst-layer"]


# No torch in here


def test_nine_thousand_layers(tmp_path: Path) -> None:
    test = """
        from pytest_gradhealth import Check, Finding, GradientHealthError, GradientRecord, LayerGradient

        def test_large(gradhealth):
            names = [f"{'block.' * 20}{i}" for i in range(9000)]
            same = dict(kind="Linear", parameters=4, trainable=4, norm=1e-3, reach=0.5, signal=0.1)
            layers = [LayerGradient(name=name, order=i, **same) for i, name in enumerate(names)]
            record = GradientRecord(model="Large", layers=tuple(layers))
            finding = Finding(kind="vanishing", layers=tuple(names), message="all", value=1e-9, limit=1e-4)
            raise GradientHealthError("all", gradhealth._keep(Check(name="Large", record=record, findings=(finding,))))
    """
    files = {"test_large.py": "\n".join(line[8:] for line in test.splitlines())}
    result = play(tmp_path, files, files, "push").result
    assert (result.code, result.outputs["outcome"], result.outputs["regressions"]) == (1, "fail", "0")
    assert 1000 < len(result.summary.encode()) < 1_000_000
    assert len(result.annotations[0].message) < 4096
    assert "same files" in result.of_kind("warning")[0].message


QUICK = {
    "test_quick.py": """
from pytest_gradhealth import GradientRecord, LayerGradient, Limits

def record():
    layer = LayerGradient(name="a", kind="L", order=0, parameters=1, trainable=1, norm=1.0)
    return GradientRecord(model="Net", layers=(layer,))

def test_checked(gradhealth):
    gradhealth.conclude(record(), (), Limits(), "Net")

def test_unchecked():
    pass

def test_failing():
    assert 1 == 2
"""
}


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"pytest_args": "-k unchecked"}, "no model was checked"),
        ({"pytest_args": "-k nothing_at_all"}, "pytest found no test"),
        ({"pytest_args": "no/such/file.py"}, "pytest refused its arguments"),
        ({"pytest_args": "-k failing"}, "no model was checked; 1 failed for another reason than gradients"),
        ({"pytest_args": "-k 'failing or checked'"}, "1 failed for another reason than gradients: test_quick.py::"),
        ({"python": f"{PYTHON} -S"}, "pytest-gradhealth is not installed for this Python"),
        ({"python": "no-such-python"}, "no-such-python cannot be started: No such file"),
        ({"compare": "perhaps", "python": "'"}, "input `compare`: expected one of none, base, baseline"),
    ],
)
def test_a_gate_that_checked_nothing_fails(tmp_path: Path, inputs: dict[str, Any], message: str) -> None:
    result = play(tmp_path, QUICK, QUICK, "push", **{"compare": "none", "fail_on": "never", **inputs}).result
    assert (result.code, result.outputs["outcome"], result.outputs["violations"]) == (1, "error", "0")
    (error,) = result.of_kind("error")
    assert message in error.message
    assert result.summary.startswith("## :warning: gradhealth")
    assert Path(result.outputs["summary-file"]).is_file()


@pytest.mark.parametrize("action", [ACTION, ROOT], ids=["inner", "root"])
def test_plain_and_quiet(tmp_path: Path, action: Path) -> None:
    arguments: dict[str, Any] = {
        "compare": "none",
        "pytest_args": "-k checked",
        "summary": "false",
        "annotations": "false",
    }
    result = play(tmp_path, QUICK, QUICK, "push", action=action, **arguments).result
    assert (result.code, result.outputs["outcome"], result.outputs["base-sha"]) == (0, "pass", "")
    assert (result.summary, result.annotations) == ("", [])


@pytest.mark.parametrize("event", ["pull_request_target", "workflow_run"])
def test_events_with_rights_are_refused_before_anything_runs(tmp_path: Path, event: str) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "conftest.py").write_text("open('ran', 'w')")
    result = Step(ACTION, tmp_path / "w", tmp_path / "temp", event).run(python=PYTHON)
    assert (result.code, result.outputs["outcome"]) == (1, "error")
    assert "use pull_request" in result.of_kind("error")[0].message
    assert not (tmp_path / "w" / "ran").exists()


def test_a_cancelled_step_removes_the_bases_tree(tmp_path: Path) -> None:
    """The runner's signal arrives while the base is measured."""
    started = time.monotonic()
    slow = QUICK["test_quick.py"].replace(
        "pass\n", "import os, signal, time; os.kill(GATE, signal.SIGTERM); time.sleep(SLEEP)\n"
    )
    slow = slow.replace("SLEEP", str(SLEEP)).replace("GATE", "os.getppid()")
    played = play(tmp_path, {"test_quick.py": slow}, QUICK, "push", pytest_args="-k 'checked or unchecked'")
    assert played.result.code == 128 + 15
    assert played.unchanged()
    assert "test_quick.py ." in played.result.log
    assert not list((tmp_path / "temp").glob("gradhealth-*"))
    assert time.monotonic() - started < SLEEP


def test_an_old_python_hands_over_to_the_projects(tmp_path: Path) -> None:
    """Played by a copy that thinks a far newer Python is needed: it must ask the input's Python, and only once."""
    step = Step(ACTION, tmp_path, tmp_path / "temp")
    gate = (ACTION / "gate.py").read_text("utf-8")
    fake = tmp_path / "fake"
    fake.mkdir()
    (fake / "gate.py").write_text(gate.replace("OLDEST = (3, 11)", "OLDEST = (9, 0)"), encoding="utf-8")
    (fake / "action.yml").write_bytes((ACTION / "action.yml").read_bytes())
    step.action = fake
    result = step.run(python=PYTHON)
    assert result.code == 1
    assert "neither python3 nor the input `python` is" in result.of_kind("error")[0].message
    (fake / "gate.py").write_text(gate, encoding="utf-8")
    assert "use it from its repository" in step.run(python=PYTHON).of_kind("error")[0].message
