"""The base commit's files in a folder of their own, which must be the commit's still when they have been measured."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
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

    def __init__(self, path: Path, blobs: Mapping[str, str]) -> None:
        self.path = path
        self._blobs = blobs
        self._beside: dict[str, str] = {}

    def seal(self) -> None:
        """From here on, no file may be added that could have a say in the measurement."""
        self._beside = dict(self._others())

    def verify(self) -> None:
        """Compare the commit's files with their hashes, and what lies beside them with what was sealed.

        Raises:
            BaseUnavailableError: a file was changed, added or removed.
        """
        expected = {**self._blobs, **self._beside}
        found = {
            **{name: _blob_hash(self.path / name, sha) for name, sha in self._blobs.items()},
            **dict(self._others()),
        }
        changed = sorted({name for name, _ in expected.items() ^ found.items()})
        if changed:
            raise BaseUnavailableError(
                f"the base's files changed while they were measured: {', '.join(changed[:NAMED])}"
            )

    def _others(self) -> Iterator[tuple[str, str]]:
        """Size and time of every other file that could be imported."""
        for folder, _, names in os.walk(self.path):
            for path in (Path(folder, name) for name in names if name.endswith(IMPORTED)):
                name = path.relative_to(self.path).as_posix()
                if name not in self._blobs:
                    status = path.lstat()
                    yield name, f"{status.st_size} {status.st_mtime_ns}"


@contextmanager
def base_tree(repository: Repository, sha: str, folder: Path) -> Iterator[BaseTree]:
    """The files of a commit, for as long as they are needed.

    Raises:
        BaseUnavailableError: they cannot be had.
    """
    try:
        yield BaseTree(repository.export(sha, folder), repository.blobs(sha))
    finally:
        with suppress(RecursionError):
            shutil.rmtree(folder, ignore_errors=True)


def _blob_hash(path: Path, like: str) -> str:
    """A file's hash as git makes it, of the same kind as another one."""
    try:
        content = os.fsencode(os.readlink(path)) if path.is_symlink() else path.read_bytes()
    except OSError as error:
        return f"{error.strerror}"
    hasher = hashlib.sha1 if len(like) == 40 else hashlib.sha256
    return hasher(b"blob %d\0" % len(content) + content).hexdigest()
