"""Odd numbers that are healthy by design, and those that only look so."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from networks import (
    BATCHES,
    CLASSES,
    HEALTHY,
    WIDTH,
    Forecaster,
    ReadOut,
    Residual,
    WaveNet,
    ZeroInit,
    batch_normalised,
    blocks,
    examined,
    kinds,
    relu_mlp,
    rows,
    sequences,
)
from records import found, layer, record
from torch import Tensor, nn

from pytest_gradhealth import Limits
from pytest_gradhealth.judge.remarks import designed
from pytest_gradhealth.record import Check


def test_a_frozen_record_says_nothing() -> None:
    frozen = [layer(n, trainable=0, norm=None) for n in range(7)]
    given = record([*frozen, layer(7)])
    assert found(given) == []
    assert set(designed(given, Limits()).values()) == {"frozen"}


class Adapted(nn.Module):
    """A frozen Linear with a low-rank correction: B starts at zero."""

    def __init__(self, both: bool = False) -> None:
        super().__init__()
        self.base = nn.Linear(WIDTH, WIDTH).requires_grad_(False)
        self.lora_a, self.lora_b = nn.Linear(WIDTH, 4, bias=False), nn.Linear(4, WIDTH, bias=False)
        for weight in [self.lora_b.weight, *([self.lora_a.weight] if both else [])]:
            nn.init.zeros_(weight)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.base(x) + self.lora_b(self.lora_a(x))
        return output


def zero_head() -> nn.Module:
    model = relu_mlp()
    assert isinstance(model, nn.Sequential)
    nn.init.zeros_(model[-1].weight)  # type: ignore[arg-type]
    return model


class Experts(nn.Module):
    """Each sample goes to the one expert that the router likes best."""

    def __init__(self, number: int = 16) -> None:
        super().__init__()
        self.router = nn.Linear(WIDTH, number)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH)) for _ in range(number)
        )

    def forward(self, x: Tensor) -> Tensor:
        weights, choices = self.router(x).softmax(-1).max(-1)
        output = x.clone()
        for number, expert in enumerate(self.experts):
            mine = (choices == number).nonzero().flatten()
            if len(mine):
                output = output.index_add(0, mine, expert(x[mine]) * weights[mine, None])
        return output


class Teacher(nn.Module):
    """A student that follows a copy of itself, which runs under ``no_grad``; the loss comes from the model."""

    def __init__(self) -> None:
        super().__init__()
        self.student, self.teacher = relu_mlp(2), relu_mlp(2)
        self.predictor = nn.Linear(CLASSES, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            target = self.teacher(x)
        return F.mse_loss(self.predictor(self.student(x)), target)


class SimSiam(nn.Module):
    """Two views; the gradient is stopped on one side of the similarity."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.predictor = relu_mlp(3), nn.Sequential(nn.Linear(CLASSES, 16), nn.ReLU(), nn.Linear(16, 5))

    def forward(self, x: Tensor) -> Tensor:
        one, two = self.encoder(x + 0.1 * torch.randn_like(x)), self.encoder(x + 0.1 * torch.randn_like(x))
        similar = F.cosine_similarity(self.predictor(one), two.detach(), dim=-1).mean()
        return -(similar + F.cosine_similarity(self.predictor(two), one.detach(), dim=-1).mean()) / 2


