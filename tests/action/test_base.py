"""How the base is run: its own files, its own code."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from gradhealth_gate.base import foreign_source, present_arguments, tree_paths
from gradhealth_gate.git import Repository
from gradhealth_gate.running import resolved, run_visibly
from samples import make_report, make_stored
from scene import Origin

from pytest_gradhealth.report.store import Report


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    top, tree = tmp_path.resolve() / "top", tmp_path.resolve() / "tree"
    for folder in (top, tree):
        (folder / "one" / "src").mkdir(parents=True)
        (folder / "one" / "old.py").touch()
    (top / "one" / "new.py").touch()
    return top, tree


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["old.py", "-v"], ["old.py", "-v"]),
        (["old.py", "new.py::test_x"], ["old.py"]),
        (["new.py"], None),
        (["-k", "new.py"], ["-k", "new.py"]),
        ([], []),
        (["{top}/one/old.py", "--x={top}/y"], ["{tree}/one/old.py", "--x={tree}/y"]),
        (["old.py", "{top}/one/new.py"], ["old.py"]),
    ],
)
def test_new_files_are_not_asked_of_the_base(
    trees: tuple[Path, Path], given: list[str], expected: list[str] | None
) -> None:
    top, tree = trees
    words = [word.format(top=top) for word in given]
    wanted = None if expected is None else [word.format(tree=tree) for word in expected]
    assert present_arguments(words, top, tree, Path("one")) == wanted


def test_folders_of_the_head_are_replaced_by_the_bases(trees: tuple[Path, Path], tmp_path: Path) -> None:
    top, tree = trees
    (top / "two").mkdir()
    seen = ["", "/usr/lib", str(top / "one" / "src"), str(top / "two"), str(tmp_path / "elsewhere")]
    assert tree_paths(seen, top, tree, tree / "one") == [str(tree / "one" / "src"), str(tree / "one"), str(tree)]


def with_source(path: Path) -> Report:
    stored = make_stored()
    check = replace(stored.check, record=replace(stored.check.record, source=str(path)))
    return make_report(replace(stored, check=check))


@pytest.mark.parametrize(
    ("source", "foreign"),
    [
        ("tree/net/model.py", False),
        ("top/net/model.py", True),
        ("top/.venv/lib/python3/site-packages/torch/nn/linear.py", False),
        ("venv/lib/python3/site-packages/net/model.py", True),
        ("venv/lib/python3/site-packages/torchvision/model.py", False),
        ("elsewhere/library/model.py", False),
    ],
)
def test_code_that_is_not_the_bases_is_noticed(origin: Origin, tmp_path: Path, source: str, foreign: bool) -> None:
    sha = origin.commit({"src/net/model.py": ""})
    top, tree = tmp_path.resolve() / "top", tmp_path.resolve() / "tree"
    tree.mkdir()
    origin.folder.rename(top)
    report = with_source(tmp_path.resolve() / source)
    assert bool(foreign_source(report, tree, Repository(top), sha)) == foreign


def test_an_unknown_source_is_let_through(tmp_path: Path) -> None:
    assert foreign_source(make_report(make_stored()), tmp_path, Repository(tmp_path), "HEAD") == ""


def test_no_process_is_left_behind(tmp_path: Path) -> None:
    late = tmp_path / "late"
    script = f"(sleep 0.5; echo ::error::late; touch '{late}') & exit 3"
    assert run_visibly(["sh", "-c", script], tmp_path, dict(os.environ)) == 3
    time.sleep(1)
    assert not late.exists()


def test_a_relative_python_is_found_where_it_is(tmp_path: Path) -> None:
    base, head = tmp_path / "base", tmp_path / "head"
    python = os.path.join(".venv", "bin", "python")
    (head / ".venv" / "bin").mkdir(parents=True)
    (head / python).touch()
    assert resolved(("python", "-X", "dev"), base, head) == ("python", "-X", "dev")
    assert resolved(("/usr/bin/python",), base, head) == ("/usr/bin/python",)
    assert resolved((python, "-B"), base, head) == (str(head / python), "-B")
    (base / ".venv" / "bin").mkdir(parents=True)
    (base / python).touch()
    assert resolved((python,), base, head) == (str(base / python),)
