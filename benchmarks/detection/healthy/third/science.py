"""Graphs, molecules, physics, geometry and biology."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case
from benchmarks.detection.healthy.common import (
    Build,
    Maker,
    Step,
    classify,
    fit,
    generator,
    later_cases,
    mlp,
    own_loss,
    prototypes,
    supervised,
)

NODES = 12


def graphs(seed: int, size: int) -> Batch:
    """Features, adjacency with loops and classes of the nodes; neighbours are mostly of one class."""
    g = generator(seed)
    label = torch.randint(4, (size, NODES), generator=g)
    chance = torch.where(label[:, :, None] == label[:, None], 0.7, 0.08)
    upper = (torch.rand(size, NODES, NODES, generator=g) < chance).float().triu(1)
    x = 0.6 * prototypes(4, 8)[label] + torch.randn(size, NODES, 8, generator=g)
    return x, upper + upper.transpose(1, 2) + torch.eye(NODES), label


def cliques(seed: int, size: int) -> Batch:
    """Features, adjacency with loops and whether the graph falls into two groups or is random."""
    g = generator(seed)
    label = torch.randint(2, (size,), generator=g)
    group = torch.arange(NODES) % 2
    apart = torch.where(group[:, None] == group, 0.8, 0.02).expand(size, -1, -1)
    upper = (torch.rand(size, NODES, NODES, generator=g) < torch.where(label[:, None, None] == 1, apart, 0.4)).float()
    adjacency = upper.triu(1) + upper.triu(1).transpose(1, 2) + torch.eye(NODES)
    x = torch.cat([adjacency.sum(2, keepdim=True) / 4, torch.randn(size, NODES, 7, generator=g)], 2)
    return x, adjacency, label


def nodewise(model: nn.Module, batch: Batch) -> Tensor:
    """Cross entropy of every node."""
    x, adjacency, label = batch
    return F.cross_entropy(model(x, adjacency).flatten(0, 1), label.flatten())


def graphwise(model: nn.Module, batch: Batch) -> Tensor:
    """Cross entropy of every graph."""
    x, adjacency, label = batch
    return F.cross_entropy(model(x, adjacency), label)


def symmetric(adjacency: Tensor) -> Tensor:
    """The adjacency over the root of both degrees."""
    root = adjacency.sum(-1).clamp(min=1).rsqrt()
    return root[:, :, None] * adjacency * root[:, None]


class Chebyshev(nn.Module):
    """ChebNet: polynomials of the graph Laplacian up to the third order, two layers, Glorot weights."""

    def __init__(self, order: int = 3) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(order * a, b) for a, b in ((8, 32), (32, 4)))
        for layer in self.layers:
            nn.init.xavier_uniform_(layer.weight)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        bare = adjacency - torch.eye(NODES)
        scaled = -symmetric(bare)
        for i, layer in enumerate(self.layers):
            first = scaled @ x
            x = layer(torch.cat([x, first, 2 * scaled @ first - x], -1))
            x = F.dropout(F.relu(x), 0.5, self.training) if i == 0 else x
        return x


class Simplified(nn.Module):
    """SGC: features smoothed twice, and logistic regression."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        smooth = symmetric(adjacency)
        return self.head(smooth @ (smooth @ x))


class Principal(nn.Module):
    """PNA: mean, maximum, minimum and spread of the neighbours, each scaled by the degree in three ways."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(8, width), mlp([width, width, 4])
        self.pre = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(2))
        self.post = nn.ModuleList(nn.Linear(13 * width, width) for _ in range(2))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(2))

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        x, present, degree = self.stem(x), adjacency[..., None], adjacency.sum(-1)[..., None]
        for pre, post, norm in zip(self.pre, self.post, self.norms, strict=True):
            pair = torch.cat(torch.broadcast_tensors(x[:, :, None], x[:, None]), -1)  # type: ignore[no-untyped-call]
            message = pre(pair)
            mean = (message * present).sum(2) / degree
            square = (message.square() * present).sum(2) / degree
            low, high = message.masked_fill(present == 0, 1e4), message.masked_fill(present == 0, -1e4)
            seen = torch.cat([mean, high.amax(2), low.amin(2), (F.relu(square - mean.square()) + 1e-5).sqrt()], -1)
            grow = (degree + 1).log() / math.log(5)
            out = post(torch.cat([x, seen, seen * grow, seen / grow], -1))
            x = x + F.relu(norm(out.flatten(0, 1))).view_as(out)
        return self.head(x)


class GatedGraph(nn.Module):
    """A gated graph network: four rounds of messages into a GRU, a gated sum at the end."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.width, self.message, self.cell = width, nn.Linear(width, width), nn.GRUCell(width, width)
        self.gate, self.value, self.head = nn.Linear(width + 8, width), nn.Linear(width, width), nn.Linear(width, 2)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        state = F.pad(x, (0, self.width - 8))
        for _ in range(4):
            seen = adjacency @ self.message(state)
            state = self.cell(seen.flatten(0, 1), state.flatten(0, 1)).view_as(state)
        gate = self.gate(torch.cat([state, x], -1)).sigmoid()
        return self.head((gate * self.value(state).tanh()).sum(1).tanh())


