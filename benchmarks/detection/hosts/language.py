"""Hosts on sentences: taggers, encoders, decoders, translators."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from benchmarks.detection.hosts.host import Host
from benchmarks.detection.vocabulary.stacks import Attention, FeedForward, FirstToken, PlainBlock, PreNorm, Stack
from benchmarks.detection.vocabulary.tasks import Draw, Task, TaskBatch, accuracy_gain, classify, randint, stripes

LEXICON = ("bat", "cob", "dot", "nab", "oda", "tan")
LETTERS = "abcdnot"


class Tokens(nn.Module):
    """Token and place embeddings added."""

    def __init__(self, vocab: int, width: int, length: int) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(vocab, width), nn.Embedding(length, width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.words(tokens) + self.places(torch.arange(tokens.shape[-1]))


def encoder(depth: int, block: Callable[[int], nn.Module] = PreNorm, width: int = 16) -> nn.Module:
    return Stack(Tokens(6, width, 8), [block(width) for _ in range(depth)], FirstToken(width, 3, block is PreNorm))


def looked_up(length: int = 8, vocab: int = 6, classes: int = 3) -> Task:
    """Read out at position 0, decided by the token at position 3: attention has to fetch it."""

    def draw(g: Generator, size: int) -> TaskBatch:
        tokens = randint(g, vocab, size, length)
        tokens[:, 0] = 0
        return (tokens,), tokens[:, 3] % classes

    return classify(draw, classes)


class PostNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn, self.norm1 = Attention(width), nn.LayerNorm(width)
        self.mlp, self.norm2 = FeedForward(width, 2 * width), nn.LayerNorm(width)
        self.residual = True

    def forward(self, x: Tensor) -> Tensor:
        if not self.residual:
            return self.norm2(self.mlp(self.norm1(self.attn(x))))
        x = self.norm1(x + self.attn(x))
        return self.norm2(x + self.mlp(x))


def torch_encoder(depth: int = 3, width: int = 16) -> nn.Module:
    """PyTorch's own layers, whose activation is a function and whose attention is one fused module."""

    def block() -> nn.Module:
        return nn.TransformerEncoderLayer(width, 2, 2 * width, dropout=0.0, batch_first=True, norm_first=True)

    return Stack(Tokens(6, width, 8), [block() for _ in range(depth)], FirstToken(width, 3))


class LowRank(nn.Module):
    """A frozen linear layer with a trained low-rank correction: LoRA."""

    def __init__(self, base: nn.Linear, rank: int = 4) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.lora_a = nn.Parameter(torch.randn(rank, base.in_features) / base.in_features**0.5)
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + 2 * F.linear(F.linear(x, self.lora_a), self.lora_b)


def adapted(depth: int = 3, width: int = 16) -> nn.Module:
    """A frozen random encoder; adapters on queries, values and both feed-forward layers, and the head, are trained."""
    model = encoder(depth, width=width)
    for part in (model.stem, model.body):
        part.requires_grad_(False)
    for block in model.body:  # type: ignore[union-attr]
        block.attn.query, block.attn.value = LowRank(block.attn.query), LowRank(block.attn.value)
        block.mlp.fc1, block.mlp.fc2 = LowRank(block.mlp.fc1), LowRank(block.mlp.fc2)
    return model


class GPT(nn.Module):
    """Causal, with the output layer tied to the token embedding."""

    def __init__(self, vocab: int = 6, width: int = 24, depth: int = 2, length: int = 9) -> None:
        super().__init__()
        self.stem = Tokens(vocab, width, length)
        self.body = nn.Sequential(*[PreNorm(width, "causal") for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocab, bias=False)
        nn.init.normal_(self.stem.words.weight, std=0.2)
        nn.init.normal_(self.stem.places.weight, std=0.2)
        self.head.weight = self.stem.words.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.norm(self.body(self.stem(tokens))))


