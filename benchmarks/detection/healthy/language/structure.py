"""Tags, trees, spans, summaries and translations."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case, Maker
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import SPECIAL, VOCAB, WIDTH, generator, progressions
from benchmarks.detection.vocabulary.blocks import bare
from benchmarks.detection.vocabulary.losses import own_loss


class RandomField(nn.Module):
    """A BiLSTM with a conditional random field: the negative log likelihood of a tagging."""

    def __init__(self, tags: int = 3) -> None:
        super().__init__()
        self.embed, self.emit = nn.Embedding(VOCAB, WIDTH), nn.Linear(WIDTH, tags)
        self.rnn = nn.LSTM(WIDTH, WIDTH // 2, batch_first=True, bidirectional=True)
        self.moves = nn.Parameter(torch.empty(tags, tags).uniform_(-0.1, 0.1))
        self.start, self.end = (nn.Parameter(torch.empty(tags).uniform_(-0.1, 0.1)) for _ in range(2))

    def forward(self, tokens: Tensor, tags: Tensor) -> Tensor:
        emitted = self.emit(self.rnn(self.embed(tokens))[0])
        alpha = self.start + emitted[:, 0]
        for t in range(1, tokens.shape[1]):
            alpha = (alpha[:, :, None] + self.moves + emitted[:, t, None]).logsumexp(1)
        total = (alpha + self.end).logsumexp(1)
        path = emitted.gather(2, tags[..., None])[..., 0].sum(1) + self.moves[tags[:, :-1], tags[:, 1:]].sum(1)
        return (total - path - self.start[tags[:, 0]] - self.end[tags[:, -1]]).mean()


def tagged(length: int = 12, tags: int = 3) -> Maker:
    """Tokens with a tag each: the part of the vocabulary that the token before belongs to."""

    def make(seed: int, size: int) -> Batch:
        tokens = torch.randint(SPECIAL, VOCAB, (size, length), generator=generator(seed))
        return tokens, (tokens.roll(1, 1) * tags // VOCAB).clamp(max=tags - 1)

    return make


class Biaffine(nn.Module):
    """A dependency parser: heads chosen by a biaffine form that starts at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCAB, WIDTH)
        self.rnn = nn.LSTM(WIDTH, WIDTH, batch_first=True, bidirectional=True)
        self.above, self.below = (nn.Sequential(nn.Linear(2 * WIDTH, 24), nn.LeakyReLU(0.1)) for _ in range(2))
        self.form = nn.Parameter(torch.zeros(25, 24))

    def forward(self, tokens: Tensor, heads: Tensor) -> Tensor:
        states = self.rnn(self.embed(tokens))[0]
        below = F.pad(self.below(states), (0, 1), value=1.0)
        scores = below @ self.form @ self.above(states).transpose(1, 2)
        return F.cross_entropy(scores.flatten(0, 1), heads.flatten())


def headed(length: int = 12) -> Maker:
    """Tokens whose head is the next one, for even ones, or the one before."""

    def make(seed: int, size: int) -> Batch:
        tokens = torch.randint(SPECIAL, VOCAB, (size, length), generator=generator(seed))
        return tokens, (torch.arange(length) + 1 - 2 * (tokens % 2)).clamp(0, length - 1)

    return make