class DiffPool(nn.Module):
    """DiffPool: nodes are assigned softly to clusters; link and entropy losses on the way."""

    def __init__(self, width: int = 16, clusters: int = 4) -> None:
        super().__init__()
        self.embed1, self.embed2 = nn.Linear(8, width), nn.Linear(width, width)
        self.assign, self.after, self.head = nn.Linear(8, clusters), nn.Linear(width, width), nn.Linear(2 * width, 2)

    def forward(self, x: Tensor, adjacency: Tensor, label: Tensor) -> Tensor:
        smooth = adjacency / adjacency.sum(-1, keepdim=True)
        share = self.assign(smooth @ x).softmax(-1)
        h = F.normalize(F.relu(self.embed1(smooth @ x)), dim=-1)
        h = F.relu(self.embed2(smooth @ h))
        link = (adjacency - share @ share.transpose(1, 2)).square().mean()
        entropy = -(share * (share + 1e-12).log()).sum(-1).mean()
        pooled, coarse = share.transpose(1, 2) @ h, share.transpose(1, 2) @ adjacency @ share
        deep = F.relu(self.after(coarse / coarse.sum(-1, keepdim=True) @ pooled))
        return F.cross_entropy(self.head(torch.cat([h.amax(1), deep.amax(1)], 1)), label) + link + entropy


