"""Diffusion, adversaries, codes and flows of the later kinds."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case
from benchmarks.detection.healthy.common import (
    Build,
    Maker,
    Step,
    generator,
    later_cases,
    mlp,
    only,
    own_loss,
    pictures,
    prototypes,
)


def moons(seed: int, size: int) -> Tensor:
    """Points of the plane on two half circles."""
    g = generator(seed)
    angle, side = math.pi * torch.rand(4 * size, generator=g), torch.randint(2, (4 * size,), generator=g)
    upper, lower = torch.stack([angle.cos(), angle.sin()], 1), torch.stack([1 - angle.cos(), 0.5 - angle.sin()], 1)
    return torch.where(side[:, None] == 0, upper, lower) + 0.05 * torch.randn(4 * size, 2, generator=g)


def latents(seed: int, size: int) -> Batch:
    """Latent images of four channels, and captions of four tokens that name the pattern."""
    x, label = pictures(4, 8)(seed, size)
    words = 4 * torch.arange(4) + label[:, None]
    return x, words


def grey(seed: int, size: int) -> Tensor:
    """Grey pictures of sixteen levels, as integers."""
    image = pictures(1, 8)(seed, size)[0]
    return ((0.5 + 0.2 * image).clamp(0, 1) * 15).round().long()


def documents(seed: int, size: int) -> Tensor:
    """Word counts of documents about one or two of five topics."""
    g = generator(seed)
    topics = (2 * prototypes(5, 60)).softmax(1)
    mix = torch.rand(size, 5, generator=g) ** 4
    words = torch.multinomial(mix / mix.sum(1, keepdim=True) @ topics, 80, True, generator=g)
    return F.one_hot(words, 60).sum(1).float()


def clock(time: Tensor, width: int = 32) -> Tensor:
    """Sinusoids of a time between zero and one."""
    angle = 1000 * time[:, None] * (-math.log(10000) * torch.arange(width // 2) / (width // 2)).exp()
    return torch.cat([angle.cos(), angle.sin()], 1)


class Stream(nn.Module):
    """What one kind of token owns in a block of SD3; the text's last one is only read."""

    def __init__(self, width: int, last: bool = False) -> None:
        super().__init__()
        self.modulate = nn.Linear(width, (2 if last else 6) * width)
        self.qkv, self.norm = nn.Linear(width, 3 * width), nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.norm_q, self.norm_k = nn.RMSNorm(width // 2), nn.RMSNorm(width // 2)
        self.out = nn.Identity() if last else nn.Linear(width, width)
        self.feed = nn.Identity() if last else mlp([width, 64, width], nn.GELU)

    def enter(self, x: Tensor, given: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Queries, keys and values, and what modulates the rest."""
        shift, scale, *rest = self.modulate(given)[:, None].split(x.shape[-1], -1)
        parts = self.qkv(self.norm(x) * (1 + scale) + shift).chunk(3, -1)
        q, k, v = (part.unflatten(-1, (2, -1)).transpose(1, 2) for part in parts)
        return [self.norm_q(q), self.norm_k(k), v], rest

    def leave(self, x: Tensor, read: Tensor, rest: list[Tensor]) -> Tensor:
        """Both residual branches."""
        if not rest:
            return x
        gate, shift, scale, second = rest
        x = x + gate * self.out(read)
        out: Tensor = x + second * self.feed(self.norm(x) * (1 + scale) + shift)
        return out


class JointDiT(nn.Module):
    """SD3's MM-DiT: text and image have weights of their own and attend jointly; rectified flow, adaLN-zero."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.patch, self.places = nn.Conv2d(4, width, 2, 2), nn.Parameter(0.02 * torch.randn(16, width))
        self.words, self.text = nn.Embedding(16, width), nn.Linear(width, width)
        self.time, self.pooled = mlp([32, width, width], nn.SiLU), mlp([width, width, width], nn.SiLU)
        images, texts = [Stream(width), Stream(width)], [Stream(width), Stream(width, last=True)]
        self.images, self.texts = nn.ModuleList(images), nn.ModuleList(texts)
        self.last_modulate = nn.Linear(width, 2 * width)
        self.norm, self.last = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False), nn.Linear(width, 16)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for layer in (*(stream.modulate for stream in images + texts), self.last_modulate, self.last):
            nn.init.zeros_(layer.weight)

    def velocity(self, x: Tensor, time: Tensor, words: Tensor) -> Tensor:
        """The field that the flow follows."""
        image, context = self.patch(x).flatten(2).transpose(1, 2) + self.places, self.words(words)
        given, text = F.silu(self.time(clock(time)) + self.pooled(context.mean(1))), self.text(context)
        seen: Any
        read: Any
        for seen, read in zip(self.images, self.texts, strict=True):
            (a, more), (b, rest) = seen.enter(image, given), read.enter(text, given)
            q, k, v = (torch.cat([i, j], 2) for i, j in zip(a, b, strict=True))
            out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
            image, text = seen.leave(image, out[:, :16], more), read.leave(text, out[:, 16:], rest)
        shift, scale = self.last_modulate(given)[:, None].chunk(2, -1)
        tokens = self.last(self.norm(image) * (1 + scale) + shift)
        return F.pixel_shuffle(tokens.transpose(1, 2).unflatten(2, (4, 4)), 2)

    def forward(self, x: Tensor, words: Tensor) -> Tensor:
        time, noise = torch.randn(len(x)).sigmoid(), torch.randn_like(x)
        share = time[:, None, None, None]
        return F.mse_loss(self.velocity((1 - share) * x + share * noise, time, words), noise - x)


class CrossUnit(nn.Module):
    """A timed residual block and a transformer block that reads the caption, as in latent diffusion."""

    def __init__(self, width: int, caption: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(8, width) for _ in range(3))
        self.first, self.second = nn.Conv2d(width, width, 3, 1, 1), nn.Conv2d(width, width, 3, 1, 1)
        self.time, self.enter, self.leave = nn.Linear(64, width), nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)
        self.inner = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.own = nn.MultiheadAttention(width, 2, bias=False, batch_first=True)
        self.cross = nn.MultiheadAttention(width, 2, bias=False, kdim=caption, vdim=caption, batch_first=True)
        self.grow, self.shrink = nn.Linear(width, 8 * width), nn.Linear(4 * width, width)
        for layer in (self.second, self.leave):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, time: Tensor, words: Tensor) -> Tensor:
        y = self.first(F.silu(self.norms[0](x))) + self.time(F.silu(time))[..., None, None]
        x = x + self.second(F.silu(self.norms[1](y)))
        tokens = self.enter(self.norms[2](x)).flatten(2).transpose(1, 2)
        here = self.inner[0](tokens)
        tokens = tokens + self.own(here, here, here, need_weights=False)[0]
        tokens = tokens + self.cross(self.inner[1](tokens), words, words, need_weights=False)[0]
        a, b = self.grow(self.inner[2](tokens)).chunk(2, -1)
        tokens = tokens + self.shrink(a * F.gelu(b))
        return x + self.leave(tokens.transpose(1, 2).reshape(x.shape))


