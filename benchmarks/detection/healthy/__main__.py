"""Check that every healthy case runs and learns: ``python -m benchmarks.detection.healthy [part of a name ...]``."""

from __future__ import annotations

import copy
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.detection.cases import Case
from benchmarks.detection.healthy import healthy_cases

RATES = (1e-3, 3e-3)
STEPS = 60
SEEDS = 4


@dataclass(frozen=True)
class First:
    """What the first backward pass shows."""

    loss: float
    seconds: float
    parameters: int
    without: list[str]
    zero: list[str]

    def line(self) -> str:
        """Size, time, loss and how many parameters got no gradient or a zero one."""
        return (
            f"{self.parameters:8d} {self.seconds:6.3f}s loss {self.loss:12.5g}"
            f"  none {len(self.without):3d}  zero {len(self.zero):3d}"
        )


def loss_of(case: Case, model: nn.Module, seed: int) -> Tensor:
    """The loss on one batch, with the same dropout and sampling every time."""
    torch.manual_seed(seed)
    loss = case.step(model, case.batch(seed, case.batch_size))
    if loss.dim() != 0:
        raise ValueError(f"the loss has shape {tuple(loss.shape)}")
    return loss


def first(case: Case, model: nn.Module) -> First:
    """One forward and backward pass."""
    batch = case.batch(0, case.batch_size)
    torch.manual_seed(0)
    begin = time.perf_counter()
    loss = case.step(model, batch)
    loss.backward()  # type: ignore[no-untyped-call]
    seconds = time.perf_counter() - begin
    return First(float(loss.detach()), seconds, sum(p.numel() for p in model.parameters()), *silent(model))


def silent(model: nn.Module) -> tuple[list[str], list[str]]:
    """Names of the trainable parameters without a gradient, and of those whose gradient is exactly zero."""
    trained = [(name, p.grad) for name, p in model.named_parameters() if p.requires_grad]
    zero = [name for name, grad in trained if grad is not None and not bool((grad.to_dense() != 0).any())]
    return [name for name, grad in trained if grad is None], zero


def average(case: Case, model: nn.Module) -> float:
    """Mean loss over the training batches."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sum(float(loss_of(case, model, seed).detach()) for seed in range(SEEDS)) / SEEDS


def train(case: Case, model: nn.Module, rate: float) -> tuple[float, float]:
    """Loss before and after a few dozen steps of Adam."""
    before = average(case, model)
    optimiser: torch.optim.Optimizer
    weights = [p for p in model.parameters() if p.requires_grad]
    sparse = any(getattr(module, "sparse", False) for module in model.modules())
    optimiser = torch.optim.SGD(weights, lr=100 * rate) if sparse else torch.optim.Adam(weights, lr=rate)
    for step in range(STEPS):
        optimiser.zero_grad()
        loss_of(case, model, step % SEEDS).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return before, average(case, model)


def drops(case: Case, model: nn.Module) -> Iterator[str]:
    """For each learning rate, how the loss moved; the same start each time."""
    start = copy.deepcopy(model.state_dict())
    for rate in RATES:
        model.load_state_dict(start)
        before, after = train(case, model, rate)
        yield f"{before:.4g} -> {after:.4g} ({100 * (before - after) / max(abs(before), 1e-12):+.0f}%)"


def check(case: Case) -> bool:
    """Print one line about the case; whether it ran and learned."""
    torch.manual_seed(0)
    try:
        model = case.build()
        seen = first(case, model)
        model.zero_grad()
        moves = list(drops(case, model))
    except Exception as error:
        traceback.print_exc(limit=-3)
        print(f"{case.name:40s} FAILED {type(error).__name__}: {str(error)[:200]}", flush=True)
        return False
    learned = any("(+" in move and "(+0%)" not in move for move in moves)
    marks = "" if learned else "  DID NOT LEARN"
    print(f"{case.name:40s} {seen.line()}  {'  '.join(moves)}{marks}", flush=True)
    for label, names in (("none", seen.without), ("zero", seen.zero)):
        if names:
            print(f"    {label}: {', '.join(names[:6])}{' ...' if len(names) > 6 else ''}")
    return learned


def main(wanted: list[str]) -> int:
    """Check the cases whose name contains one of the given parts, or all of them."""
    torch.set_num_threads(1)
    cases = [case for case in healthy_cases() if not wanted or any(part in case.name for part in wanted)]
    names = [case.name for case in cases]
    assert len(set(names)) == len(names), "two cases share a name"
    bad = [case.name for case in cases if not check(case)]
    print(f"{len(cases)} cases, {len(bad)} failed or did not learn: {' '.join(bad)}")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
