"""What a maintainer is told of a whole suite: at its head how it is watched, at its end what to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gradhealth.errors import counted
from pytest_gradhealth.report.escape import plain
from pytest_gradhealth.session import options

if TYPE_CHECKING:
    from pytest_gradhealth.settings import Settings

__all__ = ["accepted", "closing", "header", "unmeasured"]

MOST = 20
"""Accepted findings that are named."""
LONGEST = 100
"""Characters of a reason that are shown."""
NO_BACKWARD = (
    "gradhealth: no test sent a backward pass through a model; add one that calls "
    "gradhealth.check(model, batch, loss=...), or run: python -m pytest_gradhealth check package.module:factory"
)
UNSEEN = "through no module that was called in the test itself"


def header(config: pytest.Config, settings: Settings) -> str:
    """Version, device and mode, as in ``gradhealth: 1.2.0, device auto, every test is watched and may fail``."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version("pytest-gradhealth")
    except PackageNotFoundError:
        found = "not installed"
    modes = {
        "": "mode: marked tests and the fixture",
        "fail": "mode: fail (every test is watched)",
        "report": "mode: report (every test is watched, none fails)",
    }
    return f"gradhealth: {found}, device: {settings.device}, {modes[options.mode(config)]}"


def closing(checks: Sequence[Mapping[str, Any]]) -> str:
    """One line about everything measured, from plain data: decoding every record would take longer than to say this."""
    layers = sum(len(check["record"].get("layers", ())) for check in checks)
    judged = [check for check in checks if check.get("judged", True)]
    missing = sum(_is_missing(check) for check in judged)
    sick = sum(bool(check.get("findings")) and not _is_missing(check) for check in judged)
    measured = f"gradhealth: {counted(len(checks), 'model')} measured, {counted(layers, 'layer')}"
    if not judged:
        return f"{measured}, none judged"
    health = f"{sick} sick{_kinds(judged)}" if sick else "all healthy"
    health += f", {missing} without a baseline entry" if missing else ""
    return f"{measured}, {health}{f' of {len(judged)} judged' if len(judged) < len(checks) else ''}"


def _is_missing(check: Mapping[str, Any]) -> bool:
    """Whether a check fails only because the baseline does not know it."""
    from pytest_gradhealth.report.baseline import NO_ENTRY

    found = check.get("findings", ())
    return bool(found) and all(finding.get("title") == NO_ENTRY for finding in found)


def _kinds(checks: Iterable[Mapping[str, Any]]) -> str:
    """How many models each kind was found in, the most frequent first."""
    found = Counter(
        kind
        for check in checks
        if not _is_missing(check)
        for kind in {_kind(found) for found in check.get("findings", ())}
    )
    return f" ({', '.join(f'{kind} {number}' for kind, number in found.most_common())})"


def _kind(finding: Mapping[str, Any]) -> str:
    return plain(f"{finding.get('code', '')} {finding['kind']}".strip())


def accepted(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    """What a baseline accepts, by test."""
    named = [
        f"  {plain(test)}: {plain(check['name'])}: {_kind(finding)} at {plain(', '.join(finding.get('layers', ())))}"
        for test, checks in sorted(found.items())
        for check in checks
        for finding in check.get("accepted", ())
    ]
    if named:
        yield f"gradhealth: {counted(len(named), 'finding')} accepted by the baseline:"
        yield from named[:MOST]
    if len(named) > MOST:
        yield f"  and {len(named) - MOST} more"


def unmeasured(seen: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """How much of a suite was watched, and which tests called backward without being measured, by reason."""
    fixtures = {name: test for test, found in sorted(seen.items()) for name in found.get("fixtures", ())}
    seen = {test: found for test, found in seen.items() if "backwards" in found}
    trained = sum(bool(found["models"]) for found in seen.values())
    yield f"gradhealth: {counted(len(seen), 'test')} watched, of which {trained} trained a model that was measured"
    if fixtures:
        were = "trains and was" if len(fixtures) == 1 else "train and were"
        yield f"gradhealth: {counted(len(fixtures), 'fixture')} {were} not measured; check their models in a test:"
        yield from (f"  {plain(name)} (as used by {plain(test)})" for name, test in fixtures.items())
    elif not any(found["backwards"] for found in seen.values()):
        yield NO_BACKWARD
    reasons: dict[str, list[str]] = {}
    for test, found in sorted(seen.items()):
        if found["backwards"] and not found["models"]:
            reasons.setdefault(_reason(found), []).append(test)
    missed = sum(map(len, reasons.values()))
    if missed:
        was = "was" if missed == 1 else "were"
        yield f"gradhealth: {counted(missed, 'test')} called backward and {was} not measured:"
    for reason, tests in sorted(reasons.items(), key=lambda pair: -len(pair[1])):
        yield f"  {len(tests)}: {reason} (as {plain(tests[0])})"


def _reason(found: Mapping[str, Any]) -> str:
    """The first thing that went wrong, without the model's name."""
    text = str(found["problems"][0]) if found["problems"] else UNSEEN
    line = plain(" ".join(text.split()))
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}..."