class LatentDiffusion(nn.Module):
    """A U-Net on latents whose blocks attend to a caption, which is dropped one time in ten; noise is the target."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.embed, self.time = nn.Embedding(17, 24), mlp([32, 64, 64], nn.SiLU)
        self.stem, self.down = nn.Conv2d(4, width, 3, 1, 1), nn.Conv2d(width, 2 * width, 3, 2, 1)
        self.units = nn.ModuleList(CrossUnit(w, 24) for w in (width, 2 * width, width))
        self.up, self.join = nn.Conv2d(2 * width, width, 3, 1, 1), nn.Conv2d(2 * width, width, 1)
        self.norm, self.last = nn.GroupNorm(8, width), nn.Conv2d(width, 4, 3, 1, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, words: Tensor) -> Tensor:
        time, noise = torch.rand(len(x)), torch.randn_like(x)
        angle = (time * math.pi / 2)[:, None, None, None]
        words = self.embed(torch.where(torch.rand(len(x), 1) < 0.1, 16, words))
        now, y = self.time(clock(time)), self.stem(angle.cos() * x + angle.sin() * noise)
        fine = self.units[0](y, now, words)
        coarse = self.units[1](self.down(fine), now, words)
        y = self.join(torch.cat([self.up(F.interpolate(coarse, scale_factor=2)), fine], 1))
        return F.mse_loss(self.last(F.silu(self.norm(self.units[2](y, now, words)))), noise)


class MeanFlow(nn.Module):
    """MeanFlow: the mean velocity between two times, whose target takes a derivative along the path."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp([2 + 2, 96, 96, 96, 2], nn.SiLU)

    def velocity(self, x: Tensor, start: Tensor, end: Tensor) -> Tensor:
        """Mean velocity from the end back to the start."""
        return self.net(torch.cat([x, end, end - start], 1))

    def forward(self, x: Tensor) -> Tensor:
        times = (torch.randn(len(x), 2) - 0.4).sigmoid()
        end, start = times.amax(1, keepdim=True), times.amin(1, keepdim=True)
        start = torch.where(torch.rand(len(x), 1) < 0.75, end, start)
        noise = torch.randn_like(x)
        now, along = (1 - end) * x + end * noise, noise - x
        tangents = (along, torch.zeros_like(start), torch.ones_like(end))
        guess, change, *_ = torch.func.jvp(self.velocity, (now, start, end), tangents)
        gap = (guess - (along - (end - start) * change).detach()).square().sum(1)
        return (gap / (gap.detach() + 1e-3).sqrt()).mean()


