"""Perceptrons with the layers and losses of torch.nn at their default initialisation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import COUNTING, TOKENS, VECTORS, cast, dictation, regression
from benchmarks.detection.vocabulary.blocks import Apply, mlp
from benchmarks.detection.vocabulary.losses import ctc, fit, supervised

SMOOTHED = supervised(partial(F.cross_entropy, label_smoothing=0.1))


def selu_mlp() -> nn.Module:
    """A self-normalising network: LeCun initialisation and alpha dropout, as its paper prescribes."""
    net = nn.Sequential(
        nn.Linear(16, 32), nn.SELU(), nn.AlphaDropout(0.05), nn.Linear(32, 32), nn.SELU(), nn.Linear(32, 4)
    )
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
            nn.init.zeros_(layer.bias)
    return net


def normed_mlp(norm: Callable[[int], nn.Module], drop: float = 0.0) -> nn.Module:
    """Two hidden layers, each followed by a normalisation."""
    layers: list[nn.Module] = []
    for wide in (16, 32):
        layers += [nn.Linear(wide, 32), norm(32), nn.ReLU(), nn.Dropout(drop)]
    return nn.Sequential(*layers, nn.Linear(32, 4))


def perceptrons() -> list[Case]:
    """Multi-layer perceptrons with every common activation, depth and normalisation."""
    activations: dict[str, Callable[[], nn.Module]] = {
        "relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh, "leaky_relu": nn.LeakyReLU, "elu": nn.ELU,
        "prelu": nn.PReLU, "softplus": nn.Softplus, "mish": nn.Mish, "hardswish": nn.Hardswish, "celu": nn.CELU,
    }  # fmt: skip
    cases = [
        case(f"nn_mlp_{name}", "nn/mlp", partial(mlp, [16, 32, 32, 4], activation), VECTORS)
        for name, activation in activations.items()
    ]
    for depth in (1, 2, 4, 5, 6):
        sizes = [16] + [64] * depth + [4]
        cases.append(case(f"nn_mlp_relu_{depth}_hidden", "nn/mlp", partial(mlp, sizes), VECTORS))
    norms: dict[str, Callable[[int], nn.Module]] = {
        "batchnorm": nn.BatchNorm1d, "layernorm": nn.LayerNorm, "rmsnorm": nn.RMSNorm,
        "groupnorm": partial(nn.GroupNorm, 4),
    }  # fmt: skip
    cases += [case(f"nn_mlp_{k}", f"nn/mlp_{k}", partial(normed_mlp, v), VECTORS) for k, v in norms.items()]
    return [
        *cases,
        case("nn_mlp_selu", "nn/mlp_selu", selu_mlp, VECTORS),
        case("nn_mlp_dropout", "nn/mlp_dropout", partial(normed_mlp, lambda _: nn.Identity(), 0.5), VECTORS),
        case("nn_mlp_glu", "nn/glu", lambda: nn.Sequential(nn.Linear(16, 64), nn.GLU(), nn.Linear(32, 4)), VECTORS),
        case("nn_logistic", "nn/logistic", partial(nn.Linear, 16, 4), VECTORS),
        case("nn_linear_regression", "nn/linear", partial(nn.Linear, 16, 1), regression(), fit),
        case("nn_mlp_wide", "nn/mlp", partial(mlp, [16, 1024, 4]), VECTORS),
        case("nn_mlp_float64", "nn/mlp_float64", lambda: mlp([16, 32, 4]).double(), cast(VECTORS, torch.float64)),
        case("nn_mlp_bfloat16", "nn/mlp_bf16", lambda: mlp([16, 32, 4]).bfloat16(), cast(VECTORS, torch.bfloat16)),
    ]


class Bag(nn.Module):
    """nn.EmbeddingBag and a linear layer: fastText."""

    def __init__(self, mode: str = "mean", sparse: bool = False) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(64, 16, mode=mode, sparse=sparse)
        self.head = nn.Linear(16, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.head(self.bag(tokens))
        return out


def averaged(sparse: bool = False, vocab: int = 64) -> nn.Module:
    """Embeddings, their mean and a classifier."""
    embed = nn.Embedding(vocab, 16, padding_idx=0, sparse=sparse)
    return nn.Sequential(embed, Apply(lambda x: x.mean(dim=1)), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))


class Pairing(nn.Module):
    """nn.Bilinear over two views of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(8, 16), nn.Linear(8, 16)
        self.both = nn.Bilinear(16, 16, 4)

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, dim=1)
        out: Tensor = self.both(torch.tanh(self.left(left)), torch.tanh(self.right(right)))
        return out


class Adaptive(nn.Module):
    """A language model with nn.AdaptiveLogSoftmaxWithLoss at its end."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(64, 32)
        self.layer = nn.GRU(32, 32, batch_first=True)
        self.loss = nn.AdaptiveLogSoftmaxWithLoss(32, 64, [16, 40], div_value=2.0)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.layer(self.embed(tokens[:, :-1]))[0]
        loss: Tensor = self.loss(hidden.flatten(0, 1), tokens[:, 1:].flatten()).loss
        return loss


class Listener(nn.Module):
    """A bidirectional GRU trained with CTC."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(8, 32, batch_first=True, bidirectional=True)
        self.head = nn.Linear(64, 6)

    def forward(self, x: Tensor) -> Tensor:
        return F.log_softmax(self.head(self.layer(x)[0]), dim=-1).transpose(0, 1)


