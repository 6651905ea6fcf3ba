"""Generative models that stand nowhere else."""

from __future__ import annotations

import math
from collections.abc import Callable

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
    patterns,
    pictures,
    reconstruct,
    regression,
)

LOG_2_PI = math.log(2 * math.pi)


def moons(seed: int, size: int) -> Batch:
    """Two half circles."""
    g = generator(seed)
    turn, upper = math.pi * torch.rand(size, generator=g), torch.rand(size, generator=g) < 0.5
    x = torch.where(upper, turn.cos(), 1 - turn.cos())
    y = torch.where(upper, turn.sin(), 0.5 - turn.sin())
    return torch.stack([x, y], 1) + 0.1 * torch.randn(size, 2, generator=g)


def bits(seed: int, size: int) -> Batch:
    """Binary patterns."""
    return (patterns(32)(seed, size)[0] > 0).float()


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


class Equalised(nn.Module):
    """Progressive GAN's layer: N(0, 1) weights, scaled when used."""

    def __init__(self, inputs: int, outputs: int, gain: float = math.sqrt(2)) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(outputs, inputs, 3, 3)), nn.Parameter(torch.zeros(outputs))
        self.scale = gain / math.sqrt(9 * inputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=1)


class PixelNorm(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


class Spread(nn.Module):
    """The deviation over the minibatch as one more channel."""

    def forward(self, x: Tensor) -> Tensor:
        spread = (x.var(0, unbiased=False) + 1e-8).sqrt().mean()
        return torch.cat([x, spread.expand(len(x), 1, *x.shape[2:])], 1)


class Progressive(nn.Module):
    """A progressive GAN's critic, and the generator that stays as it is meanwhile."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        act, up = nn.LeakyReLU(0.2), nn.Upsample(scale_factor=2)
        body = [Equalised(width, width), act, PixelNorm(), up, Equalised(width, width), act, PixelNorm()]
        self.generate = nn.Sequential(PixelNorm(), up, *body, up, Equalised(width, 3, 1.0))
        down = [Equalised(3, width), act, nn.AvgPool2d(2), Equalised(width, width), act, nn.AvgPool2d(2), Spread()]
        self.judge = nn.Sequential(*down, Equalised(width + 1, width), act, nn.Flatten(), nn.Linear(width * 16, 1))
        self.generate.requires_grad_(False)

    def forward(self, z: Tensor) -> Tensor:
        return self.generate(z[:, :, None, None].expand(-1, -1, 2, 2))


def progressive_critic(model: Progressive, image: Batch) -> Tensor:
    """Wasserstein loss of the critic with a drift term."""
    fake = model(torch.randn(len(image), 16)).detach()
    real_score = model.judge(image)
    return model.judge(fake).mean() - real_score.mean() + 1e-3 * real_score.square().mean()


class Cycle(nn.Module):
    """CycleGAN's two generators: ResNets with instance normalisation, N(0, 0.02)."""

    def __init__(self) -> None:
        super().__init__()
        self.there, self.back = self.generator(), self.generator()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    @staticmethod
    def generator(width: int = 16) -> nn.Module:
        class Block(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                half = [nn.Conv2d(width, width, 3, padding=1), nn.InstanceNorm2d(width)]
                last = [nn.Conv2d(width, width, 3, padding=1), nn.InstanceNorm2d(width)]
                self.body = nn.Sequential(*half, nn.ReLU(), *last)

            def forward(self, x: Tensor) -> Tensor:
                return x + self.body(x)

        stem = [nn.Conv2d(3, width, 7, padding=3), nn.InstanceNorm2d(width), nn.ReLU()]
        return nn.Sequential(*stem, Block(), Block(), nn.Conv2d(width, 3, 7, padding=3), nn.Tanh())


def cycled(model: Cycle, image: Batch) -> Tensor:
    """Cycle and identity losses in both directions; the other domain is the negative."""
    first, second = image.tanh(), -image.tanh()
    cycle = F.l1_loss(model.back(model.there(first)), first) + F.l1_loss(model.there(model.back(second)), second)
    same = F.l1_loss(model.there(second), second) + F.l1_loss(model.back(first), first)
    return 10 * cycle + 5 * same


class Pix2Pix(nn.Module):
    """A U-Net generator with a PatchGAN beside it, both N(0, 0.02); the critic's and the L1 loss in turn."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.down1 = nn.Sequential(nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2))
        self.down2 = nn.Sequential(nn.Conv2d(width, 2 * width, 4, 2, 1), nn.BatchNorm2d(2 * width), nn.ReLU())
        self.up2 = nn.Sequential(nn.ConvTranspose2d(2 * width, width, 4, 2, 1), nn.BatchNorm2d(width), nn.ReLU())
        self.up1 = nn.Sequential(nn.ConvTranspose2d(2 * width, 3, 4, 2, 1), nn.Tanh())
        body = [nn.Conv2d(6, width, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(width, width, 4, 2, 1)]
        self.judge = nn.Sequential(*body, nn.BatchNorm2d(width), nn.LeakyReLU(0.2), nn.Conv2d(width, 1, 3, padding=1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.down1(x)
        return self.up1(torch.cat([self.up2(self.down2(fine)), fine], 1))


def translated(model: Pix2Pix, image: Batch) -> Tensor:
    """Generator and critic at once, each with the other's part detached."""
    given, wanted = image.tanh(), image.tanh().flip(1)
    made = model(given)
    scores = [model.judge(torch.cat([given, other], 1)) for other in (wanted, made.detach())]
    truth = [torch.ones_like(scores[0]), torch.zeros_like(scores[1])]
    critic = sum(F.binary_cross_entropy_with_logits(s, t) for s, t in zip(scores, truth, strict=True)) / 2
    return critic + 100 * F.l1_loss(made, wanted)


def hinge(model: nn.Module, image: Batch) -> Tensor:
    """SNGAN's hinge loss against a blurred image."""
    fake = F.interpolate(F.avg_pool2d(image, 4), scale_factor=4.0) + 0.1 * torch.randn_like(image)
    return F.relu(1 - model(image)).mean() + F.relu(1 + model(fake)).mean()


def spectral_critic() -> nn.Module:
    """SNGAN's discriminator: spectral normalisation everywhere."""
    norm = nn.utils.parametrizations.spectral_norm
    convs = [norm(nn.Conv2d(i, o, 4, 2, 1)) for i, o in ((3, 16), (16, 32))]
    body = [layer for conv in convs for layer in (conv, nn.LeakyReLU(0.1))]
    return nn.Sequential(*body, nn.Flatten(), norm(nn.Linear(32 * 16, 1)))


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


def cases() -> list[Case]:
    """All cases of this module."""
    vectors, images = only(patterns(32)), only(pictures(side=16))
    coder: Callable[[], nn.Module] = lambda: nn.Sequential(mlp([32, 48, 4]), mlp([4, 48, 32]))  # noqa: E731
    tied: Callable[[], nn.Module] = lambda: nn.Sequential(nn.Linear(32, 24), nn.Linear(24, 32))  # noqa: E731
    points: Maker = moons
    table = only(regression(8, 1))
    models: dict[str, tuple[Build, Maker, Step]] = {
        "made": (lambda: made(32, 1), bits, masked_likelihood),
        "maf": (MaskedFlow, table, own_loss),
        "neural_spline_flow": (SplineFlow, points, own_loss),
        "nice": (Nice, table, own_loss),
        "iwae": (Importance, bits, own_loss),
        "hierarchical_vae": (Ladder, bits, own_loss),
        "dvae": (Discrete, images, own_loss),
        "fsq": (Finite, images, lambda model, x: F.mse_loss(model(x), x)),
        "residual_vq": (Residuals, vectors, own_loss),
        "wae_mmd": (coder, vectors, wasserstein),
        "contractive_autoencoder": (tied, vectors, contractive),
        "denoising_autoencoder": (coder, vectors, corrupted),
        "deep_autoencoder": (lambda: mlp([32, 64, 32, 16, 8, 16, 32, 64, 32], nn.ReLU), vectors, reconstruct),
        "consistency_model": (Consistency, points, own_loss),
        "d3pm": (Multinomial, counting, own_loss),
        "uvit": (Skipped, images, denoised),
        "ncsn": (NoiseScore, points, own_loss),
        "progressive_gan_critic": (Progressive, images, progressive_critic),  # type: ignore[dict-item]
        "cyclegan": (Cycle, images, cycled),  # type: ignore[dict-item]
        "pix2pix": (Pix2Pix, images, translated),  # type: ignore[dict-item]
        "sngan_critic": (spectral_critic, images, hinge),
    }
    return later_cases(2, "generative", models)
