"""Command line and ini file: every value is checked before anything runs, and every error names its source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from pytest_gradhealth import Limits, Settings
from pytest_gradhealth.session import options

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


@pytest.mark.parametrize("limit", Limits.names())
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
    for heading in options.GROUPS:
        assert f"\n{heading}:\n" in text
    assert "Smallest reach of the first quarter of the layers. Default: 1e-04." in " ".join(text.split())


def test_settings_are_validated_without_pytest_too() -> None:
    from pytest_gradhealth import ConfigurationError

    with pytest.raises(ConfigurationError, match="device='tpu' must be one of"):
        Settings(device="tpu")


SICK = """
import pytest
from small_nets import *

def deep():
    torch.manual_seed(0)
    return nn.Sequential(*[layer for _ in range(12) for layer in (nn.Linear(3, 3), nn.Sigmoid())])

def train():
    deep()(X).square().mean().backward()

def test_watched(): train()
def test_fixture(gradhealth): gradhealth.check(deep, X, square)
@pytest.mark.gradhealth
def test_marked(): train()
@pytest.mark.gradhealth
def test_marked_in_vain(): pass
@pytest.mark.xfail(strict=True)
def test_expected(gradhealth): gradhealth.check(deep, X, square)
"""


@pytest.mark.parametrize("error", [(), ("-Werror",)], ids=["", "warnings are errors"])
@pytest.mark.parametrize("asked", ["--gradhealth=report", "ini"])
def test_report_fails_nothing_and_tells_all(project: pytest.Pytester, asked: str, error: tuple[str, ...]) -> None:
    project.makepyfile(SICK)
    if asked == "ini":
        project.makeini("[pytest]\ngradhealth = report")
    result = project.runpytest(*([asked] if asked != "ini" else []), *error)
    result.assert_outcomes(passed=4, xfailed=1, warnings=0 if error else 4)
    text = result.stdout.str()
    section = text[text.index("= gradient health =") :]
    for test in ("watched", "fixture", "marked", "expected"):
        assert f"::test_{test}\nGH101 vanishing gradient in Sequential:" in section
    if not error:
        assert (
            "GradientHealthWarning: test_report_fails_nothing_and_tells_all.py::test_watched: GH101 vanishing gradient in"
            in text
        )
        assert "::test_marked_in_vain: nothing was trained" in text


@pytest.mark.parametrize(
    "mode", [("--gradhealth",), ("--gradhealth=fail",), ("-o", "gradhealth=fail"), ("-o", "gradhealth=true")]
)
def test_a_bare_flag_fails_and_takes_no_path_for_a_mode(project: pytest.Pytester, mode: tuple[str, ...]) -> None:
    path = project.makepyfile(SICK)
    project.runpytest(*mode, path.name).assert_outcomes(failed=4, xfailed=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--gradhealth=silent"],
            "*argument --gradhealth/--gradhealth=fail/--gradhealth=report: ignored explicit argument 'silent'",
        ),
        (["-o", "gradhealth=silent"], "*gradhealth in * must be fail or report*"),
    ],
)
def test_an_unknown_mode_is_refused_with_what_there_is(
    project: pytest.Pytester, arguments: list[str], message: str
) -> None:
    project.makepyfile(SICK)
    result = project.runpytest(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])


@pytest.mark.parametrize("word", ["off", "none"])
def test_a_limit_is_switched_off_from_the_command_line(project: pytest.Pytester, seen: Seen, word: str) -> None:
    project.makepyfile(TEST)
    project.runpytest(f"--gradhealth-min-reach={word}").assert_outcomes(passed=1)
    (check,) = seen()
    assert "min_reach" not in check["limits"]


several_types = pytest.mark.skipif(pytest.version_tuple < (9, 2), reason="a value of one type only before pytest 9.2")


@several_types
@pytest.mark.parametrize("table", [INI_OPTIONS, NATIVE])
def test_a_limit_is_switched_off_from_the_ini_file(project: pytest.Pytester, seen: Seen, table: str) -> None:
    project.makepyprojecttoml(table + 'gradhealth_min_reach = "off"\ngradhealth_max_norm = 5e9')
    project.makepyfile(TEST)
    project.runpytest().assert_outcomes(passed=1)
    (check,) = seen()
    assert "min_reach" not in check["limits"]
    assert check["limits"]["max_norm"] == 5e9


@several_types
@pytest.mark.parametrize("value", ["1", '"1"', '"auto"'])
def test_the_verbosity_in_native_toml(project: pytest.Pytester, value: str) -> None:
    project.makepyprojecttoml(f"{NATIVE}verbosity_gradhealth = {value}")
    project.makepyfile(TEST)
    if value == '"1"':
        assert "expects one of" in project.runpytest().stderr.str()
    else:
        project.runpytest().assert_outcomes(passed=1)


STEERED = """
import pytest
from small_nets import *

class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.body(x).detach())

def test_it(gradhealth):
    gradhealth.check(Two, X, square)
