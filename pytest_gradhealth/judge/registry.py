"""Every rule: the modules of ``rules/``, found by looking into the package."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import NamedTuple

from pytest_gradhealth.judge import rules
from pytest_gradhealth.judge.rule import Limit, Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding

__all__ = ["CHAPTERS", "Entry", "entries", "find_rule", "group_of", "limits", "nearest"]

CHAPTERS = {
    "1": "Gradients that vanish or never arrive",
    "2": "Dead and saturated units",
    "3": "Gradients and signals that explode",
    "4": "Signals that carry nothing",
    "5": "Loss and targets",
    "6": "Parameters and optimisers",
    "7": "Your own limits",
    "8": "Changes since a baseline, and between devices and precisions",
}
"""First digits of codes."""


class Entry(NamedTuple):
    """A rule, and the function that looks for it."""

    rule: Rule
    find: Callable[[View], Iterator[Finding]] | None
    """None: it is found elsewhere, as what has changed since a baseline."""


@cache
def entries() -> tuple[Entry, ...]:
    """Every rule, the gravest first."""
    modules = (import_module(f"{rules.__name__}.{found.name}") for found in iter_modules(rules.__path__))
    found = (Entry(module.RULE, getattr(module, "find", None)) for module in modules)
    return tuple(sorted(found, key=lambda entry: entry.rule.rank))


def limits() -> tuple[Limit, ...]:
    """Every limit, in the order of the rules' codes."""
    ordered = sorted((entry.rule for entry in entries()), key=lambda rule: rule.code)
    return tuple(limit for rule in ordered for limit in rule.limits)


def find_rule(name: str) -> Rule | None:
    """The rule of a code or slug, in upper or lower case; None: there is none."""
    return next((e.rule for e in entries() if name.upper() == e.rule.code or name.lower() == e.rule.slug), None)


def nearest(name: str) -> list[str]:
    """Codes and slugs that are spelt like a name, the most alike first."""
    slugs = {entry.rule.slug: entry.rule.code for entry in entries()}
    if re.fullmatch(r"(?i)gh\d*", name):
        return get_close_matches(name.upper(), sorted(slugs.values()), n=3)
    return get_close_matches(name.lower(), slugs, n=3)


def group_of(family: str) -> str:
    """The group of a family: kinds that are one fault at different strength; for all others their own name."""
    return _groups().get(family) or family


@cache
def _groups() -> dict[str, str]:
    return {entry.rule.family.name: entry.rule.family.group for entry in entries()}
