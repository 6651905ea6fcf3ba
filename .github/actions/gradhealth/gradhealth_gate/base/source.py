"""Whose code is imported when the base is measured."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from gradhealth_gate.base.repository import Repository
from pytest_gradhealth.report.store import Report

__all__ = ["foreign_source", "tree_paths"]

INSTALLED = ("site-packages", "dist-packages")


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
