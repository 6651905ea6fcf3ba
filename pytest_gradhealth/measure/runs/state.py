"""Leave no trace: put a model and the random number generators back as they were, bit for bit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer, register_optimizer_step_pre_hook

from pytest_gradhealth.measure.passes.interrupts import uninterrupted
from pytest_gradhealth.measure.passes.nesting import shard_of, tensors
from pytest_gradhealth.measure.passes.pause import without_collections
from pytest_gradhealth.measure.passes.statistics import is_ragged
from pytest_gradhealth.measure.passes.structure import EVERYWHERE, modules_of, own_attributes
from pytest_gradhealth.measure.passes.unregistered import hidden_modules
from pytest_gradhealth.measure.runs.attributes import Attributes
from pytest_gradhealth.measure.runs.generators import LEAVES, held_by, isolated_rng, kept
from pytest_gradhealth.measure.sharding.ranks import placed
from pytest_gradhealth.measure.torch_private import copy_on_write, is_unwritten, set_version

__all__ = ["isolated_rng", "preserved"]

TENSORLESS = EVERYWHERE - {"_parameters", "_buffers"}
"""Attributes of every module that hold no tensor of its own."""
HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")


@contextmanager
def preserved(model: nn.Module, *others: Any) -> Iterator[None]:
    """Restore parameters, gradients, buffers, mode, ``requires_grad``, hooks and plain attributes on leaving.

    So are modules that the model keeps where torch does not look for them, in a plain list. Attributes that a forward
    pass rebinds (step counters, caches) are restored, and so is what it changes in place in tensors and containers;
    other objects are not. Tensors are copied only when something writes to them, whether torch counts that as a new
    version or not (``tensor.data``).

    Meanwhile no hook runs on a gradient that has been accumulated: there, optimisers step inside the backward pass.
    One that steps all the same, or in the user's ``step``, gets its state back too.

    Args:
        model: what is measured.
        others: modules, optimisers and generators that the loss or the step holds.
    """
    owners = {id(part): part for owner in (model, *others) for part in _parts(owner)}
    drawing = [*others, *held_by(*(value for owner in owners.values() for value in _may_draw(owner)))]
    with uninterrupted(), ExitStack() as undo:
        undo.enter_context(kept(drawing))
        with without_collections():
            _restore_later(owners.values(), undo)
        undo.enter_context(_optimisers_preserved())
        yield


def _parts(owner: Any) -> Iterator[nn.Module | Optimizer]:
    if isinstance(owner, Optimizer):
        yield owner
    elif isinstance(owner, nn.Module):
        modules = modules_of(owner)
        yield from modules.values()
        yield from hidden_modules(modules)


def _may_draw(module: nn.Module | Optimizer) -> Iterator[Any]:
    """Attributes that are no tensor and no number: one may be a generator, or hold one."""
    return (value for _, value in own_attributes(module) if not isinstance(value, LEAVES))


def _restore_later(owners: Iterable[Any], undo: ExitStack) -> None:
    """Put back on leaving: first what attributes are bound to, then what tensors hold, then their gradients."""
    saved = [Attributes(owner) for owner in owners]
    held = {id(tensor): tensor for attributes in saved for tensor in tensors(attributes.values(TENSORLESS))}
    undo.callback(_restore, saved, values := list[_Values](), trained := list[_Gradient]())
    for tensor in held.values():
        values.append(_Values(tensor))
    for tensor in held.values():
        if isinstance(tensor, nn.Parameter) or _asks(tensor):
            trained.append(_Gradient(tensor))
            trained[-1].set_aside()


def _restore(*saved: Iterable[Attributes | _Values | _Gradient]) -> None:
    """All of it, even where something cannot be restored."""
    problem = None
    with torch.no_grad(), without_collections():
        for one in chain(*saved):
            try:
                one.restore()
            except Exception as error:
                problem = problem or error
    if problem is not None:
        raise problem


class _Gradient:
    """What a tensor has collected, whether it asks for more, and the hooks that wait for it."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor, self._gradient, self._asks = tensor, tensor.grad, tensor.requires_grad
        found = ((name, getattr(tensor, name)) for name in HOOKS)
        self._hooks = [(name, hooks, dict(hooks) if hooks else {}) for name, hooks in found]

    def set_aside(self) -> None:
        """Begin without a gradient; no hook runs on what is accumulated meanwhile."""
        self._tensor.grad = None
        if self._tensor._post_accumulate_grad_hooks:
            self._tensor._post_accumulate_grad_hooks.clear()

    def restore(self) -> None:
        """As it was."""
        if self._tensor.requires_grad != self._asks:
            self._tensor.requires_grad_(self._asks)
        self._tensor.grad = self._gradient
        for name, hooks, held in self._hooks:
            present = getattr(self._tensor, name)
            if hooks is None and present is not None:
                present.clear()
            if hooks is not None and hooks != held:
                hooks.clear()
                hooks.update(held)
            if present is not hooks:
                setattr(self._tensor, name, hooks)


@contextmanager
def _optimisers_preserved() -> Iterator[None]:
    """Restore every optimiser of torch that makes a step inside this context."""
    known: list[Optimizer] = []
    with ExitStack() as undo:

        def stepping(optimiser: Optimizer, args: Any, kwargs: Any) -> None:
            if not any(optimiser is seen for seen in known):
                known.append(optimiser)
                _restore_later([optimiser], undo)

        undo.callback(register_optimizer_step_pre_hook(stepping).remove)
        yield


def _asks(tensor: Tensor) -> bool:
    """Whether it asks for a gradient of its own."""
    return tensor.is_leaf and tensor.requires_grad


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version


class _Values:
    """A tensor and what it held: in the same memory until something writes to it, where torch can do that."""

    def __init__(self, given: Tensor) -> None:
        # to compare whole ones would be to wait for others
        tensor = given if placed(given) is None else shard_of(given.detach())
        self._tensor, self._version = tensor, _version(tensor)
        plain = type(given) in (Tensor, nn.Parameter) and not is_ragged(given) and not given.is_inference()
        shared = copy_on_write(tensor) if plain else None
        self._storage = None if shared is None else tensor.untyped_storage()._cdata
        self._saved = tensor.detach().clone() if shared is None else shared

    def restore(self) -> None:
        """Write only where something changed; a graph that was built before can then still be sent back."""
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
        if _version(tensor) != self._version:
            set_version(tensor, self._version)


def _equal(tensor: Tensor, value: Tensor) -> bool:
    """Values too, as ``tensor.data`` changes them without a new version; torch cannot compare sparse ones."""
    return is_ragged(tensor) or torch.equal(tensor, value)
