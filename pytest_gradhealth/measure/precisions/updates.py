"""Which updates rounding takes away: weight + step == weight, in the format that the weights are kept in.

The step is that of Adam, which moves each weight by about its learning rate, whatever the size of its gradient (Kingma
and Ba, 2015); half of the weights are taken to move up. Source of the effect: Micikevicius et al., "Mixed Precision
Training" (2018), section 3.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from pytest_gradhealth.measure.passes.nesting import shard_of
from pytest_gradhealth.measure.passes.wrappers import plain_name
from pytest_gradhealth.measure.sharding.updates import over_ranks
from pytest_gradhealth.record import GradientRecord, LayerGradient, parent_of

__all__ = ["HALVES", "stays", "with_lost_updates"]

HALVES = frozenset({torch.float16, torch.bfloat16})


def stays(weight: Tensor, step: Tensor | float, form: str) -> Tensor:
    """Where a weight kept in a format is the same after a step, as booleans of the weight's shape.

    Args:
        weight: in any precision.
        step: what is added to it, of the same shape or one number.
        form: torch's name of the format; in float8 the tensor is scaled by its largest element.
    """
    kind, wide = getattr(torch, form), weight.detach().float()
    largest = wide.abs().amax() if form.startswith("float8") and wide.numel() else torch.tensor(0.0)
    factor = torch.finfo(kind).max / largest if largest > 0 else 1.0
    held = (wide * factor).to(kind).float()
    return (held + step * factor).to(kind).float() == held


def with_lost_updates(
    model: nn.Module, record: GradientRecord, learning_rate: float | None, formats: Sequence[str]
) -> GradientRecord:
    """The record with the share of updates that each layer would lose: in its own half precision, and in formats.

    Args:
        model: whose weights they are.
        record: with the layers' names as the model has them.
        learning_rate: of the step; None: nobody asked.
        formats: torch's names.

    Raises:
        RankLostError: a rank that holds a part of the weights did not come.
    """
    if learning_rate is None:
        return record
    held = {name: p for name, p in model.named_parameters() if p.requires_grad and p.is_floating_point() and p.numel()}
    mine = {name: _counts(p, learning_rate, formats) for name, p in held.items()}
    by_layer: dict[str, list[list[float]]] = {}
    for name, numbers in over_ranks(model, mine).items():
        by_layer.setdefault(plain_name(parent_of(name)), []).append(numbers)
    layers = tuple(_told(layer, by_layer.get(plain_name(layer.name), []), formats) for layer in record)
    return replace(record, layers=layers, learning_rate=learning_rate)


@torch.no_grad()
def _counts(parameter: nn.Parameter, step: float, formats: Sequence[str]) -> list[float]:
    """Elements in half precision, those of them that stay, elements, and those that would stay in each format."""
    weight = shard_of(parameter.detach())
    own = str(weight.dtype).removeprefix("torch.") if weight.dtype in HALVES else ""
    lost = [_lost(weight, step, form) for form in ([own] if own else []) + list(formats)]
    return [float(weight.numel()), lost.pop(0), float(weight.numel()), *lost] if own else [0, 0, weight.numel(), *lost]


def _lost(weight: Tensor, step: float, form: str) -> float:
    """Elements that stay what they are, whichever way half of them move."""
    return sum(float(stays(weight, way, form).sum()) for way in (step, -step)) / 2


def _told(layer: LayerGradient, counts: Sequence[Sequence[float]], formats: Sequence[str]) -> LayerGradient:
    if not counts or not layer.norm:
        return layer
    halves, stayed, elements, *lost = (sum(column) for column in zip(*counts, strict=True))
    shares: Mapping[str, float] = {form: one / elements for form, one in zip(formats, lost, strict=True)}
    return replace(
        layer,
        lost_update=stayed / halves if halves else None,
        underflow=tuple(replace(one, lost_update=shares.get(one.format)) for one in layer.underflow),
    )
