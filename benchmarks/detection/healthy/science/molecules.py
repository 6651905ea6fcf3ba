"""Molecules, crystals, genomes and cells."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case, Maker
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import generator, prototypes
from benchmarks.detection.vocabulary.blocks import mlp
from benchmarks.detection.vocabulary.losses import own_loss, supervised

ATOMS = 8


class ShiftedSoftplus(nn.Module):
    """SchNet's activation."""

    def forward(self, x: Tensor) -> Tensor:
        return F.softplus(x) - math.log(2)


class SchNet(nn.Module):
    """Continuous-filter convolutions over Gaussian-smeared distances, energies summed over atoms."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.embed = nn.Embedding(4, width)
        self.filters = nn.ModuleList([mlp([16, width, width], ShiftedSoftplus) for _ in range(2)])
        self.inside = nn.ModuleList([nn.Linear(width, width, bias=False) for _ in range(2)])
        self.outside = nn.ModuleList([mlp([width, width, width], ShiftedSoftplus) for _ in range(2)])
        self.energy = mlp([width, width // 2, 1], ShiftedSoftplus)

    def forward(self, kind: Tensor, place: Tensor) -> Tensor:
        x, gap = self.embed(kind), torch.cdist(place, place)
        smeared = torch.exp(-4 * (gap[..., None] - torch.linspace(0, 5, 16)) ** 2)
        others = (1 - torch.eye(x.shape[1]))[..., None]
        for make_filter, inside, outside in zip(self.filters, self.inside, self.outside, strict=True):
            x = x + outside((make_filter(smeared) * others * inside(x)[:, None]).sum(dim=2))
        out: Tensor = self.energy(x).sum(dim=1)
        return out


def atoms_in_space(atoms: int = 8) -> Maker:
    """Atoms in space and the sum of a pair potential over them."""

    def make(seed: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
        g = generator(seed)
        kind, place = torch.randint(4, (size, atoms), generator=g), 1.5 * torch.randn(size, atoms, 3, generator=g)
        return kind, place, torch.exp(-torch.cdist(place, place)).sum((1, 2))[:, None] - atoms

    return make


def energy(model: nn.Module, batch: Batch) -> Tensor:
    """Squared error of the energy."""
    kind, place, target = batch
    return F.mse_loss(model(kind, place), target)


class EGNN(nn.Module):
    """An equivariant network whose coordinate updates start small (Xavier gain 0.001), as in its code."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.embed = nn.Embedding(4, width)
        self.edge = nn.ModuleList([mlp([2 * width + 1, width, width], nn.SiLU) for _ in range(2)])
        self.node = nn.ModuleList([mlp([2 * width, width, width], nn.SiLU) for _ in range(2)])
        self.move = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1, bias=False))
        self.head = nn.Linear(width, 1)
        nn.init.xavier_uniform_(self.move[2].weight, gain=0.001)  # type: ignore[arg-type]

    def forward(self, kind: Tensor, place: Tensor) -> Tensor:
        h, n = self.embed(kind), kind.shape[1]
        for index, (edge, node) in enumerate(zip(self.edge, self.node, strict=True)):
            gap = place[:, :, None] - place[:, None]
            pair = [
                h[:, :, None].expand(-1, -1, n, -1),
                h[:, None].expand(-1, n, -1, -1),
                (gap**2).sum(-1, keepdim=True),
            ]
            message = F.silu(edge(torch.cat(pair, dim=-1)))
            if index == 0:  # positions after the last layer would go nowhere
                place = place + (gap * self.move(message)).mean(dim=2)
            h = h + node(torch.cat([h, message.sum(dim=2) / n], dim=-1))
        out: Tensor = self.head(h).sum(dim=1)
        return out


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


def morse_molecules(seed: int, size: int) -> Batch:
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


def cases() -> list[Case]:
    """The cases of this file."""
    return [
        case("graph_schnet", "graph/schnet", SchNet, atoms_in_space(), energy),
        case("graph_egnn", "graph/egnn", EGNN, atoms_in_space(), energy),
        case("third_science_force_field", "third/force_field", ForceField, morse_molecules, own_loss, round=3),
        case("third_science_painn", "third/painn", Painn, morse_molecules, energies, round=3),
        case(
            "fourth_science_behler_parrinello",
            "fourth/behler_parrinello",
            SymmetryFunctions,
            molecules,
            own_loss,
            round=4,
        ),
        case("fourth_science_chemprop", "fourth/chemprop", DirectedMessages, molecules, own_loss, round=4),
        case("fourth_science_crystal_graph", "fourth/crystal_graph", CrystalConv, molecules, own_loss, round=4),
        case(
            "fourth_science_vector_perceptrons", "fourth/vector_perceptrons", VectorGraph, molecules, own_loss, round=4
        ),
        case(
            "third_science_deepsea",
            "third/deepsea",
            DeepSea,
            genome,
            supervised(F.binary_cross_entropy_with_logits),
            round=3,
        ),
        case("third_science_single_cell_counts", "third/single_cell_counts", CountVae, cells, own_loss, round=3),
        case("third_science_evoformer", "third/evoformer", Evoformer, contacts, round=3),
        case("fourth_science_enformer", "fourth/enformer", SequenceToTracks, tracks, poisson, round=4),
        case("fourth_science_slide_attention", "fourth/slide_attention", SlideAttention, slides, round=4),
    ]
