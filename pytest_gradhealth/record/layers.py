"""What was measured of each layer, module and operation."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pytest_gradhealth.record.plain import Plain

__tracebackhide__ = True

__all__ = ["STEPS", "Histogram", "LayerGradient", "Operation", "ParameterGradient", "Signal", "Underflow"]

STEPS = frozenset(
    {"round", "floor", "ceil", "trunc", "sign", "sgn", "heaviside", "frac", "floor_divide", "__floordiv__"}
)
"""Functions whose slope is zero almost everywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram(Plain):
    """How the finite elements of a gradient are distributed, in bins without gaps, over all batches together."""

    lowest: float
    """The smallest element; the first bin begins there."""
    highest: float
    """The largest element."""
    total: float
    """Sum of the elements."""
    squares: float
    """Sum of their squares."""
    edges: tuple[float, ...]
    """Where each bin ends, ascending; the last at ``highest``."""
    counts: tuple[int, ...]
    """Number of elements in each bin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterGradient(Plain):
    """The gradient of one parameter. Numbers are medians over the batches."""

    name: str
    """Its name within the layer, as in ``weight``."""
    shape: tuple[int, ...]
    norm: float | None
    """L2 norm; None: no gradient came."""
    largest: float | None = None
    """Largest absolute value of its elements, the norm of order inf; None: not asked for, or no gradient came."""

    def vector_norm(self, ord: float = 2) -> float | None:
        """As ``torch.linalg.vector_norm``, of order 2 or inf; None: no gradient came.

        Raises:
            ValueError: it was not measured; the message says how to ask for it.
        """
        return _vector_norm(ord, self.norm, self.largest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Underflow(Plain):
    """What of a gradient would be lost in a narrower format. Shares (0 to 1) are of its elements that are not zero."""

    format: str
    """Torch's name, as in ``float16`` or ``float8_e4m3fn``; a tensor in float8 is scaled by its largest element."""
    zero: float = 0.0
    """Share that would become zero."""
    subnormal: float = 0.0
    """Share that would keep only some of its digits."""
    loss_scale: float | None = None
    """The smallest power of two that, multiplied with the loss, keeps 99 % from zero; None: scaled already."""
    max_loss_scale: float | None = None
    """The largest power of two with which no element overflows; None: scaled already."""
    lost_update: float | None = None
    """Share of its weights that a step would leave as they are, were they kept in this format; None: no step was looked
    at, and no learning rate was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerGradient(Plain):
    """The gradient of one layer: a module that directly owns parameters. Numbers are medians over the batches."""

    name: str
    """Path in ``named_modules()``; the empty string is the model itself."""
    kind: str
    """Class name of the module."""
    order: int | None
    """Position of its first execution in the forward pass; None: it was never called."""
    parameters: int
    """Number of elements of its own parameters."""
    trainable: int
    """Number of those elements with ``requires_grad``."""
    shape: tuple[int, ...] = ()
    """Shape of its largest parameter."""
    gradients: tuple[ParameterGradient, ...] = ()
    """Those of its trainable parameters, one by one; ``layer["weight"]`` is one of them."""
    norm: float | None
    """L2 norm of dLoss/dW over its trainable parameters; None: no gradient came."""
    lowest: float | None = None
    """The smallest norm over the batches."""
    highest: float | None = None
    """The largest norm over the batches."""
    weight_norm: float = 0.0
    """L2 norm of its trainable parameters."""
    sensitivity: float = 0.0
    """``norm * weight_norm``: first-order change of the loss for a relative change of the weights."""
    predecessors: tuple[str, ...] | None = None
    """Layers right in front of it on the signal's way; None: not known, so that all that ran before count as such."""
    reach: float = 0.0
    """Largest sensitivity at or before this layer over the largest on its way (0 to 1). What runs beside it (another
    tower, branch, expert or head) lies neither before nor behind it."""
    signal: float | None = None
    """L2 norm of dLoss/d(output); None: the output received no gradient."""
    gain: float | None = None
    """Signal at the layer before it over its own: the factor by which the signal changes on its way back through
    this layer and what lies between the two (an activation, a normalisation). The product of all gains is the
    signal's change over the whole network."""
    dead: float = 0.0
    """Share (0 to 1) of its units whose weights received an exactly zero gradient in every batch."""
    dead_by_bias: float = 0.0
    """Share (0 to 1) of its units that a bias holds shut, its own or that of the normalisation behind it: it lies more
    than five times below what the weights make of their input. Units that a bias holds open as firmly are taken off:
    beside weights that are almost zero, random biases do both. Looked at where most units are dead."""
    units: int = 0
    """Number of units (output features) that ``dead`` is a share of; 0: the notion does not apply."""
    silent_units: tuple[int, ...] = ()
    """First and last of neighbouring units, a half or a third or two of all, that received an exactly zero gradient in
    every batch while almost all others received one: of several things that one layer makes (query, key, value)."""
    identical_units: bool = False
    """Whether all its units hold the same weights, not all zero."""
    nan: int = 0
    """NaN values in its gradient, the most in one batch."""
    inf: int = 0
    """Infinite values in its gradient, the most in one batch."""
    missing: tuple[str, ...] = ()
    """Names of its trainable parameters that received no gradient in any batch."""
    zero_gradients: tuple[str, ...] = ()
    """Names of its trainable parameters whose gradient was exactly zero in every batch."""
    zero_weights: tuple[str, ...] = ()
    """Names of its trainable parameters whose every element is exactly zero."""
    optimised: bool | None = None
    """Whether an optimiser that has made a step holds all its trainable parameters; None: no optimiser was seen."""
    update: float | None = None
    """Norm of what an optimiser's step added to its weights over the norm of those; None: no step was looked at."""
    lost_update: float | None = None
    """Share (0 to 1) of its elements with a gradient that a step left as they were, in half precision, because weight
    and step add up to the same weight; None: not in half precision, or no step was looked at. In a check, of those that
    Adam would move by the learning rate that was given."""
    tied: tuple[str, ...] = ()
    """Other layers that own the same parameter; its gradient counts once, at the first of them."""
    histogram: Histogram | None = None
    """Distribution of its gradient's elements; None: not asked for, or not one of them is finite."""
    underflow: tuple[Underflow, ...] = ()
    """What it would lose in other formats, where that was asked for."""
    installed: bool = False
    """Whether the class that should use its parameters comes with an installed library."""

    def __getitem__(self, name: str) -> ParameterGradient:
        """The gradient of one of its trainable parameters, as in ``record["fc"]["weight"]``.

        Raises:
            KeyError: it has no trainable parameter of that name; the message lists them.
        """
        for gradient in self.gradients:
            if gradient.name == name:
                return gradient
        names = ", ".join(gradient.name for gradient in self.gradients) or "none"
        raise KeyError(f"no trainable parameter {name!r} in {self.name or 'the model itself'!r}; it has {names}")

    def vector_norm(self, ord: float = 2) -> float | None:
        """Norm of its whole gradient, of order 2 or inf, as ``torch.linalg.vector_norm``; None: no gradient came.

        Raises:
            ValueError: it was not measured; the message says how to ask for it.
        """
        known = [gradient.largest for gradient in self.gradients if gradient.largest is not None]
        largest = max(known, key=lambda size: (math.isnan(size), size), default=None)
        return _vector_norm(ord, self.norm, largest)

    @property
    def frozen(self) -> bool:
        """Whether nothing in this layer can train."""
        return self.trainable == 0

    @property
    def starts_at_zero(self) -> bool:
        """Whether a weight of it is all zeros, and not only a bias: those start at zero everywhere."""
        return any("bias" not in name for name in self.zero_weights)

    @property
    def arrived(self) -> bool:
        """Whether any gradient came."""
        return self.norm is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal(Plain):
    """What went forward through one module, and came back to its output. Medians over the batches."""

    name: str
    kind: str
    order: int
    calls: int = 1
    """Number of calls in one pass."""
    gradient: float | None = None
    """L2 norm of dLoss/d(output); None: no gradient came back."""
    input_gradient: float | None = None
    """L2 norm of dLoss/d(input), for layers; None: no gradient went on."""
    attached: bool = True
    """Whether the output carried a graph to differentiate."""
    input_attached: bool | None = None
    """Whether a floating-point input carried a graph; None: it had no floating-point input."""
    rms: float = 0.0
    """Root mean square of the output."""
    peak: float = 0.0
    """Largest absolute value of the output."""
    sample_variation: float | None = None
    """Root mean square of the difference between the samples of a batch over ``rms``, in a check without the noise of
    dropout; None: not defined."""
    token_variation: float | None = None
    """Root mean square of the difference between the positions of a sequence over ``rms``; None: no sequence."""
    taken_for_time: int = 0
    """Length of the first dimension, where a module with ``batch_first=False`` takes it for time; 0: it does not."""
    taken_for_batch: int = 0
    """Length of the second, which such a module takes for the samples."""
    positions: int = 0
    """Length of the sequence, where the output has the shape (samples, positions, features); 0: it has not."""
    position_reach: float | None = None
    """Sensitivity (gradient norm times norm) of the output at the last quarter of at least eight positions over that at
    the first quarter; None: not defined."""
    saturation: float | None = None
    """Share (0 to 1) of a saturating activation's outputs where its slope is below 1 % of its largest."""
    dropout: float = 0.0
    """Probability with which a dropout that is on zeroes what it is given."""
    zeros: float = 0.0
    """Share (0 to 1) of outputs that are exactly zero."""
    input_min: float | None = None
    """Smallest value of its first floating-point input, of the model itself also of an integer one; None: it had
    none."""
    input_max: float | None = None
    """Largest value of its first floating-point input."""
    input_variation: float | None = None
    """As ``sample_variation``, of its first floating-point input."""
    steps: int = 0
    """Time steps of a recurrent module, or calls of a cell; 0: fewer than tell anything."""
    time_reach: float | None = None
    """Gradient at the first quarter of the steps over that at the last quarter; None: not measured."""
    size: int = 0
    """Number of elements of the output, the most in one call; 0: nothing came through."""
    nonfinite: int = 0
    """NaN and infinite values in the output."""
    nonfinite_input: int = 0
    """NaN and infinite values in its floating-point inputs."""
    nonfinite_gradient: int = 0
    """NaN and infinite values in dLoss/d(output)."""
    nonfinite_input_gradient: int = 0
    """NaN and infinite values in dLoss/d(input)."""

    @property
    def amplitude(self) -> float | None:
        """Root mean square of what differs between samples; None: not defined."""
        return None if self.sample_variation is None else self.sample_variation * self.rms

    @property
    def step_factor(self) -> float | None:
        """The factor by which one step of a recurrence multiplies the gradient; None: not measured.

        ``time_reach`` compares the best of the first quarter of the steps with the best of the last.
        """
        return (
            None if self.time_reach is None or not self.steps else float(self.time_reach ** (1 / (0.75 * self.steps)))
        )

    @property
    def input_peak(self) -> float:
        """Largest absolute value of its first floating-point input; 0 where it had none."""
        return max(abs(self.input_min or 0.0), abs(self.input_max or 0.0))

    @property
    def input_is_zero(self) -> bool:
        """Whether its first floating-point input is all zeros."""
        return self.input_min == 0 and self.input_max == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation(Plain):
    """A tensor operation in the forward pass that can stop a gradient."""

    name: str
    """As in ``detach``, ``argmax``, ``round``, ``sigmoid``."""
    order: int
    """Position among the modules: executed behind the last module that began before it."""
    module: str = ""
    """The module whose forward called it."""
    where: str = ""
    """Path and line of the call; empty: inside torch."""
    installed: bool = False
    """Whether that line belongs to an installed library."""
    detaches: bool = False
    """Whether its input carried a graph and its output does not."""
    upstream: tuple[str, ...] = ()
    """Layers whose parameters lie in the graph that it cuts off, or makes NaN of, the nearest first; each at the first
    operation that does."""
    zero_slope: float = 0.0
    """Share (0 to 1) of its outputs at which its slope is zero, or nearly so."""
    constant: float | None = None
    """What all its outputs are, whatever it was given: 0 behind a mask or a factor, 1 of a choice among one; None:
    they differ."""
    nonfinite: int = 0
    """NaN and infinite values in its output, where its inputs have none that explain them."""
    infinite_slope: int = 0
    """Inputs at which its slope is infinite, such as 0 for a root."""

    @property
    def is_step(self) -> bool:
        """Whether its slope is zero almost everywhere, whatever it is given."""
        return self.name in STEPS or self.name.rstrip("_") in STEPS


def _vector_norm(ord: float, norm: float | None, largest: float | None) -> float | None:
    if ord == 2 or norm is None:
        return norm
    if ord != math.inf:
        raise ValueError(f"ord={ord!r} is not measured: a record has norms of order 2 and inf")
    if largest is None:
        raise ValueError("the norm of order inf is measured on request only: give histograms=True")
    return largest