class SelfConditioned(nn.Module):
    """Analog bits: discrete data as bits, a denoiser that may see its own first guess; zero-initialised output."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.enter, self.time = nn.Linear(2 * 4 * 16, width), mlp([32, width, width], nn.SiLU)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.blocks = nn.ModuleList(mlp([width, 2 * width, width], nn.SiLU) for _ in range(3))
        self.last = nn.Linear(width, 4 * 16)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def guess(self, x: Tensor, before: Tensor, time: Tensor) -> Tensor:
        """The clean bits."""
        y, now = self.enter(torch.cat([x, before], 1)), self.time(clock(time))
        for norm, block in zip(self.norms, self.blocks, strict=True):
            y = y + block(norm(y + now))
        return self.last(y)

    def forward(self, codes: Tensor) -> Tensor:
        bits = (
            2.0 * ((F.avg_pool2d(codes.float(), 2).long().flatten(1)[..., None] >> torch.arange(4)) & 1).flatten(1) - 1
        )
        time = torch.rand(len(bits))
        signal = (time * math.pi / 2).cos().square()[:, None]
        noisy = signal.sqrt() * bits + (1 - signal).sqrt() * torch.randn_like(bits)
        before = torch.zeros_like(bits)
        if float(torch.rand(())) > 0.5:
            with torch.no_grad():
                before = self.guess(noisy, before, time)
        return F.mse_loss(self.guess(noisy, before, time), bits)


class MinSnr(nn.Module):
    """A convolutional denoiser that predicts velocity, weighed by the clipped ratio of signal to noise."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.stem, self.time = nn.Conv2d(3, width, 3, 1, 1), mlp([32, 48, 48], nn.SiLU)
        self.norms = nn.ModuleList(nn.GroupNorm(4, width) for _ in range(4))
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, 1, 1) for _ in range(3))
        self.films, self.last = nn.ModuleList(nn.Linear(48, 2 * width) for _ in range(3)), nn.Conv2d(width, 3, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        time, noise = torch.rand(len(x)), torch.randn_like(x)
        angle = (time * math.pi / 2).clamp(0.02, 1.55)[:, None, None, None]
        y, now = self.stem(angle.cos() * x + angle.sin() * noise), F.silu(self.time(clock(time)))
        for norm, conv, film in zip(self.norms, self.convs, self.films, strict=False):
            scale, shift = film(now)[..., None, None].chunk(2, 1)
            y = y + conv(F.silu(norm(y) * (1 + scale) + shift))
        ratio = angle[:, 0, 0, 0].tan().pow(-2)
        gap = (self.last(F.silu(self.norms[3](y))) - (angle.cos() * noise - angle.sin() * x)).square().mean((1, 2, 3))
        return (gap * ratio.clamp(max=5) / (ratio + 1)).mean()


def critic_convs(normed: bool = False) -> nn.Sequential:
    """Three strided convolutions with leaky ReLU."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 16), (16, 32), (32, 48)):
        conv: nn.Module = nn.Conv2d(inputs, outputs, 4, 2, 1)
        layers += [nn.utils.parametrizations.spectral_norm(conv) if normed else conv, nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Flatten())


def forged(like: Tensor) -> Tensor:
    """What a bad generator makes: smooth noise."""
    return F.interpolate(torch.randn(len(like), 3, 3, 3), like.shape[2:], mode="bilinear")


class Relativistic(nn.Module):
    """The relativistic average critic: real pictures should look more real than the mean made one, and the reverse."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.head = critic_convs(), nn.Linear(192, 1)

    def forward(self, x: Tensor) -> Tensor:
        real, made = self.head(self.net(x)), self.head(self.net(forged(x)))
        return 0.5 * (F.softplus(made.mean() - real).mean() + F.softplus(made - real.mean()).mean())


class ProjectionCritic(nn.Module):
    """cGANs with a projection: spectral norms, hinge loss, the class as an inner product with the features."""

    def __init__(self) -> None:
        super().__init__()
        norm = nn.utils.parametrizations.spectral_norm
        self.net, self.head, self.kind = critic_convs(True), norm(nn.Linear(192, 1)), norm(nn.Embedding(4, 192))

    def score(self, x: Tensor, label: Tensor) -> Tensor:
        """How real, given the class."""
        seen = self.net(x)
        return self.head(seen)[:, 0] + (self.kind(label) * seen).sum(1)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        return F.relu(1 - self.score(x, label)).mean() + F.relu(1 + self.score(forged(x), label)).mean()


class EqualConv(nn.Module):
    """StyleGAN's layer: unit Gaussian weights, scaled at run time."""

    def __init__(self, inputs: int, outputs: int, size: int) -> None:
        super().__init__()
        self.weight, self.bias = (
            nn.Parameter(torch.randn(outputs, inputs, size, size)),
            nn.Parameter(torch.zeros(outputs)),
        )

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight[0].numel() ** -0.5
        return F.conv2d(x, self.weight * scale, self.bias, padding=self.weight.shape[-1] // 2)


class StyleCritic(nn.Module):
    """StyleGAN2's critic: residual, equalised, with the batch's deviation as a channel; logistic loss and R1."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.enter = EqualConv(3, width, 1)
        self.convs = nn.ModuleList(EqualConv(width, width, 3) for _ in range(4))
        self.skips = nn.ModuleList(EqualConv(width, width, 1) for _ in range(2))
        self.last, self.dense, self.out = (
            EqualConv(width + 1, width, 3),
            EqualConv(16 * width, width, 1),
            EqualConv(width, 1, 1),
        )

    @staticmethod
    def bend(x: Tensor) -> Tensor:
        """Leaky ReLU that keeps the variance."""
        return F.leaky_relu(x, 0.2) * 2**0.5

    def score(self, x: Tensor) -> Tensor:
        """How real."""
        y = self.bend(self.enter(x))
        for i, skip in enumerate(self.skips):
            inner = self.bend(self.convs[2 * i + 1](self.bend(self.convs[2 * i](y))))
            y = (F.avg_pool2d(inner, 2) + skip(F.avg_pool2d(y, 2))) / 2**0.5
        groups = y.view(4, -1, *y.shape[1:])
        spread = (groups.var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3)).repeat(4)
        y = self.bend(self.last(torch.cat([y, spread[:, None, None, None].expand(-1, 1, 4, 4)], 1)))
        return self.out(self.bend(self.dense(y.flatten(1)[..., None, None]))).flatten()

    def forward(self, x: Tensor) -> Tensor:
        x = x.detach().requires_grad_(True)
        real, made = self.score(x), self.score(forged(x))
        (slope,) = torch.autograd.grad(real.sum(), x, create_graph=True)
        return F.softplus(-real).mean() + F.softplus(made).mean() + 0.5 * slope.square().sum((1, 2, 3)).mean()


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


def cases() -> list[Case]:
    """All cases of this module."""
    coloured = pictures(side=16)
    models: dict[str, tuple[Build, Maker, Step]] = {
        "mmdit": (JointDiT, latents, own_loss),
        "latent_diffusion": (LatentDiffusion, latents, own_loss),
        "mean_flow": (MeanFlow, moons, own_loss),
        "self_conditioned_bits": (SelfConditioned, grey, own_loss),
        "min_snr_velocity": (MinSnr, only(coloured), own_loss),
        "relativistic_critic": (Relativistic, only(coloured), own_loss),
        "projection_critic": (ProjectionCritic, coloured, own_loss),
        "stylegan2_critic": (StyleCritic, only(coloured), own_loss),
        "lookup_free_codes": (LookupFree, only(coloured), own_loss),
        "very_deep_vae": (VeryDeep, only(coloured), own_loss),
        "inverse_autoregressive": (InverseAutoregressive, documents, own_loss),
        "prod_lda": (TopicModel, documents, own_loss),
        "flow_plus_plus": (FlowPlusPlus, moons, own_loss),
        "tarflow": (TarFlow, only(coloured), own_loss),
        "gated_pixelcnn": (GatedPixels, grey, own_loss),
        "gflownet": (TrajectoryBalance, nothing, own_loss),
    }
    return later_cases(4, "generative", models)
