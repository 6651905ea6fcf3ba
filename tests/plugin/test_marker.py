"""The marker: merged field by field, nearest first; a wrong one is an error of its test alone."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from pytest_gradhealth import Limits, Settings

Seen = Callable[[], list[dict[str, Any]]]

CHECK = "gradhealth.check(net(), [X] * 9, square)"


def test_every_level_adds_its_fields_and_the_nearest_wins(project: pytest.Pytester, seen: Seen) -> None:
    project.makepyfile(
        f"""
        import pytest
        from small_nets import *

        pytestmark = pytest.mark.gradhealth(max_ratio=100, max_norm=1000, seed=1, max_batches=1, ignore=["nothing"])

        @pytest.mark.gradhealth(max_norm=2000, seed=2, min_norm=1e-12)
        class TestClass:
            @pytest.mark.gradhealth(seed=3)
            @pytest.mark.parametrize(
                "x", [pytest.param(0, id="plain"), pytest.param(1, marks=pytest.mark.gradhealth(seed=4), id="own")]
            )
            def test_method(self, gradhealth, x):
                {CHECK}

        def test_function(gradhealth):
            {CHECK}
        """
    )
    project.runpytest().assert_outcomes(passed=3)
    plain, own, function = seen()
    assert (plain["seed"], own["seed"], function["seed"]) == (3, 4, 1)
    for check, expected in (
        (plain, (100, 2000, 1e-12, 1)),
        (own, (100, 2000, 1e-12, 1)),
        (function, (100, 1000, None, 1)),
    ):
        limits = check["limits"]
        assert (limits["max_ratio"], limits["max_norm"], limits.get("min_norm"), check["batches"]) == expected
        assert limits["ignore"] == ["nothing"]


def test_none_switches_a_limit_of_the_class_off(project: pytest.Pytester, seen: Seen) -> None:
    project.makepyfile(
        f"""
        import pytest
        from small_nets import *

        @pytest.mark.gradhealth(max_norm=1e-9)
        class TestClass:
            @pytest.mark.gradhealth(max_norm=None)
            def test_off(self, gradhealth):
                {CHECK}

            def test_on(self, gradhealth):
                {CHECK}
        """
    )
    project.runpytest().assert_outcomes(passed=1, failed=1)
    off, on = seen()
    assert "max_norm" not in off["limits"]
    assert on["limits"]["max_norm"] == 1e-9


def test_a_derived_class_inherits(project: pytest.Pytester, seen: Seen) -> None:
    project.makepyfile(
        f"""
        import pytest
        from small_nets import *

        @pytest.mark.gradhealth(seed=5, max_batches=2)
        class Base:
            def test_it(self, gradhealth):
                {CHECK}

        class TestPlain(Base):
            pass

        @pytest.mark.gradhealth(seed=6)
        class TestMarked(Base):
            pass

        class TestListed(Base):
            pytestmark = [pytest.mark.gradhealth(seed=7)]

        class TestBelow(TestMarked):
            pytestmark = pytest.mark.gradhealth(seed=8)
        """
    )
    project.runpytest().assert_outcomes(passed=4)
    assert [(check["seed"], check["batches"]) for check in seen()] == [(5, 2), (6, 2), (7, 2), (8, 2)]


def test_of_stacked_markers_the_one_nearest_to_the_function_wins(project: pytest.Pytester, seen: Seen) -> None:
    project.makepyfile(
        f"""
        import pytest
        from small_nets import *

        @pytest.mark.gradhealth(seed=1, max_batches=1)
        @pytest.mark.gradhealth(seed=2)
        def test_it(gradhealth):
            {CHECK}
        """
    )
    project.runpytest().assert_outcomes(passed=1)
    assert [(check["seed"], check["batches"]) for check in seen()] == [(2, 1)]


def test_the_whole_order_of_precedence(project: pytest.Pytester, seen: Seen) -> None:
    """Marker, command line, ini file, default, field by field."""
    project.makeini(
        """
        [pytest]
        gradhealth_seed = 10
        gradhealth_max_batches = 2
        gradhealth_max_norm = 1000
        """
    )
    project.makepyfile(
        f"""
        import pytest
        from small_nets import *

        @pytest.mark.gradhealth(seed=30)
        def test_it(gradhealth):
            {CHECK}
            gradhealth.check(net(), [X] * 9, square, seed=40, max_norm=3000)
        """
    )
    project.runpytest("--gradhealth-max-batches=3", "--gradhealth-seed=20").assert_outcomes(passed=1)
    marked, called = seen()
    assert (marked["seed"], marked["batches"], marked["limits"]["max_norm"]) == (30, 3, 1000)
    assert (called["seed"], called["batches"], called["limits"]["max_norm"]) == (40, 3, 3000)


def test_a_test_without_a_marker_has_the_settings_of_the_session(project: pytest.Pytester, seen: Seen) -> None:
    project.makepyfile(f"from small_nets import *\ndef test_it(gradhealth):\n    {CHECK}")
    project.runpytest("--gradhealth-seed=7").assert_outcomes(passed=1)
    project.runpytest().assert_outcomes(passed=1)
    assert [(check["seed"], check["batches"]) for check in seen()] == [(7, 4), (0, 4)]


def test_enabled_false_opts_one_test_out(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest
        from small_nets import *

        pytestmark = pytest.mark.gradhealth(max_norm=1e-9)

        def test_in():
            square(net()(X)).backward()

        @pytest.mark.gradhealth(enabled=False)
        def test_out():
            square(net()(X)).backward()

        @pytest.mark.gradhealth(enabled=False)
        class TestOut:
            def test_out(self):
                square(net()(X)).backward()

            @pytest.mark.gradhealth(enabled=True)
            def test_in_again(self):
                square(net()(X)).backward()
        """
    )
    result = project.runpytest("-rf")
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(["FAILED *::test_in - *", "FAILED *::TestOut::test_in_again - *"])


