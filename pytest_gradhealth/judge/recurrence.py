"""Recurrences and what they carry back."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.judge.limit import Limit
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Signal

__all__ = ["GATED", "MIN_TIME_REACH", "RECURRENT", "forgetful", "is_shut"]

MIN_TIME_REACH = Limit(
    "min_time_reach", 1e-6, 0, 1, "SHARE", "Smallest gradient at a recurrence's first steps over that at its last"
)
GATED = frozenset({"LSTM", "GRU", "LSTMCell", "GRUCell"})
RECURRENT = GATED | {"RNN", "RNNCell"}
LONG = 100
"""Steps from which a recurrence is judged by what it carries back."""
SHORT = 8
"""Steps from which it is known what one of them carries back."""
SHUT = 0.3
"""Gates that stand half open carry back at least 0.5 per step; below this they are shut."""


def forgetful(view: View) -> Iterator[Signal]:
    """Recurrences whose first steps receive less than the limit allows."""
    limit = view.limits.min_time_reach
    for signal in view.leaves:
        if limit is not None and signal.steps >= LONG and signal.time_reach is not None and signal.time_reach < limit:
            yield signal


def is_shut(signal: Signal) -> bool:
    """Whether the gates that keep a memory are closed."""
    return (
        signal.kind in GATED and signal.steps >= SHORT and signal.step_factor is not None and signal.step_factor < SHUT
    )
