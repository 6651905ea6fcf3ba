"""GH408: a classifier of several layers is a linear one, as nothing stands between them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

from pytest_gradhealth.judge.families import OBJECTIVE
from pytest_gradhealth.judge.objectives import loss_of
from pytest_gradhealth.judge.optimising import TRAINING
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding, Signal

__all__ = ["RULE", "find"]

LINEAR, SHAPES = "Linear", frozenset({"Flatten", "Identity", "Unflatten"})
PROBABILITIES = frozenset({"Sigmoid", "Softmax", "LogSoftmax", "LogSigmoid"})
SEVERAL = 3
"""Layers from which it is a mistake: an encoder and a head in a row make many a minimal example of something else."""
SAME = 1e-4
"""Relative distance within which what leaves one layer is what the next is given, but for rounding."""

RULE = Rule(
    code="GH408",
    slug="missing-activation",
    title="missing activation",
    summary="A classifier is linear in its inputs although it has several layers: no activation stands between them.",
    family=OBJECTIVE,
    when_silenced=True,
    theory="""\
Linear layers in a row are one linear layer ([Goodfellow et al., 2016](https://www.deeplearningbook.org), section
6.1): no number of them separates two rings, or learns XOR. Reported are classifiers of three layers or more, all of
them `Linear`, that pass on to each other, unchanged, what they give and the gradient that comes back. A layer that is
narrower than both the input and the output is a factorisation on purpose, and no finding.""",
    remedies=("Put an activation behind each hidden layer, as `nn.ReLU()`.", "Leave out all layers but one."),
    sick="""\
model = lambda: nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 3))
batch = torch.randn(32, 8), torch.randint(3, (32,))
loss = F.cross_entropy
""",
    healthy="""\
model = lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))
batch = torch.randn(32, 8), torch.randint(3, (32,))
loss = F.cross_entropy
""",
)


def find(view: View) -> Iterator[Finding]:
    """The model is a chain of linear layers, and a classifier."""
    chain = [signal for signal in view.leaves if signal.kind not in SHAPES]
    ends = chain.pop() if chain and chain[-1].kind in PROBABILITIES else None
    graph, _ = loss_of(view)
    if (ends is None and graph.classes is None) or len(chain) < SEVERAL or _is_short(view):
        return
    if all(map(_is_linear, chain)) and all(_passes_on(*pair) for pair in pairwise(chain)) and _is_wide(view, chain):
        names = [signal.name for signal in chain]
        yield RULE.finding(
            names,
            f"the {len(names)} linear layers from {names[0]!r} to {names[-1]!r} are one: nothing stands between them",
            value=float(len(names)),
            cause="no activation stands between the layers",
            remedy="put an activation behind each hidden layer, as nn.ReLU()",
        )


def _is_short(view: View) -> bool:
    """Whether the test makes a few steps only."""
    return bool(view.record.optimisers) and (view.record.later or view.record).steps < TRAINING


def _is_linear(signal: Signal) -> bool:
    """By its class, and as no weights turn ordinary inputs into zeros: a subclass or a hook may rectify inside."""
    return signal.kind == LINEAR and signal.calls == 1 and not signal.zeros


def _passes_on(first: Signal, second: Signal) -> bool:
    """Whether the second is given what the first gives: a bend in between would bend the gradient."""
    sizes = (first.peak, second.input_peak), (first.gradient or 0.0, second.input_gradient or 0.0)
    return all(one > 0 and math.isclose(one, other, rel_tol=SAME) for one, other in sizes)


def _is_wide(view: View, chain: list[Signal]) -> bool:
    """Whether no layer in between is narrower than both ends."""
    shapes = [layer.shape for signal in chain if (layer := view.layer(signal.name)) is not None]
    if len(shapes) < len(chain) or any(len(shape) != 2 for shape in shapes):
        return False
    return min(shape[0] for shape in shapes[:-1]) >= min(shapes[0][1], shapes[-1][0])
