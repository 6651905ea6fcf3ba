"""Files and baselines of a session, through real pytest runs."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from pytest_gradhealth.report.store import read_report

SUITE = """
import pytest, torch, torch.nn as nn, torch.nn.functional as F

SHRINK = {shrink}

def network():
    layers = [nn.Sequential(nn.Linear(16, 16), nn.ReLU()) for _ in range(6)]
    with torch.no_grad():
        layers[3][0].weight.mul_(SHRINK)
    return nn.Sequential(*layers, nn.Linear(16, 3))

@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(8, 16, generator=generator), torch.randint(3, (8,), generator=generator)) for _ in range(2)]

def test_first(gradhealth, batches):
    gradhealth.check(network, batches, loss=F.cross_entropy, name="network")

def test_second(gradhealth, batches):
    gradhealth.check(network, batches, loss=F.cross_entropy, name="network", seed=3)
"""
SICK = """
import torch, torch.nn as nn, torch.nn.functional as F

def test_sick(gradhealth):
    layers = [part for _ in range(11) for part in (nn.Linear(16, 16), nn.Sigmoid())]
    network = nn.Sequential(*layers, nn.Linear(16, 3))
    gradhealth.check(network, (torch.randn(8, 16), torch.randint(3, (8,))), loss=F.cross_entropy)
"""
FILES = ("json", "markdown", "html", "sarif")


@pytest.fixture
def suite(pytester: pytest.Pytester) -> Path:
    return pytester.makepyfile(test_suite=SUITE.replace("{shrink}", "1.0"))


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["alone", "xdist"])
def test_every_file_is_written_once_by_the_controller(
    pytester: pytest.Pytester, suite: Path, workers: tuple[str, ...]
) -> None:
    options = [f"--gradhealth-{name}=out/report.{name}" for name in FILES]
    result = pytester.runpytest_subprocess(*options, "--gradhealth-tensorboard=out/board", *workers)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines([f"gradhealth: {name} written to *" for name in FILES])
    report = read_report(pytester.path / "out" / "report.json")
    assert [stored.test for stored in report.checks] == ["test_suite.py::test_first", "test_suite.py::test_second"]
    assert {(stored.file, stored.outcome) for stored in report.checks} == {("test_suite.py", "passed")}
    assert list((pytester.path / "out" / "board").glob("**/events.*"))


BOARD = """
import pytest, torch
from small_nets import *

TWO = [X, 2 * X]

@pytest.mark.parametrize("size", [1, 3])
def test_checked(gradhealth, size):
    gradhealth.check(net(), [X * size for X in TWO], square)

def test_looked_at_twice(gradhealth):
    model = net()
    nn.init.zeros_(model[2].weight)
    gradhealth.check(model, TWO, square)

def test_trained():
    model = net()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(9):
        optimiser.zero_grad()
        square(model(X)).backward()
        optimiser.step()
