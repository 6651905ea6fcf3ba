"""Unusual layers: quantised, sparse, structured, implicit, spiking, trained without backpropagation."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Build, Case
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import VECTORS, generator, patterns, pictures, regression
from benchmarks.detection.vocabulary.blocks import mlp
from benchmarks.detection.vocabulary.losses import fit, own_loss


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


def layered(kind: type[nn.Linear]) -> Build:
    """Two such layers and a usual head."""
    return lambda: nn.Sequential(kind(16, 48), nn.ReLU(), kind(48, 48), nn.ReLU(), nn.Linear(48, 4))


class Stepped(nn.Linear):
    """LSQ: weights on a grid of four bits whose step is learnt, with its own gradient scale."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.step = nn.Parameter(2 * self.weight.detach().abs().mean() / 7**0.5)

    def forward(self, x: Tensor) -> Tensor:
        scale = (self.weight.numel() * 7) ** -0.5
        step = (self.step - self.step * scale).detach() + self.step * scale
        level = (self.weight / step).clamp(-8, 7)
        return F.linear(x, (level + (level.round() - level).detach()) * step, self.bias)


class HardConcrete(nn.Linear):
    """L0 regularisation: stochastic gates, stretched and clamped, that start mostly open."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.log_alpha = nn.Parameter(math.log(0.5 / 0.5) + 0.01 * torch.randn(inputs))

    def forward(self, x: Tensor) -> Tensor:
        noise = torch.empty_like(self.log_alpha).uniform_(1e-6, 1 - 1e-6)
        soft = ((noise.log() - (-noise).log1p() + self.log_alpha) / (2 / 3)).sigmoid()
        return super().forward(x * (1.2 * soft - 0.1).clamp(0, 1))


class Ternary(nn.Linear):
    """Ternary weights: three values by a threshold of 0.7 of the mean, gradients straight through."""

    def forward(self, x: Tensor) -> Tensor:
        limit = 0.7 * self.weight.abs().mean(1, keepdim=True)
        kept = (self.weight.abs() > limit).float()
        scale = (self.weight.abs() * kept).sum(1, keepdim=True) / kept.sum(1, keepdim=True).clamp(min=1)
        hard = (scale * self.weight.sign() * kept).detach()
        return F.linear(x, hard + self.weight - self.weight.detach(), self.bias)


def three(layer: type[nn.Linear]) -> Build:
    """Two such hidden layers and such a head."""
    return lambda: nn.Sequential(layer(16, 64), nn.ReLU(), layer(64, 64), nn.ReLU(), layer(64, 4))


class Feedback(torch.autograd.Function):
    """A linear layer whose error comes back through a fixed random matrix."""

    @staticmethod
    def forward(ctx, x, weight, bias, back):  # type: ignore[no-untyped-def]
        """The usual product."""
        ctx.save_for_backward(x, back)
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        """The usual gradients of the parameters, the input's through the random matrix."""
        x, back = ctx.saved_tensors
        return grad @ back, grad.T @ x, grad.sum(0), None


class Aligned(nn.Linear):
    """Feedback alignment."""

    back: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.register_buffer("back", torch.empty(outputs, inputs).uniform_(-(inputs**-0.5), inputs**-0.5))

    def forward(self, x: Tensor) -> Tensor:
        return Feedback.apply(x, self.weight, self.bias, self.back)  # type: ignore[no-untyped-call]


