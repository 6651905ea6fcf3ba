"""Backbones, dense prediction, restoration, compression, video and seeing together with words."""

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
    classify,
    generator,
    later_cases,
    mlp,
    only,
    own_loss,
    pictures,
    pooled_head,
    prototypes,
)


def fused(inputs: int, outputs: int, size: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, batch norm and ReLU."""
    conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


def he(model: nn.Module) -> None:
    """He's initialisation by fan-out, as torchvision does it."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def pixels(seed: int, size: int) -> Tensor:
    """Images between zero and one."""
    return (0.5 + 0.2 * pictures(side=16)(seed, size)[0]).clamp(0, 1)


class HighResolution(nn.Module):
    """HRNet: a fine and a coarse stream exchange what they know after every stage."""

    def __init__(self, fine: int = 8, coarse: int = 16) -> None:
        super().__init__()
        self.stem, self.split = fused(3, fine, stride=2), fused(fine, coarse, stride=2)
        self.fine = nn.ModuleList(nn.Sequential(fused(fine, fine), fused(fine, fine)) for _ in range(2))
        self.coarse = nn.ModuleList(nn.Sequential(fused(coarse, coarse), fused(coarse, coarse)) for _ in range(2))
        rise = (nn.Sequential(nn.Conv2d(coarse, fine, 1, bias=False), nn.BatchNorm2d(fine)) for _ in range(2))
        fall = (nn.Sequential(nn.Conv2d(fine, coarse, 3, 2, 1, bias=False), nn.BatchNorm2d(coarse)) for _ in range(2))
        self.rise, self.fall = nn.ModuleList(rise), nn.ModuleList(fall)
        self.head = nn.Linear(fine + coarse, 4)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.001)

    def forward(self, x: Tensor) -> Tensor:
        a = self.stem(x)
        b = self.split(a)
        for fine, coarse, rise, fall in zip(self.fine, self.coarse, self.rise, self.fall, strict=True):
            up, down = fine(a), coarse(b)
            a, b = F.relu(up + F.interpolate(rise(down), scale_factor=2)), F.relu(down + fall(up))
        return self.head(torch.cat([a.mean((2, 3)), b.mean((2, 3))], 1))


class CrossStage(nn.Module):
    """CSPDarknet: half of the channels pass residual blocks, half go around them; SiLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.main, self.around, self.join = (
            self.unit(width, half, 1),
            self.unit(width, half, 1),
            self.unit(width, width, 1),
        )
        self.blocks = nn.ModuleList(nn.Sequential(self.unit(half, half, 1), self.unit(half, half, 3)) for _ in range(2))

    @staticmethod
    def unit(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
        """Convolution, batch norm with YOLO's momentum, SiLU."""
        conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.03), nn.SiLU())

    def forward(self, x: Tensor) -> Tensor:
        main = self.main(x)
        for block in self.blocks:
            main = main + block(main)
        return self.join(torch.cat([main, self.around(x)], 1))


def darknet() -> nn.Module:
    """Two cross-stage stages and a classifier."""
    unit = CrossStage.unit
    stages = [unit(3, 16, 3), unit(16, 24, 3, 2), CrossStage(24), unit(24, 32, 3, 2), CrossStage(32)]
    return nn.Sequential(*stages, *pooled_head(32))


