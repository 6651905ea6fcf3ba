"""Limits say no to what makes no sense, and what is allowed instead."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from pytest_gradhealth import ConfigurationError, Limits


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
