"""Self-supervised and semi-supervised learning."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import IMAGES_16, generator, only, patterns, pictures, progressions
from benchmarks.detection.vocabulary.blocks import backbone, mlp
from benchmarks.detection.vocabulary.losses import own_loss


def augmented_views(x: Tensor) -> tuple[Tensor, Tensor]:
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
        z = F.normalize(self.project(self.encode(torch.cat(augmented_views(x)))), dim=1)
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
        one, two = augmented_views(x)
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
        one, two = (self.encode(view) for view in augmented_views(x))
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
        one, two = augmented_views(x)
        q, k = F.normalize(self.query(one), dim=1), F.normalize(self.key(two), dim=1)
        logits = torch.cat([(q * k).sum(dim=1, keepdim=True), q @ self.queue.T], dim=1)
        return F.cross_entropy(logits / self.temperature, torch.zeros(x.shape[0], dtype=torch.long))


class BarlowTwins(nn.Module):
    """The cross-correlation of two views should be the identity."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.norm = nn.Sequential(backbone(), project((32, 32, 16))), nn.BatchNorm1d(16, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        one, two = (self.norm(self.encode(view)) for view in augmented_views(x))
        match = one.T @ two / x.shape[0]
        off = match - torch.diag(match.diagonal())
        out: Tensor = ((match.diagonal() - 1) ** 2).sum() + 0.005 * (off**2).sum()
        return out


def projector(width: int = 32, outputs: int = 32) -> nn.Module:
    """An encoder with a projector, both with batch normalisation."""
    hidden = [nn.Linear(16, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width)]
    return nn.Sequential(*hidden, nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, outputs, bias=False))


class VicReg(nn.Module):
    """Invariance, variance and covariance."""

    def __init__(self) -> None:
        super().__init__()
        self.net = projector()

    @staticmethod
    def spread(z: Tensor) -> Tensor:
        z = z - z.mean(0)
        covariance = z.T @ z / (len(z) - 1)
        apart = covariance.square().sum() - covariance.diagonal().square().sum()
        return 25 * F.relu(1 - (z.var(0) + 1e-4).sqrt()).mean() / 2 + apart / z.shape[1]

    def forward(self, one: Tensor, two: Tensor) -> Tensor:
        a, b = self.net(one), self.net(two)
        return 25 * F.mse_loss(a, b) + self.spread(a) + self.spread(b)


def views(model: nn.Module, batch: Batch) -> Tensor:
    """Two noisy views of every example."""
    x = batch[0]
    loss: Tensor = model(x + 0.5 * torch.randn_like(x), x + 0.5 * torch.randn_like(x))
    return loss


class Dino(nn.Module):
    """DINO: a student that follows a centred and sharpened teacher; normalised last layer."""

    def __init__(self, prototypes: int = 32) -> None:
        super().__init__()
        body = nn.Sequential(mlp([16, 48, 48, 16], nn.GELU))
        self.student, self.last = body, nn.utils.parametrizations.weight_norm(nn.Linear(16, prototypes, bias=False))
        self.last.parametrizations.weight.original0.requires_grad_(False).fill_(1)
        self.teacher = copy.deepcopy(body).requires_grad_(False)
        self.frozen = copy.deepcopy(self.last).requires_grad_(False)

    def forward(self, one: Tensor, two: Tensor) -> Tensor:
        with torch.no_grad():
            target = [self.frozen(F.normalize(self.teacher(x))) for x in (two, one)]
            centre = torch.cat(target).mean(0)
        loss = torch.zeros(())
        for view, wanted in zip((one, two), target, strict=True):
            share = (self.last(F.normalize(self.student(view))) / 0.1).log_softmax(1)
            loss = loss - (((wanted - centre) / 0.04).softmax(1) * share).sum(1).mean() / 2
        return loss


class Swapped(nn.Module):
    """SwAV: each view's codes, by three Sinkhorn steps, are foretold from the other view."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.prototypes = projector(), nn.Linear(32, 12, bias=False)

    @staticmethod
    @torch.no_grad()
    def codes(scores: Tensor) -> Tensor:
        share = (scores / 0.05).exp()
        for _ in range(3):
            share = share / share.sum(0) / share.shape[1]
            share = share / share.sum(1, keepdim=True) / len(share)
        return share * len(share)

    def forward(self, one: Tensor, two: Tensor) -> Tensor:
        a, b = (self.prototypes(F.normalize(self.net(x))) for x in (one, two))
        first = -(self.codes(b) * (a / 0.1).log_softmax(1)).sum(1).mean()
        return (first - (self.codes(a) * (b / 0.1).log_softmax(1)).sum(1).mean()) / 2


class Predictive(nn.Module):
    """CPC: a GRU's context foretells later codes; other lines' codes are the wrong answers."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.encode, self.rnn = nn.Embedding(64, width), nn.GRU(width, width, batch_first=True)
        self.ahead = nn.ModuleList(nn.Linear(width, width) for _ in range(3))

    def forward(self, tokens: Tensor) -> Tensor:
        codes = self.encode(tokens)
        context, loss = self.rnn(codes[:, :8])[0][:, -1], torch.zeros(())
        for i, ahead in enumerate(self.ahead):
            loss = loss + F.cross_entropy(ahead(context) @ codes[:, 8 + i].T, torch.arange(len(tokens)))
        return loss / 3


class MeanTeacher(nn.Module):
    """Half of the batch has labels; on all of it the student must agree with its slow teacher."""

    def __init__(self) -> None:
        super().__init__()
        self.student = mlp([16, 48, 48, 4])
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        half = len(x) // 2
        logits = self.student(x + 0.1 * torch.randn_like(x))
        with torch.no_grad():
            wanted = self.teacher(x + 0.1 * torch.randn_like(x)).softmax(1)
        return F.cross_entropy(logits[:half], y[:half]) + F.mse_loss(logits.softmax(1), wanted)


