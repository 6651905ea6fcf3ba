"""What was measured and what was found: plain, frozen, JSON-safe data that everything else speaks."""

from pytest_gradhealth.record.checks import Attempt, Check, Mutant
from pytest_gradhealth.record.context import (
    CustomFunction,
    LossGraph,
    ModelInput,
    OptimiserUse,
    UnregisteredParameter,
)
from pytest_gradhealth.record.findings import Finding, docs_url
from pytest_gradhealth.record.forecasts import Curve, Projection
from pytest_gradhealth.record.gradients import GradientRecord
from pytest_gradhealth.record.layers import (
    STEPS,
    Histogram,
    LayerGradient,
    Operation,
    ParameterGradient,
    Signal,
    Underflow,
)
from pytest_gradhealth.record.paths import LayerSet, parent_of, path_of, short_place, upstream_of

__all__ = [
    "STEPS",
    "Attempt",
    "Check",
    "Curve",
    "CustomFunction",
    "Finding",
    "GradientRecord",
    "Histogram",
    "LayerGradient",
    "LayerSet",
    "LossGraph",
    "ModelInput",
    "Mutant",
    "Operation",
    "OptimiserUse",
    "ParameterGradient",
    "Projection",
    "Signal",
    "Underflow",
    "UnregisteredParameter",
    "docs_url",
    "parent_of",
    "path_of",
    "short_place",
    "upstream_of",
]