class Infomax(nn.Module):
    """Deep graph infomax: a PReLU convolution, whose nodes shall know the summary of their own graph."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.conv, self.act = nn.Linear(8, width, bias=False), nn.PReLU()
        self.bias, self.judge = nn.Parameter(torch.zeros(width)), nn.Bilinear(width, width, 1)
        nn.init.xavier_uniform_(self.conv.weight)
        nn.init.xavier_uniform_(self.judge.weight)
        nn.init.zeros_(self.judge.bias)

    def forward(self, x: Tensor, adjacency: Tensor, _: Tensor) -> Tensor:
        smooth = symmetric(adjacency)
        true, false = (self.act(smooth @ self.conv(v) + self.bias) for v in (x, x[:, torch.randperm(NODES)]))
        summary = true.mean(1, keepdim=True).sigmoid().expand_as(true)
        scores = self.judge(torch.cat([true, false]), torch.cat([summary, summary]).contiguous())[..., 0]
        truth = torch.cat([torch.ones(x.shape[:2]), torch.zeros(x.shape[:2])])
        return F.binary_cross_entropy_with_logits(scores, truth)


class Relational(nn.Module):
    """R-GCN over four relations with two bases, and DistMult on top to find the missing links."""

    def __init__(self, width: int = 16, entities: int = 24, relations: int = 4, bases: int = 2) -> None:
        super().__init__()
        self.entities = nn.Parameter(torch.empty(entities, width))
        self.bases, self.shares = (
            nn.Parameter(torch.empty(bases, width, width)),
            nn.Parameter(torch.empty(relations, bases)),
        )
        self.own, self.links = nn.Parameter(torch.empty(width, width)), nn.Parameter(torch.empty(relations, width))
        for weight in self.parameters():
            nn.init.xavier_uniform_(weight, nn.init.calculate_gain("relu"))

    def forward(self, head: Tensor, relation: Tensor, tail: Tensor) -> Tensor:
        weights = torch.einsum("rb,bio->rio", self.shares, self.bases)
        message = torch.einsum("ni,nio->no", self.entities[head], weights[relation])
        count = torch.zeros(len(self.entities)).index_add(0, tail, torch.ones(len(tail))).clamp(min=1)
        seen = torch.zeros_like(self.entities).index_add(0, tail, message) / count[:, None]
        x = F.relu(seen + self.entities @ self.own)
        wrong = (tail + torch.randint(1, len(x), tail.shape)) % len(x)
        scores = [(x[head] * self.links[relation] * x[end]).sum(1) for end in (tail, wrong)]
        truth = torch.cat([torch.ones(len(head)), torch.zeros(len(head))])
        return F.binary_cross_entropy_with_logits(torch.cat(scores), truth)


def facts(seed: int, size: int) -> Batch:
    """Triples of a small world in which relation r leads r + 1 steps on."""
    g = generator(seed)
    head, relation = torch.randint(24, (4 * size,), generator=g), torch.randint(4, (4 * size,), generator=g)
    return head, relation, (head + relation + 1) % 24


class DiffusionCell(nn.Module):
    """DCRNN: a GRU whose gates are diffusion convolutions both ways along the roads; one step back as the loss."""

    road: Tensor

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.gates, self.new = nn.Linear(5 * (1 + width), 2 * width), nn.Linear(5 * (1 + width), width)
        self.head, self.width = nn.Linear(width, 1), width
        nn.init.xavier_normal_(self.gates.weight)
        nn.init.xavier_normal_(self.new.weight)
        nn.init.ones_(self.gates.bias)
        nn.init.zeros_(self.new.bias)
        self.register_buffer("road", roads())

    def diffuse(self, x: Tensor) -> Tensor:
        """Steps along the roads and against them."""
        out, back = self.road / self.road.sum(1, keepdim=True), self.road.T / self.road.sum(0)[:, None]
        return torch.cat([x, out @ x, out @ (out @ x), back @ x, back @ (back @ x)], -1)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), NODES, self.width)
        for now in x.unbind(1):
            reset, keep = self.gates(self.diffuse(torch.cat([now, state], -1))).sigmoid().chunk(2, -1)
            new = self.new(self.diffuse(torch.cat([now, reset * state], -1))).tanh()
            state = keep * state + (1 - keep) * new
        return self.head(state)


def roads() -> Tensor:
    """A ring with a few shortcuts, and loops."""
    ring = torch.eye(NODES) + torch.eye(NODES).roll(1, 1)
    return ring + (torch.rand(NODES, NODES, generator=generator(3)) < 0.1).float()


def traffic(seed: int, size: int) -> Batch:
    """Waves that travel along the roads: ten steps of every sensor, and the next one."""
    g = generator(seed)
    flow = roads().T / roads().sum(0)[:, None]
    state, seen = torch.randn(size, NODES, 1, generator=g), []
    for _ in range(11):
        state = flow @ state + 0.2 * torch.randn(size, NODES, 1, generator=g)
        seen.append(state)
    return torch.stack(seen[:-1], 1), seen[-1]


class SpaceTime(nn.Module):
    """STGCN: gated convolutions over time around one over the graph, twice, layer norm."""

    smooth: Tensor

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        sizes = ((1, width), (width, width), (width, width), (width, width))
        self.times = nn.ModuleList(nn.Conv2d(a, 2 * b, (3, 1)) for a, b in sizes)
        self.spaces = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm([NODES, width]) for _ in range(2))
        self.head = nn.Linear(2 * width, 1)
        both = ((roads() + roads().T) > 0).float()
        self.register_buffer("smooth", symmetric(both[None])[0])

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 3, 1, 2)
        for i, (space, norm) in enumerate(zip(self.spaces, self.norms, strict=True)):
            x = F.glu(self.times[2 * i](x), 1).permute(0, 2, 3, 1)
            x = F.relu(space(self.smooth @ x)).permute(0, 3, 1, 2)
            x = F.glu(self.times[2 * i + 1](x), 1).permute(0, 2, 3, 1)
            x = norm(x).permute(0, 3, 1, 2)
        return self.head(x.permute(0, 3, 2, 1).flatten(2))


class ForceField(nn.Module):
    """Behler and Parrinello: symmetry functions, one tanh net per atom; energy and forces by its slope."""

    centres: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp([12, 24, 24, 1], nn.Tanh)
        self.register_buffer("centres", torch.linspace(0.5, 3, 12))

    def energy(self, place: Tensor) -> Tensor:
        """The sum over atoms."""
        away = place[:, :, None] - place[:, None]
        gap = (away.square().sum(-1) + 10 * torch.eye(place.shape[1])).sqrt()
        cut = 0.5 * ((math.pi * gap / 3.5).cos() + 1) * (gap < 3.5)
        radial = ((-4 * (gap[..., None] - self.centres).square()).exp() * cut[..., None]).sum(2)
        return self.net(radial)[..., 0].sum(1)

    def forward(self, place: Tensor, energy: Tensor, force: Tensor) -> Tensor:
        place = place.detach().requires_grad_(True)
        guess = self.energy(place)
        (slope,) = torch.autograd.grad(guess.sum(), place, create_graph=True)
        return 0.1 * F.mse_loss(guess, energy) + F.mse_loss(-slope, force)


def molecules(seed: int, size: int) -> Batch:
    """Five atoms, and energy and forces of Morse bonds between all of them."""
    g = generator(seed)
    corner = torch.tensor([[0.0, 0, 0], [1.4, 0, 0], [0, 1.4, 0], [0, 0, 1.4], [1.2, 1.2, 1.2]])
    place = (corner + 0.15 * torch.randn(size, 5, 3, generator=g)).requires_grad_(True)
    with torch.enable_grad():
        gap = (place[:, :, None] - place[:, None])[:, *torch.triu_indices(5, 5, 1)].norm(dim=-1)
        energy = (1 - (-1.5 * (gap - 1.4)).exp()).square().sum(1)
        (slope,) = torch.autograd.grad(energy.sum(), place)
    return place.detach(), energy.detach(), -slope


class Painn(nn.Module):
    """PaiNN: scalars and vectors exchange messages, and update one another without breaking symmetry."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.embed, self.width = nn.Parameter(torch.randn(1, 1, width)), width
        self.filters = nn.ModuleList(nn.Linear(10, 3 * width) for _ in range(2))
        self.phi = nn.ModuleList(mlp([width, width, 3 * width], nn.SiLU) for _ in range(2))
        self.mix = nn.ModuleList(nn.Linear(width, 2 * width, bias=False) for _ in range(2))
        self.update = nn.ModuleList(mlp([2 * width, width, 3 * width], nn.SiLU) for _ in range(2))
        self.head = mlp([width, width // 2, 1], nn.SiLU)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, place: Tensor) -> Tensor:
        away = place[:, :, None] - place[:, None]
        gap = (away.square().sum(-1, keepdim=True) + 1e-6 + 100 * torch.eye(place.shape[1])[..., None]).sqrt()
        cut = 0.5 * ((math.pi * gap / 4).cos() + 1) * (gap < 4)
        waves = (torch.arange(1, 11) * math.pi * gap / 4).sin() / gap
        s, v = self.embed.expand(*place.shape[:2], -1), place.new_zeros(*place.shape[:2], 3, self.width)
        for filters, phi, mix, update in zip(self.filters, self.phi, self.mix, self.update, strict=True):
            parts = (filters(waves) * cut * phi(s)[:, None]).chunk(3, -1)
            s = s + parts[0].sum(2)
            v = v + (parts[1][..., None, :] * v[:, None] + parts[2][..., None, :] * (away / gap)[..., None]).sum(2)
            left, right = mix(v).chunk(2, -1)
            length = (right.square().sum(2) + 1e-8).sqrt()
            from_s, between, scale = update(torch.cat([s, length], -1)).chunk(3, -1)
            s = s + from_s + between * (left * right).sum(2)
            v = v + scale[:, :, None] * left
        return self.head(s)[..., 0].sum(1)


def energies(model: nn.Module, batch: Batch) -> Tensor:
    """Mean absolute error of the energy."""
    place, energy, _ = batch
    return F.l1_loss(model(place), energy)


class Interactions(nn.Module):
    """An interaction network: effects of every pair of bodies, summed, give the acceleration."""

    def __init__(self) -> None:
        super().__init__()
        self.pair, self.body = mlp([9, 48, 48, 16]), mlp([21, 48, 2])

    def forward(self, x: Tensor) -> Tensor:
        pair = torch.cat(torch.broadcast_tensors(x[:, :, None], x[:, None]), -1)  # type: ignore[no-untyped-call]
        distance = (pair[..., :2] - pair[..., 5:7]).norm(dim=-1, keepdim=True)
        effect = self.pair(torch.cat([pair[..., :4], pair[..., 5:9] - pair[..., :4], distance], -1))
        others = (1 - torch.eye(x.shape[1]))[..., None]
        return self.body(torch.cat([x, (effect * others).sum(2)], -1))


def bodies(seed: int, size: int) -> Batch:
    """Place, speed and mass of four bodies, and their softened gravity."""
    g = generator(seed)
    place, speed = torch.randn(2, size, 4, 2, generator=g)
    mass = 0.5 + torch.rand(size, 4, 1, generator=g)
    away = place[:, None] - place[:, :, None]
    pull = (mass[:, None] * away / (away.square().sum(-1, keepdim=True) + 0.3) ** 1.5).sum(2)
    return torch.cat([place, speed, mass], -1), pull


class Lagrangian(nn.Module):
    """A Lagrangian network: softplus layers give the Lagrangian, Euler and Lagrange the acceleration."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.net = mlp([2, width, width, 1], nn.Softplus)
        for layer, gain in zip((self.net[0], self.net[2], self.net[4]), (2.2, 0.58, width), strict=True):
            nn.init.normal_(layer.weight, std=gain / width**0.5)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, state: Tensor) -> Tensor:
        state = state.detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(self.net(state).sum(), state, create_graph=True)
        (second,) = torch.autograd.grad(slope[:, 1].sum(), state, create_graph=True)
        mass = second[:, 1]
        safe = torch.where(mass.abs() < 0.1, 0.1 * torch.where(mass < 0, -1.0, 1.0), mass)
        return ((slope[:, 0] - second[:, 0] * state[:, 1]) / safe)[:, None]


def swings(seed: int, size: int) -> Batch:
    """Angle and speed of a pendulum, and its acceleration."""
    state = 2 * torch.randn(4 * size, 2, generator=generator(seed))
    return state, -state[:, :1].sin()


class DeepRitz(nn.Module):
    """The deep Ritz method: residual blocks with a cubed ReLU minimise the energy of a Poisson problem."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(2, width), nn.Linear(width, 1)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(4))

    def value(self, x: Tensor) -> Tensor:
        """The solution at these places."""
        x = self.stem(x)
        for first, second in zip(self.layers[::2], self.layers[1::2], strict=True):
            x = x + F.relu(second(F.relu(first(x)) ** 3)) ** 3
        return self.head(x)

    def forward(self, inside: Tensor, border: Tensor) -> Tensor:
        inside = inside.detach().requires_grad_(True)
        value = self.value(inside)
        (slope,) = torch.autograd.grad(value.sum(), inside, create_graph=True)
        energy = (0.5 * slope.square().sum(1) - value[:, 0]).mean()
        return 4 * energy + 500 * self.value(border).square().mean()


def square(seed: int, size: int) -> Batch:
    """Places in a square and on its border."""
    g = generator(seed)
    inside = 2 * torch.rand(8 * size, 2, generator=g) - 1
    border = 2 * torch.rand(4 * size, 2, generator=g) - 1
    side = torch.randint(2, (len(border),), generator=g)
    border[torch.arange(len(border)), side] = torch.randint(2, (len(border),), generator=g) * 2.0 - 1
    return inside, border


class Koopman(nn.Module):
    """A Koopman autoencoder: the code moves linearly; it rebuilds, predicts, and is linear several steps ahead."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = mlp([2, 32, 32, 4]), mlp([4, 32, 32, 2])
        self.move = nn.Linear(4, 4, bias=False)
        nn.init.eye_(self.move.weight)

    def forward(self, x: Tensor) -> Tensor:
        codes = self.encode(x)
        code, cost = codes[:, 0], F.mse_loss(self.decode(codes), x)
        for t in range(1, x.shape[1]):
            code = self.move(code)
            cost = cost + (F.mse_loss(self.decode(code), x[:, t]) + F.mse_loss(code, codes[:, t])) / x.shape[1]
        return cost


def swinging(seed: int, size: int) -> Tensor:
    """Eight steps of pendulums."""
    state, seen = torch.randn(size, 2, generator=generator(seed)), []
    for _ in range(8):
        speed = state[:, 1] - 0.3 * state[:, 0].sin()
        state = torch.stack([state[:, 0] + 0.3 * speed, speed], 1)
        seen.append(state)
    return torch.stack(seen, 1)


class LatentSde(nn.Module):
    """A neural stochastic differential equation, taught by the likelihood of its own small steps."""

    def __init__(self) -> None:
        super().__init__()
        self.drift, self.spread = mlp([2, 32, 2], nn.Tanh), nn.Sequential(mlp([2, 32, 2], nn.Tanh), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        now, after = x[:, :-1], x[:, 1:]
        mean, variance = now + 0.3 * self.drift(now), 0.3 * self.spread(now).square() + 1e-4
        return (0.5 * (after - mean).square() / variance + 0.5 * variance.log()).mean()


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


def surface(seed: int, size: int) -> Batch:
    """Places and a wavy surface over them."""
    x = 2 * torch.rand(8 * size, 2, generator=generator(seed)) - 1
    return x, (4 * x[:, :1]).sin() * (3 * x[:, 1:]).cos()


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


class DeepSea(nn.Module):
    """DeepSEA: convolutions over DNA, many yes-or-no labels at once, dropout."""

    def __init__(self) -> None:
        super().__init__()
        convs = [nn.Conv1d(4, 24, 8), nn.ReLU(), nn.MaxPool1d(4), nn.Dropout(0.2), nn.Conv1d(24, 32, 4), nn.ReLU()]
        dense = [nn.Dropout(0.5), nn.Flatten(), nn.Linear(32 * 11, 32), nn.ReLU(), nn.Linear(32, 6)]
        self.net = nn.Sequential(*convs, *dense)

    def forward(self, dna: Tensor) -> Tensor:
        return self.net(F.one_hot(dna, 4).float().transpose(1, 2))


def genome(seed: int, size: int) -> Batch:
    """DNA in which some of six motifs stand somewhere."""
    g = generator(seed)
    dna, label = torch.randint(4, (size, 64), generator=g), (torch.rand(size, 6, generator=g) < 0.4).float()
    motifs = torch.randint(4, (6, 8), generator=generator(17))
    for row, present in enumerate(label):
        for kind in present.nonzero()[:, 0].tolist():
            at = 10 * kind + int(torch.randint(3, (), generator=g))
            dna[row, at : at + 8] = motifs[kind]
    return dna, label


class CountVae(nn.Module):
    """scVI: gene counts, a log-normal size, a negative binomial with zero inflation, one dispersion per gene."""

    def __init__(self, genes: int = 30, width: int = 32) -> None:
        super().__init__()
        block = [nn.Linear(genes, width), nn.BatchNorm1d(width, 1e-3, 0.01), nn.ReLU(), nn.Dropout(0.1)]
        self.encode, self.code = nn.Sequential(*block), nn.Linear(width, 8)
        up = [nn.Linear(4, width), nn.BatchNorm1d(width, 1e-3, 0.01), nn.ReLU()]
        self.decode, self.share, self.missing = nn.Sequential(*up), nn.Linear(width, genes), nn.Linear(width, genes)
        self.dispersion = nn.Parameter(torch.randn(genes))

    def forward(self, x: Tensor) -> Tensor:
        mean, logvar = self.code(self.encode(x.log1p())).chunk(2, 1)
        h = self.decode(mean + (0.5 * logvar).exp() * torch.randn_like(mean))
        rate, r, absent = self.share(h).softmax(1) * x.sum(1, keepdim=True), self.dispersion.exp(), self.missing(h)
        total = (r + rate + 1e-8).log()
        none = F.softplus(r * ((r + 1e-8).log() - total) - absent) - F.softplus(-absent)
        some = -absent - F.softplus(-absent) + r * ((r + 1e-8).log() - total) + x * ((rate + 1e-8).log() - total)
        some = some + (x + r).lgamma() - r.lgamma() - (x + 1).lgamma()
        likelihood = torch.where(x < 1e-8, none, some).sum(1)
        away = -0.5 * (1 + logvar - mean.square() - logvar.exp()).sum(1)
        return (away - likelihood).mean()


def cells(seed: int, size: int) -> Tensor:
    """Counts of thirty genes in cells of four kinds."""
    g = generator(seed)
    kind = torch.randint(4, (size,), generator=g)
    rate = (prototypes(4, 30)[kind] + 0.5).exp() * (0.5 + torch.rand(size, 1, generator=g))
    return torch.poisson(rate, generator=g)


class Evoformer(nn.Module):
    """A block on pairs as in AlphaFold: triangles multiply and attend; gates open, last layers start at zero."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.embed, self.norm = nn.Embedding(20, width), nn.LayerNorm(width)
        self.project, self.gates = nn.Linear(width, 2 * width), nn.Linear(width, 2 * width)
        self.middle, self.out, self.gate = nn.LayerNorm(width), nn.Linear(width, width), nn.Linear(width, width)
        self.feed = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width)
        )
        self.left, self.right, self.offset = nn.Linear(width, width), nn.Linear(width, width), nn.Embedding(31, width)
        self.head = nn.Linear(width, 4)
        for layer in (self.out, self.feed[3]):
            nn.init.zeros_(layer.weight)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        for gate in (self.gates, self.gate):
            nn.init.zeros_(gate.weight)
            nn.init.ones_(gate.bias)

    def forward(self, chain: Tensor) -> Tensor:
        one, place = self.embed(chain), torch.arange(chain.shape[1])
        z = self.left(one)[:, :, None] + self.right(one)[:, None] + self.offset(place[:, None] - place + 15)
        normed = self.norm(z)
        a, b = (self.project(normed) * self.gates(normed).sigmoid()).chunk(2, -1)
        z = z + self.out(self.middle(torch.einsum("bikc,bjkc->bijc", a, b))) * self.gate(normed).sigmoid()
        z = z + self.feed(z)
        return self.head(z + z.transpose(1, 2)).permute(0, 3, 1, 2)


