"""Does training disprove a cure? Faulty cases are trained as they are, and with the first cure that was told.

    python -m benchmarks.experiment.trained [--cases N] [--skip N]

Takes cases from ``remedies.json`` in which something cured. A cure is disproved where the cured case gains less over
chance than 40 % of what its healthy twin gains, the line below which the detection benchmark calls a case faulty. Each
is trained with Adam at two learning rates from one seed, and counts at its best.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from benchmarks.detection.cases import Case
from benchmarks.detection.hosts import HOSTS
from benchmarks.detection.label import FAILS, read
from benchmarks.detection.run import BATCH_SEEDS
from benchmarks.detection.spread import all_cases, prepare
from benchmarks.experiment.remedies import RESULTS as TRIED
from pytest_gradhealth import GradHealth, Settings
from pytest_gradhealth.experiment.calls import name_of
from pytest_gradhealth.experiment.cures import candidates
from pytest_gradhealth.experiment.cures.objective import LOGIT_LOSSES, REGRESSIONS
from pytest_gradhealth.experiment.subject import Subject
from pytest_gradhealth.measure.passes.nesting import floating, map_leaves
from pytest_gradhealth.measure.runs.runner import Runner

RESULTS = Path(__file__).with_name("trained.json")
RATES = (3e-3, 1e-3)
UNSEEN = 90_000_000

Step = Callable[[nn.Module, Any], Tensor]


def prepared(case: Case, change: str) -> Subject:
    """The case with a change made to it; none where its name is empty."""
    batches = [case.batch(seed, case.batch_size) for seed in BATCH_SEEDS]
    runner = Runner(case.build, batches, step=case.step, seed=0)
    subject = Subject.of(runner, 0)
    if change:
        check = GradHealth(Settings(device="cpu")).examined(runner, Settings(device="cpu"))
        for cure in candidates(check):
            if cure.name in change.split(" and ") or cure.name == change:
                cure.apply(subject)
    return subject


def gain(case: Case, change: str, rate: float) -> float:
    """What it gains over chance on fresh data after the host's number of steps."""
    subject, host = prepared(case, change), HOSTS[case.host]
    model, seen = subject.model.train(), dict[str, Any]()
    model.register_forward_hook(lambda module, args, output: seen.update(output=output))
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=rate)
    torch.manual_seed(0)
    for i in range(1, host.steps + 1):
        loss = subject.step(model, _like(subject.batches[0], case.batch(100_000 + i, host.train_batch)))
        if not loss.requires_grad or not bool(torch.isfinite(loss)):
            return 0.0
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    batch, scores = _like(subject.batches[0], case.batch(UNSEEN, 256)), _Scores()
    with scores:  # with gradients, as cures reach into calls that torch's fast paths leave out without them
        subject.step(model.eval(), batch)
    reached = host.task.gain(scores.like(seen["output"], batch[1]), batch[1])
    return max(reached, 0.0) if reached == reached else 0.0


def _like(given: Any, batch: Any) -> Any:
    """A fresh batch in the precision that a cure has put the others into."""
    kinds = {tensor.dtype for tensor in floating(given)}
    if len(kinds) != 1:
        return batch
    (kind,) = kinds
    return map_leaves(batch, lambda x: x.to(kind) if isinstance(x, Tensor) and x.is_floating_point() else x)


class _Scores(TorchFunctionMode):
    """What the loss is given: a cure may take away what stands between it and the model's output."""

    def __init__(self) -> None:
        super().__init__()
        self._given: list[tuple[Tensor, Any]] = []

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if name_of(function) in LOGIT_LOSSES | REGRESSIONS:
            self._given += [(args[0].detach(), args[1])] if len(args) > 1 else []
        return function(*args, **(kwargs or {}))

    def like(self, output: Any, target: Any) -> Any:
        """The last of them, in the shape of the model's output and the unit of the target; else that output."""
        if not isinstance(output, Tensor):
            return output
        fitting = [pair for pair in self._given if pair[0].numel() == output.numel()]
        if not fitting:
            return output.detach()
        scores, compared = fitting[-1]
        return _in_unit_of(target, compared, scores.reshape(output.shape))


def _in_unit_of(target: Any, compared: Any, scores: Tensor) -> Tensor:
    """Scores that are compared with a target that a cure has scaled, as they would be for the target itself."""
    both = isinstance(target, Tensor) and isinstance(compared, Tensor) and target.numel() == compared.numel()
    if not both or not target.is_floating_point() or float(compared.std()) == 0.0:
        return scores
    return (scores - compared.mean()) * (target.std() / compared.std()) + target.mean()


def main() -> None:
    """Train and compare."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--cases", type=int, default=40)
    options.add_argument("--skip", type=int, default=0, help="leave out so many, whose results stay as they are")
    given = options.parse_args()
    prepare()
    tried, twins, cases = json.loads(TRIED.read_text()), read()["hosts"], all_cases()
    names = sorted(
        (name for name, one in tried.items() if one["cured"] and name in cases),
        key=lambda name: hashlib.sha256(name.encode()).digest(),
    )
    found = json.loads(RESULTS.read_text()) if given.skip else {}
    for name in names[given.skip : given.skip + given.cases]:
        case, change, twin = cases[name], tried[name]["cured"][0], twins[cases[name].host]["gain"]
        before, after = (max(gain(case, what, rate) for rate in RATES) / twin for what in ("", change))
        found[name] = {"cure": change, "before": round(before, 2), "after": round(after, 2)}
        print(name, change, f"{before:.2f} -> {after:.2f}", flush=True)
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    trained = [found[name] for name in names[given.skip : given.skip + given.cases]]
    kept = sum(one["after"] >= FAILS for one in trained)
    better = sum(one["after"] > one["before"] for one in trained)
    print(f"{kept} of {len(trained)} learn with the cure; {better} learn more than before")


if __name__ == "__main__":
    main()
