"""Hosts on graphs, sets and points."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from benchmarks.detection.hosts.host import Host
from benchmarks.detection.vocabulary.stacks import Attention, FeedForward, FunctionalLayer, Layer, Stack, he, initialise
from benchmarks.detection.vocabulary.tasks import Task, TaskBatch, classify, explained, randint, regress


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


def shapes(count: int = 16) -> Task:
    """A cloud of points, shuffled and turned: a ring, a disc or a line."""

    def draw(g: Generator, size: int) -> TaskBatch:
        kind = randint(g, 3, size)
        turn, radius = torch.rand(size, count, generator=g), torch.rand(size, count, generator=g).sqrt()
        radius = torch.where(kind[:, None] == 0, 1.0, radius)
        line = turn.where(kind[:, None] != 2, turn[:, :1]) * 2 * math.pi
        side = torch.where(kind[:, None] == 2, torch.rand(size, count, generator=g) * 2 - 1, radius) * 1.5
        return (torch.stack([line.cos() * side, line.sin() * side], 2),), kind

    return classify(draw, 3)


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


def neighbourhoods(nodes: int = 12) -> Task:
    """A node's class is whether its own sign agrees with that of its neighbours' mean."""

    def draw(g: Generator, size: int) -> TaskBatch:
        edges = (torch.rand(size, nodes, nodes, generator=g) < 0.2).float().triu(1)
        edges = edges + edges.transpose(1, 2) + torch.eye(nodes)
        own = torch.randn(size, nodes, 4, generator=g)
        mean = edges @ own[..., :1] / edges.sum(-1, keepdim=True)
        return (own, edges / edges.sum(-1, keepdim=True)), ((own[..., 1] * mean[..., 0]) > 0).long().flatten()

    return classify(draw, 2)


class Isomorphism(nn.Module):
    """GIN: sums over neighbours and a perceptron in every layer; sums over nodes of every layer are read out."""

    def __init__(self, inputs: int = 4, width: int = 24, depth: int = 3) -> None:
        super().__init__()
        self.stem = nn.Linear(inputs, width)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
            for _ in range(depth)
        )
        self.own = nn.Parameter(torch.zeros(depth))
        self.head = nn.Linear(width, 3)

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        hidden = self.stem(nodes)
        for own, layer in zip(self.own, self.layers, strict=True):
            hidden = layer((1 + own) * hidden + edges @ hidden)
        return self.head(hidden.mean(1))


def topologies(nodes: int = 10) -> Task:
    """Shuffled graphs: a star, a ring or a path; the nodes carry noise."""
    ring = torch.eye(nodes).roll(1, 0) + torch.eye(nodes).roll(-1, 0)
    path = ring.clone()
    path[0, -1] = path[-1, 0] = 0
    star = torch.zeros(nodes, nodes)
    star[0, 1:] = star[1:, 0] = 1
    kinds = torch.stack([star, ring, path])

    def draw(g: Generator, size: int) -> TaskBatch:
        kind = randint(g, 3, size)
        order = torch.rand(size, nodes, generator=g).argsort(1)
        edges = kinds[kind][torch.arange(size)[:, None, None], order[:, :, None], order[:, None, :]]
        features = torch.cat([torch.ones(size, nodes, 1), 0.3 * torch.randn(size, nodes, 3, generator=g)], 2)
        return (features, edges), kind

    return classify(draw, 3)


class GraphAttention(nn.Module):
    """GAT: additive scores along the edges; ``axis`` is what the weights are normalised over."""

    def __init__(self, inputs: int, width: int, heads: int = 2) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, width)
        self.sender = nn.Parameter(torch.randn(heads, width // heads) / math.sqrt(width // heads))
        self.receiver = nn.Parameter(torch.randn(heads, width // heads) / math.sqrt(width // heads))
        self.slope, self.act = nn.LeakyReLU(0.2), nn.GELU()
        self.own = nn.Linear(inputs, width)
        self.axis, self.hidden = -1, -math.inf

    def weigh(self, parts: Tensor, edges: Tensor) -> Tensor:
        """How much every node listens to every other, for each head."""
        sent, received = (parts * self.sender).sum(-1), (parts * self.receiver).sum(-1)
        scores = self.slope(received.transpose(1, 2)[..., None] + sent.transpose(1, 2)[..., None, :])
        return scores.masked_fill(edges[:, None] == 0, self.hidden).softmax(self.axis)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        parts = self.linear(x).unflatten(-1, self.sender.shape)
        mixed = self.weigh(parts, edges) @ parts.transpose(1, 2)
        return self.act(mixed.transpose(1, 2).flatten(-2) + self.own(x))


class Signposts(nn.Module):
    """Graph attention layers in a row; a class for every node."""

    def __init__(self, inputs: int = 4, width: int = 24, depth: int = 2) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Linear(inputs, width), nn.GELU())
        self.layers = nn.ModuleList(GraphAttention(width, width) for _ in range(depth))
        self.head = nn.Linear(width, 2)

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        hidden = self.stem(nodes)
        for layer in self.layers:
            hidden = layer(hidden, edges)
        return self.head(hidden).flatten(0, 1)


def signposts(nodes: int = 8) -> Task:
    """For every node: do the marked ones among its neighbours outweigh zero?"""

    def draw(g: Generator, size: int) -> TaskBatch:
        edges = (torch.rand(size, nodes, nodes, generator=g) < 0.3).float().triu(1)
        edges = edges + edges.transpose(1, 2) + torch.eye(nodes)
        marked = (torch.rand(size, nodes, 1, generator=g) < 0.6).float()
        value, noise = torch.randn(size, nodes, 1, generator=g), torch.randn(size, nodes, 2, generator=g)
        weight = (edges @ (marked * value))[..., 0]
        return (torch.cat([marked, value, noise], 2), edges), (weight > 0).long().flatten()

    return classify(draw, 2)


class Induced(nn.Module):
    """An attention block whose queries are learnt: the inducing points of a set transformer, or its pooling."""

    def __init__(self, width: int, points: int) -> None:
        super().__init__()
        self.points = nn.Parameter(torch.randn(points, width) / math.sqrt(width))
        self.attn, self.norm1 = Attention(width), nn.LayerNorm(width)
        self.mlp, self.norm2 = FeedForward(width, width), nn.LayerNorm(width)
        self.residual = True

    def forward(self, x: Tensor) -> Tensor:
        points = self.points.expand(len(x), -1, -1)
        out = self.attn(points, x)
        hidden = self.norm1(points + out if self.residual else out)
        return self.norm2(hidden + self.mlp(hidden) if self.residual else self.mlp(hidden))


class InducedSet(nn.Module):
    """The points of the set ask what the inducing points have gathered."""

    def __init__(self, width: int, points: int = 4) -> None:
        super().__init__()
        self.gather, self.attn, self.norm = Induced(width, points), Attention(width), nn.LayerNorm(width)
        self.mlp, self.norm2, self.residual = FeedForward(width, width), nn.LayerNorm(width), True

    def forward(self, x: Tensor) -> Tensor:
        out = self.attn(x, self.gather(x))
        hidden = self.norm(x + out if self.residual else out)
        return self.norm2(hidden + self.mlp(hidden) if self.residual else self.mlp(hidden))


def set_transformer(depth: int = 2, width: int = 16, inputs: int = 2) -> nn.Module:
    head = nn.Sequential(nn.Flatten(), nn.Linear(width, 1))
    body: list[nn.Module] = [*(InducedSet(width) for _ in range(depth)), Induced(width, 1)]
    return Stack(nn.Linear(inputs, width), body, head)


def ranges(count: int = 8) -> Task:
    """How far is the greatest of one coordinate from the least of the other?"""

    def draw(g: Generator, size: int) -> TaskBatch:
        width = 0.3 + torch.rand(size, 1, 1, generator=g)
        points = width * torch.randn(size, count, 2, generator=g)
        return (points,), points[..., 0].amax(1, keepdim=True) - points[..., 1].amin(1, keepdim=True)

    return Task(draw, F.smooth_l1_loss, explained)


class PerceiverBlock(nn.Module):
    """Latents ask the inputs, then each other."""

    def __init__(self, dim: int, heads: int = 2) -> None:
        super().__init__()
        self.norm_latents, self.norm_inputs, self.norm_self = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.cross = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.self_attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.ff = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, latents: Tensor, inputs: Tensor) -> Tensor:
        source = self.norm_inputs(inputs)
        latents = latents + self.cross(self.norm_latents(latents), source, source, need_weights=False)[0]
        own = self.norm_self(latents)
        latents = latents + self.self_attention(own, own, own, need_weights=False)[0]
        return latents + self.ff(latents)


class Perceiver(nn.Module):
    def __init__(self, inputs: int = 2, dim: int = 24, latents: int = 4, depth: int = 2) -> None:
        super().__init__()
        self.to_tokens = nn.Sequential(nn.Linear(inputs, dim), nn.GELU(), nn.Linear(dim, dim))
        self.latents = nn.Parameter(torch.randn(latents, dim) * 0.2)
        self.blocks = nn.ModuleList(PerceiverBlock(dim) for _ in range(depth))
        self.to_answer = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 1))

    def forward(self, points: Tensor) -> Tensor:
        tokens = self.to_tokens(points)
        latents = self.latents.expand(len(points), -1, -1)
        for block in self.blocks:
            latents = block(latents, tokens)
        return self.to_answer(latents.mean(1))


def top_of_the_heap(count: int = 10) -> Task:
    """Points in any order: the second coordinate of the one whose first is the greatest."""

    def draw(g: Generator, size: int) -> TaskBatch:
        points = torch.randn(size, count, 2, generator=g)
        best = points[..., 0].argmax(1)
        return (points,), points[torch.arange(size), best, 1:]

    return regress(draw)


class SAGEConv(nn.Module):
    """What a node holds, and the mean of what its neighbours hold."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.lin_l, self.lin_r = nn.Linear(inputs, outputs), nn.Linear(inputs, outputs, bias=False)

    def aggregate(self, x: Tensor, adj: Tensor) -> Tensor:
        return adj @ x / adj.sum(dim=-1, keepdim=True).clamp(min=1)

    def forward(self, x: Tensor, adj: Tensor) -> Tensor:
        return self.lin_l(self.aggregate(x, adj)) + self.lin_r(x)


