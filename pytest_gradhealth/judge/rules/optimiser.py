"""What an optimiser is for: to hold what receives a gradient, and to move it."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.errors import counted
from pytest_gradhealth.judge.explain.common import Explanation
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding, OptimiserUse

__all__ = ["idle", "lost_update", "unoptimised"]

SEVERAL = 2
"""Steps from which an optimiser that never had a gradient is no rehearsal: schedulers ask for one in vain."""
LOST = 0.9
"""Share of a layer's updates that rounding takes away, from which the layer does not train."""
REPLACED = Explanation(
    cause="the optimiser was made before layers were replaced (pruning, a new head, the model made anew), and still "
    "holds the old ones",
    remedy="make the optimiser when the model is final",
)


def idle(view: View) -> Iterator[Finding]:
    """An optimiser that makes steps, and none of whose parameters ever has a gradient."""
    for use in view.record.optimisers:
        if use.reached or use.steps < SEVERAL:
            continue
        what = counted(use.parameters, "parameter")
        yield Finding(
            kind="idle-optimiser",
            layers=_layers(view, use),
            message=f"{use.kind} made {use.steps} steps, and none of the {what} that it holds ever had a gradient",
            value=float(use.steps),
            **_why_idle(view, use),
        )
        return


def _layers(view: View, use: OptimiserUse) -> tuple[str, ...]:
    """The last of its layers; where it holds none of the model's, those that no optimiser holds."""
    if use.foreign:
        return tuple(layer.name for layer in view.judged if layer.optimised is False)
    return tuple(layer.name for layer in reversed(view.judged) if layer.norm is None and layer.optimised)


def _why_idle(view: View, use: OptimiserUse) -> Explanation:
    if use.foreign == use.parameters:
        return REPLACED
    if use.frozen == use.parameters:
        return Explanation(cause="requires_grad is False for all of them", remedy="set requires_grad_(True) on them")
    if view.record.detached_loss:
        return Explanation(
            cause="the loss has no graph: requires_grad_(True) on it only silences torch's error",
            remedy="take that away, and compute the loss by functions with a slope (softmax for argmax, no detach)",
        )
    return Explanation(
        cause="what the model gives is cut off on its way to the loss: detach, no_grad, item, argmax or a new tensor",
        remedy="take that away; gradhealth.check(model, batches, loss=...) finds the line",
    )


def unoptimised(view: View) -> Iterator[Finding]:
    """Layers with a gradient in no optimiser, beside one that holds what the model has not any more.

    Without such a one they may be left out on purpose, as where only a new head is trained.
    """
    free = [layer for layer in view.trained if layer.norm and layer.optimised is False]
    stale = [use for use in view.record.optimisers if use.foreign and use.steps >= SEVERAL and use.reached]
    if not free or not stale:
        return
    use, names = stale[0], tuple(layer.name for layer in free)
    more = f" and {counted(len(names) - 1, 'other layer')}" if len(names) > 1 else ""
    yield Finding(
        kind="unoptimised",
        layers=names,
        message=f"{names[0]!r}{more} received a gradient, but no optimiser holds the weights; of the "
        f"{counted(use.parameters, 'parameter')} in {use.kind}, {use.foreign} belong to no model that was called",
        value=float(use.foreign),
        **REPLACED,
    )


def lost_update(view: View) -> Iterator[Finding]:
    """Weight and step add up to the same weight: half precision has no number in between (Micikevicius et al., 2018,
    https://arxiv.org/abs/1710.03740, section 3.1).
    """
    moved = [layer for layer in view.trained if layer.lost_update is not None]
    lost = [layer for layer in moved if (layer.lost_update or 0.0) > LOST]
    if not any(use.learning_rate for use in view.record.optimisers) or 2 * len(lost) <= len(moved):
        return
    share = min(layer.lost_update or 0.0 for layer in lost)
    yield Finding(
        kind="lost-update",
        layers=tuple(layer.name for layer in lost),
        message=f"a step left {share:.0%} of the weights of {counted(len(lost), 'layer')} exactly as they were, though "
        "they have a gradient",
        value=share,
        provisional=True,
        cause=f"the steps are smaller than the distance between two numbers of {view.record.precision}",
        remedy="keep the weights in float32 (torch.autocast computes in half), or raise the learning rate",
    )
