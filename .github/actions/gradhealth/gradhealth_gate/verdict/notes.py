"""What a reviewer should look at, although it is no fault by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from gradhealth_gate.verdict.outcome import FAILING
from gradhealth_gate.verdict.pairs import Pairs
from pytest_gradhealth.compare import Comparison
from pytest_gradhealth.report.store import Report

__all__ = ["gone_layers", "notes_on", "steering_files"]

NAMED = 10
STEERING = (
    *("conftest.py", "pytest.ini", ".pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg", "setup.py"),
    *("sitecustomize.py", "usercustomize.py", ".gitattributes"),
)
"""Files that decide what pytest runs, how, and what becomes of a failure."""


def notes_on(head: Report, base: Report | None) -> Iterator[str]:
    """Sentences for the summary."""
    unheeded = [stored for stored in head.checks if stored.check.findings and stored.outcome not in FAILING]
    if unheeded:
        named = dict.fromkeys(f"{stored.test} ({stored.outcome})" for stored in unheeded)
        yield (
            f"{len(unheeded)} unhealthy, but the test did not fail: {_some(list(named))}. Is that expected "
            "(xfail, or an error that the test catches), or does a hook turn failures into passes?"
        )
    loosened = sorted(set(_loosened(head, base)))
    if loosened:
        yield f"Limits are looser than on the base: {_some(loosened)}."
    if not any(stored.check.judged for stored in head.checks):
        yield "Nothing was held to limits: the tests only measure."


def gone_layers(comparison: Comparison | None) -> Iterator[str]:
    """Layers that the base has and the change has not, by check: the test may check something else now."""
    gone = Counter((place["check"], place["test"]) for place in (comparison.removed_layers if comparison else ()))
    if gone:
        yield f"Layers of the base are gone: {_some([f'{n} of {name} in {test}' for (name, test), n in gone.items()])}."


def steering_files(changed: Iterable[str]) -> list[str]:
    """Those of the changed files that have a say in how the tests run and what their failures become."""
    return [name for name in changed if PurePosixPath(name).name in STEERING or name.endswith(".pth")]


def _loosened(head: Report, base: Report | None) -> Iterator[str]:
    pairs = Pairs(base)
    for stored in head.checks:
        before = pairs.partner(stored)
        if before is not None and before.check.limits:
            for name, old, new in _looser(before.check.limits, stored.check.limits):
                yield f"{name} {_number(old)} is now {_number(new)} in {stored.test}"


def _looser(base: Mapping[str, Any], head: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Limits that let more pass: switched off, a lower minimum, a higher maximum."""
    for name, old in base.items():
        new = head.get(name)
        if not _is_number(old) or new == old:
            continue
        if not _is_number(new) or (new < old if name.startswith("min_") else new > old):
            yield name, old, new


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) and _is_number(value) else "off"


def _some(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
