"""Small networks, healthy and sick, their batches, and how to have them judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytest_gradhealth import GradHealth, GradientHealthError, Settings
from pytest_gradhealth.record import Check, Finding

WIDTH, CLASSES = 24, 5

Build = Callable[[], nn.Module]


def examined(build: Build | nn.Module, batches: Any, seed: int = 0, **how: Any) -> Check:
    """The check of a model, whatever its verdict; cross entropy is the loss unless ``loss`` or ``step`` is given."""
    kept: list[Check] = []
    if not {"loss", "step"} & how.keys():
        how["loss"] = F.cross_entropy
    try:
        GradHealth(Settings(device="cpu", seed=seed), sink=kept.append).check(build, batches, **how)
    except GradientHealthError:
        assert kept[-1].findings
    return kept[-1]


def kinds(check: Check) -> list[str]:
    return [finding.fault for finding in check.findings]


def only(check: Check, kind: str) -> Finding:
    """The only finding, which is of this kind."""
    assert kinds(check) == [kind], [finding.message for finding in check.findings]
    return check.findings[0]


def verdict(check: Check) -> tuple[frozenset[str], int | None]:
    """The kinds of finding, and where the gravest lies: how many layers begin no later than what it names."""
    found = frozenset(kinds(check))
    if not found:
        return found, None
    record = check.record
    orders = {signal.name: signal.order for signal in record.signals}
    culprit = orders.get(check.findings[0].layer, -1)
    return found, sum(1 for layer in record if layer.order is not None and layer.order <= culprit)


# --- batches -----------------------------------------------------------------------------------------------------


def rows(size: int = 8, seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(size, WIDTH, generator=draw).to(dtype), torch.randint(CLASSES, (size,), generator=draw)


def images(size: int = 8, seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(size, 3, 12, 12, generator=draw).to(dtype), torch.randint(CLASSES, (size,), generator=draw)


def sequences(
    size: int = 8, seed: int = 0, dtype: torch.dtype = torch.float32, length: int = 10
) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(size, length, WIDTH, generator=draw).to(dtype), torch.randint(CLASSES, (size,), generator=draw)


BATCHES = [rows(seed=1), rows(seed=2)]


# --- building blocks ---------------------------------------------------------------------------------------------


class Apply(nn.Module):
    """A function in the place of a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Functional(nn.Module):
    """The layers of a Sequential that own parameters, with everything between them called as a function."""

    def __init__(self, chain: nn.Sequential) -> None:
        super().__init__()
        self.steps: list[Callable[[Tensor], Tensor]] = []
        for position, module in enumerate(chain):
            owns = any(True for _ in module.parameters())
            self.steps.append(module if owns else module.forward)
            if owns:
                self.add_module(f"layer{position}", module)

    def forward(self, x: Tensor) -> Tensor:
        for step in self.steps:
            x = step(x)
        return x


class Wrapper(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.inner(*args, **kwargs)


class Residual(nn.Module):
    def __init__(self, *branch: nn.Module) -> None:
        super().__init__()
        self.branch = nn.Sequential(*branch)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = x + self.branch(x)
        return output


def initialised(model: nn.Module, init: Callable[[Tensor], Any], bias: float = 0.0) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            init(module.weight)
            if module.bias is not None:
                nn.init.constant_(module.bias, bias)
    return model


def chain(depth: int, activation: Callable[[], nn.Module], extra: dict[int, Sequence[nn.Module]] | None = None) -> Any:
    """``depth`` hidden layers and a head; ``extra`` modules stand behind the activation of that number."""
    modules: list[nn.Module] = []
    for number in range(depth):
        modules += [nn.Linear(WIDTH, WIDTH), activation(), *(extra or {}).get(number, ())]
    return nn.Sequential(*modules, nn.Linear(WIDTH, CLASSES))


def blocks(make: Callable[[], nn.Module], number: int = 6) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Linear(WIDTH, WIDTH), *(make() for _ in range(number)), nn.Linear(WIDTH, CLASSES))


