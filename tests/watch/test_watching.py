"""Watching as part of pytest: what switches it on and off, and whose failure is reported."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import pytest
from torch import nn

HEAD = """
import pytest, torch
from torch import nn

def net(act=nn.ReLU, depth=12):
    torch.manual_seed(0)
    sizes = [16, *[32] * (depth - 1)]
    layers = [x for a, b in zip(sizes, sizes[1:]) for x in (nn.Linear(a, b), act())]
    return nn.Sequential(*layers, nn.Linear(32, 4))

def train(model):
    x, y = torch.randn(8, 16, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 4
    nn.functional.cross_entropy(model(x), y).backward()
    return model

def sick():
    return train(net(nn.Sigmoid))
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> Iterator[pytest.Pytester]:
    pytester.makeini("[pytest]\naddopts = -p no:asyncio -p no:cacheprovider")
    before = nn.Module.__call__
    yield pytester
    assert nn.Module.__call__ is before


def test_a_marked_test_is_judged(project: pytest.Pytester) -> None:
    project.makepyfile(HEAD + "@pytest.mark.gradhealth\ndef test_it(): sick()\ndef test_other(): sick()")
    result = project.runpytest()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["GH101 vanishing gradient in Sequential: reach is *"])


def test_the_whole_suite_is_judged(project: pytest.Pytester) -> None:
    project.makepyfile(
        HEAD + "def test_it(): sick()\ndef test_nothing(): pass\ndef test_forward(): net()(torch.randn(2, 16))"
    )
    project.runpytest("--gradhealth").assert_outcomes(passed=2, failed=1)


def test_the_ini_file_switches_it_on(project: pytest.Pytester) -> None:
    project.makepyfile(HEAD + "def test_it(): sick()")
    project.makeini("[pytest]\ngradhealth = true\naddopts = -p no:asyncio")
    project.runpytest().assert_outcomes(failed=1)


def test_pytestmark_switches_it_on(project: pytest.Pytester) -> None:
    project.makepyfile(HEAD + "pytestmark = pytest.mark.gradhealth(min_reach=1e-3)\ndef test_it(): sick()")
    project.runpytest().assert_outcomes(failed=1)


def test_a_class_marker_reaches_unittest(project: pytest.Pytester) -> None:
    code = "import unittest\n@pytest.mark.gradhealth\nclass Test(unittest.TestCase):\n    def test_it(self): sick()"
    project.makepyfile(HEAD + code)
    project.runpytest().assert_outcomes(failed=1)


@pytest.mark.parametrize("option", ["--gradhealth", "-v"])
def test_enabled_false_opts_out(project: pytest.Pytester, option: str) -> None:
    project.makepyfile(HEAD + "@pytest.mark.gradhealth(enabled=False)\ndef test_it(): sick()")
    project.runpytest(option).assert_outcomes(passed=1)


def test_limits_of_the_marker_are_used(project: pytest.Pytester) -> None:
    project.makepyfile(HEAD + "@pytest.mark.gradhealth(max_norm=1e-9)\ndef test_it(): train(net())")
    result = project.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*above max_norm=1e-09*"])


def test_a_marked_test_that_trains_nothing_is_an_error(project: pytest.Pytester) -> None:
    project.makepyfile(HEAD + "@pytest.mark.gradhealth\ndef test_it(): net()(torch.randn(2, 16))")
    result = project.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["nothing was trained: no backward pass went through a model. Call loss.backward()*"])


def test_a_marked_test_whose_training_is_not_seen_is_told_why(project: pytest.Pytester) -> None:
    code = "w = torch.ones(3, requires_grad=True)\n@pytest.mark.gradhealth\ndef test_it(): w.sum().backward()"
    project.makepyfile(HEAD + code)
    result = project.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["nothing was measured: a backward pass ran, but through no module*"])


def test_the_fixture_is_enough_for_a_marked_test(project: pytest.Pytester) -> None:
    code = "@pytest.mark.gradhealth\ndef test_it(gradhealth):\n    gradhealth.check(net(), torch.randn(8, 16), lambda out: out.square().mean())"
    project.makepyfile(HEAD + code)
    project.runpytest().assert_outcomes(passed=1)


