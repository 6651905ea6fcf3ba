"""GH608: steps of the optimiser are larger than the weights."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.judge.families import OPTIMISER
from pytest_gradhealth.judge.optimising import TRAINING, trained_by
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding, GradientRecord, LayerGradient

__all__ = ["RULE", "find"]

RULE = Rule(
    code="GH608",
    slug="excessive-steps",
    title="excessive steps",
    summary="Steps of the optimiser sweep the weights away, and the loss has not fallen or layers have died.",
    family=OPTIMISER,
    when_silenced=True,
    leads=True,
    theory="""\
A step changes a well-trained layer by about a thousandth of its weights. Where single steps are as large as the
weights, or some steps have made them five times as large, nothing is left of the initialisation, and the loss is
whatever chance makes of it. This is reported where it holds for most layers and the loss is no lower than at the first
step, or layers have died since: a learning rate or momentum far too large. Found in tests that train by themselves.""",
    remedies=("Lower the learning rate: 1e-3 for Adam and 0.01 to 0.1 for SGD are common.", "Lower the momentum."),
)

WHOLE, GROWN = 1.0, 5.0
"""Size of a step over the weights, and growth of these, from which nothing of the initialisation is left."""


def find(view: View) -> Iterator[Finding]:
    """Most layers are swept away, and the loss is no lower than before or a layer is dead."""
    last, uses = view.record.later, trained_by(view)
    if last is None or not uses or view.record.loss is None or last.loss is None:
        return
    known = [layer for layer in view.trained if layer.update is not None and not layer.starts_at_zero]
    after = {layer.name: layer.weight_norm for layer in last}
    swept = [layer for layer in known if _sweep(layer, after) >= 1]
    if last.steps < TRAINING or 2 * len(swept) <= len(known):
        return
    died = _died(view, last)
    if last.loss < view.record.loss and not died:
        return
    worst = max(swept, key=lambda layer: _sweep(layer, after))
    yield RULE.finding(
        [worst.name],
        f"the first step changed {worst.name!r} by {worst.update:.2g} times its weights, which are "
        f"{after[worst.name] / worst.weight_norm:.2g} times as large {last.steps} steps later; "
        + (f"{died!r} has died since" if died else f"the loss has gone from {view.record.loss:.3g} to {last.loss:.3g}"),
        value=worst.update,
        cause=f"the learning rate of {uses[0].kind} ({uses[0].learning_rate:g}) or its momentum is too large",
        remedy="lower the learning rate",
    )


def _died(view: View, last: GradientRecord) -> str:
    """A layer that receives nothing any more, beside others that do; empty: none."""
    living = {layer.name for layer in view.trained if layer.norm}
    dead = (layer.name for layer in last if layer.norm == 0 and layer.name in living)
    return next(dead, "") if any(layer.norm for layer in last) else ""


def _sweep(layer: LayerGradient, after: dict[str, float]) -> float:
    """The larger of its first step and its growth, over what is too much."""
    if not layer.weight_norm:
        return 0.0
    return max((layer.update or 0.0) / WHOLE, after.get(layer.name, 0.0) / layer.weight_norm / GROWN)
