"""Image networks that stand nowhere else, each with the initialisation of its paper or reference code."""

from __future__ import annotations

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
    only,
    pictures,
    pooled_head,
    supervised,
)


def conv_bn(inputs: int, outputs: int, size: int = 3, stride: int = 1, groups: int = 1, act: bool = True) -> nn.Module:
    """Convolution, batch normalisation and, unless told otherwise, ReLU."""
    conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), *([nn.ReLU()] if act else []))


def he_fan_out(model: nn.Module) -> nn.Module:
    """torchvision's initialisation of convolutional nets."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model


class Add(nn.Module):
    """A residual block with ReLU behind the sum."""

    def __init__(self, *branch: nn.Module) -> None:
        super().__init__()
        self.branch = nn.Sequential(*branch)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.branch(x))


class Ghost(nn.Module):
    """GhostNet: half of the channels by a convolution, half by cheap depthwise ones from those."""

    def __init__(self, inputs: int, outputs: int, act: bool = True) -> None:
        super().__init__()
        self.primary = conv_bn(inputs, outputs // 2, 1, act=act)
        self.cheap = conv_bn(outputs // 2, outputs // 2, groups=outputs // 2, act=act)

    def forward(self, x: Tensor) -> Tensor:
        first = self.primary(x)
        return torch.cat([first, self.cheap(first)], 1)


def ghostnet() -> nn.Module:
    """Ghost bottlenecks."""
    blocks = [Residual(Ghost(16, 32), Ghost(32, 16, act=False)) for _ in range(3)]
    return he_fan_out(nn.Sequential(conv_bn(3, 16, stride=2), *blocks, *pooled_head(16)))


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
    blocks = [Add(conv_bn(16, 16, 1), Scales(16), conv_bn(16, 16, 1, act=False)) for _ in range(3)]
    return he_fan_out(nn.Sequential(conv_bn(3, 16, stride=2), *blocks, *pooled_head(16)))


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


def attentive(attention: Build) -> Build:
    """A small residual net with an attention at the end of every branch."""

    def build() -> nn.Module:
        blocks = [Add(conv_bn(16, 16), conv_bn(16, 16, act=False), attention()) for _ in range(3)]
        return he_fan_out(nn.Sequential(conv_bn(3, 16, stride=2), *blocks, *pooled_head(16)))

    return build


def xception() -> nn.Module:
    """Separable convolutions with the activation in front, and residuals around two of them."""

    def separable(width: int) -> list[nn.Module]:
        depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        return [nn.ReLU(), depthwise, nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width)]

    blocks = [Residual(*separable(16), *separable(16)) for _ in range(3)]
    return nn.Sequential(conv_bn(3, 16, stride=2), *blocks, nn.ReLU(), *pooled_head(16))


class RelativeAttention(nn.Module):
    """CoAtNet's attention over places, with a learnt bias for every offset that starts at zero."""

    def __init__(self, width: int, side: int, heads: int = 2) -> None:
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.heads, self.offsets = heads, nn.Parameter(torch.zeros(heads, (2 * side - 1) ** 2))
        place = torch.stack(torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")).flatten(1)
        offset = place[:, :, None] - place[:, None] + side - 1
        self.register_buffer("index", offset[0] * (2 * side - 1) + offset[1])

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(x.flatten(2).transpose(1, 2))
        query, key, value = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5 + self.offsets[:, self.index]  # type: ignore[index]
        out = self.out((scores.softmax(-1) @ value).transpose(1, 2).flatten(2))
        return x + out.transpose(1, 2).view_as(x)


def coatnet() -> nn.Module:
    """Inverted bottlenecks first, relative attention afterwards."""
    inverted = [nn.BatchNorm2d(16), conv_bn(16, 64, 1), conv_bn(64, 64, groups=64), nn.Conv2d(64, 16, 1)]
    feed = [nn.GroupNorm(1, 16), nn.Conv2d(16, 64, 1), nn.GELU(), nn.Conv2d(64, 16, 1)]
    down = nn.Conv2d(16, 16, 2, 2)
    tail = [RelativeAttention(16, 4), Residual(*feed), nn.GroupNorm(1, 16), *pooled_head(16)]
    return nn.Sequential(conv_bn(3, 16, stride=2), Residual(*inverted), down, *tail)


class CrossCovariance(nn.Module):
    """XCiT: attention between channels, queries and keys normalised, LayerScale 1."""

    def __init__(self, width: int, heads: int = 2) -> None:
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.heads, self.temperature = heads, nn.Parameter(torch.ones(heads, 1, 1))
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(self.norm(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 4, 1)
        scores = F.normalize(query, dim=-1) @ F.normalize(key, dim=-1).transpose(-1, -2) * self.temperature
        return x + self.gamma * self.out((scores.softmax(-1) @ value).flatten(1, 2).transpose(1, 2))


class Xcit(nn.Module):
    """Patches, cross-covariance attention, a local convolution, a feed-forward."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, 4, 4)
        self.attention = nn.ModuleList(CrossCovariance(width) for _ in range(2))
        self.local = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1, groups=width) for _ in range(2))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x)
        for attention, local in zip(self.attention, self.local, strict=True):
            x = attention(x.flatten(2).transpose(1, 2)).transpose(1, 2).view_as(x)
            x = x + F.gelu(local(x))
        return self.head(x.mean((2, 3)))


class MobileVit(nn.Module):
    """A transformer over the same place of all patches, between convolutions, fused with what came in."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem, self.local = conv_bn(3, width, stride=2), conv_bn(width, width)
        layer = nn.TransformerEncoderLayer(width, 2, 2 * width, 0.0, F.silu, batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.project, self.fuse = conv_bn(width, width, 1), conv_bn(2 * width, width)
        self.head = nn.Sequential(*pooled_head(width))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        local = self.local(x)
        size, channels, side, _ = local.shape
        patches = local.view(size, channels, side // 2, 2, side // 2, 2).permute(0, 3, 5, 2, 4, 1)
        mixed = self.body(patches.reshape(size * 4, -1, channels)).view(size, 2, 2, side // 2, side // 2, channels)
        back = mixed.permute(0, 5, 3, 1, 4, 2).reshape(size, channels, side, side)
        return self.head(self.fuse(torch.cat([x, self.project(back)], 1)))


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
    blocks = [Add(conv_bn(16, 16, 1), Involution(16), conv_bn(16, 16, 1, act=False)) for _ in range(3)]
    return nn.Sequential(conv_bn(3, 16, stride=2), *blocks, *pooled_head(16))


class StochasticDepth(nn.Module):
    """A residual branch that is left out now and then, the whole batch at once."""

    def __init__(self, keep: float) -> None:
        super().__init__()
        self.keep, self.branch = keep, nn.Sequential(conv_bn(16, 16), conv_bn(16, 16, act=False))

    def forward(self, x: Tensor) -> Tensor:
        if self.training and torch.rand(()) > self.keep:
            return F.relu(x)
        return F.relu(x + self.branch(x))


def stochastic_depth() -> nn.Module:
    """A residual net with linearly decaying survival."""
    blocks = [StochasticDepth(1 - 0.2 * (i + 1) / 4) for i in range(4)]
    return he_fan_out(nn.Sequential(conv_bn(3, 16, stride=2), *blocks, *pooled_head(16)))


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


class NestedUNet(nn.Module):
    """UNet++: the skips themselves are decoded, densely."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.x00, self.x10, self.x20 = conv_bn(3, width), conv_bn(width, width), conv_bn(width, width)
        self.x01, self.x11 = conv_bn(2 * width, width), conv_bn(2 * width, width)
        self.x02, self.head = conv_bn(3 * width, width), nn.Conv2d(width, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        def up(low: Tensor) -> Tensor:
            return F.interpolate(low, scale_factor=2.0, mode="bilinear")

        x00 = self.x00(x)
        x10 = self.x10(F.max_pool2d(x00, 2))
        x20 = self.x20(F.max_pool2d(x10, 2))
        x01 = self.x01(torch.cat([x00, up(x10)], 1))
        x11 = self.x11(torch.cat([x10, up(x20)], 1))
        return self.head(self.x02(torch.cat([x00, x01, up(x11)], 1)))


class Aspp(nn.Module):
    """DeepLab: dilated convolutions side by side and the mean of the image, bilinear to full size."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_bn(3, width, stride=2), conv_bn(width, width))
        self.rates = nn.ModuleList(nn.Conv2d(width, width, 3, padding=r, dilation=r) for r in (1, 2, 4))
        self.image, self.fuse = nn.Conv2d(width, width, 1), conv_bn(4 * width, width, 1)
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        low = self.stem(x)
        image = F.relu(self.image(low.mean((2, 3), keepdim=True))).expand_as(low)
        fused = self.fuse(torch.cat([image, *(F.relu(conv(low)) for conv in self.rates)], 1))
        return F.interpolate(self.head(fused), scale_factor=2.0, mode="bilinear")


class Hourglass(nn.Module):
    """A stacked hourglass: two nets with heat maps in between, all of them supervised."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem = conv_bn(3, width)
        self.down = nn.ModuleList(Add(conv_bn(width, width, act=False)) for _ in range(2))
        self.low = nn.ModuleList(Add(conv_bn(width, width, act=False)) for _ in range(2))
        self.side = nn.ModuleList(Add(conv_bn(width, width, act=False)) for _ in range(2))
        self.last = nn.ModuleList(conv_bn(width, width, 1) for _ in range(2))
        self.heat = nn.ModuleList(nn.Conv2d(width, 1, 1) for _ in range(2))
        self.back = nn.Conv2d(1, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        x, maps = self.stem(x), []
        for i in range(2):
            low = self.low[i](self.down[i](F.max_pool2d(x, 2)))
            hidden = self.last[i](self.side[i](x) + F.interpolate(low, scale_factor=2.0))
            maps.append(self.heat[i](hidden))
            x = x + hidden + self.back(maps[-1]) if i == 0 else x
        return torch.stack(maps, 1)


def heat(model: nn.Module, batch: Batch) -> Tensor:
    """Squared error of every stage's heat map."""
    image, mask = batch
    maps = model(image)
    return F.mse_loss(maps, mask[:, None].expand_as(maps))


class CenterNet(nn.Module):
    """Objects as points: heat maps whose bias starts at -2.19, sizes and offsets beside them."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.body = nn.Sequential(conv_bn(3, width, stride=2), conv_bn(width, width), conv_bn(width, width))
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, out, 1)) for out in (4, 2)
        )
        nn.init.constant_(self.heads[0][-1].bias, -2.19)  # type: ignore[index]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.body(x)
        return self.heads[0](hidden), self.heads[1](hidden)


def spots(side: int = 16) -> Maker:
    """A bright square of one of four colours somewhere; its centre on a grid of half the size, and its size."""
    colours = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]])

    def make(seed: int, size: int) -> Batch:
        g = generator(seed)
        kind, places = torch.randint(4, (size,), generator=g), torch.randint(2, side // 2 - 2, (size, 2), generator=g)
        half = torch.randint(1, 4, (size,), generator=g)
        axis = torch.arange(side)
        rows, columns = ((axis - 2 * places[:, i : i + 1]).abs() <= half[:, None] for i in (0, 1))
        mask = (rows[:, :, None] & columns[:, None]).float()[:, None]
        image = mask * colours[kind][:, :, None, None] + 0.3 * torch.randn(size, 3, side, side, generator=g)
        return image, (kind, places, half.float())

    return make


def pointed_at(model: nn.Module, batch: Batch) -> Tensor:
    """Penalty-reduced focal loss of the centres and L1 of the sizes."""
    image, (kind, places, half) = batch
    logits, sizes = model(image)
    rows = torch.arange(len(kind))
    target = torch.zeros_like(logits)
    target[rows, kind, places[:, 0], places[:, 1]] = 1
    p = logits.sigmoid().clamp(1e-4, 1 - 1e-4)
    focal = -(target * (1 - p) ** 2 * p.log() + (1 - target) * p**2 * (1 - p).log()).sum() / len(kind)
    found = sizes[rows, :, places[:, 0], places[:, 1]]
    return focal + 0.1 * (found - half[:, None]).abs().mean()


class Fcos(nn.Module):
    """Anchor-free detection: shared towers with GroupNorm, N(0, 0.01), a prior of 0.01 and a learnt scale."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.body = nn.Sequential(conv_bn(3, width, stride=2), conv_bn(width, width))
        self.classes = self.tower(width, 4)
        self.boxes, self.scale = self.tower(width, 4), nn.Parameter(torch.ones(1))
        for module in (*self.classes.modules(), *self.boxes.modules()):
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        nn.init.constant_(self.classes[-1].bias, -math.log(99))  # type: ignore[arg-type]

    @staticmethod
    def tower(width: int, outputs: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(4, width), nn.ReLU()]
        return nn.Sequential(*layers, nn.Conv2d(width, outputs, 3, padding=1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.body(x)
        return self.classes(hidden), (self.scale * self.boxes(hidden)).exp()


def surrounded(model: nn.Module, batch: Batch) -> Tensor:
    """Focal loss over all places and the distance to the sides at the centre."""
    image, (kind, places, half) = batch
    logits, sides = model(image)
    rows = torch.arange(len(kind))
    target = torch.zeros_like(logits)
    target[rows, kind, places[:, 0], places[:, 1]] = 1
    cross = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    weight = (0.25 * target + 0.75 * (1 - target)) * (target - logits.sigmoid()).abs() ** 2
    found = sides[rows, :, places[:, 0], places[:, 1]]
    return (weight * cross).sum() / len(kind) + F.smooth_l1_loss(found, half[:, None].expand_as(found))


class MaskDecoder(nn.Module):
    """SAM's decoder: prompt and mask tokens and the image attend to each other both ways; a hypernetwork reads out."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Conv2d(3, width, 4, 4), nn.GroupNorm(1, width))
        self.prompt, self.mask = nn.Linear(2, width), nn.Embedding(1, width)
        self.own, self.to_image, self.to_tokens = (nn.MultiheadAttention(width, 2, batch_first=True) for _ in range(3))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))
        up = [nn.ConvTranspose2d(width, width // 2, 2, 2), nn.GroupNorm(1, width // 2), nn.GELU()]
        self.upscale = nn.Sequential(*up, nn.ConvTranspose2d(width // 2, width // 4, 2, 2), nn.GELU())
        self.hyper = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width // 4))

    def forward(self, x: Tensor, point: Tensor) -> Tensor:
        grid = self.image(x)
        image = grid.flatten(2).transpose(1, 2)
        tokens = torch.cat([self.mask.weight.expand(len(x), 1, -1), self.prompt(point)[:, None]], 1)
        tokens = self.norms[0](tokens + self.own(tokens, tokens, tokens)[0])
        tokens = self.norms[1](tokens + self.to_image(tokens, image, image)[0])
        tokens = self.norms[2](tokens + self.feed(tokens))
        image = self.norms[3](image + self.to_tokens(image, tokens, tokens)[0])
        fine = self.upscale(image.transpose(1, 2).view_as(grid))
        return torch.einsum("nc,nchw->nhw", self.hyper(tokens[:, 0]), fine)[:, None]


def prompted(model: nn.Module, batch: Batch) -> Tensor:
    """Binary cross entropy and Dice of the mask that a point asks for."""
    image, (_, places, _) = batch
    target = around(batch)
    logits = model(image, places / 4 - 1)
    p = logits.sigmoid()
    dice = 1 - (2 * (p * target).sum((1, 2, 3)) + 1) / (p.sum((1, 2, 3)) + target.sum((1, 2, 3)) + 1)
    return F.binary_cross_entropy_with_logits(logits, target) + dice.mean()


def around(batch: Batch) -> Tensor:
    """The mask of the square."""
    image, (_, places, half) = batch
    axis = torch.arange(image.shape[-1])
    rows, columns = ((axis - 2 * places[:, i : i + 1]).abs() <= half[:, None] for i in (0, 1))
    return (rows[:, :, None] & columns[:, None]).float()[:, None]


def masks() -> Maker:
    """Images and the masks of their squares."""

    def make(seed: int, size: int) -> Batch:
        batch = spots()(seed, size)
        return batch[0], around(batch)

    return make


segment: Step = supervised(F.binary_cross_entropy_with_logits)


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


class SlotAttention(nn.Module):
    """Slots compete for places, a GRU updates them; a broadcast decoder paints each and a softmax mixes them."""

    def __init__(self, width: int = 32, slots: int = 3, side: int = 16) -> None:
        super().__init__()
        self.side, self.slots = side, slots
        self.encode = nn.Sequential(nn.Conv2d(3, width, 5, padding=2), nn.ReLU(), nn.Conv2d(width, width, 5, 2, 2))
        self.place, self.norm = nn.Linear(4, width), nn.LayerNorm(width)
        self.mean, self.spread = nn.Parameter(torch.empty(1, 1, width)), nn.Parameter(torch.empty(1, 1, width))
        nn.init.xavier_uniform_(self.mean)
        nn.init.xavier_uniform_(self.spread)
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.update, self.before, self.within = nn.GRUCell(width, width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.put = nn.Linear(4, width)
        self.decode = nn.Sequential(nn.Conv2d(width, width, 5, padding=2), nn.ReLU(), nn.Conv2d(width, 4, 3, padding=1))

    @staticmethod
    def grid(side: int) -> Tensor:
        axis = torch.linspace(0, 1, side)
        place = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).flatten(0, 1)
        return torch.cat([place, 1 - place], 1)

    def attend(self, inputs: Tensor) -> Tensor:
        noise = torch.randn(len(inputs), self.slots, inputs.shape[-1])
        slots = self.mean + self.spread.exp() * noise
        key, value = self.key(inputs), self.value(inputs)
        for _ in range(3):
            match = (key @ self.query(self.before(slots)).transpose(1, 2) / key.shape[-1] ** 0.5).softmax(-1) + 1e-8
            seen = (match / match.sum(1, keepdim=True)).transpose(1, 2) @ value
            slots = self.update(seen.flatten(0, 1), slots.flatten(0, 1)).view_as(slots)
            slots = slots + self.feed(self.within(slots))
        return slots

    def forward(self, x: Tensor) -> Tensor:
        features = self.encode(x).flatten(2).transpose(1, 2)
        slots = self.attend(self.norm(features + self.place(self.grid(self.side // 2))))
        canvas = slots.flatten(0, 1)[:, None] + self.put(self.grid(self.side))
        painted = self.decode(canvas.transpose(1, 2).unflatten(2, (self.side, self.side)))
        colours, share = painted.unflatten(0, (len(x), self.slots)).split([3, 1], 2)
        return (colours * share.softmax(1)).sum(1)


def repaint(model: nn.Module, image: Batch) -> Tensor:
    """Squared error of the image."""
    return F.mse_loss(model(image), image)


class ConvLSTM(nn.Module):
    """An LSTM whose gates are convolutions, which foretells the next frame."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.gates, self.head, self.width = nn.Conv2d(3 + width, 4 * width, 3, padding=1), nn.Conv2d(width, 3, 1), width

    def forward(self, frames: Tensor) -> Tensor:
        hidden = cell = torch.zeros(len(frames), self.width, *frames.shape[3:])
        for t in range(frames.shape[1]):
            i, f, o, g = self.gates(torch.cat([frames[:, t], hidden], 1)).chunk(4, 1)
            cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
            hidden = o.sigmoid() * cell.tanh()
        return self.head(hidden)


def drifting(model: nn.Module, image: Batch) -> Tensor:
    """A picture that moves by one pixel a frame; the fifth frame is asked for."""
    frames = torch.stack([image.roll(i, 3) for i in range(5)], 1)
    return F.mse_loss(model(frames[:, :4]), frames[:, 4])


def r2plus1d() -> nn.Module:
    """Video: convolutions in space and in time, one after the other."""
    layers: list[nn.Module] = []
    for inputs in (3, 16):
        layers += [nn.Conv3d(inputs, 16, (1, 3, 3), padding=(0, 1, 1), bias=False), nn.BatchNorm3d(16), nn.ReLU()]
        layers += [nn.Conv3d(16, 16, (3, 1, 1), padding=(1, 0, 0), bias=False), nn.BatchNorm3d(16), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(16, 4))


def film(model: nn.Module, batch: Batch) -> Tensor:
    """The class of a picture that drifts."""
    image, label = batch
    return F.cross_entropy(model(torch.stack([image.roll(i, 3) for i in range(4)], 2)), label)


class ArcFace(nn.Module):
    """An embedding and class centres on a sphere, with an angular margin of 0.5 and a scale of 30."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.body = nn.Sequential(conv_bn(3, width, stride=2), conv_bn(width, width), *pooled_head(width, 16))
        self.norm, self.centres = nn.BatchNorm1d(16), nn.Parameter(torch.empty(4, 16))
        nn.init.xavier_uniform_(self.centres)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        cosine = F.normalize(self.norm(self.body(x))) @ F.normalize(self.centres).T
        angle = cosine.clamp(-1 + 1e-7, 1 - 1e-7).acos()
        return 30 * (angle + 0.5 * F.one_hot(label, 4)).cos()


def margin(model: nn.Module, batch: Batch) -> Tensor:
    """Cross entropy behind the margin."""
    return F.cross_entropy(model(*batch), batch[1])


class FlowNet(nn.Module):
    """Optical flow: the two images' features are correlated over offsets, and decoded."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.see = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.LeakyReLU(0.1), nn.Conv2d(width, width, 3, 1, 1))
        decode = [nn.Conv2d(25 + width, width, 3, padding=1), nn.LeakyReLU(0.1), nn.Conv2d(width, 2, 3, padding=1)]
        self.decode = nn.Sequential(*decode)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        one, two = self.see(first), self.see(second)
        offsets = [(one * two.roll((i, j), (2, 3))).mean(1) for i in range(-2, 3) for j in range(-2, 3)]
        return self.decode(torch.cat([F.leaky_relu(torch.stack(offsets, 1), 0.1), one], 1))


def motion(model: nn.Module, image: Batch) -> Tensor:
    """End-point error of a shift that is the same for a whole image."""
    shifts = [(i % 3 - 1, i // 3 % 3 - 1) for i in range(len(image))]
    moved = torch.stack([one.roll(shift, (1, 2)) for one, shift in zip(image, shifts, strict=True)])
    truth = torch.tensor(shifts).float()[:, :, None, None]
    return (model(image, moved) - truth).norm(dim=1).mean()


def cases() -> list[Case]:
    """All cases of this module."""
    seen, bare = pictures(side=16), only(pictures(side=16))
    nets: dict[str, Build] = {
        "ghostnet": ghostnet, "res2net": res2net, "cbam_resnet": attentive(lambda: Cbam(16)),
        "eca_resnet": attentive(Eca), "sknet": attentive(lambda: SelectiveKernel(16)), "xception": xception,
        "coatnet": coatnet, "xcit": Xcit, "mobilevit": MobileVit, "involution": involution,
        "stochastic_depth": stochastic_depth, "maxout": maxout, "spatial_transformer": SpatialTransformer,
    }  # fmt: skip
    others: dict[str, tuple[Build, Maker, Step]] = {
        "unet_plus_plus": (NestedUNet, masks(), segment),
        "deeplab": (Aspp, masks(), segment),
        "stacked_hourglass": (Hourglass, masks(), heat),
        "centernet": (CenterNet, spots(), pointed_at),
        "fcos": (Fcos, spots(), surrounded),
        "mask_decoder": (MaskDecoder, spots(), prompted),
        "edsr": (edsr, bare, enlarge),
        "dncnn": (dncnn, bare, denoise),
        "slot_attention": (SlotAttention, bare, repaint),
        "convlstm": (ConvLSTM, bare, drifting),
        "r2plus1d": (r2plus1d, seen, film),
        "arcface": (ArcFace, seen, margin),
        "flownet": (FlowNet, bare, motion),
    }
    return later_cases(2, "vision", {**{name: (build, seen, classify) for name, build in nets.items()}, **others}, 16)
