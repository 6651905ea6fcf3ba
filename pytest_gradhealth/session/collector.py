"""Controller side: keeps each test's checks as they arrive on reports, and prints the summary."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_gradhealth.record import Check
    from pytest_gradhealth.report.store import StoredCheck
    from pytest_gradhealth.session.ranks import Ranks

__all__ = ["ATTRIBUTE", "Collector", "attach", "attach_seen"]

ATTRIBUTE = "gradhealth"
SEEN_ATTRIBUTE = "gradhealth_seen"


def attach(report: pytest.TestReport, checks: list[dict[str, Any]]) -> None:
    """Put a test's checks on its teardown report, the one report that every run of a test makes exactly once."""
    setattr(report, ATTRIBUTE, checks)


def attach_seen(report: pytest.TestReport, seen: dict[str, Any]) -> None:
    """Put what a watch saw of a test on the same report."""
    setattr(report, SEEN_ATTRIBUTE, seen)


class Collector:
    """The checks of a session by test; the last run of a test counts, so reruns replace what came before."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._raw: dict[str, list[dict[str, Any]]] = {}
        self._places: dict[str, tuple[str, int]] = {}
        self._outcomes: dict[str, str] = {}
        self._lines: list[str] = []
        self._seen: dict[str, dict[str, Any]] = {}
        self._collected: frozenset[str] = frozenset()

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Note every test before any is deselected, where whole files were asked for."""
        if not any("::" in argument for argument in config.args):
            self._collected = frozenset(item.nodeid for item in items)

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what a worker or this process measured."""
        if report.when == "setup":
            self._raw.pop(report.nodeid, None)
        if report.when == "call" or not report.passed:
            self._outcomes[report.nodeid] = _outcome(report)
        seen = getattr(report, SEEN_ATTRIBUTE, None)
        if report.when == "teardown" and seen is not None:
            self._seen[report.nodeid] = seen
        checks = getattr(report, ATTRIBUTE, None)
        if report.when == "teardown" and checks is not None:
            self._raw[report.nodeid] = checks
            file, line, _ = report.location
            self._places[report.nodeid] = (PurePath(file).as_posix(), (line or 0) + 1)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write files, once, and only here: a worker never writes."""
        from pytest_gradhealth.session import options

        asked = (*options.FILES, *options.BASELINE)
        if not any(options.given(self._config, option.name)[0] for option in asked):
            return
        from pytest_gradhealth.session import baselines, outputs, stale
        from pytest_gradhealth.session.ranks import ranks_of_session

        ranks = ranks_of_session()
        if ranks is not None and not self._takes_all(ranks, session):
            return
        stored = list(self._stored())
        lines = [*outputs.write_outputs(self._config, stored), baselines.update(self._config, stored)]
        lines += stale.look(self._config, stale.Run(stored, self._outcomes, self._collected))
        self._lines += [line for line in lines if line]
        if any(line.startswith("ERROR") for line in self._lines):
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR

    def _takes_all(self, ranks: Ranks, session: pytest.Session) -> bool:
        """Take over what other ranks of this session have measured; whether this one is to write it."""
        from pytest_gradhealth.session.ranks import PATIENCE, Part, merged

        mine = Part(self._raw, self._places, self._outcomes, int(session.exitstatus))
        parts, lost = ranks.exchanged(mine)
        if lost:
            told = ", ".join(map(str, lost))
            self._lines.append(f"ERROR: rank {told} of {ranks.total} left no report within {PATIENCE:g} s")
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
        whole = merged(parts)
        session.exitstatus = max(int(session.exitstatus), whole.exit_code)
        if ranks.writes:
            self._raw, self._places, self._outcomes = whole.checks, whole.places, whole.outcomes
        return ranks.writes

    @pytest.hookimpl
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print what was asked for; nothing at all where nothing was checked."""
        from pytest_gradhealth.session import summary
        from pytest_gradhealth.session.options import given, mode, verbosity

        level = verbosity(self._config)
        asked, selftest = bool(given(self._config, "report")[0]), bool(given(self._config, "selftest")[0])
        for line in self._lines:
            terminalreporter.write_line(line, red=line.startswith("ERROR"))
        only_reports = mode(self._config) == "report"
        if not (self._raw or self._seen) or (level < 0 and not (asked or selftest or only_reports)):
            return
        if asked or selftest:
            self._print_selftests(terminalreporter)
        shown = [(test, check) for test, check in self.checks if asked or (only_reports and not check.healthy)]
        if shown:
            terminalreporter.section("gradient health")
            for test, check in shown:
                self._print(terminalreporter, test, check, level)
        if self._seen:
            for line in summary.unmeasured(self._seen):
                terminalreporter.write_line(line)
        if self._raw:
            terminalreporter.write_line(summary.closing([check for found in self._raw.values() for check in found]))
            for line in summary.accepted(self._raw):
                terminalreporter.write_line(line)

    @cached_property
    def checks(self) -> list[tuple[str, Check]]:
        """Every check with its test's node id, in the order of node ids, so that xdist prints the same.

        Made once, when the session has ended.
        """
        from pytest_gradhealth.record import Check

        return [(test, Check.from_dict(data)) for test in sorted(self._raw) for data in self._raw[test]]

    def _stored(self) -> Iterator[StoredCheck]:
        from dataclasses import replace

        from pytest_gradhealth.report.store import StoredCheck

        for test, check in self.checks:
            file, line = self._places[test]
            findings = tuple(finding.relative_to(self._config.rootpath) for finding in check.findings)
            located = replace(check, findings=findings)
            yield StoredCheck(
                test=test, file=file, line=line, outcome=self._outcomes.get(test, "passed"), check=located
            )

    def _print(self, reporter: pytest.TerminalReporter, test: str, check: Check, verbosity: int) -> None:
        from pytest_gradhealth.report.table import render
        from pytest_gradhealth.report.text import one_line

        reporter.write_line("")
        reporter.write_line(one_line(test), bold=True)
        if check.forecast is not None:
            for line in check.forecast.text.splitlines():
                reporter.write_line(one_line(line))
            return
        width, ascii_only = self._config.option.gradhealth_width, self._config.option.gradhealth_ascii
        colour = {} if not check.judged else {"green": True} if check.healthy else {"red": True}
        first, *rest = render(check, width=width, ascii_only=ascii_only, verbosity=verbosity).splitlines()
        reporter.write_line(first, **colour)
        sick = "x " if ascii_only else "✗ "
        for line in rest:
            reporter.write_line(line, red=sick in line)

    def _print_selftests(self, reporter: pytest.TerminalReporter) -> None:
        if not any(check.get("mutants") for found in self._raw.values() for check in found):
            return  # without decoding anything
        from pytest_gradhealth.report.selftest import render
        from pytest_gradhealth.report.text import one_line

        reporter.section("gradient health self-test")
        width, ascii_only = self._config.option.gradhealth_width, self._config.option.gradhealth_ascii
        for test, check in [(test, check) for test, check in self.checks if check.mutants]:
            reporter.write_line(one_line(test), bold=True)
            reporter.write_line(render(check.name, check.mutants, width=width, ascii_only=ascii_only))
            reporter.write_line("")


def _outcome(report: pytest.TestReport) -> str:
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed"
    return "error" if report.failed and report.when != "call" else str(report.outcome)
