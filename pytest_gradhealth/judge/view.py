"""A record as the rules look at it: the layers that count, the modules in between, and where a layer stands."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence, Set
from functools import cached_property, reduce
from itertools import groupby, pairwise
from operator import or_

from pytest_gradhealth.judge.limits import Limits
from pytest_gradhealth.record import GradientRecord, LayerGradient, LayerSet, Operation, Signal, parent_of, upstream_of

__all__ = ["View"]

QUARTER = 4
"""The front and the back of a network are its first and last quarter."""
NOISE = 1e-4
"""Share of the gradient at a normalisation's output below which its input's is rounding noise."""
SATURATED = 0.5
"""Share of flat outputs from which a softmax is saturated."""
SAME = 1e-6
"""Variation below which samples are one and the same, but for rounding."""
NORMALISES = re.compile("(Batch|Layer|Group|Instance|RMS)Norm")
NORMAL = 0.03
"""Share of the size that a normalisation should give its output, below which it does not normalise."""
NEGLIGIBLE = 1e-12
"""Gradient over the largest, element by element, below which it is as good as zero. Float32's rounding is at 1e-7."""
BOUNDED = frozenset({"Tanh", "Hardtanh", "Softsign"})
"""Activations that carry the signal. A sigmoid is a gate as often, and may stand open or shut."""
EXACT = 1e-4
"""Relative distance within which the gradient at the output is that of a plain sum or mean."""
SEVERAL_SAMPLES = 4
"""Samples from which it is no chance that all targets are the same."""
BACK = 2
"""The back holds at least so many modules: the last one alone may be a constant by design (a bias, a scale)."""