class SplitAttention(nn.Module):
    """ResNeSt: two splits of every channel weigh against each other."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduce, self.conv = fused(width, 16, 1), fused(16, 32, 3, groups=2)
        self.squeeze, self.weigh = (
            nn.Sequential(nn.Conv2d(16, 32, 1), nn.BatchNorm2d(32), nn.ReLU()),
            nn.Conv2d(32, 32, 1),
        )
        self.expand = nn.Sequential(nn.Conv2d(16, width, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        splits = self.conv(self.reduce(x)).unflatten(1, (2, 16))
        weights = self.weigh(self.squeeze(splits.sum(1).mean((2, 3), keepdim=True))).unflatten(1, (2, 16)).softmax(1)
        return F.relu(x + self.expand((weights * splits).sum(1)))


def resnest() -> nn.Module:
    """A stem and three split-attention blocks."""
    net = nn.Sequential(fused(3, 24, stride=2), *(SplitAttention(24) for _ in range(3)), *pooled_head(24))
    he(net)
    return net


class Bottleneck(nn.Module):
    """BoTNet: attention with relative positions by row and column in the place of the 3x3 convolution."""

    def __init__(self, width: int = 32, inner: int = 16, side: int = 4) -> None:
        super().__init__()
        self.reduce, self.qkv = fused(width, inner, 1), nn.Conv2d(inner, 3 * inner, 1, bias=False)
        self.rows, self.columns = (
            nn.Parameter(8**-0.5 * torch.randn(side, 1, 8)),
            nn.Parameter(8**-0.5 * torch.randn(1, side, 8)),
        )
        self.after = nn.Sequential(nn.BatchNorm2d(inner), nn.ReLU())
        self.expand = nn.Sequential(nn.Conv2d(inner, width, 1, bias=False), nn.BatchNorm2d(width))
        nn.init.zeros_(self.expand[1].weight)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        small = self.reduce(x)
        q, k, v = (part.flatten(2).unflatten(1, (2, 8)).transpose(2, 3) for part in self.qkv(small).chunk(3, 1))
        k = k + (self.rows + self.columns).flatten(0, 1)
        read = (q * 8**-0.5 @ k.transpose(2, 3)).softmax(-1) @ v
        return F.relu(x + self.expand(self.after(read.transpose(2, 3).reshape(small.shape))))


def botnet() -> nn.Module:
    """A convolutional stem and two blocks of attention."""
    return nn.Sequential(fused(3, 16, stride=2), fused(16, 32, stride=2), Bottleneck(), Bottleneck(), *pooled_head(32))


class RegionProposals(nn.Module):
    """Faster R-CNN's proposal network: three anchors a place, objectness and smooth-L1 offsets; std 0.01."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(fused(3, 16, stride=2), fused(16, 32, stride=2))
        self.conv, self.object, self.box = nn.Conv2d(32, 32, 3, padding=1), nn.Conv2d(32, 3, 1), nn.Conv2d(32, 12, 1)
        for layer in (self.conv, self.object, self.box):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, centre: Tensor, size: Tensor) -> Tensor:
        seen = F.relu(self.conv(self.body(x)))
        places = 4 * torch.stack(torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="ij"), -1) + 2
        anchors = torch.tensor([4.0, 6.0, 9.0])
        away = (centre[:, None, None] - places).abs().amax(-1)
        fit = (size[:, None] / anchors).log().abs()
        positive = (away <= 2)[..., None] & (fit == fit.amin(1, keepdim=True))[:, None, None]
        score = self.object(seen).permute(0, 2, 3, 1)
        offset = ((centre[:, None, None] - places)[..., None, :] / anchors[:, None]).expand(-1, -1, -1, 3, 2)
        scale = (size[:, None] / anchors).log()[:, None, None, :, None].expand(-1, 4, 4, 3, 2)
        guess = self.box(seen).permute(0, 2, 3, 1).unflatten(-1, (3, 4))
        boxes = F.smooth_l1_loss(guess[positive], torch.cat([offset, scale], -1)[positive], beta=1 / 9)
        return F.binary_cross_entropy_with_logits(score, positive.float()) + boxes


def framed(seed: int, size: int) -> Batch:
    """Noise with one bright square, where its centre is and how large it is."""
    g = generator(seed)
    centre, extent = 4 + 8 * torch.rand(size, 2, generator=g), 4 + 5 * torch.rand(size, generator=g)
    axis = torch.arange(16.0) + 0.5
    inside = ((axis - centre[..., None]).abs() < extent[:, None, None] / 2).float()
    square = inside[:, 0, :, None] * inside[:, 1, None, :]
    return 2 * square[:, None] + 0.5 * torch.randn(size, 3, 16, 16, generator=g), centre, extent


