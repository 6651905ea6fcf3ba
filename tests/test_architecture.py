"""The rooms of the house and who may enter which, by an AST walk."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import pytest_gradhealth

HOUSE = Path(pytest_gradhealth.__file__).parent
MODULES = {
    ".".join(("pytest_gradhealth", *path.relative_to(HOUSE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(HOUSE.rglob("*.py"))
}
PYTEST_SIDE = {"plugin", "session"}


def room(module: str) -> str:
    """``pytest_gradhealth.judge.rules`` is in the room ``judge``."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


@cache
def imports(module: str, typing_too: bool = False) -> tuple[str, ...]:
    """Every module that a module imports at run time, at its top or within a function."""
    return tuple(_imports(module, typing_too))


def _imports(module: str, typing_too: bool) -> Iterator[str]:
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).removeprefix("typing.") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only and not typing_too:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports by a relative name"
            base = node.module or ""
            yield from (found if (found := f"{base}.{alias.name}") in MODULES else base for alias in node.names)


def own(module: str, typing_too: bool = False) -> set[str]:
    """The rooms of this package that a module imports, besides its own."""
    rooms = {room(found) for found in imports(module, typing_too) if found.split(".")[0] == "pytest_gradhealth"}
    return rooms - {room(module)}


def within(place: str) -> list[str]:
    return [module for module in MODULES if room(module) == place]


ALLOWED = {
    "": set(),
    "record": set(),
    "errors": set(),
    "hookspecs": set(),
    "judge": {"record", "errors"},
    "report": {"record", "errors", "judge"},
    "measure": {"record", "errors"},
    "settings": {"errors", "judge"},
    "results": {"record", "errors", "report"},
    "on_ranks": {"errors", "measure", "record", "report", "settings"},
    "examiner": {"record", "errors", "judge", "measure", "report", "hookspecs", "settings"},
    "checks": {"examiner", "on_ranks", "record", "errors", "judge", "measure", "report", "settings", "results"},
    "experiment": {"record", "errors", "judge", "measure", "report", "settings", "checks"},
    "explain": {"judge"},
    "command": {"record", "errors", "judge", "measure", "report", "settings", "checks"},
}


@pytest.mark.parametrize("module", [module for module in MODULES if room(module) in ALLOWED])
def test_a_room_imports_only_what_it_may(module: str) -> None:
    assert own(module) <= ALLOWED[room(module)]


@pytest.mark.parametrize("module", [*within("record"), *within("errors"), *within("measure")])
def test_not_even_for_its_types(module: str) -> None:
    """``errors`` knows a check by name only: what it carries."""
    allowed = ALLOWED[room(module)] | ({"record"} if room(module) == "errors" else set())
    assert own(module, typing_too=True) <= allowed


@pytest.mark.parametrize("module", within("report"))
def test_reports_know_of_the_judge_only_the_drift_and_what_the_rules_are(module: str) -> None:
    assert {found for found in imports(module) if room(found) == "judge"} <= {
        "pytest_gradhealth.judge.drift",
        "pytest_gradhealth.judge.registry",
    }


@pytest.mark.parametrize("module", MODULES)
def test_pytest_is_known_on_its_own_side_only(module: str) -> None:
    knows = any(found.split(".")[0] in ("pytest", "_pytest") for found in imports(module))
    assert not knows or room(module) in PYTEST_SIDE


@pytest.mark.parametrize("module", MODULES)
def test_torch_lives_where_models_are_measured_and_changed(module: str) -> None:
    assert room(module) in ("measure", "experiment") or not any(
        found.split(".")[0] == "torch" for found in imports(module)
    )


@pytest.mark.parametrize("module", MODULES)
def test_pytests_inside_is_left_alone(module: str) -> None:
    assert not any(found.split(".")[0] == "_pytest" for found in imports(module, typing_too=True))


@pytest.mark.parametrize("module", MODULES)
def test_nothing_imports_the_plugin(module: str) -> None:
    assert not any(room(found) == "plugin" for found in imports(module, typing_too=True))


@pytest.mark.parametrize("module", [*within("judge"), *within("report"), *within("record"), *within("measure")])
def test_no_room_below_knows_the_pytest_side(module: str) -> None:
    assert not own(module, typing_too=True) & PYTEST_SIDE


def test_no_file_has_more_than_400_lines() -> None:
    lengths = {module: len(path.read_text(encoding="utf-8").splitlines()) for module, path in MODULES.items()}
    assert {module: length for module, length in lengths.items() if length > 400} == {}


def test_the_package_itself_imports_nothing() -> None:
    assert list(imports("pytest_gradhealth")) == ["importlib"]  # within __getattr__


def test_every_room_is_known_to_this_test() -> None:
    assert {room(module) for module in MODULES} == set(ALLOWED) | PYTEST_SIDE | {"__main__", "compare"}
