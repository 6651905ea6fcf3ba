"""One measurement of one model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import overload

from pytest_gradhealth.record.context import (
    CustomFunction,
    LossGraph,
    ModelInput,
    OptimiserUse,
    UnregisteredParameter,
)
from pytest_gradhealth.record.layers import LayerGradient, Operation, Signal
from pytest_gradhealth.record.plain import Plain

__tracebackhide__ = True

__all__ = ["GradientRecord"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientRecord(Plain):
    """One measurement of one model: indexable by layer name, iterable over its layers in forward order."""

    model: str
    """Class name of the model."""
    source: str = ""
    """File in which the model's class is defined; empty: unknown."""
    installed: bool = False
    """Whether the model's class comes with an installed library."""
    device: str = "cpu"
    precision: str = "float32"
    seed: int | None = None
    torch: str = ""
    """Version of torch; empty: measured elsewhere."""
    batches: int = 1
    samples: int | None = None
    """Samples in the smallest batch; None: unknown."""
    loss: float | None = None
    """Median loss over the batches; None: unknown."""
    loss_graph: LossGraph | None = None
    """What the loss is made of; None: it was not looked at, as in a test that trains by itself."""
    steps: int = 0
    """Optimiser steps made on a copy before this measurement (0: the model as it was given)."""
    layers: tuple[LayerGradient, ...] = ()
    learning_rate: float | None = None
    """The one that a check was asked to tell lost updates for; None: it was not, or a test trains by itself."""
    unregistered: tuple[UnregisteredParameter, ...] = ()
    """Parameters that are trained in no step of an optimiser which is given the model's own."""
    signals: tuple[Signal, ...] = ()
    inputs: tuple[ModelInput, ...] = ()
    """The model's floating-point inputs."""
    sample_mixing: float | None = None
    """Largest difference between the outputs of a permuted batch and the permuted outputs, in evaluation mode, over
    their root mean square; None: they agree, or it was not looked at."""
    mixed_at: str = ""
    """First module at which they differ; empty: behind all of them."""
    softmax_over: int = 0
    """Length of the first dimension, where a softmax in a test that trains runs over it, behind ``mixed_at``; 0: none
    does, or another dimension could be the samples."""
    custom_functions: tuple[CustomFunction, ...] = ()
    """Functions whose backward the user wrote, beside the derivative of their forward."""
    optimisers: tuple[OptimiserUse, ...] = ()
    """Optimisers that made a step in a test that trains, and hold parameters of this model, or of none that was
    called."""
    toy_loss: str = ""
    """How the loss of such a test was made of the outputs alone: ``sum`` of them (or mean), or ``element``, one number
    taken out of them; empty: by more than that."""
    step_function: str = ""
    """A function of slope zero that such a loss was computed through, as in ``round``; empty: none is known."""
    random: bool = False
    """Whether random numbers were drawn in such a pass."""
    detached_loss: bool = False
    """Whether a backward of such a test began at a loss without a graph, as after ``requires_grad_(True)`` on it."""
    operations: tuple[Operation, ...] = ()
    """Operations that can stop a gradient; looked for only where something was found."""
    notes: tuple[str, ...] = ()
    """What a reader should know about the measurement."""
    later: GradientRecord | None = None
    """The second look: the same model after some optimiser steps, or the last pass of a test that trains."""

    def __post_init__(self) -> None:
        names = [layer.name for layer in self.layers]
        if len(set(names)) != len(names):
            raise ValueError(f"layer names must be unique, got {sorted(n for n in set(names) if names.count(n) > 1)}")

    @overload
    def __getitem__(self, key: str) -> LayerGradient: ...
    @overload
    def __getitem__(self, key: int) -> LayerGradient: ...
    def __getitem__(self, key: str | int) -> LayerGradient:
        """The layer of that name, or at that position in forward order.

        Raises:
            KeyError: there is no layer of that name; the message lists the nearest ones.
        """
        if isinstance(key, int):
            return self.layers[key]
        for found in ((x for x in self.layers if key == x.name), (x for x in self.layers if key in x.tied)):
            for layer in found:
                return layer
        raise KeyError(f"no layer {key!r} in {self.model}; its layers are {', '.join(self.names) or 'none'}")

    def __iter__(self) -> Iterator[LayerGradient]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __contains__(self, name: object) -> bool:
        return any(name == layer.name or name in layer.tied for layer in self.layers)

    @property
    def names(self) -> tuple[str, ...]:
        """Layer names in forward order."""
        return tuple(layer.name for layer in self.layers)

    def matching(self, pattern: str) -> tuple[LayerGradient, ...]:
        """The layers whose name matches a shell-style pattern."""
        return tuple(layer for layer in self.layers if fnmatchcase(layer.name, pattern))
