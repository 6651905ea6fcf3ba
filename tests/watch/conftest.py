from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

SUITE = Path(__file__).parent / "suite"
"""Tests as people write them: nothing in there knows of this plugin."""


@dataclass(frozen=True)
class Run:
    """What a run of the suite showed, by test."""

    outcomes: dict[str, str]
    ledger: dict[str, str]
    checks: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    output: str = ""

    def findings(self, test: str) -> set[tuple[str, str]]:
        """Kind and culprit of everything found in a test."""
        found = [finding for check in self.checks.get(test, ()) for finding in check.get("findings", ())]
        return {(finding["family"], finding["layers"][0]) for finding in found}


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The suite as it stands."""
    return run(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same under ``pytest --gradhealth``, with all that can be measured."""
    options = ("--gradhealth", "--gradhealth-json=health.json", "--gradhealth-tensorboard=board")
    return run(tmp_path_factory.mktemp("watched"), *options)


def run(folder: Path, *options: str) -> Run:
    shutil.copytree(SUITE, folder, dirs_exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rA",
        "--tb=no",
        "--show-capture=no",
        "-p",
        "no:cacheprovider",
        *options,
    ]
    environment = os.environ | {"LEDGER": str(folder / "ledger.json"), "OMP_NUM_THREADS": "1", "COLUMNS": "300"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)
    health = folder / "health.json"
    checks: dict[str, list[dict[str, Any]]] = {}
    for check in json.loads(health.read_text())["checks"] if health.exists() else []:
        checks.setdefault(check["test"].split("::", 1)[1], []).append(check)
    return Run(
        outcomes=dict(_outcomes(done.stdout)),
        ledger=json.loads((folder / "ledger.json").read_text()),
        checks=checks,
        output=done.stdout + done.stderr,
    )


def _outcomes(output: str) -> Any:
    for line in output.splitlines():
        word, _, rest = line.partition(" ")
        if word in ("PASSED", "FAILED", "ERROR", "XFAIL", "XPASS") and "::" in rest:
            yield rest.partition(" - ")[0].split("::", 1)[1].strip(), word.lower()