class WeightedPyramid(nn.Module):
    """EfficientDet's BiFPN: fast normalised sums of three scales, up and down again, then a focal heatmap."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            [fused(3, width, stride=2), fused(width, width, stride=2), fused(width, width, stride=2)]
        )
        self.weights = nn.ParameterList(nn.Parameter(torch.ones(n)) for n in (2, 2, 3, 2))
        self.convs = nn.ModuleList(self.separable(width) for _ in range(4))
        self.head = nn.Sequential(self.separable(width), nn.SiLU(), nn.Conv2d(width, 1, 1))
        nn.init.constant_(self.head[2].bias, -math.log(99))  # type: ignore[arg-type]

    @staticmethod
    def separable(width: int) -> nn.Sequential:
        """A depthwise and a pointwise convolution and batch norm."""
        deep = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        return nn.Sequential(deep, nn.Conv2d(width, width, 1), nn.BatchNorm2d(width))

    def merge(self, i: int, *parts: Tensor) -> Tensor:
        """The i-th weighted sum and its convolution."""
        share = F.relu(self.weights[i])
        share = share / (share.sum() + 1e-4)
        return self.convs[i](F.silu(torch.stack([w * p for w, p in zip(share, parts, strict=True)]).sum(0)))

    def forward(self, x: Tensor, centre: Tensor, size: Tensor) -> Tensor:
        fine = self.stages[0](x)
        middle = self.stages[1](fine)
        coarse = self.stages[2](middle)
        down = self.merge(0, middle, F.interpolate(coarse, scale_factor=2))
        fine = self.merge(1, fine, F.interpolate(down, scale_factor=2))
        middle = self.merge(2, middle, down, F.max_pool2d(fine, 2))
        coarse = self.merge(3, coarse, F.max_pool2d(middle, 2))
        loss = torch.zeros(())
        for level in (fine, middle, coarse):
            step = 16 / level.shape[-1]
            axis = step * (torch.arange(level.shape[-1]) + 0.5)
            inside = ((axis - centre[..., None]).abs() < size[:, None, None] / 2).float()
            truth, logit = inside[:, 0, :, None] * inside[:, 1, None, :], self.head(level)[:, 0]
            hard = torch.where(truth > 0, 1 - logit.sigmoid(), logit.sigmoid()).square()
            alpha = torch.where(truth > 0, 0.25, 0.75)
            entropy = F.binary_cross_entropy_with_logits(logit, truth, reduction="none")
            loss = loss + (alpha * hard * entropy).sum() / truth.sum().clamp(min=1)
        return loss


class CrowdCounter(nn.Module):
    """CSRNet: a VGG front, a dilated back, a map of density; Gaussian weights of std 0.01 behind the front."""

    def __init__(self) -> None:
        super().__init__()
        front = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        back: list[nn.Module] = []
        for inputs, outputs in ((16, 24), (24, 24), (24, 16)):
            back += [nn.Conv2d(inputs, outputs, 3, padding=2, dilation=2), nn.ReLU()]
        self.front, self.back = nn.Sequential(*front), nn.Sequential(*back, nn.Conv2d(16, 1, 1))
        he(self.front)
        for module in self.back:
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, density: Tensor) -> Tensor:
        return F.mse_loss(self.back(self.front(x)), density, reduction="sum") / (2 * len(x))


def crowds(seed: int, size: int) -> Batch:
    """Pictures of blurred heads, and their density at half the resolution."""
    g = generator(seed)
    count = torch.randint(2, 10, (size, 1), generator=g)
    place, present = 16 * torch.rand(size, 10, 2, generator=g), torch.arange(10) < count
    axis = torch.arange(16.0) + 0.5
    near = (-0.5 * (axis - place[..., None]).square() / 1.5).exp()
    image = (near[:, :, 0, :, None] * near[:, :, 1, None, :] * present[..., None, None]).sum(1, keepdim=True)
    return image + 0.1 * torch.randn(image.shape, generator=g), F.avg_pool2d(image, 2) * 4 / (2 * math.pi * 1.5)


class IntegralPose(nn.Module):
    """Integral pose regression: the mean of a softmax over the heatmap is the joint's place; L1."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(fused(3, 16, stride=2), fused(16, 32, stride=2))
        up = nn.ConvTranspose2d(32, 16, 4, 2, 1, bias=False)
        self.up, self.last = nn.Sequential(up, nn.BatchNorm2d(16), nn.ReLU()), nn.Conv2d(16, 1, 1)
        nn.init.normal_(up.weight, std=0.001)
        nn.init.normal_(self.last.weight, std=0.001)

    def forward(self, x: Tensor, centre: Tensor, size: Tensor) -> Tensor:
        heat = self.last(self.up(self.body(x))).flatten(1).softmax(1).view(-1, 8, 8)
        axis = (torch.arange(8.0) + 0.5) / 8 - 0.5
        place = torch.stack([(heat.sum(2) * axis).sum(1), (heat.sum(1) * axis).sum(1)], 1)
        return F.l1_loss(place, centre / 16 - 0.5)


