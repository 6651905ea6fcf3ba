"""Diffusion, score matching and flow matching."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import (
    PIXELS,
    POINTS,
    dense_moons,
    generator,
    grey,
    moons,
    only,
    pictures,
    rings,
)
from benchmarks.detection.vocabulary.blocks import SelfAttention, feed, mlp
from benchmarks.detection.vocabulary.losses import own_loss


def zero(layer: nn.Conv2d | nn.Linear, std: float = 0.0) -> nn.Module:
    """A layer that starts at zero, or very close to it."""
    nn.init.normal_(layer.weight, std=std) if std else nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def embed_time(t: Tensor, width: int = 32) -> Tensor:
    """Sinusoidal embedding of the diffusion time."""
    speed = torch.exp(-math.log(1000) * torch.arange(width // 2) / (width // 2))
    angle = 1000 * t[:, None] * speed
    return torch.cat([angle.sin(), angle.cos()], dim=1)


class TimedBlock(nn.Module):
    """The residual block of DDPM: the second convolution starts at ``std`` (zero in DDPM, 1e-5 in EDM)."""

    def __init__(self, inside: int, outside: int, std: float = 0.0) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(4, inside), nn.SiLU(), nn.Conv2d(inside, outside, 3, padding=1))
        self.time = nn.Linear(32, outside)
        last = zero(nn.Conv2d(outside, outside, 3, padding=1), std)
        self.second = nn.Sequential(nn.GroupNorm(4, outside), nn.SiLU(), last)
        self.short = nn.Conv2d(inside, outside, 1) if inside != outside else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h = self.first(x) + self.time(time)[:, :, None, None]
        out: Tensor = self.short(x) + self.second(h)
        return out


class Denoiser(nn.Module):
    """A diffusion U-Net with skips and a zero (or nearly zero) output convolution."""

    def __init__(self, std: float = 0.0) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(32, 32), nn.SiLU(), nn.Linear(32, 32), nn.SiLU())
        self.stem, self.down = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, 2, 1)
        self.one, self.two = TimedBlock(16, 16, std), TimedBlock(16, 32, std)
        self.up, self.three = nn.Conv2d(32, 16, 3, padding=1), TimedBlock(32, 16, std)
        self.out = nn.Sequential(nn.GroupNorm(4, 16), nn.SiLU(), zero(nn.Conv2d(16, 3, 3, padding=1), std))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        time = self.time(embed_time(t))
        high = self.one(self.stem(x), time)
        low = self.two(self.down(high), time)
        up = self.up(F.interpolate(low, scale_factor=2.0))
        out: Tensor = self.out(self.three(torch.cat([up, high], dim=1), time))
        return out


def denoise(model: nn.Module, x: Batch) -> Tensor:
    """DDPM's loss: predict the noise that was added."""
    t, noise = torch.rand(x.shape[0]), torch.randn_like(x)
    angle = (t * math.pi / 2)[:, None, None, None]
    return F.mse_loss(model(angle.cos() * x + angle.sin() * noise, t), noise)


def flow_matching(model: nn.Module, x: Batch) -> Tensor:
    """Rectified flow: predict the velocity from noise to data."""
    t, noise = torch.rand(x.shape[0]), torch.randn_like(x)
    share = t[:, None, None, None]
    return F.mse_loss(model((1 - share) * noise + share * x, t), x - noise)


