"""What the README promises."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from pytest_gradhealth.session.options import LIMITS, OPTIONS

ROOT = Path(__file__).parents[1]
USAGE = (ROOT / "docs" / "usage.md").read_text(encoding="utf-8")
PINNED = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("option", [o for o in OPTIONS if o not in LIMITS], ids=lambda option: option.flag)
def test_every_option_is_explained(option):
    assert re.search(rf"`{option.flag}[` ]", USAGE)
    assert f"`{option.key}`" in USAGE


@pytest.mark.parametrize("option", LIMITS, ids=lambda option: option.flag)
def test_every_limit_is_explained(option):
    assert f"| `{option.name}` |" in USAGE


def test_every_example_is_listed():
    listed = re.findall(r"/examples/(test_\w+\.py)\)", USAGE)
    assert {path.name for path in ROOT.glob("examples/test_*.py")} == set(listed)


@pytest.mark.skipif(
    sys.platform != "linux" or version("torch").partition("+")[0] != PINNED["torch"],
    reason="another platform or torch may round the last digit differently",
)
@pytest.mark.parametrize("name", ["make_readme.py", "make_failures.py", "make_explanation.py"])
def test_sample_output_is_current(name):
    command = [sys.executable, str(ROOT / "docs" / name), "--check"]
    assert subprocess.run(command, check=False).returncode == 0, f"run python docs/{name}"
