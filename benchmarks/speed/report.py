"""Writes the tables of ``docs/cost.md``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.speed.timing import LOOP, ROWS

__all__ = ["write"]

DOCS = Path(__file__).parents[2] / "docs" / "cost.md"


def write(found: dict[str, Any]) -> None:
    """Put what was measured in the place of what stands between the markers of each table."""
    text = DOCS.read_text()
    for name, table in (("time", _times), ("growth", _growth), ("memory", _memory), ("runs", _runs)):
        if name in found:
            text = _between(text, name, table(found))
    DOCS.write_text(text)


def _between(text: str, name: str, table: str) -> str:
    return re.sub(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", lambda m: f"{m[1]}{table}{m[2]}", text, flags=re.DOTALL)


def _times(found: dict[str, Any]) -> str:
    cases = list(found["time"].values())
    known = dict.fromkeys([*ROWS, LOOP, *(name for case in cases for name in case["rows"])])
    names = [name for name in known if any(name in case["rows"] for case in cases)]
    body = [["bare step", *(_duration(case["bare"]) for case in cases)]]
    body += [[name, *(_ratio(case["rows"].get(name)) for case in cases)] for name in names]
    return _table(["", *(case["model"] for case in cases)], body) + _versions(found)


def _ratio(row: dict[str, float] | None) -> str:
    """The median with the quartiles; of a tiny step, what is added to it."""
    if row is None:
        return ""
    if row["median"] > 3:
        return f"+{_duration(row['over'])}"
    return f"{row['median']:.2f} ({row['low']:.2f} to {row['high']:.2f})"


def _duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"


def _growth(found: dict[str, Any]) -> str:
    body = [[f"{row['layers']:,}", _duration(row["bare"]), _duration(row["check"])] for row in found["growth"]]
    return _table(["layers", "bare step", "check"], body)


def _memory(found: dict[str, Any]) -> str:
    body = []
    for model, peaks in found["memory"].items():
        bare = peaks["bare step"]
        body += [[model, way, f"{peak:.0f} MB", f"{peak / bare:.2f}"] for way, peak in peaks.items()]
    return _table(["", "", "peak", "over a bare step"], body)


def _runs(found: dict[str, Any]) -> str:
    rows = found["runs"].items()
    pairs = [[name, _duration(x["without"]), _duration(x["with"])] for name, x in rows if "with" in x]
    sizes = [
        [name, _duration(x["write"]), _duration(x["read"]) if "read" in x else "", f"{x['megabytes']:.0f} MB"]
        for name, x in rows
        if "write" in x
    ]
    return _table(["", "without", "with"], pairs) + "\n" + _table(["", "written in", "read in", "size"], sizes)


def _versions(found: dict[str, Any]) -> str:
    told = ", ".join(f"{name} {version}" for name, version in found["surroundings"].items())
    pairs = sorted({row["pairs"] for case in found["time"].values() for row in case["rows"].values()})
    return f"\nMedian (quartiles) of {' or '.join(map(str, pairs))} pairs; {told}.\n"


def _table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