class DiTBlock(nn.Module):
    """A transformer block with adaLN-zero conditioning."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.attend = nn.LayerNorm(width, elementwise_affine=False), SelfAttention(width)
        self.feed = feed(width, 2 * width)
        self.modulate = nn.Sequential(nn.SiLU(), zero(nn.Linear(width, 6 * width)))

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulate(c)[:, None].chunk(6, dim=-1)
        x = x + gate1 * self.attend(self.norm(x) * (1 + scale1) + shift1)
        out: Tensor = x + gate2 * self.feed(self.norm(x) * (1 + scale2) + shift2)
        return out


class DiT(nn.Module):
    """A diffusion transformer: adaLN-zero blocks and a zero output layer."""

    def __init__(self, width: int = 32, depth: int = 4) -> None:
        super().__init__()
        self.cut, self.places = nn.Conv2d(3, width, 4, 4), nn.Parameter(torch.randn(1, 16, width) * 0.02)
        self.time = nn.Sequential(nn.Linear(32, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList([DiTBlock(width) for _ in range(depth)])
        self.norm, self.modulate = nn.LayerNorm(width, elementwise_affine=False), zero(nn.Linear(width, 2 * width))
        self.out = zero(nn.Linear(width, 48))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        c, h = self.time(embed_time(t)), self.cut(x).flatten(2).transpose(1, 2) + self.places
        for block in self.blocks:
            h = block(h, c)
        shift, scale = self.modulate(F.silu(c))[:, None].chunk(2, dim=-1)
        out = self.out(self.norm(h) * (1 + scale) + shift)
        return F.pixel_shuffle(out.transpose(1, 2).unflatten(2, (4, 4)), 4)


def score_matching(model: nn.Module, x: Batch) -> Tensor:
    """Denoising score matching with one noise level."""
    noise = torch.randn_like(x)
    out: Tensor = ((model(x + 0.5 * noise) + noise / 0.5) ** 2).sum(dim=1).mean()
    return out


class Timed(nn.Module):
    """A perceptron on points that knows a time by Fourier features."""

    def __init__(self, extra: int = 0, width: int = 64) -> None:
        super().__init__()
        self.register_buffer("waves", 2 * torch.randn(8))
        self.body = mlp([2 + 16 + extra, width, width, 2], nn.SiLU)

    def forward(self, x: Tensor, time: Tensor, *more: Tensor) -> Tensor:
        angle = time * self.waves  # type: ignore[operator]
        return self.body(torch.cat([x, angle.sin(), angle.cos(), *more], 1))


class Consistency(nn.Module):
    """A consistency model with its teacher: the answers at two neighbouring noise levels must agree."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.teacher = Timed(), Timed().requires_grad_(False)
        self.teacher.load_state_dict(self.net.state_dict())

    @staticmethod
    def answer(net: nn.Module, x: Tensor, sigma: Tensor, low: float = 0.02, data: float = 0.5) -> Tensor:
        skip = data**2 / ((sigma - low) ** 2 + data**2)
        out = data * (sigma - low) / (sigma**2 + data**2).sqrt()
        return skip * x + out * net(x / (sigma**2 + data**2).sqrt(), sigma.log() / 4)

    def forward(self, x: Tensor) -> Tensor:
        steps = torch.linspace(0.02 ** (1 / 7), 5 ** (1 / 7), 18) ** 7
        index, noise = torch.randint(17, (len(x), 1)), torch.randn_like(x)
        high, low = steps[index + 1], steps[index]
        target = self.answer(self.teacher, x + low * noise, low)
        error = self.answer(self.net, x + high * noise, high) - target
        return ((error.square().sum(1) + 0.0017**2).sqrt() - 0.0017).mean()


class Multinomial(nn.Module):
    """D3PM with absorbing states: tokens are masked, and foretold from the rest."""

    def __init__(self, vocab: int = 16, width: int = 32) -> None:
        super().__init__()
        self.vocab, self.embed = vocab, nn.Embedding(vocab + 1, width)
        self.places, self.time = nn.Parameter(0.02 * torch.randn(12, width)), nn.Linear(1, width)
        layer = nn.TransformerEncoderLayer(width, 2, 64, 0.0, "gelu", batch_first=True, norm_first=True)
        self.body, self.head = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(width, vocab)

    def forward(self, tokens: Tensor) -> Tensor:
        time = torch.rand(len(tokens), 1).clamp(min=0.1)
        hidden = torch.rand(tokens.shape) < time
        x = self.embed(torch.where(hidden, self.vocab, tokens)) + self.places + self.time(time)[:, None]
        cost = F.cross_entropy(self.head(self.body(x)).transpose(1, 2), tokens, reduction="none")
        return (cost * hidden / time).mean()


def counting(seed: int, size: int) -> Batch:
    """Lines that count upwards."""
    start = torch.randint(16, (size, 1), generator=generator(seed))
    return (start + torch.arange(12)) % 16


