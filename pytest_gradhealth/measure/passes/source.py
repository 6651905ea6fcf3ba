"""Whose code it is: the user's own, or an installed library's."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterator
from pathlib import Path, PurePath
from types import FrameType
from typing import Any

import torch

__all__ = ["caller", "class_of", "forwards", "frames", "is_installed", "source_file", "source_of"]

INSTALLED = frozenset({"site-packages", "dist-packages"})
TORCH = os.path.dirname(torch.__file__)
SHARDING = "torch.distributed.fsdp"
PACKAGE = str(Path(__file__).parents[2])


def is_installed(file: str) -> bool:
    """Whether a file came with a package rather than from the user's repository."""
    return not INSTALLED.isdisjoint(PurePath(file).parts)


def source_of(thing: object) -> str:
    """The file in which the class of a thing is defined; empty: unknown."""
    return source_file(class_of(thing))


def class_of(thing: object) -> type:
    """The class as its author wrote it: ``fully_shard`` puts one of its own in front."""
    own = type(thing)
    if not own.__module__.startswith(SHARDING):
        return own
    return next((kind for kind in own.__mro__ if not kind.__module__.startswith(SHARDING)), own)


def source_file(kind: type) -> str:
    """The file in which a class is defined; empty: unknown."""
    try:
        return inspect.getsourcefile(kind) or ""
    except (TypeError, OSError):
        return ""


def caller() -> tuple[str, bool]:
    """The innermost frame outside torch and this package, as ``path/file.py:12``, and whether it is a library's."""
    for frame in frames():
        file = frame.f_code.co_filename
        if not file.startswith((TORCH, PACKAGE)):
            return f"{file}:{frame.f_lineno}", is_installed(file)
    return "", False


def frames() -> Iterator[FrameType]:
    """Those of the calling code, the innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def forwards() -> Iterator[tuple[FrameType, Any]]:
    """The ``forward`` methods that are running, the innermost first, each with its first argument.

    That is the module, or the context of a ``torch.autograd.Function``.
    """
    for frame in frames():
        code = frame.f_code
        if code.co_name == "forward" and code.co_argcount:
            yield frame, frame.f_locals.get(code.co_varnames[0])
