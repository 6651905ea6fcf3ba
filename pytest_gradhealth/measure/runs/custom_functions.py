"""Is the backward of a user's ``torch.autograd.Function`` the gradient of its forward?

A directional derivative tells, without a Jacobian: for random directions v of the inputs and w of the outputs, the
central difference of ``<w, f(x)>`` along v must be the inner product of v with what ``backward`` makes of w. That is
``torch.autograd.gradcheck`` with one projection each way (its ``fast_mode``), on the inputs that the model really has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from pytest_gradhealth.measure.passes.source import is_installed, source_file
from pytest_gradhealth.record import CustomFunction

__all__ = ["compare", "custom_functions"]

DOUBLE, SINGLE = 1e-6, 1e-2
"""Steps of the central difference, over the inputs' root mean square."""
TRIES = 3
"""Directions; the least difference counts, since a kink may lie in the way of one."""
TINY = 1e-12


def custom_functions(nodes: Iterable[Any]) -> list[type[torch.autograd.Function]]:
    """Functions of the user's own among the nodes of a graph, each once."""
    found = (getattr(type(node), "_forward_cls", None) for node in nodes)
    return [made for made in dict.fromkeys(found) if made is not None and not is_installed(source_file(made))]


def compare(
    functions: Iterable[type[torch.autograd.Function]], forward: Callable[[], Any]
) -> tuple[CustomFunction, ...]:
    """Run the model forward once, note what each function is given, and compare its backward with its forward."""
    functions = list(functions)
    with _noted(functions) as given:
        forward()
    known = (_compared(function, given[function]) for function in functions if function in given)
    return tuple(found for found in known if found is not None)


@contextmanager
def _noted(functions: Iterable[type[torch.autograd.Function]]) -> Iterator[dict[Any, tuple[Any, ...]]]:
    """The arguments of the first call of each function."""
    given: dict[Any, tuple[Any, ...]] = {}
    applied = {function: function.apply for function in functions}

    def noting(function: Any) -> Any:
        def apply(*args: Any, **kwargs: Any) -> Any:
            if function not in given and not kwargs:
                given[function] = tuple(a.detach().clone() if isinstance(a, Tensor) else a for a in args)
            return applied[function](*args, **kwargs)  # type: ignore[no-untyped-call]

        return staticmethod(apply)

    try:
        for function in applied:
            function.apply = noting(function)  # type: ignore[method-assign]
        yield given
    finally:
        for function in applied:
            del function.apply


def _compared(function: Any, args: tuple[Any, ...]) -> CustomFunction | None:
    """None: it agrees, changes the gradient on purpose, or cannot be called by itself."""
    for double in (True, False):
        try:
            return _difference(function, args, double)
        except Exception:
            continue
    return None


def _difference(function: Any, args: tuple[Any, ...], double: bool) -> CustomFunction | None:
    wide = tuple(a.double() if double and isinstance(a, Tensor) and a.is_floating_point() else a for a in args)
    inputs = [a for a in wide if isinstance(a, Tensor) and a.is_floating_point() and a.numel()]
    if not inputs or _is_on_purpose(function, wide):
        return None
    draw = torch.Generator("cpu").manual_seed(0)
    found = [_one_direction(function, wide, draw, DOUBLE if double else SINGLE) for _ in range(TRIES)]
    if all(abs(forward) < TINY for forward, _ in found):
        return None  # a step: any backward is a surrogate
    precision = "float64" if double else "float32"
    told = (CustomFunction(name=function.__name__, forward=f, backward=b, precision=precision) for f, b in found)
    return min(told, key=lambda one: one.difference)


def _one_direction(function: Any, args: tuple[Any, ...], draw: torch.Generator, step: float) -> tuple[float, float]:
    """The derivative of ``<w, f>`` along v by the forward, and by the backward."""
    leaves = [a.detach().clone().requires_grad_() if _is_moved(a) else a for a in args]
    moved = [leaf for leaf in leaves if _is_moved(leaf)]
    output = _first(function.apply(*leaves))
    along = [_direction(leaf, output, draw) for leaf in moved]
    weights = torch.randn(output.shape, generator=draw, dtype=output.dtype, device=draw.device).to(output.device)
    gradients = torch.autograd.grad(output, moved, weights, allow_unused=True)
    backward = sum(float((g * v).sum()) for g, v in zip(gradients, along, strict=True) if g is not None)
    with torch.no_grad():
        ends = [
            float((_first(function.apply(*_shifted(args, along, sign * step))) * weights).sum()) for sign in (1, -1)
        ]
    return (ends[0] - ends[1]) / (2 * step), backward


def _direction(leaf: Tensor, output: Tensor, draw: torch.Generator) -> Tensor:
    """At random, as large as the input; not where the forward is flat, as there a straight-through backward is free."""
    size = leaf.detach().square().mean().sqrt().clamp_min(TINY)
    made = torch.randn(leaf.shape, generator=draw, dtype=leaf.dtype, device=draw.device).to(leaf.device) * size
    if leaf.shape == output.shape:
        flat = (output == 0) | (output == output.min()) | (output == output.max())
        made = made.where(~flat, 0.0)
    return made


def _is_on_purpose(function: Any, args: tuple[Any, ...]) -> bool:
    """Whether the gradient is not meant to be the forward's.

    A function that changes nothing on its way forward is there to change the gradient (reversal, scaling), and one
    that is given numbers which only its backward uses has a backward of its own (feedback alignment).
    """
    with torch.no_grad():
        output = _first(function.apply(*args))
        given = [index for index, value in enumerate(args) if _is_moved(value)]
        if output.shape == args[given[0]].shape and torch.equal(output, args[given[0]]):
            return True
        without = ([*args[:i], torch.zeros_like(args[i]) + 0.5, *args[i + 1 :]] for i in given)
        return any(torch.equal(_first(function.apply(*changed)), output) for changed in without)


def _shifted(args: tuple[Any, ...], along: list[Tensor], step: float) -> list[Any]:
    directions = iter(along)
    return [a + step * next(directions) if _is_moved(a) else a for a in args]


def _is_moved(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and bool(value.numel())


def _first(output: Any) -> Tensor:
    made: Tensor = output if isinstance(output, Tensor) else next(x for x in output if isinstance(x, Tensor))
    return made
