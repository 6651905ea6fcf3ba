"""Boxes, points and counts of objects."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import blobs, generator, only, pictures, segments, spots
from benchmarks.detection.vocabulary.blocks import Make, conv_bn
from benchmarks.detection.vocabulary.initialisation import he
from benchmarks.detection.vocabulary.losses import own_loss, reconstruct


class Pyramid(nn.Module):
    """A feature pyramid and RetinaNet's heads: normal(0, 0.01) weights and the prior of one per cent in the bias."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.low, self.high = conv_bn(3, 16, 3, 2), conv_bn(16, 32, 3, 2)
        self.flat, self.deep = nn.Conv2d(16, 16, 1), nn.Conv2d(32, 16, 1)
        self.tower = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU())
        self.classify, self.place = nn.Conv2d(16, classes, 3, padding=1), nn.Conv2d(16, 4, 3, padding=1)
        for layer in (self.tower[0], self.classify, self.place):
            nn.init.normal_(layer.weight, std=0.01)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        nn.init.constant_(self.classify.bias, -4.595)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        low = self.low(x)
        deep = self.deep(self.high(low))
        maps = [self.flat(low) + F.interpolate(deep, scale_factor=2.0), deep]
        return [(self.classify(h), self.place(h)) for h in map(self.tower, maps)]


def focal(model: nn.Module, batch: Batch) -> Tensor:
    """Focal loss over both levels and a smooth L1 loss of the boxes, per positive."""
    x, labels = batch
    total = x.new_zeros(())
    for scores, places in model(x):
        target = F.one_hot(labels[:, :: 16 // scores.shape[2], :: 16 // scores.shape[3]], 3).permute(0, 3, 1, 2).float()
        target[:, 0] = 0
        miss = torch.where(target > 0, 1 - scores.sigmoid(), scores.sigmoid())
        entropy = F.binary_cross_entropy_with_logits(scores, target, reduction="none")
        total = total + (miss**2 * entropy).sum() / target.sum().clamp(min=1)
        total = total + F.smooth_l1_loss(places, target[:, 1:2].expand_as(places))
    out: Tensor = total
    return out


def yolo() -> nn.Module:
    """A small darknet with a box, an objectness and class scores per cell."""
    leaky: Make = partial(nn.LeakyReLU, 0.1)
    body = [conv_bn(3, 16, 3, 2, act=leaky), conv_bn(16, 32, 3, 2, act=leaky), conv_bn(32, 32, act=leaky)]
    return nn.Sequential(*body, nn.Conv2d(32, 8, 1))


def cells(model: nn.Module, batch: Batch) -> Tensor:
    """YOLO's loss: objectness everywhere, box and class where there is an object."""
    x, labels = batch
    made = model(x)
    target = labels[:, ::4, ::4]
    present = (target > 0).float()
    box = ((made[:, :4].sigmoid() - 0.25) ** 2).sum(dim=1) * present
    loss = F.binary_cross_entropy_with_logits(made[:, 4], present)
    out: Tensor = loss + 5 * box.mean() + (F.cross_entropy(made[:, 5:], target, reduction="none") * present).mean()
    return out


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


class RegionProposals(nn.Module):
    """Faster R-CNN's proposal network: three anchors a place, objectness and smooth-L1 offsets; std 0.01."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(conv_bn(3, 16, stride=2), conv_bn(16, 32, stride=2))
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
            [conv_bn(3, width, stride=2), conv_bn(width, width, stride=2), conv_bn(width, width, stride=2)]
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
        he(self.front, biases=False)
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
        self.body = nn.Sequential(conv_bn(3, 16, stride=2), conv_bn(16, 32, stride=2))
        up = nn.ConvTranspose2d(32, 16, 4, 2, 1, bias=False)
        self.up, self.last = nn.Sequential(up, nn.BatchNorm2d(16), nn.ReLU()), nn.Conv2d(16, 1, 1)
        nn.init.normal_(up.weight, std=0.001)
        nn.init.normal_(self.last.weight, std=0.001)

    def forward(self, x: Tensor, centre: Tensor, size: Tensor) -> Tensor:
        heat = self.last(self.up(self.body(x))).flatten(1).softmax(1).view(-1, 8, 8)
        axis = (torch.arange(8.0) + 0.5) / 8 - 0.5
        place = torch.stack([(heat.sum(2) * axis).sum(1), (heat.sum(1) * axis).sum(1)], 1)
        return F.l1_loss(place, centre / 16 - 0.5)


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


def cases() -> list[Case]:
    """The cases of this file."""
    return [
        case("vision_retinanet", "vision/retinanet", Pyramid, segments(), focal),
        case("vision_yolo", "vision/yolo", yolo, segments(), cells),
        case("second_vision_centernet", "second/centernet", CenterNet, spots(), pointed_at, size=16, round=2),
        case("second_vision_fcos", "second/fcos", Fcos, spots(), surrounded, size=16, round=2),
        case("third_vision_ssd", "third/ssd", SingleShot, blobs, own_loss, round=3),
        case("fourth_vision_region_proposals", "fourth/region_proposals", RegionProposals, framed, own_loss, round=4),
        case("fourth_vision_bifpn", "fourth/bifpn", WeightedPyramid, framed, own_loss, round=4),
        case("fourth_vision_crowd_counting", "fourth/crowd_counting", CrowdCounter, crowds, own_loss, round=4),
        case("fourth_vision_integral_pose", "fourth/integral_pose", IntegralPose, framed, own_loss, round=4),
        case(
            "second_vision_slot_attention",
            "second/slot_attention",
            SlotAttention,
            only(pictures(side=16)),
            reconstruct,
            size=16,
            round=2,
        ),
    ]
