"""Autoencoders: variational, quantised, sparse."""

from __future__ import annotations

import math
from functools import partial

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
    documents,
    generator,
    only,
    patterns,
    pictures,
)
from benchmarks.detection.vocabulary.blocks import Apply, mlp
from benchmarks.detection.vocabulary.losses import LOG_2_PI, own_loss, reconstruct


class VAE(nn.Module):
    """A variational autoencoder; ``beta`` weighs the divergence."""

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__()
        self.encode = mlp([768, 64, 16])
        self.decode = mlp([8, 64, 768])
        self.beta = beta

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        mean, log_var = self.encode(flat).chunk(2, dim=1)
        back = self.decode(mean + torch.randn_like(mean) * (0.5 * log_var).exp())
        divergence = -0.5 * (1 + log_var - mean**2 - log_var.exp()).sum(dim=1)
        out: Tensor = (((back - flat) ** 2).sum(dim=1) + self.beta * divergence).mean()
        return out


class VQVAE(nn.Module):
    """A vector-quantised autoencoder: straight-through estimator, both losses, unit codes as in ViT-VQGAN."""

    def __init__(self, codes: int = 16, width: int = 16) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Conv2d(3, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, width, 4, 2, 1))
        self.decode = nn.Sequential(
            nn.ConvTranspose2d(width, 16, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(16, 3, 4, 2, 1)
        )
        self.book = nn.Embedding(codes, width)
        nn.init.uniform_(self.book.weight, -1 / codes, 1 / codes)

    def forward(self, x: Tensor) -> Tensor:
        z = F.normalize(self.encode(x).permute(0, 2, 3, 1), dim=-1)
        book = F.normalize(self.book.weight, dim=-1)
        with torch.no_grad():
            nearest = torch.cdist(z.reshape(-1, z.shape[-1]), book).argmin(dim=1)
        code = book[nearest].reshape(z.shape)
        loss = F.mse_loss(code, z.detach()) + 0.25 * F.mse_loss(z, code.detach())
        passed = z + (code - z).detach()
        return loss + F.mse_loss(self.decode(passed.permute(0, 3, 1, 2)), x)


def sparse_autoencoder() -> nn.Module:
    """An overcomplete autoencoder with a ReLU code."""
    return nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 8))


def sparse(model: nn.Module, x: Batch) -> Tensor:
    """Reconstruction and an L1 penalty on the code."""
    assert isinstance(model, nn.Sequential)
    code = model[1](model[0](x))
    out: Tensor = F.mse_loss(model[2](code), x) + 1e-3 * code.abs().sum(dim=1).mean()
    return out


