"""The baseline: the few numbers of each check that a team has accepted, in a file whose diff a reviewer can read.

One JSON file holds all tests: node id, then check, device and precision, both sorted, then one line per layer in
forward order with floats of four significant digits. An update touches what ran and deletes nothing; a check whose
numbers moved by less than a hundredth keeps its old lines, so that rounding does not fill the diff.
"""

from __future__ import annotations

import json
import math
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pytest_gradhealth.record import Finding, GradientRecord, LayerGradient
from pytest_gradhealth.report.files import write_text
from pytest_gradhealth.report.store import StoredCheck, StoreError, load_json
from pytest_gradhealth.report.validate import first_fault

__all__ = [
    "NO_ENTRY",
    "Baseline",
    "Fault",
    "Key",
    "accept_command",
    "read_baseline",
    "update_baseline",
    "write_baseline",
]

NO_ENTRY = "no baseline entry"
"""Title of the finding that a check has none."""
BASELINE_VERSION = 1
DIGITS = 4
SETTLED = 0.01
"""Relative change below which an update keeps the numbers that are there."""

_FACTS = ("model", "torch", "seed", "batches", "samples", "loss")
_NUMBERS = {"norm": "norm", "reach": "reach", "signal": "signal", "gain": "gain", "weight": "weight_norm"}
"""Names in the file, and in a layer."""

_NUMBER = {"anyOf": [{"type": ["number", "null"]}, {"enum": ["nan", "inf", "-inf"]}]}
_LAYER = {
    "type": "object",
    "required": ["kind"],
    "properties": {
        "kind": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        **dict.fromkeys(_NUMBERS, _NUMBER),
    },
}
_FAULT = {
    "type": "object",
    "required": ["rule", "layers"],
    "properties": {"rule": {"type": "string"}, "layers": {"type": "array", "items": {"type": "string"}}},
}
_ENTRY = {
    "type": "object",
    "required": ["layers"],
    "properties": {
        "model": {"type": "string"},
        "torch": {"type": "string"},
        "seed": {"type": ["integer", "null"]},
        "batches": {"type": "integer"},
        "samples": {"type": ["integer", "null"]},
        "loss": _NUMBER,
        "layers": {"type": "object", "additionalProperties": _LAYER},
        "accepted": {"type": "array", "items": _FAULT},
    },
}
_SCHEMA = {
    "type": "object",
    "required": ["schema", "checks"],
    "properties": {
        "schema": {"type": "integer", "minimum": 1},
        "checks": {"type": "object", "additionalProperties": {"type": "object", "additionalProperties": _ENTRY}},
    },
}


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """What a baseline's entry belongs to."""

    test: str
    """Node id."""
    check: str
    device: str
    precision: str

    @classmethod
    def of(cls, test: str, check: str, record: GradientRecord) -> Key:
        """The key of a record that ``test`` measured."""
        return cls(test, check, record.device, record.precision)

    @property
    def label(self) -> str:
        """The key below its test in the file."""
        return f"{self.check}, {self.device}, {self.precision}"


class Fault(NamedTuple):
    """An accepted finding."""

    rule: str
    """The kind of the finding."""
    layers: frozenset[str]

    @classmethod
    def of(cls, finding: Finding) -> Fault:
        """What is kept of a finding."""
        return cls(finding.kind, frozenset(finding.layers))

    def covers(self, finding: Finding) -> bool:
        """Whether the finding is this one, or a part of it."""
        return finding.kind == self.rule and self.layers.issuperset(finding.layers)

    def __str__(self) -> str:
        return f"{self.rule} at {', '.join(sorted(self.layers))}" if self.layers else self.rule


