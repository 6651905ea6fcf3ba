"""GH304: the model starts certain of what it has not learnt."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.judge import localise
from pytest_gradhealth.judge.families import EXPLODING
from pytest_gradhealth.judge.rule import Limit, Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.judge.wording import growing
from pytest_gradhealth.record import Finding, LossGraph

__all__ = ["RULE", "find"]

MAX_INITIAL_LOSS = Limit(
    "max_initial_loss", 30.0, 1, None, "FACTOR", "Largest cross entropy at the start over that of a uniform guess"
)
RULE = Rule(
    code="GH304",
    slug="large-initial-loss",
    title="large initial loss",
    summary="The cross entropy at the start is many times that of a guess: the logits are far too large.",
    family=EXPLODING,
    limits=(MAX_INITIAL_LOSS,),
    provisional=True,
    also_follows=frozenset({"exploding-gradient", "exploding-signal", "single-class"}),
    theory="""\
A model that has learnt nothing should guess, at a cross entropy of ln(classes). Thirty times that takes logits with
a standard deviation near 50, which naive weight tying with unit embeddings does not reach below a width of 5000.
From there, the first steps only shrink the logits, and a step of the right size for that is the wrong size for
everything else ([Karpathy, 2019](https://karpathy.github.io/2019/04/25/recipe/)).""",
    remedies=("Use He or Xavier initialisation, or add a normalisation.", "Scale the input."),
    sick="""\
def model(scale=400.0):
    network = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    network[2].weight.data *= scale
    return network

batch = torch.randn(32, 8), torch.randint(4, (32,))
loss = F.cross_entropy
""",
    healthy="""\
def model(scale=1.0):
    network = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    network[2].weight.data *= scale
    return network

batch = torch.randn(32, 8), torch.randint(4, (32,))
loss = F.cross_entropy
""",
)


def find(view: View) -> Iterator[Finding]:
    """The cross entropy over that of a uniform guess is large."""
    limit, value = view.limits.max_initial_loss, (view.record.loss_graph or LossGraph()).initial_loss
    if limit is None or value is None or value <= limit:
        return
    stretch = localise.growing_stretch(view)
    yield RULE.finding(
        stretch,
        f"the cross entropy is {value:.3g} times that of a guess ({MAX_INITIAL_LOSS.at(limit)}); "
        f"the signal grows {localise.span(view, stretch)}",
        value=value,
        limit=limit,
        limit_name=MAX_INITIAL_LOSS.name,
        **growing(view, stretch),
    )
