"""A rule's page, as Markdown: for the documentation and for ``python -m pytest_gradhealth explain``."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.judge.limit import Limit, short
from pytest_gradhealth.judge.registry import CHAPTERS, entries
from pytest_gradhealth.judge.rule import Rule

__all__ = ["listing", "page"]

IMPORTS = "import torch\nimport torch.nn.functional as F\nfrom torch import nn\n"


def page(rule: Rule) -> str:
    """All there is to know about a rule."""
    return "\n\n".join(_sections(rule)) + "\n"


def _sections(rule: Rule) -> Iterator[str]:
    yield f"# {rule.code}: {rule.title}"
    yield rule.summary
    yield f"Slug: `{rule.slug}`. Chapter: {CHAPTERS[rule.code[2]]}."
    if rule.limits:
        yield "\n".join(("## Limits", "", *map(_limit, rule.limits)))
    yield f"## Why\n\n{rule.theory}"
    if rule.remedies:
        yield "\n".join(("## What helps", "", *(f"- {remedy}" for remedy in rule.remedies)))
    if rule.sick:
        yield f"## A network that has it\n\n```python\n{IMPORTS}\n{rule.sick}```"
        yield f"## The same network without it\n\n```python\n{IMPORTS}\n{rule.healthy}```"
    if rule.provisional:
        yield (
            "A gate that is closed on purpose (a branch that starts at zero) can look like this. A check therefore "
            "measures again after a few optimiser steps on a copy, and reports only what is still there."
        )
    yield f'To accept it: `ignore=["{rule.code}"]`, or for some layers `ignore=["{rule.code}:head.*"]`.'


def _limit(limit: Limit) -> str:
    option = f"--gradhealth-{limit.name.replace('_', '-')}"
    begun = limit.help[0].lower() + limit.help[1:]
    where = f"Command line: `{option}`, ini: `gradhealth_{limit.name}`."
    return f"- `{limit.name}` (default {short(limit.default)}): {begun}. {where}"


def listing() -> str:
    """Every rule by chapter, as Markdown."""
    rules = sorted((entry.rule for entry in entries()), key=lambda rule: rule.code)
    lines = []
    for digit, title in CHAPTERS.items():
        lines += [f"## {title}", "", "| code | rule | what happens | limits |", "|---|---|---|---|"]
        lines += [_row(rule) for rule in rules if rule.code[2] == digit] + [""]
    return "\n".join(lines)


def _row(rule: Rule) -> str:
    limits = "<br>".join(f"`{limit.name}` {short(limit.default)}" for limit in rule.limits) or "none"
    return f"| {rule.code} | [{rule.slug}]({rule.slug}.md) | {rule.summary} | {limits} |"
