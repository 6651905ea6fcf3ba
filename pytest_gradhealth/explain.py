"""``python -m pytest_gradhealth explain [RULE]``: what a rule means, without pytest and without torch."""

from __future__ import annotations

import argparse
import sys
from typing import Any

__all__ = ["add_explain"]

FOUND, USAGE = 0, 2


def add_explain(commands: Any) -> None:
    """Add the command to the others."""
    explain = commands.add_parser("explain", help="say what a rule means; without one, list them all")
    explain.add_argument("rule", metavar="RULE", nargs="?", help="a code or slug, as in GH101 or vanishing-gradient")
    explain.set_defaults(run=_explain)


def _explain(options: argparse.Namespace) -> int:
    from pytest_gradhealth.judge.page import page
    from pytest_gradhealth.judge.registry import find_rule, nearest

    if options.rule is None:
        _print_list()
        return FOUND
    rule = find_rule(options.rule)
    if rule is None:
        near = " or ".join(nearest(options.rule))
        hint = f"did you mean {near}? " if near else ""
        print(f"error: there is no rule {options.rule!r}; {hint}explain alone lists them all", file=sys.stderr)
        return USAGE
    print(page(rule), end="")
    return FOUND


def _print_list() -> None:
    from pytest_gradhealth.judge.registry import CHAPTERS, entries

    rules = sorted((entry.rule for entry in entries()), key=lambda rule: rule.code)
    width = max(len(rule.slug) for rule in rules)
    for digit, title in CHAPTERS.items():
        print(title)
        for rule in rules:
            if rule.code[2] == digit:
                print(f"  {rule.code} {rule.slug:<{width}} {rule.title}")
        print()
