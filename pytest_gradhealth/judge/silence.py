"""Layers whose gradient is zero, or as good as zero."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_gradhealth.errors import counted
from pytest_gradhealth.judge import design, localise
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.judge.wording import dead_end, named
from pytest_gradhealth.record import Finding, LayerGradient

__all__ = ["is_excused", "silent_layers"]


def is_excused(view: View, layer: LayerGradient) -> bool:
    """By design, or by a batch that is all zeros, or whose positions are all alike: attention has nothing to choose."""
    if design.reason(view, layer):
        return True
    if view.is_fed_zeros:
        return view.is_given_nothing(layer)
    return not view.tokens_differ and bool(view.trained[0].norm)


def silent_layers(rule: Rule, view: View, silent: Sequence[LayerGradient], zero: str) -> Finding:
    """One finding for all of them, at the last: behind it the gradient is alive."""
    culprit = localise.dead_end(view, silent)
    names = [layer.name for layer in silent if layer.name != culprit]
    more = f", and so is that of {counted(len(names), 'other layer')}" if names else ""
    return rule.finding(
        [culprit, *names],
        f"the gradient of {named(culprit)} is {zero}{more}",
        value=view.record[culprit].norm,
        **dead_end(view, culprit),
    )