class Supermask(nn.Linear):
    """Edge-popup: weights stay random, scores are learnt, the better half of the connections is used."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)
        self.weight.requires_grad_(False)
        nn.init.kaiming_normal_(self.weight, mode="fan_in")
        self.scores = nn.Parameter(torch.empty(outputs, inputs))
        nn.init.kaiming_uniform_(self.scores, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        size = self.scores.abs()
        kept = (size > size.detach().median()).float()
        return F.linear(x, self.weight * (kept - size.detach() + size))


class Pruned(nn.Linear):
    """A lottery ticket: four fifths of the weights are masked out."""

    mask: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        rank = self.weight.detach().abs().flatten().argsort(descending=True).argsort()
        self.register_buffer("mask", (rank < len(rank) // 5).float().view_as(self.weight))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.mask, self.bias)


class Winners(nn.Module):
    """k winners take all: the rest of the units is silent."""

    def forward(self, x: Tensor) -> Tensor:
        least = x.topk(x.shape[1] // 4, 1).values[:, -1:]
        return torch.where(x >= least, x, 0.0)


class GroupSort(nn.Module):
    """Sorts pairs of units: an activation that keeps lengths."""

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (-1, 2)).sort(2).values.flatten(1)  # type: ignore[no-untyped-call]


def lipschitz() -> nn.Module:
    """A 1-Lipschitz net: orthogonal matrices (Cayley) and GroupSort; the head is orthogonal as well."""
    norm = nn.utils.parametrizations.orthogonal
    layers: list[nn.Module] = []
    for inputs, outputs in ((16, 32), (32, 32)):
        layers += [norm(nn.Linear(inputs, outputs), orthogonal_map="cayley"), GroupSort()]
    return nn.Sequential(*layers, norm(nn.Linear(32, 4), orthogonal_map="cayley"))


class Rational(nn.Module):
    """A Pade activation unit: a learnt quotient of polynomials that starts as a leaky ReLU."""

    def __init__(self) -> None:
        super().__init__()
        above = [0.02996348, 0.61690165, 2.37539147, 3.06608078, 1.52474449, 0.25281987]
        self.above, self.below = (
            nn.Parameter(torch.tensor(above)),
            nn.Parameter(torch.tensor([1.19160814, 4.40811795, 0.91111034, 0.34885983])),
        )

    def forward(self, x: Tensor) -> Tensor:
        powers = torch.stack([x**i for i in range(6)], -1)
        return (powers @ self.above) / (1 + (powers[..., 1:5] * self.below).sum(-1).abs())


class Snake(nn.Module):
    """x + sin^2(ax) / a."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return x + (self.a * x).sin().square() / self.a


class Circulant(nn.Module):
    """A circulant layer by the Fourier transform, with random signs in front."""

    signs: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.kernel, self.bias = nn.Parameter(torch.randn(width) / width**0.5), nn.Parameter(torch.zeros(width))
        self.register_buffer("signs", torch.randint(2, (width,)) * 2.0 - 1)

    def forward(self, x: Tensor) -> Tensor:
        product = torch.fft.rfft(x * self.signs) * torch.fft.rfft(self.kernel)
        return torch.fft.irfft(product, x.shape[-1]) + self.bias


class TensorTrain(nn.Module):
    """A layer whose matrix is a train of two small tensors."""

    def __init__(self, rank: int = 4) -> None:
        super().__init__()
        std = (2 / (64 + 64)) ** 0.25 / rank**0.25
        self.one = nn.Parameter(std * torch.randn(8, 8, rank))
        self.two = nn.Parameter(std * torch.randn(rank, 8, 8))
        self.bias = nn.Parameter(torch.zeros(64))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bij,iar,rjc->bac", x.unflatten(1, (8, 8)), self.one, self.two).flatten(1) + self.bias  # type: ignore[no-untyped-call]


class Quaternion(nn.Module):
    """A quaternion layer: four real matrices in Hamilton's product, polar initialisation."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        size, turn = (2 * (inputs + outputs)) ** -0.5, torch.empty(outputs, inputs).uniform_(-math.pi, math.pi)
        length = size * torch.randn(4, outputs, inputs).norm(dim=0)
        axis = F.normalize(torch.rand(3, outputs, inputs), dim=0)
        self.weight = nn.Parameter(torch.cat([(length * turn.cos())[None], length * axis * turn.sin()]))
        self.bias = nn.Parameter(torch.zeros(4 * outputs))

    def forward(self, x: Tensor) -> Tensor:
        r, i, j, k = self.weight
        rows = ((r, -i, -j, -k), (i, r, -k, j), (j, k, r, -i), (k, -j, i, r))
        return F.linear(x, torch.cat([torch.cat(row, 1) for row in rows]), self.bias)


class ComplexNet(nn.Module):
    """A deep complex network: complex layers, ReLU on both parts, the sizes are read."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, 32, dtype=torch.cfloat) for a in (16, 32))
        self.head = nn.Linear(32, 4)
        for layer in self.layers:
            size = torch.distributions.Weibull(layer.in_features**-0.5, 2.0).sample(layer.weight.shape)  # type: ignore[no-untyped-call, operator]
            turn = torch.empty(layer.weight.shape).uniform_(-math.pi, math.pi)  # type: ignore[arg-type]
            layer.weight.data = torch.polar(size, turn)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        z = torch.fft.fft(x, norm="ortho")
        for layer in self.layers:
            z = layer(z)
            z = torch.complex(F.relu(z.real), F.relu(z.imag))
        return self.head((z.real.square() + z.imag.square() + 1e-8).sqrt())


