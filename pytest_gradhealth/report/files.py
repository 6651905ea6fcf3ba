"""Write a text file so that a reader sees the old one or the new one, never half of one."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

__all__ = ["write_text"]


def write_text(path: str | os.PathLike[str], text: str) -> None:
    r"""Replace a file by ``text``, UTF-8 with ``\n`` newlines, through a temporary file beside it.

    Missing folders are made; a symbolic link keeps pointing to the file that it points to. What is no file, such as
    ``/dev/null`` or a named pipe, is written to and stays what it is. Lone surrogates, which UTF-8 cannot hold and
    test names may, are written as ``\udc80``: inside a JSON string that is the same text.

    Raises:
        OSError: it cannot be written; the old file is then untouched.
    """
    target, content = Path(os.path.realpath(path)), text.encode("utf-8", "backslashreplace")
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder")
    if _is_special(target):
        with open(target, "wb") as stream:
            stream.write(content)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".gradhealth-{secrets.token_hex(8)}.tmp")
    try:
        if not _written_unseen(draft, content):
            draft.write_bytes(content)
        draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _is_special(target: Path) -> bool:
    try:
        return not stat.S_ISREG(os.stat(target).st_mode)
    except FileNotFoundError:
        return False


def _written_unseen(draft: Path, content: bytes) -> bool:
    """Write a file that gets its name only once it is whole, so that a kill leaves no part of one; False: not here."""
    if not hasattr(os, "O_TMPFILE"):  # Linux only
        return False
    try:
        handle = os.open(draft.parent, os.O_TMPFILE | os.O_WRONLY, 0o666)
    except OSError:  # a file system without such files; a real obstacle shows itself again
        return False
    with open(handle, "wb") as stream:
        stream.write(content)
        stream.flush()
        try:
            os.link(f"/proc/self/fd/{handle}", draft, src_dir_fd=handle)  # without which Python links the link
        except OSError:
            return False
    return True
