"""Tests that train by themselves: gates that open, layers that come late, and losses that are not the ones meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytest_gradhealth import GradHealth, GradientHealthError, Settings
from pytest_gradhealth.record import Check, Finding

WIDTH = 12
CLASSES = 5
Step = Callable[[nn.Module, Tensor, Tensor], Tensor]


def entropy(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(model(x), y)


def squares(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return F.mse_loss(model(x), x.sum(1, keepdim=True))


def watched(model: nn.Module, steps: int, step: Step = entropy, optimise: bool = True) -> list[Finding]:
    """What is found in a test of so many training steps."""
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-3)
    draw, kept = torch.Generator().manual_seed(0), list[Check]()
    try:
        with GradHealth(Settings(device="cpu"), sink=kept.append).watch(model):
            for _ in range(steps):
                x, y = torch.randn(8, WIDTH, generator=draw), torch.randint(CLASSES, (8,), generator=draw)
                optimiser.zero_grad()
                step(model, x, y).backward()  # type: ignore[no-untyped-call]
                if optimise:
                    optimiser.step()
    except GradientHealthError:
        assert kept[-1].findings
    return [finding for check in kept for finding in check.findings]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


class Branch(nn.Module):
    """A residual branch behind a gate; both start at zero, or the gate alone."""

    def __init__(self, shut: bool = False) -> None:
        super().__init__()
        self.body, self.out, self.gate = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)
        if shut:
            nn.init.zeros_(self.out.weight)
            nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = x + self.gate(x) * self.out(self.body(x).relu())
        return output


def gated(shut: bool = False, open_head: bool = False) -> nn.Module:
    """Gates that only open once the head has left zero: two steps."""
    head = nn.Linear(WIDTH, CLASSES)
    if not open_head:
        nn.init.zeros_(head.weight)
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), Branch(shut), Branch(), head)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 6, 18])
def test_gates_that_start_at_zero_are_given_time_to_open(steps: int) -> None:
    assert not watched(gated(), steps)


def test_gates_that_nobody_opens() -> None:
    assert not watched(gated(), 6, optimise=False)


class Widened(nn.Module):
    """A shortcut filled up with zeros, a branch that starts at zero, and a rectifier without slope at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body, self.out = nn.Linear(WIDTH, 8), nn.Linear(16, 16), nn.Linear(16, 16)
        self.scale, self.head = nn.Parameter(torch.zeros(16)), nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        wide = F.pad(self.stem(x).relu(), (0, 8))
        output: Tensor = self.head((wide + self.scale * self.out(self.body(wide).relu())).relu())
        return output


def test_units_that_wait_for_their_input_are_no_share() -> None:
    assert not watched(Widened(), 6)


@pytest.mark.parametrize("steps", [6, 18])
def test_two_gates_that_close_each_other_stay_shut(steps: int) -> None:
    (finding,) = watched(gated(shut=True, open_head=True), steps)
    assert finding.fault == "dead"
    assert finding.layer == "1.out"


@pytest.mark.parametrize("steps", [1, 2, 6])
def test_weights_that_are_all_zero_are_no_gate(steps: int) -> None:
    model = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 5))
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    (finding,) = watched(model, steps)
    assert finding.fault == "dead"


class Skipping(nn.Module):
    """One of two layers is called, in an order that stands for chance."""

    def __init__(self, turns: str) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(2))
        self.head, self.turns = nn.Linear(WIDTH, CLASSES), iter(turns)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.head(self.layers[int(next(self.turns))](x).relu())
        return output


def test_a_layer_that_is_first_called_where_nothing_is_measured() -> None:
    assert not watched(Skipping("0010"), 4)
    (finding,) = watched(Skipping("0000"), 4)
    assert finding.fault == "missing"
    assert finding.layer == "layers.1"


class Experts(nn.Module):
    """Every expert is computed, and all but one multiplied by zero."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(WIDTH, CLASSES) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        outputs = torch.stack([expert(x) for expert in self.experts])
        chosen = F.one_hot(x[:, 0].gt(0).long(), 3).float()
        return torch.einsum("ebc,be->bc", outputs, chosen)


@pytest.mark.parametrize("steps", [1, 6])
def test_experts_that_are_multiplied_by_zero(steps: int) -> None:
    assert not watched(Experts(), steps)


class Fused(nn.Module):
    """A mean and a deviation out of one layer, and what is made of the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.both, self.head = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        mean, _ = self.both(x).chunk(2, -1)
        output: Tensor = self.head(mean)
        return output


def test_a_share_of_a_layer_that_a_test_does_not_use() -> None:
    assert not watched(Fused(), 1)
    (finding,) = watched(Fused(), 6)
    assert finding.layers == ("both",)
    assert f"units {WIDTH} to {2 * WIDTH - 1}" in finding.message


# --- the loss ----------------------------------------------------------------------------------------------------


def mlp(outputs: int = CLASSES) -> nn.Module:
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, outputs))


def test_a_loss_that_training_makes_larger() -> None:
    def step(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return -entropy(model, x, y)

    (finding,) = watched(mlp(), 6, step)
    assert finding.fault == "objective"
    assert "cross_entropy" in finding.message
    assert not watched(mlp(), 3, step)  # a few backward passes may begin with anything
    assert not watched(mlp(), 6)


def test_outputs_compared_with_targets_each_with_each() -> None:
    def step(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return (model(x) - x.sum(1)).square().mean()

    (finding,) = watched(mlp(1), 6, step)
    assert finding.fault == "objective"
    assert not watched(mlp(1), 6, squares)


def test_one_network_played_against_another() -> None:
    """The first objective of generative adversarial networks has a minus on purpose (Goodfellow et al., 2014)."""
    critic = mlp(1)

    def step(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        scores = critic(model(x))
        return -F.binary_cross_entropy_with_logits(scores, torch.zeros_like(scores))

    kept = list[Check]()
    generator = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
    optimiser = torch.optim.Adam(generator.parameters(), 1e-3)
    with GradHealth(Settings(device="cpu"), sink=kept.append).watch():
        for _ in range(6):
            optimiser.zero_grad()
            step(generator, torch.randn(8, WIDTH), torch.zeros(8)).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    assert len(kept) == 2
    assert not [finding for check in kept for finding in check.findings]


# --- layers that are not listed ----------------------------------------------------------------------------------


class InAList(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, CLASSES)
        self.blocks = [nn.Linear(WIDTH, WIDTH)]

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.head(self.blocks[0](self.stem(x).relu()).relu())
        return output


def test_layers_in_a_plain_list_that_no_optimiser_moves() -> None:
    (finding,) = watched(InAList(), 6)
    assert finding.fault == "unregistered"
    assert "'blocks'" in finding.message


def test_layers_in_a_plain_list_that_the_test_moves_itself() -> None:
    model = InAList()
    hidden: list[Any] = list(model.blocks[0].parameters())
    optimiser = torch.optim.SGD(hidden, 0.1)

    def step(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        optimiser.step()
        return entropy(model, x, y)

    assert not watched(model, 6, step)
