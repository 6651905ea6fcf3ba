"""The report as a JSON document: written whole, read back with every fault named.

The layout is made for two readers. A person gets one line per layer. ``compare``, which needs neither the forward
signals nor the second look nor most of what is said of a layer, cuts those out before the text is decoded (see
:func:`read_raw`).
"""

from __future__ import annotations

import gc
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pytest_gradhealth.record import Check
from pytest_gradhealth.record.plain import encode
from pytest_gradhealth.report.files import write_text
from pytest_gradhealth.report.validate import first_fault

__all__ = [
    "SCHEMA_VERSION",
    "UNSTORED",
    "Report",
    "StoreError",
    "StoredCheck",
    "describe_environment",
    "load_json",
    "no_garbage_collection",
    "read_raw",
    "read_report",
    "report_schema",
    "write_report",
]

SCHEMA_VERSION = 1
UNSTORED = "histogram"
"""Field of a layer that is drawn and not stored: it is several times as long as all else that is said of the layer."""
LARGEST_FILE = 1 << 30
"""Bytes; a larger file is refused before it is read."""

_FIELD = '\n   "'
"""How a field of a record starts, and nothing else in the file does."""
_LATER, _SIGNALS, _LAYERS = f'{_FIELD}later": ', f'{_FIELD}signals": [\n', f'{_FIELD}layers": [\n'
_BLOCK_END = "\n   ],"
_UNNEEDED = {_LATER.encode(): b"\n", _SIGNALS.encode(): _BLOCK_END.encode()}
"""Starts of what ``compare`` does not need, with the end; a final newline belongs to what follows."""
_COMPARED = ("name", "kind", "shape", "norm", "reach", "signal", "gain", "weight_norm")
"""What ``compare`` needs of a layer. It stands first in the line, and only what follows it has two spaces before it."""
_GAP = ",  "
_REST = b',  "'


