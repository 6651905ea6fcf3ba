"""Pictures from pictures: super-resolution, noise, holes, compression, style."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case, Maker
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import generator, only, pictures
from benchmarks.detection.vocabulary.blocks import Residual, conv_bn
from benchmarks.detection.vocabulary.losses import fit, own_loss


def edsr() -> nn.Module:
    """Super-resolution: residual blocks without normalisation, scaled by 0.1, and pixel shuffle."""

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1))

        def forward(self, x: Tensor) -> Tensor:
            return x + 0.1 * self.body(x)

    body = Residual(*(Scaled() for _ in range(4)), nn.Conv2d(16, 16, 3, padding=1))
    up = [nn.Conv2d(16, 64, 3, padding=1), nn.PixelShuffle(2), nn.Conv2d(16, 3, 3, padding=1)]
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), body, *up)


def enlarge(model: nn.Module, image: Batch) -> Tensor:
    """L1 between the image and the net's view of its small version."""
    return F.l1_loss(model(F.avg_pool2d(image, 2)), image)


def dncnn() -> nn.Module:
    """Denoising by a plain net of convolutions and norms that foretells the noise."""
    body = [conv_bn(16, 16) for _ in range(4)]
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), *body, nn.Conv2d(16, 3, 3, padding=1))


def denoise(model: nn.Module, image: Batch) -> Tensor:
    """Squared error of the noise."""
    noise = 0.3 * torch.randn_like(image)
    return F.mse_loss(model(image + noise), noise)


class StyleTransfer(nn.Module):
    """Johnson's image transformer with instance normalisation, judged by the features of a frozen net."""

    style: Tensor

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        down = [nn.Conv2d(3, width, 5, padding=2, padding_mode="reflect"), nn.InstanceNorm2d(width, affine=True)]
        deep = [nn.Conv2d(width, width, 3, 2, 1), nn.InstanceNorm2d(width, affine=True), nn.ReLU()]
        block = [nn.Conv2d(width, width, 3, padding=1), nn.InstanceNorm2d(width, affine=True)]
        up = [nn.Upsample(scale_factor=2), nn.Conv2d(width, width, 3, padding=1)]
        last = [nn.InstanceNorm2d(width, affine=True), nn.ReLU(), nn.Conv2d(width, 3, 5, padding=2)]
        self.net = nn.Sequential(*down, nn.ReLU(), *deep, Residual(*block, nn.ReLU()), *up, *last)
        self.judge = nn.Sequential(nn.Conv2d(3, 12, 3), nn.ReLU(), nn.Conv2d(12, 12, 3), nn.ReLU()).requires_grad_(
            False
        )
        self.register_buffer("style", torch.rand(1, 3, 16, 16).round())

    @staticmethod
    def gram(x: Tensor) -> Tensor:
        """How channels go together."""
        x = x.flatten(2)
        return x @ x.transpose(1, 2) / x[0].numel()

    def forward(self, x: Tensor, _: Tensor) -> Tensor:
        out = self.net(x)
        seen = self.judge(out)
        content = F.mse_loss(seen, self.judge(x))
        style = (self.gram(seen) - self.gram(self.judge(self.style))).square().sum((1, 2)).mean()
        rough = out.diff(dim=2).abs().mean() + out.diff(dim=3).abs().mean()
        return content + 10 * style + 1e-3 * rough


class Denoising(nn.Module):
    """A restoration network: the noisy picture plus what it says, against the clean one."""

    def __init__(self, *blocks: nn.Module, width: int = 16) -> None:
        super().__init__()
        self.intro, self.blocks = nn.Conv2d(3, width, 3, padding=1), nn.Sequential(*blocks)
        self.ending = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        noisy = x + 0.15 * torch.randn_like(x)
        clean = noisy + self.ending(self.blocks(self.intro(noisy)))
        return ((clean - x).square() + 1e-6).sqrt().mean()