@dataclass(frozen=True, slots=True)
class Baseline:
    """Accepted records, reduced to what is compared, and the findings that were accepted with them."""

    records: Mapping[Key, GradientRecord] = field(default_factory=dict)
    faults: Mapping[Key, tuple[Fault, ...]] = field(default_factory=dict)

    def find(self, key: Key) -> GradientRecord | None:
        """The accepted record; where there is none, that of the same check on another device or in another precision.

        The same precision on another device comes first. The record says what it was measured on.
        """
        found = self.nearest(key)
        return None if found is None else self.records[found]

    def accepts(self, key: Key, finding: Finding) -> bool:
        """Whether a finding was accepted, at all layers that it names."""
        found = self.nearest(key)
        return found is not None and any(fault.covers(finding) for fault in self.faults.get(found, ()))

    def nearest(self, key: Key) -> Key | None:
        """The key of the entry that counts for a check."""
        if key in self.records:
            return key
        others = [other for other in self.records if (other.test, other.check) == (key.test, key.check)]
        if not others:
            return None
        return min(others, key=lambda other: (other.precision != key.precision, other))

    def without(self, entries: Iterable[Key]) -> Baseline:
        """This baseline without some entries."""
        gone = set(entries)
        return Baseline(
            {key: record for key, record in self.records.items() if key not in gone},
            {key: found for key, found in self.faults.items() if key not in gone},
        )

    def merged(self, checks: Iterable[StoredCheck]) -> Baseline:
        """This baseline with the records of ``checks`` in place of its own; what did not run stays."""
        records, faults = dict(self.records), dict(self.faults)
        for stored in checks:
            key, record = Key.of(stored.test, stored.check.name, stored.check.record), stored.check.record
            if key not in records or not _settled(records[key], record):
                records[key] = record
            faults[key] = tuple(sorted(map(Fault.of, stored.check.accepted), key=str))
        return Baseline(records, {key: found for key, found in faults.items() if found})


def read_baseline(path: str | os.PathLike[str], *, missing_ok: bool = False) -> Baseline:
    """Read and check a baseline.

    Args:
        path: the file.
        missing_ok: a file that is not there is an empty baseline, for a first update.

    Raises:
        StoreError: the file is missing, unreadable, in conflict, cut short, of another format or broken in some place.
    """
    if missing_ok and not os.path.lexists(path):
        return Baseline()
    data = load_json(path, object_pairs_hook=_unique)
    if isinstance(data, dict) and isinstance(data.get("checks"), list):
        raise StoreError(
            f"{path}: is a report, not a baseline; --gradhealth-baseline PATH --gradhealth-update writes one"
        )
    fault = first_fault(data, _SCHEMA)
    if fault:
        raise StoreError(f"{path}: {fault}; correct it, or delete the entry and accept it anew")
    if data["schema"] > BASELINE_VERSION:
        raise StoreError(
            f"{path}: schema: {data['schema']} is newer than {BASELINE_VERSION}; upgrade pytest-gradhealth"
        )
    return Baseline(dict(_records(path, data["checks"])), dict(_faults(data["checks"])))


def write_baseline(path: str | os.PathLike[str], baseline: Baseline) -> None:
    """Write a baseline atomically.

    Raises:
        OSError: the file cannot be written; what was there before is untouched.
    """
    write_text(path, _text(baseline))


def update_baseline(path: str | os.PathLike[str], checks: Iterable[StoredCheck]) -> tuple[Key, ...]:
    """Accept the records of ``checks``: merge them into the file, which is left alone where nothing changed.

    Returns:
        The keys whose entries are new or changed, sorted.

    Raises:
        StoreError, OSError: the file there cannot be used or written; it is then untouched.
    """
    before = read_baseline(path, missing_ok=True)
    after = before.merged(checks)
    changed = tuple(
        sorted(
            key
            for key, record in after.records.items()
            if before.records.get(key) is not record or before.faults.get(key) != after.faults.get(key)
        )
    )
    if changed or not os.path.lexists(path):
        write_baseline(path, after)
    return changed


def accept_command(path: str | os.PathLike[str], test: str = "") -> str:
    """The command line that accepts what ``test`` (empty: every test) measures now."""
    parts = ["pytest", *([test] if test else []), f"--gradhealth-baseline={os.fspath(path)}", "--gradhealth-update"]
    return shlex.join(parts)


def _settled(old: GradientRecord, new: GradientRecord) -> bool:
    """Whether an entry says the same but for rounding."""
    if _plain_facts(old) != _plain_facts(new) or old.names != new.names:
        return False
    columns = (
        [(getattr(a, name), getattr(b, name)) for a, b in zip(old, new, strict=True)] for name in _NUMBERS.values()
    )
    same_kind = all((a.kind, tuple(a.shape)) == (b.kind, tuple(b.shape)) for a, b in zip(old, new, strict=True))
    return same_kind and _close([(old.loss, new.loss)]) and all(map(_close, columns))


def _plain_facts(record: GradientRecord) -> list[Any]:
    return [getattr(record, name) for name in _FACTS if name != "loss"]


