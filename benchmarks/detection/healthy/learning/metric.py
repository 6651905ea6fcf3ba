"""Distances between examples, and learning from a few of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import IMAGES_16, VECTORS, generator, patterns, pictures
from benchmarks.detection.vocabulary.blocks import backbone, conv_bn, mlp, pooled_head, small_cnn
from benchmarks.detection.vocabulary.losses import own_loss


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


class ArcFace(nn.Module):
    """An embedding and class centres on a sphere, with an angular margin of 0.5 and a scale of 30."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.body = nn.Sequential(conv_bn(3, width, stride=2), conv_bn(width, width), *pooled_head(width, 16))
        self.norm, self.centres = nn.BatchNorm1d(16), nn.Parameter(torch.empty(4, 16))
        nn.init.xavier_uniform_(self.centres)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        cosine = F.normalize(self.norm(self.body(x))) @ F.normalize(self.centres).T
        angle = cosine.clamp(-1 + 1e-7, 1 - 1e-7).acos()
        return 30 * (angle + 0.5 * F.one_hot(label, 4)).cos()


def margin(model: nn.Module, batch: Batch) -> Tensor:
    """Cross entropy behind the margin."""
    return F.cross_entropy(model(*batch), batch[1])


class Relation(nn.Module):
    """A relation network: a learnt comparison of queries with class means."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU())
        self.relate = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1), nn.Sigmoid())

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        half = len(x) // 2
        codes, kinds = self.embed(x), F.one_hot(y, 4).float()
        means = kinds[:half].T @ codes[:half] / kinds[:half].sum(0)[:, None].clamp(min=1)
        pairs = torch.cat(torch.broadcast_tensors(codes[half:, None], means[None]), -1)  # type: ignore[no-untyped-call]
        return F.mse_loss(self.relate(pairs)[..., 0], kinds[half:])


class Matching(nn.Module):
    """Matching networks: cosine attention over the support, in full context by a bidirectional LSTM."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.embed, self.context = (
            mlp([16, 48, width]),
            nn.LSTM(width, width // 2, bidirectional=True, batch_first=True),
        )

    def forward(self, support: Tensor, query: Tensor, label: Tensor) -> Tensor:
        keys = self.embed(support)
        keys = keys + self.context(keys)[0]
        weight = (F.normalize(self.embed(query), dim=-1) @ F.normalize(keys, dim=-1).transpose(1, 2)).softmax(-1)
        chance = weight.unflatten(2, (4, 2)).sum(3)  # type: ignore[no-untyped-call]
        return F.nll_loss((chance + 1e-8).log().flatten(0, 1), label.flatten())


def tasks(seed: int, size: int) -> Batch:
    """Four new classes with two examples each, and eight questions."""
    g = generator(seed)
    centre, label = torch.randn(size, 4, 16, generator=g), torch.randint(4, (size, 8), generator=g)
    support = centre.repeat_interleave(2, 1) + 0.7 * torch.randn(size, 8, 16, generator=g)
    query = centre.gather(1, label[..., None].expand(-1, -1, 16))
    return support, query + 0.7 * torch.randn(size, 8, 16, generator=g), label


class RidgeLearner(nn.Module):
    """R2-D2: features are learnt through the closed solution of a ridge regression on the support."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.embed, self.log_ridge = mlp([16, 48, width], lambda: nn.LeakyReLU(0.1)), nn.Parameter(torch.zeros(()))
        self.scale, self.shift = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(0.0))

    def forward(self, support: Tensor, query: Tensor, label: Tensor) -> Tensor:
        x, z = (F.pad(self.embed(part), (0, 1), value=1.0) for part in (support, query))
        truth = torch.eye(4).repeat_interleave(2, 0).expand(len(x), -1, -1)
        kernel = x @ x.transpose(1, 2) + self.log_ridge.exp() * torch.eye(8)
        weight = x.transpose(1, 2) @ torch.linalg.solve(kernel, truth)
        return F.cross_entropy((self.scale * (z @ weight) + self.shift).flatten(0, 1), label.flatten())


class Facenet(nn.Module):
    """FaceNet: vectors of length one, every anchor with its hardest positive and negative, margin 0.2."""

    def __init__(self) -> None:
        super().__init__()
        convs = [nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU()]
        self.net = nn.Sequential(*convs, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 16))

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        code = F.normalize(self.net(x))
        gap, same = (2 - 2 * code @ code.T).clamp(min=0), label[:, None] == label
        far = gap.masked_fill(~same, -1).amax(1)
        near = gap.masked_fill(same, 9).amin(1)
        return F.relu(far - near + 0.2).mean()


class ProxyAnchor(nn.Module):
    """Proxy anchor: learnt proxies of the classes pull and push, margin 0.1, scale 32."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.proxies = mlp([16, 64, 16]), nn.Parameter(torch.empty(4, 16))
        nn.init.kaiming_normal_(self.proxies, mode="fan_out")

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        cosine, own = F.normalize(self.net(x)) @ F.normalize(self.proxies).T, F.one_hot(label, 4).bool()
        pull = (-32 * (cosine - 0.1)).exp().masked_fill(~own, 0).sum(0).log1p()
        push = (32 * (cosine + 0.1)).exp().masked_fill(own, 0).sum(0).log1p()
        return pull.sum() / own.any(0).sum() + push.sum() / 4


class CircleLoss(nn.Module):
    """Metric learning with the circle loss on all pairs of a batch; margin 0.25, scale 64."""

    def __init__(self) -> None:
        super().__init__()
        self.net = small_cnn(16)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        code = F.normalize(self.net(x), dim=1)
        alike, upper = code @ code.T, torch.ones(len(x), len(x)).triu(1) > 0
        same = label[:, None] == label
        near, far = alike[same & upper], alike[~same & upper]
        pull = -64 * F.relu(1.25 - near.detach()) * (near - 0.75)
        push = 64 * F.relu(far.detach() + 0.25) * (far - 0.25)
        return F.softplus(pull.logsumexp(0) + push.logsumexp(0))


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


def cases() -> list[Case]:
    """The cases of this file."""
    return [
        case("part_siamese", "part/siamese", Siamese, IMAGES_16, own_loss),
        case("part_prototypical", "part/prototypical", Prototypical, VECTORS, own_loss),
        case("second_vision_arcface", "second/arcface", ArcFace, pictures(side=16), margin, size=16, round=2),
        case(
            "second_learning_relation_network",
            "second/relation_network",
            Relation,
            patterns(16),
            own_loss,
            size=16,
            round=2,
        ),
        case("third_learning_matching_network", "third/matching_network", Matching, tasks, own_loss, round=3),
        case("third_learning_ridge_learner", "third/ridge_learner", RidgeLearner, tasks, own_loss, round=3),
        case("third_learning_facenet", "third/facenet", Facenet, pictures(side=16), own_loss, round=3),
        case("third_learning_proxy_anchor", "third/proxy_anchor", ProxyAnchor, patterns(16), own_loss, round=3),
        case("fourth_learning_circle_loss", "fourth/circle_loss", CircleLoss, pictures(side=16), own_loss, round=4),
        case("part_maml", "part/maml", MAML, VECTORS, own_loss),
    ]
