"""GH609: steps of the optimiser are next to nothing beside the weights."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.judge.families import OPTIMISER
from pytest_gradhealth.judge.optimising import TRAINING, trained_by
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding

__all__ = ["RULE", "find"]

RULE = Rule(
    code="GH609",
    slug="negligible-steps",
    title="negligible steps",
    summary="The optimiser changes no layer by more than a millionth of its weights, as its learning rate is tiny.",
    family=OPTIMISER,
    when_silenced=True,
    theory="""\
A step changes a well-trained layer by about a thousandth of its weights. At a millionth, a training of a hundred
thousand steps ends about where it began. This is reported where no layer's step is larger, at the beginning as well as
later, and the learning rate is below 1e-4: a learning rate that is still warming up grows, and small gradients of a
trained model are not the optimiser's fault. Found in tests that train by themselves.""",
    remedies=("Raise the learning rate: 1e-3 for Adam and 0.01 to 0.1 for SGD are common.",),
)

NEGLIGIBLE, LOW = 1e-6, 1e-4
"""Step over weights that is next to nothing, and the learning rate below which that is the optimiser's fault."""
WARMING, LEARNT = 2.0, 0.5
"""Growth of the steps that tells a warm-up, and share of the first loss below which the model is learning."""


def find(view: View) -> Iterator[Finding]:
    """No layer moves, by a learning rate that is tiny."""
    last, uses = view.record.later, trained_by(view)
    if last is None or last.steps < TRAINING or not uses or max(use.learning_rate for use in uses) >= LOW:
        return
    steps = {layer.name: layer.update for layer in view.trained if layer.update}
    later = {layer.name: layer.update for layer in last if layer.update}
    if not steps or not later or max(*steps.values(), *later.values()) > NEGLIGIBLE:
        return
    loss = view.record.loss
    if max(later.values()) > WARMING * max(steps.values()) or (loss and last.loss and last.loss < LEARNT * loss):
        return
    largest = max(steps, key=lambda name: steps[name])
    yield RULE.finding(
        [largest],
        f"a step changes {largest!r} by {steps[largest]:.1e} of its weights, and no layer by more",
        value=steps[largest],
        cause=f"the learning rate of {uses[0].kind} is {uses[0].learning_rate:g}",
        remedy="raise the learning rate",
    )
