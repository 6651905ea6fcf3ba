"""The worked example of CONTRIBUTING.md: one file adds a rule with its limit, option and page."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
Run = Callable[..., subprocess.CompletedProcess[str]]


def block(kind: str) -> tuple[str, str]:
    """File name and content of the code that is marked so."""
    found = re.search(rf"<!-- {kind}:(\S+) -->\n```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1], found[2]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with the example's rule in it, and the texts generated."""
    folder = tmp_path_factory.mktemp("copy")
    leave_out = shutil.ignore_patterns("__pycache__")
    for name in ("pytest_gradhealth", "tools", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=leave_out)
    name, code = block("rule")
    (folder / "pytest_gradhealth" / "judge" / "rules" / name).write_text(code, encoding="utf-8")
    assert runs(folder, "tools/generate.py").returncode == 0
    return folder


def runs(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTEST_ADDOPTS": "", "COLUMNS": "80"}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_the_option_its_default_and_its_ini_key_are_there(copy: Path) -> None:
    shown = runs(copy, "-m", "pytest", "--help").stdout
    assert "--gradhealth-max-weight-rms=RMS" in shown
    assert "gradhealth_max_weight_rms" in shown
    assert "root mean square of a layer's weights. Default: 50." in " ".join(shown.split())


def test_explain_tells_of_it(copy: Path) -> None:
    shown = runs(copy, "-m", "pytest_gradhealth", "explain", "large-weights").stdout
    assert shown.startswith("# GH607: large weights\n")
    assert shown == (copy / "docs" / "rules" / "large-weights.md").read_text(encoding="utf-8")


def test_the_tables_have_it(copy: Path) -> None:
    for text in ("docs/usage.md", "docs/verdicts.md"):
        assert "| `max_weight_rms` | 50 |" in (copy / text).read_text(encoding="utf-8")


def test_its_own_tests_pass(copy: Path) -> None:
    name, code = block("rule-test")
    (copy / name).write_text(code, encoding="utf-8")
    done = runs(copy, "-m", "pytest", "-p", "no:cacheprovider", "--gradhealth-device=cpu", name)
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


def test_its_networks_are_tested_with_all_others(copy: Path) -> None:
    tests = copy / "test_rules.py"
    shutil.copy(ROOT / "tests" / "judge" / "test_rules.py", tests)
    done = runs(copy, "-m", "pytest", "-p", "no:cacheprovider", "-k", "large-weights", str(tests))
    assert done.returncode == 0, done.stdout
    assert re.search(r"[5-9] passed", done.stdout)
