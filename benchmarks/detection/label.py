"""Labels by training: does a fault keep its host from learning, or a part of it from moving at all?

Every case and its healthy twin are trained from the same initialisation on the same batches, with two optimisers at
several learning rates. What counts is the best of them, so that ``faulty`` means: nothing one would try first helps.

    python -m benchmarks.detection.label [--jobs N] [--only GLOB] [--again]

Results are written to ``labels.json`` as they come; cases already there are skipped unless ``--again`` is given.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import statistics
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor, nn

from .cases import Case
from .faults import faulty_cases
from .hosts import HOSTS, case

LABELS = Path(__file__).with_name("labels.json")
ADAM, SGD = (3e-3, 1e-3, 1e-2), (1e-2, 1e-1)
SEEDS = (0, 1)
TIE_BREAK = 2
FAILS, LEARNS = 0.4, 0.9
"""Shares of the twin's gain over chance: below the first a case has not learnt, from the second on it has."""
STILL = 1e-6
"""Relative movement below which a parameter has not moved."""
HALF = 0.5
"""Share of the units of a weight that must stay bit-identical for it to count as stuck."""
EVERY = 20

Json = dict[str, Any]


@dataclass
class Movement:
    """Which parameters, and which of their units, moved in any of the runs seen so far."""

    moved: dict[str, bool] = field(default_factory=dict)
    units: dict[str, Tensor] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def see(self, name: str, start: Tensor, end: Tensor) -> None:
        change, self.sizes[name] = (end - start).float(), start.numel()
        relative = change.norm() / start.float().norm().clamp(min=1e-30)
        # A parameter that became NaN has moved: that is another disease.
        self.moved[name] = self.moved.get(name, False) or not bool(relative < STILL)
        rows = change.flatten(1).ne(0).any(1) if change.dim() > 1 else change.ne(0).flatten()
        self.units[name] = rows | self.units.get(name, torch.zeros_like(rows))

    def still(self) -> list[str]:
        """Modules whose main parameter never moved."""
        return [module for module, name in self.main().items() if not self.moved[name]]

    def partly(self) -> list[str]:
        """Modules with a weight most of whose units never moved at all."""
        units = {module: self.units[name] for module, name in self.main().items()}
        return [m for m, rows in units.items() if len(rows) > 1 and rows.float().mean() <= 1 - HALF]

    def main(self) -> dict[str, str]:
        """The largest parameter of every module: a bias alone may rest for good reasons, as that of a key does."""
        found: dict[str, str] = {}
        for name in sorted(self.moved, key=lambda name: -self.sizes[name]):
            found.setdefault(name.rpartition(".")[0], name)
        return found


