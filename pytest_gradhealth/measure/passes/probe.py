"""Hooks on a model that turn one forward and backward pass into numbers, without changing either.

Tensor hooks on outputs, not module backward hooks: they see the gradient before an in-place activation, they work
for any nesting of outputs, and they add nothing to the graph.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator, Mapping
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
from pytest_gradhealth.measure.passes.paths import PathTrace
from pytest_gradhealth.measure.passes.source import class_of
from pytest_gradhealth.measure.torch_private import inside_backward
from pytest_gradhealth.record import LossGraph, parent_of, path_of

__all__ = ["ModulePass", "ParameterPass", "Pass", "Probe", "Seen", "unit_dimensions"]


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
    upstream: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """For each layer whose place in the graph is known, all layers that lie in front of it."""


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
    """

    def __init__(self, model: nn.Module, *, through_time: bool = False, histograms: bool = False) -> None:
        self._through_time, self._histograms = through_time, histograms
        self._model = weakref.ref(model)
        self._unit_dimensions = unit_dimensions(model)
        self._module_handles: list[RemovableHandle] = []
        self._parameter_handles: list[RemovableHandle] = []
        self._hooked: dict[int, weakref.ref[nn.Parameter]] = {}
        self._seen: dict[int, Seen] = {}
        self.paths = PathTrace()
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
        for name, module in model.named_modules() if model is not None else ():
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
        for name, parameter in model.named_parameters() if model is not None else ():
            if parameter.requires_grad and id(parameter) not in self._hooked and not nn.parameter.is_lazy(parameter):
                hook = _ParameterHook(self, name, parameter)
                self.paths.owns(parent_of(name), parameter)
                self._parameter_handles.append(parameter.register_hook(hook))  # type: ignore[no-untyped-call]
                self._hooked[id(parameter)] = weakref.ref(parameter)

    def unhook_parameters(self) -> None:
        """The pass is over: leave nothing behind on parameters and on what passed through the model."""
        self._release()
        for handle in self._parameter_handles:
            handle.remove()
        self._parameter_handles.clear()
        for reference in self._hooked.values():
            parameter = reference()
            if parameter is not None and not parameter._backward_hooks:
                parameter._backward_hooks = None  # a hook leaves its empty container behind
        self._hooked.clear()

    def take(self, loss: Tensor | None = None) -> Pass:
        """Everything seen since the last call; the next pass begins."""
        taken = self.read(loss)
        self.reset()
        return taken

    @property
    def received(self) -> bool:
        """Whether any parameter received a gradient in the pass at hand."""
        return bool(self._gradients)

    def read(self, loss: Tensor | None = None) -> Pass:
        """Everything seen in the pass at hand, in one transfer from the device."""
        bank = _Bank()
        loss_slot = bank.add(loss.detach()) if loss is not None else None
        modules = {name: trace.bank(bank) for name, trace in self._traces.items()}
        parameters = {name: trace.bank(bank) for name, trace in self._gradients.items()}
        bank.collect()
        return Pass(
            modules={name: self._traces[name].finish(bank, slots) for name, slots in modules.items()},
            parameters={name: self._gradients[name].finish(bank, slots) for name, slots in parameters.items()},
            loss=None if loss_slot is None else bank[loss_slot],
            upstream=self.paths.upstream(),
        )

    def _release(self) -> None:
        for seen in self._seen.values():
            seen.release()

    def reset(self) -> None:
        """Forget the pass at hand."""
        self._release()
        self.paths.reset()
        self._traces: dict[str, _ModuleTrace] = {}
        self._gradients: dict[str, _ParameterTrace] = {}
        self._seen = {}

    def module_returned(
        self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> _ModuleTrace:
        """Note one call of a module."""
        trace = self._traces.setdefault(name, _ModuleTrace(class_of(module).__name__, order=len(self._traces)))
        trace.dropped = float(module.p) if isinstance(module, _DropoutNd) and module.training else 0.0
        inputs, outputs = list(floating((args, kwargs))), list(floating(output))
        trace.calls += 1
        attached = any(tensor.requires_grad for tensor in outputs)
        trace.attached = trace.attached or attached
        if attached and module._parameters and not inside_backward():  # which calls them anew, in a graph of its own
            self.paths.called(name, inputs)
        if not name and not inputs:  # the model itself may be given indices
            trace.inputs += [self._see(tensor) for tensor in islice(_batched(args, kwargs), 1)]
        if inputs:
            given = any(tensor.requires_grad and not getattr(tensor, "plain", False) for tensor in inputs)
            trace.fed = bool(trace.fed) or given
            trace.inputs.append(self._see(inputs[0]))
        trace.outputs += [self._see(tensor) for tensor in outputs]
        trace.size = max([trace.size, *(tensor.numel() for tensor in outputs)])
        trace.positions = max([0, *map(statistics.count_positions, outputs)])
        if outputs and (flat := statistics.flat_share(trace.kind, shard_of(outputs[0]))) is not None:
            trace.flat.append(flat)
        return trace

    def _see(self, tensor: Tensor) -> Seen:
        """One entry per tensor and version, however many modules it passes through."""
        seen = self._seen.get(id(tensor))
        if seen is None or not seen.is_of(tensor):
            seen = self._seen[id(tensor)] = self._entry(tensor, seen)
        return seen

    def _entry(self, tensor: Tensor, earlier: Seen | None) -> Seen:
        return Seen(tensor, earlier)

    def gradient_came(self, name: str, collected: Tensor | None, gradient: Tensor) -> None:
        """Note one contribution to a parameter's gradient; several come where a pass has several backward passes."""
        trace = self._gradients.get(name)
        if trace is None:
            trace = self._gradients[name] = _ParameterTrace(alone=collected is None)
        elif trace.alone and collected is not None:
            gradient = collected + gradient
            trace.clear()
        gradient = shard_of(gradient)
        trace.norms.append(statistics.norm(gradient))
        trace.nonfinite.append(statistics.count_nonfinite(gradient, trace.norms[-1]))
        dimension = self._unit_dimensions.get(name)
        if dimension is not None and not statistics.is_ragged(gradient):
            trace.add_alive(statistics.alive_units(gradient, dimension))
        if self._histograms:
            with suppress(Exception):  # a kind of tensor that cannot be counted: a picture is not worth the record
                trace.tallies.append(statistics.tally(gradient))


def _batched(*given: Any) -> Iterator[Tensor]:
    """Numbers of any type that several samples were given."""
    return (tensor for tensor in tensors(given) if tensor.ndim and tensor.size(0) > 1)


def unit_dimensions(model: nn.Module) -> dict[str, int]:
    """For each weight of at least two dimensions, the one that counts its layer's units (output features).

    The rows of an embedding are no units: most of them are not in any one batch.
    """
    dimensions: dict[str, int] = {}
    for prefix, module in model.named_modules():
        kind = class_of(module).__name__
        if "Embedding" in kind:
            continue
        transposed = "Transpose" in kind or kind == "Conv1D"  # transformers' Conv1D keeps its weight as (in, out)
        for name, parameter in module.named_parameters(recurse=False):
            if not nn.parameter.is_lazy(parameter) and parameter.ndim > 1 and "weight" in name:
                dimensions[path_of(prefix, name)] = int(transposed)
    return dimensions


class _ModuleHook:
    """A forward hook that knows its module's name, and does not keep the probe alive after it."""

    def __init__(self, probe: Probe, name: str) -> None:
        self._probe, self._name = weakref.ref(probe), name

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """A copy of the module that a test makes meanwhile is not observed."""
        return _NoHook, ()

    @torch.no_grad()
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

    @torch.no_grad()
    def __call__(self, gradient: Tensor | None) -> None:
        probe, parameter = self._probe(), self._parameter()
        if probe is not None and parameter is not None and gradient is not None:
            collected = parameter.grad if parameter.is_leaf else None  # torch warns where functional_call put another
            probe.gradient_came(self._name, collected, gradient)


class Seen:
    """One tensor on its way through the model: what it held, and the gradients that came back to it."""

    def __init__(self, tensor: Tensor, earlier: Seen | None) -> None:
        self._tensor, self._version, self._earlier = weakref.ref(tensor), _version(tensor), earlier
        self.scalar = tensor.ndim == 0
        self.description = {} if self.scalar or tensor.is_complex() else statistics.describe(tensor)
        self.gradients: list[Tensor] = []
        self.nonfinite: list[Tensor] = []
        self.late: list[Tensor] = []
        self._quarters = statistics.quarters(shard_of(tensor)) if tensor.requires_grad and self.description else None
        self._handle: RemovableHandle | None = None
        if tensor.requires_grad:
            self._handle = tensor.register_hook(self.on_gradient)  # type: ignore[no-untyped-call]

    @property
    def hooked(self) -> bool:
        """Whether a gradient can come back."""
        return self._handle is not None

    def release(self) -> None:
        """Take the hook off: parameters, and whatever else the user holds, pass through modules too."""
        if self._earlier is not None:
            self._earlier.release()
        if self._handle is not None:
            self._handle.remove()

    def is_of(self, tensor: Tensor) -> bool:
        """Whether it is this tensor at this version."""
        return self._tensor() is tensor and self._version == _version(tensor)

    def forget_last(self) -> None:
        """Forget the gradient that came last."""
        for numbers in (self.gradients, self.nonfinite, self.late):
            del numbers[-1:]

    @torch.no_grad()
    def on_gradient(self, gradient: Tensor | None) -> None:
        """Note one gradient that came back."""
        if gradient is None:
            return  # a custom backward may send nothing back
        gradient = shard_of(gradient)
        self.gradients.append(statistics.quick_norm(gradient))
        self.nonfinite.append(sum(statistics.count_nonfinite(gradient, self.gradients[-1])))  # type: ignore[arg-type]
        if self._quarters is not None and (came := statistics.quarters(gradient)) is not None:
            first, last = came * self._quarters
            self.late.append(last / first)


@dataclass(slots=True)
class _ModuleTrace:
    """The calls of one module within a pass."""

    kind: str
    order: float
    calls: int = 0
    attached: bool = False
    fed: bool | None = None
    size: int = 0
    positions: int = 0
    dropped: float = 0.0
    inputs: list[Seen] = field(default_factory=list)
    outputs: list[Seen] = field(default_factory=list)
    flat: list[Tensor] = field(default_factory=list)
    by_step: list[Tensor] = field(default_factory=list)

    def bank(self, bank: _Bank) -> dict[str, list[int]]:
        described = [seen for seen in self.outputs if seen.description]
        first_of_last_call = described[-max(len(described) // max(self.calls, 1), 1)] if described else None
        slots = {n: [bank.add(v)] for n, v in (first_of_last_call.description if first_of_last_call else {}).items()}
        for name in ("rms", "low", "high") if self.calls > 1 else ():
            slots[name] = [bank.add(seen.description[name]) for seen in described]
        slots["gradient"] = [bank.add(g) for seen in _unique(self.outputs) for g in seen.gradients]
        slots["bad_gradient"] = [bank.add(g) for seen in _unique(self.outputs) for g in seen.nonfinite]
        slots["late"] = [bank.add(share) for seen in _unique(self.outputs) for share in seen.late]
        slots["flat"] = [bank.add(value) for value in self.flat]
        first = next((seen for seen in self.inputs if seen.description), None)
        if first is not None:
            told = {"rms", "low", "high", "bad", "samples"} & first.description.keys()
            slots |= {f"input_{name}": [bank.add(first.description[name])] for name in told}
        slots["returned"] = [bank.add(g) for seen in _unique(self.inputs) for g in seen.gradients]
        slots["bad_return"] = [bank.add(g) for seen in _unique(self.inputs) for g in seen.nonfinite]
        slots["first_steps"], slots["last_steps"] = ([bank.add(g) for g in gradients] for gradients in self._ends())
        return slots

    def _ends(self) -> tuple[list[Tensor], list[Tensor]]:
        """Gradients at the first and the last quarter of the steps through time; empty where there are few."""
        if self.by_step:
            quarter = max(len(self.by_step[0]) // 4, 1)
            return [g[:quarter].max() for g in self.by_step], [g[-quarter:].max() for g in self.by_step]
        if self.calls < MANY:
            return [], []
        quarter = len(self.outputs) // 4
        first, last = self.outputs[:quarter], self.outputs[-quarter:]
        return [g for seen in first for g in seen.gradients], [g for seen in last for g in seen.gradients]

    def finish(self, bank: _Bank, slots: dict[str, list[int]]) -> ModulePass:
        combined = {
            name: _COMBINE.get(name, max)([bank[i] for i in indices]) for name, indices in slots.items() if indices
        }
        combined |= {"size": self.size, "positions": self.positions, "dropped": self.dropped}
        if "first_steps" in combined:
            combined["steps"] = len(self.by_step[0]) if self.by_step else self.calls
        return ModulePass(self.kind, self.order, self.calls, self.attached, self.fed, combined)


@dataclass(slots=True)
class _ParameterTrace:
    """What came to one parameter within a pass: its gradient, or contributions to it that could not be added up."""

    alone: bool
    """Whether the pass began with an empty ``.grad``, so that what is in it is this pass's own."""
    norms: list[Tensor] = field(default_factory=list)
    nonfinite: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    alive: Tensor | None = None
    tallies: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def clear(self) -> None:
        self.tallies.clear()
        self.norms.clear()
        self.nonfinite.clear()
        self.alive = None

    def add_alive(self, alive: Tensor) -> None:
        self.alive = alive if self.alive is None else self.alive | alive

    def bank(self, bank: _Bank) -> dict[str, list[int]]:
        return {
            "norm": [bank.add(value) for value in self.norms],
            "nan": [bank.add(nan) for nan, _ in self.nonfinite],
            "inf": [bank.add(inf) for _, inf in self.nonfinite],
        }

    def finish(self, bank: _Bank, slots: dict[str, list[int]]) -> ParameterPass:
        nan, inf = (int(max(bank[i] for i in slots[name])) for name in ("nan", "inf"))
        alive = None if self.alive is None else self.alive.cpu().numpy()
        tallies = tuple(Tally(counts.cpu().numpy(), *numbers.tolist()) for numbers, counts in self.tallies)
        return ParameterPass(_root_of_squares([bank[i] for i in slots["norm"]]), nan, inf, alive, tallies)


class _Bank:
    """Scalars on their devices, fetched in one transfer per device."""

    def __init__(self) -> None:
        self._scalars: list[Tensor] = []
        self._numbers: list[float] = []

    def add(self, scalar: Tensor) -> int:
        self._scalars.append(scalar)
        return len(self._scalars) - 1

    def collect(self) -> None:
        self._numbers = [0.0] * len(self._scalars)
        for device in {scalar.device for scalar in self._scalars}:
            indices = [i for i, scalar in enumerate(self._scalars) if scalar.device == device]
            if device.type == "cpu":
                for index in indices:
                    self._numbers[index] = float(self._scalars[index].item())
                continue
            stacked = torch.stack([self._scalars[i].reshape(()).to(statistics.wide(self._scalars[i])) for i in indices])
            for index, number in zip(indices, stacked.tolist(), strict=True):
                self._numbers[index] = number

    def __getitem__(self, index: int) -> float:
        return self._numbers[index]


def _unique(seen: list[Seen]) -> Iterator[Seen]:
    yield from dict.fromkeys(seen)


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version


def _root_of_squares(norms: list[float]) -> float:
    return math.hypot(*norms)


_COMBINE: dict[str, Callable[[list[float]], float]] = {
    "gradient": _root_of_squares,
    "returned": _root_of_squares,
    "bad_gradient": sum,
    "bad_return": sum,
    "input_low": min,
    "low": min,
}
