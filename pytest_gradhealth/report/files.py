"""Write a text file so that a reader sees the old one or the new one, never half of one."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

__all__ = ["write_text"]


def write_text(path: str | os.PathLike[str], text: str) -> None:
    r"""Replace a file by ``text``, UTF-8 with ``\n`` newlines, through a temporary file beside it.

    Missing folders are made; a symbolic link keeps pointing to the file that it points to. Lone surrogates, which
    UTF-8 cannot hold and test names may, are written as ``\udc80``: inside a JSON string that is the same text.

    Raises:
        OSError: the folder cannot be written to; the old file is then untouched.
    """
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.tmp")
    try:
        draft.write_bytes(text.encode("utf-8", "backslashreplace"))
        draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
