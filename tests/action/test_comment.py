"""The comment workflow: what it renders from reports, and what its script asks GitHub for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from gradhealth_gate.report.comment import MARKER, comment
from samples import ACTION, HOSTILE, ROOT, make_finding, make_layer, make_report, make_stored

from pytest_gradhealth.record import LayerGradient
from pytest_gradhealth.report.store import Report, StoreError, write_report


def reports(folder: Path, **given: Report) -> Path:
    for name, report in given.items():
        write_report(folder / f"{name}.json", report)
    return folder


SICK = make_report(make_stored("t", make_layer("fc0", norm=50.0), findings=(make_finding(),)))
FINE = make_report(make_stored("t", make_layer("fc0", norm=0.1)))


def test_it_tells_head_and_base(tmp_path: Path) -> None:
    text = comment(reports(tmp_path, head=SICK, base=FINE))
    assert text.startswith(f"{MARKER}\n## :x: gradhealth\n\n**1 check, 1 outside limits, ")
    assert "| 0.1 | 50 | &times;500 | 10 |" in text


def test_it_does_without_a_base(tmp_path: Path) -> None:
    assert "all healthy" in comment(reports(tmp_path, head=FINE), "success")


def test_it_does_not_call_a_failed_run_healthy(tmp_path: Path) -> None:
    text = comment(reports(tmp_path, head=FINE), "failure")
    assert "## :warning:" in text
    assert "for a reason that is not in its reports" in text
    assert "no model was checked" in comment(reports(tmp_path, head=make_report()))


def test_it_fits_and_stays_text(tmp_path: Path) -> None:
    layers = [make_layer(f"{HOSTILE[0]}{i}" * 5) for i in range(9000)]
    text = comment(reports(tmp_path, head=make_report(make_stored(HOSTILE[1], *layers, findings=(make_finding(),)))))
    assert len(text) < 65_536
    assert "<img" not in "".join(part for i, part in enumerate(text.split("`")) if i % 2 == 0)


@pytest.mark.parametrize(
    "content", ["", "[]", '{"schema": 1, "checks": [{"test": "<b>"}]}', '{"schema": 99, "checks": []}']
)
def test_it_refuses_what_is_no_report(tmp_path: Path, content: str) -> None:
    (tmp_path / "head.json").write_text(content)
    with pytest.raises(StoreError):
        comment(tmp_path)
    command = [sys.executable, "-I", "-S", "-B", str(ACTION / "comment.py"), str(tmp_path), str(tmp_path / "out.md")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, (tmp_path / "out.md").exists()) == (2, False)
    assert "error: " in done.stdout
    assert "Traceback" not in done.stderr


MANY = 150_000


def unclosed_signals() -> str:
    """Valid JSON in which a block starts again and again, and none ends as the plugin would end it."""
    return one_check('{\n   "model": "M",' + '\n   "signals": [\n],' * MANY + '\n   "layers": []}')


def unclosed_line() -> str:
    """One line in which what follows a layer's numbers starts again and again."""
    return one_check('{"model": "M", "layers": [], "notes": [' + ",  ".join(['""'] * MANY) + "]\n}")


def one_check(record: str) -> str:
    place = '"test": "t", "file": "f", "line": 1, "outcome": "passed", "name": "M"'
    return f'{{"schema": 1, "checks": [{{{place}, "record": {record}}}]}}'


@pytest.mark.parametrize("text", [unclosed_signals, unclosed_line])
def test_a_hostile_report_takes_no_longer_than_another(tmp_path: Path, text: Callable[[], str]) -> None:
    """The processor's time is limited to many times what is needed, and to a small part of what its square would be."""
    for name in ("head", "base"):
        (tmp_path / f"{name}.json").write_text(text())
    assert in_bounds(tmp_path) == 0


