"""GH406: samples of a batch that the model mixes by their place in it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice

from pytest_gradhealth.judge.families import MIXED
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding

__all__ = ["RULE", "find"]

TIME_FIRST = (
    "its batch_first is False, so that it expects (time, samples, features), and it is given samples first",
    "make it with batch_first=True, or transpose its input and output",
)
"""Cause and remedy."""
SEVERAL = 2
"""Samples that can be taken for something else."""
RULE = Rule(
    code="GH406",
    slug="mixed-samples",
    title="mixed samples",
    summary="The outputs of a permuted batch are not the permuted outputs, or a softmax runs over the samples.",
    family=MIXED,
    when_silenced=True,
    theory="""\
The samples of a batch are independent, so a model must be *permutation equivariant* over them: permute the batch, and
the outputs are permuted in the same way. Sets, graphs that are built from the batch, attention over the batch and batch
statistics keep that law, although they mix samples on purpose (Zaheer et al., 2017, <https://arxiv.org/abs/1703.06114>).
`view` in the place of `transpose`, a forgotten `batch_first=True` and positions counted along the batch break it, and
no gradient shows it; so does `torch.roll(x, n)` without `dims`, which rolls through the whole batch. A softmax over the
samples keeps the law and is wrong all the same where each sample has a label of its own: `softmax(dim=0)`, and
`F.softmax(x)` without `dim` for three dimensions.

The check sends a few samples through the model a few times, in evaluation mode. It does so only where something could
be wrong: a recurrent or attention module that counts its first dimension as time, a buffer of shape
`(positions, 1, features)`, a `view` that swaps two dimensions, a softmax over the first dimension of the batch, or,
where each sample has a label, indices into that dimension and a `forward` that calls `roll`, `flip` or `randperm`. A
model that takes one batch size only, is given anything that names samples by their place (edges, a matrix of pairs), or
holds samples against others in a part of its output (negatives) is not judged.""",
    remedies=(
        "Use `transpose` or `permute` to swap dimensions: `view` and `reshape` only cut the same numbers elsewhere.",
        "Give `batch_first=True` to recurrent and attention modules where the batch comes first.",
        "Count positions along the sequence: `positions[: x.size(1)]`.",
        "Give `torch.roll` and `flip` their `dims`, and put samples back in order: `x[order][order.argsort()]`.",
        "Give a softmax the dimension that is to sum to one, mostly `dim=-1`.",
    ),
    sick="""\
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.GRU(6, 16), nn.Linear(16, 5)  # expects (time, batch, features)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])

model = Model
batch = torch.randn(8, 7, 6), torch.randint(5, (8,))
loss = F.cross_entropy
""",
    healthy="""\
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.GRU(6, 16, batch_first=True), nn.Linear(16, 5)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])

model = Model
batch = torch.randn(8, 7, 6), torch.randint(5, (8,))
loss = F.cross_entropy
""",
)


def find(view: View) -> Iterator[Finding]:
    """What the experiment with a permuted batch has shown; else a sequence module that is given samples first."""
    difference, module = view.record.sample_mixing, view.record.mixed_at
    if difference is None:
        yield from islice(chain(_samples_for_time(view), _softmax_over_samples(view)), 1)
        return
    if not view.limits.judges(module):
        return
    cause, remedy = _why(view, module)
    returned = f"what {module!r} returns" if module else "the model's output"
    yield RULE.finding(
        [module],
        f"{returned} for a sample changes by {difference:.1e} of its size when the other samples move or change",
        value=difference,
        cause=cause,
        remedy=remedy,
    )


def _why(view: View, module: str) -> tuple[str, str]:
    """Cause and remedy."""
    if any(signal.taken_for_time for signal in view.record.signals if signal.name == module):
        return TIME_FIRST
    return (
        f"{f'in front of {module!r} or in it' if module else 'in the model'} another dimension is taken for the batch: "
        "view for transpose, positions or indices counted along the batch, roll or flip without dims, an order that is "
        "not undone, or a softmax over it (dim=0, or no dim given)",
        "check dimensions there: transpose, positions[: x.size(1)], roll(x, n, dims=-1), softmax(dim=-1)",
    )


def _samples_for_time(view: View) -> Iterator[Finding]:
    """Modules that take the samples for time: as many steps as the batch has targets, one for each sample.

    Attention over the batch is the same whatever its order, so that the experiment cannot show it.
    """
    graph, samples = view.record.loss_graph, view.record.samples
    if graph is None or samples is None or samples < SEVERAL or graph.single_targets != samples:
        return
    for signal in view.record.signals:
        crossed = samples and signal.taken_for_time == samples and signal.taken_for_batch % samples
        if crossed and view.limits.judges(signal.name):
            yield RULE.finding(
                [signal.name],
                f"{signal.name!r} ({signal.kind}) takes the {samples} samples of the batch for {samples} steps of time",
                value=float(samples),
                cause=TIME_FIRST[0],
                remedy=TIME_FIRST[1],
            )


def _softmax_over_samples(view: View) -> Iterator[Finding]:
    """A softmax over as many numbers as the batch has targets, one for each sample, in a test that trains."""
    samples, module = _single_samples(view), view.record.mixed_at
    if samples and view.record.softmax_over == samples and view.limits.judges(module):
        behind = f" behind {module!r}" if module else ""
        yield RULE.finding(
            [module],
            f"a softmax{behind} runs over the {samples} samples of the batch",
            value=float(samples),
            cause="its dim is the first one (dim=0, or no dim given), so that samples share what is to sum to one",
            remedy="give it the dimension that is to sum to one, mostly dim=-1",
        )


def _single_samples(view: View) -> int:
    """How many samples there are, where each has one target; 0: it is not known, or they are too few to tell."""
    graph = view.record.loss_graph
    samples = graph.single_targets if graph is not None else 0
    return samples if samples >= SEVERAL and view.record.samples == samples else 0
