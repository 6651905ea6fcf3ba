"""Passes of one model, as the record that everything else speaks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from pytest_gradhealth.measure.passes import statistics
from pytest_gradhealth.measure.passes.histogram import histogram_of
from pytest_gradhealth.measure.passes.nesting import shard_of
from pytest_gradhealth.measure.passes.paths import predecessors, with_reach
from pytest_gradhealth.measure.passes.probe import ModulePass, Pass, unit_dimensions
from pytest_gradhealth.measure.passes.source import class_of, is_installed, source_of
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
    signals = _signals(passes)
    measured = _layers(model, passes, signals, weights or _weights(model))
    found = _ordered(_with_predecessors(measured, passes))
    layers = with_reach(_with_gain(_with_shut(found, model, passes), signals))
    first = next(model.parameters(), None)
    return GradientRecord(
        model=class_of(model).__name__,
        source=source_of(model),
        installed=_is_installed("", {"": model}),
        device=str(first.device) if first is not None else "cpu",
        precision=str(first.dtype).removeprefix("torch.") if first is not None else "float32",
        seed=seed,
        torch=torch.__version__,
        batches=len(passes),
        samples=samples,
        loss=_median([p.loss for p in passes]),
        loss_graph=whole_loss_graph([p.objective for p in passes if p.objective]),
        layers=layers,
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
        initial_loss=_median(one.initial_loss for one in seen),
        classes=min((one.classes for one in seen if one.classes is not None), default=None),
        unbounded=any(one.unbounded for one in seen),
        signed_mean=any(one.signed_mean for one in seen),
        wrong_dim=any(one.wrong_dim for one in seen),
        probability_sum=_median(one.probability_sum for one in seen),
        output_scale=_median(one.output_scale for one in seen),
        target_excess=max(one.target_excess for one in seen),
        output_bound=worst.output_bound,
        unreachable=worst.unreachable,
        activation=next((one.activation for one in seen if one.activation), ""),
        activated_loss=next((one.activated_loss for one in seen if one.activated_loss), ""),
        multilabel_softmax=all(one.multilabel_softmax for one in seen),
        clamped=min(one.clamped for one in seen),
        ignored_targets=max(one.ignored_targets for one in seen),
        constant_targets=all(one.constant_targets for one in seen),
    )


def _signals(passes: Sequence[Pass]) -> tuple[Signal, ...]:
    names = dict.fromkeys(name for p in passes for name in p.modules)
    seen = {name: [p.modules[name] for p in passes if name in p.modules] for name in names}
    signals = [_signal(name, modules) for name, modules in seen.items()]
    starts = _starts(signals)
    signals.sort(key=lambda signal: (starts[signal.name], len(_path(signal.name))))
    return tuple(replace(signal, order=order) for order, signal in enumerate(signals))


def _starts(signals: Iterable[Signal]) -> dict[str, int]:
    """Modules are seen when they return; a parent begins where the first of its children does."""
    starts: dict[str, int] = {}
    for signal in signals:
        path = _path(signal.name)
        for depth in range(len(path) + 1):
            parent = ".".join(path[:depth])
            starts[parent] = min(signal.order, starts.get(parent, signal.order))
    return starts


def _path(name: str) -> list[str]:
    return name.split(".") if name else []


def _signal(name: str, modules: Sequence[ModulePass]) -> Signal:
    def median(key: str) -> float | None:
        return _median([m.numbers.get(key) for m in modules])

    def most(key: str) -> int:
        return int(max((m.numbers.get(key, 0.0) for m in modules), default=0.0))

    fed = [m.fed for m in modules if m.fed is not None]
    low, high = median("low"), median("high")
    return Signal(
        name=name,
        kind=modules[0].kind,
        order=int(modules[0].order),
        calls=modules[0].calls,
        gradient=median("gradient"),
        input_gradient=median("returned"),
        attached=any(m.attached for m in modules),
        input_attached=any(fed) if fed else None,
        rms=median("rms") or 0.0,
        peak=max(abs(low or 0.0), abs(high or 0.0)),
        sample_variation=_known(median("samples")),
        token_variation=_known(median("tokens")),
        positions=most("positions"),
        position_reach=_known(median("late")),
        saturation=median("flat"),
        dropout=median("dropped") or 0.0,
        zeros=median("zeros") or 0.0,
        input_min=median("input_low"),
        input_max=median("input_high"),
        input_variation=_known(median("input_samples")),
        steps=most("steps"),
        time_reach=_carry(median("first_steps"), median("last_steps")),
        size=most("size"),
        nonfinite=most("bad"),
        nonfinite_input=most("input_bad"),
        nonfinite_gradient=most("bad_gradient"),
        nonfinite_input_gradient=most("bad_return"),
    )


def _carry(early: float | None, late: float | None) -> float | None:
    return None if early is None or not late else early / late


def _layers(
    model: nn.Module, passes: Sequence[Pass], signals: Sequence[Signal], weights: Mapping[str, Weight]
) -> list[LayerGradient]:
    by_name = {signal.name: signal for signal in signals}
    owners, taken = _owners(model), set[int]()
    dimensions = unit_dimensions(model)
    layers, modules = [], dict(model.named_modules())
    for name, module in modules.items():
        own = {local: p for local, p in module.named_parameters(recurse=False) if id(p) not in taken}
        if any(p.numel() for p in own.values()):
            tied = tuple(dict.fromkeys(other for p in own.values() for other in owners[id(p)] if other != name))
            layers.append(_layer(name, module, own, passes, by_name, tied, dimensions, modules, weights))
        taken |= {id(p) for p in own.values()}
    return layers


def _weights(model: nn.Module) -> dict[str, Weight]:
    """Of every trainable parameter."""
    dimensions = unit_dimensions(model)
    trainable = ((name, p) for name, p in model.named_parameters() if p.requires_grad and p.numel())
    return {
        name: Weight(_number(statistics.norm(p)), name in dimensions and _is_alike(p, dimensions[name]))
        for name, p in trainable
    }


def _owners(model: nn.Module) -> dict[int, list[str]]:
    """Every layer that holds a parameter, by the parameter's identity."""
    owners: dict[int, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        for parameter in module.parameters(recurse=False):
            owners.setdefault(id(parameter), []).append(name)
    return owners


def _layer(
    name: str,
    module: nn.Module,
    own: dict[str, nn.Parameter],
    passes: Sequence[Pass],
    signals: dict[str, Signal],
    tied: tuple[str, ...],
    dimensions: dict[str, int],
    modules: dict[str, nn.Module],
    weights: Mapping[str, Weight],
) -> LayerGradient:
    full = {local: path_of(name, local) for local in own}
    trainable = {local: p for local, p in own.items() if p.requires_grad and p.numel()}
    gradients = {
        local: [p.parameters[full[local]] for p in passes if full[local] in p.parameters] for local in trainable
    }
    found = [[p.parameters[full[local]] for local in trainable if full[local] in p.parameters] for p in passes]
    norms = [math.hypot(*(gradient.norm for gradient in each)) for each in found if each]
    signal = signals.get(name)
    sizes = {local: weights[full[local]].norm for local in trainable}
    norm, weight_norm = _median(norms), math.hypot(*sizes.values())
    biggest = max(own.values(), key=lambda p: p.numel())
    units = {full[local]: [g.alive for g in gradients[local] if g.alive is not None] for local in trainable}
    dead, count, silent = _dead(units, dimensions)
    return LayerGradient(
        name=name,
        kind=class_of(module).__name__,
        order=None if signal is None else signal.order,
        parameters=sum(p.numel() for p in own.values()),
        trainable=sum(p.numel() for p in trainable.values()),
        shape=tuple(biggest.shape),
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
        tied=tied,
        histogram=histogram_of(tally for each in found for gradient in each for tally in gradient.tallies),
        installed=_is_installed(name, modules),
    )


def _dead(alive: dict[str, list[np.ndarray]], dimensions: dict[str, int]) -> tuple[float, int, tuple[int, ...]]:
    """Share of units without any gradient in any batch, their number, and the first and last of a silent share.

    Weights with as many units feed the same ones (the input and the recurrent weight of an RNN); where they differ,
    those of the weight with the most units are taken.
    """
    masks = [np.logical_or.reduce(found) for name, found in alive.items() if found and name in dimensions]
    if not masks:
        return 0.0, 0, ()
    count = max(map(len, masks))
    mask = np.logical_or.reduce([mask for mask in masks if len(mask) == count])
    return float(1 - mask.mean()), count, next(filter(None, (_silent_share(mask, shares) for shares in SHARES)), ())


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


def _with_shut(layers: list[LayerGradient], model: nn.Module, passes: Sequence[Pass]) -> list[LayerGradient]:
    """Layers most of whose units are dead, with the share that a bias holds shut: their own, or the next layer's."""
    told = []
    for layer, following in zip(layers, [*layers[1:], None], strict=True):
        if layer.norm and layer.dead > HALF:
            behind = [following.name] if following is not None and "Norm" in following.kind else []
            shares = (_shut(model.get_submodule(name), _given(name, passes)) for name in (layer.name, *behind))
            layer = replace(layer, dead_by_bias=max(shares))
        told.append(layer)
    return told


def _given(name: str, passes: Sequence[Pass]) -> float:
    """Root mean square of what a layer was given."""
    return _median(p.modules[name].numbers.get("input_rms") for p in passes if name in p.modules) or 0.0


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


def _ordered(layers: list[LayerGradient]) -> list[LayerGradient]:
    """Forward order; a layer that is never called itself (its parent uses its weights) stands behind its parent."""
    placed: list[LayerGradient] = sorted((x for x in layers if x.order is not None), key=lambda x: x.order or 0)
    for layer in (x for x in layers if x.order is None):
        family = [i for i, other in enumerate(placed) if parent_of(layer.name) in (other.name, parent_of(other.name))]
        placed.insert(family[-1] + 1 if family else len(placed), layer)
    return placed


def _with_predecessors(layers: list[LayerGradient], passes: Sequence[Pass]) -> list[LayerGradient]:
    known = predecessors([one.upstream for one in passes])
    return [replace(layer, predecessors=known.get(layer.name)) for layer in layers]


def _with_gain(layers: list[LayerGradient], signals: Sequence[Signal]) -> list[LayerGradient]:
    """Each layer's gain reaches back to the output of the layer in front of it, the one with the largest signal where
    there are several; that of a layer with none in front of it, to its input.

    Left out: layers that are not called or get no gradient, parents of other layers (their output lies behind those),
    and parametrisations (their output is a weight, not the signal).
    """
    returned = {signal.name: signal.input_gradient for signal in signals}
    parents = _parents(layer.name for layer in layers if layer.order is not None)
    arriving: dict[str, float | None] = {}
    gained, previous = [], tuple[str, ...]()
    for layer in layers:
        fronts = previous if layer.predecessors is None else layer.predecessors
        if not any(name in arriving for name in fronts):  # a loop leads back to it
            fronts = previous if fronts else ()
        known = [value for name in fronts if (value := arriving.get(name)) is not None]
        before = max(known) if known else returned.get(layer.name)
        gain, signal = None, layer.signal
        if signal is not None and layer.name not in parents and not _makes_weights(layer.name):
            gain = before / signal if before is not None and signal else None
            before = signal
        arriving[layer.name], previous = before, (layer.name,)
        gained.append(replace(layer, gain=gain))
    return gained


def _parents(names: Iterable[str]) -> set[str]:
    """Every module with a layer of the signal's path below it."""
    paths = [_path(name) for name in names if not _makes_weights(name)]
    return {".".join(path[:depth]) for path in paths for depth in range(len(path))}


def _makes_weights(name: str) -> bool:
    return "parametrizations" in _path(name)


def _is_installed(name: str, modules: dict[str, nn.Module]) -> bool:
    """Whether the class that should use a layer comes with an installed library: torch's own are anybody's bricks."""
    while _is_brick(modules[name]) and name:
        name = parent_of(name)
    return not _is_brick(modules[name]) and is_installed(source_of(modules[name]))


def _is_brick(module: nn.Module) -> bool:
    return class_of(module).__module__.startswith("torch.")


def _number(scalar: Tensor) -> float:
    return float(scalar.item())


def _known(share: float | None) -> float | None:
    """None where it was zero over zero: an output of zeros, or a non-finite one."""
    return None if share is None or math.isnan(share) else share


def _median(values: Iterable[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    if len(present) == 1:  # most often, and NumPy's median is slow to start
        return float(present[0])
    return float(np.median(present)) if present else None
