"""Hooks that tell a probe of calls and gradients, and do not keep it alive."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pytest_gradhealth.measure.passes import statistics
from pytest_gradhealth.measure.passes.traces import ModuleTrace
from pytest_gradhealth.measure.torch_private import is_batched, without_graph

__all__ = ["ModuleHook", "Observer", "ParameterHook", "with_graph"]


class Observer(Protocol):
    """What is told."""

    def module_returned(
        self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> ModuleTrace:
        """A module was called."""

    def gradient_came(self, name: str, collected: Tensor | None, gradient: Tensor) -> None:
        """A contribution is about to be added to what a parameter has collected."""

    def gradient_collected(self, name: str, parameter: Tensor) -> None:
        """All contributions of one backward pass have been added."""


class ModuleHook:
    """A forward hook that knows its module's name."""

    __slots__ = ("_name", "_observer")

    def __init__(self, observer: Callable[[], Observer | None], name: str) -> None:
        self._observer, self._name = observer, name

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """A copy of the module that a test makes meanwhile is not observed."""
        return _NoHook, ()

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        """The module has returned."""
        observer = self._observer()
        if observer is None:
            return
        trace = without_graph(observer.module_returned, self._name, module, args, kwargs, output)
        if isinstance(module, nn.RNNBase) and args and isinstance(args[0], Tensor) and args[0].requires_grad:
            _follow(args[0], int(module.batch_first and args[0].ndim == 3), trace.by_step)


class _NoHook:
    def __call__(self, *args: Any, **kwargs: Any) -> None:
        pass


class ParameterHook:
    """The same for a gradient hook on a parameter."""

    __slots__ = ("_name", "_observer", "_parameter")

    def __init__(self, observer: Callable[[], Observer | None], name: str, parameter: nn.Parameter) -> None:
        self._observer, self._name, self._parameter = observer, name, weakref.ref(parameter)

    def __call__(self, gradient: Tensor | None) -> None:
        """A contribution is about to be added."""
        observer, parameter = self._observer(), self._parameter()
        if observer is not None and parameter is not None and gradient is not None and not is_batched(gradient):
            collected = parameter.grad if parameter.is_leaf else None  # torch warns where functional_call put another
            observer.gradient_came(self._name, collected, gradient)

    def collected(self, parameter: Tensor) -> None:
        """All contributions of one backward pass have been added."""
        observer = self._observer()
        if observer is not None and parameter.grad is not None:
            observer.gradient_collected(self._name, parameter)


def _follow(sequence: Tensor, dimension: int, steps: list[Tensor]) -> None:
    """Note the gradient at each step of a sequence, once it comes."""

    def note(gradient: Tensor | None) -> None:
        if gradient is not None:
            steps.append(statistics.norms_by_step(gradient, dimension))

    sequence.register_hook(note)  # type: ignore[no-untyped-call]


def with_graph(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """The input of a recurrent module as a leaf of its own, where it is plain data."""
    first = args[0] if args else None
    if not isinstance(first, Tensor) or first.requires_grad or not torch.is_grad_enabled():
        return None
    leaf = first.detach().clone().requires_grad_()
    leaf.plain = True  # type: ignore[attr-defined]
    return (leaf, *args[1:])
