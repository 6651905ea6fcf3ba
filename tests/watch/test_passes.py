"""Which of the passes of a test is judged, and for what."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from pytest_gradhealth import GradHealth, GradientHealthError, Settings
from pytest_gradhealth.record import Check


def watched(run: Callable[[], object]) -> Check:
    """The one check that comes of watching this."""
    kept: list[Check] = []
    torch.manual_seed(0)
    try:
        with GradHealth(Settings(device="cpu"), sink=kept.append).watch():
            run()
    except GradientHealthError:
        pass
    (check,) = kept
    return check


def regression(
    target: float, *, off_from: int, loss: Callable[[Tensor, int], Tensor] = lambda loss, step: loss
) -> None:
    """From some step on, the rectified output of the model is zero for every sample."""
    model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1), nn.ReLU())
    nn.init.constant_(model[2].bias, 1.0)
    optimiser = torch.optim.SGD(model.parameters(), 1e-3)
    for step in range(6):
        if step == off_from:
            nn.init.constant_(model[2].bias, -1e3)
        optimiser.zero_grad()
        loss((model(torch.randn(32, 6)) - target).square().mean(), step).backward()
        optimiser.step()


def test_gradients_that_are_all_zero_while_the_loss_is_not() -> None:
    check = watched(lambda: regression(2.0, off_from=3))
    (finding,) = check.findings
    assert finding.fault == "dead"
    # The table shows the pass that was judged, not the first, in which nothing was wrong.
    assert check.record.steps == 4
    assert not any(layer.norm for layer in check.record)
    assert any("pass 5 of the test" in note for note in check.record.notes)


@pytest.mark.parametrize("target", [0.0, 0.01])
def test_gradients_that_are_zero_because_there_is_nothing_left_to_learn(target: float) -> None:
    assert watched(lambda: regression(target, off_from=3)).healthy


def test_a_loss_that_is_no_number_in_a_pass_between() -> None:
    def poisoned(loss: Tensor, step: int) -> Tensor:
        return loss * 0 + (loss - loss - 1).log() * 0 if step == 1 else loss

    def run() -> None:
        model, x = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1)), torch.randn(32, 6)
        optimiser = torch.optim.SGD(model.parameters(), 1e-3)
        for step in range(6):
            optimiser.zero_grad()
            poisoned(model(x).square().mean(), step).backward()
            if step != 1:  # a guard that skips what is not finite
                optimiser.step()

    check = watched(run)
    assert [finding.kind for finding in check.findings] == ["non-finite"]
    assert check.record.steps == 1


class OwnCall(nn.Module):
    """As GPyTorch's modules are called: past the ``__call__`` of ``nn.Module``."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))

    def __call__(self, x: Tensor) -> Tensor:
        return self.forward(x)

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.used).sum(1)


class Derived(OwnCall):
    def __call__(self, x: Tensor) -> Tensor:
        return super().__call__(x)


@pytest.mark.parametrize("kind", [OwnCall, Derived])
def test_a_model_with_a_call_of_its_own(kind: type[OwnCall]) -> None:
    before = OwnCall.__call__
    check = watched(lambda: (kind()(torch.randn(8, 3)) - 1).square().mean().backward())
    (finding,) = check.findings
    assert finding.kind == "unused-parameter"
    assert "unused" in finding.message
    assert OwnCall.__call__ is before