def test_what_is_watched_inside_is_judged_once(project: pytest.Pytester) -> None:
    code = """
def test_healthy(gradhealth):
    model = net()
    with gradhealth.watch(model):
        train(model)

def test_sick(gradhealth):
    with pytest.raises(AssertionError, match="vanishing"), gradhealth.watch():
        sick()
"""
    project.makepyfile(HEAD + code)
    project.runpytest("--gradhealth", "--gradhealth-json=out.json").assert_outcomes(passed=2)
    checks = json.loads((project.path / "out.json").read_text())["checks"]
    assert len(checks) == 2


def test_watch_of_one_model_sees_no_other(project: pytest.Pytester) -> None:
    code = """
def test_it(gradhealth):
    model = net()
    with gradhealth.watch(model):
        train(model)
        sick()

def test_parts(gradhealth):
    model = net()
    with gradhealth.watch(model):
        model[2:](torch.relu(model[0](torch.randn(8, 16)))).square().mean().backward()

def test_none(gradhealth):
    with pytest.raises(ValueError, match="nothing was trained"), gradhealth.watch(net()):
        sick()
"""
    project.makepyfile(HEAD + code)
    project.runpytest().assert_outcomes(passed=3)


def test_a_tests_own_failure_is_reported_as_itself(project: pytest.Pytester) -> None:
    code = """
import unittest

def test_it():
    sick()
    assert 1 == 2

class Test(unittest.TestCase):
    def test_it(self):
        sick()
        self.assertEqual(1, 2)

    def test_skip(self):
        sick()
        self.skipTest("later")
"""
    project.makepyfile(HEAD + code)
    result = project.runpytest("--gradhealth")
    result.assert_outcomes(failed=2, skipped=1)
    assert "vanishing" not in result.stdout.str()


def test_xfail_and_skip_keep_working(project: pytest.Pytester) -> None:
    code = """
@pytest.mark.xfail(strict=True)
def test_expected(): sick()

@pytest.mark.xfail(raises=AssertionError)
def test_expected_type(): sick()

def test_skipped():
    sick()
    pytest.skip("later")

@pytest.mark.skip
def test_never(): sick()
"""
    project.makepyfile(HEAD + code)
    project.runpytest("--gradhealth").assert_outcomes(xfailed=2, skipped=2)


def test_reruns_are_judged_anew(project: pytest.Pytester) -> None:
    pytest.importorskip("pytest_rerunfailures")
    code = "runs = []\ndef test_it():\n    runs.append(1)\n    train(net(nn.Sigmoid if len(runs) == 1 else nn.ReLU))"
    project.makepyfile(HEAD + code)
    result = project.runpytest("--gradhealth", "--reruns=1", "--gradhealth-json=out.json")
    result.assert_outcomes(passed=1)
    (check,) = json.loads((project.path / "out.json").read_text())["checks"]
    assert not check.get("findings")


def test_workers_report_as_one_process_does(project: pytest.Pytester) -> None:
    pytest.importorskip("xdist")
    project.makepyfile(HEAD + "def test_a(): sick()\ndef test_b(): train(net())\ndef test_c(): train(net())")
    result = project.runpytest("--gradhealth", "-n2")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*3 models measured, * 1 sick*"])


def test_each_test_attaches_its_checks_once(project: pytest.Pytester) -> None:
    conftest = """
import json
def pytest_runtest_logreport(report):
    with open("seen.txt", "a") as file:
        file.write(f"{report.when} {len(getattr(report, 'gradhealth', []))}\\n")
"""
    project.makeconftest(conftest)
    project.makepyfile(HEAD + "def test_it(): train(net())")
    project.runpytest("--gradhealth").assert_outcomes(passed=1)
    assert (project.path / "seen.txt").read_text().split() == ["setup", "0", "call", "0", "teardown", "1"]


def test_a_suite_without_torch_does_not_pay_for_it(project: pytest.Pytester) -> None:
    project.makepyfile("import sys\ndef test_it(): assert 'torch' not in sys.modules\ndef test_again(): test_it()")
    result = project.runpytest_subprocess("--gradhealth")
    result.assert_outcomes(passed=2)


def test_an_odd_tensor_is_not_measured_and_the_test_passes(project: pytest.Pytester) -> None:
    code = """
class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        return self.fc(x)

@pytest.fixture(autouse=True)
def broken(monkeypatch):
    from pytest_gradhealth.measure.passes import statistics
    def fail(*args, **options): raise NotImplementedError("not for this kind of tensor")
    monkeypatch.setattr(statistics, "describe", fail)

def test_it(): Odd()(torch.randn(2, 4)).square().mean().backward()

@pytest.mark.gradhealth
def test_marked(): Odd()(torch.randn(2, 4)).square().mean().backward()
"""
    project.makepyfile(HEAD + code)
    result = project.runpytest("--gradhealth")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*could not measure Odd: NotImplementedError: not for this kind of tensor*"])


