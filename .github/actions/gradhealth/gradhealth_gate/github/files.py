"""The files that the runner reads after the step: whoever writes to them speaks for the step."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

__all__ = ["FILES", "RunnerFiles", "read_untrusted"]

FILES = ("GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_PATH", "GITHUB_STATE", "GITHUB_STEP_SUMMARY")
"""Variables that hold their paths."""


class RunnerFiles:
    """This step's files. Tests are not told of them, but can find them in the runner's temporary folder."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._paths = {name: Path(environment[name]) for name in FILES if environment.get(name)}
        self._written = dict.fromkeys(self._paths, b"")

    def reset(self) -> list[str]:
        """Make them empty files again, and name those that were not."""
        planted = [name for name in self._paths if not self._as_written(name)]
        for name in planted:
            _remove(self._paths[name])
            os.close(os.open(self._paths[name], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
        return planted

    def set_outputs(self, values: Mapping[str, object]) -> None:
        """Set the step's outputs; a random delimiter keeps a value from setting another."""
        for name, value in values.items():
            end = f"end-{secrets.token_hex(16)}"
            self._append("GITHUB_OUTPUT", f"{name}<<{end}\n{value}\n{end}\n")

    def write_summary(self, text: str) -> None:
        """Show Markdown on the job's page."""
        self._append("GITHUB_STEP_SUMMARY", text)

    def forged(self) -> list[str]:
        """Names of the files that do not hold what this step wrote, and nothing else."""
        return [name for name in self._paths if not self._as_written(name)]

    def _append(self, name: str, text: str) -> None:
        if name in self._paths:
            content = text.encode("utf-8", "backslashreplace")
            with open(self._paths[name], "ab") as file:
                file.write(content)
            self._written[name] += content

    def _as_written(self, name: str) -> bool:
        path, expected = self._paths[name], self._written[name]
        try:
            return read_untrusted(path, len(expected)) == expected
        except FileNotFoundError:
            return not expected
        except OSError:
            return False


def read_untrusted(path: Path, largest: int) -> bytes:
    """What a test left in a file: no link is followed, no pipe waited for, nothing large read.

    Raises:
        OSError: there is no such file, or none that is read.
    """
    if path.is_symlink():
        raise OSError(f"{path.name} is a link")
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{path.name} is not a file")
        if status.st_size > largest:
            raise OSError(f"{path.name} is larger than {largest} bytes")
        return file.read(largest + 1)


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
