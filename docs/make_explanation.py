"""Write the table of ``docs/explanation.md``: ``python docs/make_explanation.py``; ``--check`` only compares."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from pytest_gradhealth import GradHealth, Settings

PAGE = Path(__file__).with_name("explanation.md")
MEASURED_BY = re.compile(r"^Measured by .*$", re.MULTILINE)
TABLE = re.compile(r"(<!-- measured:begin -->\n).*(<!-- measured:end -->)", re.DOTALL)
DEPTHS = (2, 4, 8, 16)
WIDTH = 64


def stack(
    depth: int, activation: Callable[[], nn.Module], initialise: Callable[[torch.Tensor], torch.Tensor]
) -> nn.Module:
    """A plain stack of linear layers with an activation behind each but the last."""
    linears = [nn.Linear(WIDTH, WIDTH) for _ in range(depth)]
    for linear in linears:
        initialise(linear.weight)
        nn.init.zeros_(linear.bias)
    hidden = [module for linear in linears for module in (linear, activation())]
    return nn.Sequential(*hidden, nn.Linear(WIDTH, 10))


def he(weight: torch.Tensor) -> torch.Tensor:
    """He initialisation."""
    return nn.init.kaiming_normal_(weight, nonlinearity="relu")


STACKS: dict[str, tuple[Callable[[], nn.Module], Callable[[torch.Tensor], torch.Tensor]]] = {
    "sigmoid, Xavier": (nn.Sigmoid, nn.init.xavier_normal_),
    "tanh, Xavier": (nn.Tanh, nn.init.xavier_normal_),
    "ReLU, He": (nn.ReLU, he),
}


def measured(name: str, depth: int) -> tuple[float, float]:
    """Reach of the first layer, and the mean gain of a layer (geometric)."""
    torch.manual_seed(0)
    batch = torch.randn(64, WIDTH), torch.randint(10, (64,))
    health = GradHealth(Settings(device="cpu"))
    record = health.measure(lambda: stack(depth, *STACKS[name]), batch, loss=F.cross_entropy)
    gains = torch.tensor([layer.gain for layer in record if layer.gain])
    return record[0].reach, float(gains.log().mean().exp())


def table() -> str:
    """The table, and what it was measured with."""
    head = "| hidden layers | " + " | ".join(f"{name}: reach | gain" for name in STACKS) + " |"
    rows = [head, "|---|" + "---|---|" * len(STACKS)]
    for depth in DEPTHS:
        cells = [f"{reach:.1e} | {gain:.2f}" for reach, gain in (measured(name, depth) for name in STACKS)]
        rows.append(f"| {depth} | " + " | ".join(cells) + " |")
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    return "\n".join([*rows, "", f"Measured by `python docs/make_explanation.py` with {versions}.", ""])


def main() -> int:
    """Write or compare; the exit code."""
    old = PAGE.read_text(encoding="utf-8")
    new = TABLE.sub(lambda match: match[1] + table() + match[2], old)
    if "--check" in sys.argv:  # the same numbers; another patch of Python or build of torch may have found them
        return int(MEASURED_BY.sub("", new) != MEASURED_BY.sub("", old))
    PAGE.write_text(new, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
