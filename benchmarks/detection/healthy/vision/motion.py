"""Videos, optical flow and depth from two views."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import generator, only, pictures, prototypes
from benchmarks.detection.vocabulary.blocks import conv_bn
from benchmarks.detection.vocabulary.losses import own_loss


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


def dissimilarity(one: Tensor, two: Tensor) -> Tensor:
    """Half of one minus SSIM over windows of three pixels."""
    mean1, mean2 = F.avg_pool2d(one, 3, 1), F.avg_pool2d(two, 3, 1)
    spread1 = F.avg_pool2d(one.square(), 3, 1) - mean1.square()
    spread2 = F.avg_pool2d(two.square(), 3, 1) - mean2.square()
    shared = F.avg_pool2d(one * two, 3, 1) - mean1 * mean2
    above = (2 * mean1 * mean2 + 1e-4) * (2 * shared + 9e-4)
    below = (mean1.square() + mean2.square() + 1e-4) * (spread1 + spread2 + 9e-4)
    return ((1 - above / below) / 2).clamp(0, 1).mean()


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


def smooth_stereo(seed: int, size: int) -> Batch:
    """Two views of smooth pictures in [0, 1], of which one is shifted by two pixels."""
    wide = torch.rand(size, 3, 6, 6, generator=generator(seed))
    wide = F.interpolate(wide, (16, 18), mode="bilinear")
    return wide[..., :16], wide[..., 2:]


class CostVolume(nn.Module):
    """GC-Net: features of both eyes side by side at every disparity, 3d convolutions, a soft argmin."""

    def __init__(self, reach: int = 4) -> None:
        super().__init__()
        self.reach = reach
        self.features = nn.Sequential(conv_bn(1, 12), conv_bn(12, 12), nn.Conv2d(12, 8, 3, padding=1))
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


def cases() -> list[Case]:
    """The cases of this file."""
    return [
        case(
            "second_vision_convlstm", "second/convlstm", ConvLSTM, only(pictures(side=16)), drifting, size=16, round=2
        ),
        case("second_vision_r2plus1d", "second/r2plus1d", r2plus1d, pictures(side=16), film, size=16, round=2),
        case("second_vision_flownet", "second/flownet", FlowNet, only(pictures(side=16)), motion, size=16, round=2),
        case("third_vision_monodepth", "third/monodepth", MonoDepth, smooth_stereo, own_loss, round=3),
        case("fourth_vision_stereo_cost_volume", "fourth/stereo_cost_volume", CostVolume, stereo, own_loss, round=4),
        case("fourth_vision_slowfast", "fourth/slowfast", SlowFast, clips, round=4),
    ]
