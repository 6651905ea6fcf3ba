"""Sentences: classes, embeddings, entailment and search."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import ITEMS, SPECIAL, VOCAB, WIDTH, generator, histories, token_classes
from benchmarks.detection.vocabulary.blocks import bare
from benchmarks.detection.vocabulary.initialisation import gpt_init
from benchmarks.detection.vocabulary.losses import own_loss


class TextCNN(nn.Module):
    """Kim's convolutions of several widths, maximum over time, dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCAB, WIDTH)
        nn.init.uniform_(self.embed.weight, -0.25, 0.25)
        self.convs = nn.ModuleList(nn.Conv1d(WIDTH, 16, size) for size in (3, 4, 5))
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(48, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens).transpose(1, 2)
        return self.head(self.drop(torch.cat([F.relu(conv(x)).amax(2) for conv in self.convs], 1)))


class DeepPyramid(nn.Module):
    """DPCNN: region embedding, pre-activated pairs of convolutions, halved each time."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.region = nn.Embedding(VOCAB, WIDTH), nn.Conv1d(WIDTH, WIDTH, 3, padding=1)
        self.convs = nn.ModuleList(nn.Conv1d(WIDTH, WIDTH, 3, padding=1) for _ in range(4))
        self.head = nn.Linear(WIDTH, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.region(self.embed(tokens).transpose(1, 2))
        for i in range(0, 4, 2):
            x = F.max_pool1d(x, 3, 2, 1)
            x = x + self.convs[i + 1](F.relu(self.convs[i](F.relu(x))))
        return self.head(x.amax(2))


class Hierarchical(nn.Module):
    """A hierarchical attention network: words to sentences to a document."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCAB, WIDTH)
        self.words, self.sentences = (nn.GRU(WIDTH, WIDTH // 2, batch_first=True, bidirectional=True) for _ in range(2))
        self.view = nn.ModuleList(nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh()) for _ in range(2))
        self.ask = nn.ParameterList(0.05 * torch.randn(WIDTH) for _ in range(2))
        self.head = nn.Linear(WIDTH, 2)

    def attend(self, level: int, states: Tensor) -> Tensor:
        weight = (self.view[level](states) @ self.ask[level]).softmax(1)
        return (weight[..., None] * states).sum(1)

    def forward(self, tokens: Tensor) -> Tensor:
        words = self.embed(tokens).unflatten(1, (4, -1))
        said = self.attend(0, self.words(words.flatten(0, 1))[0]).unflatten(0, (len(tokens), 4))  # type: ignore[no-untyped-call]
        return self.head(self.attend(1, self.sentences(said)[0]))


class TreeLSTM(nn.Module):
    """A binary tree LSTM over a balanced tree."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.leaf = nn.Embedding(VOCAB, WIDTH), nn.Linear(WIDTH, 2 * WIDTH)
        self.merge, self.head = nn.Linear(2 * WIDTH, 5 * WIDTH), nn.Linear(WIDTH, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        memory, gate = self.leaf(self.embed(tokens)).chunk(2, -1)
        state = gate.sigmoid() * memory.tanh()
        while state.shape[1] > 1:
            pair = state.unflatten(1, (-1, 2)).flatten(2)
            i, left, right, o, g = self.merge(pair).chunk(5, -1)
            memory = memory.unflatten(1, (-1, 2))
            kept = left.sigmoid() * memory[:, :, 0] + right.sigmoid() * memory[:, :, 1]
            memory = i.sigmoid() * g.tanh() + kept
            state = o.sigmoid() * memory.tanh()
        return self.head(state[:, 0])


class FastText(nn.Module):
    """fastText: words and hashed bigrams are averaged, one linear layer; its tables start uniform in 1 / width."""

    def __init__(self, buckets: int = 256) -> None:
        super().__init__()
        self.buckets, self.bag, self.head = buckets, nn.EmbeddingBag(VOCAB + buckets, 16), nn.Linear(16, 4, bias=False)
        nn.init.uniform_(self.bag.weight, -1 / 16, 1 / 16)
        nn.init.zeros_(self.head.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        pairs = (tokens[:, :-1] * 116049371 + tokens[:, 1:]) % self.buckets
        return self.head(self.bag(torch.cat([tokens, VOCAB + pairs], 1)))


class CharCnn(nn.Module):
    """Zhang's character-level convolutions on one-hot letters; Gaussian weights of std 0.05, two dropped layers."""

    def __init__(self) -> None:
        super().__init__()
        first = [nn.Conv1d(VOCAB, 32, 7), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(32, 32, 3), nn.ReLU()]
        dense = [nn.Linear(352, 48), nn.ReLU(), nn.Dropout(0.5), nn.Linear(48, 48), nn.ReLU(), nn.Dropout(0.5)]
        self.net = nn.Sequential(*first, nn.Flatten(), *dense, nn.Linear(48, 4))
        for module in self.net:
            if isinstance(module, (nn.Conv1d, nn.Linear)):
                nn.init.normal_(module.weight, std=0.05)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.net(F.one_hot(tokens, VOCAB).float().transpose(1, 2))


class Esim(nn.Module):
    """ESIM: premise and hypothesis are encoded, aligned softly, compared, composed and pooled."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.embed, self.encode = nn.Embedding(VOCAB, 24), nn.LSTM(24, width, bidirectional=True, batch_first=True)
        self.compare = nn.Sequential(nn.Linear(8 * width, width), nn.ReLU(), nn.Dropout(0.5))
        self.compose = nn.LSTM(width, width, bidirectional=True, batch_first=True)
        head = [nn.Linear(8 * width, width), nn.Tanh(), nn.Dropout(0.5), nn.Linear(width, 2)]
        self.head = nn.Sequential(nn.Dropout(0.5), *head)

    def forward(self, pair: Tensor) -> Tensor:
        one, two = (self.encode(self.embed(text))[0] for text in pair.chunk(2, 1))
        scores, pooled = one @ two.transpose(1, 2), []
        for own, other, weight in ((one, two, scores), (two, one, scores.transpose(1, 2))):
            seen = weight.softmax(-1) @ other
            both = self.compose(self.compare(torch.cat([own, seen, own - seen, own * seen], -1)))[0]
            pooled += [both.mean(1), both.amax(1)]
        return self.head(torch.cat(pooled, 1))


def entailed(seed: int, size: int) -> Batch:
    """Two texts in one, of one topic or of two."""
    g = generator(seed)
    label, topic = torch.randint(2, (size,), generator=g), torch.randint(2, (size,), generator=g)
    half = (VOCAB - SPECIAL) // 2
    words = SPECIAL + torch.randint(half, (size, 16), generator=g)
    second = torch.where(label == 1, topic, 1 - topic)
    return words + half * torch.stack([topic, second], 1).repeat_interleave(8, 1), label


class SimCSE(nn.Module):
    """Sentences twice through an encoder with dropout; the other view has to be found, temperature 0.05."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCAB, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, 2, 64, 0.1, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.pool = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh())
        gpt_init(self)

    def forward(self, tokens: Tensor) -> Tensor:
        one, two = (F.normalize(self.pool(self.body(self.embed(tokens))[:, 0])) for _ in range(2))
        return F.cross_entropy(one @ two.T / 0.05, torch.arange(len(tokens)))


def sentences(seed: int, size: int) -> Batch:
    """Texts that begin with the same token, as BERT's do."""
    return F.pad(token_classes(VOCAB, 12)(seed, size)[0], (1, 0), value=1)


class SkipGram(nn.Module):
    """word2vec with negative sampling: output vectors start at zero, as in the original code."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.inside, self.outside = nn.Embedding(ITEMS, width), nn.Embedding(ITEMS, width)
        nn.init.uniform_(self.inside.weight, -0.5 / width, 0.5 / width)
        nn.init.zeros_(self.outside.weight)

    def forward(self, history: Tensor) -> Tensor:
        word, near = self.inside(history[:, :-1]), self.outside(history[:, 1:])
        noise = self.outside(torch.randint(ITEMS, (*word.shape[:2], 4)))
        wrong = -(noise @ word[..., None])[..., 0]
        return -F.logsigmoid((word * near).sum(-1)).mean() - F.logsigmoid(wrong).sum(-1).mean()


class Glove(nn.Module):
    """GloVe: two tables and two biases fit the logarithm of counts, weighted by them."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.words, self.contexts = nn.Embedding(VOCAB, width), nn.Embedding(VOCAB, width)
        self.bias, self.context_bias = nn.Embedding(VOCAB, 1), nn.Embedding(VOCAB, 1)
        for table in (self.words, self.contexts, self.bias, self.context_bias):
            nn.init.uniform_(table.weight, -0.5 / width, 0.5 / width)

    def forward(self, word: Tensor, context: Tensor, count: Tensor) -> Tensor:
        product = (self.words(word) * self.contexts(context)).sum(1)
        guess = product + self.bias(word)[:, 0] + self.context_bias(context)[:, 0]
        return ((count / 100).clamp(max=1) ** 0.75 * (guess - count.log()).square()).mean()


def counts(seed: int, size: int) -> Batch:
    """Words, contexts, and how often they meet."""
    g = generator(seed)
    word, context = torch.randint(VOCAB, (2, 8 * size), generator=g)
    return word, context, (150 / (1 + (word - context).abs())).round().clamp(min=1).float()


class Poincare(nn.Module):
    """Poincare embeddings of a tree: vectors within 0.001 of the origin, hyperbolic distances, ten negatives."""

    def __init__(self) -> None:
        super().__init__()
        self.points = nn.Embedding(VOCAB, 4)
        nn.init.uniform_(self.points.weight, -1e-3, 1e-3)

    def forward(self, child: Tensor, others: Tensor) -> Tensor:
        table = self.points.weight
        table = table / (table.norm(dim=1, keepdim=True) / (1 - 1e-5)).clamp(min=1)
        one, many = table[child][:, None], table[others]
        room = (1 - one.square().sum(-1)) * (1 - many.square().sum(-1))
        ratio = 2 * (one - many).square().sum(-1) / room
        distance = torch.acosh((1 + ratio).clamp(min=1 + 1e-5))
        return F.cross_entropy(-distance, torch.zeros(len(child), dtype=torch.long))


def tree(seed: int, size: int) -> Batch:
    """Nodes of a binary tree with their parent, and ten others."""
    g = generator(seed)
    child = torch.randint(2, VOCAB, (4 * size,), generator=g)
    others = torch.randint(1, VOCAB, (4 * size, 10), generator=g)
    return child, torch.cat([child[:, None] // 2, others], 1)


class Encoder(nn.Module):
    """A small BERT."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.places = nn.Embedding(VOCAB, WIDTH), nn.Embedding(16, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, 2, 64, 0.1, "gelu", batch_first=True)
        self.norm, self.body = nn.LayerNorm(WIDTH), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        gpt_init(self)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.body(self.norm(self.embed(tokens) + self.places.weight[: tokens.shape[1]]))


class LateInteraction(nn.Module):
    """ColBERT: every query token's best match within a passage is summed; other passages are the negatives."""

    def __init__(self) -> None:
        super().__init__()
        self.bert, self.project = Encoder(), bare(WIDTH, 16)
        nn.init.normal_(self.project.weight, std=0.02)

    def forward(self, query: Tensor, passage: Tensor) -> Tensor:
        q, p = (F.normalize(self.project(self.bert(text)), dim=-1) for text in (query, passage))
        scores = torch.einsum("aqd,bpd->abqp", q, p).amax(-1).sum(-1)
        return F.cross_entropy(scores, torch.arange(len(query)))


def searches(seed: int, size: int) -> Batch:
    """Queries of five tokens and the passages that contain some of them."""
    g = generator(seed)
    passage = torch.randint(SPECIAL, VOCAB, (size, 16), generator=g)
    return passage.gather(1, torch.rand(size, 16, generator=g).argsort(1)[:, :5]), passage


class Splade(nn.Module):
    """SPLADE: the masked-language head gives sparse bags of words; a FLOPS penalty keeps them sparse."""

    def __init__(self) -> None:
        super().__init__()
        self.bert = Encoder()
        self.transform = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.LayerNorm(WIDTH))
        self.bias = nn.Parameter(torch.zeros(VOCAB))
        nn.init.normal_(self.transform[0].weight, std=0.02)  # type: ignore[arg-type]

    def bag(self, tokens: Tensor) -> Tensor:
        """The weight of every word of the vocabulary."""
        logits = F.linear(self.transform(self.bert(tokens)), self.bert.embed.weight, self.bias)
        return torch.log1p(F.relu(logits)).amax(1)

    def forward(self, query: Tensor, passage: Tensor) -> Tensor:
        q, p = self.bag(query), self.bag(passage)
        flops = 1e-3 * q.mean(0).square().sum() + 1e-3 * p.mean(0).square().sum()
        return F.cross_entropy(q @ p.T, torch.arange(len(query))) + flops


def cases() -> list[Case]:
    """The cases of this file."""
    return [
        case("second_sequence_text_cnn", "second/text_cnn", TextCNN, token_classes(VOCAB, 16), round=2),
        case("second_sequence_dpcnn", "second/dpcnn", DeepPyramid, token_classes(VOCAB, 16), round=2),
        case(
            "second_sequence_hierarchical_attention",
            "second/hierarchical_attention",
            Hierarchical,
            token_classes(VOCAB, 16),
            round=2,
        ),
        case("second_sequence_tree_lstm", "second/tree_lstm", TreeLSTM, token_classes(VOCAB, 16), round=2),
        case("third_text_fasttext", "third/fasttext", FastText, token_classes(VOCAB, 16, 4), round=3),
        case("third_text_char_cnn", "third/char_cnn", CharCnn, token_classes(VOCAB, 32, 4), round=3),
        case("third_text_esim", "third/esim", Esim, entailed, round=3),
        case("second_sequence_simcse", "second/simcse", SimCSE, sentences, own_loss, round=2),
        case("tab_word2vec", "tab/word2vec", SkipGram, histories(), own_loss),
        case("third_text_glove", "third/glove", Glove, counts, own_loss, round=3),
        case("third_text_poincare", "third/poincare", Poincare, tree, own_loss, round=3),
        case("fourth_text_colbert", "fourth/colbert", LateInteraction, searches, own_loss, round=4),
        case("fourth_text_splade", "fourth/splade", Splade, searches, own_loss, round=4),
    ]
