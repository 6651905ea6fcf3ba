"""Networks for tables: classes, ordinals, survival, treatment effects."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import VECTORS, generator, measured, patterns, prototypes, regression
from benchmarks.detection.vocabulary.blocks import Residual, mlp
from benchmarks.detection.vocabulary.losses import classify_pair, fit, own_loss, supervised


class FTTransformer(nn.Module):
    """Feature tokens, a class token and pre-norm layers."""

    def __init__(self, features: int = 16, width: int = 32) -> None:
        super().__init__()
        bound = width**-0.5
        self.weight = nn.Parameter(torch.empty(features, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(features, width).uniform_(-bound, bound))
        self.token = nn.Parameter(torch.empty(1, 1, width).uniform_(-bound, bound))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.1, batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, 4))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.cat([self.token.expand(len(x), -1, -1), x[..., None] * self.weight + self.bias], dim=1)
        out: Tensor = self.head(self.body(h)[:, 0])
        return out


class TabNet(nn.Module):
    """Sequential attention over features: masks (softmax here), gated transformers, summed decisions."""

    def __init__(self, features: int = 16, width: int = 16, steps: int = 3) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(features)
        self.shared = nn.Linear(features, 4 * width, bias=False)
        self.own = nn.ModuleList([nn.Sequential(nn.Linear(2 * width, 4 * width), nn.GLU()) for _ in range(steps + 1)])
        self.mask = nn.ModuleList(
            [nn.Sequential(nn.Linear(width, features, bias=False), nn.BatchNorm1d(features)) for _ in range(steps)]
        )
        self.head = nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        prior, total = torch.ones_like(x), x.new_zeros(())
        _, seen = self.own[0](F.glu(self.shared(x))).chunk(2, dim=1)
        for own, mask in zip(list(self.own)[1:], self.mask, strict=True):
            chosen = (mask(seen) * prior).softmax(dim=1)
            prior = prior * (1.3 - chosen)
            decided, seen = own(F.glu(self.shared(chosen * x))).chunk(2, dim=1)
            total = total + F.relu(decided)
        out: Tensor = self.head(total)
        return out


class SoftTrees(nn.Module):
    """Oblivious decision trees with sigmoid splits, averaged."""

    def __init__(self, features: int = 16, trees: int = 8, depth: int = 3) -> None:
        super().__init__()
        self.split = nn.Linear(features, trees * depth)
        self.leaves, self.depth = nn.Parameter(torch.randn(trees, 2**depth, 4)), depth

    def forward(self, x: Tensor) -> Tensor:
        right = torch.sigmoid(self.split(x)).unflatten(1, (-1, self.depth))  # type: ignore[no-untyped-call]
        path = torch.ones(*right.shape[:2], 1)
        for level in range(self.depth):
            go = right[..., level : level + 1]
            path = torch.cat([path * go, path * (1 - go)], dim=-1)
        return torch.einsum("btl,tlc->bc", path, self.leaves) / self.leaves.shape[0]


class Spline(nn.Module):
    """A Kolmogorov-Arnold layer: a SiLU base and a radial approximation of splines with small random weights."""

    def __init__(self, inside: int, outside: int, knots: int = 6) -> None:
        super().__init__()
        self.base, self.norm = nn.Linear(inside, outside, bias=False), nn.LayerNorm(inside)
        self.weight = nn.Parameter(0.1 * torch.randn(outside, inside * knots) / math.sqrt(inside))
        self.register_buffer("grid", torch.linspace(-2, 2, knots))

    def forward(self, x: Tensor) -> Tensor:
        bumps = torch.exp(-(((self.norm(x)[..., None] - self.grid) / 0.8) ** 2))
        out: Tensor = self.base(F.silu(x)) + F.linear(bumps.flatten(-2), self.weight)
        return out


class Radial(nn.Module):
    """A radial basis function network."""

    def __init__(self, inside: int = 16, centres: int = 32) -> None:
        super().__init__()
        self.centres, self.log_width = nn.Parameter(torch.randn(centres, inside)), nn.Parameter(torch.zeros(centres))
        self.head = nn.Linear(centres, 4)

    def forward(self, x: Tensor) -> Tensor:
        gap = torch.cdist(x, self.centres) ** 2 / (2 * x.shape[1])
        out: Tensor = self.head(torch.exp(-gap * self.log_width.exp()))
        return out


class Gumbel(nn.Module):
    """A hard Gumbel-softmax gate (straight through) that picks one of four experts."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.experts = nn.Linear(16, 4), nn.ModuleList([mlp([16, 16, 4]) for _ in range(4)])

    def forward(self, x: Tensor) -> Tensor:
        gate = F.gumbel_softmax(self.gate(x), hard=True)
        return (gate[..., None] * torch.stack([expert(x) for expert in self.experts], dim=1)).sum(dim=1)


def tabular_resnet() -> nn.Module:
    """The residual network for tables: normalise, widen, narrow."""
    blocks = [
        Residual(nn.BatchNorm1d(32), nn.Linear(32, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 32)) for _ in range(3)
    ]
    return nn.Sequential(nn.Linear(16, 32), *blocks, nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 4))


class GAM(nn.Module):
    """A neural additive model: one small network per feature."""

    def __init__(self, features: int = 16) -> None:
        super().__init__()
        self.parts = nn.ModuleList([mlp([1, 16, 1]) for _ in range(features)])

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([part(x[:, i : i + 1]) for i, part in enumerate(self.parts)], dim=1).sum(1, keepdim=True)


