"""Image networks, each with the initialisation and the loss of its paper or reference code."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case
from benchmarks.detection.healthy.common import (
    Build,
    Maker,
    Residual,
    Step,
    classify,
    generator,
    later_cases,
    own_loss,
    pictures,
    pooled_head,
    supervised,
)


def conv_bn(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> list[nn.Module]:
    """A convolution without bias and batch normalisation."""
    return [nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs)]


def he_normal(model: nn.Module) -> nn.Module:
    """He's initialisation of every convolution, by its fan out."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model


class MnistExample(nn.Module):
    """The network of PyTorch's own MNIST example, with its log-softmax and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 16, 3), nn.Conv2d(16, 32, 3)
        self.dropout1, self.dropout2 = nn.Dropout(0.25), nn.Dropout(0.5)
        self.fc1, self.fc2 = nn.Linear(32 * 36, 64), nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv2(F.relu(self.conv1(x)))), 2)
        x = F.relu(self.fc1(torch.flatten(self.dropout1(x), 1)))
        return F.log_softmax(self.fc2(self.dropout2(x)), dim=1)


def keras_cifar() -> nn.Module:
    """The convolutional net of Keras' CIFAR example: Glorot uniform weights and zero biases."""
    first = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.MaxPool2d(2)]
    second = [nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.ReLU(), nn.MaxPool2d(2)]
    head = [nn.Flatten(), nn.Linear(128, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 4)]
    model = nn.Sequential(*first, nn.Dropout(0.25), *second, nn.Dropout(0.25), *head)
    for module in model:
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    return model


class Fractal(nn.Module):
    """FractalNet: one convolution beside two smaller fractals, joined by a mean from which paths are dropped."""

    def __init__(self, width: int, columns: int) -> None:
        super().__init__()
        self.short = nn.Sequential(*conv_bn(width, width), nn.ReLU())
        self.first = Fractal(width, columns - 1) if columns > 1 else None
        self.second = Fractal(width, columns - 1) if columns > 1 else None

    def paths(self, x: Tensor) -> list[Tensor]:
        """What arrives at the join."""
        if self.first is None or self.second is None:
            return [self.short(x)]
        return [self.short(x), *self.second.paths(self.first(x))]

    def forward(self, x: Tensor) -> Tensor:
        paths = self.paths(x)
        kept = [path for path in paths if not self.training or float(torch.rand(())) < 0.85] or paths[:1]
        return torch.stack(kept).mean(0)


def fractalnet() -> nn.Module:
    """Two fractals of three columns."""
    body = [Fractal(16, 3), nn.MaxPool2d(2), Fractal(16, 3)]
    return nn.Sequential(*conv_bn(3, 16), nn.ReLU(), nn.MaxPool2d(2), *body, *pooled_head(16))


class DualPath(nn.Module):
    """A DPN block: some of the branch is added to the residual path, the rest appended to the dense one."""

    def __init__(self, width: int, dense: int, growth: int = 4) -> None:
        super().__init__()
        inputs, self.width = width + dense, width
        reduce = [nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, 16, 1, bias=False)]
        middle = [nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1, groups=4, bias=False)]
        grow = [nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, width + growth, 1, bias=False)]
        self.branch = nn.Sequential(*reduce, *middle, *grow)

    def forward(self, x: Tensor) -> Tensor:
        out = self.branch(x)
        added = x[:, : self.width] + out[:, : self.width]
        return torch.cat([added, x[:, self.width :], out[:, self.width :]], 1)


def dual_path() -> nn.Module:
    """Four dual-path blocks."""
    blocks = [DualPath(16, 4 * i) for i in range(4)]
    stem = [*conv_bn(3, 16, 3, 2), nn.ReLU()]
    return he_normal(nn.Sequential(*stem, *blocks, nn.BatchNorm2d(32), nn.ReLU(), *pooled_head(32)))


