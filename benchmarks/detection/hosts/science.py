"""Hosts that are functions of a place: waves, fields, equations."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from benchmarks.detection.hosts.host import Host
from benchmarks.detection.vocabulary.stacks import Layer, Stack, he, initialise
from benchmarks.detection.vocabulary.tasks import Task, TaskBatch, angles, classify, explained, randint, regress


class Sine(nn.Module):
    """SIREN's layer with its own initialisation."""

    def __init__(self, inputs: int, outputs: int, speed: float, first: bool = False) -> None:
        super().__init__()
        self.linear, self.speed = nn.Linear(inputs, outputs), speed
        bound = 1 / inputs if first else math.sqrt(6 / inputs) / speed
        nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return (self.speed * self.linear(x)).sin()


def siren(depth: int = 3, width: int = 32, speed: float = 6.0) -> nn.Module:
    head = nn.Linear(width, 1)
    nn.init.uniform_(head.weight, -math.sqrt(6 / width) / speed, math.sqrt(6 / width) / speed)
    return Stack(Sine(2, width, speed, first=True), [Sine(width, width, speed) for _ in range(depth)], head)


def surface() -> Task:
    """A wavy function of two coordinates."""

    def draw(g: Generator, size: int) -> TaskBatch:
        place = 2 * torch.rand(size, 2, generator=g) - 1
        x, y = place[:, :1], place[:, 1:]
        return (place,), (5 * x).sin() * (4 * y).cos() + 0.5 * (6 * x * y).sin()

    return regress(draw)


class Field(nn.Module):
    """The right-hand side of a differential equation that depends on time."""

    def __init__(self, width: int, hidden: int = 32) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(width + 1, hidden), nn.Softplus(), nn.Linear(hidden, width)

    def forward(self, time: float, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(torch.cat([x, torch.full_like(x[:, :1], time)], 1))))


class Ode(nn.Module):
    """An augmented neural ODE, solved by the midpoint rule."""

    def __init__(self, inputs: int = 2, width: int = 6, classes: int = 2, steps: int = 6) -> None:
        super().__init__()
        self.stem, self.body, self.steps = nn.Linear(inputs, width), Field(width), steps
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        state, size = self.stem(x), 1 / self.steps
        for i in range(self.steps):
            half = state + size / 2 * self.body(i * size, state)
            state = state + size * self.body((i + 0.5) * size, half)
        return self.head(state)


def rings() -> Task:
    """Points near the origin against points of a ring around them."""

    def draw(g: Generator, size: int) -> TaskBatch:
        points, _ = angles(g, size, 2)
        kind = randint(g, 2, size)
        circle = F.normalize(points, dim=1) * (0.5 + kind[:, None])
        return (circle + 0.15 * torch.randn(size, 2, generator=g),), kind

    return classify(draw, 2)


class Waves(nn.Module):
    """Random Fourier features: fixed frequencies, no parameters."""

    def __init__(self, inputs: int, count: int, scale: float) -> None:
        super().__init__()
        self.register_buffer("frequencies", scale * torch.randn(inputs, count))
        self.gain = 1.0

    def forward(self, x: Tensor) -> Tensor:
        angle = self.gain * (x @ self.frequencies)  # type: ignore[operator]
        return torch.cat([angle.sin(), angle.cos()], -1)


def fourier(depth: int = 3, width: int = 32, count: int = 16, outputs: int = 3) -> nn.Module:
    """Coordinates to colours: a ReLU perceptron behind Fourier features."""
    body: list[nn.Module] = [Layer(2 * count if i == 0 else width, width, nn.ReLU) for i in range(depth)]
    model = Stack(Waves(2, count, 2.5), body, nn.Linear(width, outputs))
    initialise(model, he)
    return model


def colours() -> Task:
    """Three colours at every place of a plane, one of them with sharp edges."""

    def draw(g: Generator, size: int) -> TaskBatch:
        place = 2 * torch.rand(size, 2, generator=g) - 1
        x, y = place[:, :1], place[:, 1:]
        parts = [(6 * x + 2 * y).sin(), (5 * (x * x + y * y)).cos(), (4 * (4 * x).sin() * (3 * y).cos()).tanh()]
        return (place,), torch.cat(parts, 1)

    return regress(draw)


class PINN(nn.Module):
    """A net that gives back its values, those at the walls and its second derivative."""

    def __init__(self, width: int = 24, depth: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(depth):
            layers += [nn.Linear(width if i else 1, width), nn.Tanh()]
        self.net = nn.Sequential(*layers, nn.Linear(width, 1))
        for module in self.net:
            if isinstance(module, nn.Linear):
                nn.init.xavier_normal_(module.weight, gain=5 / 3)

    def slope(self, u: Tensor, x: Tensor) -> Tensor:
        (found,) = torch.autograd.grad(u, x, torch.ones_like(u), create_graph=True)
        return found

    def forward(self, place: Tensor, walls: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor, Tensor]:
        with torch.enable_grad():
            x = place.detach().clone().requires_grad_()
            u = self.net(x)
            bend = self.slope(self.slope(u, x), x)
        return (u, place), self.net(walls), bend


def poisson() -> Task:
    """u'' = f between two walls, where u is known; the network's own derivatives enter the loss."""

    def draw(g: Generator, size: int) -> TaskBatch:
        place = 2 * torch.rand(size, 1, generator=g) - 1
        walls = torch.tensor([[-1.0], [1.0]])
        return (place, walls), (math.pi * place).sin() + 0.5 * place

    def loss(out: Any, target: Tensor) -> Tensor:
        inside, walls, bend = out
        force = -(math.pi**2) * (target - 0.5 * inside[1])
        known = torch.tensor([[-0.5], [0.5]])
        return 0.02 * F.mse_loss(bend, force) + F.mse_loss(walls, known)

    return Task(draw, loss, lambda out, target: explained(out[0][0], target))


def hosts() -> list[Host]:
    """The hosts of this file."""
    return [
        Host(name="siren", build=siren, task=surface(), round=2),
        Host(name="ode", build=Ode, task=rings(), chain="", sites=("stem", "body", "body.fc2"), steps=320, round=2),
        Host(name="fourier", build=fourier, task=colours(), steps=120, train_batch=64, round=3),
        Host(
            name="pinn",
            build=PINN,
            task=poisson(),
            chain="",
            sites=("net.0", "net.2", "net.4"),
            trunk=("net.[0-5]",),
            steps=120,
            train_batch=64,
            round=4,
        ),
    ]
