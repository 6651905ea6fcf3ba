"""The rules' pages, and the tables of limits and rules in docs/usage.md and docs/verdicts.md."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from pytest_gradhealth.judge import page, registry
from pytest_gradhealth.judge.limit import short

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "rules"
BLOCK = re.compile(r"(<!-- generated:(\w+) -->\n).*?(<!-- end -->\n)", re.DOTALL)


def pages() -> dict[Path, Callable[[], str]]:
    """Every page, and what makes its content."""
    made: dict[Path, Callable[[], str]] = {
        FOLDER / f"{entry.rule.slug}.md": partial(page.page, entry.rule) for entry in registry.entries()
    }
    texts = {path: partial(_filled, path) for path in (ROOT / "docs" / "usage.md", ROOT / "docs" / "verdicts.md")}
    return {**made, FOLDER / "index.md": index, **texts}


def orphans() -> list[Path]:
    """Pages of rules that do not exist any more."""
    return [path for path in FOLDER.glob("*.md") if path not in pages()]


def index() -> str:
    """The list of all rules."""
    slugs = sorted((entry.rule.code, entry.rule.slug) for entry in registry.entries())
    toc = "\n".join(["```{toctree}", ":hidden:", "", *(slug for _, slug in slugs), "```"])
    return f"# Rules\n\nCodes are stable: one is never used again for something else.\n\n{page.listing()}\n{toc}\n"


def _filled(path: Path) -> str:
    """A text with its generated blocks as they should be."""
    blocks = {"limits": _limits, "rules": _rules}
    return BLOCK.sub(lambda found: found[1] + blocks[found[2]]() + found[3], path.read_text(encoding="utf-8"))


def _table(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)


def _limits() -> str:
    owners = {limit.name: entry.rule for entry in registry.entries() for limit in entry.rule.limits}
    rows = (
        f"| `{limit.name}` | {short(limit.default)} | {limit.help} | {owners[limit.name].code} |"
        for limit in registry.limits()
    )
    return _table("| limit | default | what it bounds | rule |", "|---|---|---|---|", *rows)


def _rules() -> str:
    def rows() -> Iterator[str]:
        for code, rule in sorted(
            ((entry.rule.code, entry.rule) for entry in registry.entries()), key=lambda pair: pair[0]
        ):
            yield f"| [{code}](rules/{rule.slug}.md) | `{rule.slug}` | {rule.summary} |"

    return _table("| code | rule | what happens |", "|---|---|---|", *rows())
