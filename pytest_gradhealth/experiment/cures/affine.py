"""Is a network one affine map? However many layers it has, it can then do no more than one of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pytest_gradhealth.experiment.cures.cure import weighted
from pytest_gradhealth.experiment.subject import Subject
from pytest_gradhealth.measure.passes.nesting import map_leaves

__all__ = ["is_affine"]

LAYERS = 3
"""Weighted layers from which it matters: one is a regression, two may be meant as a bottleneck."""
TOLERANCE = 1e-5
"""Relative error up to which two outputs are one, in float32."""


def is_affine(subject: Subject) -> bool:
    """Whether a model of three layers or more gives for the mean of two inputs the mean of what it gives for each.

    False also where it is not known: inputs of whole numbers have no mean.
    """
    if sum(1 for _ in weighted(subject.model)) < LAYERS:
        return False
    one, other, between = (_output(subject, share) for share in (0.0, 1.0, 0.5))
    if one is None or other is None or between is None or not one.shape == other.shape == between.shape:
        return False
    apart, error = (one - other).abs().amax(), (between - (one + other) / 2).abs().amax()
    return bool(apart > 0 and error <= TOLERANCE * apart)


def _output(subject: Subject, share: float) -> Tensor | None:
    """What the model gives where this share of each sample is its neighbour's; None: there is nothing to mix."""
    mixed, found = [False], list[Tensor]()

    def mix(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) or not leaf.is_floating_point() or not leaf.ndim or len(leaf) < 2:
            return leaf
        mixed[0] = True
        return torch.lerp(leaf, leaf.roll(1, 0), share)

    def before(module: Any, args: Any, kwargs: Any) -> Any:
        return map_leaves(args, mix), map_leaves(kwargs, mix)

    def behind(module: Any, args: Any, output: Any) -> None:
        map_leaves(output, lambda leaf: found.append(leaf.detach().float()) if isinstance(leaf, Tensor) else None)

    handles = [
        subject.model.register_forward_pre_hook(before, with_kwargs=True),
        subject.model.register_forward_hook(behind),
    ]
    try:
        subject.dry_run()
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if mixed[0] and found else None
