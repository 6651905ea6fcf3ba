"""Change what a function of torch does, wherever the model or its loss calls it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from pytest_gradhealth.experiment.subject import Subject
from pytest_gradhealth.measure.losses import function
from pytest_gradhealth.measure.passes.source import forwards, frames

__all__ = ["Call", "is_in_module", "name_of", "rewrite"]

Call = Callable[..., Any]
Rewrite = Callable[[str, Call, tuple[Any, ...], dict[str, Any]], Any]
"""``rewrite(name, function, args, kwargs)`` returns what the call gives, or ``NotImplemented`` to leave it."""

TORCH, HERE = os.path.dirname(torch.__file__), os.path.dirname(__file__)
PACKAGE, LOSSES = os.path.dirname(HERE), function.__file__


class _Rewriting(TorchFunctionMode):
    """A context in which calls on tensors go through a function of ours."""

    def __init__(self, names: frozenset[str], change: Rewrite) -> None:
        super().__init__()
        self._names, self._change = names, change

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs, name = kwargs or {}, name_of(function)
        if name.rstrip("_") in self._names and not _is_measuring():
            result = self._change(name.rstrip("_"), function, args, kwargs)
            if result is not NotImplemented:
                return result
        return function(*args, **kwargs)


def name_of(function: Any) -> str:
    """A function's name; of an attribute of tensors, such as ``data``, the attribute's."""
    name = str(getattr(function, "__name__", function))
    owner = getattr(function, "__self__", None)
    if name == "__get__":
        return str(getattr(owner, "__name__", name))
    return "set_grad_enabled" if name == "_set_grad_enabled" else name.removeprefix("_") if name[:2] != "__" else name


def rewrite(subject: Subject, names: frozenset[str], begin: Callable[[], Rewrite]) -> None:
    """Let these functions do something else in every pass; ``begin`` makes the rewrite anew for each."""
    step = subject.step

    def changed(model: Any, batch: Any) -> Any:
        with _Rewriting(names, begin()):
            return step(model, batch)

    subject.step = changed


def is_in_module() -> bool:
    """Whether the call at hand is made inside a module, and not by the loss or the step around it."""
    return any(isinstance(running, nn.Module) for _, running in forwards())


def _is_measuring() -> bool:
    """Whether a call is one of the package's own; a loss that it calls for the user is not."""
    for frame in frames():
        file = frame.f_code.co_filename
        if not (file.startswith((TORCH, HERE)) or file.endswith("contextlib.py")):
            return file.startswith(PACKAGE) and file != LOSSES
    return False
