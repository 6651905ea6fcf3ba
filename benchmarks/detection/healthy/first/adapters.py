"""Models that train only in part: adapters, probes, students, and the self-supervised pairs of networks."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Case
from benchmarks.detection.healthy.common import (
    Apply,
    Maker,
    Residual,
    case,
    mlp,
    next_token,
    only,
    own_loss,
    patterns,
    pictures,
    progressions,
    token_classes,
)
from benchmarks.detection.healthy.first.sequence import CausalAttention, gpt
from benchmarks.detection.healthy.first.torch_nn import Positions, encoder
from benchmarks.detection.healthy.first.vision import Basic, conv_bn, he, staged

VECTORS, IMAGES = patterns(16), pictures(3, 16)
TOKENS, COUNTING = token_classes(classes=4), progressions()


# --- parameter-efficient fine-tuning ----------------------------------------------------------------------------


class LoRA(nn.Module):
    """A frozen linear layer with a low-rank update: A as a linear layer's, B zero."""

    def __init__(self, base: nn.Linear, rank: int = 4, alpha: float = 8.0) -> None:
        super().__init__()
        self.base, self.scale = base.requires_grad_(False), alpha / rank
        self.a = nn.Parameter(torch.empty(rank, base.in_features))
        self.b = nn.Parameter(torch.zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.base(x) + self.scale * F.linear(F.linear(x, self.a), self.b)
        return out


def lora_mlp() -> nn.Module:
    """A frozen perceptron with LoRA on every hidden layer and a fresh head."""
    return nn.Sequential(LoRA(nn.Linear(16, 64)), nn.ReLU(), LoRA(nn.Linear(64, 64)), nn.ReLU(), nn.Linear(64, 4))


def lora_gpt() -> nn.Module:
    """A frozen GPT with LoRA on its attention projections: the usual recipe for language models."""
    net = gpt(4).requires_grad_(False)
    for module in net.modules():
        if isinstance(module, CausalAttention):
            module.project = LoRA(module.project)  # type: ignore[assignment]
    return net


def adapter(width: int = 32, narrow: int = 8) -> nn.Module:
    """Houlsby's bottleneck with a residual, close to the identity at the start."""
    down, up = nn.Linear(width, narrow), nn.Linear(narrow, width)
    for layer in (down, up):
        nn.init.trunc_normal_(layer.weight, std=1e-3)
        nn.init.zeros_(layer.bias)
    return Residual(down, nn.GELU(), up)


def adapted() -> nn.Module:
    """A frozen post-norm encoder with an adapter after every layer, and a trained head."""
    layers: list[nn.Module] = [Positions().requires_grad_(False)]
    for _ in range(3):
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
        layers += [layer.requires_grad_(False), adapter()]
    return nn.Sequential(*layers, Apply(lambda x: x.mean(dim=1)), nn.Linear(32, 4))


class Prefix(nn.Module):
    """Prompt tuning: trained vectors in front of the input of a frozen encoder."""

    def __init__(self, length: int = 4) -> None:
        super().__init__()
        self.embed = Positions().requires_grad_(False)
        self.prompt = nn.Parameter(torch.randn(1, length, 32) * 0.5)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).requires_grad_(False)
        self.head = nn.Linear(32, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        prompt = self.prompt.expand(tokens.shape[0], -1, -1)
        out: Tensor = self.head(self.body(torch.cat([prompt, self.embed(tokens)], dim=1)).mean(dim=1))
        return out


def bitfit() -> nn.Module:
    """Only biases and the head are trained."""
    net = encoder(3, True)
    for name, weight in net.named_parameters():
        weight.requires_grad_(name.endswith("bias") or name.startswith("3."))
    return net


def probe() -> nn.Module:
    """A frozen backbone in front of a linear classifier."""
    return nn.Sequential(he(staged(Basic, 1))[:-1].requires_grad_(False), nn.Linear(32, 4))  # type: ignore[index]


def partly() -> nn.Module:
    """The first half of a network frozen, the rest fine-tuned."""
    net = mlp([16, 64, 64, 64, 4])
    net[:4].requires_grad_(False)
    return net


class Control(nn.Module):
    """ControlNet: a trained copy that joins a frozen network through convolutions that start at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Sequential(conv_bn(3, 16), conv_bn(16, 16)).requires_grad_(False)
        self.head = nn.Conv2d(16, 3, 1).requires_grad_(False)
        self.copy, self.hint = copy.deepcopy(self.frozen).requires_grad_(True), nn.Conv2d(3, 3, 1)
        self.join = nn.Conv2d(16, 16, 1)
        for layer in (self.hint, self.join):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        noisy = x + 0.5 * torch.randn_like(x)
        controlled = self.join(self.copy(noisy + self.hint(x)))
        return F.mse_loss(self.head(self.frozen(noisy) + controlled), x)


# --- several heads and several networks -------------------------------------------------------------------------


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


class Hyper(nn.Module):
    """A hypernetwork that makes the weights of a small classifier from a task embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.task, self.make = nn.Embedding(3, 8), mlp([8, 32, 16 * 16 + 16 * 4])

    def forward(self, x: Tensor) -> Tensor:
        weights = self.make(self.task(torch.arange(x.shape[0]) % 3))
        first, second = weights.split([256, 64], dim=1)
        h = torch.relu((x[:, None] @ first.reshape(-1, 16, 16)) / 4)
        out: Tensor = (h @ second.reshape(-1, 16, 4))[:, 0]
        return out


class MAML(nn.Module):
    """One inner gradient step on half of the batch, the outer loss on the other half, second order."""

    def __init__(self, rate: float = 0.1) -> None:
        super().__init__()
        self.net, self.rate = mlp([16, 32, 4]), rate

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        weights = dict(self.net.named_parameters())
        half = x.shape[0] // 2
        inner = F.cross_entropy(self.net(x[:half]), y[:half])
        slopes = torch.autograd.grad(inner, list(weights.values()), create_graph=True)
        moved = {name: w - self.rate * s for (name, w), s in zip(weights.items(), slopes, strict=True)}
        return F.cross_entropy(torch.func.functional_call(self.net, moved, (x[half:],)), y[half:])


# --- self-supervision -------------------------------------------------------------------------------------------


def backbone() -> nn.Sequential:
    """A small image encoder with 32 features."""
    return nn.Sequential(conv_bn(3, 16, 3, 2), conv_bn(16, 32, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def views(x: Tensor) -> tuple[Tensor, Tensor]:
    """Two augmentations: flips, noise and brightness."""
    flipped = x.flip(-1) if torch.rand(()) < 0.5 else x
    return flipped + 0.3 * torch.randn_like(x), x * (1 + 0.3 * torch.randn(x.shape[0], 1, 1, 1)) + 0.1


def project(sizes: tuple[int, ...]) -> nn.Sequential:
    """A projection head with batch normalisation."""
    wide, middle, narrow = sizes
    return nn.Sequential(
        nn.Linear(wide, middle, bias=False), nn.BatchNorm1d(middle), nn.ReLU(), nn.Linear(middle, narrow)
    )


class SimCLR(nn.Module):
    """The normalised temperature-scaled cross entropy between two views."""

    def __init__(self, temperature: float = 0.5) -> None:
        super().__init__()
        self.encode, self.project, self.temperature = backbone(), project((32, 32, 16)), temperature

    def forward(self, x: Tensor) -> Tensor:
        z = F.normalize(self.project(self.encode(torch.cat(views(x)))), dim=1)
        score = (z @ z.T / self.temperature).fill_diagonal_(-1e9)
        return F.cross_entropy(score, torch.arange(z.shape[0]).roll(x.shape[0]))


class BYOL(nn.Module):
    """An online network that predicts a frozen target network, which in training follows as a moving average."""

    def __init__(self) -> None:
        super().__init__()
        self.online = nn.Sequential(backbone(), project((32, 64, 16)))
        self.predict = project((16, 32, 16))
        self.target = copy.deepcopy(self.online).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        one, two = views(x)
        with torch.no_grad():
            goals = self.target(two), self.target(one)
        made = self.predict(self.online(one)), self.predict(self.online(two))
        return 2 - sum((F.cosine_similarity(a, b).mean() for a, b in zip(made, goals, strict=True)), x.new_zeros(()))


class SimSiam(nn.Module):
    """Two views, one network, a predictor and a stop-gradient; the loss is negative."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.predict = nn.Sequential(backbone(), project((32, 32, 16))), project((16, 8, 16))

    def forward(self, x: Tensor) -> Tensor:
        one, two = (self.encode(view) for view in views(x))
        ahead = F.cosine_similarity(self.predict(one), two.detach()).mean()
        return -0.5 * (ahead + F.cosine_similarity(self.predict(two), one.detach()).mean())


class MoCo(nn.Module):
    """A query encoder, a frozen key encoder and a queue of negatives."""

    queue: Tensor

    def __init__(self, negatives: int = 32, temperature: float = 0.2) -> None:
        super().__init__()
        self.query = nn.Sequential(backbone(), nn.Linear(32, 16))
        self.key, self.temperature = copy.deepcopy(self.query).requires_grad_(False), temperature
        self.register_buffer("queue", F.normalize(torch.randn(negatives, 16), dim=1))

    def forward(self, x: Tensor) -> Tensor:
        one, two = views(x)
        q, k = F.normalize(self.query(one), dim=1), F.normalize(self.key(two), dim=1)
        logits = torch.cat([(q * k).sum(dim=1, keepdim=True), q @ self.queue.T], dim=1)
        return F.cross_entropy(logits / self.temperature, torch.zeros(x.shape[0], dtype=torch.long))


class BarlowTwins(nn.Module):
    """The cross-correlation of two views should be the identity."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.norm = nn.Sequential(backbone(), project((32, 32, 16))), nn.BatchNorm1d(16, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        one, two = (self.norm(self.encode(view)) for view in views(x))
        match = one.T @ two / x.shape[0]
        off = match - torch.diag(match.diagonal())
        out: Tensor = ((match.diagonal() - 1) ** 2).sum() + 0.005 * (off**2).sum()
        return out


class Siamese(nn.Module):
    """The contrastive loss of a siamese network on pairs."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(backbone(), nn.Linear(32, 16))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        code = self.encode(x)
        gap = F.pairwise_distance(code, code.roll(1, 0))
        same = (y == y.roll(1)).float()
        return (same * gap**2 + (1 - same) * F.relu(1 - gap) ** 2).mean()


class Prototypical(nn.Module):
    """Prototypical networks: distances to class means of the support half."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = mlp([16, 32, 16])

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        code, known = self.encode(x), F.one_hot(y, 4).float()
        means = known.T @ code / known.sum(dim=0)[:, None].clamp(min=1)
        return F.cross_entropy(-(torch.cdist(code, means) ** 2), y)


def cases() -> list[Case]:
    """All cases of this module."""
    pixels = only(IMAGES)
    own: dict[str, tuple[Callable[[], nn.Module], Maker]] = {
        "controlnet": (Control, pixels), "multi_task": (MultiTask, VECTORS), "early_exit": (EarlyExit, IMAGES),
        "distillation": (Distilled, VECTORS), "maml": (MAML, VECTORS), "simclr": (SimCLR, pixels),
        "byol": (BYOL, pixels), "simsiam": (SimSiam, pixels), "moco": (MoCo, pixels),
        "barlow_twins": (BarlowTwins, pixels), "siamese": (Siamese, IMAGES), "prototypical": (Prototypical, VECTORS),
    }  # fmt: skip
    return [case(f"part_{k}", f"part/{k}", build, batch, own_loss) for k, (build, batch) in own.items()] + [
        case("part_lora_mlp", "part/lora_mlp", lora_mlp, VECTORS),
        case("part_lora_gpt", "part/lora_gpt", lora_gpt, COUNTING, next_token),
        case("part_adapters", "part/adapters", adapted, TOKENS),
        case("part_prompt_tuning", "part/prompt_tuning", Prefix, TOKENS),
        case("part_bitfit", "part/bitfit", bitfit, TOKENS),
        case("part_linear_probe", "part/linear_probe", probe, IMAGES),
        case("part_half_frozen", "part/half_frozen", partly, VECTORS),
        case("part_hypernetwork", "part/hypernetwork", Hyper, VECTORS),
    ]
