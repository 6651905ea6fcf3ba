"""Messages between the nodes of a graph."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case, Maker
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import NODES, generator, prototypes
from benchmarks.detection.vocabulary.blocks import mlp, symmetric
from benchmarks.detection.vocabulary.losses import classify_pair, own_loss

FEATURES = 8
Graphs = tuple[Tensor, Tensor, Tensor]


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


def random_graphs(per_node: bool = False) -> Maker:
    """Random graphs (node features and a dense adjacency) with a class per graph, or per node."""

    def make(seed: int, size: int) -> Graphs:
        g = generator(seed)
        labels = torch.randint(4, (size, NODES if per_node else 1), generator=g)
        x = 0.7 * prototypes(4, FEATURES)[labels] + 0.7 * torch.randn(size, NODES, FEATURES, generator=g)
        same = (labels[:, :, None] == labels[:, None]).float() if per_node else torch.ones(size, NODES, NODES)
        upper = (torch.rand(size, NODES, NODES, generator=g) < 0.1 + 0.3 * same).float().triu(1)
        return x, upper + upper.transpose(1, 2), labels if per_node else labels[:, 0]

    return make


def classify_graph(model: nn.Module, batch: Batch) -> Tensor:
    """Cross entropy per graph or per node."""
    x, adjacency, labels = batch
    return F.cross_entropy(model(x, adjacency).flatten(0, -2), labels.flatten())


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


def link(model: nn.Module, batch: Batch) -> Tensor:
    """A graph autoencoder's loss: which pairs of nodes are linked."""
    x, adjacency, _ = batch
    code = model(x, adjacency)
    return F.binary_cross_entropy_with_logits(code @ code.transpose(1, 2), adjacency)


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


def normalised(edges: Tensor) -> Tensor:
    whole = edges + torch.eye(edges.shape[-1])
    root = whole.sum(-1).rsqrt()
    return root[:, :, None] * whole * root[:, None]


class InitialResidual(nn.Module):
    """GCNII: every layer mixes in the first one and stays near the identity."""

    def __init__(self, width: int = 16, layers: int = 6) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(6, width), nn.Linear(width, 2)
        self.layers = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(layers))

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        first = h = F.relu(self.stem(x))
        graph = normalised(edges)
        for i, layer in enumerate(self.layers):
            beta = math.log(0.5 / (i + 1) + 1)
            mixed = 0.9 * graph @ h + 0.1 * first
            h = F.relu((1 - beta) * mixed + beta * layer(mixed))
        return self.head(h)


def two_kinds(nodes: int = 10) -> Maker:
    """Random graphs with two kinds of nodes that mostly keep to themselves: which kind is each of?"""

    def make(seed: int, size: int) -> Batch:
        g = generator(seed)
        kind = torch.randint(2, (size, nodes), generator=g)
        chance = torch.where(kind[:, :, None] == kind[:, None], 0.5, 0.1)
        upper = (torch.rand(size, nodes, nodes, generator=g) < chance).float().triu(1)
        features = torch.randn(size, nodes, 6, generator=g) + (2 * kind[..., None] - 1) * 0.5 * prototypes(1, 6)
        return features, upper + upper.transpose(1, 2), kind

    return make


def nodewise(model: nn.Module, batch: Batch) -> Tensor:
    """Cross entropy of every node."""
    return F.cross_entropy(model(*batch[:2]).flatten(0, 1), batch[2].flatten())


class Personalised(nn.Module):
    """APPNP: a perceptron, then ten steps of personalised PageRank."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp([6, 32, 2])

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        first = h = self.net(x)
        graph = normalised(edges)
        for _ in range(10):
            h = 0.9 * graph @ h + 0.1 * first
        return h


class GraphAttention2(nn.Module):
    """GATv2: attention by a perceptron of both ends, with residuals."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(6, width), nn.Linear(width, 2)
        self.left, self.right = (nn.ModuleList(nn.Linear(width, width) for _ in range(2)) for _ in range(2))
        self.ask = nn.ParameterList(nn.init.xavier_uniform_(torch.empty(1, width))[0] for _ in range(2))

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        h, hidden = self.stem(x), (edges + torch.eye(edges.shape[-1])) == 0
        for left, right, ask in zip(self.left, self.right, self.ask, strict=True):
            value = right(h)
            scores = F.leaky_relu(left(h)[:, :, None] + value[:, None], 0.2) @ ask
            h = h + F.elu(scores.masked_fill(hidden, -math.inf).softmax(-1) @ value)
        return self.head(h)


