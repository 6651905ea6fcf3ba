"""The base commit's files in a folder of their own, which must be the same before and after they are measured."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from gradhealth_gate.base.repository import Repository
from gradhealth_gate.errors import BaseUnavailableError

__all__ = ["BaseTree", "base_tree"]

IMPORTED = (".py", ".pth", ".so", ".ini", ".toml", ".cfg")
"""Ends of names that Python imports or pytest reads."""
NAMED = 3


class BaseTree:
    """A commit's files, and what was written beside them."""

    def __init__(self, path: Path, tracked: Sequence[str]) -> None:
        self.path = path
        self._tracked = tracked
        self._sealed: dict[str, str] = {}

    def seal(self) -> None:
        """From here on, no file that has a say in the measurement may change."""
        self._sealed = dict(self._contents())

    def verify(self) -> None:
        """Compare with what was sealed.

        Raises:
            BaseUnavailableError: a file was changed, added or removed.
        """
        now = dict(self._contents())
        changed = sorted(name for name, _ in self._sealed.items() ^ now.items())
        if changed:
            named = ", ".join(dict.fromkeys(changed[: 2 * NAMED]))
            raise BaseUnavailableError(f"the base's files changed while they were measured: {named}")

    def _contents(self) -> Iterator[tuple[str, str]]:
        """Every file of the commit with its hash, and every other one that could be imported with size and time."""
        for name in self._tracked:
            yield name, _digest(self.path / name)
        known = set(self._tracked)
        for folder, _, names in os.walk(self.path):
            for path in (Path(folder, name) for name in names if name.endswith(IMPORTED)):
                name = path.relative_to(self.path).as_posix()
                if name not in known:
                    status = path.lstat()
                    yield name, f"{status.st_size} {status.st_mtime_ns}"


@contextmanager
def base_tree(repository: Repository, sha: str, folder: Path) -> Iterator[BaseTree]:
    """The files of a commit, for as long as they are needed.

    Raises:
        BaseUnavailableError: they cannot be had.
    """
    try:
        yield BaseTree(repository.export(sha, folder), repository.files(sha))
    finally:
        with suppress(RecursionError):
            shutil.rmtree(folder, ignore_errors=True)


def _digest(path: Path) -> str:
    try:
        if path.is_symlink():
            return f"link to {os.readlink(path)}"
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"{error.strerror}"
