"""Vision transformers, mixers and convolutional nets with attention."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Case
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import IMAGES_32, pictures
from benchmarks.detection.vocabulary.blocks import Apply, Residual, SelfAttention, conv_bn, feed, pooled_head


def convmixer(width: int = 32, depth: int = 4) -> nn.Module:
    """ConvMixer."""

    def unit(conv: nn.Conv2d) -> nn.Sequential:
        return nn.Sequential(conv, nn.GELU(), nn.BatchNorm2d(width))

    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [
            Residual(unit(nn.Conv2d(width, width, 5, groups=width, padding=2))),
            unit(nn.Conv2d(width, width, 1)),
        ]
    return nn.Sequential(unit(nn.Conv2d(3, width, 4, 4)), *layers, *pooled_head(width))


class Across(nn.Module):
    """A module applied to the token axis."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x.transpose(1, 2)).transpose(1, 2)
        return out


class Patches(nn.Module):
    """Patch embedding with optional class token and learnt positions."""

    def __init__(self, width: int = 32, token: bool = False, places: bool = True) -> None:
        super().__init__()
        self.cut = nn.Conv2d(3, width, 8, 8)
        self.token = nn.Parameter(torch.zeros(1, 1, width)) if token else None
        self.places = nn.Parameter(torch.randn(1, 16 + token, width) * 0.02) if places else None

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.cut(x).flatten(2).transpose(1, 2)
        if self.token is not None:
            h = torch.cat([self.token.expand(h.shape[0], -1, -1), h], dim=1)
        return h if self.places is None else h + self.places


def averaged(*layers: nn.Module, width: int = 32) -> nn.Module:
    """Patches, the given layers, mean pooling and a classifier."""
    return nn.Sequential(
        Patches(width, places=False), *layers, nn.LayerNorm(width), Apply(lambda x: x.mean(1)), nn.Linear(width, 4)
    )


def mixer() -> nn.Module:
    """MLP-Mixer."""
    layers: list[nn.Module] = []
    for _ in range(3):
        layers.append(Residual(nn.LayerNorm(32), Across(feed(16, 32))))
        layers.append(Residual(nn.LayerNorm(32), feed(32, 64)))
    return averaged(*layers)


class Gating(nn.Module):
    """gMLP's spatial gating unit, close to the identity at the start."""

    def __init__(self, width: int, tokens: int) -> None:
        super().__init__()
        self.norm, self.mix = nn.LayerNorm(width), nn.Linear(tokens, tokens)
        nn.init.uniform_(self.mix.weight, -1e-3 / tokens, 1e-3 / tokens)
        nn.init.ones_(self.mix.bias)

    def forward(self, x: Tensor) -> Tensor:
        passed, gate = x.chunk(2, dim=-1)
        gate = self.mix(self.norm(gate).transpose(1, 2)).transpose(1, 2)
        out: Tensor = passed * gate
        return out


def gmlp() -> nn.Module:
    """gMLP."""
    block = [
        Residual(nn.LayerNorm(32), nn.Linear(32, 64), nn.GELU(), Gating(32, 16), nn.Linear(32, 32)) for _ in range(4)
    ]
    return averaged(*block)


class Affine(nn.Module):
    """A scale and a shift per channel; with a small start and no shift this is LayerScale."""

    def __init__(self, width: int, start: float = 1.0, shift: bool = True) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((width,), start))
        self.shift = nn.Parameter(torch.zeros(width)) if shift else None

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale if self.shift is None else x * self.scale + self.shift


def resmlp() -> nn.Module:
    """ResMLP: affine layers in the place of normalisation and LayerScale at 0.1."""
    layers: list[nn.Module] = []
    for _ in range(4):
        layers.append(Residual(Affine(32), Across(nn.Linear(16, 16)), Affine(32, 0.1, shift=False)))
        layers.append(Residual(Affine(32), feed(32, 64), Affine(32, 0.1, shift=False)))
    return averaged(*layers)


