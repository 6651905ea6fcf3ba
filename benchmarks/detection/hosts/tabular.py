"""Hosts on vectors, tables and ids: perceptrons, experts, recommenders, retrieval."""

from __future__ import annotations

import math
from itertools import combinations, pairwise

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from benchmarks.detection.cases import Build
from benchmarks.detection.hosts.host import Host
from benchmarks.detection.vocabulary.batches import generator
from benchmarks.detection.vocabulary.stacks import (
    FirstToken,
    FunctionalLayer,
    Layer,
    PreNorm,
    Stack,
    he,
    initialise,
    mlp,
)
from benchmarks.detection.vocabulary.tasks import (
    Task,
    TaskBatch,
    accuracy_gain,
    angles,
    classify,
    explained,
    median_gain,
    randint,
    regress,
)

QUANTILES = (0.1, 0.5, 0.9)


def sectors(classes: int = 3, width: int = 4, repeats: int = 2) -> Task:
    """Each class owns opposite sectors of the plane: no linear read-out of the input beats chance."""

    def draw(g: Generator, size: int) -> TaskBatch:
        points, turn = angles(g, size, width)
        return (points,), (turn * classes * repeats).long() % classes

    return classify(draw, classes)


def xavier(weight: Tensor) -> object:
    return nn.init.xavier_normal_(weight, gain=1.2)


def lecun(weight: Tensor) -> object:
    return nn.init.kaiming_normal_(weight, nonlinearity="linear")


def functional_mlp(depth: int = 8, width: int = 32) -> nn.Module:
    body: list[nn.Module] = [FunctionalLayer(width, width) for _ in range(depth - 2)]
    model = Stack(FunctionalLayer(4, width), body, nn.Linear(width, 3))
    initialise(model, he)
    return model


def batchnorm_mlp(depth: int = 10, width: int = 32) -> nn.Module:
    body: list[nn.Module] = []
    for _ in range(depth):
        body.append(nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU()))
    return Stack(Layer(4, width, nn.ReLU), body, nn.Linear(width, 3))


def dropout_mlp(width: int = 48) -> nn.Module:
    body: list[nn.Module] = []
    for _ in range(3):
        body.append(nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Dropout(0.1)))
    model = Stack(Layer(4, width, nn.ReLU), body, nn.Linear(width, 3))
    initialise(model, he)
    return model


class Residual(nn.Module):
    """Pre-norm residual perceptron block."""

    def __init__(self, width: int, act: Build, hidden: int = 32) -> None:
        super().__init__()
        self.norm, self.fc1, self.act = nn.LayerNorm(width), nn.Linear(width, hidden), act()
        self.fc2 = nn.Linear(hidden, width)
        self.residual = True

    def branch(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(self.norm(x))))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x) if self.residual else self.branch(x)


def residual_mlp(depth: int = 12, width: int = 24) -> nn.Module:
    blocks: list[nn.Module] = [Residual(width, nn.GELU) for _ in range(depth)]
    return Stack(nn.Linear(4, width), blocks, nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 3)))


class HighwayLayer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear, self.gate, self.act = nn.Linear(width, width), nn.Linear(width, width), nn.ReLU()
        nn.init.constant_(self.gate.bias, -1.0)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.gate(x).sigmoid()
        return gate * self.act(self.linear(x)) + (1 - gate) * x


def highway(depth: int = 10, width: int = 24) -> nn.Module:
    return Stack(nn.Linear(4, width), [HighwayLayer(width) for _ in range(depth)], nn.Linear(width, 3))


