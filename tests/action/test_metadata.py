"""The files that GitHub reads: equal where they must be, pinned, and without findings of the validators."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from samples import ACTION, ROOT

INNER, OUTER = ACTION / "action.yml", ROOT / "action.yml"
EXAMPLES = sorted((ROOT / "examples" / "github").glob("*.yml"))
OWN = ROOT / ".github" / "workflows" / "gradhealth.yml"
WORKFLOWS = sorted(OWN.parent.glob("*.yml"))
DOCS = ROOT / "docs" / "github-action.md"
OURS = "pytest-gradhealth/pytest-gradhealth"


def load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load(path.read_text("utf-8"), Loader=yaml.BaseLoader)
    return loaded


def test_the_root_action_is_the_same() -> None:
    inner, outer = load(INNER), load(OUTER)
    (step,) = outer["runs"]["steps"]
    step["run"] = step["run"].replace("/.github/actions/gradhealth/gate.py", "/gate.py")
    assert outer == inner


def test_inputs_reach_the_gate_through_the_environment_alone() -> None:
    action = load(INNER)
    (step,) = action["runs"]["steps"]
    assert step.keys() == {"id", "shell", "env", "run"}
    assert "${{" not in step["run"]
    expected = {
        f"GRADHEALTH_{name.upper().replace('-', '_')}": f"${{{{ inputs.{name} }}}}" for name in action["inputs"]
    }
    assert step["env"] == expected
    outputs = {name: data["value"] for name, data in action["outputs"].items()}
    assert outputs == {name: f"${{{{ steps.gate.outputs.{name} }}}}" for name in outputs}


@pytest.mark.parametrize("kind", ["inputs", "outputs"])
def test_the_documentation_lists_all_of_them(kind: str) -> None:
    section = DOCS.read_text("utf-8").split(f"## {kind.capitalize()}\n")[1].split("\n## ")[0]
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| `")]
    action = load(INNER)
    assert [row[1].strip(" `") for row in rows] == list(action[kind])
    if kind == "inputs":
        defaults = {row[1].strip(" `"): row[2].strip(" `") for row in rows}
        assert defaults == {name: data["default"] for name, data in action["inputs"].items()}


@pytest.mark.parametrize("path", [*EXAMPLES, OWN], ids=lambda path: path.name)
def test_workflows_are_pinned_and_have_no_rights_to_spare(path: Path) -> None:
    workflow, text = load(path), path.read_text("utf-8")
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert job["permissions"]
        assert "timeout-minutes" in job
        for step in job["steps"]:
            used = step.get("uses", "$/")
            assert used.startswith("$/") or re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", used)
            if used.startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] == "false"
    for line in text.splitlines():
        assert "@" not in line or "uses:" not in line or re.search(r"# v\d+\.\d+\.\d+$", line)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_use_inputs_that_exist(path: Path) -> None:
    known = load(INNER)["inputs"].keys()
    steps = [step for job in load(path)["jobs"].values() for step in job["steps"]]
    used = [step for step in steps if step.get("uses", "").startswith(f"{OURS}/")]
    assert len(used) == (path.name != "comment.yml")
    for step in used:
        assert step["with"].keys() <= known


def test_only_the_comment_may_write() -> None:
    for path in [*EXAMPLES, OWN]:
        rights = {name: value for job in load(path)["jobs"].values() for name, value in job["permissions"].items()}
        allowed = {"pull-requests"} if path.name == "comment.yml" else set()
        assert {name for name, value in rights.items() if value != "read"} == allowed


def test_the_action_is_in_the_archive_that_runners_download() -> None:
    files = [str(path.relative_to(ROOT)) for path in ACTION.rglob("*.*") if "__pycache__" not in path.parts]
    asked = ["git", "check-attr", "export-ignore", *files, "action.yml", "pytest_gradhealth/compare.py"]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    assert set(re.findall(r"export-ignore: (.*)", done.stdout)) == {"unspecified"}


def test_the_gate_needs_nothing_installed() -> None:
    code = (
        f"import sys; sys.path[:0] = [{str(ACTION)!r}, {str(ROOT)!r}]; import gradhealth_gate.main,"
        " gradhealth_gate.report.comment; print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-B", "-c", code], capture_output=True, text=True, check=True)
    ours = {"gradhealth_gate", "pytest_gradhealth"}
    assert set(done.stdout.split()) - ours <= {*sys.stdlib_module_names, "__main__"}


def test_the_entry_can_be_read_by_any_python_3() -> None:
    for name in ("gate.py", "launch.py"):
        ast.parse((ACTION / name).read_text("utf-8"), feature_version=(3, 7))


# Validators


def find(name: str) -> str | None:
    """A program of this environment, or else of the system."""
    return shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))


def run(name: str, *arguments: str) -> str:
    """What a validator says, empty where it found nothing; skips where it is not installed."""
    tool = find(name)
    if tool is None:
        pytest.skip(f"{name} is not installed; see the extra `action`")
    done = subprocess.run([tool, *arguments], cwd=ROOT, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def names(*paths: Path) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def test_zizmor_finds_nothing() -> None:
    options = ["--offline", "--no-progress", "--strict-collection", "--persona=auditor"]
    assert run("zizmor", *options, *names(INNER, OUTER, *WORKFLOWS, *EXAMPLES)) == ""


def test_the_schemas_are_kept() -> None:
    assert run("check-jsonschema", "--builtin-schema", "vendor.github-actions", *names(INNER, OUTER)) == ""
    assert run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *names(*WORKFLOWS, *EXAMPLES)) == ""


def test_actionlint_finds_nothing() -> None:
    shellcheck = find("shellcheck")
    options = [f"-shellcheck={shellcheck}"] if shellcheck else []
    assert run("actionlint", "-no-color", *options, *names(*WORKFLOWS, *EXAMPLES)) == ""


def test_shellcheck_finds_nothing(tmp_path: Path) -> None:
    (step,) = load(INNER)["runs"]["steps"]
    script = tmp_path / "script.sh"
    script.write_text(f"set -eo pipefail\n{step['run']}\n", encoding="utf-8")
    assert run("shellcheck", "--shell=bash", str(script)) == ""
