"""Faults seeded into copies of a healthy network: which of them the limits find, and what is no fault after all."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from faulty_networks import WIDTH, Cut, batches, deep
from torch import Tensor, nn

from pytest_gradhealth import Check, MeasurementError, SelfTest, selftest


def self_tested(model: Any, seconds: float = 600.0, **options: Any) -> SelfTest:
    return selftest(model, batches(), F.cross_entropy, seconds=seconds, device="cpu", **options)


def outcomes(result: SelfTest, fault: str) -> dict[str, str]:
    return {mutant.layer: mutant.outcome for mutant in result.mutants if mutant.fault == fault}


@pytest.fixture(scope="module")
def stack() -> SelfTest:
    return self_tested(lambda: deep(nn.ReLU, 3, scale=1.4))


@pytest.mark.parametrize("fault", ["detach", "nan", "mask"])
def test_what_stops_the_gradient_is_found_at_every_layer(stack: SelfTest, fault: str) -> None:
    assert set(outcomes(stack, fault).values()) == {"found"}
    assert len(outcomes(stack, fault)) == 4


def test_the_whole_model_is_seeded_too(stack: SelfTest) -> None:
    assert outcomes(stack, "unused") == outcomes(stack, "sign") == {"": "found"}


def test_there_is_nothing_to_bypass_where_nothing_is(stack: SelfTest) -> None:
    assert outcomes(stack, "no norm") == outcomes(stack, "no skip") == {}


def test_a_mutant_that_trains_as_well_is_no_fault(stack: SelfTest) -> None:
    larger = {m.layer: m for m in stack.mutants if m.fault == "x5"}
    assert larger["2"].outcome == "equivalent"
    assert "trains as well" in larger["2"].found_as


def test_a_mutant_whose_gradients_do_not_change_is_no_fault() -> None:
    """What all units have in common, a normalisation behind them takes away."""

    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 10)
            nn.init.zeros_(self.first.bias)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(F.layer_norm(self.first(x), (WIDTH,)).relu())

    shut = next(m for m in self_tested(Normed).mutants if m.fault == "shut" and m.layer == "first")
    assert (shut.outcome, shut.found_as) == ("equivalent", "its gradients are the same")


def test_the_kill_rate_leaves_equivalents_out(stack: SelfTest) -> None:
    count = [m.outcome for m in stack.mutants].count
    assert stack.kill_rate == count("found") / (count("found") + count("survived"))
    assert 0.5 < stack.kill_rate <= 1


def test_a_survivor_is_killed_by_the_limit_that_its_hint_names(stack: SelfTest) -> None:
    survivor = next(m for m in stack.survivors if m.hint.startswith("min_amplitude"))
    limit = float(survivor.hint.partition("=")[2].split()[0])
    assert survivor.hint.endswith("0 of 4 healthy measurements break it")
    tighter = self_tested(lambda: deep(nn.ReLU, 3, scale=1.4), min_amplitude=limit)
    assert outcomes(tighter, survivor.fault)[survivor.layer] == "found"
    assert tighter.kill_rate > stack.kill_rate


def test_residual_connections_and_normalisations_are_bypassed() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(WIDTH, WIDTH)

        def forward(self, x: Tensor) -> Tensor:
            return x + torch.tanh(self.inner(x))

    def net() -> nn.Module:
        return nn.Sequential(*(Block() for _ in range(24)), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 10))

    result = self_tested(net, seconds=60.0)
    assert outcomes(result, "no skip") == {"": "found"}
    assert "no norm" in {mutant.fault for mutant in result.mutants}


def test_time_that_is_over_is_told() -> None:
    result = self_tested(lambda: deep(nn.ReLU, 3, scale=1.4), seconds=0)
    assert {mutant.outcome for mutant in result.mutants} == {"not run"}
    assert result.kill_rate == 1.0
    assert "not run" in str(result)


def test_many_layers_are_sampled_with_both_ends() -> None:
    layers = {m.layer for m in self_tested(lambda: deep(nn.ReLU, 20, scale=1.4), seconds=0).mutants} - {""}
    assert len(layers) == 6
    assert {"0", "40"} <= layers


def test_a_sick_model_is_refused() -> None:
    with pytest.raises(MeasurementError, match="only a healthy model can be self-tested: GH105 detached"):
        self_tested(Cut)


def test_it_leaves_no_trace() -> None:
    model = deep(nn.ReLU, 3, scale=1.4)
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    self_tested(model, seconds=2.0)
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


def test_it_fits_a_terminal_and_ascii(stack: SelfTest) -> None:
    from pytest_gradhealth.report.selftest import render

    text = render("Net", stack.mutants, width=80, ascii_only=True)
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= 80


def test_it_travels_as_plain_data(stack: SelfTest) -> None:
    check = Check(name="Net", record=stack.check.record, mutants=stack.mutants)
    assert Check.from_dict(json.loads(json.dumps(check.to_dict()))).mutants == stack.mutants


SUITE = """
    import pytest, torch, torch.nn.functional as F
    from torch import nn

    BATCH = torch.randn(8, 8), torch.arange(8) % 3

    def net():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))

    def test_one(gradhealth):
        gradhealth.check(net, BATCH, loss=F.cross_entropy)

    def test_two(gradhealth):
        assert gradhealth.selftest(net, BATCH, F.cross_entropy, seconds=0).kill_rate == 1
"""


@pytest.mark.parametrize("workers", [0, 2])
def test_a_session_prints_the_table(pytester: pytest.Pytester, workers: int) -> None:
    pytester.makepyfile(SUITE)
    result = pytester.runpytest("--gradhealth-selftest", "--gradhealth-json=out.json", *["-n2"] * bool(workers))
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        ["*gradient health self-test*", "*::test_one", "self-test of Sequential: * faults found*", "layer  detach*"]
    )
    checked, asked = json.loads((pytester.path / "out.json").read_text())["checks"]
    assert {mutant["outcome"] for mutant in checked["mutants"]} >= {"found"}
    assert {mutant["outcome"] for mutant in asked["mutants"]} == {"not run"}, "the fixture's is in the report too"


def test_without_the_option_nothing_is_seeded(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SUITE)
    pytester.runpytest("-k", "one").stdout.no_fnmatch_line("*self-test*")
