"""Whether there is anything in a model that a gradient could come to."""

from __future__ import annotations

from torch import nn

from pytest_gradhealth.errors import MeasurementError, counted

__tracebackhide__ = True

__all__ = ["require_trainable"]

SHOWN = 3
"""Names of parameters that a message shows."""


def require_trainable(model: nn.Module) -> None:
    """Refuse a model of which nothing can be measured.

    Raises:
        MeasurementError: it has no parameters that train, or they hold no values, or no graph can be built of them.
    """
    name, parameters = type(model).__name__, _listed(model)
    if not parameters:
        raise MeasurementError(f"{name} has no parameters: there is no gradient to measure")
    trained = {key: parameter for key, parameter in parameters.items() if parameter.requires_grad}
    if not trained:
        raise MeasurementError(f"every parameter of {name} is frozen: set requires_grad on what should train")
    _require_none(
        [key for key, parameter in trained.items() if parameter.is_meta],
        f"of {name} on the meta device, where there are no values to compute with: make the model on a real device, "
        "or call model.to_empty(device=...) and initialise it",
    )
    _require_none(
        [key for key, parameter in trained.items() if not nn.parameter.is_lazy(parameter) and parameter.is_inference()],
        f"of {name} made inside torch.inference_mode, so that no gradient can ever come to them: make the model "
        "outside of it",
    )


def _listed(model: nn.Module) -> dict[str, nn.Parameter]:
    try:
        return dict(model.named_parameters())
    except TypeError as error:
        raise MeasurementError(
            f"torch cannot list the parameters of {type(model).__name__} ({error}): a module class that defines "
            "__eq__ must define __hash__ too, as in __hash__ = nn.Module.__hash__"
        ) from None


def _require_none(names: list[str], problem: str) -> None:
    if names:
        shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
        raise MeasurementError(f"{counted(len(names), 'parameter')} ({shown}) {problem}")
