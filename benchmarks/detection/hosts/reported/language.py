"""Reports on text."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from benchmarks.detection.hosts.reported.report import GITHUB, Report
from benchmarks.detection.vocabulary.tasks import Task, TaskBatch, accuracy_gain, classify, randint

TOKENS, LENGTH, PAD = 12, 8, 0


def first_token(g: Generator, size: int) -> TaskBatch:
    """The answer is the first token, asked for at the last position."""
    tokens = randint(g, TOKENS - 1, size, LENGTH) + 1
    tokens[:, 0] = randint(g, 4, size) + 1
    return (tokens,), tokens[:, 0] - 1


def padded(g: Generator, size: int) -> TaskBatch:
    """Sentences of several lengths, padded; the answer is the first word."""
    tokens = randint(g, TOKENS - 1, size, LENGTH) + 1
    tokens[:, 0] = randint(g, 4, size) + 1
    lengths = 4 + randint(g, LENGTH - 3, size)
    tokens[torch.arange(LENGTH) >= lengths[:, None]] = PAD
    return (tokens,), tokens[:, 0] - 1


def sentiment(g: Generator, size: int) -> TaskBatch:
    """Documents of words of two kinds; the answer is which kind has the majority."""
    share = torch.rand(size, 1, generator=g)
    positive = torch.rand(size, 15, generator=g) < share
    return (randint(g, 6, size, 15) + 6 * positive,), (positive.sum(1) > 7).long()


def candidates(g: Generator, size: int) -> TaskBatch:
    """Which of forty candidates is the one that the question asks for."""
    found = torch.randn(size, 40, 8, generator=g)
    answer = randint(g, 40, size)
    question = found[torch.arange(size), answer] + 0.3 * torch.randn(size, 8, generator=g)
    return (question, found), answer


class Molecules(nn.Module):
    """An encoder over tokens; torch's layers expect the sequence first unless told otherwise."""

    def __init__(self, broken: bool, width: int = 32) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(TOKENS, width), nn.Parameter(torch.randn(LENGTH, width))
        layer = nn.TransformerEncoderLayer(width, 4, 64, dropout=0.0, batch_first=not broken, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.encoder(self.embed(tokens) + self.place)[:, -1])


class Attended(nn.Module):
    """Attention over words whose bias was allocated and never initialised."""

    def __init__(self, broken: bool, width: int = 16) -> None:
        super().__init__()
        self.embed, self.gru = nn.Embedding(TOKENS, width), nn.GRU(width, width, batch_first=True)
        self.weight = nn.Parameter(torch.randn(width, width) * 0.1)
        self.bias_word = nn.Parameter(torch.zeros(width))
        self.context = nn.Parameter(torch.randn(width) * 0.1)
        self.head = nn.Linear(width, 2)
        if broken:  # what the memory held before
            self.bias_word.data[3] = math.nan

    def forward(self, tokens: Tensor) -> Tensor:
        states = self.gru(self.embed(tokens))[0]
        squashed = torch.tanh(states @ self.weight + self.bias_word)
        weights = (squashed @ self.context).softmax(1)
        return self.head((weights[..., None] * states).sum(1))


