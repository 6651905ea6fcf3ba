"""Equations, dynamics, meshes and measurements."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import NODES, generator, measured, regression, waves
from benchmarks.detection.vocabulary.blocks import Apply, mlp, symmetric
from benchmarks.detection.vocabulary.losses import fit, own_loss, supervised


class Physics(nn.Module):
    """A physics-informed network: the residual of u'' = -u on random points and two boundary values."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp([1, 32, 32, 1], nn.Tanh)
        for layer in self.net:
            if isinstance(layer, nn.Linear):
                nn.init.xavier_normal_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, _: Tensor) -> Tensor:
        t = (3 * torch.sigmoid(x[:, :1])).requires_grad_(True)
        u = self.net(t)
        (first,) = torch.autograd.grad(u.sum(), t, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), t, create_graph=True)
        ends = self.net(torch.tensor([[0.0], [math.pi / 2]])) - torch.tensor([[0.0], [1.0]])
        out: Tensor = ((second + u) ** 2).mean() + (ends**2).sum()
        return out


class DeepONet(nn.Module):
    """A branch for the function, a trunk for the place, their dot product."""

    def __init__(self) -> None:
        super().__init__()
        self.branch, self.trunk = mlp([15, 32, 16], nn.Tanh), mlp([1, 32, 16], nn.Tanh)
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = (self.branch(x[:, :15]) * self.trunk(x[:, 15:])).sum(dim=1, keepdim=True) + self.bias
        return out


class Spectral(nn.Module):
    """The layer of a Fourier neural operator: complex weights on the low modes and a pointwise bypass."""

    def __init__(self, width: int = 16, modes: int = 6) -> None:
        super().__init__()
        scale = 1 / width**2
        self.weight = nn.Parameter(scale * torch.rand(width, width, modes, dtype=torch.cfloat))
        self.bypass, self.modes = nn.Conv1d(width, width, 1), modes

    def forward(self, x: Tensor) -> Tensor:
        wave = torch.fft.rfft(x)
        low = torch.einsum("bim,iom->bom", wave[..., : self.modes], self.weight)
        moved = torch.fft.irfft(F.pad(low, (0, wave.shape[-1] - self.modes)), n=x.shape[-1])
        return F.gelu(moved + self.bypass(x))


def fno() -> nn.Module:
    """A Fourier neural operator that classifies."""
    body = [nn.Conv1d(1, 16, 1), Spectral(), Spectral(), Spectral()]
    return nn.Sequential(*body, Apply(lambda x: x.mean(dim=-1)), nn.Linear(16, 4))


