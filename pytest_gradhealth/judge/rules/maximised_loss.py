"""GH502: training makes a loss larger."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.judge.families import OBJECTIVE
from pytest_gradhealth.judge.objectives import loss_of
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding

__all__ = ["RULE", "find"]

RULE = Rule(
    code="GH502",
    slug="maximised-loss",
    title="maximised loss",
    summary="A loss function enters the total loss with a negative sign, so training makes it larger.",
    family=OBJECTIVE,
    when_silenced=True,
    theory="""\
A loss that is nothing but `cross_entropy`, `mse_loss` and their like with a negative slope trains in the wrong
direction. Where another term stands beside it, as in adversarial ([Goodfellow et al.,
2014](https://arxiv.org/abs/1406.2661)) and contrastive objectives, nothing is reported.""",
    remedies=("Remove the minus; if you mean it, ignore the layer.",),
    sick="""\
model = lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
batch = torch.randn(32, 8), torch.randint(4, (32,))
loss = lambda output, target: -F.cross_entropy(output, target)
""",
    healthy="""\
model = lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
batch = torch.randn(32, 8), torch.randint(4, (32,))
loss = F.cross_entropy
""",
)


def find(view: View) -> Iterator[Finding]:
    """A known loss function has a negative slope in the total."""
    graph, last = loss_of(view)
    if graph.maximised:
        yield RULE.finding(
            [last],
            f"training makes {graph.maximised} larger",
            cause="it enters the loss with a negative sign",
            remedy=f"remove the minus; if you mean it, set ignore=[{last!r}]",
        )
