"""Random number generators: the global ones, and those that a model, a loader, a loss or a step has of its own."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import islice
from types import FunctionType, GeneratorType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer

from pytest_gradhealth.measure.passes.interrupts import uninterrupted

__all__ = ["LEAVES", "held_by", "isolated_rng", "kept"]

MOST = 1000
"""Objects that are looked through: a data set may be a list of a million paths."""
GENERATORS = (torch.Generator, random.Random, np.random.Generator, np.random.RandomState)
LEAVES = (Tensor, np.ndarray, str, bytes, int, float, complex, type, ModuleType, GeneratorType, type(None))


@contextmanager
def isolated_rng(seed: int | None, *own: Any) -> Iterator[None]:
    """Seed Python's, NumPy's and every torch device's generator, and restore all of them on leaving.

    Args:
        seed: ``None`` leaves them where they are, and still restores them.
        own: what :func:`held_by` has found, whose generators are restored too.
    """
    with uninterrupted(), ExitStack() as undo:
        undo.callback(random.setstate, random.getstate())
        undo.callback(np.random.set_state, np.random.get_state())
        undo.callback(torch.set_rng_state, torch.get_rng_state())
        for generators, states in _device_generators():
            undo.callback(generators.set_rng_state_all, states)
        undo.enter_context(kept(own))
        if seed is not None:
            random.seed(seed)
            np.random.seed(seed % 2**32)
            _seed_devices(seed)
        yield


@contextmanager
def kept(found: Iterable[Any]) -> Iterator[None]:
    """Restore on leaving what generators there are in what :func:`held_by` has found."""
    with ExitStack() as undo:
        for generator in filter(_is_generator, found):
            restore, state = _restoring(generator)
            undo.callback(restore, state)
        yield


def _restoring(generator: Any) -> tuple[Callable[..., Any], Any]:
    """A function and its argument."""
    if isinstance(generator, torch.Generator):
        return generator.set_state, generator.get_state()
    if isinstance(generator, np.random.Generator):
        return partial(setattr, generator.bit_generator, "state"), generator.bit_generator.state
    if isinstance(generator, np.random.RandomState):
        return generator.set_state, generator.get_state()
    return generator.setstate, generator.getstate()


def held_by(*owners: Any) -> Iterator[Any]:
    """Generators, modules and optimisers that objects hold: in attributes, in containers, in what functions close over.

    Of a function's global names, generators only. Breadth first, so that a whole data set ends at ``MOST``.
    """
    waiting, seen = deque(owners), set[int]()
    while waiting and len(seen) < MOST:
        thing = waiting.popleft()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, nn.Module | Optimizer) or _is_generator(thing):
            yield thing
        if not _is_generator(thing):
            waiting.extend(part for part in islice(_parts(thing), MOST) if not isinstance(part, LEAVES))


def _parts(thing: Any) -> Iterable[Any]:
    if isinstance(thing, FunctionType):
        return _closed_over(thing)
    if isinstance(thing, MethodType):
        return (thing.__self__, thing.__func__)
    if isinstance(thing, partial):
        return (thing.func, *thing.args, *thing.keywords.values())
    if isinstance(thing, Mapping):
        return list(thing.values()) if isinstance(thing, dict) else ()
    if type(thing) in (list, tuple, set, frozenset, deque):
        return list(islice(thing, MOST))
    try:
        own: dict[str, Any] = object.__getattribute__(thing, "__dict__")
    except AttributeError:
        return ()
    return [*own.values(), vars(type(thing)).get("forward")] if isinstance(thing, nn.Module) else list(own.values())


def _closed_over(function: FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not bound yet
            continue
    yield from function.__defaults__ or ()
    named = (function.__globals__.get(name) for name in function.__code__.co_names)
    yield from (value for value in named if _is_generator(value))


def _is_generator(thing: Any) -> bool:
    return isinstance(thing, GENERATORS) and not isinstance(thing, random.SystemRandom)


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
