"""GH305: a regression's outputs are far larger than its targets."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.judge import localise
from pytest_gradhealth.judge.families import EXPLODING
from pytest_gradhealth.judge.rule import Limit, Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.judge.wording import growing
from pytest_gradhealth.record import Finding, LossGraph

__all__ = ["RULE", "find"]

MAX_OUTPUT_SCALE = Limit(
    "max_output_scale", 30.0, 1, None, "FACTOR", "Largest size of a regression's outputs over that of its targets"
)
RULE = Rule(
    code="GH305",
    slug="large-outputs",
    title="large outputs",
    summary="The outputs of a regression are many times as large as its targets.",
    family=EXPLODING,
    limits=(MAX_OUTPUT_SCALE,),
    also_follows=frozenset({"exploding-gradient", "exploding-signal", "large-initial-loss"}),
    theory="""\
A regression whose outputs are thirty times as large as the targets (and as 1) starts with a squared error 900 times
that of a guess. The first steps only shrink the outputs, and a step of the right size for that is the wrong size
for everything else ([Glorot & Bengio, 2010](https://proceedings.mlr.press/v9/glorot10a.html) keep the variance
through the layers for this reason).""",
    remedies=("Use He or Xavier initialisation, or add a normalisation.", "Scale the input."),
    sick="""\
def model(scale=300.0):
    network = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    network[2].weight.data *= scale
    return network

batch = torch.randn(32, 8), torch.randn(32, 1)
loss = F.mse_loss
""",
    healthy="""\
def model(scale=1.0):
    network = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    network[2].weight.data *= scale
    return network

batch = torch.randn(32, 8), torch.randn(32, 1)
loss = F.mse_loss
""",
)


def find(view: View) -> Iterator[Finding]:
    """The root mean square of the outputs over that of the targets is large."""
    limit, value = view.limits.max_output_scale, (view.record.loss_graph or LossGraph()).output_scale
    if limit is None or value is None or value <= limit:
        return
    stretch = localise.growing_stretch(view)
    yield RULE.finding(
        stretch,
        f"the outputs are {value:.3g} times as large as the targets ({MAX_OUTPUT_SCALE.at(limit)}); "
        f"the signal grows {localise.span(view, stretch)}",
        value=value,
        limit=limit,
        limit_name=MAX_OUTPUT_SCALE.name,
        **growing(view, stretch),
    )
