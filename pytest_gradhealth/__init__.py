"""Can this network learn? Gradient health checks for PyTorch models, as a pytest plugin.

Names are loaded when they are asked for: pytest imports this package in every session, so it must cost nothing.
"""

TYPE_CHECKING = False  # typing.TYPE_CHECKING without importing typing in every pytest session
if TYPE_CHECKING:
    from pytest_gradhealth.checks import check_gradients as check_gradients
    from pytest_gradhealth.errors import ConfigurationError as ConfigurationError
    from pytest_gradhealth.errors import GradientHealthError as GradientHealthError
    from pytest_gradhealth.errors import GradientHealthWarning as GradientHealthWarning
    from pytest_gradhealth.errors import MeasurementError as MeasurementError
    from pytest_gradhealth.errors import RankFailedError as RankFailedError
    from pytest_gradhealth.errors import RankLostError as RankLostError
    from pytest_gradhealth.errors import WatchingUnavailable as WatchingUnavailable
    from pytest_gradhealth.experiment.forecast import Forecast as Forecast
    from pytest_gradhealth.experiment.laboratory import GradHealth as GradHealth
    from pytest_gradhealth.experiment.laboratory import SelfTest as SelfTest
    from pytest_gradhealth.experiment.laboratory import forecast as forecast
    from pytest_gradhealth.experiment.laboratory import selftest as selftest
    from pytest_gradhealth.hookspecs import plugins as plugins
    from pytest_gradhealth.judge.limits import Limits as Limits
    from pytest_gradhealth.record import Attempt as Attempt
    from pytest_gradhealth.record import Check as Check
    from pytest_gradhealth.record import Curve as Curve
    from pytest_gradhealth.record import CustomFunction as CustomFunction
    from pytest_gradhealth.record import Finding as Finding
    from pytest_gradhealth.record import GradientRecord as GradientRecord
    from pytest_gradhealth.record import Histogram as Histogram
    from pytest_gradhealth.record import LayerGradient as LayerGradient
    from pytest_gradhealth.record import LossGraph as LossGraph
    from pytest_gradhealth.record import ModelInput as ModelInput
    from pytest_gradhealth.record import Mutant as Mutant
    from pytest_gradhealth.record import Operation as Operation
    from pytest_gradhealth.record import OptimiserUse as OptimiserUse
    from pytest_gradhealth.record import ParameterGradient as ParameterGradient
    from pytest_gradhealth.record import Projection as Projection
    from pytest_gradhealth.record import Signal as Signal
    from pytest_gradhealth.record import Underflow as Underflow
    from pytest_gradhealth.record import UnregisteredParameter as UnregisteredParameter
    from pytest_gradhealth.results import Measurement as Measurement
    from pytest_gradhealth.results import WatchResult as WatchResult
    from pytest_gradhealth.settings import Settings as Settings

    __version__: str

_HOMES = {
    "Attempt": "record",
    "Check": "record",
    "ConfigurationError": "errors",
    "Curve": "record",
    "CustomFunction": "record",
    "Finding": "record",
    "Forecast": "experiment.forecast",
    "GradHealth": "experiment.laboratory",
    "GradientHealthError": "errors",
    "GradientHealthWarning": "errors",
    "GradientRecord": "record",
    "Histogram": "record",
    "LayerGradient": "record",
    "Limits": "judge.limits",
    "LossGraph": "record",
    "Measurement": "results",
    "MeasurementError": "errors",
    "ModelInput": "record",
    "Mutant": "record",
    "Operation": "record",
    "OptimiserUse": "record",
    "ParameterGradient": "record",
    "Projection": "record",
    "RankFailedError": "errors",
    "RankLostError": "errors",
    "SelfTest": "experiment.laboratory",
    "Settings": "settings",
    "Signal": "record",
    "Underflow": "record",
    "UnregisteredParameter": "record",
    "WatchResult": "results",
    "WatchingUnavailable": "errors",
    "check_gradients": "checks",
    "forecast": "experiment.laboratory",
    "plugins": "hookspecs",
    "selftest": "experiment.laboratory",
}

__all__ = sorted([*_HOMES, "__version__"])

if not TYPE_CHECKING:  # a type checker would take every wrong name for one that is found here

    def __getattr__(name):
        import importlib

        if name == "__version__":
            return importlib.import_module("importlib.metadata").version("pytest-gradhealth")
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
