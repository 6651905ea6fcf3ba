"""Every fragment of the changelog is one that towncrier takes up: a misnamed one would be left out in silence."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "changelog.d"
FRAGMENTS = sorted(path for path in FOLDER.rglob("*") if path.is_file() and path != FOLDER / "README.md")


def test_every_fragment_has_a_name_that_is_known_and_a_text() -> None:
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["towncrier"]
    kinds = "|".join(kind["directory"] for kind in tool["type"])
    areas = "|".join(section["path"] for section in tool["section"])
    name = re.compile(rf"({areas})/(\d+|\+[a-z0-9-]+)\.({kinds})\.md")
    names = [path.relative_to(FOLDER).as_posix() for path in FRAGMENTS]
    assert [found for found in names if not name.fullmatch(found)] == []
    assert [path.name for path in FRAGMENTS if not path.read_text(encoding="utf-8").strip()] == []


def test_the_changelog_says_where_the_next_section_goes() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert text.count("<!-- towncrier release notes start -->\n") == 1
    assert "Unreleased" not in text
