"""GH603: an optimiser steps, and none of its parameters ever has a gradient."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.errors import counted
from pytest_gradhealth.judge.families import OPTIMISER
from pytest_gradhealth.judge.optimising import REPLACED, SEVERAL
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.judge.wording import Explanation
from pytest_gradhealth.record import Finding, OptimiserUse

__all__ = ["RULE", "find"]

RULE = Rule(
    code="GH603",
    slug="idle-optimiser",
    title="idle optimiser",
    summary="An optimiser makes steps, but none of the parameters that it holds has a gradient at any of them.",
    family=OPTIMISER,
    when_silenced=True,
    theory="""\
An optimiser skips parameters whose `.grad` is `None` without a word ([PyTorch:
Optimizer.step](https://docs.pytorch.org/docs/stable/optim.html)). A generator whose output is detached, adapters
that were loaded frozen, a model that was made anew after its optimiser, or `loss.requires_grad_(True)` on a loss
without a graph all train nothing and raise nothing; so do `clip_grad_norm_(parameters, 0)` and `zero_grad()` between
`backward()` and `step()`. Found in tests that train by themselves, from two steps on.""",
    remedies=(
        "Make the optimiser when the model is final.",
        "Set `requires_grad_(True)` on the parameters to train, not on the loss.",
        "Remove what cuts the graph between the model and the loss.",
        "Call `zero_grad()` in front of `backward()`, and clip at a norm above 0.",
    ),
)


def find(view: View) -> Iterator[Finding]:
    """The first optimiser that made several steps and had a gradient at none of them."""
    for use in view.record.optimisers:
        emptied = _emptied(view) if use.zeroed and not use.foreign else ()
        if (use.reached and not emptied) or use.steps < SEVERAL:
            continue
        yield _lost_before_step(use, emptied) if emptied else _never(view, use)
        return


def _emptied(view: View) -> tuple[str, ...]:
    """Layers that an optimiser holds and the backward brought a gradient."""
    return tuple(layer.name for layer in view.judged if layer.optimised and layer.norm)


def _lost_before_step(use: OptimiserUse, layers: tuple[str, ...]) -> Finding:
    if use.reached:
        cause = "something sets them to zero between backward() and step(): clip_grad_norm_ or clip_grad_value_ with 0"
        remedy = "clip at a value above 0, or not at all"
    else:
        cause = "zero_grad() runs between backward() and step()"
        remedy = "call zero_grad() in front of backward(), or behind step()"
    return RULE.finding(
        layers,
        f"{use.kind} made {use.steps} steps, and each gradient that a backward brought was gone by then",
        value=float(use.steps),
        cause=cause,
        remedy=remedy,
    )


def _never(view: View, use: OptimiserUse) -> Finding:
    return RULE.finding(
        _layers(view, use),
        f"{use.kind} made {use.steps} steps, and none of the {counted(use.parameters, 'parameter')} that it holds ever "
        "had a gradient",
        value=float(use.steps),
        **_explanation(view, use),
    )


def _layers(view: View, use: OptimiserUse) -> tuple[str, ...]:
    """The last of its layers; where it holds none of the model's, those that no optimiser holds."""
    if use.foreign:
        return tuple(layer.name for layer in view.judged if layer.optimised is False)
    return tuple(layer.name for layer in reversed(view.judged) if layer.norm is None and layer.optimised)


def _explanation(view: View, use: OptimiserUse) -> Explanation:
    if use.foreign == use.parameters:
        return REPLACED
    if use.frozen == use.parameters:
        return Explanation(cause="requires_grad is False for all of them", remedy="set requires_grad_(True) on them")
    if view.record.detached_loss:
        return Explanation(
            cause="the loss has no graph: requires_grad_(True) on it only silences torch's error",
            remedy="remove that, and compute the loss with functions that have a slope (softmax for argmax, no detach)",
        )
    return Explanation(
        cause="the model's output is cut off on its way to the loss: detach, no_grad, item, argmax or a new tensor",
        remedy="remove that; gradhealth.check(model, batches, loss=...) finds the line",
    )
