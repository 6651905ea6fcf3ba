"""Passes of one model, as the record that everything else speaks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import SimpleNamespace as _Draft
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from pytest_gradhealth.measure.passes.histogram import histogram_of
from pytest_gradhealth.measure.passes.nesting import shard_of
from pytest_gradhealth.measure.passes.parameters import parameter_gradient
from pytest_gradhealth.measure.passes.paths import predecessors, reaches
from pytest_gradhealth.measure.passes.reductions import Reductions
from pytest_gradhealth.measure.passes.results import Pass
from pytest_gradhealth.measure.passes.signals import median, signals_of
from pytest_gradhealth.measure.passes.source import class_of, is_installed, source_of
from pytest_gradhealth.measure.passes.structure import (
    modules_of,
    names_of,
    own_parameters,
    parameters_of,
    unit_dimensions,
)
from pytest_gradhealth.record import GradientRecord, LayerGradient, LossGraph, Signal, parent_of, path_of

__all__ = ["Weight", "summarise", "whole_loss_graph"]

HALF = 0.5
"""Share of dead units from which their biases are looked at."""
SHARES = (3, 2)
"""How many things one layer makes that are cut apart behind it."""
FEWEST = 8
"""Units of such a share: fewer may be dead together by chance."""
MOST_ALIVE = 0.9
"""Share of the other units that receive a gradient."""
FIRM = 5
"""Deviations below zero at which a bias shuts a unit, whatever it is given: one normal number in three million."""


class Weight(NamedTuple):
    """L2 norm of a weight, and whether all units of its layer hold the same."""

    norm: float
    is_alike: bool


def summarise(
    model: nn.Module,
    passes: Sequence[Pass],
    *,
    samples: int | None,
    seed: int | None,
    weights: Mapping[str, Weight] | None = None,
) -> GradientRecord:
    """Combine passes by their median.

    Args:
        model: the model that was observed, with the parameters it was observed with.
        passes: at least one.
        samples: samples in the smallest batch.
        seed: what the random number generators were seeded with.
        weights: those of a model that several processes hold between them; None: this one holds all of it.
    """
    signals = signals_of(passes)
    drafts = _ordered(_drafts(model, passes, signals, weights))
    _tell_predecessors(drafts, passes)
    _tell_gain(drafts, signals)
    _tell_shut(drafts, model, passes)
    for draft, reach in zip(drafts, reaches(drafts), strict=True):
        draft.reach = reach
    first = next(model.parameters(), None)
    return GradientRecord(
        model=class_of(model).__name__,
        source=source_of(model),
        installed=_Foreign({"": model})(""),
        device=str(first.device) if first is not None else "cpu",
        precision=str(first.dtype).removeprefix("torch.") if first is not None else "float32",
        seed=seed,
        torch=torch.__version__,
        batches=len(passes),
        samples=samples,
        loss=median([p.loss for p in passes]),
        loss_graph=whole_loss_graph([p.objective for p in passes if p.objective]),
        layers=tuple(LayerGradient(**vars(draft)) for draft in drafts),
        signals=signals,
    )


def whole_loss_graph(seen: Sequence[LossGraph]) -> LossGraph | None:
    """Medians, and what any pass shows; None: no loss was looked at."""
    if not seen:
        return None
    worst = max(seen, key=lambda one: one.unreachable)
    return LossGraph(
        maximised=next((one.maximised for one in seen if one.maximised), ""),
        broadcast=max(one.broadcast for one in seen),
        initial_loss=median(one.initial_loss for one in seen),
        classes=min((one.classes for one in seen if one.classes is not None), default=None),
        unbounded=any(one.unbounded for one in seen),
        signed_mean=any(one.signed_mean for one in seen),
        wrong_dim=any(one.wrong_dim for one in seen),
        probability_sum=median(one.probability_sum for one in seen),
        output_scale=median(one.output_scale for one in seen),
        target_excess=max(one.target_excess for one in seen),
        output_bound=worst.output_bound,
        unreachable=worst.unreachable,
        activation=next((one.activation for one in seen if one.activation), ""),
        activated_loss=next((one.activated_loss for one in seen if one.activated_loss), ""),
        multilabel_softmax=all(one.multilabel_softmax for one in seen),
        clamped=min(one.clamped for one in seen),
        ignored_targets=max(one.ignored_targets for one in seen),
        constant_targets=all(one.constant_targets for one in seen),
        single_targets=min(one.single_targets for one in seen),
        divergence_of_probabilities=any(one.divergence_of_probabilities for one in seen),
    )


def _drafts(
    model: nn.Module, passes: Sequence[Pass], signals: Sequence[Signal], weights: Mapping[str, Weight] | None
) -> list[_Draft]:
    by_name = {signal.name: signal for signal in signals}
    modules, taken = modules_of(model), set[int]()
    owners, is_foreign = _owners(model), _Foreign(modules)
    dimensions = unit_dimensions(modules)
    weights = weights or _weights(modules, dimensions)
    drafts = []
    for name, module in modules.items():
        own = {local: p for local, p in own_parameters(module) if id(p) not in taken}
        if any(p.numel() for p in own.values()):
            drafts.append(_draft(name, module, own, passes, by_name.get(name), dimensions, weights))
            drafts[-1].installed = is_foreign(name)
            drafts[-1].tied = _tied(name, own.values(), owners)
        taken |= {id(p) for p in own.values()}
    return drafts


def _weights(modules: Mapping[str, nn.Module], dimensions: Mapping[str, int]) -> dict[str, Weight]:
    """Of every trainable parameter."""
    trainable = {name: p for name, p in parameters_of(modules).items() if p.requires_grad and p.numel()}
    reductions = Reductions()
    came = {name: reductions.add(p.detach(), owned=True) for name, p in trainable.items()}
    reductions.collect()
    return {
        name: Weight(float(came[name].norm), name in dimensions and _is_alike(p, dimensions[name]))
        for name, p in trainable.items()
    }


def _owners(model: nn.Module) -> dict[int, list[str]]:
    """Every layer that holds a parameter, by the parameter's identity."""
    owners: dict[int, list[str]] = {}
    for name, module in names_of(model):
        for _, parameter in own_parameters(module):
            owners.setdefault(id(parameter), []).append(name)
    return owners


