"""Fixtures for every room.

The heavy libraries are imported once, here: a pytester session that imports one of them first drops it again when it
ends, and torch does not survive a second import.
"""

from __future__ import annotations

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
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """On CI pytest prints more, and baselines are not written: tests that are about it say so themselves."""
    for variable in ("CI", "BUILD_NUMBER"):
        monkeypatch.delenv(variable, raising=False)
