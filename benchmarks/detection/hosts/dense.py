"""Hosts on vectors and tables: perceptrons of many depths and kinds, autoencoders, experts, recommenders."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Activation = Callable[[], nn.Module]
Init = Callable[[Tensor], object]


def he(weight: Tensor) -> object:
    return nn.init.kaiming_normal_(weight, nonlinearity="relu")


def xavier(weight: Tensor) -> object:
    return nn.init.xavier_normal_(weight, gain=1.2)


def lecun(weight: Tensor) -> object:
    return nn.init.kaiming_normal_(weight, nonlinearity="linear")


def initialise(model: nn.Module, init: Init | None) -> None:
    """Weights by ``init``, biases zero; None leaves PyTorch's defaults."""
    for module in model.modules() if init else ():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.Conv1d):
            init(module.weight)  # type: ignore[misc]
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class Layer(nn.Module):
    def __init__(self, inputs: int, outputs: int, act: Activation) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.act = act()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.linear(x))


class Stack(nn.Module):
    """stem, body, head: what most hosts are; the body is an ``nn.Sequential`` of blocks of equal width."""

    def __init__(self, stem: nn.Module, body: list[nn.Module], head: nn.Module) -> None:
        super().__init__()
        self.stem, self.body, self.head = stem, nn.Sequential(*body), head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.stem(x)))


def mlp(
    depth: int, act: Activation, init: Init | None, *, inputs: int = 4, width: int = 32, outputs: int = 3
) -> nn.Module:
    body: list[nn.Module] = [Layer(width, width, act) for _ in range(depth - 2)]
    model = Stack(Layer(inputs, width, act), body, nn.Linear(width, outputs))
    initialise(model, init)
    return model


class FunctionalLayer(nn.Module):
    """Its activation is a function called inside forward, named by a string."""

    def __init__(self, inputs: int, outputs: int, function: str = "relu") -> None:
        super().__init__()
        self.linear, self.function = nn.Linear(inputs, outputs), function

    def forward(self, x: Tensor) -> Tensor:
        return getattr(torch, self.function)(self.linear(x))


def functional_mlp(depth: int = 8, width: int = 32) -> nn.Module:
    body: list[nn.Module] = [FunctionalLayer(width, width) for _ in range(depth - 2)]
    model = Stack(FunctionalLayer(4, width), body, nn.Linear(width, 3))
    initialise(model, he)
    return model


class Residual(nn.Module):
    """Pre-norm residual perceptron block."""

    def __init__(self, width: int, act: Activation, hidden: int = 32) -> None:
        super().__init__()
        self.norm, self.fc1, self.act = nn.LayerNorm(width), nn.Linear(width, hidden), act()
        self.fc2 = nn.Linear(hidden, width)
        self.residual = True

    def branch(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(self.norm(x))))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x) if self.residual else self.branch(x)


def residual_mlp(depth: int = 12, width: int = 24) -> nn.Module:
    blocks: list[nn.Module] = [Residual(width, nn.GELU) for _ in range(depth)]
    return Stack(nn.Linear(4, width), blocks, nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 3)))


class HighwayLayer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear, self.gate, self.act = nn.Linear(width, width), nn.Linear(width, width), nn.ReLU()
        nn.init.constant_(self.gate.bias, -1.0)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.gate(x).sigmoid()
        return gate * self.act(self.linear(x)) + (1 - gate) * x


def highway(depth: int = 10, width: int = 24) -> nn.Module:
    return Stack(nn.Linear(4, width), [HighwayLayer(width) for _ in range(depth)], nn.Linear(width, 3))


def batchnorm_mlp(depth: int = 10, width: int = 32) -> nn.Module:
    body: list[nn.Module] = []
    for _ in range(depth):
        body.append(nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU()))
    return Stack(Layer(4, width, nn.ReLU), body, nn.Linear(width, 3))


def dropout_mlp(width: int = 48) -> nn.Module:
    body: list[nn.Module] = []
    for _ in range(3):
        body.append(nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Dropout(0.1)))
    model = Stack(Layer(4, width, nn.ReLU), body, nn.Linear(width, 3))
    initialise(model, he)
    return model