class View:
    """A record under its limits."""

    def __init__(self, record: GradientRecord, limits: Limits) -> None:
        self.record, self.limits = record, limits

    @cached_property
    def judged(self) -> list[LayerGradient]:
        """Layers that can train and are not ignored, in forward order."""
        return [layer for layer in self.record if layer.trainable and self.limits.judges(layer.name)]

    @cached_property
    def trained(self) -> list[LayerGradient]:
        """Judged layers that received a finite gradient."""
        return [layer for layer in self.judged if _is_trained(layer)]

    @cached_property
    def called(self) -> list[LayerGradient]:
        """Layers that ran, in forward order, whether they are judged or not."""
        return [layer for layer in self.record if layer.order is not None]

    @cached_property
    def hidden(self) -> list[LayerGradient]:
        """All but the last called: a loss may ask for a few outputs only (the action taken, the class sampled)."""
        called = [layer.name for layer in self.record if _is_trained(layer) and layer.order is not None]
        return [layer for layer in self.trained if layer.order is not None and layer.name != called[-1]]

    @cached_property
    def leaves(self) -> list[Signal]:
        """Modules without executed children, in forward order."""
        return [signal for signal in self.record.signals if signal.name not in self._holders]

    @cached_property
    def front(self) -> list[LayerGradient]:
        """The first quarter of the layers that were called; one whose weights are all zero has no sensitivity yet.

        A module that holds others uses its own parameters somewhere among them, and not where it begins.
        """
        known = [layer for layer in self.trained if layer.weight_norm or not layer.zero_weights]
        called = [layer for layer in known if layer.order is not None and layer.name not in self._holders]
        return called[: math.ceil(len(called) / QUARTER)]

    @cached_property
    def _holders(self) -> Set[str]:
        """Modules that hold others which were called."""
        return {parent_of(signal.name) for signal in self.record.signals if signal.name}

    @cached_property
    def back(self) -> list[Signal]:
        """The last quarter of the modules, and at least ``BACK`` of them."""
        return self.leaves[-max(BACK, math.ceil(len(self.leaves) / QUARTER)) :]

    @cached_property
    def strongest(self) -> float:
        """The largest sensitivity of any layer."""
        return max((layer.sensitivity for layer in self.trained), default=0.0)

    @cached_property
    def largest_norm(self) -> float:
        """The largest gradient norm of any layer."""
        return max((layer.norm or 0.0 for layer in self.trained), default=0.0)

    @cached_property
    def densest(self) -> float:
        """The largest root mean square of a layer's gradient."""
        return max(map(_density, self.trained), default=0.0)

    def is_starved(self, layer: LayerGradient) -> bool:
        """Whether a layer's gradient is as good as zero beside the others'; in float64 that may be rounding noise.

        A product of many small factors opens as they grow together: after some steps it is a decade above or rising.
        """
        negligible = NEGLIGIBLE / 10 if self.record.steps else NEGLIGIBLE
        return self.record.precision != "float64" and _density(layer) <= negligible * self.densest

    @cached_property
    def bounded(self) -> list[Signal]:
        """Bounded activations that the signal runs through."""
        return [signal for signal in self.leaves if signal.kind in BOUNDED and signal.saturation is not None]

    @cached_property
    def normalised(self) -> dict[str, float]:
        """For each normalisation that is given anything, the root mean square of its output over its weight's.

        That is 1 by definition (Ioffe & Szegedy, 2015), unless ``eps`` outweighs what it is added to.
        """
        given = (
            s
            for s in self.leaves
            if NORMALISES.search(s.kind) and s.input_min != s.input_max and self.limits.judges(s.name)
        )
        return {signal.name: signal.rms / self._weight_of(signal.name) for signal in given}

    @property
    def unnormalised(self) -> list[str]:
        """Normalisations whose output is next to nothing of what it should be."""
        return [name for name, size in self.normalised.items() if size < NORMAL]

    def _weight_of(self, name: str) -> float:
        """Root mean square of a normalisation's weight; 1 where it has none, or keeps its difference from 1."""
        layer = self.layer(name)
        return layer.weight_norm / math.sqrt(layer.shape[0]) if layer and layer.weight_norm and layer.shape else 1.0

    @cached_property
    def variation(self) -> float | None:
        """What distinguishes samples in the back; None: not defined.

        Of several modules that with the most, unless the model's own output and the last module that the loss depends
        on know no difference at all. (Either alone may be a constant by design: a learnt deviation, a prior.)
        """
        last = next((s for s in reversed(self.leaves) if s.gradient and s.sample_variation is not None), None)
        left = highest([math.inf if end is None else end.sample_variation for end in (self.signal(""), last)])
        return left if left is not None and left < SAME else highest([signal.sample_variation for signal in self.back])

    @cached_property
    def loss_scale(self) -> float:
        """What a change of the loss is compared with.

        Its size, or where terms of either sign cancel (a critic's score, a policy gradient), the first-order change
        for a relative change of what a last layer gives: behind a sigmoid that may be a slope of 1e12.
        """
        reached = [signal for signal in reversed(self.leaves) if signal.gradient]
        fronts = [self.upstream[layer.name] for layer in self.trained if layer.norm]
        in_front: Set[str] = reduce(or_, fronts) if fronts else frozenset()
        ends = [signal for signal in reached if signal.name in self._layers and signal.name not in in_front]
        ends = ends or [signal for signal in reached if signal.name in self._layers][:1] or reached[:1]
        output = max(((end.gradient or 0.0) * end.rms * end.size**0.5 for end in ends), default=0.0)
        return max(abs(self.record.loss or 0.0), output)

    @cached_property
    def upstream(self) -> dict[str, LayerSet]:
        """For each layer all that lie in front of it on its way."""
        return upstream_of(self.record)

    @cached_property
    def silencing(self) -> Signal | None:
        """A normalisation whose output the loss depends on only in ways that do not depend on its input.

        The plain sum of a normalised output is a constant, and two values normalise to plus and minus one whatever
        they were: the gradient of what lies in front is rounding noise and says nothing about the model. Noise is
        seldom exactly zero: in the midst of a model with another loss, that is a hook's work and no silence.
        """
        last = self.leaves[-1:]
        known = (s for s in self.leaves if s.kind != "Softmax" or s in last)
        return next((s for s in known if _silences(s) and (s.input_gradient or s in last or self.is_plain_sum)), None)

    @cached_property
    def is_plain_sum(self) -> bool:
        """Whether the loss is the sum or mean of the model's output, by the gradient that comes to it."""
        output = self.signal("")
        if output is None or not output.gradient or output.size < 2:
            return False
        root = math.sqrt(output.size)
        return any(math.isclose(output.gradient, size, rel_tol=EXACT) for size in (root, 1 / root))

    @property
    def targets_are_constant(self) -> bool:
        """Whether every sample has the same target: the last bias alone learns it, and what fades teaches nothing."""
        graph = self.record.loss_graph
        return graph is not None and graph.constant_targets and (self.record.samples or 0) >= SEVERAL_SAMPLES

    @cached_property
    def samples_differ(self) -> bool:
        """Whether the batch holds different samples: what is given alike (``torch.ones``) cannot be told apart."""
        return not self.leaves or any(map(_differ, [*self.entries, *self._given]))

    @property
    def samples_can_be_compared(self) -> bool:
        """Whether the batch holds several samples, and different ones."""
        return (self.record.samples or 0) > 1 and self.samples_differ

    @cached_property
    def _given(self) -> list[Signal]:
        """The model itself, where it is known what it was given."""
        whole = self.signal("")
        return [] if whole is None or whole.input_variation is None else [whole]

    @cached_property
    def entries(self) -> list[Signal]:
        """Modules that are given the batch itself: no graph comes in, and what goes in or out is no constant.

        A learnt token or latent at the beginning of a model is the same for every sample, and no batch.
        """
        given = [signal for signal in self.leaves if not signal.input_attached]
        return given or self.leaves[:1]

    @cached_property
    def tokens_differ(self) -> bool:
        """Whether the positions of the sequences differ."""
        first = next((signal.token_variation for signal in self.leaves if signal.token_variation is not None), None)
        return first is None or first >= SAME

    @cached_property
    def installed_is_cut(self) -> bool:
        """Whether most layers of installed classes received no gradient, and user code called them."""
        if self.record.installed and self.trained:
            return False
        installed = [layer for layer in self.judged if layer.installed]
        return sum(layer.norm is None for layer in installed) > len(installed) / 2

    @cached_property
    def normalises_input(self) -> bool:
        """Whether a normalisation is the first module, or right behind it: then the input may have any scale."""
        return any(NORMALISES.search(signal.kind) for signal in self.leaves[:2])

    @cached_property
    def restarts(self) -> list[Signal]:
        """Modules that are trained, though what they are given carries no graph."""
        return [signal for signal in self.leaves if signal.input_attached is False and signal.gradient is not None]

    @cached_property
    def families(self) -> dict[str, dict[int, LayerGradient]]:
        """The same layer of numbered blocks, by name with ``*`` in the place of the number."""
        found: dict[str, dict[int, LayerGradient]] = {}
        for layer in self.record:
            parts = layer.name.split(".")
            for position in numbers(parts):
                found.setdefault(pattern(parts, position), {})[int(parts[position])] = layer
        return found

    @cached_property
    def silent_runs(self) -> dict[str, list[LayerGradient]]:
        """Layers with a gradient of zero, each with those called one after the other around it."""
        runs = (list(run) for silent, run in groupby(self.trained, lambda layer: layer.norm == 0) if silent)
        return {layer.name: run for run in runs for layer in run}

    def is_given_nothing(self, layer: LayerGradient) -> bool:
        """Whether a layer's input is all zeros, so that its weights can have no gradient."""
        signal = self.signal(layer.name)
        return signal is not None and signal.input_is_zero

    @property
    def is_fed_zeros(self) -> bool:
        """Whether the model itself is given nothing but zeros."""
        return bool(self.leaves) and all(signal.input_is_zero for signal in [self.leaves[0], *self._given])

    def signal(self, name: str) -> Signal | None:
        """What went through a module; None: it was never called."""
        return self._signals.get(name)

    def layer(self, name: str) -> LayerGradient | None:
        """A layer of the record by its own name; None: there is none."""
        return self._layers.get(name)

    def between(self, first: str, last: str) -> list[Signal]:
        """Modules executed behind the first and up to the last of two layers."""
        start, end = self._order(first), self._order(last)
        return [signal for signal in self.leaves if start < signal.order <= end]

    def operations(self, first: str, last: str | None) -> list[Operation]:
        """Noteworthy operations executed behind the first layer and before the last has returned."""
        start = self._order(first)
        end = math.inf if last is None else self._order(last)
        return [operation for operation in self.record.operations if start <= operation.order <= end]

    def following(self, layer: str) -> LayerGradient | None:
        """The next layer in forward order that was called."""
        return self._following.get(layer)

    @cached_property
    def _following(self) -> dict[str, LayerGradient]:
        return {layer.name: following for layer, following in pairwise(self.called)}

    def _order(self, name: str) -> int:
        signal = self._signals.get(name)
        return -1 if signal is None else signal.order

    @cached_property
    def later(self) -> View | None:
        """The second look under the same limits; None: there was none."""
        return None if self.record.later is None else View(self.record.later, self.limits)

    @cached_property
    def _layers(self) -> dict[str, LayerGradient]:
        return {layer.name: layer for layer in self.record}

    @cached_property
    def _signals(self) -> dict[str, Signal]:
        return {signal.name: signal for signal in self.record.signals}


