"""GH102: the gradient does not reach the first steps of a recurrence."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.judge.families import VANISHING
from pytest_gradhealth.judge.recurrence import GATED, MIN_TIME_REACH, forgetful, is_shut
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.judge.wording import Explanation
from pytest_gradhealth.record import Finding, Signal

__all__ = ["RULE", "find"]

RULE = Rule(
    code="GH102",
    slug="vanishing-over-time",
    title="gradient vanishing over time",
    summary="The gradient fades on its way back through a recurrence, so that the first steps teach nothing.",
    family=VANISHING,
    limits=(MIN_TIME_REACH,),
    provisional=True,
    leads=True,
    theory="""\
A recurrence multiplies the gradient once per step ([Bengio et al., 1994](https://doi.org/10.1109/72.279181)). A
plain RNN whose first steps receive a millionth of what the last ones receive does not learn from them. Sequences of
fewer than 100 steps are not judged: what a recurrence forgets there, a few updates teach it to keep. LSTM and GRU
start with gates half open and lose as much over many steps, but training opens the gates, and the last steps decide
many tasks: they are judged only by a limit that you set yourself.""",
    remedies=(
        "Use an LSTM or GRU with a forget bias of 1 or more.",
        "Use orthogonal recurrent weights, attention, or pool over all steps.",
    ),
    sick="""\
class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(4, 16, batch_first=True)
        self.head = nn.Linear(16, 2)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])

model = Classifier
batch = torch.randn(8, 120, 4), torch.randint(2, (8,))
loss = F.cross_entropy
""",
    healthy="""\
class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(4, 16, batch_first=True)
        self.head = nn.Linear(16, 2)

    def forward(self, x):
        return self.head(self.rnn(x)[0].mean(1))

model = Classifier
batch = torch.randn(8, 120, 4), torch.randint(2, (8,))
loss = F.cross_entropy
""",
)


def find(view: View) -> Iterator[Finding]:
    """A recurrence of many steps carries little back to its first quarter."""
    limit = view.limits.min_time_reach
    if limit is None:
        return
    for signal in forgetful(view):
        if is_shut(signal) or (signal.kind in GATED and view.limits.is_default(MIN_TIME_REACH.name)):
            continue
        yield RULE.finding(
            [signal.name],
            f"over {signal.steps} steps of {signal.name!r} the gradient falls to {signal.time_reach:.1e} at the first "
            f"quarter ({MIN_TIME_REACH.at(limit)})",
            value=signal.time_reach,
            limit=limit,
            limit_name=MIN_TIME_REACH.name,
            **_explanation(signal),
        )


def _explanation(signal: Signal) -> Explanation:
    """The factor per step, multiplied once for each."""
    cause = f"each step multiplies the gradient by about {signal.step_factor:.2g}"
    if signal.kind in ("RNN", "RNNCell"):
        remedy = "use an LSTM or GRU with a forget bias of 1 or more, orthogonal recurrent weights, or attention"
    else:
        remedy = "start the forget gate open (bias 1 or more, higher for longer sequences), or pool over all steps"
    return Explanation(cause=cause, remedy=remedy)
