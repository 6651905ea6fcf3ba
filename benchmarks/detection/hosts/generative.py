"""Hosts that make or judge samples: autoencoders, flows, denoisers, a discriminator."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from benchmarks.detection.hosts.host import Host
from benchmarks.detection.vocabulary.batches import generator
from benchmarks.detection.vocabulary.stacks import Layer, conv, he, initialise, mlp
from benchmarks.detection.vocabulary.tasks import (
    Draw,
    Task,
    TaskBatch,
    angles,
    explained,
    median_gain,
    pixel_gain,
    regress,
)


class Autoencoder(nn.Module):
    def __init__(self, inputs: int = 16, width: int = 48, latent: int = 4) -> None:
        super().__init__()
        self.encoder = nn.Sequential(Layer(inputs, width, nn.ReLU), Layer(width, width, nn.ReLU))
        self.bottleneck = nn.Linear(width, latent)
        self.decoder = nn.Sequential(Layer(latent, width, nn.ReLU), Layer(width, width, nn.ReLU))
        self.head = nn.Linear(width, inputs)
        initialise(self, he)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.decoder(self.bottleneck(self.encoder(x))))


def manifold(width: int = 16, latent: int = 3) -> Draw:
    """Curved three-dimensional data in a wider space; the target is the input itself."""

    def draw(g: Generator, size: int) -> TaskBatch:
        fixed = generator(7)
        first, second = torch.randn(latent, width, generator=fixed), torch.randn(width, width, generator=fixed)
        x = (torch.randn(size, latent, generator=g) @ first).sin() @ second / width**0.5 * 1.4
        return (x,), x

    return draw


class Variational(nn.Module):
    def __init__(self, inputs: int = 16, width: int = 48, latent: int = 4) -> None:
        super().__init__()
        self.encoder = nn.Sequential(Layer(inputs, width, nn.SiLU), Layer(width, width, nn.SiLU))
        self.mean, self.logvar = nn.Linear(width, latent), nn.Linear(width, latent)
        self.decoder = nn.Sequential(Layer(latent, width, nn.SiLU), Layer(width, width, nn.SiLU))
        self.head = nn.Linear(width, inputs)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden = self.encoder(x)
        mean, logvar = self.mean(hidden), self.logvar(hidden) - 3
        latent = mean + torch.randn_like(mean) * (0.5 * logvar).exp() if self.training else mean
        return self.head(self.decoder(latent)), mean, logvar


def variational(weight: float = 0.02) -> Task:
    def loss(out: tuple[Tensor, Tensor, Tensor], target: Tensor) -> Tensor:
        recon, mean, logvar = out
        divergence = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum(1).mean()
        return F.mse_loss(recon, target) + weight * divergence

    return Task(manifold(), loss, lambda out, target: explained(out[0], target))


def real_or_fake() -> Task:
    """Points of a ring against points of a blob with the same mean."""

    def draw(g: Generator, size: int) -> TaskBatch:
        ring, _ = angles(g, size, 2)
        blob = torch.randn(size, 2, generator=g) * 0.7
        real = torch.rand(size, 1, generator=g) < 0.5
        return (torch.where(real, ring, blob),), real.float()

    return Task(draw, F.binary_cross_entropy_with_logits, median_gain)


class Coupling(nn.Module):
    """RealNVP: one half moves by what the other says."""

    def __init__(self, side: int, width: int = 32) -> None:
        super().__init__()
        self.side = side
        self.net = nn.Sequential(nn.Linear(1, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.out = nn.Linear(width, 2)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def squashed(self, raw: Tensor) -> Tensor:
        return raw.tanh() * 2

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        still, moving = x[:, self.side : self.side + 1], x[:, 1 - self.side : 2 - self.side]
        raw, shift = self.out(self.net(still)).chunk(2, 1)
        scale = self.squashed(raw)
        moved = moving * scale.exp() + shift
        return torch.cat([still, moved] if self.side == 0 else [moved, still], 1), scale[:, 0]


class Flow(nn.Module):
    def __init__(self, depth: int = 6) -> None:
        super().__init__()
        self.body = nn.ModuleList(Coupling(i % 2) for i in range(depth))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        volume = torch.zeros(len(x))
        for layer in self.body:
            x, grown = layer(x)
            volume = volume + grown
        return x, volume


def circle_density() -> Task:
    """Points of a noisy circle, to be modelled with their likelihood; chance is the best Gaussian."""
    width, chance = 0.15, math.log(2 * math.pi) + 1 + math.log(0.5 + 0.15**2)
    best = math.log(2 * math.pi) + 0.5 * (math.log(2 * math.pi * width**2) + 1)

    def draw(g: Generator, size: int) -> TaskBatch:
        turn = 2 * math.pi * torch.rand(size, generator=g)
        points = torch.stack([turn.cos(), turn.sin()], 1) + width * torch.randn(size, 2, generator=g)
        return (points,), points

    def loss(out: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
        place, volume = out
        return (0.5 * place.square() + 0.5 * math.log(2 * math.pi)).sum(1).mean() - volume.mean()

    return Task(draw, loss, lambda out, target: (chance - float(loss(out, target))) / (chance - best))


class Modulated(nn.Module):
    """A residual block whose norm is shifted, scaled and gated by the condition, starting at zero (adaLN-zero)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.fc1 = nn.LayerNorm(width, elementwise_affine=False), nn.Linear(width, 2 * width)
        self.act, self.fc2, self.condition = nn.SiLU(), nn.Linear(2 * width, width), nn.Linear(width, 3 * width)
        nn.init.zeros_(self.condition.weight)
        nn.init.zeros_(self.condition.bias)

    def forward(self, x: Tensor, given: Tensor) -> Tensor:
        shift, scale, gate = self.condition(F.silu(given)).chunk(3, 1)
        return x + gate * self.fc2(self.act(self.fc1(self.norm(x) * (1 + scale) + shift)))


