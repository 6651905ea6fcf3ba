"""GH206: a recurrent cell's state is not passed on."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.judge.families import DEAD
from pytest_gradhealth.judge.recurrence import RECURRENT
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding

__all__ = ["RULE", "find"]

RULE = Rule(
    code="GH206",
    slug="unused-recurrent-state",
    title="unused recurrent state",
    summary="A recurrent cell is called once per step, but no step uses the state of the step before.",
    family=DEAD,
    theory="""\
The recurrent weights of a cell multiply the state that the step before handed on. If every step starts from zeros,
or only the result of the first step is read, their gradient is exactly zero and the cell remembers nothing ([Elman,
1990](https://doi.org/10.1207/s15516709cog1402_1)).""",
    remedies=("Hand the state on (`h = cell(x, h)`), and read the last output or all of them.",),
    sick="""\
class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.head = nn.GRUCell(4, 16), nn.Linear(16, 2)

    def forward(self, x):
        for step in range(x.shape[1]):
            h = self.cell(x[:, step])
        return self.head(h)

model = Network
batch = torch.randn(8, 5, 4), torch.randint(2, (8,))
loss = F.cross_entropy
""",
    healthy="""\
class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.head = nn.GRUCell(4, 16), nn.Linear(16, 2)

    def forward(self, x):
        h = None
        for step in range(x.shape[1]):
            h = self.cell(x[:, step], h)
        return self.head(h)

model = Network
batch = torch.randn(8, 5, 4), torch.randint(2, (8,))
loss = F.cross_entropy
""",
)

FEW = 3
"""Calls from which they are steps: of two the first may have been a look at what comes out."""


def find(view: View) -> Iterator[Finding]:
    """Recurrent layers called several times whose recurrent weights have a gradient of zero."""
    for layer in view.trained:
        signal = view.signal(layer.name)
        memory = next((name for name in layer.zero_gradients if "weight_hh" in name), "")
        if layer.kind in RECURRENT and memory and layer.norm and signal is not None and signal.calls >= FEW:
            yield RULE.finding(
                [layer.name],
                f"the gradient of {memory} in {layer.name!r} is exactly zero over {signal.calls} steps",
                cause="every step starts from a state of zeros, or only the output of the first step is read",
                remedy="hand the state on (h = cell(x, h)), and read the last output or all of them",
            )
