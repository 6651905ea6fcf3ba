"""Names of modules as paths, and the layers in front of each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any

from pytest_gradhealth.record.layers import LayerGradient

__all__ = ["LayerSet", "parent_of", "path_of", "short_place", "upstream_of"]


def path_of(module: str, name: str) -> str:
    """Path of what a module holds under a name; in the model itself, the empty string, it is the name alone."""
    return f"{module}.{name}" if module else name


def short_place(where: str) -> str:
    """File and line without the folders: ``net.py:12``."""
    return where.replace("\\", "/").rpartition("/")[2]


def parent_of(name: str) -> str:
    """Path of the module that a module is a part of; the empty string is the model itself."""
    return name.rpartition(".")[0]


class LayerSet(Set[str]):
    """Some of a record's layers: bits of a whole number, as a deep network has many layers in front of many."""

    __slots__ = ("_bits", "_mask")

    def __init__(self, mask: int, bits: Mapping[str, int]) -> None:
        self._mask, self._bits = mask, bits

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self._bits.get(name, 0) & self._mask)

    def __iter__(self) -> Iterator[str]:
        return (name for name, bit in self._bits.items() if self._mask & bit)

    def __len__(self) -> int:
        return self._mask.bit_count()

    def __or__(self, other: Set[Any]) -> Set[Any]:
        if isinstance(other, LayerSet) and other._bits is self._bits:
            return LayerSet(self._mask | other._mask, self._bits)
        return super().__or__(other)

    @classmethod
    def _from_iterable(cls, names: Iterable[Any]) -> Any:
        return frozenset(names)


def upstream_of(layers: Iterable[LayerGradient]) -> dict[str, LayerSet]:
    """For each layer, given in forward order, all that lie in front of it; in a loop also itself."""
    known = list(layers)
    bits = {layer.name: 1 << position for position, layer in enumerate(known)}
    ahead = dict.fromkeys(bits, 0)
    changed = True
    while changed:  # once more only where a loop leads back
        before = dict(ahead)
        for layer in known:
            if layer.predecessors is None:
                ahead[layer.name] = bits[layer.name] - 1
            for name in layer.predecessors or ():
                ahead[layer.name] |= bits.get(name, 0) | ahead.get(name, 0)
        changed = ahead != before
    return {name: LayerSet(mask, bits) for name, mask in ahead.items()}
