"""Command line and ini file, as settings; every error names the option or file it came from."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pytest

from pytest_gradhealth.judge import index
from pytest_gradhealth.judge.limit import short

if TYPE_CHECKING:
    from pytest_gradhealth.settings import Settings

__all__ = ["add_options", "given", "mode", "path_of", "read_settings", "verbosity"]

OFF = ("off", "none")
"""What switches a limit off."""
MODES = ("fail", "report")


class Option(NamedTuple):  # a dataclass would take a millisecond more to make, in every session
    """One option: ``--gradhealth-NAME`` on the command line, ``gradhealth_NAME`` in the ini file."""

    name: str
    type: str
    help: str
    metavar: str | None = None

    @property
    def flag(self) -> str:
        return "--gradhealth" + (f"-{self.name.replace('_', '-')}" if self.name else "")

    @property
    def key(self) -> str:
        return "gradhealth" + (f"_{self.name}" if self.name else "")


LIMITS = tuple(
    Option(limit.name, "float", f"{limit.help}. Default: {short(limit.default)}.", limit.metavar)
    for limit in index.LIMITS.values()
)
RULES = (
    Option("select", "list", "Judge only these rules, by code or name; may be repeated", "RULE"),
    Option("ignore", "list", "Measure, but do not judge: a rule, layers, or RULE:LAYERS; may be repeated", "ENTRY"),
    Option("layers", "list", "Other limits for some layers: PATTERN:LIMIT=VALUE,...; may be repeated", "ENTRY"),
)
MEASURING = (
    Option("device", "string", "auto, cpu, cuda, cuda:N, mps, xpu or all. Default: auto.", "DEVICE"),
    Option(
        "dtypes",
        "list",
        "Check in float32, bfloat16, float16, autocast-bfloat16, autocast-float16. Default: the model's own.",
        "NAMES",
    ),
    Option(
        "formats",
        "list",
        "Forecast what underflows in bfloat16, float16, float8_e4m3fn, float8_e5m2. Default: none.",
        "NAMES",
    ),
    Option("learning_rate", "float", "Tell which updates rounding takes away at this rate. Default: none.", "RATE"),
    Option("seed", "int", "Seed of every random number generator while measuring. Default: 0.", "N"),
    Option("max_batches", "int", "Batches taken from an iterable at most. Default: 4.", "N"),
    Option("try_seconds", "float", "Time to try cures on copies of a model that failed. Default: 5.", "SECONDS"),
    Option("selftest_seconds", "float", "Time for the self-test of one model. Default: 60.", "SECONDS"),
)
MODE = Option(
    "",
    "mode",
    "Watch every model that any test sends a backward pass through. fail (the default): a sick model fails its test; "
    "report: nothing fails, what is found is a warning and a section of the summary",
)
SWITCHES = (
    Option("report", "bool", "Print every check's table and a closing summary, healthy ones too"),
    Option("selftest", "bool", "Seed faults into copies of every checked model, and tell which the limits find"),
    Option("ascii", "bool", "Draw tables with ASCII characters only"),
)
FILES = (
    Option("json", "string", "Write every record and finding as JSON", "PATH"),
    Option("markdown", "string", "Write a summary as Markdown", "PATH"),
    Option("html", "string", "Write a page with charts and tables", "PATH"),
    Option("sarif", "string", "Write the findings as SARIF", "PATH"),
    Option("tensorboard", "string", "Write scalars and histograms for TensorBoard", "DIR"),
    Option("junit", "bool", "Add each check's numbers to the test's JUnit properties"),
)
BASELINE = (
    Option("baseline", "string", "Compare every check with the accepted ones in this file", "PATH"),
    Option("update", "bool", "Accept what is measured now: write it to the baseline"),
    Option("prune", "bool", "Remove from the baseline what no test measures or shows any more"),
    Option("update_on_ci", "bool", "Accept it even where the variable CI is set"),
    Option("max_drift", "float", "Factor by which a layer may differ from its baseline. Default: 3.", "FACTOR"),
)
GROUPS = {
    "gradient health of PyTorch models": (MODE, *SWITCHES),
    "gradient health: how models are measured": MEASURING,
    "gradient health: what is judged": (*RULES, *LIMITS),
    "gradient health: reports": FILES,
    "gradient health: baseline": BASELINE,
}
"""The headings of ``pytest --help``."""
OPTIONS = tuple(option for options in GROUPS.values() for option in options)


def add_options(parser: pytest.Parser) -> None:
    """Register every option twice: on the command line, where the default must be None, and in the ini file."""
    default: Any = None
    for heading, options in GROUPS.items():
        group = parser.getgroup(heading, heading)
        for option in options:
            _add_option(group, option)
            parser.addini(option.key, f"Like {option.flag}", type=_ini_type(option), default=default)
    auto: Any = int | Literal["auto"] if pytest.version_tuple >= (9, 2) else "string"
    parser.addini("verbosity_gradhealth", "Verbosity of tables; 'auto' is that of -v and -q", type=auto, default="auto")


def _add_option(group: pytest.OptionGroup, option: Option) -> None:
    if option.type == "mode":
        flags = (option.flag, *(f"{option.flag}={name}" for name in MODES))
        group.addoption(*flags, dest=option.key, action=_Mode, nargs=0, default=None, help=option.help)
    elif option.type == "list":
        group.addoption(
            option.flag, dest=option.key, action="append", default=None, metavar=option.metavar, help=option.help
        )
    elif option.type == "bool":
        group.addoption(option.flag, dest=option.key, action="store_true", default=None, help=option.help)
    else:
        kind: Any = _limit if option in LIMITS else TYPES[option.type]
        metavar = option.metavar
        group.addoption(option.flag, dest=option.key, type=kind, default=None, metavar=metavar, help=option.help)


class _Mode(argparse.Action):
    """A bare ``--gradhealth`` must not swallow the path behind it, so that each mode is an option without a value."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, (option_string or "").partition("=")[2] or MODES[0])


