"""The programs: network, loss, optimiser and data of each, wrong and repaired. Layers start as Keras starts them.

Their faults are those that DeepLocalize (Wardat et al., 2021), AUTOTRAINER (Zhang et al., 2021), NeuraLint (Nikanjam et
al., 2021), UMLAUT (Schoop et al., 2021) and TrainCheck (Jiang et al., 2025) collected, or of the posts named. What was
written in Keras computes its losses as Keras does, on probabilities.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from benchmarks.published import data as d

EPS = 1e-7
ADAM = partial(Adam, lr=1e-3)
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "softmax": lambda: nn.Softmax(-1),
}
Make = Callable[[], nn.Sequential]


def dense(*sizes: int | str | float, start: Callable[[Tensor], object] = nn.init.xavier_uniform_) -> nn.Sequential:
    """Layers of these widths, the input's first; names are activations, numbers below 1 dropout, biases start at 0."""
    layers: list[nn.Module] = []
    width = sizes[0]
    for size in sizes[1:]:
        if isinstance(size, str):
            layers.append(ACTIVATIONS[size]())
        elif isinstance(size, float):
            layers.append(nn.Dropout(size))
        else:
            layers.append(nn.Linear(int(width), size))
            width = size
    return started(nn.Sequential(*layers), start)


def started(network: nn.Sequential, start: Callable[[Tensor], object]) -> nn.Sequential:
    for layer in network:
        if isinstance(layer, nn.Linear | nn.Conv2d):
            start(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    return network


def convolutional(start: Callable[[Tensor], object] = nn.init.xavier_uniform_) -> nn.Sequential:
    pool = partial(nn.MaxPool2d, 2)
    first, second = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)
    head = (nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10), nn.Softmax(-1))
    return started(nn.Sequential(first, nn.ReLU(), pool(), second, nn.ReLU(), pool(), *head), start)


def categorical(p: Tensor, target: Tensor) -> Tensor:
    """Keras' categorical_crossentropy."""
    p = (p / p.sum(-1, keepdim=True)).clamp(EPS, 1 - EPS)
    return -(target * p.log()).sum(-1).mean()


def binary(p: Tensor, target: Tensor) -> Tensor:
    """Keras' binary_crossentropy."""
    p = p.clamp(EPS, 1 - EPS)
    return -(target * p.log() + (1 - target) * (1 - p).log()).mean()


@dataclass(frozen=True, kw_only=True)
class Version:
    """What one program trains; ``kept`` leaves out of the optimiser what it should hold."""

    data: Callable[[], d.Data]
    network: Make
    loss: Callable[[Tensor, Tensor], Tensor]
    optimiser: Callable[..., Optimizer] = ADAM
    kept: int = 0
    """First layers that the optimiser does not hold."""

    def optimise(self, network: nn.Sequential) -> Optimizer:
        return self.optimiser(network[self.kept :].parameters())


@dataclass(frozen=True, kw_only=True)
class Program:
    """``kinds`` are the rules that name the fault, written down before they were asked; none: no pass shows it."""

    name: str
    source: str
    wrong: Version
    repaired: Version
    kinds: tuple[str, ...] = ()


def program(name: str, source: str, kinds: str, repaired: Version, **wrong: object) -> Program:
    changed = replace(repaired, **wrong)  # type: ignore[arg-type]
    return Program(name=name, source=source, wrong=changed, repaired=repaired, kinds=tuple(kinds.split()))


def normal(std: float, mean: float = 0.0) -> Callable[[Tensor], object]:
    return lambda weight: nn.init.normal_(weight, mean, std)


def _stack(activation: str, depth: int, start: Callable[[Tensor], object]) -> nn.Sequential:
    hidden: list[int | str | float] = [16, activation] * depth
    return dense(2, *hidden, 1, "sigmoid", start=start)