class Bidaf(nn.Module):
    """Context and question attend to each other; start and end are pointed at."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.similar = nn.Embedding(VOCAB, WIDTH), nn.Linear(3 * WIDTH, 1, bias=False)
        self.encode = nn.LSTM(WIDTH, WIDTH // 2, batch_first=True, bidirectional=True)
        self.model = nn.LSTM(4 * WIDTH, WIDTH // 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(5 * WIDTH, 2)

    def forward(self, context: Tensor, question: Tensor) -> Tensor:
        h, u = self.encode(self.embed(context))[0], self.encode(self.embed(question))[0]
        wide, ask = torch.broadcast_tensors(h[:, :, None], u[:, None])  # type: ignore[no-untyped-call]
        scores = self.similar(torch.cat([wide, ask, wide * ask], -1))[..., 0]
        to_question = scores.softmax(2) @ u
        to_context = (scores.amax(2).softmax(1)[:, None] @ h).expand_as(h)
        merged = torch.cat([h, to_question, h * to_question, h * to_context], -1)
        return self.head(torch.cat([merged, self.model(merged)[0]], -1))


def quizzes(length: int = 12) -> Maker:
    """A context and a two-token piece of it as the question; where does it stand?"""

    def make(seed: int, size: int) -> Batch:
        g = generator(seed)
        context = torch.randint(SPECIAL, VOCAB, (size, length), generator=g)
        start = torch.randint(length - 1, (size,), generator=g)
        question = torch.stack([context[range(size), start], context[range(size), start + 1]], 1)
        return context, question, torch.stack([start, start + 1], 1)

    return make


def answered(model: nn.Module, batch: Batch) -> Tensor:
    """Cross entropy of start and end."""
    return F.cross_entropy(model(*batch[:2]), batch[2])


class PointerGenerator(nn.Module):
    """Summaries that copy or generate, with a coverage vector and its loss."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.encode = nn.Embedding(VOCAB, 24), nn.LSTM(24, 16, bidirectional=True, batch_first=True)
        self.decode, self.reduce = nn.LSTMCell(24 + 32, 32), nn.Linear(32, 32)
        self.from_key, self.from_state = nn.Linear(32, 32, bias=False), nn.Linear(32, 32)
        self.from_coverage, self.score = nn.Linear(1, 32, bias=False), nn.Linear(32, 1, bias=False)
        self.switch, self.out = nn.Linear(32 + 32 + 24, 1), nn.Sequential(nn.Linear(64, 32), nn.Linear(32, VOCAB))

    def forward(self, text: Tensor, summary: Tensor) -> Tensor:
        keys, (last, _) = self.encode(self.embed(text))
        state = (self.reduce(last.transpose(0, 1).flatten(1)).relu(), torch.zeros(len(text), 32))
        context, coverage, cost = torch.zeros(len(text), 32), torch.zeros(text.shape), torch.zeros(())
        for previous, word in zip(F.pad(summary, (1, 0), value=2)[:, :-1].unbind(1), summary.unbind(1), strict=True):
            seen = self.embed(previous)
            state = self.decode(torch.cat([seen, context], 1), state)
            features = (
                self.from_key(keys) + self.from_state(state[0])[:, None] + self.from_coverage(coverage[..., None])
            )
            weight = self.score(features.tanh())[..., 0].softmax(1)
            context = (weight[..., None] * keys).sum(1)
            cost = cost + torch.minimum(weight, coverage).sum(1).mean()
            coverage = coverage + weight
            switch = self.switch(torch.cat([context, state[0], seen], 1)).sigmoid()
            chance = switch * self.out(torch.cat([state[0], context], 1)).softmax(1)
            chance = chance.scatter_add(1, text, (1 - switch) * weight)
            cost = cost - (chance.gather(1, word[:, None]) + 1e-12).log().mean()
        return cost / summary.shape[1]


def summaries(seed: int, size: int) -> Batch:
    """Texts and every third word of them."""
    text = torch.randint(SPECIAL, VOCAB, (size, 15), generator=generator(seed))
    return text, text[:, ::3]