class Quantised(nn.Module):
    """A vector-quantised autoencoder with the straight-through estimator."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(WIDTH, 8), nn.Linear(8, WIDTH)
        self.codebook = nn.Embedding(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        code = self.encoder(x)
        nearest = self.codebook(torch.cdist(code, self.codebook.weight).argmin(-1))
        commitment = F.mse_loss(nearest, code.detach()) + 0.25 * F.mse_loss(code, nearest.detach())
        return F.mse_loss(self.decoder(code + (nearest - code).detach()), x) + commitment


class Language(nn.Module):
    """Tied input and output embeddings, of which a batch sees a few rows only."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(500, WIDTH)
        self.body = Residual(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
        self.head = nn.Linear(WIDTH, 500, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        logits = self.head(self.body(self.embed(tokens[:, :-1])))
        return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())


def frozen_backbone() -> nn.Module:
    model = nn.Sequential(relu_mlp(), nn.ReLU(), nn.Linear(CLASSES, CLASSES))
    model[0].requires_grad_(False)
    return model


def biased_before_norm() -> nn.Module:
    def block() -> list[nn.Module]:
        return [nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU()]

    return nn.Sequential(*block(), *block(), *block(), nn.Linear(WIDTH, CLASSES))


def own_loss(model: nn.Module, batch: Any) -> Tensor:
    loss: Tensor = model(batch[0] if isinstance(batch, tuple) else batch)
    return loss


TOKENS = [torch.randint(500, (4, 12), generator=torch.Generator().manual_seed(n)) for n in (1, 2)]


class Target(nn.Module):
    """A Q network and the copy of it that gives the targets, detached and not under ``no_grad``."""

    def __init__(self) -> None:
        super().__init__()
        self.online, self.target = relu_mlp(3), relu_mlp(3)
        self.target.load_state_dict(self.online.state_dict())

    def forward(self, x: Tensor) -> Tensor:
        goal = 1 + 0.9 * self.target(-x).amax(1).detach()
        return F.smooth_l1_loss(self.online(x).amax(1), goal)


class Averaged(nn.Module):
    """A network with its moving average, which is there for later."""

    def __init__(self) -> None:
        super().__init__()
        self.net = relu_mlp(3)
        self.average = copy.deepcopy(self.net)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.net(x)
        return output


class Routed(Experts):
    """Experts by another name, called with nothing where nothing is routed to them."""

    def __init__(self, call_all: bool) -> None:
        super().__init__()
        self.paths, self.call_all = self.experts, call_all
        del self.experts

    def forward(self, x: Tensor) -> Tensor:
        weights, choices = self.router(x).softmax(-1).max(-1)
        output = x.clone()
        for number, path in enumerate(self.paths):
            mine = (choices == number).nonzero().flatten()
            if len(mine) or self.call_all:
                output = output.index_add(0, mine, path(x[mine]) * weights[mine, None])
        return output


class Skipping(nn.Module):
    """Blocks that are left out at random while training."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Residual(nn.Linear(WIDTH, WIDTH), nn.ReLU()) for _ in range(12))
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = x if self.training and torch.rand(()) < 0.4 else block(x)
        output: Tensor = self.head(x)
        return output


class Summed(nn.Module):
    """Deep sets: what is known of each element is summed up."""

    def __init__(self) -> None:
        super().__init__()
        self.element = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU())
        self.whole = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU())
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.head(self.whole(self.element(x).sum(1)))
        return output


class Shift(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.full((CLASSES,), -0.5))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias


class Gaussian(nn.Module):
    """A policy whose deviation does not depend on what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.mean, self.deviation = relu_mlp(), Shift()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean = self.mean(x)
        return mean, self.deviation(torch.zeros_like(mean))


def likelihood(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    mean, deviation = model(batch[0])
    target = F.one_hot(batch[1], CLASSES).float()
    return -torch.distributions.Normal(mean, deviation.exp()).log_prob(target).mean()


BY_DESIGN: dict[str, Callable[[], Check]] = {
    "zero-initialised branches": lambda: examined(blocks(lambda: ZeroInit("zero weight")), BATCHES),
    "LayerScale at 1e-6": lambda: examined(blocks(lambda: ZeroInit("layer scale")), BATCHES),
    "ReZero": lambda: examined(blocks(lambda: ZeroInit("rezero")), BATCHES),
    "zero head": lambda: examined(zero_head, BATCHES),
    "LoRA": lambda: examined(blocks(Adapted), BATCHES),
    "experts": lambda: examined(blocks(Experts, 2), BATCHES),
    "frozen backbone": lambda: examined(frozen_backbone, BATCHES),
    "teacher": lambda: examined(Teacher, BATCHES, step=own_loss),
    "SimSiam": lambda: examined(SimSiam, BATCHES, step=own_loss),
    "VQ-VAE": lambda: examined(Quantised, BATCHES, step=own_loss),
    "tied weights, unseen rows": lambda: examined(Language, iter(TOKENS), step=own_loss),
    "bias before BatchNorm": lambda: examined(biased_before_norm, BATCHES),
    "convolutions and BatchNorm": lambda: examined(
        *HEALTHY["conv and batch norm"][:1], [HEALTHY["conv and batch norm"][1]()]
    ),
    "target network": lambda: examined(Target, BATCHES, step=own_loss),
    "moving average": lambda: examined(Averaged, BATCHES),
    "routed, not called": lambda: examined(blocks(lambda: Routed(False), 1), BATCHES),
    "routed, called with nothing": lambda: examined(blocks(lambda: Routed(True), 1), BATCHES),
    "blocks skipped at random": lambda: examined(Skipping, BATCHES),
    "40 layers of batch normalisation": lambda: examined(
        batch_normalised(40), [rows(16, seed=seed) for seed in (1, 2)]
    ),
    "a sum over many": lambda: examined(Summed, [sequences(seed=seed, length=2000) for seed in (1, 2)]),
    "a learnt deviation": lambda: examined(Gaussian, BATCHES, step=likelihood),
    "a read-out of one position": lambda: examined(ReadOut, [sequences(seed=1), sequences(seed=2)]),
    "N-BEATS": lambda: examined(Forecaster, BATCHES),
    "WaveNet": lambda: examined(WaveNet, BATCHES),
    "one sample": lambda: examined(relu_mlp, [rows(1)]),
    "one layer": lambda: examined(lambda: nn.Linear(WIDTH, CLASSES), BATCHES),
}


@pytest.mark.parametrize("name", BY_DESIGN)
def test_healthy_by_design(name: str) -> None:
    assert not [finding.message for finding in BY_DESIGN[name]().findings]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("zero-initialised branches", "waits for a gate that starts at zero"),
        ("ReZero", "starts at zero"),
        ("zero head", "starts at zero"),
        ("experts", "expert not routed to"),
        ("frozen backbone", "frozen"),
        ("teacher", "copy of a trained twin"),
        ("target network", "copy of a trained twin"),
        ("moving average", "copy of a trained twin"),
        ("routed, not called", "expert not routed to"),
        ("a read-out of one position", "not asked for in the last block"),
        ("N-BEATS", "by-product of the last block"),
        ("WaveNet", "by-product of the last block"),
    ],
)
def test_the_table_says_why(name: str, reason: str) -> None:
    assert reason in set(BY_DESIGN[name]().by_design.values())


