"""GH501: outputs and targets broadcast against each other."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.judge.families import OBJECTIVE
from pytest_gradhealth.judge.objectives import loss_of
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding

__all__ = ["RULE", "find"]

RULE = Rule(
    code="GH501",
    slug="broadcast-targets",
    title="broadcast targets",
    summary="Outputs and targets differ in shape and broadcast, so that every output is compared with every target.",
    family=OBJECTIVE,
    when_silenced=True,
    theory="""\
Outputs of shape (n, 1) and targets of shape (n,) broadcast to (n, n) in an elementwise loss. Every output is then
drawn to the mean of all targets, and the loss falls to their variance and stays there. PyTorch warns in `mse_loss`
only, and only once ([PyTorch: broadcasting](https://docs.pytorch.org/docs/stable/notes/broadcasting.html)).""",
    remedies=("Give both the same shape: `target.view_as(output)`.",),
    sick="""\
model = lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
batch = torch.randn(32, 8), torch.randn(32)
loss = lambda output, target: ((output - target) ** 2).mean()
""",
    healthy="""\
model = lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
batch = torch.randn(32, 8), torch.randn(32)
loss = lambda output, target: ((output.squeeze(1) - target) ** 2).mean()
""",
)


def find(view: View) -> Iterator[Finding]:
    """The difference between outputs and targets has more elements than either."""
    graph, last = loss_of(view)
    if graph.broadcast:
        yield RULE.finding(
            [last],
            f"each of {graph.broadcast} outputs is compared with each of {graph.broadcast} targets",
            cause="outputs of shape (n, 1) and targets of shape (n,), or the reverse, broadcast to (n, n)",
            remedy="give both the same shape: target.view_as(output)",
        )
