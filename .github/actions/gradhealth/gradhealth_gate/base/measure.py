"""The base's report: measured in a tree of its own, or taken from the baseline that the base commit holds.

All of this happens before a line of the change's tests has run.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from gradhealth_gate.base.arguments import present_arguments
from gradhealth_gate.base.repository import Repository
from gradhealth_gate.base.source import foreign_source, tree_paths
from gradhealth_gate.base.tree import base_tree
from gradhealth_gate.errors import BaseUnavailableError, NoBaseError
from gradhealth_gate.github.commands import group
from gradhealth_gate.inputs import Inputs
from gradhealth_gate.process.run import output_of, resolved, run_visibly
from gradhealth_gate.session import EMPTY, Session, run_pytest
from gradhealth_gate.verdict.judge import FROM_BASELINE
from pytest_gradhealth.record import Check
from pytest_gradhealth.report.baseline import read_baseline
from pytest_gradhealth.report.store import Report, StoredCheck, StoreError

__all__ = ["Bench", "accepted_base", "measure_base"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where and with what is measured."""

    inputs: Inputs
    repository: Repository
    folder: Path
    """The gate's own, outside the checkout."""
    environment: Mapping[str, str]

    @property
    def inner(self) -> Path:
        """The working directory as seen from the top of the checkout."""
        return self.inputs.directory.relative_to(self.repository.top)


def accepted_base(bench: Bench, sha: str) -> Report:
    """The baseline of the base commit as a report: a change cannot loosen what it is held to.

    Raises:
        NoBaseError: the base commit has none, or it cannot be read.
    """
    name = os.path.normpath(bench.inner / bench.inputs.baseline_file)
    content = bench.repository.read(sha, PurePath(name).as_posix())
    if content is None:
        raise NoBaseError(f"the base commit has no file {name}")
    with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
        kept = Path(folder) / "baseline.json"
        kept.write_bytes(content)
        try:
            records = read_baseline(kept).records
        except StoreError as error:
            raise BaseUnavailableError(f"the baseline of the base commit cannot be used: {error}") from None
    checks = [StoredCheck(test=key.test, file="", check=Check(name=key.check, record=records[key])) for key in records]
    return Report(checks=tuple(checks), metadata={FROM_BASELINE: name})


def measure_base(bench: Bench, sha: str) -> Report:
    """Run the same tests on the base commit's files, in the same environment.

    Raises:
        NoBaseError: the base has nothing to measure.
        BaseUnavailableError: it cannot be measured, or it was not the base's code that was measured.
        GateError: Python cannot be started.
    """
    with base_tree(bench.repository, sha, bench.folder / "base") as tree:
        directory = tree.path / bench.inner
        if not directory.is_dir():
            raise NoBaseError(f"the base commit has no folder {bench.inner}")
        _set_up(bench, directory)
        tree.seal()
        session = _measured(bench, tree.path, directory)
        tree.verify()
        _check(session)
        source = foreign_source(session.report, tree.path, bench.repository, sha)
        if source:
            raise BaseUnavailableError(
                f"the model that ran is from {source}, which is not the base's code; give the base its own "
                "environment with `base-setup` and a relative `python`"
            )
    return session.report


def _measured(bench: Bench, tree: Path, directory: Path) -> Session:
    own = resolved(bench.inputs.python, directory, bench.inputs.directory)
    arguments = present_arguments(bench.inputs.pytest_args, bench.repository.top, tree, bench.inner)
    if arguments is None:
        raise NoBaseError("the base commit has none of the tests")
    environment = {**bench.environment, "PYTHONPATH": os.pathsep.join(_python_path(bench, own, tree, directory))}
    with group("gradhealth: tests on the base commit"):
        return run_pytest(own, arguments, directory, environment, bench.folder)


def _check(session: Session) -> None:
    if session.code == EMPTY or session.unchecked or not session.plugin:
        raise NoBaseError("the base commit has no test that checks a model")
    if session.problem:
        raise BaseUnavailableError(f"the base commit cannot be measured: {session.problem}")


def _set_up(bench: Bench, directory: Path) -> None:
    if not bench.inputs.base_setup.strip():
        return
    script = bench.folder / "base-setup.sh"
    script.write_text(bench.inputs.base_setup, encoding="utf-8", newline="\n")
    command = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", str(script)]
    with group("gradhealth: base-setup"):
        code = run_visibly(command, directory, bench.environment)
    if code != 0:
        raise BaseUnavailableError(f"`base-setup` ended with exit code {code}")


def _python_path(bench: Bench, python: tuple[str, ...], tree: Path, directory: Path) -> list[str]:
    """The base's folders before those of the environment, where the head may be installed in place."""
    asked = output_of([*python, "-c", "import json, sys; print(json.dumps(sys.path))"], directory, bench.environment)
    try:
        seen = json.loads(asked or "[]")
    except ValueError:
        seen = []
    given = bench.environment.get("PYTHONPATH", "").split(os.pathsep)
    return [*tree_paths([*given, *seen], bench.repository.top, tree, directory), *filter(None, given)]
