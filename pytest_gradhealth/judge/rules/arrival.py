"""Gradients that never come, or come as nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from pytest_gradhealth.errors import counted
from pytest_gradhealth.judge import design, explain, localise
from pytest_gradhealth.judge.limits import Limits
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding, LayerGradient

__all__ = ["dead", "dropped", "missing", "silent_share", "starved", "unregistered"]

FUSED = design.AFFINE | {"Conv1D"}
"""Layers that may make several things at once, to be cut apart behind them."""
SHUT = 0.5
"""Share of units that biases hold shut, beyond those that they hold open, from which a layer counts as dead."""
DROPPED = 0.9
"""Probability of a dropout above which nobody uses one: a tenth of all units was kept in wide layers of the past."""


def missing(view: View) -> Iterator[Finding]:
    """A trainable parameter that receives no gradient in any batch: cut off, skipped, or never used."""
    lost = [layer for layer in view.judged if layer.missing and not design.reason(view, layer)]
    whole = [layer for layer in lost if layer.norm is None]
    cut = [layer for layer in whole if localise.is_cut(view, layer)]
    cut_off = {layer.name for layer in cut}
    unused = [layer for layer in lost if layer.name not in cut_off]
    if cut:
        culprit = localise.cut_site(view, cut)
        names = [layer.name for layer in cut if layer.name != culprit]
        behind = f"; neither it nor {counted(len(names), 'other layer')} can learn" if names else "; it cannot learn"
        yield Finding(
            kind="missing",
            layers=(culprit, *names),
            message=f"no gradient reaches {culprit or 'the model'!r}{behind}",
            value=float(len(cut)),
            **explain.cut(view, culprit),
        )
    for left_out, group in localise.families(view, unused):
        yield _unused(view, left_out, group)


def _unused(view: View, left_out: str, group: Sequence[LayerGradient]) -> Finding:
    first = group[0]
    single = len(group) == 1 and localise.is_alive(view, first)
    what = f"parameter {first.missing[0]!r} of {first.name or 'the model'!r}" if single else repr(left_out)
    more = f" ({counted(len(group), 'layer')} in all)" if len(group) > 1 else ""
    return Finding(
        kind="missing",
        layers=tuple(layer.name for layer in group),
        message=f"{what} never receives a gradient{more}",
        **explain.unused(view, first, left_out),
    )


def unregistered(view: View) -> Iterator[Finding]:
    """Parameters that receive a gradient, and that no optimiser hears of."""
    unregistered = [found for found in view.record.unregistered if view.limits.judges(found.module)]
    if not unregistered:
        return
    first, *others = unregistered
    more = f" (and so in {counted(len(others), 'other place')})" if others else ""
    yield Finding(
        kind="unregistered",
        layers=tuple(dict.fromkeys(found.module for found in unregistered)),
        message=f"{explain.of_unregistered(first)} has {counted(first.parameters, 'parameter')} that "
        f"model.parameters() does not list: no optimiser moves them{more}",
        value=float(sum(found.parameters for found in unregistered)),
        **explain.unregistered(first),
    )


def dead(view: View) -> Iterator[Finding]:
    """Layers whose gradient is exactly zero, and layers most of whose units are."""
    silent = [layer for layer in view.trained if layer.norm == 0 and not _is_excused(view, layer)]
    if silent:
        yield _dead_end(view, silent, "exactly zero")
        return
    for layer in view.hidden:
        allowed = _allowed_dead(view, layer)
        alive = layer.norm and not view.is_given_nothing(layer)  # else it is silent as a whole, or has nothing to show
        if allowed is not None and alive and layer.units and layer.dead > allowed:
            yield Finding(
                kind="dead",
                layers=(layer.name,),
                message=f"{layer.dead:.0%} of the {layer.units} units of {layer.name!r} have zero gradient "
                f"(limit {allowed:.0%})",
                value=layer.dead,
                limit=allowed,
                limit_name="max_dead",
                provisional=True,
                **explain.dead_units(view, layer),
            )


def silent_share(view: View) -> Iterator[Finding]:
    """One of several things that a layer makes at once, as query, key and value, receives nothing."""
    found = [layer for layer in view.hidden if _has_silent_share(view, layer)]
    if not found:
        return
    culprit, others = found[0], len(found) - 1
    first, last = culprit.silent_units
    more = f"; and so in {counted(others, 'other layer')}" if others else ""
    yield Finding(
        kind="dead",
        layers=tuple(layer.name for layer in found),
        message=f"units {first} to {last} of the {culprit.units} of {culprit.name!r} have zero gradient, the others "
        f"not{more}",
        provisional=True,
        cause="what they give is cut off, rounded or multiplied by zero behind the layer (query, key, a gate)",
        remedy="look at what its output is split into, and at a detach, a scale or a mask there",
    )


def _has_silent_share(view: View, layer: LayerGradient) -> bool:
    """Left out is attention over one position, which has nothing to choose, and what a library does by itself."""
    signal = view.signal(layer.name)
    if not layer.silent_units or layer.kind not in FUSED or layer.installed:
        return False
    if (signal is not None and signal.positions == 1) or design.is_last_alone(view, layer):
        return False
    return not _is_excused(view, layer)


def _allowed_dead(view: View, layer: LayerGradient) -> float | None:
    """Chance leaves many units dead for one batch; a bias that holds them shut does so for every batch."""
    limit = view.limits.of(layer.name).max_dead
    return SHUT if limit == Limits().max_dead and layer.dead_by_bias > SHUT else limit


def dropped(view: View) -> Iterator[Finding]:
    """A dropout that leaves next to nothing, as where the share to keep was given for the share to drop."""
    for signal in view.leaves:
        if DROPPED < signal.dropout < 1 and view.limits.judges(signal.name):
            noise = math.sqrt(signal.dropout / (1 - signal.dropout))
            yield Finding(
                kind="dead",
                layers=(signal.name,),
                message=f"{signal.name!r} ({signal.kind}) drops {signal.dropout:.3g} of what it is given",
                value=signal.dropout,
                cause=f"the noise that it adds is {noise:.0f} times as large as what it is given",
                remedy="lower p: it is the share that is dropped, not the one that is kept",
            )


def starved(view: View) -> Iterator[Finding]:
    """Layers whose gradient is nothing beside the others', though it fades neither on its way back nor forward."""
    silent = [layer for layer in view.trained if view.is_starved(layer) and not _is_excused(view, layer)]
    if silent:
        yield _dead_end(view, silent, "nothing beside the others'")


def _dead_end(view: View, silent: Sequence[LayerGradient], zero: str) -> Finding:
    culprit = localise.dead_end(view, silent)
    names = [layer.name for layer in silent if layer.name != culprit]
    more = f", and so is that of {counted(len(names), 'other layer')}" if names else ""
    return Finding(
        kind="dead",
        layers=(culprit, *names),
        message=f"the gradient of {culprit!r} is {zero}{more}",
        value=view.record[culprit].norm,
        provisional=True,
        **explain.dead_end(view, culprit),
    )


def _is_excused(view: View, layer: LayerGradient) -> bool:
    """By design, or by a batch that is all zeros, or whose positions are all alike: attention has nothing to choose."""
    if design.reason(view, layer):
        return True
    if view.is_fed_zeros:
        return view.is_given_nothing(layer)
    return not view.tokens_differ and bool(view.trained[0].norm)
