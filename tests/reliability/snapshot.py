"""All that there is to know about a model, and about the process, as values that are equal only where it is the same."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import threading
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as tables
from torch.optim import optimizer as optimisers


def of_model(model: nn.Module) -> dict[str, Any]:
    return {name or "(model)": _of_module(module) for name, module in model.named_modules(remove_duplicate=False)}


def of_optimiser(optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    return {name: of(value) for name, value in vars(optimiser).items()}


def of_process() -> dict[str, Any]:
    name, keys, *rest = np.random.get_state()
    return {
        "python's generator": random.getstate(),
        "numpy's generator": (name, keys.tolist(), rest),
        "torch's generator": _bits(torch.get_rng_state()),
        "default dtype": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
        "grad mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu"), torch.is_autocast_cache_enabled()),
        "anomaly detection": torch.is_anomaly_enabled(),
        "deterministic": (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()),
        "filled when deterministic": torch.utils.deterministic.fill_uninitialized_memory,
        "debug mode": torch.get_deterministic_debug_mode(),
        "precision": torch.get_float32_matmul_precision(),
        "cudnn": [getattr(torch.backends.cudnn, name) for name in ("enabled", "benchmark", "deterministic", "allow_tf32")],
        "onednn and nnpack": (torch.backends.mkldnn.enabled, torch.backends.nnpack.is_available()),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "python's threads": threading.active_count(),
        "warning filters": list(warnings.filters),
        "what shows warnings": (warnings.showwarning, warnings.formatwarning),
        "hooks of saved tensors": torch._C._autograd._top_saved_tensors_default_hooks(False),
        "numpy errors": np.geterr(),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "signal handlers": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "what is replaced": (nn.Module.__call__, nn.Module.__setattr__, torch.autograd._engine_run_backward, torch.amp.GradScaler.scale),
        "global hooks": {k: dict(v) for k, v in vars(tables).items() if k.startswith("_global") and isinstance(v, dict)},
        "global optimiser hooks": {k: dict(v) for k, v in vars(optimisers).items() if k.startswith("_global") and isinstance(v, dict)},
    }  # fmt: skip


def differences(found: Any, expected: Any, where: str = "") -> list[str]:
    """Where two snapshots differ; empty: nowhere."""
    if isinstance(found, dict) and isinstance(expected, dict):
        keys = [*expected, *(key for key in found if key not in expected)]
        return [d for k in keys for d in differences(found.get(k, "absent"), expected.get(k, "absent"), f"{where}/{k}")]
    return [] if found == expected else [f"{where}: {found!r} was {expected!r}"]


def of(value: Any, inside: frozenset[int] = frozenset()) -> Any:
    """A value with all that is in it; objects of other classes by their identity."""
    if id(value) in inside:
        return "itself"
    inside |= {id(value)}
    if isinstance(value, Tensor):
        return _of_tensor(value)
    if isinstance(value, torch.Generator):
        return (id(value), _bits(value.get_state()))
    if isinstance(value, np.random.Generator):
        return (id(value), repr(value.bit_generator.state))
    if isinstance(value, random.Random):
        return (id(value), value.getstate())
    if isinstance(value, Mapping):
        return (id(value), type(value), [(_key(key), of(item, inside)) for key, item in value.items()])
    if isinstance(value, list | tuple) or type(value).__name__ in ("set", "deque"):
        return (id(value), type(value), [of(item, inside) for item in value])
    return value if isinstance(value, int | float | str | bool | None) else (id(value), type(value))


def _of_module(module: nn.Module) -> dict[str, Any]:
    kinds = type(module).__mro__
    told = {name: of(value) for name, value in vars(module).items()}
    slots = (name for kind in kinds for name in vars(kind).get("__slots__", ()))
    classes = {kind: [(name, id(value)) for name, value in vars(kind).items()] for kind in kinds}
    return {"classes": classes, **told, **{f"slot {name}": of(getattr(module, name, None)) for name in slots}}


def _of_tensor(tensor: Tensor) -> tuple[Any, ...]:
    place = tensor.data_ptr() if tensor.layout == torch.strided else 0
    version = None if tensor.is_inference() else tensor._version
    own = (id(tensor), type(tensor), place, version, tensor.device, tensor.requires_grad, _bits(tensor))
    hooks = [(id(table), dict(table)) if table is not None else None for table in (tensor._backward_hooks, tensor._post_accumulate_grad_hooks)]  # fmt: skip
    gradient = tensor.grad if tensor.is_leaf else None
    return (*own, hooks, None if gradient is None else _of_tensor(gradient))


def _key(key: Any) -> Any:
    return id(key) if isinstance(key, Tensor | nn.Module) else key


def _bits(tensor: Tensor) -> str:
    """A digest of the values, NaN and signed zeros included."""
    if tensor.layout != torch.strided:
        whole = tensor.detach().coalesce()
        return _bits(whole.indices()) + _bits(whole.values())
    values = tensor.detach().contiguous().reshape(-1)
    raw = values.view(torch.uint8) if values.numel() else values
    return hashlib.sha256(raw.numpy().tobytes() + repr((tensor.shape, tensor.dtype)).encode()).hexdigest()[:16]
