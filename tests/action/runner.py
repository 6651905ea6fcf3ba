"""Executes a composite action of one bash step as GitHub's runner does: no Docker, no network, only PyYAML.

What it keeps to: `required` is not enforced and no INPUT_* is set; bash runs without profile, with -e and pipefail;
the step's command files are fresh, and read even if it fails; lines of the log are commands, unless stopped; ten
annotations of a kind are kept, cut at 4096 characters; a summary above 1 MiB is dropped; outputs are set on failure.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

EXPRESSION = re.compile(r"\$\{\{\s*([\w.-]+)\s*\}\}")
COMMAND = re.compile(r"^\s*::([A-Za-z-]+)(?:\s+(.*?))?::(.*)$")
OLD_COMMAND = re.compile(r"##\[(error|warning|notice|debug|group|add-mask|set-env)\b")
KINDS = ("error", "warning", "notice")
FILES = ("OUTPUT", "ENV", "PATH", "STATE", "STEP_SUMMARY")
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "OMP_NUM_THREADS")


@dataclass
class Annotation:
    kind: str
    properties: dict[str, str]
    message: str

    @property
    def place(self) -> tuple[str, int]:
        return self.properties.get("file", ""), int(self.properties.get("line", 0))


@dataclass
class Result:
    code: int
    log: str
    outputs: dict[str, str]
    summary: str
    environment: str
    """What was written to GITHUB_ENV and GITHUB_PATH."""
    annotations: list[Annotation] = field(default_factory=list)
    dropped: int = 0
    commands: list[str] = field(default_factory=list)
    """Every command that was heard, but annotations and groups."""

    def of_kind(self, kind: str) -> list[Annotation]:
        return [annotation for annotation in self.annotations if annotation.kind == kind]


@dataclass
class Step:
    """Where and for what event the action runs."""

    action: Path
    workspace: Path
    temp: Path
    event_name: str = "push"
    event: Mapping[str, Any] = field(default_factory=dict)
    sha: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)

    def run(self, **inputs: str) -> Result:
        given = {name.replace("_", "-"): value for name, value in inputs.items()}
        metadata = yaml.load((self.action / "action.yml").read_text("utf-8"), Loader=yaml.BaseLoader)
        unknown = given.keys() - metadata["inputs"].keys()
        if unknown:
            raise ValueError(f"unexpected inputs {unknown}")
        (step,) = metadata["runs"]["steps"]
        values = {f"inputs.{name}": given.get(name, data["default"]) for name, data in metadata["inputs"].items()}
        self.temp.mkdir(parents=True, exist_ok=True)
        files = {f"GITHUB_{name}": self.temp / f"set_{name.lower()}" for name in FILES}
        for file in files.values():
            file.write_bytes(b"")
        variables = {name: _evaluate(text, values) for name, text in step["env"].items()}
        done = self._execute(step["run"], {**self._environment(), **variables, **{k: str(v) for k, v in files.items()}})
        return self._result(done, metadata["outputs"], files)

    def _environment(self) -> dict[str, str]:
        event = self.temp / "event.json"
        event.write_text(json.dumps(self.event), encoding="utf-8")
        return {
            **{name: os.environ[name] for name in KEPT if name in os.environ},
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_ACTION_PATH": str(self.action),
            "GITHUB_EVENT_NAME": self.event_name,
            "GITHUB_EVENT_PATH": str(event),
            "GITHUB_SHA": self.sha,
            "GITHUB_WORKSPACE": str(self.workspace),
            "RUNNER_TEMP": str(self.temp),
            **self.variables,
        }

    def _execute(self, script: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        path = self.temp / "script.sh"
        path.write_text(script, encoding="utf-8")
        command = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", str(path)]
        return subprocess.run(
            command,
            cwd=self.workspace,
            env=dict(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )

    def _result(
        self, done: subprocess.CompletedProcess[str], outputs: Mapping[str, Any], files: Mapping[str, Path]
    ) -> Result:
        set_by_step = _read_values(files["GITHUB_OUTPUT"].read_text("utf-8"))
        steps = {f"steps.gate.outputs.{name}": value for name, value in set_by_step.items()}
        summary = files["GITHUB_STEP_SUMMARY"].read_bytes()
        result = Result(
            code=done.returncode,
            log=done.stdout,
            outputs={name: _evaluate(data["value"], steps) for name, data in outputs.items()},
            summary=summary.decode() if len(summary) <= 1024 * 1024 else "",
            environment=files["GITHUB_ENV"].read_text() + files["GITHUB_PATH"].read_text(),
        )
        _listen(result)
        return result


def _evaluate(text: str, values: Mapping[str, str]) -> str:
    return EXPRESSION.sub(lambda match: values.get(match[1], ""), text)


def _read_values(text: str) -> dict[str, str]:
    values, lines = {}, iter(text.split("\n"))
    for line in lines:
        if not line:
            continue
        name, separator, end = line.partition("<<")
        if not separator:
            raise ValueError(f"invalid format {line!r}")
        values[name] = "\n".join(iter(lambda: next(lines), end))
    return values


def _listen(result: Result) -> None:
    token = None
    for line in result.log.splitlines():
        if token is not None:
            token = None if line.strip() == f"::{token}::" else token
            continue
        match = COMMAND.match(line)
        if match and match[1] == "stop-commands":
            token = match[3]
        elif match:
            _obey(result, match[1], match[2] or "", match[3])
        elif OLD_COMMAND.search(line):
            result.commands.append(line)


def _obey(result: Result, name: str, properties: str, data: str) -> None:
    if name in KINDS:
        pairs = [item.partition("=") for item in properties.split(",") if item]
        made = Annotation(name, {key: _unescape(value, True) for key, _, value in pairs}, _unescape(data)[:4096])
        if len(result.of_kind(name)) < 10:
            result.annotations.append(made)
        else:
            result.dropped += 1
    elif name not in ("group", "endgroup"):
        result.commands.append(name)


def _unescape(text: str, value: bool = False) -> str:
    if value:
        text = text.replace("%3A", ":").replace("%2C", ",")
    return text.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")
