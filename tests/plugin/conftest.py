from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

NETS = """
import torch
from torch import nn

X = torch.linspace(-1, 1, 12).reshape(4, 3) ** 3

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))

def square(output):
    return output.square().mean()
"""
"""A module beside the tests of every project: a healthy network, its data and its loss."""

SEEN = """
import json

def pytest_gradhealth_metadata(check):
    seen = {"name": check.name, "limits": dict(check.limits), "seed": check.record.seed, "batches": check.record.batches}
    with open("seen.jsonl", "a") as file:
        file.write(json.dumps(seen) + "\\n")
    return {}
"""
"""A ``conftest.py`` that writes down what each check was judged by."""

Seen = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(small_nets=NETS)
    pytester.syspathinsert()
    return pytester


@pytest.fixture
def seen(project: pytest.Pytester) -> Seen:
    """What the checks of the run before were judged by."""
    project.makeconftest(SEEN)

    def read() -> list[dict[str, Any]]:
        file = project.path / "seen.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return [json.loads(line) for line in lines]

    return read