def test_an_error_of_ours_while_judging_is_told_and_fails_marked_tests_only(project: pytest.Pytester) -> None:
    code = """
@pytest.fixture(autouse=True)
def broken(monkeypatch):
    from pytest_gradhealth.judge import passes
    def fail(*args): raise ValueError("a bug")
    monkeypatch.setattr(passes, "judge", fail)

def test_it(): train(net())

@pytest.mark.gradhealth
def test_marked(): train(net())
"""
    project.makepyfile(HEAD + code)
    result = project.runpytest("--gradhealth", "--gradhealth-report", "-vv")
    result.assert_outcomes(passed=1, failed=1, warnings=1)
    result.stdout.fnmatch_lines(["*could not be judged (ValueError: a bug); please report this*"])


def test_two_sick_models_are_both_shown(project: pytest.Pytester) -> None:
    project.makepyfile(HEAD + "def test_it():\n    sick()\n    train(net(nn.Tanh)[:3])\n    train(net(nn.Sigmoid, 14))")
    result = project.runpytest("--gradhealth")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["GH101 vanishing gradient in Sequential: *", "GH101 vanishing gradient in Sequential #3: *"]
    )


def test_limits_that_the_user_set_count_for_toy_losses_too(project: pytest.Pytester) -> None:
    code = "def test_it(): nn.Sequential(nn.Linear(4, 4), nn.Softmax(-1))(torch.randn(3, 4)).mean().backward()"
    project.makepyfile(HEAD + code)
    project.runpytest("--gradhealth").assert_outcomes(passed=1)
    project.runpytest("--gradhealth", "--gradhealth-min-norm=1").assert_outcomes(failed=1)


def test_coverage_style_tracing_is_not_disturbed(project: pytest.Pytester) -> None:
    code = """
import sys
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = net()

    def loss(self, x):
        scale, before = 2.0, dict(locals())
        out = self.body(x * scale)
        after = locals()
        assert set(after) >= set(before)
        return out.square().mean()

def test_it():
    lines = []
    def trace(frame, event, arg):
        lines.append(frame.f_lineno)
        return trace
    sys.settrace(trace)
    try:
        Net().loss(torch.randn(8, 16)).backward()
    finally:
        sys.settrace(None)
    assert lines
"""
    project.makepyfile(HEAD + code)
    project.runpytest("--gradhealth").assert_outcomes(passed=1)


def test_a_watched_block_gives_its_records(project: pytest.Pytester) -> None:
    code = """
from pytest_gradhealth import GradientHealthError, Measurement, MeasurementError

def test_healthy(gradhealth):
    model = net()
    with gradhealth.watch(model) as watched:
        train(model)
        with pytest.raises(MeasurementError, match="the watched block has not ended"):
            watched.records
    (record,) = watched.records
    assert isinstance(record, Measurement) and record["0"].norm > 0
    assert watched.checks[0].healthy and str(watched).startswith("Sequential: healthy")

def test_sick(gradhealth):
    with pytest.raises(GradientHealthError), gradhealth.watch() as watched:
        sick()
    assert not watched.checks[0].healthy
"""
    project.makepyfile(HEAD + code)
    project.runpytest().assert_outcomes(passed=2)


WATCHED = HEAD + "\n\n@pytest.mark.gradhealth\ndef test_it():\n    sick()\n"


@pytest.mark.parametrize("option", ["--tb=line", "--pdb"])
def test_a_watched_failure_points_at_the_test(project: pytest.Pytester, option: str) -> None:
    path = project.makepyfile(WATCHED)
    line = next(i for i, text in enumerate(path.read_text().splitlines(), 1) if "mark.gradhealth" in text)
    result = project.run(sys.executable, "-m", "pytest", option, path, stdin=b"p check.name\nq\n")
    text = result.stdout.str()
    if option == "--tb=line":
        assert f"{path}:{line}: GH101 vanishing gradient in Sequential: reach is" in text
        assert "watching.py" not in text
    else:
        assert f"> {path}({line})<module>()" in text
        assert "'Sequential'" in text