def triplet(model: nn.Module, batch: Batch) -> Tensor:
    """Triplet margin loss between noisy copies and the next example."""
    x, _ = batch
    return F.triplet_margin_loss(model(x), model(x + 0.1), model(x.roll(1, 0)))


def cosine(model: nn.Module, batch: Batch) -> Tensor:
    """Cosine embedding loss: same class together, others apart."""
    x, y = batch
    same = torch.where(y == y.roll(1), 1.0, -1.0)
    return F.cosine_embedding_loss(model(x), model(x.roll(1, 0)), same, margin=0.2)


def priced() -> nn.Module:
    """A regressor that works in standard units and answers in dollars, so that its loss is of the order of 1e10."""
    return nn.Sequential(mlp([16, 32, 1]), Apply(lambda x: 3e5 + 1e5 * x))


def gaussian(model: nn.Module, batch: Batch) -> Tensor:
    """Gaussian negative log likelihood with a predicted variance."""
    x, y = batch
    mean, spread = model(x).chunk(2, dim=1)
    return F.gaussian_nll_loss(mean, y, F.softplus(spread) + 1e-4)


def mixture(model: nn.Module, batch: Batch, parts: int = 3) -> Tensor:
    """Negative log likelihood of a mixture density network."""
    x, y = batch
    weight, mean, scale = model(x).chunk(3, dim=1)
    parts_log = torch.distributions.Normal(mean, scale.exp()).log_prob(y)  # type: ignore[no-untyped-call]
    return -torch.logsumexp(F.log_softmax(weight, dim=1) + parts_log, dim=1).mean()


def binary(model: nn.Module, batch: Batch) -> Tensor:
    """Multi-label binary cross entropy."""
    x, y = batch
    return F.binary_cross_entropy_with_logits(model(x), F.one_hot(y, 4).float())


def poisson(model: nn.Module, batch: Batch) -> Tensor:
    """Poisson regression of counts."""
    x, y = batch
    return F.poisson_nll_loss(model(x), (4 * (y + 1)).round().clamp(min=0))


def quantiles(model: nn.Module, batch: Batch) -> Tensor:
    """Pinball loss of three quantiles."""
    x, y = batch
    levels = torch.tensor([0.1, 0.5, 0.9])
    miss = y - model(x)
    return torch.maximum(levels * miss, (levels - 1) * miss).mean()


def ranking(model: nn.Module, batch: Batch) -> Tensor:
    """Margin ranking of each example against the next."""
    x, y = batch
    score = model(x)
    return F.margin_ranking_loss(score, score.roll(1, 0), torch.sign(y - y.roll(1, 0)), margin=0.1)


def losses() -> list[Case]:
    """Embeddings, and the losses of torch.nn that are not cross entropy or squared error."""
    net, scalar = partial(mlp, [16, 32, 8]), partial(mlp, [16, 32, 1])
    numbers = regression()
    return [
        case("nn_embedding", "nn/embedding", averaged, TOKENS),
        case("nn_embedding_large_vocabulary", "nn/embedding", partial(averaged, vocab=5000), TOKENS),
        case("nn_embedding_sparse", "nn/embedding_sparse", partial(averaged, sparse=True), TOKENS),
        case("nn_embedding_bag", "nn/embedding_bag", Bag, TOKENS),
        case("nn_embedding_bag_sparse", "nn/embedding_bag", partial(Bag, "sum", True), TOKENS),
        case("nn_bilinear", "nn/bilinear", Pairing, VECTORS),
        case("nn_adaptive_softmax", "nn/adaptive_softmax", Adaptive, COUNTING, lambda model, t: model(t)),
        case("nn_ctc", "nn/ctc", Listener, dictation(), ctc),
        case("nn_triplet_margin", "nn/triplet", net, VECTORS, triplet),
        case("nn_cosine_embedding", "nn/cosine_embedding", net, VECTORS, cosine),
        case("nn_gaussian_nll", "nn/gaussian_nll", partial(mlp, [16, 32, 2]), numbers, gaussian),
        case("nn_mixture_density", "nn/mixture_density", partial(mlp, [16, 32, 9], nn.Tanh), numbers, mixture),
        case("nn_multilabel_bce", "nn/bce", partial(mlp, [16, 32, 4]), VECTORS, binary),
        case("nn_poisson", "nn/poisson", scalar, numbers, poisson),
        case("nn_quantiles", "nn/quantile", partial(mlp, [16, 32, 3]), numbers, quantiles),
        case("nn_huber", "nn/huber", scalar, numbers, supervised(F.huber_loss)),
        case("nn_l1", "nn/l1", scalar, numbers, supervised(F.l1_loss)),
        case("nn_margin_ranking", "nn/ranking", scalar, numbers, ranking),
        case("nn_hinge", "nn/hinge", partial(mlp, [16, 32, 4]), VECTORS, supervised(F.multi_margin_loss)),
        case("nn_house_prices", "nn/house_prices", priced, regression(scale=1e5, offset=3e5), fit),
        case("nn_temperatures", "nn/unnormalised", scalar, regression(scale=5, offset=10), fit),
        case("nn_small_targets", "nn/small_targets", scalar, regression(scale=1e-3), fit),
        case("nn_summed_loss", "nn/summed", scalar, numbers, supervised(partial(F.mse_loss, reduction="sum")), 64),
        case("nn_label_smoothing", "nn/smoothing", partial(mlp, [16, 64, 4]), VECTORS, SMOOTHED),
    ]


def cases() -> list[Case]:
    """The cases of this file."""
    return perceptrons() + losses()
