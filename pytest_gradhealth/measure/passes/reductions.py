"""Gradients as numbers: each is reduced as it comes, and small ones together with others of their shape."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pytest_gradhealth.measure.passes import statistics
from pytest_gradhealth.measure.passes.statistics import ROW, Scalar
from pytest_gradhealth.measure.torch_private import is_wrapped

__all__ = ["Came", "Reductions"]

SMALL = 1 << 14
"""Elements up to which a gradient waits for others of its shape."""
WAITING = 1 << 17
"""Elements that wait, at most, as they fit into a processor's cache."""

SEVERAL = 3
"""Gradients from which it is quicker to take them together."""

LATER = (0.0, 0.0)
"""Quarters that are known after :meth:`Reductions.collect`."""


class Came:
    """One gradient that came, as numbers that are known after :meth:`Reductions.collect`."""

    __slots__ = ("alive", "inf", "nan", "norm", "quarters")

    def __init__(self) -> None:
        self.norm: Scalar = 0.0
        self.nan: Scalar = 0.0
        self.inf: Scalar = 0.0
        self.alive: npt.NDArray[np.bool_] | Tensor | None = None
        """Which units received any, shape (units,); None: nobody asks."""
        self.quarters: tuple[float, float] | None = None
        """L2 norms at the first and the last quarter of a sequence's positions; None: nobody asks."""


class _Group(NamedTuple):
    """Gradients of one shape, and where their numbers are to go."""

    gradients: list[Tensor]
    came: list[Came]


class Reductions:
    """Norms of gradients, whether they are finite, and which units they come to.

    Nothing waits for an accelerator; on a CPU, where every call costs more than a small gradient, small ones wait for
    each other.
    """

    def __init__(self) -> None:
        self._groups: dict[tuple[bool, torch.Size], _Group] = {}
        self._sizes: list[tuple[list[Came], Tensor]] = []
        self._elsewhere: list[Came] = []
        self._sequences: dict[tuple[torch.Size, torch.dtype, torch.device], _Group] = {}
        """Norms at the positions of gradients, (samples, positions, ...)."""
        self._latest: tuple[weakref.ref[Tensor], int, Came] | None = None
        """The last gradient without units, at which version, and its numbers."""

    def passed_on(self, gradient: Tensor, *, sequence: bool = False) -> Came:
        """Reduce the gradient of an output. An addition and a view pass on what came to them: that is read once.

        Args:
            gradient: as it is now.
            sequence: its shape is (samples, positions, features), and the quarters of its positions are asked for.
        """
        if self._latest is not None:
            before, version, came = self._latest
            latest = before()
            same = latest is gradient or (latest is not None and gradient._base is latest)
            whole = latest is not None and gradient.numel() == latest.numel() and gradient._version == version
            if same and whole and (came.quarters is not None or not sequence):
                return came
        came = self._of_sequence(gradient) if sequence else self.add(gradient)
        self._latest = weakref.ref(gradient), gradient._version, came
        return came

    def add(self, gradient: Tensor, units: int | None = None, *, owned: bool = False) -> Came:
        """Reduce one gradient.

        Args:
            gradient: as it is now.
            units: the dimension that counts units of which one is to know which received any.
            owned: nobody else holds it, so that it need not be copied to wait.
        """
        came = Came()
        if _may_wait(gradient, units):
            self._put(
                gradient if owned else gradient.detach().clone(memory_format=torch.contiguous_format),
                units is not None,
                came,
            )
        else:
            self._reduce(gradient, units, came)
        return came

    def _of_sequence(self, gradient: Tensor) -> Came:
        came = Came()
        came.norm, by_position = statistics.position_norms(gradient)
        came.nan, came.inf = statistics.count_nonfinite(gradient, came.norm)
        came.quarters = LATER
        if not isinstance(came.norm, float):
            self._elsewhere.append(came)
        group = self._sequences.setdefault((by_position.shape, by_position.dtype, by_position.device), _Group([], []))
        group.gradients.append(by_position)
        group.came.append(came)
        return came

    def collect(self, others: Sequence[list[Scalar]] = ()) -> None:
        """Fill in all numbers, and those of some lists, in one transfer from each device."""
        for (by_units, _), group in self._groups.items():
            self._reduce_group(by_units, group)
        self._groups.clear()
        told = iter(torch.cat([sizes for _, sizes in self._sizes]).tolist() if self._sizes else ())
        for came in (one for group, _ in self._sizes for one in group):
            came.norm = next(told)
        self._sizes.clear()
        lists: list[list[Scalar]] = [[came.norm, came.nan, came.inf] for came in self._elsewhere]
        statistics.fetch([*others, *lists])
        for came, (came.norm, came.nan, came.inf) in zip(self._elsewhere, lists, strict=True):
            came.alive = came.alive.cpu().numpy() if isinstance(came.alive, Tensor) else came.alive
        self._elsewhere.clear()
        self._tell_quarters()

    def _tell_quarters(self) -> None:
        for device in {device for *_, device in self._sequences}:
            groups = [group for key, group in self._sequences.items() if key[-1] == device]
            ends = [torch.stack(statistics.quarters(torch.stack(group.gradients)), dim=1) for group in groups]
            told = torch.cat([pairs.to(statistics.wide(pairs)) for pairs in ends]).tolist()
            for came, (first, last) in zip((one for group in groups for one in group.came), told, strict=True):
                came.quarters = first, last
        self._sequences.clear()

    def _reduce(self, gradient: Tensor, units: int | None, came: Came) -> None:
        if units is None:
            came.norm = statistics.norm(gradient)
        else:
            came.norm, came.alive = statistics.units_norm(gradient, units)
        came.nan, came.inf = statistics.count_nonfinite(gradient, came.norm)
        if not isinstance(came.norm, float) or came.alive is not None:
            self._elsewhere.append(came)

    def _put(self, gradient: Tensor, by_units: bool, came: Came) -> None:
        key = (by_units, gradient.shape)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group([], [])
        group.gradients.append(gradient)
        group.came.append(came)
        if len(group.came) * gradient.numel() >= WAITING:
            self._reduce_group(by_units, self._groups.pop(key))

    def _reduce_group(self, by_units: bool, group: _Group) -> None:
        if len(group.came) < SEVERAL:
            for gradient, came in zip(*group, strict=True):
                self._reduce(gradient, 0 if by_units else None, came)
            return
        stacked = torch.stack(group.gradients)
        rows = stacked.reshape(len(stacked), -1)
        if by_units:
            sizes, alive = statistics.stacked_units(stacked)
            for came, received in zip(group.came, alive.numpy(), strict=True):
                came.alive = received
        else:
            sizes = statistics.row_norms(rows)
        if not sizes.isfinite().all():
            for came, row, size in zip(group.came, rows, sizes.tolist(), strict=True):
                came.nan, came.inf = statistics.count_nonfinite(row, size)
        self._sizes.append((group.came, sizes.double()))


def _may_wait(gradient: Any, units: int | None) -> bool:
    """An ordinary small tensor in float32 on a CPU, whose units, if they are asked for, are short rows."""
    if type(gradient) is not Tensor or gradient.dtype != torch.float32 or not gradient.is_cpu:
        return False
    count = gradient.numel()
    if not 0 < count <= SMALL or statistics.is_ragged(gradient) or is_wrapped(gradient):
        return False
    return units is None or (units == 0 and count <= ROW * len(gradient))
