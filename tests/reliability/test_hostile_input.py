"""Whatever a file, a marker or an option holds, the answer is a verdict or the documented error."""

from __future__ import annotations

import ast
import importlib.util
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gradhealth import Limits, Settings
from pytest_gradhealth.__main__ import main
from pytest_gradhealth.errors import ConfigurationError
from pytest_gradhealth.report.baseline import read_baseline
from pytest_gradhealth.report.store import StoreError, read_raw, read_report

READERS = (read_report, read_raw, read_baseline)
anything: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    path = Path(__file__).parents[2] / "tools" / "fuzz.py"
    specification = importlib.util.spec_from_file_location("fuzz", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["fuzz"] = module
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind", ["report", "baseline", "marker", "option"])
def test_changed_inputs(fuzz: ModuleType, kind: str, tmp_path: Path) -> None:
    fuzzer = fuzz.Fuzzer(tmp_path, random.Random(0))
    answers = {fuzz.KINDS[kind](fuzzer) for _ in range(150)}
    assert len(answers) > 1, "nothing was changed, or everything is refused"


def refusal(action: Callable[[], object], otherwise: str) -> str:
    """What a value is refused with."""
    try:
        action()
    except ConfigurationError as error:
        return str(error)
    return otherwise


@given(st.sampled_from(sorted({*Limits.names(), "select", "ignore", "layers"})), anything)
def test_a_limit_of_any_value(name: str, value: Any) -> None:
    assert name in refusal(lambda: Limits(**{name: value}).to_dict(), name)


@given(st.sampled_from(["device", "seed", "max_batches"]), anything)
def test_a_setting_of_any_value(name: str, value: Any) -> None:
    assert name in refusal(lambda: Settings(**{name: value}), name)


@pytest.mark.parametrize("reader", READERS)
@given(content=st.binary(max_size=200) | anything.map(lambda value: repr(value).encode("utf-8", "replace")))
def test_a_file_of_any_bytes(reader: Any, tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(content)
    with pytest.raises(StoreError) as caught:
        reader(path)
    assert str(path) in str(caught.value)


DEEP = ("[" * 100_000, '{"schema": 1, "checks": ' + "[" * 100_000, '{"a":' * 100_000, "[" * 100_000 + "]" * 100_000)
LONG = ('{"schema": ' + "9" * 100_000 + "}", "9" * 100_000, '{"schema": 1' + "0" * 5000 + ', "checks": []}')


@pytest.mark.parametrize("text", [*DEEP, *LONG], ids=lambda text: text[:12])
@pytest.mark.parametrize("reader", READERS)
def test_deep_nesting_and_long_numbers(reader: Any, text: str, tmp_path: Path) -> None:
    path = tmp_path / "deep.json"
    path.write_text(text)
    with pytest.raises(StoreError) as caught:
        reader(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("reader", READERS)
def test_a_file_of_two_gigabytes_is_refused_unread(reader: Any, tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate(2 << 30)  # takes no room on the disk
    with pytest.raises(StoreError, match="2048 MiB; only files up to"):
        reader(path)


def test_the_command_says_so_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "deep.json"
    path.write_text(json.dumps({"schema": 1}))
    assert main(["show", str(path)]) == 2
    assert str(path) in capsys.readouterr().err


INI = ("max_ratio", "min_reach", "seed", "max_batches", "device", "baseline")


@pytest.mark.parametrize("value", ["", "x", "9" * 400, "-1", "nan", "1e999", "\u0663", "[[[["])
@pytest.mark.parametrize("name", INI)
def test_an_ini_file_of_any_value(name: str, value: str, pytester: pytest.Pytester) -> None:
    pytester.makeini(f"[pytest]\ngradhealth_{name} = {value}\n")
    pytester.makepyfile("def test_it(): pass")
    result = pytester.runpytest_inprocess()
    text = result.stdout.str() + result.stderr.str()
    assert "INTERNALERROR" not in text
    assert "Traceback" not in text
    assert result.ret in (0, 4), text
    if result.ret == 4:
        assert f"gradhealth_{name}" in text


DANGEROUS = {"dill", "ftplib", "http", "joblib", "marshal", "pickle", "requests", "shelve", "smtplib", "socket", "ssl", "urllib.request"}  # fmt: skip
ALLOWED = {
    ("measure/sharding/launch.py", "socket"): "asks this machine for a free port, for ranks on this machine",
    ("session/watching.py", "exec"): "a raise of its own making, so that a traceback ends at the user's line",
}
HOUSE = Path(importlib.util.find_spec("pytest_gradhealth").origin or "").parent  # type: ignore[union-attr]


def used(path: Path) -> set[str]:
    """What a module imports, and which of the functions it calls run or load what they are given."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.Import():
                names |= {alias.name for alias in node.names}
            case ast.ImportFrom():
                names.add(node.module or "")
            case ast.Call(func=ast.Name(id="eval" | "exec" as name)):
                names.add(name)
            case ast.Call(func=ast.Attribute(value=ast.Name(id="torch"), attr="load")):
                names.add("torch.load")
    return names & (DANGEROUS | {"eval", "exec", "torch.load"})


def test_nothing_that_is_read_is_run_unpickled_or_fetched() -> None:
    found = {(path.relative_to(HOUSE).as_posix(), name) for path in HOUSE.rglob("*.py") for name in used(path)}
    assert found == set(ALLOWED)
