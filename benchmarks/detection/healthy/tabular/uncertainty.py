"""Doubt about one's own answer, memories, and functions with a known shape."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import VECTORS, cast, generator, patterns, regression
from benchmarks.detection.vocabulary.blocks import mlp
from benchmarks.detection.vocabulary.losses import fit, own_loss


class Bayesian(nn.Module):
    """A mean-field variational layer: mean and rho, sampled weights."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.mean, self.bias = nn.Parameter(torch.empty(outside, inside)), nn.Parameter(torch.zeros(outside))
        self.rho = nn.Parameter(torch.full((outside, inside), -3.0))
        nn.init.kaiming_uniform_(self.mean, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.mean + F.softplus(self.rho) * torch.randn_like(self.mean), self.bias)

    def divergence(self) -> Tensor:
        """The divergence of the weights from a standard normal."""
        scale = F.softplus(self.rho)
        return 0.5 * (scale**2 + self.mean**2 - 1 - 2 * scale.log()).sum()


def bayes(model: nn.Module, batch: Batch) -> Tensor:
    """The negative evidence bound with the divergence spread over a thousand examples."""
    x, y = batch
    divergence = torch.stack([part.divergence() for part in model.modules() if isinstance(part, Bayesian)]).sum()
    return F.cross_entropy(model(x), y) + divergence / 1000


class KernelProcess(nn.Module):
    """Deep kernel learning: the exact marginal likelihood of a Gaussian process on learnt features."""

    def __init__(self) -> None:
        super().__init__()
        self.features = mlp([8, 32, 16, 2])
        self.raw_scale, self.raw_noise, self.mean = (nn.Parameter(torch.zeros(())) for _ in range(3))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        z = self.features(x)
        gaps = (z[:, None] - z).square().sum(-1)
        noise = F.softplus(self.raw_noise) + 1e-4
        covariance = (-gaps / (2 * F.softplus(self.raw_scale) ** 2)).exp() + noise * torch.eye(len(x))
        shape = torch.distributions.MultivariateNormal(self.mean.expand(len(x)), covariance)
        return -shape.log_prob(y[:, 0]) / len(x)  # type: ignore[no-untyped-call]


class NeuralProcess(nn.Module):
    """A conditional neural process: a few points of a function tell the others, with their spread."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = mlp([2, 32, 32, 32]), mlp([33, 32, 32, 2])

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        known = self.encode(torch.cat([x, y], -1)[:, :6]).mean(1, keepdim=True)
        mean, raw = self.decode(torch.cat([known.expand(-1, x.shape[1], -1), x], -1)).chunk(2, -1)
        spread = 0.1 + 0.9 * F.softplus(raw)
        return -torch.distributions.Normal(mean, spread).log_prob(y).mean()  # type: ignore[no-untyped-call]


def functions(seed: int, size: int) -> Batch:
    """Sines of several phases, seen at random places."""
    g = generator(seed)
    x = 4 * torch.rand(size, 16, 1, generator=g) - 2
    return x, (2 * x + 6.283 * torch.rand(size, 1, 1, generator=g)).sin()


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


class BatchEnsemble(nn.Module):
    """BatchEnsemble: four members share every matrix and own the signs and sizes around it."""

    def __init__(self, members: int = 4) -> None:
        super().__init__()
        self.members, sizes = members, ((32, 64), (64, 64), (64, 4))
        self.layers = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in sizes)
        self.ins, self.outs = (
            nn.ParameterList(nn.Parameter(torch.randint(2, (members, s[i])).float() * 2 - 1) for s in sizes)
            for i in range(2)
        )
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(members, b)) for _, b in sizes)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        x = x[:, None].expand(-1, self.members, -1)
        for i, (layer, inward, out, bias) in enumerate(zip(self.layers, self.ins, self.outs, self.biases, strict=True)):
            x = layer(x * inward) * out + bias
            x = F.relu(x) if i < 2 else x
        return F.cross_entropy(x.flatten(0, 1), label.repeat_interleave(self.members))


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


class Memory(nn.Module):
    """A memory network: two hops over stored facts with tied keys."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.facts, self.question, self.head = nn.Linear(16, width), nn.Linear(16, width), nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        memory, state = self.facts(x), self.question(x.mean(dim=1))
        for _ in range(2):
            weight = (memory @ state[..., None]).softmax(dim=1)
            state = state + (weight * memory).sum(dim=1)
        out: Tensor = self.head(state)
        return out


class InContext(nn.Module):
    """A small prior-fitted network: rows with their answers and rows without, one transformer, as in TabPFN."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.x, self.y = nn.Linear(4, width), nn.Linear(1, width)
        layer = nn.TransformerEncoderLayer(width, 2, 64, 0.0, "gelu", batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.Linear(width, 64), nn.GELU(), nn.Linear(64, 2))
        for block in self.body.layers:
            for last in (block.linear2, block.self_attn.out_proj):
                nn.init.zeros_(last.weight)
                nn.init.zeros_(last.bias)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        known = 16
        rows = self.x(x)
        rows = torch.cat([rows[:, :known] + self.y(y[:, :known, None]), rows[:, known:]], 1)
        hidden = torch.zeros(rows.shape[1], rows.shape[1], dtype=torch.bool)
        hidden[:, known:] = ~torch.eye(rows.shape[1], dtype=torch.bool)[:, known:]
        logits = self.head(self.body(rows, mask=hidden)[:, known:])
        return F.cross_entropy(logits.flatten(0, 1), y[:, known:].flatten().long())


def priors(seed: int, size: int) -> Batch:
    """Small tables, each cut by a plane of its own through the same corner of space."""
    g = generator(seed)
    x = torch.randn(size, 24, 4, generator=g)
    plane = torch.tensor([1.0, 0.5, 0, 0]) + 0.5 * torch.randn(size, 4, 1, generator=g)
    return x, ((x @ plane)[..., 0] > 0).float()


def cases() -> list[Case]:
    """The cases of this file."""
    return [
        case(
            "odd_bayes_by_backprop",
            "odd/bayes",
            lambda: nn.Sequential(Bayesian(16, 32), nn.ReLU(), Bayesian(32, 4)),
            VECTORS,
            bayes,
        ),
        case(
            "second_tabular_deep_kernel",
            "second/deep_kernel",
            KernelProcess,
            regression(8, 1),
            own_loss,
            size=16,
            round=2,
        ),
        case(
            "second_tabular_neural_process",
            "second/neural_process",
            NeuralProcess,
            functions,
            own_loss,
            size=16,
            round=2,
        ),
        case("third_tabular_evidential", "third/evidential", Evidential, regression(16), own_loss, round=3),
        case("third_tabular_spectral_gaussian", "third/spectral_gaussian", SpectralGaussian, patterns(16), round=3),
        case(
            "third_tabular_variational_gaussian",
            "third/variational_gaussian",
            VariationalGaussian,
            cast(regression(16), torch.float64),
            own_loss,
            round=3,
        ),
        case("fourth_learning_batch_ensemble", "fourth/batch_ensemble", BatchEnsemble, patterns(32), own_loss, round=4),
        case("third_tabular_input_convex", "third/input_convex", ConvexNet, bowls, fit, round=3),
        case(
            "third_tabular_arithmetic_unit",
            "third/arithmetic_unit",
            lambda: nn.Sequential(ArithmeticUnit(8, 2), ArithmeticUnit(2, 1)),
            sums,
            fit,
            round=3,
        ),
        case("odd_memory_network", "odd/memory", Memory, patterns(8, 16)),
        case("third_learning_prior_fitted", "third/prior_fitted", InContext, priors, own_loss, round=3),
    ]
