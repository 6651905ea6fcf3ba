"""Which layer of a record is which layer of its baseline."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_gradhealth.judge.profile import Numbers, Profile

__all__ = ["Match", "match"]


@dataclass(frozen=True, slots=True)
class Match:
    """The layers that are in both, and those that are in one only."""

    pairs: list[tuple[int, int]] | None = None
    """Positions in head and base of the same layer, in head's order; None: the same positions throughout."""
    new: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)

    def columns(self, base: Numbers, head: Numbers) -> tuple[Numbers, Numbers]:
        """The values of the layers that are in both."""
        if self.pairs is None:
            return base, head
        return [base[j] for _, j in self.pairs], [head[i] for i, _ in self.pairs]


def match(head: Profile, base: Profile) -> Match:
    """Match layers by name; what is left by the layer before it, kind and shape, in order. Linear in the layers."""
    position = {name: i for i, name in enumerate(base.names)}
    pairs = {i: position[name] for i, name in enumerate(head.names) if name in position}
    ours = [i for i in range(len(head.names)) if i not in pairs]
    taken = set(pairs.values())
    theirs = [j for j in range(len(base.names)) if j not in taken]
    keys_head, keys_base = _keys(head, set(base.names), ours), _keys(base, set(head.names), theirs)
    waiting: dict[Any, deque[int]] = defaultdict(deque)
    for j, key in zip(theirs, keys_base, strict=True):
        waiting[key].append(j)
    pairs.update({i: waiting[key].popleft() for i, key in zip(ours, keys_head, strict=True) if waiting[key]})
    taken = set(pairs.values())
    renamed = {base.names[j]: head.names[i] for i, j in sorted(pairs.items()) if base.names[j] != head.names[i]}
    return Match(
        pairs=sorted(pairs.items()),
        new=tuple(head.names[i] for i in ours if i not in pairs),
        removed=tuple(base.names[j] for j in theirs if j not in taken),
        renamed=renamed,
    )


def _keys(profile: Profile, shared: set[str], positions: Sequence[int]) -> list[tuple[str, str, tuple[int, ...]]]:
    wanted, keys, anchor = set(positions), [], ""
    for i, name in enumerate(profile.names):
        if name in shared:
            anchor = name
        elif i in wanted:
            keys.append((anchor, profile.kinds[i], tuple(profile.shapes[i])))
    return keys