class SinkhornSort(nn.Module):
    """Gumbel-Sinkhorn: a net scores numbers for places; the soft permutation has to sort them."""

    def __init__(self, numbers: int = 6) -> None:
        super().__init__()
        self.score = mlp([1, 32, numbers])

    def forward(self, x: Tensor) -> Tensor:
        log = self.score(x[..., None])
        noise = -(-(torch.rand_like(log) + 1e-9).log() + 1e-9).log()
        log = (log + 0.1 * noise) / 1.0
        for _ in range(10):
            log = log - log.logsumexp(2, keepdim=True)
            log = log - log.logsumexp(1, keepdim=True)
        return F.mse_loss((log.exp().transpose(1, 2) @ x[..., None])[..., 0], x.sort(1).values)


def unsorted(seed: int, size: int) -> Tensor:
    """Six numbers in [0, 1]."""
    return torch.rand(size, 6, generator=generator(seed))


class ForwardForward(nn.Module):
    """Hinton's forward-forward: every layer for itself tells right labels from wrong by its activity."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, 64) for a in (20, 64, 64))

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        wrong = (label + torch.randint(1, 4, label.shape)) % 4
        right, false = (torch.cat([x, F.one_hot(kind, 4)], 1) for kind in (label, wrong))
        cost = torch.zeros(())
        for layer in self.layers:
            right, false = (
                F.relu(layer(h.detach() / (h.detach().norm(dim=1, keepdim=True) + 1e-4))) for h in (right, false)
            )
            scores = torch.cat([2 - right.square().mean(1), false.square().mean(1) - 2])
            cost = cost + F.softplus(scores).mean()
        return cost


class ClippedLevels(nn.Module):
    """PACT: ReLU with a learnt ceiling and four bits; DoReFa weights of four bits; straight-through rounding."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 16, 3, 2, 1), nn.Linear(32, 4)
        self.convs = nn.ModuleList(nn.Conv2d(a, 32, 3, s, 1, bias=False) for a, s in ((16, 2), (32, 1)))
        self.norms = nn.ModuleList(nn.BatchNorm2d(n) for n in (16, 32, 32))
        self.ceilings = nn.Parameter(torch.full((3,), 6.0))

    @staticmethod
    def rounded(x: Tensor, levels: int = 15) -> Tensor:
        """Between zero and one on a grid."""
        return x + ((x * levels).round() / levels - x).detach()

    def bend(self, x: Tensor, i: int) -> Tensor:
        """The clipped ReLU, quantised."""
        top = self.ceilings[i]
        clipped = 0.5 * (x.abs() - (x - top).abs() + top)
        return self.rounded(clipped / top) * top

    def forward(self, x: Tensor) -> Tensor:
        x = self.bend(self.norms[0](self.first(x)), 0)
        for i, conv in enumerate(self.convs, 1):
            bent = conv.weight.tanh()  # type: ignore[operator]
            weight = 2 * self.rounded(bent / (2 * bent.abs().max().detach()) + 0.5) - 1
            x = F.conv2d(x, weight, stride=3 - i, padding=1)
            x = self.bend(self.norms[i](x), i)
        return self.last(x.mean((2, 3)))


