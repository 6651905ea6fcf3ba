"""What a type checker says of the examples and of the public names."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import pytest_gradhealth

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
PRELUDE = """
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from pytest_gradhealth import *
from pytest_gradhealth import GradHealth, Limits

ResNet: Any = None
loss: Any = None
Net: Any = None
LitModel: Any = None
AutoModelForSequenceClassification: Any = None
TEXTS: Any = None
LABELS: Any = None
batch: Any = None
batches: Any = None
config: Any = None
inputs: Any = None
keras: Any = None
targets: Any = None
gradhealth: Any = None
make_model: Any = None
model: Any = None
"""
"""What stands around an excerpt."""
UNTYPED = 'error: Call to untyped function "apply" of "Function"'
"""torch gives `torch.autograd.Function` no types, and mypy counts it as the example's."""


def examples() -> dict[str, str]:
    """Every Python block of the documentation that uses the package, as a module."""
    found = {}
    for page in PAGES:
        blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
        for number, block in enumerate(blocks):
            found[f"{page.stem.replace('-', '_')}_{number}"] = prelude_of(block) + annotated(block)
    return found


def prelude_of(block: str) -> str:
    """What stands around an excerpt, without the names that it makes itself."""
    own = set(re.findall(r"^(?:def|class) (\w+)", block, re.MULTILINE))
    own |= {name for names in re.findall(r"^from \w+ import (.*)", block, re.MULTILINE) for name in names.split(", ")}
    return "\n".join(line for line in PRELUDE.splitlines() if line.partition(":")[0] not in own) + "\n"


def annotated(code: str) -> str:
    """With the annotations that the author of a strict project adds to the functions of an example."""

    def signature(match: re.Match[str]) -> str:
        types = {"gradhealth": "GradHealth"}
        names = [name.strip() for name in match[2].split(",") if name.strip()]
        arguments = ", ".join(
            re.sub(r"^(\**(\w+))(?=$|=)", lambda m: f"{m[1]}: {types.get(m[2], 'Any')}", name) for name in names
        )
        return f"def {match[1]}({arguments}) -> {'None' if match[1].startswith(('test', '__init__')) else 'Any'}:"

    return re.sub(r"def (\w+)\((.*?)\):", signature, code)


@pytest.fixture(scope="module")
def verdict(tmp_path_factory: pytest.TempPathFactory) -> str:
    pytest.importorskip("mypy")
    folder = tmp_path_factory.mktemp("typed")
    names = "\n".join(f"reveal_type(pytest_gradhealth.{name})" for name in pytest_gradhealth.__all__)
    for name, code in {
        **examples(),
        "wrong": "from pytest_gradhealth import Measurment\n",
        "limits": PRELUDE
        + """
def test_it(gradhealth: GradHealth, model: nn.Module) -> None:
    gradhealth.check(model, [], min_rech=1e-3)
    gradhealth.check(model, [], layers={"head": {"min_norm": "small"}})
    gradhealth.selftest(model, [], max_dead="never")
    Limits().min_rech
""",
        "names": f"import pytest_gradhealth\n{names}\n",
        "watched": PRELUDE
        + """
def test_it(gradhealth: GradHealth, model: nn.Module) -> None:
    with gradhealth.watch(model) as watched:
        pass
    reveal_type(watched.records[0]["fc"].norm)
    reveal_type(gradhealth.check(model, []))
""",
    }.items():
        (folder / f"{name}.py").write_text(code, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--ignore-missing-imports",
        "--no-error-summary",
        "--config-file=",
    ]
    # torch leaves Tensor.backward without types.
    command += ["--untyped-calls-exclude=torch", "--follow-imports=silent", f"--cache-dir={folder / 'cache'}", "."]
    return subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", check=False).stdout


@pytest.mark.parametrize("name", examples())
def test_a_strict_type_checker_accepts_every_example(verdict: str, name: str) -> None:
    told = [line for line in verdict.splitlines() if line.startswith(f"{name}.py") and ": error:" in line]
    assert [line for line in told if UNTYPED not in line] == []


def test_a_wrong_name_is_an_error(verdict: str) -> None:
    assert 'wrong.py:1: error: Module "pytest_gradhealth" has no attribute "Measurment"' in verdict


def test_a_wrong_limit_is_an_error(verdict: str) -> None:
    told = "\n".join(line for line in verdict.splitlines() if line.startswith("limits.py"))
    assert 'Unexpected keyword argument "min_rech" for "check"' in told
    assert 'TypedDict item "min_norm" has type' in told
    assert '"max_dead"' in told
    assert '"Limits" has no attribute "min_rech"' in told


def test_every_public_name_has_a_type(verdict: str) -> None:
    told = [line for line in verdict.splitlines() if line.startswith("names.py")]
    assert len(told) == len(pytest_gradhealth.__all__)
    assert not [line for line in told if ": error:" in line or '"Any"' in line]


def test_what_the_fixture_gives_back_is_typed(verdict: str) -> None:
    assert 'note: Revealed type is "float | None"' in verdict
    assert 'note: Revealed type is "pytest_gradhealth.results.Measurement"' in verdict
