"""Tables, ranking, recommendation and doubt about one's own answer."""

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
    cast,
    classify,
    fit,
    generator,
    later_cases,
    mlp,
    own_loss,
    patterns,
    prototypes,
    regression,
    supervised,
)


def glorot(model: nn.Module, gain: float = 1.0) -> nn.Module:
    """scikit-learn's initialisation: weights and biases uniform by the same Glorot bound."""
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            bound = gain * (6 / (layer.in_features + layer.out_features)) ** 0.5
            nn.init.uniform_(layer.weight, -bound, bound)
            nn.init.uniform_(layer.bias, -bound, bound)
    return model


def logistic_layers(model: nn.Module, batch: Batch) -> Tensor:
    """scikit-learn's loss: cross entropy and half of alpha times the squared weights per sample."""
    x, y = batch
    size = sum(layer.weight.square().sum() for layer in model.modules() if isinstance(layer, nn.Linear))
    return F.cross_entropy(model(x), y) + 0.5 * 1e-4 * size / len(x)


class FastaiTabular(nn.Module):
    """fastai's tabular model: embeddings with truncated normals, batch normalisation behind every ReLU, dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.tables, self.norm = nn.ModuleList(nn.Embedding(10, 6) for _ in range(3)), nn.BatchNorm1d(5)
        for table in self.tables:
            nn.init.trunc_normal_(table.weight, std=0.01)  # type: ignore[arg-type]
        layers: list[nn.Module] = []
        for inputs, outputs in ((23, 48), (48, 24)):
            layers += [nn.Linear(inputs, outputs, bias=False), nn.ReLU(), nn.BatchNorm1d(outputs), nn.Dropout(0.1)]
        self.dropout, self.net = nn.Dropout(0.04), nn.Sequential(*layers, nn.Linear(24, 2))

    def forward(self, kinds: Tensor, numbers: Tensor) -> Tensor:
        seen = [table(kinds[:, i]) for i, table in enumerate(self.tables)]
        return self.net(torch.cat([self.dropout(torch.cat(seen, 1)), self.norm(numbers)], 1))


def mixed(seed: int, size: int) -> Batch:
    """Three columns of kinds, five of numbers, and a class that depends on both."""
    g = generator(seed)
    kinds, numbers = torch.randint(10, (size, 3), generator=g), torch.randn(size, 5, generator=g)
    score = prototypes(10, 3).gather(0, kinds).sum(1) + numbers[:, :2].sum(1)
    return kinds, numbers, (score > 0).long()


def tabled(model: nn.Module, batch: Batch) -> Tensor:
    """Cross entropy."""
    kinds, numbers, label = batch
    return F.cross_entropy(model(kinds, numbers), label)


def actions() -> nn.Module:
    """The net of a Kaggle winner: batch norm, dropout and weight norm, three times; many rare labels."""
    norm, layers = nn.utils.parametrizations.weight_norm, []
    for inputs, outputs in ((24, 64), (64, 64)):
        layers += [nn.BatchNorm1d(inputs), nn.Dropout(0.2), norm(nn.Linear(inputs, outputs)), nn.LeakyReLU()]
    return nn.Sequential(*layers, nn.BatchNorm1d(64), nn.Dropout(0.2), norm(nn.Linear(64, 8)))


def many(seed: int, size: int) -> Batch:
    """Rows with eight rare yes-or-no labels."""
    x = torch.randn(size, 24, generator=generator(seed))
    return x, (x @ prototypes(24, 8) / 24**0.5 > 0.8).float()


class GatedFeatures(nn.Module):
    """GANDALF: gated feature learning units: sparse feature masks, a GRU-like gate, stage by stage."""

    def __init__(self, features: int = 16, stages: int = 3) -> None:
        super().__init__()
        self.masks = nn.Parameter(torch.distributions.Beta(0.5 * torch.ones(stages, features), 10.0).sample())
        self.gates = nn.ModuleList(nn.Linear(2 * features, 2 * features) for _ in range(stages))
        self.news = nn.ModuleList(nn.Linear(2 * features, features) for _ in range(stages))
        self.norm, self.head = nn.BatchNorm1d(features), nn.Linear(features, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        h = x
        for mask, gate, new in zip(self.masks.softmax(1), self.gates, self.news, strict=True):
            seen = mask * x
            keep, reset = gate(torch.cat([seen, h], 1)).sigmoid().chunk(2, 1)
            h = (1 - keep) * h + keep * new(torch.cat([reset * h, seen], 1)).tanh()
        return self.head(h)


class MaskedRows(nn.Module):
    """VIME: some cells are swapped with other rows; which ones, and what was there?"""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.mask, self.value = (
            nn.Sequential(nn.Linear(16, 16), nn.ReLU()),
            nn.Linear(16, 16),
            nn.Linear(16, 16),
        )

    def forward(self, x: Tensor, _: Tensor) -> Tensor:
        x = x.sigmoid()
        swapped = torch.rand_like(x) < 0.3
        other = x.gather(0, torch.rand_like(x).argsort(0))
        code = self.encode(torch.where(swapped, other, x))
        changed = (swapped & (other != x)).float()
        return F.binary_cross_entropy_with_logits(self.mask(code), changed) + 2 * F.mse_loss(
            self.value(code).sigmoid(), x
        )


class Ordinal(nn.Module):
    """CORAL: one score, and a threshold of its own for every grade; the biases start in order."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.score = nn.Sequential(mlp([16, 48, 48]), nn.ReLU()), nn.Linear(48, 1, bias=False)
        self.bias = nn.Parameter(torch.arange(4, 0, -1) / 4)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        logits = self.score(self.net(x)) + self.bias
        grade = (y * 2 + 2.5).clamp(0, 4).long()
        above = (grade > torch.arange(4)).float()
        return -(F.logsigmoid(logits) * above + (F.logsigmoid(logits) - logits) * (1 - above)).sum(1).mean()