class Graphormer(nn.Module):
    """Graphormer: attention over all nodes, with biases for distances and embeddings of degrees."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem, self.degree, self.near = nn.Linear(6, width), nn.Embedding(16, width), nn.Embedding(4, 1)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed, self.head = mlp([width, 32, width], nn.GELU), nn.Linear(width, 2)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        two = ((edges @ edges) > 0).long()
        distance = torch.where(edges > 0, 1, 3 - two) * (1 - torch.eye(edges.shape[-1]).long())
        h = self.stem(x) + self.degree(edges.sum(-1).long())
        query, key, value = self.qkv(self.norm1(h)).chunk(3, -1)
        scores = query @ key.transpose(1, 2) / query.shape[-1] ** 0.5 + self.near(distance)[..., 0]
        h = h + self.out(scores.softmax(-1) @ value)
        return self.head(h + self.feed(self.norm2(h)))


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


def looped_graphs(seed: int, size: int) -> Batch:
    """Features, adjacency with loops and classes of the nodes; neighbours are mostly of one class."""
    g = generator(seed)
    label = torch.randint(4, (size, NODES), generator=g)
    chance = torch.where(label[:, :, None] == label[:, None], 0.7, 0.08)
    upper = (torch.rand(size, NODES, NODES, generator=g) < chance).float().triu(1)
    x = 0.6 * prototypes(4, 8)[label] + torch.randn(size, NODES, 8, generator=g)
    return x, upper + upper.transpose(1, 2) + torch.eye(NODES), label


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


def world_facts(seed: int, size: int) -> Batch:
    """Triples of a small world in which relation r leads r + 1 steps on."""
    g = generator(seed)
    head, relation = torch.randint(24, (4 * size,), generator=g), torch.randint(4, (4 * size,), generator=g)
    return head, relation, (head + relation + 1) % 24


class Rotation(nn.Module):
    """RotatE: relations turn complex entities; self-adversarial negatives, margin 6."""

    def __init__(self, entities: int = 30, width: int = 16, gamma: float = 6.0) -> None:
        super().__init__()
        self.span, self.gamma = (gamma + 2) / width, gamma
        self.entities, self.relations = nn.Embedding(entities, 2 * width), nn.Embedding(3, width)
        nn.init.uniform_(self.entities.weight, -self.span, self.span)
        nn.init.uniform_(self.relations.weight, -self.span, self.span)

    def score(self, head: Tensor, relation: Tensor, tail: Tensor) -> Tensor:
        (re, im), (tre, tim) = self.entities(head).chunk(2, -1), self.entities(tail).chunk(2, -1)
        phase = self.relations(relation) / (self.span / math.pi)
        turned = torch.stack([re * phase.cos() - im * phase.sin() - tre, re * phase.sin() + im * phase.cos() - tim])
        return self.gamma - turned.norm(dim=0).sum(-1)

    def forward(self, triples: Tensor, wrong: Tensor) -> Tensor:
        head, relation, tail = triples.unbind(1)
        good, bad = self.score(head, relation, tail), self.score(head[:, None], relation[:, None], wrong)
        weight = bad.detach().softmax(1)
        return -(F.logsigmoid(good).mean() + (weight * F.logsigmoid(-bad)).sum(1).mean()) / 2


def facts(seed: int, size: int) -> Batch:
    """Entities on a ring; every relation is a step of its own."""
    g = generator(seed)
    head, relation = torch.randint(30, (size,), generator=g), torch.randint(3, (size,), generator=g)
    triples = torch.stack([head, relation, (head + 5 * relation + 1) % 30], 1)
    return triples, torch.randint(30, (size, 8), generator=g)


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


def cases() -> list[Case]:
    """The cases of this file."""
    return [
        case("graph_gcn", "graph/gcn", partial(GraphNet, GCN, True), random_graphs(True), classify_graph),
        case("graph_gat", "graph/gat", partial(GraphNet, GAT, True), random_graphs(True), classify_graph),
        case("graph_gin", "graph/gin", partial(GraphNet, GIN, True), random_graphs(True), classify_graph),
        case("graph_sage", "graph/sage", partial(GraphNet, SAGE, True), random_graphs(True), classify_graph),
        case("graph_gcn_4_layers", "graph/gcn", partial(GraphNet, GCN, False, 4), random_graphs(), classify_graph),
        case("graph_autoencoder", "graph/autoencoder", partial(GraphNet, GCN, True), random_graphs(True), link),
        case("graph_mpnn_set2set", "graph/mpnn", MPNN, random_graphs(), classify_graph),
        case("second_tabular_gcn2", "second/gcn2", InitialResidual, two_kinds(), nodewise, size=16, round=2),
        case("second_tabular_appnp", "second/appnp", Personalised, two_kinds(), nodewise, size=16, round=2),
        case("second_tabular_gatv2", "second/gatv2", GraphAttention2, two_kinds(), nodewise, size=16, round=2),
        case("second_tabular_graphormer", "second/graphormer", Graphormer, two_kinds(), nodewise, size=16, round=2),
        case("third_science_chebnet", "third/chebnet", Chebyshev, looped_graphs, nodewise, round=3),
        case(
            "third_science_simplified_graph_convolution",
            "third/simplified_graph_convolution",
            Simplified,
            looped_graphs,
            nodewise,
            round=3,
        ),
        case(
            "third_science_principal_aggregation",
            "third/principal_aggregation",
            Principal,
            looped_graphs,
            nodewise,
            round=3,
        ),
        case("third_science_gated_graph", "third/gated_graph", GatedGraph, cliques, classify_pair, round=3),
        case("third_science_diffpool", "third/diffpool", DiffPool, cliques, own_loss, round=3),
        case("third_science_graph_infomax", "third/graph_infomax", Infomax, looped_graphs, own_loss, round=3),
        case("third_science_relational_gcn", "third/relational_gcn", Relational, world_facts, own_loss, round=3),
        case("second_tabular_rotate", "second/rotate", Rotation, facts, own_loss, size=16, round=2),
        case("fourth_science_graph_gps", "fourth/graph_gps", Gps, loops, classify_pair, round=4),
        case(
            "fourth_science_jumping_knowledge",
            "fourth/jumping_knowledge",
            JumpingKnowledge,
            loops,
            classify_pair,
            round=4,
        ),
        case("fourth_science_graph_unet", "fourth/graph_unet", GraphUNet, loops, classify_pair, round=4),
    ]
