"""Recommendation and ranking."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case, Maker
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import ITEMS, generator, histories, patterns, prototypes, regression
from benchmarks.detection.vocabulary.blocks import mlp
from benchmarks.detection.vocabulary.losses import own_loss, supervised

USERS = 2000
ROWS = 40


class DLRM(nn.Module):
    """Dot products between embeddings and a bottom network; embeddings uniform within 1/sqrt(rows), as in its code."""

    def __init__(self) -> None:
        super().__init__()
        self.user, self.item = nn.EmbeddingBag(USERS, 8, mode="sum"), nn.EmbeddingBag(ITEMS, 8, mode="sum")
        for table in (self.user, self.item):
            nn.init.uniform_(table.weight, -((1 / table.num_embeddings) ** 0.5), (1 / table.num_embeddings) ** 0.5)
        self.bottom, self.top = nn.Sequential(mlp([5, 16, 8]), nn.ReLU()), mlp([11, 16, 1])

    def forward(self, user: Tensor, item: Tensor, numbers: Tensor) -> Tensor:
        dense = self.bottom(numbers)
        parts = torch.stack([dense, self.user(user[:, None]), self.item(item[:, None])], dim=1)
        pairs = (parts @ parts.transpose(1, 2))[:, [0, 0, 1], [1, 2, 2]]
        out: Tensor = self.top(torch.cat([dense, pairs], dim=1))
        return out


def clicks() -> Maker:
    """Users, items, five numbers and whether there was a click; most users and items are in no batch."""

    def make(seed: int, size: int) -> tuple[Tensor, ...]:
        g = generator(seed)
        user, item = torch.randint(USERS, (size,), generator=g), torch.randint(ITEMS, (size,), generator=g)
        numbers = torch.randn(size, 5, generator=g)
        return user, item, numbers, (((user + item) % 2) * 2 - 1 + numbers[:, 0] > 0).float()

    return make


def clicked(model: nn.Module, batch: Batch) -> Tensor:
    """Binary cross entropy of the click."""
    *inputs, click = batch
    return F.binary_cross_entropy_with_logits(model(*inputs).reshape(-1), click)


class WideDeep(nn.Module):
    """A linear model over ids next to a deep one over embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.wide_user, self.wide_item = nn.Embedding(USERS, 1), nn.Embedding(ITEMS, 1)
        self.user, self.item, self.deep = nn.Embedding(USERS, 8), nn.Embedding(ITEMS, 8), mlp([21, 32, 16, 1])

    def forward(self, user: Tensor, item: Tensor, numbers: Tensor) -> Tensor:
        deep = self.deep(torch.cat([self.user(user), self.item(item), numbers], dim=1))
        out: Tensor = self.wide_user(user) + self.wide_item(item) + deep
        return out


class DeepFM(nn.Module):
    """A factorisation machine (embeddings N(0, 0.01)), on request with a deep part."""

    def __init__(self, deep: bool = True) -> None:
        super().__init__()
        self.linear, self.factors = nn.Embedding(USERS + ITEMS, 1), nn.Embedding(USERS + ITEMS, 8)
        self.bias, self.deep = nn.Parameter(torch.zeros(1)), mlp([16, 32, 1]) if deep else None
        for table in (self.linear, self.factors):
            nn.init.normal_(table.weight, std=0.01)

    def forward(self, user: Tensor, item: Tensor, _: Tensor) -> Tensor:
        index = torch.stack([user, item + USERS], dim=1)
        parts = self.factors(index)
        pairs = 0.5 * (parts.sum(dim=1) ** 2 - (parts**2).sum(dim=1)).sum(dim=1, keepdim=True)
        out: Tensor = self.bias + self.linear(index).sum(dim=1) + pairs
        return out if self.deep is None else out + self.deep(parts.flatten(1))


