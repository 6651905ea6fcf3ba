"""Published generative models: adversarial, variational, flows, diffusion, autoregressive images."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case
from benchmarks.detection.healthy.common import Maker, case, mlp, only, own_loss, patterns, pictures
from benchmarks.detection.healthy.first.vision import SelfAttention, feed

PIXELS = only(pictures(3, 16))
POINTS = only(patterns(8))


# --- adversarial ------------------------------------------------------------------------------------------------


def dcgan(net: nn.Module) -> nn.Module:
    """DCGAN's initialisation: N(0, 0.02) for convolutions, N(1, 0.02) for normalisations."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
    return net


def make_generator(code: int = 16, width: int = 32) -> nn.Sequential:
    """DCGAN's generator for 16x16 images."""
    return nn.Sequential(
        nn.ConvTranspose2d(code, width, 4, 1, 0, bias=False), nn.BatchNorm2d(width), nn.ReLU(True),
        nn.ConvTranspose2d(width, width // 2, 4, 2, 1, bias=False), nn.BatchNorm2d(width // 2), nn.ReLU(True),
        nn.ConvTranspose2d(width // 2, 3, 4, 2, 1, bias=False), nn.Tanh(),
    )  # fmt: skip


def make_discriminator(width: int = 16, norm: bool = True) -> nn.Sequential:
    """DCGAN's discriminator, or without normalisation the critic of WGAN-GP."""
    middle = [nn.BatchNorm2d(2 * width)] if norm else []
    return nn.Sequential(
        nn.Conv2d(3, width, 4, 2, 1, bias=not norm), nn.LeakyReLU(0.2, True),
        nn.Conv2d(width, 2 * width, 4, 2, 1, bias=not norm), *middle, nn.LeakyReLU(0.2, True),
        nn.Conv2d(2 * width, 1, 4, 1, 0, bias=not norm), nn.Flatten(),
    )  # fmt: skip


def frozen(net: nn.Module) -> nn.Module:
    """The same network, not to be trained."""
    return net.requires_grad_(False)


class GeneratorStep(nn.Module):
    """The generator's half of a DCGAN: the discriminator is there, but is not trained in this step."""

    def __init__(self) -> None:
        super().__init__()
        self.generator, self.judge = dcgan(make_generator()), frozen(dcgan(make_discriminator()))

    def forward(self, x: Tensor) -> Tensor:
        verdict = self.judge(self.generator(torch.randn(x.shape[0], 16, 1, 1)))
        return F.binary_cross_entropy_with_logits(verdict, torch.ones_like(verdict))


class DiscriminatorStep(nn.Module):
    """The discriminator's half of a DCGAN."""

    def __init__(self) -> None:
        super().__init__()
        self.generator, self.judge = frozen(dcgan(make_generator())), dcgan(make_discriminator())

    def forward(self, x: Tensor) -> Tensor:
        true, fake = self.judge(x), self.judge(self.generator(torch.randn(x.shape[0], 16, 1, 1)))
        loss = F.binary_cross_entropy_with_logits(true, torch.ones_like(true))
        return loss + F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))


class Critic(nn.Module):
    """WGAN-GP's critic: a difference of means, with a penalty on the gradient norm."""

    def __init__(self, penalty: float = 10.0) -> None:
        super().__init__()
        self.generator, self.judge, self.penalty = frozen(make_generator()), make_discriminator(norm=False), penalty

    def forward(self, x: Tensor) -> Tensor:
        fake = self.generator(torch.randn(x.shape[0], 16, 1, 1))
        loss: Tensor = self.judge(fake).mean() - self.judge(x).mean()
        return loss + self.penalty * self.slope(x, fake) if self.penalty else loss

    def slope(self, true: Tensor, fake: Tensor) -> Tensor:
        """How far the critic's gradient between true and fake images is from norm one."""
        share = torch.rand(true.shape[0], 1, 1, 1)
        between = (share * true + (1 - share) * fake).requires_grad_(True)
        (grad,) = torch.autograd.grad(self.judge(between).sum(), between, create_graph=True)
        out: Tensor = ((grad.flatten(1).norm(dim=1) - 1) ** 2).mean()
        return out


class Conditional(nn.Module):
    """The generator of a conditional GAN on vectors, with an embedded label."""

    def __init__(self) -> None:
        super().__init__()
        self.label = nn.Embedding(4, 8)
        self.generator = mlp([16, 64, 64, 16], partial(nn.LeakyReLU, 0.2))
        self.judge = frozen(mlp([20, 64, 1], partial(nn.LeakyReLU, 0.2)))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        fake = self.generator(torch.cat([torch.randn(x.shape[0], 8), self.label(y)], dim=1))
        verdict = self.judge(torch.cat([fake, F.one_hot(y, 4).float()], dim=1))
        return F.softplus(-verdict).mean()


class EqualLinear(nn.Module):
    """StyleGAN's linear layer: unit normal weights, scaled at run time, with a learning rate multiplier."""

    def __init__(self, inside: int, outside: int, rate: float = 1.0, bias: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outside, inside) / rate)
        self.bias = nn.Parameter(torch.full((outside,), bias))
        self.gain, self.rate = rate / math.sqrt(inside), rate

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.gain, self.bias * self.rate)


class Modulated(nn.Module):
    """StyleGAN2's modulated and demodulated convolution with noise of zero strength."""

    def __init__(self, inside: int, outside: int, style: int, demodulate: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outside, inside, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outside))
        self.style = EqualLinear(style, inside, bias=1.0)
        self.strength = nn.Parameter(torch.zeros(()))
        self.demodulate, self.gain = demodulate, 1 / math.sqrt(inside * 9)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        kernel = self.gain * self.weight[None] * self.style(w)[:, None, :, None, None]
        if self.demodulate:
            kernel = kernel * torch.rsqrt((kernel**2).sum((2, 3, 4), keepdim=True) + 1e-8)
        out = F.conv2d(x.flatten(0, 1)[None], kernel.flatten(0, 1), padding=1, groups=x.shape[0])
        shaped = out.reshape(x.shape[0], -1, *x.shape[2:])
        return shaped + self.strength * torch.randn(x.shape[0], 1, *x.shape[2:]) + self.bias[:, None, None]


