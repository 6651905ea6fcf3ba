"""Blocks that go beyond the plain convolution: cheap, gated, deformable, multi-scale."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Build, Case
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import blobs, pictures
from benchmarks.detection.vocabulary.blocks import Add, Make, Residual, conv_bn, pooled_head
from benchmarks.detection.vocabulary.initialisation import he
from benchmarks.detection.vocabulary.losses import supervised


class Ghost(nn.Module):
    """GhostNet: half of the channels by a convolution, half by cheap depthwise ones from those."""

    def __init__(self, inputs: int, outputs: int, act: Make | None = nn.ReLU) -> None:
        super().__init__()
        self.primary = conv_bn(inputs, outputs // 2, 1, act=act)
        self.cheap = conv_bn(outputs // 2, outputs // 2, groups=outputs // 2, act=act)

    def forward(self, x: Tensor) -> Tensor:
        first = self.primary(x)
        return torch.cat([first, self.cheap(first)], 1)


def ghostnet() -> nn.Module:
    """Ghost bottlenecks."""
    blocks = [Residual(Ghost(16, 32), Ghost(32, 16, act=None)) for _ in range(3)]
    return he(nn.Sequential(conv_bn(3, 16, stride=2), *blocks, *pooled_head(16)))


class Scales(nn.Module):
    """Res2Net: groups of channels, each convolved after the one before it was added."""

    def __init__(self, width: int, scales: int = 4) -> None:
        super().__init__()
        self.scales = scales
        self.convs = nn.ModuleList(conv_bn(width // scales, width // scales) for _ in range(scales - 1))

    def forward(self, x: Tensor) -> Tensor:
        parts = list(x.chunk(self.scales, 1))
        done, last = [parts[0]], torch.zeros_like(parts[0])
        for part, conv in zip(parts[1:], self.convs, strict=True):
            last = conv(part + last)
            done.append(last)
        return torch.cat(done, 1)


def res2net() -> nn.Module:
    """Bottlenecks with several scales inside."""
    blocks = [Add(conv_bn(16, 16, 1), Scales(16), conv_bn(16, 16, 1, act=None)) for _ in range(3)]
    return he(nn.Sequential(conv_bn(3, 16, stride=2), *blocks, *pooled_head(16)))


def attentive(attention: Build) -> Build:
    """A small residual net with an attention at the end of every branch."""

    def build() -> nn.Module:
        blocks = [Add(conv_bn(16, 16), conv_bn(16, 16, act=None), attention()) for _ in range(3)]
        return he(nn.Sequential(conv_bn(3, 16, stride=2), *blocks, *pooled_head(16)))

    return build


class Cbam(nn.Module):
    """Attention over channels (mean and maximum through one perceptron), then over places."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.squeeze = nn.Sequential(nn.Linear(width, width // 4), nn.ReLU(), nn.Linear(width // 4, width))
        self.place = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        channel = self.squeeze(x.mean((2, 3))) + self.squeeze(x.amax((2, 3)))
        x = x * channel.sigmoid()[:, :, None, None]
        return x * self.place(torch.stack([x.amax(1), x.mean(1)], 1)).sigmoid()


class Eca(nn.Module):
    """Efficient channel attention: a convolution along the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.conv(x.mean((2, 3))[:, None])[:, 0, :, None, None].sigmoid()


class SelectiveKernel(nn.Module):
    """SKNet: two receptive fields, mixed by a softmax that sees both."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.near, self.far = conv_bn(width, width), conv_bn(width, width, 5)
        self.squeeze = nn.Sequential(nn.Linear(width, 8), nn.ReLU(), nn.Linear(8, 2 * width))

    def forward(self, x: Tensor) -> Tensor:
        both = torch.stack([self.near(x), self.far(x)], 1)
        weight = self.squeeze(both.sum(1).mean((2, 3))).unflatten(1, (2, -1)).softmax(1)
        return (both * weight[..., None, None]).sum(1)


def xception() -> nn.Module:
    """Separable convolutions with the activation in front, and residuals around two of them."""

    def separable(width: int) -> list[nn.Module]:
        depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        return [nn.ReLU(), depthwise, nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width)]

    blocks = [Residual(*separable(16), *separable(16)) for _ in range(3)]
    return nn.Sequential(conv_bn(3, 16, stride=2), *blocks, nn.ReLU(), *pooled_head(16))


