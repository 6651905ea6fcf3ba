"""Write pytest_gradhealth/report/schema-1.json from the dataclasses that the report holds.

Run it after a change to record/: ``python tools/report_schema.py``. A test holds the file equal to this.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_gradhealth.record import Check
from pytest_gradhealth.report import store

TARGET = Path(store.__file__).with_name("schema-1.json")
SCALARS = {str: "string", int: "integer", bool: "boolean"}
NUMBER = {
    "description": "A number; non-finite ones are strings, since JSON has no word for them.",
    "anyOf": [{"type": "number"}, {"enum": ["nan", "inf", "-inf"]}],
}
FREE = {"type": "object"}


def schema() -> dict[str, Any]:
    """The JSON Schema of a report: the envelope of store.py around the dataclasses of record/."""
    definitions = {cls.__name__: _definition(cls) for cls in sorted(_reachable(Check), key=lambda cls: cls.__name__)}
    check = definitions["Check"]
    check["required"] = ["test", "file", "line", "outcome", *check["required"]]
    check["properties"] = _envelope(store.StoredCheck) | check["properties"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:pytest-gradhealth:report:1",
        "title": "pytest-gradhealth report",
        "description": "Every check of one test session: what was measured and what was found.",
        "type": "object",
        "required": ["schema", "checks"],
        "properties": {
            "schema": {"const": 1, "type": "integer", "description": "Version of this format."},
            "tool": {
                "type": "object",
                "description": "What wrote the file.",
                "properties": {"name": {"type": "string"}, "version": {"type": "string"}},
            },
            "environment": {**FREE, "description": "Where it ran: versions, platform, hardware."},
            "metadata": {**FREE, "description": "What extensions add."},
            "checks": {"type": "array", "items": {"$ref": "#/$defs/Check"}},
        },
        "$defs": {"number": NUMBER, **definitions},
    }


def _reachable(cls: type) -> set[type]:
    """The class and every dataclass that one of its fields holds."""
    found, waiting = {cls}, list(_hints(cls).values())
    while waiting:
        hint = waiting.pop()
        waiting += typing.get_args(hint)
        if dataclasses.is_dataclass(hint) and isinstance(hint, type) and hint not in found:
            found.add(hint)
            waiting += _hints(hint).values()
    return found


def _hints(cls: type) -> dict[str, Any]:
    """The type of every field that is stored."""
    return {name: hint for name, hint in typing.get_type_hints(cls).items() if name != store.UNSTORED}


def _envelope(cls: type) -> dict[str, Any]:
    names = [field.name for field in dataclasses.fields(cls) if field.name != "check"]
    return {name: value for name, value in _definition(cls)["properties"].items() if name in names}


def _definition(cls: type) -> dict[str, Any]:
    hints, texts = _hints(cls), _descriptions(cls)
    fields = [field for field in dataclasses.fields(cls) if field.name in hints]
    missing = dataclasses.MISSING
    return {
        "type": "object",
        "description": inspect.getdoc(cls) or "",
        "required": [f.name for f in fields if f.default is missing and f.default_factory is missing],
        "properties": {f.name: _property(hints[f.name], texts.get(f.name, ""), f) for f in fields},
    }


def _property(hint: Any, text: str, field: dataclasses.Field[Any]) -> dict[str, Any]:
    made = _type(hint)
    if text:
        made = {"description": text, **made}
    if field.default is not dataclasses.MISSING:
        made["default"] = list(field.default) if isinstance(field.default, tuple) else field.default
    return made


def _type(hint: Any) -> dict[str, Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_type(part) for part in arguments]}
    if origin is tuple:
        return {"type": "array", "items": _type(arguments[0])}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _type(arguments[1])} if arguments[1] is str else dict(FREE)
    if hint is types.NoneType:
        return {"type": "null"}
    if hint is float:
        return {"$ref": "#/$defs/number"}
    return {"type": SCALARS[hint]} if hint in SCALARS else {"$ref": f"#/$defs/{hint.__name__}"}


def _descriptions(cls: type) -> dict[str, str]:
    """The string that follows each field in the class's source."""
    body = ast.parse(inspect.getsource(cls)).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            found[ast.unparse(field.target)] = " ".join(str(text.value.value).replace("``", "`").split())
    return found


def text() -> str:
    """The schema file's content."""
    return json.dumps(schema(), indent=2) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8", newline="\n")
    print(f"wrote {TARGET}")
