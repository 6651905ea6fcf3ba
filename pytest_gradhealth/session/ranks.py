"""A session that ``torchrun`` has started several times: its reports become one, which the first rank writes.

The ranks of one machine leave what they measured in a folder beside each other and wait for the others', so that all
of them end with the same exit code. It needs no process group: a test may have destroyed it.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["PATIENCE", "Part", "Ranks", "merged", "ranks_of_session"]

PATIENCE = 45.0
"""Seconds that ranks wait for each other at the end of a session."""
PAUSE = 0.05


class Part(NamedTuple):
    """What one rank has measured: plain data by test, where the tests stand, how they ended, and the exit code."""

    checks: dict[str, list[dict[str, Any]]]
    places: dict[str, tuple[str, int]]
    outcomes: dict[str, str]
    exit_code: int


class Ranks(NamedTuple):
    """This process among those that one ``torchrun`` has started on this machine."""

    rank: int
    total: int

    @property
    def writes(self) -> bool:
        """Whether it is the one that writes reports."""
        return self.rank == 0

    def exchanged(self, mine: Part) -> tuple[list[Part], list[int]]:
        """What every rank has measured, and the ranks that have left nothing."""
        folder = Path(tempfile.gettempdir(), f"gradhealth-{os.getppid()}-{os.environ.get('MASTER_PORT', '')}")
        folder.mkdir(exist_ok=True)
        draft = folder / f"{self.rank}.draft"
        draft.write_text(json.dumps(mine), encoding="utf-8")
        draft.replace(folder / f"{self.rank}.json")
        paths = [folder / f"{rank}.json" for rank in range(self.total)]
        deadline = time.monotonic() + PATIENCE
        while not all(path.exists() for path in paths) and time.monotonic() < deadline:
            time.sleep(PAUSE)
        found = [Part(*json.loads(path.read_text(encoding="utf-8"))) for path in paths if path.exists()]
        return found, [rank for rank, path in enumerate(paths) if not path.exists()]


def ranks_of_session() -> Ranks | None:
    """Who else runs this session; None: nobody."""
    try:
        rank, count = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    except (KeyError, ValueError):
        return None
    return Ranks(rank, count) if count > 1 else None


def merged(parts: Sequence[Part]) -> Part:
    """One session of all: a check that all ranks have made alike once, others with the number of their rank."""
    tests = dict.fromkeys(test for part in parts for test in part.checks)
    return Part(
        checks={test: list(_once([part.checks.get(test, []) for part in parts])) for test in tests},
        places={test: place for part in reversed(parts) for test, place in part.places.items()},
        outcomes=_worst(part.outcomes for part in parts),
        exit_code=max(part.exit_code for part in parts),
    )


def _once(everyone: Sequence[list[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    taken: dict[str, dict[str, Any]] = {}
    for rank, checks in enumerate(everyone):
        for check in checks:
            name = check["name"]
            if name in taken and taken[name] == check:
                continue
            told = {**check, "name": f"{name} (rank {rank})"} if name in taken else check
            taken.setdefault(name, check)
            yield told


def _worst(everyone: Iterable[dict[str, str]]) -> dict[str, str]:
    """How each test ended; where it did not pass on one rank, it did not pass."""
    ended: dict[str, str] = {}
    for outcomes in everyone:
        for test, outcome in outcomes.items():
            if ended.get(test, "passed") == "passed":
                ended[test] = outcome
    return ended
