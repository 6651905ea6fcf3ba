"""Changes that may make a sick model healthy, the one that asks least of its owner first."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.experiment.cures.cure import Cure
from pytest_gradhealth.experiment.cures.initialisation import EARLY, LATE, initialisations
from pytest_gradhealth.experiment.cures.objective import OBJECTIVE, SCALED
from pytest_gradhealth.experiment.cures.operations import ERASING, HARD, NON_FINITE, REGISTERED, cuts
from pytest_gradhealth.experiment.cures.structure import ACTIVATED, ACTIVATION, INPUTS, LEAKY, STRUCTURE
from pytest_gradhealth.record import Check

__all__ = ["Cure", "candidates"]


def candidates(check: Check) -> Iterator[Cure]:
    """What is worth a try for a check's findings, in the order in which it is tried.

    What the rules of thumb expect comes first. Beyond that, a mistake in one line comes before weights drawn anew,
    those before another activation, and that before another architecture: a later one often makes up for an earlier
    one that is the fault.
    """
    kinds = {finding.fault for finding in check.findings}
    ordered = (
        *cuts(check), *HARD, REGISTERED, *OBJECTIVE, *NON_FINITE, INPUTS, SCALED, ACTIVATED, *EARLY, *ERASING,
        *initialisations(check), ACTIVATION, LEAKY, *LATE, *STRUCTURE,
    )  # fmt: skip
    fitting = [cure for cure in ordered if not kinds.isdisjoint(cure.kinds)]
    return iter(sorted(fitting, key=lambda cure: not _is_hinted_at(cure, check)))


def _is_hinted_at(cure: Cure, check: Check) -> bool:
    """Whether the rules of thumb expect it: they know what the record looks like, but not whether it helps."""
    first = check.findings[0]
    said = f"{first.cause} {first.remedy.partition(', or')[0]}".lower()
    return any(word in said for word in cure.words)
