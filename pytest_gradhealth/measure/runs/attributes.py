"""What an object's attributes are bound to, and what the containers among them hold, so that it can be put back."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator
from itertools import islice
from types import MemberDescriptorType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

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
        if not original and not content:
            return
        original.clear()
        if isinstance(original, list | deque):
            original.extend(content)
        else:
            original.update(content)


class Attributes:
    """Class, ``__dict__`` and ``__slots__`` of an object, and the containers in them, also inside containers."""

    def __init__(self, owner: Any) -> None:
        self._owner, self._class, self._bound = owner, type(owner), dict(vars(owner))
        self._slots = [(slot, value) for slot in _slots(type(owner)) for value in _set_in(slot, owner)]
        self._containers = [_Container(found, found.copy()) for found in _containers(self.values())]

    def values(self, besides: frozenset[str] = frozenset()) -> list[Any]:
        """What they are bound to, without some names."""
        bound = [value for name, value in self._bound.items() if name not in besides]
        return bound + [value for _, value in self._slots]

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
        for container in self._containers:
            container.restore()


_known: WeakKeyDictionary[type, tuple[MemberDescriptorType, ...]] = WeakKeyDictionary()


def _slots(kind: type) -> tuple[MemberDescriptorType, ...]:
    if kind not in _known:
        slotted = (vars(base) for base in kind.__mro__ if "__slots__" in vars(base))
        _known[kind] = tuple(x for names in slotted for x in names.values() if isinstance(x, MemberDescriptorType))
    return _known[kind]


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
        items = found.values() if isinstance(found, dict) else found
        for item in islice(items, MOST):
            if type(item) in NESTING and id(item) not in seen:
                seen.add(id(item))
                waiting.append(item)
