"""Whose code it is: the user's own, or an installed library's."""

from __future__ import annotations

import inspect
from pathlib import PurePath

__all__ = ["is_installed", "source_of"]

INSTALLED = frozenset({"site-packages", "dist-packages"})


def is_installed(file: str) -> bool:
    """Whether a file came with a package rather than from the user's repository."""
    return not INSTALLED.isdisjoint(PurePath(file).parts)


def source_of(thing: object) -> str:
    """The file in which the class of a thing is defined; empty: unknown."""
    try:
        return inspect.getsourcefile(type(thing)) or ""
    except (TypeError, OSError):
        return ""
