"""Gradients that never come: what is cut off, skipped, or never used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from networks import (
    BATCHES,
    CLASSES,
    SICK,
    WIDTH,
    Apply,
    Attention,
    Forecaster,
    WaveNet,
    chain,
    examined,
    kinds,
    only,
    relu_mlp,
    sequences,
)
from torch import Tensor, nn

from pytest_gradhealth import GradHealth, Settings
from pytest_gradhealth.record import Check


class Branches(nn.Module):
    """A network with something left out of it."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.stem, self.body, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, CLASSES)
        self.block = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
        self.scale = nn.Parameter(torch.ones(WIDTH)) if how == "parameter" else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        if self.how == "no_grad":
            with torch.no_grad():
                x = self.body(x).relu()
        elif self.how == "argmax":
            x = F.one_hot(self.body(x).argmax(-1), WIDTH).float()
        elif self.how == "data":
            x = self.body(x).relu().data
        elif self.how == "numpy":
            x = torch.from_numpy(self.body(x).relu().detach().numpy())
        else:
            x = self.body(x).relu()
        if self.how == "unused output":
            self.block(x)
        elif self.how not in ("skipped", "unused layer"):
            x = x + self.block(x)
        output: Tensor = self.head(x)
        return output


def test_missing_names_the_line_that_detaches() -> None:
    finding = only(examined(*SICK["detach"][:1], BATCHES), "missing")
    assert finding.layer == "4"
    assert finding.layers == ("4", "0", "2")
    assert "detach() at networks.py:" in finding.cause


LIBRARY = """
import torch
from torch import nn

class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.pooler = nn.Linear(24, 24), nn.Linear(24, 24), nn.Linear(24, 24)

    def forward(self, x):
        x = self.second(self.first(x).relu()).relu()
        return x, self.pooler(x)

class Choosing(nn.Module):
    # chooses among what is there so far: in the beginning a single thing
    def __init__(self):
        super().__init__()
        self.scores = nn.ModuleList(nn.Linear(24, 1) for _ in range(3))
        self.layers = nn.ModuleList(nn.Linear(24, 24) for _ in range(3))

    def forward(self, x):
        seen = [x]
        for score, layer in zip(self.scores, self.layers):
            weights = torch.stack([score(one) for one in seen]).softmax(0)
            seen.append(layer((weights * torch.stack(seen)).sum(0)).relu())
        return seen[-1]


class Guided(nn.Module):
    def __init__(self):
        super().__init__()
        self.guide = nn.Sequential(*[nn.Linear(24, 24) for _ in range(3)])
        self.head = nn.Linear(24, 5)

    def forward(self, x):
        with torch.no_grad():
            x = self.guide(x)
        return self.head(x)
"""


class Ungraphed(nn.Module):
    """A user's model around a bought trunk."""

    def __init__(self, trunk: nn.Module, way: str) -> None:
        super().__init__()
        self.trunk, self.way, self.head = trunk, way, nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        with torch.set_grad_enabled(self.way != "no_grad"):
            hidden = self.trunk(x)[0]
        self.watched = hidden.detach().mean()  # a cut that costs nothing
        output: Tensor = self.head(hidden.detach() if self.way == "detach" else hidden)
        return output


@contextmanager
def installed(folder: Path) -> Iterator[Any]:
    """Classes that come with a package."""
    file = folder / "site-packages" / "backbones.py"
    file.parent.mkdir()
    file.write_text(LIBRARY)
    sys.path.insert(0, str(file.parent))
    try:
        yield importlib.import_module("backbones")
    finally:
        sys.path.remove(str(file.parent))
        del sys.modules["backbones"]


@pytest.mark.parametrize("way", ["detach", "no_grad"])
def test_missing_where_the_user_cuts_off_an_installed_trunk(way: str, tmp_path: Path) -> None:
    with installed(tmp_path) as library:
        check = examined(lambda: Ungraphed(library.Backbone(), way), BATCHES)
    finding = check.findings[0]
    assert finding.fault == "missing"
    assert {"trunk.first", "trunk.second"} <= set(finding.layers)
    assert way in finding.cause
    assert "test_missing.py:" in finding.cause


def test_an_installed_choice_among_one_is_no_fault(tmp_path: Path) -> None:
    with installed(tmp_path) as library:
        check = examined(lambda: nn.Sequential(library.Choosing(), nn.Linear(WIDTH, CLASSES)), BATCHES)
    assert not kinds(check)
    assert check.by_design["0.scores.0"] == "not used by this model"


@pytest.mark.parametrize("cut", [True, False])
def test_missing_below_an_installed_backbone_that_has_a_part_nobody_asked_for(cut: bool, tmp_path: Path) -> None:
    with installed(tmp_path) as library:
        build = lambda: nn.Sequential(  # noqa: E731
            library.Backbone(), Apply(lambda both: both[0].detach() if cut else both[0]), nn.Linear(WIDTH, CLASSES)
        )
        check = examined(build, BATCHES)
    assert check.by_design["0.pooler"] == "not used by this model"
    assert [finding.layers for finding in check.findings] == ([("0.second", "0.first")] if cut else [])


@pytest.mark.parametrize(
    ("how", "layer", "word"),
    [
        ("no_grad", "body", "no_grad"),
        ("argmax", "body", "argmax"),
        ("data", "body", "graph"),
        ("numpy", "body", "detach()"),
        ("skipped", "block.0", "never called"),
        ("unused output", "block.0", "only by a choice (argmax), or not at all"),
    ],
)
def test_missing_tells_what_cuts_a_layer_off(how: str, layer: str, word: str) -> None:
    finding = only(examined(lambda: Branches(how), BATCHES), "missing")
    assert finding.layer == layer
    assert word in finding.cause
    if how in ("no_grad", "argmax", "data", "numpy"):
        assert "test_missing.py:" in finding.cause
        assert set(finding.layers) == {"stem", "body"}
    else:
        assert set(finding.layers) == {"block.0", "block.2"}