class NeuMF(nn.Module):
    """Neural collaborative filtering: a product of factors and a perceptron, embeddings N(0, 0.01)."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = nn.ModuleList([nn.Embedding(n, 8) for n in (USERS, ITEMS, USERS, ITEMS)])
        for table in self.tables:
            nn.init.normal_(table.weight, std=0.01)  # type: ignore[arg-type]
        self.deep, self.head = nn.Sequential(mlp([16, 16, 8]), nn.ReLU()), nn.Linear(16, 1)

    def forward(self, user: Tensor, item: Tensor, _: Tensor) -> Tensor:
        a, b, c, d = (table(i) for table, i in zip(self.tables, (user, item, user, item), strict=True))
        out: Tensor = self.head(torch.cat([a * b, self.deep(torch.cat([c, d], dim=1))], dim=1))
        return out


class TwoTower(nn.Module):
    """A tower for users and one for items; the other items of the batch are the negatives."""

    def __init__(self) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(USERS, 16), nn.Embedding(ITEMS, 16)
        self.left, self.right = mlp([16, 32, 16]), mlp([16, 32, 16])

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        left, right = self.left(self.user(user)), self.right(self.item(item))
        out: Tensor = F.normalize(left, dim=1) @ F.normalize(right, dim=1).T / 0.1
        return out


def retrieved(model: nn.Module, batch: Batch) -> Tensor:
    """Softmax over the items of the batch."""
    return F.cross_entropy(model(batch[0], batch[1]), torch.arange(len(batch[0])))


class SASRec(nn.Module):
    """Next-item recommendation by attention over the history, scored with the item table itself."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.items, self.places = nn.Embedding(ITEMS, width), nn.Embedding(8, width)
        nn.init.xavier_normal_(self.items.weight)
        layer = nn.TransformerEncoderLayer(width, 1, width, batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 2, nn.LayerNorm(width), enable_nested_tensor=False)

    def forward(self, history: Tensor) -> Tensor:
        h = self.items(history) + self.places(torch.arange(history.shape[1]))
        mask = nn.Transformer.generate_square_subsequent_mask(history.shape[1])
        out: Tensor = self.body(h, mask=mask, is_causal=True) @ self.items.weight.T
        return out


def following(model: nn.Module, history: Batch) -> Tensor:
    """Cross entropy of the next item over all items."""
    return F.cross_entropy(model(history[:, :-1]).flatten(0, 1), history[:, 1:].flatten())


class Fields(nn.Module):
    """Embeddings of all fields in one table, xavier as in the usual click-through libraries."""

    def __init__(self, count: int = 6, width: int = 8) -> None:
        super().__init__()
        self.table = nn.Embedding(count * ROWS, width)
        nn.init.xavier_uniform_(self.table.weight)
        self.register_buffer("offsets", ROWS * torch.arange(count))

    def forward(self, ids: Tensor) -> Tensor:
        return self.table(ids + self.offsets)  # type: ignore[operator]


class Compressed(nn.Module):
    """xDeepFM: outer products of fields, compressed by 1x1 convolutions, beside a deep part."""

    def __init__(self) -> None:
        super().__init__()
        self.fields, self.deep = Fields(), mlp([48, 32, 1])
        self.convs = nn.ModuleList(nn.Conv1d(6 * n, 8, 1) for n in (6, 8))
        self.head = nn.Linear(16, 1)

    def forward(self, ids: Tensor) -> Tensor:
        first = hidden = self.fields(ids)
        pooled = []
        for conv in self.convs:
            hidden = F.relu(conv((first[:, :, None] * hidden[:, None]).flatten(1, 2)))
            pooled.append(hidden.sum(2))
        return (self.head(torch.cat(pooled, 1)) + self.deep(first.flatten(1)))[:, 0]


def fields(count: int = 6) -> Maker:
    """Ids of several fields and whether there was a click."""
    taste = prototypes(count * ROWS, 3).view(count, ROWS, 3)

    def make(seed: int, size: int) -> Batch:
        g = generator(seed)
        ids = torch.randint(ROWS, (size, count), generator=g)
        drawn = torch.stack([taste[i][ids[:, i]] for i in range(count)], 1)
        logit = (drawn.sum(1).square().sum(1) - drawn.square().sum((1, 2))) / 6
        return ids, (logit + 0.3 * torch.randn(size, generator=g) > 0).float()

    return make


