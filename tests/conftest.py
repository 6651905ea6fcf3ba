"""Fixtures for every room.

The heavy libraries are imported once, here: a pytester session that imports one of them first drops it again when it
ends, and torch does not survive a second import.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import hypothesis
import numpy  # noqa: F401
import pytest
import tabulate  # noqa: F401
import torch
import torch._dynamo  # which optimisers import at their first use

pytest_plugins = "pytester"
collect_ignore = ["watch/suite"]  # run by the tests beside it, watched and unwatched

torch.set_num_threads(1)
hypothesis.settings.register_profile("slow machines too", deadline=None)
hypothesis.settings.load_profile("slow machines too")


@pytest.fixture(autouse=True)
def _switches_left_alone() -> Iterator[None]:
    """A test that leaves a switch of torch turned fails itself, and not the hundredth test after it."""
    before = _switches()
    yield
    after = _switches()
    if after != before:
        _turn_back(before)
    assert after == before, "this test left a switch of torch turned"


def _turn_back(switches: dict[str, Any]) -> None:
    torch.set_grad_enabled(switches["grad mode"])
    torch.set_default_dtype(switches["default dtype"])
    torch.set_default_device(None)
    torch.use_deterministic_algorithms(switches["deterministic"], warn_only=switches["deterministic, warn only"])
    torch.nn.Module.__call__ = switches["Module.__call__"]


def _switches() -> dict[str, Any]:
    return {
        "grad mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "anomaly detection": torch.is_anomaly_enabled(),
        "default dtype": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "deterministic, warn only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "Module.__call__": torch.nn.Module.__call__,
    }


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _at_home(_switches_left_alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """On CI pytest prints more, and baselines are not written: tests that are about it say so themselves.

    Switches are looked at behind what ``monkeypatch`` puts back, so they come first.
    """
    for variable in ("CI", "BUILD_NUMBER"):
        monkeypatch.delenv(variable, raising=False)
