"""Flows, energies and autoregressive densities."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import (
    PIXELS,
    POINTS,
    binary_patterns,
    bits,
    dense_moons,
    documents,
    grey,
    moons,
    only,
    pictures,
    regression,
    rings,
)
from benchmarks.detection.vocabulary.blocks import mlp
from benchmarks.detection.vocabulary.losses import LOG_2_PI, own_loss


class Flow(nn.Module):
    """A stack of invertible steps; the loss is the negative log likelihood per dimension and may be negative."""

    def __init__(self, *steps: nn.Module) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)

    def forward(self, x: Tensor) -> Tensor:
        x, total = 0.1 * x, x.new_zeros(x.shape[0])
        for step in self.steps:
            x, log_det = step(x)
            total = total + log_det
        log_prob = -0.5 * (x**2 + math.log(2 * math.pi)).sum(dim=1) + total
        return -log_prob.mean() / x.shape[1] + math.log(0.1)


class Coupling(nn.Module):
    """RealNVP's affine coupling, whose last layer starts at zero and the flow therefore as the identity."""

    def __init__(self, width: int, flip: bool) -> None:
        super().__init__()
        self.net, self.flip = mlp([width // 2, 32, 32, width]), flip
        last = self.net[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        kept, moved = (x.flip(1) if self.flip else x).chunk(2, dim=1)
        scale, shift = self.net(kept).chunk(2, dim=1)
        scale = torch.tanh(scale)
        out = torch.cat([kept, moved * scale.exp() + shift], dim=1)
        return out, scale.sum(dim=1)


class Glow(nn.Module):
    """Glow's step on vectors: activation normalisation, an invertible mixing that starts orthogonal, a coupling."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))
        self.mix = nn.Parameter(nn.init.orthogonal_(torch.empty(width, width)))
        self.couple = Coupling(width, False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h, log_det = self.couple((x * self.scale.exp() + self.shift) @ self.mix)
        return h, log_det + self.scale.sum() + torch.linalg.slogdet(self.mix)[1]


class Energy(nn.Module):
    """A contrastive energy model: data below, noise above; the loss has mean zero at the start."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp([8, 64, 64, 1], nn.SiLU)

    def forward(self, x: Tensor) -> Tensor:
        low, high = self.net(x), self.net(torch.randn_like(x))
        out: Tensor = low.mean() - high.mean() + 0.1 * (low**2 + high**2).mean()
        return out


class Masked(nn.Linear):
    """A linear layer some of whose weights are masked."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.mask, self.bias)  # type: ignore[operator]


def made(inputs: int, outputs: int, width: int = 64) -> nn.Sequential:
    """MADE: every output sees the inputs before it."""
    order, hidden = torch.arange(inputs), torch.arange(width) % max(inputs - 1, 1)
    first = (hidden[:, None] >= order).float()
    middle = (hidden[:, None] >= hidden).float()
    last = (order[:, None] > hidden).float().repeat(outputs, 1)
    return nn.Sequential(Masked(first), nn.ReLU(), Masked(middle), nn.ReLU(), Masked(last))


def masked_likelihood(model: nn.Module, x: Batch) -> Tensor:
    """Bernoulli negative log likelihood."""
    return F.binary_cross_entropy_with_logits(model(x), x, reduction="none").sum(1).mean()


class MaskedFlow(nn.Module):
    """MAF: autoregressive affine layers, the order turned round between them."""

    def __init__(self, inputs: int = 8, layers: int = 4) -> None:
        super().__init__()
        self.nets = nn.ModuleList(made(inputs, 2) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        volume = torch.zeros(len(x))
        for net in self.nets:
            shift, log_scale = net(x).chunk(2, 1)
            x = ((x - shift) * (-log_scale).exp()).flip(1)
            volume = volume - log_scale.sum(1)
        return (0.5 * x.square() + 0.5 * LOG_2_PI).sum(1).mean() - volume.mean()


class SplineFlow(nn.Module):
    """Neural spline flow: rational-quadratic couplings on [-3, 3], the identity outside."""

    def __init__(self, layers: int = 4, bins: int = 6, bound: float = 3.0) -> None:
        super().__init__()
        self.nets, self.bins, self.bound = (
            nn.ModuleList(mlp([1, 32, 32, 3 * bins - 1]) for _ in range(layers)),
            bins,
            bound,
        )

    def knots(self, raw: Tensor) -> Tensor:
        share = 1e-3 + (1 - 1e-3 * self.bins) * raw.softmax(-1)
        return F.pad(share.cumsum(-1), (1, 0)) * 2 * self.bound - self.bound

    def spline(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        widths, heights, slopes = raw.split([self.bins, self.bins, self.bins - 1], -1)  # type: ignore[no-untyped-call]
        xs, ys = self.knots(widths), self.knots(heights)
        edge = math.log(math.exp(1 - 1e-3) - 1)
        slope = 1e-3 + F.softplus(F.pad(slopes, (1, 1), value=edge))
        inside = x.clamp(-self.bound + 1e-4, self.bound - 1e-4)
        k = ((inside[:, None] >= xs).sum(1) - 1).clamp(0, self.bins - 1)[:, None]
        x0, x1, y0, y1, d0, d1 = (
            t.gather(1, k + i)[:, 0] for t, i in ((xs, 0), (xs, 1), (ys, 0), (ys, 1), (slope, 0), (slope, 1))
        )
        theta, ratio = (inside - x0) / (x1 - x0), (y1 - y0) / (x1 - x0)
        cross = theta * (1 - theta)
        below = ratio + (d0 + d1 - 2 * ratio) * cross
        out = y0 + (y1 - y0) * (ratio * theta**2 + d0 * cross) / below
        steep = ratio**2 * (d1 * theta**2 + 2 * ratio * cross + d0 * (1 - theta) ** 2) / below**2
        far = x.abs() >= self.bound
        return torch.where(far, x, out), torch.where(far, torch.zeros_like(x), steep.log())

    def forward(self, x: Tensor) -> Tensor:
        volume = torch.zeros(len(x))
        for net in self.nets:
            still, moving = x.unbind(1)
            moved, grown = self.spline(moving, net(still[:, None]))
            x, volume = torch.stack([moved, still], 1), volume + grown
        return (0.5 * x.square() + 0.5 * LOG_2_PI).sum(1).mean() - volume.mean()


class Nice(nn.Module):
    """NICE: additive couplings and a diagonal scale, with a logistic prior."""

    def __init__(self, inputs: int = 8) -> None:
        super().__init__()
        self.nets = nn.ModuleList(mlp([inputs // 2, 32, 32, inputs // 2]) for _ in range(4))
        self.log_scale = nn.Parameter(torch.zeros(inputs))

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, 1)
        for net in self.nets:
            left, right = right + net(left), left
        z = torch.cat([left, right], 1) * self.log_scale.exp()
        return (F.softplus(z) + F.softplus(-z)).sum(1).mean() - self.log_scale.sum()


class LangevinEnergy(nn.Module):
    """IGEBM: spectrally normalised convolutions; negatives come from noise by Langevin steps, energies kept small."""

    def __init__(self) -> None:
        super().__init__()
        norm = nn.utils.parametrizations.spectral_norm
        convs = [norm(nn.Conv2d(3, 16, 3, padding=1)), nn.SiLU(), norm(nn.Conv2d(16, 32, 4, 2, 1)), nn.SiLU()]
        self.energy = nn.Sequential(
            *convs, norm(nn.Conv2d(32, 32, 4, 2, 1)), nn.SiLU(), nn.Flatten(), nn.Linear(512, 1)
        )

    def sample(self, like: Tensor) -> Tensor:
        """Ten noisy steps down the energy."""
        x = torch.rand_like(like)
        for _ in range(10):
            x = (x + 0.005 * torch.randn_like(x)).requires_grad_(True)
            with torch.enable_grad():
                (slope,) = torch.autograd.grad(self.energy(x).sum(), x)
            x = (x - 10 * slope.clamp(-0.01, 0.01)).clamp(0, 1).detach()
        return x

    def forward(self, x: Tensor) -> Tensor:
        x = (0.2 * x + 0.5).clamp(0, 1)
        real, made = self.energy(x), self.energy(self.sample(x))
        return real.mean() - made.mean() + 0.1 * (real.square() + made.square()).mean()


class Boltzmann(nn.Module):
    """A restricted Boltzmann machine: free energy of the data less that of a Gibbs chain started there."""

    def __init__(self, visible: int = 36, hidden: int = 24) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.01 * torch.randn(hidden, visible))
        self.visible, self.hidden = nn.Parameter(torch.zeros(visible)), nn.Parameter(torch.zeros(hidden))

    def energy(self, v: Tensor) -> Tensor:
        """The free energy."""
        return -v @ self.visible - F.softplus(F.linear(v, self.weight, self.hidden)).sum(1)

    def forward(self, v: Tensor) -> Tensor:
        with torch.no_grad():
            h = F.linear(v, self.weight, self.hidden).sigmoid().bernoulli()
            again = F.linear(h, self.weight.T, self.visible).sigmoid().bernoulli()
        return (self.energy(v) - self.energy(again)).mean()


class ResidualFlow(nn.Module):
    """Invertible residual blocks by spectral normalisation; in the plane the determinant is exact."""

    def __init__(self, layers: int = 4, width: int = 32) -> None:
        super().__init__()
        norm = nn.utils.parametrizations.spectral_norm
        sizes = ((2, width), (width, width), (width, 2))
        self.blocks = nn.ModuleList()
        for _ in range(layers):
            first, second, third = (norm(nn.Linear(a, b)) for a, b in sizes)
            self.blocks.append(nn.Sequential(first, nn.ELU(), second, nn.ELU(), third))

    def forward(self, x: Tensor) -> Tensor:
        volume = torch.zeros(len(x))
        x = x.detach().requires_grad_(True)
        for block in self.blocks:
            out = 0.9 * block(x)
            rows = [torch.autograd.grad(out[:, i].sum(), x, create_graph=True)[0] for i in range(2)]
            volume = volume + torch.linalg.det(torch.eye(2) + torch.stack(rows, 1)).abs().log()
            x = x + out
        return (0.5 * x.square().sum(1) + math.log(2 * math.pi) - volume).mean()


class Continuous(nn.Module):
    """FFJORD: the density follows an ordinary differential equation whose field is concat-squash with tanh."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in ((2, width), (width, width), (width, 2)))
        self.gates = nn.ModuleList(nn.Linear(1, b) for b in (width, width, 2))
        self.shifts = nn.ModuleList(nn.Linear(1, b, bias=False) for b in (width, width, 2))

    def field(self, time: float, x: Tensor) -> Tensor:
        """The velocity."""
        now = torch.full((1, 1), time)
        for i, (layer, gate, shift) in enumerate(zip(self.layers, self.gates, self.shifts, strict=True)):
            x = layer(x) * gate(now).sigmoid() + shift(now)
            x = x.tanh() if i < 2 else x
        return x

    def slope(self, time: float, x: Tensor) -> tuple[Tensor, Tensor]:
        """The velocity and its divergence."""
        out = self.field(time, x)
        parts = [torch.autograd.grad(out[:, i].sum(), x, create_graph=True)[0][:, i] for i in range(2)]
        return out, parts[0] + parts[1]

    def forward(self, x: Tensor) -> Tensor:
        x, change, size = x.detach().requires_grad_(True), torch.zeros(len(x)), 0.25
        for step in range(4):
            half = x + 0.5 * size * self.slope(step * size, x)[0]
            velocity, divergence = self.slope((step + 0.5) * size, half)
            x, change = x + size * velocity, change + size * divergence
        return (0.5 * x.square().sum(1) + math.log(2 * math.pi) - change).mean()


class Planar(nn.Module):
    """Eight planar flows, kept invertible, as the posterior's density of a known energy."""

    def __init__(self, layers: int = 8) -> None:
        super().__init__()
        self.u, self.w = (nn.Parameter(0.1 * torch.randn(layers, 2)) for _ in range(2))
        self.b = nn.Parameter(torch.zeros(layers))

    def forward(self, x: Tensor) -> Tensor:
        z = torch.randn_like(x)
        density = -0.5 * z.square().sum(1)
        for u, w, b in zip(self.u, self.w, self.b, strict=True):
            inner = u @ w
            u = u + (F.softplus(inner) - 1 - inner) * w / (w.square().sum() + 1e-8)
            bent = (z @ w + b).tanh()
            density = density - (1 + (1 - bent.square()) * (u @ w)).abs().log()
            z = z + bent[:, None] * u
        target = 0.5 * ((z.norm(dim=1) - 2) / 0.4).square()
        mixture = torch.stack([-0.5 * ((z[:, 0] - c) / 0.6).square() for c in (-2, 2)]).logsumexp(0)
        return (density + target - mixture).mean()


class Nade(nn.Module):
    """NADE: hidden units accumulate pixel by pixel, with shared weights."""

    def __init__(self, pixels: int = 36, width: int = 24) -> None:
        super().__init__()
        self.inward, self.outward = nn.Parameter(torch.empty(width, pixels)), nn.Parameter(torch.empty(pixels, width))
        self.hidden, self.visible = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(pixels))
        nn.init.kaiming_normal_(self.inward)
        nn.init.kaiming_normal_(self.outward)

    def forward(self, v: Tensor) -> Tensor:
        total = (v[:, None] * self.inward).cumsum(2) - v[:, None] * self.inward
        h = (total + self.hidden[:, None]).sigmoid()
        logits = torch.einsum("bwp,pw->bp", h, self.outward) + self.visible
        return F.binary_cross_entropy_with_logits(logits, v, reduction="none").sum(1).mean()


class MaskedLinear(nn.Linear):
    """A linear layer of which some weights are out of use."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask.float())

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight * self.mask, self.bias)


class InverseAutoregressive(nn.Module):
    """A VAE whose posterior passes two inverse autoregressive steps with gates that start nearly open."""

    def __init__(self, code: int = 4, width: int = 32) -> None:
        super().__init__()
        self.sizes = [code, code, width]
        self.encode, self.decode = mlp([60, 48, sum(self.sizes)], nn.ELU), mlp([code, 48, 60], nn.ELU)
        order, hidden = torch.arange(code), torch.arange(width) % (code - 1)
        into, out = hidden[:, None] >= order, (order[:, None] > hidden).repeat(2, 1)
        self.ins, self.outs = (
            nn.ModuleList(MaskedLinear(into) for _ in range(2)),
            nn.ModuleList(MaskedLinear(out) for _ in range(2)),
        )

    def forward(self, x: Tensor) -> Tensor:
        mean, raw, context = self.encode(x.log1p()).split(self.sizes, 1)
        noise = torch.randn_like(mean)
        z = mean + raw.exp() * noise
        density = -(0.5 * noise.square() + raw).sum(1)
        for enter, leave in zip(self.ins, self.outs, strict=True):
            shift, gate = leave(F.elu(enter(z) + context)).chunk(2, 1)
            gate = (gate + 1.5).sigmoid()
            z = (gate * z + (1 - gate) * shift).flip(1)
            density = density - gate.log().sum(1)
        words = -(x * self.decode(z).log_softmax(1)).sum(1)
        return (words + density + 0.5 * z.square().sum(1)).mean()


class MixtureCoupling(nn.Module):
    """Flow++'s coupling: the distribution function of a mixture of logistics, then a scale and a shift."""

    def __init__(self, count: int = 4) -> None:
        super().__init__()
        self.net = mlp([1, 48, 48, 3 * count + 2], nn.ReLU)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        fixed, moved = x[:, :1], x[:, 1:]
        scale, shift, rest = self.net(fixed).split([1, 1, 12], 1)
        weight, mean, log_scale = rest.chunk(3, 1)
        scale, weight, log_scale = scale.tanh(), weight.log_softmax(1), log_scale.clamp(min=-7)
        place = (moved - mean) * (-log_scale).exp()
        below = (weight + F.logsigmoid(place)).logsumexp(1, keepdim=True)
        above = (weight + F.logsigmoid(-place)).logsumexp(1, keepdim=True)
        density = (weight + place - log_scale - 2 * F.softplus(place)).logsumexp(1, keepdim=True)
        out = (below - above) * scale.exp() + shift
        return torch.cat([out, fixed], 1), (density - below - above + scale)[:, 0]


class FlowPlusPlus(nn.Module):
    """Four mixture couplings in the plane."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(MixtureCoupling() for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        volume = torch.zeros(len(x))
        for layer in self.layers:
            x, more = layer(x)
            volume = volume + more
        return (0.5 * x.square().sum(1) + math.log(2 * math.pi) - volume).mean()


class FlowBlock(nn.Module):
    """A causal transformer that moves every patch by what came before it; its last layer starts at zero."""

    def __init__(self, patch: int, count: int, width: int = 32) -> None:
        super().__init__()
        self.enter, self.places = nn.Linear(patch, width), nn.Parameter(0.01 * torch.randn(count, width))
        layer = nn.TransformerEncoderLayer(width, 2, 64, 0.0, "gelu", batch_first=True, norm_first=True)
        self.body, self.leave = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False), nn.Linear(width, 2 * patch)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        out = self.leave(self.body(self.enter(x) + self.places, mask))
        scale, shift = F.pad(out[:, :-1], (0, 0, 1, 0)).chunk(2, -1)
        return (x - shift) * (-scale).exp(), -scale.mean((1, 2))


class TarFlow(nn.Module):
    """TarFlow: transformer autoregressive flows over patches in alternating order, on noised pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(FlowBlock(12, 16) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        z = F.pixel_unshuffle(F.avg_pool2d(x, 2), 2)
        z = z.flatten(2).transpose(1, 2) + 0.05 * torch.randn(len(x), 16, 12)
        volume = torch.zeros(len(x))
        for block in self.blocks:
            z, more = block(z.flip(1))
            volume = volume + more
        return 0.5 * z.square().mean() - volume.mean()


class TrajectoryBalance(nn.Module):
    """A GFlowNet on a grid: trajectories of its own, the squared log ratio of flow and reward, a learnt total."""

    def __init__(self, side: int = 6) -> None:
        super().__init__()
        self.side, self.total = side, nn.Parameter(torch.zeros(()))
        self.net = mlp([2 * side, 64, 64, 5], nn.LeakyReLU)

    def policies(self, place: Tensor) -> tuple[Tensor, Tensor]:
        """Log probabilities of the ways on (right, up, stop) and back."""
        on, back = self.net(F.one_hot(place, self.side).flatten(1).float()).split([3, 2], 1)
        edge = F.pad(place == self.side - 1, (0, 1))
        return on.masked_fill(edge, -1e9).log_softmax(1), back.masked_fill(place == 0, -1e9).log_softmax(1)

    def forward(self, start: Tensor) -> Tensor:
        place, gap = start.new_zeros(len(start), 2), self.total.expand(len(start))
        going = torch.ones(len(start), dtype=torch.bool)
        for _ in range(2 * self.side - 1):
            on, _ = self.policies(place)
            action = torch.multinomial((0.9 * on.exp() + 0.1 * (on > -1e8) / 3).detach(), 1)
            gap = gap + going * on.gather(1, action)[:, 0]
            going = going & (action[:, 0] < 2)
            place = place + F.one_hot(action[:, 0], 3)[:, :2] * going[:, None]
            back = self.policies(place)[1].gather(1, action.clamp(max=1))[:, 0]
            gap = gap - torch.where(going, back, torch.zeros(()))
        centre = (place / (self.side - 1) - 0.5).abs()
        reward = 0.1 + 0.5 * (centre > 0.25).all(1) + 2.0 * ((centre > 0.29) & (centre < 0.4)).all(1)
        return (gap - reward.log()).square().mean()


def nothing(seed: int, size: int) -> Tensor:
    """Where every trajectory starts."""
    return torch.zeros(4 * size, dtype=torch.long)


class SumProduct(nn.Module):
    """A random sum-product network: Gaussian leaves, products of halves, sums with softmax weights."""

    def __init__(self, variables: int = 8, channels: int = 6) -> None:
        super().__init__()
        self.mean, self.scale = (
            nn.Parameter(torch.randn(variables, channels)),
            nn.Parameter(torch.zeros(variables, channels)),
        )
        sizes = [variables // 2**i for i in range(1, 4)]
        outs = [channels, channels, 1]
        tables = (torch.randn(n, o, channels * channels) for n, o in zip(sizes, outs, strict=True))
        self.sums = nn.ParameterList(nn.Parameter(table) for table in tables)

    def forward(self, x: Tensor) -> Tensor:
        std = F.softplus(self.scale) + 0.1
        level = -0.5 * ((x[..., None] - self.mean) / std).square() - std.log() - 0.5 * math.log(2 * math.pi)
        for weight in self.sums:
            left, right = level[:, ::2], level[:, 1::2]
            product = (left[..., :, None] + right[..., None, :]).flatten(2)
            level = (product[:, :, None] + weight.log_softmax(-1)).logsumexp(-1)
        return -level.mean()


class MaskedConvolution(nn.Conv2d):
    """PixelCNN's convolution: it sees only what was drawn before."""

    mask: Tensor

    def __init__(self, inside: int, outside: int, kernel: int, own: bool) -> None:
        super().__init__(inside, outside, kernel, padding=kernel // 2)
        mask = torch.ones(kernel, kernel)
        mask[kernel // 2, kernel // 2 + own :] = 0
        mask[kernel // 2 + 1 :] = 0
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.mask, self.bias, padding=self.padding)


def pixelcnn() -> nn.Module:
    """PixelCNN for four grey levels."""
    body: list[nn.Module] = [MaskedConvolution(1, 24, 5, own=False), nn.ReLU()]
    for _ in range(3):
        body += [MaskedConvolution(24, 24, 3, own=True), nn.BatchNorm2d(24), nn.ReLU()]
    return nn.Sequential(*body, nn.Conv2d(24, 4, 1))


def levels(model: nn.Module, x: Batch) -> Tensor:
    """Cross entropy of every pixel's grey level given those before it."""
    grey = ((x[:, :1] + 1.5).clamp(0, 2.99) * 4 / 3).long()
    return F.cross_entropy(model(grey / 1.5 - 1), grey[:, 0])


class GatedPixels(nn.Module):
    """Gated PixelCNN in one stack: masked convolutions, tanh times sigmoid, sixteen levels."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, width, 5, padding=2)
        self.convs = nn.ModuleList(nn.Conv2d(width, 2 * width, 3, padding=1) for _ in range(3))
        self.outs = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(3))
        self.head = nn.Sequential(nn.ReLU(), nn.Conv2d(width, 32, 1), nn.ReLU(), nn.Conv2d(32, 16, 1))

    @staticmethod
    def masked(conv: Any, x: Tensor, own: bool) -> Tensor:
        """The convolution without what comes later."""
        size = conv.kernel_size[0]
        seen = (torch.arange(size * size) < size * size // 2 + int(own)).view(size, size)
        return F.conv2d(x, conv.weight * seen, conv.bias, padding=size // 2)

    def forward(self, codes: Tensor) -> Tensor:
        x = self.masked(self.first, codes / 7.5 - 1, False)
        for conv, out in zip(self.convs, self.outs, strict=True):
            a, b = self.masked(conv, x, True).chunk(2, 1)
            x = x + out(a.tanh() * b.sigmoid())
        return F.cross_entropy(self.head(x), codes[:, 0])


def cases() -> list[Case]:
    """The cases of this file."""
    return [
        case(
            "gen_realnvp", "gen/realnvp", lambda: Flow(*(Coupling(8, bool(i % 2)) for i in range(4))), POINTS, own_loss
        ),
        case("gen_glow", "gen/glow", lambda: Flow(*(Glow(8) for _ in range(4))), POINTS, own_loss),
        case("gen_energy_model", "gen/energy_model", Energy, POINTS, own_loss),
        case("second_generative_made", "second/made", lambda: made(32, 1), bits, masked_likelihood, round=2),
        case("second_generative_maf", "second/maf", MaskedFlow, only(regression(8, 1)), own_loss, round=2),
        case("second_generative_neural_spline_flow", "second/neural_spline_flow", SplineFlow, moons, own_loss, round=2),
        case("second_generative_nice", "second/nice", Nice, only(regression(8, 1)), own_loss, round=2),
        case(
            "third_generative_langevin_energy",
            "third/langevin_energy",
            LangevinEnergy,
            only(pictures(side=16)),
            own_loss,
            round=3,
        ),
        case(
            "third_generative_boltzmann_machine",
            "third/boltzmann_machine",
            Boltzmann,
            binary_patterns,
            own_loss,
            round=3,
        ),
        case("third_generative_residual_flow", "third/residual_flow", ResidualFlow, rings, own_loss, round=3),
        case("third_generative_ffjord", "third/ffjord", Continuous, rings, own_loss, round=3),
        case("third_generative_planar_flow", "third/planar_flow", Planar, rings, own_loss, round=3),
        case("third_generative_nade", "third/nade", Nade, binary_patterns, own_loss, round=3),
        case(
            "fourth_generative_inverse_autoregressive",
            "fourth/inverse_autoregressive",
            InverseAutoregressive,
            documents,
            own_loss,
            round=4,
        ),
        case("fourth_generative_flow_plus_plus", "fourth/flow_plus_plus", FlowPlusPlus, dense_moons, own_loss, round=4),
        case("fourth_generative_tarflow", "fourth/tarflow", TarFlow, only(pictures(side=16)), own_loss, round=4),
        case("fourth_generative_gflownet", "fourth/gflownet", TrajectoryBalance, nothing, own_loss, round=4),
        case(
            "third_generative_sum_product", "third/sum_product", SumProduct, only(regression(8, 1)), own_loss, round=3
        ),
        case("gen_pixelcnn", "gen/pixelcnn", pixelcnn, PIXELS, levels),
        case("fourth_generative_gated_pixelcnn", "fourth/gated_pixelcnn", GatedPixels, grey, own_loss, round=4),
    ]
