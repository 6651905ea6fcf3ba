"""Functions of a place: radiance fields, implicit surfaces, splats."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case, Maker
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import generator
from benchmarks.detection.vocabulary.blocks import mlp
from benchmarks.detection.vocabulary.losses import fit, own_loss


class Sine(nn.Module):
    """A SIREN layer with the initialisation of its paper."""

    def __init__(self, inside: int, outside: int, first: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(inside, outside)
        bound = 1 / inside if first else (6 / inside) ** 0.5 / 30
        nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(30 * self.linear(x))


def siren() -> nn.Module:
    """SIREN: sine layers and a linear output from the same distribution."""
    last = nn.Linear(32, 1)
    nn.init.uniform_(last.weight, -((6 / 32) ** 0.5) / 30, (6 / 32) ** 0.5 / 30)
    return nn.Sequential(Sine(2, 32, True), Sine(32, 32), Sine(32, 32), last)


def coordinates(points: int = 32) -> Maker:
    """Points of the plane and the brightness of a smooth picture there."""

    def make(seed: int, size: int) -> tuple[Tensor, Tensor]:
        x = 2 * torch.rand(size * points, 2, generator=generator(seed)) - 1
        return x, 0.5 + 0.4 * torch.sin(4 * x[:, :1]) * torch.cos(3 * x[:, 1:])

    return make


class NeRF(nn.Module):
    """NeRF's MLP over a positional encoding, which comes in again half way up: a density and a colour."""

    scales: Tensor

    def __init__(self, frequencies: int = 6) -> None:
        super().__init__()
        self.register_buffer("scales", 2.0 ** torch.arange(frequencies) * 3.14159)
        wide = 2 * 2 * frequencies + 2
        self.trunk = nn.Sequential(nn.Linear(wide, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.after = nn.Sequential(nn.Linear(64 + wide, 64), nn.ReLU())
        self.density, self.colour = nn.Linear(64, 1), nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x: Tensor) -> Tensor:
        waves = (x[..., None] * self.scales).flatten(-2)
        code = torch.cat([x, waves.sin(), waves.cos()], dim=-1)
        h = self.after(torch.cat([self.trunk(code), code], dim=-1))
        return torch.sigmoid(self.colour(h)) * (1 - torch.exp(-F.softplus(self.density(h))))


class HashGrid(nn.Module):
    """Instant neural graphics: grids of several sizes, U(-1e-4, 1e-4), interpolated, and a small net."""

    def __init__(self, sizes: tuple[int, ...] = (4, 8, 16), width: int = 2) -> None:
        super().__init__()
        self.grids = nn.ParameterList(torch.empty(1, width, n, n).uniform_(-1e-4, 1e-4) for n in sizes)
        self.net = mlp([width * len(sizes), 32, 32, 1])

    def forward(self, x: Tensor) -> Tensor:
        seen = [F.grid_sample(grid, x[None, None], align_corners=True)[0, :, 0] for grid in self.grids]
        return self.net(torch.cat(seen).T)


def places(seed: int, size: int) -> Batch:
    """Coordinates and a wavy surface over them."""
    x = 2 * torch.rand(size, 2, generator=generator(seed)) - 1
    return x, (6 * x[:, :1]).sin() * (5 * x[:, 1:]).cos()


class Fourier(nn.Module):
    """Random Fourier features in front of a perceptron."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("waves", 2 * torch.randn(2, 32))
        self.net = mlp([64, 64, 64, 1])

    def forward(self, x: Tensor) -> Tensor:
        angle = 6.283 * x @ self.waves  # type: ignore[operator]
        return self.net(torch.cat([angle.cos(), angle.sin()], 1))


class Distance(nn.Module):
    """DeepSDF: a code for every shape (N(0, 0.1)), weight normalisation, the input once more in the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.codes = nn.Embedding(4, 8)
        nn.init.normal_(self.codes.weight, std=0.1)
        norm = nn.utils.parametrizations.weight_norm
        self.layers = nn.ModuleList(norm(nn.Linear(*s)) for s in ((10, 32), (32, 22), (32, 32)))
        self.head = nn.Linear(32, 1)

    def forward(self, shape: Tensor, x: Tensor) -> Tensor:
        first = torch.cat([self.codes(shape), x], 1)
        h = F.relu(self.layers[1](F.relu(self.layers[0](first))))
        return self.head(F.relu(self.layers[2](torch.cat([h, first], 1)))).tanh()


def shapes(seed: int, size: int) -> Batch:
    """Places and their distance to a circle of the shape's radius."""
    g = generator(seed)
    shape, x = torch.randint(4, (size,), generator=g), 2 * torch.rand(size, 2, generator=g) - 1
    return shape, x, x.norm(dim=1, keepdim=True) - 0.2 * (shape[:, None] + 1)


def distance(model: nn.Module, batch: Batch) -> Tensor:
    """L1 of the clamped distance, and the size of the codes."""
    shape, x, truth = batch
    codes: Tensor = model.codes(shape)  # type: ignore[operator]
    return F.l1_loss(model(shape, x).clamp(-0.3, 0.3), truth.clamp(-0.3, 0.3)) + 1e-4 * codes.square().sum(1).mean()


class Wire(nn.Module):
    """WIRE: complex Gabor waves as activations of a picture in coordinates."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(2, width), nn.Linear(width, 1, dtype=torch.cfloat)
        self.deep = nn.ModuleList(nn.Linear(width, width, dtype=torch.cfloat) for _ in range(2))

    @staticmethod
    def gabor(x: Tensor) -> Tensor:
        """A wave in a Gaussian window."""
        return torch.exp(10j * x - (5 * x.abs()).square())

    def forward(self, x: Tensor) -> Tensor:
        h = self.gabor(self.first(x).to(torch.cfloat))
        for layer in self.deep:
            h = self.gabor(layer(h))
        return self.head(h).real


def surface(seed: int, size: int) -> Batch:
    """Places and a wavy surface over them."""
    x = 2 * torch.rand(8 * size, 2, generator=generator(seed)) - 1
    return x, (4 * x[:, :1]).sin() * (3 * x[:, 1:]).cos()


class MultiplicativeFilters(nn.Module):
    """A multiplicative filter network: sines of the place times linear layers."""

    def __init__(self, width: int = 32, layers: int = 3) -> None:
        super().__init__()
        self.filters = nn.ModuleList(nn.Linear(2, width) for _ in range(layers + 1))
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.head = nn.Linear(width, 1)
        for layer in self.filters:
            nn.init.normal_(layer.weight, std=8 / (layers + 1) ** 0.5)  # type: ignore[arg-type]
            nn.init.uniform_(layer.bias, -math.pi, math.pi)  # type: ignore[arg-type]
        for layer in self.layers:
            nn.init.uniform_(layer.weight, -(width**-0.5), width**-0.5)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        h = self.filters[0](x).sin()
        for layer, place in zip(self.layers, self.filters[1:], strict=True):
            h = place(x).sin() * layer(h)
        return self.head(h)


class Occupancy(nn.Module):
    """An occupancy network: points, through residual blocks with conditional batch normalisation, are in or out."""

    def __init__(self, width: int = 24, code: int = 16) -> None:
        super().__init__()
        self.encode, self.point = nn.Sequential(mlp([3, 32, code])), nn.Linear(3, width)
        self.norms = nn.ModuleList(nn.BatchNorm1d(width, affine=False) for _ in range(5))
        self.gammas = nn.ModuleList(nn.Linear(code, width) for _ in range(5))
        self.betas = nn.ModuleList(nn.Linear(code, width) for _ in range(5))
        self.layers, self.head = nn.ModuleList(nn.Linear(width, width) for _ in range(4)), nn.Linear(width, 1)
        for gamma, beta in zip(self.gammas, self.betas, strict=True):
            nn.init.zeros_(gamma.weight)  # type: ignore[arg-type]
            nn.init.ones_(gamma.bias)  # type: ignore[arg-type]
            nn.init.zeros_(beta.weight)  # type: ignore[arg-type]
            nn.init.zeros_(beta.bias)  # type: ignore[arg-type]
        for layer in self.layers[1::2]:
            nn.init.zeros_(layer.weight)  # type: ignore[arg-type]

    def normed(self, i: int, x: Tensor, code: Tensor) -> Tensor:
        """Normalised, then scaled and shifted by the shape."""
        x = self.norms[i](x.transpose(1, 2)).transpose(1, 2)
        return F.relu(self.gammas[i](code)[:, None] * x + self.betas[i](code)[:, None])

    def forward(self, cloud: Tensor, asked: Tensor) -> Tensor:
        code, x = self.encode(cloud).amax(1), self.point(asked)
        for i in range(2):
            h = self.layers[2 * i](self.normed(2 * i, x, code))
            x = x + self.layers[2 * i + 1](self.normed(2 * i + 1, h, code))
        return self.head(self.normed(4, x, code))[..., 0]


def ellipsoids(seed: int, size: int) -> Batch:
    """Points on ellipsoids, points around them, and which of those are inside."""
    g = generator(seed)
    axes = 0.4 + 0.6 * torch.rand(size, 1, 3, generator=g)
    cloud = axes * F.normalize(torch.randn(size, 24, 3, generator=g), dim=-1)
    asked = 2 * torch.rand(size, 24, 3, generator=g) - 1
    return cloud, asked, ((asked / axes).norm(dim=-1) < 1).float()


def occupied(model: nn.Module, batch: Batch) -> Tensor:
    """Binary cross entropy of in and out."""
    cloud, asked, inside = batch
    return F.binary_cross_entropy_with_logits(model(cloud, asked), inside)


class Splatting(nn.Module):
    """A picture as Gaussians: place, shape, colour and opacity of thirty-two of them, laid over one another."""

    grid: Tensor

    def __init__(self, count: int = 32) -> None:
        super().__init__()
        self.place, self.colour = nn.Parameter(2 * torch.rand(count, 2) - 1), nn.Parameter(torch.rand(count, 3))
        self.size, self.turn = nn.Parameter(torch.full((count, 2), -1.5)), nn.Parameter(6.283 * torch.rand(count))
        self.opacity = nn.Parameter(torch.full((count,), -2.2))
        line = torch.linspace(-1, 1, 16)
        self.register_buffer("grid", torch.cartesian_prod(line, line))

    def forward(self, truth: Tensor) -> Tensor:
        away = self.grid[:, None] - self.place
        cos, sin = self.turn.cos(), self.turn.sin()
        along = torch.stack([away[..., 0] * cos + away[..., 1] * sin, away[..., 1] * cos - away[..., 0] * sin], -1)
        alpha = self.opacity.sigmoid() * (-0.5 * (along / self.size.exp()).square().sum(-1)).exp()
        clear = F.pad((1 - alpha).cumprod(1), (1, 0), value=1.0)[:, :-1]
        image = (clear * alpha) @ self.colour
        return F.l1_loss(image.T.unflatten(1, (16, 16)).expand_as(truth), truth)  # type: ignore[no-untyped-call]


def photograph(seed: int, size: int) -> Tensor:
    """Noisy shots of one smooth picture."""
    smooth = torch.rand(1, 3, 4, 4, generator=generator(11))
    clean = F.interpolate(smooth, (16, 16), mode="bilinear")
    return clean + 0.05 * torch.randn(size, 3, 16, 16, generator=generator(seed))


class Folding(nn.Module):
    """FoldingNet: a code folds a grid into the cloud, twice; the Chamfer distance."""

    grid: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(mlp([3, 32, 48]), nn.ReLU())
        self.code, self.one, self.two = mlp([48, 48, 32]), mlp([34, 48, 48, 3]), mlp([35, 48, 48, 3])
        line = torch.linspace(-1, 1, 5)
        self.register_buffer("grid", torch.cartesian_prod(line, line))

    def forward(self, cloud: Tensor, _: Tensor, __: Tensor) -> Tensor:
        code = self.code(self.encode(cloud).amax(1))[:, None].expand(-1, len(self.grid), -1)
        once = self.one(torch.cat([code, self.grid.expand(len(cloud), -1, -1)], -1))
        made = self.two(torch.cat([code, once], -1))
        gap = torch.cdist(made, cloud)
        return torch.maximum(gap.amin(1).mean(1), gap.amin(2).mean(1)).mean()


class Eikonal(nn.Module):
    """IGR: a signed distance learnt from points alone; softplus of beta 100, geometric initialisation, a skip."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        sizes = ((2, width), (width, width - 2), (width, width), (width, 1))
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in sizes)
        for layer in list(self.layers)[:-1]:
            nn.init.normal_(layer.weight, 0.0, (2 / layer.out_features) ** 0.5)  # type: ignore[arg-type, operator]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        nn.init.normal_(self.layers[-1].weight, (math.pi / width) ** 0.5, 1e-5)  # type: ignore[arg-type]
        nn.init.constant_(self.layers[-1].bias, -1.0)  # type: ignore[arg-type]

    def distance(self, x: Tensor) -> Tensor:
        """The signed distance."""
        y = x
        for i, layer in enumerate(self.layers):
            y = torch.cat([y, x], 1) / 2**0.5 if i == 2 else y
            y = layer(y)
            y = F.softplus(y, 100) if i < 3 else y
        return y

    def slope(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The distance and its gradient."""
        x = x.detach().requires_grad_(True)
        value = self.distance(x)
        return value, torch.autograd.grad(value.sum(), x, create_graph=True)[0]

    def forward(self, x: Tensor, normal: Tensor) -> Tensor:
        far = torch.cat([x + 0.1 * torch.randn_like(x), 3 * torch.rand_like(x) - 1.5])
        (on, outward), (_, steep) = self.slope(x), self.slope(far)
        unit = (steep.norm(dim=1) - 1).square().mean()
        return on.abs().mean() + 0.1 * unit + (outward - normal).norm(dim=1).mean()


def outline(seed: int, size: int) -> Batch:
    """Points on an ellipse with their normals."""
    angle = 6.283 * torch.rand(8 * size, 1, generator=generator(seed))
    normal = torch.cat([angle.cos() / 1.0, angle.sin() / 0.5], 1)
    return torch.cat([angle.cos(), 0.5 * angle.sin()], 1), F.normalize(normal)


def cases() -> list[Case]:
    """The cases of this file."""
    return [
        case("vision_siren", "vision/siren", siren, coordinates(), fit),
        case("vision_nerf", "vision/nerf", NeRF, coordinates(), fit),
        case("second_tabular_hash_grid", "second/hash_grid", HashGrid, places, fit, size=16, round=2),
        case("second_tabular_fourier_features", "second/fourier_features", Fourier, places, fit, size=16, round=2),
        case("second_tabular_deep_sdf", "second/deep_sdf", Distance, shapes, distance, size=16, round=2),
        case("third_science_wire", "third/wire", Wire, surface, fit, round=3),
        case(
            "third_science_multiplicative_filters",
            "third/multiplicative_filters",
            MultiplicativeFilters,
            surface,
            fit,
            round=3,
        ),
        case("third_science_occupancy_network", "third/occupancy_network", Occupancy, ellipsoids, occupied, round=3),
        case("third_science_gaussian_splatting", "third/gaussian_splatting", Splatting, photograph, own_loss, round=3),
        case("third_science_foldingnet", "third/foldingnet", Folding, ellipsoids, own_loss, round=3),
        case("fourth_science_implicit_geometry", "fourth/implicit_geometry", Eikonal, outline, own_loss, round=4),
    ]