class Hamiltonian(nn.Module):
    """A Hamiltonian network: the dynamics are the turned gradient of a learnt energy; orthogonal weights."""

    def __init__(self) -> None:
        super().__init__()
        hidden = [nn.Linear(2, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh()]
        self.energy = nn.Sequential(*hidden, nn.Linear(48, 1, bias=False))
        for layer in self.energy:
            if isinstance(layer, nn.Linear):
                nn.init.orthogonal_(layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = x.requires_grad_()
        (slope,) = torch.autograd.grad(self.energy(x).sum(), x, create_graph=True)
        return torch.stack([slope[:, 1], -slope[:, 0]], 1)


def pendulum(seed: int, size: int) -> Batch:
    """States of a pendulum and how they change."""
    x = 2 * torch.randn(size, 2, generator=generator(seed))
    return x, torch.stack([x[:, 1], -x[:, 0].sin()], 1)


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


def roads() -> Tensor:
    """A ring with a few shortcuts, and loops."""
    ring = torch.eye(NODES) + torch.eye(NODES).roll(1, 1)
    return ring + (torch.rand(NODES, NODES, generator=generator(3)) < 0.1).float()


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


class MeshGraph(nn.Module):
    """MeshGraphNets: encode, process with residual edges and nodes, decode; layer norms, targets normalised."""

    mean: Tensor
    scale: Tensor

    def __init__(self, width: int = 24, steps: int = 3) -> None:
        super().__init__()
        self.node, self.edge = self.block(2, width), self.block(3, width)
        self.edges = nn.ModuleList(self.block(3 * width, width) for _ in range(steps))
        self.nodes = nn.ModuleList(self.block(2 * width, width) for _ in range(steps))
        self.decode = mlp([width, width, 2])
        self.register_buffer("scale", torch.tensor([0.5, 8.0]))

    @staticmethod
    def block(inputs: int, width: int) -> nn.Sequential:
        """Two layers and a layer norm."""
        return nn.Sequential(mlp([inputs, width, width, width]), nn.LayerNorm(width))

    def forward(self, state: Tensor, near: Tensor, pull: Tensor) -> Tensor:
        place, speed = state.chunk(2, -1)
        gap = place[:, :, None] - place[:, None]
        x = self.node(speed / self.scale[0])
        e = self.edge(torch.cat([gap, gap.norm(dim=-1, keepdim=True)], -1))
        for edge, node in zip(self.edges, self.nodes, strict=True):
            here, there = x[:, :, None].expand_as(e), x[:, None].expand_as(e)
            e = e + edge(torch.cat([e, here, there], -1))
            x = x + node(torch.cat([x, (e * near[..., None]).sum(2)], -1))
        return F.mse_loss(self.decode(x), pull / self.scale[1])


def sheets(seed: int, size: int) -> Batch:
    """A sheet of 4x4 masses on springs: where they are, how fast, and how they are pulled, in raw units."""
    g = generator(seed)
    axis = torch.arange(4.0)
    rest = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).flatten(0, 1)
    place = rest + 0.15 * torch.randn(size, 16, 2, generator=g)
    speed = 0.5 * torch.randn(size, 16, 2, generator=g)
    near = (torch.cdist(rest, rest) < 1.1).float() - torch.eye(16)
    gap = place[:, None] - place[:, :, None]
    far = gap.norm(dim=-1, keepdim=True).clamp(min=1e-3)
    pull = (near[..., None] * 40 * (far - 1) * gap / far).sum(2) - 0.5 * speed
    return torch.cat([place, speed], -1), near.expand(size, -1, -1), pull


class PhysicsAttention(nn.Module):
    """Transolver: points are softly sliced, the slices' tokens attend to each other and are handed back."""

    def __init__(self, width: int = 32, slices: int = 8, count: int = 2) -> None:
        super().__init__()
        size = width // count
        self.count, self.heat = count, nn.Parameter(torch.full((1, count, 1, 1), 0.5))
        self.point, self.value, self.slice = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(size, slices)
        nn.init.orthogonal_(self.slice.weight)
        self.qkv, self.out = nn.Linear(size, 3 * size, bias=False), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        shape = (*x.shape[:2], self.count, -1)
        point, value = (layer(x).view(shape).transpose(1, 2) for layer in (self.point, self.value))
        share = (self.slice(point) / self.heat).softmax(-1)
        token = share.transpose(2, 3) @ value / (share.sum(2)[..., None] + 1e-5)
        q, k, v = self.qkv(token).chunk(3, -1)
        back = share @ F.scaled_dot_product_attention(q, k, v)
        return self.out(back.transpose(1, 2).flatten(2))


class Transolver(nn.Module):
    """Two layers of physics attention; truncated Gaussian weights, a relative L2 loss."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.enter, self.holder = mlp([3, 64, width], nn.GELU), nn.Parameter(torch.rand(width) / width)
        self.attend = nn.ModuleList(PhysicsAttention(width) for _ in range(2))
        self.feed = nn.ModuleList(mlp([width, width, width], nn.GELU) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(5))
        self.head = nn.Linear(width, 1)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        y = self.enter(x) + self.holder
        for i, (attend, feed) in enumerate(zip(self.attend, self.feed, strict=True)):
            y = y + attend(self.norms[2 * i](y))
            y = y + feed(self.norms[2 * i + 1](y))
        return self.head(self.norms[4](y))


def flows(seed: int, size: int) -> tuple[Tensor, Tensor]:
    """Scattered points with a field on them, and what flows there: the field by height, and its mean over all."""
    g = generator(seed)
    place = torch.rand(size, 32, 2, generator=g)
    wave, phase = 2 + 3 * torch.rand(size, 1, 2, generator=g), 6.283 * torch.rand(size, 1, generator=g)
    angle = (place * wave).sum(-1) + phase
    field = angle.sin()[..., None]
    return torch.cat([place, field], -1), field * (0.5 + place[..., :1]) + field.mean(1, keepdim=True)


def relative(model: nn.Module, batch: Batch) -> Tensor:
    """The relative L2 error."""
    x, y = batch
    return ((model(x) - y).flatten(1).norm(dim=1) / y.flatten(1).norm(dim=1)).mean()


class InverseProblem(nn.Module):
    """A physics-informed net that finds a diffusivity: tanh, Xavier weights, data and residual of the equation."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.log_rate = mlp([2, 32, 32, 32, 1], nn.Tanh), nn.Parameter(torch.tensor(-3.0))
        for module in self.net:
            if isinstance(module, nn.Linear):
                nn.init.xavier_normal_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, place: Tensor, value: Tensor, inside: Tensor) -> Tensor:
        at = inside.requires_grad_(True)
        (slope,) = torch.autograd.grad(self.net(at).sum(), at, create_graph=True)
        (curve,) = torch.autograd.grad(slope[:, 0].sum(), at, create_graph=True)
        residual = slope[:, 1] - self.log_rate.exp() * curve[:, 0]
        return F.mse_loss(self.net(place), value) + residual.square().mean()


