"""Every step of the tutorial, as a reader takes it: files written, lines replaced, commands run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"
STEP = re.compile(r"<!-- (file|run|replace): (.*?) -->\n```\w+\n(.*?)```", re.DOTALL)
SHOWS = re.compile(r'shows="([^"]*)"')
REPLACED = re.compile(r'(\S+) "(.*)" -> "(.*)"')


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words = command.split()
    environment = os.environ | {"COLUMNS": "100", "NO_COLOR": "1", "PYTEST_ADDOPTS": "-p no:cacheprovider"}
    line = [sys.executable, "-m", *words]
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def replaced(instruction: str, folder: Path) -> None:
    match = REPLACED.fullmatch(instruction)
    assert match, instruction
    file, before, after = folder / match[1], match[2], match[3]
    text = file.read_text(encoding="utf-8")
    assert before in text, f"{match[1]} does not hold {before!r}"
    file.write_text(text.replace(before, after), encoding="utf-8")


def test_every_step_does_what_the_tutorial_says(tmp_path: Path) -> None:
    steps = STEP.findall(TUTORIAL.read_text(encoding="utf-8"))
    assert len(steps) > 10
    for kind, instruction, code in steps:
        if kind == "file":
            (tmp_path / instruction).write_text(code, encoding="utf-8")
        elif kind == "replace":
            replaced(instruction, tmp_path)
        else:
            done = run(code, tmp_path)
            assert f"exit={done.returncode}" in instruction, f"{code}{done.stdout}{done.stderr}"
            for words in SHOWS.findall(instruction):
                assert words in done.stdout, f"{words!r} is not in what {code.strip()!r} prints:\n{done.stdout}"
