"""GH103: the gates of an LSTM or GRU are shut."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.judge.families import VANISHING
from pytest_gradhealth.judge.recurrence import MIN_TIME_REACH, is_shut
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding

__all__ = ["RULE", "find"]

RULE = Rule(
    code="GH103",
    slug="closed-recurrent-gate",
    title="closed recurrent gate",
    summary="The gates that keep the memory of an LSTM or GRU are shut, so that no gradient passes a step.",
    family=VANISHING,
    provisional=True,
    leads=True,
    theory="""\
An LSTM or GRU starts with its gates half open and carries half of the gradient or more back through each step
([Jozefowicz et al., 2015](https://proceedings.mlr.press/v37/jozefowicz15.html)). Where a step carries less than
0.3, the gates that keep the memory are shut, and nothing that comes back through them will open them. Judged from 8
steps on; off where `min_time_reach` is.""",
    remedies=("Start the bias of the forget gate (LSTM) or update gate (GRU) at 0 or above.",),
    sick="""\
class Classifier(nn.Module):
    def __init__(self, bias=-5.0):
        super().__init__()
        self.rnn = nn.LSTM(4, 16, batch_first=True)
        self.head = nn.Linear(16, 2)
        nn.init.constant_(self.rnn.bias_hh_l0[16:32], bias)  # the forget gate

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])

model = Classifier
batch = torch.randn(8, 20, 4), torch.randint(2, (8,))
loss = F.cross_entropy
""",
    healthy="""\
class Classifier(nn.Module):
    def __init__(self, bias=1.0):
        super().__init__()
        self.rnn = nn.LSTM(4, 16, batch_first=True)
        self.head = nn.Linear(16, 2)
        nn.init.constant_(self.rnn.bias_hh_l0[16:32], bias)  # the forget gate

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])

model = Classifier
batch = torch.randn(8, 20, 4), torch.randint(2, (8,))
loss = F.cross_entropy
""",
)


def find(view: View) -> Iterator[Finding]:
    """A step of a gated recurrence carries little back."""
    if view.limits.min_time_reach is None:
        return
    for signal in filter(is_shut, view.leaves):
        yield RULE.finding(
            [signal.name],
            f"each of the {signal.steps} steps of {signal.name!r} passes {signal.step_factor:.2g} of the gradient "
            f"back, {signal.time_reach:.0e} in total",
            value=signal.time_reach,
            limit_name=MIN_TIME_REACH.name,
            cause=f"the gates that keep the memory of this {signal.kind} are shut (half open ones pass 0.5)",
            remedy="start the bias of the forget gate (LSTM) or update gate (GRU) at 0 or above",
        )