class Denoiser(nn.Module):
    """Foretells the noise in a point, given how much there is."""

    def __init__(self, width: int = 32, depth: int = 3) -> None:
        super().__init__()
        self.stem = nn.Linear(2, width)
        self.time = nn.Sequential(nn.Linear(16, width), nn.SiLU(), nn.Linear(width, width))
        self.body = nn.ModuleList(Modulated(width) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 2)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        angle = time * 2.0 ** torch.arange(8)
        given = self.time(torch.cat([angle.sin(), angle.cos()], 1))
        hidden = self.stem(x)
        for block in self.body:
            hidden = block(hidden, given)
        return self.head(self.norm(hidden))


def noised() -> Task:
    """Points of a circle under noise of a known amount: foretell the noise."""

    def draw(g: Generator, size: int) -> TaskBatch:
        turn = 2 * math.pi * torch.rand(size, generator=g)
        time, noise = torch.rand(size, 1, generator=g), torch.randn(size, 2, generator=g)
        clean = 1.4 * torch.stack([turn.cos(), turn.sin()], 1)
        return ((math.pi / 2 * time).cos() * clean + (math.pi / 2 * time).sin() * noise, time), noise

    return regress(draw)


class Bars(nn.Module):
    """A convolutional autoencoder for black and white pictures, with transposed convolutions and logits."""

    def __init__(self, width: int = 12, latent: int = 16) -> None:
        super().__init__()
        self.encoder = nn.Sequential(conv(1, width, 2), nn.ReLU(), conv(width, width, 2), nn.ReLU(), nn.Flatten())
        self.bottleneck = nn.Linear(4 * width, latent)
        self.open = nn.Linear(latent, 4 * width)
        self.decoder = nn.Sequential(
            nn.ReLU(), nn.Unflatten(1, (width, 2, 2)), nn.ConvTranspose2d(width, width, 4, 2, 1), nn.ReLU()
        )
        self.head = nn.ConvTranspose2d(width, 1, 4, 2, 1)
        initialise(self, he)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.decoder(self.open(self.bottleneck(self.encoder(x)))))


def bars(side: int = 8) -> Task:
    """Pictures of black and white bars, to be shown again; chance is to guess as many pixels as are white."""

    def draw(g: Generator, size: int) -> TaskBatch:
        lit = torch.rand(size, 2, side, generator=g) < 0.25
        image = (lit[:, 0, :, None] | lit[:, 1, None, :]).float()[:, None]
        return (image,), image

    return Task(draw, F.binary_cross_entropy_with_logits, pixel_gain)


