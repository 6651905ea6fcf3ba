"""GH201: a layer's gradient is exactly zero."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.judge.families import DEAD
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.judge.silence import is_excused, silent_layers
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding

__all__ = ["RULE", "find"]

RULE = Rule(
    code="GH201",
    slug="dead-layer",
    title="dead layer",
    summary="A whole layer has a gradient of exactly zero in every batch, so it never changes.",
    family=DEAD,
    provisional=True,
    theory="""\
A rectifier that is off for every sample sends back exactly nothing ([Glorot et al.,
2011](https://proceedings.mlr.press/v15/glorot11a.html)), and so do `round`, `sign`, a clamp out of range, a softmax
over one element and a factor of 0. Both ends of two layers that start at zero wait for each other for ever. The
trace names the operation and its line. Layers whose input is all zeros only follow from the layer before.""",
    remedies=(
        "Use LeakyReLU or GELU, start biases at 0, or lower the learning rate.",
        "Bring the input of a clamp into range; use a straight-through estimator for `round`.",
        "Start only one of two factors at zero.",
    ),
    sick="""\
def model():
    middle = nn.Linear(16, 16)
    nn.init.constant_(middle.bias, -100.0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), middle, nn.ReLU(), nn.Linear(16, 4))

batch = torch.randn(32, 8), torch.randint(4, (32,))
loss = F.cross_entropy
""",
    healthy="""\
def model():
    middle = nn.Linear(16, 16)
    nn.init.constant_(middle.bias, 0.0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), middle, nn.ReLU(), nn.Linear(16, 4))

batch = torch.randn(32, 8), torch.randint(4, (32,))
loss = F.cross_entropy
""",
)


def find(view: View) -> Iterator[Finding]:
    """Layers whose gradient arrived and is exactly zero."""
    silent = [layer for layer in view.trained if layer.norm == 0 and not is_excused(view, layer)]
    if silent:
        yield silent_layers(RULE, view, silent, "exactly zero")
