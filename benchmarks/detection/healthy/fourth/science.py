"""Molecules, crystals, meshes, fields, genes, slides, particles and physics."""

from __future__ import annotations

import math
from typing import Any

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
)

ATOMS = 8


def molecules(seed: int, size: int) -> Batch:
    """Atomic numbers, places in Angstrom, bonds between neighbours and an energy in kcal/mol."""
    g = generator(seed)
    kind = torch.tensor([1, 6, 7, 8])[torch.randint(4, (size, ATOMS), generator=g)]
    line = torch.arange(ATOMS)[:, None] * torch.tensor([1.3, 0.4, 0.0])
    place = line + 0.5 * torch.randn(size, ATOMS, 3, generator=g)
    near = torch.cdist(place, place) + 10 * torch.eye(ATOMS)
    charge = (kind[:, :, None] * kind[:, None]).float()
    energy = (charge * (-near).exp()).sum((1, 2)) / 4 - 5 * kind.float().sum(1) / ATOMS
    return kind, place, near < 2.6, energy


def distances(place: Tensor) -> Tensor:
    """Between all atoms; those to oneself are far."""
    gap = place[:, :, None] - place[:, None]
    return (gap.square().sum(-1) + 100 * torch.eye(gap.shape[1])).sqrt()


class SymmetryFunctions(nn.Module):
    """Behler and Parrinello: radial symmetry functions, a network for every element, CELU as in ANI."""

    def __init__(self) -> None:
        super().__init__()
        self.nets = nn.ModuleDict({str(z): mlp([32, 32, 24, 1], lambda: nn.CELU(0.1)) for z in (1, 6, 7, 8)})
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight, a=1.0)
                nn.init.zeros_(module.bias)

    def forward(self, kind: Tensor, place: Tensor, bond: Tensor, energy: Tensor) -> Tensor:
        far = distances(place)
        cut = 0.5 * ((math.pi * far / 5.2).cos() + 1) * (far < 5.2)
        bells = 0.25 * (-16 * (far[..., None] - torch.linspace(0.9, 4.6, 8)).square()).exp() * cut[..., None]
        seen = torch.cat([(bells * (kind == z)[:, None, :, None]).sum(2) for z in (1, 6, 7, 8)], -1)
        total = sum((net(seen)[..., 0] * (kind == int(z))).sum(1) for z, net in self.nets.items())
        truth = (energy + 5 * kind.float().sum(1) / ATOMS - 31) / 13
        return ((total - truth).square() / ATOMS**0.5).mean()


class DirectedMessages(nn.Module):
    """Chemprop: messages travel along directed bonds and never straight back; the mean of the atoms is read."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.enter, self.hidden = nn.Linear(9 + 1, width, bias=False), nn.Linear(width, width, bias=False)
        self.atom, self.head = nn.Linear(9 + width, width), mlp([width, width, 1])
        for weight in self.parameters():
            nn.init.constant_(weight, 0) if weight.dim() == 1 else nn.init.xavier_normal_(weight)

    def forward(self, kind: Tensor, place: Tensor, bond: Tensor, energy: Tensor) -> Tensor:
        atoms, far = F.one_hot(kind, 9).float(), distances(place)
        there = atoms[:, :, None].expand(-1, -1, ATOMS, -1)
        start = self.enter(torch.cat([there, far[..., None]], -1)) * bond[..., None]
        message = F.relu(start)
        for _ in range(2):
            into = message.sum(1)[:, :, None] - message.transpose(1, 2)
            message = F.relu(start + self.hidden(into)) * bond[..., None]
        states = F.relu(self.atom(torch.cat([atoms, message.sum(1)], -1)))
        return F.mse_loss(self.head(states.mean(1))[:, 0], (energy - 3.6) / 9.3)


class CrystalConv(nn.Module):
    """CGCNN: gated sums over neighbours with batch norms, softplus, the mean over atoms; the target is normalised."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.embed = nn.Linear(9, width)
        self.full = nn.ModuleList(nn.Linear(2 * width + 12, 2 * width) for _ in range(3))
        self.first = nn.ModuleList(nn.BatchNorm1d(2 * width) for _ in range(3))
        self.second = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(3))
        self.dense, self.out = nn.Linear(width, 32), nn.Linear(32, 1)

    def forward(self, kind: Tensor, place: Tensor, bond: Tensor, energy: Tensor) -> Tensor:
        x = self.embed(F.one_hot(kind, 9).float())
        near, who = distances(place).topk(4, largest=False)
        edge = (-((near[..., None] - torch.linspace(0, 5, 12)) / 0.4).square()).exp()
        batch = torch.arange(len(x))[:, None, None]
        for full, first, second in zip(self.full, self.first, self.second, strict=True):
            pair = torch.cat([x[:, :, None].expand(-1, -1, 4, -1), x[batch, who], edge], -1)
            gate, core = first(full(pair).flatten(0, 2)).view(*pair.shape[:3], -1).chunk(2, -1)
            total = (gate.sigmoid() * F.softplus(core)).sum(2)
            x = F.softplus(x + second(total.flatten(0, 1)).view_as(x))
        crystal = F.softplus(self.dense(F.softplus(x.mean(1))))
        return F.mse_loss(self.out(crystal)[:, 0], (energy - 3.6) / 9.3)


