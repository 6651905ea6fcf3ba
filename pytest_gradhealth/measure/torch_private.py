"""Every private name of torch that this package uses, each with what takes its place in a torch that lacks it.

Private names come and go between versions. They are looked up here, once, so that a new torch breaks one file, and
``MISSING`` says what it broke.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import reduce
from types import CodeType, FrameType
from typing import Any, ParamSpec, TypeVar

import torch
import torch.fx
from torch import Tensor, nn

__all__ = [
    "ENGINE",
    "MISSING",
    "NAMES",
    "copy_on_write",
    "counts_operations",
    "eager",
    "hide_from_dynamo",
    "inside_backward",
    "inside_transform",
    "is_batched",
    "is_compiled",
    "is_traced",
    "is_unwritten",
    "is_wrapped",
    "place_of_shard",
    "saved_dimension",
    "set_version",
    "stages_of",
    "unseen",
    "unwrapped",
    "why_nothing_can_be_watched",
    "without_graph",
]

P = ParamSpec("P")
T = TypeVar("T")

NAMES: list[str] = []
"""Every name that is looked up; of several for one thing, the newest torch's."""
WORD = 1 << 64
"""Torch saves a dimension that was counted from the end as an unsigned number."""
MISSING: list[str] = []
"""Those that this torch lacks, so that a fallback takes their place."""


def _private(fallback: Any, *paths: str) -> Any:
    """The first of some names in torch that exists; the fallback where none does."""
    NAMES.append(f"torch.{paths[0]}")
    for path in paths:
        try:
            return reduce(getattr, path.split("."), torch)
        except AttributeError:
            continue
    MISSING.append(NAMES[-1])
    return fallback


_disabled: Callable[[], AbstractContextManager[Any]] = _private(nullcontext, "_C.DisableTorchFunction")
_modes: Callable[[], int] = _private(lambda: 0, "_C._len_torch_dispatch_stack")
_is_profiled: Callable[[], bool] = _private(lambda: False, "_C._autograd._profiler_enabled")
_is_jit_traced: Callable[[], bool] = _private(lambda: False, "_C._is_tracing")
_is_fx_traced: Callable[[], bool] = _private(
    lambda: False, "fx._symbolic_trace.is_fx_symbolic_tracing", "fx._symbolic_trace.is_fx_tracing"
)
_graph_task: Callable[[], int] = _private(lambda: -1, "_C._current_graph_task_id")
_transform: Callable[[], Any] = _private(lambda: None, "_C._functorch.peek_interpreter_stack")
_is_wrapped: Callable[[Tensor], bool] = _private(lambda tensor: False, "_C._functorch.is_functorch_wrapped_tensor")
_content: Callable[[Tensor], Tensor] = _private(lambda tensor: tensor, "_C._functorch.get_unwrapped")
_keys: Callable[[Tensor], Any] = _private(lambda tensor: frozenset(), "_C._dispatch_keys")
_key: Callable[[str], Any] = _private(str, "_C._dispatch_key_parse")
_lazy_clone: Callable[[Tensor], Tensor] | None = _private(None, "_lazy_clone")
_owners: Callable[[int], int] | None = _private(None, "_C._storage_Use_Count")
_is_lazy: Callable[[Tensor], bool] | None = _private(None, "_C._is_cow_tensor")
_set_versions: Callable[[Any, Any], None] | None = _private(None, "_C._autograd._unsafe_set_version_counter")
_set_grad_enabled: Callable[[bool], Any] = _private(torch.set_grad_enabled, "_C._set_grad_enabled")
_frames: Any = _private(None, "_C._dynamo.eval_frame")
_private(None, "nn.Module._compiled_call_impl")

ENGINE = "_engine_run_backward"
"""What ``backward`` and ``grad`` of ``torch.autograd`` call there; a watch takes its place."""
_private(None, f"autograd.{ENGINE}")


def why_nothing_can_be_watched() -> str:
    """Why a test that trains by itself cannot be watched with this torch; empty: it can."""
    lost = [name for name in MISSING if name.endswith(ENGINE)]
    if not lost:
        return ""
    return (
        f"torch {torch.__version__} has no {lost[0]}, so that a watch would see no backward pass; "
        "use gradhealth.check(model, batches, loss=...), or another version of torch"
    )


def unseen() -> AbstractContextManager[Any]:
    """A context whose operations no ``__torch_function__`` sees."""
    return _disabled()


def counts_operations() -> bool:
    """Whether a test looks at every operation, and would see ours."""
    return bool(_modes() or _is_profiled())


def is_traced() -> bool:
    """Whether the forward pass is run to be recorded, by ``torch.jit.trace``, ``torch.fx`` or ``torch.export``."""
    return bool(_is_jit_traced() or _is_fx_traced()) or _is_exported()


def _is_exported() -> bool:
    """Read off the calling code, as before torch 2.7 nothing else tells."""
    exporting = getattr(sys.modules.get("torch.export._trace"), "__file__", None)
    frame: FrameType | None = sys._getframe(1) if exporting else None
    while frame is not None and frame.f_code.co_filename != exporting:
        frame = frame.f_back
    return frame is not None


def inside_backward() -> bool:
    """Whether this thread runs a backward pass; a checkpoint computes forward passes anew in one."""
    return _graph_task() != -1


