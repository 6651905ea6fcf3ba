"""Extension points: implement them in a ``conftest.py`` or a plugin, or register one with ``plugins()``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import pluggy

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pytest_gradhealth.judge.limits import Limits
    from pytest_gradhealth.record import Check, Finding, GradientRecord

hookspec = pluggy.HookspecMarker("pytest")


@hookspec(firstresult=True)
def pytest_gradhealth_step(model: nn.Module, batch: Any) -> Tensor | None:
    """Return the loss of a batch for models whose loss the plugin cannot find, or None to leave it to others.

    It is asked only where neither ``loss`` nor ``step`` was given::

        import torch.nn.functional as F

        def pytest_gradhealth_step(model, batch):
            if hasattr(model, "criterion"):
                inputs, target = batch
                return model.criterion(model(inputs), target)
    """


@hookspec
def pytest_gradhealth_rules(record: GradientRecord, limits: Limits) -> Sequence[Finding]:  # type: ignore[empty-body]
    """Return findings of your own, besides the built-in rules.

    Example::

        from pytest_gradhealth import Finding

        def pytest_gradhealth_rules(record, limits):
            weak = [layer for layer in record if layer.name.startswith("head") and (layer.norm or 0) < 1e-3]
            return [
                Finding(kind="weak-head", layers=(layer.name,), message=f"{layer.name}: norm {layer.norm:.1e}")
                for layer in weak
            ]
    """


@hookspec
def pytest_gradhealth_columns(record: GradientRecord) -> Mapping[str, Mapping[str, str]]:  # type: ignore[empty-body]
    """Return columns for the table: title, then layer name, then text.

    Example::

        def pytest_gradhealth_columns(record):
            return {"weight": {layer.name: f"{layer.weight_norm:.2g}" for layer in record}}
    """


@hookspec
def pytest_gradhealth_metadata(check: Check) -> Mapping[str, Any]:  # type: ignore[empty-body]
    """Return JSON-safe facts that every report shows beside the check.

    Example::

        import os

        def pytest_gradhealth_metadata(check):
            return {"commit": os.environ.get("GITHUB_SHA", "unknown")}
    """


class _Plugins(pluggy.PluginManager):
    """Finds hooks by their name, as pytest does."""

    def parse_hookimpl_opts(self, plugin: object, name: str) -> pluggy.HookimplOpts | None:
        options = super().parse_hookimpl_opts(plugin, name)
        if options is None and name.startswith("pytest_gradhealth_"):
            return cast("pluggy.HookimplOpts", {})
        return options


@cache
def plugins() -> pluggy.PluginManager:
    """The extension points outside a pytest session: register an object with ``pytest_gradhealth_*`` hooks."""
    manager = _Plugins("pytest")
    manager.add_hookspecs(sys.modules[__name__])
    return manager
