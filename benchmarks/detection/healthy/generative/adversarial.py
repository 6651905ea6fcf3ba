"""Adversarial networks."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import PIXELS, only, patterns, pictures, regression
from benchmarks.detection.vocabulary.blocks import mlp
from benchmarks.detection.vocabulary.losses import own_loss


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


def spectral_critic() -> nn.Module:
    """SNGAN's discriminator: spectral normalisation everywhere."""
    norm = nn.utils.parametrizations.spectral_norm
    convs = [norm(nn.Conv2d(i, o, 4, 2, 1)) for i, o in ((3, 16), (16, 32))]
    body = [layer for conv in convs for layer in (conv, nn.LeakyReLU(0.1))]
    return nn.Sequential(*body, nn.Flatten(), norm(nn.Linear(32 * 16, 1)))


def hinge(model: nn.Module, image: Batch) -> Tensor:
    """SNGAN's hinge loss against a blurred image."""
    fake = F.interpolate(F.avg_pool2d(image, 4), scale_factor=4.0) + 0.1 * torch.randn_like(image)
    return F.relu(1 - model(image)).mean() + F.relu(1 + model(fake)).mean()


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


def cases() -> list[Case]:
    """The cases of this file."""
    return [
        case("gen_dcgan_generator", "gen/dcgan_generator", GeneratorStep, PIXELS, own_loss),
        case("gen_dcgan_discriminator", "gen/dcgan_discriminator", DiscriminatorStep, PIXELS, own_loss),
        case("gen_wgan_gp_critic", "gen/wgan_gp_critic", Critic, PIXELS, own_loss),
        case("gen_wgan_critic", "gen/wgan_critic", partial(Critic, 0.0), PIXELS, own_loss),
        case("gen_conditional_gan", "gen/conditional_gan", Conditional, patterns(16), own_loss),
        case("gen_stylegan2", "gen/stylegan2", StyleGAN, PIXELS, own_loss),
        case(
            "second_generative_progressive_gan_critic",
            "second/progressive_gan_critic",
            Progressive,
            only(pictures(side=16)),
            progressive_critic,  # type: ignore[arg-type]
            round=2,
        ),
        case("second_generative_cyclegan", "second/cyclegan", Cycle, only(pictures(side=16)), cycled, round=2),  # type: ignore[arg-type]
        case("second_generative_pix2pix", "second/pix2pix", Pix2Pix, only(pictures(side=16)), translated, round=2),  # type: ignore[arg-type]
        case(
            "second_generative_sngan_critic",
            "second/sngan_critic",
            spectral_critic,
            only(pictures(side=16)),
            hinge,
            round=2,
        ),
        case("third_generative_infogan", "third/infogan", InfoGan, only(pictures(side=16)), own_loss, round=3),
        case(
            "third_generative_acgan_critic", "third/acgan_critic", AuxiliaryJudge, pictures(side=16), own_loss, round=3
        ),
        case(
            "third_generative_ctgan_critic", "third/ctgan_critic", TableGan, only(regression(8, 1)), own_loss, round=3
        ),
        case(
            "fourth_generative_relativistic_critic",
            "fourth/relativistic_critic",
            Relativistic,
            only(pictures(side=16)),
            own_loss,
            round=4,
        ),
        case(
            "fourth_generative_projection_critic",
            "fourth/projection_critic",
            ProjectionCritic,
            pictures(side=16),
            own_loss,
            round=4,
        ),
        case(
            "fourth_generative_stylegan2_critic",
            "fourth/stylegan2_critic",
            StyleCritic,
            only(pictures(side=16)),
            own_loss,
            round=4,
        ),
    ]