class VectorPerceptron(nn.Module):
    """A geometric vector perceptron: scalars hear of vectors' lengths, vectors are gated by scalars."""

    def __init__(self, ins: tuple[int, int], outs: tuple[int, int], bent: bool = True) -> None:
        super().__init__()
        hidden, self.bent = max(ins[1], outs[1]), bent
        self.down, self.up = nn.Linear(ins[1], hidden, bias=False), nn.Linear(hidden, outs[1], bias=False)
        self.scalar, self.gate = nn.Linear(ins[0] + hidden, outs[0]), nn.Linear(outs[0], outs[1])

    def forward(self, s: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        inner = self.down(v.transpose(-1, -2))
        s = self.scalar(torch.cat([s, (inner.square().sum(-2) + 1e-8).sqrt()], -1))
        v = self.up(inner).transpose(-1, -2) * self.gate(s).sigmoid()[..., None]
        return F.relu(s) if self.bent else s, v


class VectorGraph(nn.Module):
    """GVP-GNN: scalars and vectors pass messages; vectors are normalised by their joint length."""

    def __init__(self, width: int = 24, vectors: int = 4) -> None:
        super().__init__()
        sizes = (width, vectors)
        self.embed, self.vectors = nn.Embedding(9, width), vectors
        self.first = nn.ModuleList(VectorPerceptron((2 * width + 8, 2 * vectors + 1), sizes) for _ in range(2))
        self.second = nn.ModuleList(VectorPerceptron(sizes, sizes, False) for _ in range(2))
        self.norms, self.head = nn.ModuleList(nn.LayerNorm(width) for _ in range(2)), mlp([width + vectors, 32, 1])

    def forward(self, kind: Tensor, place: Tensor, bond: Tensor, energy: Tensor) -> Tensor:
        s, v = self.embed(kind), torch.zeros(*kind.shape, self.vectors, 3)
        gap, far = place[:, :, None] - place[:, None], distances(place)
        bells, way = (-(far[..., None] - torch.linspace(0, 5, 8)).square() * 2).exp(), gap / far[..., None]
        shape = (len(s), ATOMS, ATOMS)
        for first, second, norm in zip(self.first, self.second, self.norms, strict=True):
            here, there = s[:, :, None].expand(*shape, -1), s[:, None].expand(*shape, -1)
            mine, other = v[:, :, None].expand(*shape, -1, -1), v[:, None].expand(*shape, -1, -1)
            scalars, arrows = torch.cat([here, there, bells], -1), torch.cat([mine, other, way[..., None, :]], -2)
            a, b = second(*first(scalars, arrows))
            count = bond.sum(2).clamp(min=1)
            s = norm(s + (a * bond[..., None]).sum(2) / count[..., None])
            v = v + (b * bond[..., None, None]).sum(2) / count[..., None, None]
            v = v / (v.square().sum(-1).mean(-1) + 1e-8).sqrt()[..., None, None]
        turned = torch.cat([s, (v.square().sum(-1) + 1e-8).sqrt()], -1)
        return F.mse_loss(self.head(turned).mean((1, 2)), (energy - 3.6) / 9.3)


def loops(seed: int, size: int) -> Batch:
    """Random graphs with a random walk's return probabilities, and whether two groups are apart."""
    g = generator(seed)
    label, group = torch.randint(2, (size,), generator=g), torch.arange(10) % 2
    apart = torch.where(group[:, None] == group, 0.9, 0.05).expand(size, -1, -1)
    drawn = torch.rand(size, 10, 10, generator=g) < torch.where(label[:, None, None] == 1, apart, 0.45)
    upper = drawn.float().triu(1)
    edges = upper + upper.transpose(1, 2)
    walk = edges / edges.sum(2, keepdim=True).clamp(min=1)
    powers = [torch.linalg.matrix_power(walk, k).diagonal(dim1=1, dim2=2) for k in range(2, 8)]
    return torch.stack(powers, 2), edges, label


def by_graph(model: nn.Module, batch: Batch) -> Tensor:
    """Cross entropy of every graph."""
    x, edges, label = batch
    return F.cross_entropy(model(x, edges), label)


class FlatNorm(nn.Module):
    """Batch norm over nodes of all graphs."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.flatten(0, -2)).view_as(x)


class Gps(nn.Module):
    """GraphGPS: in every layer gated graph convolution and attention side by side, then a feed-forward layer."""

    def __init__(self, width: int = 32, depth: int = 2) -> None:
        super().__init__()
        self.code, self.enter = nn.BatchNorm1d(6), nn.Linear(6, width)
        self.convs = nn.ModuleList(nn.ModuleList(nn.Linear(width, width) for _ in range(4)) for _ in range(depth))
        self.attend = nn.ModuleList(nn.MultiheadAttention(width, 2, 0.1, batch_first=True) for _ in range(depth))
        self.feed = nn.ModuleList(mlp([width, 2 * width, width]) for _ in range(depth))
        self.norms = nn.ModuleList(nn.ModuleList(FlatNorm(width) for _ in range(4)) for _ in range(depth))
        self.head = mlp([width, 16, 2])

    @staticmethod
    def convolve(layers: nn.ModuleList, x: Tensor, edges: Tensor) -> Tensor:
        """Neighbours, each with a gate of its own for every channel."""
        own, other, mine, theirs = (layer(x) for layer in layers)
        gate = (mine[:, :, None] + theirs[:, None]).sigmoid() * edges[..., None]
        return own + (gate * other[:, None]).sum(2) / (gate.sum(2) + 1e-6)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        x = self.enter(self.code(x.flatten(0, 1)).view_as(x))
        parts: list[Any] = [self.convs, self.attend, self.feed, self.norms]
        for convs, attend, feed, norms in zip(*parts, strict=True):
            near = norms[1](x + F.relu(norms[0](self.convolve(convs, x, edges))))
            far = norms[2](x + F.dropout(attend(x, x, x, need_weights=False)[0], 0.1, self.training))
            x = norms[3](near + far + feed(near + far))
        return self.head(x.mean(1))


class JumpingKnowledge(nn.Module):
    """Jumping knowledge: the layers of a GCN are read by an LSTM that weighs them."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(n, width) for n in (6, width, width, width))
        self.rnn = nn.LSTM(width, 16, bidirectional=True, batch_first=True)
        self.weigh, self.head = nn.Linear(32, 1), nn.Linear(width, 2)
        for layer in self.layers:
            nn.init.xavier_uniform_(layer.weight)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        looped = edges + torch.eye(edges.shape[1])
        root = looped.sum(2).rsqrt()
        spread, kept = root[:, :, None] * looped * root[:, None], []
        for layer in self.layers:
            x = F.relu(spread @ layer(x))
            kept.append(x)
        stack = torch.stack(kept, 2)
        share = self.weigh(self.rnn(stack.flatten(0, 1))[0]).softmax(1).view(*stack.shape[:3], 1)
        return self.head((share * stack).sum(2).mean(1))


class GraphUNet(nn.Module):
    """Graph U-Net: nodes are pooled by a learnt projection, whose sigmoid gates them, and put back."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        sizes = ((6, width), (width, width), (width, width))
        self.convs, self.head = nn.ModuleList(nn.Linear(a, b) for a, b in sizes), mlp([2 * width, 24, 2])
        self.project = nn.Linear(width, 1)

    @staticmethod
    def spread(x: Tensor, edges: Tensor, layer: nn.Module) -> Tensor:
        """One graph convolution."""
        looped = edges + torch.eye(edges.shape[1])
        return F.elu(layer(looped @ x / looped.sum(2, keepdim=True)))

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        fine = self.spread(x, edges, self.convs[0])
        score, chosen = self.project(fine)[..., 0].sigmoid().topk(6, 1)
        batch = torch.arange(len(x))[:, None]
        two = ((edges @ edges + edges) > 0).float()
        coarse_edges = two[batch[..., None], chosen[:, :, None], chosen[:, None]]
        coarse = self.spread(fine[batch, chosen] * score[..., None], coarse_edges, self.convs[1])
        back = torch.zeros_like(fine).index_put((batch, chosen), coarse)
        out = self.spread(back + fine, edges, self.convs[2])
        return self.head(torch.cat([out.mean(1), coarse.amax(1)], 1))


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


def flows(seed: int, size: int) -> tuple[Tensor, Tensor]:
    """Scattered points with a field on them, and what flows there: the field by height, and its mean over all."""
    g = generator(seed)
    place = torch.rand(size, 32, 2, generator=g)
    wave, phase = 2 + 3 * torch.rand(size, 1, 2, generator=g), 6.283 * torch.rand(size, 1, generator=g)
    angle = (place * wave).sum(-1) + phase
    field = angle.sin()[..., None]
    return torch.cat([place, field], -1), field * (0.5 + place[..., :1]) + field.mean(1, keepdim=True)


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


def pendulum(seed: int, size: int) -> tuple[Tensor, Tensor]:
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


def measured(seed: int, size: int) -> tuple[Tensor, Tensor]:
    """Six numbers around one of two patterns."""
    g = generator(seed)
    label = torch.randint(2, (size,), generator=g)
    return prototypes(2, 6)[label] + 0.6 * torch.randn(size, 6, generator=g), label


def tracks(seed: int, size: int) -> Batch:
    """One-hot DNA with motifs in it, and read counts of two tracks around them."""
    g = generator(seed)
    base = torch.randint(4, (size, 64), generator=g)
    heights = torch.full((size, 2, 8), 0.5)
    for track, motif in enumerate((torch.tensor([0, 1, 2, 3, 0, 1]), torch.tensor([3, 3, 1, 0, 2, 2]))):
        start = torch.randint(58, (size,), generator=g)
        base = base.scatter(1, start[:, None] + torch.arange(6), motif.expand(size, -1))
        heights[torch.arange(size), track, start // 8] += 12
    return F.one_hot(base, 4).float().transpose(1, 2), torch.poisson(heights, generator=g)


class SequenceToTracks(nn.Module):
    """Enformer in small: convolutions with softmax pooling, a transformer, softplus rates under a Poisson loss."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.stem = nn.Conv1d(4, width, 7, padding=3)
        self.norms = nn.ModuleList(nn.BatchNorm1d(width, momentum=0.1) for _ in range(3))
        self.convs = nn.ModuleList(nn.Conv1d(width, width, 5, padding=2) for _ in range(3))
        self.pools = nn.ModuleList(nn.Conv1d(width, width, 1, bias=False) for _ in range(3))
        layer = nn.TransformerEncoderLayer(width, 2, 64, 0.1, "relu", batch_first=True, norm_first=True)
        self.body, self.places = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Embedding(8, width)
        self.head = nn.Sequential(nn.Linear(width, 48), nn.GELU(), nn.Linear(48, 2), nn.Softplus())
        for pool in self.pools:
            nn.init.dirac_(pool.weight)  # type: ignore[arg-type]
            with torch.no_grad():
                pool.weight.mul_(2)  # type: ignore[operator]

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x)
        for norm, conv, pool in zip(self.norms, self.convs, self.pools, strict=True):
            h = norm(y)
            y = y + conv(h * (1.702 * h).sigmoid())
            pairs, logits = y.unflatten(2, (-1, 2)), pool(y).unflatten(2, (-1, 2))
            y = (pairs * logits.softmax(-1)).sum(-1)
        return self.head(self.body(y.transpose(1, 2) + self.places.weight)).transpose(1, 2)