class ConvVAE(nn.Module):
    """Strided convolutions down to a few numbers, transposed ones up again."""

    def __init__(self, latent: int = 4, channels: int = 12) -> None:
        super().__init__()
        self.enc = nn.Sequential(
            nn.Conv2d(1, channels, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(channels, channels, 4, 2, 1),
            nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(4 * channels, 32), nn.LeakyReLU(0.2),
        )  # fmt: skip
        self.fc_mu, self.fc_logvar = nn.Linear(32, latent), nn.Linear(32, latent)
        self.fc_up = nn.Linear(latent, 4 * channels)
        self.dec = nn.Sequential(
            nn.LeakyReLU(0.2), nn.Unflatten(1, (channels, 2, 2)), nn.ConvTranspose2d(channels, channels, 4, 2, 1),
            nn.LeakyReLU(0.2), nn.ConvTranspose2d(channels, 1, 4, 2, 1),
        )  # fmt: skip
        for module in (*self.enc, *self.dec):
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.xavier_uniform_(module.weight, gain=1.3)
        nn.init.constant_(self.fc_logvar.bias, -3.0)

    def reparameterise(self, mu: Tensor, logvar: Tensor) -> Tensor:
        return mu + torch.randn_like(mu) * (0.5 * logvar).exp() if self.training else mu

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.enc(x)
        mu, logvar = self.fc_mu(h), self.fc_logvar(h)
        return self.dec(self.fc_up(self.reparameterise(mu, logvar))), mu, logvar


def spots(side: int = 8, weight: float = 2e-3) -> Task:
    """Pictures of one round spot of any place and size, to be drawn again from few numbers."""
    grid = torch.linspace(-1, 1, side)

    def draw(g: Generator, size: int) -> TaskBatch:
        place, width = 1.4 * torch.rand(size, 2, 1, generator=g) - 0.7, 0.3 + 0.3 * torch.rand(size, 1, 1, generator=g)
        rows, columns = grid - place[:, 0], grid - place[:, 1]
        image = (-(rows[:, :, None].square() + columns[:, None].square()) / (2 * width.square())).exp()
        return (image[:, None],), image[:, None]

    def loss(out: tuple[Tensor, Tensor, Tensor], target: Tensor) -> Tensor:
        drawn, mean, spread = out
        divergence = 0.5 * (mean.square() + spread.exp() - 1 - spread).sum(1).mean()
        return F.mse_loss(drawn, target) + weight * divergence

    return Task(draw, loss, lambda out, target: explained(out[0], target))


def hosts() -> list[Host]:
    """The hosts of this file."""
    return [
        Host(
            name="autoencoder",
            build=Autoencoder,
            task=regress(manifold()),
            chain="encoder",
            sites=("encoder.0", "bottleneck", "decoder.1"),
            trunk=("encoder*", "bottleneck*", "decoder*"),
        ),
        Host(
            name="vae",
            build=Variational,
            task=variational(),
            chain="encoder",
            sites=("encoder.0", "mean", "decoder.1"),
            trunk=("encoder*", "mean*", "logvar*", "decoder*"),
        ),
        Host(name="discriminator", build=lambda: mlp(4, nn.LeakyReLU, None, inputs=2, outputs=1), task=real_or_fake()),
        Host(name="flow", build=Flow, task=circle_density(), trunk=("body*",), steps=240, round=2),
        Host(
            name="denoiser", build=Denoiser, task=noised(), trunk=("stem*", "time*", "body*"), train_batch=96, round=2
        ),
        Host(
            name="bars",
            build=Bars,
            task=bars(),
            chain="encoder",
            sites=("encoder.0", "bottleneck", "decoder.2"),
            trunk=("encoder*", "bottleneck*", "open*", "decoder*"),
            train_batch=32,
            round=3,
        ),
        Host(
            name="conv-vae",
            build=ConvVAE,
            task=spots(),
            chain="",
            sites=("enc.2", "fc_mu", "dec.2"),
            trunk=("enc*", "fc_mu*", "fc_logvar*", "fc_up*", "dec.[0-3]"),
            steps=120,
            train_batch=64,
            round=4,
        ),
    ]
