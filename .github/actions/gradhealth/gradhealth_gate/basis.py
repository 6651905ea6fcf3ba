"""Which commit a change is compared with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gradhealth_gate.git import Repository
from gradhealth_gate.problems import NoBaseError

__all__ = ["Basis", "Occasion", "find_base"]


@dataclass(frozen=True, slots=True)
class Basis:
    """The base commit."""

    sha: str
    origin: str
    """How it was found, in words."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Occasion:
    """Why the workflow runs."""

    event: str
    payload: Mapping[str, Any]
    sha: str = ""
    """The commit that the event is about."""

    def value(self, *path: str) -> str:
        """A text in the event's payload; empty where there is none."""
        found: Any = self.payload
        for name in path:
            found = found.get(name) if isinstance(found, Mapping) else None
        return found if isinstance(found, str) else ""


def find_base(repository: Repository, occasion: Occasion, base_ref: str = "") -> Basis:
    """The first candidate that is there or can be fetched.

    Raises:
        NoBaseError: there is none, with what to do about it.
    """
    candidates = _asked(repository, base_ref) if base_ref else _told(repository, occasion)
    tried: list[str] = []
    for revision, origin in candidates:
        sha = repository.fetched(revision) if revision else ""
        if sha:
            return _checked(repository, Basis(sha, origin, tuple(_second_best(tried))))
        if revision:
            tried.append(f"{origin} ({revision[:12]})")
    if tried:
        raise NoBaseError(f"not in this clone and not to be fetched: {', '.join(tried)}; check out with fetch-depth: 0")
    raise NoBaseError(f"the event {occasion.event or 'of this run'} tells no base commit; give the input `base-ref`")


def _asked(repository: Repository, base_ref: str) -> Iterator[tuple[str, str]]:
    """A branch that was checked out has only its remote's name here."""
    remote = f"origin/{base_ref}"
    known = repository.commit(base_ref) or not repository.commit(remote)
    yield (base_ref if known else remote), f"the input base-ref {base_ref}"


def _told(repository: Repository, occasion: Occasion) -> Iterator[tuple[str, str]]:
    if occasion.event == "pull_request":
        yield from _pull_request(repository, occasion)
    elif occasion.event == "merge_group":
        yield occasion.value("merge_group", "base_sha"), "what the merge queue builds on"
    elif occasion.event == "push":
        yield from _push(repository, occasion)


def _pull_request(repository: Repository, occasion: Occasion) -> Iterator[tuple[str, str]]:
    """The event's own base is that of the pull request's last change, older than what it is merged with now."""
    parents = repository.parents()
    merged = occasion.value("pull_request", "head", "sha")
    if len(parents) == 2 and (parents[1] == merged or repository.commit("HEAD") == occasion.sha):
        yield parents[0], "first parent of the pull request's merge commit"
    target = occasion.value("pull_request", "base", "sha")
    if target and repository.commit(target):
        yield repository.merge_base("HEAD", target), "where the pull request's branch began"
    yield target, "the pull request's target branch"


def _push(repository: Repository, occasion: Occasion) -> Iterator[tuple[str, str]]:
    before = occasion.value("before")
    if before.strip("0"):
        yield before, "the branch before this push"
    else:
        default = repository.commit(f"origin/{occasion.value('repository', 'default_branch')}")
        head = repository.commit("HEAD")
        parted = repository.merge_base("HEAD", default) if default else ""
        yield ("" if parted == head else parted), "where the new branch began"
    yield next(iter(repository.parents()), ""), "the commit before"


def _second_best(tried: list[str]) -> Iterator[str]:
    if tried:
        yield f"The base is second best: {', '.join(tried)} is not in this clone; check out with fetch-depth: 0."


def _checked(repository: Repository, basis: Basis) -> Basis:
    if basis.sha == repository.commit("HEAD"):
        raise NoBaseError(f"{basis.origin} is the commit under test itself")
    if repository.tree(basis.sha) == repository.tree("HEAD"):
        same = "Base and head hold the same files, so only the environment can differ."
        return replace(basis, warnings=(*basis.warnings, same))
    return basis