def vit_block(scale: float | None = None, width: int = 32) -> nn.Sequential:
    """A pre-norm transformer block, on request with LayerScale."""
    scales = [[Affine(width, scale, shift=False)] if scale is not None else [] for _ in range(2)]
    return nn.Sequential(
        Residual(nn.LayerNorm(width), SelfAttention(width), *scales[0]),
        Residual(nn.LayerNorm(width), feed(width, 2 * width), *scales[1]),
    )


class CaiT(nn.Module):
    """CaiT: self-attention layers with LayerScale, then class attention."""

    def __init__(self, scale: float, depth: int = 6) -> None:
        super().__init__()
        self.embed = Patches()
        self.body = nn.Sequential(*(vit_block(scale) for _ in range(depth)))
        self.token = nn.Parameter(torch.randn(1, 1, 32) * 0.02)
        self.norm, self.attend = nn.LayerNorm(32), nn.MultiheadAttention(32, 4, batch_first=True)
        self.feed = Residual(nn.LayerNorm(32), feed(32, 64), Affine(32, scale, shift=False))
        self.scale = Affine(32, scale, shift=False)
        self.head = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 4))

    def forward(self, x: Tensor) -> Tensor:
        token = self.token.expand(x.shape[0], -1, -1)
        h = self.norm(torch.cat([token, self.body(self.embed(x))], dim=1))
        token = token + self.scale(self.attend(h[:, :1], h, h, need_weights=False)[0])
        out: Tensor = self.head(self.feed(token)[:, 0])
        return out


def vit(head: str, depth: int = 4) -> nn.Module:
    """ViT: class token with a head that starts at zero (as in the paper's code), or mean pooling."""
    pool = Apply(lambda x: x[:, 0]) if head == "zero" else Apply(lambda x: x.mean(dim=1))
    last = nn.Linear(32, 4)
    if head == "zero":
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
    return nn.Sequential(
        Patches(token=head == "zero"), *(vit_block() for _ in range(depth)), nn.LayerNorm(32), pool, last
    )