"""
"""GH105 at ``body``."""
ACCEPTS = ["detached-layer:b*"]
DOES_NOT = ["GH105:head"]


@pytest.mark.parametrize("entry", [*ACCEPTS, *DOES_NOT])
def test_what_is_ignored_from_the_command_line_and_from_every_ini_file(project: pytest.Pytester, entry: str) -> None:
    project.makepyfile(STEERED)
    wanted = {"passed": 1} if entry in ACCEPTS else {"failed": 1}
    project.runpytest("--gradhealth-ignore=GH9*", f"--gradhealth-ignore={entry}").assert_outcomes(**wanted)
    project.makeini(f"[pytest]\ngradhealth_ignore =\n    nothing\n    {entry}")
    project.runpytest().assert_outcomes(**wanted)
    project.makeini(f'[pytest]\ngradhealth_ignore = ["nothing", "{entry}"]')
    project.runpytest().assert_outcomes(**wanted)
    (project.path / "tox.ini").unlink()
    for table in (INI_OPTIONS, NATIVE) if pytest.version_tuple >= (9, 0) else (INI_OPTIONS,):
        project.makepyprojecttoml(f'{table}gradhealth_ignore = ["nothing", "{entry}"]')
        project.runpytest().assert_outcomes(**wanted)


def test_the_lines_of_a_failure_accept_it(project: pytest.Pytester) -> None:
    project.makepyfile(STEERED)
    result = project.runpytest()
    result.stdout.fnmatch_lines(
        [
            "E   *GradientHealthError: GH105 detached layer in Two: *",
            "E   *docs: https://*/docs/rules/detached-layer.md",
            "FAILED *::test_it - GH105 detached *",
        ]
    )
    lines = [line.partition(":  ")[2] or line.partition(": ")[2] for line in result.outlines if " for th" in line]
    layer, test, suite = (line.strip() for line in lines)
    for marker in (layer, test):
        project.makepyfile(STEERED.replace("def test_it", f"{marker}\ndef test_it"))
        project.runpytest().assert_outcomes(passed=1)
    project.makepyfile(STEERED)
    project.makeini(f"[pytest]\n{suite.removesuffix('(ini file)')}")
    project.runpytest().assert_outcomes(passed=1)


@pytest.mark.parametrize(("rule", "outcome"), [("GH2", "passed"), ("vanishing-gradient", "passed"), ("GH1", "failed")])
def test_what_is_selected(project: pytest.Pytester, rule: str, outcome: str) -> None:
    project.makepyfile(STEERED)
    project.runpytest(f"--gradhealth-select={rule}").assert_outcomes(**{outcome: 1})
    project.makeini(f"[pytest]\ngradhealth_select = {rule}")
    project.runpytest().assert_outcomes(**{outcome: 1})
    project.runpytest("--gradhealth-select=GH2").assert_outcomes(passed=1)


def test_limits_of_some_layers(project: pytest.Pytester, seen: Seen) -> None:
    project.makepyfile("from small_nets import *\ndef test_it(gradhealth):\n    gradhealth.check(net(), X, square)")
    strict = "--gradhealth-max-norm=1e-9"
    project.runpytest(strict, "--gradhealth-layers=0:max_norm=9").assert_outcomes(failed=1)
    project.runpytest(strict, "--gradhealth-layers=0:max_norm=9", "--gradhealth-layers=2:max_norm=off").assert_outcomes(
        passed=1
    )
    project.makeini("[pytest]\ngradhealth_max_norm = 1e-9\ngradhealth_layers = [0-9]:max_norm=9,min_norm=off")
    project.runpytest().assert_outcomes(passed=1)
    assert seen()[-1]["limits"]["layers"] == {"[0-9]": {"max_norm": 9.0, "min_norm": None}}


def test_what_is_ignored_at_several_places_adds_up(project: pytest.Pytester, seen: Seen) -> None:
    project.makeini("[pytest]\ngradhealth_ignore = GH1\ngradhealth_layers = a:min_norm=0")
    project.makepyfile(
        """
        import pytest
        from small_nets import *
        pytestmark = pytest.mark.gradhealth(ignore=["GH3"], layers={"a": {"max_norm": 9}})
        @pytest.mark.gradhealth(ignore="GH4")
        def test_it(gradhealth):
            gradhealth.check(net(), X, square, ignore=["GH5"], layers={"b": {"max_norm": 8}})
        """
    )
    project.runpytest("--gradhealth-ignore=GH2", "--gradhealth-layers=a:min_norm=1e-9").assert_outcomes(passed=1)
    (check,) = seen()
    assert check["limits"]["ignore"] == ["GH1", "GH2", "GH3", "GH4", "GH5"]
    assert check["limits"]["layers"] == {"a": {"min_norm": 1e-9, "max_norm": 9}, "b": {"max_norm": 8}}


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("ignore", "GH999", "ignore='GH999': there is no rule 'GH999'; did you mean 'GH*'? allowed: *"),
        (
            "ignore",
            "dead-unit:head",
            "ignore='dead-unit:head': there is no rule 'dead-unit'; did you mean 'dead-units'? *",
        ),
        ("ignore", "dead-unit", "ignore='dead-unit': there is no rule 'dead-unit'; did you mean 'dead-units'? *"),
        ("select", "vanishing", "select='vanishing': there is no rule 'vanishing'; did you mean 'vanishing-*"),
        ("layers", "head", "layers='head' must read PATTERN:LIMIT=VALUE, as in 'head.*:min_norm=1e-6*"),
        ("layers", "head:min_norm", "layers='head:min_norm' must read PATTERN:LIMIT=VALUE, as in *"),
        ("layers", "head:min_nrom=1", "layers['head']: there is no limit 'min_nrom'; did you mean 'min_norm'? *"),
        ("layers", "head:min_norm=big", "layers['head']: min_norm='big' must be a number *"),
    ],
)
def test_a_bad_entry_names_its_source_and_the_nearest(
    project: pytest.Pytester, option: str, value: str, message: str
) -> None:
    project.makepyfile(TEST)
    message = message.replace("[", "[[]")
    result = project.runpytest(f"--gradhealth-{option}={value}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --gradhealth-{option}: {message}"])
    project.makeini(f"[pytest]\ngradhealth_{option} = {value}")
    result = project.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: gradhealth_{option} in *tox.ini: {message}"])
