"""What was measured and what was found: plain, frozen, JSON-safe data that everything else speaks.

This is the one place where numbers become Python floats, so that a record can cross a process boundary
(xdist serialises plain scalars only) and be written as JSON without a tensor or a NumPy scalar in it.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, Self, overload

__all__ = [
    "STEPS",
    "Attempt",
    "Check",
    "CustomFunction",
    "Finding",
    "GradientRecord",
    "Histogram",
    "LayerGradient",
    "LossGraph",
    "ModelInput",
    "Mutant",
    "Operation",
    "OptimiserUse",
    "Signal",
    "UnregisteredParameter",
    "docs_url",
    "parent_of",
    "path_of",
    "upstream_of",
]


DOCS = "https://github.com/pytest-gradhealth/pytest-gradhealth/blob/main/docs/rules"
STEPS = frozenset(
    {"round", "floor", "ceil", "trunc", "sign", "sgn", "heaviside", "frac", "floor_divide", "__floordiv__"}
)
"""Functions whose slope is zero almost everywhere."""


class _Plain:
    """A dataclass that turns into JSON-safe data and back, field by field."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and numbers; what equals its default is left out.

        Floats keep six significant digits; non-finite ones become the strings ``nan``, ``inf`` and ``-inf``,
        since JSON has no word for them.
        """
        kind: Any = type(self)
        defaults = _defaults(kind)
        values = {name: getattr(self, name) for name in defaults}
        return {name: _encode(value) for name, value in values.items() if value != defaults[name]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`; unknown keys are ignored, missing ones take their default."""
        kind: Any = cls
        decoders = _decoders(kind)
        return cls(**{name: decoders[name](value) for name, value in data.items() if name in decoders})


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram(_Plain):
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
class LayerGradient(_Plain):
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
    and step add up to the same weight; None: not in half precision, or no step was looked at."""
    tied: tuple[str, ...] = ()
    """Other layers that own the same parameter; its gradient counts once, at the first of them."""
    histogram: Histogram | None = None
    """Distribution of its gradient's elements; None: not asked for, or not one of them is finite."""
    installed: bool = False
    """Whether the class that should use its parameters comes with an installed library."""

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
class Signal(_Plain):
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
class Operation(_Plain):
    """A tensor operation in the forward pass that can stop a gradient."""

    name: str
    """As in ``detach``, ``argmax``, ``round``, ``sigmoid``."""
    order: int
    """Position among the modules: executed behind the last module that began before it."""
    module: str = ""
    """The module whose forward called it."""
    where: str = ""
    """File and line of the call; empty: inside torch."""
    installed: bool = False
    """Whether that line belongs to an installed library."""
    detaches: bool = False
    """Whether its input carried a graph and its output does not."""
    upstream: tuple[str, ...] = ()
    """Layers whose parameters lie in the graph that it cuts off, each at the first operation that does."""
    zero_slope: float = 0.0
    """Share (0 to 1) of its outputs at which its slope is zero, or nearly so."""
    constant: float | None = None
    """What all its outputs are, whatever it was given: 0 behind a mask or a factor, 1 of a choice among one; None:
    they differ."""

    @property
    def is_step(self) -> bool:
        """Whether its slope is zero almost everywhere, whatever it is given."""
        return self.name in STEPS or self.name.rstrip("_") in STEPS


