"""A suite that does not use the plugin pays nothing for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

WATCHER = """
import json, os, sys
import pytest

events = []

def note(event, args):
    if event in ("subprocess.Popen", "os.fork", "os.posix_spawn", "os.exec", "os.system", "os.mkdir", "socket.connect"):
        events.append([event, repr(args[:1])])
    elif event == "open" and args[0] != os.devnull and (args[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        events.append([event, str(args[0])])

sys.addaudithook(note)

class Last:
    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self, config):
        self.modules, self.events = sorted(sys.modules), list(events)

last = Last()
code = pytest.main(sys.argv[2:], plugins=[last])
with open(sys.argv[1], "w") as file:
    json.dump({"code": int(code), "modules": last.modules, "events": last.events}, file)
"""
"""Runs a session and writes down what it loaded, wrote and started."""

UNMARKED = """
import pytest

@pytest.mark.parametrize("x", [1, 2])
def test_it(x):
    assert x

class TestClass:
    def test_method(self, tmp_path_factory):
        pass
"""


def session(folder: Path, *arguments: str) -> dict[str, Any]:
    """What a session of unmarked tests loaded, wrote and started, beside what it does without the plugin."""
    (folder / "test_plain.py").write_text(UNMARKED)
    (folder / "watcher.py").write_text(WATCHER)
    out = folder.parent / "seen.json"
    plugins = ["-p", "no:cacheprovider", "-s", "-p", "gradhealth"]  # capturing output writes to a file of its own
    command = [sys.executable, "-B", str(folder / "watcher.py"), str(out), *plugins, *arguments]
    # Other plugins start processes of their own.
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return {**json.loads(out.read_text()), "output": done.stdout}


@pytest.mark.parametrize(
    "arguments", [[], ["-v"], ["--gradhealth-report"], ["--gradhealth-max-norm=5"], ["--collect-only"]]
)
def test_nothing_heavy_is_loaded_written_or_started(tmp_path: Path, arguments: list[str]) -> None:
    (folder := tmp_path / "project").mkdir()
    seen = session(folder, *arguments)
    assert seen["code"] == 0, seen["output"]
    assert "pytest_gradhealth.plugin" in seen["modules"]
    heavy = {"torch", "numpy", "tabulate", "tensorboard", "jinja2", "pytest_gradhealth.measure"}
    assert heavy & set(seen["modules"]) == set()
    assert seen["events"] == []
    assert sorted(path.name for path in folder.iterdir()) == ["test_plain.py", "watcher.py"]
    assert "gradient" not in seen["output"]


def test_without_an_option_hardly_anything_of_the_package_is_loaded(tmp_path: Path) -> None:
    (folder := tmp_path / "project").mkdir()
    own = {name for name in session(folder)["modules"] if name.startswith("pytest_gradhealth")}
    assert own == {
        "pytest_gradhealth",
        "pytest_gradhealth.plugin",
        "pytest_gradhealth.session",
        "pytest_gradhealth.session.options",
        "pytest_gradhealth.hookspecs",
        "pytest_gradhealth.session.collector",
        "pytest_gradhealth.session.rendering",
        "pytest_gradhealth.session.summary",
        "pytest_gradhealth.errors",
        "pytest_gradhealth.judge",
        "pytest_gradhealth.judge.index",
        "pytest_gradhealth.judge.limit",
        "pytest_gradhealth.report",
        "pytest_gradhealth.report.escape",
    }


def test_the_watcher_would_see_it(tmp_path: Path) -> None:
    """The test above can fail."""
    (folder := tmp_path / "project").mkdir()
    (folder / "test_loud.py").write_text(
        "import subprocess, sys, tabulate\n"
        "def test_it():\n"
        "    open('written', 'w').close()\n"
        "    subprocess.run([sys.executable, '-c', ''])\n"
    )
    seen = session(folder)
    assert "tabulate" in seen["modules"]
    assert {event for event, _ in seen["events"]} >= {"open", "subprocess.Popen"}


def test_the_public_package_loads_nothing_until_it_is_asked() -> None:
    code = "import sys, pytest_gradhealth; print([m for m in sys.modules if m.startswith('pytest_gradhealth')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "['pytest_gradhealth']"
