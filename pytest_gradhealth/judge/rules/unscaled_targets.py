"""GH514: the targets of a regression are thousands of times as large as anything the model gives."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.judge.families import OBJECTIVE
from pytest_gradhealth.judge.objectives import loss_of
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding

__all__ = ["RULE", "find"]

RULE = Rule(
    code="GH514",
    slug="unscaled-targets",
    title="unscaled targets",
    summary="The targets of a regression are thousands of times as large as anything that the model gives.",
    family=OBJECTIVE,
    leads=True,
    when_silenced=True,
    theory="""\
Initialisations give outputs of order one ([Glorot & Bengio, 2010](https://proceedings.mlr.press/v9/glorot10a.html)).
Targets of 300,000 are out of reach for Adam, which moves each weight by its learning rate at most, and make the
gradients of SGD as many times too steep. Reported are targets with a root mean square above 1,000 that is more than
1,000 times that of the outputs, in a model of several layers: one layer alone finds them in one large step.""",
    remedies=("Standardise the targets: subtract their mean, divide by their deviation; undo it for predictions.",),
    sick="""\
model = lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
batch = torch.randn(32, 8), 300_000 + 40_000 * torch.randn(32, 1)
loss = F.mse_loss
""",
    healthy="""\
model = lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
batch = torch.randn(32, 8), torch.randn(32, 1)
loss = F.mse_loss
""",
)

LARGE, FAR = 1000.0, 1e-3
"""Root mean square of targets that nobody has scaled, and the outputs' over it that is out of all proportion."""

SEVERAL = 2
"""Layers from which it matters: a single one finds the targets in one large step, wherever its weights begin."""


def find(view: View) -> Iterator[Finding]:
    """By the outputs' size over that of the targets."""
    (graph, last), output = loss_of(view), view.signal("")
    if (
        len(view.called) < SEVERAL
        or output is None
        or not output.rms
        or not graph.output_scale
        or graph.output_scale >= FAR
    ):
        return
    size = output.rms / graph.output_scale
    if size >= LARGE:
        yield RULE.finding(
            [last],
            f"the targets have a size of {size:.2g}, and the outputs one of {output.rms:.2g}",
            value=size,
            cause="the targets are not scaled",
            remedy="standardise the targets: subtract their mean, divide by their deviation",
        )
