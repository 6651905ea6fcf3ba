"""How much slower a training loop is under watch: ``python -m benchmarks.overhead``.

Two copies of a model are trained for 100 steps each, one step watched and one not in turn, on one thread and in
processor time: what else the machine is doing meets both. A loop's time is the sum over its steps of each step's median
over all rounds. Every pass is under watch; ``every pass measured`` also takes its numbers each time, which no option of
the plugin does, and tells what a single measured pass costs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytest_gradhealth.measure.watching import model as watching
from pytest_gradhealth.measure.watching.watch import Watch

Step = Callable[[], Tensor]


class Residual(nn.Module):
    def __init__(self, given: int, made: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(given, made, 3, stride, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(made), nn.BatchNorm2d(made)
        self.conv2 = nn.Conv2d(made, made, 3, 1, 1, bias=False)
        self.skip = nn.Conv2d(given, made, 1, stride, bias=False) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(out + self.skip(x))


def resnet() -> Step:
    """Four stages of two blocks, as in ResNet-18, at 16 to 128 channels on 32x32 images."""
    widths = (16, 32, 64, 128)
    stages = [Residual(a, b, 2 if a != b else 1) for w, b in zip((16, *widths), widths, strict=False) for a in (w, b)]
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, 1, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        *stages,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(128, 10),
    )
    return _step(model, lambda: F.cross_entropy(model(torch.randn(16, 3, 32, 32)), torch.randint(10, (16,))))


def gpt2() -> Step:
    """transformers' GPT-2 at width 128, 4 layers, 4 heads, on 8 sequences of 64 tokens."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(n_embd=128, n_layer=4, n_head=4, n_positions=64, vocab_size=1000)
    model: Any = GPT2LMHeadModel(config)

    def loss() -> Tensor:
        tokens = torch.randint(1000, (8, 64))
        return model(input_ids=tokens, labels=tokens).loss

    return _step(model, loss)


def mlp() -> Step:
    """Three layers of width 32 on 32 samples: a step of a third of a millisecond."""
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))
    return _step(model, lambda: F.cross_entropy(model(torch.randn(32, 16)), torch.randint(4, (32,))))


def _step(model: nn.Module, loss: Step) -> Step:
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)

    def step() -> Tensor:
        optimiser.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        return value

    return step


def seconds(make: Callable[[], Step], steps: int) -> tuple[list[float], list[float]]:
    """Processor time of each step, unwatched and watched."""
    torch.manual_seed(0)
    watch, pair = Watch(), ((nullcontext(), make()), (None, make()))
    times: tuple[list[float], list[float]] = ([], [])
    for _, step in pair:
        step()
    for _ in range(steps):
        for (context, step), taken in zip(pair, times, strict=True):
            with context or watch:  # the same watch again goes on counting
                begin = time.process_time()
                step()
                taken.append(time.process_time() - begin)
    return times


def whole(rounds: list[list[float]]) -> float:
    return sum(statistics.median(times) for times in zip(*rounds, strict=True))


def measure(make: Callable[[], Step], steps: int, rounds: int) -> float:
    unwatched, watched = zip(*(seconds(make, steps) for _ in range(rounds)), strict=True)
    return whole(list(watched)) / whole(list(unwatched))


MODELS = {"resnet": resnet, "gpt2": gpt2, "mlp": mlp}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", choices=MODELS, default=list(MODELS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    python = sys.version.split()[0]
    print(f"torch {torch.__version__}, Python {python}, {options.steps} steps, {options.rounds} rounds")
    for make in (MODELS[name] for name in options.only):
        print(f"{make.__name__:8} watched              {measure(make, options.steps, options.rounds):.3f}")
    watching.is_due = lambda number: True
    for make in (MODELS[name] for name in options.only):
        print(f"{make.__name__:8} every pass measured  {measure(make, options.steps, 2):.3f}")


if __name__ == "__main__":
    main()
