"""GH606: a custom autograd function whose backward is not the derivative of its forward."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.judge.families import WRONG_BACKWARD
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding

__all__ = ["RULE", "find"]

TOLERANCE = {"float64": 1e-3, "float32": 0.1}
"""Relative difference that the central difference itself may bring."""

RULE = Rule(
    code="GH606",
    slug="wrong-backward",
    title="wrong backward",
    summary="The backward of a custom autograd function is not the derivative of its forward.",
    family=WRONG_BACKWARD,
    when_silenced=True,
    theory="""\
For random directions *v* of the inputs and *w* of the outputs, the change of *w·f(x)* along *v* must equal the inner
product of *v* with what `backward` makes of *w*. This is `torch.autograd.gradcheck` with one projection each way (its
`fast_mode`), on the inputs that the model really has.

Gradients that are changed on purpose are excused by what they do, and not by their name: a forward that changes nothing
(gradient reversal and scaling), a forward whose slope is zero everywhere (straight-through estimators, surrogate
gradients of spikes), elements at which the forward is flat (masks, clamps), and functions that are given numbers which
only their backward uses (feedback alignment).""",
    remedies=(
        "Multiply by the gradient that comes back: `return grad_output * slope`.",
        "Run `torch.autograd.gradcheck` on the function, in float64.",
        "Leave the backward out: write the forward with torch operations and let autograd derive it.",
    ),
    sick="""\
class Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x.sigmoid()

    @staticmethod
    def backward(ctx, grad_output):
        x, = ctx.saved_tensors
        return x.sigmoid() * (1 + x * (1 - x.sigmoid()))  # grad_output is missing

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.head = nn.Linear(8, 16), nn.Linear(16, 3)

    def forward(self, x):
        return self.head(Swish.apply(self.hidden(x)))

model = Model
batch = torch.randn(8, 8), torch.randint(3, (8,))
loss = F.cross_entropy
""",
    healthy="""\
class Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x.sigmoid()

    @staticmethod
    def backward(ctx, grad_output):
        x, = ctx.saved_tensors
        return grad_output * x.sigmoid() * (1 + x * (1 - x.sigmoid()))

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.head = nn.Linear(8, 16), nn.Linear(16, 3)

    def forward(self, x):
        return self.head(Swish.apply(self.hidden(x)))

model = Model
batch = torch.randn(8, 8), torch.randint(3, (8,))
loss = F.cross_entropy
""",
)


def find(view: View) -> Iterator[Finding]:
    """Custom functions of the user's whose two derivatives differ."""
    for function in view.record.custom_functions:
        if function.difference > TOLERANCE[function.precision]:
            yield RULE.finding(
                [""],
                f"the backward of {function.name} gives {function.backward:.3g} along a random direction, its forward "
                f"changes by {function.forward:.3g}",
                value=function.difference,
                cause=f"{function.name}.backward is not the derivative of {function.name}.forward",
                remedy=f"check it with torch.autograd.gradcheck({function.name}.apply, inputs) in float64",
            )
