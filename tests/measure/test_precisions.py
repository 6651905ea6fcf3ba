"""A check in several precisions: one record for each, and the model as it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytest_gradhealth.checks import Checker
from pytest_gradhealth.errors import ConfigurationError
from pytest_gradhealth.record import Check, GradientRecord
from pytest_gradhealth.settings import DTYPES, Settings

X = torch.randn(32, 8, generator=torch.Generator().manual_seed(0))
Y = torch.arange(32) % 4
ROUNDING = {"float32": 1e-6, "bfloat16": 0.03, "float16": 0.005, "autocast-bfloat16": 0.03, "autocast-float16": 0.005}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))


def measured(model: nn.Module, scale: float = 1.0) -> dict[str, GradientRecord]:
    checks: list[Check] = []
    health = Checker(Settings(device="cpu", dtypes=DTYPES), sink=checks.append)
    health.measure(model, (X, Y), lambda output, target: scale * F.cross_entropy(output, target))
    return {check.record.precision: check.record for check in checks}


def test_each_precision_has_a_record_of_the_same_gradients() -> None:
    records = measured(network())
    assert tuple(records) == DTYPES
    for name, record in records.items():
        norms = [layer.norm / records["float32"][layer.name].norm for layer in record]
        assert norms == pytest.approx([1.0] * 3, rel=ROUNDING[name]), name
        assert name == "float32" or max(abs(norm - 1) for norm in norms) > 1e-7  # it was measured in it


def test_the_model_stays_in_its_own_precision() -> None:
    model = network()
    before = [parameter.clone() for parameter in model.parameters()]
    measured(model)
    assert all(torch.equal(now, then) for now, then in zip(model.parameters(), before, strict=True))
    assert all(now.grad is None for now in model.parameters())


def test_float16_with_autocast_is_measured_with_a_loss_scale_and_told_without() -> None:
    """As it is trained: without one, most of these gradients would be zero."""
    records = measured(network(), scale=1e-6)
    scaled, whole, plain = (records[name]["0"].norm for name in ("autocast-float16", "float32", "float16"))
    assert scaled == pytest.approx(whole, rel=0.01)
    assert plain < 0.9 * whole


def test_a_loss_scale_that_overflows_becomes_smaller() -> None:
    records = measured(network(), scale=1e4)
    assert records["autocast-float16"]["0"].norm == pytest.approx(records["float32"]["0"].norm, rel=0.01)
    assert not any(layer.inf for layer in records["autocast-float16"])


def test_precisions_are_asked_for_on_the_marker_on_the_command_line_and_in_the_ini_file(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        """
        import pytest, torch, torch.nn.functional as F
        from torch import nn

        def run(gradhealth):
            net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))
            gradhealth.check(net, (torch.randn(32, 8), torch.arange(32) % 4), loss=F.cross_entropy)

        @pytest.mark.gradhealth(dtypes=["float32", "bfloat16"])
        def test_marked(gradhealth): run(gradhealth)

        def test_plain(gradhealth): run(gradhealth)

        @pytest.mark.gradhealth(dtypes=["int8"])
        def test_unknown(gradhealth): run(gradhealth)
        """
    )
    pytester.makeini("[pytest]\ngradhealth_dtypes = autocast-bfloat16\n")
    told = pytester.runpytest("-p", "no:cacheprovider", "--gradhealth-report")
    told.assert_outcomes(passed=2, errors=1)
    text = told.stdout.str()
    assert [text.count(f"cpu {name}, loss") for name in ("float32", "bfloat16", "autocast-bfloat16")] == [1, 1, 1]
    told.stdout.fnmatch_lines("*'int8' must be one of float32, bfloat16, float16, autocast-bfloat16, *")
    line = pytester.runpytest(
        "-p", "no:cacheprovider", "--gradhealth-report", "-k", "plain", "--gradhealth-dtypes=float16"
    )
    line.stdout.fnmatch_lines("*cpu float16, loss*")


class Cancelling(nn.Module):
    """Adds a large number and takes it off again: float32 keeps what half precision loses."""

    def forward(self, x: Tensor) -> Tensor:
        return (x + 2000.0) - 2000.0


def checked(model: nn.Module, **settings: Any) -> list[Check]:
    checks: list[Check] = []
    health = Checker(Settings(device="cpu", **settings), sink=checks.append, tolerate=lambda check: None)
    health.check(model, (X, Y), F.cross_entropy, select=["GH802"])
    return checks


def test_precisions_that_disagree_are_found_with_the_layer_where_it_begins() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), Cancelling(), nn.Tanh(), nn.Linear(32, 4))
    first, second = checked(model, dtypes=("float32", "float16"))
    assert first.healthy
    (finding,) = second.findings
    assert (finding.code, finding.layer) == ("GH802", "3")
    assert "on cpu in float16" in finding.message
    assert "on cpu in float32" in finding.message
    assert "on the way forward at '3'" in finding.cause


def test_precisions_are_asked_for_in_a_call() -> None:
    kept: list[Check] = []
    health = Checker(Settings(device="cpu", dtypes=("float16",)), sink=kept.append)
    health.check(network(), (X, Y), F.cross_entropy, dtypes=["float32", "bfloat16"])
    health.measure(network(), (X, Y), F.cross_entropy, dtypes=["autocast-bfloat16"])
    assert [check.record.precision for check in kept] == ["float32", "bfloat16", "autocast-bfloat16"]
    with pytest.raises(ConfigurationError, match="'int8' must be one of float32"):
        health.check(network(), (X, Y), F.cross_entropy, dtypes=["int8"])


def test_rounding_is_no_disagreement() -> None:
    assert all(check.healthy for check in checked(network(), dtypes=DTYPES))


class Noisy(nn.Module):
    """Draws other numbers in each precision, as dropout does on each device."""

    def forward(self, x: Tensor) -> Tensor:
        torch.rand(x.element_size())
        return x * torch.rand(x.shape).round().to(x)


def test_what_is_drawn_at_random_is_no_disagreement() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), Noisy(), nn.ReLU(), nn.Linear(32, 4))
    assert all(check.healthy for check in checked(model, dtypes=("float32", "float16")))