def _limit(text: str) -> float | str:
    return text.lower() if text.lower() in OFF else float(text)


_limit.__name__ = "float"  # what argparse calls it in an error
TYPES = {"float": float, "int": int, "string": str}


def _ini_type(option: Option) -> Any:
    """Before pytest 9.2 a value has one type: there a limit cannot be switched off in an ini file."""
    several = pytest.version_tuple >= (9, 2)
    if option.type == "mode":
        return bool | Literal["fail", "report"] if several else "string"
    if option.type == "list":
        return "linelist"
    if option in LIMITS and several:
        return float | Literal["off", "none"]
    return option.type


def given(config: pytest.Config, name: str) -> tuple[Any, str]:
    """The value of an option and where it came from; ``(None, "")`` where it was not set.

    Raises:
        pytest.UsageError: the ini file holds a value of the wrong type.
    """
    option = next(option for option in OPTIONS if option.name == name)
    value = config.getoption(option.key)
    return (value, option.flag) if value is not None else _from_ini(config, option)


def _from_ini(config: pytest.Config, option: Option) -> tuple[Any, str]:
    try:
        value = config.getini(option.key)
    except (TypeError, ValueError, pytest.UsageError) as error:
        kind = " or ".join(MODES) if option.type == "mode" else f"of type {option.type}"
        raise pytest.UsageError(f"{option.key} in {config.inipath} must be {kind}: {error}") from None
    unset = option.type == "list" and not value  # before pytest 8 a list that is not there is an empty one
    return None if unset else value, f"{option.key} in {config.inipath}"


def mode(config: pytest.Config) -> str:
    """Whether the whole suite is watched, and whether a sick model fails its test: ``fail``, ``report`` or empty.

    Raises:
        pytest.UsageError: the ini file holds neither.
    """
    value, source = given(config, MODE.name)
    known: dict[Any, str] = {None: "", False: "", "false": "", "": "", True: "fail", "true": "fail"}
    known |= {name: name for name in MODES}
    if value not in known:
        raise pytest.UsageError(f"{source} must be {' or '.join(MODES)}, got {value!r}")
    return known[value]


def verbosity(config: pytest.Config) -> int:
    """How much of a table is shown: below 0 none of it, above 0 all.

    Raises:
        pytest.UsageError: the ini file holds neither a number nor ``auto``.
    """
    try:
        return config.get_verbosity("gradhealth")
    except (TypeError, ValueError) as error:
        raise pytest.UsageError(f"verbosity_gradhealth in {config.inipath} must be a number or auto: {error}") from None


def path_of(config: pytest.Config, value: str, source: str) -> Path:
    """A path from the command line is relative to where pytest was started, one from an ini file to that file."""
    base = config.invocation_params.dir if source.startswith("--") or config.inipath is None else config.inipath.parent
    return base / value


def read_settings(config: pytest.Config) -> Settings:
    """Settings by command line, then ini file, then default.

    Raises:
        pytest.UsageError: a value is out of range; the message names its source.
    """
    from pytest_gradhealth.errors import ConfigurationError
    from pytest_gradhealth.judge.limits import Limits, merged
    from pytest_gradhealth.session import lists
    from pytest_gradhealth.settings import Settings

    limits: dict[str, Any] = {}
    settings: dict[str, Any] = {"histograms": bool(given(config, "tensorboard")[0])}
    for option, value, source in _told(config):
        try:
            if option in MEASURING:
                settings[option.name] = tuple(lists.entries(value)) if option.type == "list" else value
            else:
                limits = merged(limits, {option.name: _limit_of(option, value)})
            if option.name == "device":
                settings["device_from"] = source
            Settings(limits=Limits(**limits), **settings)
        except ConfigurationError as error:
            raise pytest.UsageError(f"{source}: {error}") from None
    return Settings(limits=Limits(**limits), **settings)


def _told(config: pytest.Config) -> Iterator[tuple[Option, Any, str]]:
    """What is set of limits and settings, and where; the ini file is asked too where both add up."""
    for option in (*LIMITS, *RULES, *MEASURING):
        value, source = given(config, option.name)
        ini, file = _from_ini(config, option) if option.name in ("ignore", "layers") else (None, "")
        places = [(ini, file)] if ini and source != file else []
        yield from ((option, *place) for place in (*places, (value, source)) if place[0] is not None)


def _limit_of(option: Option, value: Any) -> Any:
    if option.type != "list":
        return None if value in OFF else value
    from pytest_gradhealth.session import lists

    entries = lists.entries(value)
    return lists.limits_of_layers(entries) if option.name == "layers" else entries