class GraphSAGE(nn.Module):
    """Three convolutions; the read-out sees the results of all of them."""

    def __init__(self, inputs: int = 3, hidden: int = 24, depth: int = 3) -> None:
        super().__init__()
        self.convs = nn.ModuleList(SAGEConv(hidden if i else inputs, hidden) for i in range(depth))
        self.act = nn.ReLU()
        self.lin = nn.Sequential(nn.Linear(depth * hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def jump(self, found: list[Tensor]) -> Tensor:
        return torch.cat(found, dim=-1)

    def forward(self, x: Tensor, adj: Tensor) -> Tensor:
        found = []
        for conv in self.convs:
            x = self.act(conv(x, adj))
            found.append(x)
        return self.lin(self.jump(found)).flatten(0, 1)


def rumours(nodes: int = 8) -> Task:
    """A number for every node, of what its neighbours hold and of what theirs hold; some nodes have none."""

    def draw(g: Generator, size: int) -> TaskBatch:
        upper = (torch.rand(size, nodes, nodes, generator=g) < 0.25).float().triu(1)
        edges = upper + upper.transpose(1, 2)
        x = torch.randn(size, nodes, 3, generator=g)
        share = edges / edges.sum(-1, keepdim=True).clamp(min=1)
        near, far = share @ x[..., :1], share @ (share @ x[..., 1:2])
        return (x, edges), (1.5 * near + (2 * far).tanh() + 0.5 * x[..., 2:] * near).flatten(0, 1)

    return regress(draw)


def hosts() -> list[Host]:
    """The hosts of this file."""
    return [
        Host(name="pointnet", build=Points, task=shapes(), trunk=("body*", "post*")),
        Host(name="deepsets", build=DeepSets, task=shapes(), trunk=("body*", "post*")),
        Host(
            name="gcn",
            build=GraphNet,
            task=neighbourhoods(),
            chain="",
            sites=("layers.0", "layers.1", "layers.2"),
            trunk=("layers*",),
        ),
        Host(
            name="gin", build=Isomorphism, task=topologies(), chain="layers", trunk=("stem*", "layers*", "own"), round=2
        ),
        Host(
            name="gat",
            build=Signposts,
            task=signposts(),
            chain="layers",
            sites=("stem", "layers.0", "layers.1"),
            trunk=("stem*", "layers*"),
            steps=120,
            train_batch=32,
            round=3,
        ),
        Host(name="set-transformer", build=set_transformer, task=ranges(), steps=120, train_batch=32, round=3),
        Host(
            name="perceiver",
            build=Perceiver,
            task=top_of_the_heap(),
            chain="",
            sites=("to_tokens", "blocks.0", "blocks.1"),
            trunk=("", "to_tokens*", "blocks*"),
            steps=120,
            train_batch=32,
            round=4,
        ),
        Host(
            name="sage-jump",
            build=GraphSAGE,
            task=rumours(),
            chain="",
            sites=("convs.0", "convs.1", "convs.2"),
            trunk=("convs*",),
            steps=120,
            train_batch=32,
            round=4,
        ),
    ]