class StyleGAN(nn.Module):
    """A mapping network with a small learning rate multiplier, a constant input and modulated convolutions."""

    def __init__(self, style: int = 32) -> None:
        super().__init__()
        layers = [nn.Sequential(EqualLinear(style, style, 0.01), nn.LeakyReLU(0.2)) for _ in range(8)]
        self.mapping, self.start = nn.Sequential(*layers), nn.Parameter(torch.randn(1, 16, 8, 8))
        self.first, self.second = Modulated(16, 16, style), Modulated(16, 16, style)
        self.colour, self.judge = Modulated(16, 3, style, False), frozen(make_discriminator(norm=False))

    def forward(self, x: Tensor) -> Tensor:
        code = torch.randn(x.shape[0], 32)
        w = self.mapping(code * torch.rsqrt((code**2).mean(dim=1, keepdim=True) + 1e-8)) * math.sqrt(2)
        h = F.leaky_relu(self.first(self.start.expand(x.shape[0], -1, -1, -1), w), 0.2) * math.sqrt(2)
        h = F.leaky_relu(self.second(F.interpolate(h, scale_factor=2.0), w), 0.2) * math.sqrt(2)
        return F.softplus(-self.judge(self.colour(h, w))).mean()


# --- variational ------------------------------------------------------------------------------------------------


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


# --- flows ------------------------------------------------------------------------------------------------------


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


# --- diffusion --------------------------------------------------------------------------------------------------


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


def score_matching(model: nn.Module, x: Batch) -> Tensor:
    """Denoising score matching with one noise level."""
    noise = torch.randn_like(x)
    out: Tensor = ((model(x + 0.5 * noise) + noise / 0.5) ** 2).sum(dim=1).mean()
    return out


# --- autoregressive and energy-based ----------------------------------------------------------------------------


class Masked(nn.Conv2d):
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
    body: list[nn.Module] = [Masked(1, 24, 5, own=False), nn.ReLU()]
    for _ in range(3):
        body += [Masked(24, 24, 3, own=True), nn.BatchNorm2d(24), nn.ReLU()]
    return nn.Sequential(*body, nn.Conv2d(24, 4, 1))


def levels(model: nn.Module, x: Batch) -> Tensor:
    """Cross entropy of every pixel's grey level given those before it."""
    grey = ((x[:, :1] + 1.5).clamp(0, 2.99) * 4 / 3).long()
    return F.cross_entropy(model(grey / 1.5 - 1), grey[:, 0])


class Energy(nn.Module):
    """A contrastive energy model: data below, noise above; the loss has mean zero at the start."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp([8, 64, 64, 1], nn.SiLU)

    def forward(self, x: Tensor) -> Tensor:
        low, high = self.net(x), self.net(torch.randn_like(x))
        out: Tensor = low.mean() - high.mean() + 0.1 * (low**2 + high**2).mean()
        return out


def sparse_autoencoder() -> nn.Module:
    """An overcomplete autoencoder with a ReLU code."""
    return nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 8))


def sparse(model: nn.Module, x: Batch) -> Tensor:
    """Reconstruction and an L1 penalty on the code."""
    assert isinstance(model, nn.Sequential)
    code = model[1](model[0](x))
    out: Tensor = F.mse_loss(model[2](code), x) + 1e-3 * code.abs().sum(dim=1).mean()
    return out


def cases() -> list[Case]:
    """All cases of this module."""
    steps: dict[str, tuple[Callable[[], nn.Module], Maker]] = {
        "dcgan_generator": (GeneratorStep, PIXELS), "dcgan_discriminator": (DiscriminatorStep, PIXELS),
        "wgan_gp_critic": (Critic, PIXELS), "wgan_critic": (partial(Critic, 0.0), PIXELS),
        "conditional_gan": (Conditional, patterns(16)), "stylegan2": (StyleGAN, PIXELS),
        "vae": (VAE, PIXELS), "beta_vae": (partial(VAE, 4.0), PIXELS), "vq_vae": (VQVAE, PIXELS),
        "realnvp": (lambda: Flow(*(Coupling(8, bool(i % 2)) for i in range(4))), POINTS),
        "glow": (lambda: Flow(*(Glow(8) for _ in range(4))), POINTS), "energy_model": (Energy, POINTS),
    }  # fmt: skip
    return [case(f"gen_{k}", f"gen/{k}", build, batch, own_loss) for k, (build, batch) in steps.items()] + [
        case("gen_ddpm_unet", "gen/ddpm", Denoiser, PIXELS, denoise),
        case("gen_edm_unet", "gen/edm", partial(Denoiser, 1e-5), PIXELS, denoise),
        case("gen_flow_matching", "gen/flow_matching", Denoiser, PIXELS, flow_matching),
        case("gen_dit", "gen/dit", DiT, PIXELS, denoise),
        case("gen_dit_12_layers", "gen/dit", partial(DiT, depth=12), PIXELS, denoise),
        case("gen_score_matching", "gen/score", partial(mlp, [8, 64, 64, 8], nn.Softplus), POINTS, score_matching),
        case("gen_pixelcnn", "gen/pixelcnn", pixelcnn, PIXELS, levels),
        case("gen_sparse_autoencoder", "gen/sparse_autoencoder", sparse_autoencoder, POINTS, sparse),
    ]
