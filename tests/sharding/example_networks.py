"""The sick networks of the examples, whole and sharded."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Replicate
from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module

from pytest_gradhealth import GradHealth
from pytest_gradhealth.record import Check

EXAMPLES = Path(__file__).parents[2] / "examples"
SAMPLES = 32
MANY = 50
TRAINED_FOR = 20
"""Steps of those that are watched."""

Found = list[tuple[str, str]]
"""Kinds of the findings, each with the layer that it names."""


class Sick(NamedTuple):
    """One network of an example."""

    make: Callable[[], nn.Module]
    size: int = 8
    """Height and width of the images that it takes."""
    max_ratio: float | None = None
    learning_rate: float = 0.0
    """Watched in training instead of checked, where it is not 0."""


def example(number: str) -> ModuleType:
    """The module of an example."""
    path = next(EXAMPLES.glob(f"test_{number}_*.py"))
    if path.stem not in sys.modules:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        made = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(made)
    return sys.modules[path.stem]


def died() -> nn.Module:
    """The network of the third example after its mistake, made on each rank alike."""
    model = example("03").network(nn.ReLU())
    x, y = images(8)
    example("03").train_with_a_mistake(model, list(zip(x.split(32), y.split(32), strict=True)) * 10)
    return model


def initialised(std: float) -> Callable[[], nn.Module]:
    return lambda: example("07").network(example("07").normal(std))


def recurrent(kind: type[nn.RNNBase]) -> Callable[[], nn.Module]:
    return lambda: example("08").Recall(kind(32, 32, batch_first=True))


NETWORKS: dict[str, Sick] = {
    "deep sigmoid": Sick(lambda: example("01").sigmoid_network()),
    "DeepNet": Sick(lambda: example("02").DeepNet(torch.sigmoid), 28, max_ratio=100),
    "dying ReLU": Sick(died),
    "CNN": Sick(lambda: example("04").ConvNet(torch.sigmoid), 28),
    "104 layers": Sick(lambda: example("05").VeryDeepNetwork(skip=False)),
    "without BatchNorm": Sick(lambda: example("06").sigmoid_network(normalised=False)),
    "too small": Sick(initialised(0.01)),
    "too large": Sick(initialised(1.0)),
    "unclipped": Sick(initialised(0.25), learning_rate=0.05),
    "RNN": Sick(recurrent(nn.RNN)),
    "LSTM": Sick(recurrent(nn.LSTM)),
    "transformer": Sick(lambda: example("09").Encoder(residual=False)),
    "plateau": Sick(lambda: example("10").network(nn.Sigmoid, nn.init.xavier_normal_), learning_rate=0.05),
}


TENSOR_PARALLEL = ("deep sigmoid", "DeepNet", "dying ReLU", "too large", "plateau")
"""Networks of linear layers; the others have few, or so many that it takes long."""


def images(size: int) -> tuple[Tensor, Tensor]:
    """Standardised digits, in one order."""
    data = load_digits()
    found = torch.tensor(data.images[:SAMPLES], dtype=torch.float32).unsqueeze(1)
    found = F.interpolate((found - found.mean()) / found.std(), size=(size, size), mode="bilinear")
    return found, torch.tensor(data.target[:SAMPLES])


def sharded(model: nn.Module) -> nn.Module:
    """Every part that is called by itself, and then the rest; of very many parts all at once, which takes less time."""
    found = [part for part in parts(model) if any(p.numel() for p in part.parameters())]
    for part in found if len(found) < MANY else ():
        fully_shard(part)
    return fully_shard(model)


def tensor_parallel(model: nn.Module) -> nn.Module:
    """Every linear layer with its units spread over the ranks, and its output whole on each of them."""
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    linear = [name for name, part in model.named_modules() if type(part) is nn.Linear]
    return parallelize_module(model, mesh, {name: ColwiseParallel(output_layouts=Replicate()) for name in linear})


def parts(model: nn.Module) -> list[nn.Module]:
    """Direct parts, and those of lists and sequences."""
    children = list(model.children())
    lists = [child for child in children if isinstance(child, nn.ModuleList | nn.Sequential)]
    return [child for child in children if child not in lists] + [part for held in lists for part in parts(held)]


def diagnosed(name: str, spread: Callable[[nn.Module], nn.Module], rank: int, ranks: int) -> Found:
    """What is found in one network, given one rank's share of the images."""
    case, checks = NETWORKS[name], list[Check]()
    torch.manual_seed(0)
    model = spread(case.make())
    x, y = (tensor[rank::ranks] for tensor in images(case.size))
    health = GradHealth(sink=checks.append, tolerate=lambda check: None)
    if case.learning_rate:
        with health.watch(model):
            train(model, x, y, case.learning_rate)
    else:
        health.check(model, (x, y), F.cross_entropy, device="cpu", max_ratio=case.max_ratio)
    return [(finding.kind, finding.layer) for finding in checks[0].findings]


def train(model: nn.Module, x: Tensor, y: Tensor, learning_rate: float) -> None:
    optimiser = torch.optim.SGD(model.parameters(), learning_rate, momentum=0.9)
    for _ in range(TRAINED_FOR):
        loss = F.cross_entropy(model(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def on_two_ranks() -> dict[str, dict[str, Found]]:
    """What is found in each network when it is spread, and what in the whole one, which only one rank looks at."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    found: dict[str, dict[str, Found]] = {name: {} for name in NETWORKS}
    for number, (name, ways) in enumerate(found.items()):
        ways["fully_shard"] = diagnosed(name, sharded, rank, ranks)
        if name in TENSOR_PARALLEL:
            ways["tensor parallel"] = diagnosed(name, tensor_parallel, 0, 1)
        if number % ranks == rank:
            ways["whole"] = diagnosed(name, lambda model: model, 0, 1)
    return found