class Evidential(nn.Module):
    """Evidential regression: the parameters of a normal inverse gamma, and a price for confident mistakes."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp([16, 48, 48, 4])

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        mean, v, alpha, beta = self.net(x).split(1, 1)
        v, alpha, beta = F.softplus(v), F.softplus(alpha) + 1, F.softplus(beta)
        whole, error = 2 * beta * (1 + v), y - mean
        likelihood = (
            0.5 * (math.pi / v).log() - alpha * whole.log() + (alpha + 0.5) * (v * error.square() + whole).log()
        )
        likelihood = likelihood + alpha.lgamma() - (alpha + 0.5).lgamma()
        return (likelihood + 0.01 * error.abs() * (2 * v + alpha)).mean()


class SpectralGaussian(nn.Module):
    """SNGP: residual layers with spectral norms, random features as the last layer of a Gaussian process."""

    frequency: Tensor
    phase: Tensor

    def __init__(self, width: int = 32, features: int = 64) -> None:
        super().__init__()
        norm = nn.utils.parametrizations.spectral_norm
        self.stem = nn.Linear(16, width).requires_grad_(False)
        self.layers, self.norm = nn.ModuleList(norm(nn.Linear(width, width)) for _ in range(3)), nn.LayerNorm(width)
        self.head = nn.Linear(features, 4)
        self.register_buffer("frequency", torch.randn(width, features))
        self.register_buffer("phase", 6.283 * torch.rand(features))

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        for layer in self.layers:
            h = h + F.dropout(F.relu(0.9 * layer(h)), 0.1, self.training)
        wave = (self.norm(h) @ self.frequency / h.shape[1] ** 0.5 + self.phase).cos()
        return self.head(wave * (2 / wave.shape[1]) ** 0.5)


class VariationalGaussian(nn.Module):
    """A sparse variational Gaussian process on features that a net learns, in double precision."""

    def __init__(self, points: int = 12) -> None:
        super().__init__()
        self.net = mlp([16, 32, 2]).double()
        self.places, self.mean = (
            nn.Parameter(torch.randn(points, 2).double()),
            nn.Parameter(1e-3 * torch.randn(points).double()),
        )
        self.root = nn.Parameter(torch.eye(points).double())
        self.logs = nn.Parameter(torch.tensor([0.0, 0.0, -1.0]).double())

    def kernel(self, a: Tensor, b: Tensor) -> Tensor:
        """A Gaussian."""
        gap = (a[:, None] - b).square().sum(-1)
        return self.logs[0].exp() * (-0.5 * gap / self.logs[1].exp()).exp()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h, eye = self.net(x), torch.eye(len(self.places)).double()
        factor = torch.linalg.cholesky(self.kernel(self.places, self.places) + 1e-4 * eye)
        part = torch.linalg.solve_triangular(factor, self.kernel(self.places, h), upper=False)
        root = self.root.tril()
        mean = part.T @ self.mean
        variance = self.logs[0].exp() - part.square().sum(0) + (part.T @ root).square().sum(1)
        noise = self.logs[2].exp()
        fit_of = 0.5 * (((y[:, 0] - mean).square() + variance) / noise + noise.log() + math.log(2 * math.pi))
        away = 0.5 * (self.mean.square().sum() + root.square().sum() - len(eye)) - root.diagonal().abs().log().sum()
        return fit_of.mean() + away / 256


class ConvexNet(nn.Module):
    """An input-convex net: what leads from layer to layer is positive by a softplus, skips from the input are free."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.skips = nn.ModuleList(nn.Linear(8, n) for n in (width, width, 1))
        self.inner = nn.ParameterList(torch.empty(n, width) for n in (width, 1))
        for weight in self.inner:
            nn.init.normal_(weight, -4, 0.5)

    def forward(self, x: Tensor) -> Tensor:
        h = F.softplus(self.skips[0](x))
        for i, (skip, weight) in enumerate(zip(self.skips[1:], self.inner, strict=True)):
            h = skip(x) + F.linear(h, F.softplus(weight))
            h = F.softplus(h) if i == 0 else h
        return h