class Importance(nn.Module):
    """IWAE: the bound from five weighed samples, with two stochastic layers."""

    def __init__(self, inputs: int = 32, samples: int = 5) -> None:
        super().__init__()
        self.up1, self.up2 = mlp([inputs, 48, 16], nn.Tanh), mlp([8, 24, 8], nn.Tanh)
        self.down1, self.down2, self.samples = mlp([4, 24, 16], nn.Tanh), mlp([8, 48, inputs], nn.Tanh), samples

    @staticmethod
    def draw(stats: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = stats.chunk(2, -1)
        z = mean + log_std.exp() * torch.randn_like(mean)
        return z, Importance.density(z, stats)

    @staticmethod
    def density(z: Tensor, stats: Tensor) -> Tensor:
        mean, log_std = stats.chunk(2, -1)
        return (-0.5 * ((z - mean) / log_std.exp()).square() - log_std - 0.5 * LOG_2_PI).sum(-1)

    def forward(self, x: Tensor) -> Tensor:
        x = x.expand(self.samples, *x.shape)
        z1, q1 = self.draw(self.up1(x))
        z2, q2 = self.draw(self.up2(z1))
        prior = self.density(z2, torch.zeros(*z2.shape[:-1], 2 * z2.shape[-1]))
        given = -F.binary_cross_entropy_with_logits(self.down2(z1), x, reduction="none").sum(-1)
        weight = given + self.density(z1, self.down1(z2)) + prior - q1 - q2
        return -(weight.logsumexp(0) - math.log(self.samples)).mean()


class Ladder(nn.Module):
    """A hierarchical VAE in the manner of NVAE and VDVAE: top-down blocks, residual posteriors, zero last layers."""

    def __init__(self, width: int = 32, latent: int = 4, inputs: int = 32) -> None:
        super().__init__()
        self.up = nn.ModuleList(mlp([n, width, width], nn.SiLU) for n in (inputs, width))
        self.prior = nn.ModuleList(mlp([width, width, 2 * latent + width], nn.SiLU) for _ in range(2))
        self.posterior = nn.ModuleList(mlp([2 * width, width, 2 * latent], nn.SiLU) for _ in range(2))
        self.project = nn.ModuleList(nn.Linear(latent, width) for _ in range(2))
        self.start, self.out = nn.Parameter(torch.zeros(width)), nn.Linear(width, inputs)
        for prior in self.prior:
            nn.init.zeros_(prior[-1].weight)  # type: ignore[index]
            nn.init.zeros_(prior[-1].bias)  # type: ignore[index]

    def forward(self, x: Tensor) -> Tensor:
        seen = [self.up[0](x)]
        seen.append(seen[0] + self.up[1](seen[0]))
        h, cost = self.start.expand(len(x), -1), torch.zeros(())
        for i, bottom_up in enumerate(reversed(seen)):
            mean, log_std, more = self.prior[i](h).split([4, 4, h.shape[1]], 1)
            shift, log_ratio = self.posterior[i](torch.cat([h, bottom_up], 1)).chunk(2, 1)
            z = mean + shift + (log_std + log_ratio).exp() * torch.randn_like(mean)
            gap = 0.5 * ((2 * log_ratio).exp() + (shift / log_std.exp()).square() - 1) - log_ratio
            cost, h = cost + gap.sum(1).mean(), h + more + self.project[i](z)
        return F.binary_cross_entropy_with_logits(self.out(h), x, reduction="none").sum(1).mean() + cost


class Discrete(nn.Module):
    """dVAE: a Gumbel-softmax code per place of an image, temperature 1, and the divergence from uniform."""

    def __init__(self, codes: int = 16, width: int = 16) -> None:
        super().__init__()
        down = [nn.Conv2d(3, width, 4, 2, 1), nn.ReLU(), nn.Conv2d(width, width, 4, 2, 1), nn.ReLU()]
        self.encode, self.book = nn.Sequential(*down, nn.Conv2d(width, codes, 1)), nn.Embedding(codes, width)
        up = [nn.ConvTranspose2d(width, width, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(width, width, 4, 2, 1)]
        self.decode = nn.Sequential(*up, nn.ReLU(), nn.Conv2d(width, 3, 1))

    def forward(self, x: Tensor) -> Tensor:
        logits = self.encode(x)
        soft = F.gumbel_softmax(logits, 1.0, dim=1)
        code = torch.einsum("nkhw,kc->nchw", soft, self.book.weight)
        share = logits.log_softmax(1)
        divergence = (share.exp() * (share + math.log(logits.shape[1]))).sum(1).mean()
        return F.mse_loss(self.decode(code), x) + 1e-2 * divergence


class Finite(nn.Module):
    """FSQ: a few bounded numbers per code, rounded straight through."""

    def __init__(self, levels: int = 5, width: int = 16) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Conv2d(3, width, 4, 2, 1), nn.ReLU(), nn.Conv2d(width, 3, 4, 2, 1))
        up = [nn.ConvTranspose2d(3, width, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(width, 3, 4, 2, 1)]
        self.decode, self.limit = nn.Sequential(*up), (levels - 1) / 2

    def forward(self, x: Tensor) -> Tensor:
        bounded = self.encode(x).tanh() * self.limit
        return self.decode((bounded + (bounded.round() - bounded).detach()) / self.limit)


class Residuals(nn.Module):
    """Residual vector quantisation as in SoundStream: each book codes what the ones before left over."""

    def __init__(self, books: int = 3, codes: int = 16, width: int = 8) -> None:
        super().__init__()
        self.encode, self.decode = mlp([32, 32, width], nn.ELU), mlp([width, 32, 32], nn.ELU)
        self.books = nn.ModuleList(nn.Embedding(codes, width) for _ in range(books))
        for book in self.books:
            nn.init.uniform_(book.weight, -1 / codes, 1 / codes)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        z = self.encode(x)
        left, total, cost = z, torch.zeros_like(z), torch.zeros(())
        for book in self.books:
            code = book(torch.cdist(left.detach(), book.weight).argmin(1))  # type: ignore[arg-type]
            cost = cost + F.mse_loss(code, left.detach()) + 0.25 * F.mse_loss(left, code.detach())
            total, left = total + code, left - code.detach()
        return F.mse_loss(self.decode(z + (total - z).detach()), x) + cost


def wasserstein(model: nn.Module, x: Batch) -> Tensor:
    """WAE: reconstruction and the maximum mean discrepancy of the code with an inverse multiquadratic kernel."""
    z = model[0](x)  # type: ignore[index]
    prior = torch.randn_like(z)

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        size = 2.0 * z.shape[1]
        return size / (size + (a[:, None] - b).square().sum(-1))

    apart = 1 - torch.eye(len(z))
    same = (kernel(z, z) + kernel(prior, prior)) * apart
    discrepancy = same.sum() / (len(z) * (len(z) - 1)) - 2 * kernel(z, prior).mean()
    return F.mse_loss(model[1](z), x) + discrepancy  # type: ignore[index]


def contractive(model: nn.Module, x: Batch) -> Tensor:
    """A contractive autoencoder: the Jacobian of sigmoid units in closed form."""
    hidden = model[0](x).sigmoid()  # type: ignore[index]
    slope = (hidden * (1 - hidden)).square()
    penalty = (slope @ model[0].weight.square().sum(1)).mean()  # type: ignore[index]
    return F.mse_loss(model[1](hidden), x) + 1e-2 * penalty  # type: ignore[index]


def corrupted(model: nn.Module, x: Batch) -> Tensor:
    """A denoising autoencoder: a third of the inputs is zeroed."""
    return F.mse_loss(model(x * (torch.rand_like(x) > 0.3)), x)


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


class LookupFree(nn.Module):
    """MAGVIT-v2's codes: the signs of every channel, with an entropy penalty and commitment."""

    def __init__(self, bits: int = 6) -> None:
        super().__init__()
        down = [nn.Conv2d(3, 24, 4, 2, 1), nn.SiLU(), nn.Conv2d(24, 24, 4, 2, 1), nn.SiLU(), nn.Conv2d(24, bits, 1)]
        up = [nn.Conv2d(bits, 24, 1), nn.SiLU(), nn.ConvTranspose2d(24, 24, 4, 2, 1), nn.SiLU()]
        self.encode, self.decode = nn.Sequential(*down), nn.Sequential(*up, nn.ConvTranspose2d(24, 3, 4, 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        z = self.encode(x)
        code = torch.where(z > 0, 1.0, -1.0)
        chance = (4 * z).sigmoid()
        each = (chance * F.softplus(-4 * z) + (1 - chance) * F.softplus(4 * z)).sum(1).mean()
        mean = chance.mean((0, 2, 3)).clamp(1e-5, 1 - 1e-5)
        whole = -(mean * mean.log() + (1 - mean) * (1 - mean).log()).sum()
        rebuilt = F.mse_loss(self.decode(z + (code - z).detach()), x)
        return rebuilt + 0.25 * F.mse_loss(z, code) + 0.1 * (each - whole)


class TopDownBlock(nn.Module):
    """VDVAE's block: posterior and prior from 1x1 and 3x3 convolutions; the prior's features join the stream."""

    def __init__(self, width: int = 16, code: int = 4, depth: int = 3) -> None:
        super().__init__()
        self.code, self.width = code, width
        self.posterior, self.prior = self.bottleneck(2 * width, 2 * code), self.bottleneck(width, 2 * code + width)
        self.project, self.after = nn.Conv2d(code, width, 1), self.bottleneck(width, width)
        nn.init.zeros_(self.prior[-1].weight)  # type: ignore[arg-type]
        with torch.no_grad():
            for layer in (self.project, self.after[-1]):
                layer.weight *= depth**-0.5

    @staticmethod
    def bottleneck(inputs: int, outputs: int) -> nn.Sequential:
        """GELU before every convolution."""
        inner = [nn.GELU(), nn.Conv2d(inputs, 12, 1), nn.GELU(), nn.Conv2d(12, 12, 3, 1, 1)]
        return nn.Sequential(*inner, nn.GELU(), nn.Conv2d(12, outputs, 1))

    def forward(self, x: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = self.posterior(torch.cat([x, seen], 1)).chunk(2, 1)
        prior_mean, prior_log, feature = self.prior(x).split([self.code, self.code, self.width], 1)
        z = mean + log_std.exp() * torch.randn_like(mean)
        gap = (log_std.exp().square() + (mean - prior_mean).square()) / prior_log.exp().square()
        cost = (prior_log - log_std + 0.5 * (gap - 1)).sum((1, 2, 3))
        x = x + feature + self.project(z)
        return x + self.after(x), cost


class VeryDeep(nn.Module):
    """A very deep VAE in small: activations of one encoder inform every scale of the decoder."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, 1, 1)
        self.downs = nn.ModuleList(TopDownBlock.bottleneck(width, width) for _ in range(3))
        self.start = nn.Parameter(torch.zeros(width, 4, 4))
        self.blocks = nn.ModuleList(TopDownBlock(width) for _ in range(3))
        self.out = nn.Conv2d(width, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        y, kept = self.stem(x), []
        for i, down in enumerate(self.downs):
            y = F.avg_pool2d(y, 2) if i else y
            y = y + down(y)
            kept.append(y)
        state, cost = self.start.expand(len(x), -1, -1, -1), torch.zeros(len(x))
        for i, (block, seen) in enumerate(zip(self.blocks, reversed(kept), strict=True)):
            state = F.interpolate(state, scale_factor=2) if i else state
            state, more = block(state, seen)
            cost = cost + more
        gap = 0.5 * ((self.out(state) - x) / 0.5).square().sum((1, 2, 3))
        return (gap + cost).mean() / x[0].numel()


class TopicModel(nn.Module):
    """ProdLDA: a logistic-normal code that approximates a Dirichlet, batch norms without scale, dropped layers."""

    prior: Tensor

    def __init__(self, topics: int = 5) -> None:
        super().__init__()
        layers = [nn.Linear(60, 32), nn.Softplus(), nn.Linear(32, 32), nn.Softplus(), nn.Dropout(0.2)]
        self.encode, self.mean, self.logvar = nn.Sequential(*layers), nn.Linear(32, topics), nn.Linear(32, topics)
        self.norms = nn.ModuleList(nn.BatchNorm1d(n, affine=False) for n in (topics, topics, 60))
        self.drop, self.beta = nn.Dropout(0.2), nn.Linear(topics, 60, bias=False)
        self.register_buffer("prior", torch.tensor(1 - 1 / topics))

    def forward(self, x: Tensor) -> Tensor:
        h = self.encode(x)
        mean, logvar = self.norms[0](self.mean(h)), self.norms[1](self.logvar(h))
        theta = self.drop((mean + (0.5 * logvar).exp() * torch.randn_like(mean)).softmax(1))
        words = self.norms[2](self.beta(theta)).log_softmax(1)
        away = 0.5 * ((logvar.exp() + mean.square()) / self.prior - 1 + self.prior.log() - logvar).sum(1)
        return (away - (x * words).sum(1)).mean()


def cases() -> list[Case]:
    """The cases of this file."""
    return [
        case("gen_vae", "gen/vae", VAE, PIXELS, own_loss),
        case("gen_beta_vae", "gen/beta_vae", partial(VAE, 4.0), PIXELS, own_loss),
        case("gen_vq_vae", "gen/vq_vae", VQVAE, PIXELS, own_loss),
        case("gen_sparse_autoencoder", "gen/sparse_autoencoder", sparse_autoencoder, POINTS, sparse),
        case("second_generative_iwae", "second/iwae", Importance, bits, own_loss, round=2),
        case("second_generative_hierarchical_vae", "second/hierarchical_vae", Ladder, bits, own_loss, round=2),
        case("second_generative_dvae", "second/dvae", Discrete, only(pictures(side=16)), own_loss, round=2),
        case(
            "second_generative_fsq",
            "second/fsq",
            Finite,
            only(pictures(side=16)),
            lambda model, x: F.mse_loss(model(x), x),
            round=2,
        ),
        case("second_generative_residual_vq", "second/residual_vq", Residuals, only(patterns(32)), own_loss, round=2),
        case(
            "second_generative_wae_mmd",
            "second/wae_mmd",
            lambda: nn.Sequential(mlp([32, 48, 4]), mlp([4, 48, 32])),
            only(patterns(32)),
            wasserstein,
            round=2,
        ),
        case(
            "second_generative_contractive_autoencoder",
            "second/contractive_autoencoder",
            lambda: nn.Sequential(nn.Linear(32, 24), nn.Linear(24, 32)),
            only(patterns(32)),
            contractive,
            round=2,
        ),
        case(
            "second_generative_denoising_autoencoder",
            "second/denoising_autoencoder",
            lambda: nn.Sequential(mlp([32, 48, 4]), mlp([4, 48, 32])),
            only(patterns(32)),
            corrupted,
            round=2,
        ),
        case(
            "second_generative_deep_autoencoder",
            "second/deep_autoencoder",
            lambda: mlp([32, 64, 32, 16, 8, 16, 32, 64, 32], nn.ReLU),
            only(patterns(32)),
            reconstruct,
            round=2,
        ),
        case("third_generative_vamp_prior", "third/vamp_prior", VampPrior, binary_patterns, own_loss, round=3),
        case("third_generative_beta_tcvae", "third/beta_tcvae", TotalCorrelation, binary_patterns, own_loss, round=3),
        case(
            "third_generative_conditional_vae",
            "third/conditional_vae",
            conditional_vae,
            patterns(32),
            own_loss,
            round=3,
        ),
        case(
            "third_generative_sliced_wasserstein", "third/sliced_wasserstein", swae, binary_patterns, own_loss, round=3
        ),
        case("third_generative_vrnn", "third/vrnn", RecurrentVae, strokes, own_loss, round=3),
        case("third_generative_sketch_rnn", "third/sketch_rnn", Sketch, strokes, own_loss, round=3),
        case(
            "third_generative_vq_moving_average",
            "third/vq_moving_average",
            EmaCodes,
            only(pictures(side=16)),
            own_loss,
            round=3,
        ),
        case(
            "fourth_generative_lookup_free_codes",
            "fourth/lookup_free_codes",
            LookupFree,
            only(pictures(side=16)),
            own_loss,
            round=4,
        ),
        case(
            "fourth_generative_very_deep_vae",
            "fourth/very_deep_vae",
            VeryDeep,
            only(pictures(side=16)),
            own_loss,
            round=4,
        ),
        case("fourth_generative_prod_lda", "fourth/prod_lda", TopicModel, documents, own_loss, round=4),
    ]