BAD = {
    "max_raito=1": "*has no field 'max_raito'; did you mean 'max_ratio'? allowed: device, dtypes, enabled, formats, histograms, ignore, layers, *",
    "nonsense=1": "*has no field 'nonsense'; allowed: *",
    "100": "*takes keyword arguments only, got 100; allowed: device, *",
    "max_ratio='big'": "*: max_ratio='big' must be a number of at least 1, or None to switch it off",
    "max_ratio=0.1": "*: max_ratio=0.1 is out of range: it must be a number of at least 1",
    "min_reach=7": "*: min_reach=7 is out of range: it must be a number from 0 to 1",
    "min_norm=2, max_norm=1": "*: min_norm=2 is above max_norm=1: no layer can meet both",
    "ignore=5": "*: ignore=5 must be layer-name patterns, as in *",
    "layers={'head': {'max_rato': 1}}": "*: layers['head']: there is no limit 'max_rato'; *",
    "layers=['head']": "*: layers=['head'] must map layer-name patterns to limits, *",
    "seed=1.5": "*: seed=1.5 must be a whole number of at least 0",
    "seed=-1": "*: seed=-1 must be a whole number of at least 0",
    "seed=2**64": "*: seed=* must be a whole number of at most *",
    "max_batches=0": "*: max_batches=0 must be a whole number of at least 1",
    "max_batches=True": "*: max_batches=True must be a whole number of at least 1",
    "device='gpu'": "*: device='gpu' must be one of auto, all, cpu, cuda, *",
    "device=0": "*: device=0 must be one of auto, all, cpu, cuda, *",
    "device=None": "*: device=None must be one of auto, all, cpu, cuda, *",
    "enabled='no'": "*: enabled='no' must be True or False",
    "enabled=None": "*: enabled=None must be True or False",
    "device_from='x'": "*has no field 'device_from'; *",
    "limits=None": "*has no field 'limits'; *",
}


@pytest.mark.parametrize("arguments", BAD, ids=str)
def test_a_bad_marker_is_an_error_of_its_test_alone(project: pytest.Pytester, arguments: str) -> None:
    project.makepyfile(
        f"""
        import pytest

        @pytest.mark.gradhealth({arguments})
        def test_bad():
            pass

        def test_good():
            pass
        """
    )
    result = project.runpytest("--gradhealth-report")
    result.assert_outcomes(passed=1, errors=1)
    place = "@pytest.mark.gradhealth on test_a_bad_marker_is_an_error_of_its_test_alone.py::test_bad"
    lines = [line for line in result.outlines if line.startswith(place)]
    assert len(lines) == 1
    result.stdout.fnmatch_lines([BAD[arguments].replace("[", "[[]")])
    assert "Traceback" not in result.stdout.str()


def test_the_place_of_a_bad_marker_is_named(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest

        @pytest.mark.gradhealth(max_raito=1)
        class TestClass:
            @pytest.mark.gradhealth(seed=1)
            def test_it(self):
                pass
        """
    )
    result = project.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["@pytest.mark.gradhealth on test_the_place*.py::TestClass has no field 'max_raito'*"])


def test_limits_that_contradict_each_other_over_two_levels(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest

        @pytest.mark.gradhealth(min_norm=5)
        class TestClass:
            @pytest.mark.gradhealth(max_norm=1)
            def test_bad(self):
                pass

            @pytest.mark.gradhealth(min_norm=0.5, max_norm=1, enabled=False)
            def test_good(self):
                pass
        """
    )
    result = project.runpytest("--gradhealth-max-norm=4")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*::TestClass::test_bad: min_norm=5 is above max_norm=1: *"])


def test_the_marker_is_listed_with_the_fields_a_newcomer_needs_and_their_defaults(pytester: pytest.Pytester) -> None:
    text = pytester.runpytest("--markers").stdout.str()
    shown = text.partition("@pytest.mark.gradhealth(*, ")[2].partition(", ...): ")[0]
    listed = {k.arg: ast.literal_eval(k.value) for k in ast.parse(f"f({shown})").body[0].value.keywords}  # type: ignore[attr-defined]
    limits = {name: getattr(Limits(), name) for name in Limits.fields()}
    settings = {field.name: getattr(Settings(), field.name) for field in dataclasses.fields(Settings)}
    defaults = {**settings, **limits, "enabled": True}
    assert listed == {name: defaults[name] for name in ("enabled", "ignore", "min_reach", "max_dead", "max_ratio")}


def test_a_fixture_of_any_scope_measures_for_the_test_that_runs(project, seen) -> None:
    project.makepyfile(
        test_it="""
        import pytest
        from small_nets import *

        @pytest.fixture(scope="module")
        def record(gradhealth):
            return gradhealth.check(net, X, loss=square)

        class TestBoth:
            @pytest.fixture(scope="class")
            def trained(self, gradhealth):
                return gradhealth.check(net, X, loss=square, name="of the class")

            @pytest.mark.gradhealth(seed=1)
            def test_one(self, record): assert len(record) == 2
            @pytest.mark.gradhealth(seed=2)
            def test_two(self, record, trained, gradhealth): gradhealth.check(net, X, loss=square, name="of the test")
        """
    )
    project.runpytest("-n0", "-p", "no:randomly").assert_outcomes(passed=2)
    assert [(check["name"], check["seed"]) for check in seen()] == [
        ("Sequential", 1),
        ("of the class", 2),
        ("of the test", 2),
    ]