class Autoencoder(nn.Module):
    def __init__(self, inputs: int = 16, width: int = 48, latent: int = 4) -> None:
        super().__init__()
        self.encoder = nn.Sequential(Layer(inputs, width, nn.ReLU), Layer(width, width, nn.ReLU))
        self.bottleneck = nn.Linear(width, latent)
        self.decoder = nn.Sequential(Layer(latent, width, nn.ReLU), Layer(width, width, nn.ReLU))
        self.head = nn.Linear(width, inputs)
        initialise(self, he)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.decoder(self.bottleneck(self.encoder(x))))


class Variational(nn.Module):
    def __init__(self, inputs: int = 16, width: int = 48, latent: int = 4) -> None:
        super().__init__()
        self.encoder = nn.Sequential(Layer(inputs, width, nn.SiLU), Layer(width, width, nn.SiLU))
        self.mean, self.logvar = nn.Linear(width, latent), nn.Linear(width, latent)
        self.decoder = nn.Sequential(Layer(latent, width, nn.SiLU), Layer(width, width, nn.SiLU))
        self.head = nn.Linear(width, inputs)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden = self.encoder(x)
        mean, logvar = self.mean(hidden), self.logvar(hidden) - 3
        latent = mean + torch.randn_like(mean) * (0.5 * logvar).exp() if self.training else mean
        return self.head(self.decoder(latent)), mean, logvar


class MultiTask(nn.Module):
    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.trunk = nn.Sequential(Layer(4, width, nn.ReLU), Layer(width, width, nn.ReLU), Layer(width, width, nn.ReLU))
        self.tower = Layer(width, width, nn.ReLU)
        self.classes = nn.Linear(width, 3)
        self.head = nn.Linear(width, 1)
        initialise(self, he)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        shared = self.trunk(x)
        return self.classes(shared), self.head(self.tower(shared))


class Expert(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class Mixture(nn.Module):
    """Soft top-2 of four experts on a residual stream."""

    def __init__(self, width: int, experts: int = 4) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.router = nn.Linear(width, experts)
        self.experts = nn.ModuleList(Expert(width, width) for _ in range(experts))
        self.residual = True

    def forward(self, x: Tensor) -> Tensor:
        inner = self.norm(x)
        scores = self.router(inner)
        kept = scores.topk(2, -1).values[..., -1:]
        gates = scores.masked_fill(scores < kept, -math.inf).softmax(-1)
        mixed = sum(gates[..., i : i + 1] * expert(inner) for i, expert in enumerate(self.experts))
        return x + mixed if self.residual else mixed


def mixture(width: int = 24) -> nn.Module:
    return Stack(Layer(4, width, nn.ReLU), [Mixture(width) for _ in range(3)], nn.Linear(width, 3))


class Recommender(nn.Module):
    def __init__(self, users: int = 24, items: int = 24, width: int = 16) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(users, width), nn.Embedding(items, width)
        self.body = nn.Sequential(*[Layer(2 * width, 2 * width, nn.ReLU) for _ in range(3)])
        self.head = nn.Linear(2 * width, 1)
        initialise(self, he)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return self.head(self.body(torch.cat([self.user(user), self.item(item)], 1)))


class Points(nn.Module):
    """PointNet: a shared perceptron per point, a maximum over points, a perceptron on top."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.body = nn.Sequential(Layer(2, width, nn.ReLU), Layer(width, width, nn.ReLU), Layer(width, width, nn.ReLU))
        self.post = Layer(width, width, nn.ReLU)
        self.head = nn.Linear(width, 3)
        initialise(self, he)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.post(self.body(x).amax(1)))


class DeepSets(nn.Module):
    """The same with functional activations and a mean over points."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.body = nn.Sequential(FunctionalLayer(2, width), FunctionalLayer(width, width))
        self.post = FunctionalLayer(width, width)
        self.head = nn.Linear(width, 3)
        initialise(self, he)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.post(self.body(x).mean(1)))


class Convolve(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.own, self.near, self.act = nn.Linear(inputs, outputs), nn.Linear(inputs, outputs), nn.ReLU()

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        return self.act(self.own(x) + self.near(edges @ x))


class GraphNet(nn.Module):
    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Convolve(4, width), Convolve(width, width), Convolve(width, width)])
        self.head = nn.Linear(width, 2)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x, edges)
        return self.head(x).flatten(0, 1)


class LowRank(nn.Module):
    """A frozen linear layer with a trained low-rank correction: LoRA."""

    def __init__(self, base: nn.Linear, rank: int = 4) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.lora_a = nn.Parameter(torch.randn(rank, base.in_features) / base.in_features**0.5)
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + 2 * F.linear(F.linear(x, self.lora_a), self.lora_b)
