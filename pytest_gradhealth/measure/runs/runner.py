"""Send batches through a model on a device, look twice where asked, and put everything back as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pytest_gradhealth.errors import MeasurementError
from pytest_gradhealth.measure.losses import graph
from pytest_gradhealth.measure.losses.function import RAISED_BY, Step, find_step, require_scalar
from pytest_gradhealth.measure.passes.inputs import noted_inputs
from pytest_gradhealth.measure.passes.interrupts import delivered, uninterrupted
from pytest_gradhealth.measure.passes.nesting import copied, sample_count, tensors
from pytest_gradhealth.measure.passes.operations import OperationTrace
from pytest_gradhealth.measure.passes.pause import collect_young, paused, without_collections
from pytest_gradhealth.measure.passes.probe import Probe
from pytest_gradhealth.measure.passes.results import Pass
from pytest_gradhealth.measure.passes.sampling import SAMPLED
from pytest_gradhealth.measure.passes.structure import modules_of, parameters_of
from pytest_gradhealth.measure.passes.summary import summarise
from pytest_gradhealth.measure.passes.unregistered import UnregisteredParameters
from pytest_gradhealth.measure.passes.wrappers import with_plain_names, with_plain_places
from pytest_gradhealth.measure.precisions.precision import Precision
from pytest_gradhealth.measure.precisions.scaling import unscaled
from pytest_gradhealth.measure.precisions.underflow import with_underflow
from pytest_gradhealth.measure.precisions.updates import with_lost_updates
from pytest_gradhealth.measure.runs.adam import Adam
from pytest_gradhealth.measure.runs.custom_functions import compare, custom_functions
from pytest_gradhealth.measure.runs.dropout import without_noise
from pytest_gradhealth.measure.runs.generators import held_by
from pytest_gradhealth.measure.runs.memory import halved, is_out_of_memory, smallest
from pytest_gradhealth.measure.runs.mixing import Suspicion, mixing, suspicion
from pytest_gradhealth.measure.runs.placing import build, copied_model, placed
from pytest_gradhealth.measure.runs.state import isolated_rng, preserved
from pytest_gradhealth.measure.sharding.ranks import placed as spread_over
from pytest_gradhealth.measure.sharding.ranks import unwrapped
from pytest_gradhealth.measure.sharding.team import team_of
from pytest_gradhealth.measure.torch_private import eager
from pytest_gradhealth.record import GradientRecord, LossGraph, Operation

__tracebackhide__ = True

__all__ = ["Runner"]

LEARNING_RATE = 1e-3
BACK_OFF = 4.0
"""By what a loss scale with which gradients overflow becomes smaller."""
NODES = 5000
"""Nodes of a graph that are looked through for what calls for an experiment."""


class Runner:
    """One model, its batches and its loss on one device; ``measure`` may be called again after optimiser steps."""

    def __init__(
        self,
        model: nn.Module | Callable[[], nn.Module],
        batches: Sequence[Any],
        *,
        loss: Callable[..., Any] | None = None,
        step: Step | None = None,
        extension: Callable[..., Any] | None = None,
        device: torch.device | None = None,
        seed: int = 0,
        histograms: bool = False,
        formats: Sequence[str] = (),
        learning_rate: float | None = None,
        precision: Precision | None = None,
        progress: Callable[[str], None] = lambda text: None,
        notes: tuple[str, ...] = (),
    ) -> None:
        self._notes, self._precision = notes, precision
        self._scale = 1.0 if precision is None else precision.first_scale
        batches = batches if precision is None else precision.batches(batches)
        self._seed, self._batches, self._progress = seed, batches, progress
        self._learning_rate = learning_rate
        self._formats, histograms = formats, histograms or bool(formats)
        self._histograms = histograms
        self._suspected, self._custom = Suspicion(), list[type[torch.autograd.Function]]()
        self._given, self._has_targets = model, loss is not None
        self._samples: int | None = None
        """Samples in the smallest batch that was given, where memory was too small for it."""
        self.left_out = False
        """Whether the last measurement looked at a sample of the elements of any output."""
        self._drawing = tuple(held_by(loss, step))
        with torch.inference_mode(False), torch.enable_grad(), isolated_rng(seed, *self._drawing):
            self._called = placed(build(model), device, precision)
            self._model = unwrapped(self._called)
            self._team = team_of(self._called, self._model, histograms=histograms)
            chosen = device if device is not None and device.index is not None and self._team is None else None
            self._device = chosen or _device_of(self._model)
            found = find_step(self._called, loss, step, extension)
            self._step = found if precision is None else precision.step(found, self._device)
            self._initialise()

    def measured_anew(self, seed: int) -> GradientRecord:
        """A measurement with another seed, of another model where the user's factory makes it."""
        if isinstance(self._given, nn.Module):
            return self.measure(seed)
        given: dict[str, Any] = {"step": self._step, "device": self._device, "precision": self._precision}
        return Runner(self._given, self._batches, seed=seed, **given).measure()

    def copy_of_model(self) -> nn.Module:
        """A model to experiment with: a copy; where torch cannot make one, what the user's factory makes."""
        with isolated_rng(self._seed):
            try:
                return copied_model(self._model)
            except Exception:
                if isinstance(self._given, nn.Module):
                    raise
                return placed(build(self._given), self._device, self._precision)

    @property
    def batches(self) -> Sequence[Any]:
        """What is sent through it."""
        return self._batches

    @property
    def step(self) -> Step:
        """``step(model, batch)`` returns the loss."""
        return self._step

    @property
    def is_shared(self) -> bool:
        """Whether other processes train the model together with this one."""
        return self._team is not None

    def measure(self, seed: int | None = None, *, thorough: bool = False) -> GradientRecord:
        """One forward and backward per batch in training mode; another seed drops and routes otherwise.

        Forward statistics of large outputs come from a sample of their elements, unless it is to be ``thorough``.
        Batches that do not fit into memory are halved until they do, a loss scale that overflows becomes smaller.
        """
        while True:
            try:
                record = self._measured(seed, thorough)
                if self._scale == 1.0 or not any(layer.nan or layer.inf for layer in record):
                    return record
                self._scale /= BACK_OFF
                continue
            except Exception as error:
                smaller = halved(self._batches) if is_out_of_memory(error) and self._team is None else None
                if smaller is None:
                    raise
            self._shrink(smaller)  # behind the error, whose traceback holds what filled the memory

    def _shrink(self, smaller: Sequence[Any]) -> None:
        """Go on with smaller batches, and say so."""
        if self._samples is None:
            self._samples = smallest(self._batches)
        self._batches = smaller
        note = f"out of memory with {self._samples} samples on {self._device}: measured with {smallest(smaller)}"
        self._notes = (*(old for old in self._notes if not old.startswith("out of memory")), note)

    def _measured(self, seed: int | None, thorough: bool) -> GradientRecord:
        with without_collections():
            with self._session(seed), UnregisteredParameters(self._model) as unregistered:
                with noted_inputs(self._model) as inputs:
                    passes = self._passes(unregistered.begin, thorough=thorough)
                if self._anywhere(unregistered.is_open):
                    self._passes(unregistered.begin)
                told = self._experiments()
            record = replace(self._record(passes), inputs=tuple(inputs), unregistered=unregistered.found(), **told)
        return with_plain_names(record if self._team is None else self._team.told(record))

    def look_again(self, steps: Sequence[int], done: Callable[[GradientRecord], bool]) -> GradientRecord:
        """Measure after so many Adam steps on the same batches, until ``done`` says it has seen enough.

        Adam moves a parameter by about its learning rate whatever the size of its gradient (Kingma and Ba, 2015),
        so a gate that starts at zero opens in the first step. There is no weight decay: it would move dead
        parameters too.
        """
        with self._session():
            optimiser = Adam(self._trainable(), LEARNING_RATE)
            taken = 0
            for target in steps:
                while taken < target:
                    self._progress(f"{type(self._model).__name__}: second look, step {taken + 1} of {steps[-1]}")
                    self._optimise(optimiser, taken % len(self._batches))
                    taken += 1
                record = replace(self._record(self._passes(thorough=True)), steps=taken)
                if done(record):
                    break
        return record

    def trace(self) -> tuple[Operation, ...]:
        """Operations of one forward pass over the first batch that can stop a gradient."""
        with self._session(), OperationTrace(self._model) as trace:
            self._together(lambda: self._loss(0))
        operations = with_plain_places(trace.operations)
        return operations if self._team is None else self._team.ranks.first(operations)

    def _together(self, action: Callable[[], object]) -> None:
        """Do it here; where other ranks train the model too, an error on one of them is an error on all."""
        if self._team is None:
            action()
        else:
            self._team.reduce(action)

    def _anywhere(self, answer: bool) -> bool:
        """Whether it is so on any rank."""
        return answer if self._team is None else any(self._team.ranks.gathered(answer))

    @contextmanager
    def _session(self, seed: int | None = None) -> Iterator[None]:
        seed = self._seed if seed is None else seed
        with (
            uninterrupted(),
            paused(),
            eager(),
            isolated_rng(seed),
            torch.inference_mode(False),
            torch.enable_grad(),
            preserved(self._called, *self._drawing),
        ):
            self._called.train()
            try:
                yield
            finally:
                if self._team is not None:
                    self._team.reshard()

    def _passes(self, begin: Callable[[], None] = lambda: None, *, thorough: bool = False) -> list[Pass]:
        passes = []
        probe = Probe(
            self._model,
            through_time=True,
            histograms=self._histograms,
            sampled=None if thorough else SAMPLED,
            owns_gradients=self._team is None,  # else the ranks compare them afterwards
        )
        with probe:
            for index in range(len(self._batches)):
                if index:
                    collect_young()  # the batch before may have left cycles that hold tensors
                begin()
                passes.append(self._one_pass(probe, index))
        self.left_out = self._anywhere(probe.left_out)
        if self._team is not None:  # what one rank tries and others do not would leave them waiting
            return passes
        return without_noise(self._model, passes, lambda: self._loss(0))

    def _initialise(self) -> None:
        """Run a lazy model once, so that it has the parameters that are to be observed."""
        if not any(map(nn.parameter.is_lazy, self._parameters())):
            return
        with self._explained(0), torch.no_grad():
            delivered(self._step, self._called, copied(self._batches[0], self._device))
        waiting = [name for name, p in self._model.named_parameters() if nn.parameter.is_lazy(p)]
        if waiting:
            raise MeasurementError(f"lazy parameters that no forward pass initialises: {', '.join(waiting)}")

    def _one_pass(self, probe: Probe, index: int) -> Pass:
        one_pass = partial(self._own_pass, probe, index)
        seen = one_pass() if self._team is None else self._team.run(one_pass)
        for parameter in self._parameters():
            parameter.grad = None
        return seen

    def _own_pass(self, probe: Probe, index: int) -> Pass:
        name = type(self._model).__name__
        self._progress(f"{name} on {self._device}, batch {index + 1} of {len(self._batches)}")
        with without_collections():
            return self._seen(probe, index)

    def _seen(self, probe: Probe, index: int) -> Pass:
        loss = self._loss(index)
        told = self._with_targets(graph.read(loss), index)
        nodes: list[Any] = []
        probe.paths.follow([loss], lambda place, node: nodes.append(node) if len(nodes) < NODES else None)
        if index == 0 and self._team is None:
            self._suspect(nodes)
        nodes.clear()  # a backward frees the graph
        probe.frees_gradients = self._team is None and not probe.paths.runs_python  # nothing adds to one that came
        self._send_back(loss, index)
        probe.frees_gradients = False
        return unscaled(replace(probe.take(loss), objective=told), self._scale)

    def _with_targets(self, told: LossGraph | None, index: int) -> LossGraph | None:
        """Whether all targets are the same: a loss that is written by hand keeps none of them in its graph."""
        batch = self._batches[index]
        if told is None or not self._has_targets or not isinstance(batch, tuple | list):
            return told
        target = batch[-1]
        alike = isinstance(target, Tensor) and len(target) > 1 and bool((target == target[:1]).all())
        return replace(told, constant_targets=told.constant_targets or alike)

    def _suspect(self, nodes: Sequence[Any]) -> None:
        """Note whether the graph of the first batch calls for an experiment, so that most models need none."""
        self._suspected = suspicion(self._model, nodes, self._batches[0])
        self._custom = custom_functions(nodes)

    def _experiments(self) -> dict[str, Any]:
        """What further forward passes tell, where something calls for them."""
        found: dict[str, Any] = {}
        suspected = self._suspected
        mixed = mixing(self._model, self._batches[0], self._evaluated, suspected) if any(suspected) else None
        if mixed is not None:
            found |= {"mixed_at": mixed.module, "sample_mixing": mixed.difference}
        if self._custom:
            found["custom_functions"] = compare(self._custom, lambda: self._loss(0))
        return found

    def _evaluated(self, batch: Any, seed: int) -> Any:
        """One pass in evaluation mode, from the state that the model is in."""
        with isolated_rng(seed), preserved(self._model):
            self._model.eval()
            return delivered(self._step, self._model, copied(batch, self._device))

    def _send_back(self, loss: Tensor, index: int) -> None:
        if loss.requires_grad:
            with self._explained(index):
                delivered((loss if self._scale == 1.0 else loss * self._scale).backward)

    def _loss(self, index: int) -> Tensor:
        with self._explained(index):
            return require_scalar(delivered(self._step, self._called, copied(self._batches[index], self._device)))

    @contextmanager
    def _explained(self, index: int) -> Iterator[None]:
        """Add what a reader needs to know to an error that the model itself raises."""
        try:
            yield
        except MeasurementError:
            raise
        except Exception as error:
            if any(note.startswith(RAISED_BY) for note in getattr(error, "__notes__", ())):
                raise  # the loss, which has told already
            name = type(self._model).__name__
            note = f"{RAISED_BY} {name} on batch {index} of {len(self._batches)}, on {self._device}"
            # Torch says that two types differ, but not always whose they are.
            error.add_note(f"{note}; {self._types(index)}" if "type" in str(error) else note)
            if "through the graph a second time" in str(error):
                error.add_note("gradhealth: a step must return the loss and leave loss.backward() to the plugin")
            raise

    def _types(self, index: int) -> str:
        given, own = _types(tensors(self._batches[index])), _types(self._model.parameters())
        return f"the batch is {given} and the model {own}: convert one of them"

    def _optimise(self, optimiser: Adam, index: int) -> None:
        optimiser.zero_grad()
        self._together(lambda: self._send_back(self._loss(index), index))
        optimiser.step()
        optimiser.zero_grad()

    def _parameters(self) -> Iterable[nn.Parameter]:
        return parameters_of(modules_of(self._model)).values()

    def _trainable(self) -> list[nn.Parameter]:
        return [parameter for parameter in self._parameters() if parameter.requires_grad]

    def _record(self, passes: Sequence[Pass]) -> GradientRecord:
        with without_collections():
            return self._summarised(passes)

    def _summarised(self, passes: Sequence[Pass]) -> GradientRecord:
        counts = [count for batch in self._batches if (count := sample_count(batch)) is not None]
        weights = None if self._team is None else self._team.weights
        record = summarise(self._model, passes, samples=min(counts, default=None), seed=self._seed, weights=weights)
        record = with_underflow(record, passes, self._formats)
        record = with_lost_updates(self._model, record, self._learning_rate, self._formats)
        if self._precision is not None:
            record = replace(record, precision=self._precision.name)
        record = replace(record, notes=(*self._notes, *record.notes))
        return with_plain_names(record if self._team is None else self._team.ranks.first(record))


def _types(found: Iterable[Tensor]) -> str:
    return ", ".join(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in found}))


def _device_of(model: nn.Module) -> torch.device:
    """Where it computes; parameters of a sharded model may wait elsewhere."""
    first = next(model.parameters())
    spread = spread_over(first)
    return first.device if spread is None else torch.device(spread.device_mesh.device_type)
