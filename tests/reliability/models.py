"""Models of many kinds, small, each with a batch and a loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.utils.checkpoint import checkpoint

ROWS = 6


class Case(NamedTuple):
    model: nn.Module
    batch: Any
    step: Callable[[nn.Module, Any], Tensor]


def classified(model: nn.Module, batch: Any) -> Tensor:
    output = model(batch[0])
    return F.cross_entropy(output[0] if isinstance(output, tuple) else output, batch[1])


def _flat(*layers: nn.Module, width: int = 8) -> Case:
    """Layers over vectors of 8 features."""
    model = nn.Sequential(nn.Linear(8, 8), *layers, nn.Linear(width, 3))
    return Case(model, (torch.randn(ROWS, 8), torch.arange(ROWS) % 3), classified)


def _images(*layers: nn.Module) -> Case:
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(3)
    )
    model(torch.randn(2, 2, 8, 8))
    return Case(model, (torch.randn(ROWS, 2, 8, 8), torch.arange(ROWS) % 3), classified)


def _sequences(body: nn.Module) -> Case:
    return Case(_Sequences(body), (torch.randn(ROWS, 5, 8), torch.arange(ROWS) % 3), classified)


class _Sequences(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body, self.head = body, nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        made = self.body(x)
        logits: Tensor = self.head((made[0] if isinstance(made, tuple) else made).mean(1))
        return logits


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True, dropout=0.1)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x)[0]


class _Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.2), nn.Tanh())

    def forward(self, x: Tensor) -> Any:
        return checkpoint(self.inner, x, use_reentrant=False)


class _Counting(nn.Module):
    """Keeps books of every kind."""

    __slots__ = ("calls",)

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "calls", 0)
        self.books: dict[str, Any] = {"losses": [], "nested": {"steps": [0], "seen": {1}}, "pair": ([], 0)}
        self.draw, self.numbers = torch.Generator().manual_seed(1), {"noise": [torch.Generator().manual_seed(2)]}
        self.cache, self.caches = torch.zeros(8), [torch.zeros(2)]
        self.register_buffer("count", torch.zeros((), dtype=torch.long))
        self.weight = nn.Parameter(torch.ones(8))

    def forward(self, x: Tensor) -> Tensor:
        object.__setattr__(self, "calls", self.calls + 1)
        self.books["losses"].append(1)
        self.books["nested"]["steps"][0] += 1
        self.books["nested"]["seen"].add(len(self.books["losses"]))
        self.books["pair"][0].append(1)
        self.books["made"] = {}
        self.cache += torch.rand(8, generator=self.draw) + torch.rand((), generator=self.numbers["noise"][0])
        self.caches[0] += 1
        self.count += 1
        self.made_on_the_way = object()
        self.weight.register_hook(lambda gradient: gradient)
        self.register_forward_hook(lambda *args: None)
        with torch.no_grad():
            self.weight.data.mul_(1.01)
        return x * self.weight


class _Spread(nn.Module):
    """Holds layers where torch does not look for them."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = [nn.Linear(8, 8), nn.BatchNorm1d(8)]

    def forward(self, x: Tensor) -> Any:
        return x + self.hidden[1](self.hidden[0](x))


class _Rewired(nn.Module):
    """Makes and drops parts, and changes what trains."""

    def __init__(self) -> None:
        super().__init__()
        self.kept, self.frozen = nn.Linear(8, 8), nn.Linear(8, 8).requires_grad_(False)

    def forward(self, x: Tensor) -> Any:
        self.extra = nn.Linear(8, 8)
        self.frozen.requires_grad_(True)
        self.kept.weight.grad = torch.ones(8, 8)
        self.eval()
        return self.kept(x) + self.frozen(x)


def _pruned() -> nn.Module:
    return prune.l1_unstructured(nn.Linear(8, 8), "weight", amount=0.5)


def _parametrised() -> nn.Module:
    layer = nn.Linear(8, 8)
    parametrize.register_parametrization(layer, "weight", _Symmetric())
    return layer