def heated(seed: int, size: int) -> Batch:
    """Places and times with the temperature measured, and others where the heat equation should hold."""
    g = generator(seed)
    place = torch.rand(8 * size, 2, generator=g) * torch.tensor([1.0, 1.0])
    value = (-0.1 * math.pi**2 * place[:, 1:]).exp() * (math.pi * place[:, :1]).sin()
    return place, value + 0.01 * torch.randn(value.shape, generator=g), torch.rand(8 * size, 2, generator=g)


class Sympnet(nn.Module):
    """SympNet: gradient modules alternately shift momentum and place, so that the map is symplectic."""

    def __init__(self, layers: int = 6, width: int = 24) -> None:
        super().__init__()
        self.inward = nn.ParameterList(nn.Parameter(0.01 * torch.randn(width, 1)) for _ in range(layers))
        self.bias = nn.ParameterList(nn.Parameter(torch.zeros(width)) for _ in range(layers))
        self.size = nn.ParameterList(nn.Parameter(0.01 * torch.randn(width)) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        p, q = x.chunk(2, 1)
        for i, (inward, bias, size) in enumerate(zip(self.inward, self.bias, self.size, strict=True)):
            source = q if i % 2 == 0 else p
            shift = ((source @ inward.T + bias).tanh() * size) @ inward
            p, q = (p + shift, q) if i % 2 == 0 else (p, q + shift)
        return torch.cat([p, q], 1)


def pendulum_steps(seed: int, size: int) -> tuple[Tensor, Tensor]:
    """States of a pendulum and where they are half a second later."""
    x = torch.randn(8 * size, 2, generator=generator(seed))
    p, q = x.chunk(2, 1)
    for _ in range(25):
        p = p - 0.02 * q.sin()
        q = q + 0.02 * p
    return x, torch.cat([p, q], 1)


class VariationalCircuit(nn.Module):
    """A simulated quantum circuit of four qubits: angles in, rotations and entanglers, Z read out, a linear head."""

    def __init__(self, qubits: int = 4, layers: int = 3) -> None:
        super().__init__()
        self.qubits, self.enter = qubits, nn.Linear(6, qubits)
        self.turns = nn.Parameter(math.pi * torch.rand(layers, qubits, 2))
        self.head = nn.Linear(qubits, 2)

    def turn(self, state: Tensor, qubit: int, angle: Tensor, about_z: bool = False) -> Tensor:
        """Rotate one qubit about y or z."""
        half = (angle / 2).view(-1, *[1] * (self.qubits - 1))
        zero, one = state.select(qubit + 1, 0), state.select(qubit + 1, 1)
        if about_z:
            phase = torch.polar(torch.ones_like(half), half)
            return torch.stack([zero * phase.conj(), one * phase], qubit + 1)
        return torch.stack([half.cos() * zero - half.sin() * one, half.sin() * zero + half.cos() * one], qubit + 1)

    def entangle(self, state: Tensor, control: int) -> Tensor:
        """A controlled not from one qubit to the next."""
        target = (control + 1) % self.qubits
        zero, one = state.select(control + 1, 0), state.select(control + 1, 1)
        return torch.stack([zero, one.flip(target + 1 - int(target > control))], control + 1)

    def forward(self, x: Tensor) -> Tensor:
        angles = self.enter(x).tanh() * math.pi / 2
        state = F.pad(torch.ones(len(x), 1), (0, 2**self.qubits - 1)).to(torch.cfloat)
        state = state.view(len(x), *[2] * self.qubits)
        for i in range(self.qubits):
            state = self.turn(state, i, angles[:, i])
        for layer in self.turns:
            for i in range(self.qubits):
                state = self.turn(self.turn(state, i, layer[i, :1], True), i, layer[i, 1:])
            for i in range(self.qubits):
                state = self.entangle(state, i)
        chance = torch.view_as_real(state).square().sum(-1)
        reads = [chance.select(i + 1, 0).flatten(1).sum(1) * 2 - 1 for i in range(self.qubits)]
        return self.head(torch.stack(reads, 1))


class EnergyFlow(nn.Module):
    """An energy flow network: particles' directions are mapped, weighed by their share of momentum, and summed."""

    def __init__(self) -> None:
        super().__init__()
        self.each, self.whole = nn.Sequential(mlp([2, 48, 48, 32]), nn.ReLU()), mlp([32, 48, 48, 2])
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)

    def forward(self, jets: Tensor) -> Tensor:
        momentum = jets[..., :1]
        return self.whole((momentum / momentum.sum(1, keepdim=True) * self.each(jets[..., 1:])).sum(1))