@pytest.mark.parametrize("way", ["zero weight", "rezero"])
def test_a_gate_that_is_closed_twice_stays_closed(way: str) -> None:
    check = examined(blocks(lambda: ZeroInit(way, both=True), 3), BATCHES)
    assert kinds(check) == ["dead"]
    assert "." in check.findings[0].layer or check.findings[0].layer in {"1", "2", "3"}


def test_lora_with_both_factors_at_zero_stays_where_it_is() -> None:
    check = examined(blocks(lambda: Adapted(both=True)), BATCHES)
    assert kinds(check) == ["dead"]
    assert "lora" in check.findings[0].layer


def hinge(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Half of the samples shall score above 1, the others below -1."""
    real, made = model(batch[0]).chunk(2)
    return F.relu(1 - real).mean() + F.relu(1 + made).mean()


def test_a_bias_that_cancels_out_beside_a_parametrised_weight() -> None:
    def build() -> nn.Module:
        head = nn.utils.parametrizations.spectral_norm(nn.Linear(WIDTH, 1))
        with torch.no_grad():
            head.parametrizations.weight.original.mul_(0.1)  # type: ignore[union-attr]
        return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.LayerNorm(WIDTH), Shrunk(head))

    check = examined(build, BATCHES, step=hinge)
    assert not kinds(check)
    assert check.by_design["3.head"] == "shift that this loss does not see"


class Shrunk(nn.Module):
    """Scores so small that no hinge closes."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = 0.01 * self.head(x)
        return output
