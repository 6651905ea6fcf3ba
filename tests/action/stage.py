"""A pull request, from the commits on the server to what the action says of them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner import Result, Step
from samples import ACTION
from scene import Origin, git, pull_request

PYTHON = shlex.quote(sys.executable)


@dataclass
class Scenario:
    """A change from one set of files to another, and what the action says of it."""

    folder: Path
    base: str
    head: str
    checkout: Path
    result: Result

    def unchanged(self) -> bool:
        """Whether the caller's checkout is as it was, but for what pytest itself leaves."""
        tracked = git(self.checkout, "status", "--porcelain", "--untracked-files=no")
        return not tracked and git(self.checkout, "worktree", "list").count("\n") == 0


def play(
    folder: Path,
    base: Mapping[str, str],
    head: Mapping[str, str],
    event: str = "pull_request",
    *,
    fork: bool = False,
    action: Path = ACTION,
    installed: str = "",
    prepare: Callable[[Path], object] | None = None,
    secrets: Mapping[str, str] | None = None,
    **inputs: Any,
) -> Scenario:
    """Run the action on a change.

    Args:
        folder: for all of it.
        base: files of the target branch.
        head: files of the change.
        event: what GitHub calls it.
        fork: whether the change comes from another repository.
        action: where the action is.
        installed: folder of the checkout that is on the import path.
        prepare: what an earlier step of the job does to the checkout, such as an installation that runs code.
        secrets: further variables of the step.
        inputs: the action's.
    """
    origin = Origin(folder / "origin")
    before = origin.commit(base)
    after = origin.commit(head, on="topic")
    sha = origin.merge(before, after) if event == "pull_request" else after
    checkout = origin.checkout(folder / "work space", sha)
    # Whatever is needed must be there already: a private repository cannot be fetched from without credentials.
    git(checkout, "remote", "remove", "origin")
    payloads: dict[str, dict[str, Any]] = {
        "pull_request": pull_request(before, after, fork),
        "merge_group": {"merge_group": {"base_sha": before, "head_sha": after}},
        "push": {"before": before, "after": after},
    }
    # As an editable installation does it: the head's folder is on the import path of every Python.
    variables = {**(secrets or {}), **({"PYTHONPATH": str(checkout / installed)} if installed else {})}
    if prepare is not None:
        prepare(checkout)
    step = Step(action, checkout, folder / "temp", event, payloads[event], sha, variables)
    result = step.run(**{"python": PYTHON, "compare": "base", **inputs})
    return Scenario(folder, before, after, checkout, result)
