"""Processor time of a training step with something beside it, over that of a bare one."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.speed.models import Case
from benchmarks.speed.peers import installed
from pytest_gradhealth import GradHealth, Settings
from pytest_gradhealth.measure.watching.watch import Watch

__all__ = ["LOOP", "OTHERS", "ROWS", "bare_step", "measured", "ratios", "whole_check"]

STEPS = 100
"""Steps of a watched loop."""
LONGEST = 20.0
"""Seconds that a loop of bare steps may take; what takes longer is measured over fewer steps and not told."""

Step = Callable[[], object]


def measured(case: Case, rows: Sequence[str], pairs: int) -> dict[str, Any]:
    """Median and quartiles of the ratio for each row, and the bare step in seconds."""
    torch.manual_seed(0)
    model, batch = case.model(), case.batch()
    bare = bare_step(model, batch, case.loss)
    found: dict[str, Any] = {"model": case.name, "parameters": sum(p.numel() for p in model.parameters())}
    found["bare"] = statistics.median(_seconds(bare) for _ in range(5))
    every = ROWS | OTHERS
    found["rows"] = {name: ratios(bare, every[name](model, batch, case.loss), pairs) for name in rows}
    if found["bare"] * STEPS * 2 <= LONGEST and set(ROWS) <= set(rows):
        found["rows"][LOOP] = ratios(_repeated(bare), _watched_loop(model, batch, case.loss), max(pairs // 3, 3))
    return found


def ratios(bare: Step, other: Step, pairs: int) -> dict[str, float]:
    """What the other takes over what a bare step takes, one after the other so many times."""
    bare(), other()
    found, over = [], []
    for _ in range(pairs):
        gc.collect()
        bare()  # what comes first has cold caches
        before, after = _seconds(bare), _seconds(other)
        found.append(after / before)
        over.append(after - before)
    low, middle, high = statistics.quantiles(found, n=4)
    return {"median": middle, "low": low, "high": high, "over": statistics.median(over), "pairs": pairs}


def _seconds(step: Step) -> float:
    began = time.process_time()
    step()
    return time.process_time() - began


def bare_step(model: nn.Module, batch: tuple[Tensor, Tensor], loss: Callable[..., Tensor]) -> Step:
    """Forward and backward of one batch, and nothing else."""

    def step() -> None:
        model.zero_grad()
        loss(model(batch[0]), batch[1]).backward()  # type: ignore[no-untyped-call]

    return step


def whole_check(model: nn.Module, batch: Any, loss: Any) -> Step:
    """A check of one batch."""
    health = GradHealth(Settings(device="cpu"))
    return lambda: health.check(model, batch, loss)


def _measure(model: nn.Module, batch: Any, loss: Any) -> Step:
    health = GradHealth(Settings(device="cpu"))
    return lambda: health.measure(model, batch, loss)


def _watched(model: nn.Module, batch: Any, loss: Any) -> Step:
    """The first pass of a watch, which is always measured."""
    bare = bare_step(model, batch, loss)

    def step() -> None:
        with Watch() as watch:
            bare()
        list(watch.passes())

    return step


def _hooked(model: nn.Module, batch: Any, loss: Any, note: Callable[[Tensor], object] = lambda gradient: None) -> Step:
    """The least that any measurement does: a hook on each module, and on each gradient, which is then freed."""
    bare = bare_step(model, batch, loss)

    def called(module: nn.Module, args: Any, output: Tensor) -> None:
        for tensor in (*args, output):
            if tensor.requires_grad and not tensor._backward_hooks:
                tensor.register_hook(lambda gradient: note(gradient) and None)

    def collected(parameter: Tensor) -> None:
        note(parameter.grad) if parameter.grad is not None else None
        parameter.grad = None

    def step() -> None:
        handles = [module.register_forward_hook(called) for module in model.modules()]
        handles += [p.register_post_accumulate_grad_hook(collected) for p in model.parameters()]  # type: ignore[no-untyped-call]
        bare()
        for handle in handles:
            handle.remove()

    return step


def _normed(model: nn.Module, batch: Any, loss: Any) -> Step:
    """The norm of each gradient, and of each parameter, and nothing else."""
    norms: list[Tensor] = []
    hooked = _hooked(model, batch, loss, lambda gradient: norms.append(torch.linalg.vector_norm(gradient)))

    def step() -> None:
        norms.clear()
        hooked()
        norms.extend(torch.linalg.vector_norm(p.detach()) for p in model.parameters())
        torch.stack(norms).tolist()

    return step


def _article(model: nn.Module, batch: Any, loss: Any) -> Step:
    """The loop that articles print the norms of gradients with."""
    bare = bare_step(model, batch, loss)

    def step() -> None:
        bare()
        [f"{name}: {p.grad.norm()}" for name, p in model.named_parameters() if p.grad is not None]

    return step


def _total_norm(model: nn.Module, batch: Any, loss: Any) -> Step:
    bare = bare_step(model, batch, loss)

    def step() -> None:
        bare()
        float(nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None]))

    return step


def _histograms(model: nn.Module, batch: Any, loss: Any) -> Step:
    """A histogram of each parameter's gradient, as for TensorBoard."""
    bare = bare_step(model, batch, loss)

    def step() -> None:
        bare()
        [torch.histc(p.grad, 64) for p in model.parameters() if p.grad is not None]

    return step


ROWS: dict[str, Callable[[nn.Module, Any, Any], Step]] = {
    "check of a healthy model": whole_check,
    "measured pass": _measure,
    "watched pass, measured": _watched,
    "floor: hooks that do nothing": _hooked,
    "floor: one norm of each tensor": _normed,
    "loop that prints norms": _article,
    "`get_total_norm`": _total_norm,
    "histogram per parameter": _histograms,
}
OTHERS = installed()
"""Other tools that are installed here."""
LOOP = f"watched loop of {STEPS} steps"


def _repeated(step: Step) -> Step:
    return lambda: [step() for _ in range(STEPS)]


def _watched_loop(model: nn.Module, batch: Any, loss: Any) -> Step:
    bare = _repeated(bare_step(model, batch, loss))

    def loop() -> None:
        with Watch() as watch:
            bare()
        list(watch.passes())

    return loop