class AutoInt(nn.Module):
    """Self-attention between fields with a ReLU residual."""

    def __init__(self) -> None:
        super().__init__()
        self.fields = Fields()
        self.layers = nn.ModuleList(nn.MultiheadAttention(8, 2, batch_first=True) for _ in range(2))
        self.skips, self.head = nn.ModuleList(nn.Linear(8, 8) for _ in range(2)), nn.Linear(48, 1)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.fields(ids)
        for layer, skip in zip(self.layers, self.skips, strict=True):
            x = F.relu(layer(x, x, x)[0] + skip(x))
        return self.head(x.flatten(1))[:, 0]


class Product(nn.Module):
    """PNN: inner products of all pairs of fields, then a perceptron with norms and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.fields = Fields()
        layers = [nn.Linear(48 + 15, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 1)]
        self.deep = nn.Sequential(*layers)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.fields(ids)
        rows, columns = torch.triu_indices(6, 6, 1)
        return self.deep(torch.cat([x.flatten(1), (x[:, rows] * x[:, columns]).sum(2)], 1))[:, 0]


class Attentional(nn.Module):
    """AFM: pairs of fields, weighed by an attention."""

    def __init__(self) -> None:
        super().__init__()
        self.fields, self.linear = Fields(), nn.Embedding(6 * ROWS, 1)
        self.attend = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1), nn.Softmax(1))
        self.head = nn.Linear(8, 1)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.fields(ids)
        rows, columns = torch.triu_indices(6, 6, 1)
        pairs = x[:, rows] * x[:, columns]
        return self.head((self.attend(pairs) * pairs).sum(1))[:, 0] + self.linear(ids + self.fields.offsets).sum((1, 2))  # type: ignore[operator]


class Interest(nn.Module):
    """DIN: the history is weighed by how it fits the candidate; PReLU, no softmax."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.items = nn.Embedding(ROWS, width)
        self.fits = nn.Sequential(nn.Linear(4 * width, 16), nn.PReLU(), nn.Linear(16, 1))
        self.head = nn.Sequential(nn.Linear(2 * width, 16), nn.PReLU(), nn.Linear(16, 1))

    def forward(self, ids: Tensor) -> Tensor:
        wanted, past = self.items(ids[:, :1]), self.items(ids[:, 1:])
        wide = wanted.expand_as(past)
        weight = self.fits(torch.cat([wide, past, wide - past, wide * past], -1))
        return self.head(torch.cat([wanted[:, 0], (weight * past).sum(1)], 1))[:, 0]


def repeated() -> Maker:
    """A candidate and a history that may hold it."""

    def make(seed: int, size: int) -> Batch:
        g = generator(seed)
        ids, seen = torch.randint(ROWS, (size, 7), generator=g), torch.rand(size, generator=g) < 0.5
        ids[:, 3] = torch.where(seen, ids[:, 0], ids[:, 3])
        return ids, (ids[:, 1:] == ids[:, :1]).any(1).float()

    return make


