"""Odd numbers that are healthy by design, said so instead of ignored."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_gradhealth.judge import localise
from pytest_gradhealth.judge.view import View, numbers, pattern
from pytest_gradhealth.record import LayerGradient, Operation, Signal

__all__ = ["AFFINE", "is_last_alone", "reason"]

LINEAR = 2
"""Dimensions of the weight of a linear layer."""

AFFINE = frozenset({"Linear", "Bilinear", "Conv1d", "Conv2d", "Conv3d"})
"""Torch's layers that add a bias to what they give."""
FEW = 0.25
"""Share of silent layers up to which they are a part that an installed model does not use."""
NOISE = 1e-6
"""Gradient over the strongest: what is below it in front of a normalisation is rounding."""


def reason(view: View, layer: LayerGradient) -> str:
    """Why an odd number at this layer is healthy; empty: there is nothing odd, or nothing that explains it."""
    if layer.frozen:
        return "frozen"
    if layer.norm is None or layer.missing:
        return _left_out_by_design(view, layer)
    if layer.norm == 0:
        return _silent_by_design(view, layer)
    if layer.starts_at_zero:
        return "starts at zero"
    following = view.following(layer.name)
    if layer.norm < NOISE * view.largest_norm and following is not None and "Norm" in following.kind:
        return "shift before a normalisation"
    return ""


def _left_out_by_design(view: View, layer: LayerGradient) -> str:
    if _is_unrouted_expert(view, layer):
        return "expert not routed to"
    if _has_trained_twin(view, layer):
        return "copy of a trained twin"
    if _is_last_by_product(view, layer):
        return "by-product of the last block"
    if _enters_by_slope(view, layer):
        return "shift that a derivative does not see"
    return "not used by this model" if layer.installed and not _is_cut_by_user(view, layer) else ""


def _enters_by_slope(view: View, layer: LayerGradient) -> bool:
    """The loss is made of the output's derivative (a score, a force), in which a last bias leaves no trace.

    There is no other way in which the weight of torch's own layer is trained and its bias is not.
    """
    signal = view.signal(layer.name)
    called = signal is not None and signal.attached and not layer.tied
    return called and layer.kind in AFFINE and layer.norm is not None and layer.missing == ("bias",)


def _is_cut_by_user(view: View, layer: LayerGradient) -> bool:
    """Whether an installed model lost its gradient outside of it: by a line of the user's, or for the most part."""
    if view.record.operations:
        return any(layer.name in operation.upstream and not operation.installed for operation in view.record.operations)
    return view.installed_is_cut


def _silent_by_design(view: View, layer: LayerGradient) -> str:
    if _is_unrouted_expert(view, layer):
        return "expert not routed to"
    if any(other.norm for other in view.trained if other.name.startswith(f"{layer.name}.parametrizations.")):
        return "shift that this loss does not see"
    later = view.later.layer(layer.name) if view.later else None
    if later is not None and later.norm:
        return "waits for a gate that starts at zero"
    if _is_unasked(view, layer):
        return "not asked for in the last block"
    return "not used by this model" if layer.installed and _is_left_alone(view, layer) else ""


def _is_unrouted_expert(view: View, layer: LayerGradient) -> bool:
    """Given nothing, with numbered siblings that were trained: called experts, or given shares of the batch.

    What is called an expert may also be given everything, and multiplied by zero.
    """
    signal, parts = view.signal(layer.name), layer.name.split(".")
    is_expert, is_given_rows = "expert" in layer.name.lower(), signal is not None and bool(signal.size)
    if is_given_rows and layer.norm != 0:
        return False
    for position in numbers(parts):
        if is_given_rows and not (position and "expert" in parts[position - 1].lower()):
            continue
        family = view.families[pattern(parts, position)].values()
        siblings = [other for other in family if other.name != layer.name and other.norm]
        if siblings and (is_expert or _are_routed(view, layer, siblings)):
            return True
    return False


def _are_routed(view: View, layer: LayerGradient, siblings: Sequence[LayerGradient]) -> bool:
    """Whether linear layers of the same shape were given different numbers of rows, as only a router does."""
    alike = [other.name for other in siblings if (other.kind, other.shape) == (layer.kind, layer.shape)]
    sizes = {signal.size for name in alike if (signal := view.signal(name)) is not None}
    return len(layer.shape) == LINEAR and len(sizes) > 1


