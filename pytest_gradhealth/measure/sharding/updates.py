"""What a step of an optimiser made of parameters of which each process holds a part, as numbers of the whole."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from pytest_gradhealth.measure.sharding.ranks import placed, ranks_of
from pytest_gradhealth.measure.torch_private import place_of_shard

__all__ = ["over_ranks"]


def over_ranks(model: nn.Module, mine: Mapping[str, list[float]]) -> Mapping[str, list[float]]:
    """Sums over the elements of whole parameters, from sums over what each rank holds; a part counts once.

    Args:
        model: what holds the parameters.
        mine: the sums over this rank's parts, by the names of parameters.

    Raises:
        RankLostError: a rank did not make the step.
    """
    places = {name: place_of_shard(p) for name, p in model.named_parameters() if placed(p) is not None}
    ranks = ranks_of(model) if places else None
    if ranks is None:
        return mine
    parts: dict[str, dict[tuple[int, ...], list[float]]] = {}
    for held in ranks.gathered({name: (places.get(name, ()), numbers) for name, numbers in mine.items()}):
        for name, (place, numbers) in held.items():
            parts.setdefault(name, {})[place] = numbers
    return {name: [sum(column) for column in zip(*found.values(), strict=True)] for name, found in parts.items()}