def _close(pairs: list[tuple[float | None, float | None]]) -> bool:
    noise = 1e-6 * max((abs(a) for a, _ in pairs if a is not None and math.isfinite(a)), default=0.0)
    return all(
        a == b
        or (a is not None and b is not None and (math.isclose(a, b, rel_tol=SETTLED, abs_tol=noise) or a != a != b))
        for a, b in pairs
    )


def _records(path: str | os.PathLike[str], checks: Mapping[str, Any]) -> Iterator[tuple[Key, GradientRecord]]:
    for test, entries in checks.items():
        for label, entry in entries.items():
            parts = label.rsplit(", ", 2)
            if len(parts) != 3:
                raise StoreError(f"{path}: checks[{test!r}]: expected a key as in 'Net, cpu, float32', got {label!r}")
            key = Key(test, *parts)
            try:
                yield key, _record(key, entry)
            except (TypeError, ValueError, OverflowError) as error:
                raise StoreError(f"{path}: checks[{test!r}][{label!r}]: {error}") from None


def _faults(checks: Mapping[str, Any]) -> Iterator[tuple[Key, tuple[Fault, ...]]]:
    for test, entries in checks.items():
        for label, entry in entries.items():
            found = tuple(Fault(item["rule"], frozenset(item["layers"])) for item in entry.get("accepted", ()))
            if found:
                yield Key(test, *label.rsplit(", ", 2)), found


def _record(key: Key, entry: Mapping[str, Any]) -> GradientRecord:
    layers = [_layer(order, name, data) for order, (name, data) in enumerate(entry["layers"].items())]
    facts = {name: entry[name] for name in _FACTS if name in entry}
    if facts.get("loss") is not None:
        facts["loss"] = float(facts["loss"])
    return GradientRecord(
        **{"model": key.check, **facts}, device=key.device, precision=key.precision, layers=tuple(layers)
    )


def _layer(order: int, name: str, data: Mapping[str, Any]) -> LayerGradient:
    shape = tuple(data.get("shape", ()))
    size = max(math.prod(shape), 1)
    numbers = {long: _number(data.get(short)) for short, long in _NUMBERS.items()}
    numbers["reach"], numbers["weight_norm"] = numbers["reach"] or 0.0, numbers["weight_norm"] or 0.0
    return LayerGradient(
        name=name,
        kind=data["kind"],
        order=order,
        parameters=size,
        trainable=size,
        shape=shape,
        **numbers,  # type: ignore[arg-type]
    )


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A merge can leave the same entry twice, of which JSON would silently keep the last."""
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} is there twice, as after a merge; keep one of the two")
    return made


def _text(baseline: Baseline) -> str:
    tests: dict[str, list[str]] = {}
    for key in sorted(baseline.records):
        tests.setdefault(key.test, []).append(_entry_text(key, baseline.records[key], baseline.faults.get(key, ())))
    body = ",\n".join(f"  {_dumps(test)}: {{\n" + ",\n".join(texts) + "\n  }" for test, texts in tests.items())
    return f'{{\n "schema": {BASELINE_VERSION},\n "checks": {{\n{body}\n }}\n}}\n'


def _entry_text(key: Key, record: GradientRecord, faults: Sequence[Fault]) -> str:
    facts = {name: _short(getattr(record, name)) for name in _FACTS}
    lines = [f"    {_dumps(name)}: {_dumps(value)}" for name, value in facts.items() if value is not None]
    if faults:
        told = ",\n".join(f"     {_dumps({'rule': f.rule, 'layers': sorted(f.layers)})}" for f in faults)
        lines.append(f'    "accepted": [\n{told}\n    ]')
    layers = ",\n".join(f"     {_dumps(layer.name)}: {_layer_text(layer)}" for layer in record)
    lines.append(f'    "layers": {{\n{layers}\n    }}')
    return f"   {_dumps(key.label)}: {{\n" + ",\n".join(lines) + "\n   }"


def _layer_text(layer: LayerGradient) -> str:
    numbers = {short: _short(getattr(layer, long)) for short, long in _NUMBERS.items()}
    known = {name: value for name, value in numbers.items() if value is not None}
    return _dumps({"kind": layer.kind, "shape": list(layer.shape), **known})


def _short(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return str(value)
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short.is_integer() and abs(short) < 10**DIGITS else short


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