def _has_trained_twin(view: View, layer: LayerGradient) -> bool:
    """A teacher or target network: the same layer, by kind, shape and last name, trained elsewhere in the model.

    It was called without a graph, or still holds the weights that it was copied from: what follows by copying is not
    there to be trained.
    """
    signal = view.signal(layer.name)
    ungraphed = signal is not None and not signal.attached
    root, _, rest = layer.name.partition(".")
    twins = (
        other for other in view.trained if other.name.partition(".")[2] == rest and other.name.partition(".")[0] != root
    )
    return bool(rest) and any(
        other.norm and (other.kind, other.shape) == (layer.kind, layer.shape) and (ungraphed or _is_copy(layer, other))
        for other in twins
    )


def _is_last_by_product(view: View, layer: LayerGradient) -> bool:
    """What repeated blocks make for the next one, which the last block has not: N-BEATS' backcast, WaveNet's residual.

    The same layer of every block before is trained, and so is another part of the last block.
    """
    parts = layer.name.split(".")
    return any(
        _are_trained_before(view, parts, position) and _has_trained_mate(view, parts, position)
        for position in numbers(parts)
    ) and not localise.is_cut(view, layer)


def _is_unasked(view: View, layer: LayerGradient) -> bool:
    """What the last of repeated blocks does for tokens or streams that no read-out looks at.

    The same layer of every block before is trained, and so is another part of the last block; and nothing there is
    seen to be shut.
    """
    parts = layer.name.split(".")
    for position in numbers(parts):
        if not _are_trained_before(view, parts, position):
            continue
        inside = [other for other in view.trained if other.name.startswith(_block(parts, position))]
        silent = [other for other in inside if not other.norm]
        if layer in silent and len(silent) < len(inside):
            return not _are_shut(view, silent)
    return False


def is_last_alone(view: View, layer: LayerGradient) -> bool:
    """Whether a share of it is silent in the last of numbered blocks only: queries of which nobody reads the answer."""
    parts = layer.name.split(".")
    families = [(view.families[pattern(parts, position)], int(parts[position])) for position in numbers(parts)]
    return any(
        len(family) > 1 and number == max(family) and not any(family[i].silent_units for i in family if i != number)
        for family, number in families
    )


def _is_left_alone(view: View, layer: LayerGradient) -> bool:
    """An installed model that computes more than it uses: a few silent layers, and nothing of theirs is shut."""
    if len(view.silent_runs) > len(view.trained) * FEW or not any(other.norm for other in view.front):
        return False
    return not _are_shut(view, view.silent_runs[layer.name])


def _are_shut(view: View, silent: Sequence[LayerGradient]) -> bool:
    """Whether something is seen to send nothing back to layers that hang together."""
    return any(map(_is_shut, localise.shutters(view, localise.dead_end(view, silent))))


def _is_shut(found: Operation | Signal | LayerGradient) -> bool:
    """A choice among one is none, but it is no fault either; nor is what a library multiplies by zero itself."""
    if not isinstance(found, Operation) or found.constant is None:
        return True
    return found.constant == 0 and not found.installed


def _are_trained_before(view: View, parts: Sequence[str], position: int) -> bool:
    """Whether this is the last of numbered siblings, of which all others are trained."""
    family, number = view.families[pattern(parts, position)], int(parts[position])
    return number == max(family) and len(family) > 1 and all(family[i].norm for i in family if i != number)


def _has_trained_mate(view: View, parts: Sequence[str], position: int) -> bool:
    """Whether another layer of the same block is trained: one of the same number, in this list or a parallel one.

    In a parallel list (``skips.3`` beside ``residuals.3``) that tells only of a layer that was called: a block that
    is left out as a whole has no by-products.
    """
    name = ".".join(parts)
    others = [other.name for other in view.trained if other.norm and other.name != name]
    if any(other.startswith(_block(parts, position)) for other in others):
        return True
    if not position or view.signal(name) is None:
        return False
    parallel = pattern(parts, position - 1)
    return any(pattern(other.split("."), position - 1) == parallel for other in others)


def _block(parts: Sequence[str], position: int) -> str:
    """How the names of all that is in a numbered block begin."""
    return f"{'.'.join(parts[: position + 1])}."


def _is_copy(layer: LayerGradient, other: LayerGradient) -> bool:
    return 0 < layer.weight_norm == other.weight_norm
