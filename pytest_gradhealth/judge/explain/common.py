"""What several explanations need."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TypedDict

from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Signal

__all__ = ["INITIALISE", "Explanation", "activations", "factor", "gains_of", "geometric_mean", "saturated_modules"]

SATURATED = 0.5
"""Share of flat outputs from which saturation is a cause."""
INITIALISE = "initialise with He (ReLU) or Xavier (tanh) scale"


class Explanation(TypedDict):
    """Why, and what to do."""

    cause: str
    remedy: str


def saturated_modules(view: View) -> list[Signal]:
    """Activations most of whose outputs lie where they have no slope."""
    return [signal for signal in view.leaves if (signal.saturation or 0.0) > SATURATED]


def activations(view: View, stretch: Sequence[str]) -> Counter[str]:
    """Kinds of parameterless modules next to the layers of a stretch; where there are none, functions called there."""
    owners = set(view.record.names)
    orders = [signal.order for name in stretch if (signal := view.signal(name))]
    if not orders:
        return Counter()
    first, last = min(orders) - 2, max(orders) + 1
    modules = [s.kind for s in view.leaves if first <= s.order <= last and s.name not in owners]
    called = [o.name.rstrip("_").title() for o in view.record.operations if first <= o.order <= last]
    return Counter(kind for kind in modules or called if kind not in ("Dropout", "Identity", "Flatten"))


def gains_of(view: View, stretch: Sequence[str]) -> list[float]:
    """The gains of a stretch of layers that are known and finite."""
    layers = filter(None, map(view.layer, stretch))
    return [layer.gain for layer in layers if layer.gain and math.isfinite(layer.gain)]


def factor(rate: float) -> str:
    """A factor in words."""
    return f"{rate:.1f}x" if rate < 1000 else f"{rate:.0e} times"


def geometric_mean(values: Sequence[float]) -> float:
    """Of the positive numbers; 1 where there is none."""
    positive = [value for value in values if value > 0]
    return math.exp(sum(map(math.log, positive)) / len(positive)) if positive else 1.0
