"""What the graph between output and loss shows, and the layer that it is told at."""

from __future__ import annotations

from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import LossGraph

__all__ = ["loss_of"]


def loss_of(view: View) -> tuple[LossGraph, str]:
    """What is known of the loss, and the last layer, whose outputs it is given; nothing where that layer is ignored."""
    last = view.called[-1].name if view.called else ""
    known = view.record.loss_graph if view.limits.judges(last) else None
    return known or LossGraph(), last