class TwoOfFour(torch.autograd.Function):
    """SR-STE: two of every four weights stay; the gradient goes to all, and the others are pulled to zero."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        """Zero the two smaller of every four."""
        groups = weight.view(-1, 4)
        mask = torch.zeros_like(groups).scatter(1, groups.abs().topk(2, 1).indices, 1).view_as(weight)
        ctx.save_for_backward(weight, mask)
        return weight * mask

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        """Straight through, with decay of what is masked."""
        weight, mask = ctx.saved_tensors
        return slopes[0] + 2e-4 * (1 - mask) * weight


class SparseLinear(nn.Linear):
    """A linear layer with structured sparsity."""

    def forward(self, input: Tensor) -> Tensor:
        weight: Tensor = TwoOfFour.apply(self.weight)  # type: ignore[no-untyped-call]
        return F.linear(input, weight, self.bias)


def sparse_mlp() -> nn.Module:
    """Three sparse layers."""
    return nn.Sequential(SparseLinear(32, 64), nn.ReLU(), SparseLinear(64, 64), nn.ReLU(), SparseLinear(64, 4))


def cases() -> list[Case]:
    """The cases of this file."""
    return [
        case("odd_neural_ode", "odd/neural_ode", NeuralODE, VECTORS),
        case("odd_deq", "odd/deq", DEQ, VECTORS),
        case(
            "odd_fake_quantisation",
            "odd/fake_quantisation",
            lambda: nn.Sequential(Fake(16, 32), nn.ReLU(), Fake(32, 32), nn.ReLU(), Fake(32, 4)),
            VECTORS,
        ),
        case(
            "odd_binary_weights",
            "odd/binary_weights",
            lambda: nn.Sequential(Binary(16, 64), nn.Hardtanh(), Binary(64, 64), Binary(64, 4)),
            VECTORS,
        ),
        case("odd_spiking", "odd/spiking", Spiking, VECTORS),
        case("second_learning_lsq", "second/lsq", layered(Stepped), patterns(16), size=16, round=2),
        case("second_learning_l0_gates", "second/l0_gates", layered(HardConcrete), patterns(16), size=16, round=2),
        case("second_learning_ternary", "second/ternary", layered(Ternary), patterns(16), size=16, round=2),
        case("third_learning_feedback_alignment", "third/feedback_alignment", three(Aligned), patterns(16), round=3),
        case("third_learning_supermask", "third/supermask", three(Supermask), patterns(16), round=3),
        case("third_learning_lottery_ticket", "third/lottery_ticket", three(Pruned), patterns(16), round=3),
        case(
            "third_learning_k_winners", "third/k_winners", lambda: mlp([16, 64, 64, 4], Winners), patterns(16), round=3
        ),
        case("third_learning_lipschitz_groupsort", "third/lipschitz_groupsort", lipschitz, patterns(16), round=3),
        case(
            "third_learning_pade_units",
            "third/pade_units",
            lambda: mlp([16, 32, 32, 1], Rational),
            regression(16),
            fit,
            round=3,
        ),
        case("third_learning_snake", "third/snake", lambda: mlp([16, 32, 32, 1], Snake), regression(16), fit, round=3),
        case(
            "third_learning_circulant",
            "third/circulant",
            lambda: nn.Sequential(nn.Linear(16, 64), nn.ReLU(), Circulant(64), nn.ReLU(), nn.Linear(64, 4)),
            patterns(16),
            round=3,
        ),
        case(
            "third_learning_tensor_train",
            "third/tensor_train",
            lambda: nn.Sequential(nn.Linear(16, 64), nn.ReLU(), TensorTrain(), nn.ReLU(), nn.Linear(64, 4)),
            patterns(16),
            round=3,
        ),
        case(
            "third_learning_quaternion",
            "third/quaternion",
            lambda: nn.Sequential(Quaternion(4, 8), nn.ReLU(), Quaternion(8, 8), nn.ReLU(), nn.Linear(32, 4)),
            patterns(16),
            round=3,
        ),
        case("third_learning_deep_complex", "third/deep_complex", ComplexNet, patterns(16), round=3),
        case("third_learning_sinkhorn_sort", "third/sinkhorn_sort", SinkhornSort, unsorted, own_loss, round=3),
        case(
            "third_learning_forward_forward", "third/forward_forward", ForwardForward, patterns(16), own_loss, round=3
        ),
        case(
            "fourth_learning_pact_quantisation", "fourth/pact_quantisation", ClippedLevels, pictures(side=16), round=4
        ),
        case("fourth_learning_two_of_four_sparsity", "fourth/two_of_four_sparsity", sparse_mlp, patterns(32), round=4),
    ]