def optimizer(kind: str, lr: float, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    if kind == "adam":
        return torch.optim.Adam(parameters, lr=lr, fused=True)
    return torch.optim.SGD(parameters, lr=lr, momentum=0.9, fused=True)


@torch.no_grad()
def score(case: Case, model: nn.Module, seed: int, size: int = 256) -> float:
    """The gain over chance on fresh data; a model that answers NaN has none."""
    model.eval()
    inputs, target = case.batch(seed, size)
    gain = HOSTS[case.host].task.gain(model(*inputs), target)
    model.train()
    return max(gain, 0.0) if gain == gain else 0.0


def train(case: Case, kind: str, lr: float, seed: int, target: float, movement: Movement) -> float:
    """One run; ends early when ``target`` is reached and confirmed, or when it can go nowhere."""
    torch.manual_seed(seed)
    model = case.build().train()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    seen = {**trained, **unregistered(model)}
    start = {name: p.detach().clone() for name, p in seen.items()}
    gain = _fit(case, model, optimizer(kind, lr, list(trained.values())), seed, target)
    for name, parameter in seen.items():
        movement.see(name, start[name], parameter.detach())
    return gain


def unregistered(model: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters of layers in plain lists: they compute, and stay where they are."""
    lists = ((f"{path}.{name}", value) for path, m in model.named_modules() for name, value in vars(m).items())
    layers = ((f"{name}.{i}", one) for name, value in lists if isinstance(value, list) for i, one in enumerate(value))
    return {f"{at}.{n}": p for at, one in layers if isinstance(one, nn.Module) for n, p in one.named_parameters()}


def _fit(case: Case, model: nn.Module, optim: torch.optim.Optimizer, seed: int, target: float) -> float:
    host, gains = HOSTS[case.host], [0.0]
    for i in range(1, host.steps + 1):
        loss = case.step(model, case.batch(100_000 * (seed + 1) + i, host.train_batch))
        if not loss.requires_grad:
            return 0.0
        optim.zero_grad()
        torch.autograd.backward(loss)
        optim.step()
        if i % EVERY == 0 or i == host.steps:
            if not bool(torch.isfinite(loss)):
                return 0.0
            gains.append(score(case, model, 90_000_000 + i))
            if gains[-1] >= target and score(case, model, 80_000_000 + i, 512) >= target:
                return gains[-1]
    return statistics.mean(gains[-2:])


def best(case: Case, seed: int, target: float, movement: Movement, first: Json) -> Json:
    """The best gain each optimiser reaches; the rate that was best for an earlier seed is tried first."""
    found: Json = {"rates": dict(first)}
    for kind, rates in (("adam", ADAM), ("sgd", SGD)):
        gains: dict[float, float] = {}
        for lr in sorted(rates, key=lambda lr: lr != first.get(kind)):
            gains[lr] = train(case, kind, lr, seed, target, movement)
            if gains[lr] >= target:
                break
        found["rates"][kind], found[kind] = max(gains.items(), key=lambda item: item[1])
    return found


def measure(case: Case, target: float, verdict: Callable[[float], str]) -> Json:
    """Gains over the seeds; a third seed decides where two disagree."""
    movement = Movement()
    runs: list[Json] = []
    rates: Json = {}
    for seed in (*SEEDS, TIE_BREAK):
        verdicts = {verdict(max(run["adam"], run["sgd"])) for run in runs}
        if seed == TIE_BREAK and len(verdicts) == 1:
            break
        runs.append(best(case, seed, target, movement, rates))
        rates = runs[-1]["rates"]
    median = {kind: statistics.median(run[kind] for run in runs) for kind in ("adam", "sgd")}
    gain = statistics.median(max(run["adam"], run["sgd"]) for run in runs)
    return {"gain": gain, **median, "stuck": sorted(movement.still()), "units": sorted(movement.partly())}


def label(case: Case, twin: Json) -> Json:
    """The verdict on one case, with gains as shares of its twin's."""

    found = measure(case, 0.95 * twin["gain"], lambda gain: judge(gain / twin["gain"]))
    stuck, units = ([name for name in found[key] if name not in twin["still"]] for key in ("stuck", "units"))
    shares = {kind: round(found[kind] / twin["gain"], 2) for kind in ("gain", "adam", "sgd")}
    verdict, reason = judge(shares["gain"]), explain(shares, twin)
    if verdict != "faulty" and (stuck or units):
        verdict, reason = "faulty", "stuck" if stuck else "units stuck"
    return {"label": verdict, "reason": reason, **shares, "stuck": sorted({*stuck, *units})}


def judge(share: float) -> str:
    return "faulty" if share < FAILS else "harmless" if share >= LEARNS else "degraded"


def explain(shares: Json, twin: Json) -> str:
    """How it learns; a case that lost one of the two optimisers its twin learns with says so."""
    verdict = judge(shares["gain"])
    for kind, other in (("adam", "SGD"), ("sgd", "Adam")):
        lost = judge(shares[kind]) == "faulty" and judge(twin[kind] / twin["gain"]) == "harmless"
        if verdict == "harmless" and lost:
            return f"learns with {other} only"
    return {"faulty": "does not learn", "degraded": "learns less", "harmless": "learns"}[verdict]


@cache
def cases() -> dict[str, Case]:
    return {one.name: one for one in faulty_cases()}


def label_named(name: str, twin: Json) -> tuple[str, Json]:
    try:
        return name, label(cases()[name], twin)
    except Exception as error:
        raise RuntimeError(f"{name}: {error}") from error


def measure_twin(host: str) -> tuple[str, Json]:
    found = measure(case(HOSTS[host]), 0.99, lambda gain: "")
    gains = {kind: round(found[kind], 2) for kind in ("gain", "adam", "sgd")}
    return host, {**gains, "still": sorted({*found["stuck"], *found["units"]})}


# --- the file ----------------------------------------------------------------------------------------------------


def meta() -> Json:
    return {
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "python": platform.python_version(),
        "date": datetime.date.today().isoformat(),
        "steps": sorted({host.steps for host in HOSTS.values()}),
        "seeds": [*SEEDS, f"{TIE_BREAK} where they disagree"],
        "optimizers": {"Adam": sorted(ADAM), "SGD, momentum 0.9": sorted(SGD)},
        "thresholds": {"faulty below": FAILS, "harmless from": LEARNS, "still below": STILL, "stuck units": HALF},
    }


def read() -> Json:
    if LABELS.exists():
        labels: Json = json.loads(LABELS.read_text())
        return labels
    return {"hosts": {}, "cases": {}}


def write(labels: Json) -> None:
    """One line per case, so that a change of a label is a change of a line."""
    parts = [f'"meta": {json.dumps(meta(), indent=1, sort_keys=True)}']
    for key in ("hosts", "cases"):
        lines = [f" {json.dumps(name)}: {json.dumps(labels[key][name])}" for name in sorted(labels[key])]
        parts.append(f'"{key}": {{\n' + ",\n".join(lines) + "\n}")
    fresh = LABELS.with_suffix(".tmp")
    fresh.write_text("{\n" + ",\n".join(parts) + "\n}\n")
    fresh.replace(LABELS)


def spread(pool: ProcessPoolExecutor, function: Callable[..., Any], jobs: list[tuple[Any, ...]], key: str) -> None:
    """Runs the jobs and keeps each result as soon as it is there."""
    labels = read()
    for done in as_completed([pool.submit(function, *job) for job in jobs]):
        name, result = done.result()
        labels[key][name] = result
        write(labels)
        print(name, result, flush=True)


def prepare() -> None:
    torch.set_num_threads(1)
    torch.backends.mha.set_fastpath_enabled(False)  # the fused path would step around a patched forward


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", default="*", help="glob over case names")
    parser.add_argument("--again", action="store_true", help="measure what is already labelled once more")
    options = parser.parse_args()
    prepare()
    wanted = [one for one in cases().values() if fnmatchcase(one.name, options.only)]
    with ProcessPoolExecutor(options.jobs, initializer=prepare) as pool:
        known = {} if options.again else read()["hosts"]
        hosts = [(name,) for name in dict.fromkeys(one.host for one in wanted) if name not in known]
        spread(pool, measure_twin, hosts, "hosts")
        labels = read()
        todo = [one for one in wanted if options.again or one.name not in labels["cases"]]
        spread(pool, label_named, [(one.name, labels["hosts"][one.host]) for one in todo], "cases")


if __name__ == "__main__":
    main()
