"""The limits as types, for type checkers: ``pytest_gradhealth/judge/limit_types.py``."""

from __future__ import annotations

from pathlib import Path

from pytest_gradhealth.judge import registry

TARGET = Path(registry.__file__).with_name("limit_types.py")
HEAD = '''\
"""The limits as a type checker sees them: generated from ``rules/`` by ``python tools/generate.py``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal, TypedDict

__all__ = ["LimitKeywords", "LimitNumbers", "LimitValues"]

Value = float | Literal["off", "none"] | None
"""A limit as it is given; the words and None switch it off."""


class LimitValues(TypedDict, total=False):
    """The limits that are one number, by their names."""

'''
BETWEEN = '''

class LimitKeywords(LimitValues, total=False):
    """All that ``check`` and ``watch`` take of limits."""

    select: str | Collection[str]
    ignore: str | Collection[str]
    layers: Mapping[str, LimitValues] | None


class LimitNumbers:
    """The limits as attributes of :class:`Limits`; None: switched off."""

    __slots__ = ()

'''


def text() -> str:
    """The module's content."""
    names = [limit.name for limit in registry.limits()]
    values = "".join(f"    {name}: Value\n" for name in names)
    numbers = "".join(f"    {name}: float | None\n" for name in names)
    return f"{HEAD}{values}{BETWEEN}{numbers}"
