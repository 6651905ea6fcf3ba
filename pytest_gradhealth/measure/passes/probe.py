"""Hooks on a model that turn one forward and backward pass into numbers, without changing either.

Tensor hooks on outputs, not module backward hooks: they see the gradient before an in-place activation, they work
for any nesting of outputs, and they add nothing to the graph.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.utils.hooks import RemovableHandle

from pytest_gradhealth.measure.passes import statistics
from pytest_gradhealth.measure.passes.hooks import ModuleHook, ParameterHook, with_graph
from pytest_gradhealth.measure.passes.nesting import floating, shard_of, tensors
from pytest_gradhealth.measure.passes.paths import PathTrace, place_of
from pytest_gradhealth.measure.passes.reductions import Reductions
from pytest_gradhealth.measure.passes.results import Pass
from pytest_gradhealth.measure.passes.sampling import SAMPLED, Samples
from pytest_gradhealth.measure.passes.seen import Seen
from pytest_gradhealth.measure.passes.source import class_of
from pytest_gradhealth.measure.passes.statistics import Scalar
from pytest_gradhealth.measure.passes.structure import modules_of, parameters_of, unit_dimensions
from pytest_gradhealth.measure.passes.traces import ModuleTrace, ParameterTrace
from pytest_gradhealth.measure.torch_private import inside_backward
from pytest_gradhealth.record import parent_of

__all__ = ["Probe", "batched", "layout_of"]


class Probe:
    """A context in which a model's passes are observed.

    ``read`` returns the numbers of the pass at hand, ``reset`` begins another. It holds no reference to the model.

    Args:
        model: what to observe.
        through_time: give recurrent modules an input that carries a gradient, so that it can be followed step by
            step. This adds to the graph, though it changes no value.
        histograms: count the elements of the parameters' gradients.
        sampled: elements of an output that forward statistics are taken from; None: all. Gradient norms are always
            those of all elements.
        owns_gradients: nobody else needs the parameters' gradients. While ``frees_gradients`` is set, each is freed as
            soon as its numbers are known.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        through_time: bool = False,
        histograms: bool = False,
        sampled: int | None = SAMPLED,
        owns_gradients: bool = False,
    ) -> None:
        self._through_time, self._histograms, self._sampled = through_time, histograms, sampled
        self._model = weakref.ref(model)
        self._dimensions: dict[str, int] | None = None
        self._owns_gradients, self.frees_gradients = owns_gradients, False
        self._module_handles: list[RemovableHandle] = []
        self._parameter_handles: list[RemovableHandle] = []
        self._hooked: dict[int, weakref.ref[nn.Parameter]] = {}
        self._seen: list[Seen] = []
        self.paths = PathTrace()
        self._samples, self._reductions, self._left_out = Samples(sampled), Reductions(), False
        self.reset()

    def __enter__(self) -> Self:
        model = self._model()
        if model is not None:
            modules = modules_of(model)
            self._hook_modules(modules)
            self._hook_parameters(modules)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.unhook_modules()
        self.unhook_parameters()

    def _hook_modules(self, modules: Mapping[str, nn.Module]) -> None:
        """Observe forward calls from now on."""
        itself = weakref.ref(self)
        for name, module in modules.items():
            if not isinstance(module, torch.jit.ScriptModule):
                self._module_handles.append(module.register_forward_hook(ModuleHook(itself, name), with_kwargs=True))
            if self._through_time and isinstance(module, nn.RNNBase):
                self._module_handles.append(module.register_forward_pre_hook(with_graph))

    def unhook_modules(self) -> None:
        """Forward calls are over; gradients still come to what was seen."""
        for handle in self._module_handles:
            handle.remove()
        self._module_handles.clear()

    def hook_parameters(self) -> None:
        """Observe the gradients of parameters from now on; of a lazy model, those that it has by now."""
        model = self._model()
        if model is not None:
            self._hook_parameters(modules_of(model))

    def _hook_parameters(self, modules: Mapping[str, nn.Module]) -> None:
        for name, parameter in parameters_of(modules).items():
            if parameter.requires_grad and id(parameter) not in self._hooked and not nn.parameter.is_lazy(parameter):
                self.hook_parameter(name, parameter)

    def hook_parameter(self, name: str, parameter: nn.Parameter) -> None:
        """Observe the gradient of one."""
        self.paths.owns(parent_of(name), parameter)
        self._parameter_handles.append(self._hooked_parameter(name, parameter))
        self._hooked[id(parameter)] = weakref.ref(parameter)

    def _hooked_parameter(self, name: str, parameter: nn.Parameter) -> RemovableHandle:
        """Where others wait for the gradient too, one may use it up: an optimiser that steps inside the backward."""
        handle: RemovableHandle
        hook = ParameterHook(weakref.ref(self), name, parameter)
        if self._owns_gradients and not parameter._post_accumulate_grad_hooks:
            handle = parameter.register_post_accumulate_grad_hook(hook.collected)  # type: ignore[no-untyped-call]
        else:
            handle = parameter.register_hook(hook)  # type: ignore[no-untyped-call]
        return handle

    def unhook_parameters(self) -> None:
        """The pass is over: leave nothing behind on parameters and on what passed through the model."""
        self._release()
        for handle in self._parameter_handles:
            handle.remove()
        self._parameter_handles.clear()
        for reference in self._hooked.values():
            parameter = reference()
            for kind in ("_backward_hooks", "_post_accumulate_grad_hooks"):
                if parameter is not None and not getattr(parameter, kind):
                    setattr(parameter, kind, None)  # a hook leaves its empty container behind
        self._hooked.clear()

    def take(self, loss: Tensor | None = None) -> Pass:
        """Everything seen since the last call; the next pass begins."""
        taken = self.read(loss)
        self.reset()
        return taken

    @property
    def left_out(self) -> bool:
        """Whether numbers of any output so far are those of a sample."""
        return self._left_out or self._samples.left_out

    @property
    def received(self) -> bool:
        """Whether any parameter received a gradient in the pass at hand."""
        return bool(self._gradients)

    def read(self, loss: Tensor | None = None) -> Pass:
        """Everything seen in the pass at hand, in one transfer from the device."""
        told: list[Scalar] = [] if loss is None else [_scalar(loss.detach())]
        self._collect()
        self._reductions.collect([told])
        return Pass(
            modules={name: trace.finish() for name, trace in self._traces.items()},
            parameters={name: trace.finish() for name, trace in self._gradients.items()},
            loss=float(told[0]) if told else None,
            upstream=self.paths.upstream(),
        )

    def _collect(self) -> None:
        self._samples.collect()

    def _release(self) -> None:
        for seen in self._seen:
            seen.release()

    def reset(self) -> None:
        """Forget the pass at hand."""
        self._release()
        self.paths.reset()
        self._traces: dict[str, ModuleTrace] = {}
        self._gradients: dict[str, ParameterTrace] = {}
        self._seen = []
        self._latest: dict[int, Seen] = {}
        self._left_out = self._left_out or self._samples.left_out
        self._samples, self._reductions = Samples(self._sampled), Reductions()

    def module_returned(
        self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> ModuleTrace:
        """Note one call of a module."""
        trace = self._traces.get(name)
        if trace is None:
            trace = self._traces[name] = _trace_of(module, len(self._traces))
        trace.layout = layout_of(module, args)
        inputs, outputs = _floating_in(args, kwargs), floating(output)
        trace.calls += 1
        trace.dropped = float(module.p) if isinstance(module, _DropoutNd) and module.training else 0.0
        if any(tensor.requires_grad for tensor in outputs):
            trace.attached = True
            if module._parameters and not inside_backward():  # which calls them anew, in a graph of its own
                self.paths.called(name, [place_of(tensor) for tensor in inputs if tensor.requires_grad])
        if not name and not inputs:  # the model itself may be given indices
            trace.inputs += [self._see(tensor) for tensor in islice(batched(args, kwargs), 1)]
        if inputs:
            given = any(tensor.requires_grad and not getattr(tensor, "plain", False) for tensor in inputs)
            trace.fed = bool(trace.fed) or given
            trace.inputs.append(self._see(inputs[0]))
        trace.positions = 0
        for tensor in outputs:
            trace.outputs.append(self._see(tensor, trace.kind))
            trace.size = max(trace.size, tensor.numel())
            trace.positions = max(trace.positions, statistics.count_positions(tensor))
        if outputs and trace.saturates:
            trace.saturating.append(trace.outputs[-len(outputs)])
        return trace

    def _see(self, tensor: Tensor, kind: str = "") -> Seen:
        """One entry per tensor and version, however many modules it passes through."""
        seen = self._latest.get(id(tensor))
        if seen is None or not seen.is_of(tensor):
            seen = self._latest[id(tensor)] = self._entry(tensor, kind)
            self._seen.append(seen)
        return seen

    def _entry(self, tensor: Tensor, kind: str) -> Seen:
        return Seen(tensor, kind, self._samples, self._reductions)

    def gradient_collected(self, name: str, parameter: Tensor) -> None:
        """Note all of a gradient, and free it where nothing more is to be added to it."""
        gradient, trace = parameter.grad, ParameterTrace(alone=True)
        if gradient is not None:
            self._gradients[name] = trace
            if self.frees_gradients:
                parameter.grad = None
            self._note(trace, name, gradient, owned=self.frees_gradients)

    def gradient_came(self, name: str, collected: Tensor | None, gradient: Tensor) -> None:
        """Note one contribution to a parameter's gradient; several come where a pass has several backward passes."""
        trace = self._gradients.get(name)
        if trace is None:
            trace = self._gradients[name] = ParameterTrace(alone=collected is None)
        elif trace.alone and collected is not None:
            gradient = collected + gradient
            trace.clear()
        self._note(trace, name, gradient)

    def _unit_dimensions(self) -> dict[str, int]:
        if self._dimensions is None:
            model = self._model()
            self._dimensions = {} if model is None else unit_dimensions(modules_of(model))
        return self._dimensions

    def _note(self, trace: ParameterTrace, name: str, gradient: Tensor, *, owned: bool = False) -> None:
        gradient = shard_of(gradient)
        dimension = None if statistics.is_ragged(gradient) else self._unit_dimensions().get(name)
        trace.came.append(self._reductions.add(gradient, dimension, owned=owned))
        if self._histograms:
            with suppress(Exception):  # a kind of tensor that cannot be counted: a picture is not worth the record
                trace.tallies.append(statistics.tally(gradient))


def _trace_of(module: nn.Module, order: int) -> ModuleTrace:
    kind = class_of(module).__name__
    return ModuleTrace(kind, order, statistics.has_slope(kind))


def layout_of(module: nn.Module, args: tuple[Any, ...]) -> tuple[int, int]:
    """Lengths of what a module with ``batch_first=False`` takes for time and for the batch; zeros: it takes none."""
    if getattr(module, "batch_first", True) is not False or not args or not isinstance(args[0], Tensor):
        return 0, 0
    return (args[0].shape[0], args[0].shape[1]) if args[0].ndim == statistics.SEQUENCE else (0, 0)


def _floating_in(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """Of what a module was given; most often that is one tensor."""
    return floating(args[0] if len(args) == 1 and not kwargs else (args, kwargs))


def batched(*given: Any) -> Iterator[Tensor]:
    """Numbers of any type that several samples were given."""
    return (tensor for tensor in tensors(given) if tensor.ndim and tensor.size(0) > 1)


def _scalar(tensor: Tensor) -> Scalar:
    """A number at once where nothing waits for it."""
    return float(tensor) if tensor.device.type == "cpu" else tensor