class Nested(nn.Module):
    """Two blocks of an attention and what comes behind it; ``forgotten`` blocks leave their attention out."""

    def __init__(self, forgotten: tuple[int, ...]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.ModuleDict({"attend": nn.Sequential(Attention(), nn.LayerNorm(WIDTH)), "think": nn.Linear(WIDTH, WIDTH)})
            for _ in range(3)
        )
        self.head, self.forgotten = nn.Linear(WIDTH, CLASSES), forgotten

    def forward(self, x: Tensor) -> Tensor:
        for number, block in enumerate(self.blocks):
            x = x if number in self.forgotten else x + block["attend"](x)  # type: ignore[index]
            x = x + block["think"](x).relu()  # type: ignore[index]
        output: Tensor = self.head(x.mean(1))
        return output


def test_missing_names_the_module_that_was_left_out_as_a_whole() -> None:
    findings = examined(lambda: Nested((0, 2)), [sequences()]).findings
    assert [finding.fault for finding in findings] == ["missing"] * 2
    for finding, number in zip(findings, (0, 2), strict=True):
        assert f"'blocks.{number}.attend' never receives a gradient (5 layers in all)" in finding.message
        assert f"'blocks.{number}.attend' is never called" in finding.cause
        assert all(name.startswith(f"blocks.{number}.attend.") for name in finding.layers)


def test_missing_a_single_parameter() -> None:
    finding = only(examined(lambda: Branches("parameter"), BATCHES), "missing")
    assert finding.layer == ""
    assert "scale" in finding.message


class Nothing(torch.autograd.Function):
    """A custom backward that sends nothing back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> None:
        return None


def force(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """The loss of an energy's negative slope, as that of molecular force fields."""
    place = batch[0].clone().requires_grad_()
    (slope,) = torch.autograd.grad(model(place).sum(), place, create_graph=True)
    return F.mse_loss(-slope, torch.zeros_like(slope))


def test_a_last_bias_of_which_the_loss_takes_the_slope() -> None:
    check = examined(lambda: chain(2, nn.Tanh), BATCHES, step=force)
    assert not kinds(check)
    assert "derivative" in check.by_design["4"]


def test_missing_a_bias_behind_a_tied_weight() -> None:
    def build() -> nn.Module:
        model = chain(2, nn.Tanh)
        model[2].weight = model[0].weight
        return model  # type: ignore[no-any-return]

    def step(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        x = model[0](batch[0]).detach()  # type: ignore[operator, index]
        return F.cross_entropy(model[4](model[2](x)), batch[1])  # type: ignore[operator, index]

    assert only(examined(build, BATCHES, step=step), "missing").layers == ("0",)


def test_missing_where_a_custom_backward_sends_nothing_back() -> None:
    check = examined(lambda: chain(4, nn.ReLU, {1: [Apply(Nothing.apply)]}), BATCHES)
    assert set(kinds(check)) == {"missing"}
    assert {name for finding in check.findings for name in finding.layers} == {"0", "2"}


def test_missing_where_a_new_tensor_is_made_of_values() -> None:
    copied = lambda x: torch.tensor(x.tolist(), requires_grad=True)  # noqa: E731
    finding = only(examined(lambda: chain(4, nn.ReLU, {1: [Apply(copied)]}), BATCHES), "missing")
    assert finding.layer == "2"
    assert "tolist" in finding.cause


def test_missing_a_loss_without_a_graph() -> None:
    step = lambda model, batch: F.cross_entropy(model(batch[0]).detach(), batch[1])  # noqa: E731
    assert "missing" in kinds(examined(relu_mlp, BATCHES, step=step))


class Paired(nn.Module):
    """Two layers a block; in the last block one of them is cut off."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.ModuleDict({name: nn.Linear(WIDTH, WIDTH) for name in ("near", "far")}) for _ in range(3)
        )
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        for number, block in enumerate(self.blocks):
            near = block["near"](x)  # type: ignore[index]
            x = ((near.detach() if number == 2 else near) + block["far"](x)).relu()  # type: ignore[index]
        output: Tensor = self.head(x)
        return output


def test_what_is_cut_off_in_the_last_block_is_no_by_product() -> None:
    assert only(examined(Paired, BATCHES), "missing").layer == "blocks.2.near"


def test_the_last_block_is_missed_where_more_than_a_by_product_is_lost() -> None:
    cut = examined(lambda: Forecaster(detach=True), BATCHES)
    assert cut.findings[0].layer == "blocks.2.forecast"
    assert "detach" in cut.findings[0].cause
    forgotten = examined(lambda: WaveNet(forgotten=True), BATCHES)
    assert {finding.fault for finding in forgotten.findings} == {"missing"}
    assert {finding.layer for finding in forgotten.findings} == {"residuals.1", "skips.2"}


def test_an_installed_model_that_trains_a_part_of_itself_in_a_watched_test(tmp_path: Path) -> None:
    kept: list[Check] = []
    with installed(tmp_path) as library, GradHealth(Settings(device="cpu"), sink=kept.append).watch():
        x, y = BATCHES[0]
        F.cross_entropy(library.Guided()(x), y).backward()
    assert set(kept[0].by_design.values()) == {"not used by this model"}
    assert not kinds(kept[0])
