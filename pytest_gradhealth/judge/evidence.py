"""What a pass of a watched test is no evidence of: not everything that calls backward trains.

A test may send one output back to look at a mask, feed zeros, or stop after one step in which chance left a layer out.
Each such circumstance says which faults it could explain instead, and a note says what was not judged for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

from pytest_gradhealth.judge.families import (
    COLLAPSE,
    DEAD,
    EXPLODING,
    MISSING,
    NON_FINITE,
    OBJECTIVE,
    SATURATED,
    SYMMETRIC,
    UNREGISTERED,
    VANISHING,
    WEAK,
)
from pytest_gradhealth.judge.limits import Limits
from pytest_gradhealth.judge.view import View, numbers, pattern
from pytest_gradhealth.record import Finding, GradientRecord, LayerGradient

__all__ = ["SIZES", "Circumstance", "circumstances", "is_set"]

SIZES = frozenset(family.name for family in (DEAD, VANISHING, COLLAPSE, EXPLODING, SATURATED, WEAK, SYMMETRIC))
"""Families that ask how large something is."""
COMPARED = frozenset(family.name for family in (VANISHING, COLLAPSE, EXPLODING, WEAK))
"""Those of them that compare gradients, and none that looks for what is exactly zero."""
ALL_BUT_NAN = SIZES | {MISSING.name, UNREGISTERED.name, OBJECTIVE.name, "uneven-norms"}
ALL = ALL_BUT_NAN | {NON_FINITE.name}
SEVERAL = 3
"""Measured passes in which chance is unlikely to leave the same layer out, or to choose the same of two."""
UNDERFLOWS = 1e-4
"""Size of a loss below which half precision may have lost its gradient, which is a fault."""
NEAR = 2.0
"""Factor within which a number is near its limit, so that another draw of the weights may lie beyond it."""


def _any_layer(finding: Finding) -> bool:
    return True


@dataclass(frozen=True)
class Circumstance:
    """Something about a pass, or the test, that explains findings of some kinds."""

    note: str
    faults: Collection[str]
    """Families of rules, or single ones."""
    concerns: Callable[[Finding], bool] = field(default=_any_layer)
    is_told: bool = True
    """Whether the note is worth a line also where nothing would have been found."""

    def explains(self, finding: Finding) -> bool:
        """Whether the finding is none, on such a pass."""
        named = finding.fault in self.faults or finding.kind in self.faults
        return named and self.concerns(finding)


def circumstances(record: GradientRecord, passes: Sequence[GradientRecord]) -> Iterator[Circumstance]:
    """What explains findings in a record.

    Args:
        record: the pass that is judged.
        passes: all that were measured of the model.
    """
    view = View(record, Limits())
    yield from _of_the_batch(view)
    yield from _of_the_loss(view, is_trained(passes))
    yield from _of_chance(view, passes)


def is_trained(passes: Sequence[GradientRecord]) -> bool:
    """Whether the test moves the weights: by an optimiser, or by hand."""
    if any(layer.update for one in passes for layer in one) or any(use.steps for use in passes[0].optimisers):
        return True
    sizes = {layer.name: layer.weight_norm for layer in passes[0]}
    return any(layer.weight_norm != sizes.get(layer.name, layer.weight_norm) for one in passes for layer in one)


def _of_the_batch(view: View) -> Iterator[Circumstance]:
    if view.record.samples == 0:
        yield Circumstance("the batch holds no samples: nothing was judged", ALL)
    if view.is_fed_zeros:
        yield Circumstance("the input is all zeros: what its gradients lack is no fault of the model", SIZES)
    alone = {signal.name for signal in view.leaves if signal.positions == 1}
    if alone:
        note = "sequences of one position: attention has nothing to choose, and what is zero for that is no fault"
        yield Circumstance(note, {DEAD.name}, concerns=lambda finding: alone.issuperset(finding.layers), is_told=False)


def _of_the_loss(view: View, trained: bool) -> Iterator[Circumstance]:
    record = view.record
    if record.loss == 0 and not any(layer.norm for layer in record):
        note = "the loss is exactly zero: there is nothing to learn from, and gradients of zero are no fault"
        yield Circumstance(note, SIZES)
    elif _is_deaf(view) and not record.step_function and abs(record.loss or 0.0) > UNDERFLOWS:
        note = "the loss did not change with the output in this pass (all is masked, or weighted by zero): not judged"
        yield Circumstance(note, SIZES)
    if view.is_plain_sum or record.toy_loss == "sum":
        note = "the loss is the plain sum or mean of the output: how much it depends on the weights was not judged"
        # Outputs of either sign may add up to nothing, so that nothing is steep beside it.
        yield Circumstance(note, {"insensitive-loss", "exploding-gradient"})
    if trained:
        return
    if record.toy_loss == "element":
        note = "one number of the output was sent back, and nothing trained: only NaN was judged"
        yield Circumstance(note, ALL_BUT_NAN)
    if record.toy_loss == "sum" and any("Norm" in signal.kind for signal in view.leaves):
        note = "the loss is the plain sum or mean of an output behind a normalisation, and nothing trained: sizes of "
        yield Circumstance(f"{note}gradients were not compared", COMPARED)
    if any(signal.nonfinite_input for signal in view.leaves[:1]):
        yield Circumstance("the batch itself holds NaN or infinity, and nothing trained: not judged", ALL)


def _is_deaf(view: View) -> bool:
    """Whether what is called from outside gave outputs with a graph, and all that came back to them is zero."""
    names = {signal.name for signal in view.record.signals}
    outer = [s for s in view.record.signals if not any(path in names for path in _above(s.name))]
    came = [signal.gradient for signal in outer if signal.attached and signal.gradient is not None]
    return bool(came) and not any(came) and not any(layer.norm for layer in view.record)


def _above(name: str) -> Iterator[str]:
    """Paths of the modules that a module is in, without itself."""
    parts = name.split(".") if name else []
    return (".".join(parts[:end]) for end in range(len(parts)))


def _of_chance(view: View, passes: Sequence[GradientRecord]) -> Iterator[Circumstance]:
    if len(passes) < SEVERAL and view.record.random:
        note = "random numbers were drawn, and some of several blocks alike had no part in the loss: it may be chance"
        faults = {MISSING.name, DEAD.name}
        yield Circumstance(note, faults, concerns=lambda finding: _are_dropped(view, finding), is_told=False)
    note = "one of several towers alike was not chosen in this pass (a minimum, a mask): it was not judged"
    yield Circumstance(note, {DEAD.name}, concerns=lambda finding: _are_unchosen(view, finding, passes), is_told=False)
    if len(passes) == 1:
        note = "near its limit in a single pass: another draw of the weights or the batch may lie on the other side"
        yield Circumstance(note, COMPARED | {DEAD.name, SATURATED.name}, concerns=_is_near, is_told=False)


def _are_dropped(view: View, finding: Finding) -> bool:
    """Whether the layers lie in numbered blocks, and the same layer of another block received a gradient."""
    layers = [view.layer(name) for name in finding.layers]
    return all(layer is not None and (not layer.norm) and _has_living_sibling(view, layer) for layer in layers)


def _has_living_sibling(view: View, layer: LayerGradient) -> bool:
    parts = layer.name.split(".")
    families = (view.families[pattern(parts, position)].values() for position in numbers(parts))
    return any(other.norm for family in families for other in family if other.name != layer.name)


def _are_unchosen(view: View, finding: Finding, passes: Sequence[GradientRecord]) -> bool:
    """Whether what is silent is a whole tower beside one alike, which comes in another pass, or may yet."""
    silent = [layer for name in finding.layers if (layer := view.layer(name)) is not None]
    if not silent or not all(_ends_in_silence(view, layer) and _has_living_twin(view, layer) for layer in silent):
        return False
    comes = {layer.name for one in passes for layer in one if layer.norm}
    return len(passes) < SEVERAL or all(layer.name in comes for layer in silent)


def _ends_in_silence(view: View, layer: LayerGradient) -> bool:
    """Whether no layer behind it receives a gradient: it is the loss that does not ask for it."""
    return not any(layer.name in view.upstream[other.name] for other in view.trained if other.norm)


def _has_living_twin(view: View, layer: LayerGradient) -> bool:
    """A layer of the same kind and shape that runs beside it, neither in front nor behind."""
    return any(
        other.norm
        and (other.kind, other.shape) == (layer.kind, layer.shape)
        and other.name not in view.upstream[layer.name]
        and layer.name not in view.upstream[other.name]
        for other in view.trained
    )


def _is_near(finding: Finding) -> bool:
    """Within a factor of the limit; of a share, of what is left of it."""
    value, limit = finding.value, finding.limit
    if not value or not limit or not math.isfinite(value):
        return False
    if finding.limit_name in ("max_dead", "max_saturation"):
        value, limit = 1 - value, 1 - limit
    return value > 0 and limit > 0 and max(value / limit, limit / value) < NEAR


def is_set(limits: Limits, name: str) -> bool:
    """Whether the user has set a limit, which then holds whatever the test is like."""
    return bool(name) and not limits.is_default(name)
