"""Which commit is the base, in real repositories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from gradhealth_gate.base.commit import BaseCommit, find_base
from gradhealth_gate.base.repository import Repository
from gradhealth_gate.errors import BaseUnavailableError
from gradhealth_gate.github.event import Event
from scene import Origin, git, pull_request


def files(text: str) -> dict[str, str]:
    return {"a.txt": text}


def found(folder: Path, event: str, payload: dict[str, Any], base_ref: str = "", sha: str = "") -> BaseCommit:
    return find_base(repository(folder), Event(event, payload, sha), base_ref)


def repository(folder: Path) -> Repository:
    found = Repository.around(folder.resolve(), folder.parent / f"git of {folder.name}")
    assert found is not None
    return found


@pytest.mark.parametrize("depth", [1, 2, 0])
@pytest.mark.parametrize("fork", [False, True])
def test_a_merge_commit_tells_its_base_at_any_depth(origin: Origin, tmp_path: Path, depth: int, fork: bool) -> None:
    old = origin.commit(files("old"))
    head = origin.commit(files("topic"), on="topic", start=old)
    new = origin.commit(files("new"), on="main")
    merge = origin.merge(new, head)
    checkout = origin.checkout(tmp_path / "w", merge, depth)
    # The event still tells where the branch began; the merge commit tells what it is merged with.
    assert found(checkout, "pull_request", pull_request(old, head, fork), sha=merge).sha == new


def test_depth_two_needs_no_remote(origin: Origin, tmp_path: Path) -> None:
    base = origin.commit(files("base"))
    head = origin.commit(files("topic"), on="topic")
    merge = origin.merge(base, head)
    checkout = origin.checkout(tmp_path / "w", merge, 2)
    git(checkout, "remote", "remove", "origin")
    told = found(checkout, "pull_request", pull_request(base, head), sha=merge)
    assert (told.sha, told.warnings) == (base, ())
    assert "merge commit" in told.origin


def test_a_checked_out_branch_is_compared_with_where_it_began(origin: Origin, tmp_path: Path) -> None:
    old = origin.commit(files("old"))
    head = origin.commit(files("topic"), on="topic", start=old)
    new = origin.commit(files("new"), on="main")
    checkout = origin.checkout(tmp_path / "w", head, 0)
    git(checkout, "fetch", "-q", "origin", new)
    assert found(checkout, "pull_request", pull_request(new, head)).sha == old
    shallow = origin.checkout(tmp_path / "shallow", head, 1)
    assert found(shallow, "pull_request", pull_request(new, head)).sha == new


def test_a_merge_that_is_not_the_pull_requests_is_not_taken_for_it(origin: Origin, tmp_path: Path) -> None:
    base = origin.commit(files("base"))
    side = origin.commit(files("side"), on="side", start=base)
    other = origin.commit(files("other"), on="topic", start=base)
    head = origin.git("commit-tree", f"{other}^{{tree}}", "-p", other, "-p", side, "-m", "merge of side")
    checkout = origin.checkout(tmp_path / "w", head, 0)
    assert found(checkout, "pull_request", pull_request(base, head)).sha == base


def test_a_merge_queue_tells_its_base(origin: Origin, tmp_path: Path) -> None:
    base, head = origin.commit(files("base")), origin.commit(files("head"))
    checkout = origin.checkout(tmp_path / "w", head, 2)
    told = found(checkout, "merge_group", {"merge_group": {"base_sha": base, "head_sha": head}})
    assert (told.sha, told.origin) == (base, "what the merge queue builds on")


def test_a_push_of_several_commits_fetches_what_was_before(origin: Origin, tmp_path: Path) -> None:
    before, _, head = (origin.commit(files(text)) for text in "abc")
    checkout = origin.checkout(tmp_path / "w", head, 2)
    assert found(checkout, "push", {"before": before}).sha == before


def test_a_push_whose_past_is_gone_falls_back_and_says_so(origin: Origin, tmp_path: Path) -> None:
    parent, head = origin.commit(files("a")), origin.commit(files("b"))
    checkout = origin.checkout(tmp_path / "w", head, 2)
    told = found(checkout, "push", {"before": "e" * 40})
    assert told.sha == parent
    assert "second best" in told.warnings[0]


def test_a_new_branch_is_compared_with_where_it_began(origin: Origin, tmp_path: Path) -> None:
    began = origin.commit(files("a"))
    origin.commit(files("b"), on="topic", start=began)
    head = origin.commit(files("c"), on="topic")
    payload = {"before": "0" * 40, "repository": {"default_branch": "main"}}
    full = tmp_path / "full"
    git(tmp_path, "clone", "-q", str(origin.folder), str(full))
    git(full, "checkout", "-q", "--detach", head)
    assert found(full, "push", payload).sha == began
    shallow = origin.checkout(tmp_path / "w", head, 2)
    assert found(shallow, "push", payload).origin == "the commit before"


def test_a_base_ref_may_be_a_branch_a_tag_or_a_commit(origin: Origin, tmp_path: Path) -> None:
    base = origin.commit(files("a"))
    origin.git("tag", "v1")
    head = origin.commit(files("b"), on="topic")
    checkout = origin.checkout(tmp_path / "w", head, 0)
    for name in ("main", "v1", base, "HEAD~1", base[:10]):
        assert found(checkout, "schedule", {}, name).sha == base
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", "--branch=topic", str(origin.folder), str(clone))
    assert found(clone, "schedule", {}, "main").sha == base


@pytest.mark.parametrize("name", ["+main:refs/heads/evil", "no such branch", "refs/heads/gone", "HEAD~9", "a..b"])
def test_a_base_ref_that_is_none_writes_nothing(origin: Origin, tmp_path: Path, name: str) -> None:
    origin.commit(files("a"))
    checkout = origin.checkout(tmp_path / "w", origin.commit(files("b")), 0)
    refs = git(checkout, "for-each-ref")
    with pytest.raises(BaseUnavailableError, match="not to be fetched"):
        found(checkout, "push", {}, name)
    assert git(checkout, "for-each-ref") == refs


def test_fetching_does_not_cut_the_history_of_a_full_clone(origin: Origin, tmp_path: Path) -> None:
    head = origin.commit(files("a"))
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", f"file://{origin.folder}", str(clone))
    newer = [origin.commit(files(text)) for text in "bc"][-1]
    opened = repository(clone)
    assert find_base(opened, Event("push", {"before": newer})).sha == newer
    assert opened.merge_base(newer, head) == head
    assert git(clone, "cat-file", "--batch-all-objects", "--batch-check").count("commit") == 1


def test_a_commit_is_not_compared_with_itself(origin: Origin, tmp_path: Path) -> None:
    head = origin.commit(files("a"))
    checkout = origin.checkout(tmp_path / "w", head)
    with pytest.raises(BaseUnavailableError, match="under test itself"):
        found(checkout, "push", {"before": head})


def test_the_same_files_are_told(origin: Origin, tmp_path: Path) -> None:
    base, head = origin.commit(files("a")), origin.commit(files("a"))
    checkout = origin.checkout(tmp_path / "w", head)
    assert "same files" in found(checkout, "push", {"before": base}).warnings[0]


@pytest.mark.parametrize(
    ("event", "payload", "message"),
    [
        ("workflow_dispatch", {}, "tells no base commit; give the input `base-ref`"),
        ("pull_request", {"pull_request": {"base": {"sha": "e" * 40}}}, "check out with fetch-depth: 0"),
        ("pull_request", {"pull_request": "nonsense"}, "tells no base commit"),
        ("merge_group", {"merge_group": {"base_sha": 7}}, "tells no base commit"),
        ("", {}, "the event of this run tells no base commit"),
    ],
)
def test_no_base_says_what_to_do(
    origin: Origin, tmp_path: Path, event: str, payload: dict[str, Any], message: str
) -> None:
    checkout = origin.checkout(tmp_path / "w", origin.commit(files("a")))
    with pytest.raises(BaseUnavailableError, match=message):
        found(checkout, event, payload)


def test_files_are_read_from_a_commit(origin: Origin) -> None:
    base = origin.commit({"dir/a b's.json": "{}"})
    opened = repository(origin.folder)
    assert opened.read(base, "dir/a b's.json") == b"{}"
    assert opened.read(base, "dir") is None
    assert opened.read(base, "../dir/x") is None
    assert opened.files(base) == ["dir/a b's.json"]


def test_outside_a_repository_there_is_none(tmp_path: Path) -> None:
    assert Repository.around(tmp_path, tmp_path / "git") is None


def test_a_worktree_and_a_folder_inside_it_are_understood(origin: Origin, tmp_path: Path) -> None:
    base = origin.commit({"deep/a.txt": "old"})
    head = origin.commit({"deep/a.txt": "new"})
    git(origin.folder, "worktree", "add", "--quiet", "--detach", str(tmp_path / "tree"), head)
    opened = Repository.around((tmp_path / "tree" / "deep").resolve(), tmp_path / "git")
    assert opened is not None
    assert (opened.top, opened.commit("HEAD"), opened.parents()) == ((tmp_path / "tree").resolve(), head, (base,))
    assert opened.changed(base) == ["deep/a.txt"]
