"""What an object's attributes are bound to, and what the containers among them hold, so that it can be put back."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator
from itertools import islice
from types import MemberDescriptorType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from pytest_gradhealth.measure.passes.nesting import PLAIN

__all__ = ["Attributes"]

CONTAINERS = frozenset({dict, OrderedDict, defaultdict, Counter, list, set, deque})
NESTING = CONTAINERS | {tuple}
MOST = 1000
"""Items of a container in which further containers are looked for: a model may hold its whole vocabulary in a list."""


class _Container(NamedTuple):
    """A list, dict, set or deque, with what it held."""

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


class Attributes:
    """Class, ``__dict__`` and ``__slots__`` of an object, and the containers in them, also inside containers."""

    def __init__(self, owner: Any) -> None:
        self._owner, self._class, self._bound = owner, type(owner), vars(owner).copy()
        self._slots = [(slot, value) for slot in _slots(type(owner)) for value in _set_in(slot, owner)]
        nested = [value for value in self._bound.values() if type(value) in NESTING]
        self._empty = [value for value in nested if not value and type(value) is not tuple]
        """Containers that hold nothing: of those that every module has for hooks, almost all."""
        self._containers: list[_Container] = []
        for found in _containers([value for value in nested if value] + [value for _, value in self._slots]):
            self._containers.append(_Container(found, found.copy())) if found else self._empty.append(found)

    def values(self, besides: frozenset[str] = frozenset()) -> list[Any]:
        """What they are bound to, without some names, numbers, texts and what is empty."""
        empty = set(map(id, self._empty))
        bound = [
            value
            for name, value in self._bound.items()
            if name not in besides and type(value) not in PLAIN and id(value) not in empty
        ]
        return [*bound, *(value for _, value in self._slots)] if self._slots else bound

    def restore(self) -> None:
        """Bind them again, and fill the containers with what they held."""
        if type(self._owner) is not self._class:
            self._owner.__class__ = self._class
        attributes = vars(self._owner)
        for name in attributes.keys() - self._bound.keys():
            del attributes[name]
        attributes.update(self._bound)
        for slot, value in self._slots:
            slot.__set__(self._owner, value)
        for container in self._empty:
            if container:
                container.clear()
        for filled in self._containers:
            filled.restore()


_known: WeakKeyDictionary[type, tuple[MemberDescriptorType, ...]] = WeakKeyDictionary()


def _slots(kind: type) -> tuple[MemberDescriptorType, ...]:
    found = _known.get(kind)
    if found is None:
        slotted = (vars(base) for base in kind.__mro__ if "__slots__" in vars(base))
        found = tuple(x for names in slotted for x in names.values() if isinstance(x, MemberDescriptorType))
        _known[kind] = found
    return found


def _set_in(slot: MemberDescriptorType, owner: Any) -> Iterable[Any]:
    try:
        return (slot.__get__(owner),)
    except AttributeError:
        return ()


def _containers(values: Iterable[Any]) -> Iterator[Any]:
    """Containers that can be filled again; tuples are looked through."""
    waiting = [value for value in values if type(value) in NESTING]
    seen = set(map(id, waiting))
    for found in waiting:  # which grows
        if type(found) in CONTAINERS:
            yield found
        if not found:
            continue
        items = found.values() if isinstance(found, dict) else found
        for item in islice(items, MOST):
            if type(item) in NESTING and id(item) not in seen:
                seen.add(id(item))
                waiting.append(item)
