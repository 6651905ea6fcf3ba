"""Leave no trace: put a model and the random number generators back as they were, bit for bit."""

from __future__ import annotations

import gc
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
from pytest_gradhealth.measure.passes.structure import modules_of
from pytest_gradhealth.measure.passes.unregistered import hidden_modules
from pytest_gradhealth.measure.torch_private import copy_on_write, is_unwritten

__all__ = ["isolated_rng", "preserved", "without_collections"]

CONTAINERS = (dict, OrderedDict, defaultdict, Counter, list, set, deque)
TENSORLESS = frozenset({"_modules", "training", *(name for name in vars(nn.Module()) if "hooks" in name)})
"""Attributes of every module that hold no tensor of its own."""


@contextmanager
def preserved(model: nn.Module) -> Iterator[None]:
    """Restore parameters, gradients, buffers, mode, ``requires_grad`` and plain attributes on leaving.

    So are modules that the model keeps where torch does not look for them, in a plain list. Attributes that a forward
    pass rebinds (step counters, caches) are restored, and so is what it changes in place in tensors and containers;
    other objects are not. Tensors are copied only when something writes to them, whether torch counts that as a new
    version or not (``tensor.data``).
    """
    modules = list(dict.fromkeys([*modules_of(model).values(), *hidden_modules(model)]))
    attributes = [_Attributes(module) for module in modules]
    held = {id(tensor): tensor for module in modules for tensor in _tensors_of(module)}
    values = [_Values(tensor) for tensor in held.values()]
    trained = (tensor for tensor in held.values() if isinstance(tensor, nn.Parameter) or _asks(tensor))
    parameters = [(tensor, tensor.grad, tensor.requires_grad) for tensor in trained]
    for parameter, *_ in parameters:
        parameter.grad = None
    try:
        yield
    finally:
        for saved in attributes:
            saved.restore()
        with torch.no_grad():
            for value in values:
                value.restore()
            for parameter, gradient, requires_grad in parameters:
                parameter.requires_grad_(requires_grad)
                parameter.grad = gradient


def _tensors_of(module: nn.Module) -> Iterator[Tensor]:
    """What a module holds itself."""
    for name, value in vars(module).items():
        if name not in TENSORLESS:
            yield from tensors(value)


@contextmanager
def without_collections() -> Iterator[None]:
    """Python does not look for cycles meanwhile: thousands of small objects, none in a cycle, make it look often."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


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
        _seed_devices(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        for generators, states in devices:
            generators.set_rng_state_all(states)


def _seed_devices(seed: int) -> None:
    """``torch.manual_seed`` formats the whole stack for each kind of device that is not there."""
    torch.default_generator.manual_seed(seed)
    if any(kind.is_available() for kind in (torch.cuda, getattr(torch, "xpu", None), torch.backends.mps) if kind):
        torch.manual_seed(seed)


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


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version


class _Values:
    """A tensor and what it held: in the same memory until something writes to it, where torch can do that."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor, self._version = tensor, _version(tensor)
        plain = type(tensor) in (Tensor, nn.Parameter) and not is_ragged(tensor) and not tensor.is_inference()
        shared = copy_on_write(tensor) if plain else None
        self._storage = None if shared is None else tensor.untyped_storage()._cdata
        self._saved = tensor.detach().clone() if shared is None else shared

    def restore(self) -> None:
        """Write only where something changed, so that untouched tensors keep their version counter."""
        tensor, saved = self._tensor, self._saved
        if self._storage is not None:
            if not is_unwritten(tensor) or tensor.untyped_storage()._cdata != self._storage:
                tensor.data = saved  # what was written went elsewhere: this is the memory that it had
            del self._saved, saved
            tensor.data_ptr()  # alone again: torch ends the sharing when asked for the address
        elif not tensor.is_nested and tensor.shape != saved.shape:
            tensor.data = saved
        elif _version(tensor) != self._version or not _equal(tensor, saved):
            tensor.copy_(saved)


def _equal(tensor: Tensor, value: Tensor) -> bool:
    """Values too, as ``tensor.data`` changes them without a new version; torch cannot compare sparse ones."""
    return is_ragged(tensor) or torch.equal(tensor, value)


class _Container(NamedTuple):
    """A list, dict, set or deque that a module holds, with what it held."""

    original: Any
    content: Any

    def restore(self) -> None:
        """Fill it again with what it held before."""
        original, content = self
        original.clear()
        if isinstance(original, list | deque):
            original.extend(content)
        else:
            original.update(content)


class _Attributes:
    """What a module's attributes are bound to, and what the containers among them hold."""

    def __init__(self, module: nn.Module) -> None:
        self._module, self._bound = module, dict(vars(module))
        held = [value for value in self._bound.values() if type(value) in CONTAINERS]
        self._containers = [_Container(value, value.copy()) for value in held if value]
        self._empty = [value for value in held if not value]

    def restore(self) -> None:
        attributes = vars(self._module)
        for name in attributes.keys() - self._bound.keys():
            del attributes[name]
        attributes.update(self._bound)
        for container in self._containers:
            container.restore()
        for value in self._empty:
            if value:
                value.clear()
