"""Hooks on a model that turn one forward and backward pass into numbers, without changing either.

Tensor hooks on outputs, not module backward hooks: they see the gradient before an in-place activation, they work
for any nesting of outputs, and they add nothing to the graph.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.utils.hooks import RemovableHandle

from pytest_gradhealth.measure.passes import statistics
from pytest_gradhealth.measure.passes.histogram import Tally
from pytest_gradhealth.measure.passes.nesting import floating, shard_of, tensors
from pytest_gradhealth.measure.passes.paths import PathTrace, Upstream, place_of
from pytest_gradhealth.measure.passes.sampling import SAMPLED, Samples
from pytest_gradhealth.measure.passes.source import class_of
from pytest_gradhealth.measure.passes.statistics import Scalar
from pytest_gradhealth.measure.passes.structure import modules_of, own_parameters, parameters_of
from pytest_gradhealth.measure.torch_private import inside_backward, is_batched
from pytest_gradhealth.record import LossGraph, parent_of, path_of

__all__ = [
    "ModulePass",
    "ModuleTrace",
    "ParameterPass",
    "Pass",
    "Probe",
    "Seen",
    "batched",
    "layout_of",
    "unit_dimensions",
]


@dataclass(frozen=True, slots=True)
class ModulePass:
    """What one pass showed at one module. ``numbers`` holds what :func:`statistics.describe` names, and more."""

    kind: str
    order: float
    calls: int
    attached: bool
    fed: bool | None
    numbers: dict[str, float]


@dataclass(frozen=True, slots=True)
class ParameterPass:
    """The gradient of one parameter in one pass; ``alive`` marks the units that received any, shape (units,)."""

    norm: float
    nan: int
    inf: int
    alive: npt.NDArray[np.bool_] | None
    tallies: tuple[Tally, ...] = ()
    """Its elements, one tally for each contribution; empty: not asked for."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One forward and backward pass, as numbers. Modules and parameters go by their first name in the model."""

    modules: dict[str, ModulePass]
    parameters: dict[str, ParameterPass]
    loss: float | None
    objective: LossGraph | None = None
    upstream: Upstream = field(default_factory=Upstream)


