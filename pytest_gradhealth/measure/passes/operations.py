"""Find the operations that can stop a gradient, and the line of the user's code that calls them.

A module hook cannot see ``x.detach()`` or ``torch.round(x)``; a function mode sees every call on a tensor. It slows a
pass down several times, so it runs only where something was found.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

import torch
import torch.utils.checkpoint
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from pytest_gradhealth.measure.passes import singular, statistics
from pytest_gradhealth.measure.passes.nesting import floating, is_partial, map_leaves, tensors
from pytest_gradhealth.measure.passes.source import TORCH, caller, forwards, frames
from pytest_gradhealth.measure.torch_private import inside_transform, unseen, unwrapped
from pytest_gradhealth.record import STEPS, Operation

__all__ = ["OperationTrace"]

CLAMPS = frozenset({"clamp", "clip", "clamp_min", "clamp_max", "hardtanh", "relu6", "hardsigmoid", "relu", "threshold"})
BUDGET = 500_000
"""Nodes of graphs that are walked afresh for each cut, about half a second."""
DONORS = frozenset({"expand_as", "type_as", "view_as", "reshape_as", "new"})
"""Operations that take a shape or a type from a tensor with a graph, and none of its values; so do all ``new_``
and ``_like``."""
ERASING = frozenset({"mul", "masked_fill", "where"})
SATURATING = frozenset({"sigmoid", "tanh", "softmax"})
CHECKPOINT = torch.utils.checkpoint.__file__
DISTRIBUTIONS = os.path.dirname(torch.distributions.__file__)
NOT_VALUES = frozenset(
    {"size", "dim", "stride", "numel", "data_ptr", "__len__", "is_floating_point", "storage_offset", "grad"}
)
"""Questions about a tensor that give no tensor and are no loss to the graph."""


class OperationTrace(TorchFunctionMode):
    """A context that notes operations while the model runs forward."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._names = {module: name for name, module in model.named_modules()}
        self._owners = {id(p): name for module, name in self._names.items() for p in module.parameters(recurse=False)}
        self._shared: set[Any] = set()
        self._budget = BUDGET
        self._begun: dict[str, int] = {}
        self._active: list[str] = []
        self._ungraphed = False
        """Whether the module called last was called under ``no_grad``."""
        self._handles: list[RemovableHandle] = []
        self.operations: list[Operation] = []

    def __enter__(self) -> OperationTrace:
        for module, name in self._names.items():
            self._handles.append(module.register_forward_pre_hook(self._entering(name)))
            self._handles.append(module.register_forward_hook(self._leaving))
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        for handle in self._handles:
            handle.remove()

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        name = _name_of(function) if torch.is_grad_enabled() else _ungraphed_by()
        if name not in NOT_VALUES and not any(map(is_partial, tensors((args, result)))):
            with unseen(), torch.no_grad():
                self._note(name, *(_outside((args, result)) if inside_transform() else (args, result)))
        return result

    def _note(self, name: str, args: tuple[Any, ...], result: Any) -> None:
        first = args[0] if args and isinstance(args[0], Tensor) else None
        detaches = _detaches(name, args, result)
        zero_slope = 0.0 if detaches or first is None else _zero_slope(name, first, result)
        facts = {
            "zero_slope": zero_slope,
            "constant": None if detaches else _constant(name, args, result),
            "nonfinite": singular.count_made(name, args, result),
            "infinite_slope": singular.count_steep(name, args, result),
        }
        if any(facts.values()) or facts["constant"] is not None or detaches or name.rstrip("_") in SATURATING:
            traced = detaches or facts["nonfinite"]
            self._add(name, self._behind(args) if traced else (), detaches=detaches, **facts)

    def _add(self, name: str, behind: Iterable[str], **facts: Any) -> None:
        """An operation at this place of the forward pass."""
        where, installed = caller()
        self.operations.append(
            Operation(
                name=name,
                order=len(self._begun) - 1,
                module=self._active[-1] if self._active else "",
                where=where,
                installed=installed,
                upstream=tuple(dict.fromkeys(behind)),
                **facts,
            )
        )

    def _behind(self, given: Any) -> Iterable[str]:
        """Owners of the parameters in the graphs of tensors; once much has been walked, no graph is walked twice."""
        tensors = floating(given)
        yield from (self._owners[id(tensor)] for tensor in tensors if id(tensor) in self._owners)
        waiting = [tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None]
        walked = set() if self._budget > 0 else self._shared
        while waiting:
            node = waiting.pop()
            if node in walked:
                continue
            walked.add(node)
            self._budget -= 1
            owner = self._owners.get(id(getattr(node, "variable", None)))
            if owner is not None:
                yield owner
            waiting += [following for following, _ in node.next_functions if following is not None]

    def _entering(self, name: str) -> Callable[..., None]:
        def enter(module: nn.Module, args: Any) -> None:
            ungraphed = not torch.is_grad_enabled()
            if ungraphed and not self._ungraphed:  # what counts is who calls it, not the library's lines inside
                self._add(
                    _ungraphed_by(),
                    (self._owners[id(p)] for p in module.parameters() if p.requires_grad),
                    detaches=True,
                )
            self._ungraphed = ungraphed
            self._begun.setdefault(name, len(self._begun))
            self._active.append(name)

        return enter

    def _leaving(self, module: nn.Module, args: Any, output: Any) -> None:
        if self._active:
            self._active.pop()


