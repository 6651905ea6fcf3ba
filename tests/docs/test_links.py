"""Links between the project's own pages, and from the README, which the package index shows without the repository."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/**/*.md")]
REPOSITORY = re.compile(r"https://github\.com/pytest-gradhealth/pytest-gradhealth/(?:blob|tree)/main/([^#]+)")
SITE = re.compile(r"https://pytest-gradhealth\.readthedocs\.io/en/stable/([^#]+)\.html")


def links(page: Path) -> Iterator[str]:
    """Targets of links and pictures."""
    for block in MarkdownIt().enable("table").parse(page.read_text(encoding="utf-8")):
        for token in block.children or ():
            target = token.attrGet("href") or token.attrGet("src")
            if target:
                yield str(target)


def file_of(target: str, page: Path) -> Path | None:
    """The file of ours that a link means; None where it leads elsewhere."""
    if found := REPOSITORY.match(target):
        return ROOT / found[1]
    if found := SITE.match(target):
        return ROOT / "docs" / f"{found[1]}.md"
    name = target.partition("#")[0]
    return page.parent / name if name and ":" not in name else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files_that_exist(page: Path) -> None:
    files = {target: file_of(target, page) for target in links(page)}
    assert [target for target, file in files.items() if file is not None and not file.exists()] == []


def test_the_package_index_can_follow_every_link_of_the_readme() -> None:
    assert [target for target in links(ROOT / "README.md") if not target.startswith("https://")] == []
