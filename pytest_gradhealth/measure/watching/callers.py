"""Who is calling, by the frames: the module that a part belongs to, and whether it is a call to be measured."""

from __future__ import annotations

import inspect
import sys
from types import FrameType
from typing import Any

import torch
from torch import nn

from pytest_gradhealth.measure import torch_private
from pytest_gradhealth.measure.passes.pause import is_paused
from pytest_gradhealth.measure.torch_private import counts_operations

__all__ = ["is_trained", "owner_of", "runs_forward", "unwrapped"]


def unwrapped(module: nn.Module) -> nn.Module:
    """The model itself, without what compiles it or spreads it over devices."""
    while True:
        inner = getattr(module, "_orig_mod", None)
        if inner is None and isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = module.module
        if not isinstance(inner, nn.Module):
            return module
        module = inner


def owner_of(model: nn.Module) -> tuple[nn.Module, bool]:
    """The module that a part belongs to, where one of its methods is calling; and whether that is ``forward``."""
    owner, whole = model, False
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        found = _self_of(frame)
        found = unwrapped(found) if isinstance(found, nn.Module) else None  # torch.compile's wrapper calls too
        if found is not None and (found is owner or any(part is owner for part in found.modules())):
            method = frame.f_code.co_name == "forward"
            owner, whole = found, method if found is not owner else whole or method
        frame = frame.f_back
    return owner, whole


def _self_of(frame: FrameType) -> Any:
    """The object whose method a frame runs."""
    code = frame.f_code
    if not (code.co_argcount and code.co_varnames[0] == "self" and code.co_flags & inspect.CO_OPTIMIZED):
        return None
    names = frame.f_locals
    found = names.get("self")
    if type(names) is dict and sys.getrefcount(names) <= 3:
        names.clear()  # until Python 3.13 a copy that the frame would keep, and with it what the test has deleted
    return found


def runs_forward() -> bool:
    """Whether a ``forward`` is running that nobody called through its module: of a module, or of a custom function."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        code = frame.f_code
        first = code.co_varnames[0] if code.co_name == "forward" and code.co_argcount else ""
        if first == "ctx" or (first and isinstance(_self_of(frame), nn.Module)):
            return True
        frame = frame.f_back
    return False


def is_trained(module: nn.Module) -> bool:
    """Whether a call from outside may be the beginning of a training pass that can be measured."""
    return (
        torch.is_grad_enabled()
        and not is_paused()
        and not torch_private.is_traced()
        and not counts_operations()  # or runs on fakes
        and not torch_private.inside_backward()  # computed anew by a checkpoint
        and not torch_private.inside_transform()
        and _has_trainable(module)
    )


def _has_trainable(module: nn.Module) -> bool:
    """As ``any(p.requires_grad for p in module.parameters())``, which is slow to begin."""
    if type(module).parameters is not nn.Module.parameters:  # as Keras's are
        return any(p.requires_grad and p.device.type != "meta" for p in module.parameters())
    waiting, seen = [module], {id(module)}
    while waiting:
        part = waiting.pop()
        if any(p is not None and p.requires_grad and p.device.type != "meta" for p in part._parameters.values()):
            return True
        children = [child for child in part._modules.values() if child is not None and id(child) not in seen]
        seen.update(map(id, children))
        waiting += reversed(children)
    return False
