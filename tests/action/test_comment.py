"""The comment workflow: what it renders from reports, and what its script asks GitHub for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from gradhealth_gate.comment import MARKER, comment
from samples import ACTION, HOSTILE, ROOT, make_finding, make_layer, make_report, make_stored

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
