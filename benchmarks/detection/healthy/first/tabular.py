"""Recommenders, tables, forecasts and unusual layers: splines, fixed points, spikes, quantisation, discrete gates."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case
from benchmarks.detection.healthy.common import (
    Apply,
    Maker,
    Residual,
    case,
    fit,
    generator,
    mlp,
    own_loss,
    patterns,
    regression,
    waves,
)

USERS, ITEMS = 2000, 500
VECTORS = patterns(16)


# --- recommenders -----------------------------------------------------------------------------------------------


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


def histories(length: int = 8) -> Maker:
    """Item histories that go up by a step of their own."""

    def make(seed: int, size: int) -> Tensor:
        g = generator(seed)
        step = torch.randint(1, 4, (size, 1), generator=g)
        return (torch.randint(ITEMS, (size, 1), generator=g) + step * torch.arange(length)) % ITEMS

    return make


def following(model: nn.Module, history: Batch) -> Tensor:
    """Cross entropy of the next item over all items."""
    return F.cross_entropy(model(history[:, :-1]).flatten(0, 1), history[:, 1:].flatten())


class SkipGram(nn.Module):
    """word2vec with negative sampling: output vectors start at zero, as in the original code."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.inside, self.outside = nn.Embedding(ITEMS, width), nn.Embedding(ITEMS, width)
        nn.init.uniform_(self.inside.weight, -0.5 / width, 0.5 / width)
        nn.init.zeros_(self.outside.weight)

    def forward(self, history: Tensor) -> Tensor:
        word, near = self.inside(history[:, :-1]), self.outside(history[:, 1:])
        noise = self.outside(torch.randint(ITEMS, (*word.shape[:2], 4)))
        wrong = -(noise @ word[..., None])[..., 0]
        return -F.logsigmoid((word * near).sum(-1)).mean() - F.logsigmoid(wrong).sum(-1).mean()


# --- tables -----------------------------------------------------------------------------------------------------


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


class GAM(nn.Module):
    """A neural additive model: one small network per feature."""

    def __init__(self, features: int = 16) -> None:
        super().__init__()
        self.parts = nn.ModuleList([mlp([1, 16, 1]) for _ in range(features)])

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([part(x[:, i : i + 1]) for i, part in enumerate(self.parts)], dim=1).sum(1, keepdim=True)


# --- forecasts --------------------------------------------------------------------------------------------------


class NBeats(nn.Module):
    """Doubly residual blocks of backcasts and forecasts; as published, the last backcast goes nowhere."""

    def __init__(self, past: int = 24, ahead: int = 8, blocks: int = 3) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Sequential(mlp([past, 32, 32]), nn.ReLU()) for _ in range(blocks)])
        self.back = nn.ModuleList([nn.Linear(32, past) for _ in range(blocks)])
        self.ahead = nn.ModuleList([nn.Linear(32, ahead) for _ in range(blocks)])

    def forward(self, x: Tensor) -> Tensor:
        total = torch.zeros(())
        for block, back, ahead in zip(self.blocks, self.back, self.ahead, strict=True):
            h = block(x)
            x, total = x - back(h), total + ahead(h)
        return total


def dlinear() -> nn.Module:
    """DLinear's seasonal part: one linear layer from past to future, starting at the mean."""
    layer = nn.Linear(24, 8)
    nn.init.constant_(layer.weight, 1 / 24)
    return layer


def ahead(model: nn.Module, batch: Batch) -> Tensor:
    """Squared error of the last eight values of a series."""
    x = batch[0][:, 0]
    return F.mse_loss(model(x[:, :24]), x[:, 24:])


class DeepAR(nn.Module):
    """An LSTM with a Gaussian output for every step."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.LSTM(1, 32, 2, batch_first=True), nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.layer(x)[0])
        return out


def likelihood(model: nn.Module, batch: Batch) -> Tensor:
    """Gaussian negative log likelihood of every next value."""
    x = batch[0].transpose(1, 2)
    mean, scale = model(x[:, :-1]).chunk(2, dim=-1)
    out: Tensor = -torch.distributions.Normal(mean, F.softplus(scale) + 1e-3).log_prob(x[:, 1:]).mean()  # type: ignore[no-untyped-call]
    return out


# --- implicit and continuous depth ------------------------------------------------------------------------------


class NeuralODE(nn.Module):
    """A differential equation, unrolled with eight Euler steps; its field starts small as in the paper's code."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.field, self.head = mlp([width, 32, width], nn.Tanh), nn.Linear(width, 4)
        for layer in self.field:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.1)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(8):
            x = x + self.field(x) / 8
        out: Tensor = self.head(x)
        return out


