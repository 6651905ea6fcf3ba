"""Sets and point clouds."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case, Maker
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import generator, prototypes
from benchmarks.detection.vocabulary.blocks import mlp


class DeepSets(nn.Module):
    """A perceptron per element, a sum, a perceptron."""

    def __init__(self) -> None:
        super().__init__()
        self.each, self.all = mlp([3, 32, 32]), mlp([32, 32, 4])

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.all(self.each(x).mean(dim=1))
        return out


def clouds(points: int = 24) -> Maker:
    """Points on an ellipsoid whose axes are the class."""

    def make(seed: int, size: int) -> tuple[Tensor, Tensor]:
        g = generator(seed)
        labels = torch.randint(4, (size,), generator=g)
        axes = prototypes(4, 3)[labels].abs() + 0.3
        return F.normalize(torch.randn(size, points, 3, generator=g), dim=-1) * axes[:, None], labels

    return make


def shared(inside: int, outside: int) -> nn.Sequential:
    """A perceptron layer that all points share."""
    return nn.Sequential(nn.Conv1d(inside, outside, 1), nn.BatchNorm1d(outside), nn.ReLU())


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


class EdgeConv(nn.Module):
    """DGCNN: neighbours in feature space, the greatest of what edges say."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.edges = nn.ModuleList(
            nn.Sequential(nn.Conv2d(2 * n, width, 1, bias=False), nn.BatchNorm2d(width), nn.LeakyReLU(0.2))
            for n in (3, width)
        )
        self.join = nn.Sequential(nn.Conv1d(2 * width, 32, 1, bias=False), nn.BatchNorm1d(32), nn.LeakyReLU(0.2))
        self.head = nn.Sequential(nn.Linear(32, 16), nn.LeakyReLU(0.2), nn.Dropout(0.5), nn.Linear(16, 3))

    def forward(self, points: Tensor) -> Tensor:
        x, levels = points, []
        for edge in self.edges:
            near = torch.cdist(x, x).topk(4, largest=False).indices
            others = x[torch.arange(len(x))[:, None, None], near]
            pairs = torch.cat([others - x[:, :, None], x[:, :, None].expand_as(others)], -1)
            x = edge(pairs.permute(0, 3, 1, 2)).amax(3).transpose(1, 2)
            levels.append(x)
        return self.head(self.join(torch.cat(levels, 2).transpose(1, 2)).amax(2))


def solids(count: int = 24) -> Maker:
    """Points of a sphere, a disc or a line."""

    def make(seed: int, size: int) -> Batch:
        g = generator(seed)
        kind = torch.randint(3, (size,), generator=g)
        x = F.normalize(torch.randn(size, count, 3, generator=g), dim=-1)
        keep = torch.tensor([[1.0, 1, 1], [1, 1, 0], [1, 0, 0]])[kind]
        return x * keep[:, None] + 0.05 * torch.randn(size, count, 3, generator=g), kind

    return make


class Grouped(nn.Module):
    """PointNet++: centres, the points around each through a small net, and once more over the centres."""

    def __init__(self) -> None:
        super().__init__()
        self.local = nn.Sequential(nn.Conv2d(3, 16, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 1))
        self.whole = nn.Sequential(nn.Conv1d(19, 32, 1), nn.BatchNorm1d(32), nn.ReLU(), nn.Conv1d(32, 32, 1))
        self.head = nn.Sequential(nn.Linear(32, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.4), nn.Linear(16, 3))

    def forward(self, points: Tensor) -> Tensor:
        centres = points[:, :6]
        near = torch.cdist(centres, points).topk(6, largest=False).indices
        around = points[torch.arange(len(points))[:, None, None], near] - centres[:, :, None]
        local = F.relu(self.local(around.permute(0, 3, 1, 2)).amax(3))
        return self.head(F.relu(self.whole(torch.cat([centres.transpose(1, 2), local], 1)).amax(2)))


class PointAttention(nn.Module):
    """Point Transformer: vector attention with relative positions among neighbours."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem, self.qkv = nn.Linear(3, width), nn.Linear(width, 3 * width)
        self.place, self.weigh = mlp([3, width, width]), mlp([width, width, width])
        self.out, self.head = nn.Linear(width, width), mlp([width, 16, 3])

    def forward(self, points: Tensor) -> Tensor:
        h, near = self.stem(points), torch.cdist(points, points).topk(6, largest=False).indices
        rows = torch.arange(len(points))[:, None, None]
        query, key, value = self.qkv(h).chunk(3, -1)
        place = self.place(points[:, :, None] - points[rows, near])
        weight = self.weigh(query[:, :, None] - key[rows, near] + place).softmax(2)
        return self.head((h + self.out((weight * (value[rows, near] + place)).sum(2))).mean(1))


def cases() -> list[Case]:
    """The cases of this file."""
    return [
        case("graph_deep_sets", "graph/deep_sets", DeepSets, clouds()),
        case("graph_pointnet", "graph/pointnet", PointNet, clouds()),
        case("graph_set_transformer", "graph/set_transformer", SetTransformer, clouds()),
        case("graph_detr_queries", "graph/detr", DETR, clouds(), matched),
        case("second_tabular_dgcnn", "second/dgcnn", EdgeConv, solids(), size=16, round=2),
        case("second_tabular_pointnet_plus_plus", "second/pointnet_plus_plus", Grouped, solids(), size=16, round=2),
        case(
            "second_tabular_point_transformer", "second/point_transformer", PointAttention, solids(), size=16, round=2
        ),
    ]
