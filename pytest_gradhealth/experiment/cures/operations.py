"""Operations between the layers that do something else, or nothing."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pytest_gradhealth.experiment.calls import Call, Rewrite, is_in_module, rewrite
from pytest_gradhealth.experiment.cures.cure import SIZES, Cure
from pytest_gradhealth.experiment.subject import Subject
from pytest_gradhealth.measure.passes.nesting import map_leaves
from pytest_gradhealth.measure.passes.source import caller
from pytest_gradhealth.record import STEPS, Check, short_place

__all__ = ["ERASING", "HARD", "NON_FINITE", "REGISTERED", "cuts"]

CALLS = frozenset({"detach", "data"})
SEVERAL = 3
"""Places at which a detach is taken out, each by itself."""
EPS = 1e-6
LARGEST = 20.0
"""What an exponential is given at most."""
CONSTANT = 100.0
"""A constant factor beyond it, or below its inverse, may be a mistake."""
REACH_FOR_NOTHING = frozenset({"missing", "dead", "weak", "vanishing"})


# --- cuts ----------------------------------------------------------------------------------------


def cuts(check: Check) -> Iterator[Cure]:
    """One for each place where the trace saw values go on without their graph; the nearest to the culprit first."""
    culprit = check.findings[0].layer
    found = [o for o in check.record.operations if o.detaches and o.where]
    found.sort(key=lambda operation: culprit not in operation.upstream)
    blocks = [o.where for o in found if o.name == "no_grad"]
    calls = list(dict.fromkeys((o.name, o.where) for o in found if o.name != "no_grad"))
    if blocks:
        yield _taken_out(f"no_grad at {short_place(blocks[0])}", frozenset({"set_grad_enabled"}), "")
    for name, where in calls[:SEVERAL]:
        yield _taken_out(f"{'.data' if name == 'data' else f'{name}()'} at {short_place(where)}", CALLS, where)
    if len(calls) + bool(blocks) > 1:
        yield _taken_out("every detach(), .data and no_grad", CALLS | {"set_grad_enabled"}, "")


def _taken_out(what: str, names: frozenset[str], where: str) -> Cure:
    return Cure(
        name=f"{what} taken out",
        sentence=f"take out {what}",
        cause=what,
        kinds=REACH_FOR_NOTHING,
        apply=functools.partial(_attached, names, where),
    )


def _attached(names: frozenset[str], where: str, subject: Subject) -> bool:
    def change(name: str, function: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if where and caller()[0] != where:
            return NotImplemented
        if name == "set_grad_enabled":
            return NotImplemented if args[0] else None
        return args[0] if _graphed(args[0]) else NotImplemented

    rewrite(subject, names, lambda: change)
    return True


# --- slopes of zero ------------------------------------------------------------------------------


def straight_through(subject: Subject) -> bool:
    """Steps that pass the gradient on as if they were not there (Bengio et al., 2013)."""
    seen = [False]

    def change(name: str, function: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        x = args[0]
        if not isinstance(x, Tensor) or not x.requires_grad:
            return NotImplemented
        seen[0] = True
        return x + (function(*args, **kwargs) - x).detach()

    return _seen_in(subject, STEPS, change, seen)


def unclamped(subject: Subject) -> bool:
    """Values that no clamp cuts off."""
    return _without(subject, frozenset({"clamp", "clip", "clamp_min", "clamp_max", "hardtanh", "threshold"}))


def undropped(subject: Subject) -> bool:
    """Dropouts that drop nothing."""
    dropouts = frozenset({"dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"})
    return _without(subject, dropouts)


def unmasked(subject: Subject) -> bool:
    """Attention and sums that no mask closes."""
    seen = [False]

    def change(name: str, function: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        seen[0] = True
        if name in ("masked_fill", "where"):
            kept = args[0] if name == "masked_fill" else next((a for a in args[1:] if _graphed(a)), None)
            return kept if _graphed(kept) else NotImplemented
        return _call_without(function, args, kwargs, ("attn_mask", "key_padding_mask"))

    names = frozenset({"masked_fill", "where", "scaled_dot_product_attention", "multi_head_attention_forward"})
    return _seen_in(subject, names, change, seen)


def unscaled(subject: Subject) -> bool:
    """Products and quotients without constants that are far from one.

    A term of a loss that is multiplied by zero is switched off: letting it in would be another objective.
    """
    seen = [False]

    def change(name: str, function: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if len(args) < 2:
            return NotImplemented
        x, factor = args[:2] if _graphed(args[0]) else (args[1], args[0])
        if not _graphed(x) or not _is_odd(factor) or (_is_zero(factor) and not is_in_module()):
            return NotImplemented
        seen[0] = True
        return x.clone()

    return _seen_in(
        subject, frozenset({"mul", "__mul__", "__rmul__", "div", "__truediv__", "true_divide"}), change, seen
    )


def _is_odd(factor: Any) -> bool:
    """Whether it is a constant, all of one size, beyond what a signal is scaled by."""
    if isinstance(factor, Tensor):
        if factor.requires_grad or not factor.numel() or factor.is_complex():
            return False
        sizes = factor.detach().abs().float()
        low, high = float(sizes.min()), float(sizes.max())
        return high == 0 or (low == high and not 1 / CONSTANT < high < CONSTANT)
    return isinstance(factor, int | float) and not 1 / CONSTANT < abs(factor) < CONSTANT


def _is_zero(factor: Any) -> bool:
    return not factor.any() if isinstance(factor, Tensor) else factor == 0


def _graphed(value: Any) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


def _without(subject: Subject, names: frozenset[str]) -> bool:
    """Functions that hand on what they are given."""
    seen = [False]

    def change(name: str, function: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = args[0] if args else kwargs.get("input")
        if not isinstance(given, Tensor):
            return NotImplemented
        seen[0] = True
        return given

    return _seen_in(subject, names, change, seen)


def _seen_in(subject: Subject, names: frozenset[str], change: Rewrite, seen: list[bool]) -> bool:
    """Rewrite calls; whether a pass makes any."""
    rewrite(subject, names, lambda: change)
    subject.dry_run()
    return seen[0]


def _call_without(function: Call, args: tuple[Any, ...], kwargs: dict[str, Any], left_out: tuple[str, ...]) -> Any:
    """A call whose named arguments are None, however they were given."""
    try:
        bound = inspect.signature(function).bind(*args, **kwargs)
    except (TypeError, ValueError):  # builtins have no signature: the mask is the fourth argument there
        args = (*args[:3], None, *args[4:]) if len(args) > 3 else args
        return function(*args, **{k: v for k, v in kwargs.items() if k not in left_out})
    for name in left_out:
        if name in bound.arguments:
            bound.arguments[name] = None
    return function(*bound.args, **bound.kwargs)


# --- NaN and infinity ----------------------------------------------------------------------------


def with_eps(subject: Subject) -> bool:
    """A small constant inside roots, logarithms, norms and quotients, and exponentials of what is bounded."""
    seen = [False]

    def change(name: str, function: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not any(map(_graphed, args)):
            return NotImplemented
        seen[0] = True
        return _safe(name, function, args, kwargs)

    names = {"sqrt", "rsqrt", "log", "log2", "log10", "pow", "__pow__", "norm", "linalg_norm", "vector_norm",
             "linalg_vector_norm", "div", "true_divide", "__truediv__", "__rdiv__", "__rtruediv__", "reciprocal", "exp",
             "acos", "arccos", "asin", "std", "cdist", "atanh"}  # fmt: skip
    return _seen_in(subject, frozenset(names), change, seen)


def _safe(name: str, function: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    x, rest = args[0], args[1:]
    if name in ("sqrt", "rsqrt", "log", "log2", "log10"):
        return function(x.clamp(min=0) + EPS, *rest, **kwargs)
    if name in ("pow", "__pow__"):
        exponent = rest[0] if rest else kwargs.get("exponent")
        fractional = isinstance(exponent, float) and exponent < 1
        return function(x.clamp(min=0) + EPS, *rest, **kwargs) if fractional else NotImplemented
    if name == "exp":
        return function(x - (x.detach().amax() - LARGEST).clamp(min=0), *rest, **kwargs)
    if name in ("acos", "arccos", "asin", "atanh"):
        return function(x.clamp(-1 + EPS, 1 - EPS), *rest, **kwargs)
    if name in ("div", "true_divide", "__truediv__"):
        below = rest[0] if rest else kwargs.get("other")
        if not isinstance(below, Tensor) or not below.requires_grad:
            return NotImplemented
        return function(x, _away_from_zero(below), *rest[1:])
    if name in ("__rdiv__", "__rtruediv__", "reciprocal"):
        return function(_away_from_zero(x), *rest, **kwargs)
    return function(x + EPS, *rest, **kwargs)  # norm, std: not at the point where they have no slope


def _away_from_zero(x: Tensor) -> Tensor:
    return torch.where(x >= 0, x + EPS, x - EPS)


def in_float32(subject: Subject) -> bool:
    """All of it in single precision."""
    if not any(p.dtype in (torch.float16, torch.bfloat16) for p in subject.model.parameters()):
        return False
    subject.model.float()
    subject.batches = [map_leaves(batch, _widened) for batch in subject.batches]
    return True


def _widened(leaf: Any) -> Any:
    return leaf.float() if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf


# --- parameters ----------------------------------------------------------------------------------


def registered(subject: Subject) -> bool:
    """Layers and weights in plain lists, dicts and attributes, where torch looks for them."""
    changed = False
    for _, module in list(subject.model.named_modules()):
        for name, value in list(vars(module).items()):
            holder = None if name.startswith("_") else _registered(value)
            if holder is not None:
                delattr(module, name)
                setattr(module, name, holder)
                changed = True
    return changed


def _registered(value: Any) -> nn.Module | nn.Parameter | None:
    """What holds the same and is registered; None: it holds nothing to register."""
    if isinstance(value, Tensor) and value.is_leaf and value.requires_grad:
        return nn.Parameter(value.detach())
    items = list(value.values()) if isinstance(value, dict) else list(value) if isinstance(value, list | tuple) else []
    if items and all(isinstance(item, nn.Module) for item in items):
        return nn.ModuleDict(value) if isinstance(value, dict) else nn.ModuleList(items)
    if items and all(isinstance(item, Tensor) and item.requires_grad for item in items):
        return nn.ParameterList(items) if not isinstance(value, dict) else nn.ParameterDict(value)
    return None


# --- checkpoints ---------------------------------------------------------------------------------


def not_reentrant(subject: Subject) -> bool:
    """Checkpoints that carry the gradient also where their input asks for none."""
    import torch.utils.checkpoint as checkpoint

    step, seen = subject.step, [False]

    def direct(run: Callable[..., Any], preserve: bool, *args: Any) -> Any:
        seen[0] = True
        return run(*args)

    @contextmanager
    def patched() -> Iterator[None]:
        checkpoint.CheckpointFunction.apply = direct  # type: ignore[method-assign]
        try:
            yield
        finally:
            del checkpoint.CheckpointFunction.apply  # the one that it inherits

    def changed(model: nn.Module, batch: Any) -> Tensor:
        with patched():
            return step(model, batch)

    subject.step = changed
    subject.dry_run()
    return seen[0]


def _cure(
    name: str,
    sentence: str,
    cause: str,
    apply: Callable[[Subject], bool],
    kinds: frozenset[str],
    *words: str,
) -> Cure:
    return Cure(name=name, sentence=sentence, cause=cause, kinds=kinds, apply=apply, words=words)


HARD = (
    _cure(
        "use_reentrant=False",
        "checkpoint(..., use_reentrant=False)",
        "the reentrant checkpoint",
        not_reentrant,
        REACH_FOR_NOTHING,
    ),
    _cure(
        "straight-through steps",
        "let the gradient pass: x + (round(x) - x).detach()",
        "a step, whose slope is zero",
        straight_through,
        REACH_FOR_NOTHING,
    ),
)
REGISTERED = _cure(
    "layers registered",
    "use nn.ModuleList, nn.ModuleDict or nn.Parameter",
    "layers or weights that are not registered",
    registered,
    frozenset({"unregistered", "missing"}),
)
ERASING = (
    _cure("dropout off", "lower the dropout", "the dropout", undropped, SIZES, "drops", "dropout"),
    _cure("no clamp", "take the clamp out, or widen it", "the clamp", unclamped, SIZES, "clamp"),
    _cure(
        "no constant factor",
        "take out the constant that the signal is multiplied by",
        "a constant factor",
        unscaled,
        SIZES,
        "factor",
    ),
    _cure("mask opened", "look at the mask: it hides too much", "the mask", unmasked, SIZES, "mask"),
)
NON_FINITE = (
    _cure(
        "eps in roots, logarithms and quotients",
        "add a small constant inside: sqrt(x + eps), log(x + eps), x / (norm + eps)",
        "a root, logarithm, norm or quotient at zero",
        with_eps,
        frozenset({"non-finite", "exploding"}),
        "slope is infinite",
        "left its domain",
    ),
    _cure("float32", "compute in float32", "half precision", in_float32, SIZES),
)
