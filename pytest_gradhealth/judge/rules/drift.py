"""GH801: a check differs from its accepted baseline; found in ``judge/drift.py``."""

from __future__ import annotations

from pytest_gradhealth.judge.families import DRIFT
from pytest_gradhealth.judge.rule import Rule

__all__ = ["RULE"]

RULE = Rule(
    code="GH801",
    slug="drift",
    title="drift from the baseline",
    summary="A gradient norm, reach or signal moved by more than a factor from the accepted baseline.",
    family=DRIFT,
    theory="""\
A baseline holds the numbers that a team has accepted. Layers that move by more than `--gradhealth-max-drift` (3)
are named; a common factor of all layers, as from a loss that is scaled, is one finding. See [reports and
baselines](../reports.md).""",
    remedies=("Find what changed in or behind the layer.", "Accept the change: `--gradhealth-update`."),
)