def test_renaming_every_layer_takes_no_longer_than_another_change(tmp_path: Path) -> None:
    for name in ("head", "base"):
        write_report(tmp_path / f"{name}.json", make_report(make_stored("t", *many_layers(name, 15_000))))
    assert in_bounds(tmp_path) == 0


def many_layers(prefix: str, count: int) -> list[LayerGradient]:
    return [make_layer(f"{prefix}{i}") for i in range(count)]


def in_bounds(folder: Path) -> int:
    """The exit code of the comment's program with 30 seconds of the processor."""
    program = [sys.executable, "-I", "-S", "-B", str(ACTION / "comment.py"), str(folder), str(folder / "out.md")]
    return subprocess.run(["bash", "-c", 'ulimit -t 30; exec "$@"', "bash", *program], capture_output=True).returncode


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    record = '{"model": "M", "layers": [], "later": ' * 800 + '{"model": "M", "layers": []}' + "}" * 800
    (tmp_path / "head.json").write_text(one_check(record))
    with pytest.raises(StoreError, match="nested too deeply"):
        comment(tmp_path)


def test_a_large_report_is_refused(tmp_path: Path) -> None:
    with open(tmp_path / "head.json", "wb") as file:
        file.truncate((20 << 20) + 1)
    with pytest.raises(StoreError, match="larger than 20 MiB"):
        comment(tmp_path)


def test_it_follows_no_link(tmp_path: Path) -> None:
    reports(tmp_path, other=FINE)
    (tmp_path / "head.json").symlink_to(tmp_path / "other.json")
    with pytest.raises(StoreError, match="is a link"):
        comment(tmp_path)


GH = """#!/bin/sh
printf '%s\\n' "$*" >> "$CALLS"
case "$*" in
  *repos/o/r/pulls*) "$PYTHON" "$FIND" ;;
  *PATCH*|*POST*) ;;
  *comments*) printf '%s' "$OLD" ;;
esac
"""
FIND = """
import json, os
for pull in json.loads(os.environ["PULLS"]):
    if pull["head"]["sha"] == os.environ["SHA"]:
        print(pull["number"])
"""
"""Stands in for the workflow's jq filter: the pull request whose newest commit was measured."""


@pytest.mark.parametrize(
    ("old", "expected"), [("", "POST repos/o/r/issues/7/comments"), ("42", "PATCH repos/o/r/issues/comments/42")]
)
def test_one_comment_is_made_and_then_edited(tmp_path: Path, old: str, expected: str) -> None:
    calls = post(tmp_path, "a" * 40, old)
    assert "head=stranger:topic $(touch pwned)" in calls[0]
    assert calls[-1] == f"api --method {expected} -F body=@comment.md --silent"
    assert not list(tmp_path.rglob("pwned"))


def test_an_outdated_commit_is_not_commented(tmp_path: Path) -> None:
    assert len(post(tmp_path, "b" * 40, "")) == 1


def post(folder: Path, sha: str, old: str) -> list[str]:
    """Run the workflow's last step with a stand-in for GitHub's command line."""
    workflow = yaml.safe_load((ROOT / "examples" / "github" / "comment.yml").read_text("utf-8"))
    script = next(step["run"] for step in workflow["jobs"]["comment"]["steps"] if step.get("name") == "Post")
    (folder / "bin").mkdir()
    (folder / "bin" / "gh").write_text(GH)
    (folder / "bin" / "gh").chmod(0o755)
    (folder / "find.py").write_text(FIND)
    variables = {
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHON": sys.executable,
        "FIND": str(folder / "find.py"),
        "CALLS": str(folder / "calls"),
        "PULLS": json.dumps([{"number": 7, "head": {"sha": "a" * 40}}]),
        "OLD": old,
        "GITHUB_REPOSITORY": "o/r",
        "OWNER": "stranger",
        "BRANCH": "topic $(touch pwned)",
        "SHA": sha,
    }
    command = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", script]
    subprocess.run(command, cwd=folder, env=variables, check=True, capture_output=True)
    return (folder / "calls").read_text().splitlines()