class Expert(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class Mixture(nn.Module):
    """Soft top-2 of four experts on a residual stream."""

    def __init__(self, width: int, experts: int = 4) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.router = nn.Linear(width, experts)
        self.experts = nn.ModuleList(Expert(width, width) for _ in range(experts))
        self.residual = True

    def forward(self, x: Tensor) -> Tensor:
        inner = self.norm(x)
        scores = self.router(inner)
        kept = scores.topk(2, -1).values[..., -1:]
        gates = scores.masked_fill(scores < kept, -math.inf).softmax(-1)
        mixed = sum(gates[..., i : i + 1] * expert(inner) for i, expert in enumerate(self.experts))
        return x + mixed if self.residual else mixed


def mixture(width: int = 24) -> nn.Module:
    return Stack(Layer(4, width, nn.ReLU), [Mixture(width) for _ in range(3)], nn.Linear(width, 3))


class MultiTask(nn.Module):
    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.trunk = nn.Sequential(Layer(4, width, nn.ReLU), Layer(width, width, nn.ReLU), Layer(width, width, nn.ReLU))
        self.tower = Layer(width, width, nn.ReLU)
        self.classes = nn.Linear(width, 3)
        self.head = nn.Linear(width, 1)
        initialise(self, he)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        shared = self.trunk(x)
        return self.classes(shared), self.head(self.tower(shared))


def two_questions() -> Task:
    """A class and a number asked of the same point."""

    def draw(g: Generator, size: int) -> TaskBatch:
        points, turn = angles(g, size, 4)
        return (points,), ((turn * 6).long() % 3, (points[:, :1] * points[:, 1:2]))

    def loss(out: tuple[Tensor, Tensor], target: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(out[0], target[0]) + F.mse_loss(out[1], target[1])

    def gain(out: tuple[Tensor, Tensor], target: tuple[Tensor, Tensor]) -> float:
        return (accuracy_gain(3)(out[0], target[0]) + max(explained(out[1], target[1]), -1.0)) / 2

    return Task(draw, loss, gain)


class Recommender(nn.Module):
    def __init__(self, users: int = 24, items: int = 24, width: int = 16) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(users, width), nn.Embedding(items, width)
        self.body = nn.Sequential(*[Layer(2 * width, 2 * width, nn.ReLU) for _ in range(3)])
        self.head = nn.Linear(2 * width, 1)
        initialise(self, he)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return self.head(self.body(torch.cat([self.user(user), self.item(item)], 1)))


def ratings(users: int = 24, items: int = 24) -> Task:
    """Whether a user likes an item depends on both of their hidden kinds and on neither alone."""

    def draw(g: Generator, size: int) -> TaskBatch:
        fixed = generator(11)
        likes = torch.tensor([[2.0, 0.0, -2.0], [-2.0, 2.0, 0.0], [0.0, -2.0, 2.0]])
        user, item = randint(g, users, size), randint(g, items, size)
        kinds = torch.randperm(users, generator=fixed)[user] % 3, torch.randperm(items, generator=fixed)[item] % 3
        return (user, item), likes[kinds[0], kinds[1]][:, None] + 0.1 * torch.randn(size, 1, generator=g)

    return regress(draw)


class FieldTokens(nn.Module):
    """FT-Transformer's tokeniser: every column of a table becomes a token."""

    def __init__(self, numbers: int, kinds: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(numbers, width) * 0.7)
        self.bias = nn.Parameter(torch.randn(numbers, width) * 0.7)
        self.kinds = nn.Embedding(2 * kinds, width)
        self.summary = nn.Parameter(torch.randn(1, width) * 0.7)

    def forward(self, numbers: Tensor, kinds: Tensor) -> Tensor:
        columns = numbers[..., None] * self.weight + self.bias
        categories = self.kinds(kinds + 2 * torch.arange(kinds.shape[1]))
        return torch.cat([self.summary.expand(len(numbers), 1, -1), columns, categories], 1)


class TableNet(nn.Module):
    def __init__(self, width: int = 16, depth: int = 2) -> None:
        super().__init__()
        self.stem = FieldTokens(4, 2, width)
        self.body = nn.Sequential(*[PreNorm(width) for _ in range(depth)])
        self.head = FirstToken(width, 2)

    def forward(self, numbers: Tensor, kinds: Tensor) -> Tensor:
        return self.head(self.body(self.stem(numbers, kinds)))


def table() -> Task:
    """Four numbers and two categories; the category decides which product of numbers decides."""

    def draw(g: Generator, size: int) -> TaskBatch:
        numbers, kinds = torch.randn(size, 4, generator=g), randint(g, 2, size, 2)
        sign = torch.where(kinds[:, 0] == 0, numbers[:, 0], -numbers[:, 1])
        return (numbers, kinds), (sign > 0).long()

    return classify(draw, 2)


class Cross(nn.Module):
    """DCN-v2: the input times a linear map of the current layer, added to it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, first: Tensor, x: Tensor) -> Tensor:
        return first * self.linear(x) + x


class Clicks(nn.Module):
    """Embeddings of ids beside numbers; crosses and a deep part in parallel."""

    def __init__(self, rows: int = 10, width: int = 8, fields: int = 3, numbers: int = 3) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(rows, width) for _ in range(fields))
        for table in self.tables:
            nn.init.normal_(table.weight, std=0.1)  # type: ignore[arg-type]
        total = fields * width + numbers
        self.cross = nn.ModuleList(Cross(total) for _ in range(2))
        self.body = nn.Sequential(nn.Linear(total, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
        self.head = nn.Linear(total + 32, 1)

    def forward(self, ids: Tensor, numbers: Tensor) -> Tensor:
        first = torch.cat([*(table(ids[:, i]) for i, table in enumerate(self.tables)), numbers], 1)
        crossed = first
        for layer in self.cross:
            crossed = layer(first, crossed)
        return self.head(torch.cat([crossed, self.body(first)], 1))


def fixed(*shape: int, seed: int = 11) -> Tensor:
    """Random numbers that belong to the task, the same in every batch."""
    return torch.randn(*shape, generator=generator(seed))


def clicks(rows: int = 10) -> Task:
    """Two of three ids have to be crossed, and a number added, to foretell the click."""
    signs = fixed(3, rows).sign()

    def draw(g: Generator, size: int) -> TaskBatch:
        ids, numbers = randint(g, rows, size, 3), torch.randn(size, 3, generator=g)
        logit = signs[0][ids[:, 0]] * signs[1][ids[:, 1]] + 0.8 * numbers[:, 0] + 0.2 * signs[2][ids[:, 2]]
        return (ids, numbers), (logit[:, None] > 0).float()

    return Task(draw, F.binary_cross_entropy_with_logits, median_gain)


def tower(inputs: int, width: int = 32, outputs: int = 16) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, width), nn.LayerNorm(width), nn.GELU(), nn.Linear(width, width), nn.GELU(),
        nn.Linear(width, outputs),
    )  # fmt: skip


class Retrieval(nn.Module):
    """Two towers, compared by cosine over a learnt temperature."""

    def __init__(self, inputs: int = 6) -> None:
        super().__init__()
        self.query, self.document = tower(inputs), tower(inputs)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, query: Tensor, document: Tensor) -> Tensor:
        left, right = F.normalize(self.query(query), dim=1), F.normalize(self.document(document), dim=1)
        return left @ right.T * self.log_scale.exp()


def partners(width: int = 6) -> Task:
    """Queries and the documents that belong to them; the others of the batch are the wrong answers."""
    turn = torch.linalg.qr(fixed(width, width))[0]

    def draw(g: Generator, size: int) -> TaskBatch:
        query = torch.randn(size, width, generator=g)
        found = (query @ turn).abs() + 0.2 * torch.randn(size, width, generator=g)
        return (query, found), torch.arange(size)

    def gain(out: Tensor, target: Tensor) -> float:
        """Eight documents to choose from, whatever the size of the batch."""
        blocks = [out[i : i + 8, i : i + 8] for i in range(0, len(out), 8)]
        hits = torch.stack([block.argmax(1) == torch.arange(len(block)) for block in blocks])
        return (hits.float().mean().item() - 1 / 8) / (1 - 1 / 8)

    return Task(draw, F.cross_entropy, gain)


class GatedResidual(nn.Module):
    """The gated residual network of temporal fusion transformers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)
        self.gate, self.glu, self.norm = nn.Linear(width, 2 * width), nn.GLU(), nn.LayerNorm(width)
        self.residual = True

    def forward(self, x: Tensor) -> Tensor:
        out = self.glu(self.gate(self.fc2(self.act(self.fc1(x)))))
        return self.norm(x + out if self.residual else out)


def quantiles(depth: int = 3, width: int = 24, inputs: int = 4) -> nn.Module:
    """Three quantiles of an answer whose noise depends on the input."""
    return Stack(nn.Linear(inputs, width), [GatedResidual(width) for _ in range(depth)], nn.Linear(width, 3))


def pinball(out: Tensor, target: Tensor) -> Tensor:
    """The loss whose best answers are the quantiles."""
    level = torch.tensor(QUANTILES)
    error = target - out
    return torch.maximum(level * error, (level - 1) * error).mean()


def spreads() -> Task:
    """An answer whose noise differs from place to place; chance is the best constant quantiles."""

    def draw(g: Generator, size: int) -> TaskBatch:
        x = torch.randn(size, 4, generator=g)
        noise = torch.randn(size, 1, generator=g) * (0.05 + 0.3 * x[:, 2:3].abs())
        return (x,), 1.5 * (1.5 * x[:, :1]).sin() + x[:, 1:2].abs() + noise

    def gain(out: Tensor, target: Tensor) -> float:
        constant = target.quantile(torch.tensor(QUANTILES), dim=0).view(1, -1)
        return float(1 - pinball(out.float(), target) / pinball(constant, target))

    return Task(draw, pinball, gain)


def tall_regressor(inputs: int = 10, width: int = 32, depth: int = 12) -> nn.Sequential:
    """A flat list of linear layers and ReLUs, He, one number at the end."""
    sizes = [inputs, *[width] * depth]
    layers: list[nn.Module] = []
    for before, behind in pairwise(sizes):
        layers += [nn.Linear(before, behind), nn.ReLU()]
    net = nn.Sequential(*layers, nn.Linear(width, 1))
    for module in net:
        if isinstance(module, nn.Linear):
            nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)
    return net