@dataclass(frozen=True, slots=True, kw_only=True)
class LossGraph(_Plain):
    """What the graph between a model's output and its loss tells, over all batches."""

    maximised: str = ""
    """Loss function that training makes larger, as it enters the loss with a negative sign; empty: none is known."""
    broadcast: int = 0
    """Number of outputs that are compared with as many targets, each with each, by broadcasting; 0: none are."""
    initial_loss: float | None = None
    """Cross entropy over that of a uniform guess, ln of the number of classes; None: the loss has none."""
    classes: int | None = None
    """Number of classes of a cross entropy, the smallest of several; None: the loss has none."""
    unbounded: bool = False
    """Whether it is the mean or sum of differences between outputs and targets, which has no least value."""
    signed_mean: bool = False
    """Whether those differences are added up before they are squared or made positive."""
    wrong_dim: bool = False
    """Whether ``nll_loss`` is given a ``log_softmax`` over another dimension than that of the classes."""
    probability_sum: float | None = None
    """What the exponentials of the log-probabilities given to ``nll_loss`` add up to (1 for such); None: the loss has
    none."""
    output_scale: float | None = None
    """Root mean square of a regression's outputs over that of its targets, or over 1 where those are smaller; None: the
    loss is no regression."""
    target_excess: float = 0.0
    """How far the targets of a binary cross entropy lie outside 0 to 1."""
    output_bound: str = ""
    """Function that bounds the outputs, as in ``tanh``; empty: none is known."""
    unreachable: float = 0.0
    """Share of the best constant's loss that no output within those bounds takes away."""
    activation: str = ""
    """Activation in front of a loss that applies its own, as ``softmax`` before ``cross_entropy``; empty: none."""
    activated_loss: str = ""
    """That loss."""
    multilabel_softmax: bool = False
    """Whether several labels, or none, are asked for at once of probabilities that a softmax makes add up to 1."""
    clamped: float = 0.0
    """Share (0 to 1) of probabilities that a clamp in front of a logarithm cuts off: their gradient is zero."""
    ignored_targets: float = 0.0
    """Share (0 to 1) of targets that equal ``ignore_index``."""
    constant_targets: bool = False
    """Whether all targets are the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomFunction(_Plain):
    """A ``torch.autograd.Function`` of the user's own: one directional derivative, told twice."""

    name: str
    forward: float
    """By a central difference of its forward."""
    backward: float
    """By its backward."""
    precision: str = "float64"
    """In which both were computed."""

    @property
    def difference(self) -> float:
        """The difference over the larger of the two (0 to 2)."""
        return abs(self.forward - self.backward) / max(abs(self.forward), abs(self.backward), 1e-300)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInput(_Plain):
    """A floating-point input of the model, in the first batch."""

    name: str
    """Name or position of the argument."""
    shape: tuple[int, ...] = ()
    rms: float = 0.0
    """Root mean square of its elements."""
    low: float = 0.0
    """Smallest element."""
    high: float = 0.0
    """Largest element."""
    whole: bool = False
    """Whether all elements are whole numbers, as raw pixels are."""
    feature: int | None = None
    """Index of the feature with the largest root mean square; None: not of shape (samples, features)."""
    feature_scale: float = 1.0
    """Its root mean square over the median feature's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnregisteredParameter(_Plain):
    """Parameters that receive a gradient in a model which does not list them among its own."""

    module: str
    """The registered module that holds or makes them."""
    name: str
    """The attribute that holds them; the class that is made, where they are made anew in each forward pass."""
    where: str = ""
    """File and line that makes them; empty: they are held."""
    parameters: int = 0
    """Number of their elements."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimiserUse(_Plain):
    """What a test that trains does with one optimiser. Numbers of parameters count tensors, not elements."""

    kind: str
    """Class name, as in ``Adam``."""
    steps: int
    """Number of its steps in front of which a backward pass ran."""
    parameters: int
    """Number of parameters that it holds."""
    reached: int
    """Number of those that ever had a gradient at one of its steps."""
    foreign: int = 0
    """Number of those that never had one, and belong to no model which was called."""
    frozen: int = 0
    """Number of those that do not ask for a gradient."""
    learning_rate: float = 0.0
    """The largest of any group at any step."""
    eps_underflows: bool = False
    """Whether its ``eps`` is zero in the precision of a parameter that it holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientRecord(_Plain):
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding(_Plain):
    """One fact that breaks a limit."""

    kind: str
    """Name of the rule, as in ``vanishing-gradient``."""
    layers: tuple[str, ...]
    """The culprit first: where the signal is lost, not every layer behind it."""
    message: str
    """The fact in one clause, with its number and the limit."""
    code: str = ""
    """Stable code of the rule, as in ``GH101``; empty: the rule of an extension."""
    title: str = ""
    """How the verdict begins, as in "vanishing gradient"; empty: with the kind."""
    url: str = ""
    """Address of the rule's page; empty: it has none."""
    family: str = ""
    """Kind of fault that several rules look for, as in ``vanishing``; empty: the kind itself."""
    value: float | None = None
    limit: float | None = None
    limit_name: str = ""
    """Name of the limit that was broken, as in ``min_reach``."""
    cause: str = ""
    remedy: str = ""
    """What to do. A line break stands before a command to be copied, which a table does not wrap."""
    provisional: bool = False
    """Whether a gate that is closed on purpose could explain it, so that it needs the second look."""

    @property
    def headline(self) -> str:
        """Code and title, as a verdict begins: ``GH101 vanishing gradient``."""
        return f"{self.code} {self.title or self.kind.replace('-', ' ')}".strip()

    @property
    def fault(self) -> str:
        """The family, or the kind where it has none."""
        return self.family or self.kind

    @property
    def layer(self) -> str:
        """The culprit's name."""
        return self.layers[0] if self.layers else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt(_Plain):
    """A change made on a copy of a model that failed, and what the same check said of it."""

    change: str
    """What was changed, as in ``He initialisation``."""
    cures: bool
    """Whether the copy is healthy by the limits of the check."""
    outcome: str
    """The number that broke its limit, before and after, and the verdict."""
    cause: str = ""
    """What is at fault if the change cures, as in ``the initialisation``."""
    remedy: str = ""
    """How to make the change for good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant(_Plain):
    """A fault seeded into a copy of a healthy model, and whether the same check found it."""

    fault: str
    """What was done, in one or two words."""
    sentence: str
    """The same in a sentence."""
    layer: str
    """Where; the empty string is the model as a whole."""
    outcome: str
    """``found``, ``survived``, ``equivalent`` (no fault after all) or ``not run`` (the time was over)."""
    found_as: str = ""
    """Kind of the first finding; of an equivalent, why it is one."""
    hint: str = ""
    """The limit that would have found a survivor, and what that limit costs in false alarms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check(_Plain):
    """A record and what was said of it."""

    name: str
    """What was checked, unique within its test: the model's class name, numbered where there are several."""
    record: GradientRecord
    findings: tuple[Finding, ...] = ()
    accepted: tuple[Finding, ...] = ()
    """Findings that the baseline accepts; the check is healthy with them."""
    by_design: Mapping[str, str] = field(default_factory=dict)
    """Layers that are healthy by design, with the reason (``starts at zero``, ``expert not routed to``)."""
    limits: Mapping[str, Any] = field(default_factory=dict)
    """The limits it was judged by."""
    tried: tuple[Attempt, ...] = ()
    """Changes that were tried on copies after it failed, what cures first."""
    untried: str = ""
    """Why nothing, or not all, was tried; empty: nothing to say."""
    mutants: tuple[Mutant, ...] = ()
    """What the self-test seeded into copies, where it was asked for."""
    judged: bool = True
    """False: it was only measured."""
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Columns that extensions add to the table: title, layer name, text."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What extensions add; JSON-safe."""

    @property
    def healthy(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


def docs_url(slug: str) -> str:
    """Address of a rule's page in the documentation."""
    return f"{DOCS}/{slug}.md"


def path_of(module: str, name: str) -> str:
    """Path of what a module holds under a name; in the model itself, the empty string, it is the name alone."""
    return f"{module}.{name}" if module else name


def parent_of(name: str) -> str:
    """Path of the module that a module is a part of; the empty string is the model itself."""
    return name.rpartition(".")[0]


class LayerSet(Set[str]):
    """Some of a record's layers: bits of a whole number, as a deep network has many layers in front of many."""

    __slots__ = ("_bits", "_mask")

    def __init__(self, mask: int, bits: Mapping[str, int]) -> None:
        self._mask, self._bits = mask, bits

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self._bits.get(name, 0) & self._mask)

    def __iter__(self) -> Iterator[str]:
        return (name for name, bit in self._bits.items() if self._mask & bit)

    def __len__(self) -> int:
        return self._mask.bit_count()

    def __or__(self, other: Set[Any]) -> Set[Any]:
        if isinstance(other, LayerSet) and other._bits is self._bits:
            return LayerSet(self._mask | other._mask, self._bits)
        return super().__or__(other)

    @classmethod
    def _from_iterable(cls, names: Iterable[Any]) -> Any:
        return frozenset(names)