"""


def board(folder: Path) -> dict[str, dict[str, list[tuple[int, float, float, float]]]]:
    """By run and tag: step, number, smallest and largest of each histogram that TensorBoard itself reads."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = {}
    for run in sorted(folder.iterdir()):
        events = EventAccumulator(str(run), size_guidance={"histograms": 0})
        events.Reload()
        points = {tag: events.Histograms(tag) for tag in events.Tags()["histograms"] if tag.startswith("gradients/")}
        found[run.name.partition("-Sequential")[0]] = {
            tag: [(p.step, p.histogram_value.num, p.histogram_value.min, p.histogram_value.max) for p in seen]
            for tag, seen in points.items()
        }
    return found


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["alone", "xdist"])
def test_tensorboard_shows_every_layers_gradient_at_every_step(
    project: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    pytest.importorskip("tensorboard")
    project.makepyfile(test_a=BOARD)
    options = ("--gradhealth", "--gradhealth-tensorboard=board", "--gradhealth-json=report.json")
    project.runpytest_subprocess(*options, *workers).assert_outcomes(passed=4)
    found = board(project.path / "board")
    small, large, twice, trained = (
        found[f"test_a-py-test_{name}"] for name in ("checked-1", "checked-3", "looked_at_twice", "trained")
    )
    assert [(step, num) for step, num, *_ in small["gradients/0"]] == [(0, 2 * 16)]
    assert [(step, num) for step, num, *_ in large["gradients/2"]] == [(0, 2 * 10)]
    assert large["gradients/2"][0][3] > small["gradients/2"][0][3]
    assert [(step, num) for step, num, *_ in twice["gradients/0"]] == [(0, 32), (1, 32)]
    assert twice["gradients/0"][0][2:] == (0, 0)
    assert [(step, num) for step, num, *_ in trained["gradients/0"]] == [(0, 16), (4, 16)]
    assert "histogram" not in (project.path / "report.json").read_text()


@pytest.mark.parametrize("setting", ["gradhealth_tensorboard = board", ""])
def test_elements_are_counted_only_for_tensorboard(project: pytest.Pytester, setting: str) -> None:
    project.makeini(f"[pytest]\n{setting}")
    project.makeconftest("def pytest_gradhealth_metadata(check): return {'it': bool(check.record[0].histogram)}")
    project.makepyfile(BOARD)
    project.runpytest("--gradhealth", "--gradhealth-json=report.json").assert_outcomes(passed=4)
    checks = read_report(project.path / "report.json").checks
    assert [stored.check.metadata["it"] for stored in checks] == [bool(setting)] * 4


def test_a_failed_test_is_in_the_report_with_its_line(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_sick=SICK)
    pytester.runpytest("--gradhealth-json=report.json").assert_outcomes(failed=1)
    (stored,) = read_report(pytester.path / "report.json").checks
    assert (stored.line, stored.outcome, stored.check.findings[0].kind) == (3, "failed", "vanishing-gradient")


def test_the_line_that_detaches_is_in_the_report(pytester: pytest.Pytester) -> None:
    """Two folders: the file is as seen from the root of the tests."""
    folder = pytester.mkpydir("models")
    folder.joinpath("net.py").write_text(
        "from torch import nn\nclass Net(nn.Sequential):\n    def forward(self, x):\n"
        "        h = self[0](x)\n        return self[1](h.detach())\n"
    )
    pytester.makepyfile(
        "import torch\nfrom torch import nn\nfrom models.net import Net\n"
        "def test_it(gradhealth):\n    model = Net(nn.Linear(3, 4), nn.Linear(4, 1))\n"
        "    gradhealth.check(model, torch.randn(8, 3), loss=lambda out, _=None: out.square().mean())"
    )
    result = pytester.runpytest("--gradhealth-json=report.json", "--gradhealth-try-seconds=0")
    (stored,) = read_report(pytester.path / "report.json").checks
    assert stored.check.findings[0].place == ("models/net.py", 5)
    result.stdout.fnmatch_lines(["*cause:  detach() at net.py:5 detaches*"])


def test_a_session_without_checks_still_writes_its_report(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_nothing(): pass")
    pytester.runpytest("--gradhealth-json=report.json").assert_outcomes(passed=1)
    assert read_report(pytester.path / "report.json").checks == ()


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("--gradhealth-json=folder", "--gradhealth-json: *folder is a folder"),
        ("--gradhealth-json=file.txt/report.json", "--gradhealth-json: *is not a writable folder"),
        ("--gradhealth-tensorboard=file.txt", "--gradhealth-tensorboard: *file.txt is a file"),
        ("--gradhealth-update", "--gradhealth-update needs --gradhealth-baseline=PATH*"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_at_the_start(
    pytester: pytest.Pytester, suite: Path, option: str, problem: str
) -> None:
    (pytester.path / "folder").mkdir()
    (pytester.path / "file.txt").touch()
    result = pytester.runpytest(option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {problem}"])


def test_junit_properties_only_when_asked_for(pytester: pytest.Pytester, suite: Path) -> None:
    pytester.runpytest("--junitxml=plain.xml")
    pytester.runpytest("--junitxml=rich.xml", "--gradhealth-junit")
    assert "gradhealth" not in (pytester.path / "plain.xml").read_text()
    assert "gradhealth" in (pytester.path / "rich.xml").read_text()


def accepting(result: pytest.RunResult) -> list[str]:
    """The arguments of the one command in the output, which stands in a line of its own to be copied."""
    (line,) = (line.lstrip("E ") for line in result.outlines if "pytest " in line and "--gradhealth-update" in line)
    name, *arguments = shlex.split(line)
    assert name == "pytest"
    return arguments


class TestBaseline:
    """Accept, compare, notice."""

    def accept(self, pytester: pytest.Pytester, *args: str) -> pytest.RunResult:
        return pytester.runpytest("--gradhealth-baseline=base.json", "--gradhealth-update", *args)

    def test_zero_drift_over_twenty_runs(self, pytester: pytest.Pytester, suite: Path) -> None:
        self.accept(pytester).assert_outcomes(passed=2)
        for _ in range(19):
            pytester.runpytest("--gradhealth-baseline=base.json", "--gradhealth-max-drift=1.001").assert_outcomes(
                passed=2
            )
        result = pytester.runpytest_subprocess("--gradhealth-baseline=base.json", "--gradhealth-max-drift=1.001", "-n2")
        result.assert_outcomes(passed=2)

    def test_an_update_names_what_changed(self, pytester: pytest.Pytester, suite: Path) -> None:
        self.accept(pytester, "-k", "test_first")
        result = self.accept(pytester)
        result.stdout.fnmatch_lines(["gradhealth: 1 entry accepted into *", "  test_suite.py::test_second: *, cpu, *"])
        result.stdout.no_fnmatch_line("  test_suite.py::test_first: *")

    def test_a_weakened_block_is_named(self, pytester: pytest.Pytester, suite: Path) -> None:
        self.accept(pytester)
        suite.write_text(SUITE.replace("{shrink}", "0.1"))
        result = pytester.runpytest("--gradhealth-baseline=base.json", "-k", "test_first")
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(["E*GradientHealthError: GH801 drift from the baseline in network: *around 3.0:*"])
        text = re.sub(r"\s+", " ", result.stdout.str().replace("\nE ", " "))
        assert "if the change is intended, accept it with --gradhealth-update" in text

    def test_a_missing_entry_fails_with_the_command_that_accepts_it(
        self, pytester: pytest.Pytester, suite: Path
    ) -> None:
        self.accept(pytester, "-k", "test_first").assert_outcomes(passed=1, deselected=1)
        result = pytester.runpytest("--gradhealth-baseline=base.json")
        result.assert_outcomes(passed=1, failed=1)
        command = accepting(result)
        assert command == ["test_suite.py::test_second", "--gradhealth-baseline=base.json", "--gradhealth-update"]
        pytester.runpytest(*command).assert_outcomes(passed=1)
        pytester.runpytest("--gradhealth-baseline=base.json").assert_outcomes(passed=2)

    @pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["alone", "xdist"])
    def test_the_command_works_in_another_folder_and_with_an_ini_file(
        self, pytester: pytest.Pytester, suite: Path, monkeypatch: pytest.MonkeyPatch, workers: tuple[str, ...]
    ) -> None:
        pytester.makeini("[pytest]\ngradhealth_baseline = a base.json")
        monkeypatch.chdir(pytester.mkdir("elsewhere"))
        tests = ("..", "-k", "first", *workers)
        command = accepting(pytester.runpytest_subprocess(*tests))
        assert command[1] == f"--gradhealth-baseline={pytester.path / 'a base.json'}"
        pytester.runpytest_subprocess(*command).assert_outcomes(passed=1)
        pytester.runpytest_subprocess(*tests).assert_outcomes(passed=1)

    def test_an_update_touches_only_what_ran(self, pytester: pytest.Pytester, suite: Path) -> None:
        self.accept(pytester)
        before = json.loads((pytester.path / "base.json").read_text())["checks"]
        suite.write_text(SUITE.replace("{shrink}", "0.1"))
        self.accept(pytester, "-k", "test_first")
        after = json.loads((pytester.path / "base.json").read_text())["checks"]
        assert before["test_suite.py::test_second"] == after["test_suite.py::test_second"]
        assert before["test_suite.py::test_first"] != after["test_suite.py::test_first"]

    def test_ci_writes_only_when_forced(
        self, pytester: pytest.Pytester, suite: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CI", "true")
        result = self.accept(pytester)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(["ERROR: --gradhealth-update is refused because the variable CI is set*"])
        assert not (pytester.path / "base.json").exists()
        self.accept(pytester, "--gradhealth-update-on-ci").assert_outcomes(passed=2)
        assert (pytester.path / "base.json").exists()

    @pytest.mark.parametrize(
        "content", ["", "{", "<<<<<<< ours\n{}\n=======\n{}\n>>>>>>> theirs\n", "[]", '{"schema": 99, "checks": {}}']
    )
    def test_a_broken_baseline_is_a_usage_error_at_the_start(
        self, pytester: pytest.Pytester, suite: Path, content: str
    ) -> None:
        (pytester.path / "base.json").write_text(content)
        result = pytester.runpytest("--gradhealth-baseline=base.json")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(["ERROR: *base.json*"])

    @pytest.mark.parametrize("factor", ["1", "0.5", "inf", "nan"])
    def test_an_impossible_factor_names_its_source(self, pytester: pytest.Pytester, suite: Path, factor: str) -> None:
        result = pytester.runpytest("--gradhealth-baseline=base.json", f"--gradhealth-max-drift={factor}")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(["ERROR: --gradhealth-max-drift: expected a factor above 1, got *"])


OLD_SUITE = """
import pytest, torch, torch.nn as nn, torch.nn.functional as F

class Cut(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.neck, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.neck(self.body(x){body}).relu(){neck})

X = torch.randn(8, 4, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 2

def test_old(gradhealth):
    gradhealth.check(Cut, X, loss=F.cross_entropy)

@pytest.mark.gradhealth
def test_trains():
    torch.manual_seed(0)
    F.cross_entropy(Cut()(X[0]), X[1]).backward()
"""
DETACHED = {"body": ".detach()", "neck": ""}


class TestAcceptedFindings:
    """Adopting it on an old suite."""

    BASE = "--gradhealth-baseline=base.json"

    def adopted(self, pytester: pytest.Pytester) -> None:
        pytester.makepyfile(test_old=OLD_SUITE.format(**DETACHED))
        pytester.runpytest(self.BASE, "--gradhealth-update").assert_outcomes(passed=2)

    def test_what_is_accepted_fails_nothing_and_is_listed(self, pytester: pytest.Pytester) -> None:
        self.adopted(pytester)
        entries = json.loads((pytester.path / "base.json").read_text())["checks"]["test_old.py::test_old"]
        assert [entry["accepted"] for entry in entries.values()] == [[{"rule": "detached-layer", "layers": ["body"]}]]
        result = pytester.runpytest(self.BASE, "--gradhealth-report", "--gradhealth-json=report.json")
        result.assert_outcomes(passed=2)
        result.stdout.fnmatch_lines(
            [
                "Cut: no new finding (3 layers, *",
                "  accepted: GH105 detached layer: *'body'*",
                "gradhealth: 2 models measured, 6 layers, all healthy",
                "gradhealth: 2 findings accepted by the baseline:",
                "  test_old.py::test_old: Cut: GH105 detached-layer at body",
                "  test_old.py::test_trains: Cut: GH105 detached-layer at body",
            ]
        )
        result.stdout.no_fnmatch_line("*tried:*")
        checks = json.loads((pytester.path / "report.json").read_text())["checks"]
        assert all(not check.get("findings") and not check.get("tried") for check in checks)
        assert {check["accepted"][0]["code"] for check in checks} == {"GH105"}

    def test_only_what_is_new_fails(self, pytester: pytest.Pytester) -> None:
        self.adopted(pytester)
        pytester.makepyfile(test_old=OLD_SUITE.format(body="", neck=".detach()"))
        result = pytester.runpytest(self.BASE, "-k", "test_old")
        result.stdout.fnmatch_lines(["E *GradientHealthError: GH105 detached layer in Cut: *"])

    @pytest.mark.parametrize("workers", [(), ("-n1",)], ids=["alone", "xdist"])
    def test_what_is_mended_is_stale_and_pruned_on_request(
        self, pytester: pytest.Pytester, workers: tuple[str, ...]
    ) -> None:
        self.adopted(pytester)
        pytester.makepyfile(test_old=OLD_SUITE.format(body="", neck="").replace("test_trains", "test_renamed"))
        asked = (self.BASE, "-k", "test_old.py and not renamed", "--gradhealth-report", *workers)
        result = pytester.runpytest_subprocess(*asked)
        result.assert_outcomes(passed=1, deselected=0 if workers else 1)
        result.stdout.fnmatch_lines(["  note: *better than base.json: no detached-layer at body any more"])
        stale = ["  test_old.py::test_old: Cut, cpu, float32: detached-layer at body: no longer found"]
        if not workers:
            stale.insert(0, "  test_old.py::test_trains: Cut, cpu, float32: no longer measured")
        result.stdout.fnmatch_lines(
            [f"gradhealth: {len(stale)} stale entr* in *; --gradhealth-prune removes them", *stale]
        )
        before = (pytester.path / "base.json").read_text()
        result = pytester.runpytest_subprocess(*asked, "--gradhealth-prune")
        result.stdout.fnmatch_lines([f"gradhealth: {len(stale)} stale entr* removed from *; commit it", *stale])
        assert before != (pytester.path / "base.json").read_text()
        pytester.runpytest_subprocess(*asked).stdout.no_fnmatch_line("gradhealth: * stale *")

    def test_a_missing_entry_is_not_called_a_fault_of_the_model(self, pytester: pytest.Pytester) -> None:
        self.adopted(pytester)
        (pytester.path / "base.json").write_text('{"schema": 1, "checks": {}}')
        pytester.makepyfile(test_old=OLD_SUITE.format(body="", neck=""))
        result = pytester.runpytest(self.BASE, "-k", "test_old")
        result.stdout.fnmatch_lines(
            [
                "E *GradientHealthError: GH801 no baseline entry in Cut: base.json has no entry *",
                "*all healthy, 2 without a baseline entry",
            ]
        )

    def test_pruning_needs_a_baseline_and_a_person(
        self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert pytester.runpytest("--gradhealth-prune").ret == pytest.ExitCode.USAGE_ERROR
        monkeypatch.setenv("CI", "true")
        result = pytester.runpytest(self.BASE, "--gradhealth-prune")
        result.stderr.fnmatch_lines(["ERROR: --gradhealth-prune is refused because the variable CI is set*"])
