"""Pieces of a table as text: names, numbers and the symbols that it is drawn with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["ASCII", "UNICODE", "Symbols", "abbreviated", "count", "ends", "finite", "narrowest", "number", "one_line"]

KEPT = (12, 8, 6, 4, 3, 2, 1)
"""Characters that are left of each part of a path, from a mild abbreviation to the strongest."""
COMFORTABLE = 24
"""Width up to which names come before other columns."""
LEAST = 3
"""Characters that the strongest abbreviation leaves of a path's last part."""


@dataclass(frozen=True)
class Symbols:
    """What a table is drawn with."""

    sick: str
    ellipsis: str
    bar: str
    empty: str
    rule: str


UNICODE = Symbols(sick="✗", ellipsis="…", bar="█", empty="·", rule="─")
ASCII = Symbols(sick="x", ellipsis="~", bar="#", empty=".", rule="-")


def abbreviated(names: Sequence[str], width: int, symbols: Symbols) -> list[str]:
    """Paths that fit and still differ: words lose their ends, the front ones first, and numbers are kept.

    Where not even that fits, both ends of a name are kept.
    """
    if max(map(len, names), default=0) <= width:
        return list(names)
    for front, last in [*((kept, 0) for kept in KEPT), *((1, kept) for kept in KEPT if kept >= LEAST)]:
        short = [_abbreviation(name, front, last, symbols) for name in names]
        if max(map(len, short)) <= width and len(set(short)) == len(set(names)):
            return short
    return [ends(name, width, symbols) for name in names]


def narrowest(names: Sequence[str], symbols: Symbols) -> int:
    """The width that names need to differ from each other, with their last part whole where that is not too much."""
    for last in (0, *KEPT):
        short = [_abbreviation(name, 1, last, symbols) for name in names]
        width = max(map(len, short), default=0)
        if width <= COMFORTABLE and len(set(short)) == len(set(names)):
            return width
    return max((len(_abbreviation(name, 1, 0, symbols)) for name in names), default=0)


def _abbreviation(name: str, front: int, last: int, symbols: Symbols) -> str:
    """A path with so many characters left of each part but the last, and of the last one (0: all of it)."""
    *before, end = name.split(".")
    parts = [_cut(part, front, symbols) for part in before]
    return ".".join([*parts, _cut(end, last, symbols) if last else end])


def _cut(part: str, kept: int, symbols: Symbols) -> str:
    return part if part.isdecimal() or len(part) <= kept + 1 else f"{part[:kept]}{symbols.ellipsis}"


def ends(text: str, width: int, symbols: Symbols) -> str:
    """Both ends of a long text."""
    if len(text) <= width:
        return text
    front = (width - len(symbols.ellipsis)) // 2
    return text[:front] + symbols.ellipsis + text[len(text) - (width - len(symbols.ellipsis) - front) :]


def one_line(text: str) -> str:
    """Names may hold anything: nothing that breaks the line, moves the cursor or reverses the text comes through."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text)


def count(parameters: int) -> str:
    """A number of parameters, as in ``4.16k``."""
    if parameters < 1000:
        return str(parameters)
    for unit, size in (("k", 1e3), ("M", 1e6), ("G", 1e9)):
        if parameters < 999.5 * size:  # else it would round up to 1e+03
            return f"{parameters / size:.3g}{unit}"
    return f"{parameters / 1e12:.3g}T" if parameters < 10**300 else "huge"


def number(value: float | None) -> str:
    """A number of two digits; empty for None."""
    if value is None:
        return ""
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    if 0.01 <= abs(value) < 999.5:
        return f"{value:.0f}" if abs(value) >= 99.5 else f"{value:.2g}"
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits}e{int(exponent)}"


def finite(value: float | None) -> float:
    """The number; 0 where it is none, or not finite."""
    return value if value is not None and math.isfinite(value) else 0.0