class SessionGru(nn.Module):
    """GRU4Rec with the in-batch items as negatives and the BPR-max loss."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.items, self.rnn = nn.Embedding(ROWS, width), nn.GRU(width, width, batch_first=True)
        self.out, self.bias = nn.Embedding(ROWS, width), nn.Embedding(ROWS, 1)
        nn.init.xavier_uniform_(self.items.weight)
        nn.init.xavier_uniform_(self.out.weight)
        nn.init.zeros_(self.bias.weight)

    def forward(self, session: Tensor) -> Tensor:
        state, wanted = self.rnn(self.items(session[:, :-1]))[0][:, -1], session[:, -1]
        scores = state @ self.out(wanted).T + self.bias(wanted)[:, 0]
        apart = ~torch.eye(len(session), dtype=torch.bool)
        weight = scores.masked_fill(~apart, -math.inf).softmax(1)
        better = (scores.diag()[:, None] - scores).sigmoid()
        return -((weight * better).sum(1) + 1e-24).log().mean() + (weight * scores.square()).sum(1).mean()


def sessions(seed: int, size: int) -> Batch:
    """Items visited in order."""
    g = generator(seed)
    start, stride = torch.randint(ROWS, (size, 1), generator=g), torch.randint(1, 4, (size, 1), generator=g)
    return (start + stride * torch.arange(7)) % ROWS


class LightGcn(nn.Module):
    """LightGCN: embeddings, N(0, 0.1), averaged over the graph; nothing else is learnt; BPR."""

    def __init__(self, users: int = 20, items: int = 20, width: int = 16) -> None:
        super().__init__()
        self.users, self.table = users, nn.Embedding(users + items, width)
        nn.init.normal_(self.table.weight, std=0.1)
        edges = (torch.arange(users)[:, None] % 4 == torch.arange(items) % 4).float()
        whole = torch.zeros(users + items, users + items)
        whole[:users, users:], whole[users:, :users] = edges, edges.T
        self.register_buffer(
            "graph", whole / whole.sum(1).clamp(min=1).sqrt() / whole.sum(0).clamp(min=1).sqrt()[:, None]
        )

    def forward(self, triples: Tensor) -> Tensor:
        layers = [self.table.weight]
        for _ in range(3):
            layers.append(self.graph @ layers[-1])  # type: ignore[operator]
        final = torch.stack(layers).mean(0)
        user, liked, other = final[triples[:, 0]], final[self.users + triples[:, 1]], final[self.users + triples[:, 2]]
        size = self.table(triples + torch.tensor([0, self.users, self.users])).square().sum() / len(triples)
        return F.softplus((user * other).sum(1) - (user * liked).sum(1)).mean() + 5e-5 * size


def liked(seed: int, size: int) -> Batch:
    """A user, an item that was liked and one that was not."""
    g = generator(seed)
    user, which = torch.randint(20, (size,), generator=g), torch.randint(5, (size, 2), generator=g)
    return torch.stack([user, user % 4 + 4 * which[:, 0], (user + 1) % 4 + 4 * which[:, 1]], 1)


class MultVae(nn.Module):
    """Mult-VAE: normalised histories, dropout, tanh, xavier weights and N(0, 0.001) biases, a multinomial."""

    def __init__(self, items: int = 40) -> None:
        super().__init__()
        self.encode, self.decode = mlp([items, 32, 16], nn.Tanh), mlp([8, 32, items], nn.Tanh)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_normal_(module.weight)
                nn.init.normal_(module.bias, std=0.001)

    def forward(self, x: Tensor) -> Tensor:
        mean, log_variance = self.encode(F.dropout(F.normalize(x), 0.5, self.training)).chunk(2, 1)
        out = self.decode(mean + (log_variance / 2).exp() * torch.randn_like(mean))
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
        return -(out.log_softmax(1) * x).sum(1).mean() + 0.2 * divergence


def baskets(seed: int, size: int) -> Batch:
    return (patterns(40)(seed, size)[0] > 0.5).float()


class Caser(nn.Module):
    """Caser: the last items as an image, filters along and across; the next item is told from three others."""

    def __init__(self, width: int = 16, length: int = 6) -> None:
        super().__init__()
        self.items, self.users = nn.Embedding(48, width), nn.Embedding(32, width)
        nn.init.normal_(self.items.weight, std=1 / width)
        nn.init.normal_(self.users.weight, std=1 / width)
        self.across = nn.ModuleList(nn.Conv2d(1, 4, (n, width)) for n in range(1, length + 1))
        self.along, self.join = nn.Conv2d(1, 2, (length, 1)), nn.Linear(2 * width + 4 * length, width)
        self.w, self.b = nn.Embedding(48, 2 * width), nn.Embedding(48, 1)
        nn.init.normal_(self.w.weight, std=1 / (2 * width))
        nn.init.zeros_(self.b.weight)

    def forward(self, user: Tensor, past: Tensor, asked: Tensor) -> Tensor:
        image = self.items(past)[:, None]
        seen = [F.relu(conv(image))[..., 0].amax(2) for conv in self.across]
        both = F.dropout(torch.cat([self.along(image).flatten(1), *seen], 1), 0.3, self.training)
        x = torch.cat([F.relu(self.join(both)), self.users(user)], 1)
        score = (self.w(asked) * x[:, None]).sum(2) + self.b(asked)[..., 0]
        truth = torch.zeros_like(score)
        truth[:, 0] = 1
        return F.binary_cross_entropy_with_logits(score, truth)


def basket_rows(seed: int, size: int) -> Batch:
    """Users, six items in a row, the next one and three others."""
    g = generator(seed)
    user, start = torch.randint(32, (size,), generator=g), torch.randint(48, (size, 1), generator=g)
    row = (start + 2 * torch.arange(7)) % 48
    others = (row[:, -1:] + 1 + torch.randint(46, (size, 3), generator=g)) % 48
    return user, row[:, :6], torch.cat([row[:, 6:], others], 1)


class AutoRec(nn.Module):
    """AutoRec: rows of ratings through one sigmoid layer and back; only what was rated counts."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = nn.Linear(40, 24), nn.Linear(24, 40)

    def forward(self, rating: Tensor, known: Tensor) -> Tensor:
        out = self.decode(self.encode(rating * known).sigmoid())
        size = self.encode.weight.square().sum() + self.decode.weight.square().sum()
        return ((out - rating) * known).square().sum() / len(rating) + 1e-3 * size


