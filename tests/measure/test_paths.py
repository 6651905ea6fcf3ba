"""Which layers lie on the same way to the loss, and what their reach is compared with."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pytest_gradhealth import GradHealth, Settings
from pytest_gradhealth.record import GradientRecord, LayerGradient, upstream_of

Measured = Callable[..., GradientRecord]


def total(output: Tensor) -> Tensor:
    return output.sum()


class ActorCritic(nn.Module):
    """Two towers on one trunk; a learned token enters behind the trunk."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(4, 8)
        self.policy = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2))
        self.value = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))
        self.token = nn.Parameter(torch.randn(8))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.trunk(x).relu() + self.token
        return self.policy(x), self.value(x)


def unequal(output: tuple[Tensor, Tensor]) -> Tensor:
    """As where a value is learnt from returns of a hundred, and a policy from normalised advantages."""
    policy, value = output
    return 1e-6 * policy.square().mean() + (100 - value).square().mean()


@pytest.fixture
def towers(measured: Measured) -> GradientRecord:
    torch.manual_seed(0)
    return measured(ActorCritic(), torch.randn(16, 4), loss=unequal)


def test_towers_stand_side_by_side(towers: GradientRecord) -> None:
    assert towers["policy.0"].predecessors == towers["value.0"].predecessors == ("", "trunk")
    assert towers["policy.2"].predecessors == ("policy.0",)
    assert towers["value.2"].predecessors == ("value.0",)
    assert towers["trunk"].predecessors == ()


def test_the_reach_of_a_tower_knows_nothing_of_the_other(towers: GradientRecord) -> None:
    assert towers["policy.0"].sensitivity < 1e-4 * towers["value.0"].sensitivity
    assert towers["policy.0"].reach == towers["policy.2"].reach == 1.0  # the trunk in front has the most
    largest = max(layer.sensitivity for layer in towers)
    assert towers["trunk"].reach == pytest.approx(towers["trunk"].sensitivity / largest)


def test_a_weak_tower_of_its_own_is_no_vanishing_gradient() -> None:
    class Apart(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.policy, self.value = (
                nn.Sequential(*(layer for _ in range(3) for layer in (nn.Linear(4, 4), nn.Tanh()))) for _ in range(2)
            )

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.policy(x), self.value(x)

    torch.manual_seed(0)
    record = GradHealth(Settings(device="cpu")).check(Apart, torch.randn(16, 4), loss=unequal)
    assert {layer.reach > 1e-3 for layer in record} == {True}


def test_a_skip_connection_leaves_a_chain(measured: Measured) -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Linear(4, 4)
            self.blocks = nn.ModuleList(nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 4)) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            for block in self.blocks:
                x = x + block(x)
            return x

    layers = measured(Residual(), torch.randn(3, 4), loss=total).layers
    assert [layer.predecessors for layer in layers] == [(), *((layer.name,) for layer in layers[:-1])]


def test_weights_made_by_a_function_are_those_of_the_layer(measured: Measured) -> None:
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), nn.Linear(4, 2))
    record = measured(model, torch.randn(3, 4), loss=total)
    assert record["1"].predecessors == ("0", "0.parametrizations.weight")


def test_what_a_checkpoint_hides_goes_by_the_order_of_calls(measured: Measured) -> None:
    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.third = (nn.Linear(4, 4) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            return self.third(checkpoint(self.second, self.first(x), use_reentrant=True))

    record = measured(Hidden(), torch.randn(3, 4), loss=total)
    assert record["second"].predecessors is None
    assert upstream_of(record)["second"] == {"first"}


def test_a_deep_graph_is_walked_without_recursion(measured: Measured) -> None:
    class Long(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(2, 2), nn.Linear(2, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            for _ in range(5000):
                x = x + 1e-6 * x.tanh()
            return self.last(x)

    assert measured(Long(), torch.randn(2, 2), loss=total)["last"].predecessors == ("first",)


def layer(name: str, predecessors: tuple[str, ...] | None) -> LayerGradient:
    return LayerGradient(
        name=name, kind="Linear", order=0, parameters=1, trainable=1, norm=1.0, predecessors=predecessors
    )


def test_a_loop_leads_back_to_itself() -> None:
    upstream = upstream_of([layer("in", ()), layer("cell", ("in", "mix")), layer("mix", ("cell",)), layer("out", None)])
    assert upstream == {
        "in": frozenset(),
        "cell": {"in", "cell", "mix"},
        "mix": {"in", "cell", "mix"},
        "out": {"in", "cell", "mix"},
    }