class Windows(nn.Module):
    """Attention inside shifted windows: the core of Swin."""

    def __init__(self, width: int, shift: int, window: int = 4) -> None:
        super().__init__()
        self.norm, self.attend = nn.LayerNorm(width), SelfAttention(width)
        self.shift, self.window = shift, window

    def forward(self, x: Tensor) -> Tensor:
        b, h, w, c = x.shape
        size, moved = self.window, torch.roll(self.norm(x), (-self.shift, -self.shift), (1, 2))
        cut = moved.reshape(b, h // size, size, w // size, size, c).transpose(2, 3).reshape(-1, size * size, c)
        back = self.attend(cut).reshape(b, h // size, w // size, size, size, c).transpose(2, 3).reshape(b, h, w, c)
        return x + torch.roll(back, (self.shift, self.shift), (1, 2))


def swin() -> nn.Module:
    """Four window layers, every second one shifted."""
    layers: list[nn.Module] = []
    for index in range(4):
        layers += [Windows(32, 2 * (index % 2)), Residual(nn.LayerNorm(32), feed(32, 64))]
    last = [nn.LayerNorm(32), Apply(lambda x: x.mean((1, 2))), nn.Linear(32, 4)]
    return nn.Sequential(nn.Conv2d(3, 32, 4, 4), Apply(lambda x: x.permute(0, 2, 3, 1)), *layers, *last)


def convnext(scale: float) -> nn.Module:
    """ConvNeXt's block, channels last inside, with LayerScale."""

    def block(width: int) -> nn.Module:
        last, first = Apply(lambda x: x.permute(0, 2, 3, 1)), Apply(lambda x: x.permute(0, 3, 1, 2))
        inner = [nn.LayerNorm(width), feed(width, 4 * width), Affine(width, scale, shift=False)]
        return Residual(nn.Conv2d(width, width, 7, padding=3, groups=width), last, *inner, first)

    down = [nn.GroupNorm(1, 16), nn.Conv2d(16, 32, 2, 2)]
    net = nn.Sequential(nn.Conv2d(3, 16, 4, 4), block(16), block(16), *down, block(32), block(32), *pooled_head(32))
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return net


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


def non_local() -> nn.Module:
    """Residual blocks with a non-local block between them."""
    blocks = [Residual(*conv_bn(16, 16, act=None), nn.ReLU(), *conv_bn(16, 16, act=None)) for _ in range(2)]
    return nn.Sequential(
        *conv_bn(3, 16, 3, 2, act=None), nn.ReLU(), blocks[0], NonLocal(16), blocks[1], *pooled_head(16)
    )


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
        self.query = nn.Sequential(*conv_bn(width, heads * keys, 1, act=None))
        self.key = nn.Conv2d(width, keys, 1, bias=False)
        self.value = nn.Sequential(*conv_bn(width, value, 1, act=None))
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
    blocks = [
        Residual(*conv_bn(16, 16, 1, act=None), nn.ReLU(), Lambda(16), *conv_bn(16, 16, 1, act=None)) for _ in range(2)
    ]
    return nn.Sequential(*conv_bn(3, 16, 3, 2, act=None), nn.ReLU(), *blocks, nn.ReLU(), *pooled_head(16))


class Bottleneck(nn.Module):
    """BoTNet: attention with relative positions by row and column in the place of the 3x3 convolution."""

    def __init__(self, width: int = 32, inner: int = 16, side: int = 4) -> None:
        super().__init__()
        self.reduce, self.qkv = conv_bn(width, inner, 1), nn.Conv2d(inner, 3 * inner, 1, bias=False)
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
    return nn.Sequential(
        conv_bn(3, 16, stride=2), conv_bn(16, 32, stride=2), Bottleneck(), Bottleneck(), *pooled_head(32)
    )


def cases() -> list[Case]:
    """The cases of this file."""
    return [
        case("vision_convmixer", "vision/convmixer", convmixer, IMAGES_32),
        case("vision_mlp_mixer", "vision/mlp_mixer", mixer, IMAGES_32),
        case("vision_gmlp", "vision/gmlp", gmlp, IMAGES_32),
        case("vision_resmlp", "vision/resmlp", resmlp, IMAGES_32),
        case("vision_cait_1e_1", "vision/cait_1e_1", partial(CaiT, 0.1), IMAGES_32),
        case("vision_cait_1e_5", "vision/cait_1e_5", partial(CaiT, 1e-5), IMAGES_32),
        case("vision_cait_1e_6", "vision/cait_1e_6", partial(CaiT, 1e-6, 12), IMAGES_32),
        case("vision_vit_zero_head", "vision/vit_zero_head", partial(vit, "zero"), IMAGES_32),
        case("vision_vit_mean_pool", "vision/vit_mean_pool", partial(vit, "mean"), IMAGES_32),
        case("vision_vit_12_layers", "vision/vit_12_layers", partial(vit, "mean", 12), IMAGES_32),
        case("vision_swin_windows", "vision/swin_windows", swin, IMAGES_32),
        case("vision_convnext_1e_6", "vision/convnext_1e_6", partial(convnext, 1e-6), IMAGES_32),
        case("second_vision_coatnet", "second/coatnet", coatnet, pictures(side=16), size=16, round=2),
        case("second_vision_xcit", "second/xcit", Xcit, pictures(side=16), size=16, round=2),
        case("second_vision_mobilevit", "second/mobilevit", MobileVit, pictures(side=16), size=16, round=2),
        case("third_vision_non_local", "third/non_local", non_local, pictures(side=16), round=3),
        case("third_vision_hornet", "third/hornet", hornet, pictures(side=16), round=3),
        case(
            "third_vision_visual_attention_network",
            "third/visual_attention_network",
            visual_attention_network,
            pictures(side=16),
            round=3,
        ),
        case("third_vision_lambda_network", "third/lambda_network", lambda_network, pictures(side=16), round=3),
        case("fourth_vision_botnet", "fourth/botnet", botnet, pictures(side=16), round=4),
    ]