def ratings(seed: int, size: int) -> Batch:
    """One to five stars by four tastes, a third of them known."""
    g = generator(seed)
    taste = prototypes(4, 40)[torch.randint(4, (size,), generator=g)]
    stars = (3 + taste + 0.3 * torch.randn(size, 40, generator=g)).round().clamp(1, 5)
    return stars, (torch.rand(size, 40, generator=g) < 0.35).float()


class EntireSpace(nn.Module):
    """ESMM: clicks, and purchases as the product of two chances, over one shared table."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(40, 8)
        self.click, self.buy = mlp([32, 32, 16, 1]), mlp([32, 32, 16, 1])

    def forward(self, fields: Tensor, clicked: Tensor, bought: Tensor) -> Tensor:
        x = self.table(fields).flatten(1)
        click, buy = self.click(x).sigmoid()[:, 0], self.buy(x).sigmoid()[:, 0]
        return F.binary_cross_entropy(click, clicked) + F.binary_cross_entropy(click * buy, bought)


def funnels(seed: int, size: int) -> Batch:
    """Four fields, whether it was clicked, and if so, whether it was bought."""
    g = generator(seed)
    fields = torch.randint(10, (4 * size, 4), generator=g) + 10 * torch.arange(4)
    score = prototypes(40, 2)[fields].sum(1)
    clicked = (score[:, 0] > 0).float()
    return fields, clicked, clicked * (score[:, 1] > 0).float()


class Pairs(nn.Module):
    """BPR matrix factorisation: the item somebody took shall score above another; N(0, 0.01) tables, weight decay."""

    def __init__(self) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(32, 12), nn.Embedding(48, 12)
        nn.init.normal_(self.users.weight, std=0.01)
        nn.init.normal_(self.items.weight, std=0.01)

    def forward(self, user: Tensor, item: Tensor, other: Tensor) -> Tensor:
        u, i, j = self.users(user), self.items(item), self.items(other)
        size = (u.square() + i.square() + j.square()).sum(1).mean()
        return -F.logsigmoid((u * (i - j)).sum(1)).mean() + 1e-3 * size


def liked_pairs(seed: int, size: int) -> Batch:
    """Users, an item of their taste and one that is not."""
    g = generator(seed)
    user = torch.randint(32, (8 * size,), generator=g)
    other = (user + 1 + torch.randint(3, user.shape, generator=g)) % 4
    item, wrong = (4 * torch.randint(12, user.shape, generator=g) + kind for kind in (user % 4, other % 4))
    return user, item, torch.where(wrong % 4 == user % 4, (wrong + 1) % 48, wrong)


class ListRank(nn.Module):
    """LambdaRank on lists of documents: pairs weighed by what swapping them would change."""

    def __init__(self) -> None:
        super().__init__()
        self.score = mlp([12, 32, 16, 1])

    def forward(self, x: Tensor, grade: Tensor) -> Tensor:
        score = self.score(x)[..., 0]
        rank = score.detach().argsort(1, descending=True).argsort(1)
        gain, discount = 2.0**grade - 1, 1 / (rank + 2.0).log2()
        best = ((2.0 ** grade.sort(1, descending=True).values - 1) / (torch.arange(grade.shape[1]) + 2.0).log2()).sum(1)
        change = (gain[:, :, None] - gain[:, None]).abs() * (discount[:, :, None] - discount[:, None]).abs()
        pair = F.softplus(-(score[:, :, None] - score[:, None])) * change / best.clamp(min=1e-6)[:, None, None]
        return (pair * (grade[:, :, None] > grade[:, None])).sum((1, 2)).mean()


def lists(seed: int, size: int) -> Batch:
    """Ten documents per question with grades from zero to three."""
    x = torch.randn(size, 10, 12, generator=generator(seed))
    return x, ((x @ prototypes(12, 1) / 12**0.5)[..., 0] + 1.5).clamp(0, 3).round()


class Extraction(nn.Module):
    """MMoE's experts and gates in the progressive form (PLE): shared experts, and some of each task's own."""

    def __init__(self, inputs: int = 16, width: int = 16) -> None:
        super().__init__()
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(inputs, width), nn.ReLU()) for _ in range(3))
        self.gates = nn.ModuleList(nn.Linear(inputs, 2) for _ in range(2))
        self.towers = nn.ModuleList(mlp([width, 16, 1]) for _ in range(2))
        self.log_variance = nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        out = [expert(x) for expert in self.experts]
        answers = []
        for i, (gate, tower) in enumerate(zip(self.gates, self.towers, strict=True)):
            weight = gate(x).softmax(1)
            answers.append(tower(weight[:, :1] * out[0] + weight[:, 1:] * out[i + 1]))
        return torch.cat(answers, 1)


def uncertain(model: nn.Module, batch: Batch) -> Tensor:
    """Two tasks, weighed by uncertainties that are learnt."""
    x, y = batch
    errors = (model(x) - y).square().mean(0)
    log_variance: Tensor = model.log_variance  # type: ignore[assignment]
    return ((-log_variance).exp() * errors + log_variance).sum() / 2


def cases() -> list[Case]:
    """The cases of this file."""
    return [
        case("tab_dlrm", "tab/dlrm", DLRM, clicks(), clicked),
        case("tab_wide_and_deep", "tab/wide_and_deep", WideDeep, clicks(), clicked),
        case("tab_factorisation_machine", "tab/factorisation_machine", partial(DeepFM, False), clicks(), clicked),
        case("tab_deepfm", "tab/deepfm", DeepFM, clicks(), clicked),
        case("tab_neumf", "tab/neumf", NeuMF, clicks(), clicked),
        case("tab_two_tower", "tab/two_tower", TwoTower, clicks(), retrieved),
        case("tab_sasrec", "tab/sasrec", SASRec, histories(), following),
        case(
            "second_tabular_xdeepfm",
            "second/xdeepfm",
            Compressed,
            fields(),
            supervised(F.binary_cross_entropy_with_logits),
            size=16,
            round=2,
        ),
        case(
            "second_tabular_autoint",
            "second/autoint",
            AutoInt,
            fields(),
            supervised(F.binary_cross_entropy_with_logits),
            size=16,
            round=2,
        ),
        case(
            "second_tabular_pnn",
            "second/pnn",
            Product,
            fields(),
            supervised(F.binary_cross_entropy_with_logits),
            size=16,
            round=2,
        ),
        case(
            "second_tabular_afm",
            "second/afm",
            Attentional,
            fields(),
            supervised(F.binary_cross_entropy_with_logits),
            size=16,
            round=2,
        ),
        case(
            "second_tabular_din",
            "second/din",
            Interest,
            repeated(),
            supervised(F.binary_cross_entropy_with_logits),
            size=16,
            round=2,
        ),
        case("second_tabular_gru4rec", "second/gru4rec", SessionGru, sessions, own_loss, size=16, round=2),
        case("second_tabular_lightgcn", "second/lightgcn", LightGcn, liked, own_loss, size=16, round=2),
        case("second_tabular_mult_vae", "second/mult_vae", MultVae, baskets, own_loss, size=16, round=2),
        case("third_tabular_caser", "third/caser", Caser, basket_rows, own_loss, round=3),
        case("third_tabular_autorec", "third/autorec", AutoRec, ratings, own_loss, round=3),
        case("third_tabular_entire_space", "third/entire_space", EntireSpace, funnels, own_loss, round=3),
        case("third_tabular_pairwise_ranking", "third/pairwise_ranking", Pairs, liked_pairs, own_loss, round=3),
        case("third_tabular_lambdarank", "third/lambdarank", ListRank, lists, own_loss, round=3),
        case("second_tabular_ple", "second/ple", Extraction, regression(16, 2), uncertain, size=16, round=2),
    ]
