"""The files of a session: refused before anything runs where they could not be written, written once at its end."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pytest_gradhealth.report.store import Report, StoredCheck, StoreError, describe_environment, write_report
from pytest_gradhealth.session import options

__all__ = ["require_writable", "write_outputs"]

Writer = Callable[[Path, Report, pytest.Config], None]


def require_writable(config: pytest.Config) -> None:
    """Refuse impossible files at the start.

    Raises:
        pytest.UsageError: a path is a folder, its folder cannot be made, or an extra is missing.
    """
    for name, path, source in _asked(config):
        problem = _problem(name, path)
        if problem:
            raise pytest.UsageError(f"{source}: {problem}")


def write_outputs(config: pytest.Config, checks: Sequence[StoredCheck]) -> Iterator[str]:
    """Write what was asked for; one line about each file, also where it could not be written."""
    environment: dict[str, Any] = {**describe_environment(), **_torch_version(checks)}
    report = Report(checks=tuple(checks), environment=environment)
    for name, path, source in _asked(config):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            WRITERS[name](path, report, config)
            yield f"gradhealth: {name} written to {path}"
        except (OSError, StoreError, ValueError) as error:
            yield f"ERROR: {source}: could not write {_shortened(path)}: {error}"


def _asked(config: pytest.Config) -> Iterator[tuple[str, Path, str]]:
    for name in WRITERS:
        value, source = options.given(config, name)
        if value:
            yield name, options.path_of(config, value, source), source


def _problem(name: str, path: Path) -> str:
    try:
        return _obstacle(name, path)
    except (OSError, ValueError) as error:  # a name that is too long, or holds what no file name can
        return f"{_shortened(path)} cannot be written: {getattr(error, 'strerror', None) or error}"


def _shortened(path: Path) -> str:
    name = path.name if len(path.name) < 100 else f"{path.name[:40]}...{path.name[-40:]}"
    return str(path.with_name(name)) if path.name else str(path)


def _obstacle(name: str, path: Path) -> str:
    with suppress(FileNotFoundError, NotADirectoryError):
        found = stat.S_IFMT(os.stat(path).st_mode)
        wants_folder = name == "tensorboard"
        if found == stat.S_IFDIR and not wants_folder:
            return f"{path} is a folder"
        if found != stat.S_IFDIR and wants_folder:
            return f"{path} is a file"
        if found not in (stat.S_IFDIR, stat.S_IFREG):  # a device or a pipe is written to, whatever its folder allows
            return "" if os.access(path, os.W_OK) else f"{path} cannot be written"
    parent = next(folder for folder in path.parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        return f"{path} cannot be written: {parent} is not a writable folder"
    try:
        EXTRAS.get(name, lambda: None)()
    except ImportError as error:
        return str(error)
    return ""


def _torch_version(checks: Sequence[StoredCheck]) -> dict[str, str]:
    return {"torch": checks[0].check.record.torch} if checks and checks[0].check.record.torch else {}


def _json(path: Path, report: Report, config: pytest.Config) -> None:
    write_report(path, report)


def _markdown(path: Path, report: Report, config: pytest.Config) -> None:
    from pytest_gradhealth.report.files import write_text
    from pytest_gradhealth.report.markdown import render_markdown

    write_text(path, render_markdown(report))


def _html(path: Path, report: Report, config: pytest.Config) -> None:
    from pytest_gradhealth.report.files import write_text
    from pytest_gradhealth.report.html import render_html
    from pytest_gradhealth.session.baselines import accepted_baseline

    write_text(path, render_html(report, accepted_baseline(config)))


def _sarif(path: Path, report: Report, config: pytest.Config) -> None:
    from pytest_gradhealth.report.files import write_text
    from pytest_gradhealth.report.sarif import render_sarif

    write_text(path, render_sarif(report))


def _tensorboard(path: Path, report: Report, config: pytest.Config) -> None:
    from pytest_gradhealth.report.tensorboard import write_tensorboard

    write_tensorboard(path, report)


def _require_html() -> None:
    from pytest_gradhealth.report.html import require_html

    require_html()


def _require_tensorboard() -> None:
    from pytest_gradhealth.report.tensorboard import require_tensorboard

    require_tensorboard()


WRITERS: dict[str, Writer] = {
    "json": _json,
    "markdown": _markdown,
    "html": _html,
    "sarif": _sarif,
    "tensorboard": _tensorboard,
}
EXTRAS: dict[str, Callable[[], None]] = {"html": _require_html, "tensorboard": _require_tensorboard}
