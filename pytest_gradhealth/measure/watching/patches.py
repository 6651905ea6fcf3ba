"""Find the models that a test trains by itself, without changing a number.

While a watch is open, ``nn.Module.__call__`` and the start of the autograd engine are wrapped: a module called from
outside any other is a model, or a part of one. Global module hooks would tell the same, but torch.compile recompiles
for them and warns of them. Nothing is hooked on a module: a test may copy, pickle, script or inspect it at any time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.hooks import RemovableHandle

from pytest_gradhealth.errors import MeasurementError
from pytest_gradhealth.measure import torch_private
from pytest_gradhealth.measure.passes.pause import is_paused
from pytest_gradhealth.measure.torch_private import counts_operations, unseen
from pytest_gradhealth.measure.watching.callers import runs_forward
from pytest_gradhealth.measure.watching.own_calls import OwnCalls
from pytest_gradhealth.measure.watching.pipeline_steps import PipelineSteps
from pytest_gradhealth.measure.watching.quiet import OuterCall
from pytest_gradhealth.record import LossGraph

__all__ = ["Listener", "add", "has_own_call", "is_watching", "remove", "threads_in_calls"]

__tracebackhide__ = True


class Listener(Protocol):
    """Who is told while models train."""

    def begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> OuterCall | None:
        """A module is called from outside any other. None: nothing of this call is measured."""

    def could_not_begin(self, module: nn.Module, error: Exception) -> None:
        """A call that was not measured through a fault of ours."""

    def backward_begins(self, outputs: tuple[Any, ...], trains: bool) -> LossGraph | None:
        """The engine is about to run; what is read of the loss comes back with :meth:`backward_done`.

        ``trains`` is whether parameters are asked for: it was not ``autograd.grad`` of inputs alone.
        """

    def backward_done(self, outputs: tuple[Any, ...], objective: LossGraph | None) -> None:
        """It has run."""

    def mute(self, muted: bool) -> None:
        """Whether gradients that come are none of a loss."""

    def scaled(self, loss: Any, scaler: torch.amp.GradScaler) -> None:
        """A gradient scaler has made a loss larger."""

    def pipeline_begins(self, schedule: Any) -> None:
        """A step of a pipeline's schedule begins."""

    def pipeline_ended(self, schedule: Any, *, failed: bool) -> None:
        """It has ended, or raised."""

    def step_begins(self, optimiser: Optimizer) -> None:
        """An optimiser is about to make a step."""

    def step_ended(self, optimiser: Optimizer) -> None:
        """An optimiser has made a step."""


LATE = (
    "torch.distributed.pipelining was imported after the watch had begun, so that this step of a pipeline is not "
    "measured; import it at the top of the module"
)


class _Here(threading.local):
    outer: OuterCall | None = None
    """The outermost call, where it is measured."""


_here = _Here()
_inside: set[int] = set()
"""Threads in which a module is being called."""
_active: list[Listener] = []
"""They may be nested: what the inner one sees is not the outer one's."""


def add(listener: Listener) -> None:
    """Tell a listener of every call and every backward from now on."""
    if not _active:
        _patch()
    _active.append(listener)


def remove(listener: Listener) -> None:
    """Tell it no more; it may have been removed before."""
    if listener in _active:
        _active.remove(listener)
    if not _active:
        _unpatch()


def is_watching() -> bool:
    """Whether a watch is open."""
    return bool(_active)


def threads_in_calls() -> frozenset[int]:
    """Threads in which a module is being called."""
    return frozenset(_inside)


def has_own_call(model: nn.Module) -> bool:
    """Whether the modules of a model are called past the ``__call__`` of ``nn.Module``."""
    return _own_calls.covers(model)


def _called(module: nn.Module, /, *args: Any, **kwargs: Any) -> Any:
    """Stands in for ``nn.Module.__call__``."""
    __tracebackhide__ = True
    return _called_by(_module_call, module, args, kwargs)