def _tied(name: str, own: Iterable[nn.Parameter], owners: dict[int, list[str]]) -> tuple[str, ...]:
    """Other layers that hold one of a layer's parameters."""
    shared = (owners[id(p)] for p in own)
    return tuple(dict.fromkeys(other for names in shared if len(names) > 1 for other in names if other != name))


def _draft(
    name: str,
    module: nn.Module,
    own: dict[str, nn.Parameter],
    passes: Sequence[Pass],
    signal: Signal | None,
    dimensions: dict[str, int],
    weights: Mapping[str, Weight],
) -> _Draft:
    full = {local: path_of(name, local) for local in own}
    trainable = {local: p for local, p in own.items() if p.requires_grad and p.numel()}
    gradients = {
        local: [p.parameters[full[local]] for p in passes if full[local] in p.parameters] for local in trainable
    }
    found = [[p.parameters[full[local]] for local in trainable if full[local] in p.parameters] for p in passes]
    norms = [math.hypot(*(gradient.norm for gradient in each)) for each in found if each]
    sizes = {local: weights[full[local]].norm for local in trainable}
    norm, weight_norm = median(norms), math.hypot(*sizes.values())
    biggest = max(own.values(), key=lambda p: p.numel())
    units = {full[local]: [g.alive for g in gradients[local] if g.alive is not None] for local in trainable}
    dead, count, silent = _dead(units, dimensions)
    return _Draft(
        name=name,
        kind=class_of(module).__name__,
        order=None if signal is None else signal.order,
        parameters=sum(p.numel() for p in own.values()),
        trainable=sum(p.numel() for p in trainable.values()),
        shape=tuple(biggest.shape),
        gradients=tuple(parameter_gradient(local, p.shape, gradients[local]) for local, p in trainable.items()),
        norm=norm,
        lowest=min(norms, default=None),
        highest=max(norms, default=None),
        weight_norm=weight_norm,
        sensitivity=(norm or 0.0) * weight_norm,
        signal=signal.gradient if signal else None,
        dead=dead,
        units=count,
        silent_units=silent,
        identical_units=any(weights[full[local]].is_alike for local in trainable),
        nan=max((sum(gradient.nan for gradient in each) for each in found), default=0),
        inf=max((sum(gradient.inf for gradient in each) for each in found), default=0),
        missing=tuple(local for local, seen in gradients.items() if not seen),
        zero_gradients=tuple(local for local, seen in gradients.items() if seen and all(g.norm == 0 for g in seen)),
        zero_weights=tuple(local for local, size in sizes.items() if size == 0),
        histogram=histogram_of(tally for each in found for gradient in each for tally in gradient.tallies),
    )


