"""Hosts on token sequences: recurrent, convolutional and attention nets, adapters, towers joined."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .dense import LowRank, Stack
from .vision import Patches, PlainBlock, TokenHead


class Recurrent(nn.Module):
    """Embedding, a recurrent layer, a linear read-out of the last state."""

    def __init__(self, cell: type[nn.RNNBase], width: int = 24, vocab: int = 6, classes: int = 3) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocab, width)
        self.rnn = cell(width, width, batch_first=True)  # type: ignore[call-arg, arg-type]
        self.head = nn.Linear(width, classes)
        prepare(self.rnn)

    def forward(self, tokens: Tensor) -> Tensor:
        states, _ = self.rnn(self.embed(tokens))
        return self.head(states[:, -1])


def prepare(rnn: nn.RNNBase) -> None:
    """Orthogonal recurrence, and for an LSTM an open forget gate."""
    for name, parameter in rnn.named_parameters():
        if name.startswith("weight_hh"):
            for chunk in parameter.detach().chunk(len(parameter) // rnn.hidden_size):
                nn.init.orthogonal_(chunk)
        elif name.startswith("bias") and isinstance(rnn, nn.LSTM):
            parameter.detach()[rnn.hidden_size : 2 * rnn.hidden_size].fill_(1.0)


class Unrolled(nn.Module):
    """The recurrence as a Python loop over two linear layers, with the tanh as a function."""

    def __init__(self, width: int = 24, vocab: int = 6, classes: int = 3) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocab, width)
        self.inward, self.recur = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.head, self.function = nn.Linear(width, classes), "tanh"
        nn.init.orthogonal_(self.recur.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        drive = self.inward(self.embed(tokens))
        state = torch.zeros_like(drive[:, 0])
        for t in range(tokens.shape[1]):
            state = getattr(torch, self.function)(drive[:, t] + self.recur(state))
        return self.head(state)


class TemporalBlock(nn.Module):
    """Causal dilated convolution on a residual stream."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(width, width, 2, dilation=dilation)
        self.act, self.conv2 = nn.ReLU(), nn.Conv1d(width, width, 1)
        self.residual = True

    def forward(self, x: Tensor) -> Tensor:
        padded = F.pad(x, (self.conv1.dilation[0], 0))
        out = self.conv2(self.act(self.conv1(padded)))
        return x + out if self.residual else out


class LastStep(nn.Module):
    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x[:, :, -1])


class ChannelsFirst(nn.Embedding):
    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens).transpose(1, 2)


def tcn(width: int = 24) -> nn.Module:
    blocks: list[nn.Module] = [TemporalBlock(width, 2**i) for i in range(4)]
    return Stack(ChannelsFirst(6, width), blocks, LastStep(width, 3))


class Attention(nn.Module):
    def __init__(self, width: int, heads: int = 2) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.heads, self.scale, self.mask = heads, 1 / math.sqrt(width // heads), "none"

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(-2, -3)  # type: ignore[no-untyped-call]

    def hidden(self, rows: int, columns: int) -> Tensor:
        """True where attention is forbidden."""
        ones = torch.ones(rows, columns, dtype=torch.bool)
        return {"causal": ones.triu(1), "all": ones, "self": ~torch.eye(rows, columns, dtype=torch.bool)}[self.mask]

    def forward(self, x: Tensor, memory: Tensor | None = None) -> Tensor:
        source = x if memory is None else memory
        query, key, value = self.split(self.query(x)), self.split(self.key(source)), self.split(self.value(source))
        scores = query @ key.transpose(-1, -2) * self.scale
        if self.mask != "none":
            scores = scores.masked_fill(self.hidden(*scores.shape[-2:]), -math.inf)
        return self.out((scores.softmax(-1) @ value).transpose(-2, -3).flatten(-2))


class FeedForward(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class PreNorm(nn.Module):
    def __init__(self, width: int, mask: str = "none") -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width), Attention(width)
        self.norm2, self.mlp = nn.LayerNorm(width), FeedForward(width, 2 * width)
        self.attn.mask = mask
        self.residual = True

    def forward(self, x: Tensor) -> Tensor:
        if not self.residual:
            return self.mlp(self.norm2(self.attn(self.norm1(x))))
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


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


class Tokens(nn.Module):
    """Token and place embeddings added."""

    def __init__(self, vocab: int, width: int, length: int) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(vocab, width), nn.Embedding(length, width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.words(tokens) + self.places(torch.arange(tokens.shape[-1]))


class FirstToken(nn.Module):
    def __init__(self, width: int, classes: int, norm: bool = True) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width) if norm else nn.Identity()
        self.linear = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.norm(x[:, 0]))


def encoder(depth: int, block: Callable[[int], nn.Module] = PreNorm, width: int = 16) -> nn.Module:
    return Stack(Tokens(6, width, 8), [block(width) for _ in range(depth)], FirstToken(width, 3, block is PreNorm))


def torch_encoder(depth: int = 3, width: int = 16) -> nn.Module:
    """PyTorch's own layers, whose activation is a function and whose attention is one fused module."""

    def block() -> nn.Module:
        return nn.TransformerEncoderLayer(width, 2, 2 * width, dropout=0.0, batch_first=True, norm_first=True)

    return Stack(Tokens(6, width, 8), [block() for _ in range(depth)], FirstToken(width, 3))


def adapted(depth: int = 3, width: int = 16) -> nn.Module:
    """A frozen random encoder; adapters on queries, values and both feed-forward layers, and the head, are trained."""
    model = encoder(depth, width=width)
    for part in (model.stem, model.body):
        part.requires_grad_(False)
    for block in model.body:  # type: ignore[union-attr]
        block.attn.query, block.attn.value = LowRank(block.attn.query), LowRank(block.attn.value)
        block.mlp.fc1, block.mlp.fc2 = LowRank(block.mlp.fc1), LowRank(block.mlp.fc2)
    return model


def vit(depth: int = 3, width: int = 16) -> nn.Module:
    return Stack(Patches(width), [PreNorm(width) for _ in range(depth)], TokenHead(width, 4))


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


class FieldTokens(nn.Module):
    """FT-Transformer's tokeniser: every column of a table becomes a token."""

    def __init__(self, numbers: int, kinds: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(numbers, width) * 0.7)
        self.bias = nn.Parameter(torch.randn(numbers, width) * 0.7)
        self.kinds = nn.Embedding(2 * kinds, width)
        self.summary = nn.Parameter(torch.randn(1, width) * 0.7)

    def forward(self, numbers: Tensor, kinds: Tensor) -> Tensor:
        columns = numbers[..., None] * self.weight + self.bias
        categories = self.kinds(kinds + 2 * torch.arange(kinds.shape[1]))
        return torch.cat([self.summary.expand(len(numbers), 1, -1), columns, categories], 1)


class TableNet(nn.Module):
    def __init__(self, width: int = 16, depth: int = 2) -> None:
        super().__init__()
        self.stem = FieldTokens(4, 2, width)
        self.body = nn.Sequential(*[PreNorm(width) for _ in range(depth)])
        self.head = FirstToken(width, 2)

    def forward(self, numbers: Tensor, kinds: Tensor) -> Tensor:
        return self.head(self.body(self.stem(numbers, kinds)))
