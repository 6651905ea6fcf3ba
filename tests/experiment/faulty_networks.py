"""Networks with one fault each, and the batches that show it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

WIDTH, CLASSES = 32, 10


def batches(scale: float = 1.0, shift: float = 0.0) -> list[tuple[Tensor, Tensor]]:
    random = torch.Generator().manual_seed(0)
    return [
        (
            torch.randn(16, WIDTH, generator=random) * scale + shift,
            torch.randint(0, CLASSES, (16,), generator=random),
        )
        for _ in range(2)
    ]


def deep(activation: type[nn.Module], depth: int, scale: float | None = None) -> nn.Sequential:
    """Linear layers with an activation behind each but the last; Xavier's weights times ``scale``, or the default's."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(depth):
        linear = nn.Linear(WIDTH, WIDTH)
        if scale is not None:
            nn.init.xavier_normal_(linear.weight, gain=scale)
        layers += [linear, activation()]
    return nn.Sequential(*layers, nn.Linear(WIDTH, CLASSES))


class Cut(nn.Module):
    """Two layers, and something between them that stops the gradient of the first."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.between(self.first(x)))

    def between(self, x: Tensor) -> Tensor:
        return x.detach()


class Data(Cut):
    def between(self, x: Tensor) -> Tensor:
        return x.data


class NoGrad(Cut):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x = self.first(x)
        return self.last(x)


class Rounded(Cut):
    def between(self, x: Tensor) -> Tensor:
        return torch.round(x * 2)


class Root(Cut):
    def between(self, x: Tensor) -> Tensor:
        return x + (x - x).square().sum(-1, keepdim=True).sqrt()


class Erased(Cut):
    def between(self, x: Tensor) -> Tensor:
        return x * 0.0


class Checkpointed(Cut):
    def forward(self, x: Tensor) -> Tensor:
        return self.last(checkpoint(self.first, x, use_reentrant=True))


class Unregistered(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = [nn.Linear(WIDTH, WIDTH)]
        self.last = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.layers[0](x).relu())


class Regressor(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def mismatched(output: Tensor, target: Tensor) -> Tensor:
    return F.mse_loss(output, target.float())