class Involution(nn.Module):
    """A kernel for every place, made by two 1x1 convolutions."""

    def __init__(self, width: int, size: int = 3, groups: int = 4) -> None:
        super().__init__()
        self.reduce = conv_bn(width, width // 4, 1)
        self.span, self.size, self.groups = nn.Conv2d(width // 4, size * size * groups, 1), size, groups

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.span(self.reduce(x)).unflatten(1, (self.groups, 1, -1))
        patches = F.unfold(x, self.size, padding=self.size // 2).unflatten(1, (self.groups, -1, self.size**2))  # type: ignore[no-untyped-call]
        return (kernel * patches.unflatten(-1, x.shape[2:])).sum(3).flatten(1, 2)


def involution() -> nn.Module:
    """RedNet: a residual net whose 3x3 convolutions are involutions."""
    blocks = [Add(conv_bn(16, 16, 1), Involution(16), conv_bn(16, 16, 1, act=None)) for _ in range(3)]
    return nn.Sequential(conv_bn(3, 16, stride=2), *blocks, *pooled_head(16))


class StochasticDepth(nn.Module):
    """A residual branch that is left out now and then, the whole batch at once."""

    def __init__(self, keep: float) -> None:
        super().__init__()
        self.keep, self.branch = keep, nn.Sequential(conv_bn(16, 16), conv_bn(16, 16, act=None))

    def forward(self, x: Tensor) -> Tensor:
        if self.training and torch.rand(()) > self.keep:
            return F.relu(x)
        return F.relu(x + self.branch(x))


def stochastic_depth() -> nn.Module:
    """A residual net with linearly decaying survival."""
    blocks = [StochasticDepth(1 - 0.2 * (i + 1) / 4) for i in range(4)]
    return he(nn.Sequential(conv_bn(3, 16, stride=2), *blocks, *pooled_head(16)))


class Maxout(nn.Module):
    """The greatest of several linear maps."""

    def __init__(self, inputs: int, outputs: int, pieces: int = 3) -> None:
        super().__init__()
        self.conv, self.pieces = nn.Conv2d(inputs, outputs * pieces, 3, padding=1), pieces

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).unflatten(1, (-1, self.pieces)).amax(2)


def maxout() -> nn.Module:
    """A maxout network with dropout."""
    body = [Maxout(3, 12), nn.MaxPool2d(2), nn.Dropout(0.2), Maxout(12, 12), nn.MaxPool2d(2), nn.Dropout(0.2)]
    return nn.Sequential(*body, *pooled_head(12))


class SpatialTransformer(nn.Module):
    """A localisation net whose last layer starts as the identity: weights zero, bias one on the diagonal."""

    def __init__(self) -> None:
        super().__init__()
        self.locate = nn.Sequential(
            nn.Conv2d(3, 8, 5, 2, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 16, 32), nn.ReLU(),
            nn.Linear(32, 6),
        )  # fmt: skip
        nn.init.zeros_(self.locate[-1].weight)  # type: ignore[arg-type]
        self.locate[-1].bias.data.copy_(torch.tensor([1.0, 0, 0, 0, 1, 0]))  # type: ignore[operator]
        self.body = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        self.head = nn.Sequential(nn.Linear(16 * 64, 32), nn.ReLU(), nn.Linear(32, 4))

    def forward(self, x: Tensor) -> Tensor:
        grid = F.affine_grid(self.locate(x).view(-1, 2, 3), list(x.shape), align_corners=False)
        return self.head(self.body(F.grid_sample(x, grid, align_corners=False)))


class Fractal(nn.Module):
    """FractalNet: one convolution beside two smaller fractals, joined by a mean from which paths are dropped."""

    def __init__(self, width: int, columns: int) -> None:
        super().__init__()
        self.short = nn.Sequential(*conv_bn(width, width, act=None), nn.ReLU())
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
    return nn.Sequential(*conv_bn(3, 16, act=None), nn.ReLU(), nn.MaxPool2d(2), *body, *pooled_head(16))


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
    stem = [*conv_bn(3, 16, 3, 2, act=None), nn.ReLU()]
    return he(nn.Sequential(*stem, *blocks, nn.BatchNorm2d(32), nn.ReLU(), *pooled_head(32)))


class ShakeShake(nn.Module):
    """Two branches, mixed at random per sample, with other random weights on the way back."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.left, self.right = self.branch(width), self.branch(width)

    @staticmethod
    def branch(width: int) -> nn.Module:
        """ReLU, convolution and normalisation, twice."""
        return nn.Sequential(nn.ReLU(), *conv_bn(width, width, act=None), nn.ReLU(), *conv_bn(width, width, act=None))

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.left(x), self.right(x)
        there, back = torch.rand(2, len(x), 1, 1, 1)
        backward = back * left + (1 - back) * right
        forward = there * left + (1 - there) * right
        return x + backward + (forward - backward).detach()


def shake_shake() -> nn.Module:
    """Three shaken blocks."""
    blocks = [ShakeShake(16) for _ in range(3)]
    return he(nn.Sequential(*conv_bn(3, 16, 3, 2, act=None), *blocks, nn.ReLU(), *pooled_head(16)))


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


def deformable() -> nn.Module:
    """A small net whose last two convolutions are deformable."""
    last = [Deformable(16, 16), nn.BatchNorm2d(16), nn.ReLU(), Deformable(16, 16), nn.BatchNorm2d(16), nn.ReLU()]
    return nn.Sequential(*conv_bn(3, 16, 3, 2, act=None), nn.ReLU(), *last, *pooled_head(16))


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
    return nn.Sequential(*conv_bn(3, 16, 3, 2, act=None), nn.ReLU(), *blocks, *pooled_head(16))


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


def centres(seed: int, size: int) -> Batch:
    """The images and the centres."""
    image, _, place = blobs(seed, size)
    return image, place[:, :2]


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
        self.reduce, self.conv = conv_bn(width, 16, 1), conv_bn(16, 32, 3, groups=2)
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
    net = nn.Sequential(conv_bn(3, 24, stride=2), *(SplitAttention(24) for _ in range(3)), *pooled_head(24))
    he(net, biases=False)
    return net


class HighResolution(nn.Module):
    """HRNet: a fine and a coarse stream exchange what they know after every stage."""

    def __init__(self, fine: int = 8, coarse: int = 16) -> None:
        super().__init__()
        self.stem, self.split = conv_bn(3, fine, stride=2), conv_bn(fine, coarse, stride=2)
        self.fine = nn.ModuleList(nn.Sequential(conv_bn(fine, fine), conv_bn(fine, fine)) for _ in range(2))
        self.coarse = nn.ModuleList(nn.Sequential(conv_bn(coarse, coarse), conv_bn(coarse, coarse)) for _ in range(2))
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


def cases() -> list[Case]:
    """The cases of this file."""
    return [
        case("second_vision_ghostnet", "second/ghostnet", ghostnet, pictures(side=16), size=16, round=2),
        case("second_vision_res2net", "second/res2net", res2net, pictures(side=16), size=16, round=2),
        case(
            "second_vision_cbam_resnet",
            "second/cbam_resnet",
            attentive(lambda: Cbam(16)),
            pictures(side=16),
            size=16,
            round=2,
        ),
        case("second_vision_eca_resnet", "second/eca_resnet", attentive(Eca), pictures(side=16), size=16, round=2),
        case(
            "second_vision_sknet",
            "second/sknet",
            attentive(lambda: SelectiveKernel(16)),
            pictures(side=16),
            size=16,
            round=2,
        ),
        case("second_vision_xception", "second/xception", xception, pictures(side=16), size=16, round=2),
        case("second_vision_involution", "second/involution", involution, pictures(side=16), size=16, round=2),
        case(
            "second_vision_stochastic_depth",
            "second/stochastic_depth",
            stochastic_depth,
            pictures(side=16),
            size=16,
            round=2,
        ),
        case("second_vision_maxout", "second/maxout", maxout, pictures(side=16), size=16, round=2),
        case(
            "second_vision_spatial_transformer",
            "second/spatial_transformer",
            SpatialTransformer,
            pictures(side=16),
            size=16,
            round=2,
        ),
        case("third_vision_fractalnet", "third/fractalnet", fractalnet, pictures(side=16), round=3),
        case("third_vision_dual_path", "third/dual_path", dual_path, pictures(side=16), round=3),
        case("third_vision_shake_shake", "third/shake_shake", shake_shake, pictures(side=16), round=3),
        case("third_vision_octave", "third/octave", OctaveNet, pictures(side=16), round=3),
        case("third_vision_deformable", "third/deformable", deformable, pictures(side=16), round=3),
        case("third_vision_condconv", "third/condconv", condconv, pictures(side=16), round=3),
        case("third_vision_big_transfer", "third/big_transfer", big_transfer, pictures(side=16), round=3),
        case("third_vision_group_equivariant", "third/group_equivariant", GroupEquivariant, pictures(side=16), round=3),
        case("third_vision_filter_response", "third/filter_response", filter_response, pictures(side=16), round=3),
        case("third_vision_coordconv", "third/coordconv", CoordConv, centres, supervised(F.mse_loss), round=3),
        case("fourth_vision_csp_darknet", "fourth/csp_darknet", darknet, pictures(side=16), round=4),
        case("fourth_vision_resnest", "fourth/resnest", resnest, pictures(side=16), round=4),
        case("fourth_vision_hrnet", "fourth/hrnet", HighResolution, pictures(side=16), round=4),
    ]
