"""GH509: the outputs are bounded and the targets lie beyond."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.judge.families import OBJECTIVE
from pytest_gradhealth.judge.objectives import loss_of
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding

__all__ = ["RULE", "find"]

RULE = Rule(
    code="GH509",
    slug="unreachable-targets",
    title="unreachable targets",
    summary="An activation bounds the outputs, and the targets lie beyond its range.",
    family=OBJECTIVE,
    when_silenced=True,
    also_follows=frozenset({"activation-before-loss", "scores-as-log-probabilities"}),
    theory="""\
Behind a ReLU, tanh, sigmoid, softmax or hardtanh at the end of the model, the least loss of any output in its range is
compared with that of the best constant. Where more than 40 % of it stays, the targets lie beyond the range: half of
them are negative behind a sigmoid or a ReLU, or they are ten times as large as a tanh can get
([LeCun et al., 1998](https://doi.org/10.1007/3-540-49430-8_2), section 4.5, on choosing targets).""",
    remedies=("Remove the activation (a cross entropy applies its own), or scale the targets into its range.",),
    sick="""\
model = lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1), nn.Tanh())
batch = torch.randn(32, 8), 20 + 5 * torch.randn(32, 1)
loss = F.mse_loss
""",
    healthy="""\
model = lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
batch = torch.randn(32, 8), 20 + 5 * torch.randn(32, 1)
loss = F.mse_loss
""",
)

OUT_OF_REACH = 0.4
"""Share of the best constant's loss that stays: normal noise in place of targets leaves 0.15 behind a tanh."""


def find(view: View) -> Iterator[Finding]:
    """Most of a constant guess's loss stays, whatever the output in its range."""
    graph, last = loss_of(view)
    if graph.unreachable > OUT_OF_REACH:
        yield RULE.finding(
            [last],
            f"{graph.output_bound} at the end of the model keeps {min(graph.unreachable, 1):.0%} of a "
            "constant guess's loss out of reach",
            value=graph.unreachable,
            cause=f"the range of {graph.output_bound} does not come near the targets",
            remedy=f"remove {graph.output_bound} (cross entropies apply their own), or scale the targets to it",
        )