@pytest.mark.parametrize("code", [WATCHED, HEAD + "def test_it(gradhealth):\n    gradhealth.check(*deep())"])
def test_the_short_summary_begins_with_the_verdict(project: pytest.Pytester, code: str) -> None:
    project.makepyfile(
        test_a=code + "\ndef deep(): return net(nn.Sigmoid), torch.randn(8, 16), lambda out: out.square().mean()\n"
    )
    result = project.runpytest("-rf")
    assert next(line for line in result.outlines if line.startswith("FAILED")).startswith(
        "FAILED test_a.py::test_it - GH101 vanishing gradient in Sequential: "
    )


def test_copies_with_one_fault_are_told_once(project: pytest.Pytester) -> None:
    project.makepyfile(
        HEAD
        + "import copy\ndef test_it():\n    model = net(nn.Sigmoid)\n    for _ in range(9): train(copy.deepcopy(model))"
    )
    result = project.runpytest("--gradhealth", "--gradhealth-json=out.json")
    result.assert_outcomes(failed=1)
    assert len([line for line in result.outlines if line.startswith("layer kind")]) == 1
    result.stdout.fnmatch_lines(["*note: *9 models of this make were trained, and the same was found in all of*"])
    (check,) = json.loads((project.path / "out.json").read_text())["checks"]
    assert check["findings"][0]["family"] == "vanishing"


def test_models_with_other_faults_are_told_apart(project: pytest.Pytester) -> None:
    project.makepyfile(
        HEAD + "def test_it():\n    sick()\n    train(net(nn.Sigmoid, depth=16))\n    train(net())\n    train(net())"
    )
    result = project.runpytest("--gradhealth", "--gradhealth-json=out.json")
    assert len(json.loads((project.path / "out.json").read_text())["checks"]) == 4
    assert len([line for line in result.outlines if line.startswith("layer kind")]) == 2


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["one process", "xdist"])
def test_the_summary_of_a_suite(project: pytest.Pytester, workers: tuple[str, ...]) -> None:
    code = """
def test_sick(): sick()
def test_healthy(): train(net())
def test_untrained(): pass
def test_by_hand():
    w = torch.ones(3, requires_grad=True)
    w.sum().backward()
@pytest.fixture
def trained():
    train(net())
@pytest.fixture
def checked(gradhealth):
    gradhealth.check(net(), (torch.randn(8, 16), torch.arange(8) % 4), loss=nn.functional.cross_entropy)
def test_prepared(trained, checked): pass
def test_fails_by_itself():
    train(net())
    raise AssertionError("its own")
"""
    project.makepyfile(test_a=HEAD + code)
    result = project.runpytest("--gradhealth", "--gradhealth-device=cpu", *workers)
    result.stdout.fnmatch_lines(
        [
            "gradhealth: *, device: cpu, mode: fail (every test is watched)",
            "gradhealth: 6 tests watched, of which 3 trained a model that was measured",
            "gradhealth: 1 fixture trains and was not measured; check their models in a test:",
            "  trained (as used by test_a.py::test_prepared)",
            "gradhealth: 2 tests called backward and were not measured:",
            "  1: through no module that was called in the test itself (as test_a.py::test_by_hand)",
            "  1: the test failed by itself, or was skipped, and then nothing is judged (as test_a.py::test_fails_by*)",
            "gradhealth: 3 models measured, * layers, 1 sick (GH101 vanishing-gradient 1)",
        ]
    )


def test_a_suite_that_trains_nothing_is_told_how_to_begin(project: pytest.Pytester) -> None:
    project.makepyfile("def test_shapes(): pass")
    result = project.runpytest("--gradhealth=report")
    result.stdout.fnmatch_lines(["gradhealth: no test sent a backward pass through a model; add one that calls *"])


def test_without_the_plugin_in_use_there_is_no_head_line(project: pytest.Pytester) -> None:
    project.makepyfile("def test_it(): pass")
    assert "gradhealth:" not in project.runpytest().stdout.str()


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (
            "loss = net()(torch.randn(2, 16)).argmax(1).float().mean().requires_grad_(True); loss.backward()",
            "has no graph",
        ),
        ("x = torch.randn(2, 16).requires_grad_(); torch.autograd.grad(net()(x).sum(), x)", "inputs alone"),
        ("torch.randn(2).requires_grad_().square().sum().backward()", "through no module that was called"),
    ],
)
def test_a_marked_test_is_told_why_nothing_was_measured(project: pytest.Pytester, lines: str, reason: str) -> None:
    project.makepyfile(HEAD + f"@pytest.mark.gradhealth\ndef test_it(): {lines}")
    result = project.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*{reason}*"])