def _is_trained(layer: LayerGradient) -> bool:
    return bool(layer.trainable) and layer.norm is not None and math.isfinite(layer.norm)


def _density(layer: LayerGradient) -> float:
    return (layer.norm or 0.0) / math.sqrt(layer.trainable)


def numbers(parts: Sequence[str]) -> Iterator[int]:
    """Where a name, split at its dots, holds the number of a block."""
    return (position for position, part in enumerate(parts) if part.isdecimal())


def pattern(parts: Sequence[str], position: int) -> str:
    """A name with ``*`` in the place of one number."""
    return ".".join([*parts[:position], "*", *parts[position + 1 :]])


def highest(values: Sequence[float | None]) -> float | None:
    """The largest number among those that are defined; None: none is."""
    defined = [value for value in values if value is not None and not math.isnan(value)]
    return max(defined, default=None)


def _silences(signal: Signal) -> bool:
    if not ("Norm" in signal.kind or signal.kind == "Softmax") or signal.input_gradient is None or not signal.gradient:
        return False
    given = signal.input_peak
    if not given or (signal.saturation or 0.0) > SATURATED:
        return False  # it was given nothing, or nothing but extremes: that is a fault of what lies in front
    return signal.input_gradient * given < NOISE * signal.gradient * signal.peak


def _differ(first: Signal) -> bool:
    if first.input_min is not None and first.input_min == first.input_max:
        return False
    variation = first.sample_variation if first.input_min is None else first.input_variation
    return variation is None or variation >= SAME