def inside_transform() -> bool:
    """Whether this is a call inside ``torch.vmap`` or another transform of ``torch.func``."""
    return _transform() is not None


def is_wrapped(tensor: Tensor) -> bool:
    """Whether a transform of ``torch.func`` has put something around a tensor, which hides its values."""
    return bool(_is_wrapped(tensor))


def unwrapped(tensor: Tensor) -> Tensor:
    """The tensor itself, all samples of ``torch.vmap`` in it, as autograd outside the transforms knows it."""
    while _is_wrapped(tensor):
        inner = _content(tensor)
        if inner is tensor:
            break
        tensor = inner
    return tensor


def place_of_shard(tensor: Any) -> tuple[int, ...]:
    """Where the part of a ``DTensor`` that this process holds begins in the whole, one number for each dimension."""
    try:
        from torch.distributed.tensor._utils import compute_local_shape_and_global_offset
    except ImportError:
        return _place_of_chunk(tensor)
    return tuple(compute_local_shape_and_global_offset(tensor.shape, tensor.device_mesh, tensor.placements)[1])


def _place_of_chunk(tensor: Any) -> tuple[int, ...]:
    """The same where each dimension of the mesh cuts what the one before has left, as in ``torch.chunk``."""
    start, size = [0] * tensor.ndim, list(tensor.shape)
    for axis, placement in enumerate(tensor.placements):
        if placement.is_shard():
            dim, parts = placement.dim, tensor.device_mesh.size(axis)
            chunk = -(-size[dim] // parts)
            first = min(chunk * tensor.device_mesh.get_local_rank(axis), size[dim])
            start[dim], size[dim] = start[dim] + first, min(chunk, size[dim] - first)
    return tuple(start)


_BATCHED: Any = _key("Batched")


def stages_of(schedule: Any) -> list[Any]:
    """The stages that this process holds of a pipeline's schedule.

    Raises:
        AttributeError: this torch keeps them elsewhere.
    """
    return list(schedule._stages) if hasattr(schedule, "_stages") else [schedule._stage]


def is_batched(tensor: Tensor) -> bool:
    """Whether a tensor stands for many at once: several gradients computed together (``is_grads_batched``)."""
    keys = _keys(tensor)
    return bool(keys.has(_BATCHED)) if hasattr(keys, "has") else False


def eager() -> AbstractContextManager[Any]:
    """A context in which nothing that ``torch.compile`` has made is used, so that hooks see each module."""
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


def is_compiled(module: nn.Module) -> bool:
    """Whether torch compiles what a module does, so that its parts are not called one by one."""
    inner = getattr(module, "_orig_mod", None)
    return isinstance(inner, nn.Module) or getattr(module, "_compiled_call_impl", None) is not None


_lone = torch.empty(1)
_alone = 0 if _owners is None else _owners(_lone.untyped_storage()._cdata)
"""Owners of a memory that only one tensor looks at: from torch 2.7 on who asks is one too."""


def copy_on_write(tensor: Tensor) -> Tensor | None:
    """A copy that takes no memory until something writes to the tensor; None: there is none that is safe.

    A write moves the tensor elsewhere, and the copy keeps its memory. What else looks at that memory (a view, a NumPy
    array, another process) would not be moved with it, so there must be nothing else.
    """
    if _lazy_clone is None or _owners is None or _is_lazy is None:
        return None
    try:
        alone = _owners(tensor.untyped_storage()._cdata) == _alone
        return _lazy_clone(tensor.detach()) if alone else None
    except RuntimeError:  # memory that torch did not allocate
        return None


def is_unwritten(tensor: Tensor) -> bool:
    """Whether nothing has written to a tensor since :func:`copy_on_write`."""
    return _is_lazy is not None and bool(_is_lazy(tensor))


def without_graph(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function as under ``torch.no_grad()``, whose exit is a function that a signal can keep from running."""
    before = torch.is_grad_enabled()
    _set_grad_enabled(False)
    try:
        return function(*args, **kwargs)
    finally:
        _set_grad_enabled(before)


def set_version(tensor: Tensor, version: int) -> None:
    """Count a tensor's writes from ``version`` on: what it holds is again what it held then.

    A graph that was built before can be sent back only while its tensors are at the version that it saw.
    """
    if _set_versions is None:
        return
    try:
        _set_versions((tensor,), (version,))
    except TypeError:  # before torch 2.7 one tensor at a time
        _set_versions(tensor, version)


def hide_from_dynamo(code: CodeType, *, callees: bool) -> None:
    """Let torch.compile neither compile a function of ours nor count it; with ``callees`` neither what it calls."""
    actions, strategy = getattr(_frames, "_FrameAction", None), getattr(_frames, "_FrameExecStrategy", None)
    if actions is not None and strategy is not None:
        _frames.set_code_exec_strategy(code, strategy(actions.SKIP, actions.SKIP if callees else actions.DEFAULT))
    elif hasattr(_frames, "skip_code"):  # before torch 2.8
        _frames.skip_code(code)


def saved_dimension(node: Any, dimensions: int) -> int:
    """The dimension that a softmax runs over, of a tensor with so many."""
    saved = int(node._saved_dim)
    return (saved - WORD if saved >= WORD // 2 else saved) % dimensions