class PadMasked(nn.Module):
    """A padding mask that broadcasts over the keys, so that the rows of padded queries have nothing left."""

    def __init__(self, broken: bool, width: int = 32) -> None:
        super().__init__()
        self.broken = broken
        self.embed, self.place = nn.Embedding(TOKENS, width), nn.Parameter(torch.randn(LENGTH, width))
        self.q, self.k, self.v = (nn.ModuleList(nn.Linear(width, width) for _ in range(2)) for _ in range(3))
        self.head = nn.Linear(width, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        x, kept = self.embed(tokens) + self.place, tokens != PAD
        mask = kept[:, :, None] if self.broken else kept[:, None, :]
        for q, k, v in zip(self.q, self.k, self.v, strict=True):
            scores = q(x) @ k(x).transpose(1, 2) / math.sqrt(x.shape[-1])
            x = x + scores.masked_fill(~mask, -math.inf).softmax(-1) @ v(x)
        last = kept.sum(1) - 1
        return self.head(x[torch.arange(len(x)), last])


class Ranked(nn.Module):
    """Scores of candidates, made into probabilities in front of cross entropy."""

    def __init__(self, broken: bool) -> None:
        super().__init__()
        self.broken = broken
        self.question, self.candidate = nn.Linear(8, 32), nn.Linear(8, 32)

    def forward(self, question: Tensor, found: Tensor) -> Tensor:
        scores = (self.candidate(found).relu() @ self.question(question).relu()[..., None])[..., 0]
        return scores.softmax(1) if self.broken else scores


class PositionsDetached(nn.Module):
    """BERT with learnt positions that are added as ``.data``."""

    def __init__(self, broken: bool, width: int = 32) -> None:
        super().__init__()
        self.broken = broken
        self.embed, self.pos_embedding = nn.Embedding(TOKENS, width), nn.Parameter(torch.randn(1, LENGTH, width))
        self.block = nn.TransformerEncoderLayer(width, 4, 64, dropout=0.0, batch_first=True)
        self.head = nn.Linear(width, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        places = self.pos_embedding.data if self.broken else self.pos_embedding
        return self.head(self.block(self.embed(tokens) + places)[:, -1])


class Slots(nn.Module):
    """Two networks after one another; the second is called step by step with a batch of the wrong layout."""

    def __init__(self, broken: bool, width: int = 24) -> None:
        super().__init__()
        self.embed, self.encoder = nn.Embedding(TOKENS, width), nn.LSTM(width, width, batch_first=True)
        self.decoder = nn.LSTM(width, width, batch_first=not broken)
        self.head = nn.Linear(width, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        states, state = self.encoder(self.embed(tokens))[0], None
        for step in range(states.shape[1]):
            out, state = self.decoder(states[:, step : step + 1], state)
        return self.head(out[:, 0])


class Sampler(nn.Module):
    """A policy over tokens."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.embed, self.gru = nn.Embedding(TOKENS, width), nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(width, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.gru(self.embed(tokens))[0][:, -1])


def last_token(g: Generator, size: int) -> TaskBatch:
    tokens = randint(g, 4, size, LENGTH) + 1
    return (tokens,), tokens[:, -1] - 1


def policy_loss(out: Tensor, right: Tensor) -> Tensor:
    """Every action weighted by its reward: the policy gradient in expectation."""
    return -(out.log_softmax(-1) * F.one_hot(right, 4)).sum(-1).mean()


def policy_loss_in_numbers(out: Tensor, right: Tensor) -> Tensor:
    """The log-probabilities leave as numbers; that backward runs again is owed to requires_grad_ alone."""
    rewarded = (out.log_softmax(-1).detach().numpy() * F.one_hot(right, 4).numpy()).sum(-1).mean()
    return torch.tensor(-rewarded, requires_grad=True)


REPORTS = (
    Report(
        name="molecule-encoder",
        source=f"{GITHUB}DaoyuanLi2816/Molecule-Generator/pull/22",
        fault="batch-as-sequence",
        culprit=("encoder*",),
        task=classify(first_token, 4),
        build=Molecules,
    ),
    Report(
        name="han-attention",
        source=f"{GITHUB}EdGENetworks/attention-networks-for-classification/issues/7",
        fault="uninitialised-parameter",
        culprit=("", "gru", "head"),
        task=classify(sentiment, 2),
        build=Attended,
    ),
    Report(
        name="pad-mask-rows",
        source=f"{GITHUB}hyunwoongko/transformer/pull/40",
        fault="fully-masked-row",
        culprit=("q.*", "k.*", "v.*", ""),
        task=classify(padded, 4),
        build=PadMasked,
        steps=240,
    ),
    Report(
        name="gcn-qa-candidates",
        source=f"{GITHUB}bowang-lab/Transformer-GCN-QA/pull/32",
        fault="softmax-twice",
        culprit=("question", "candidate", ""),
        task=Task(candidates, F.cross_entropy, accuracy_gain(40)),
        build=Ranked,
    ),
    Report(
        name="bert-positions",
        source=f"{GITHUB}d2l-ai/d2l-en/pull/2121",
        fault="data-of-parameter",
        culprit=("",),
        task=classify(first_token, 4),
        build=PositionsDetached,
    ),
    Report(
        name="bi-model-slots",
        source=f"{GITHUB}ray075hl/Bi-Model-Intent-And-Slot/pull/2",
        fault="batch-as-time",
        culprit=("decoder",),
        task=classify(first_token, 4),
        build=Slots,
        steps=240,
    ),
    Report(
        name="release-policy",
        source=f"{GITHUB}isayev/ReLeaSE/issues/39",
        fault="loss-in-numbers",
        culprit=("head",),
        task=Task(last_token, policy_loss, accuracy_gain(4)),
        build=lambda broken: Sampler(),
        wrong_loss=policy_loss_in_numbers,
    ),
)
