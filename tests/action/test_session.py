"""What a session of pytest leaves is the word of a stranger."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from gradhealth_gate import session
from samples import make_report, make_stored

from pytest_gradhealth.report.store import write_report


@pytest.mark.parametrize(
    "notes",
    [
        {"failed": 5},
        {"failed": [1, {"test": 7}, {}]},
        {"rootdir": 5},
        {"rootdir": "a\0b"},
        {"uncollected": 3},
        {"plugin": []},
        [],
        "text",
        None,
    ],
)
def test_notes_of_another_kind_say_nothing(tmp_path: Path, notes: object) -> None:
    write_report(tmp_path / "report.json", make_report(make_stored()))
    (tmp_path / "notes.json").write_text(json.dumps(notes))
    found = session.read_session(1, tmp_path / "report.json", tmp_path / "notes.json", tmp_path)
    assert (found.problem, found.failed, found.broken, found.root) == ("", frozenset(), frozenset(), tmp_path)


def link(path: Path) -> None:
    write_report(path.parent / "other.json", make_report(make_stored()))
    path.symlink_to(path.parent / "other.json")


def large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(session.LARGEST_REPORT + 1)


REPORTS: dict[str, Callable[[Path], object]] = {
    "report.json is a link": link,
    "report.json is not a file": os.mkfifo,
    "report.json is larger than": large,
    "no such file": lambda path: None,
    "not JSON": lambda path: path.write_text("{'schema'"),
    "Is a directory": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("problem", REPORTS)
def test_a_report_is_a_file_of_its_own(tmp_path: Path, problem: str) -> None:
    REPORTS[problem](tmp_path / "report.json")
    found = session.read_session(0, tmp_path / "report.json", tmp_path / "notes.json", tmp_path)
    assert problem in found.problem
    assert found.report.checks == ()