MANY = 100
"""Calls of one module in a pass from which they are steps through time."""


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
        self._owns_gradients, self.frees_gradients = owns_gradients, False
        self._unit_dimensions = unit_dimensions(modules_of(model))
        self._module_handles: list[RemovableHandle] = []
        self._parameter_handles: list[RemovableHandle] = []
        self._hooked: dict[int, weakref.ref[nn.Parameter]] = {}
        self._seen: list[Seen] = []
        self.paths = PathTrace()
        self._samples, self._left_out = Samples(sampled), False
        self.reset()

    def __enter__(self) -> Self:
        self.hook_modules()
        self.hook_parameters()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.unhook_modules()
        self.unhook_parameters()

    def hook_modules(self) -> None:
        """Observe forward calls from now on."""
        model = self._model()
        for name, module in modules_of(model).items() if model is not None else ():
            if not isinstance(module, torch.jit.ScriptModule):
                self._module_handles.append(module.register_forward_hook(_ModuleHook(self, name), with_kwargs=True))
            if self._through_time and isinstance(module, nn.RNNBase):
                self._module_handles.append(module.register_forward_pre_hook(_with_graph))

    def unhook_modules(self) -> None:
        """Forward calls are over; gradients still come to what was seen."""
        for handle in self._module_handles:
            handle.remove()
        self._module_handles.clear()

    def hook_parameters(self) -> None:
        """Observe the gradients of parameters from now on; of a lazy model, those that it has by now."""
        model = self._model()
        for name, parameter in parameters_of(modules_of(model)).items() if model is not None else ():
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
        hook = _ParameterHook(self, name, parameter)
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
        told = [] if loss is None else [_scalar(loss.detach())]
        self._collect()
        seen = (numbers for one in self._seen for numbers in (one.gradients, one.nonfinite))
        came = (numbers for trace in self._gradients.values() for numbers in trace.scalars)
        statistics.fetch([told, *seen, *came])
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
        self._gradients: dict[str, _ParameterTrace] = {}
        self._seen = []
        self._latest: dict[int, Seen] = {}
        self._left_out = self._left_out or self._samples.left_out
        self._samples = Samples(self._sampled)

    def module_returned(
        self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> ModuleTrace:
        """Note one call of a module."""
        trace = self._traces.setdefault(name, ModuleTrace(class_of(module).__name__, order=len(self._traces)))
        trace.dropped = float(module.p) if isinstance(module, _DropoutNd) and module.training else 0.0
        trace.layout = layout_of(module, args)
        inputs, outputs = list(floating((args, kwargs))), list(floating(output))
        trace.calls += 1
        attached = any(tensor.requires_grad for tensor in outputs)
        trace.attached = trace.attached or attached
        if attached and module._parameters and not inside_backward():  # which calls them anew, in a graph of its own
            self.paths.called(name, map(place_of, filter(_has_graph, inputs)))
        if not name and not inputs:  # the model itself may be given indices
            trace.inputs += [self._see(tensor) for tensor in islice(batched(args, kwargs), 1)]
        if inputs:
            given = any(tensor.requires_grad and not getattr(tensor, "plain", False) for tensor in inputs)
            trace.fed = bool(trace.fed) or given
            trace.inputs.append(self._see(inputs[0]))
        trace.outputs += [self._see(tensor, trace.kind) for tensor in outputs]
        trace.size = max([trace.size, *(tensor.numel() for tensor in outputs)])
        trace.positions = max([0, *map(statistics.count_positions, outputs)])
        if outputs and statistics.has_slope(trace.kind):
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
        return Seen(tensor, kind, self._samples)

    def gradient_collected(self, name: str, parameter: Tensor) -> None:
        """Note all of a gradient, and free it where nothing more is to be added to it."""
        gradient, trace = parameter.grad, _ParameterTrace(alone=True)
        if gradient is not None:
            self._gradients[name] = trace
            self._note(trace, name, gradient)
            if self.frees_gradients:
                parameter.grad = None

    def gradient_came(self, name: str, collected: Tensor | None, gradient: Tensor) -> None:
        """Note one contribution to a parameter's gradient; several come where a pass has several backward passes."""
        trace = self._gradients.get(name)
        if trace is None:
            trace = self._gradients[name] = _ParameterTrace(alone=collected is None)
        elif trace.alone and collected is not None:
            gradient = collected + gradient
            trace.clear()
        self._note(trace, name, gradient)

    def _note(self, trace: _ParameterTrace, name: str, gradient: Tensor) -> None:
        gradient = shard_of(gradient)
        dimension = None if statistics.is_ragged(gradient) else self._unit_dimensions.get(name)
        if dimension is None:
            size = statistics.norm(gradient)
        else:
            size, alive = statistics.units_norm(gradient, dimension)
            trace.add_alive(alive)
        trace.add(size, *statistics.count_nonfinite(gradient, size))
        if self._histograms:
            with suppress(Exception):  # a kind of tensor that cannot be counted: a picture is not worth the record
                trace.tallies.append(statistics.tally(gradient))


def _has_graph(tensor: Tensor) -> bool:
    return tensor.requires_grad


def layout_of(module: nn.Module, args: tuple[Any, ...]) -> tuple[int, int]:
    """Lengths of what a module with ``batch_first=False`` takes for time and for the batch; zeros: it takes none."""
    if getattr(module, "batch_first", True) is not False or not args or not isinstance(args[0], Tensor):
        return 0, 0
    return (args[0].shape[0], args[0].shape[1]) if args[0].ndim == SEQUENCE else (0, 0)


def batched(*given: Any) -> Iterator[Tensor]:
    """Numbers of any type that several samples were given."""
    return (tensor for tensor in tensors(given) if tensor.ndim and tensor.size(0) > 1)


def unit_dimensions(modules: Mapping[str, nn.Module]) -> dict[str, int]:
    """For each weight of at least two dimensions, the one that counts its layer's units (output features).

    The rows of an embedding are no units: most of them are not in any one batch.
    """
    dimensions: dict[str, int] = {}
    for prefix, module in modules.items():
        kind = class_of(module).__name__
        if "Embedding" in kind:
            continue
        transposed = "Transpose" in kind or kind == "Conv1D"  # transformers' Conv1D keeps its weight as (in, out)
        for name, parameter in own_parameters(module):
            if "weight" in name and not nn.parameter.is_lazy(parameter) and parameter.ndim > 1:
                dimensions[path_of(prefix, name)] = int(transposed)
    return dimensions


class _ModuleHook:
    """A forward hook that knows its module's name, and does not keep the probe alive after it."""

    def __init__(self, probe: Probe, name: str) -> None:
        self._probe, self._name = weakref.ref(probe), name

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """A copy of the module that a test makes meanwhile is not observed."""
        return _NoHook, ()

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        probe = self._probe()
        if probe is None:
            return
        trace = probe.module_returned(self._name, module, args, kwargs, output)
        if isinstance(module, nn.RNNBase) and args and isinstance(args[0], Tensor) and args[0].requires_grad:
            _follow(args[0], int(module.batch_first and args[0].ndim == 3), trace.by_step)


def _follow(sequence: Tensor, dimension: int, steps: list[Tensor]) -> None:
    """Note the gradient at each step of a sequence, once it comes."""

    def note(gradient: Tensor | None) -> None:
        if gradient is not None:
            steps.append(statistics.norms_by_step(gradient, dimension))

    sequence.register_hook(note)  # type: ignore[no-untyped-call]


def _with_graph(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """The input of a recurrent module as a leaf of its own, where it is plain data."""
    first = args[0] if args else None
    if not isinstance(first, Tensor) or first.requires_grad or not torch.is_grad_enabled():
        return None
    leaf = first.detach().clone().requires_grad_()
    leaf.plain = True  # type: ignore[attr-defined]
    return (leaf, *args[1:])


class _NoHook:
    def __call__(self, *args: Any, **kwargs: Any) -> None:
        pass


class _ParameterHook:
    """The same for a gradient hook on a parameter."""

    def __init__(self, probe: Probe, name: str, parameter: nn.Parameter) -> None:
        self._probe, self._name, self._parameter = weakref.ref(probe), name, weakref.ref(parameter)

    def __call__(self, gradient: Tensor | None) -> None:
        """A contribution is about to be added."""
        probe, parameter = self._probe(), self._parameter()
        if probe is not None and parameter is not None and gradient is not None and not is_batched(gradient):
            collected = parameter.grad if parameter.is_leaf else None  # torch warns where functional_call put another
            probe.gradient_came(self._name, collected, gradient)

    def collected(self, parameter: Tensor) -> None:
        """All contributions of one backward pass have been added."""
        probe = self._probe()
        if probe is not None and parameter.grad is not None:
            probe.gradient_collected(self._name, parameter)


class Seen:
    """One tensor on its way through the model: what it held, and the gradients that came back to it."""

    def __init__(self, tensor: Tensor, kind: str, samples: Samples) -> None:
        self._tensor, self._version, self._samples = weakref.ref(tensor), _version(tensor), samples
        self.description = self.describe(tensor, kind)
        self.gradients: list[Scalar] = []
        self.nonfinite: list[Scalar] = []
        self.quarters: list[dict[str, float]] = []
        self._is_long = statistics.count_positions(tensor) >= statistics.POSITIONS
        self._handle: RemovableHandle | None = None
        if tensor.requires_grad:
            self.await_gradient(tensor)

    def describe(self, tensor: Tensor, kind: str) -> dict[str, float]:
        """What it holds; filled in later."""
        return {} if tensor.ndim == 0 or tensor.is_complex() else self._samples.add(tensor, kind)

    def await_gradient(self, tensor: Tensor) -> None:
        """Note what comes back to the tensor, which carries a graph."""
        self._handle = tensor.register_hook(self.on_gradient)  # type: ignore[no-untyped-call]

    @property
    def hooked(self) -> bool:
        """Whether a gradient can come back."""
        return self._handle is not None

    @property
    def reach(self) -> Iterator[float]:
        """Sensitivity at the last quarter of a long sequence over that at the first, for each gradient that came."""
        for came in self.quarters:
            first, last = (came[end] * self.description[end] for end in ("first", "last"))
            yield last / first if first else math.inf if last else math.nan

    def release(self) -> None:
        """Take the hook off: parameters, and whatever else the user holds, pass through modules too."""
        if self._handle is not None and self._tensor() is not None:
            self._handle.remove()

    def is_of(self, tensor: Tensor) -> bool:
        """Whether it is this tensor at this version."""
        return self._tensor() is tensor and self._version == _version(tensor)

    def forget_last(self) -> None:
        """Forget the gradient that came last."""
        for numbers in (self.gradients, self.nonfinite, self.quarters):
            del numbers[-1:]

    def on_gradient(self, gradient: Tensor | None) -> None:
        """Note one gradient that came back."""
        if gradient is None or is_batched(gradient):
            return  # a custom backward may send nothing back, and a vectorised Jacobian many at once: it is no loss's
        gradient = shard_of(gradient)
        size = statistics.norm(gradient)
        nan, inf = statistics.count_nonfinite(gradient, size)
        self.gradients.append(size)
        self.nonfinite.append(nan + inf)
        if self._is_long and statistics.count_positions(gradient):
            self.quarters.append(self._samples.add_gradient(gradient))


@dataclass(slots=True)
class ModuleTrace:
    """The calls of one module within a pass."""

    kind: str
    order: float
    calls: int = 0
    attached: bool = False
    fed: bool | None = None
    size: int = 0
    positions: int = 0
    dropped: float = 0.0
    layout: tuple[int, int] = (0, 0)
    """Lengths of what a module with ``batch_first=False`` takes for time and for the batch."""
    inputs: list[Seen] = field(default_factory=list)
    outputs: list[Seen] = field(default_factory=list)
    saturating: list[Seen] = field(default_factory=list)
    by_step: list[Tensor] = field(default_factory=list)

    def finish(self) -> ModulePass:
        """All calls as numbers."""
        numbers = self._forward() | self._backward()
        numbers |= {"size": self.size, "positions": self.positions, "dropped": self.dropped}
        if self.layout[0]:
            numbers |= {"taken_for_time": self.layout[0], "taken_for_batch": self.layout[1]}
        return ModulePass(self.kind, self.order, self.calls, self.attached, self.fed, numbers)

    def _forward(self) -> dict[str, float]:
        """What the last call returned; its size is the largest of all calls."""
        described = [seen.description for seen in self.outputs if seen.description]
        numbers = dict(described[-max(len(described) // max(self.calls, 1), 1)]) if described else {}
        for name in ("flat", "first", "last"):
            numbers.pop(name, None)
        if self.calls > 1 and described:
            numbers |= {"rms": max(one["rms"] for one in described), "low": min(one["low"] for one in described)}
            numbers["high"] = max(one["high"] for one in described)
        if self.saturating:
            numbers["flat"] = max(seen.description.get("flat", 0.0) for seen in self.saturating)
        given = next((seen.description for seen in self.inputs if seen.description), {})
        return numbers | {f"input_{name}": given[name] for name in INPUT if name in given}

    def _backward(self) -> dict[str, float]:
        told: dict[str, float] = {}
        for norm, bad, through in (("gradient", "bad_gradient", self.outputs), ("returned", "bad_return", self.inputs)):
            seen = dict.fromkeys(through)
            if norms := _known(seen):
                told |= {norm: math.hypot(*norms), bad: sum(float(n) for one in seen for n in one.nonfinite)}
        if reach := [share for one in dict.fromkeys(self.outputs) for share in one.reach]:
            told["late"] = max(reach)
        return told | self._through_time()

    def _through_time(self) -> dict[str, float]:
        """Gradients at the first and the last quarter of the steps through time; none where there are few."""
        if self.by_step:
            steps = [norms.tolist() for norms in self.by_step]
            quarter = max(len(steps[0]) // 4, 1)
            first, last = max(max(s[:quarter]) for s in steps), max(max(s[-quarter:]) for s in steps)
            return {"first_steps": first, "last_steps": last, "steps": len(steps[0])}
        quarter = len(self.outputs) // 4
        ends = {"first_steps": self.outputs[:quarter], "last_steps": self.outputs[-quarter:]}
        told = {name: max(norms) for name, seen in ends.items() if self.calls >= MANY and (norms := _known(seen))}
        return told | ({"steps": float(self.calls)} if "first_steps" in told else {})


def _known(seen: Iterable[Seen]) -> list[float]:
    """Norms of all gradients that came."""
    return [float(norm) for one in seen for norm in one.gradients]


SEQUENCE = 3
"""Dimensions of a sequence of features, with or without the samples in front."""
INPUT = ("rms", "low", "high", "bad", "samples")
"""What is told of a module's input."""


@dataclass(slots=True)
class _ParameterTrace:
    """What came to one parameter within a pass: its gradient, or contributions to it that could not be added up."""

    alone: bool
    """Whether the pass began with an empty ``.grad``, so that what is in it is this pass's own."""
    norms: list[Scalar] = field(default_factory=list)
    nan: list[Scalar] = field(default_factory=list)
    inf: list[Scalar] = field(default_factory=list)
    alive: Tensor | None = None
    tallies: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    @property
    def scalars(self) -> tuple[list[Scalar], ...]:
        return self.norms, self.nan, self.inf

    def clear(self) -> None:
        for numbers in self.scalars:
            numbers.clear()
        self.tallies.clear()
        self.alive = None

    def add(self, norm: Scalar, nan: Scalar, inf: Scalar) -> None:
        for numbers, number in zip(self.scalars, (norm, nan, inf), strict=True):
            numbers.append(number)

    def add_alive(self, alive: Tensor) -> None:
        self.alive = alive if self.alive is None else self.alive | alive

    def finish(self) -> ParameterPass:
        alive = None if self.alive is None else self.alive.cpu().numpy()
        tallies = tuple(Tally(counts.cpu().numpy(), *numbers.tolist()) for numbers, counts in self.tallies)
        norm = math.hypot(*map(float, self.norms))
        return ParameterPass(norm, int(max(self.nan)), int(max(self.inf)), alive, tallies)


def _scalar(tensor: Tensor) -> Scalar:
    """A number at once where nothing waits for it."""
    return float(tensor) if tensor.device.type == "cpu" else tensor


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version
