"""Several tasks, teachers, domains and architectures at once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Case
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import IMAGES_16, VECTORS, only, patterns, pictures
from benchmarks.detection.vocabulary.blocks import conv_bn, mlp, pooled_head, small_cnn
from benchmarks.detection.vocabulary.losses import own_loss


class MultiTask(nn.Module):
    """A shared trunk with three heads, weighted by learnt uncertainties."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(16, 64), nn.ReLU())
        self.kind, self.size, self.flag = nn.Linear(64, 4), nn.Linear(64, 1), nn.Linear(64, 1)
        self.spread = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h = self.trunk(x)
        flag = F.binary_cross_entropy_with_logits(self.flag(h)[:, 0], (y > 1).float())
        losses = [F.cross_entropy(self.kind(h), y), F.mse_loss(self.size(h)[:, 0], x.mean(dim=1)), flag]
        return (torch.stack(losses) * torch.exp(-self.spread) + self.spread).sum()


class EarlyExit(nn.Module):
    """A classifier after every stage; all their losses count."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList([conv_bn(3, 16), conv_bn(16, 16, 3, 2), conv_bn(16, 32, 3, 2)])
        self.exits = nn.ModuleList([nn.Linear(width, 4) for width in (16, 16, 32)])

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        total = x.new_zeros(())
        for stage, leave in zip(self.stages, self.exits, strict=True):
            x = stage(x)
            total = total + F.cross_entropy(leave(x.mean((2, 3))), y)
        return total


class Distilled(nn.Module):
    """A student that learns from the softened output of a frozen teacher and from the labels."""

    def __init__(self, temperature: float = 4.0) -> None:
        super().__init__()
        self.student, self.teacher = mlp([16, 32, 4]), mlp([16, 128, 128, 4]).requires_grad_(False)
        self.temperature = temperature

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        own, theirs, t = self.student(x), self.teacher(x), self.temperature
        soft = F.kl_div(F.log_softmax(own / t, dim=1), F.softmax(theirs / t, dim=1), reduction="batchmean")
        return 0.5 * t * t * soft + 0.5 * F.cross_entropy(own, y)


class Adversarial(nn.Module):
    """A domain-adversarial network: a gradient reversal between features and the domain classifier."""

    def __init__(self, strength: float = 0.1) -> None:
        super().__init__()
        self.features, self.label, self.domain = mlp([16, 32, 32]), nn.Linear(32, 4), mlp([32, 16, 2])
        self.strength = strength

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        domain = torch.arange(len(x)) % 2
        h = torch.relu(self.features(x + domain[:, None]))
        turned = (1 + self.strength) * h.detach() - self.strength * h  # the value of h, minus its gradient
        return F.cross_entropy(self.label(h), y) + F.cross_entropy(self.domain(turned), domain)


class HintDistillation(nn.Module):
    """FitNets: a thin, deep student follows the middle of a frozen teacher, its soft answers and the labels."""

    def __init__(self) -> None:
        super().__init__()
        self.teacher = mlp([16, 96, 96, 4]).requires_grad_(False)
        self.low, self.high, self.regressor = mlp([16, 24, 24, 24]), mlp([24, 24, 4]), nn.Linear(24, 96)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        middle = F.relu(self.low(x))
        answer, soft = self.high(middle), self.teacher(x)
        hint = F.mse_loss(self.regressor(middle), F.relu(self.teacher[0](x)))
        follow = F.kl_div((answer / 4).log_softmax(1), (soft / 4).softmax(1), reduction="batchmean") * 16
        return F.cross_entropy(answer, label) + hint + follow


class Trades(nn.Module):
    """TRADES: the divergence between clean and attacked predictions, six times; the attack is three steps long."""

    def __init__(self) -> None:
        super().__init__()
        self.net = small_cnn()

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        clean = self.net(x)
        chance = clean.detach().softmax(1)
        worse = x + 0.001 * torch.randn_like(x)
        for _ in range(3):
            worse = worse.detach().requires_grad_(True)
            with torch.enable_grad():
                away = F.kl_div(self.net(worse).log_softmax(1), chance, reduction="sum")
                (slope,) = torch.autograd.grad(away, worse)
            worse = x + (worse + 0.05 * slope.sign() - x).clamp(-0.1, 0.1)
        attacked = self.net(worse.detach()).log_softmax(1)
        return F.cross_entropy(clean, label) + 6 * F.kl_div(attacked, clean.softmax(1), reduction="batchmean")


class Relational(nn.Module):
    """Relational distillation: distances and angles among a batch's codes should be the teacher's."""

    def __init__(self) -> None:
        super().__init__()
        self.teacher, self.student = mlp([32, 64, 64, 16]).requires_grad_(False), mlp([32, 24, 16])

    @staticmethod
    def relations(code: Tensor) -> tuple[Tensor, Tensor]:
        """Distances over their mean, and cosines at every corner."""
        gap = code[None] - code[:, None]
        off = ~torch.eye(len(code), dtype=torch.bool)
        far = (gap.square().sum(-1) + 1e-12).sqrt()
        way = F.normalize(gap, dim=2)
        return far / far[off].mean(), way @ way.transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        far, corner = self.relations(self.student(x))
        with torch.no_grad():
            true_far, true_corner = self.relations(self.teacher(x))
        return 25 * F.smooth_l1_loss(far, true_far) + 50 * F.smooth_l1_loss(corner, true_corner)


class MixedOperation(nn.Module):
    """DARTS: all candidate operations, weighed by a softmax that is learnt with the weights."""

    def __init__(self, width: int) -> None:
        super().__init__()
        conv = [
            nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 1, groups=width, bias=False),
            nn.Conv2d(width, width, 1, bias=False),
        ]
        wide = [
            nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 2, 2, groups=width, bias=False),
            nn.Conv2d(width, width, 1, bias=False),
        ]
        mean, top = [nn.AvgPool2d(3, 1, 1, count_include_pad=False)], [nn.MaxPool2d(3, 1, 1)]
        parts: tuple[list[Any], ...] = (conv, wide, mean, top)
        self.parts = nn.ModuleList(nn.Sequential(*part, nn.BatchNorm2d(width, affine=False)) for part in parts)
        self.choice = nn.Parameter(1e-3 * torch.randn(len(self.parts) + 1))

    def forward(self, x: Tensor) -> Tensor:
        share = self.choice.softmax(0)
        return share[-1] * x + sum(w * part(x) for w, part in zip(share, self.parts, strict=False))


class SearchCell(nn.Module):
    """A cell of two nodes, each the sum of mixed operations on all nodes before it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.edges = nn.ModuleList(MixedOperation(width) for _ in range(3))
        self.join = nn.Sequential(
            nn.ReLU(), nn.Conv2d(2 * width, width, 1, bias=False), nn.BatchNorm2d(width, affine=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        first = self.edges[0](x)
        return self.join(torch.cat([first, self.edges[1](x) + self.edges[2](first)], 1))


def darts() -> nn.Module:
    """A stem, two search cells and a head; first order, weights and choices on one loss."""
    stem = [nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16)]
    return nn.Sequential(*stem, SearchCell(16), SearchCell(16), *pooled_head(16))


class CrossStitch(nn.Module):
    """Cross-stitch units mix two tasks' features; homoscedastic uncertainties weigh the losses."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.towers = nn.ModuleList(nn.ModuleList([nn.Linear(32, width), nn.Linear(width, width)]) for _ in range(2))
        self.stitch = nn.Parameter(torch.tensor([[0.9, 0.1], [0.1, 0.9]]).repeat(2, 1, 1))
        self.heads, self.spread = (
            nn.ModuleList([nn.Linear(width, 4), nn.Linear(width, 1)]),
            nn.Parameter(torch.zeros(2)),
        )

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        both = [x, x]
        for level, stitch in enumerate(self.stitch):
            made = [F.relu(tower[level](part)) for tower, part in zip(self.towers, both, strict=True)]  # type: ignore[index]
            both = [stitch[i, 0] * made[0] + stitch[i, 1] * made[1] for i in range(2)]
        first = F.cross_entropy(self.heads[0](both[0]), label)
        second = F.mse_loss(self.heads[1](both[1])[:, 0], x.square().mean(1))
        weight = (-self.spread).exp()
        return weight[0] * first + 0.5 * weight[1] * second + 0.5 * self.spread.sum()


class InvariantRisk(nn.Module):
    """Invariant risk minimisation: two environments, and the gradient of a dummy scale as a penalty."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp([34, 48, 48, 1])
        for module in self.net:
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        target, total = (label % 2).float(), torch.zeros(())
        for share, part in ((0.1, slice(0, None, 2)), (0.2, slice(1, None, 2))):
            y, scale = target[part], torch.ones(()).requires_grad_(True)
            colour = F.one_hot((y + (torch.rand_like(y) < share)).long() % 2, 2)
            risk = F.binary_cross_entropy_with_logits(scale * self.net(torch.cat([x[part], colour], 1))[:, 0], y)
            (slope,) = torch.autograd.grad(risk, scale, create_graph=True)
            total = total + 0.5 * (risk + slope.square())
        return total


def cases() -> list[Case]:
    """The cases of this file."""
    return [
        case("part_multi_task", "part/multi_task", MultiTask, VECTORS, own_loss),
        case("part_early_exit", "part/early_exit", EarlyExit, IMAGES_16, own_loss),
        case("part_distillation", "part/distillation", Distilled, VECTORS, own_loss),
        case("odd_domain_adversarial", "odd/dann", Adversarial, VECTORS, own_loss),
        case(
            "third_learning_hint_distillation",
            "third/hint_distillation",
            HintDistillation,
            patterns(16),
            own_loss,
            round=3,
        ),
        case("fourth_learning_trades", "fourth/trades", Trades, pictures(side=16), own_loss, round=4),
        case(
            "fourth_learning_relational_distillation",
            "fourth/relational_distillation",
            Relational,
            only(patterns(32)),
            own_loss,
            round=4,
        ),
        case("fourth_learning_darts", "fourth/darts", darts, pictures(side=16), round=4),
        case("fourth_learning_cross_stitch", "fourth/cross_stitch", CrossStitch, patterns(32), own_loss, round=4),
        case("fourth_learning_invariant_risk", "fourth/invariant_risk", InvariantRisk, patterns(32), own_loss, round=4),
    ]