class DEQ(nn.Module):
    """A deep equilibrium layer, iterated; the weights start at N(0, 0.01), which keeps it contractive."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.inside, self.again, self.head = nn.Linear(16, width), nn.Linear(width, width), nn.Linear(width, 4)
        nn.init.normal_(self.again.weight, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        fed = self.inside(x)
        z = torch.zeros_like(fed)
        for _ in range(6):
            z = torch.tanh(self.again(z) + fed)
        out: Tensor = self.head(z)
        return out


class Physics(nn.Module):
    """A physics-informed network: the residual of u'' = -u on random points and two boundary values."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp([1, 32, 32, 1], nn.Tanh)
        for layer in self.net:
            if isinstance(layer, nn.Linear):
                nn.init.xavier_normal_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, _: Tensor) -> Tensor:
        t = (3 * torch.sigmoid(x[:, :1])).requires_grad_(True)
        u = self.net(t)
        (first,) = torch.autograd.grad(u.sum(), t, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), t, create_graph=True)
        ends = self.net(torch.tensor([[0.0], [math.pi / 2]])) - torch.tensor([[0.0], [1.0]])
        out: Tensor = ((second + u) ** 2).mean() + (ends**2).sum()
        return out


class DeepONet(nn.Module):
    """A branch for the function, a trunk for the place, their dot product."""

    def __init__(self) -> None:
        super().__init__()
        self.branch, self.trunk = mlp([15, 32, 16], nn.Tanh), mlp([1, 32, 16], nn.Tanh)
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = (self.branch(x[:, :15]) * self.trunk(x[:, 15:])).sum(dim=1, keepdim=True) + self.bias
        return out


class Spectral(nn.Module):
    """The layer of a Fourier neural operator: complex weights on the low modes and a pointwise bypass."""

    def __init__(self, width: int = 16, modes: int = 6) -> None:
        super().__init__()
        scale = 1 / width**2
        self.weight = nn.Parameter(scale * torch.rand(width, width, modes, dtype=torch.cfloat))
        self.bypass, self.modes = nn.Conv1d(width, width, 1), modes

    def forward(self, x: Tensor) -> Tensor:
        wave = torch.fft.rfft(x)
        low = torch.einsum("bim,iom->bom", wave[..., : self.modes], self.weight)
        moved = torch.fft.irfft(F.pad(low, (0, wave.shape[-1] - self.modes)), n=x.shape[-1])
        return F.gelu(moved + self.bypass(x))


def fno() -> nn.Module:
    """A Fourier neural operator that classifies."""
    body = [nn.Conv1d(1, 16, 1), Spectral(), Spectral(), Spectral()]
    return nn.Sequential(*body, Apply(lambda x: x.mean(dim=-1)), nn.Linear(16, 4))


# --- splines, kernels, discreteness -----------------------------------------------------------------------------


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


class Fake(nn.Module):
    """Quantisation-aware training: weights and activations on an eight-bit grid, gradients straight through."""

    def __init__(self, inside: int, outside: int, bits: int = 8) -> None:
        super().__init__()
        self.linear, self.top = nn.Linear(inside, outside), 2.0 ** (bits - 1) - 1

    def round(self, x: Tensor) -> Tensor:
        """The nearest value of the grid, with the gradient of the identity."""
        scale = x.detach().abs().max().clamp(min=1e-8) / self.top
        return x + ((x / scale).round() * scale - x).detach()

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.round(x), self.round(self.linear.weight), self.linear.bias)


class Binary(nn.Module):
    """A binarised layer: signs of the weights, scaled by their mean, gradients straight through within [-1, 1]."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(inside, outside, bias=False), nn.BatchNorm1d(outside)

    def forward(self, x: Tensor) -> Tensor:
        clipped = self.linear.weight.clamp(-1, 1)
        sign = clipped + (torch.sign(clipped) * clipped.abs().mean() - clipped).detach()
        out: Tensor = self.norm(F.linear(x, sign))
        return out


class Spike(torch.autograd.Function):
    """A step forwards, a fast sigmoid's slope backwards."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x > 0).float()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors  # type: ignore[attr-defined]
        out: Tensor = grad / (1 + 10 * x.abs()) ** 2
        return out