class ShakeShake(nn.Module):
    """Two branches, mixed at random per sample, with other random weights on the way back."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.left, self.right = self.branch(width), self.branch(width)

    @staticmethod
    def branch(width: int) -> nn.Module:
        """ReLU, convolution and normalisation, twice."""
        return nn.Sequential(nn.ReLU(), *conv_bn(width, width), nn.ReLU(), *conv_bn(width, width))

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.left(x), self.right(x)
        there, back = torch.rand(2, len(x), 1, 1, 1)
        backward = back * left + (1 - back) * right
        forward = there * left + (1 - there) * right
        return x + backward + (forward - backward).detach()


def shake_shake() -> nn.Module:
    """Three shaken blocks."""
    blocks = [ShakeShake(16) for _ in range(3)]
    return he_normal(nn.Sequential(*conv_bn(3, 16, 3, 2), *blocks, nn.ReLU(), *pooled_head(16)))


class Octave(nn.Module):
    """An octave convolution: channels at full and at half resolution exchange what they see."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.high, self.low = nn.Conv2d(half, width, 3, padding=1), nn.Conv2d(half, width, 3, padding=1)
        self.norm_high, self.norm_low = nn.BatchNorm2d(half), nn.BatchNorm2d(half)

    def forward(self, both: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        high, low = both
        stay, up = self.high(high).chunk(2, 1)[0], self.low(low).chunk(2, 1)[0]
        down, keep = self.high(F.avg_pool2d(high, 2)).chunk(2, 1)[1], self.low(low).chunk(2, 1)[1]
        high = self.norm_high(stay + F.interpolate(up, scale_factor=2.0))
        return F.relu(high), F.relu(self.norm_low(down + keep))


class OctaveNet(nn.Module):
    """Three octave convolutions between a stem and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.high, self.low = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(3, 8, 3, padding=1)
        self.body = nn.Sequential(Octave(16), Octave(16), Octave(16))
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        high, low = self.body((F.relu(self.high(x)), F.relu(self.low(F.avg_pool2d(x, 2)))))
        return self.head(torch.cat([high.mean((2, 3)), low.mean((2, 3))], 1))


class NonLocal(nn.Module):
    """The non-local block: every place sees every other; the last normalisation starts at zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.theta, self.phi, self.g = (nn.Conv2d(width, width // 2, 1) for _ in range(3))
        self.out = nn.Sequential(nn.Conv2d(width // 2, width, 1), nn.BatchNorm2d(width))
        nn.init.zeros_(self.out[1].weight)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        theta, phi, g = (conv(x).flatten(2) for conv in (self.theta, self.phi, self.g))
        seen = g @ (theta.transpose(1, 2) @ phi).softmax(-1).transpose(1, 2)
        return x + self.out(seen.unflatten(2, x.shape[2:]))


class Deformable(nn.Module):
    """A 3x3 convolution whose taps move by offsets that start at zero."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.offset, self.weight = nn.Conv2d(inputs, 18, 3, padding=1), nn.Conv2d(9 * inputs, outputs, 1)
        nn.init.zeros_(self.offset.weight)
        nn.init.zeros_(self.offset.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        size, _, high, wide = x.shape
        rows, columns = torch.meshgrid(torch.arange(high), torch.arange(wide), indexing="ij")
        offsets, seen = self.offset(x).unflatten(1, (9, 2)), []
        for tap in range(9):
            place_x = columns + tap % 3 - 1 + offsets[:, tap, 0]
            place_y = rows + tap // 3 - 1 + offsets[:, tap, 1]
            grid = torch.stack([2 * place_x / (wide - 1) - 1, 2 * place_y / (high - 1) - 1], -1)
            seen.append(F.grid_sample(x, grid.view(size, high, wide, 2), align_corners=True))
        return self.weight(torch.cat(seen, 1))


class CondConv(nn.Module):
    """A kernel for every sample: a mix of experts by a sigmoid routing."""

    def __init__(self, inputs: int, outputs: int, experts: int = 4) -> None:
        super().__init__()
        self.route = nn.Linear(inputs, experts)
        self.kernels = nn.Parameter(torch.empty(experts, outputs, inputs, 3, 3))
        for kernel in self.kernels:
            nn.init.kaiming_uniform_(kernel, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        route = self.route(x.mean((2, 3))).sigmoid()
        kernel = torch.einsum("be,eoikl->boikl", route, self.kernels)
        out = F.conv2d(x.flatten(0, 1)[None], kernel.flatten(0, 1), padding=1, groups=len(x))
        return out.view(len(x), -1, *x.shape[2:])


def condconv() -> nn.Module:
    """Three conditional convolutions with batch normalisation."""
    blocks = [Residual(CondConv(16, 16), nn.BatchNorm2d(16), nn.ReLU()) for _ in range(3)]
    return nn.Sequential(*conv_bn(3, 16, 3, 2), nn.ReLU(), *blocks, *pooled_head(16))


def deformable() -> nn.Module:
    """A small net whose last two convolutions are deformable."""
    last = [Deformable(16, 16), nn.BatchNorm2d(16), nn.ReLU(), Deformable(16, 16), nn.BatchNorm2d(16), nn.ReLU()]
    return nn.Sequential(*conv_bn(3, 16, 3, 2), nn.ReLU(), *last, *pooled_head(16))


def non_local() -> nn.Module:
    """Residual blocks with a non-local block between them."""
    blocks = [Residual(*conv_bn(16, 16), nn.ReLU(), *conv_bn(16, 16)) for _ in range(2)]
    return nn.Sequential(*conv_bn(3, 16, 3, 2), nn.ReLU(), blocks[0], NonLocal(16), blocks[1], *pooled_head(16))


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of an image."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class Recursive(nn.Module):
    """HorNet's recursive gated convolution of order three."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.sizes = [width // 4, width // 2, width]
        total = sum(self.sizes)
        self.inward, self.outward = nn.Conv2d(width, 2 * width, 1), nn.Conv2d(width, width, 1)
        self.depthwise = nn.Conv2d(total, total, 7, padding=3, groups=total)
        self.widen = nn.ModuleList(nn.Conv2d(n, 2 * n, 1) for n in self.sizes[:-1])

    def forward(self, x: Tensor) -> Tensor:
        gate, rest = self.inward(x).split([self.sizes[0], sum(self.sizes)], 1)
        parts = (self.depthwise(rest) / 3).split(self.sizes, 1)
        out = gate * parts[0]
        for widen, part in zip(self.widen, parts[1:], strict=True):
            out = widen(out) * part
        return self.outward(out)


class Scaled(nn.Module):
    """A residual branch times a small learnt factor per channel."""

    def __init__(self, width: int, start: float, *branch: nn.Module) -> None:
        super().__init__()
        self.branch, self.gamma = nn.Sequential(*branch), nn.Parameter(torch.full((width, 1, 1), start))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gamma * self.branch(x)


def hornet() -> nn.Module:
    """Two HorNet blocks, truncated normal weights and layer scale 1e-6, as in its code."""
    blocks: list[nn.Module] = []
    for _ in range(2):
        blocks += [Scaled(16, 1e-6, ChannelNorm(16), Recursive(16))]
        blocks += [Scaled(16, 1e-6, ChannelNorm(16), nn.Conv2d(16, 64, 1), nn.GELU(), nn.Conv2d(64, 16, 1))]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(16), nn.Linear(16, 4)]
    model = nn.Sequential(nn.Conv2d(3, 16, 4, 4), ChannelNorm(16), *blocks, *head)
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.trunc_normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    return model


class LargeKernel(nn.Module):
    """VAN's attention: the input times a large kernel, decomposed in three."""

    def __init__(self, width: int) -> None:
        super().__init__()
        near = nn.Conv2d(width, width, 5, padding=2, groups=width)
        far = nn.Conv2d(width, width, 7, padding=9, dilation=3, groups=width)
        self.see = nn.Sequential(near, far, nn.Conv2d(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.see(x)


def visual_attention_network() -> nn.Module:
    """Two VAN blocks: normal weights by fan out, layer scale 0.01."""
    blocks: list[nn.Module] = []
    for _ in range(2):
        attention = Residual(nn.Conv2d(16, 16, 1), nn.GELU(), LargeKernel(16), nn.Conv2d(16, 16, 1))
        depthwise = nn.Conv2d(64, 64, 3, padding=1, groups=64)
        feed = [nn.Conv2d(16, 64, 1), depthwise, nn.GELU(), nn.Conv2d(64, 16, 1)]
        blocks += [Scaled(16, 0.01, nn.BatchNorm2d(16), attention), Scaled(16, 0.01, nn.BatchNorm2d(16), *feed)]
    model = nn.Sequential(nn.Conv2d(3, 16, 7, 4, 3), nn.BatchNorm2d(16), *blocks, ChannelNorm(16), *pooled_head(16))
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            fan = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
            nn.init.normal_(module.weight, std=(2 / fan) ** 0.5)
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    return model


class Lambda(nn.Module):
    """A lambda layer: content and places become one small linear function, which the queries apply."""

    def __init__(self, width: int, heads: int = 4, keys: int = 8) -> None:
        super().__init__()
        self.heads, value = heads, width // heads
        self.query = nn.Sequential(*conv_bn(width, heads * keys, 1))
        self.key = nn.Conv2d(width, keys, 1, bias=False)
        self.value = nn.Sequential(*conv_bn(width, value, 1))
        self.place = nn.Conv3d(1, keys, (1, 5, 5), padding=(0, 2, 2))

    def forward(self, x: Tensor) -> Tensor:
        query = self.query(x).flatten(2).unflatten(1, (self.heads, -1))
        value = self.value(x)
        content = torch.einsum("bkn,bvn->bkv", self.key(x).flatten(2).softmax(-1), value.flatten(2))
        places = self.place(value[:, None]).flatten(3)
        out = torch.einsum("bhkn,bkv->bhvn", query, content) + torch.einsum("bhkn,bkvn->bhvn", query, places)
        return out.flatten(1, 2).view_as(x)


def lambda_network() -> nn.Module:
    """Bottlenecks with a lambda layer in the middle."""
    blocks = [Residual(*conv_bn(16, 16, 1), nn.ReLU(), Lambda(16), *conv_bn(16, 16, 1)) for _ in range(2)]
    return nn.Sequential(*conv_bn(3, 16, 3, 2), nn.ReLU(), *blocks, nn.ReLU(), *pooled_head(16))


class Standardised(nn.Conv2d):
    """A convolution whose every filter has mean zero and variance one."""

    def forward(self, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(self.weight, (1, 2, 3), keepdim=True, unbiased=False)
        weight = (self.weight - mean) / (variance + 1e-10).sqrt()
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)


def big_transfer() -> nn.Module:
    """BiT: standardised convolutions, group normalisation before them, a head that starts at zero."""
    blocks: list[nn.Module] = []
    for _ in range(3):
        first = [nn.GroupNorm(4, 16), nn.ReLU(), Standardised(16, 16, 3, padding=1, bias=False)]
        second = [nn.GroupNorm(4, 16), nn.ReLU(), Standardised(16, 16, 3, padding=1, bias=False)]
        blocks.append(Residual(*first, *second))
    model = nn.Sequential(Standardised(3, 16, 3, 2, 1, bias=False), *blocks, nn.GroupNorm(4, 16), nn.ReLU())
    head = pooled_head(16)
    nn.init.zeros_(head[-1].weight)  # type: ignore[arg-type]
    nn.init.zeros_(head[-1].bias)  # type: ignore[arg-type]
    return nn.Sequential(model, *head)


class Quarter(nn.Module):
    """A convolution over the plane and its four quarter turns (p4)."""

    def __init__(self, inputs: int, outputs: int, turns: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, turns, 3, 3))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        self.bias = nn.Parameter(torch.zeros(outputs, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        turned = [torch.rot90(self.weight, turn, (3, 4)).roll(turn, 2) for turn in range(4)]
        kernel = torch.stack(turned, 1).flatten(0, 1).flatten(1, 2)
        out = F.conv2d(x.flatten(1, 2), kernel, padding=1)
        return F.relu(out.unflatten(1, (-1, 4)) + self.bias)  # type: ignore[no-untyped-call]


class GroupEquivariant(nn.Module):
    """Three p4 convolutions; the answer does not change when the image turns."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(Quarter(3, 12, 1), Quarter(12, 12, 4), Quarter(12, 12, 4))
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(F.avg_pool2d(x, 2)[:, :, None]).amax(2).mean((2, 3)))


class FilterResponse(nn.Module):
    """Filter response normalisation and its thresholded linear unit."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.ones(width, 1, 1)), nn.Parameter(torch.zeros(width, 1, 1))
        self.threshold = nn.Parameter(torch.zeros(width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = x * (x.square().mean((2, 3), keepdim=True) + 1e-6).rsqrt()
        return torch.maximum(self.scale * x + self.shift, self.threshold)


def filter_response() -> nn.Module:
    """A residual net with filter response normalisation."""
    stem = [nn.Conv2d(3, 16, 3, 2, 1), FilterResponse(16)]
    blocks = [Residual(nn.Conv2d(16, 16, 3, padding=1, bias=False), FilterResponse(16)) for _ in range(4)]
    return nn.Sequential(*stem, *blocks, *pooled_head(16))


def blobs(seed: int, size: int) -> Batch:
    """Noisy images with one bright disc, its mask, and its centre and radius as shares of the side."""
    g = generator(seed)
    centre, radius = 0.3 + 0.4 * torch.rand(size, 2, generator=g), 0.12 + 0.12 * torch.rand(size, generator=g)
    rows, columns = torch.meshgrid(torch.linspace(0, 1, 16), torch.linspace(0, 1, 16), indexing="ij")
    gap = (rows - centre[:, 1, None, None]).square() + (columns - centre[:, 0, None, None]).square()
    mask = (gap.sqrt() < radius[:, None, None]).long()
    image = 0.3 * torch.randn(size, 3, 16, 16, generator=g) + mask[:, None]
    return image, mask, torch.cat([centre, radius[:, None]], 1)


def discs(seed: int, size: int) -> Batch:
    """The images and the masks."""
    return blobs(seed, size)[:2]


def centres(seed: int, size: int) -> Batch:
    """The images and the centres."""
    image, _, place = blobs(seed, size)
    return image, place[:, :2]


class CoordConv(nn.Module):
    """Two more channels say where a pixel is; the net answers with a place."""

    def __init__(self) -> None:
        super().__init__()
        down = [nn.Conv2d(5, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU()]
        self.net = nn.Sequential(*down, nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.AdaptiveMaxPool2d(1))
        self.head = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        grid = torch.stack(torch.meshgrid(*(torch.linspace(-1, 1, n) for n in x.shape[2:]), indexing="ij"))
        return self.head(self.net(torch.cat([x, grid.expand(len(x), -1, -1, -1)], 1)).flatten(1))


class SegNet(nn.Module):
    """An encoder whose pooling remembers the places of its maxima for the decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.down1 = nn.Sequential(*conv_bn(3, 12), nn.ReLU())
        self.down2 = nn.Sequential(*conv_bn(12, 24), nn.ReLU())
        self.up2 = nn.Sequential(*conv_bn(24, 12), nn.ReLU())
        self.up1 = nn.Sequential(*conv_bn(12, 12), nn.ReLU(), nn.Conv2d(12, 2, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        x, first = F.max_pool2d(self.down1(x), 2, return_indices=True)
        x, second = F.max_pool2d(self.down2(x), 2, return_indices=True)
        x = self.up2(F.max_unpool2d(x, second, 2))  # type: ignore[arg-type]
        return self.up1(F.max_unpool2d(x, first, 2))  # type: ignore[arg-type]


class PyramidPooling(nn.Module):
    """PSPNet: means over four grids join the features; an auxiliary classifier weighs 0.4."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*conv_bn(3, 16), nn.ReLU(), *conv_bn(16, 16, 3, 2), nn.ReLU())
        self.deep = nn.Sequential(*conv_bn(16, 16), nn.ReLU())
        levels = ([nn.AdaptiveAvgPool2d(n), *conv_bn(16, 4, 1), nn.ReLU()] for n in (1, 2, 3, 6))
        self.levels = nn.ModuleList(nn.Sequential(*level) for level in levels)
        self.head = nn.Sequential(*conv_bn(32, 16), nn.ReLU(), nn.Dropout(0.1), nn.Conv2d(16, 2, 1))
        self.aux = nn.Sequential(*conv_bn(16, 16), nn.ReLU(), nn.Dropout(0.1), nn.Conv2d(16, 2, 1))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        early = self.stem(x)
        deep = self.deep(early)
        means = [F.interpolate(level(deep), deep.shape[2:], mode="bilinear") for level in self.levels]
        answers = self.head(torch.cat([deep, *means], 1)), self.aux(early)
        main, aux = (F.cross_entropy(F.interpolate(a, x.shape[2:], mode="bilinear"), mask) for a in answers)
        return main + 0.4 * aux


class VNet(nn.Module):
    """A small V-Net: volumes, PReLU, residual stages, strided convolutions and the Dice loss."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.stem, self.act = nn.Conv3d(1, width, 5, padding=2), nn.PReLU(width)
        self.down = nn.Sequential(nn.Conv3d(width, 2 * width, 2, 2), nn.PReLU(2 * width))
        self.deep = Residual(nn.Conv3d(2 * width, 2 * width, 3, padding=1), nn.PReLU(2 * width))
        self.up = nn.Sequential(nn.ConvTranspose3d(2 * width, width, 2, 2), nn.PReLU(width))
        self.last = nn.Sequential(nn.Conv3d(2 * width, width, 3, padding=1), nn.PReLU(width))
        self.head = nn.Conv3d(width, 1, 1)

    def forward(self, x: Tensor, truth: Tensor) -> Tensor:
        first = self.act(self.stem(x) + x)
        up = self.up(self.deep(self.down(first)))
        chance = self.head(self.last(torch.cat([up, first], 1)) + up).sigmoid().flatten(1)
        truth = truth.flatten(1)
        both = 2 * (chance * truth).sum(1)
        return (1 - both / (chance.square().sum(1) + truth.square().sum(1) + 1e-5)).mean()


def volumes(seed: int, size: int) -> Batch:
    """Noisy volumes of twelve voxels a side with a bright box in them."""
    g = generator(seed)
    low = torch.randint(0, 6, (size, 3), generator=g)
    place = torch.arange(12)
    along = [((place >= low[:, i, None]) & (place < low[:, i, None] + 5)).float() for i in range(3)]
    truth = torch.einsum("bi,bj,bk->bijk", *along)[:, None]
    return truth + 0.3 * torch.randn(size, 1, 12, 12, 12, generator=g), truth


class HolisticEdges(nn.Module):
    """HED: a side answer after every stage and a fusion that starts as their mean, class-balanced cross entropy."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 8, 16, 24)
        pairs = itertools.pairwise(widths)
        stages = (
            [nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.Conv2d(b, b, 3, padding=1), nn.ReLU()] for a, b in pairs
        )
        self.stages = nn.ModuleList(nn.Sequential(*stage) for stage in stages)
        self.sides = nn.ModuleList(nn.Conv2d(width, 1, 1) for width in widths[1:])
        self.fuse = nn.Conv2d(3, 1, 1)
        for side in self.sides:
            nn.init.normal_(side.weight, std=0.01)  # type: ignore[arg-type]
            nn.init.zeros_(side.bias)  # type: ignore[arg-type]
        nn.init.constant_(self.fuse.weight, 1 / 3)
        nn.init.zeros_(self.fuse.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        whole, answers = x.shape[2:], []
        for i, (stage, side) in enumerate(zip(self.stages, self.sides, strict=True)):
            x = stage(x if i == 0 else F.max_pool2d(x, 2))
            answers.append(F.interpolate(side(x), whole, mode="bilinear"))
        answers.append(self.fuse(torch.cat(answers, 1)))
        truth = (F.max_pool2d(mask[:, None].float(), 3, 1, 1) - mask[:, None]).clamp(0, 1)
        weight = torch.where(truth > 0, 1 - truth.mean(), truth.mean())
        return torch.stack([F.binary_cross_entropy_with_logits(a, truth, weight) for a in answers]).sum()


class SingleShot(nn.Module):
    """SSD: two maps of default boxes, a scaled L2 norm, smooth L1 and cross entropy with hard negatives 3:1."""

    defaults: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.early = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, 1, 1), nn.ReLU())
        self.late = nn.Sequential(nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU())
        self.scale = nn.Parameter(torch.full((16, 1, 1), 20.0))
        self.boxes = nn.ModuleList(nn.Conv2d(width, 4, 3, padding=1) for width in (16, 32))
        self.kinds = nn.ModuleList(nn.Conv2d(width, 2, 3, padding=1) for width in (16, 32))
        for head in (*self.boxes, *self.kinds):
            nn.init.xavier_uniform_(head.weight)
            nn.init.zeros_(head.bias)
        self.register_buffer("defaults", torch.cat([self.grid(8, 0.25), self.grid(4, 0.45)]))

    @staticmethod
    def grid(cells: int, side: float) -> Tensor:
        """One square box in the middle of every cell: centre and sides."""
        at = (torch.arange(cells) + 0.5) / cells
        rows, columns = torch.meshgrid(at, at, indexing="ij")
        return torch.stack([columns.flatten(), rows.flatten(), *2 * [torch.full((cells**2,), side)]], 1)

    def matched(self, box: Tensor) -> Tensor:
        """Which default boxes overlap with the true one by half, or most of all."""
        low, high = self.defaults[:, :2] - self.defaults[:, 2:] / 2, self.defaults[:, :2] + self.defaults[:, 2:] / 2
        true_low, true_high = (box[:, None, :2] - box[:, None, 2:] / 2), (box[:, None, :2] + box[:, None, 2:] / 2)
        both = (torch.minimum(high, true_high) - torch.maximum(low, true_low)).clamp(min=0).prod(-1)
        overlap = both / (self.defaults[:, 2:].prod(-1) + box[:, None, 2:].prod(-1) - both)
        return (overlap > 0.5) | (overlap == overlap.amax(1, keepdim=True))

    def forward(self, x: Tensor, _: Tensor, place: Tensor) -> Tensor:
        early = self.early(x)
        maps = self.scale * F.normalize(early, dim=1), self.late(early)
        boxes = torch.cat([h(m).flatten(2).transpose(1, 2) for h, m in zip(self.boxes, maps, strict=True)], 1)
        kinds = torch.cat([h(m).flatten(2).transpose(1, 2) for h, m in zip(self.kinds, maps, strict=True)], 1)
        box = torch.cat([place[:, :2], 2 * place[:, 2:], 2 * place[:, 2:]], 1)
        match = self.matched(box)
        shift = (box[:, None, :2] - self.defaults[:, :2]) / self.defaults[:, 2:] / 0.1
        target = torch.cat([shift, (box[:, None, 2:] / self.defaults[:, 2:]).log() / 0.2], -1)
        cost = F.cross_entropy(kinds.transpose(1, 2), match.long(), reduction="none")
        rank = cost.detach().masked_fill(match, 0).argsort(1, descending=True).argsort(1)
        kept = match | (rank < 3 * match.sum(1, keepdim=True))
        return (F.smooth_l1_loss(boxes[match], target[match], reduction="sum") + cost[kept].sum()) / match.sum()


class MonoDepth(nn.Module):
    """Depth without labels: the disparity warps one view into the other; SSIM, L1 and smoothness."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.down1 = nn.Sequential(nn.Conv2d(3, width, 5, 2, 2), nn.ELU())
        self.down2 = nn.Sequential(nn.Conv2d(width, 2 * width, 3, 2, 1), nn.ELU())
        self.up2 = nn.Sequential(nn.Conv2d(2 * width, width, 3, padding=1), nn.ELU())
        self.up1 = nn.Sequential(nn.Conv2d(2 * width, width, 3, padding=1), nn.ELU())
        self.disparity = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        first = self.down1(left)
        up = self.up2(F.interpolate(self.down2(first), scale_factor=2.0))
        up = self.up1(torch.cat([up, first], 1))
        shift = 0.3 * self.disparity(F.interpolate(up, scale_factor=2.0)).sigmoid()
        grid = F.affine_grid(torch.eye(2, 3).expand(len(left), -1, -1), list(left.shape), align_corners=True)
        moved = torch.stack([grid[..., 0] - 2 * shift[:, 0], grid[..., 1]], -1)
        seen = F.grid_sample(right, moved, padding_mode="border", align_corners=True)
        rough = ((shift.diff(dim=3).abs()) * (-left.diff(dim=3).abs().mean(1, keepdim=True)).exp()).mean()
        return 0.85 * dissimilarity(seen, left) + 0.15 * (seen - left).abs().mean() + 0.1 * rough


def dissimilarity(one: Tensor, two: Tensor) -> Tensor:
    """Half of one minus SSIM over windows of three pixels."""
    mean1, mean2 = F.avg_pool2d(one, 3, 1), F.avg_pool2d(two, 3, 1)
    spread1 = F.avg_pool2d(one.square(), 3, 1) - mean1.square()
    spread2 = F.avg_pool2d(two.square(), 3, 1) - mean2.square()
    shared = F.avg_pool2d(one * two, 3, 1) - mean1 * mean2
    above = (2 * mean1 * mean2 + 1e-4) * (2 * shared + 9e-4)
    below = (mean1.square() + mean2.square() + 1e-4) * (spread1 + spread2 + 9e-4)
    return ((1 - above / below) / 2).clamp(0, 1).mean()


def stereo(seed: int, size: int) -> Batch:
    """Two views of smooth pictures in [0, 1], of which one is shifted by two pixels."""
    wide = torch.rand(size, 3, 6, 6, generator=generator(seed))
    wide = F.interpolate(wide, (16, 18), mode="bilinear")
    return wide[..., :16], wide[..., 2:]


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


def cases() -> list[Case]:
    """All cases of this module."""
    seen = pictures(side=16)
    nets: dict[str, Build] = {
        "keras_cifar": keras_cifar, "fractalnet": fractalnet, "dual_path": dual_path, "shake_shake": shake_shake,
        "octave": OctaveNet, "non_local": non_local, "deformable": deformable, "condconv": condconv, "hornet": hornet,
        "visual_attention_network": visual_attention_network, "lambda_network": lambda_network,
        "big_transfer": big_transfer, "group_equivariant": GroupEquivariant, "filter_response": filter_response,
    }  # fmt: skip
    others: dict[str, tuple[Build, Maker, Step]] = {
        "mnist_example": (MnistExample, pictures(1, 16), supervised(F.nll_loss)),
        "coordconv": (CoordConv, centres, supervised(F.mse_loss)),
        "segnet": (SegNet, discs, classify),
        "pspnet": (PyramidPooling, discs, own_loss),
        "vnet": (VNet, volumes, own_loss),
        "hed": (HolisticEdges, discs, own_loss),
        "ssd": (SingleShot, blobs, own_loss),
        "monodepth": (MonoDepth, stereo, own_loss),
        "style_transfer": (StyleTransfer, seen, own_loss),
    }
    models = {**{name: (build, seen, classify) for name, build in nets.items()}, **others}
    return later_cases(3, "vision", models)
