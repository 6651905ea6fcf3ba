"""Updates that rounding takes away, beside what torch's own optimisers do to weights in half precision."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytest_gradhealth import GradHealth
from pytest_gradhealth.errors import ConfigurationError, GradientHealthError
from pytest_gradhealth.record import Check
from pytest_gradhealth.settings import FORMATS, Settings

X = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
Y = torch.arange(64) % 4
RATES = (1e-5, 1e-4, 1e-3)
HALF = "bfloat16"


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 4))


def kept(
    model: nn.Module, optimiser: torch.optim.Optimizer, dtype: torch.dtype, *, by_sign: bool = False
) -> dict[str, float]:
    """Shares of each layer's weights that one step of an optimiser leaves as they are."""
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    F.cross_entropy(model(X.to(dtype)), Y).backward()
    if by_sign:
        for p in model.parameters():
            p.grad.sign_()
    optimiser.step()
    stayed: dict[str, list[Tensor]] = {}
    for name, p in model.named_parameters():
        stayed.setdefault(name.rpartition(".")[0], []).append((p == before[name]).flatten())
    return {name: torch.cat(parts).float().mean().item() for name, parts in stayed.items()}


@pytest.mark.parametrize("rate", RATES)
def test_a_check_tells_what_adam_leaves_as_it_is(rate: float) -> None:
    model = network().bfloat16()
    record = GradHealth().measure(model, (X, Y), F.cross_entropy, dtypes=[HALF], learning_rate=rate)
    expected = kept(model, torch.optim.Adam(model.parameters(), rate), torch.bfloat16)
    assert {layer.name: layer.lost_update for layer in record} == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("rate", RATES)
def test_a_forecast_from_float32_is_what_half_precision_loses(rate: float) -> None:
    health = GradHealth(Settings(device="cpu", formats=FORMATS, learning_rate=rate))
    record, model = health.measure(network(), (X, Y), F.cross_entropy), network()
    for form in ("bfloat16", "float16"):
        half = copy.deepcopy(model).to(getattr(torch, form))
        steps = torch.optim.SGD(half.parameters(), rate)  # Adam's eps and second moment are zero in float16
        expected = kept(half, steps, getattr(torch, form), by_sign=True)
        told = {x.name: next(one.lost_update for one in x.underflow if one.format == form) for x in record}
        assert told == pytest.approx(expected, abs=0.03)
    coarse = [one.lost_update for x in record for one in x.underflow if one.format.startswith("float8")]
    assert len(coarse) == 6
    assert all(share > 0.5 for share in coarse)
    assert all(layer.lost_update is None for layer in record)


def test_what_a_float32_test_would_lose_is_told_of_the_step_that_it_makes() -> None:
    checks: list[Check] = []
    model, rate = network(), 0.02
    with GradHealth(Settings(device="cpu", formats=(HALF,)), sink=checks.append).watch():
        kept(model, torch.optim.SGD(model.parameters(), rate), torch.float32)
    half = network().bfloat16()
    expected = kept(half, torch.optim.SGD(half.parameters(), rate), torch.bfloat16)
    told = {layer.name: layer.underflow[0].lost_update for layer in checks[0].record}
    assert max(expected.values()) > 0.3
    assert told == pytest.approx(expected, abs=0.05)


def check(rate: float, dtypes: list[str], **settings: object) -> Check:
    checks: list[Check] = []
    health = GradHealth(Settings(device="cpu", **settings), sink=checks.append)
    health.check(network(), (X, Y), F.cross_entropy, dtypes=dtypes, learning_rate=rate)
    return checks[0]


def test_weights_in_half_precision_that_hardly_move_are_found() -> None:
    found = r"GH605 lost updates in Sequential: a step of 1e-06 leaves \d+% of the weights of 3 layers exactly"
    with pytest.raises(GradientHealthError, match=found):
        check(1e-6, [HALF])


@pytest.mark.parametrize(("rate", "dtype"), [(1e-2, HALF), (1e-6, "autocast-bfloat16"), (1e-6, "float32")])
def test_weights_that_move_are_not(rate: float, dtype: str) -> None:
    assert check(rate, [dtype]).healthy


def test_what_another_format_would_lose_is_a_note_and_no_finding() -> None:
    told = check(1e-6, ["float32"], formats=(HALF,)).record.notes
    assert any(note.startswith("weights kept in bfloat16 would lose most updates of 3 of 3 layers (") for note in told)
    assert not any("would lose" in note for note in check(1e-2, ["float32"], formats=(HALF,)).record.notes)


@pytest.mark.parametrize("rate", [0, -1e-3, float("nan"), "fast", True])
def test_a_learning_rate_that_is_none_is_refused(rate: object) -> None:
    with pytest.raises(ConfigurationError, match=r"learning_rate=.* must be a number above 0"):
        Settings(learning_rate=rate)
