"""Published convolutional classifiers, narrow and shallow, with the initialisation of their papers."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import IMAGES_16, IMAGES_32, cast, pictures
from benchmarks.detection.vocabulary.blocks import Basic, Make, conv_bn, pooled_head, staged
from benchmarks.detection.vocabulary.initialisation import he
from benchmarks.detection.vocabulary.losses import supervised


def alexnet() -> nn.Module:
    """AlexNet's five convolutions and three linear layers with dropout."""
    sizes = [(3, 16), (16, 32), (32, 48), (48, 32), (32, 32)]
    layers: list[nn.Module] = []
    for index, (inside, outside) in enumerate(sizes):
        layers += [nn.Conv2d(inside, outside, 3, padding=1), nn.ReLU(inplace=True)]
        layers += [nn.MaxPool2d(2)] if index in (0, 1, 4) else []
    head = [nn.Dropout(), nn.Linear(512, 64), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(64, 64), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), *head, nn.Linear(64, 4))


def vgg(norm: bool) -> nn.Module:
    """VGG-11 for small images, with or without batch normalisation, He initialisation."""
    layers: list[nn.Module] = []
    inside = 3
    for size in (16, 0, 24, 0, 32, 32, 0, 48, 48, 0, 48, 48, 0):
        if not size:
            layers.append(nn.MaxPool2d(2))
            continue
        layers += [nn.Conv2d(inside, size, 3, padding=1), *([nn.BatchNorm2d(size)] if norm else []), nn.ReLU()]
        inside = size
    return he(nn.Sequential(*layers, nn.Flatten(), nn.Linear(48, 4)))


def nin() -> nn.Module:
    """Network in network: pointwise convolutions after every spatial one, global average pooling as the classifier."""
    layers: list[nn.Module] = []
    for inside, kernel in ((3, 5), (24, 3)):
        layers += [nn.Conv2d(inside, 24, kernel, padding=kernel // 2), nn.ReLU()]
        layers += [nn.Conv2d(24, 24, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout()]
    return nn.Sequential(*layers, nn.Conv2d(24, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Inception(nn.Module):
    """GoogLeNet's block: four branches side by side."""

    def __init__(self, inside: int) -> None:
        super().__init__()
        self.one = conv_bn(inside, 8, 1)
        self.three = nn.Sequential(conv_bn(inside, 8, 1), conv_bn(8, 12))
        self.five = nn.Sequential(conv_bn(inside, 4, 1), conv_bn(4, 6, 5))
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), conv_bn(inside, 6, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], dim=1)


def googlenet() -> nn.Module:
    """Three inception blocks."""
    return nn.Sequential(
        conv_bn(3, 16, 3, 2), Inception(16), Inception(32), nn.MaxPool2d(2), Inception(32), *pooled_head(32)
    )


class Fire(nn.Module):
    """SqueezeNet's block."""

    def __init__(self, inside: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inside, squeezed, 1)
        self.one = nn.Conv2d(squeezed, expanded, 1)
        self.three = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.one(x)), F.relu(self.three(x))], dim=1)


def squeezenet() -> nn.Module:
    """SqueezeNet with torchvision's initialisation."""
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2), nn.ReLU(), Fire(16, 8, 16), Fire(32, 8, 16), nn.MaxPool2d(3, 2), Fire(32, 12, 24),
        nn.Dropout(), nn.Conv2d(48, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    nn.init.normal_(net[7].weight, std=0.01)  # type: ignore[arg-type]
    return net


def resnet(repeats: int, zero: bool = False) -> nn.Module:
    """ResNet-(6n+2), on request with the last normalisation of every branch starting at zero."""
    net = he(staged(Basic, repeats))
    for block in net.modules():
        if zero and isinstance(block, Basic):
            nn.init.zeros_(block.second[1].weight)  # type: ignore[arg-type]
    return net


class PreAct(nn.Module):
    """The pre-activation block, also wide."""

    def __init__(self, inside: int, outside: int, stride: int = 1, drop: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inside)
        self.first = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.rest = nn.Sequential(
            nn.BatchNorm2d(outside), nn.ReLU(), nn.Dropout(drop), nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        )
        self.short = nn.Conv2d(inside, outside, 1, stride, bias=False) if inside != outside else None

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.norm(x))
        out: Tensor = self.rest(self.first(h)) + (x if self.short is None else self.short(h))
        return out


