"""What a check spends its time on: ``python -m benchmarks.speed.split gpt [--rounds 9]``.

Functions of the package are wrapped, and each counts its own time without that of the others. Bare steps and checks
take turns; the table shows medians of wall time, and each part's share of what the package does itself.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from tabulate import tabulate

from benchmarks.speed.models import CASES
from benchmarks.speed.timing import bare_step, whole_check
from pytest_gradhealth.examiner import Examiner
from pytest_gradhealth.measure.losses import graph
from pytest_gradhealth.measure.passes import hooks, paths, summary
from pytest_gradhealth.measure.passes.probe import Probe
from pytest_gradhealth.measure.passes.reductions import Reductions
from pytest_gradhealth.measure.passes.sampling import Samples
from pytest_gradhealth.measure.passes.seen import Seen
from pytest_gradhealth.measure.runs import runner

__all__ = ["PARTS", "main", "split"]

PARTS: tuple[tuple[Any, str, str], ...] = (
    (Reductions, "passed_on", "norms of output gradients"),
    (Probe, "gradient_collected", "norms of parameter gradients"),
    (Reductions, "collect", "norms of parameter gradients"),
    (summary, "_weights", "norms of weights"),
    (Samples, "add", "samples of outputs"),
    (Samples, "_describe", "samples of outputs"),
    (Samples, "collect", "samples of outputs"),
    (hooks.ModuleHook, "__call__", "hooks"),
    (Seen, "on_gradient", "hooks"),
    (graph, "read", "graph"),
    (paths.PathTrace, "follow", "graph"),
    (runner, "summarise", "record and rules"),
    (Probe, "take", "record and rules"),
    (Examiner, "_judged", "record and rules"),
    (Examiner, "conclude", "record and rules"),
    (runner, "delivered", "the model's own forward and backward"),
)
"""Where a function stands, its name, and the part that it belongs to."""
OWN, REST, BARE = "the model's own forward and backward", "everything else", "a bare step"


class _Clock:
    """Time by part, of functions that call each other."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self._inner: list[float] = []

    def wrap(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            begun = time.perf_counter()
            self._inner.append(0.0)
            try:
                return function(*args, **kwargs)
            finally:
                taken = time.perf_counter() - begun
                self.spent[part] += taken - self._inner.pop()
                if self._inner:
                    self._inner[-1] += taken

        return timed


def split(name: str, rounds: int) -> dict[str, float]:
    """Median seconds of each part of a check of a model, and of a bare step."""
    case, clock = CASES[name], _Clock()
    for owner, attribute, part in PARTS:
        setattr(owner, attribute, clock.wrap(getattr(owner, attribute), part))
    torch.manual_seed(0)
    model, batch = case.model(), case.batch()
    steps = bare_step(model, batch, case.loss), whole_check(model, batch, case.loss)
    found: dict[str, list[float]] = defaultdict(list)
    for warm in [True] * 2 + [False] * rounds:
        gc.collect()
        bare = _seconds(steps[0])
        clock.spent.clear()
        whole = _seconds(steps[1])
        told = {BARE: bare, **clock.spent, REST: whole - sum(clock.spent.values())}
        for part, seconds in told.items() if not warm else ():
            found[part].append(seconds)
    return {part: statistics.median(several) for part, several in found.items()}


def _seconds(step: Callable[[], object]) -> float:
    begun = time.perf_counter()
    step()
    return time.perf_counter() - begun


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("model", choices=CASES)
    options.add_argument("--rounds", type=int, default=9)
    given = options.parse_args()
    torch.set_num_threads(1)
    found = split(given.model, given.rounds)
    bare = found.pop(BARE)
    found[OWN] -= bare
    ours = sum(seconds for part, seconds in found.items() if part != OWN)
    rows = [
        (part, f"{seconds * 1e3:.1f}", "" if part == OWN else f"{seconds / ours:.0%}")
        for part, seconds in sorted(found.items(), key=lambda pair: -pair[1])
    ]
    print(f"{given.model}: a bare step takes {bare * 1e3:.0f} ms, a check adds {(ours + found[OWN]) * 1e3:.0f} ms")
    print(tabulate(rows, headers=["part", "ms", "share"], disable_numparse=True))


if __name__ == "__main__":
    main()