def upstream_of(layers: Iterable[LayerGradient]) -> dict[str, LayerSet]:
    """For each layer, given in forward order, all that lie in front of it; in a loop also itself."""
    known = list(layers)
    bits = {layer.name: 1 << position for position, layer in enumerate(known)}
    ahead = dict.fromkeys(bits, 0)
    changed = True
    while changed:  # once more only where a loop leads back
        before = dict(ahead)
        for layer in known:
            if layer.predecessors is None:
                ahead[layer.name] = bits[layer.name] - 1
            for name in layer.predecessors or ():
                ahead[layer.name] |= bits.get(name, 0) | ahead.get(name, 0)
        changed = ahead != before
    return {name: LayerSet(mask, bits) for name, mask in ahead.items()}


@cache
def _defaults(cls: Any) -> dict[str, Any]:
    """Every field with its default; a required field with a value that equals nothing."""
    fields = dataclasses.fields(cls)
    made = (f.default_factory() if f.default_factory is not dataclasses.MISSING else f.default for f in fields)
    return {f.name: default for f, default in zip(fields, made, strict=True)}


@cache
def _decoders(cls: Any) -> dict[str, Callable[[Any], Any]]:
    hints = typing.get_type_hints(cls)
    return {name: _decoder(hints[name]) for name in _defaults(cls)}


def _decoder(hint: Any) -> Callable[[Any], Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        inner = _decoder(next(part for part in arguments if part is not type(None)))
        return lambda value: None if value is None else inner(value)
    if origin is tuple:
        item = _decoder(arguments[0])
        return lambda value: tuple(map(item, value))
    if isinstance(hint, type) and issubclass(hint, _Plain):
        return hint.from_dict
    return float if hint is float else _same


def _same(value: Any) -> Any:
    return value


def _encode(value: Any) -> Any:
    if isinstance(value, _Plain):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {str(key): _encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(item) for item in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str):
        return str(value)
    if not hasattr(value, "__float__"):
        raise TypeError(f"{value!r} is neither a number, a string, nor a list or mapping of them")
    number = float(value)
    return float(f"{number:.6g}") if math.isfinite(number) else str(number)