class CostVolume(nn.Module):
    """GC-Net: features of both eyes side by side at every disparity, 3d convolutions, a soft argmin."""

    def __init__(self, reach: int = 4) -> None:
        super().__init__()
        self.reach = reach
        self.features = nn.Sequential(fused(1, 12), fused(12, 12), nn.Conv2d(12, 8, 3, padding=1))
        first, second = nn.Conv3d(16, 12, 3, padding=1, bias=False), nn.Conv3d(12, 12, 3, padding=1, bias=False)
        self.match = nn.Sequential(
            first, nn.BatchNorm3d(12), nn.ReLU(), second, nn.BatchNorm3d(12), nn.ReLU(), nn.Conv3d(12, 1, 3, padding=1)
        )

    def forward(self, left: Tensor, right: Tensor, disparity: Tensor) -> Tensor:
        a, b = self.features(left), self.features(right)
        pairs = [torch.cat([a, F.pad(b, (d, 0))[..., : a.shape[-1]]], 1) for d in range(self.reach)]
        cost = self.match(torch.stack(pairs, 2))[:, 0]
        guess = ((-cost).softmax(1) * torch.arange(self.reach)[:, None, None]).sum(1)
        return F.smooth_l1_loss(guess, disparity)


def stereo(seed: int, size: int) -> Batch:
    """Two views of a textured scene whose upper and lower halves are at two depths."""
    g = generator(seed)
    texture = torch.randn(size, 1, 12, 20, generator=g)
    depth = torch.randint(4, (size, 2), generator=g).repeat_interleave(6, 1)[..., None].expand(-1, -1, 16)
    left = texture[..., 4:]
    place = (torch.arange(16) + 4 + depth).clamp(max=19)
    right = texture[:, 0].gather(2, place)[:, None]
    return left, right, depth.float()


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