def echo(length: int = 9, vocab: int = 6, period: int = 3) -> Task:
    """Every token repeats the one ``period`` places before; the first period cannot be known and is not asked."""

    def draw(g: Generator, size: int) -> TaskBatch:
        tokens = randint(g, vocab, size, period).repeat(1, length // period + 1)[:, : length + 1]
        return (tokens[:, :-1],), tokens[:, 1:]

    def flat(out: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        return out[:, period - 1 :].flatten(0, 1), target[:, period - 1 :].flatten()

    return Task(draw, lambda o, t: F.cross_entropy(*flat(o, t)), lambda o, t: accuracy_gain(vocab)(*flat(o, t)))


class CrossBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width), Attention(width)
        self.norm2, self.cross = nn.LayerNorm(width), Attention(width)
        self.norm3, self.mlp = nn.LayerNorm(width), FeedForward(width, 2 * width)
        self.attn.mask = "causal"

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        x = x + self.cross(self.norm2(x), memory)
        return x + self.mlp(self.norm3(x))


class Translator(nn.Module):
    """Encoder and decoder with cross attention."""

    def __init__(self, vocab: int = 6, width: int = 24, length: int = 4) -> None:
        super().__init__()
        self.source, self.target = Tokens(vocab, width, length), Tokens(vocab + 1, width, length)
        self.encoder = nn.Sequential(PreNorm(width))
        self.decoder = nn.ModuleList([CrossBlock(width), CrossBlock(width)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocab)

    def forward(self, source: Tensor, given: Tensor) -> Tensor:
        memory, x = self.encoder(self.source(source)), self.target(given)
        for block in self.decoder:
            x = block(x, memory)
        return self.head(self.norm(x))


def rearranged(how: Callable[[Tensor], Tensor], length: int, vocab: int) -> Task:
    """Write the source in another order, given the answer so far."""

    def draw(g: Generator, size: int) -> TaskBatch:
        source = randint(g, vocab, size, length)
        target = how(source)
        given = torch.cat([torch.full((size, 1), vocab), target[:, :-1]], 1)
        return (source, given), target

    def loss(out: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(out.flatten(0, 1), target.flatten())

    return Task(draw, loss, accuracy_gain(vocab))


def reversal(length: int = 4, vocab: int = 6) -> Task:
    """Backwards."""
    return rearranged(lambda source: source.flip(1), length, vocab)


class TwoTowers(nn.Module):
    """An image tower and a text tower, joined by concatenation."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        blocks = [PlainBlock(1, width, True, 2), PlainBlock(width, width, True, 2)]
        self.image = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.text = nn.Sequential(Tokens(6, width, 4), PreNorm(width), nn.LayerNorm(width))
        self.join, self.act = nn.Linear(2 * width, 24), nn.ReLU()
        self.head = nn.Linear(24, 4)

    def forward(self, image: Tensor, words: Tensor) -> Tensor:
        joined = torch.cat([self.image(image), self.text(words).mean(1)], 1)
        return self.head(self.act(self.join(joined)))


def caption_matches() -> Task:
    """An image of stripes and a sentence of words: the picture's direction plus the word names the class."""

    def draw(g: Generator, size: int) -> TaskBatch:
        kind, words = randint(g, 2, size), randint(g, 6, size, 4)
        return (stripes(g, kind, 8, 0.2), words), 2 * kind + words[:, 1] % 2

    return classify(draw, 4)


class Rotary(nn.Module):
    """Causal attention with rotary positions; ``mask`` names what is hidden."""

    def __init__(self, width: int, heads: int = 2) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.heads, self.scale, self.mask = heads, 1 / math.sqrt(width // heads), "causal"

    def turned(self, x: Tensor) -> Tensor:
        half = x.shape[-1] // 2
        angle = torch.arange(x.shape[-2])[:, None] * 100 ** (-torch.arange(half) / half)
        left, right = x[..., :half], x[..., half:]
        return torch.cat([left * angle.cos() - right * angle.sin(), left * angle.sin() + right * angle.cos()], -1)

    def hidden(self, length: int) -> Tensor:
        ones = torch.ones(length, length, dtype=torch.bool)
        return {"causal": ones.triu(1), "inverted": ones.tril(), "future": ones.tril(-1), "all": ones}[self.mask]

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        scores = self.turned(query) @ self.turned(key).transpose(-1, -2) * self.scale
        weight = scores.masked_fill(self.hidden(x.shape[1]), -math.inf).softmax(-1)
        return self.out((weight @ value).transpose(1, 2).flatten(-2))


class SwiGLU(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate, self.up = nn.Linear(width, hidden, bias=False), nn.Linear(width, hidden, bias=False)
        self.act, self.down = nn.SiLU(), nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.act(self.gate(x)) * self.up(x))


class LlamaBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.attn = nn.RMSNorm(width), Rotary(width)
        self.norm2, self.mlp = nn.RMSNorm(width), SwiGLU(width, 2 * width)
        self.residual = True

    def forward(self, x: Tensor) -> Tensor:
        if not self.residual:
            return self.mlp(self.norm2(self.attn(self.norm1(x))))
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


def llama(depth: int = 3, width: int = 24, vocab: int = 7) -> nn.Module:
    head = nn.Sequential(nn.RMSNorm(width), nn.Linear(width, vocab, bias=False))
    model = Stack(nn.Embedding(vocab, width), [LlamaBlock(width) for _ in range(depth)], head)
    for parameter in model.parameters():
        if parameter.dim() == 2:
            nn.init.normal_(parameter, std=width**-0.5 / 2)
    return model


def continued(tokens: Draw, vocab: int, skip: int) -> Task:
    """Every token is to be foretold from those before, but for the first ones."""

    def flat(out: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        return out[:, skip:].flatten(0, 1), target[:, skip:].flatten()

    return Task(tokens, lambda o, t: F.cross_entropy(*flat(o, t)), lambda o, t: accuracy_gain(vocab)(*flat(o, t)))


def strides(length: int = 10, vocab: int = 7) -> Task:
    """Counting in steps that differ from line to line."""

    def draw(g: Generator, size: int) -> TaskBatch:
        start, stride = randint(g, vocab, size, 1), 1 + randint(g, 3, size, 1)
        line = (start + stride * torch.arange(length + 1)) % vocab
        return (line[:, :-1],), line[:, 1:]

    return continued(draw, vocab, 1)


class Tagger(nn.Module):
    """A label for every token from an LSTM that reads both ways."""

    def __init__(self, vocab: int = 8, width: int = 24, tags: int = 4) -> None:
        super().__init__()
        self.embed, self.drop = nn.Embedding(vocab, width), nn.Dropout(0.1)
        self.rnn = nn.LSTM(width, width, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * width, tags)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.rnn(self.drop(self.embed(tokens)))[0])


def taller(length: int = 10, vocab: int = 8) -> Task:
    """For every token whether it is greater than its left and its right neighbour: four classes."""

    def draw(g: Generator, size: int) -> TaskBatch:
        tokens = randint(g, vocab, size, length)
        padded = F.pad(tokens, (1, 1), value=vocab)
        return (tokens,), 2 * (tokens > padded[:, :-2]).long() + (tokens > padded[:, 2:]).long()

    def loss(out: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(out.flatten(0, 1), target.flatten())

    def gain(out: Tensor, target: Tensor) -> float:
        """The four are not equally frequent: the best constant answer is the commonest."""
        chance = target.flatten().bincount().max().item() / target.numel()
        return ((out.argmax(-1) == target).float().mean().item() - chance) / (1 - chance)

    return Task(draw, loss, gain)


class GatedConv(nn.Module):
    """Gated convolution over the past (Dauphin et al.), with weight normalisation and a residual."""

    def __init__(self, width: int, reach: int = 3) -> None:
        super().__init__()
        self.pad = nn.ConstantPad1d((reach - 1, 0), 0.0)
        self.conv = nn.utils.parametrizations.weight_norm(nn.Conv1d(width, 2 * width, reach))
        self.gate, self.residual = nn.GLU(1), True

    def forward(self, x: Tensor) -> Tensor:
        out = self.gate(self.conv(self.pad(x)))
        return x + out if self.residual else out


class Letters(nn.Module):
    def __init__(self, vocab: int, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocab, width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.embed(tokens).transpose(1, 2)


class EveryStep(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2))


def gated_conv(depth: int = 4, width: int = 24, vocab: int = 5) -> nn.Module:
    return Stack(Letters(vocab, width), [GatedConv(width) for _ in range(depth)], EveryStep(width, vocab))


def sums(length: int = 10, vocab: int = 5) -> Task:
    """Every token is the sum of the two before it."""

    def draw(g: Generator, size: int) -> TaskBatch:
        tokens = list(randint(g, vocab, size, 2).T)
        while len(tokens) <= length:
            tokens.append((tokens[-1] + tokens[-2]) % vocab)
        line = torch.stack(tokens, 1)
        return (line[:, :-1],), line[:, 1:]

    return continued(draw, vocab, 1)


class Reader(nn.Module):
    """Additive attention (Bahdanau): which of the memories is asked for; ``axis`` is what the weights sum over."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key, self.energy = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, 1)
        self.axis = 1

    def forward(self, state: Tensor, memory: Tensor) -> Tensor:
        score = self.energy((self.query(state)[:, None] + self.key(memory)).tanh())
        return (score.softmax(self.axis) * memory).sum(1)


class Seq2Seq(nn.Module):
    """A recurrent encoder and a recurrent decoder that looks back at every step.

    ``forgets`` starts the decoder's state anew at every step, ``context`` weighs what it looks back at.
    """

    def __init__(self, vocab: int = 5, width: int = 24) -> None:
        super().__init__()
        self.source, self.target = nn.Embedding(vocab, width), nn.Embedding(vocab + 1, width)
        self.encoder = nn.GRU(width, width, batch_first=True)
        self.reader, self.cell = Reader(width), nn.GRUCell(2 * width, width)
        self.head = nn.Linear(2 * width, vocab)
        self.forgets, self.context = False, 1.0

    def forward(self, source: Tensor, given: Tensor) -> Tensor:
        memory, last = self.encoder(self.source(source))
        state, said = self.context * last[0], self.target(given)
        answers = []
        for t in range(given.shape[1]):
            before = torch.zeros_like(state) if self.forgets else state
            found = self.context * self.reader(before, memory)
            state = self.cell(torch.cat([said[:, t], found], 1), before)
            answers.append(self.head(torch.cat([state, found], 1)))
        return torch.stack(answers, 1)


def rotated(length: int = 4, vocab: int = 5) -> Task:
    """From the third token on and round."""
    return rearranged(lambda source: source.roll(-2, 1), length, vocab)


class LanguageModel(nn.Module):
    """An LSTM that writes on; the read-out is the embedding itself."""

    def __init__(self, vocab: int = 7, width: int = 24) -> None:
        super().__init__()
        self.embed, self.drop = nn.Embedding(vocab, width), nn.Dropout(0.1)
        self.rnn, self.head = nn.LSTM(width, width, batch_first=True), nn.Linear(width, vocab)
        self.head.weight = self.embed.weight
        nn.init.normal_(self.embed.weight, std=width**-0.5)
        nn.init.zeros_(self.head.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.drop(self.rnn(self.drop(self.embed(tokens)))[0]))


def braided(length: int = 8, vocab: int = 7) -> Task:
    """Two counts in turn: every token is one more than the one before last."""

    def draw(g: Generator, size: int) -> TaskBatch:
        start = randint(g, vocab, size, 2)
        place = torch.arange(length + 1)
        line = (start[:, place % 2] + place // 2) % vocab
        return (line[:, :-1],), line[:, 1:]

    return continued(draw, vocab, 1)


class CausalSelfAttention(nn.Module):
    """One projection for queries, keys and values; the mask is a buffer."""

    def __init__(self, n_embd: int, n_head: int, block_size: int) -> None:
        super().__init__()
        self.c_attn, self.c_proj = nn.Linear(n_embd, 3 * n_embd), nn.Linear(n_embd, n_embd)
        self.n_head, self.temperature = n_head, math.sqrt(n_embd // n_head)
        self.register_buffer("seen", torch.ones(block_size, block_size).tril().bool())

    def weigh(self, q: Tensor, k: Tensor) -> Tensor:
        score = q @ k.transpose(-2, -1) / self.temperature
        past: Tensor = self.seen[: q.shape[-2], : q.shape[-2]]  # type: ignore[index]
        return F.softmax(score.masked_fill(~past, -torch.inf), dim=-1)

    def merge(self, heads: Tensor) -> Tensor:
        return heads.transpose(1, 2).flatten(2)

    def forward(self, x: Tensor) -> Tensor:
        b, t, c = x.shape
        q, k, v = (part.view(b, t, self.n_head, -1).transpose(1, 2) for part in self.c_attn(x).split(c, dim=2))
        return self.c_proj(self.merge(self.weigh(q, k) @ v))


class GPTBlock(nn.Module):
    def __init__(self, n_embd: int, n_head: int, block_size: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(n_embd), nn.LayerNorm(n_embd)
        self.attn = CausalSelfAttention(n_embd, n_head, block_size)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(n_embd, 2 * n_embd), "c_proj": nn.Linear(2 * n_embd, n_embd)})

    def feed(self, x: Tensor) -> Tensor:
        return self.mlp["c_proj"](F.gelu(self.mlp["c_fc"](x)))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.feed(self.ln_2(x))


class CharGPT(nn.Module):
    """Six pre-norm blocks; the read-out is the table of letters."""

    def __init__(self, vocab: int = 7, n_embd: int = 24, n_layer: int = 6, block_size: int = 12) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab, n_embd), nn.Embedding(block_size, n_embd)
        self.h = nn.ModuleList(GPTBlock(n_embd, 2, block_size) for _ in range(n_layer))
        self.ln_f, self.lm_head = nn.LayerNorm(n_embd), nn.Linear(n_embd, vocab, bias=False)
        self.lm_head.weight = self.wte.weight
        self.apply(self._init_weights)
        for name, parameter in self.named_parameters():
            if name.endswith("c_proj.weight"):
                nn.init.normal_(parameter, std=0.1 / math.sqrt(2 * n_layer))

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.1)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def positions(self, tokens: Tensor) -> Tensor:
        return self.wpe(torch.arange(tokens.shape[1]))

    def run(self, x: Tensor) -> Tensor:
        for block in self.h:
            x = block(x)
        return x

    def forward(self, tokens: Tensor) -> Tensor:
        return self.lm_head(self.ln_f(self.run(self.wte(tokens) + self.positions(tokens))))


def written(length: int = 12) -> Task:
    """Words of three letters one after the other; the last two letters of every word can be foretold.

    The gain is 0 for whoever always says the most frequent letter.
    """
    words = torch.tensor([[LETTERS.index(letter) for letter in word] for word in LEXICON])
    asked = torch.arange(length) % 3 != 2

    def draw(g: Generator, size: int) -> TaskBatch:
        text = words[randint(g, len(words), size, length // 3 + 1)].flatten(1)[:, : length + 1]
        return (text[:, :-1],), text[:, 1:]

    def loss(out: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(out[:, asked].flatten(0, 1), target[:, asked].flatten())

    def gain(out: Tensor, target: Tensor) -> float:
        right = target[:, asked]
        chance = right.flatten().bincount().max() / right.numel()
        return float(((out[:, asked].argmax(-1) == right).float().mean() - chance) / (1 - chance))

    return Task(draw, loss, gain)


class BracketEncoder(nn.Module):
    """PyTorch's own encoder, post-norm, sinusoidal positions, a mean over the tokens."""

    def __init__(self, vocab: int = 6, d_model: int = 24, layers: int = 3, length: int = 16) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab, d_model)
        layer = nn.TransformerEncoderLayer(d_model, 2, 48, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        for parameter in self.encoder.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        self.register_buffer("pe", self.table(length, d_model))
        self.classifier = nn.Linear(d_model, 2)

    @staticmethod
    def table(length: int, width: int) -> Tensor:
        angle = torch.arange(length)[:, None] / 20 ** (torch.arange(0, width, 2) / width)
        return torch.stack([angle.sin(), angle.cos()], 2).flatten(1)[None]

    def place(self, x: Tensor) -> Tensor:
        return x + self.pe[:, : x.shape[1]]  # type: ignore[index]

    def attend(self, x: Tensor) -> Tensor:
        return self.encoder(x)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.classifier(self.attend(self.place(self.embedding(tokens))).mean(dim=1))


def opened_before_closed(length: int = 8, vocab: int = 6) -> Task:
    """Does the opening bracket stand before the closing one?"""

    def draw(g: Generator, size: int) -> TaskBatch:
        tokens = 2 + randint(g, vocab - 2, size, length)
        places = torch.rand(size, length, generator=g).argsort(1)[:, :2]
        tokens.scatter_(1, places, torch.tensor([[0, 1]]).expand(size, 2))
        return (tokens,), (places[:, 0] < places[:, 1]).long()

    return classify(draw, 2)


class AttentiveGRU(nn.Module):
    """A GRU in both directions; a learnt query says which of its states are read."""

    def __init__(self, vocab: int = 9, embedding_dim: int = 16, hidden_size: int = 16) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(vocab, embedding_dim)
        self.gru: nn.RNNBase = nn.GRU(embedding_dim, hidden_size, batch_first=True, bidirectional=True)
        self.attention = nn.Sequential(nn.Linear(2 * hidden_size, 16), nn.Tanh(), nn.Linear(16, 1, bias=False))
        self.dropout, self.hidden2label = nn.Dropout(0.1), nn.Linear(2 * hidden_size, 2)

    def pool(self, states: Tensor) -> Tensor:
        weight = torch.softmax(self.attention(states).squeeze(-1), dim=1)
        return torch.bmm(weight.unsqueeze(1), states).squeeze(1)

    def forward(self, words: Tensor) -> Tensor:
        states, _ = self.gru(self.word_embeddings(words))
        return self.hidden2label(self.dropout(self.pool(states)))


def opinions(length: int = 7, vocab: int = 9) -> Task:
    """Good words, bad words, idle words, and a word that turns the next one round: is it praise in the end?"""
    worth = torch.tensor([0.0, 1.0, 2.0, 1.0, -1.0, -2.0, -1.0, 0.1, -0.1])

    def draw(g: Generator, size: int) -> TaskBatch:
        words = randint(g, vocab, size, length)
        turned = F.pad(words[:, :-1] == 0, (1, 0))
        return (words,), (torch.where(turned, -worth[words], worth[words]).sum(1) > 0).long()

    return classify(draw, 2)


def hosts() -> list[Host]:
    """The hosts of this file."""
    return [
        Host(name="encoder4-pre", build=lambda: encoder(4), task=looked_up(), steps=120, train_batch=24),
        Host(name="encoder4-post", build=lambda: encoder(4, PostNorm), task=looked_up(), steps=120, train_batch=24),
        Host(name="encoder6-post", build=lambda: encoder(6, PostNorm), task=looked_up(), steps=120, train_batch=24),
        Host(name="encoder12-pre", build=lambda: encoder(12), task=looked_up(), steps=80, train_batch=24),
        Host(name="encoder24-pre", build=lambda: encoder(24), task=looked_up(), steps=60, train_batch=24),
        Host(name="encoder3-torch", build=torch_encoder, task=looked_up(), steps=120, train_batch=24),
        Host(name="lora", build=adapted, task=looked_up(), steps=120, train_batch=24),
        Host(name="gpt", build=GPT, task=echo(), trunk=("stem*", "body*", "norm*")),
        Host(
            name="translator",
            build=Translator,
            task=reversal(),
            chain="encoder",
            sites=("source", "encoder.0", "decoder.1"),
            trunk=("source*", "target*", "encoder*", "decoder*", "norm*"),
        ),
        Host(
            name="two-towers",
            build=TwoTowers,
            task=caption_matches(),
            chain="image",
            sites=("image.0", "image", "text"),
            trunk=("image*", "text*", "join*"),
        ),
        Host(name="llama", build=llama, task=strides(), train_batch=32, round=2),
        Host(
            name="tagger",
            build=Tagger,
            task=taller(),
            chain="",
            sites=("embed", "rnn"),
            trunk=("embed*", "rnn*"),
            round=2,
        ),
        Host(name="gated-conv", build=gated_conv, task=sums(), round=2),
        Host(
            name="seq2seq",
            build=Seq2Seq,
            task=rotated(),
            chain="",
            sites=("source", "encoder", "cell"),
            trunk=("source*", "target*", "encoder*", "reader*", "cell*"),
            steps=120,
            train_batch=32,
            round=3,
        ),
        Host(
            name="lstm-lm",
            build=LanguageModel,
            task=braided(),
            chain="",
            sites=("embed", "rnn"),
            trunk=("embed*", "rnn*"),
            steps=120,
            train_batch=32,
            round=3,
        ),
        Host(
            name="char-gpt",
            build=CharGPT,
            task=written(),
            chain="",
            sites=("h.0", "h.3", "h.5"),
            trunk=("wte", "wpe", "h*", "ln_f"),
            steps=80,
            train_batch=32,
            round=4,
        ),
        Host(
            name="bracket-encoder",
            build=BracketEncoder,
            task=opened_before_closed(),
            chain="",
            sites=("embedding", "encoder.layers.1", "encoder"),
            trunk=("embedding*", "encoder*"),
            steps=120,
            train_batch=32,
            round=4,
        ),
        Host(
            name="attentive-gru",
            build=AttentiveGRU,
            task=opinions(),
            chain="",
            sites=("word_embeddings", "gru"),
            trunk=("word_embeddings*", "gru*", "attention*"),
            steps=120,
            train_batch=32,
            round=4,
        ),
    ]