class ConvTranslator(nn.Module):
    """ConvS2S: gated convolutions with weight normalisation, attention in every decoder layer, halves of variance."""

    def __init__(self, width: int = WIDTH, layers: int = 2) -> None:
        super().__init__()
        norm = nn.utils.parametrizations.weight_norm
        self.source, self.target = nn.Embedding(VOCAB, width), nn.Embedding(VOCAB, width)
        self.places = nn.Embedding(16, width)
        for table in (self.source, self.target, self.places):
            nn.init.normal_(table.weight, std=0.1)
        self.encode = nn.ModuleList(norm(self.conv(width)) for _ in range(layers))
        self.decode = nn.ModuleList(norm(self.conv(width)) for _ in range(layers))
        self.inward = nn.ModuleList(norm(self.linear(width, width)) for _ in range(layers))
        self.outward = nn.ModuleList(norm(self.linear(width, width)) for _ in range(layers))
        self.head = norm(self.linear(width, VOCAB))

    @staticmethod
    def conv(width: int) -> nn.Conv1d:
        """Three words wide, twice as many outputs, normal by 4 / fan in."""
        conv = nn.Conv1d(width, 2 * width, 3)
        nn.init.normal_(conv.weight, std=(4 / (3 * width)) ** 0.5)
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        return conv

    @staticmethod
    def linear(inputs: int, outputs: int) -> nn.Linear:
        """Normal by 1 / fan in."""
        layer = nn.Linear(inputs, outputs)
        nn.init.normal_(layer.weight, std=inputs**-0.5)
        nn.init.zeros_(layer.bias)
        return layer

    def placed(self, table: nn.Module, tokens: Tensor) -> Tensor:
        """Words and places."""
        return table(tokens) + self.places.weight[: tokens.shape[1]]

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        words = self.placed(self.source, source)
        x = words
        for conv in self.encode:
            x = (F.glu(conv(F.pad(x.transpose(1, 2), (1, 1))), 1).transpose(1, 2) + x) * 0.5**0.5
        values = (x + words) * 0.5**0.5
        given = self.placed(self.target, target[:, :-1])
        y = given
        for conv, inward, outward in zip(self.decode, self.inward, self.outward, strict=True):
            h = F.glu(conv(F.pad(y.transpose(1, 2), (2, 0))), 1).transpose(1, 2)
            weight = ((inward(h) + given) * 0.5**0.5 @ x.transpose(1, 2)).softmax(-1)
            seen = outward(weight @ values * source.shape[1] ** 0.5)
            y = ((h + seen) * 0.5**0.5 + y) * 0.5**0.5
        return F.cross_entropy(self.head(y).transpose(1, 2), target[:, 1:])


def shifted(seed: int, size: int) -> Batch:
    """A sentence and its translation: every word is the next one in the vocabulary."""
    source = torch.randint(SPECIAL, VOCAB - 1, (size, 8), generator=generator(seed))
    return source, F.pad(source + 1, (1, 0), value=2)


class Luong(nn.Module):
    """Luong's translator: stacked LSTMs with input feeding and general scores; everything starts within 0.1."""

    def __init__(self) -> None:
        super().__init__()
        self.source, self.target = nn.Embedding(VOCAB, 24), nn.Embedding(VOCAB, 24)
        self.encode = nn.LSTM(24, WIDTH, 2, dropout=0.2, batch_first=True)
        self.cells = nn.ModuleList([nn.LSTMCell(24 + WIDTH, WIDTH), nn.LSTMCell(WIDTH, WIDTH)])
        self.score, self.join, self.head = bare(WIDTH, WIDTH), bare(2 * WIDTH, WIDTH), bare(WIDTH, VOCAB)
        for weight in self.parameters():
            nn.init.uniform_(weight, -0.1, 0.1)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        keys, (h, c) = self.encode(self.source(source.flip(1)))
        states, fed, outs = list(zip(h, c, strict=True)), torch.zeros_like(h[0]), []
        for word in self.target(F.pad(target, (1, 0), value=1)[:, :-1]).unbind(1):
            x = torch.cat([word, fed], 1)
            for i, cell in enumerate(self.cells):
                states[i] = cell(x, states[i])
                x = F.dropout(states[i][0], 0.2, self.training)
            weight = (keys @ self.score(x)[..., None]).softmax(1)
            fed = self.join(torch.cat([(weight * keys).sum(1), x], 1)).tanh()
            outs.append(self.head(fed))
        return F.cross_entropy(torch.stack(outs, 2), target)


def mirrored(seed: int, size: int) -> Batch:
    """A sentence and its translation: other words, in the other order."""
    source = progressions(VOCAB, 9)(seed, size)
    return source, (SPECIAL + (source - SPECIAL + 17) % (VOCAB - SPECIAL)).flip(1)


def cases() -> list[Case]:
    """The cases of this file."""
    return [
        case("second_sequence_bilstm_crf", "second/bilstm_crf", RandomField, tagged(), own_loss, round=2),
        case("second_sequence_biaffine_parser", "second/biaffine_parser", Biaffine, headed(), own_loss, round=2),
        case("second_sequence_bidaf", "second/bidaf", Bidaf, quizzes(), answered, round=2),
        case("third_text_pointer_generator", "third/pointer_generator", PointerGenerator, summaries, own_loss, round=3),
        case("third_text_convs2s", "third/convs2s", ConvTranslator, shifted, own_loss, round=3),
        case("fourth_text_luong_translator", "fourth/luong_translator", Luong, mirrored, own_loss, round=4),
    ]
