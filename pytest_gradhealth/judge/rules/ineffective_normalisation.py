"""GH405: normalisations do not normalise."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from pytest_gradhealth.judge.families import WEAK
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.judge.view import NORMAL, View
from pytest_gradhealth.record import Finding

__all__ = ["RULE", "find"]

RULE = Rule(
    code="GH405",
    slug="ineffective-normalisation",
    title="ineffective normalisation",
    summary="Normalisation layers only scale down, because their eps outweighs their input.",
    family=WEAK,
    provisional=True,
    theory="""\
A normalisation returns a root mean square of 1 times its weight by definition ([Ioffe & Szegedy,
2015](https://arxiv.org/abs/1502.03167)), unless `eps` outweighs the variance that it is added to. Then it
multiplies by a constant instead of normalising.""",
    remedies=("Lower `eps` (1e-5 is usual), or enlarge the signal in front of the first normalisation.",),
    sick="""\
class Block(nn.Module):
    def __init__(self, eps):
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(16, eps=eps), nn.Linear(16, 16)

    def forward(self, x):
        return x + self.linear(self.norm(x)).relu()

model = lambda: nn.Sequential(*(Block(eps=1e4) for _ in range(3)), nn.Linear(16, 4))
batch = torch.randn(32, 16), torch.randint(4, (32,))
loss = F.cross_entropy
""",
    healthy="""\
class Block(nn.Module):
    def __init__(self, eps):
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(16, eps=eps), nn.Linear(16, 16)

    def forward(self, x):
        return x + self.linear(self.norm(x)).relu()

model = lambda: nn.Sequential(*(Block(eps=1e-5) for _ in range(3)), nn.Linear(16, 4))
batch = torch.randn(32, 16), torch.randint(4, (32,))
loss = F.cross_entropy
""",
)

SEVERAL = 3
"""Normalisations from which their median tells of the whole network."""


def find(view: View) -> Iterator[Finding]:
    """The median of several normalisations returns a fraction of what it should."""
    sizes = view.normalised
    if len(sizes) < SEVERAL or (middle := statistics.median(sizes.values())) >= NORMAL:
        return
    yield RULE.finding(
        view.unnormalised,
        f"{len(sizes)} normalisations return {middle:.0e} of the size they should (median; at least {NORMAL:.0%} is "
        "expected)",
        value=middle,
        cause="their input is far smaller than their eps, so they scale it down instead of normalising it",
        remedy="lower eps (1e-5 is usual), or enlarge the signal in front of the first of them",
    )