RING = Version(data=d.circles, network=lambda: _stack("relu", 2, nn.init.kaiming_uniform_), loss=binary)
BLOB = Version(data=d.blobs, network=lambda: dense(2, 16, "relu", 16, "relu", 3, "softmax"), loss=categorical)
DIGIT = Version(data=d.digits, network=lambda: dense(256, 64, "relu", 10, "softmax"), loss=categorical)
IMAGE = Version(data=partial(d.digits, flat=False), network=convolutional, loss=categorical)
SCORED = Version(data=lambda: d.classes(d.digits()), network=lambda: dense(256, 64, "relu", 10), loss=F.cross_entropy)
NEWS = Version(data=d.newswires, network=lambda: dense(400, 64, "relu", 64, "relu", 8, "softmax"), loss=categorical)
HOUSE = Version(data=d.prices, network=lambda: dense(8, 32, "relu", 1), loss=F.mse_loss)
DEEP_RING = replace(RING, network=lambda: _stack("relu", 8, nn.init.kaiming_uniform_))
FAST, SLOW = "excessive-steps", "negligible-steps"

AUTOTRAINER = "AUTOTRAINER (ICSE 2021)"
NEURALINT = "NeuraLint (TOSEM 2021)"
DEEPLOCALIZE = "DeepLocalize (ICSE 2021)"
UMLAUT = "UMLAUT (CHI 2021)"
TRAINCHECK = "TrainCheck (OSDI 2025)"
DL_FORUM = "https://community.deeplearning.ai/t/loss-values-do-not-change/324182"
XOR_POST = "https://stats.stackexchange.com/questions/433365/xor-with-neural-network"
CUBES_POST = "https://discuss.pytorch.org/t/neural-network-could-not-learn-on-this-type-of-data-why/96648"

