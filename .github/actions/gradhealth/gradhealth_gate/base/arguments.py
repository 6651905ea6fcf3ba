"""What pytest is given for the base."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

__all__ = ["present_arguments"]


def present_arguments(arguments: Sequence[str], top: Path, tree: Path, inner: Path) -> list[str] | None:
    """The base's own paths, without files that are new; None: no file is left.

    Only a word that is a file or folder of the head and follows no option can be left out, since an option may need it.
    """
    moved, dropped, kept = [], 0, 0
    for before, word in zip(["", *arguments], arguments, strict=False):
        name = word.partition("::")[0]
        if name and not before.startswith("-") and (top / inner / name).exists():
            if not (tree / inner / name.replace(str(top), str(tree))).exists():
                dropped += 1
                continue
            kept += 1
        moved.append(word.replace(str(top), str(tree)))
    return None if dropped and not kept else moved