def bowls(seed: int, size: int) -> Batch:
    """A convex function of eight numbers."""
    x = torch.randn(size, 8, generator=generator(seed))
    return x, x.square().mean(1, keepdim=True) + x[:, :1].abs()


class ArithmeticUnit(nn.Module):
    """NALU: sums and products by weights that are pulled to -1, 0 and 1, and a gate between both."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.w, self.m = nn.Parameter(torch.empty(outputs, inputs)), nn.Parameter(torch.empty(outputs, inputs))
        self.g = nn.Parameter(torch.empty(outputs, inputs))
        nn.init.kaiming_uniform_(self.g, a=math.sqrt(5))
        nn.init.kaiming_uniform_(self.w)
        nn.init.kaiming_uniform_(self.m)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.w.tanh() * self.m.sigmoid()
        gate = F.linear(x, self.g).sigmoid()
        product = F.linear((x.abs() + 1e-7).log(), weight).exp()
        return gate * F.linear(x, weight) + (1 - gate) * product


def sums(seed: int, size: int) -> Batch:
    """Eight positive numbers; the product of two partial sums."""
    x = 0.2 + torch.rand(4 * size, 8, generator=generator(seed))
    return x, x[:, :3].sum(1, keepdim=True) * x[:, 3:5].sum(1, keepdim=True)


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


def liked(seed: int, size: int) -> Batch:
    """Users, an item of their taste and one that is not."""
    g = generator(seed)
    user = torch.randint(32, (8 * size,), generator=g)
    other = (user + 1 + torch.randint(3, user.shape, generator=g)) % 4
    item, wrong = (4 * torch.randint(12, user.shape, generator=g) + kind for kind in (user % 4, other % 4))
    return user, item, torch.where(wrong % 4 == user % 4, (wrong + 1) % 48, wrong)


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


def baskets(seed: int, size: int) -> Batch:
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


class Treated(nn.Module):
    """DragonNet: two outcome heads and a propensity head on one ELU trunk, with targeted regularisation."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.trunk = nn.Sequential(mlp([8, width, width, width], nn.ELU), nn.ELU())
        self.heads, self.treat = nn.ModuleList(mlp([width, 16, 1], nn.ELU) for _ in range(2)), nn.Linear(width, 1)
        self.epsilon = nn.Parameter(1e-3 * torch.randn(1))

    def forward(self, x: Tensor, treated: Tensor, y: Tensor) -> Tensor:
        h = self.trunk(x)
        without, given = (head(h)[:, 0] for head in self.heads)
        logit = self.treat(h)[:, 0]
        guess, chance = torch.where(treated > 0, given, without), 0.98 * logit.sigmoid() + 0.01
        shift = self.epsilon * (treated / chance - (1 - treated) / (1 - chance))
        known = F.binary_cross_entropy_with_logits(logit, treated)
        return F.mse_loss(guess, y) + known + (y - guess - shift).square().mean()


