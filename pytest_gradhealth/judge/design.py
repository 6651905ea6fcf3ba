"""Odd numbers that are healthy by design, said so instead of ignored."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import LayerGradient

__all__ = ["reason"]

LINEAR = 2
"""Dimensions of the weight of a linear layer."""

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
    if _starts_at_zero(layer):
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
    return "not used by this model" if layer.installed and not _is_cut_by_user(view, layer) else ""


def _is_cut_by_user(view: View, layer: LayerGradient) -> bool:
    """Whether an installed model lost its gradient outside of it: by a line of the user's, or for the most part."""
    if view.record.operations:
        return any(layer.name in operation.behind and not operation.installed for operation in view.record.operations)
    bought = [other for other in view.judged if other.installed]
    return sum(other.norm is None for other in bought) > len(bought) / 2


def _silent_by_design(view: View, layer: LayerGradient) -> str:
    if _is_unrouted_expert(view, layer):
        return "expert not routed to"
    later = view.later.layer(layer.name) if view.later else None
    if later is not None and later.norm:
        return "waits for a gate that starts at zero"
    return ""


def _is_unrouted_expert(view: View, layer: LayerGradient) -> bool:
    """Given nothing, with numbered siblings that were trained: called experts, or given shares of the batch."""
    signal = view.signal(layer.name)
    if signal is not None and signal.size:
        return False
    parts = layer.name.split(".")
    for position in (i for i, part in enumerate(parts) if part.isdigit()):
        pattern = ".".join([*parts[:position], "*", *parts[position + 1 :]])
        siblings = [other for other in view.record.matching(pattern) if other.name != layer.name and other.norm]
        if siblings and ("expert" in layer.name.lower() or _are_routed(view, layer, siblings)):
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


def _is_copy(layer: LayerGradient, other: LayerGradient) -> bool:
    return 0 < layer.weight_norm == other.weight_norm


def _starts_at_zero(layer: LayerGradient) -> bool:
    """A weight, not only a bias: those start at zero everywhere."""
    return any("bias" not in name for name in layer.closed)
