"""One model under watch: its passes, of which those after 0, 1, 4, 32, 256, ... others are measured.

A pass begins with the first forward call and holds every forward and backward until the forward call that follows
a backward. What cannot be measured is not measured: no error of ours may end a test.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor, nn

from pytest_gradhealth.errors import MeasurementError, RankLostError
from pytest_gradhealth.measure.passes.nesting import floating, sample_count
from pytest_gradhealth.measure.passes.paths import with_reach
from pytest_gradhealth.measure.passes.results import Pass
from pytest_gradhealth.measure.passes.source import class_of
from pytest_gradhealth.measure.passes.summary import summarise
from pytest_gradhealth.measure.passes.unregistered import Unmoved
from pytest_gradhealth.measure.passes.wrappers import with_plain_names
from pytest_gradhealth.measure.precisions.scaling import unscaled
from pytest_gradhealth.measure.precisions.underflow import with_underflow
from pytest_gradhealth.measure.sharding.team import Team, team_of
from pytest_gradhealth.measure.torch_private import is_compiled, unseen, without_graph
from pytest_gradhealth.measure.watching.chance import random_state
from pytest_gradhealth.measure.watching.keras import as_torch
from pytest_gradhealth.measure.watching.late_gradients import LateGradients
from pytest_gradhealth.measure.watching.quiet import OuterCall, QuietProbe, describe_error
from pytest_gradhealth.measure.watching.schedule import FORWARDS, is_due, is_observed, is_power_of_two
from pytest_gradhealth.record import GradientRecord, LayerGradient, LossGraph, Signal, UnregisteredParameter

__all__ = ["WHOLE", "Records", "Watched", "is_due"]

OVERFLOWS = 16
"""Scaled passes in a row that may overflow before the model is at fault: a scaler starts at 2**16 and halves."""
COMPILED = (
    "compiled: layers stand in the order in which the model lists them, and what happens between them inside the "
    "compiled graph was not observed"
)
OWN_CALL = "its modules have a __call__ of their own: only what their parameters receive was judged"
WHOLE = ("",)

Records = dict[tuple[str, ...], GradientRecord]
"""By the names of the parts that were called from outside and form one chain."""


class Watched:
    """One model and the records of its measured passes; it does not keep the model alive."""

    def __init__(self, model: nn.Module, *, histograms: bool = False, formats: Sequence[str] = ()) -> None:
        self.name, self.whole = class_of(model).__name__, False
        self._histograms, self._formats = histograms or bool(formats), formats
        self._records: dict[tuple[str, ...], list[GradientRecord]] = {}
        self._latecomers = LateGradients()
        self._unmoved: Unmoved | None = None
        self._unregistered: tuple[UnregisteredParameter, ...] = ()
        self._model = weakref.ref(model)
        self._held: nn.Module | None = None
        """The model until its backward: it may be used in passing, as in ``Net()(x).sum().backward()``."""
        self._probe: QuietProbe | None = None
        self._team: Team | None = None
        """The ranks that train it together, as of the pass at hand."""
        self._current: Records = {}
        self._roots: dict[str, bool] = {}
        self._failed = self._scaled_away = ""
        self._passes = self._forwards = self._barren = self._overflows = 0
        self._finished = True
        self._samples: int | None = None
        self._untouched: GradientRecord | None = None
        self._drawn: bytes = b""
        self.caller = threading.get_ident()
        """The thread that called it last."""
        self.has_own_call = False
        """Whether its modules are called past the ``__call__`` of ``nn.Module``, with things that are no tensors."""

    @property
    def model(self) -> nn.Module | None:
        """None: it is not there any more."""
        return self._model()

    @property
    def armed(self) -> bool:
        """Whether the pass at hand is measured."""
        return self._probe is not None

    @property
    def looks(self) -> bool:
        """Whether the backward at hand is looked at."""
        return self._probe is not None and not self._probe.passed_over

    @property
    def problem(self) -> str:
        """Why it could not be measured; empty: it could, or nothing was there to measure."""
        return self._failed or ("" if self._records else self._scaled_away)

    def passes(self, even_untouched: bool = False) -> Iterator[tuple[GradientRecord, ...]]:
        """The records of each chain of parts; where no gradient ever came, none, or one that says so."""
        if even_untouched and not self._records and self._untouched is not None:
            yield (self._untouched,)
        for roots, records in self._records.items():
            first, *others = map(self._latecomers.told, records)
            unregistered = tuple(found for found in self._unregistered if _is_in(found.module, roots))
            first = replace(first, unregistered=unregistered)
            yield tuple(map(with_plain_names, (first, *others)))

    def forward_begins(
        self, called: nn.Module, root: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> OuterCall | None:
        """A new pass where the last one had its backward; else one more forward call of the same.

        ``called`` is the root itself or what wraps it.
        """
        self.caller = threading.get_ident()
        if self._finished:
            self._begin_pass(called)
        self._forwards += 1
        if self._probe is None or self._failed:
            return None
        samples = sample_count((args, kwargs))
        self._samples = samples if self._samples is None else min(samples or self._samples, self._samples)
        if not is_observed(self._forwards):
            return None
        if not is_power_of_two(self._forwards) and self._probe.all_is_gone():
            return None
        if self._forwards > FORWARDS and is_power_of_two(self._forwards):
            self._probe.forget_modules()  # what comes now is nearer to the backward
            self._roots.clear()
        model = self._model()
        if model is None:
            return None
        view = as_torch(model)
        self._probe.observe(view, model)
        self._probe.compiled = self._probe.compiled or is_compiled(called)
        name = self._probe.known_name_of(root) or ""
        fed = any(tensor.requires_grad for tensor in floating((args, kwargs)))
        self._roots.setdefault(name, fed)
        return OuterCall(self._probe, name, view)

    def _begin_pass(self, called: nn.Module) -> None:
        self.close()
        self._passes += 1
        self._finished, self._samples, self._roots = False, None, {}
        self._forwards = self._barren = 0
        model = self._model()
        if model is not None and not self._failed and (is_due(self._passes) or self._overflows):
            self._team = self._team_of(called, model)
            self._probe, self._held = QuietProbe(model, histograms=self._histograms), model
            self._probe.compiled = any(map(is_compiled, (*called.modules(), *model.modules())))
            self._drawn = random_state()

    def _team_of(self, called: nn.Module, model: nn.Module) -> Team | None:
        return team_of(called, model, histograms=self._histograms)

    def step_made(self) -> None:
        """An optimiser has made a step, of this model or another."""
        model = self._model()
        if not (self._records or self._current or self._untouched) and model is not None and not self._failed:
            with suppress(Exception):  # a model of a kind not thought of
                self._untouched = summarise(as_torch(model), [Pass({}, {}, None)], samples=self._samples, seed=None)

    def backward_begins(self, outputs: tuple[Any, ...], trains: bool) -> None:
        """What comes from now on belongs to this backward; what it walks through is still there to be read.

        A Jacobian is taken row by row: of backward passes that bring parameters nothing, few are looked at.
        """
        if self._model() is None:
            self.close()  # it was measured; walking the graphs of other models would tell nothing of it
        if self._probe is not None:
            self._probe.passed_over = not trains and not is_observed(self._barren + 1)
            self._probe.backward_begins(outputs)
            if self._team is not None:
                self._team.mark()

    @property
    def was_reached(self) -> bool:
        """Whether the last backward, in a pass that is measured, brought parameters a gradient."""
        if self._probe is None:
            return False
        return self._probe.came if self._team is None else self._team.came

    def mute(self, muted: bool) -> None:
        """Gradients that a model takes on its own way forward belong to no loss."""
        if self._probe is not None:
            self._probe.muted = muted

    def backward_done(self, loss: Tensor | None, scale: float, objective: LossGraph | None = None) -> None:
        """Measure what has come so far; a further backward of the same pass measures again.

        Args:
            loss: what was differentiated, if it is a single number.
            scale: by what a gradient scaler has made it larger.
            objective: what the loss was computed from; None: not known, or shared with another model.
        """
        self._latecomers.look()
        if self._probe is None:
            self._finished = True
        elif self.was_reached:
            self._finished, self._barren = True, 0
            self._measure(loss, scale, objective)
            self._held = None
        else:
            self._barren += 1
            self._probe.back_to_mark()  # gradients of inputs alone: a penalty, forces

    def close(self) -> None:
        """End the pass at hand."""
        if self._probe is not None:
            if not self._finished and self._probe.received and self._team is None:
                self._measure(None, 1.0, None)  # a backward that went past what is wrapped
            self._probe.close()
            self._failed = self._failed or self._probe.problem
        for roots, record in self._current.items():
            self._records.setdefault(roots, []).append(record)
        self._probe, self._held, self._current = None, None, {}

    def _measure(self, loss: Tensor | None, scale: float, objective: LossGraph | None) -> None:
        model, probe = self._model(), self._probe
        if model is None or probe is None or (probe.problem and self._team is None):
            return
        try:
            with unseen():
                seen = partial(self._read, probe, loss, objective)
                record = without_graph(self._record, as_torch(model), seen, scale)
            self._current = self._judgeable(record, probe, scale)
            self._latecomers.await_missing(as_torch(model), record)
            self._look_for_unregistered(model)
        except RankLostError:  # the test cannot go on: whoever is left would wait for ever
            raise
        except Exception as error:  # a test's tensors may be of any kind
            self._failed = describe_error(error)

    def _record(self, model: nn.Module, read: Callable[[], Pass], scale: float) -> GradientRecord:
        """The record of the pass at hand; of a model that several ranks train, of all of them."""
        seen = unscaled(read() if self._team is None else self._of_team(self._team, read), scale)
        weights = None if self._team is None else self._team.weights
        record = summarise(model, [seen], samples=self._samples, seed=None, weights=weights)
        record = with_underflow(record, [seen], self._formats)
        return record if self._team is None else self._team.told(record)

    def _read(self, probe: QuietProbe, loss: Tensor | None, objective: LossGraph | None) -> Pass:
        """What the probe of this process has seen of a pass, and what the loss was computed from."""
        if probe.problem:
            raise MeasurementError(probe.problem)
        return replace(probe.read(loss), objective=objective)

    def _of_team(self, team: Team, read: Callable[[], Pass]) -> Pass:
        return team.read(read)

    def _look_for_unregistered(self, model: nn.Module) -> None:
        """From the second measured pass on: a test of a single step pays nothing for it."""
        if self._unmoved is not None:
            self._unregistered = self._unmoved.found()
        elif self._passes > 1:
            self._unmoved = Unmoved(model)

    def _judgeable(self, record: GradientRecord, probe: QuietProbe, scale: float) -> Records:
        """What of a record says something about the model."""
        self._overflows = self._overflows + 1 if scale != 1.0 and _has_overflowed(record) else 0
        if 0 < self._overflows < OVERFLOWS:
            self._scaled_away = f"every measured gradient overflowed under a loss scale of {scale:g}; train more steps"
            return {}
        record = self._described(record, probe)
        parts = {roots: self._part(record, roots) for roots in self._chains()}
        return {roots: part for roots, part in parts.items() if any(layer.arrived for layer in part)}

    def _described(self, record: GradientRecord, probe: QuietProbe) -> GradientRecord:
        """Without what a pass of this model does not show, and with what is known of the loss."""
        if probe.compiled:
            layers = tuple(replace(layer, order=order) for order, layer in enumerate(record))
            record = replace(record, layers=layers, notes=(*record.notes, COMPILED))
        if self.has_own_call:
            record = _without_signals(record, offers_more=probe.offers_more(self._roots))
        elif probe.offers_more(self._roots):
            record = _without_unused(record, probe.fed_elsewhere(self._roots))
        paths = probe.paths
        over, layer = paths.softmax_over
        return replace(
            record,
            softmax_over=over,
            mixed_at=layer,
            steps=self._passes - 1,
            toy_loss=paths.toy_loss,
            step_function=paths.step_function,
            random=self._drawn != random_state(),
        )

    def _chains(self) -> list[tuple[str, ...]]:
        """Parts called from outside; in one chain where one was given what another had made."""
        chains: list[list[str]] = []
        for root, fed in self._roots.items():
            if chains and fed:
                chains[-1].append(root)
            else:
                chains.append([root])
        if self.whole or not chains:
            return [WHOLE]
        return [tuple(chain) for chain in chains]

    def _part(self, record: GradientRecord, roots: tuple[str, ...]) -> GradientRecord:
        """The record of some parts of the model."""
        if "" in roots:
            return record
        unregistered = roots[0] == next(iter(self._roots))  # the first also has what belongs to no part but was trained
        layers = [
            x
            for x in record
            if _is_in(x.name, roots) or (unregistered and x.arrived and not _is_in(x.name, self._roots))
        ]
        signals = tuple(signal for signal in record.signals if _is_in(signal.name, roots))
        name = next((signal.kind for signal in signals if signal.name == roots[0]), record.model)
        return replace(
            record, model=name if len(roots) == 1 else record.model, layers=with_reach(layers), signals=signals
        )


def _is_in(name: str, roots: tuple[str, ...] | dict[str, bool]) -> bool:
    return any(root in ("", name) or name.startswith(f"{root}.") for root in roots)


def _has_overflowed(record: GradientRecord) -> bool:
    loss = record.loss
    return (loss is None or math.isfinite(loss)) and any(layer.nan or layer.inf for layer in record)


def _without_signals(record: GradientRecord, *, offers_more: bool) -> GradientRecord:
    """What parameters receive, and not what goes from module to module: that is no tensor, or not all of it."""
    kept = tuple(layer for layer in record if layer.arrived or not offers_more)
    return replace(record, layers=kept, signals=(), notes=(*record.notes, OWN_CALL))


def _without_unused(record: GradientRecord, fed_elsewhere: set[str]) -> GradientRecord:
    """Leave out layers and parameters that feed only what the model offers beside what this test's loss uses."""
    signals = {signal.name: signal for signal in record.signals}
    cuts = [signal.order for signal in record.signals if signal.input_attached is False and signal.gradient is not None]

    def unused(layer: LayerGradient) -> bool:
        signal: Signal | None = signals.get(layer.name)
        if layer.arrived or layer.frozen or signal is None or not signal.attached:
            return False
        return not any(order > signal.order for order in cuts)

    left_out, kept = list[str](), list[LayerGradient]()
    for layer in record:
        spared = [name for name in layer.missing if _full(layer, name) in fed_elsewhere]
        missing = tuple(name for name in layer.missing if name not in spared)
        if unused(layer) or (spared and not missing and not layer.arrived):
            left_out.append(layer.name)
        else:
            left_out += [_full(layer, name) for name in spared]
            kept.append(replace(layer, missing=missing))
    if not left_out:
        return record
    note = f"only a part of what the model returns is used here: {', '.join(left_out)} not judged"
    return replace(record, layers=tuple(kept), notes=(*record.notes, note))


def _full(layer: LayerGradient, parameter: str) -> str:
    return f"{layer.name}.{parameter}" if layer.name else parameter
