"""A rule's page is made of what the rule declares, and the pages of the documentation are those."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from test_edges import RULES

from pytest_gradhealth.judge.page import listing, page
from pytest_gradhealth.judge.registry import nearest
from pytest_gradhealth.judge.rule import Rule

PAGES = Path(__file__).parents[2] / "docs" / "rules"


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.slug)
def test_the_page_of_a_rule(rule: Rule) -> None:
    assert page(rule) == (PAGES / f"{rule.slug}.md").read_text("utf-8")


def test_the_table_of_all_rules() -> None:
    assert listing() in (PAGES / "index.md").read_text("utf-8")


def test_the_place_of_a_rule_is_its_familys_unless_it_leads_or_comes_last() -> None:
    rule = RULES["dead-units"]
    assert rule.rank == (rule.family.rank, "GH203")
    leading, last = replace(rule, leads=True, code="GH999"), replace(rule, last=True, code="GH000")
    assert leading.rank < rule.rank < last.rank
    assert all(leading.rank < other.rank < last.rank for other in RULES.values() if not (other.leads or other.last))
    assert leading.follows == rule.also_follows < rule.follows


@pytest.mark.parametrize("name", ["gh10", "GH10", "gradient"])
def test_three_at_most_are_suggested(name: str) -> None:
    assert len(nearest(name)) <= 3
    assert len(nearest("GH10")) == len(nearest("vanishing-over-gradient")) == 3