def _called_by(call: Callable[..., Any], module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    __tracebackhide__ = True
    if torch.compiler.is_compiling():
        return call(module, *args, **kwargs)
    if threading.get_ident() not in _inside:
        return _called_from_outside(call, module, args, kwargs)
    output = call(module, *args, **kwargs)
    if _here.outer is not None:
        _here.outer.inner_returned(module, args, kwargs, output)
    return output


def _called_from_outside(
    call: Callable[..., Any], module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    __tracebackhide__ = True
    here = threading.get_ident()
    try:
        _inside.add(here)
        _here.outer = outer = _begun(module, args, kwargs)
        output = call(module, *args, **kwargs)
        if outer is not None:
            outer.returned(module, args, kwargs, output)
        return output
    finally:
        _here.outer = None
        _inside.discard(here)


def _begun(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> OuterCall | None:
    try:
        if _active and _pipeline_steps.is_in_missed_step():
            raise MeasurementError(LATE)
        with unseen():
            return _active[-1].begin(module, args, kwargs) if _active else None
    except Exception as error:  # a module or arguments of a kind not thought of: the test goes on, and is told
        _active[-1].could_not_begin(module, error)
        return None


def _ran_backward(outputs: Any, *args: Any, **kwargs: Any) -> Any:
    """Stands in for what ``backward`` and ``grad`` call, so that early imports of them are seen too."""
    __tracebackhide__ = True
    nested = torch_private.inside_backward()  # reentrant checkpoints run one inside another
    if nested or is_paused() or torch.compiler.is_compiling() or not _active:
        return _engine_run(outputs, *args, **kwargs)
    listeners = list(_active)
    if not kwargs.get("accumulate_grad") and (
        threading.get_ident() in _inside or runs_forward()
    ):  # a model's own derivative
        return _unheard(listeners, outputs, args, kwargs)
    given = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
    with unseen():
        trains = bool(kwargs.get("accumulate_grad")) or _asks_for_parameters(args)
        objectives = [listener.backward_begins(given, trains) for listener in listeners]
    result = _engine_run(outputs, *args, **kwargs)
    with unseen():
        for listener, objective in zip(listeners, objectives, strict=True):
            listener.backward_done(given, objective)
    return result


def _asks_for_parameters(args: tuple[Any, ...]) -> bool:
    """Whether ``autograd.grad`` was given any: its inputs stand behind gradients and two switches."""
    return any(isinstance(wanted, nn.Parameter) for wanted in args[3]) if len(args) > 3 else True


def _unheard(listeners: list[Listener], outputs: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run the engine while no gradient that comes is noted."""
    __tracebackhide__ = True
    for listener in listeners:
        listener.mute(True)
    try:
        return _engine_run(outputs, *args, **kwargs)
    finally:
        for listener in listeners:
            listener.mute(False)


def _stepping(optimiser: Optimizer, args: Any, kwargs: Any) -> None:
    """Called in front of every optimiser's step."""
    if not torch.compiler.is_compiling() and not is_paused():
        for listener in _active:
            listener.step_begins(optimiser)


def _stepped(optimiser: Optimizer, args: Any, kwargs: Any) -> None:
    """Called behind every optimiser's step."""
    if not torch.compiler.is_compiling() and not is_paused():
        for listener in _active:
            listener.step_ended(optimiser)


def _in_pipeline(step: Callable[..., Any], schedule: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a step of a pipeline's schedule, which is one pass of all its stages."""
    __tracebackhide__ = True
    listeners = _active[-1:] if torch.is_grad_enabled() and not is_paused() and not counts_operations() else []
    for listener in listeners:
        listener.pipeline_begins(schedule)
    failed = True
    try:
        result = step(schedule, *args, **kwargs)
        failed = False
    finally:
        if failed:
            for listener in listeners:
                listener.pipeline_ended(schedule, failed=True)
    with unseen():
        for listener in listeners:
            listener.pipeline_ended(schedule, failed=False)
    return result


def _scaled(scaler: torch.amp.GradScaler, outputs: Any) -> Any:
    """Stands in for ``GradScaler.scale``."""
    __tracebackhide__ = True
    result = _scale(scaler, outputs)
    if _active and scaler.is_enabled():
        _active[-1].scaled(result, scaler)
    return result


_PATCHES: tuple[tuple[Any, str, Callable[..., Any]], ...] = (
    (nn.Module, "__call__", _called),
    (torch.autograd, torch_private.ENGINE, _ran_backward),
    (torch.amp.GradScaler, "scale", _scaled),
)
_own_calls = OwnCalls(_called_by)
_pipeline_steps = PipelineSteps(_in_pipeline)
_handles: list[RemovableHandle] = []
_module_call: Callable[..., Any] = nn.Module.__call__
_engine_run: Callable[..., Any] = getattr(torch.autograd, torch_private.ENGINE, lambda *args, **kwargs: None)
_scale: Callable[..., Any] = torch.amp.GradScaler.scale


def _patch() -> None:
    """Take what is there now: others may have put their own in place."""
    global _module_call, _engine_run, _scale
    before = (_module_call, _engine_run, _scale)
    found = [getattr(owner, name) for owner, name, _ in _PATCHES]
    # A test's monkeypatch, undone behind our back, puts ours in place again.
    _module_call, _engine_run, _scale = (
        old if new is ours else new for old, new, (_, _, ours) in zip(before, found, _PATCHES, strict=True)
    )
    for owner, name, ours in _PATCHES:
        setattr(owner, name, ours)
    _own_calls.wrap()
    _pipeline_steps.wrap()
    _handles[:] = register_optimizer_step_pre_hook(_stepping), register_optimizer_step_post_hook(_stepped)


def _unpatch() -> None:
    """What a test has put over ours stays; ours does nothing while no watch is open."""
    for (owner, name, ours), original in zip(_PATCHES, (_module_call, _engine_run, _scale), strict=True):
        if getattr(owner, name) is ours:
            setattr(owner, name, original)
    _own_calls.unwrap()
    _pipeline_steps.unwrap()
    for handle in _handles:
        handle.remove()
    _handles.clear()


_BEHIND: tuple[Any, ...] = (_begun, OuterCall.inner_returned, OuterCall.returned)
_CALLS: tuple[Any, ...] = (_called, _called_by, _called_from_outside)
_WRAPPERS: tuple[Any, ...] = (*_CALLS, _ran_backward, _unheard, _scaled, _stepping, _stepped)
for _function in _WRAPPERS + _BEHIND:
    torch_private.hide_from_dynamo(_function.__code__, callees=_function in _BEHIND)
