"""GH605: rounding takes the updates away."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.errors import counted
from pytest_gradhealth.judge.families import OPTIMISER
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding

__all__ = ["RULE", "find"]

RULE = Rule(
    code="GH605",
    slug="lost-update",
    title="lost updates",
    summary="Weight and step add up to the same weight in half precision, so that the layer does not change.",
    family=OPTIMISER,
    provisional=True,
    theory="""\
bfloat16 has about three significant digits: a step of less than a 256th of the weight is rounded away
([Micikevicius et al., 2018](https://arxiv.org/abs/1710.03740), section 3.1). Mixed precision keeps a copy of the
weights in float32 for this reason.

Found in tests that train by themselves, and in a check that is given a learning rate:
`check(..., dtypes=["bfloat16"], learning_rate=1e-5)`. There the step is Adam's, which moves each weight by about the
learning rate. Most layers must lose most of their updates. What weights in float32 would lose in one of the `formats`
that were asked for is a note and no finding: autocast keeps them in float32.""",
    remedies=("Keep the weights in float32; `torch.autocast` computes in half precision.", "Raise the learning rate."),
)

LOST = 0.9
"""Share of a layer's updates that rounding takes away, from which the layer does not train."""


def find(view: View) -> Iterator[Finding]:
    """Most layers lose most of their updates."""
    moved = {layer.name: layer.lost_update for layer in view.trained if layer.lost_update is not None}
    lost = {name: share for name, share in moved.items() if share > LOST}
    rate = view.record.learning_rate
    stepped = rate or any(use.learning_rate for use in view.record.optimisers)
    if not stepped or 2 * len(lost) <= len(moved):
        return
    share = min(lost.values())
    step, as_it = ("a step left", "they were") if rate is None else (f"a step of {rate:g} leaves", "they are")
    yield RULE.finding(
        lost,
        f"{step} {share:.0%} of the weights of {counted(len(lost), 'layer')} exactly as {as_it}, although they "
        "have a gradient",
        value=share,
        cause=f"the steps are smaller than the distance between two numbers of {view.record.precision}",
        remedy="keep the weights in float32 (torch.autocast computes in half precision), or raise the learning rate",
    )
