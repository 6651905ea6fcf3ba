"""Parameters that a model computes with and does not list, so that no optimiser is given them.

Layers in a plain list, a tensor that asks for a gradient without being a Parameter, layers made in ``forward``: the
gradient comes to all of them, and nothing ever moves them.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterator, Mapping
from itertools import islice
from types import TracebackType
from typing import Any, NamedTuple, Self

from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.utils.hooks import RemovableHandle

from pytest_gradhealth.measure.passes.nesting import shard_of
from pytest_gradhealth.measure.passes.source import caller, forwards
from pytest_gradhealth.measure.passes.structure import modules_of, own_attributes, parameters_of
from pytest_gradhealth.record import UnregisteredParameter

__all__ = ["Unmoved", "UnregisteredParameters", "hidden_modules"]

MOST = 1000
"""Things in an attribute that are looked at: a model may hold its whole vocabulary in a list."""
CONVERSIONS = 4
"""Nodes between a copy of a parameter and the parameter: moved, converted, scaled."""


class _Place(NamedTuple):
    """Where parameters are held, or made."""

    module: str
    name: str
    where: str = ""


class UnregisteredParameters:
    """A context that notes which parameters receive a gradient without being listed by the model."""

    def __init__(self, model: nn.Module) -> None:
        modules = modules_of(model)
        self._names = {id(module): name for name, module in modules.items()}
        self._held = dict(_held(modules))
        self._handles: list[RemovableHandle] = []
        self._passes: list[dict[_Place, int]] = []

    def __enter__(self) -> Self:
        self._handles.append(register_module_parameter_registration_hook(self._registered))
        for tensor, place in self._held.items():
            self._follow(tensor, place)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()
        for tensor in self._held:
            tensor._backward_hooks = tensor._backward_hooks or None  # a hook leaves its empty container behind

    def begin(self) -> None:
        """Another forward and backward pass."""
        self._passes.append({})

    @property
    def is_open(self) -> bool:
        """Whether a second pass has to tell what is made each time from what the first one makes once."""
        return len(self._passes) == 1 and any(place.where for place in self._passes[0])

    def found(self) -> tuple[UnregisteredParameter, ...]:
        """What received a gradient in every pass; what only the first one makes is kept from then on."""
        first, several = self._passes[0], len(self._passes) > 1
        places = dict.fromkeys([*self._held.values(), *first])
        common = (place for place in places if all(place in seen for seen in self._passes))
        return tuple(
            UnregisteredParameter(**place._asdict(), parameters=first[place])
            for place in common
            if several or not place.where
        )

    def _registered(self, module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        if parameter is None or not parameter.requires_grad or _is_gathered(module, name):
            return
        maker = self._maker()
        if maker is not None:
            self._follow(parameter, _Place(maker, type(module).__name__, caller()[0]))

    def _maker(self) -> str | None:
        """The module of the model whose forward pass is running; None: none of them."""
        owners = (self._names.get(id(running)) for _, running in forwards())
        return next((name for name in owners if name is not None), None)

    def _follow(self, tensor: Tensor, place: _Place) -> None:
        """Count it in each pass, or in the one that makes it."""
        made = self._passes[-1] if place.where else None

        def came(gradient: Tensor | None) -> None:
            seen = self._passes[-1]
            if gradient is not None and (made is None or made is seen):
                seen[place] = seen.get(place, 0) + tensor.numel()

        self._handles.append(tensor.register_hook(came))  # type: ignore[no-untyped-call]


def _is_gathered(module: nn.Module, name: str) -> bool:
    """Whether a parameter takes the place of a shard of itself: ``fully_shard`` gathers it for one pass."""
    shard = module._parameters.get(name)
    return shard is not None and shard_of(shard) is not shard


class Unmoved:
    """What a model holds without listing it, from now on; for tests that train, whose tensors are not to be hooked."""

    def __init__(self, model: nn.Module) -> None:
        self._held = [(place, *_noted(tensor)) for tensor, place in _held(modules_of(model))]
        self._listed = [_noted(parameter) for parameter in model.parameters() if parameter.requires_grad]

    def found(self) -> tuple[UnregisteredParameter, ...]:
        """What received a gradient and stayed as it was, while an optimiser moved what the model lists."""
        if not any(_has_moved(*noted) for noted in self._listed):
            return ()
        sizes: dict[_Place, int] = {}
        for place, reference, version in self._held:
            tensor = reference()
            if tensor is not None and tensor.grad is not None and tensor._version == version:
                sizes[place] = sizes.get(place, 0) + tensor.numel()
        return tuple(UnregisteredParameter(**place._asdict(), parameters=size) for place, size in sizes.items())


def _noted(tensor: Tensor) -> tuple[weakref.ref[Tensor], int]:
    return weakref.ref(tensor), tensor._version


def _has_moved(reference: weakref.ref[Tensor], version: int) -> bool:
    tensor = reference()
    return tensor is not None and tensor._version != version


def hidden_modules(modules: Mapping[str, nn.Module]) -> Iterator[nn.Module]:
    """Modules in plain attributes of a model's modules, with all in them, without those that the model lists."""
    listed = set(map(id, modules.values()))
    for _, value in _plain(modules):
        for module in value.modules() if isinstance(value, nn.Module) else ():
            if id(module) not in listed:
                yield module


def _held(modules: Mapping[str, nn.Module]) -> Iterator[tuple[Tensor, _Place]]:
    """Leaves that ask for a gradient in plain attributes of modules, or behind copies there, without those listed."""
    listed = set(map(id, parameters_of(modules).values()))
    for place, value in _plain(modules):
        for tensor in value.parameters() if isinstance(value, nn.Module) else _leaves(value):
            if tensor.requires_grad and id(tensor) not in listed:
                yield tensor, place


def _leaves(tensor: Tensor) -> list[Tensor]:
    """The leaf itself, or the one that a moved or converted copy was made of: ``nn.Parameter(...).to(device)``.

    What was computed from several, or in more steps than that, is a result that the model keeps.
    """
    node = tensor.grad_fn
    for _ in range(CONVERSIONS):
        if node is None:
            break
        following = [child for child, _ in node.next_functions if child is not None]
        leaf = getattr(node, "variable", None)
        if leaf is not None:
            return [leaf]
        node = following[0] if len(following) == 1 else None
    return [tensor] if tensor.is_leaf else []


def _plain(modules: Mapping[str, nn.Module]) -> Iterator[tuple[_Place, nn.Module | Tensor]]:
    """Modules and tensors in plain attributes, alone or in containers."""
    for path, module in modules.items():
        for name, value in own_attributes(module):
            if _may_hold(value):
                for found in _unpacked(value):
                    yield _Place(path, name), found


def _may_hold(value: Any) -> bool:
    """Most attributes are switches and functions."""
    return bool(value) if isinstance(value, list | tuple | dict) else isinstance(value, Tensor | nn.Module | Mapping)


def _unpacked(value: Any) -> Iterator[nn.Module | Tensor]:
    """Breadth first, so that a list that holds itself, or a whole data set, ends at ``MOST``."""
    waiting, seen = deque([value]), 0
    while waiting and seen < MOST:
        seen += 1
        match waiting.popleft():
            case Tensor() | nn.Module() as found:
                yield found
            case Mapping() as mapping:
                waiting.extend(islice(mapping.values(), MOST))
            case list() | tuple() as items:
                waiting.extend(islice(items, MOST))