class Restorer(nn.Module):
    """Restormer's block: attention between channels with a temperature, and a gated depthwise feed-forward."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Sequential(
            nn.Conv2d(width, 3 * width, 1, bias=False),
            nn.Conv2d(3 * width, 3 * width, 3, padding=1, groups=3 * width, bias=False),
        )
        self.heat, self.out = nn.Parameter(torch.ones(2, 1, 1)), nn.Conv2d(width, width, 1, bias=False)
        self.grow = nn.Sequential(
            nn.Conv2d(width, 4 * width, 1, bias=False),
            nn.Conv2d(4 * width, 4 * width, 3, padding=1, groups=4 * width, bias=False),
        )
        self.shrink = nn.Conv2d(2 * width, width, 1, bias=False)

    @staticmethod
    def normed(norm: nn.Module, x: Tensor) -> Tensor:
        """A layer norm over the channels."""
        out: Tensor = norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return out

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (p.flatten(2).unflatten(1, (2, -1)) for p in self.qkv(self.normed(self.before, x)).chunk(3, 1))
        weights = (F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(2, 3) * self.heat).softmax(-1)
        x = x + self.out((weights @ v).reshape(x.shape))
        a, b = self.grow(self.normed(self.between, x)).chunk(2, 1)
        return x + self.shrink(F.gelu(a) * b)


def pixels(seed: int, size: int) -> Tensor:
    """Images between zero and one."""
    return (0.5 + 0.2 * pictures(side=16)(seed, size)[0]).clamp(0, 1)


class SimpleGateBlock(nn.Module):
    """NAFNet's block: products instead of activations, simplified channel attention, branches scaled from zero."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.first, self.deep = (
            nn.Conv2d(width, 2 * width, 1),
            nn.Conv2d(2 * width, 2 * width, 3, 1, 1, groups=2 * width),
        )
        self.attend, self.second = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)
        self.grow, self.shrink = nn.Conv2d(width, 2 * width, 1), nn.Conv2d(width, width, 1)
        self.norms = nn.ModuleList([nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)])
        self.beta, self.gamma = (nn.Parameter(torch.zeros(width, 1, 1)) for _ in range(2))

    @staticmethod
    def gate(x: Tensor) -> Tensor:
        """The product of both halves."""
        a, b = x.chunk(2, 1)
        return a * b

    def forward(self, x: Tensor) -> Tensor:
        y = self.gate(self.deep(self.first(Restorer.normed(self.norms[0], x))))
        y = self.second(y * self.attend(y.mean((2, 3), keepdim=True)))
        x = x + self.beta * y
        return x + self.gamma * self.shrink(self.gate(self.grow(Restorer.normed(self.norms[1], x))))


class ChannelAttentionGroup(nn.Module):
    """RCAN's residual group for twofold super-resolution."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.head, self.tail = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, 12, 3, padding=1)
        self.convs = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1))
            for _ in range(3)
        )
        squeezes = (nn.Sequential(nn.Conv2d(width, 4, 1), nn.ReLU(), nn.Conv2d(4, width, 1)) for _ in range(3))
        self.squeezes, self.last = nn.ModuleList(squeezes), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        small = F.avg_pool2d(x, 2)
        start = y = self.head(small - 0.5)
        for conv, squeeze in zip(self.convs, self.squeezes, strict=True):
            out = conv(y)
            y = y + out * squeeze(out.mean((2, 3), keepdim=True)).sigmoid()
        return F.l1_loss(F.pixel_shuffle(self.tail(start + self.last(y)), 2) + 0.5, x)


class PartialInpainting(nn.Module):
    """Inpainting by partial convolutions: only what is known counts, and the mask shrinks layer by layer."""

    def __init__(self) -> None:
        super().__init__()
        sizes = ((3, 16), (16, 24), (24, 24))
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, 1, 1, bias=False) for a, b in sizes)
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) for _, b in sizes)
        self.out = nn.Conv2d(27, 3, 3, padding=1)
        for conv in self.convs:
            nn.init.kaiming_normal_(conv.weight, a=0, mode="fan_in")  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        known = (torch.rand(len(x), 1, 4, 4) > 0.25).float().repeat_interleave(4, 2).repeat_interleave(4, 3)
        y, mask = x, known
        for conv, norm in zip(self.convs, self.norms, strict=True):
            seen = F.conv2d(mask, torch.ones(1, 1, 3, 3), padding=1)
            y = F.relu(norm(conv(y * mask) * 9 / seen.clamp(min=1)))
            mask = (seen > 0).float()
        made = self.out(torch.cat([y, x * known], 1))
        whole = known * x + (1 - known) * made
        smooth = (whole[..., 1:] - whole[..., :-1]).abs().mean() + (whole[:, :, 1:] - whole[:, :, :-1]).abs().mean()
        return (known * (made - x)).abs().mean() + 6 * ((1 - known) * (made - x)).abs().mean() + 0.1 * smooth


class LowerBound(torch.autograd.Function):
    """CompressAI's clamp: below the bound, gradients that push back above it still pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bound: float) -> Tensor:
        """Not below the bound."""
        ctx.save_for_backward(x)
        ctx.bound = bound
        return x.clamp(min=bound)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None]:
        """What lies above, or would rise."""
        (x,) = ctx.saved_tensors
        return slopes[0] * ((x >= ctx.bound) | (slopes[0] < 0)), None


