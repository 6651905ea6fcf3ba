"""What happens in a block, told model by model: which were called, what a backward brought them, who stepped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer
from torch.utils.weak import WeakIdKeyDictionary as _WeakIdKeys

from pytest_gradhealth.errors import WatchingUnavailable
from pytest_gradhealth.measure import torch_private
from pytest_gradhealth.measure.losses import graph
from pytest_gradhealth.measure.passes.interrupts import uninterrupted
from pytest_gradhealth.measure.passes.pause import aside
from pytest_gradhealth.measure.torch_private import counts_operations, unseen, without_graph
from pytest_gradhealth.measure.watching import patches
from pytest_gradhealth.measure.watching.callers import is_trained, owner_of, unwrapped
from pytest_gradhealth.measure.watching.model import Watched
from pytest_gradhealth.measure.watching.optimisers import OptimiserTrace
from pytest_gradhealth.measure.watching.pipelines import Pipeline, Stage
from pytest_gradhealth.measure.watching.quiet import OuterCall, describe_error
from pytest_gradhealth.record import GradientRecord, LossGraph

__all__ = ["Watch"]

__tracebackhide__ = True


class Watch:
    """A context in which every model that a backward pass goes through is measured.

    Args:
        model: watch this one only, whichever of its parts is called; by default whatever is called.
        histograms: count the elements of the parameters' gradients.
        formats: forecast what gradients would lose in them.
    """

    def __init__(
        self, model: nn.Module | None = None, *, histograms: bool = False, formats: Sequence[str] = ()
    ) -> None:
        self._histograms, self._formats = histograms, formats
        self._entries: list[Watched] = []
        self._by_module: MutableMapping[nn.Module, Watched] = _WeakIdKeys()
        self._only = model is not None
        self._scales: MutableMapping[Tensor, float] = _WeakIdKeys()
        self._scale = 1.0
        self._senders: set[int] = set()
        """Threads that have run a backward pass."""
        self._bookkeeping = threading.RLock()
        """Held while what a backward brought is told apart, never while the engine runs."""
        self.backwards = 0
        """Backward passes that ran, whatever they went through."""
        self.unjudged: list[str] = []
        """Models of which nothing is known through a fault of ours."""
        self._unseen: dict[str, None] = {}
        self._optimisers = OptimiserTrace(formats)
        self._detached_loss = False
        self._pipelines: list[Pipeline] = []
        self._by_schedule: MutableMapping[Any, Pipeline] = _WeakIdKeys()
        if model is not None:
            entry = self._add(unwrapped(model))
            for part in model.modules():
                self._by_module[part] = entry

    def __enter__(self) -> Self:
        """Begin to watch.

        Raises:
            WatchingUnavailable: this version of torch has no place for it.
        """
        problem = torch_private.why_nothing_can_be_watched()
        if problem:
            raise WatchingUnavailable(problem)
        try:
            with uninterrupted():
                patches.add(self)
        except BaseException:  # a signal that waited
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._close()
        finally:
            self._close()  # a signal may raise before the first has begun

    def _close(self) -> None:
        with uninterrupted():
            patches.remove(self)
            for entry in self._entries:
                entry.close()

    def passes(self) -> Iterator[tuple[GradientRecord, ...]]:
        """For each model that received gradients, in order of first use, the records of its measured passes."""
        for number, entry in enumerate(self._entries):
            if isinstance(entry, Stage):
                continue
            optimisers = self._optimisers.uses_of(number)
            for records in entry.passes(any(not use.reached and use.steps for use in optimisers)):
                yield self._told(number, records)
        yield from filter(None, (pipeline.passes() for pipeline in self._pipelines))

    def _told(self, number: int, records: tuple[GradientRecord, ...]) -> tuple[GradientRecord, ...]:
        """Records of a model with what its optimisers do."""
        optimisers = self._optimisers.uses_of(number)
        told = (replace(x, optimisers=optimisers, detached_loss=self._detached_loss) for x in records)
        return self._optimisers.told(number, tuple(told))

    def problems(self) -> Iterator[str]:
        """Why models that were called could not be measured."""
        yield from self._unseen
        alone = [entry for entry in self._entries if not isinstance(entry, Stage)]
        problems = [(one.name, one.problem) for one in alone]
        problems += [(one.name, one.problem) for one in self._pipelines]
        yield from (f"{name}: {problem}" for name, problem in problems if problem)

    def why_unmeasured(self) -> str:
        """Why nothing was measured although a backward ran; empty: no model was called that could have been."""
        if self._detached_loss:
            return (
                "nothing was measured: the loss that backward began with has no graph, as after requires_grad_(True), "
                "so that no parameter receives a gradient"
            )
        if self._entries:
            return (
                "nothing was measured: no parameter of the models that were called received a gradient; inputs alone "
                "were differentiated, or the loss does not depend on what they return"
            )
        return ""

    def begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> OuterCall | None:
        """A module is called from outside any other. None: nothing of this call is measured."""
        if not is_trained(module):
            return None
        model = unwrapped(module)
        entry = self._by_module.get(model) or self._found(model)
        if entry is not None and patches.has_own_call(model):
            entry.has_own_call = True
        return entry.forward_begins(module, model, args, kwargs) if entry else None

    def could_not_begin(self, module: nn.Module, error: Exception) -> None:
        """A call that was not measured through a fault of ours."""
        self._unseen[f"{type(module).__name__}: {describe_error(error)}"] = None

    def could_not_judge(self, model: str, error: Exception) -> None:
        """A model that was measured, and not judged through a fault of ours."""
        self.unjudged.append(f"{model} could not be judged ({describe_error(error)}); please report this")

    def _found(self, model: nn.Module) -> Watched | None:
        if self._only:
            return None
        owner, whole = owner_of(model)  # a forward method called from outside is as good as a call
        entry = self._by_module.get(owner) or self._add(owner)
        entry.whole = entry.whole or whole
        self._by_module[owner] = self._by_module[model] = entry
        return entry

    def _add(self, module: nn.Module) -> Watched:
        self._entries.append(Watched(module, histograms=self._histograms, formats=self._formats))
        return self._entries[-1]

    def backward_begins(self, outputs: tuple[Any, ...], trains: bool) -> LossGraph | None:
        """Tell what comes now from what an earlier backward brought, and read the loss before it is freed."""
        with self._bookkeeping:
            self._senders.add(threading.get_ident())
            entries = self._sent_here()
            for entry in entries:
                if entry.armed:
                    entry.backward_begins(outputs, trains)
            loss = _loss_of(outputs)
            if loss is not None and loss.grad_fn is None and not loss.ndim and not isinstance(loss, nn.Parameter):
                self._detached_loss = True
            if loss is not None and any(entry.looks for entry in entries) and not counts_operations():
                with suppress(Exception):  # a test's graph may hold anything
                    return aside(graph.read, loss)
            return None

    def backward_done(self, outputs: tuple[Any, ...], objective: LossGraph | None) -> None:
        """Measure the passes that a backward went through; ``objective`` is what it read of the loss as it began."""
        with self._bookkeeping:
            self.backwards += 1
            loss = _loss_of(outputs)
            scale = self._scale if loss is None else self._scales.get(loss, self._scale)
            self._scale = 1.0
            entries = self._sent_here()
            alone = sum(entry.was_reached for entry in entries) == 1  # else one may be played against another
            for entry in entries:
                entry.backward_done(loss, scale, objective if alone else None)

    def _sent_here(self) -> list[Watched]:
        """The models that a backward in this thread may go through: not those that another thread trains."""
        here, entries = threading.get_ident(), list(self._entries)  # before anything is called that is not in it
        if all(entry.caller != here for entry in entries):  # it may send back what another thread has called
            return entries
        others = (self._senders | patches.threads_in_calls()) - {here}
        return [entry for entry in entries if entry.caller not in others]

    def pipeline_begins(self, schedule: Any) -> None:
        """A step of a pipeline's schedule begins."""
        pipeline = self._by_schedule.get(schedule)
        if pipeline is None and any(map(self._is_watched, torch_private.stages_of(schedule))):
            pipeline = self._by_schedule[schedule] = Pipeline(schedule, self._add_stage)
            self._pipelines.append(pipeline)
        if pipeline is not None:
            pipeline.step_begins()

    def pipeline_ended(self, schedule: Any, *, failed: bool) -> None:
        """It has ended; what all ranks saw of it is put together."""
        pipeline = self._by_schedule.get(schedule)
        if pipeline is not None and failed:
            pipeline.step_failed()
        elif pipeline is not None:
            pipeline.step_ended(lambda stage: self._told(self._entries.index(stage), stage.told()))

    def _is_watched(self, stage: Any) -> bool:
        return not self._only or any(part in self._by_module for part in stage.submod.modules())

    def _add_stage(self, stage: Any) -> Stage:
        entry = Stage(stage, histograms=self._histograms, formats=self._formats)
        self._entries.append(entry)
        for module in (unwrapped(stage.submod), stage.submod):
            self._by_module[module] = entry
        return entry

    def step_begins(self, optimiser: Optimizer) -> None:
        """An optimiser is about to make a step."""
        self._quietly(optimiser, lambda: self._optimisers.begins(optimiser))

    def step_ended(self, optimiser: Optimizer) -> None:
        """An optimiser has made a step."""
        self._quietly(optimiser, lambda: self._optimisers.ended(optimiser, self._models, self.backwards))
        for entry in self._entries:
            entry.step_made()

    def _models(self) -> dict[int, nn.Module]:
        """Those that were called so far and are still there, by their numbers."""
        return {number: model for number, entry in enumerate(self._entries) if (model := entry.model) is not None}

    def _quietly(self, optimiser: Optimizer, action: Callable[[], None]) -> None:
        """Nothing of ours may end a test, or be seen by one that looks at every operation."""
        if counts_operations():
            return
        try:
            with unseen():
                without_graph(action)
        except Exception as error:
            self._unseen[f"{type(optimiser).__name__}: {describe_error(error)}"] = None

    def mute(self, muted: bool) -> None:
        """Whether gradients that come are none of a loss."""
        for entry in self._sent_here():
            entry.mute(muted)

    def scaled(self, loss: Any, scaler: torch.amp.GradScaler) -> None:
        """A gradient scaler has made a loss larger."""
        if any(entry.armed for entry in self._entries):
            self._scale = float(scaler.get_scale())
            if isinstance(loss, Tensor):
                self._scales[loss] = self._scale


def _loss_of(outputs: tuple[Any, ...]) -> Tensor | None:
    """What a backward begins with, if it is a single number."""
    first = outputs[0] if len(outputs) == 1 else None
    return first if isinstance(first, Tensor) and first.numel() == 1 else None


_TOLD = (Watch.begin, Watch.backward_begins, Watch.backward_done, Watch.mute, Watch.scaled)
for _function in (*_TOLD, Watch.step_begins, Watch.step_ended):
    torch_private.hide_from_dynamo(_function.__code__, callees=True)
