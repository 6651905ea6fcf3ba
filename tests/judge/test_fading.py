"""Gradients and signals that fade: they vanish, collapse, are drowned, or make all units alike."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
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
    Residual,
    blocks,
    chain,
    encoder,
    examined,
    images,
    kinds,
    only,
    relu_mlp,
    rows,
    sequences,
    sigmoid_stack,
)
from records import changed, found, layer, record
from torch import Tensor, nn

# --- by hand -----------------------------------------------------------------------------------------------------


def test_vanishing_is_judged_by_the_reach_of_the_first_quarter() -> None:
    fading = [layer(n, reach=10.0 ** (n - 7), gain=0.1) for n in range(8)]
    (finding,) = found(record(fading))
    assert finding.fault == "vanishing"
    assert finding.value == pytest.approx(1e-6)
    assert finding.limit_name == "min_reach"
    assert finding.provisional
    assert found(record(fading), min_reach=1e-7) == []
    assert found(record(fading), min_reach=None) == []


def test_one_weak_layer_between_strong_ones_is_no_fault() -> None:
    assert found(record(changed(3, norm=1e-9, sensitivity=1e-9))) == []


def test_a_single_lossy_layer_is_named_alone() -> None:
    lost = [layer(n, reach=1e-6 if n < 4 else 1.0, gain=1e-6 if n == 4 else 1.0) for n in range(8)]
    (finding,) = found(record(lost))
    assert finding.layers == ("fc4",)


def test_alike_units_are_the_cause_and_not_the_vanishing_they_bring() -> None:
    given = record([layer(n, identical_units=True, reach=1e-7 if n < 4 else 1.0) for n in range(8)])
    assert [f.fault for f in found(given)] == ["symmetric"]


# --- real models -------------------------------------------------------------------------------------------------


def test_vanishing_a_sigmoid_stack() -> None:
    finding = only(examined(sigmoid_stack, BATCHES), "vanishing")
    assert "12 Sigmoid layers" in finding.cause
    assert "slope is at most 0.25" in finding.cause


def test_vanishing_at_one_place_is_named_there() -> None:
    build = lambda: chain(10, nn.Tanh, {4: [Apply(lambda x: x * 1e-7)]})  # noqa: E731
    finding = only(examined(build, BATCHES), "vanishing")
    assert finding.layers in (("8",), ("11",))  # the layers on either side of it


def test_collapse_of_tokens_in_an_encoder_without_skip_connections() -> None:
    finding = examined(lambda: encoder(12, skip=False), [sequences(seed=1), sequences(seed=2)]).findings[0]
    assert finding.fault in ("collapse", "vanishing")
    assert not kinds(examined(lambda: encoder(12), [sequences(seed=1), sequences(seed=2)]))


@pytest.mark.parametrize("dropout", [0.1, 0.5])
def test_collapse_that_the_noise_of_dropout_hides(dropout: float) -> None:
    batches = [sequences(seed=1), sequences(seed=2)]
    finding = examined(lambda: encoder(12, skip=False, dropout=dropout), batches).findings[0]
    assert finding.fault in ("collapse", "vanishing")
    assert not kinds(examined(lambda: encoder(12, dropout=dropout), batches))


class Otherwise(nn.Module):
    """What evaluates otherwise than it trains."""

    def __init__(self, otherwise: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, CLASSES)
        self.drop, self.norm, self.otherwise = nn.Dropout(0.1), nn.BatchNorm1d(WIDTH), otherwise

    def forward(self, x: Tensor) -> Any:
        x = self.drop(self.norm(self.body(x)).relu())
        return self.head(x) if self.training else self.otherwise(x)


def refuses(x: Tensor) -> Any:
    warnings.warn("not like this", stacklevel=1)
    raise ValueError("no evaluation without a checkpoint")


@pytest.mark.parametrize("otherwise", [refuses, lambda x: {"classes": x.argmax(-1)}, lambda x: x[:, :CLASSES] * 0])
def test_a_model_that_evaluates_otherwise_is_judged_as_it_trains(otherwise: Callable[[Tensor], Any]) -> None:
    model = Otherwise(otherwise)
    before = copy.deepcopy(model.state_dict())
    with warnings.catch_warnings(action="error"):
        assert not kinds(examined(model, BATCHES))
    assert all(module.training for module in model.modules())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize(("where", "named"), [(0, ("0", "2")), (2, ("4", "6")), (3, ("6", "8"))])
def test_collapse_of_samples_where_the_batch_is_averaged_away(where: int, named: tuple[str, str]) -> None:
    build = lambda: chain(4, nn.ReLU, {where: [Apply(lambda x: x.mean(0, keepdim=True).expand_as(x))]})  # noqa: E731
    finding = only(examined(build, BATCHES), "collapse")
    assert "samples" in finding.message
    assert finding.layer in named  # the layers on either side of it


class Clamped(nn.Module):
    """Indices that are all cut down to the same row."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.words, self.body = nn.Embedding(50, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, ids: Tensor) -> Tensor:
        output: Tensor = self.head(self.body(self.words(ids.clamp(max=self.most))).relu().mean(1))
        return output


