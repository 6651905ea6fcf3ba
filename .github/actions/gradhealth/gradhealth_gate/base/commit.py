"""Which commit a change is compared with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from gradhealth_gate.base.repository import Repository
from gradhealth_gate.errors import BaseUnavailableError
from gradhealth_gate.github.event import Event

__all__ = ["BaseCommit", "find_base"]


@dataclass(frozen=True, slots=True)
class BaseCommit:
    """The base commit."""

    sha: str
    origin: str
    """How it was found, in words."""
    warnings: tuple[str, ...] = ()


def find_base(repository: Repository, event: Event, base_ref: str = "") -> BaseCommit:
    """The first candidate that is there or can be fetched.

    Raises:
        BaseUnavailableError: there is none, with what to do about it.
    """
    candidates = _asked(repository, base_ref) if base_ref else _told(repository, event)
    tried: list[str] = []
    for revision, origin in candidates:
        sha = repository.fetched(revision) if revision else ""
        if sha:
            return _checked(repository, BaseCommit(sha, origin, tuple(_second_best(tried))))
        if revision:
            tried.append(f"{origin} ({revision[:12]})")
    if tried:
        raise BaseUnavailableError(
            f"not in this clone and not to be fetched: {', '.join(tried)}; check out with fetch-depth: 0"
        )
    raise BaseUnavailableError(
        f"the event {event.name or 'of this run'} tells no base commit; give the input `base-ref`"
    )


def _asked(repository: Repository, base_ref: str) -> Iterator[tuple[str, str]]:
    """A branch that was checked out has only its remote's name here."""
    remote = f"origin/{base_ref}"
    known = repository.commit(base_ref) or not repository.commit(remote)
    yield (base_ref if known else remote), f"the input base-ref {base_ref}"


def _told(repository: Repository, event: Event) -> Iterator[tuple[str, str]]:
    if event.name == "pull_request":
        yield from _pull_request(repository, event)
    elif event.name == "merge_group":
        yield event.value("merge_group", "base_sha"), "what the merge queue builds on"
    elif event.name == "push":
        yield from _push(repository, event)


def _pull_request(repository: Repository, event: Event) -> Iterator[tuple[str, str]]:
    """The event's own base is that of the pull request's last change, older than what it is merged with now."""
    parents = repository.parents()
    if len(parents) == 2 and repository.commit("HEAD") == event.sha:
        yield parents[0], "first parent of the pull request's merge commit"
    target = event.value("pull_request", "base", "sha")
    if target and repository.commit(target):
        yield repository.merge_base("HEAD", target), "where the pull request's branch began"
    yield target, "the pull request's target branch"


def _push(repository: Repository, event: Event) -> Iterator[tuple[str, str]]:
    before = event.value("before")
    if before.strip("0"):
        yield before, "the branch before this push"
    else:
        default = repository.commit(f"origin/{event.value('repository', 'default_branch')}")
        head = repository.commit("HEAD")
        parted = repository.merge_base("HEAD", default) if default else ""
        yield ("" if parted == head else parted), "where the new branch began"
    yield next(iter(repository.parents()), ""), "the commit before"


def _second_best(tried: list[str]) -> Iterator[str]:
    if tried:
        yield f"The base is second best: {', '.join(tried)} is not in this clone; check out with fetch-depth: 0."


def _checked(repository: Repository, base: BaseCommit) -> BaseCommit:
    if base.sha == repository.commit("HEAD"):
        raise BaseUnavailableError(f"{base.origin} is the commit under test itself")
    if repository.tree(base.sha) == repository.tree("HEAD"):
        same = "Base and head hold the same files, so only the environment can differ."
        return replace(base, warnings=(*base.warnings, same))
    return base