def _outside(nested: Any) -> Any:
    """What transforms of ``torch.func`` work on, in place of what the code inside them is given."""
    return map_leaves(nested, lambda leaf: unwrapped(leaf) if isinstance(leaf, Tensor) else leaf)


def _detaches(name: str, args: tuple[Any, ...], result: Any) -> bool:
    """Whether values went on without their graph; masks and shapes are not values."""
    if not any(tensor.requires_grad for tensor in floating(args)):
        return False
    if name in ("item", "tolist", "numpy", "__array__"):
        return True
    if name in DONORS or name.startswith("new_") or name.endswith("_like"):
        return False
    results = [tensor for tensor in tensors(result) if tensor.dtype != torch.bool]
    return bool(results) and not any(_carries_on(tensor, args) for tensor in results)


def _carries_on(result: Tensor, args: tuple[Any, ...]) -> bool:
    """A result that asks for a gradient of its own, but has no history, begins a new graph."""
    return result.requires_grad and (result.grad_fn is not None or any(result is given for given in floating(args)))


def _zero_slope(name: str, given: Tensor, result: Any) -> float:
    if not isinstance(result, Tensor) or not result.numel():
        return 0.0
    base = name.rstrip("_")
    if name in STEPS or base in STEPS:
        return 1.0
    if base in CLAMPS and given.shape == result.shape and base != name:
        return _share(result.eq(result.min()) | result.eq(result.max()))
    if base in CLAMPS and given.shape == result.shape:
        return _share(
            given.ne(result) | (result.eq(0) if base == "relu" else torch.zeros_like(result, dtype=torch.bool))
        )
    flat = statistics.flat_share(base.title(), result) if base in SATURATING else None
    return 0.0 if flat is None else float(flat)


def _constant(name: str, args: tuple[Any, ...], result: Any) -> float | None:
    """0 where all of a tensor is masked or multiplied away, 1 where a softmax has a single place to choose."""
    if not isinstance(result, Tensor) or not result.requires_grad or not result.numel():
        return None
    base = name.rstrip("_")
    if base == "softmax":
        return 1.0 if bool(result.eq(1).all()) else None
    erased = base in ERASING and not result.any() and any(bool(t.any()) for t in floating(args) if t.requires_grad)
    return 0.0 if erased else None


def _share(mask: Tensor) -> float:
    return float(mask.float().mean())


def _ungraphed_by() -> str:
    """``no_grad``, or who asks for it: ``Distribution.sample``, reentrant ``checkpoint``, a function's own backward."""
    running = list(frames())
    own = next((name for frame, context in forwards() if (name := _function_of(frame, context))), "")
    if own:
        return f"{own}.backward"
    if any(frame.f_code.co_name == "sample" and _is_torchs(frame) for frame in running):
        return "sample"
    return "checkpoint" if any(frame.f_code.co_filename == CHECKPOINT for frame in running) else "no_grad"


def _function_of(frame: FrameType, context: Any) -> str:
    """The ``torch.autograd.Function`` whose forward runs here, without a graph as any; empty: it is no such frame."""
    kind = getattr(context, "_forward_cls", None) if isinstance(context, FunctionCtx) else None
    return "" if kind is None or _is_torchs_own(frame) else str(kind.__name__)


def _is_torchs_own(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(TORCH)


def _is_torchs(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(DISTRIBUTIONS)


def _name_of(function: Any) -> str:
    name = str(getattr(function, "__name__", function))
    owner = getattr(function, "__self__", None)
    return str(getattr(owner, "__name__", name)) if name == "__get__" else name
