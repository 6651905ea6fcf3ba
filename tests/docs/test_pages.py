"""Every step of the pages that take a reader along: files written, lines replaced, commands run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
STEP = re.compile(r"<!-- (file|run|replace): (.*?) -->\n```\w+\n(.*?)```", re.DOTALL)
WORDS = {"check", "measure", "watch", "pytest_gradhealth"}
"""Names in the architecture's table that are no files."""
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
    file, before, after = folder / match[1], *(words.replace("\\n", "\n") for words in match.groups()[1:])
    text = file.read_text(encoding="utf-8")
    assert before in text, f"{match[1]} does not hold {before!r}"
    file.write_text(text.replace(before, after), encoding="utf-8")


@pytest.mark.parametrize("page", ["custom-rules", "adopting", "frameworks", "tutorial"])
def test_every_step_does_what_the_page_says(page: str, tmp_path: Path) -> None:
    steps = STEP.findall((DOCS / f"{page}.md").read_text(encoding="utf-8"))
    assert len(steps) > 2
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


def test_every_page_is_in_the_table_of_contents() -> None:
    listed = (DOCS / "index.md").read_text(encoding="utf-8").split()
    assert [page.stem for page in sorted(DOCS.glob("*.md")) if page.stem not in {"index", *listed}] == []


def test_the_architecture_page_names_every_room_and_no_other() -> None:
    package = DOCS.parent / "pytest_gradhealth"
    table = (DOCS / "architecture.md").read_text(encoding="utf-8").split("`measure/` never judges")[0]
    rooms = {f"{path.name}/" for path in package.iterdir() if path.is_dir() and list(path.glob("*.py"))}
    rooms |= {path.name for path in package.glob("*.py")} - {"__init__.py"}
    first_column = {
        name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall("`(.*?)`", row)
    }
    assert first_column == rooms
    inner = set(re.findall(r"`(\w+)/?`", table))
    assert {name for name in inner if not list(package.rglob(f"{name}*"))} - WORDS == set()
