"""The modules and parameters of a model, as torch names them, without a recursion for each level of nesting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from pytest_gradhealth.measure.passes.nesting import PLAIN
from pytest_gradhealth.measure.passes.source import class_of
from pytest_gradhealth.record import path_of

__all__ = [
    "EVERYWHERE",
    "modules_of",
    "names_of",
    "own_attributes",
    "own_parameters",
    "parameters_of",
    "unit_dimensions",
]

EVERYWHERE = frozenset(vars(nn.Module()))
"""Attributes that every module has."""


def modules_of(model: nn.Module) -> dict[str, nn.Module]:
    """As ``named_modules()``: every module once, under the first of its names, parents first."""
    found: dict[str, nn.Module] = {}
    seen: set[int] = set()
    waiting = [("", model)]
    while waiting:
        name, module = waiting.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        found[name] = module
        if module._modules:
            prefix = f"{name}." if name else ""
            children = [(prefix + child, part) for child, part in module._modules.items() if part is not None]
            waiting += reversed(children)
    return found


def names_of(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """As ``named_modules(remove_duplicate=False)``: every module under all of its names."""
    waiting = [("", model)]
    while waiting:
        name, module = waiting.pop()
        yield name, module
        children = [(path_of(name, child), part) for child, part in module._modules.items() if part is not None]
        waiting += reversed(children)


def own_attributes(module: Any) -> list[tuple[str, Any]]:
    """What an object is bound to beside what every module has, without numbers and texts."""
    return [(name, x) for name, x in vars(module).items() if name not in EVERYWHERE and type(x) not in PLAIN]


def own_parameters(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """As ``named_parameters(recurse=False)``."""
    for name, parameter in module._parameters.items():
        if parameter is not None:
            yield name, parameter


def parameters_of(modules: Mapping[str, nn.Module]) -> dict[str, nn.Parameter]:
    """As ``named_parameters()`` of the model whose modules these are: each once, under the first of its names."""
    found: dict[str, nn.Parameter] = {}
    seen: set[int] = set()
    for prefix, module in modules.items():
        for name, parameter in own_parameters(module) if module._parameters else ():
            if id(parameter) not in seen:
                seen.add(id(parameter))
                found[path_of(prefix, name)] = parameter
    return found


def unit_dimensions(modules: Mapping[str, nn.Module]) -> dict[str, int]:
    """For each weight of at least two dimensions, the one that counts its layer's units (output features).

    The rows of an embedding are no units: most of them are not in any one batch.
    """
    dimensions: dict[str, int] = {}
    for prefix, module in modules.items():
        kind = class_of(module).__name__ if module._parameters else ""
        if not kind or "Embedding" in kind:
            continue
        transposed = "Transpose" in kind or kind == "Conv1D"  # transformers' Conv1D keeps its weight as (in, out)
        for name, parameter in own_parameters(module):
            if "weight" in name and not nn.parameter.is_lazy(parameter) and parameter.ndim > 1:
                dimensions[path_of(prefix, name)] = int(transposed)
    return dimensions
