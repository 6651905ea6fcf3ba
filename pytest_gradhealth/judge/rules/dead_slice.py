"""GH204: one of several things that a layer makes at once receives nothing."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.errors import counted
from pytest_gradhealth.judge import design
from pytest_gradhealth.judge.families import DEAD
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.judge.silence import is_excused
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding, LayerGradient

__all__ = ["RULE", "find"]

RULE = Rule(
    code="GH204",
    slug="dead-slice",
    title="dead slice of a layer",
    summary="A layer makes several things at once, as query, key and value, and one of them receives no gradient.",
    family=DEAD,
    provisional=True,
    theory="""\
One layer may make query, key and value, which are split behind it. If one of them is detached, rounded or
multiplied by zero (`1 // sqrt(d)`), a block of neighbouring units is silent while nearly all others are alive,
which dead rectifiers do not do. In the last of several blocks alone this is no fault: nobody reads what those units
ask for. Nor is attention over a single position, which has nothing to choose.""",
    remedies=("Check what the layer's output is split into, and for a detach, a scale or a mask there.",),
    sick="""\
class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 4)

    def forward(self, x):
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        weights = (query @ key.detach().transpose(1, 2) / 4).softmax(-1)
        return self.out((weights @ value).mean(1))

model = Attention
batch = torch.randn(8, 6, 16), torch.randint(4, (8,))
loss = F.cross_entropy
""",
    healthy="""\
class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 4)

    def forward(self, x):
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        weights = (query @ key.transpose(1, 2) / 4).softmax(-1)
        return self.out((weights @ value).mean(1))

model = Attention
batch = torch.randn(8, 6, 16), torch.randint(4, (8,))
loss = F.cross_entropy
""",
)

FUSED = design.AFFINE | {"Conv1D"}
"""Layers that may make several things at once."""


def find(view: View) -> Iterator[Finding]:
    """Hidden layers with neighbouring units that receive nothing while the others are alive."""
    found = [layer for layer in view.hidden if _has_dead_slice(view, layer)]
    if not found:
        return
    culprit, others = found[0], len(found) - 1
    first, last = culprit.silent_units
    more = f", and so in {counted(others, 'other layer')}" if others else ""
    yield RULE.finding(
        [layer.name for layer in found],
        f"units {first} to {last} of the {culprit.units} of {culprit.name!r} have zero gradient, and only those{more}",
        cause="what they compute is cut off, rounded or multiplied by zero behind the layer (query, key, a gate)",
        remedy="check what its output is split into, and for a detach, a scale or a mask there",
    )


def _has_dead_slice(view: View, layer: LayerGradient) -> bool:
    signal = view.signal(layer.name)
    if not layer.silent_units or layer.kind not in FUSED or layer.installed:
        return False
    if (signal is not None and signal.positions == 1) or design.is_last_alone(view, layer):
        return False
    return not is_excused(view, layer)