def friedman() -> Task:
    """Friedman's function of ten numbers, of which five count, brought to mean zero and deviation one."""

    def draw(g: Generator, size: int) -> TaskBatch:
        x = torch.rand(size, 10, generator=g)
        waves, bowl = 10 * (math.pi * x[:, 0] * x[:, 1]).sin(), 20 * (x[:, 2] - 0.5).square()
        answer = (waves + bowl + 10 * x[:, 3] + 5 * x[:, 4] - 14.4) / 4.9
        return (3.46 * (x - 0.5),), answer[:, None]

    return regress(draw)


class DLRM(nn.Module):
    """Numbers through one perceptron, ids through tables, all their products through another."""

    def __init__(self, sizes: tuple[int, ...] = (30, 12, 7), numbers: int = 4, dim: int = 8) -> None:
        super().__init__()
        self.emb_l = nn.ModuleList(nn.EmbeddingBag(size, dim, mode="sum") for size in sizes)
        self.bot_l = nn.Sequential(nn.Linear(numbers, 16), nn.ReLU(), nn.Linear(16, dim), nn.ReLU())
        pairs = len(list(combinations(range(len(sizes) + 1), 2)))
        self.top_l = nn.Sequential(
            nn.Linear(pairs + dim, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1)
        )
        for table in self.emb_l:
            nn.init.normal_(table.weight, std=0.5)  # type: ignore[arg-type]

    def interact(self, parts: Tensor) -> Tensor:
        products = parts @ parts.transpose(1, 2)
        rows, columns = torch.triu_indices(parts.shape[1], parts.shape[1], 1)
        return products[:, rows, columns]

    def look_up(self, ids: Tensor) -> list[Tensor]:
        return [table(ids[:, i : i + 1]) for i, table in enumerate(self.emb_l)]

    def forward(self, numbers: Tensor, ids: Tensor) -> Tensor:
        dense = self.bot_l(numbers)
        parts = torch.stack([dense, *self.look_up(ids)], dim=1)
        return self.top_l(torch.cat([dense, self.interact(parts)], dim=1))


