"""What the rules on optimisers share. They are asked in tests that train by themselves: a check makes no step."""

from __future__ import annotations

from pytest_gradhealth.judge.wording import Explanation

__all__ = ["REPLACED", "SEVERAL"]

SEVERAL = 2
"""Steps from which an optimiser that never had a gradient is no rehearsal: schedulers ask for one in vain."""
REPLACED = Explanation(
    cause="the optimiser was made before layers were replaced (pruning, a new head, the model made anew) and still "
    "holds the old ones",
    remedy="make the optimiser when the model is final",
)
