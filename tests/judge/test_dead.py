"""Gradients that come as nothing, to whole layers or to most of their units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from networks import (
    BATCHES,
    CLASSES,
    WIDTH,
    Apply,
    ReadOut,
    Residual,
    blocks,
    chain,
    examined,
    kinds,
    only,
    relu_mlp,
    rows,
    sequences,
)
from records import found, layer, record
from torch import Tensor, nn


def test_a_block_that_owns_parameters_may_be_silent_itself() -> None:
    names = ("blocks.0", "blocks.0.fc", "blocks.1", "blocks.1.fc", "head")
    layers = [replace(layer(i, norm=0.0 if name == "blocks.1" else 0.1), name=name) for i, name in enumerate(names)]
    assert [finding.layer for finding in found(record(layers))] == ["blocks.1"]


@pytest.mark.parametrize("where", [0, 2, 5])
def test_dead_layers_behind_a_rectifier_that_is_always_off(where: int) -> None:
    def build() -> nn.Module:
        model = relu_mlp()
        nn.init.constant_(model.get_submodule(f"{2 * where}").bias, -100.0)  # type: ignore[arg-type]
        return model

    finding = examined(build, BATCHES).findings[0]
    assert finding.fault == "dead"
    assert finding.layer == f"{2 * where}"  # those behind it are silent too: they are given nothing but zeros


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dead_layers_behind_gates_that_are_all_but_shut(dtype: torch.dtype) -> None:
    def build(bias: float) -> nn.Module:
        torch.manual_seed(0)
        return blocks(lambda: Highway(bias), 4)().to(dtype)

    batches = [rows(seed=seed, dtype=dtype) for seed in (1, 2)]
    assert not kinds(examined(build(-3.0), batches))
    shut = kinds(examined(build(-32.0), batches))
    assert shut == (["dead"] if dtype == torch.float32 else [])  # float64 tells such numbers from rounding noise


class Highway(nn.Module):
    def __init__(self, bias: float) -> None:
        super().__init__()
        self.value, self.gate = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        nn.init.constant_(self.gate.bias, bias)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.gate(x).sigmoid()
        output: Tensor = gate * self.value(x).relu() + (1 - gate) * x
        return output


def test_dead_units_of_one_layer() -> None:
    def build() -> nn.Module:
        model = chain(3, nn.ReLU)
        with torch.no_grad():
            model[2].bias[:22] = -100.0
        return model  # type: ignore[no-any-return]

    finding = only(examined(build, BATCHES), "dead")
    assert finding.layers == ("2",)
    assert (finding.value or 0) >= 22 / 24
    assert "ReLU" in finding.cause or "relu" in finding.cause


def with_biases(value: float, count: int, *behind: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """A stack in which so many units of one module have this bias."""

    def build() -> nn.Module:
        made = [module() for module in behind]
        model = nn.Sequential(nn.Linear(WIDTH, WIDTH), *made, nn.ReLU(), nn.Linear(WIDTH, CLASSES))
        with torch.no_grad():
            model[len(behind)].bias[:count] = value  # type: ignore[index, operator]
        return model

    return build


@pytest.mark.parametrize("behind", [[], [lambda: nn.BatchNorm1d(WIDTH)]], ids=["linear", "batch norm"])
def test_dead_units_that_a_bias_holds_shut(behind: list[Callable[[], nn.Module]]) -> None:
    finding = only(examined(with_biases(-10.0, 17, *behind), BATCHES), "dead")
    assert finding.layers == ("0",)
    assert "biases" in finding.cause
    assert not kinds(examined(with_biases(-10.0, 10, *behind), BATCHES))
    assert not kinds(examined(with_biases(-10.0, 17, *behind), BATCHES, max_dead=0.95))


class Columns(nn.Module):
    """A weight and a bias of two dimensions each for every column of a table, most of which nobody reads."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(WIDTH, 4)), nn.Parameter(torch.randn(WIDTH, 4))
        self.head = nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.head((x.unsqueeze(-1) * self.weight + self.bias)[:, :5].mean(1))
        return output


def test_a_bias_of_two_dimensions_holds_nothing_shut() -> None:
    assert not kinds(examined(Columns, BATCHES))


def test_units_that_a_batch_leaves_out_are_not_held_shut() -> None:
    assert not kinds(examined(with_biases(-2.0, 17), [rows(size=4, seed=1)]))


@pytest.mark.parametrize(("p", "alarm"), [(0.5, False), (0.9, False), (0.95, True), (0.99, True)])
def test_a_dropout_that_leaves_next_to_nothing(p: float, alarm: bool) -> None:
    check = examined(lambda: chain(3, nn.ReLU, {1: [nn.Dropout(p)]}), BATCHES)
    assert [f.layer for f in check.findings if "drops" in f.message] == (["4"] if alarm else [])
    assert not kinds(examined(lambda: chain(3, nn.ReLU, {1: [nn.Dropout(0.95)]}), BATCHES, ignore=["4"]))


class Hooked(nn.Module):
    """A hook on the gradient of a residual stream, right in front of the next block's normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, CLASSES)
        self.block = Residual(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        x = 1.0 * self.stem(x)
        if x.requires_grad:
            x.register_hook(torch.zeros_like)  # type: ignore[no-untyped-call]
        output: Tensor = self.head(self.block(x))
        return output


def test_dead_layers_behind_a_hook_that_a_normalisation_does_not_excuse() -> None:
    assert only(examined(Hooked, BATCHES), "dead").layers == ("stem",)


@pytest.mark.parametrize("operation", [torch.round, torch.sign, lambda x: x.clamp(5.0, 6.0) * 0 + x * 0])
def test_dead_layers_in_front_of_a_step(operation: Callable[[Tensor], Tensor]) -> None:
    finding = examined(lambda: chain(4, nn.Tanh, {1: [Apply(operation)]}), BATCHES).findings[0]
    assert finding.fault == "dead"
    assert finding.layer in ("2", "4", "5")


@pytest.mark.parametrize(
    "layers",
    [
        [Apply(lambda x: x * 0), nn.LayerNorm(WIDTH)],
        [Apply(lambda x: F.dropout(x, 1.0)), nn.BatchNorm1d(WIDTH)],
        [Apply(lambda x: x * 1e6), nn.Softmax(-1)],
    ],
    ids=["erased before LayerNorm", "dropped before BatchNorm", "saturated Softmax"],
)
def test_dead_layers_in_front_of_a_normalisation_that_is_given_nothing(layers: list[nn.Module]) -> None:
    finding = examined(lambda: chain(4, nn.Tanh, {1: layers}), BATCHES).findings[0]
    assert finding.fault == "dead"
    assert finding.layer == "2"


class Lonely(nn.Module):
    """Attention whose softmax runs over a dimension of one."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.value = nn.Linear(WIDTH, 1), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = x + self.query(x).softmax(-1) * self.value(x)
        return output


def test_dead_layers_in_front_of_a_softmax_over_one() -> None:
    finding = only(examined(blocks(Lonely, 3), BATCHES), "dead")
    assert finding.layer.endswith("query")
    assert "single element" in finding.cause


@pytest.mark.parametrize(
    ("last", "layer", "word"),
    [("dead", "blocks.2.branch", "relu()"), ("zero", "blocks.2.out", "mul() at networks.py")],
)
def test_dead_layers_of_the_last_block_where_something_there_is_shut(last: str, layer: str, word: str) -> None:
    check = examined(lambda: ReadOut(last), [sequences(seed=1), sequences(seed=2)])
    finding = only(check, "dead")
    assert finding.layer == layer
    assert word in finding.cause
