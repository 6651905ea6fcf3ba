"""Command line and ini file: every value is checked before anything runs, and every error names its source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from pytest_gradhealth import Limits, Settings

Seen = Callable[[], list[dict[str, Any]]]

TEST = "from small_nets import *\ndef test_it(gradhealth):\n    gradhealth.check(net(), [X] * 9, square)\n"

absent = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--gradhealth-max-ratio=0.5", "ERROR: --gradhealth-max-ratio: max_ratio=0.5 is out of range: *at least 1"),
        ("--gradhealth-max-ratio=big", "*argument --gradhealth-max-ratio: invalid float value: 'big'"),
        ("--gradhealth-min-reach=nan", "ERROR: --gradhealth-min-reach: min_reach=nan is out of range: *"),
        ("--gradhealth-seed=-1", "ERROR: --gradhealth-seed: seed=-1 must be a whole number of at least 0"),
        ("--gradhealth-seed=1.5", "*argument --gradhealth-seed: invalid int value: '1.5'"),
        ("--gradhealth-max-batches=0", "ERROR: --gradhealth-max-batches: max_batches=0 must be *"),
        ("--gradhealth-device=gpu", "ERROR: --gradhealth-device: device='gpu' must be one of auto, *"),
    ],
)
def test_a_bad_option_ends_the_session_before_any_test(project: pytest.Pytester, option: str, message: str) -> None:
    project.makepyfile(TEST)
    result = project.runpytest(option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])
    result.stderr.no_fnmatch_line("*Traceback*")


INI_OPTIONS = "[tool.pytest.ini_options]\n"
NATIVE = "[tool.pytest]\n"
native = pytest.mark.skipif(pytest.version_tuple < (9, 0), reason="[tool.pytest] came with pytest 9")


@pytest.mark.parametrize(
    ("table", "line", "message"),
    [
        (INI_OPTIONS, "gradhealth_max_ratio = 0.5", "*gradhealth_max_ratio in *pyproject.toml: max_ratio=0.5 is out of *"),
        (INI_OPTIONS, 'gradhealth_max_ratio = "big"', "*gradhealth_max_ratio in *pyproject.toml must be of type float*"),
        (INI_OPTIONS, "gradhealth_seed = 1.5", "*gradhealth_seed in *pyproject.toml must be of type int*"),
        (INI_OPTIONS, 'gradhealth_report = "maybe"', "*gradhealth_report in *pyproject.toml must be of type bool*"),
        (INI_OPTIONS, 'gradhealth_device = "gpu"', "*gradhealth_device in *pyproject.toml: device='gpu' must be *"),
        pytest.param(NATIVE, 'gradhealth_max_ratio = "1e4"', "*gradhealth_max_ratio in *must be of type float*", marks=native),
        pytest.param(NATIVE, "gradhealth_max_ratio = true", "*gradhealth_max_ratio in *", marks=native),
        pytest.param(NATIVE, 'gradhealth_seed = "1"', "*gradhealth_seed in *must be of type int*", marks=native),
        pytest.param(NATIVE, "gradhealth_max_norm = -1", "*gradhealth_max_norm in *: max_norm=-1* is out of *", marks=native),
        pytest.param(NATIVE, 'gradhealth_report = "yes"', "*gradhealth_report in *must be of type bool*", marks=native),
    ],
)  # fmt: skip
def test_a_bad_ini_value_names_its_file(project: pytest.Pytester, table: str, line: str, message: str) -> None:
    project.makepyprojecttoml(table + line)
    project.makepyfile(TEST)
    result = project.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()


@pytest.mark.parametrize(
    "table",
    [
        INI_OPTIONS + 'gradhealth_max_norm = "1e3"\ngradhealth_seed = 5\ngradhealth_max_batches = 2',
        INI_OPTIONS + "gradhealth_max_norm = 1e3\ngradhealth_seed = 5\ngradhealth_max_batches = 2",
        pytest.param(
            NATIVE + "gradhealth_max_norm = 1000\ngradhealth_seed = 5\ngradhealth_max_batches = 2", marks=native
        ),
    ],
)
def test_ini_values_of_every_spelling(project: pytest.Pytester, seen: Seen, table: str) -> None:
    project.makepyprojecttoml(table)
    project.makepyfile(TEST)
    project.runpytest().assert_outcomes(passed=1)
    (check,) = seen()
    assert (check["limits"]["max_norm"], check["seed"], check["batches"]) == (1000.0, 5, 2)


def test_limits_of_two_sources_that_contradict_each_other(project: pytest.Pytester) -> None:
    project.makeini("[pytest]\ngradhealth_min_norm = 5")
    project.makepyfile(TEST)
    result = project.runpytest("--gradhealth-max-norm=1")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--gradhealth-max-norm: min_norm=5 is above max_norm=1: no layer can meet both"])


@pytest.mark.parametrize("limit", Limits.scalars())
def test_every_limit_is_an_option_and_an_ini_value(project: pytest.Pytester, seen: Seen, limit: str) -> None:
    project.makepyfile("from small_nets import *\ndef test_it(gradhealth):\n    gradhealth.measure(net(), X, square)")
    flag = f"--gradhealth-{limit.replace('_', '-')}"
    assert project.runpytest(f"{flag}=-1").ret == pytest.ExitCode.USAGE_ERROR
    result = project.runpytest("-o", f"gradhealth_{limit}=-1")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*gradhealth_{limit} in *: {limit}=-1.0 is out of range: *"])


@absent
@pytest.mark.parametrize(
    ("option", "ini", "marker", "call", "source"),
    [
        ("--gradhealth-device=cuda", "", "", "", "--gradhealth-device"),
        ("", "gradhealth_device = cuda:1", "", "", "gradhealth_device in *tox.ini"),
        ("", "", "@pytest.mark.gradhealth(device='cuda')", "", "@pytest.mark.gradhealth on *.py::test_it"),
        ("--gradhealth-device=cpu", "", "@pytest.mark.gradhealth(device='xpu')", "", "@pytest.mark.gradhealth on *"),
        ("--gradhealth-device=cpu", "", "", ", device='mps'", "device"),
    ],
)
def test_an_absent_device_is_an_error_of_the_test_that_names_who_asked_for_it(
    project: pytest.Pytester, option: str, ini: str, marker: str, call: str, source: str
) -> None:
    """No skip: a gate that measures nothing must not be green."""
    project.makeini(f"[pytest]\n{ini}")
    project.makepyfile(
        f"import pytest\nfrom small_nets import *\n{marker}\ndef test_it(gradhealth):\n    gradhealth.check(net(), X, square{call})"
    )
    result = project.runpytest(*filter(None, [option]))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"E * {source}: device '*' is not available here (*); available: cpu"])


def test_a_device_that_is_there(project: pytest.Pytester) -> None:
    project.makepyfile(TEST)
    for device in ("auto", "cpu", "all"):
        project.runpytest(f"--gradhealth-device={device}").assert_outcomes(passed=1)


def test_options_are_in_the_help_with_their_ini(pytester: pytest.Pytester) -> None:
    text = pytester.runpytest("--help").stdout.str()
    for name in ("report", "device", "seed", "max-batches", "max-ratio", "ascii"):
        assert f"--gradhealth-{name}" in text
        assert f"gradhealth_{name.replace('-', '_')} " in text


def test_settings_are_validated_without_pytest_too() -> None:
    from pytest_gradhealth import ConfigurationError

    with pytest.raises(ConfigurationError, match="device='tpu' must be one of"):
        Settings(device="tpu")
