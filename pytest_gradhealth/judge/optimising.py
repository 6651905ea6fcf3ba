"""What the rules on optimisers share. They are asked in tests that train by themselves: a check makes no step."""

from __future__ import annotations

from pytest_gradhealth.judge.view import View
from pytest_gradhealth.judge.wording import Explanation
from pytest_gradhealth.record import OptimiserUse

__all__ = ["REPLACED", "SEVERAL", "TRAINING", "trained_by"]

SEVERAL = 2
"""Steps from which an optimiser that never had a gradient is no rehearsal: schedulers ask for one in vain."""
TRAINING = 32
"""Steps from which a test trains in earnest: toys with any learning rate and no activations are common below."""
REPLACED = Explanation(
    cause="the optimiser was made before layers were replaced (pruning, a new head, the model made anew) and still "
    "holds the old ones",
    remedy="make the optimiser when the model is final",
)


def trained_by(view: View) -> list[OptimiserUse]:
    """Optimisers that make steps of a size and reach parameters."""
    return [use for use in view.record.optimisers if use.learning_rate and use.reached and use.steps >= SEVERAL]