def _dead(alive: dict[str, list[np.ndarray]], dimensions: dict[str, int]) -> tuple[float, int, tuple[int, ...]]:
    """Share of units without any gradient in any batch, their number, and the first and last of a silent share.

    Weights with as many units feed the same ones (the input and the recurrent weight of an RNN); where they differ,
    those of the weight with the most units are taken.
    """
    masks = [_any_of(found) for name, found in alive.items() if found and name in dimensions]
    if not masks:
        return 0.0, 0, ()
    count = max(map(len, masks))
    mask = _any_of([mask for mask in masks if len(mask) == count])
    if mask.all():
        return 0.0, count, ()
    return float(1 - mask.mean()), count, next(filter(None, (_silent_share(mask, shares) for shares in SHARES)), ())


def _any_of(masks: list[np.ndarray]) -> np.ndarray:
    joined: np.ndarray = np.logical_or.reduce(masks) if len(masks) > 1 else masks[0]
    return joined


def _silent_share(alive: np.ndarray, shares: int) -> tuple[int, ...]:
    """First and last unit of neighbouring shares without any gradient, where almost all other units have one."""
    size, rest = divmod(len(alive), shares)
    if rest or size < FEWEST:
        return ()
    parts = alive.reshape(shares, size)
    silent = np.flatnonzero(~parts.any(axis=1))
    if not 0 < len(silent) < shares or np.delete(parts, silent, axis=0).mean() < MOST_ALIVE:
        return ()
    return int(silent[0]) * size, (int(silent[-1]) + 1) * size - 1


def _is_alike(weight: Tensor, dimension: int) -> bool:
    """Whether all units hold the same weights; two of them tell for almost every layer."""
    units = weight.detach().movedim(dimension, 0)
    return len(units) > 1 and torch.equal(units[0], units[1]) and bool((units == units[:1]).all() and units[0].any())


def _tell_shut(drafts: list[_Draft], model: nn.Module, passes: Sequence[Pass]) -> None:
    """The share of units that a bias holds shut, where most are dead: their own bias, or the next layer's."""
    for draft, following in zip(drafts, [*drafts[1:], None], strict=True):
        if draft.norm and draft.dead > HALF:
            behind = [following.name] if following is not None and "Norm" in following.kind else []
            shares = (_shut(model.get_submodule(name), _given(name, passes)) for name in (draft.name, *behind))
            draft.dead_by_bias = max(shares)


def _given(name: str, passes: Sequence[Pass]) -> float:
    """Root mean square of what a layer was given."""
    return median(p.modules[name].numbers.get("input_rms") for p in passes if name in p.modules) or 0.0


