"""How the base is run: its own files, its own code."""

from __future__ import annotations

import os
import subprocess
import zlib
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from gradhealth_gate.base.arguments import present_arguments
from gradhealth_gate.base.repository import Repository
from gradhealth_gate.base.source import foreign_source, tree_paths
from gradhealth_gate.base.tree import base_tree
from gradhealth_gate.errors import BaseUnavailableError
from gradhealth_gate.process.run import resolved
from samples import make_report, make_stored
from scene import Origin, git

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
    report, repository = with_source(tmp_path.resolve() / source), Repository.around(top, tmp_path / "git")
    assert repository is not None
    assert bool(foreign_source(report, tree, repository, sha)) == foreign


def test_an_unknown_source_is_let_through(tmp_path: Path) -> None:
    assert foreign_source(make_report(make_stored()), tmp_path, Repository(tmp_path, tmp_path, {}), "HEAD") == ""


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


# Git directories that the change could write


MARK = "touch '{folder}/ran'"


def plant(checkout: Path, folder: Path) -> None:
    """Every place of a repository where git finds programs to start."""
    mark = MARK.format(folder=folder)
    settings = {
        "core.fsmonitor": mark,
        "core.hooksPath": str(folder / "hooks"),
        "core.sshCommand": mark,
        "core.pager": mark,
        "core.attributesFile": str(folder / "attributes"),
        "filter.evil.smudge": f"{mark}; cat",
        "filter.evil.clean": f"{mark}; cat",
        "filter.evil.process": mark,
        "diff.external": mark,
        "credential.helper": f"!{mark}",
        "remote.origin.uploadpack": f"{mark}; git-upload-pack",
        "uploadpack.packObjectsHook": mark,
        "alias.rev-parse": f"!{mark}",
    }
    for name, value in settings.items():
        git(checkout, "config", name, value)
    (folder / "attributes").write_text("* filter=evil diff=evil\n")
    (checkout / ".git" / "info").mkdir(exist_ok=True)
    (checkout / ".git" / "info" / "attributes").write_text("* filter=evil\n")
    for place in (folder / "hooks", checkout / ".git" / "hooks"):
        place.mkdir(exist_ok=True)
        for name in ("post-checkout", "post-index-change", "reference-transaction", "pre-auto-gc"):
            (place / name).write_text(f"#!/bin/sh\n{mark}\n")
            (place / name).chmod(0o755)


def test_git_starts_no_program_of_the_repository(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = origin.commit({"a.txt": "base", ".gitattributes": "* filter=evil\n"})
    head = origin.commit({"a.txt": "head"})
    checkout, away = origin.checkout(tmp_path / "w", head), origin.commit({"a.txt": "not fetched"}, on="away")
    plant(checkout, tmp_path)
    given = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.fsmonitor",
        "GIT_CONFIG_VALUE_0": f"touch {tmp_path}/ran",
    }
    for name, value in {**given, "GIT_EXTERNAL_DIFF": "false", "GIT_DIR": "/nowhere"}.items():
        monkeypatch.setenv(name, value)
    opened = around(checkout, tmp_path)
    assert opened.commit("HEAD") == head
    assert opened.fetched(away) == away
    assert opened.changed(base) == [".gitattributes", "a.txt"]
    assert (opened.export(base, tmp_path / "tree") / "a.txt").read_text() == "base"
    assert not (tmp_path / "ran").exists()


def around(checkout: Path, folder: Path) -> Repository:
    found = Repository.around(checkout.resolve(), folder / "git")
    assert found is not None
    return found


def test_files_are_exported_as_they_are_stored(origin: Origin, tmp_path: Path) -> None:
    """Whatever the base's own attributes ask for; with links, modes, and a submodule that is not fetched."""
    (origin.folder / "link").symlink_to("a.txt")
    files = {"a.txt": "$Id$\n", "run.sh": "#!/bin/sh\n", ".gitattributes": "a.txt ident\n*.sh text eol=crlf\n"}
    sha = origin.commit(files)
    origin.git("update-index", "--chmod=+x", "run.sh")
    blob = origin.git("rev-parse", f"{sha}:a.txt")
    origin.git("update-index", "--add", "--cacheinfo", f"120000,{blob},link", "--cacheinfo", f"160000,{sha},module")
    origin.git("commit", "--quiet", "-m", "more")
    sha = origin.git("rev-parse", "HEAD")
    tree = around(origin.folder, tmp_path).export(sha, tmp_path / "tree")
    assert (tree / "a.txt").read_bytes() == b"$Id$\n"
    assert (tree / "run.sh").read_bytes() == b"#!/bin/sh\n"
    assert os.access(tree / "run.sh", os.X_OK)
    assert (tree / "link").is_symlink()
    assert list((tree / "module").iterdir()) == []


def forge(repository: Path, sha: str, kind: str, content: bytes) -> None:
    """Other content under an object's name."""
    path = repository / ".git" / "objects" / sha[:2] / sha[2:]
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(zlib.compress(b"%s %d\0" % (kind.encode(), len(content)) + content))


def test_objects_that_are_not_what_their_names_say_are_noticed(origin: Origin, tmp_path: Path) -> None:
    base = origin.commit({"net.py": "honest", "deep/b.py": ""})
    other = origin.commit({"net.py": "dishonest", "deep/b.py": ""}, on="other")
    opened = around(origin.folder, tmp_path)
    forge(origin.folder, origin.git("rev-parse", f"{base}:net.py"), "blob", b"dishonest")
    with pytest.raises(BaseUnavailableError, match=r"not what their hashes say|cannot be had"):
        opened.export(base, tmp_path / "one")
    forge(origin.folder, origin.git("rev-parse", f"{base}:net.py"), "blob", b"honest")
    raw = subprocess.run(["git", "cat-file", "tree", other], cwd=origin.folder, capture_output=True, check=True).stdout
    forge(origin.folder, origin.git("rev-parse", f"{base}^{{tree}}"), "tree", raw)
    with pytest.raises(BaseUnavailableError, match=r"not what their hashes say|cannot be had"):
        opened.export(base, tmp_path / "two")
    text = origin.git("cat-file", "commit", base).replace("a change", "another").encode()
    forge(origin.folder, base, "commit", text)
    with pytest.raises(BaseUnavailableError, match="was changed"):
        opened.parents(base)


@pytest.mark.parametrize(
    ("name", "text", "noticed"),
    [
        ("net.py", "changed", True),
        ("data.bin", "changed", True),
        ("torch.py", "planted", True),
        ("built.py", "built anew", True),
        ("result.txt", "written by a test", False),
    ],
)
def test_a_base_that_changes_while_it_is_measured_is_noticed(
    origin: Origin, tmp_path: Path, name: str, text: str, noticed: bool
) -> None:
    sha = origin.commit({"net.py": "", "data.bin": "0"})
    outcome = pytest.raises(BaseUnavailableError, match=name) if noticed else nullcontext()
    with base_tree(around(origin.folder, tmp_path), sha, tmp_path / "tree") as tree:
        (tree.path / "built.py").write_text("by base-setup")
        tree.seal()
        tree.verify()
        (tree.path / name).write_text(text)
        with outcome:
            tree.verify()
    assert not (tmp_path / "tree").exists()
