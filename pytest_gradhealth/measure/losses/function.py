"""Where the loss of a batch comes from: the user's function, the model's own output, or its training step."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from pytest_gradhealth.errors import MeasurementError
from pytest_gradhealth.measure.losses.describe import describe
from pytest_gradhealth.measure.passes.nesting import tensors
from pytest_gradhealth.measure.passes.source import TORCH

__tracebackhide__ = True

__all__ = ["RAISED_BY", "Step", "find_step", "require_scalar", "takes_target"]

Step = Callable[[nn.Module, Any], Tensor]

RAISED_BY = "gradhealth: raised by"
"""How a note on an error of the user's begins that says whose it is."""
TARGET_KEYS = ("labels", "label", "targets", "target", "y")
TWO_WAYS = (
    "Give one of:\n"
    "  gradhealth.check(model, batches, loss=F.cross_entropy)   # loss(output, target)\n"
    "  gradhealth.check(model, batches, step=lambda model, batch: model(**batch).loss)"
)


def find_step(
    model: nn.Module,
    loss: Callable[..., Any] | None,
    step: Callable[..., Any] | None,
    extension: Callable[..., Any] | None = None,
) -> Step:
    """How to get from a batch to a scalar loss, by what was given and what the model offers.

    ``extension(model=..., batch=...)`` is asked before the model itself, and may answer None.

    Raises:
        MeasurementError: both were given, or one that cannot be called.
    """
    for name, given in (("loss", loss), ("step", step)):
        if given is not None:
            _require_function(name, given)
    if loss is not None and step is not None:
        raise MeasurementError("give either loss or step, not both: step already returns the loss")
    if step is not None:
        return lambda model, batch: _chosen(step(model, batch), "step(model, batch)")
    if loss is not None:
        return lambda model, batch: _chosen(_apply_loss(model, batch, loss), "loss(output, target)")
    return lambda model, batch: _offered_loss(model, batch, extension)


def _require_function(name: str, given: Any) -> None:
    if isinstance(given, type):
        raise MeasurementError(
            f"{name} is the class {given.__name__}: give an instance of it, as in {name}={given.__name__}()"
        )
    if not callable(given):
        raise MeasurementError(f"{name} must be callable, got {describe(given)}")


def require_scalar(loss: Any) -> Tensor:
    """The loss, if it is one real number.

    Raises:
        MeasurementError: it is no tensor, or a tensor of several elements, or complex.
    """
    if not isinstance(loss, Tensor):
        raise MeasurementError(
            f"the loss must be a tensor, got {type(loss).__name__}: return it before .item() or float()"
        )
    if loss.numel() != 1:
        raise MeasurementError(
            f"the loss must be one number, got a tensor of shape {tuple(loss.shape)}: "
            "reduce it with .mean() or reduction='mean'"
        )
    if loss.is_complex():
        raise MeasurementError("the loss must be real, got a complex tensor: take .abs() or .real")
    return loss


def _offered_loss(model: nn.Module, batch: Any, extension: Callable[..., Any] | None) -> Tensor:
    extended = extension(model=model, batch=batch) if extension else None
    if extended is not None:
        return _chosen(extended, "the hook pytest_gradhealth_step")
    training_step = getattr(model, "training_step", None)
    if callable(training_step):
        return _chosen(training_step(batch, 0), "model.training_step(batch, 0)")
    _require_callable_with(model, batch)
    return _own_loss(_forward(model, batch), model)


def _require_callable_with(model: nn.Module, batch: Any) -> None:
    """An (input, target) batch without a loss would only raise a TypeError about the model's arguments."""
    try:
        signature = inspect.signature(model.forward)
    except ValueError:
        return
    args, kwargs = _arguments(batch)
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        items, call = len(args) + len(kwargs), "model(**batch)" if kwargs else "model(*batch)"
        raise MeasurementError(
            f"no loss was given, and {type(model).__name__}.forward cannot take the batch's {items} "
            f"item{'s' if items != 1 else ''} ({error}). Tried: a training_step method, {call}.\n{TWO_WAYS}"
        ) from None


def _own_loss(output: Any, model: nn.Module) -> Tensor:
    found = _loss_in(output)
    if found is not None:
        return found
    raise MeasurementError(
        f"no loss was given and {type(model).__name__} returns none. Tried: a training_step method, a scalar output, "
        f"output.loss, output['loss']; the output is {describe(output)}.{_place_of_loss(output)}\n{TWO_WAYS}"
    )


def _place_of_loss(output: Any) -> str:
    """Where a plain sequence seems to hold the loss, as in ``return logits, loss``: too uncertain to be taken."""
    items = list(output) if isinstance(output, tuple | list) else []
    found = [i for i, item in enumerate(items) if isinstance(item, Tensor) and item.ndim == 0]
    if not found:
        return ""
    return f" If item {found[0]} is the loss: step=lambda model, batch: model(*batch)[{found[0]}]"


