"""Networks on graphs, sets and points."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case
from benchmarks.detection.healthy.common import Maker, case, generator, mlp, prototypes

NODES, FEATURES = 12, 8
Graphs = tuple[Tensor, Tensor, Tensor]


def graphs(per_node: bool = False) -> Maker:
    """Random graphs (node features and a dense adjacency) with a class per graph, or per node."""

    def make(seed: int, size: int) -> Graphs:
        g = generator(seed)
        labels = torch.randint(4, (size, NODES if per_node else 1), generator=g)
        x = 0.7 * prototypes(4, FEATURES)[labels] + 0.7 * torch.randn(size, NODES, FEATURES, generator=g)
        same = (labels[:, :, None] == labels[:, None]).float() if per_node else torch.ones(size, NODES, NODES)
        upper = (torch.rand(size, NODES, NODES, generator=g) < 0.1 + 0.3 * same).float().triu(1)
        return x, upper + upper.transpose(1, 2), labels if per_node else labels[:, 0]

    return make


def clouds(points: int = 24) -> Maker:
    """Points on an ellipsoid whose axes are the class."""

    def make(seed: int, size: int) -> tuple[Tensor, Tensor]:
        g = generator(seed)
        labels = torch.randint(4, (size,), generator=g)
        axes = prototypes(4, 3)[labels].abs() + 0.3
        return F.normalize(torch.randn(size, points, 3, generator=g), dim=-1) * axes[:, None], labels

    return make


def molecules(atoms: int = 8) -> Maker:
    """Atoms in space and the sum of a pair potential over them."""

    def make(seed: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
        g = generator(seed)
        kind, place = torch.randint(4, (size, atoms), generator=g), 1.5 * torch.randn(size, atoms, 3, generator=g)
        return kind, place, torch.exp(-torch.cdist(place, place)).sum((1, 2))[:, None] - atoms

    return make


class GCN(nn.Module):
    """Kipf and Welling's convolution with the symmetric normalisation and Glorot initialisation."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inside, outside)
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        looped = adjacency + torch.eye(x.shape[1])
        root = looped.sum(dim=-1).rsqrt()
        out: Tensor = (root[..., None] * looped * root[:, None]) @ self.linear(x)
        return out