def contacts(seed: int, size: int) -> Batch:
    """Chains of residues, and for every pair one of four distances by kind and offset."""
    chain = torch.randint(20, (size, 12), generator=generator(seed))
    kind, place = chain // 10, torch.arange(12)
    near = ((place[:, None] - place).abs() < 4).long()
    return chain, near.expand(size, -1, -1) * 2 + (kind[:, :, None] == kind[:, None]).long()


def cases() -> list[Case]:
    """All cases of this module."""
    chance: Step = supervised(F.binary_cross_entropy_with_logits)
    models: dict[str, tuple[Build, Maker, Step]] = {
        "chebnet": (Chebyshev, graphs, nodewise),
        "simplified_graph_convolution": (Simplified, graphs, nodewise),
        "principal_aggregation": (Principal, graphs, nodewise),
        "gated_graph": (GatedGraph, cliques, graphwise),
        "diffpool": (DiffPool, cliques, own_loss),
        "graph_infomax": (Infomax, graphs, own_loss),
        "relational_gcn": (Relational, facts, own_loss),
        "dcrnn": (DiffusionCell, traffic, supervised(F.l1_loss)),
        "stgcn": (SpaceTime, traffic, fit),
        "force_field": (ForceField, molecules, own_loss),
        "painn": (Painn, molecules, energies),
        "interaction_network": (Interactions, bodies, fit),
        "lagrangian": (Lagrangian, swings, supervised(F.l1_loss)),
        "deep_ritz": (DeepRitz, square, own_loss),
        "koopman": (Koopman, swinging, own_loss),
        "neural_sde": (LatentSde, swinging, own_loss),
        "wire": (Wire, surface, fit),
        "multiplicative_filters": (MultiplicativeFilters, surface, fit),
        "occupancy_network": (Occupancy, ellipsoids, occupied),
        "foldingnet": (Folding, ellipsoids, own_loss),
        "gaussian_splatting": (Splatting, photograph, own_loss),
        "deepsea": (DeepSea, genome, chance),
        "single_cell_counts": (CountVae, cells, own_loss),
        "evoformer": (Evoformer, contacts, classify),
    }
    return later_cases(3, "science", models)
