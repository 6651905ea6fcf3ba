"""The processes that train one model together, and what they tell each other: plain numbers, never parameters.

A gloo group of our own carries them, so that they cross no collective of the model's, and a rank that does not come
is named instead of waited for.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, MutableMapping
from datetime import timedelta
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
import torch.distributed as dist
from torch import nn

from pytest_gradhealth.errors import MeasurementError, RankLostError

__tracebackhide__ = True

__all__ = ["PATIENCE", "Alone", "Ranks", "placed", "ranks_of", "ranks_of_group", "unwrapped", "wrapper_of"]

PATIENCE = timedelta(seconds=30)
"""How long one rank waits for the others, who have measured the same pass."""

T = TypeVar("T")


class Ranks:
    """The ranks of one model, with this process among them."""

    def __init__(self, members: tuple[int, ...]) -> None:
        self.members = members
        self.index = members.index(dist.get_rank())
        try:
            self._group = _group(members)
        except RuntimeError as error:
            raise RankLostError(self._lost(error)) from None

    def __len__(self) -> int:
        return len(self.members)

    def gathered(self, mine: T) -> list[T]:
        """What every rank has, in the order of ranks.

        Raises:
            RankLostError: a rank did not come; the message names it.
        """
        everyone: list[Any] = [None] * len(self)
        try:
            dist.monitored_barrier(self._group, timeout=PATIENCE, wait_all_ranks=True)
            dist.all_gather_object(everyone, mine, group=self._group)
        except RuntimeError as error:
            raise RankLostError(self._lost(error)) from None
        return everyone

    def together(self, action: Callable[[], T]) -> list[T]:
        """What an action gives on every rank; where it raises on one, it raises on all, with that rank's number.

        Raises:
            MeasurementError: it raised on another rank.
            RankLostError: a rank did not come.
        """
        made: T | None = None
        problem: Exception | None = None
        try:
            made = action()
        except Exception as error:
            problem = error
        try:
            answers = self.gathered((made, None if problem is None else f"{type(problem).__name__}: {problem}"))
        except RankLostError as lost:
            if problem is None:
                raise
            raise RankLostError(f"{self.name} raised {type(problem).__name__}: {problem}; then {lost}") from problem
        if problem is not None:
            problem.add_note(f"gradhealth: raised on {self.name}")
            raise problem
        for rank, (_, told) in zip(self.members, answers, strict=True):
            if told is not None:
                raise MeasurementError(f"rank {rank} of {len(self)} raised {told}")
        return [answer for answer, _ in answers]  # type: ignore[misc]

    def first(self, mine: T) -> T:
        """What the first rank has, on every rank."""
        return self.gathered(mine)[0]

    @property
    def name(self) -> str:
        """This rank, as messages call it."""
        return f"rank {self.members[self.index]} of {len(self)}"

    def _lost(self, error: RuntimeError) -> str:
        first = next((line for line in str(error).splitlines() if line.strip()), "no message")
        return f"{self.name} waited {PATIENCE.seconds} s for the other ranks of its model in vain: {first}"


class Alone:
    """This process, where no other holds a part of the same thing."""

    members = (0,)

    def __len__(self) -> int:
        return 1

    def gathered(self, mine: T) -> list[T]:
        """As :meth:`Ranks.gathered`."""
        return [mine]

    def together(self, action: Callable[[], T]) -> list[T]:
        """As :meth:`Ranks.together`."""
        return [action()]

    def first(self, mine: T) -> T:
        """As :meth:`Ranks.first`."""
        return mine


def ranks_of_group(group: Any) -> Ranks | Alone:
    """The ranks of a process group; None: of the default one."""
    members = dist.get_process_group_ranks(group or dist.group.WORLD)
    return Ranks(tuple(sorted(members))) if len(members) > 1 else Alone()


_groups_of: MutableMapping[Any, dict[tuple[int, ...], Any]] = WeakKeyDictionary()
"""Groups of our own, by the default group that they were made under: it may be destroyed, and another made."""


def _group(members: tuple[int, ...]) -> Any:
    """Made once: every rank of the model comes here with its first pass."""
    made = _groups_of.setdefault(dist.group.WORLD, {})
    if members not in made:
        made[members] = dist.new_group(list(members), timeout=PATIENCE, backend="gloo", use_local_synchronization=True)
    return made[members]


def ranks_of(model: nn.Module) -> Ranks | None:
    """Whoever trains this model together; None: this process alone.

    Raises:
        MeasurementError: they hold it in a way that cannot be measured.
    """
    _require_own_parameters(model)
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return None
    groups = {frozenset(members) for members in _groups(model)}
    if not groups:
        return None
    everyone = frozenset.union(*groups)
    whole = everyone if everyone in groups else frozenset(range(dist.get_world_size()))
    return Ranks(tuple(sorted(whole))) if len(whole) > 1 else None


def _require_own_parameters(model: nn.Module) -> None:
    """FSDP1 flattens the parameters of several layers into one, which has none of their names and shapes."""
    kind = getattr(sys.modules.get("torch.distributed.fsdp"), "FullyShardedDataParallel", ())
    flat = next((name for name, module in model.named_modules() if isinstance(module, kind)), None)
    if flat is not None:
        raise MeasurementError(
            f"FullyShardedDataParallel around {flat or 'the model'} is not supported: it flattens parameters, "
            "so that layers have no gradients of their own. Use its successor torch.distributed.fsdp.fully_shard, or "
            "check the model before it is wrapped"
        )


def _groups(model: nn.Module) -> Iterator[list[int]]:
    """The ranks that hold one thing of the model between them, or average one."""
    for module in model.modules():
        if isinstance(module, nn.parallel.DistributedDataParallel):
            yield dist.get_process_group_ranks(module.process_group)
    for parameter in model.parameters():
        place = placed(parameter)
        if place is not None:
            yield place.device_mesh.mesh.flatten().tolist()


def placed(tensor: torch.Tensor) -> Any:
    """The tensor itself, where it is one that is spread over a mesh of devices (``DTensor``); else None."""
    return tensor if hasattr(tensor, "device_mesh") and hasattr(tensor, "placements") else None


def unwrapped(model: nn.Module) -> nn.Module:
    """The model itself, without what averages its gradients: layers go by the same names with it and without."""
    while isinstance(model, nn.parallel.DistributedDataParallel):
        model = model.module
    return model


def wrapper_of(model: nn.Module) -> nn.parallel.DistributedDataParallel | None:
    """What averages the gradients of the model itself, or of a part of it."""
    return next((m for m in model.modules() if isinstance(m, nn.parallel.DistributedDataParallel)), None)