class SlowFast(nn.Module):
    """SlowFast: few frames with many channels, many frames with few, and connections from the fast to the slow."""

    def __init__(self) -> None:
        super().__init__()
        self.slow = nn.ModuleList([self.unit(3, 16, 1), self.unit(24, 24, 1)])
        self.fast = nn.ModuleList([self.unit(3, 4, 3), self.unit(4, 6, 3)])
        self.across = nn.Sequential(
            nn.Conv3d(4, 8, (5, 1, 1), (4, 1, 1), (2, 0, 0), bias=False), nn.BatchNorm3d(8), nn.ReLU()
        )
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(30, 4)
        nn.init.normal_(self.head.weight, std=0.01)

    @staticmethod
    def unit(inputs: int, outputs: int, time: int) -> nn.Sequential:
        """A convolution over time and space that halves the space."""
        conv = nn.Conv3d(inputs, outputs, (time, 3, 3), (1, 2, 2), (time // 2, 1, 1), bias=False)
        return nn.Sequential(conv, nn.BatchNorm3d(outputs), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        slow, fast = self.slow[0](x[:, :, ::4]), self.fast[0](x)
        slow, fast = self.slow[1](torch.cat([slow, self.across(fast)], 1)), self.fast[1](fast)
        return self.head(self.drop(torch.cat([slow.mean((2, 3, 4)), fast.mean((2, 3, 4))], 1)))


def clips(seed: int, size: int) -> tuple[Tensor, Tensor]:
    """Eight frames of a pattern that moves in one of four directions, and which."""
    g = generator(seed)
    label = torch.randint(4, (size,), generator=g)
    frame = prototypes(4, 3, 12, 12)[torch.randint(4, (size,), generator=g)]
    moves = ((0, 1), (1, 0), (0, -1), (-1, 0))
    rolled = [
        torch.stack([f.roll((t * moves[int(k)][0], t * moves[int(k)][1]), (1, 2)) for t in range(8)], 1)
        for f, k in zip(frame, label, strict=True)
    ]
    return torch.stack(rolled) + 0.2 * torch.randn(size, 3, 8, 12, 12, generator=g), label


def questions(seed: int, size: int) -> Batch:
    """A picture of four patches with a colour each, a question naming a patch, and its colour."""
    g = generator(seed)
    colour = torch.randint(4, (size, 4), generator=g)
    asked = torch.randint(4, (size,), generator=g)
    image = prototypes(4, 3)[colour].transpose(1, 2).view(size, 3, 2, 2)
    image = F.interpolate(image, scale_factor=6) + 0.2 * torch.randn(size, 3, 12, 12, generator=g)
    text = torch.stack([torch.full_like(asked, 4), 5 + asked, torch.randint(9, 12, (size,), generator=g)], 1)
    return image, text, colour.gather(1, asked[:, None])[:, 0]


class Film(nn.Module):
    """FiLM: a GRU reads the question and scales and shifts every channel; coordinates are appended."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.embed, self.read = nn.Embedding(12, 16), nn.GRU(16, 32, batch_first=True)
        self.stem, self.film = nn.Sequential(fused(3, width, stride=2), fused(width, width)), nn.Linear(32, 4 * width)
        self.ins = nn.ModuleList(nn.Conv2d(width + 2, width, 1) for _ in range(2))
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(2))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width, affine=False) for _ in range(2))
        self.last, self.head = fused(width, 32, 1), mlp([32, 32, 4])

    def forward(self, image: Tensor, text: Tensor, answer: Tensor) -> Tensor:
        x, axis = self.stem(image), torch.linspace(-1, 1, 6)
        place = torch.stack(torch.meshgrid(axis, axis, indexing="ij")).expand(len(x), -1, -1, -1)
        tuned = self.film(self.read(self.embed(text))[1][0]).chunk(2, 1)
        for start, conv, norm, film in zip(self.ins, self.convs, self.norms, tuned, strict=True):
            gamma, beta = film[..., None, None].chunk(2, 1)
            x = F.relu(start(torch.cat([x, place], 1)))
            x = x + F.relu((1 + gamma) * norm(conv(x)) + beta)
        return F.cross_entropy(self.head(self.last(x).amax((2, 3))), answer)


class Relations(nn.Module):
    """Santoro's relation network: every pair of places with the question, summed."""

    def __init__(self) -> None:
        super().__init__()
        self.see = nn.Sequential(fused(3, 16, stride=2), fused(16, 16, stride=2))
        self.embed, self.read = nn.Embedding(12, 16), nn.LSTM(16, 16, batch_first=True)
        self.pair, self.head = nn.Sequential(mlp([52, 48, 48]), nn.ReLU()), mlp([48, 32, 4])

    def forward(self, image: Tensor, text: Tensor, answer: Tensor) -> Tensor:
        axis = torch.linspace(-1, 1, 3)
        place = torch.stack(torch.meshgrid(axis, axis, indexing="ij")).expand(len(image), -1, -1, -1)
        things = torch.cat([self.see(image), place], 1).flatten(2).transpose(1, 2)
        count = things.shape[1]
        asked = self.read(self.embed(text))[1][0][0][:, None, None].expand(-1, count, count, -1)
        left, right = things[:, :, None].expand(-1, -1, count, -1), things[:, None].expand(-1, count, -1, -1)
        return F.cross_entropy(self.head(self.pair(torch.cat([left, right, asked], -1)).sum((1, 2))), answer)


class Captions(nn.Module):
    """Show, attend and tell: soft attention over places with a gate, and doubly stochastic regularisation."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.see = nn.Sequential(fused(3, 16, stride=2), fused(16, width, stride=2))
        self.embed, self.cell = nn.Embedding(12, 16), nn.LSTMCell(16 + width, width)
        self.start_h, self.start_c = nn.Linear(width, width), nn.Linear(width, width)
        self.key, self.ask, self.score = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, 1)
        self.gate, self.drop, self.head = nn.Linear(width, width), nn.Dropout(0.5), nn.Linear(width, 12)
        for weight in (self.embed.weight, self.head.weight):
            nn.init.uniform_(weight, -0.1, 0.1)
        nn.init.zeros_(self.head.bias)

    def forward(self, image: Tensor, words: Tensor) -> Tensor:
        places = self.see(image).flatten(2).transpose(1, 2)
        h, c = self.start_h(places.mean(1)), self.start_c(places.mean(1))
        keys, outs, weights = self.key(places), [], []
        for word in self.embed(F.pad(words, (1, 0))[:, :-1]).unbind(1):
            share = self.score(F.relu(keys + self.ask(h)[:, None])).softmax(1)
            read = self.gate(h).sigmoid() * (share * places).sum(1)
            h, c = self.cell(torch.cat([word, read], 1), (h, c))
            outs.append(self.head(self.drop(h)))
            weights.append(share)
        return F.cross_entropy(torch.stack(outs, 2), words) + (1 - torch.stack(weights).sum(0)).square().mean()


def captioned(seed: int, size: int) -> Batch:
    """A picture of four coloured patches, and the colours read row by row with their rows named."""
    g = generator(seed)
    colour = torch.randint(4, (size, 4), generator=g)
    image = F.interpolate(prototypes(4, 3)[colour].transpose(1, 2).reshape(size, 3, 2, 2), scale_factor=6)
    row = torch.tensor([10, 11]).expand(size, -1)
    words = torch.cat([row[:, :1], 4 + colour[:, :2], row[:, 1:], 4 + colour[:, 2:]], 1)
    return image + 0.2 * torch.randn(image.shape, generator=g), words


def cases() -> list[Case]:
    """All cases of this module."""
    small, dark = pictures(side=16), pixels
    models: dict[str, tuple[Build, Maker, Step]] = {
        "hrnet": (HighResolution, small, classify),
        "csp_darknet": (darknet, small, classify),
        "resnest": (resnest, small, classify),
        "botnet": (botnet, small, classify),
        "region_proposals": (RegionProposals, framed, own_loss),
        "bifpn": (WeightedPyramid, framed, own_loss),
        "crowd_counting": (CrowdCounter, crowds, own_loss),
        "integral_pose": (IntegralPose, framed, own_loss),
        "stereo_cost_volume": (CostVolume, stereo, own_loss),
        "restormer": (lambda: Denoising(Restorer(), Restorer()), dark, own_loss),
        "nafnet": (lambda: Denoising(*(SimpleGateBlock() for _ in range(3))), dark, own_loss),
        "rcan": (ChannelAttentionGroup, dark, own_loss),
        "partial_convolution": (PartialInpainting, only(small), own_loss),
        "compression_hyperprior": (ScaleHyperprior, dark, own_loss),
        "zero_dce": (ZeroReference, dark, own_loss),
        "slowfast": (SlowFast, clips, classify),
        "film": (Film, questions, own_loss),
        "relation_reasoning": (Relations, questions, own_loss),
        "show_attend_tell": (Captions, captioned, own_loss),
    }
    return later_cases(4, "vision", models)