@torch.no_grad()
def _shut(module: nn.Module, given: float) -> float:
    """Share of the units whose bias lies ``FIRM`` deviations below what their weights make of a random input, less the
    share of those whose bias lies as far above.

    Weights w turn numbers of a root mean square r into one of about ||w|| r; a normalisation is given 1. So is what is
    given less: a signal that is still tiny will grow.
    """
    weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
    if not isinstance(weight, Tensor) or not isinstance(bias, Tensor):
        return 0.0
    weight, bias = shard_of(weight), shard_of(bias)
    if bias.shape != weight.shape[:1] or not bias.numel():
        return 0.0
    size = weight.abs() if weight.ndim == 1 else weight.flatten(1).norm(dim=1) * max(given, 1.0)
    firm = (bias.abs() > FIRM * size) * bias.sign()
    return max(_number(-firm.float().mean()), 0.0)


def _ordered(drafts: list[_Draft]) -> list[_Draft]:
    """Forward order; a layer that is never called itself (its parent uses its weights) stands behind its family: its
    parent and those with the same parent.
    """
    called = sorted((x for x in drafts if x.order is not None), key=lambda x: x.order)
    behind: dict[str, list[_Draft]] = {}
    last = {name: x.name for x in called for name in (x.name, parent_of(x.name))}
    adrift = []
    for draft in (x for x in drafts if x.order is None):
        family = last.get(parent_of(draft.name))
        if family is None:
            adrift.append(draft)
            last.setdefault(parent_of(draft.name), draft.name)
        else:
            behind.setdefault(family, []).append(draft)
        last.setdefault(draft.name, draft.name)
    return list(_followed([*called, *adrift], behind))


def _followed(drafts: Iterable[_Draft], behind: dict[str, list[_Draft]]) -> Iterator[_Draft]:
    """Each with what stands behind it, and behind that."""
    for draft in drafts:
        waiting = [draft]
        while waiting:
            found = waiting.pop()
            yield found
            waiting += reversed(behind.get(found.name, []))


def _tell_predecessors(drafts: list[_Draft], passes: Sequence[Pass]) -> None:
    known = predecessors([one.upstream for one in passes])
    for draft in drafts:
        draft.predecessors = known.get(draft.name)


def _tell_gain(drafts: list[_Draft], signals: Sequence[Signal]) -> None:
    """Each layer's gain reaches back to the output of the layer in front of it, the one with the largest signal where
    there are several; that of a layer with none in front of it, to its input.

    Left out: layers that are not called or get no gradient, parents of other layers (their output lies behind those),
    and parametrisations (their output is a weight, not the signal).
    """
    returned = {signal.name: signal.input_gradient for signal in signals}
    parents = _parents(draft.name for draft in drafts if draft.order is not None)
    arriving: dict[str, float | None] = {}
    previous: tuple[str, ...] = ()
    for draft in drafts:
        fronts = previous if draft.predecessors is None else draft.predecessors
        if not any(name in arriving for name in fronts):  # a loop leads back to it
            fronts = previous if fronts else ()
        known = [value for name in fronts if (value := arriving.get(name)) is not None]
        before = max(known) if known else returned.get(draft.name)
        signal = draft.signal
        if signal is not None and draft.name not in parents and not _makes_weights(draft.name):
            draft.gain = before / signal if before is not None and signal else None
            before = signal
        arriving[draft.name], previous = before, (draft.name,)


def _parents(names: Iterable[str]) -> set[str]:
    """Every module with a layer of the signal's path below it."""
    parents: set[str] = set()
    for name in names:
        while name and not _makes_weights(name) and (name := parent_of(name)) not in parents:
            parents.add(name)
    return parents


def _makes_weights(name: str) -> bool:
    return "parametrizations" in name.split(".")


class _Foreign:
    """Whether the class that should use a layer comes with an installed library: torch's own are anybody's bricks."""

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        self._modules = modules
        self._by_kind: dict[type, bool] = {}

    def __call__(self, name: str) -> bool:
        while _is_brick(self._modules[name]) and name:
            name = parent_of(name)
        module = self._modules[name]
        if type(module) not in self._by_kind:
            self._by_kind[type(module)] = not _is_brick(module) and is_installed(source_of(module))
        return self._by_kind[type(module)]


def _is_brick(module: nn.Module) -> bool:
    return class_of(module).__module__.startswith("torch.")


def _number(scalar: Tensor) -> float:
    return float(scalar.item())
