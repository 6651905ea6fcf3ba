"""What a cure is, and where in a model it goes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from pytest_gradhealth.experiment.subject import Change

__all__ = ["FADING", "NORMS", "SIZES", "STEEP", "WEIGHTED", "Cure", "norms", "weighted"]

FADING = frozenset({"vanishing", "collapse", "weak", "dead", "symmetric"})
STEEP = frozenset({"exploding", "saturated", "non-finite"})
SIZES = FADING | STEEP
"""Kinds of findings that ask how large something is."""

CONVOLUTIONS = (nn.modules.conv._ConvNd,)
WEIGHTED = (nn.Linear, *CONVOLUTIONS)
NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


@dataclass(frozen=True, kw_only=True)
class Cure(Change):
    """A change that may make a sick model healthy."""

    kinds: frozenset[str]
    """Kinds of findings that it is tried for."""
    cause: str
    """What is at fault where it cures, as in ``the initialisation``."""
    words: tuple[str, ...] = ()
    """What a rule of thumb says where it expects this cure, in lower case."""


def weighted(model: nn.Module, names: frozenset[str] | None = None) -> Iterator[nn.Module]:
    """Linear and convolutional layers with a weight of their own; only those at or below these paths."""
    for name, module in model.named_modules():
        below = names is None or any(name == one or name.startswith(f"{one}.") for one in names)
        if below and isinstance(module, WEIGHTED) and isinstance(module.weight, Tensor):
            yield module


def norms(model: nn.Module) -> Iterator[nn.Module]:
    """Normalisations."""
    return (module for module in model.modules() if isinstance(module, NORMS))