def _loss_in(output: Any) -> Tensor | None:
    """A scalar output, or its loss by attribute, key or first place (models that return plain tuples)."""
    if isinstance(output, Tensor):
        return output if output.numel() == 1 else None
    candidate = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
    if candidate is None and isinstance(output, tuple | list) and output:
        first = output[0]
        candidate = first if isinstance(first, Tensor) and first.ndim == 0 else None
    return candidate if isinstance(candidate, Tensor) else None


def _chosen(result: Any, source: str) -> Tensor:
    loss = result if isinstance(result, Tensor) else _loss_in(result)
    if loss is None:
        raise MeasurementError(f"{source} must return the loss (or a mapping with 'loss'), got {describe(result)}")
    return loss


def _forward(model: nn.Module, batch: Any) -> Any:
    args, kwargs = _arguments(batch)
    return model(*args, **kwargs)


def _arguments(batch: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """How a batch is given to a model."""
    named = _by_name(batch)
    if named is not None:
        return (), named
    return (tuple(batch) if _is_plain_sequence(batch) else (batch,)), {}


def _by_name(batch: Any) -> dict[str, Any] | None:
    """The items of a mapping or dataclass; None for anything else."""
    if isinstance(batch, Mapping):
        return dict(batch)
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        return {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    return None


def _is_plain_sequence(batch: Any) -> bool:
    """A packed sequence is a tuple too, but one argument."""
    return isinstance(batch, tuple | list) and not isinstance(batch, PackedSequence)


def _apply_loss(model: nn.Module, batch: Any, loss: Callable[..., Any]) -> Any:
    inputs, target = _split(batch)
    output = _forward(model, inputs)
    arguments: tuple[Any, ...] = (output, target)
    if target is None:
        arguments = (output,) if _takes_one(loss) else (output, _only_tensor(inputs))
    try:
        return loss(*arguments)
    except MeasurementError:
        raise
    except Exception as error:
        error.add_note(_blame(loss, arguments))
        raise error.with_traceback(_above_torch(error)) from error.__cause__


def _above_torch(error: Exception) -> TracebackType | None:
    """Where an error came from, without the innermost calls within torch: its losses have pages of docstrings."""
    entries: list[TracebackType] = []
    entry = error.__traceback__
    while entry is not None:
        entries.append(entry)
        entry = entry.tb_next
    while entries and entries[-1].tb_frame.f_code.co_filename.startswith(TORCH):
        entries.pop()
    kept: TracebackType | None = None
    for entry in reversed(entries[1:]):
        kept = TracebackType(kept, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return kept


def _blame(loss: Callable[..., Any], arguments: tuple[Any, ...]) -> str:
    """What to say of a loss that raises: what it was given, and how to choose from an output of several things."""
    named = zip(("output", "target"), arguments, strict=False)
    given = ", ".join(f"{name} = {describe(value)}" for name, value in named)
    note = f"{RAISED_BY} the loss {getattr(loss, '__name__', type(loss).__name__)}, given {given}"
    if not _is_plain_sequence(arguments[0]):
        return note
    call = "output[0], target" if len(arguments) > 1 else "output[0]"
    return f"{note}; to choose from the output: loss=lambda {call.replace('[0]', '')}: your_loss({call})"


def _only_tensor(inputs: Any) -> Any:
    """An autoencoder's target: its one input, whatever it came in."""
    found = list(tensors(inputs))
    return found[0] if len(found) == 1 else inputs


def _split(batch: Any) -> tuple[Any, Any]:
    """Inputs and target; the target is None where the batch is its own target (an autoencoder) or has none."""
    named = _by_name(batch)
    if named is not None:
        key = next((key for key in TARGET_KEYS if key in named), None)
        return {k: v for k, v in named.items() if k != key}, None if key is None else named[key]
    if not _is_plain_sequence(batch):
        return batch, None
    if len(batch) > 1:
        inputs = tuple(batch[:-1])
        return (inputs[0] if len(inputs) == 1 and isinstance(inputs[0], Mapping) else inputs), batch[-1]
    return batch[0], None


def _takes_one(loss: Callable[..., Any]) -> bool:
    return _takes(loss, 1)


def takes_target(loss: Callable[..., Any]) -> bool:
    """Whether a loss can be called with an output and a target."""
    return _takes(loss, 2)


def _takes(loss: Callable[..., Any], count: int) -> bool:
    function = loss.forward if isinstance(loss, nn.Module) else loss
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # a builtin without a signature
        return True
    return True
