"""The action's inputs: read from the environment and validated, for a composite action enforces nothing."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from gradhealth_gate.errors import GateError
from pytest_gradhealth.judge.drift import drift_limit

__all__ = ["Inputs", "read_inputs"]

T = TypeVar("T")

PREFIX = "GRADHEALTH_"
OWN_OPTION = "--gradhealth-json"
CHOICES = {
    "compare": ("none", "base", "baseline"),
    "fail-on": ("any", "limits", "regression", "never"),
    "require-base": ("auto", "true", "false"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What the caller of the action asked for."""

    pytest_args: tuple[str, ...] = ()
    python: tuple[str, ...] = ("python",)
    workspace: Path
    directory: Path
    """Where pytest is started: absolute, real, and inside the workspace."""
    compare: str = "none"
    baseline_file: str = ""
    base_ref: str = ""
    base_setup: str = ""
    max_drift: float = 3.0
    require_base: str = "auto"
    allow_lost_checks: bool = False
    fail_on: str = "any"
    annotations: bool = True
    summary: bool = True
    name: str = ""


def read_inputs(environment: Mapping[str, str]) -> Inputs:
    """Validate everything; an empty input takes its default.

    Raises:
        GateError: naming every input that is wrong.
    """
    reader = _Reader(environment)
    workspace = Path(environment.get("GITHUB_WORKSPACE") or ".").resolve()
    inputs = Inputs(
        pytest_args=reader.take("pytest-args", _arguments, ()),
        python=reader.take("python", _command, ("python",)),
        workspace=workspace,
        directory=reader.take("working-directory", lambda text: _directory(workspace, text), workspace),
        compare=reader.take("compare", _choice("compare"), "none"),
        baseline_file=reader.take("baseline-file", _file, ""),
        base_ref=reader.take("base-ref", _revision, ""),
        base_setup=reader.take("base-setup", str, ""),
        max_drift=reader.take("max-drift", drift_limit, 3.0),
        require_base=reader.take("require-base", _choice("require-base"), "auto"),
        allow_lost_checks=reader.take("allow-lost-checks", _switch, False),
        fail_on=reader.take("fail-on", _choice("fail-on"), "any"),
        annotations=reader.take("annotations", _switch, True),
        summary=reader.take("summary", _switch, True),
        name=reader.take("name", str, ""),
    )
    problems = reader.problems or list(_contradictions(inputs))
    if problems:
        raise GateError("; ".join(problems))
    return inputs


class _Reader:
    """Collects what is wrong, so that one run tells all of it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.problems: list[str] = []

    def take(self, name: str, parse: Callable[[str], T], default: T) -> T:
        text = self._environment.get(PREFIX + name.upper().replace("-", "_"), "")
        if not text.strip():
            return default
        try:
            return parse(text)
        except ValueError as error:
            self.problems.append(f"input `{name}`: {error}")
            return default


def _contradictions(inputs: Inputs) -> list[str]:
    problems = []
    if inputs.compare == "baseline" and not inputs.baseline_file:
        problems.append("input `baseline-file`: `compare: baseline` needs it")
    if inputs.compare == "none" and inputs.fail_on == "regression":
        problems.append("input `fail-on`: `regression` needs `compare: base` or `compare: baseline`")
    if inputs.compare == "none" and inputs.require_base == "true":
        problems.append("input `require-base`: `true` needs `compare: base` or `compare: baseline`")
    return problems


def _arguments(text: str) -> tuple[str, ...]:
    words = tuple(shlex.split(text, comments=False))
    if any(word.partition("=")[0] == OWN_OPTION for word in words):
        raise ValueError(f"{OWN_OPTION} is the action's own; the output `report` is the path of that file")
    return words


def _command(text: str) -> tuple[str, ...]:
    return tuple(shlex.split(text))


def _directory(workspace: Path, text: str) -> Path:
    directory = (workspace / text).resolve()
    if not directory.is_relative_to(workspace):
        raise ValueError(f"{text!r} is outside the workspace")
    if not directory.is_dir():
        raise ValueError(f"{text!r} is not a folder in the workspace; was the repository checked out?")
    return directory


def _file(text: str) -> str:
    if Path(text).is_absolute():
        raise ValueError(f"{text!r} must be relative to `working-directory`, since it is read from the base commit")
    return text


def _revision(text: str) -> str:
    revision = text.strip()
    if revision.startswith("-") or not revision.isprintable():
        raise ValueError(f"{revision!r} is no commit, tag or branch")
    return revision


def _switch(text: str) -> bool:
    value = text.strip().lower()
    if value not in ("true", "false"):
        raise ValueError(f"expected true or false, got {text!r}")
    return value == "true"


def _choice(name: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        value = text.strip().lower()
        if value not in CHOICES[name]:
            raise ValueError(f"expected one of {', '.join(CHOICES[name])}, got {text!r}")
        return value

    return parse
