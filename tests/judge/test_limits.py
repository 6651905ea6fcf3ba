"""Limits say no to what makes no sense, and what is allowed instead."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import numpy as np
import pytest

from pytest_gradhealth import ConfigurationError, Limits
from pytest_gradhealth.judge.limit import Limit


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("max_ratio", 0.5, "max_ratio=0.5 is out of range: it must be a number of at least 1"),
        ("max_ratio", "1e4", "max_ratio='1e4' must be a number of at least 1, or None to switch it off"),
        ("max_ratio", True, "max_ratio=True must be a number"),
        ("max_ratio", math.nan, "max_ratio=nan is out of range"),
        ("min_norm", -1e-9, "min_norm=-1e-09 is out of range: it must be a number of at least 0"),
        ("max_norm", [1], r"max_norm=\[1\] must be a number of at least 0"),
        ("min_reach", 1.5, "min_reach=1.5 is out of range: it must be a number from 0 to 1"),
        ("min_reach", -0.1, "min_reach=-0.1 is out of range"),
        ("max_dead", 90, "max_dead=90 is out of range: it must be a number from 0 to 1"),
        ("ignore", 3, r"ignore=3 must be layer-name patterns, as in ignore=\['head.\*'\]"),
        ("ignore", ["a", 3], "ignore=.* must be layer-name patterns"),
        ("layers", ["head"], r"layers=\['head'\] must map layer-name patterns to limits, as in layers="),
        ("layers", {"head": 3}, r"layers\['head'\]=3 must be a mapping of limits"),
        ("layers", {3: {}}, r"layers\[3\]=.* must be a mapping of limits"),
        (
            "layers",
            {"head": {"min_nrom": 1}},
            r"layers\['head'\]: there is no limit 'min_nrom'; did you mean 'min_norm'",
        ),
        ("layers", {"head": {"ignore": ["x"]}}, r"layers\['head'\]: there is no limit 'ignore'; allowed: max_dead"),
        ("layers", {"head": {"min_norm": "x"}}, r"layers\['head'\]: min_norm='x' must be a number"),
        ("layers", {"head": {"max_dead": 2}}, r"layers\['head'\]: max_dead=2 is out of range"),
    ],
)
def test_nonsense_is_refused_by_name_value_and_what_is_allowed(name: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Limits(**{name: value})


def test_limits_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="min_norm=2 is above max_norm=1: no layer can meet both"):
        Limits(min_norm=2, max_norm=1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_ratio", 1),
        ("max_ratio", math.inf),
        ("min_norm", 0),
        ("max_norm", 0.0),
        ("min_reach", 0),
        ("min_reach", 1),
        ("max_dead", 0),
        ("max_dead", 1.0),
        ("max_norm", np.float64(2.0)),
        ("min_reach", None),
        ("max_dead", None),
    ],
)
def test_the_ends_of_every_range_are_allowed_and_none_switches_off(name: str, value: Any) -> None:
    assert getattr(Limits(**{name: value}), name) == value


def test_equal_norms_are_no_contradiction() -> None:
    assert Limits(min_norm=1, max_norm=1).min_norm == 1


@pytest.mark.parametrize("ignore", ["head.*", ["head.*"], ("head.*",), {"head.*"}])
def test_patterns_come_in_any_collection(ignore: Any) -> None:
    limits = Limits(ignore=ignore)
    assert limits.ignore == ("head.*",)
    assert (limits.judges("head.fc"), limits.judges("head"), limits.judges("HEAD.fc")) == (False, True, True)


def test_a_layer_has_the_limits_of_every_pattern_that_matches_the_later_winning() -> None:
    limits = Limits(min_norm=1, layers={"head.*": {"min_norm": 2, "max_dead": 0.5}, "*.bias": {"min_norm": None}})
    assert (limits.of("head.fc").min_norm, limits.of("head.fc").max_dead) == (2, 0.5)
    assert (limits.of("head.bias").min_norm, limits.of("head.bias").max_dead) == (None, 0.5)
    assert limits.of("stem") is limits


def test_a_pattern_that_contradicts_the_other_limits_is_refused_for_its_layer() -> None:
    with pytest.raises(ConfigurationError, match="min_norm=5 is above max_norm=1"):
        Limits(max_norm=1, layers={"head": {"min_norm": 5}}).of("head")


def test_only_what_is_on_is_written_as_plain_data() -> None:
    default = Limits().to_dict()
    changed = Limits(max_ratio=10, ignore=["a"], layers={"b": {"max_norm": 1}}, min_reach=None).to_dict()
    assert json.loads(json.dumps(changed)) == {
        **{name: value for name, value in default.items() if name != "min_reach"},
        "max_ratio": 10,
        "ignore": ["a"],
        "layers": {"b": {"max_norm": 1}},
    }
    assert None not in default.values()


@pytest.mark.parametrize("given", [{"min_norm": 10**400, "max_norm": 1}, {"layers": {"*": {"max_norm": 10**5000}}}])
def test_a_number_that_no_float_holds_is_refused_in_few_words(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"_norm is a number of \d+ bits: it must be a number of at least 0$"):
        Limits(**given)


@pytest.mark.parametrize(
    ("entry", "judged", "asked", "judged_for_dead_units"),
    [
        ("dead-units", True, False, True),
        ("DEAD-UNITS", True, False, True),
        ("gh203", True, False, True),
        ("GH2", True, False, True),
        ("GH1", True, True, True),
        ("deadunits", False, True, False),  # no rule is written so: it is a pattern of layers
        ("dead*", False, True, False),
        ("GH203:dead*", True, True, False),
        ("GH201:dead*", True, True, True),
    ],
)
def test_an_entry_is_a_rule_a_pattern_or_both(
    entry: str, judged: bool, asked: bool, judged_for_dead_units: bool
) -> None:
    limits = Limits(ignore=[entry])
    assert limits.judges("deadunits") is judged
    assert limits.asks("GH203") is asked
    assert limits.under("GH203").judges("deadunits") is judged_for_dead_units


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ignore": ["dead-unis"]}, "ignore='dead-unis': there is no rule 'dead-unis'; did you mean 'dead-units'"),
        ({"ignore": ["gh999"]}, "ignore='gh999': there is no rule 'GH999'"),
        ({"ignore": ["gh999:head"]}, "ignore='gh999:head': there is no rule 'GH999'"),
        ({"select": ["gh9"]}, "select='gh9': there is no rule 'GH9'"),
        ({"select": ["head"]}, "select='head': there is no rule 'head'"),
        ({"min_norm": -(10**400)}, "min_norm is a number of 1329 bits"),
        ({"max_dead": 1.0000001}, "max_dead=1.0000001 is out of range: it must be a number from 0 to 1"),
    ],
)
def test_what_is_spelt_wrong_or_impossible(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Limits(**given)


def test_codes_that_are_selected_begin_alike() -> None:
    limits = Limits(select=["GH2", "vanishing-gradient"])
    assert [limits.asks(code) for code in ("GH203", "GH101", "GH102", "GH302")] == [True, True, False, False]
    both = Limits(select="GH2", ignore=["GH203", "head.*"])
    assert [both.asks(code) for code in ("GH203", "GH201", "GH101")] == [False, True, False]


def test_limits_are_equal_by_what_they_hold_and_do_not_change() -> None:
    first, same, other = Limits(min_reach=1e-3), Limits(min_reach=1e-3), Limits(min_reach=1e-3, ignore=["x"])
    assert first == same
    assert hash(first) == hash(same)
    assert first not in (other, Limits(), "limits")
    assert repr(Limits(**(dict.fromkeys(Limits.names()) | {"max_norm": 2}))) == "Limits(max_norm=2)"
    with pytest.raises(AttributeError, match=r"limits do not change: use limits.replace\(min_reach=...\)"):
        first.min_reach = 1.0  # type: ignore[misc]
    with pytest.raises(AttributeError, match="there is no limit 'min_raech'; did you mean 'min_reach'"):
        _ = first.min_raech  # type: ignore[attr-defined]


def test_what_the_user_has_left_as_it_is() -> None:
    limits = Limits(min_reach=1e-3, max_dead=0.9)
    assert not limits.is_default("min_reach")
    assert limits.is_default("max_dead")
    assert limits.is_default("min_norm")


def test_what_is_ignored_and_what_layers_have_adds_up() -> None:
    far = Limits(ignore=["a", "b"], layers={"x": {"min_norm": 1}, "y": {"min_norm": 1}}, min_reach=0.1, select="GH1")
    near = far.extended(ignore=["b", "c"], layers={"x": {"max_norm": 2}, "z": {"min_norm": 3}}, min_reach=0.2)
    assert near.ignore == ("a", "b", "c")
    assert near.layers == {"y": {"min_norm": 1}, "x": {"min_norm": 1, "max_norm": 2}, "z": {"min_norm": 3}}
    assert list(near.layers) == ["y", "x", "z"]  # the nearer is asked last, and wins
    assert (near.min_reach, near.select) == (0.2, ("GH1",))
    assert far.extended(min_reach=0.2).ignore == ("a", "b")
    assert Limits().extended(ignore=["c"]).ignore == ("c",)


@pytest.mark.parametrize(
    ("value", "here", "said"),
    [
        (0.9, None, "max_dead=0.9"),
        (0.9, 0.9, "max_dead=0.9"),
        (0.9, 0.5, "max_dead=0.9, 0.5 here"),
        (1e-4, None, "max_dead=1e-04"),
        (0.00015, None, "max_dead=0.00015"),
        (100.0, None, "max_dead=100"),
        (10000.0, None, "max_dead=10000"),
        (12345.0, None, "max_dead=12345"),
        (100000.0, None, "max_dead=1e+05"),
        (None, None, "max_dead=off"),
    ],
)
def test_a_limit_as_a_user_writes_it(value: float, here: float | None, said: str) -> None:
    assert Limit("max_dead", None, 0, None, "SHARE", "").at(value, here) == said


def test_the_largest_whole_number_that_a_float_holds_is_a_limit() -> None:
    largest = int(sys.float_info.max)
    assert Limits(max_norm=largest).max_norm == largest
    with pytest.raises(ConfigurationError, match="max_norm is a number of 1024 bits"):
        Limits(max_norm=largest + 1)


def test_a_rule_that_is_ignored_everywhere_takes_no_layer_out() -> None:
    limits = Limits(ignore=["GH203", "head.*"])
    assert limits.under("GH203") is limits
    assert limits.under("GH203").judges("")
    assert Limits(ignore=["GH203:"]).under("GH203").judges("")
