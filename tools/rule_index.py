"""The part of the rules that start-up needs: ``pytest_gradhealth/judge/index.py``."""

from __future__ import annotations

from pathlib import Path

from pytest_gradhealth.judge import registry

TARGET = Path(registry.__file__).with_name("index.py")


def text() -> str:
    """The module's content."""
    rules = sorted((entry.rule for entry in registry.entries()), key=lambda rule: rule.code)
    lines = [
        '"""Names of all limits and rules: generated from ``rules/`` by ``python tools/generate.py``.',
        "",
        "pytest asks for the options at every start, and importing the rules would take longer than that may.",
        '"""',
        "",
        "from pytest_gradhealth.judge.limit import Limit",
        "",
        '__all__ = ["LIMITS", "RULES"]',
        "",
        "LIMITS: dict[str, Limit] = {",
        "    limit.name: limit",
        "    for limit in (",
    ]
    for limit in registry.limits():
        lines += ["        Limit(", *(f"            {_literal(value)}," for value in limit), "        ),"]
    lines += ["    )", "}", "RULES: dict[str, str] = {"]
    lines += [f'    "{rule.slug}": "{rule.code}",' for rule in rules]
    return "\n".join([*lines, "}", '"""Codes by slug."""', ""])


def _literal(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)