def poisson(model: nn.Module, batch: Batch) -> Tensor:
    """Negative log likelihood of counts."""
    x, counts = batch
    return F.poisson_nll_loss(model(x), counts, log_input=False)


class SlideAttention(nn.Module):
    """Attention-based multiple instance learning with a gate: which patches make the slide positive."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Linear(16, width), nn.ReLU(), nn.Dropout(0.25))
        self.look, self.gate, self.weigh = nn.Linear(width, 16), nn.Linear(width, 16), nn.Linear(16, 1)
        self.head = nn.Linear(width, 2)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_normal_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        h = self.enter(x)
        share = self.weigh(self.look(h).tanh() * self.gate(h).sigmoid()).softmax(1)
        return self.head((share * h).sum(1))


def slides(seed: int, size: int) -> tuple[Tensor, Tensor]:
    """Bags of twenty patches; in a positive one three are of a kind of their own."""
    g = generator(seed)
    label = torch.randint(2, (size,), generator=g)
    x = torch.randn(size, 20, 16, generator=g)
    odd = (torch.rand(size, 20, generator=g).argsort(1) < 3) & (label[:, None] == 1)
    return x + 2 * odd[..., None] * prototypes(2, 16)[0], label


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


class ChebyshevKan(nn.Module):
    """A Kolmogorov-Arnold network of Chebyshev polynomials of tanh, with layer norms between."""

    def __init__(self, degree: int = 4) -> None:
        super().__init__()
        self.degree, sizes = degree, ((6, 16), (16, 16), (16, 2))
        tables = (torch.randn(a, b, degree + 1) / (a * (degree + 1)) for a, b in sizes)
        self.tables = nn.ParameterList(nn.Parameter(table) for table in tables)
        self.norms = nn.ModuleList(nn.LayerNorm(16) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        for i, table in enumerate(self.tables):
            x = self.norms[i - 1](x) if i else x
            angle = x.tanh().clamp(-1 + 1e-6, 1 - 1e-6).acos()
            x = torch.einsum("bid,iod->bo", (angle[..., None] * torch.arange(self.degree + 1)).cos(), table)
        return x


def cases() -> list[Case]:
    """All cases of this module."""
    models: dict[str, tuple[Build, Maker, Step]] = {
        "behler_parrinello": (SymmetryFunctions, molecules, own_loss),
        "chemprop": (DirectedMessages, molecules, own_loss),
        "crystal_graph": (CrystalConv, molecules, own_loss),
        "vector_perceptrons": (VectorGraph, molecules, own_loss),
        "graph_gps": (Gps, loops, by_graph),
        "jumping_knowledge": (JumpingKnowledge, loops, by_graph),
        "graph_unet": (GraphUNet, loops, by_graph),
        "mesh_graph": (MeshGraph, sheets, own_loss),
        "transolver": (Transolver, flows, relative),
        "inverse_pinn": (InverseProblem, heated, own_loss),
        "sympnet": (Sympnet, pendulum, fit),
        "variational_circuit": (VariationalCircuit, measured, classify),
        "enformer": (SequenceToTracks, tracks, poisson),
        "slide_attention": (SlideAttention, slides, classify),
        "energy_flow": (EnergyFlow, jets, classify),
        "implicit_geometry": (Eikonal, outline, own_loss),
        "chebyshev_kan": (ChebyshevKan, measured, classify),
    }
    return later_cases(4, "science", models)
