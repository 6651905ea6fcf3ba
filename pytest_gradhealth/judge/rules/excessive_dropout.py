"""GH205: a dropout leaves next to nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pytest_gradhealth.judge.families import DEAD
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding

__all__ = ["RULE", "find"]

RULE = Rule(
    code="GH205",
    slug="excessive-dropout",
    title="excessive dropout",
    summary="A dropout drops nearly everything, so that its noise outweighs the signal.",
    family=DEAD,
    when_silenced=True,
    theory="""\
Dropout with probability p adds noise of sqrt(p / (1 - p)) times the signal ([Srivastava et al.,
2014](https://jmlr.org/papers/v15/srivastava14a.html)): as large as the signal at 0.5, ten times as large at 0.99.
Above 0.9 the share to keep was most likely given for the share to drop.""",
    remedies=("Lower p: it is the share that is dropped, not the share that is kept.",),
    sick="""\
model = lambda: nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Dropout(0.95), nn.Linear(64, 4))
batch = torch.randn(32, 8), torch.randint(4, (32,))
loss = F.cross_entropy
""",
    healthy="""\
model = lambda: nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Dropout(0.05), nn.Linear(64, 4))
batch = torch.randn(32, 8), torch.randint(4, (32,))
loss = F.cross_entropy
""",
)

EXCESSIVE = 0.9
"""Probability above which nobody uses a dropout: wide layers of the past kept a tenth of their units."""


def find(view: View) -> Iterator[Finding]:
    """Dropout modules that drop nearly everything."""
    for signal in view.leaves:
        if EXCESSIVE < signal.dropout < 1 and view.limits.judges(signal.name):
            noise = math.sqrt(signal.dropout / (1 - signal.dropout))
            yield RULE.finding(
                [signal.name],
                f"{signal.name!r} ({signal.kind}) drops {signal.dropout:.3g} of its input",
                value=signal.dropout,
                cause=f"the noise it adds is {noise:.0f} times as large as its input",
                remedy="lower p: it is the share that is dropped, not the share that is kept",
            )
