"""Two reports side by side: what got worse, what got better, what is new, without pytest and without torch.

A regression is a finding that the base did not have (same check, kind and layer), or a layer that moved by more than
the limit in a check that was not sick before and healthy now. What was sick and still is, is no regression.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

from pytest_gradhealth.judge.drift import Drift, Move, Profile, drift_limit, measure_drift
from pytest_gradhealth.record import Finding
from pytest_gradhealth.report.store import StoreError, no_garbage_collection, read_raw

__all__ = ["Change", "Comparison", "compare_reports"]

COMPARISON_VERSION = 1

Entry = Mapping[str, Any]
Key = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that got worse or better."""

    test: str
    """Node id."""
    check: str
    """Name of the check within the test."""
    device: str
    precision: str
    file: str = ""
    """Of the code at fault, where that is known; else of the test."""
    line: int = 0
    kind: str
    """Kind of the finding; ``drift``: a number moved."""
    code: str = ""
    """Code of the rule, as in ``GH101``; empty: of an extension's rule, or a drift."""
    url: str = ""
    """Address of the rule's page."""
    layer: str = ""
    """The culprit; empty: the whole model."""
    quantity: str = ""
    """``norm``, ``reach`` or ``signal`` of a drift of one layer; else empty."""
    base: float | None = None
    head: float | None = None
    factor: float | None = None
    """How far the number moved, at least 1; infinite: to or from nothing; None: not a matter of a factor."""
    message: str = ""
    cause: str = ""
    remedy: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe data; non-finite numbers become ``inf``, ``-inf`` and ``nan`` as strings."""
        numbers = {name: _plain(getattr(self, name)) for name in ("base", "head", "factor")}
        return {name: numbers[name] if name in numbers else getattr(self, name) for name in _CHANGE_FIELDS}


_CHANGE_FIELDS = tuple(field.name for field in fields(Change))


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All that differs between two reports."""

    base: Mapping[str, Any]
    """``path``, number of ``checks``, how many of those are ``unhealthy``, and the ``torch`` versions."""
    head: Mapping[str, Any]
    max_drift: float
    regressions: tuple[Change, ...] = ()
    """Findings before drifts, the largest factor first."""
    improvements: tuple[Change, ...] = ()
    """Findings that are gone."""
    new_checks: tuple[Mapping[str, str], ...] = ()
    removed_checks: tuple[Mapping[str, str], ...] = ()
    new_layers: tuple[Mapping[str, str], ...] = ()
    removed_layers: tuple[Mapping[str, str], ...] = ()
    renamed_layers: tuple[Mapping[str, str], ...] = ()
    notes: Mapping[str, int] = field(default_factory=dict)
    """What else a reader should know, with the number of checks that it holds for."""

    @property
    def outcome(self) -> str:
        """``regression``, ``improved`` or ``same``."""
        if self.regressions:
            return "regression"
        return "improved" if self.improvements else "same"

    @property
    def worst(self) -> Change | None:
        """The gravest regression."""
        return self.regressions[0] if self.regressions else None

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe data; non-finite numbers become ``inf``, ``-inf`` and ``nan`` as strings."""
        return {
            "schema": COMPARISON_VERSION,
            "outcome": self.outcome,
            "max_drift": self.max_drift,
            "base": dict(self.base),
            "head": dict(self.head),
            "worst": self.worst.to_dict() if self.worst else None,
            "regressions": [change.to_dict() for change in self.regressions],
            "improvements": [change.to_dict() for change in self.improvements],
            "checks": {"new": list(self.new_checks), "removed": list(self.removed_checks)},
            "layers": {
                "new": list(self.new_layers),
                "removed": list(self.removed_layers),
                "renamed": list(self.renamed_layers),
            },
            "notes": [{"text": text, "checks": count} for text, count in self.notes.items()],
        }

    def to_json(self) -> str:
        """The same as JSON text, one line per change."""
        lines = [f" {json.dumps(name)}: {_json_lines(value)}" for name, value in self.to_dict().items()]
        return "{\n" + ",\n".join(lines) + "\n}"


def compare_reports(base: str | os.PathLike[str], head: str | os.PathLike[str], max_drift: float = 3.0) -> Comparison:
    """Compare two report files as ``--gradhealth-json`` writes them.

    Args:
        base: the older report, such as the target branch's.
        head: the newer one.
        max_drift: factor above 1 by which a number may move.

    Raises:
        StoreError: a file cannot be used, or ``head`` holds no check, so that nothing would be compared.
        ValueError: ``max_drift`` is not a factor above 1.
    """
    limit = drift_limit(max_drift)
    with no_garbage_collection():
        return _compare(_Side.read(base), _Side.read(head), limit)


def _compare(old: _Side, new: _Side, max_drift: float) -> Comparison:
    if not new.entries:
        raise StoreError(f"{new.path}: holds no checks, so there is nothing to compare; did the tests run?")
    pairs, added, removed = _pair(old.entries, new.entries)
    tally = _Tally()
    for before, after in pairs:
        with _naming(f"{old.path} and {new.path}", after):
            tally.add(*_compare_pair(old.entries[before], new.entries[after], before, after, max_drift))
    for key in added:
        with _naming(new.path, key):
            tally.regressions += _findings(key, new.entries[key])
    return Comparison(
        base=old.summary,
        head=new.summary,
        max_drift=max_drift,
        regressions=tuple(sorted(tally.regressions, key=_gravity)),
        improvements=tuple(tally.improvements),
        new_checks=tuple(_place(key) for key in added),
        removed_checks=tuple(_place(key) for key in removed),
        new_layers=tuple(tally.new_layers),
        removed_layers=tuple(tally.removed_layers),
        renamed_layers=tuple(tally.renamed_layers),
        notes=dict(tally.notes.most_common()),
    )


@dataclass(frozen=True, slots=True)
class _Side:
    path: str
    entries: Mapping[Key, Entry]
    summary: Mapping[str, Any]

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> _Side:
        checks = read_raw(path)["checks"]
        entries = {_key(entry): entry for entry in checks}
        versions = sorted({str(entry["record"].get("torch", "")) for entry in checks} - {""})
        sick = sum(bool(entry.get("findings")) for entry in entries.values())
        summary = {"path": os.fspath(path), "checks": len(entries), "unhealthy": sick, "torch": versions}
        return cls(os.fspath(path), entries, summary)


@dataclass(slots=True)
class _Tally:
    regressions: list[Change] = field(default_factory=list)
    improvements: list[Change] = field(default_factory=list)
    new_layers: list[Mapping[str, str]] = field(default_factory=list)
    removed_layers: list[Mapping[str, str]] = field(default_factory=list)
    renamed_layers: list[Mapping[str, str]] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)

    def add(self, key: Key, worse: list[Change], better: list[Change], drift: Drift) -> None:
        place = _place(key)
        self.regressions += worse
        self.improvements += better
        self.new_layers += [{**place, "layer": name} for name in drift.new]
        self.removed_layers += [{**place, "layer": name} for name in drift.removed]
        self.renamed_layers += [{**place, "base": old, "head": new} for old, new in drift.renamed.items()]
        self.notes.update(drift.differences)


def _key(entry: Entry) -> Key:
    record = entry["record"]
    return entry["test"], entry["name"], str(record.get("device", "cpu")), str(record.get("precision", "float32"))


def _place(key: Key) -> dict[str, str]:
    return dict(zip(("test", "check", "device", "precision"), key, strict=True))


def _pair(old: Mapping[Key, Entry], new: Mapping[Key, Entry]) -> tuple[list[tuple[Key, Key]], list[Key], list[Key]]:
    """The same check in both; what ran on another device is the same check where that leaves no choice."""
    pairs = [(key, key) for key in new if key in old]
    added, removed = [key for key in new if key not in old], [key for key in old if key not in new]
    loose_new, loose_old = Counter(key[:2] for key in added), Counter(key[:2] for key in removed)
    twins = {key[:2]: key for key in removed if loose_old[key[:2]] == 1}
    moved = [(twins[key[:2]], key) for key in added if key[:2] in twins and loose_new[key[:2]] == 1]
    done = {key for pair in moved for key in pair}
    return [*pairs, *moved], [k for k in added if k not in done], [k for k in removed if k not in done]


@contextmanager
def _naming(path: str, key: Key) -> Iterator[None]:
    """The inside of a check is not looked at before it is used, so here is where its faults come to light."""
    try:
        yield
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        raise StoreError(f"{path}: the check {key[1]} of {key[0]} cannot be read: {error!r}; write it again") from None


def _compare_pair(
    base: Entry, head: Entry, before: Key, after: Key, max_drift: float
) -> tuple[Key, list[Change], list[Change], Drift]:
    drift = measure_drift(Profile.load(head["record"]), Profile.load(base["record"]), max_drift)
    had, has = _findings(before, base), _findings(after, head)
    known = {(change.kind, drift.renamed.get(change.layer, change.layer)) for change in had}
    still = {(change.kind, change.layer) for change in has}
    worse = [change for change in has if (change.kind, change.layer) not in known]
    better = [c for c in had if (c.kind, drift.renamed.get(c.layer, c.layer)) not in still]
    if has or not had:
        worse += _drifts(after, head, drift)
    return after, worse, better, drift


def _findings(key: Key, entry: Entry) -> list[Change]:
    """What the report itself says of a check; ``drift`` is left out, since it was found against another baseline."""
    found = entry.get("findings") or []
    usable = [item for item in found if isinstance(item, Mapping) and item.get("kind") != "drift"]
    return [_finding(key, entry, item) for item in usable]


def _finding(key: Key, entry: Entry, item: Mapping[str, Any]) -> Change:
    layers = item.get("layers") or [""]
    at = _at(key, entry)
    if place := Finding(kind="", layers=(), message="", where=str(item.get("where", ""))).place:
        at["file"], at["line"] = place
    return Change(
        **at,
        kind=str(item.get("kind", "")),
        code=str(item.get("code", "")),
        url=str(item.get("url", "")),
        layer=str(layers[0]),
        head=_number(item.get("value")),
        message=str(item.get("message", "")),
        cause=str(item.get("cause", "")),
        remedy=str(item.get("remedy", "")),
    )


def _drifts(key: Key, entry: Entry, drift: Drift) -> Iterator[Change]:
    """One change per number that moved, and one per finding that is about the whole model."""
    at = _at(key, entry)
    for found in drift.model:
        what: dict[str, Any] = {"kind": "drift", "factor": found.value, "cause": found.cause, "remedy": found.remedy}
        yield Change(**at, **what, message=found.message)
    if drift.layers is not None:
        why: dict[str, Any] = {"kind": "drift", "cause": drift.layers.cause, "remedy": drift.layers.remedy}
        yield from (Change(**at, **why, **_numbers(move), message=str(move)) for move in drift.moves)


def _numbers(move: Move) -> dict[str, Any]:
    return {name: getattr(move, name) for name in ("layer", "quantity", "base", "head", "factor")}


def _at(key: Key, entry: Entry) -> dict[str, Any]:
    line = entry.get("line")
    return {**_place(key), "file": str(entry.get("file", "")), "line": line if isinstance(line, int) else 0}


def _gravity(change: Change) -> tuple[bool, float]:
    return change.kind == "drift", -(change.factor or 0.0)


def _number(value: Any) -> float | None:
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None


def _plain(value: float | None) -> float | str | None:
    if value is None:
        return None
    return float(f"{value:.6g}") if math.isfinite(value) else str(value)


def _json_lines(value: Any) -> str:
    if not isinstance(value, list) or not value:
        return json.dumps(value, ensure_ascii=False)
    return "[\n" + ",\n".join(f"  {json.dumps(item, ensure_ascii=False)}" for item in value) + "\n ]"
