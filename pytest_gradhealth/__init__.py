"""Can this network learn? Gradient health checks for PyTorch models, as a pytest plugin.

Names are loaded when they are asked for: pytest imports this package in every session, so it must cost nothing.
"""

TYPE_CHECKING = False  # typing.TYPE_CHECKING without importing typing in every pytest session
if TYPE_CHECKING:
    from typing import Any

    from pytest_gradhealth.checks import GradHealth as GradHealth
    from pytest_gradhealth.checks import Settings as Settings
    from pytest_gradhealth.checks import check_gradients as check_gradients
    from pytest_gradhealth.checks import plugins as plugins
    from pytest_gradhealth.errors import ConfigurationError as ConfigurationError
    from pytest_gradhealth.errors import GradientHealthError as GradientHealthError
    from pytest_gradhealth.errors import GradientHealthWarning as GradientHealthWarning
    from pytest_gradhealth.errors import MeasurementError as MeasurementError
    from pytest_gradhealth.judge.limits import Limits as Limits
    from pytest_gradhealth.record import Check as Check
    from pytest_gradhealth.record import Finding as Finding
    from pytest_gradhealth.record import GradientRecord as GradientRecord
    from pytest_gradhealth.record import LayerGradient as LayerGradient
    from pytest_gradhealth.record import Signal as Signal

_HOMES = {
    "Check": "record",
    "ConfigurationError": "errors",
    "Finding": "record",
    "GradHealth": "checks",
    "GradientHealthError": "errors",
    "GradientHealthWarning": "errors",
    "GradientRecord": "record",
    "LayerGradient": "record",
    "Limits": "judge.limits",
    "MeasurementError": "errors",
    "Settings": "checks",
    "Signal": "record",
    "check_gradients": "checks",
    "plugins": "checks",
}

__all__ = sorted([*_HOMES, "__version__"])


def __getattr__(name: str) -> "Any":
    import importlib

    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("pytest-gradhealth")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