class Excite(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, width: int, squeezed: int, gate: Make = nn.Sigmoid) -> None:
        super().__init__()
        self.scale = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, squeezed, 1), nn.ReLU(), nn.Conv2d(squeezed, width, 1), gate()
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x * self.scale(x)
        return out


class Bottleneck(nn.Module):
    """1x1, grouped 3x3, 1x1 around a projected shortcut: ResNeXt, or with ``excite`` SE-ResNet."""

    def __init__(self, inside: int, outside: int, stride: int = 1, groups: int = 4, excite: bool = False) -> None:
        super().__init__()
        parts = [conv_bn(inside, outside // 2, 1), conv_bn(outside // 2, outside // 2, 3, stride, groups)]
        self.branch = nn.Sequential(*parts, conv_bn(outside // 2, outside, 1, act=None))
        self.excite = Excite(outside, outside // 4) if excite else nn.Identity()
        same = inside == outside and stride == 1
        self.short = nn.Identity() if same else conv_bn(inside, outside, 1, stride, act=None)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.excite(self.branch(x)) + self.short(x))


class Dense(nn.Module):
    """DenseNet's layer: its output is appended to its input."""

    def __init__(self, inside: int, growth: int) -> None:
        super().__init__()
        self.new = nn.Sequential(
            nn.BatchNorm2d(inside), nn.ReLU(), nn.Conv2d(inside, 4 * growth, 1, bias=False),
            nn.BatchNorm2d(4 * growth), nn.ReLU(), nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.new(x)], dim=1)


def densenet(growth: int = 6, layers: int = 4) -> nn.Module:
    """Two dense blocks with a transition between them."""
    first = [Dense(12 + growth * i, growth) for i in range(layers)]
    wide = 12 + growth * layers
    between = [nn.BatchNorm2d(wide), nn.ReLU(), nn.Conv2d(wide, wide // 2, 1, bias=False), nn.AvgPool2d(2)]
    second = [Dense(wide // 2 + growth * i, growth) for i in range(layers)]
    last = wide // 2 + growth * layers
    parts = [*first, *between, *second, nn.BatchNorm2d(last), nn.ReLU()]
    return he(nn.Sequential(nn.Conv2d(3, 12, 3, 2, 1, bias=False), *parts, *pooled_head(last)), "fan_in")


class Inverted(nn.Module):
    """The inverted residual of MobileNetV2 and V3 and of EfficientNet."""

    def __init__(
        self, inside: int, outside: int, stride: int = 1, act: Make = nn.ReLU6, excite: Make | None = None
    ) -> None:
        super().__init__()
        wide = inside * 4
        middle = [excite(wide, inside)] if excite else []
        self.branch = nn.Sequential(
            conv_bn(inside, wide, 1, act=act), conv_bn(wide, wide, 3, stride, wide, act), *middle,
            conv_bn(wide, outside, 1, act=None),
        )  # fmt: skip
        self.skip = inside == outside and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.branch(x)
        return out + x if self.skip else out


class Shuffle(nn.Module):
    """ShuffleNetV2's unit: half of the channels pass, the other half is convolved, then both are shuffled."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.branch = nn.Sequential(
            conv_bn(half, half, 1), conv_bn(half, half, 3, groups=half, act=None), conv_bn(half, half, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, dim=1)
        mixed = torch.stack([left, self.branch(right)], dim=2)
        return mixed.flatten(1, 2)


def shufflenet() -> nn.Module:
    """Four units in two resolutions."""
    units = [Shuffle(24), Shuffle(24), nn.MaxPool2d(2), Shuffle(24), Shuffle(24)]
    return nn.Sequential(conv_bn(3, 24, 3, 2), *units, conv_bn(24, 48, 1), *pooled_head(48))


class Fixup(nn.Module):
    """Fixup's block: scalar biases and a scale, the last convolution starting at zero."""

    def __init__(self, inside: int, outside: int, stride: int = 1, blocks: int = 9) -> None:
        super().__init__()
        self.first = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.biases = nn.ParameterList([nn.Parameter(torch.zeros(1)) for _ in range(4)])
        self.scale = nn.Parameter(torch.ones(1))
        self.stride, self.grown = stride, outside - inside
        nn.init.normal_(self.first.weight, std=(2 / (outside * 9)) ** 0.5 * blocks**-0.5)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.first(x + self.biases[0]) + self.biases[1])
        h = self.second(h + self.biases[2]) * self.scale + self.biases[3]
        short = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.grown))
        return F.relu(h + short)


def fixup() -> nn.Module:
    """A ResNet-20 with Fixup initialisation, the classifier starting at zero."""
    stem = nn.Sequential(he(nn.Conv2d(3, 8, 3, padding=1, bias=False)), nn.ReLU())
    net = staged(Fixup, 3, stem=stem)
    assert isinstance(net, nn.Sequential)
    assert isinstance(net[-1], nn.Linear)
    nn.init.zeros_(net[-1].weight)
    nn.init.zeros_(net[-1].bias)
    return net


class SkipInit(nn.Module):
    """SkipInit: an unnormalised branch behind a scalar that starts at zero."""

    def __init__(self, inside: int, outside: int, stride: int = 1) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.ReLU(), nn.Conv2d(inside, outside, 3, stride, 1), nn.ReLU(), nn.Conv2d(outside, outside, 3, 1, 1)
        )
        self.short = nn.Conv2d(inside, outside, 1, stride) if inside != outside else nn.Identity()
        self.alpha = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.short(x) + self.alpha * self.branch(x)
        return out


class StandardConv(nn.Conv2d):
    """Scaled weight standardisation of the normaliser-free networks."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int = 1) -> None:
        super().__init__(inside, outside, kernel, stride, kernel // 2)
        nn.init.kaiming_normal_(self.weight, nonlinearity="linear")
        self.gain = nn.Parameter(torch.ones(outside, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        fan = self.weight[0].numel()
        mean, var = self.weight.mean((1, 2, 3), keepdim=True), self.weight.var((1, 2, 3), keepdim=True)
        weight = self.gain * (self.weight - mean) * torch.rsqrt((var * fan).clamp(min=1e-4))
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)


class Free(nn.Module):
    """NFNet's block: variance bookkeeping by alpha and beta, skip-init gain at zero."""

    def __init__(self, inside: int, outside: int, stride: int = 1, beta: float = 0.9) -> None:
        super().__init__()
        self.first, self.second = (
            StandardConv(inside, outside // 2, 1),
            StandardConv(outside // 2, outside // 2, 3, stride),
        )
        self.third = StandardConv(outside // 2, outside, 1)
        self.short = StandardConv(inside, outside, 1, stride) if inside != outside else None
        self.gain, self.beta = nn.Parameter(torch.zeros(())), beta

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(x) * self.beta
        short = x if self.short is None else self.short(h)
        branch: Tensor = self.third(self.act(self.second(self.act(self.first(h)))))
        return short + 0.2 * self.gain * branch

    @staticmethod
    def act(x: Tensor) -> Tensor:
        """GELU scaled to keep the variance."""
        return F.gelu(x) * 1.7015


def lenet() -> nn.Module:
    """LeNet-5 with tanh and average pooling."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 4),
    )  # fmt: skip


class Highway(nn.Module):
    """A highway layer, whose gate starts out carrying the input through."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.transform, self.gate = nn.Linear(width, width), nn.Linear(width, width)
        nn.init.constant_(self.gate.bias, -2.0)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.gate(x))
        return gate * F.relu(self.transform(x)) + (1 - gate) * x


def highway(depth: int = 20) -> nn.Module:
    """A highway network."""
    stack = [Highway(32) for _ in range(depth)]
    return nn.Sequential(nn.Flatten(), nn.Linear(768, 32), nn.ReLU(), *stack, nn.Linear(32, 4))


def squash(x: Tensor) -> Tensor:
    """The capsule non-linearity."""
    square = (x**2).sum(dim=-1, keepdim=True)
    return square / (1 + square) * x / torch.sqrt(square + 1e-8)


class Capsules(nn.Module):
    """CapsNet with two routing iterations, whose coefficients are detached as in the common implementations."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.primary = nn.Conv2d(3, 16, 5, 2), nn.Conv2d(16, 16, 3, 2)
        self.weight = nn.Parameter(0.1 * torch.randn(1, 16, 4, 8, 4))

    def forward(self, x: Tensor) -> Tensor:
        low = squash(self.primary(F.relu(self.conv(x))).reshape(x.shape[0], 16, 4))
        votes = (self.weight @ low[:, :, None, :, None])[..., 0]
        logits = torch.zeros(votes.shape[:3])
        for _ in range(2):
            logits = logits + (votes.detach() * self.route(logits, votes.detach())[:, None]).sum(dim=-1)
        out: Tensor = self.route(logits, votes).norm(dim=-1)
        return out

    @staticmethod
    def route(logits: Tensor, votes: Tensor) -> Tensor:
        """The upper capsules for the given couplings."""
        return squash((logits.softmax(dim=2)[..., None] * votes).sum(dim=1))


def margin(model: nn.Module, batch: Batch) -> Tensor:
    """The capsule margin loss."""
    x, y = batch
    length, target = model(x), F.one_hot(y, 4)
    return (target * F.relu(0.9 - length) ** 2 + 0.5 * (1 - target) * F.relu(length - 0.1) ** 2).sum(dim=1).mean()


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


def cases() -> list[Case]:
    """The cases of this file."""
    return [
        case("vision_alexnet", "vision/alexnet", alexnet, IMAGES_32),
        case("vision_vgg11", "vision/vgg11", partial(vgg, False), IMAGES_32),
        case("vision_vgg11_bn", "vision/vgg11_bn", partial(vgg, True), IMAGES_32),
        case("vision_nin", "vision/nin", nin, IMAGES_32),
        case("vision_googlenet", "vision/googlenet", googlenet, IMAGES_32),
        case("vision_squeezenet", "vision/squeezenet", squeezenet, IMAGES_32),
        case("vision_resnet20", "vision/resnet20", partial(resnet, 3), IMAGES_32),
        case("vision_resnet56", "vision/resnet56", partial(resnet, 9), IMAGES_32),
        case("vision_resnet20_zero_init", "vision/resnet20_zero_init", partial(resnet, 3, True), IMAGES_32),
        case("vision_resnet56_zero_init", "vision/resnet56_zero_init", partial(resnet, 9, True), IMAGES_32),
        case("vision_preact_resnet", "vision/preact_resnet", lambda: he(staged(PreAct, 2)), IMAGES_32),
        case(
            "vision_wide_resnet",
            "vision/wide_resnet",
            lambda: he(staged(partial(PreAct, drop=0.3), 1, (16, 32, 48), nn.Conv2d(3, 16, 3, padding=1))),
            IMAGES_32,
        ),
        case("vision_resnext", "vision/resnext", lambda: he(staged(Bottleneck, 2, (16, 32))), IMAGES_32),
        case(
            "vision_se_resnet",
            "vision/se_resnet",
            lambda: he(staged(partial(Bottleneck, groups=1, excite=True), 2, (16, 32))),
            IMAGES_32,
        ),
        case("vision_densenet", "vision/densenet", densenet, IMAGES_32),
        case(
            "vision_mobilenet_v2_block",
            "vision/mobilenet_v2_block",
            lambda: he(staged(Inverted, 2, (8, 16, 24))),
            IMAGES_32,
        ),
        case(
            "vision_mobilenet_v3_block",
            "vision/mobilenet_v3_block",
            lambda: he(
                staged(partial(Inverted, act=nn.Hardswish, excite=partial(Excite, gate=nn.Hardsigmoid)), 2, (8, 16, 24))
            ),
            IMAGES_32,
        ),
        case(
            "vision_efficientnet_block",
            "vision/efficientnet_block",
            lambda: he(staged(partial(Inverted, act=nn.SiLU, excite=Excite), 2, (8, 16, 24))),
            IMAGES_32,
        ),
        case("vision_shufflenet", "vision/shufflenet", shufflenet, IMAGES_32),
        case("vision_fixup_resnet", "vision/fixup_resnet", fixup, IMAGES_32),
        case(
            "vision_skipinit_resnet",
            "vision/skipinit_resnet",
            lambda: he(staged(SkipInit, 2, stem=nn.Conv2d(3, 8, 3, padding=1))),
            IMAGES_32,
        ),
        case("vision_nfnet", "vision/nfnet", lambda: staged(Free, 2, (16, 32), StandardConv(3, 16, 3, 2)), IMAGES_32),
        case("vision_lenet5", "vision/lenet5", lenet, pictures(1, 28)),
        case("vision_highway_20", "vision/highway", highway, IMAGES_16),
        case(
            "vision_resnet20_bfloat16", "vision/resnet20", lambda: resnet(3).bfloat16(), cast(IMAGES_32, torch.bfloat16)
        ),
        case("vision_resnet20_float64", "vision/resnet20", lambda: resnet(3).double(), cast(IMAGES_32, torch.float64)),
        case("vision_capsules", "vision/capsules", Capsules, IMAGES_16, margin),
        case("third_vision_keras_cifar", "third/keras_cifar", keras_cifar, pictures(side=16), round=3),
        case(
            "third_vision_mnist_example",
            "third/mnist_example",
            MnistExample,
            pictures(1, 16),
            supervised(F.nll_loss),
            round=3,
        ),
    ]
