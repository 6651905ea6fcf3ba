"""The modules and parameters of a model, as torch names them, without a recursion for each level of nesting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import nn

from pytest_gradhealth.record import path_of

__all__ = ["modules_of", "names_of", "own_parameters", "parameters_of"]


def modules_of(model: nn.Module) -> dict[str, nn.Module]:
    """As ``named_modules()``: every module once, under the first of its names, parents first."""
    found: dict[str, nn.Module] = {}
    seen: set[int] = set()
    waiting = [("", model)]
    while waiting:
        name, module = waiting.pop()
        if id(module) not in seen:
            seen.add(id(module))
            found[name] = module
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
        for name, parameter in own_parameters(module):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                found[path_of(prefix, name)] = parameter
    return found