class StoreError(ValueError):
    """A file that cannot be used, with the file, the place and the way out in its message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCheck:
    """One check of one test."""

    test: str
    """Node id of the test."""
    file: str
    """File of the test, relative to the root of the tests, with forward slashes."""
    line: int = 0
    """Line of the test in its file, from 1; 0: unknown."""
    outcome: str = "passed"
    """What pytest made of the test: `passed`, `failed`, `xfailed`, `skipped`, ..."""
    check: Check
    """What was measured and found."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data: the test beside the check's own fields."""
        place = {"test": self.test, "file": self.file, "line": self.line, "outcome": self.outcome}
        return {**place, **self.check.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> StoredCheck:
        """The inverse of :meth:`to_dict`.

        Raises:
            TypeError, ValueError: a required field is missing, or a value is of another type.
        """
        place = {name: data[name] for name in ("test", "file", "line", "outcome") if name in data}
        return cls(**place, check=Check.from_dict(data))


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All checks of one test session."""

    checks: tuple[StoredCheck, ...] = ()
    environment: Mapping[str, Any] = field(default_factory=dict)
    """Where it ran: versions, platform, hardware; JSON-safe."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What extensions add; JSON-safe."""
    tool: Mapping[str, str] = field(default_factory=lambda: tool())
    """Name and version of what wrote it."""

    @property
    def healthy(self) -> bool:
        """Whether nothing was found in any check."""
        return all(stored.check.healthy for stored in self.checks)


def tool() -> dict[str, str]:
    """Name and version of this package; version ``unknown`` where it runs without being installed."""
    from importlib import metadata

    try:
        version = metadata.version("pytest-gradhealth")
    except metadata.PackageNotFoundError:
        version = "unknown"
    return {"name": "pytest-gradhealth", "version": version}


def describe_environment() -> dict[str, str]:
    """What any report can say of where it ran: the versions of Python and of the platform."""
    import platform

    return {"python": platform.python_version(), "platform": platform.platform(terse=True)}


@cache
def report_schema() -> dict[str, Any]:
    """The published JSON Schema (draft 2020-12) of the report."""
    from importlib import resources  # takes a fifth of the time in which compare starts, and compare needs no schema

    text = resources.files(__package__).joinpath("schema-1.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def write_report(path: str | os.PathLike[str], report: Report) -> None:
    """Write a report atomically, as UTF-8 JSON with one line per layer.

    Raises:
        OSError: the file cannot be written; what was there before is untouched.
        TypeError: ``environment`` or ``metadata`` hold what JSON cannot say.
    """
    head = {"schema": SCHEMA_VERSION, "tool": report.tool, "environment": encode(report.environment)}
    if report.metadata:
        head["metadata"] = encode(report.metadata)
    lines = [f" {_dumps(name)}: {_dumps(value)}," for name, value in head.items()]
    checks = ",\n".join(map(_check_text, report.checks))
    write_text(path, "\n".join(["{", *lines, f' "checks": [\n{checks}\n ]\n}}\n']))


def read_report(path: str | os.PathLike[str]) -> Report:
    """Read and check a whole report.

    Raises:
        StoreError: the file is missing, unreadable, of another format or version, or broken in some place.
    """
    data = _versioned(path, load_json(path))
    with _not_too_deep(path):
        fault = first_fault(data, report_schema())
        if fault:
            raise StoreError(f"{path}: {fault}; this is not a report as pytest --gradhealth-json writes it")
        checks = tuple(_stored(path, index, item) for index, item in enumerate(data["checks"]))
    return Report(
        checks=checks,
        environment=data.get("environment", {}),
        metadata=data.get("metadata", {}),
        tool=data.get("tool", {}),
    )


def read_raw(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The document as plain data with no more of a record than ``compare`` needs: quick, for many large reports.

    Only the outside is checked: whoever uses a check's inside must expect any JSON value there.

    Raises:
        StoreError: as in :func:`read_report`, for what can be seen from outside.
    """
    data = _versioned(path, load_json(path, trim=_trim))
    for index, item in enumerate(data["checks"]):
        fields = {"test": str, "name": str, "record": dict}
        if not isinstance(item, dict) or any(not isinstance(item.get(name), kind) for name, kind in fields.items()):
            raise StoreError(f"{path}: checks[{index}]: expected an object with test, name and record")
    return data


def load_json(path: str | os.PathLike[str], trim: Any = None, **decoder: Any) -> Any:
    """Decode a JSON file. ``trim`` may shorten its bytes first; it is ignored where that breaks the document.

    Raises:
        StoreError: the file cannot be read or is no JSON; the message names the line and what likely happened.
    """
    content = _read(path)
    with no_garbage_collection():
        if trim is not None:
            try:
                return json.loads(trim(content).decode("utf-8-sig"), **decoder)
            except (ValueError, RecursionError):
                pass  # Read it whole, so that the place of the fault is the one in the file.
        text = _decoded(path, content)
        try:
            with _not_too_deep(path):
                return json.loads(text, **decoder)
        except json.JSONDecodeError as error:
            raise StoreError(_explain(path, text, error)) from None
        except StoreError:
            raise
        except ValueError as error:
            raise StoreError(f"{path}: {error}") from None


@contextmanager
def _not_too_deep(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except RecursionError:
        raise StoreError(f"{path}: the values are nested too deeply; this is not a gradhealth file") from None


def _read(path: str | os.PathLike[str]) -> bytes:
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise StoreError(f"{path}: is not a file")
        if status.st_size > LARGEST_FILE:
            raise StoreError(f"{path}: {status.st_size >> 20} MiB; only files up to {LARGEST_FILE >> 20} MiB are read")
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise StoreError(f"{path}: no such file") from None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # a path with a null byte; StoreError passes through
        raise error if isinstance(error, StoreError) else StoreError(f"{path!r}: {error}") from None


def _decoded(path: str | os.PathLike[str], content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise StoreError(f"{path}: not UTF-8 text at byte {error.start}; write the file again") from None


def _explain(path: str | os.PathLike[str], text: str, error: json.JSONDecodeError) -> str:
    if not text.strip():
        return f"{path}: is empty; write it again, or delete it"
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if line.startswith(("<<<<<<< ", ">>>>>>> ", "||||||| ")):
            return f"{path}:{number}: holds a merge conflict; resolve it, or take one side and write it again"
    if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
        return f"{path}:{error.lineno}: ends in the middle of a value, so it was cut short; write it again"
    return f"{path}:{error.lineno}:{error.colno}: not JSON: {error.msg}"


def _versioned(path: str | os.PathLike[str], data: Any) -> dict[str, Any]:
    if not isinstance(data, dict) or "checks" not in data:
        raise StoreError(f"{path}: not a gradhealth report; pytest --gradhealth-json PATH writes one")
    version = data.get("schema")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise StoreError(f"{path}: schema: expected the format's version, a number from 1 to {SCHEMA_VERSION}")
    if version > SCHEMA_VERSION:
        raise StoreError(f"{path}: schema: format {version} is newer than {SCHEMA_VERSION}; upgrade pytest-gradhealth")
    if not isinstance(data["checks"], list):
        raise StoreError(f"{path}: checks: expected an array")
    return data


def _stored(path: str | os.PathLike[str], index: int, item: Mapping[str, Any]) -> StoredCheck:
    try:
        return StoredCheck.from_dict(item)
    except (TypeError, ValueError, OverflowError) as error:
        raise StoreError(f"{path}: checks[{index}]: {error}") from None


def _check_text(stored: StoredCheck) -> str:
    data = stored.to_dict()
    record = _storable(data.pop("record"))
    layers, signals = record.pop("layers", ()), record.pop("signals", ())
    later = record.pop("later", None)
    parts = ["  ", _dumps(data)[:-1], ', "record": ', _dumps(record)[:-1], ","]
    if later is not None:
        parts += [_LATER, _dumps(later), ","]
    if signals:
        parts += [_SIGNALS, _lines(signals), _BLOCK_END]
    return "".join([*parts, _LAYERS, ",\n".join(map(_layer_text, layers)), "\n   ]}}"])


def _layer_text(layer: Mapping[str, Any]) -> str:
    compared = {name: layer[name] for name in _COMPARED if name in layer}
    rest = {name: value for name, value in layer.items() if name not in compared}
    return f"    {_dumps(compared)[:-1]}{_GAP}{_dumps(rest)[1:]}" if rest else f"    {_dumps(compared)}"


def _storable(record: dict[str, Any]) -> dict[str, Any]:
    layers = [{name: value for name, value in layer.items() if name != UNSTORED} for layer in record.get("layers", ())]
    later = {"later": _storable(record["later"])} if "later" in record else {}
    return {**record, "layers": layers, **later}


def _lines(items: Any) -> str:
    return ",\n".join(f"    {_dumps(item)}" for item in items)


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _trim(content: bytes) -> bytes:
    """Cut out what :func:`_check_text` wrote for others than ``compare``, in time that grows with the length alone."""
    kept, position, found = [], 0, -1
    # An end that comes no more is not looked for again: a hostile file has a million starts without one.
    ends = dict(_UNNEEDED)
    while (found := content.find(_FIELD.encode(), found + 1)) >= 0:
        start = next((start for start in ends if content.startswith(start, found)), None)
        if start is None:
            continue
        stop = content.find(ends[start], found + 1)
        if stop < 0:
            del ends[start]
            continue
        kept.append(content[position:found])
        position = stop + len(ends[start].rstrip(b"\n"))
        found = position - 1
    return _without_rest(b"".join([*kept, content[position:]]) if kept else content)


def _without_rest(content: bytes) -> bytes:
    """What ``compare`` needs of each layer's line. Not a pattern: on a line without an end it would start over."""
    return b"\n".join(map(_line_without_rest, content.split(b"\n")))


def _line_without_rest(line: bytes) -> bytes:
    start, end = line.find(_REST), line.rfind(b"}")
    return line[:start] + line[end:] if 0 <= start < end else line


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Decoding makes a million containers and no cycle; collecting among them doubles the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
