"""The caller's repository, which is read and never switched."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gradhealth_gate.problems import NoBaseError

__all__ = ["Repository"]

SHA = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
FETCH_SECONDS = 300


class Repository:
    """A checkout."""

    def __init__(self, top: Path) -> None:
        self.top = top

    @classmethod
    def around(cls, directory: Path) -> Repository | None:
        """The checkout that holds a folder."""
        found = _git(directory, "rev-parse", "--show-toplevel")
        return cls(Path(os.fsdecode(found.stdout).rstrip("\n")).resolve()) if found.returncode == 0 else None

    def commit(self, revision: str) -> str:
        """The commit's SHA; empty where it is not there."""
        return self._line("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")

    def tree(self, revision: str) -> str:
        """The SHA of a commit's files."""
        return self._line("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{tree}}")

    def parents(self, revision: str = "HEAD") -> tuple[str, ...]:
        """A commit's parents as it names them, which a shallow clone still knows although it does not follow them."""
        head = self._git("cat-file", "commit", revision).stdout.partition(b"\n\n")[0]
        return tuple(line[7:].decode() for line in head.splitlines() if line.startswith(b"parent "))

    def merge_base(self, one: str, other: str) -> str:
        """The commit where two branches parted; empty where the clone does not reach back to it."""
        return self._line("merge-base", one, other)

    def fetched(self, revision: str) -> str:
        """The commit, brought from the remote where it is not there yet; empty where it cannot be had."""
        here = self.commit(revision)
        if here or not self._can_name(revision):
            return here
        # A depth would cut the history of a clone that has it all.
        shallow = self._line("rev-parse", "--is-shallow-repository") == "true"
        depth = ["--depth=1"] if shallow else []
        done = self._git("fetch", "--no-tags", "--quiet", *depth, "origin", revision, seconds=FETCH_SECONDS)
        return self.commit("FETCH_HEAD") if done.returncode == 0 else ""

    def read(self, revision: str, path: str) -> bytes | None:
        """A file as it was at a commit; None: it was not there."""
        found = self._git("cat-file", "blob", f"{revision}:{path}")
        return found.stdout if found.returncode == 0 else None

    def files(self, revision: str) -> list[str]:
        """The names of all files at a commit."""
        return os.fsdecode(self._git("ls-tree", "-r", "-z", "--name-only", revision).stdout).split("\0")[:-1]

    @contextmanager
    def worktree(self, revision: str, folder: Path) -> Iterator[Path]:
        """A commit's files in a folder of their own, for as long as they are needed."""
        added = self._git("-c", "core.hooksPath=/dev/null", "worktree", "add", "--detach", str(folder), revision)
        try:
            if added.returncode != 0:
                raise NoBaseError(f"the base commit's files cannot be had: {_reason(added)}")
            yield folder.resolve()
        finally:
            self._git("worktree", "remove", "--force", "--force", str(folder))
            shutil.rmtree(folder, ignore_errors=True)
            self._git("worktree", "prune")

    def _can_name(self, revision: str) -> bool:
        """Whether it is what a remote can be asked for: a commit or a name, no `HEAD~2` and no refspec."""
        if SHA.fullmatch(revision):
            return True
        return self._git("check-ref-format", "--allow-onelevel", revision).returncode == 0

    def _line(self, *arguments: str) -> str:
        found = self._git(*arguments)
        return found.stdout.decode().strip() if found.returncode == 0 else ""

    def _git(self, *arguments: str, seconds: int | None = None) -> subprocess.CompletedProcess[bytes]:
        return _git(self.top, *arguments, seconds=seconds)


def _git(directory: Path, *arguments: str, seconds: int | None = None) -> subprocess.CompletedProcess[bytes]:
    # In a container job the checkout belongs to another user, and git would refuse it.
    command = ["git", "-c", "safe.directory=*", *arguments]
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"}
    try:
        return subprocess.run(
            command, cwd=directory, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, b"", str(error).encode())


def _reason(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"git ended with exit code {done.returncode}"