PROGRAMS: tuple[Program, ...] = (
    program(
        "ring-sigmoids",
        AUTOTRAINER,
        "vanishing-gradient collapsed-samples",
        DEEP_RING,
        network=lambda: _stack("sigmoid", 8, nn.init.xavier_uniform_),
        optimiser=partial(SGD, lr=0.1),
    ),
    program(
        "ring-exploding",
        AUTOTRAINER,
        "exploding-gradient exploding-signal clamped-probabilities saturated-activations",
        DEEP_RING,
        network=lambda: _stack("relu", 8, normal(2.0)),
        optimiser=partial(SGD, lr=0.1),
    ),
    program(
        "ring-dying", AUTOTRAINER, "dead-units dead-layer", RING, network=lambda: _stack("relu", 3, normal(0.1, -0.5))
    ),
    program(
        "ring-fading",
        AUTOTRAINER,
        "fading-signal vanishing-gradient",
        DEEP_RING,
        network=lambda: _stack("tanh", 8, normal(0.01)),
    ),
    program("blob-oscillating", AUTOTRAINER, FAST, BLOB, optimiser=partial(SGD, lr=30.0)),
    program("blob-slow", AUTOTRAINER, SLOW, BLOB, optimiser=partial(Adam, lr=1e-7)),
    program(
        "digits-saturated",
        AUTOTRAINER,
        "saturated-activations vanishing-gradient exploding-signal large-initial-loss dead-units dead-layer",
        replace(DIGIT, network=lambda: dense(256, 64, "tanh", 64, "tanh", 10, "softmax")),
        network=lambda: dense(256, 64, "tanh", 64, "tanh", 10, "softmax", start=normal(10.0)),
    ),
    program(
        "images-exploding",
        AUTOTRAINER,
        "exploding-signal clamped-probabilities large-initial-loss exploding-gradient",
        IMAGE,
        network=lambda: convolutional(normal(1.0)),
    ),
    program("news-slow", AUTOTRAINER, SLOW, NEWS, optimiser=partial(SGD, lr=1e-6)),
    program("news-oscillating", AUTOTRAINER, FAST, NEWS, optimiser=partial(Adam, lr=1.0)),
    program(
        "xor-linear",
        XOR_POST,
        "missing-activation",
        Version(
            data=d.xor, network=lambda: dense(2, 8, "relu", 1, "sigmoid"), loss=binary, optimiser=partial(Adam, lr=0.02)
        ),
        network=lambda: dense(2, 8, 8, 1, "sigmoid"),
    ),
    program("ring-linear", NEURALINT, "missing-activation", RING, network=lambda: dense(2, 16, 16, 1, "sigmoid")),
    program("house-linear", NEURALINT, "missing-activation", HOUSE, network=lambda: dense(8, 32, 32, 1)),
    program(
        "line-relu",
        DL_FORUM,
        "unreachable-targets",
        Version(
            data=d.line,
            network=lambda: dense(1, 4, "relu", 2, "relu", 1),
            loss=F.mse_loss,
            optimiser=partial(Adam, lr=0.01),
        ),
        network=lambda: dense(1, 4, "relu", 2, "relu", 1, "relu"),
    ),
    program(
        "house-softmax",
        DEEPLOCALIZE,
        "single-class unreachable-targets",
        HOUSE,
        network=lambda: dense(8, 32, "relu", 1, "softmax"),
    ),
    program(
        "house-sigmoid", DEEPLOCALIZE, "unreachable-targets", HOUSE, network=lambda: dense(8, 32, "relu", 1, "sigmoid")
    ),
    program(
        "house-dollars",
        DEEPLOCALIZE,
        "unscaled-targets insensitive-loss",
        HOUSE,
        data=partial(d.prices, scaled_targets=False),
    ),
    program(
        "cubes",
        CUBES_POST,
        "unscaled-targets unscaled-input insensitive-loss",
        Version(data=partial(d.cubes, True), network=lambda: dense(1, 50, "relu", 1), loss=F.mse_loss),
        data=partial(d.cubes, False),
    ),
    program(
        "celsius",
        "https://forums.fast.ai, linear regression from Celsius to Fahrenheit, July 2018",
        "unscaled-input",
        Version(
            data=partial(d.fahrenheit, True),
            network=lambda: dense(1, 1),
            loss=F.mse_loss,
            optimiser=partial(SGD, lr=0.05),
        ),
        data=partial(d.fahrenheit, False),
    ),
    program(
        "incomes",
        DEEPLOCALIZE,
        "unscaled-input",
        Version(
            data=partial(d.incomes, True),
            network=lambda: dense(4, 16, "relu", 1, "sigmoid"),
            loss=binary,
            optimiser=partial(Adam, lr=0.01),
        ),
        data=partial(d.incomes, False),
    ),
    program(
        "digits-pixels", UMLAUT, "unscaled-input", DIGIT, data=partial(d.digits, 255.0), optimiser=partial(SGD, lr=0.01)
    ),
    program(
        "blob-class-numbers", NEURALINT, "broadcast-targets", BLOB, data=lambda: d.numbered(d.blobs()), loss=F.mse_loss
    ),
    program("house-broadcast", NEURALINT, "broadcast-targets", HOUSE, data=lambda: d.without_last(d.prices())),
    program(
        "digits-no-softmax",
        UMLAUT,
        "clamped-probabilities",
        DIGIT,
        network=lambda: dense(256, 64, "relu", 10),
    ),
    program(
        "digits-relu", NEURALINT, "activation-before-loss", DIGIT, network=lambda: dense(256, 64, "relu", 10, "relu")
    ),
    program(
        "digits-two-softmaxes",
        UMLAUT,
        "activation-before-loss",
        SCORED,
        network=lambda: dense(256, 64, "relu", 10, "softmax"),
        optimiser=partial(SGD, lr=0.01),
    ),
    program("digits-dropout", UMLAUT, "excessive-dropout", SCORED, network=lambda: dense(256, 64, "relu", 0.99, 10)),
    program("digits-rate", UMLAUT, FAST, SCORED, optimiser=partial(Adam, lr=10.0)),
    program("digits-momentum", DEEPLOCALIZE, FAST, SCORED, optimiser=partial(SGD, lr=2.0, momentum=0.99)),
    program(
        "digits-decay",
        DEEPLOCALIZE,
        "excessive-weight-decay",
        SCORED,
        optimiser=partial(Adam, lr=1e-3, weight_decay=10.0),
    ),
    program(
        "digits-zeros",
        DEEPLOCALIZE,
        "identical-units dead-layer",
        SCORED,
        network=lambda: dense(256, 64, "relu", 10, start=nn.init.zeros_),
    ),
    program("ring-trunk-left-out", TRAINCHECK, "unoptimised-layer", RING, kept=4),
    program("ring-ascent", TRAINCHECK, "maximised-loss", RING, optimiser=partial(Adam, lr=1e-3, maximize=True)),
)
