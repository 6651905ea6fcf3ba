"""What was measured around the layers: inputs, loss, optimisers, functions of the user's own."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gradhealth.record.plain import Plain

__all__ = ["CustomFunction", "LossGraph", "ModelInput", "OptimiserUse", "UnregisteredParameter"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LossGraph(Plain):
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
    single_targets: int = 0
    """Number of targets where each sample has one; 0: it is not known, or each has several."""
    divergence_of_probabilities: bool = False
    """Whether ``kl_div`` is given probabilities, and not their logarithms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomFunction(Plain):
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
class ModelInput(Plain):
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
class UnregisteredParameter(Plain):
    """Parameters that receive a gradient in a model which does not list them among its own."""

    module: str
    """The registered module that holds or makes them."""
    name: str
    """The attribute that holds them; the class that is made, where they are made anew in each forward pass."""
    where: str = ""
    """Path and line that makes them; empty: they are held."""
    parameters: int = 0
    """Number of their elements."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimiserUse(Plain):
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
    zeroed: bool = False
    """Whether every gradient was zero, or gone, at each step that was looked at and had a backward in front of it."""
