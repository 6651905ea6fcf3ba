"""One seed, one record, bit for bit: again, in any order, and whatever ran before."""

from __future__ import annotations

import json
import random

import numpy as np
import torch

from pytest_gradhealth import GradHealth, Settings
from tests.reliability.models import CASES

NAMES = ("counting", "dropout", "lstm", "transformer", "rrelu", "batch norm", "checkpointed", "orthogonal")


def recorded(name: str) -> str:
    """Everything that a check of a model tells. The model itself is made from a seed too."""
    torch.manual_seed(0)
    case = CASES[name]()
    record = GradHealth(Settings(device="cpu", histograms=True)).measure(case.model, [case.batch] * 2, step=case.step)
    return json.dumps(record.to_dict(), sort_keys=True)


def test_a_record_is_the_same_in_any_order_and_after_anything() -> None:
    first = {name: recorded(name) for name in NAMES}
    for run in range(3):
        random.seed(run)
        np.random.seed(run)
        torch.manual_seed(run)
        order = random.sample(NAMES, len(NAMES))
        assert {name: recorded(name) for name in order} == first, order


def test_one_model_is_measured_the_same_many_times() -> None:
    torch.manual_seed(0)
    case, health = CASES["counting"](), GradHealth(Settings(device="cpu"))
    records = set()
    for run in range(50):
        torch.manual_seed(run)
        records.add(json.dumps(health.measure(case.model, case.batch, step=case.step).to_dict(), sort_keys=True))
    assert len(records) == 1
