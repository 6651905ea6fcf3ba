"""What a rule declares: one module in ``rules/`` holds one of these as ``RULE``, and finds the fault in ``find``."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count

from pytest_gradhealth.judge.limit import Limit
from pytest_gradhealth.record import Finding, docs_url

__all__ = ["Family", "Limit", "Rule"]


@dataclass(frozen=True, slots=True)
class Family:
    """Rules that look for one kind of fault."""

    name: str
    group: str = ""
    """Families that are one fault at different strength: a collapsed signal vanishes after the first steps, and what
    explodes saturates. One confirms another in the second look."""
    follows: frozenset[str] = frozenset()
    """Families and slugs of faults that it may only be the consequence of: where one was found, it is not asked."""
    rank: int = field(default_factory=count().__next__, init=False, compare=False)
    """The order in which families are defined, the gravest first: rules are asked and findings shown in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One fault that can be found in a record."""

    code: str
    """``GH`` and three digits; the first is that of a chapter (see ``registry.CHAPTERS``). Never used again."""
    slug: str
    """The name of the module, with hyphens: what ``ignore`` and ``select`` take, and ``Finding.kind``."""
    title: str
    """How a verdict begins, as in "vanishing gradient"."""
    summary: str
    """One sentence on what happens."""
    family: Family
    limits: tuple[Limit, ...] = ()
    provisional: bool = False
    """Whether a gate that is closed on purpose explains it, so that it must still be there after some steps."""
    when_silenced: bool = False
    """Whether it can be found in front of a normalisation that cancels every gradient behind it."""
    also_follows: frozenset[str] = frozenset()
    """Families and slugs, besides those of its family, where which were found it is not asked."""
    leads: bool = False
    """Whether it is asked before all families, and follows none: it explains them."""
    last: bool = False
    """Whether it is asked behind all families."""
    theory: str
    """Why it is a fault and where its limit comes from, with sources: Markdown."""
    remedies: tuple[str, ...] = ()
    """What helps, for the documentation."""
    sick: str = ""
    """The smallest network that has the fault: Python that sets ``model``, ``batch`` and ``loss``."""
    healthy: str = ""
    """The same network without the fault."""

    @property
    def rank(self) -> tuple[float, str]:
        """The place among all rules."""
        return (-math.inf if self.leads else math.inf if self.last else self.family.rank), self.code

    @property
    def follows(self) -> frozenset[str]:
        """Families and slugs where which were found it is not asked."""
        return self.also_follows if self.leads else self.family.follows | self.also_follows

    def finding(
        self,
        layers: Iterable[str],
        message: str,
        *,
        cause: str = "",
        remedy: str = "",
        value: float | None = None,
        limit: float | None = None,
        limit_name: str = "",
        where: str = "",
    ) -> Finding:
        """A finding of this rule; the culprit stands first in ``layers``."""
        return Finding(
            kind=self.slug,
            code=self.code,
            title=self.title,
            url=docs_url(self.slug),
            family=self.family.name,
            layers=tuple(layers),
            message=message,
            value=value,
            limit=limit,
            limit_name=limit_name,
            cause=cause,
            remedy=remedy,
            where=where,
            provisional=self.provisional,
        )