class _Symmetric(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.triu() + x.triu(1).transpose(-1, -2)


def _tied() -> Case:
    model = nn.Sequential(nn.Embedding(9, 8), nn.Flatten(0, 1), nn.Linear(8, 9, bias=False))
    model[2].weight = model[0].weight
    return Case(model, (torch.arange(6).reshape(3, 2), torch.arange(6)), classified)


def _sparse() -> Case:
    model = nn.Sequential(nn.EmbeddingBag(9, 8, sparse=True), nn.Linear(8, 3))
    return Case(model, (torch.arange(12).reshape(ROWS, 2) % 9, torch.arange(ROWS) % 3), classified)


def _adaptive_softmax() -> Case:
    model = nn.AdaptiveLogSoftmaxWithLoss(8, 20, [5, 10])
    return Case(model, (torch.randn(ROWS, 8), torch.arange(ROWS) + 4), lambda model, batch: model(*batch).loss)


def _frozen_start() -> Case:
    case = _flat(nn.ReLU())
    nn.init.zeros_(case.model[2].weight)  # needs a second look
    return case


FLAT: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU, "relu in place": lambda: nn.ReLU(inplace=True), "leaky": lambda: nn.LeakyReLU(inplace=True), "prelu": nn.PReLU,
    "rrelu": nn.RReLU, "gelu": nn.GELU, "silu": nn.SiLU, "mish": nn.Mish, "elu": nn.ELU, "selu": nn.SELU, "celu": nn.CELU,
    "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "softplus": nn.Softplus, "softmax": lambda: nn.Softmax(-1), "hardtanh": nn.Hardtanh,
    "hardswish": nn.Hardswish, "tanhshrink": nn.Tanhshrink, "identity": nn.Identity, "dropout": nn.Dropout,
    "alpha dropout": lambda: nn.AlphaDropout(0.3), "feature dropout": lambda: nn.FeatureAlphaDropout(0.3),
    "batch norm": lambda: nn.BatchNorm1d(8), "cumulative batch norm": lambda: nn.BatchNorm1d(8, momentum=None),
    "batch norm without statistics": lambda: nn.BatchNorm1d(8, track_running_stats=False),
    "batch norm that evaluates": lambda: nn.BatchNorm1d(8).eval(),
    "layer norm": lambda: nn.LayerNorm(8), "group norm": lambda: nn.GroupNorm(2, 8), "rms norm": lambda: nn.RMSNorm(8),
    "spectral norm": lambda: parametrizations.spectral_norm(nn.Linear(8, 8)),
    "old spectral norm": lambda: nn.utils.spectral_norm(nn.Linear(8, 8)),
    "weight norm": lambda: parametrizations.weight_norm(nn.Linear(8, 8)),
    "orthogonal": lambda: parametrizations.orthogonal(nn.Linear(8, 8)), "parametrised": _parametrised, "pruned": _pruned,
    "frozen": lambda: nn.Linear(8, 8).requires_grad_(False), "checkpointed": _Checkpointed, "counting": _Counting,
    "spread": _Spread, "rewired": _Rewired, "no bias": lambda: nn.Linear(8, 8, bias=False),
}  # fmt: skip
IMAGES: dict[str, Callable[[], nn.Module]] = {
    "batch norm 2d": lambda: nn.BatchNorm2d(4), "instance norm": lambda: nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
    "dropout 2d": nn.Dropout2d, "max pool": lambda: nn.MaxPool2d(2), "average pool": lambda: nn.AvgPool2d(2),
    "transposed": lambda: nn.ConvTranspose2d(4, 4, 2, 2), "grouped": lambda: nn.Conv2d(4, 4, 3, groups=4),
    "upsample": lambda: nn.Upsample(scale_factor=2), "local response": lambda: nn.LocalResponseNorm(2), "unfold": lambda: nn.PixelUnshuffle(2),
}  # fmt: skip
SEQUENCES: dict[str, Callable[[], nn.Module]] = {
    "rnn": lambda: nn.RNN(8, 8, batch_first=True), "gru": lambda: nn.GRU(8, 8, batch_first=True),
    "lstm": lambda: nn.LSTM(8, 8, 2, batch_first=True, dropout=0.1), "attention": _Attention,
    "transformer": lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
    "conv 1d": lambda: nn.Conv1d(5, 5, 3, padding=1),
}  # fmt: skip
CASES: dict[str, Callable[[], Case]] = {
    **{name: lambda make=make: _flat(make()) for name, make in FLAT.items()},
    **{name: lambda make=make: _images(make()) for name, make in IMAGES.items()},
    **{name: lambda make=make: _sequences(make()) for name, make in SEQUENCES.items()},
    "tied": _tied, "sparse": _sparse, "adaptive softmax": _adaptive_softmax, "a head of zeros": _frozen_start,
    "bilinear": lambda: Case(nn.Bilinear(4, 4, 3), (torch.randn(ROWS, 4), torch.randn(ROWS, 4), torch.arange(ROWS) % 3),
                             lambda model, batch: F.cross_entropy(model(*batch[:2]), batch[2])),
    "double": lambda: Case(nn.Linear(4, 3).double(), (torch.randn(ROWS, 4).double(), torch.arange(ROWS) % 3), classified),
    "half": lambda: Case(nn.Linear(4, 3).bfloat16(), (torch.randn(ROWS, 4).bfloat16(), torch.arange(ROWS) % 3), classified),
    "complex": lambda: Case(nn.Linear(4, 3, dtype=torch.cfloat), (torch.randn(ROWS, 4, dtype=torch.cfloat),),
                            lambda model, batch: model(batch[0]).abs().square().mean()),
}  # fmt: skip
