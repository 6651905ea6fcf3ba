"""pytest's hooks and fixtures.

Loaded in every session, so whatever is not needed to start is imported where it is used.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gradhealth.judge.index import LIMITS
from pytest_gradhealth.session import options

if TYPE_CHECKING:
    from pytest_gradhealth.experiment.laboratory import GradHealth
    from pytest_gradhealth.record import Check
    from pytest_gradhealth.settings import Settings

SHOWN = ("min_reach", "max_dead", "max_ratio")
"""Limits that the marker's line in ``pytest --markers`` names."""
MARKER = (
    f"gradhealth(*, enabled=True, ignore=(), {', '.join(f'{name}={LIMITS[name].default}' for name in SHOWN)}, ...): "
    "fail this test when gradients vanish, explode, die or never arrive in a model that it trains. "
    "All limits and settings: https://pytest-gradhealth.readthedocs.io/en/stable/usage.html#the-marker"
)
BASE = pytest.StashKey["Settings"]()
"""The session's settings, read once."""
SETTINGS = pytest.StashKey["Settings | None"]()
"""The settings of a test; None where it opted out."""
CHECKS = pytest.StashKey[list[dict[str, Any]]]()
"""What a test measured so far, in its present run, as the plain data that reports carry."""
HEALTH = pytest.StashKey["GradHealth"]()
SEEN = pytest.StashKey[dict[str, Any]]()
"""What a watch saw of a test, as plain data for the summary: backward passes, models measured, and what was not."""
CURRENT = pytest.StashKey[pytest.Item]()
"""The test that runs now."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register options."""
    options.add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Register extension points."""
    from pytest_gradhealth import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, settle how tables look, and refuse impossible options before anything runs."""
    config.addinivalue_line("markers", MARKER)
    options.verbosity(config)
    if any(options.given(config, option.name)[0] is not None for option in options.OPTIONS):
        from pytest_gradhealth.session import baselines, outputs

        config.stash[BASE] = options.read_settings(config)
        outputs.require_writable(config)
        baselines.accepted_of(config)
    from pytest_gradhealth.session import rendering

    rendering.settle(config, ascii_only=bool(options.given(config, "ascii")[0]))
    if not hasattr(config, "workerinput"):
        from pytest_gradhealth.session.collector import Collector

        config.pluginmanager.register(Collector(config), "gradhealth-collector")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist how tables look: it has no terminal."""
    from pytest_gradhealth.session import rendering

    rendering.send(node.config, node.workerinput)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say that the plugin is active, and how; nothing where it is not."""
    if config.stash.get(BASE, None) is None:
        return []
    from pytest_gradhealth.session.summary import header

    return [header(config, config.stash[BASE])]


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> list[str]:
    """Say at the head of the run, once, where nothing can be watched."""
    if not (options.mode(config) or any(item.get_closest_marker("gradhealth") for item in items)):
        return []
    from pytest_gradhealth.session.watching import why_nothing_can_be_watched

    problem = why_nothing_can_be_watched()
    return [f"gradhealth: ERROR: no test can be watched: {problem}"] if problem else []


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Validate the markers of a test that has any; a wrong one is an error of that test alone."""
    item.stash[CHECKS], item.stash[SEEN] = [], {}
    item.config.stash[CURRENT] = item
    if HEALTH in item.stash:  # an earlier run of the same test
        del item.stash[HEALTH]
    if item.get_closest_marker("gradhealth") is None:
        return
    from pytest_gradhealth.errors import ConfigurationError
    from pytest_gradhealth.session.marker import apply_markers

    try:
        item.stash[SETTINGS] = apply_markers(item, _base(item.config))
        return
    except ConfigurationError as error:
        problem = str(error)
    pytest.fail(problem, pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Watch what a marked test trains, and with ``--gradhealth`` what any test trains; judge it when it has passed."""
    settings = item.stash[SETTINGS] if SETTINGS in item.stash else _watch_all(item.config)
    if settings is None:
        return (yield)
    from pytest_gradhealth.session.watching import watched

    with watched(item, _health(item, settings), item.stash[SEEN]):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """Note where a fixture trains under ``--gradhealth``: that belongs to no single test, and is not measured."""
    if not options.mode(request.config) or CURRENT not in request.config.stash:
        return (yield)
    from pytest_gradhealth.session.watching import noting_training

    with noting_training(fixturedef.argname, request.config.stash[CURRENT].stash[SEEN]):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let the checks travel as plain data on the teardown report, and the short summary begin with the verdict."""
    report = yield
    if call.excinfo is not None and _is_ours(call.excinfo.value):
        from pytest_gradhealth.session.rendering import headed_by_verdict

        headed_by_verdict(report, call.excinfo.value)
    if call.excinfo is not None and call.excinfo.typename == "RankLostError":  # what comes next would wait for it again
        item.session.shouldstop = str(call.excinfo.value)
    checks = item.stash.get(CHECKS, None)
    if report.when == "teardown" and checks:
        from pytest_gradhealth.session.collector import attach

        attach(report, checks)
    if report.when == "teardown" and item.stash.get(SEEN, None) and options.mode(item.config):
        from pytest_gradhealth.session.collector import attach_seen

        attach_seen(report, item.stash[SEEN])
    return report


@pytest.fixture(scope="session")
def gradhealth(request: pytest.FixtureRequest) -> GradHealth:
    """Measure a model's gradients with ``check``, ``measure`` or ``watch``; experiment with ``selftest``.

    It may be used in fixtures of any scope: what they measure belongs to the test that runs at that moment, and its
    marker counts.
    """
    from pytest_gradhealth.session.current import CurrentHealth

    return CurrentHealth(lambda: _health_of(request.config.stash[CURRENT]))


def _is_ours(error: BaseException) -> bool:
    """Told by its look: a session that measures nothing does not load our errors."""
    return type(error).__module__ == "pytest_gradhealth" or hasattr(error, "check")


def _health_of(item: pytest.Item) -> GradHealth:
    return _health(item, item.stash.get(SETTINGS, None) or _base(item.config))


def _health(item: pytest.Item, settings: Settings) -> GradHealth:
    """One for each run of a test, so that names stay unique within it."""
    from functools import partial

    from pytest_gradhealth.experiment.laboratory import GradHealth
    from pytest_gradhealth.session import baselines, progress, rendering, reporting

    if HEALTH not in item.stash:
        accepted = baselines.accepted_of(item.config)
        item.stash[HEALTH] = GradHealth(
            settings,
            sink=partial(_keep, item),
            hook=item.config.hook,
            show=partial(rendering.shown, item.config, indent=rendering.error_indent(item)),
            progress=progress.progress_of(item.config),
            explore=partial(_explore, bool(options.given(item.config, "selftest")[0])),
            compare=partial(accepted.compare, item.nodeid) if accepted else None,
            accept=baselines.acceptance_of(item),
            tolerate=reporting.tolerance_of(item),
        )
    return item.stash[HEALTH]


def _explore(selftest: bool, *given: Any) -> dict[str, Any]:
    """Loaded once a model has been measured."""
    from pytest_gradhealth.experiment.explore import explore

    return explore(*given, selftest=selftest)


def _keep(item: pytest.Item, check: Check) -> None:
    # What an extension adds may not be plain: find out here, as an error of the test.
    item.stash[CHECKS].append(check.to_dict())
    if options.given(item.config, "junit")[0]:
        from pytest_gradhealth.report.junit import properties

        item.user_properties.extend(properties(check))


def _watch_all(config: pytest.Config) -> Settings | None:
    """The settings of a test without a marker; None: the suite as a whole is not watched."""
    return _base(config) if options.mode(config) else None


def _base(config: pytest.Config) -> Settings:
    if BASE not in config.stash:
        config.stash[BASE] = options.read_settings(config)
    return config.stash[BASE]