class Skipped(nn.Module):
    """U-ViT: image patches and the time as tokens, long skips between the outer layers, all of it a denoiser."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.patch, self.time = nn.Conv2d(3, width, 4, 4), nn.Linear(16, width)
        self.places = nn.Parameter(torch.empty(1, 17, width))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 2, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(3)
        )
        self.skip, self.norm = nn.Linear(2 * width, width), nn.LayerNorm(width)
        self.out, self.last = nn.Linear(width, 48), nn.Conv2d(3, 3, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.places, std=0.02)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        angle = 1000 * time[:, None] * 1e-4 ** (torch.arange(8) / 8)
        moment = self.time(torch.cat([angle.sin(), angle.cos()], 1))[:, None]
        tokens = torch.cat([moment, self.patch(x).flatten(2).transpose(1, 2)], 1) + self.places
        first = self.layers[0](tokens)
        last = self.layers[2](self.skip(torch.cat([self.layers[1](first), first], -1)))
        picture = F.pixel_shuffle(self.out(self.norm(last))[:, 1:].transpose(1, 2).unflatten(2, (4, 4)), 4)
        return self.last(picture)


def denoised(model: nn.Module, image: Batch) -> Tensor:
    """DDPM's loss with a cosine schedule."""
    time, noise = torch.rand(len(image)), torch.randn_like(image)
    angle = (math.pi / 2 * time)[:, None, None, None]
    return F.mse_loss(model(angle.cos() * image + angle.sin() * noise, time), noise)


class NoiseScore(nn.Module):
    """NCSN: a score network over several noise levels, divided by the level."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp([2, 64, 64, 2], nn.Softplus)

    def forward(self, x: Tensor) -> Tensor:
        sigma = torch.logspace(0, -2, 10)[torch.randint(10, (len(x), 1))]
        noise = torch.randn_like(x)
        return 0.5 * (sigma * (self.net(x + sigma * noise) / sigma) + noise).square().sum(1).mean()


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


def latents(seed: int, size: int) -> Batch:
    """Latent images of four channels, and captions of four tokens that name the pattern."""
    x, label = pictures(4, 8)(seed, size)
    words = 4 * torch.arange(4) + label[:, None]
    return x, words


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


def cases() -> list[Case]:
    """The cases of this file."""
    return [
        case("gen_ddpm_unet", "gen/ddpm", Denoiser, PIXELS, denoise),
        case("gen_edm_unet", "gen/edm", partial(Denoiser, 1e-5), PIXELS, denoise),
        case("gen_flow_matching", "gen/flow_matching", Denoiser, PIXELS, flow_matching),
        case("gen_dit", "gen/dit", DiT, PIXELS, denoise),
        case("gen_dit_12_layers", "gen/dit", partial(DiT, depth=12), PIXELS, denoise),
        case("gen_score_matching", "gen/score", partial(mlp, [8, 64, 64, 8], nn.Softplus), POINTS, score_matching),
        case("second_generative_consistency_model", "second/consistency_model", Consistency, moons, own_loss, round=2),
        case("second_generative_d3pm", "second/d3pm", Multinomial, counting, own_loss, round=2),
        case("second_generative_uvit", "second/uvit", Skipped, only(pictures(side=16)), denoised, round=2),
        case("second_generative_ncsn", "second/ncsn", NoiseScore, moons, own_loss, round=2),
        case("third_generative_sliced_score", "third/sliced_score", SlicedScore, rings, own_loss, round=3),
        case("third_generative_tiny_diffusion", "third/tiny_diffusion", TinyDiffusion, rings, own_loss, round=3),
        case(
            "third_generative_learnt_noise_schedule",
            "third/learnt_noise_schedule",
            NoiseSchedule,
            rings,
            own_loss,
            round=3,
        ),
        case("third_generative_maskgit", "third/maskgit", MaskGit, coded, own_loss, round=3),
        case("fourth_generative_mmdit", "fourth/mmdit", JointDiT, latents, own_loss, round=4),
        case(
            "fourth_generative_latent_diffusion", "fourth/latent_diffusion", LatentDiffusion, latents, own_loss, round=4
        ),
        case("fourth_generative_mean_flow", "fourth/mean_flow", MeanFlow, dense_moons, own_loss, round=4),
        case(
            "fourth_generative_self_conditioned_bits",
            "fourth/self_conditioned_bits",
            SelfConditioned,
            grey,
            own_loss,
            round=4,
        ),
        case(
            "fourth_generative_min_snr_velocity",
            "fourth/min_snr_velocity",
            MinSnr,
            only(pictures(side=16)),
            own_loss,
            round=4,
        ),
    ]