def bounded(x: Tensor, bound: float) -> Tensor:
    """The lower bound as a function."""
    out: Tensor = LowerBound.apply(x, bound)  # type: ignore[no-untyped-call]
    return out


class DivisiveNorm(nn.Module):
    """Generalised divisive normalisation, or its inverse; reparameterised as Ballé does."""

    def __init__(self, width: int, inverse: bool = False) -> None:
        super().__init__()
        self.inverse, self.pedestal = inverse, 2**-36
        self.beta = nn.Parameter((torch.ones(width) + self.pedestal).sqrt())
        self.gamma = nn.Parameter((0.1 * torch.eye(width) + self.pedestal).sqrt())

    def forward(self, x: Tensor) -> Tensor:
        beta = bounded(self.beta, (1e-6 + self.pedestal) ** 0.5).square() - self.pedestal
        gamma = bounded(self.gamma, self.pedestal**0.5).square() - self.pedestal
        size = F.conv2d(x.square(), gamma[..., None, None], beta).sqrt()
        return x * size if self.inverse else x / size


class ScaleHyperprior(nn.Module):
    """Learned compression: uniform noise for rounding, code lengths by a Gaussian with scales from a second code."""

    def __init__(self, width: int = 16, codes: int = 8) -> None:
        super().__init__()
        down, up = nn.Conv2d(3, width, 5, 2, 2), nn.ConvTranspose2d(codes, width, 5, 2, 2, 1)
        self.analyse = nn.Sequential(down, DivisiveNorm(width), nn.Conv2d(width, codes, 5, 2, 2))
        self.synthesise = nn.Sequential(up, DivisiveNorm(width, True), nn.ConvTranspose2d(width, 3, 5, 2, 2, 1))
        self.over = nn.Sequential(nn.Conv2d(codes, width, 3, 1, 1), nn.ReLU(), nn.Conv2d(width, 4, 5, 2, 2))
        self.under = nn.Sequential(
            nn.ConvTranspose2d(4, width, 5, 2, 2, 1), nn.ReLU(), nn.Conv2d(width, codes, 3, 1, 1), nn.ReLU()
        )
        self.place, self.slope = nn.Parameter(torch.zeros(4, 1, 1)), nn.Parameter(torch.zeros(4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.analyse(x)
        z = self.over(y.abs())
        z, y = z + torch.rand_like(z) - 0.5, y + torch.rand_like(y) - 0.5
        width = bounded(self.under(z), 0.11)
        normal = torch.distributions.Normal(torch.zeros_like(width), width)
        chance = normal.cdf(0.5 - y.abs()) - normal.cdf(-0.5 - y.abs())  # type: ignore[no-untyped-call]
        step = F.softplus(self.slope)
        side = (step * (z + 0.5 - self.place)).sigmoid() - (step * (z - 0.5 - self.place)).sigmoid()
        bits = -(bounded(chance, 1e-9).log2().sum() + bounded(side, 1e-9).log2().sum()) / x[:, 0].numel()
        return 0.01 * 255**2 * F.mse_loss(self.synthesise(y), x) + bits


class ZeroReference(nn.Module):
    """Zero-DCE: curves that brighten a dark picture, learnt from how it should look alone; std 0.02."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        sizes = ((3, width), (width, width), (width, width), (2 * width, width), (2 * width, 24))
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in sizes)
        for conv in self.convs:
            nn.init.normal_(conv.weight, std=0.02)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        x = 0.4 * x
        first = F.relu(self.convs[0](x))
        second = F.relu(self.convs[1](first))
        third = F.relu(self.convs[2](second))
        fourth = F.relu(self.convs[3](torch.cat([second, third], 1)))
        curves = self.convs[4](torch.cat([first, fourth], 1)).tanh()
        bright = x
        for curve in curves.chunk(8, 1):
            bright = bright + curve * (bright.square() - bright)
        exposure = (F.avg_pool2d(bright.mean(1, keepdim=True), 4) - 0.6).square().mean()
        colour = bright.mean((2, 3))
        tint = (colour - colour.roll(1, 1)).square().sum(1).mean()
        ramp = curves.diff(dim=2).square().mean() + curves.diff(dim=3).square().mean()
        near, far = F.avg_pool2d(x.mean(1), 4), F.avg_pool2d(bright.mean(1), 4)
        spatial = sum((far.diff(dim=d).abs() - near.diff(dim=d).abs()).square().mean() for d in (1, 2))
        return 200 * ramp + spatial + 5 * tint + 10 * exposure


def prior() -> nn.Module:
    """Deep image prior: an hourglass that is fitted to one noisy picture from fixed noise."""
    body = [conv_bn(8, 16, 3, 2), conv_bn(16, 16), nn.Upsample(scale_factor=2.0), conv_bn(16, 16), nn.Conv2d(16, 3, 1)]
    return nn.Sequential(*body, nn.Sigmoid())


def noise_and_picture() -> Maker:
    """The fixed input noise and the noisy picture."""

    def make(seed: int, size: int) -> tuple[Tensor, Tensor]:
        fixed, g = torch.randn(1, 8, 16, 16, generator=generator(99)), generator(seed)
        image = F.interpolate(torch.rand(1, 3, 4, 4, generator=generator(98)), size=(16, 16))
        code = fixed + 0.03 * torch.randn(size, 8, 16, 16, generator=g)
        return code, (image + 0.1 * torch.randn(1, 3, 16, 16, generator=generator(97))).expand(size, -1, -1, -1)

    return make


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


def cases() -> list[Case]:
    """The cases of this file."""
    return [
        case("second_vision_edsr", "second/edsr", edsr, only(pictures(side=16)), enlarge, size=16, round=2),
        case("second_vision_dncnn", "second/dncnn", dncnn, only(pictures(side=16)), denoise, size=16, round=2),
        case(
            "third_vision_style_transfer", "third/style_transfer", StyleTransfer, pictures(side=16), own_loss, round=3
        ),
        case(
            "fourth_vision_restormer",
            "fourth/restormer",
            lambda: Denoising(Restorer(), Restorer()),
            pixels,
            own_loss,
            round=4,
        ),
        case(
            "fourth_vision_nafnet",
            "fourth/nafnet",
            lambda: Denoising(*(SimpleGateBlock() for _ in range(3))),
            pixels,
            own_loss,
            round=4,
        ),
        case("fourth_vision_rcan", "fourth/rcan", ChannelAttentionGroup, pixels, own_loss, round=4),
        case(
            "fourth_vision_partial_convolution",
            "fourth/partial_convolution",
            PartialInpainting,
            only(pictures(side=16)),
            own_loss,
            round=4,
        ),
        case(
            "fourth_vision_compression_hyperprior",
            "fourth/compression_hyperprior",
            ScaleHyperprior,
            pixels,
            own_loss,
            round=4,
        ),
        case("fourth_vision_zero_dce", "fourth/zero_dce", ZeroReference, pixels, own_loss, round=4),
        case("vision_deep_image_prior", "vision/deep_image_prior", prior, noise_and_picture(), fit),
        case(
            "third_generative_noise2void", "third/noise2void", NoiseToVoid, only(pictures(side=16)), own_loss, round=3
        ),
    ]