def jets(seed: int, size: int) -> tuple[Tensor, Tensor]:
    """Particles' momenta in GeV and directions, around one axis or around two; padded with zeros."""
    g = generator(seed)
    label = torch.randint(2, (size,), generator=g)
    momentum = 20 * torch.rand(size, 16, 1, generator=g).log().neg()
    momentum = momentum * (torch.arange(16)[:, None] < torch.randint(8, 17, (size, 1, 1), generator=g))
    way = 6.283 * torch.rand(size, 1, generator=g)
    axis = 0.35 * torch.stack([way.cos(), way.sin()], -1) * (torch.arange(16) % 2 * 2 - 1)[:, None]
    place = label[:, None, None] * axis + 0.12 * torch.randn(size, 16, 2, generator=g)
    return torch.cat([momentum, place * (momentum > 0)], -1), label


def cases() -> list[Case]:
    """The cases of this file."""
    return [
        case("odd_pinn", "odd/pinn", Physics, regression(), own_loss, size=32),
        case("odd_deeponet", "odd/deeponet", DeepONet, regression(), fit),
        case("odd_fourier_operator", "odd/fno", fno, waves(32)),
        case("second_tabular_hamiltonian", "second/hamiltonian", Hamiltonian, pendulum, fit, size=16, round=2),
        case("third_science_interaction_network", "third/interaction_network", Interactions, bodies, fit, round=3),
        case("third_science_lagrangian", "third/lagrangian", Lagrangian, swings, supervised(F.l1_loss), round=3),
        case("third_science_deep_ritz", "third/deep_ritz", DeepRitz, square, own_loss, round=3),
        case("third_science_koopman", "third/koopman", Koopman, swinging, own_loss, round=3),
        case("third_science_neural_sde", "third/neural_sde", LatentSde, swinging, own_loss, round=3),
        case("third_science_dcrnn", "third/dcrnn", DiffusionCell, traffic, supervised(F.l1_loss), round=3),
        case("third_science_stgcn", "third/stgcn", SpaceTime, traffic, fit, round=3),
        case("fourth_science_mesh_graph", "fourth/mesh_graph", MeshGraph, sheets, own_loss, round=4),
        case("fourth_science_transolver", "fourth/transolver", Transolver, flows, relative, round=4),
        case("fourth_science_inverse_pinn", "fourth/inverse_pinn", InverseProblem, heated, own_loss, round=4),
        case("fourth_science_sympnet", "fourth/sympnet", Sympnet, pendulum_steps, fit, round=4),
        case("fourth_science_variational_circuit", "fourth/variational_circuit", VariationalCircuit, measured, round=4),
        case("fourth_science_energy_flow", "fourth/energy_flow", EnergyFlow, jets, round=4),
    ]
