"""Gradients and signals that grow beyond what any step size suits, or beyond numbers."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from itertools import chain, islice

from pytest_gradhealth.judge import explain, localise
from pytest_gradhealth.judge.limits import Limits
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding, LossGraph

__all__ = ["HEADROOM", "allowed_elasticity", "exploding", "non_finite", "saturated"]

HEADROOM = 100
"""The most that batch normalisation may add: beyond it, a hundred layers without skip connections, nothing trains."""
JUMP = 10
"""How much more one layer alone may grow: it may sum over many neighbours, or hold a scale."""
SEVERAL = 3
"""Activations from which their median tells of the whole stack: one that is saturated the others make up for."""


def non_finite(view: View) -> Iterator[Finding]:
    """NaN or infinity in the loss or in any gradient; masked logits alone (minus infinity forward) are no fault."""
    sick = [layer for layer in view.judged if layer.nan or layer.inf]
    loss = view.record.loss
    if not sick and (loss is None or math.isfinite(loss)):
        return
    culprit, where = localise.first_nonfinite(view)
    affected = [layer.name for layer in sick if layer.name != culprit]
    share = f"; {len(sick)} of {len(view.judged)} layers have NaN or infinite gradients" if sick else ""
    yield Finding(
        kind="non-finite",
        layers=(culprit, *affected),
        message=f"{where}{share}",
        value=None if loss is None else loss,
        **explain.non_finite(view, culprit),
    )


def exploding(view: View) -> Iterator[Finding]:
    """The loss is so steep, or the signal so large, that no step size suits."""
    loss, limit = view.loss_scale, allowed_elasticity(view)
    if limit is not None and loss and view.strongest / loss > limit:
        worst = localise.exploding_stretch(view)
        yield Finding(
            kind="exploding",
            layers=tuple(worst),
            message=f"1 % on the weights of {worst[0]!r} changes the loss by {view.strongest / loss:.0e} % "
            f"(limit {limit:.0e})",
            value=view.strongest / loss,
            limit=limit,
            limit_name="max_elasticity",
            provisional=True,
            **explain.exploding(view, worst),
        )
        return
    yield from islice(chain(_overgrown(view), _at_birth(view)), 1)


def allowed_elasticity(view: View) -> float | None:
    """The default limit gives way to what batch normalisation does by itself, the user's own does not.

    Through each batch normalisation with a ReLU the gradient grows by sqrt(pi / (pi - 1)) = 1.21 at initialisation,
    whatever the weights, and the first steps take that away (Yang et al., 2019, https://arxiv.org/abs/1902.08129).
    """
    limit = view.limits.max_elasticity
    if limit is None or limit != Limits().max_elasticity:
        return limit
    layers = sum(signal.kind.startswith("BatchNorm") for signal in view.leaves)
    return limit * min(math.sqrt(math.pi / (math.pi - 1)) ** layers, HEADROOM)


def _overgrown(view: View) -> Iterator[Finding]:
    """The forward side: a homogeneous network hides an explosion from every ratio of gradients."""
    limit = view.limits.max_growth
    sizes = [signal for signal in view.leaves if signal.rms and math.isfinite(signal.rms)]
    body = sizes[:-1]  # a last scaling may be the unit of the target
    if limit is None or len(body) < 2:
        return
    start = max(max(signal.rms for signal in body[: math.ceil(len(body) / 4)]), 1.0)
    largest = max(body, key=lambda signal: signal.rms)
    if largest.rms / start <= limit:
        return
    stretch = localise.growing_stretch(view)
    allowed = limit * (JUMP if len(stretch) == 1 else 1)
    if largest.rms / start <= allowed:
        return
    yield Finding(
        kind="exploding",
        layers=tuple(stretch),
        message=f"the signal grows {largest.rms / start:.0e} times on its way forward (limit {allowed:.0e}), "
        f"{localise.span(view, stretch)}",
        value=largest.rms / start,
        limit=allowed,
        limit_name="max_growth",
        provisional=True,
        **explain.growing(view, stretch),
    )


def _at_birth(view: View) -> Iterator[Finding]:
    """Outputs so large that the model is certain of what it has not learnt, or that targets are nothing beside them."""
    seen = view.record.loss_graph or LossGraph()
    for value, name, what in (
        (seen.initial_loss, "max_initial_loss", "the cross entropy is {:.3g} times that of a guess (limit {:g})"),
        (seen.output_scale, "max_initial_loss", "the outputs are {:.3g} times as large as the targets (limit {:g})"),
    ):
        limit = getattr(view.limits, name)
        if limit is None or value is None or value <= limit:
            continue
        stretch = localise.growing_stretch(view)
        yield Finding(
            kind="exploding",
            layers=tuple(stretch),
            message=f"{what.format(value, limit)}, grown {localise.span(view, stretch)}",
            value=value,
            limit=limit,
            limit_name=name,
            provisional=True,
            **explain.growing(view, stretch),
        )


def saturated(view: View) -> Iterator[Finding]:
    """Most of what goes through the activations comes to where they have no slope (Glorot & Bengio, 2010)."""
    limit, several = view.limits.max_saturation, view.bounded
    if limit is None or len(several) < SEVERAL:
        return
    middle = statistics.median(signal.saturation or 0.0 for signal in several)
    if middle <= limit:
        return
    kind = several[0].kind
    yield Finding(
        kind="saturated",
        layers=tuple(localise.saturated_stretch(view)),
        message=f"{middle:.0%} of the outputs of {len(several)} {kind} modules lie where the slope is next to zero "
        f"(median, limit {limit:.0%})",
        value=middle,
        limit=limit,
        limit_name="max_saturation",
        provisional=True,
        **explain.saturated(view, kind),
    )