class GAT(nn.Module):
    """Graph attention with two heads."""

    def __init__(self, inside: int, outside: int, heads: int = 2) -> None:
        super().__init__()
        self.linear = nn.Linear(inside, outside, bias=False)
        self.source, self.target = (nn.Parameter(torch.empty(heads, outside // heads)) for _ in range(2))
        self.bias, self.heads = nn.Parameter(torch.zeros(outside)), heads
        for weight in (self.linear.weight, self.source, self.target):
            nn.init.xavier_uniform_(weight)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        h = self.linear(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        pair = (h * self.source[:, None]).sum(-1)[..., None] + (h * self.target[:, None]).sum(-1)[..., None, :]
        near = (adjacency + torch.eye(x.shape[1]))[:, None] > 0
        weight = F.leaky_relu(pair, 0.2).masked_fill(~near, -math.inf).softmax(dim=-1)
        out: Tensor = (weight @ h).transpose(1, 2).flatten(2) + self.bias
        return out


class GIN(nn.Module):
    """The isomorphism network: a perceptron on the sum of the neighbours, with a learnt epsilon."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.mlp, self.eps = mlp([inside, outside, outside]), nn.Parameter(torch.zeros(1))
        self.norm = nn.BatchNorm1d(outside)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        h = self.mlp((1 + self.eps) * x + adjacency @ x)
        out: Tensor = self.norm(h.transpose(1, 2)).transpose(1, 2)
        return out


class SAGE(nn.Module):
    """GraphSAGE with the mean aggregator."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.own, self.others = nn.Linear(inside, outside), nn.Linear(inside, outside, bias=False)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        mean = adjacency @ x / adjacency.sum(dim=-1, keepdim=True).clamp(min=1)
        out: Tensor = F.normalize(self.own(x) + self.others(mean), dim=-1)
        return out


class GraphNet(nn.Module):
    """Two graph layers and a linear head on the mean over nodes, or on every node."""

    def __init__(self, layer: Callable[[int, int], nn.Module], per_node: bool = False, depth: int = 2) -> None:
        super().__init__()
        sizes = [FEATURES] + [32] * depth
        self.layers = nn.ModuleList([layer(a, b) for a, b in itertools.pairwise(sizes)])
        self.head, self.per_node = nn.Linear(32, 4), per_node

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        for layer in self.layers:
            x = F.relu(layer(x, adjacency))
        out: Tensor = self.head(x if self.per_node else x.mean(dim=1))
        return out


class Set2Set(nn.Module):
    """An LSTM that reads a set by attention."""

    def __init__(self, width: int, steps: int = 3) -> None:
        super().__init__()
        self.cell, self.steps, self.width = nn.LSTMCell(2 * width, width), steps, width

    def forward(self, x: Tensor) -> Tensor:
        query = x.new_zeros(x.shape[0], 2 * self.width)
        state = (query[:, : self.width], query[:, : self.width])
        for _ in range(self.steps):
            state = self.cell(query, state)
            weight = (x @ state[0][..., None]).softmax(dim=1)
            query = torch.cat([state[0], (weight * x).sum(dim=1)], dim=1)
        return query


class MPNN(nn.Module):
    """Message passing with a gated update and a set2set readout."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.embed, self.message = nn.Linear(FEATURES, width), mlp([width, width, width])
        self.update, self.read, self.head = nn.GRUCell(width, width), Set2Set(width), nn.Linear(2 * width, 4)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        h = F.relu(self.embed(x))
        for _ in range(3):
            message = (adjacency @ self.message(h)).flatten(0, 1)
            h = self.update(message, h.flatten(0, 1)).unflatten(0, x.shape[:2])
        out: Tensor = self.head(self.read(h))
        return out


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


class DeepSets(nn.Module):
    """A perceptron per element, a sum, a perceptron."""

    def __init__(self) -> None:
        super().__init__()
        self.each, self.all = mlp([3, 32, 32]), mlp([32, 32, 4])

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.all(self.each(x).mean(dim=1))
        return out


class Straighten(nn.Module):
    """PointNet's T-net: a learnt transformation that starts as the identity."""

    def __init__(self) -> None:
        super().__init__()
        self.each, self.all = shared(3, 32), nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 9))
        nn.init.zeros_(self.all[2].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.all[2].bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        turn = self.all(self.each(x).max(dim=2).values).reshape(-1, 3, 3) + torch.eye(3)
        out: Tensor = turn @ x
        return out


def shared(inside: int, outside: int) -> nn.Sequential:
    """A perceptron layer that all points share."""
    return nn.Sequential(nn.Conv1d(inside, outside, 1), nn.BatchNorm1d(outside), nn.ReLU())


class PointNet(nn.Module):
    """PointNet with its input transformation."""

    def __init__(self) -> None:
        super().__init__()
        self.turn, self.each = Straighten(), nn.Sequential(shared(3, 16), shared(16, 32))
        self.head = nn.Sequential(nn.Linear(32, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 4))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.each(self.turn(x.transpose(1, 2))).max(dim=2).values)
        return out


class MAB(nn.Module):
    """The multi-head attention block of the Set Transformer."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.attend, self.feed = nn.MultiheadAttention(width, 4, batch_first=True), nn.Linear(width, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h = self.norm1(x + self.attend(x, y, y, need_weights=False)[0])
        out: Tensor = self.norm2(h + F.relu(self.feed(h)))
        return out


class SetTransformer(nn.Module):
    """Induced set attention, pooling by attention with one seed, and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Linear(3, 32), nn.Linear(32, 4)
        self.points = nn.Parameter(nn.init.xavier_uniform_(torch.empty(1, 4, 32)))
        self.seed = nn.Parameter(nn.init.xavier_uniform_(torch.empty(1, 1, 32)))
        self.gather, self.spread, self.pool = MAB(), MAB(), MAB()

    def forward(self, x: Tensor) -> Tensor:
        h, size = self.embed(x), x.shape[0]
        h = self.spread(h, self.gather(self.points.expand(size, -1, -1), h))
        out: Tensor = self.head(self.pool(self.seed.expand(size, -1, -1), h)[:, 0])
        return out


class DETR(nn.Module):
    """A decoder with learnt queries that predicts a set of values from a memory; the loss matches them greedily."""

    def __init__(self, queries: int = 4) -> None:
        super().__init__()
        layer = nn.TransformerDecoderLayer(32, 4, 64, batch_first=True)
        self.embed, self.queries = nn.Linear(3, 32), nn.Embedding(queries, 32)
        self.decode, self.head = nn.TransformerDecoder(layer, 2), nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        queries = self.queries.weight.expand(x.shape[0], -1, -1)
        out: Tensor = self.head(self.decode(queries, self.embed(x)))
        return out


def matched(model: nn.Module, batch: Batch) -> Tensor:
    """The distance of every target to its closest prediction."""
    x, _ = batch
    return torch.cdist(model(x), x[:, :3]).min(dim=1).values.mean()


def classify_graph(model: nn.Module, batch: Batch) -> Tensor:
    """Cross entropy per graph or per node."""
    x, adjacency, labels = batch
    return F.cross_entropy(model(x, adjacency).flatten(0, -2), labels.flatten())


def energy(model: nn.Module, batch: Batch) -> Tensor:
    """Squared error of the energy."""
    kind, place, target = batch
    return F.mse_loss(model(kind, place), target)


def link(model: nn.Module, batch: Batch) -> Tensor:
    """A graph autoencoder's loss: which pairs of nodes are linked."""
    x, adjacency, _ = batch
    code = model(x, adjacency)
    return F.binary_cross_entropy_with_logits(code @ code.transpose(1, 2), adjacency)


def cases() -> list[Case]:
    """All cases of this module."""
    layers: dict[str, Callable[[int, int], nn.Module]] = {"gcn": GCN, "gat": GAT, "gin": GIN, "sage": SAGE}
    made = [
        case(f"graph_{k}", f"graph/{k}", partial(GraphNet, v, True), graphs(True), classify_graph)
        for k, v in layers.items()
    ]
    return [
        *made,
        case("graph_gcn_4_layers", "graph/gcn", partial(GraphNet, GCN, False, 4), graphs(), classify_graph),
        case("graph_autoencoder", "graph/autoencoder", partial(GraphNet, GCN, True), graphs(True), link),
        case("graph_mpnn_set2set", "graph/mpnn", MPNN, graphs(), classify_graph),
        case("graph_schnet", "graph/schnet", SchNet, molecules(), energy),
        case("graph_egnn", "graph/egnn", EGNN, molecules(), energy),
        case("graph_deep_sets", "graph/deep_sets", DeepSets, clouds()),
        case("graph_pointnet", "graph/pointnet", PointNet, clouds()),
        case("graph_set_transformer", "graph/set_transformer", SetTransformer, clouds()),
        case("graph_detr_queries", "graph/detr", DETR, clouds(), matched),
    ]