def bought(users: int = 30, shops: int = 12, days: int = 7) -> Task:
    """Is it bought? The kinds of the customer and the shop have to fit; on some days the price decides too."""
    kinds = torch.tensor([[1.0, -1.0, 0.4], [-0.7, 1.0, -1.0], [0.5, -0.6, 1.0]])

    def draw(g: Generator, size: int) -> TaskBatch:
        ids = torch.stack([randint(g, count, size) for count in (users, shops, days)], 1)
        numbers = torch.randn(size, 4, generator=g)
        score = 1.5 * kinds[ids[:, 0] % 3, ids[:, 1] % 3] + torch.where(ids[:, 2] < 3, numbers[:, 0], 0.0)
        return (numbers, ids), (score > 0).float()[:, None]

    def gain(out: Tensor, target: Tensor) -> float:
        share = target.mean().clamp(0.01, 0.99)
        guess = (out > out.flatten().quantile(1 - share)).float()
        chance = torch.maximum(share, 1 - share)
        return float(((guess == target).float().mean() - chance) / (1 - chance))

    return Task(draw, F.binary_cross_entropy_with_logits, gain)


def hosts() -> list[Host]:
    """The hosts of this file."""
    return [
        Host(name="mlp4-relu", build=lambda: mlp(4, nn.ReLU, he), task=sectors()),
        Host(name="mlp6-default", build=lambda: mlp(6, nn.ReLU, None), task=sectors()),
        Host(name="mlp8-leaky", build=lambda: mlp(8, nn.LeakyReLU, he), task=sectors()),
        Host(name="mlp12-gelu", build=lambda: mlp(12, nn.GELU, he), task=sectors()),
        Host(name="mlp12-tanh", build=lambda: mlp(12, nn.Tanh, xavier), task=sectors()),
        Host(name="mlp12-selu", build=lambda: mlp(12, nn.SELU, lecun), task=sectors()),
        Host(name="mlp20-relu", build=lambda: mlp(20, nn.ReLU, he), task=sectors()),
        Host(name="mlp8-functional", build=functional_mlp, task=sectors()),
        Host(name="mlp10-batchnorm", build=batchnorm_mlp, task=sectors(), batch_size=16),
        Host(name="mlp5-dropout", build=dropout_mlp, task=sectors()),
        Host(name="resmlp12", build=residual_mlp, task=sectors()),
        Host(name="highway10", build=highway, task=sectors()),
        Host(name="moe", build=mixture, task=sectors()),
        Host(name="multitask", build=MultiTask, task=two_questions(), chain="trunk", trunk=("trunk*", "tower*")),
        Host(name="recommender", build=Recommender, task=ratings(), trunk=("user*", "item*", "body*")),
        Host(name="ft-transformer", build=TableNet, task=table()),
        Host(name="dcn", build=Clicks, task=clicks(), trunk=("tables*", "cross*", "body*"), round=2),
        Host(
            name="retrieval",
            build=Retrieval,
            task=partners(),
            chain="query",
            sites=("query.0", "query", "document"),
            trunk=("query*", "document*"),
            round=2,
        ),
        Host(name="quantiles", build=quantiles, task=spreads(), train_batch=64, round=3),
        Host(
            name="tall-regressor",
            build=tall_regressor,
            task=friedman(),
            chain="",
            sites=("2", "10", "20"),
            trunk=("?", "1?", "2[0-3]"),
            steps=120,
            train_batch=64,
            round=4,
        ),
        Host(
            name="dlrm",
            build=DLRM,
            task=bought(),
            chain="",
            sites=("bot_l", "emb_l.0", "top_l.0"),
            trunk=("bot_l*", "emb_l*", "top_l.[0-3]"),
            steps=120,
            train_batch=64,
            round=4,
        ),
    ]