def test_collapse_of_indices() -> None:
    draw = torch.Generator().manual_seed(0)
    batch = torch.randint(50, (8, 6), generator=draw), torch.randint(CLASSES, (8,), generator=draw)
    assert only(examined(lambda: Clamped(0), [batch]), "collapse").layer == "words"
    assert not kinds(examined(lambda: Clamped(49), [batch]))
    alike = torch.ones(8, 6, dtype=torch.int64), batch[1]
    assert not kinds(examined(lambda: Clamped(0), [alike]))


class Pooled(nn.Module):
    """Attention of every pixel over a few that are pooled: as Twins do, down to a single one."""

    def __init__(self, heat: float) -> None:
        super().__init__()
        self.heat = heat
        self.query, self.key, self.value, self.out = (nn.Conv2d(8, 8, 1) for _ in range(4))
        self.drop = nn.Dropout(0.0)

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.adaptive_avg_pool2d(x, (1, 2))
        queries, keys, values = self.query(x).flatten(2), self.key(pooled).flatten(2), self.value(pooled).flatten(2)
        weights = self.drop((queries.transpose(1, 2) @ keys * self.heat).softmax(-1))
        output: Tensor = x + self.out((values @ weights.transpose(1, 2)).view_as(x))
        return output


def pooled_attention() -> nn.Module:
    trunk = [nn.Conv2d(3, 8, 3, padding=1), *(Pooled(heat) for heat in (1.0, 1e-9, 1e-9))]
    return nn.Sequential(*trunk, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, CLASSES))


def test_a_map_of_attention_weights_holds_no_tokens() -> None:
    check = examined(pooled_attention, [images(seed=1), images(seed=2)], ignore=["*.query", "*.key"])
    assert check.record.signals[-4].token_variation is None
    assert not kinds(check)


@pytest.mark.parametrize("norm", [nn.LayerNorm, nn.BatchNorm1d, nn.RMSNorm])
@pytest.mark.parametrize(("eps", "alarm"), [(1e-5, False), (1e-2, False), (1e6, True)])
def test_weak_behind_normalisations_that_do_not_normalise(norm: Any, eps: float, alarm: bool) -> None:
    branch = lambda: Residual(norm(WIDTH, eps=eps), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))  # noqa: E731
    check = examined(blocks(branch, 4), [rows(16, seed=1), rows(16, seed=2)])
    assert kinds(check) == (["weak"] if alarm else [])
    if alarm:
        assert check.findings[0].layer == "1.branch.0"
        assert "eps" in check.findings[0].cause


@pytest.mark.parametrize(("factor", "alarm"), [(1e-6, False), (1e-12, True)])
def test_weak_gradients_that_the_optimiser_drowns(factor: float, alarm: bool) -> None:
    check = examined(relu_mlp, BATCHES, loss=lambda output, target: factor * F.cross_entropy(output, target))
    assert kinds(check) == (["weak"] if alarm else [])
    if alarm:
        assert check.findings[0].limit_name == "min_gradient_rms"


def test_weak_a_saturated_read_out() -> None:
    build = lambda: nn.Sequential(relu_mlp(), Apply(lambda x: torch.softmax(x * 1e4, -1)))  # noqa: E731
    assert kinds(examined(build, BATCHES))


def test_weak_rounding_noise_that_comes_and_goes_redeems_nothing() -> None:
    """A single output over its own size is 1 or -1, whatever the weights."""
    draw = torch.Generator().manual_seed(0)
    batches = [(torch.randn(8, WIDTH, generator=draw), torch.randn(8, 1, generator=draw)) for _ in range(2)]
    build = lambda: nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 1))  # noqa: E731
    step = lambda model, batch: F.mse_loss(F.normalize(model(batch[0]), dim=-1), batch[1])  # noqa: E731
    for seed in range(5):
        assert kinds(examined(build, batches, seed=seed, step=step)) == ["weak"]


def test_weak_cold_logits_stay_cold() -> None:
    build = lambda: nn.Sequential(relu_mlp(), Apply(lambda x: x * 1e-9))  # noqa: E731
    check = examined(build, BATCHES)
    assert set(kinds(check)) & {"weak", "collapse", "vanishing", "dim"}, kinds(check)


def test_symmetric_constant_initialisation() -> None:
    assert "symmetric" in kinds(examined(*SICK["constant init"][:1], BATCHES))


def shifted(deviation: float) -> list[tuple[Tensor, Tensor]]:
    return [(deviation * x + 2, y) for x, y in BATCHES]


def test_an_input_that_is_nearly_a_constant() -> None:
    (finding,) = examined(relu_mlp, shifted(0.01)).findings
    assert finding.fault == "collapse"
    assert "of the input" in finding.message
    assert "mean" in finding.remedy
    assert not kinds(examined(relu_mlp, shifted(0.5)))
    assert not kinds(examined(lambda: nn.Sequential(nn.BatchNorm1d(WIDTH), *chain(3, nn.ReLU)), shifted(0.01)))
