"""A label for every pixel."""

from __future__ import annotations

import itertools
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case, Maker, Step
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import blobs, generator, segments, spots
from benchmarks.detection.vocabulary.blocks import Add, Residual, conv_bn
from benchmarks.detection.vocabulary.losses import own_loss, supervised

segment: Step = supervised(F.binary_cross_entropy_with_logits)


def double(inside: int, outside: int) -> nn.Sequential:
    """Two convolutions: a step of the U-Net."""
    return nn.Sequential(conv_bn(inside, outside), conv_bn(outside, outside))


class AttentionGate(nn.Module):
    """Attention U-Net's additive gate."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.skip, self.signal = conv_bn(width, width, 1, act=None), conv_bn(width, width, 1, act=None)
        self.gate = nn.Sequential(nn.ReLU(), nn.Conv2d(width, 1, 1), nn.BatchNorm2d(1), nn.Sigmoid())

    def forward(self, skip: Tensor, signal: Tensor) -> Tensor:
        out: Tensor = skip * self.gate(self.skip(skip) + self.signal(signal))
        return out


class UNet(nn.Module):
    """U-Net, on request with attention gates on its skips."""

    def __init__(self, gated: bool = False) -> None:
        super().__init__()
        self.first, self.second, self.bottom = double(3, 8), double(8, 16), double(16, 32)
        self.up2, self.up1 = nn.ConvTranspose2d(32, 16, 2, 2), nn.ConvTranspose2d(16, 8, 2, 2)
        self.join2, self.join1, self.head = double(32, 16), double(16, 8), nn.Conv2d(8, 3, 1)
        self.gate2 = AttentionGate(16) if gated else None
        self.gate1 = AttentionGate(8) if gated else None

    def forward(self, x: Tensor) -> Tensor:
        one = self.first(x)
        two = self.second(F.max_pool2d(one, 2))
        up = self.up2(self.bottom(F.max_pool2d(two, 2)))
        up = self.up1(self.join2(torch.cat([self.gate2(two, up) if self.gate2 else two, up], dim=1)))
        out: Tensor = self.head(self.join1(torch.cat([self.gate1(one, up) if self.gate1 else one, up], dim=1)))
        return out


def fcn() -> nn.Module:
    """A fully convolutional network with an upsampled score map."""
    body = [conv_bn(3, 16), nn.MaxPool2d(2), conv_bn(16, 32), nn.MaxPool2d(2), conv_bn(32, 32)]
    return nn.Sequential(*body, nn.Conv2d(32, 3, 1), nn.Upsample(scale_factor=4, mode="bilinear"))


class DeeplySupervised(nn.Module):
    """Side outputs at every stage, as in deeply supervised and holistically nested networks."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList([conv_bn(3, 8), conv_bn(8, 16, 3, 2), conv_bn(16, 32, 3, 2)])
        self.sides = nn.ModuleList([nn.Conv2d(width, 3, 1) for width in (8, 16, 32)])

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        total = x.new_zeros(())
        for stage, side in zip(self.stages, self.sides, strict=True):
            x = stage(x)
            total = total + F.cross_entropy(F.interpolate(side(x), size=labels.shape[1:]), labels)
        return total / 3


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
        self.down = nn.ModuleList(Add(conv_bn(width, width, act=None)) for _ in range(2))
        self.low = nn.ModuleList(Add(conv_bn(width, width, act=None)) for _ in range(2))
        self.side = nn.ModuleList(Add(conv_bn(width, width, act=None)) for _ in range(2))
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


class SegNet(nn.Module):
    """An encoder whose pooling remembers the places of its maxima for the decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.down1 = nn.Sequential(*conv_bn(3, 12, act=None), nn.ReLU())
        self.down2 = nn.Sequential(*conv_bn(12, 24, act=None), nn.ReLU())
        self.up2 = nn.Sequential(*conv_bn(24, 12, act=None), nn.ReLU())
        self.up1 = nn.Sequential(*conv_bn(12, 12, act=None), nn.ReLU(), nn.Conv2d(12, 2, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        x, first = F.max_pool2d(self.down1(x), 2, return_indices=True)
        x, second = F.max_pool2d(self.down2(x), 2, return_indices=True)
        x = self.up2(F.max_unpool2d(x, second, 2))  # type: ignore[arg-type]
        return self.up1(F.max_unpool2d(x, first, 2))  # type: ignore[arg-type]


def discs(seed: int, size: int) -> Batch:
    """The images and the masks."""
    return blobs(seed, size)[:2]


class PyramidPooling(nn.Module):
    """PSPNet: means over four grids join the features; an auxiliary classifier weighs 0.4."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*conv_bn(3, 16, act=None), nn.ReLU(), *conv_bn(16, 16, 3, 2, act=None), nn.ReLU())
        self.deep = nn.Sequential(*conv_bn(16, 16, act=None), nn.ReLU())
        levels = ([nn.AdaptiveAvgPool2d(n), *conv_bn(16, 4, 1, act=None), nn.ReLU()] for n in (1, 2, 3, 6))
        self.levels = nn.ModuleList(nn.Sequential(*level) for level in levels)
        self.head = nn.Sequential(*conv_bn(32, 16, act=None), nn.ReLU(), nn.Dropout(0.1), nn.Conv2d(16, 2, 1))
        self.aux = nn.Sequential(*conv_bn(16, 16, act=None), nn.ReLU(), nn.Dropout(0.1), nn.Conv2d(16, 2, 1))

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


def cases() -> list[Case]:
    """The cases of this file."""
    return [
        case("vision_unet", "vision/unet", UNet, segments()),
        case("vision_attention_unet", "vision/attention_unet", partial(UNet, True), segments()),
        case("vision_fcn", "vision/fcn", fcn, segments()),
        case("vision_deep_supervision", "vision/deep_supervision", DeeplySupervised, segments(), own_loss),
        case("second_vision_unet_plus_plus", "second/unet_plus_plus", NestedUNet, masks(), segment, size=16, round=2),
        case("second_vision_deeplab", "second/deeplab", Aspp, masks(), segment, size=16, round=2),
        case("second_vision_stacked_hourglass", "second/stacked_hourglass", Hourglass, masks(), heat, size=16, round=2),
        case("second_vision_mask_decoder", "second/mask_decoder", MaskDecoder, spots(), prompted, size=16, round=2),
        case("third_vision_segnet", "third/segnet", SegNet, discs, round=3),
        case("third_vision_pspnet", "third/pspnet", PyramidPooling, discs, own_loss, round=3),
        case("third_vision_vnet", "third/vnet", VNet, volumes, own_loss, round=3),
        case("third_vision_hed", "third/hed", HolisticEdges, discs, own_loss, round=3),
    ]