# --- healthy -----------------------------------------------------------------------------------------------------


def relu_mlp(depth: int = 6) -> nn.Module:
    return initialised(chain(depth, nn.ReLU), nn.init.kaiming_normal_)


def conv_bn() -> nn.Module:
    def block(channels: int) -> list[nn.Module]:
        return [nn.Conv2d(channels, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()]

    return nn.Sequential(*block(3), *block(8), *block(8), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, CLASSES))


class Attention(nn.Module):
    """Single-head self-attention out of four Linear layers."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        scores = self.query(x) @ self.key(x).transpose(1, 2) / x.shape[-1] ** 0.5
        output: Tensor = self.out(scores.softmax(-1) @ self.value(x))
        return output


def encoder(depth: int = 4, skip: bool = True, dropout: float = 0.0) -> nn.Module:
    """Pre-norm transformer encoder over already embedded tokens; without skip connections on request."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        noise = [nn.Dropout(dropout)] if dropout else []
        attend: list[nn.Module] = [nn.LayerNorm(WIDTH), Attention(), *noise]
        think: list[nn.Module] = [nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 48), nn.GELU(), *noise, nn.Linear(48, WIDTH)]
        layers += [Residual(*attend), Residual(*think)] if skip else [*attend, *think]
    return nn.Sequential(*layers, nn.LayerNorm(WIDTH), Apply(lambda x: x.mean(1)), nn.Linear(WIDTH, CLASSES))


class Recurrent(nn.Module):
    """The last output of a recurrent network, classified."""

    def __init__(self, kind: type[nn.RNNBase] = nn.LSTM, forget: float | None = None, **options: Any) -> None:
        super().__init__()
        self.rnn = kind(WIDTH, WIDTH, batch_first=True, **options)
        self.head = nn.Linear(WIDTH, CLASSES)
        if forget is not None:
            nn.init.constant_(self.rnn.bias_hh_l0[WIDTH : 2 * WIDTH], forget)  # the gates are i, f, g, o

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.head(self.rnn(x)[0][:, -1])
        return output


def batch_normalised(depth: int) -> Callable[[], nn.Module]:
    """Through each layer the gradient grows by a fifth, however it is initialised."""
    layer = lambda: nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU())  # noqa: E731
    return lambda: nn.Sequential(*(layer() for _ in range(depth)), nn.Linear(WIDTH, CLASSES))


class ZeroInit(nn.Module):
    """Residual blocks whose branch starts at zero, in one of the usual ways; ``both`` closes it twice."""

    def __init__(self, way: str, both: bool = False) -> None:
        super().__init__()
        self.norm, self.first, self.second = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        value = {"zero weight": 1.0, "layer scale": 1e-6, "rezero": 0.0}[way]
        self.gate = nn.Parameter(torch.full((1 if way == "rezero" else WIDTH,), value))
        if way == "zero weight" or both:
            nn.init.zeros_(self.second.weight)
            nn.init.zeros_(self.second.bias)
        if both:
            nn.init.zeros_(self.gate)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = x + self.gate * self.second(self.first(self.norm(x)).relu())
        return output


class Forecaster(nn.Module):
    """N-BEATS: each block takes its backcast from what the next one is given."""

    def __init__(self, detach: bool = False) -> None:
        super().__init__()
        self.detach = detach
        self.blocks = nn.ModuleList(
            nn.ModuleDict({name: nn.Linear(WIDTH, WIDTH) for name in ("trunk", "backcast", "forecast")})
            for _ in range(3)
        )
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        total = torch.zeros_like(x)
        for number, block in enumerate(self.blocks):
            hidden = block["trunk"](x).relu()  # type: ignore[index]
            x = x - block["backcast"](hidden)  # type: ignore[index]
            forecast = block["forecast"](hidden)  # type: ignore[index]
            total = total + (forecast.detach() if self.detach and number == 2 else forecast)
        output: Tensor = self.head(total)
        return output


