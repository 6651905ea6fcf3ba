"""The base's report: measured in a tree of its own, or taken from the baseline that the base commit holds."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from gradhealth_gate.commands import group
from gradhealth_gate.git import Repository
from gradhealth_gate.inputs import Inputs
from gradhealth_gate.measure import run_pytest
from gradhealth_gate.problems import NoBaseError
from gradhealth_gate.running import output_of, resolved, run_visibly
from gradhealth_gate.verdict import FROM_BASELINE
from pytest_gradhealth.record import Check
from pytest_gradhealth.report.baseline import read_baseline
from pytest_gradhealth.report.store import Report, StoredCheck, StoreError, write_report

__all__ = ["Bench", "accepted_base", "foreign_source", "measure_base", "present_arguments", "tree_paths"]

INSTALLED = ("site-packages", "dist-packages")


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


def accepted_base(bench: Bench, sha: str) -> tuple[Path, Report]:
    """The baseline of the base commit as a report: a change cannot loosen what it is held to.

    Raises:
        NoBaseError: the base commit has none, or it cannot be read.
    """
    name = os.path.normpath(bench.inner / bench.inputs.baseline_file)
    content = bench.repository.read(sha, PurePath(name).as_posix())
    if content is None:
        raise NoBaseError(f"the base commit has no file {name}")
    kept, path = bench.folder / "baseline.json", bench.folder / "base.json"
    kept.write_bytes(content)
    try:
        records = read_baseline(kept).records
    except StoreError as error:
        raise NoBaseError(f"the baseline of the base commit cannot be used: {error}") from None
    checks = [StoredCheck(test=key.test, file="", check=Check(name=key.check, record=records[key])) for key in records]
    report = Report(checks=tuple(checks), metadata={FROM_BASELINE: name})
    write_report(path, report)
    return path, report


def measure_base(bench: Bench, sha: str) -> tuple[Path, Report]:
    """Run the same tests on the base commit's files, in the same environment.

    Raises:
        NoBaseError: they cannot be measured there, or it was not the base's code that was measured.
        ProblemError: Python cannot be started.
    """
    with bench.repository.worktree(sha, bench.folder / "base") as tree:
        directory = tree / bench.inner
        if not directory.is_dir():
            raise NoBaseError(f"the base commit has no folder {bench.inner}")
        path, report = _measured(bench, tree, directory)
        source = foreign_source(report, tree, bench.repository, sha)
    if source:
        raise NoBaseError(
            f"the base run imported {source}, which is not the base's code; install the base in `base-setup`"
        )
    return path, report


def _measured(bench: Bench, tree: Path, directory: Path) -> tuple[Path, Report]:
    _set_up(bench, directory)
    own = resolved(bench.inputs.python, directory, bench.inputs.directory)
    arguments = present_arguments(bench.inputs.pytest_args, bench.repository.top, tree, bench.inner)
    if arguments is None:
        raise NoBaseError("the base commit has none of the tests")
    environment = {**bench.environment, "PYTHONPATH": os.pathsep.join(_python_path(bench, own, tree, directory))}
    with group("gradhealth: tests on the base commit"):
        session = run_pytest(own, arguments, directory, environment, bench.folder / "base.json")
    if session.problem:
        raise NoBaseError(f"the base commit cannot be measured: {session.problem}")
    return session.path, session.report


def _set_up(bench: Bench, directory: Path) -> None:
    if not bench.inputs.base_setup.strip():
        return
    script = bench.folder / "base-setup.sh"
    script.write_text(bench.inputs.base_setup, encoding="utf-8", newline="\n")
    command = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", str(script)]
    with group("gradhealth: base-setup"):
        code = run_visibly(command, directory, bench.environment)
    if code != 0:
        raise NoBaseError(f"`base-setup` ended with exit code {code}")


def present_arguments(arguments: Sequence[str], top: Path, tree: Path, inner: Path) -> list[str] | None:
    """What pytest is given for the base: its own paths, without files that are new; None: no file is left.

    Only a word that is a file or folder of the head and follows no option can be left out, since an option may need it.
    """
    moved, dropped, kept = [], 0, 0
    for before, word in zip(["", *arguments], arguments, strict=False):
        name = word.partition("::")[0]
        if name and not before.startswith("-") and (top / inner / name).exists():
            if not (tree / inner / name.replace(str(top), str(tree))).exists():
                dropped += 1
                continue
            kept += 1
        moved.append(word.replace(str(top), str(tree)))
    return None if dropped and not kept else moved


def _python_path(bench: Bench, python: Sequence[str], tree: Path, directory: Path) -> list[str]:
    """The base's folders before those of the environment, where the head may be installed in place."""
    asked = output_of([*python, "-c", "import json, sys; print(json.dumps(sys.path))"], directory, bench.environment)
    try:
        seen = json.loads(asked or "[]")
    except ValueError:
        seen = []
    given = bench.environment.get("PYTHONPATH", "").split(os.pathsep)
    return [*tree_paths([*given, *seen], bench.repository.top, tree, directory), *filter(None, given)]


def tree_paths(seen: Sequence[str], top: Path, tree: Path, directory: Path) -> list[str]:
    """The folders of ``seen`` that lie in the head's checkout, in the base's tree; and where code lies by custom."""
    real = [Path(os.path.realpath(path)) for path in seen if path]
    inside = [tree / path.relative_to(top) for path in real if path.is_relative_to(top)]
    customary = [directory / "src", directory, tree / "src", tree]
    return list(dict.fromkeys(str(path) for path in (*inside, *customary) if path.is_dir()))


def foreign_source(report: Report, tree: Path, repository: Repository, sha: str) -> str:
    """A model's source file that is the project's own, but not the base's; empty: all is well."""
    sources = {stored.check.record.source for stored in report.checks}
    return next(_foreign(sorted(filter(None, sources)), tree, repository, sha), "")


def _foreign(sources: Sequence[str], tree: Path, repository: Repository, sha: str) -> Iterator[str]:
    outside = [path for path in map(Path, map(os.path.realpath, sources)) if not path.is_relative_to(tree)]
    names = repository.files(sha) if outside else []
    for path in outside:
        place = next((path.parts.index(folder) for folder in INSTALLED if folder in path.parts), None)
        if place is None:
            if path.is_relative_to(repository.top):
                yield str(path)
        elif _is_one_of("/".join(path.parts[place + 1 :]), names):
            # Installed without -e, so that the tests see the installed copy: the head's.
            yield str(path)


def _is_one_of(tail: str, names: Sequence[str]) -> bool:
    return any(name == tail or name.endswith(f"/{tail}") for name in names)
