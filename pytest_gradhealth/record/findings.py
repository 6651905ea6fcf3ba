"""One fact that breaks a limit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import PurePath, PurePosixPath

from pytest_gradhealth.record.plain import Plain

__all__ = ["Finding", "docs_url"]

DOCS = "https://github.com/pytest-gradhealth/pytest-gradhealth/blob/main/docs/rules"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding(Plain):
    """One fact that breaks a limit."""

    kind: str
    """Name of the rule, as in ``vanishing-gradient``."""
    layers: tuple[str, ...]
    """The culprit first: where the signal is lost, not every layer behind it."""
    message: str
    """The fact in one clause, with its number and the limit."""
    code: str = ""
    """Stable code of the rule, as in ``GH101``; empty: the rule of an extension."""
    title: str = ""
    """How the verdict begins, as in "vanishing gradient"; empty: with the kind."""
    url: str = ""
    """Address of the rule's page; empty: it has none."""
    family: str = ""
    """Kind of fault that several rules look for, as in ``vanishing``; empty: the kind itself."""
    value: float | None = None
    limit: float | None = None
    limit_name: str = ""
    """Name of the limit that was broken, as in ``min_reach``."""
    cause: str = ""
    remedy: str = ""
    """What to do. A line break stands before a command to be copied, which a table does not wrap."""
    where: str = ""
    """File and line of the code at fault, as in ``models/net.py:12``; empty: not known."""
    provisional: bool = False
    """Whether a gate that is closed on purpose could explain it, so that it needs the second look."""

    @property
    def headline(self) -> str:
        """Code and title, as a verdict begins: ``GH101 vanishing gradient``."""
        return f"{self.code} {self.title or self.kind.replace('-', ' ')}".strip()

    @property
    def place(self) -> tuple[str, int] | None:
        """File, relative to the root of the tests, and line of the code at fault; None: not known, or not in there."""
        file, _, line = self.where.rpartition(":")
        path = PurePosixPath(file)
        inside = bool(file) and "\\" not in file and not path.is_absolute() and ".." not in path.parts
        return (file, int(line)) if inside and line.isdecimal() else None

    def relative_to(self, root: PurePath) -> Finding:
        """With its file as seen from a folder that it lies in."""
        file, _, line = self.where.rpartition(":")
        inside = bool(file) and PurePath(file).is_relative_to(root)
        return replace(self, where=f"{PurePath(file).relative_to(root).as_posix()}:{line}") if inside else self

    @property
    def fault(self) -> str:
        """The family, or the kind where it has none."""
        return self.family or self.kind

    @property
    def layer(self) -> str:
        """The culprit's name."""
        return self.layers[0] if self.layers else ""


def docs_url(slug: str) -> str:
    """Address of a rule's page in the documentation."""
    return f"{DOCS}/{slug}.md"
