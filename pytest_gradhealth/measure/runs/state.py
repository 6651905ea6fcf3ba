"""Leave no trace: put a model and the random number generators back as they were, bit for bit."""

from __future__ import annotations

import random
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from pytest_gradhealth.measure.passes.nesting import tensors
from pytest_gradhealth.measure.passes.statistics import is_ragged
from pytest_gradhealth.measure.passes.unregistered import hidden_modules

__all__ = ["isolated_rng", "preserved"]

CONTAINERS = (dict, OrderedDict, defaultdict, Counter, list, set, deque)


@contextmanager
def preserved(model: nn.Module) -> Iterator[None]:
    """Restore parameters, gradients, buffers, mode, ``requires_grad`` and plain attributes on leaving.

    So are modules that the model keeps where torch does not look for them, in a plain list. Holds a copy of every
    tensor of the model meanwhile. Attributes that a forward pass rebinds (step counters, caches) are restored, and so
    is what it changes in place in tensors and containers; other objects are not.
    """
    modules = list(dict.fromkeys([*model.modules(), *hidden_modules(model)]))
    attributes = [(module, _attributes(module)) for module in modules]
    held = [tensor for module in modules for tensor in tensors(list(vars(module).values()))]
    values = {id(tensor): (tensor, _Saved(tensor)) for tensor in held}
    trained = (tensor for tensor, _ in values.values() if isinstance(tensor, nn.Parameter) or _asks(tensor))
    parameters = [(tensor, tensor.grad, tensor.requires_grad) for tensor in trained]
    for parameter, *_ in parameters:
        parameter.grad = None
    try:
        yield
    finally:
        for module, saved in attributes:
            _restore_attributes(module, saved)
        with torch.no_grad():
            for tensor, saved_values in values.values():
                _restore_values(tensor, saved_values)
            for parameter, gradient, requires_grad in parameters:
                parameter.requires_grad_(requires_grad)
                parameter.grad = gradient


@contextmanager
def isolated_rng(seed: int | None) -> Iterator[None]:
    """Seed Python's, NumPy's and every torch device's generator, and restore all of them on leaving.

    ``None`` leaves them where they are, and still restores them.
    """
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    devices = _device_generators()
    if seed is not None:
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        for generators, states in devices:
            generators.set_rng_state_all(states)


def _device_generators() -> list[tuple[Any, list[Tensor]]]:
    """CUDA and XPU only where the test already uses them: asking would initialise the device."""
    used = [module for module in (torch.cuda, getattr(torch, "xpu", None)) if module and module.is_initialized()]
    states: list[tuple[Any, list[Tensor]]] = [(module, module.get_rng_state_all()) for module in used]
    if torch.backends.mps.is_available():
        states.append((_Mps, [torch.mps.get_rng_state()]))
    return states


class _Mps:
    @staticmethod
    def set_rng_state_all(states: list[Tensor]) -> None:
        torch.mps.set_rng_state(states[0])


def _asks(tensor: Tensor) -> bool:
    """Whether it asks for a gradient of its own."""
    return tensor.is_leaf and tensor.requires_grad


def _restore_values(tensor: Tensor, saved: _Saved) -> None:
    """Write only where something changed, so that untouched tensors keep their version counter."""
    if not tensor.is_nested and tensor.shape != saved.value.shape:
        tensor.data = saved.value
    elif _version(tensor) != saved.version or not _equal(tensor, saved.value):
        tensor.copy_(saved.value)


def _equal(tensor: Tensor, value: Tensor) -> bool:
    """Values too, as ``tensor.data`` changes them without a new version; torch cannot compare sparse ones."""
    return is_ragged(tensor) or torch.equal(tensor, value)


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version


class _Saved:
    """A tensor's values, and the version at which it held them."""

    def __init__(self, tensor: Tensor) -> None:
        self.value = tensor.detach().clone()
        self.version = _version(tensor)


class _Container(NamedTuple):
    """A list, dict, set or deque that a module holds, with what it held."""

    original: Any
    content: Any


def _attributes(module: nn.Module) -> dict[str, Any]:
    return {name: _Container(v, v.copy()) if type(v) in CONTAINERS else v for name, v in vars(module).items()}


def _restore_attributes(module: nn.Module, saved: dict[str, Any]) -> None:
    attributes = vars(module)
    for name in attributes.keys() - saved.keys():
        del attributes[name]
    for name, value in saved.items():
        attributes[name] = _refilled(value.original, value.content) if isinstance(value, _Container) else value


def _refilled(original: Any, content: Any) -> Any:
    """The container the model holds, with what it held before."""
    original.clear()
    if isinstance(original, list | deque):
        original.extend(content)
    else:
        original.update(content)
    return original
