"""What a model makes of its samples where dropout adds no noise: noise differs from sample to sample too."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from torch import nn

from pytest_gradhealth.measure.passes.probe import Probe
from pytest_gradhealth.measure.passes.results import ModulePass, Pass
from pytest_gradhealth.measure.torch_private import is_compiled

__all__ = ["without_noise"]

TOLD = ("samples", "tokens", "input_samples")
"""What tells one sample, or position, from another."""
NORMALISING = (nn.modules.batchnorm._NormBase,)
"""Modules that evaluate with statistics which nothing has learnt yet."""


def without_noise(model: nn.Module, passes: Sequence[Pass], forward: Callable[[], object]) -> list[Pass]:
    """The passes, with the variation of a forward pass in which nothing is dropped.

    Nothing is changed where the model drops nothing, does something else when it is not trained, or has compiled
    parts: those would be compiled once more.
    """
    dropped = (module.numbers["dropped"] for module in passes[0].modules.values())
    if not any(0 < p < 1 for p in dropped) or any(map(is_compiled, model.modules())):
        return list(passes)
    quiet = _quiet(model, forward)
    if quiet.keys() != passes[0].modules.keys():
        return list(passes)
    told = {name: {key: m.numbers[key] for key in TOLD if key in m.numbers} for name, m in quiet.items()}
    return [_told(one, told) for one in passes]


def _quiet(model: nn.Module, forward: Callable[[], object]) -> dict[str, ModulePass]:
    """Each module's numbers where all but normalisations evaluate; none where the model cannot."""
    modes = {module: module.training for module in model.modules()}
    try:
        for module in modes:
            module.training = isinstance(module, NORMALISING)
        with warnings.catch_warnings(action="ignore"), suppress(Exception), Probe(model) as probe:
            forward()
            return probe.take().modules
    finally:
        for module, mode in modes.items():
            module.training = mode
    return {}


def _told(one: Pass, told: dict[str, dict[str, float]]) -> Pass:
    modules = {name: replace(m, numbers={**m.numbers, **told.get(name, {})}) for name, m in one.modules.items()}
    return replace(one, modules=modules)
