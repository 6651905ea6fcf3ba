"""GH604: layers receive a gradient and belong to no optimiser."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.errors import counted
from pytest_gradhealth.judge.families import OPTIMISER
from pytest_gradhealth.judge.optimising import REPLACED, SEVERAL
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding

__all__ = ["RULE", "find"]

RULE = Rule(
    code="GH604",
    slug="unoptimised-layer",
    title="layers in no optimiser",
    summary="Layers receive a gradient, but the optimiser holds the parameters of layers that were replaced.",
    family=OPTIMISER,
    when_silenced=True,
    also_follows=frozenset({"idle-optimiser"}),
    theory="""\
An optimiser keeps the tensors that it was given ([PyTorch: constructing
it](https://docs.pytorch.org/docs/stable/optim.html#constructing-it)). Where a head is replaced, a layer pruned or
the model made anew afterwards, it goes on to update tensors that nothing uses any more. Layers that are left out
while every tensor of the optimiser is in use may be left out on purpose, as where only a new head is trained.""",
    remedies=("Make the optimiser when the model is final.",),
)


def find(view: View) -> Iterator[Finding]:
    """Layers with a gradient in no optimiser, beside one that holds tensors of no model."""
    free = [layer for layer in view.trained if layer.norm and layer.optimised is False]
    stale = [use for use in view.record.optimisers if use.foreign and use.steps >= SEVERAL and use.reached]
    if not free or not stale:
        return
    use, names = stale[0], tuple(layer.name for layer in free)
    more = f" and {counted(len(names) - 1, 'other layer')}" if len(names) > 1 else ""
    yield RULE.finding(
        names,
        f"{names[0]!r}{more} received a gradient, but no optimiser holds the weights; of the "
        f"{counted(use.parameters, 'parameter')} in {use.kind}, {use.foreign} belong to no model that was called",
        value=float(use.foreign),
        **REPLACED,
    )
