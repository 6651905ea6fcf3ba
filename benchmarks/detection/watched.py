"""The verdict where a test trains by itself: one backward pass, or a few steps of Adam.

python -m benchmarks.detection.watched [--part PART] [--kind healthy|faulty] [--only GLOB] [--jobs N] [--resume]
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from benchmarks.detection.cases import Case
from benchmarks.detection.run import BATCH_SEEDS, chosen, parser
from benchmarks.detection.spread import prepare, spread
from pytest_gradhealth import GradHealth, GradientHealthError, MeasurementError, Settings
from pytest_gradhealth.record import Check

STEPS = (1, 6)
"""Lengths of the tests: one backward pass, and a training of which two more passes are measured."""
LEARNING_RATE = 1e-3


def over_lengths(case: Case) -> dict[str, Any]:
    """The kinds of finding for each length."""
    kinds = {str(steps): watched(case, steps) for steps in STEPS}
    return {"part": case.part, "operator": case.operator, "kinds": kinds}


def watched(case: Case, steps: int) -> list[str]:
    """The kinds of finding in a test of so many steps; where nothing was measured, ``error``."""
    torch.manual_seed(0)
    model, kept = case.build().train(), list[Check]()
    try:
        with GradHealth(Settings(device="cpu"), sink=kept.append).watch(model):
            _train(case, model, steps)
    except GradientHealthError:
        pass
    except MeasurementError:
        return ["error"]
    return [finding.fault for check in kept for finding in check.findings]


def _train(case: Case, model: nn.Module, steps: int) -> None:
    dense = {p for m in model.modules() if not getattr(m, "sparse", False) for p in m.parameters(recurse=False)}
    trainable = [p for p in model.parameters() if p.requires_grad and p in dense]  # Adam takes no sparse gradients
    optimiser = torch.optim.Adam(trainable, LEARNING_RATE) if trainable else None
    for step in range(steps):
        model.zero_grad()
        case.step(model, case.batch(BATCH_SEEDS[0] + step, case.batch_size)).backward()  # type: ignore[no-untyped-call]
        if optimiser is not None and steps > 1:
            optimiser.step()


def main() -> None:
    """Parse the command line and run."""
    options = parser("watched.json", __doc__).parse_args()
    prepare()
    spread(over_lengths, chosen(options), options.output, jobs=options.jobs, resume=options.resume)


if __name__ == "__main__":
    main()