def trials(seed: int, size: int) -> Batch:
    """Patients, whether they were treated (not at random), and how they fared."""
    g = generator(seed)
    x = torch.randn(size, 8, generator=g)
    treated = (torch.rand(size, generator=g) < x[:, 0].sigmoid()).float()
    return x, treated, x[:, 1].tanh() + treated * (1 + 0.5 * x[:, 2]) + 0.1 * torch.randn(size, generator=g)


class DeepHit(nn.Module):
    """DeepHit: a distribution over when it happens, or later than all; likelihood with censoring, a ranking loss."""

    def __init__(self, times: int = 10) -> None:
        super().__init__()
        layers = [nn.Linear(8, 32), nn.ReLU(), nn.BatchNorm1d(32), nn.Dropout(0.1)]
        self.net = nn.Sequential(*layers, nn.Linear(32, 32), nn.ReLU(), nn.BatchNorm1d(32), nn.Linear(32, times))

    def forward(self, x: Tensor, time: Tensor, happened: Tensor) -> Tensor:
        chance = F.pad(self.net(x), (0, 1)).softmax(1)
        total = chance.cumsum(1)
        at, until = chance.gather(1, time[:, None])[:, 0], total.gather(1, time[:, None])[:, 0]
        likelihood = happened * (at + 1e-7).log() + (1 - happened) * (1 - until + 1e-7).log()
        later = (time[:, None] < time) & (happened[:, None] > 0)
        gap = until[:, None] - total[:, time].T
        return -likelihood.mean() + 0.2 * (later * (-gap / 0.1).exp()).mean()


def lifetimes(seed: int, size: int) -> Batch:
    """Patients, a time in ten steps, and whether it was the event or the end of watching."""
    g = generator(seed)
    x = torch.randn(size, 8, generator=g)
    time = (5 + 2 * x[:, 0] + x[:, 1] + 0.5 * torch.randn(size, generator=g)).clamp(0, 9).long()
    return x, time, (torch.rand(size, generator=g) < 0.7).float()


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


def focal(score: Tensor, y: Tensor) -> Tensor:
    """The focal loss."""
    cost = F.binary_cross_entropy_with_logits(score, y, reduction="none")
    return ((1 - (-cost).exp()).square() * cost * torch.where(y > 0, 0.75, 0.25)).mean()


def cases() -> list[Case]:
    """All cases of this module."""
    table, smooth = patterns(16), regression(16)
    models: dict[str, tuple[Build, Maker, Step]] = {
        "sklearn_classifier": (lambda: glorot(mlp([16, 100, 4])), table, logistic_layers),
        "sklearn_logistic_units": (lambda: glorot(mlp([16, 50, 50, 4], nn.Sigmoid), 3**-0.5), table, logistic_layers),
        "fastai_tabular": (FastaiTabular, mixed, tabled),
        "weight_norm_labels": (actions, many, supervised(F.binary_cross_entropy_with_logits)),
        "focal_labels": (lambda: mlp([24, 64, 32, 8], nn.PReLU), many, supervised(focal)),
        "gandalf": (GatedFeatures, table, classify),
        "vime": (MaskedRows, table, own_loss),
        "coral_ordinal": (Ordinal, smooth, own_loss),
        "evidential": (Evidential, smooth, own_loss),
        "spectral_gaussian": (SpectralGaussian, table, classify),
        "variational_gaussian": (VariationalGaussian, cast(smooth, torch.float64), own_loss),
        "input_convex": (ConvexNet, bowls, fit),
        "arithmetic_unit": (lambda: nn.Sequential(ArithmeticUnit(8, 2), ArithmeticUnit(2, 1)), sums, fit),
        "pairwise_ranking": (Pairs, liked, own_loss),
        "caser": (Caser, baskets, own_loss),
        "autorec": (AutoRec, ratings, own_loss),
        "entire_space": (EntireSpace, funnels, own_loss),
        "dragonnet": (Treated, trials, own_loss),
        "deephit": (DeepHit, lifetimes, own_loss),
        "lambdarank": (ListRank, lists, own_loss),
    }
    return later_cases(3, "tabular", models)