class Survival(nn.Module):
    """DeepSurv: the Cox partial likelihood of a risk score."""

    def __init__(self) -> None:
        super().__init__()
        self.risk = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.BatchNorm1d(32), nn.Linear(32, 1, bias=False))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        risk = self.risk(x)[:, 0][y[:, 0].argsort(descending=True)]
        out: Tensor = (torch.logcumsumexp(risk, dim=0) - risk).mean()
        return out


class Saint(nn.Module):
    """SAINT: attention over features, then over the rows of the batch."""

    def __init__(self, features: int = 8, width: int = 8) -> None:
        super().__init__()
        self.tokens = nn.ModuleList(mlp([1, 16, width]) for _ in range(features))
        self.columns = nn.TransformerEncoderLayer(width, 2, 32, 0.1, "gelu", batch_first=True, norm_first=True)
        self.rows = nn.TransformerEncoderLayer(features * width, 2, 64, 0.1, "gelu", batch_first=True, norm_first=True)
        self.head = mlp([features * width, 32, 4])

    def forward(self, x: Tensor) -> Tensor:
        tokens = torch.stack([token(x[:, i : i + 1]) for i, token in enumerate(self.tokens)], 1)
        return self.head(self.rows(self.columns(tokens).flatten(1)[None])[0])


class Oblivious(nn.Module):
    """NODE: soft oblivious trees, features chosen by a sparse softmax, data-aware thresholds left out."""

    def __init__(self, features: int = 8, trees: int = 16, depth: int = 3, outputs: int = 4) -> None:
        super().__init__()
        self.choose = nn.Parameter(torch.rand(trees, depth, features))
        self.threshold, self.log_heat = nn.Parameter(torch.randn(trees, depth)), nn.Parameter(torch.zeros(trees, depth))
        self.leaves = nn.Parameter(torch.randn(trees, 2**depth, outputs))

    def forward(self, x: Tensor) -> Tensor:
        value = torch.einsum("nf,tdf->ntd", x, self.choose.softmax(-1))
        right = (0.5 * (value - self.threshold) * (-self.log_heat).exp() + 0.5).clamp(0, 1)
        weight = torch.ones(*value.shape[:2], 1)
        for d in range(value.shape[2]):
            share = right[..., d : d + 1]
            weight = torch.cat([weight * share, weight * (1 - share)], -1)
        return torch.einsum("ntl,tlo->no", weight, self.leaves) / len(self.leaves)


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


def focal(score: Tensor, y: Tensor) -> Tensor:
    """The focal loss."""
    cost = F.binary_cross_entropy_with_logits(score, y, reduction="none")
    return ((1 - (-cost).exp()).square() * cost * torch.where(y > 0, 0.75, 0.25)).mean()


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
    """The cases of this file."""
    return [
        case("odd_ft_transformer", "odd/ft_transformer", FTTransformer, VECTORS),
        case("odd_tabnet", "odd/tabnet", TabNet, VECTORS),
        case("odd_soft_trees", "odd/soft_trees", SoftTrees, VECTORS),
        case("odd_kan", "odd/kan", lambda: nn.Sequential(Spline(16, 16), Spline(16, 4)), VECTORS),
        case("odd_rbf", "odd/rbf", Radial, VECTORS),
        case("odd_gumbel_gate", "odd/gumbel_gate", Gumbel, VECTORS),
        case("odd_tabular_resnet", "odd/tabular_resnet", tabular_resnet, VECTORS),
        case("tab_neural_additive", "tab/gam", GAM, regression(), fit),
        case("tab_deepsurv", "tab/deepsurv", Survival, regression(), own_loss),
        case("second_tabular_saint", "second/saint", Saint, patterns(8), size=16, round=2),
        case("second_tabular_node", "second/node", Oblivious, patterns(8), size=16, round=2),
        case(
            "third_tabular_sklearn_classifier",
            "third/sklearn_classifier",
            lambda: glorot(mlp([16, 100, 4])),
            patterns(16),
            logistic_layers,
            round=3,
        ),
        case(
            "third_tabular_sklearn_logistic_units",
            "third/sklearn_logistic_units",
            lambda: glorot(mlp([16, 50, 50, 4], nn.Sigmoid), 3 ** (-0.5)),
            patterns(16),
            logistic_layers,
            round=3,
        ),
        case("third_tabular_fastai_tabular", "third/fastai_tabular", FastaiTabular, mixed, classify_pair, round=3),
        case(
            "third_tabular_weight_norm_labels",
            "third/weight_norm_labels",
            actions,
            many,
            supervised(F.binary_cross_entropy_with_logits),
            round=3,
        ),
        case(
            "third_tabular_focal_labels",
            "third/focal_labels",
            lambda: mlp([24, 64, 32, 8], nn.PReLU),
            many,
            supervised(focal),
            round=3,
        ),
        case("third_tabular_gandalf", "third/gandalf", GatedFeatures, patterns(16), round=3),
        case("third_tabular_vime", "third/vime", MaskedRows, patterns(16), own_loss, round=3),
        case("third_tabular_coral_ordinal", "third/coral_ordinal", Ordinal, regression(16), own_loss, round=3),
        case("third_tabular_dragonnet", "third/dragonnet", Treated, trials, own_loss, round=3),
        case("third_tabular_deephit", "third/deephit", DeepHit, lifetimes, own_loss, round=3),
        case("fourth_science_chebyshev_kan", "fourth/chebyshev_kan", ChebyshevKan, measured, round=4),
    ]