class Data2Vec(nn.Module):
    """A student that sees half of the places predicts the averaged layers of a teacher that sees all."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.student = nn.ModuleList([nn.Linear(8, width), *(self.layer(width) for _ in range(2))])
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.mask, self.places = (
            nn.Parameter(torch.empty(width).uniform_()),
            nn.Parameter(0.02 * torch.randn(16, width)),
        )
        self.head = nn.Linear(width, width)

    @staticmethod
    def layer(width: int) -> nn.Module:
        """A post-norm transformer layer."""
        return nn.TransformerEncoderLayer(width, 2, 64, 0.0, "gelu", batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.rand(x.shape[:2]) < 0.5
        stem, *layers = self.student
        h = torch.where(hidden[..., None], self.mask, stem(x)) + self.places
        for layer in layers:
            h = layer(h)
        with torch.no_grad():
            stem, *layers = self.teacher
            states = [stem(x) + self.places]
            for layer in layers:
                states.append(layer(states[-1]))
            goal = torch.stack([F.layer_norm(s, s.shape[-1:]) for s in states[1:]]).mean(0)
        return F.smooth_l1_loss(self.head(h)[hidden], goal[hidden])


def frames(seed: int, size: int) -> Tensor:
    """Slow random walks in eight channels."""
    g = generator(seed)
    start, step = torch.randn(size, 1, 8, generator=g), torch.randn(size, 1, 8, generator=g)
    return start + 0.3 * step * torch.arange(16.0)[:, None] + 0.2 * torch.randn(size, 16, 8, generator=g)


class FixMatch(nn.Module):
    """FixMatch: few labels; where a weak view is sure enough, a strong one shall agree."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(16, 64), nn.BatchNorm1d(64), nn.LeakyReLU(0.1), nn.Linear(64, 4))

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        half = len(x) // 2
        weak, strong = x + 0.1 * torch.randn_like(x), F.dropout(x + 0.3 * torch.randn_like(x), 0.2)
        answers = self.net(torch.cat([weak[:half], weak[half:], strong[half:]]))
        sure, guess = answers[half : len(x)].detach().softmax(1).max(1)
        agree = F.cross_entropy(answers[len(x) :], guess, reduction="none") * (sure > 0.8)
        return F.cross_entropy(answers[:half], label[:half]) + agree.mean()


class SimMim(nn.Module):
    """SimMIM: masked patches of a picture become a learnt token; a linear layer tells their pixels; L1."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.patch, self.hidden = nn.Conv2d(3, width, 4, 4), nn.Parameter(torch.zeros(width))
        self.places = nn.Parameter(torch.zeros(16, width))
        layer = nn.TransformerEncoderLayer(width, 2, 64, 0.0, "gelu", batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 2, nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, 48)
        nn.init.trunc_normal_(self.hidden, std=0.02)
        nn.init.trunc_normal_(self.places, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        mask = (torch.rand(tokens.shape[:2]).argsort(1) < 10)[..., None]
        made = self.head(self.body(torch.where(mask, self.hidden, tokens) + self.places))
        truth = F.unfold(x, 4, stride=4).transpose(1, 2)
        return ((made - truth).abs() * mask).sum() / (mask.sum() * 48)


class SupervisedContrast(nn.Module):
    """SupCon: two noisy views, everything of one class attracts, temperature 0.1."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.project = mlp([16, 64, 32]), mlp([32, 32, 16])

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        views, kinds = torch.cat([x + 0.3 * torch.randn_like(x) for _ in range(2)]), torch.cat([label, label])
        code = F.normalize(self.project(F.relu(self.encode(views))))
        own = torch.eye(len(code), dtype=torch.bool)
        score = (code @ code.T / 0.1).masked_fill(own, -torch.inf)
        same = (kinds[:, None] == kinds) & ~own
        likelihood = (score - score.logsumexp(1, keepdim=True)).masked_fill(~same, 0)
        return -(likelihood.sum(1) / same.sum(1)).mean()


def cases() -> list[Case]:
    """The cases of this file."""
    return [
        case("part_simclr", "part/simclr", SimCLR, only(IMAGES_16), own_loss),
        case("part_byol", "part/byol", BYOL, only(IMAGES_16), own_loss),
        case("part_simsiam", "part/simsiam", SimSiam, only(IMAGES_16), own_loss),
        case("part_moco", "part/moco", MoCo, only(IMAGES_16), own_loss),
        case("part_barlow_twins", "part/barlow_twins", BarlowTwins, only(IMAGES_16), own_loss),
        case("second_learning_vicreg", "second/vicreg", VicReg, patterns(16), views, size=16, round=2),
        case("second_learning_dino", "second/dino", Dino, patterns(16), views, size=16, round=2),
        case("second_learning_swav", "second/swav", Swapped, patterns(16), views, size=16, round=2),
        case("second_learning_cpc", "second/cpc", Predictive, progressions(64, 11), own_loss, size=16, round=2),
        case(
            "second_learning_mean_teacher", "second/mean_teacher", MeanTeacher, patterns(16), own_loss, size=16, round=2
        ),
        case(
            "third_learning_masked_self_distillation",
            "third/masked_self_distillation",
            Data2Vec,
            frames,
            own_loss,
            round=3,
        ),
        case("third_learning_fixmatch", "third/fixmatch", FixMatch, patterns(16), own_loss, round=3),
        case("fourth_learning_simmim", "fourth/simmim", SimMim, only(pictures(side=16)), own_loss, round=4),
        case(
            "third_learning_supervised_contrast",
            "third/supervised_contrast",
            SupervisedContrast,
            patterns(16),
            own_loss,
            round=3,
        ),
    ]
