"""Densities, energies, samplers and codes."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Case
from benchmarks.detection.healthy.common import (
    Apply,
    Build,
    Maker,
    Step,
    generator,
    later_cases,
    mlp,
    only,
    own_loss,
    patterns,
    pictures,
    prototypes,
    regression,
)


def rings(seed: int, size: int) -> Tensor:
    """Points of the plane on two circles."""
    g = generator(seed)
    angle, radius = 6.283 * torch.rand(4 * size, generator=g), 1 + torch.randint(2, (4 * size,), generator=g)
    place = radius[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
    return place + 0.1 * torch.randn(4 * size, 2, generator=g)


def binary(seed: int, size: int) -> Tensor:
    """Black and white patterns of thirty-six pixels."""
    g = generator(seed)
    ideal = prototypes(4, 36)[torch.randint(4, (size,), generator=g)] > 0
    return (ideal ^ (torch.rand(size, 36, generator=g) < 0.05)).float()


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


class SlicedScore(nn.Module):
    """Sliced score matching with the variance reduced: an energy is differentiated twice."""

    def __init__(self) -> None:
        super().__init__()
        self.energy = mlp([2, 48, 48, 1], nn.Softplus)

    def forward(self, x: Tensor) -> Tensor:
        x = x.detach().requires_grad_(True)
        (score,) = torch.autograd.grad(-self.energy(x).sum(), x, create_graph=True)
        along = torch.randn_like(x)
        (curve,) = torch.autograd.grad((score * along).sum(), x, create_graph=True)
        return ((curve * along).sum(1) + 0.5 * score.square().sum(1)).mean()


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


class VampPrior(nn.Module):
    """A VAE whose prior is the mean posterior of learnt inputs, with gated layers."""

    def __init__(self, inputs: int = 12) -> None:
        super().__init__()
        self.encode, self.gate = nn.Linear(36, 32), nn.Linear(36, 32)
        self.mean, self.logvar = nn.Linear(32, 4), nn.Sequential(nn.Linear(32, 4), nn.Hardtanh(-6, 2))
        self.decode, self.means = (
            nn.Sequential(nn.Linear(4, 64), nn.GLU(), nn.Linear(32, 36)),
            nn.Linear(inputs, 36, False),
        )
        nn.init.normal_(self.means.weight, 0.5, 0.01)
        for layer in self.modules():
            if isinstance(layer, nn.Linear) and layer is not self.means:
                nn.init.kaiming_normal_(layer.weight)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance."""
        h = self.encode(x) * self.gate(x).sigmoid()
        return self.mean(h), self.logvar(h)

    @staticmethod
    def density(z: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
        """Of a diagonal Gaussian, up to a constant."""
        return -0.5 * (logvar + (z - mean).square() / logvar.exp()).sum(-1)

    def forward(self, x: Tensor) -> Tensor:
        mean, logvar = self.posterior(x)
        z = mean + (0.5 * logvar).exp() * torch.randn_like(mean)
        places, spreads = self.posterior(F.hardtanh(self.means.weight.T, 0, 1))
        prior = self.density(z[:, None], places, spreads).logsumexp(1) - math.log(len(places))
        rebuilt = F.binary_cross_entropy_with_logits(self.decode(z), x, reduction="none").sum(1)
        return (rebuilt + self.density(z, mean, logvar) - prior).mean()


class TotalCorrelation(nn.Module):
    """beta-TCVAE: the dependence between codes is estimated from the batch and weighs six times."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = mlp([36, 48, 48, 8], nn.ReLU), mlp([4, 48, 48, 36], nn.Tanh)

    def forward(self, x: Tensor) -> Tensor:
        mean, logvar = self.encode(x).chunk(2, 1)
        z = mean + (0.5 * logvar).exp() * torch.randn_like(mean)
        every = -0.5 * (math.log(2 * math.pi) + logvar + (z[:, None] - mean).square() / logvar.exp())
        size = math.log(len(x) * 256)
        joint, product = every.sum(2).logsumexp(1) - size, (every.logsumexp(1) - size).sum(1)
        own = -0.5 * (math.log(2 * math.pi) + logvar + (z - mean).square() / logvar.exp()).sum(1)
        prior = -0.5 * (math.log(2 * math.pi) + z.square()).sum(1)
        rebuilt = F.binary_cross_entropy_with_logits(self.decode(z), x, reduction="none").sum(1)
        return (rebuilt + (own - joint) + 6 * (joint - product) + (product - prior)).mean()


class RecurrentVae(nn.Module):
    """VRNN: prior, posterior and decoder depend on a GRU's state."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.seen, self.code = nn.Sequential(mlp([3, width]), nn.ReLU()), nn.Sequential(mlp([4, width]), nn.ReLU())
        self.prior, self.posterior = mlp([width, width, 8]), mlp([2 * width, width, 8])
        self.decode, self.rnn = mlp([2 * width, width, 6]), nn.GRUCell(2 * width, width)
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        state, cost = x.new_zeros(len(x), self.width), torch.zeros(())
        for now in x.unbind(1):
            seen = self.seen(now)
            mean, raw = self.posterior(torch.cat([seen, state], 1)).chunk(2, 1)
            prior_mean, prior_raw = self.prior(state).chunk(2, 1)
            std, prior_std = F.softplus(raw), F.softplus(prior_raw)
            code = self.code(mean + std * torch.randn_like(std))
            gap = (std.square() + (mean - prior_mean).square()) / prior_std.square()
            cost = cost + (prior_std.log() - std.log() + 0.5 * (gap - 1)).sum(1).mean()
            guess, spread = self.decode(torch.cat([code, state], 1)).chunk(2, 1)
            cost = cost + F.gaussian_nll_loss(guess, now, F.softplus(spread).square() + 1e-4)
            state = self.rnn(torch.cat([seen, code], 1), state)
        return cost / x.shape[1]


def strokes(seed: int, size: int) -> Tensor:
    """Drawings as twelve moves of a pen along spirals, and whether it was lifted."""
    g = generator(seed)
    turn = 0.3 + 0.4 * torch.rand(size, 1, generator=g)
    angle = turn * torch.arange(12) + 6.283 * torch.rand(size, 1, generator=g)
    lifted = (torch.arange(12) % 4 == 3).float().expand(size, -1)
    moves = torch.stack([angle.cos(), angle.sin()], 2) + 0.1 * torch.randn(size, 12, 2, generator=g)
    return torch.cat([moves, lifted[..., None]], 2)


class Sketch(nn.Module):
    """Sketch-RNN: a code by a bidirectional LSTM, a decoder with mixtures of correlated Gaussians and pen states."""

    def __init__(self, mixtures: int = 4, width: int = 24) -> None:
        super().__init__()
        self.encode, self.to_code = nn.LSTM(3, width, bidirectional=True, batch_first=True), nn.Linear(2 * width, 16)
        self.start, self.decode = nn.Linear(8, 2 * width), nn.LSTM(3 + 8, width, batch_first=True)
        self.head, self.mixtures = nn.Linear(width, 6 * mixtures + 1), mixtures

    def likelihood(self, out: Tensor, move: Tensor) -> Tensor:
        """Of the moves under the mixture."""
        weight, x, y, spread_x, spread_y, link = out.split(self.mixtures, -1)  # type: ignore[no-untyped-call]
        link = link.tanh()
        a, b = (move[..., :1] - x) / spread_x.exp(), (move[..., 1:2] - y) / spread_y.exp()
        room = 1 - link.square() + 1e-5
        inner = -(a.square() + b.square() - 2 * link * a * b) / (2 * room)
        whole = weight.log_softmax(-1) + inner - spread_x - spread_y - 0.5 * room.log() - math.log(2 * math.pi)
        return whole.logsumexp(-1).mean()

    def forward(self, x: Tensor) -> Tensor:
        mean, logvar = self.to_code(self.encode(x)[1][0].transpose(0, 1).flatten(1)).chunk(2, 1)
        code = mean + (0.5 * logvar).exp() * torch.randn_like(mean)
        state, memory = self.start(code).tanh().chunk(2, 1)
        given = torch.cat([F.pad(x, (0, 0, 1, 0))[:, :-1], code[:, None].expand(-1, x.shape[1], -1)], 2)
        out = self.head(self.decode(given, (state[None].contiguous(), memory[None].contiguous()))[0])
        pen = F.binary_cross_entropy_with_logits(out[..., -1], x[..., 2])
        away = -0.5 * (1 + logvar - mean.square() - logvar.exp()).mean()
        return pen - self.likelihood(out[..., :-1], x) + 0.5 * away.clamp(min=0.2)


class InfoGan(nn.Module):
    """InfoGAN's generator step: fool a frozen judge, and let the code be recovered from what was made."""

    def __init__(self) -> None:
        super().__init__()
        up = [nn.Linear(16 + 4, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Unflatten(1, (16, 2, 2))]
        deconv = [
            nn.ConvTranspose2d(16, 16, 4, 2, 1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.ConvTranspose2d(16, 3, 4, 2, 1),
        ]
        self.make = nn.Sequential(*up, *deconv, nn.Tanh())
        convs = [nn.Conv2d(3, 16, 4, 2, 1), nn.LeakyReLU(0.1), nn.Conv2d(16, 32, 4, 2, 1), nn.LeakyReLU(0.1)]
        self.see = nn.Sequential(*convs, nn.Flatten()).requires_grad_(False)
        self.real = nn.Linear(128, 1).requires_grad_(False)
        self.code = nn.Sequential(nn.Linear(128, 16), nn.LeakyReLU(0.1), nn.Linear(16, 4))

    def forward(self, x: Tensor) -> Tensor:
        code = torch.randint(4, (len(x),))
        made = self.make(torch.cat([torch.randn(len(x), 16), F.one_hot(code, 4)], 1))
        seen = self.see(made)
        fooled = F.binary_cross_entropy_with_logits(self.real(seen), torch.ones(len(x), 1))
        return fooled + F.cross_entropy(self.code(seen), code)


class AuxiliaryJudge(nn.Module):
    """ACGAN's discriminator: real or made, and which class; dropout between the convolutions, N(0, 0.02)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, 16), (16, 32), (32, 32)):
            layers += [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.LeakyReLU(0.2), nn.Dropout(0.5)]
        self.see, self.real, self.kind = nn.Sequential(*layers, nn.Flatten()), nn.Linear(128, 1), nn.Linear(128, 4)
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                nn.init.normal_(layer.weight, std=0.02)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        made = F.interpolate(torch.randn(len(x), 3, 4, 4), (16, 16), mode="bilinear")
        seen = self.see(torch.cat([x, made]))
        truth = torch.cat([torch.ones(len(x), 1), torch.zeros(len(x), 1)])
        kinds = F.cross_entropy(self.kind(seen), torch.cat([label, torch.randint(4, (len(x),))]))
        return F.binary_cross_entropy_with_logits(self.real(seen), truth) + kinds


class EmaCodes(nn.Module):
    """VQ-VAE with codes that follow the encoder by moving averages, instead of by a gradient."""

    codes: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(self, codes: int = 16, width: int = 8) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Conv2d(3, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, width, 4, 2, 1))
        up = [nn.ConvTranspose2d(width, 16, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(16, 3, 4, 2, 1)]
        self.decode = nn.Sequential(*up)
        start = torch.randn(codes, width)
        self.register_buffer("codes", start)
        self.register_buffer("counts", torch.ones(codes))
        self.register_buffer("sums", start.clone())

    @torch.no_grad()
    def follow(self, z: Tensor, chosen: Tensor) -> None:
        """Move every code towards the mean of what chose it."""
        hot = F.one_hot(chosen, len(self.codes)).float()
        self.counts = 0.99 * self.counts + 0.01 * hot.sum(0)
        self.sums = 0.99 * self.sums + 0.01 * hot.T @ z
        self.codes = self.sums / self.counts[:, None]

    def forward(self, x: Tensor) -> Tensor:
        grid = self.encode(x).permute(0, 2, 3, 1)
        z = grid.flatten(0, 2)
        chosen = torch.cdist(z.detach(), self.codes).argmin(1)
        code = self.codes[chosen]
        if self.training:
            self.follow(z.detach(), chosen)
        straight = (z + (code - z).detach()).view_as(grid).permute(0, 3, 1, 2)
        return F.mse_loss(self.decode(straight), x) + 0.25 * F.mse_loss(z, code)


class MaskGit(nn.Module):
    """MaskGIT: a bidirectional transformer fills in image codes of which a cosine share is hidden; tied tables."""

    def __init__(self, codes: int = 16, width: int = 32) -> None:
        super().__init__()
        self.codes, self.embed, self.places = codes, nn.Embedding(codes + 1, width), nn.Embedding(16, width)
        layer = nn.TransformerEncoderLayer(width, 2, 64, 0.1, "gelu", batch_first=True)
        self.body, self.norm = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.LayerNorm(width)
        self.last = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))
        self.bias = nn.Parameter(torch.zeros(codes))
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.trunc_normal_(module.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        share = (torch.rand(len(tokens), 1) * math.pi / 2).cos()
        hidden = torch.rand(tokens.shape).argsort(1) < (share * tokens.shape[1]).ceil()
        x = self.norm(self.embed(tokens.masked_fill(hidden, self.codes)) + self.places.weight)
        logits = self.last(self.body(x)) @ self.embed.weight[: self.codes].T + self.bias
        return F.cross_entropy(logits[hidden], tokens[hidden], label_smoothing=0.1)


def coded(seed: int, size: int) -> Tensor:
    """Images as sixteen codes of sixteen: stripes of one code and its neighbour."""
    g = generator(seed)
    first, step = torch.randint(16, (size, 1), generator=g), torch.randint(1, 3, (size, 1), generator=g)
    return (first + step * (torch.arange(16) // 4)) % 16


class TinyDiffusion(nn.Module):
    """The toy diffusion model people start with: sinusoidal features of place and time, residual GELU layers."""

    alphas: Tensor

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.stem = nn.Linear(3 * 16, width)
        self.layers, self.head = nn.ModuleList(nn.Linear(width, width) for _ in range(3)), nn.Linear(width, 2)
        self.register_buffer("alphas", (1 - torch.linspace(1e-4, 0.02, 50) * 4).cumprod(0))

    @staticmethod
    def waves(x: Tensor, scale: float) -> Tensor:
        """Sines and cosines of eight frequencies."""
        angle = scale * x[:, None] * (-math.log(10000) * torch.arange(8) / 7).exp()
        return torch.cat([angle.sin(), angle.cos()], 1)

    def forward(self, x: Tensor) -> Tensor:
        time, noise = torch.randint(50, (len(x),)), torch.randn_like(x)
        alpha = self.alphas[time][:, None]
        noisy = alpha.sqrt() * x + (1 - alpha).sqrt() * noise
        parts = [self.waves(noisy[:, 0], 25), self.waves(noisy[:, 1], 25), self.waves(time.float(), 1)]
        h = F.gelu(self.stem(torch.cat(parts, 1)))
        for layer in self.layers:
            h = h + F.gelu(layer(h))
        return F.mse_loss(self.head(h), noise)


class NoiseSchedule(nn.Module):
    """VDM: the noise schedule is a monotone net of its own, trained with the denoiser; the variational bound."""

    def __init__(self) -> None:
        super().__init__()
        self.slope, self.offset = nn.Parameter(torch.tensor([11.0])), nn.Parameter(torch.tensor([-6.0]))
        self.inner, self.outer = nn.Linear(1, 32), nn.Linear(32, 1, bias=False)
        self.net = mlp([3, 64, 64, 2], nn.SiLU)

    def noise(self, time: Tensor) -> Tensor:
        """The logarithm of noise over signal, which only grows."""
        bent = 2 * (F.linear(2 * time - 1, self.inner.weight.abs(), self.inner.bias).sigmoid() - 0.5)
        return self.offset + self.slope.abs() * time + F.linear(bent, self.outer.weight.abs()) / 32

    def forward(self, x: Tensor) -> Tensor:
        time = ((torch.rand(()) + torch.arange(len(x)) / len(x)) % 1)[:, None].requires_grad_(True)
        level = self.noise(time)
        (rate,) = torch.autograd.grad(level.sum(), time, create_graph=True)
        noise = torch.randn_like(x)
        noisy = (-level).sigmoid().sqrt() * x + level.sigmoid().sqrt() * noise
        guess = self.net(torch.cat([noisy, level / 10], 1))
        first, last = self.noise(torch.zeros(1, 1)), self.noise(torch.ones(1, 1))
        signal = (-last).sigmoid()
        prior = 0.5 * (signal * x.square() + (1 - signal) - (1 - signal).log() - 1).sum(1)
        return (0.5 * rate[:, 0] * (guess - noise).square().sum(1) + prior).mean() + 100 * first.exp().mean()


class TableGan(nn.Module):
    """CTGAN's critic: ten rows at once (PacGAN), leaky ReLU and dropout, Wasserstein with a penalty."""

    def __init__(self, rows: int = 4, width: int = 48) -> None:
        super().__init__()
        self.rows, layers = rows, [nn.Linear(8 * rows, width), nn.LeakyReLU(0.2), nn.Dropout(0.5)]
        self.net = nn.Sequential(
            *layers, nn.Linear(width, width), nn.LeakyReLU(0.2), nn.Dropout(0.5), nn.Linear(width, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        made = torch.rand_like(x) * 2 - 1
        real, false = x.reshape(-1, 8 * self.rows), made.reshape(-1, 8 * self.rows)
        share = torch.rand(len(real), 1)
        between = (share * real + (1 - share) * false).requires_grad_(True)
        (slope,) = torch.autograd.grad(self.net(between).sum(), between, create_graph=True)
        return self.net(false).mean() - self.net(real).mean() + 10 * (slope.norm(dim=1) - 1).square().mean()


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


class NoiseToVoid(nn.Module):
    """Noise2Void: some pixels are replaced by a neighbour and have to be told from the rest."""

    def __init__(self) -> None:
        super().__init__()
        convs: list[nn.Module] = []
        for inputs, outputs in ((3, 16), (16, 16), (16, 16)):
            convs += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.net = nn.Sequential(*convs, nn.Conv2d(16, 3, 1))

    def forward(self, x: Tensor) -> Tensor:
        hidden = (torch.rand(len(x), 1, *x.shape[2:]) < 0.1).expand_as(x)
        out = self.net(torch.where(hidden, x.roll((1, -1), (2, 3)), x))
        return F.mse_loss(out[hidden], x[hidden])


def conditional_vae() -> nn.Module:
    """A VAE that is told the class in the encoder and in the decoder."""

    class Conditional(nn.Module):
        """Softplus layers, a Gaussian code, mean squared error."""

        def __init__(self) -> None:
            super().__init__()
            self.encode, self.decode = mlp([36, 48, 8], nn.Softplus), mlp([8, 48, 32], nn.Softplus)

        def forward(self, x: Tensor, label: Tensor) -> Tensor:
            kind = F.one_hot(label, 4)
            mean, logvar = self.encode(torch.cat([x, kind], 1)).chunk(2, 1)
            code = mean + (0.5 * logvar).exp() * torch.randn_like(mean)
            away = -0.5 * (1 + logvar - mean.square() - logvar.exp()).sum(1).mean()
            return (self.decode(torch.cat([code, kind], 1)) - x).square().sum(1).mean() + away

    return Conditional()


def swae() -> nn.Module:
    """An autoencoder whose code is pulled to a ring by the sliced Wasserstein distance."""

    class Sliced(nn.Module):
        """Leaky layers, fifty directions."""

        def __init__(self) -> None:
            super().__init__()
            self.encode, self.decode = mlp([36, 32, 2], nn.LeakyReLU), mlp([2, 32, 36], nn.LeakyReLU)
            self.squash = Apply(torch.sigmoid)

        def forward(self, x: Tensor) -> Tensor:
            code, angle = self.encode(x), 6.283 * torch.rand(len(x))
            ring = torch.stack([angle.cos(), angle.sin()], 1)
            along = F.normalize(torch.randn(50, 2)).T
            apart = ((code @ along).sort(0).values - (ring @ along).sort(0).values).square().mean()
            out = self.squash(self.decode(code))
            return F.binary_cross_entropy(out, x) + F.l1_loss(out, x) + 10 * apart

    return Sliced()


def cases() -> list[Case]:
    """All cases of this module."""
    images, table = pictures(side=16), only(regression(8, 1))
    models: dict[str, tuple[Build, Maker, Step]] = {
        "langevin_energy": (LangevinEnergy, only(images), own_loss),
        "boltzmann_machine": (Boltzmann, binary, own_loss),
        "residual_flow": (ResidualFlow, rings, own_loss),
        "ffjord": (Continuous, rings, own_loss),
        "sliced_score": (SlicedScore, rings, own_loss),
        "planar_flow": (Planar, rings, own_loss),
        "nade": (Nade, binary, own_loss),
        "vamp_prior": (VampPrior, binary, own_loss),
        "beta_tcvae": (TotalCorrelation, binary, own_loss),
        "conditional_vae": (conditional_vae, patterns(32), own_loss),
        "sliced_wasserstein": (swae, binary, own_loss),
        "vrnn": (RecurrentVae, strokes, own_loss),
        "sketch_rnn": (Sketch, strokes, own_loss),
        "infogan": (InfoGan, only(images), own_loss),
        "acgan_critic": (AuxiliaryJudge, images, own_loss),
        "vq_moving_average": (EmaCodes, only(images), own_loss),
        "maskgit": (MaskGit, coded, own_loss),
        "tiny_diffusion": (TinyDiffusion, rings, own_loss),
        "learnt_noise_schedule": (NoiseSchedule, rings, own_loss),
        "ctgan_critic": (TableGan, table, own_loss),
        "sum_product": (SumProduct, table, own_loss),
        "noise2void": (NoiseToVoid, only(images), own_loss),
    }
    return later_cases(3, "generative", models)
