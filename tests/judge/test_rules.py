"""Every rule finds its own sick network, and nothing in the healthy one; the registry is in order."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from pytest_gradhealth import GradHealth, GradientHealthError, Limits, Settings
from pytest_gradhealth.judge import rules
from pytest_gradhealth.judge.index import LIMITS, RULES
from pytest_gradhealth.judge.limit import Limit
from pytest_gradhealth.judge.page import IMPORTS
from pytest_gradhealth.judge.registry import CHAPTERS, entries, find_rule, limits, nearest
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.record import Check

ALL = [entry.rule for entry in entries()]
SHOWN = [rule for rule in ALL if rule.sick]
WITHOUT_A_NETWORK = {"GH109", "GH802", "GH603", "GH604", "GH605", "GH608", "GH609", "GH701", "GH702", "GH703", "GH801"}
"""Found in tests that train, by a limit of the user's own, or against a baseline: tested elsewhere."""


def examined(code: str, limits: Limits | None = None) -> Check:
    kept: list[Check] = []
    names: dict[str, object] = {}
    torch.manual_seed(0)
    exec(IMPORTS + code, names)
    settings = Settings(device="cpu", limits=limits or Limits())
    try:
        GradHealth(settings, sink=kept.append).check(names["model"], names["batch"], names["loss"])  # type: ignore[arg-type]
    except GradientHealthError:
        assert kept[-1].findings
    return kept[-1]


@pytest.mark.parametrize("rule", SHOWN, ids=lambda rule: rule.slug)
def test_the_sick_network_has_this_fault_and_no_other(rule: Rule) -> None:
    (finding,) = examined(rule.sick).findings
    assert (finding.code, finding.kind, finding.title) == (rule.code, rule.slug, rule.title)
    assert finding.cause
    assert finding.remedy
    assert finding.url.endswith(f"/{rule.slug}.md")


@pytest.mark.parametrize("rule", SHOWN, ids=lambda rule: rule.slug)
def test_the_healthy_network_has_none(rule: Rule) -> None:
    assert [finding.message for finding in examined(rule.healthy).findings] == []


@pytest.mark.parametrize("rule", [rule for rule in SHOWN if rule.limits], ids=lambda rule: rule.slug)
def test_the_message_names_the_limit_as_it_is_written(rule: Rule) -> None:
    (finding,) = examined(rule.sick).findings
    (limit,) = rule.limits
    assert finding.limit_name == limit.name
    assert f"({limit.name}=" in finding.message


@pytest.mark.parametrize("rule", [rule for rule in SHOWN if rule.limits], ids=lambda rule: rule.slug)
@pytest.mark.parametrize("off", [None, "off"])
def test_a_limit_that_is_off_finds_nothing(rule: Rule, off: str | None) -> None:
    found = examined(rule.sick, Limits(**{rule.limits[0].name: off})).findings
    assert rule.slug not in {finding.kind for finding in found}


@pytest.mark.parametrize("entry", ["GH203", "gh203", "dead-units", "GH2", "GH203:0", "dead-units:*", "0"])
def test_a_finding_can_be_ignored_by_its_rule_by_its_layer_or_by_both(entry: str) -> None:
    assert examined(SICK["dead-units"], Limits(ignore=[entry])).healthy


@pytest.mark.parametrize("entry", ["GH201", "GH1", "GH203:2", "GH101:0", "2"])
def test_what_is_ignored_elsewhere_is_still_found_here(entry: str) -> None:
    (finding,) = examined(SICK["dead-units"], Limits(ignore=[entry])).findings
    assert finding.kind == "dead-units"


@pytest.mark.parametrize(
    ("select", "healthy"), [("GH203", False), ("GH2", False), ("dead-units", False), ("GH1", True)]
)
def test_selected_rules_alone_are_looked_for(select: str, healthy: bool) -> None:
    assert examined(SICK["dead-units"], Limits(select=select)).healthy is healthy


SICK = {rule.slug: rule.sick for rule in ALL}


def test_what_hides_another_fault_does_not_once_it_is_ignored() -> None:
    """Units that are alike make gradients cancel: without the cause the consequence is reported."""
    hidden = examined(SICK["identical-units"], Limits(ignore=["GH602"]))
    assert "GH602" not in {finding.code for finding in hidden.findings}


def test_every_rule_shows_a_network() -> None:
    assert {rule.code for rule in ALL if not rule.sick} == WITHOUT_A_NETWORK


def test_codes_slugs_and_limits_are_unique_and_in_form() -> None:
    assert len({rule.code for rule in ALL}) == len({rule.slug for rule in ALL}) == len(ALL)
    assert all(rule.code[:2] == "GH" and rule.code[2:].isdecimal() and rule.code[2] in CHAPTERS for rule in ALL)
    files = {path.stem for path in Path(rules.__file__).parent.glob("*.py")} - {"__init__"}
    assert {rule.slug.replace("-", "_") for rule in ALL} == files
    assert len({limit.name for limit in limits()}) == len(limits())


def test_what_follows_from_a_fault_is_asked_after_it() -> None:
    def names(rule: Rule) -> set[str]:
        return {rule.slug, rule.family.name, rule.family.group}

    for place, rule in enumerate(ALL):
        later = set().union(*(names(other) for other in ALL[place + 1 :] if not other.last))
        assert not rule.follows & later, rule.slug
        assert rule.follows <= set().union(*map(names, ALL)), rule.slug


@pytest.mark.parametrize("limit", limits(), ids=lambda limit: limit.name)
def test_a_default_lies_in_its_range(limit: Limit) -> None:
    assert limit.default is None or limit.low <= limit.default <= (math.inf if limit.high is None else limit.high)


NAMES = {"log_softmax", "nll_loss"}


def _lines(rule: Rule) -> Iterator[str]:
    yield from (rule.summary, *rule.remedies)


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.slug)
def test_a_rule_is_told_in_sentences(rule: Rule) -> None:
    assert all(line[0].isupper() or line[0] == "`" or line.split()[0] in NAMES for line in _lines(rule))
    assert all(line.endswith(".") for line in _lines(rule))
    assert rule.theory.strip()


def test_the_index_that_start_up_reads_is_that_of_the_rules() -> None:
    assert {limit.name: limit for limit in limits()} == LIMITS
    assert {rule.slug: rule.code for rule in ALL} == RULES


@pytest.mark.parametrize("name", ["GH101", "gh101", "vanishing-gradient", "Vanishing-Gradient"])
def test_a_rule_is_known_by_its_code_and_its_slug(name: str) -> None:
    found = find_rule(name)
    assert found is not None
    assert found.slug == "vanishing-gradient"


def test_an_unknown_rule_suggests_the_nearest() -> None:
    assert find_rule("vanishing-gradint") is None
    assert nearest("vanishing-gradint")[0] == "vanishing-gradient"
    assert nearest("GH1011")[0].startswith("GH10")


def families(*names: str) -> list[Rule]:
    return [rule for rule in ALL if rule.family.name in names]


def test_what_fades_may_open_and_what_is_wired_wrong_does_not() -> None:
    assert all(rule.provisional for rule in families("vanishing", "collapse", "weak", "saturated", "symmetric"))
    assert not any(rule.provisional for rule in families("missing", "objective", "unregistered", "mixed", "own-limit"))


def test_where_a_normalisation_cancels_every_gradient_their_sizes_say_nothing() -> None:
    assert not any(rule.when_silenced for rule in families("vanishing", "exploding", "weak", "saturated"))
    assert all(rule.when_silenced for rule in families("missing", "objective", "unregistered", "mixed", "own-limit"))
