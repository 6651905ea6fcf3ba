"""The stages of a pipeline, each measured by the rank that holds it, as the one model that they make together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pytest_gradhealth.measure.passes.paths import with_reach
from pytest_gradhealth.record import GradientRecord, LayerGradient, Signal

__all__ = ["whole_model"]


def whole_model(stages: Sequence[GradientRecord]) -> GradientRecord:
    """One record of all stages, which stand in the order in which the signal passes them.

    Layers have the names that they have in their stage; where two stages use one name, all have the number of their
    stage in front: ``stage1.fc``.
    """
    stages = _named_apart(stages)
    signals = _numbered(stages)
    first, last = stages[0], stages[-1]
    return replace(
        first,
        model=" + ".join(dict.fromkeys(stage.model for stage in stages)),
        samples=min((stage.samples for stage in stages if stage.samples is not None), default=None),
        loss=last.loss,
        loss_graph=last.loss_graph,
        layers=with_reach(_linked(stages, {signal.name: signal.order for signal in signals})),
        signals=signals,
        unregistered=tuple(found for stage in stages for found in stage.unregistered),
        optimisers=tuple(dict.fromkeys(use for stage in stages for use in stage.optimisers)),
        toy_loss=last.toy_loss,
        step_function=next((stage.step_function for stage in stages if stage.step_function), ""),
        random=any(stage.random for stage in stages),
        detached_loss=last.detached_loss,
        notes=tuple(dict.fromkeys(note for stage in stages for note in stage.notes)),
    )


def _named_apart(stages: Sequence[GradientRecord]) -> Sequence[GradientRecord]:
    names = [name for stage in stages for name in stage.names]
    if len(set(names)) == len(names):
        return stages
    return [_named(stage, f"stage{number}") for number, stage in enumerate(stages)]


def _named(stage: GradientRecord, prefix: str) -> GradientRecord:
    """The record with a prefix before every name; the signals of the model itself stay its own."""

    def full(name: str) -> str:
        return f"{prefix}.{name}" if name else prefix

    def moved(layer: LayerGradient) -> LayerGradient:
        fronts = None if layer.predecessors is None else tuple(map(full, layer.predecessors))
        return replace(layer, name=full(layer.name), predecessors=fronts, tied=tuple(map(full, layer.tied)))

    signals = tuple(replace(signal, name=full(signal.name)) for signal in stage.signals)
    itself = tuple(signal for signal in stage.signals if not signal.name)
    held = tuple(replace(found, module=full(found.module)) for found in stage.unregistered)
    return replace(stage, layers=tuple(map(moved, stage)), signals=itself + signals, unregistered=held)


def _numbered(stages: Sequence[GradientRecord]) -> tuple[Signal, ...]:
    """The signals of all stages in one order; of a module that several stages have a part of, the ends."""
    found: dict[str, Signal] = {}
    for signal in (signal for stage in stages for signal in stage.signals):
        earlier = found.get(signal.name)
        found[signal.name] = signal if earlier is None else _joined(earlier, signal)
    return tuple(replace(signal, order=order) for order, signal in enumerate(found.values()))


def _joined(first: Signal, last: Signal) -> Signal:
    """What goes into the first part of a module, and what comes out of the last."""
    return replace(
        last,
        kind=first.kind,
        input_gradient=first.input_gradient,
        input_attached=first.input_attached,
        taken_for_time=first.taken_for_time,
        taken_for_batch=first.taken_for_batch,
        input_min=first.input_min,
        input_max=first.input_max,
        input_variation=first.input_variation,
        nonfinite_input=first.nonfinite_input,
        nonfinite_input_gradient=first.nonfinite_input_gradient,
    )


def _linked(stages: Sequence[GradientRecord], orders: Mapping[str, int]) -> list[LayerGradient]:
    """All layers; those that a stage begins with lie behind those that the one before it ends with."""
    layers: list[LayerGradient] = []
    ends: tuple[LayerGradient, ...] = ()
    for stage in stages:
        fed = {signal.name for signal in stage.signals if signal.input_attached}
        for layer in stage:
            begins = not layer.predecessors and layer.name in fed
            moved = replace(layer, order=None if layer.order is None else orders[layer.name])
            layers.append(_behind(ends, moved) if begins and ends else moved)
        ends = _ends(stage) or ends
    return layers


def _behind(ends: Sequence[LayerGradient], layer: LayerGradient) -> LayerGradient:
    arriving = max((end.signal for end in ends if end.signal is not None), default=None)
    known = layer.gain is not None and layer.signal and arriving is not None
    gain = arriving / layer.signal if known else layer.gain  # type: ignore[operator]
    return replace(layer, predecessors=tuple(end.name for end in ends), gain=gain)


def _ends(stage: GradientRecord) -> tuple[LayerGradient, ...]:
    """The layers that lie in front of no other."""
    called = [layer for layer in stage if layer.order is not None]
    fronts = {name for layer in called for name in layer.predecessors or ()}
    return tuple(layer for layer in called if layer.name not in fronts)
