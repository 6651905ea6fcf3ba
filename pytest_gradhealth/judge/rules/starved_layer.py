"""GH202: a layer's gradient is nothing beside the others'."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.judge.families import DEAD, FADING
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.judge.silence import is_excused, silent_layers
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding

__all__ = ["RULE", "find"]

RULE = Rule(
    code="GH202",
    slug="starved-layer",
    title="starved layer",
    summary="A layer's gradient is not zero, but so small beside the others' that rounding leaves nothing of it.",
    family=DEAD,
    provisional=True,
    last=True,
    also_follows=frozenset({FADING}),
    theory="""\
A gate at sigmoid(-30) passes less than float32's rounding (1e-7) leaves of the other gradients. A layer whose
gradient is 1e12 times smaller than the largest, element by element, counts as dead where no other rule finds a
gradient that fades. In float64 such gradients may be rounding noise and are not judged.""",
    remedies=("Open the gate: start its bias near 0.", "Check for a tiny factor on the branch."),
    sick="""\
class Network(nn.Module):
    def __init__(self, bias=-30.0):
        super().__init__()
        self.stem, self.branch = nn.Linear(8, 16), nn.Linear(16, 16)
        self.gate, self.head = nn.Linear(16, 16), nn.Linear(16, 4)
        nn.init.constant_(self.gate.bias, bias)

    def forward(self, x):
        x = self.stem(x).relu()
        return self.head(x + self.gate(x).sigmoid() * self.branch(x))

model = Network
batch = torch.randn(32, 8), torch.randint(4, (32,))
loss = F.cross_entropy
""",
    healthy="""\
class Network(nn.Module):
    def __init__(self, bias=0.0):
        super().__init__()
        self.stem, self.branch = nn.Linear(8, 16), nn.Linear(16, 16)
        self.gate, self.head = nn.Linear(16, 16), nn.Linear(16, 4)
        nn.init.constant_(self.gate.bias, bias)

    def forward(self, x):
        x = self.stem(x).relu()
        return self.head(x + self.gate(x).sigmoid() * self.branch(x))

model = Network
batch = torch.randn(32, 8), torch.randint(4, (32,))
loss = F.cross_entropy
""",
)


def find(view: View) -> Iterator[Finding]:
    """Layers whose gradient is negligible, though it fades neither on its way back nor forward."""
    silent = [layer for layer in view.trained if view.is_starved(layer) and not is_excused(view, layer)]
    if silent:
        yield silent_layers(RULE, view, silent, "negligible beside the others'")