class Spiking(nn.Module):
    """Leaky integrate-and-fire neurons over eight steps with a surrogate gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.outside = nn.Linear(16, 64), nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        current = self.inside(x)
        charge, total = torch.zeros_like(current), x.new_zeros(len(x), 4)
        for _ in range(8):
            charge = 0.9 * charge + current
            spike: Tensor = Spike.apply(charge - 1.0)  # type: ignore[no-untyped-call]
            charge, total = charge - spike.detach(), total + self.outside(spike)
        return total / 8


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


class Survival(nn.Module):
    """DeepSurv: the Cox partial likelihood of a risk score."""

    def __init__(self) -> None:
        super().__init__()
        self.risk = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.BatchNorm1d(32), nn.Linear(32, 1, bias=False))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        risk = self.risk(x)[:, 0][y[:, 0].argsort(descending=True)]
        out: Tensor = (torch.logcumsumexp(risk, dim=0) - risk).mean()
        return out


def recommenders() -> list[Case]:
    """Models with large tables of which a batch sees little."""
    models: dict[str, Callable[[], nn.Module]] = {
        "dlrm": DLRM, "wide_and_deep": WideDeep, "factorisation_machine": partial(DeepFM, False), "deepfm": DeepFM,
        "neumf": NeuMF,
    }  # fmt: skip
    made = [case(f"tab_{k}", f"tab/{k}", build, clicks(), clicked) for k, build in models.items()]
    return [
        *made,
        case("tab_two_tower", "tab/two_tower", TwoTower, clicks(), retrieved),
        case("tab_sasrec", "tab/sasrec", SASRec, histories(), following),
        case("tab_word2vec", "tab/word2vec", SkipGram, histories(), own_loss),
    ]


def classifiers() -> list[Case]:
    """Classifiers of vectors with unusual layers."""
    models: dict[str, Callable[[], nn.Module]] = {
        "ft_transformer": FTTransformer, "tabnet": TabNet, "soft_trees": SoftTrees, "neural_ode": NeuralODE, "deq": DEQ,
        "kan": lambda: nn.Sequential(Spline(16, 16), Spline(16, 4)), "rbf": Radial, "gumbel_gate": Gumbel,
        "fake_quantisation": lambda: nn.Sequential(Fake(16, 32), nn.ReLU(), Fake(32, 32), nn.ReLU(), Fake(32, 4)),
        "binary_weights": lambda: nn.Sequential(Binary(16, 64), nn.Hardtanh(), Binary(64, 64), Binary(64, 4)),
        "spiking": Spiking, "tabular_resnet": tabular_resnet,
    }  # fmt: skip
    return [case(f"odd_{k}", f"odd/{k}", build, VECTORS) for k, build in models.items()]


def tabular_resnet() -> nn.Module:
    """The residual network for tables: normalise, widen, narrow."""
    blocks = [
        Residual(nn.BatchNorm1d(32), nn.Linear(32, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 32)) for _ in range(3)
    ]
    return nn.Sequential(nn.Linear(16, 32), *blocks, nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 4))


def cases() -> list[Case]:
    """All cases of this module."""
    bayesian = lambda: nn.Sequential(Bayesian(16, 32), nn.ReLU(), Bayesian(32, 4))  # noqa: E731
    return (
        recommenders()
        + classifiers()
        + [
            case("tab_neural_additive", "tab/gam", GAM, regression(), fit),
            case("tab_deepsurv", "tab/deepsurv", Survival, regression(), own_loss),
            case("tab_nbeats", "tab/nbeats", NBeats, waves(32), ahead),
            case("tab_dlinear", "tab/dlinear", dlinear, waves(32), ahead),
            case("tab_deepar", "tab/deepar", DeepAR, waves(32), likelihood),
            case("odd_pinn", "odd/pinn", Physics, regression(), own_loss, 32),
            case("odd_deeponet", "odd/deeponet", DeepONet, regression(), fit),
            case("odd_fourier_operator", "odd/fno", fno, waves(32)),
            case("odd_bayes_by_backprop", "odd/bayes", bayesian, VECTORS, bayes),
            case("odd_memory_network", "odd/memory", Memory, patterns(8, 16)),
            case("odd_domain_adversarial", "odd/dann", Adversarial, VECTORS, own_loss),
        ]
    )
