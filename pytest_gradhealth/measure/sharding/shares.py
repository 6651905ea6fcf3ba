"""Each rank's share of every parameter's gradient as a few numbers, and the whole tensor's numbers from all shares.

The gradient is the one that the optimiser is given: after the ranks have reduced it, before anything clips it.
Ranks that hold the same part of a tensor are told apart by nothing but its place, and count once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor, nn

from pytest_gradhealth.measure.passes import statistics
from pytest_gradhealth.measure.passes.histogram import Tally
from pytest_gradhealth.measure.passes.nesting import shard_of
from pytest_gradhealth.measure.passes.results import ParameterPass
from pytest_gradhealth.measure.passes.structure import modules_of, unit_dimensions
from pytest_gradhealth.measure.passes.summary import Weight
from pytest_gradhealth.measure.sharding.ranks import placed
from pytest_gradhealth.measure.torch_private import place_of_shard

__all__ = ["Share", "averaged", "placed_as", "shares", "whole_gradients", "whole_weights"]


@dataclass(frozen=True, slots=True)
class Share:
    """What one rank holds of one parameter."""

    start: tuple[int, ...]
    """Where its part begins in the whole tensor."""
    units: int
    """Units of the whole tensor."""
    unit_dimension: int | None
    weight: float
    """L2 norm of the weights."""
    alike: bool
    """Whether all units hold the same weights, as far as they are held here."""
    first: float
    """A number that tells one unit's weights from another's."""
    norm: float | None
    """L2 norm of the gradient; None: there is none."""
    nan: int = 0
    inf: int = 0
    alive: npt.NDArray[np.bool_] | None = None
    """Which units received any, shape (units held here,)."""
    tallies: tuple[Tally, ...] = ()


def shares(model: nn.Module, gradients: Mapping[str, Tensor], *, histograms: bool = False) -> dict[str, Share]:
    """This rank's share of every trainable parameter.

    Args:
        model: what holds the parameters.
        gradients: those that the optimiser is given, by name.
        histograms: count the elements of the gradients.
    """
    dimensions = unit_dimensions(modules_of(model))
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad and p.numel()}
    return {name: _share(p, gradients.get(name), dimensions.get(name), histograms) for name, p in trainable.items()}


@torch.no_grad()
def _share(parameter: nn.Parameter, gradient: Tensor | None, dimension: int | None, histograms: bool) -> Share:
    place, held = placed(parameter), shard_of(parameter.detach())
    start = place_of_shard(place) if place is not None else (0,) * parameter.ndim
    units = held.movedim(dimension, 0) if dimension is not None and held.numel() else None
    known: dict[str, Any] = {
        "start": start,
        "units": parameter.shape[dimension] if dimension is not None else 0,
        "unit_dimension": dimension,
        "weight": float(statistics.norm(held)) if held.numel() else 0.0,
        "alike": units is None or bool((units == units[:1]).all()),
        "first": 0.0 if units is None else float(units[0].double().flatten().cumsum(0).sum()),
    }
    if gradient is None:
        return Share(**known, norm=None)
    came = shard_of(placed_as(parameter, gradient))
    if not came.numel():
        return Share(**known, norm=0.0)
    size = statistics.norm(came)
    nan, inf = statistics.count_nonfinite(came, size)
    alive = None
    if dimension is not None and not statistics.is_ragged(came):
        alive = statistics.alive_units(came, dimension).cpu().numpy()
    tallies: tuple[Tally, ...] = ()
    if histograms:
        numbers, counts = statistics.tally(came)
        tallies = (Tally(counts.cpu().numpy(), *numbers.tolist()),)
    return Share(**known, norm=float(size), nan=int(nan), inf=int(inf), alive=alive, tallies=tallies)


def placed_as(parameter: Tensor, gradient: Tensor) -> Tensor:
    """A gradient spread over the ranks as its parameter is, as the optimiser takes it.

    It may come otherwise: as terms of a sum, or whole on every rank.
    """
    place, mine = placed(parameter), placed(gradient)
    if place is None or mine is None or place.placements == mine.placements:
        return gradient
    moved: Tensor = mine.redistribute(placements=place.placements)
    return moved


@torch.no_grad()
def averaged(gradients: Mapping[str, Tensor], group: dist.ProcessGroup) -> dict[str, Tensor]:
    """Gradients that each rank has for itself, as their mean: what DistributedDataParallel gives the optimiser."""
    made = {name: gradient.to_dense().clone() for name, gradient in gradients.items()}
    for gradient in made.values():
        dist.all_reduce(gradient.div_(dist.get_world_size(group)), group=group)
    return made


def whole_gradients(everyone: Sequence[Mapping[str, Share]]) -> dict[str, ParameterPass]:
    """The numbers of whole tensors, for those that a gradient came to."""
    found = {name: [share for share in held if share.norm is not None] for name, held in _by_name(everyone)}
    return {name: _whole(held) for name, held in found.items() if held}


def whole_weights(everyone: Sequence[Mapping[str, Share]]) -> dict[str, Weight]:
    """The norms of whole weights, and whether all units of a layer hold the same."""
    return {
        name: Weight(math.hypot(*(share.weight for share in held)), _are_alike(held))
        for name, held in _by_name(everyone)
    }


def _by_name(everyone: Sequence[Mapping[str, Share]]) -> Iterable[tuple[str, list[Share]]]:
    """Every parameter with its different parts."""
    for name in dict.fromkeys(name for mine in everyone for name in mine):
        yield name, list({mine[name].start: mine[name] for mine in reversed(everyone) if name in mine}.values())


def _whole(held: list[Share]) -> ParameterPass:
    return ParameterPass(
        norm=math.hypot(*(share.norm or 0.0 for share in held)),
        nan=sum(share.nan for share in held),
        inf=sum(share.inf for share in held),
        alive=_alive(held),
        tallies=tuple(tally for share in held for tally in share.tallies),
    )


def _alive(held: list[Share]) -> npt.NDArray[np.bool_] | None:
    """Every unit that received a gradient in any of its parts."""
    dimension = held[0].unit_dimension
    if dimension is None:
        return None
    mask = np.zeros(held[0].units, bool)
    for share in held:
        if share.alive is not None:
            start = share.start[dimension]
            mask[start : start + len(share.alive)] |= share.alive
    return mask


def _are_alike(held: list[Share]) -> bool:
    """Whether no part holds units that differ, within it or from those of another part."""
    dimension = held[0].unit_dimension
    if dimension is None or held[0].units < 2 or not any(share.weight for share in held):
        return False
    firsts: dict[tuple[int, ...], set[float]] = {}
    for share in held:
        if share.weight or share.first:
            others = (*share.start[:dimension], *share.start[dimension + 1 :])
            firsts.setdefault(others, set()).add(share.first)
    return all(share.alike for share in held) and all(len(found) == 1 for found in firsts.values())