class WaveNet(nn.Module):
    """Residual and skip layers in parallel lists; ``forgotten``: the last block is never called."""

    def __init__(self, forgotten: bool = False) -> None:
        super().__init__()
        self.forgotten = forgotten
        self.residuals, self.skips = (nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(3)) for _ in range(2))
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        total = torch.zeros_like(x)
        for number, (residual, skip) in enumerate(zip(self.residuals, self.skips, strict=True)):
            if not (self.forgotten and number == 2):
                total = total + skip(x.tanh())
                x = x + residual(x.tanh())
        output: Tensor = self.head(total)
        return output


class ReadOut(nn.Module):
    """Blocks that refine the first position and the others by layers of their own; only the first is read."""

    def __init__(self, last: str = "") -> None:
        super().__init__()
        self.last = last
        names = ("first", "others", "value", "branch", "out")
        self.blocks = nn.ModuleList(nn.ModuleDict({name: nn.Linear(WIDTH, WIDTH) for name in names}) for _ in range(3))
        self.head = nn.Linear(WIDTH, CLASSES)
        if last == "dead":
            nn.init.constant_(self.blocks[2]["branch"].bias, -100.0)  # type: ignore[index]

    def forward(self, x: Tensor) -> Tensor:
        for number, block in enumerate(self.blocks):
            query = torch.cat([block["first"](x[:, :1]), block["others"](x[:, 1:])], 1)  # type: ignore[index]
            seen = (query @ x.transpose(1, 2) / WIDTH**0.5).softmax(-1)
            branch = block["out"](block["branch"](x).relu())  # type: ignore[index]
            x = x + seen @ block["value"](x) + branch * (0.0 if self.last == "zero" and number == 2 else 1.0)  # type: ignore[index]
        output: Tensor = self.head(x[:, 0])
        return output


# --- sick --------------------------------------------------------------------------------------------------------


def sigmoid_stack(depth: int = 12) -> nn.Module:
    return chain(depth, nn.Sigmoid)


def detached() -> nn.Module:
    return initialised(chain(6, nn.ReLU, {2: [Apply(lambda x: x.detach())]}), nn.init.kaiming_normal_)


def dead_relu() -> nn.Module:
    model = relu_mlp()
    nn.init.constant_(model.get_submodule("6").bias, -100.0)  # type: ignore[arg-type]
    return model


def nan_backward() -> nn.Module:
    """A distance of every point to itself is zero; the slope of its root is infinite."""
    itself = Apply(lambda x: x + (x - x).square().sum(-1, keepdim=True).sqrt())
    return initialised(chain(6, nn.ReLU, {2: [itself]}), nn.init.kaiming_normal_)


def constant_init() -> nn.Module:
    return initialised(chain(4, nn.ReLU), lambda weight: nn.init.constant_(weight, 0.05))


def exploding_tanh() -> nn.Module:
    return initialised(chain(12, nn.Tanh), lambda weight: nn.init.normal_(weight, std=3.0))


HEALTHY: dict[str, tuple[Build, Callable[..., Any]]] = {
    "relu mlp": (relu_mlp, rows),
    "conv and batch norm": (conv_bn, images),
    "pre-norm transformer": (encoder, sequences),
    "lstm": (Recurrent, sequences),
}
SICK: dict[str, tuple[Build, Callable[..., Any], str]] = {
    "sigmoid stack": (sigmoid_stack, rows, "vanishing"),
    "detach": (detached, rows, "missing"),
    "dead relu": (dead_relu, rows, "dead"),
    "nan in backward": (nan_backward, rows, "non-finite"),
    "constant init": (constant_init, rows, "symmetric"),
    "exploding tanh": (exploding_tanh, rows, "exploding"),
}
