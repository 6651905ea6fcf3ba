"""Later attentions, recurrences and stacks for language models."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import SPECIAL, VOCAB, WIDTH, generator, progressions
from benchmarks.detection.vocabulary.blocks import bare, join_heads, split_heads
from benchmarks.detection.vocabulary.initialisation import gpt_init
from benchmarks.detection.vocabulary.losses import next_token, own_loss


class Writer(nn.Module):
    """Blocks between an embedding and an untied head."""

    def __init__(self, block: Callable[[], nn.Module], depth: int = 3, init: bool = True) -> None:
        super().__init__()
        self.embed, self.blocks = nn.Embedding(VOCAB, WIDTH), nn.Sequential(*(block() for _ in range(depth)))
        self.norm, self.head = nn.RMSNorm(WIDTH), bare(WIDTH, VOCAB)
        if init:
            gpt_init(self)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.norm(self.blocks(self.embed(tokens))))


class SwiGlu(nn.Module):
    """The feed-forward layer of Llama."""

    def __init__(self, width: int = WIDTH, hidden: int = 80) -> None:
        super().__init__()
        self.gate, self.up, self.down = bare(width, hidden), bare(width, hidden), bare(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Block(nn.Module):
    """A mixer and a feed-forward layer, each behind an RMS norm."""

    def __init__(self, mixer: nn.Module, feed: nn.Module | None = None) -> None:
        super().__init__()
        self.mixer, self.feed = mixer, feed or SwiGlu()
        self.before, self.between = nn.RMSNorm(WIDTH), nn.RMSNorm(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mixer(self.before(x))
        out: Tensor = x + self.feed(self.between(x))
        return out


def rotate(x: Tensor) -> Tensor:
    """Rotary positions along the last but one dimension."""
    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[-2])[:, None] * 10000 ** (-torch.arange(half) / half)
    a, b = x.chunk(2, -1)
    return torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1)


class LatentAttention(nn.Module):
    """DeepSeek's attention: queries and keys from compressed codes, positions in a part of their own."""

    def __init__(self, count: int = 2, plain: int = 12, turned: int = 4) -> None:
        super().__init__()
        self.count, self.plain, self.turned = count, plain, turned
        self.squeeze_q, self.norm_q = bare(WIDTH, 16), nn.RMSNorm(16)
        self.expand_q = bare(16, count * (plain + turned))
        self.squeeze, self.norm, self.expand = bare(WIDTH, 12 + turned), nn.RMSNorm(12), bare(12, count * 2 * plain)
        self.out = bare(count * plain, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        q = split_heads(self.expand_q(self.norm_q(self.squeeze_q(x))), self.count)
        code, place = self.squeeze(x).split([12, self.turned], -1)
        k, v = split_heads(self.expand(self.norm(code)), self.count).chunk(2, -1)
        place = rotate(place[:, None]).expand(-1, self.count, -1, -1)
        q = torch.cat([q[..., : self.plain], rotate(q[..., self.plain :])], -1)
        k = torch.cat([k, place], -1)
        return self.out(join_heads(F.scaled_dot_product_attention(q, k, v, is_causal=True)))


class GatedAttention(nn.Module):
    """Grouped queries with normalised queries and keys, and a sigmoid gate on what every head reads."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.gate = bare(WIDTH, WIDTH), bare(WIDTH, 8), bare(WIDTH, 8), bare(WIDTH, WIDTH)
        self.norm_q, self.norm_k, self.out = nn.RMSNorm(8), nn.RMSNorm(8), bare(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        q, k = rotate(self.norm_q(split_heads(self.q(x), 4))), rotate(self.norm_k(split_heads(self.k(x), 1)))
        v = split_heads(self.v(x), 1)
        read = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return self.out(join_heads(read) * self.gate(x).sigmoid())


class ForgettingAttention(nn.Module):
    """The Forgetting Transformer: sums of log forget gates are added to the scores; there are no positions."""

    def __init__(self, count: int = 2) -> None:
        super().__init__()
        self.count, self.qkv, self.out = count, bare(WIDTH, 3 * WIDTH), bare(WIDTH, WIDTH)
        self.forget = nn.Linear(WIDTH, count)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (split_heads(part, self.count) for part in self.qkv(x).chunk(3, -1))
        kept = F.logsigmoid(self.forget(x)).transpose(1, 2).cumsum(-1)
        decay = kept[..., :, None] - kept[..., None, :]
        hidden = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        scores = (q @ k.transpose(-1, -2)) / q.shape[-1] ** 0.5 + decay
        return self.out(join_heads(scores.masked_fill(hidden, -torch.inf).softmax(-1) @ v))


class TaylorAttention(nn.Module):
    """Based: linear attention whose feature map is the second-order Taylor series of the exponential."""

    def __init__(self, count: int = 2, features: int = 8) -> None:
        super().__init__()
        self.count = count
        self.q, self.k = bare(WIDTH, count * features), bare(WIDTH, count * features)
        self.v, self.out = bare(WIDTH, WIDTH), bare(WIDTH, WIDTH)

    @staticmethod
    def features(x: Tensor) -> Tensor:
        """One, the vector, and the products of its pairs."""
        root = x.shape[-1] ** 0.5
        square = (x[..., :, None] * x[..., None, :]).flatten(-2) / (2**0.5 * root)
        return torch.cat([torch.ones_like(x[..., :1]), x / root**0.5, square], -1)

    def forward(self, x: Tensor) -> Tensor:
        q, k = (self.features(split_heads(layer(x), self.count)) for layer in (self.q, self.k))
        scores = (q @ k.transpose(-1, -2)).tril()
        return self.out(join_heads(scores @ split_heads(self.v(x), self.count) / (scores.sum(-1, keepdim=True) + 1e-6)))


class ParameterTokens(nn.Module):
    """TokenFormer: every projection attends to learnt key and value tokens, normalised by length and bent by GELU."""

    def __init__(self, count: int = 48) -> None:
        super().__init__()
        self.tables = nn.ParameterList(nn.Parameter(0.02 * torch.randn(2, count, WIDTH)) for _ in range(4))

    @staticmethod
    def read(x: Tensor, table: Tensor) -> Tensor:
        """Attention of the input to the parameters."""
        scores = x @ table[0].T
        scores = F.gelu(F.normalize(scores, dim=-1) * scores.shape[-1] ** 0.5)
        return scores @ table[1]

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (split_heads(self.read(x, table), 2) for table in list(self.tables)[:3])
        read = join_heads(F.scaled_dot_product_attention(rotate(q), rotate(k), v, is_causal=True))
        return self.read(read, self.tables[3])


class ScalarLstm(nn.Module):
    """xLSTM's sLSTM: exponential input gates with a stabiliser, a normaliser state, recurrence within each head."""

    def __init__(self, count: int = 2) -> None:
        super().__init__()
        self.count, size = count, WIDTH // count
        self.gates = nn.Linear(WIDTH, 4 * WIDTH)
        self.again = nn.Parameter(torch.zeros(4, count, size, size))
        self.norm, self.out = nn.GroupNorm(count, WIDTH), bare(WIDTH, WIDTH)
        with torch.no_grad():
            self.gates.bias[2 * WIDTH : 3 * WIDTH] = torch.linspace(3, 6, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        h, c, n, m = (x.new_zeros(len(x), WIDTH) for _ in range(4))
        outs = []
        for now in self.gates(x).unbind(1):
            back = torch.einsum("bhd,ghde->bghe", h.view(len(h), self.count, -1), self.again).flatten(2)
            z, i, f, o = (now.unflatten(1, (4, -1)) + back).unbind(1)
            f = F.logsigmoid(f)
            top = torch.maximum(f + m, i)
            keep, add = (f + m - top).exp(), (i - top).exp()
            c, n, m = keep * c + add * z.tanh(), keep * n + add, top
            h = o.sigmoid() * c / n.clamp(min=1e-6)
            outs.append(self.norm(h))
        return self.out(torch.stack(outs, 1))


def long_convolution(x: Tensor, kernel: Tensor) -> Tensor:
    """Causal convolution along the length, by Fourier transform."""
    length = x.shape[1]
    return torch.fft.irfft(torch.fft.rfft(x, 2 * length, dim=1) * torch.fft.rfft(kernel, 2 * length, dim=0), dim=1)[
        :, :length
    ]


class HungryHippo(nn.Module):
    """H3: keys pass a shift, their products with values a diagonal state space, and queries gate the result."""

    def __init__(self, states: int = 8) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.shift, self.skip = nn.Parameter(torch.randn(4, WIDTH) * 0.5), nn.Parameter(torch.ones(WIDTH))
        self.step = nn.Parameter(torch.empty(WIDTH).uniform_(math.log(1e-2), math.log(1e-1)))
        self.decay = nn.Parameter(torch.full((WIDTH, states), math.log(0.5)))
        self.turn = nn.Parameter(math.pi * torch.arange(states).float().repeat(WIDTH, 1))
        self.mix = nn.Parameter(torch.randn(WIDTH, states, 2))

    def kernel(self, length: int) -> Tensor:
        """The response of S4D-Lin."""
        pole = torch.complex(-self.decay.exp(), self.turn)
        moved = self.step.exp()[:, None] * pole
        weight = torch.view_as_complex(self.mix) * (moved.exp() - 1) / pole
        powers = (moved[..., None] * torch.arange(length)).exp()
        return 2 * (weight[..., None] * powers).sum(1).real.T

    def forward(self, x: Tensor) -> Tensor:
        k = long_convolution(self.k(x), F.pad(self.shift, (0, 0, 0, x.shape[1] - 4)))
        product = k * self.v(x)
        state = long_convolution(product, self.kernel(x.shape[1])) + self.skip * product
        return self.out(self.q(x) * state)


class PlainAttention(nn.Module):
    """Causal attention with rotary positions."""

    def __init__(self, count: int = 2) -> None:
        super().__init__()
        self.count, self.qkv, self.out = count, bare(WIDTH, 3 * WIDTH), bare(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (split_heads(part, self.count) for part in self.qkv(x).chunk(3, -1))
        return self.out(join_heads(F.scaled_dot_product_attention(rotate(q), rotate(k), v, is_causal=True)))


class ProductKeys(nn.Module):
    """A product-key memory: two halves of a query each find their nearest keys; a pair of keys names a value."""

    def __init__(self, keys: int = 12, best: int = 4, count: int = 2) -> None:
        super().__init__()
        self.keys, self.best, self.count = keys, best, count
        self.query, self.norm = nn.Linear(WIDTH, count * 16), nn.BatchNorm1d(count * 16)
        self.table = nn.Parameter(torch.empty(count, 2, keys, 8).uniform_(-1 / 8**0.5, 1 / 8**0.5))
        self.values = nn.EmbeddingBag(keys * keys, WIDTH, mode="sum")
        nn.init.normal_(self.values.weight, std=WIDTH**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        flat = self.norm(self.query(x.flatten(0, 1))).view(-1, self.count, 2, 8)
        scores, places = torch.einsum("nhpd,hpkd->nhpk", flat, self.table).topk(self.best, -1)
        both = (scores[:, :, 0, :, None] + scores[:, :, 1, None, :]).flatten(2)
        names = (places[:, :, 0, :, None] * self.keys + places[:, :, 1, None, :]).flatten(2)
        top, chosen = both.topk(self.best, -1)
        found, share = names.gather(2, chosen), top.softmax(-1)
        return self.values(found.flatten(1), per_sample_weights=share.flatten(1)).view_as(x)


class ExpertChoice(nn.Module):
    """Experts that choose their tokens, twice as many as tokens per expert would make."""

    def __init__(self, experts: int = 4) -> None:
        super().__init__()
        self.router = bare(WIDTH, experts)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(WIDTH, 64), nn.GELU(), nn.Linear(64, WIDTH)) for _ in range(experts)
        )

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(0, 1)
        share, chosen = self.router(flat).softmax(-1).topk(2 * len(flat) // len(self.experts), dim=0)
        out = torch.zeros_like(flat)
        for i, expert in enumerate(self.experts):
            out = out.index_add(0, chosen[:, i], share[:, i, None] * expert(flat[chosen[:, i]]))
        return out.view_as(x)


class ParallelBlock(nn.Module):
    """PaLM's block: attention with one key head and SwiGLU side by side, from one fused projection."""

    def __init__(self, hidden: int = 64) -> None:
        super().__init__()
        self.norm, self.sizes = nn.LayerNorm(WIDTH, bias=False), [WIDTH, 8, 8, hidden, hidden]
        self.fused, self.out, self.down = bare(WIDTH, sum(self.sizes)), bare(WIDTH, WIDTH), bare(hidden, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v, gate, up = self.fused(self.norm(x)).split(self.sizes, -1)
        q, k, v = rotate(split_heads(q, 4)), rotate(split_heads(k, 1)), split_heads(v, 1)
        read = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return x + self.out(join_heads(read)) + self.down(F.silu(gate) * up)


class Palm(nn.Module):
    """PaLM: fan-in scaled weights, unit embeddings shared with the output, logits over the root of the width."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.blocks = nn.Embedding(VOCAB, WIDTH), nn.Sequential(*(ParallelBlock() for _ in range(3)))
        self.norm = nn.LayerNorm(WIDTH, bias=False)
        for module in self.blocks.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.norm(self.blocks(self.embed(tokens))) @ self.embed.weight.T / WIDTH**0.5


class SpeedrunBlock(nn.Module):
    """modded-nanogpt: normalised queries and keys, value embeddings, squared ReLU, outputs that start at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = bare(WIDTH, 3 * WIDTH), bare(WIDTH, WIDTH)
        self.up, self.down = bare(WIDTH, 4 * WIDTH), bare(4 * WIDTH, WIDTH)
        self.values, self.stream = nn.Parameter(torch.tensor([0.5, 0.5])), nn.Parameter(torch.tensor([1.0, 0.0]))
        for layer in (self.qkv, self.up):
            bound = 3**0.5 * 0.5 * WIDTH**-0.5
            nn.init.uniform_(layer.weight, -bound, bound)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.down.weight)

    def forward(self, x: Tensor, start: Tensor, value: Tensor) -> Tensor:
        x = self.stream[0] * x + self.stream[1] * start
        q, k, v = (split_heads(part, 2) for part in self.qkv(F.rms_norm(x, (WIDTH,))).chunk(3, -1))
        v = self.values[0] * v + self.values[1] * split_heads(value, 2)
        q, k = (rotate(F.rms_norm(part, (WIDTH // 2,))) for part in (q, k))
        x = x + self.out(join_heads(F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.12)))
        return x + self.down(F.relu(self.up(F.rms_norm(x, (WIDTH,)))).square())


class Speedrun(nn.Module):
    """The whole speedrun model: a U of skips between its blocks and logits capped by a sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.values = nn.Embedding(VOCAB, WIDTH), nn.Embedding(VOCAB, WIDTH)
        self.blocks = nn.ModuleList(SpeedrunBlock() for _ in range(4))
        self.skips, self.head = nn.Parameter(torch.ones(2)), bare(WIDTH, VOCAB)
        nn.init.zeros_(self.head.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        x = start = F.rms_norm(self.embed(tokens), (WIDTH,))
        value, kept = self.values(tokens), []
        for i, block in enumerate(self.blocks):
            if i < 2:
                x = block(x, start, value)
                kept.append(x)
            else:
                x = block(x + self.skips[i - 2] * kept.pop(), start, value)
        return 30 * torch.sigmoid(self.head(F.rms_norm(x, (WIDTH,))) / 7.5)


class SandwichBlock(nn.Module):
    """A block whose branches and sums are all normalised, as deep recurrence wants."""

    def __init__(self) -> None:
        super().__init__()
        self.mixer, self.feed = PlainAttention(), SwiGlu()
        self.norms = nn.ModuleList(nn.RMSNorm(WIDTH) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norms[1](x + self.mixer(self.norms[0](x)))
        out: Tensor = self.norms[3](x + self.feed(self.norms[2](x)))
        return out


class RecurrentDepth(nn.Module):
    """Huginn: a prelude, a core that is run again from noise with the input fed in each time, and a coda."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(VOCAB, WIDTH), bare(WIDTH, VOCAB)
        self.prelude, self.core, self.coda = SandwichBlock(), SandwichBlock(), SandwichBlock()
        self.adapt, self.norm = bare(2 * WIDTH, WIDTH), nn.RMSNorm(WIDTH)
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.trunc_normal_(module.weight, std=(2 / (5 * WIDTH)) ** 0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        given = self.prelude(self.embed(tokens) * WIDTH**0.5)
        state = torch.randn_like(given) * (2 / 5) ** 0.5
        for _ in range(int(torch.randint(2, 6, ()))):
            state = self.core(self.adapt(torch.cat([state, given], -1)))
        return self.head(self.norm(self.coda(state)))


class Megabyte(nn.Module):
    """MEGABYTE: a large model reads patches of four bytes, a small one writes the bytes of each."""

    def __init__(self, patch: int = 4) -> None:
        super().__init__()
        self.patch, self.large, self.small = patch, nn.Embedding(VOCAB, WIDTH // patch), nn.Embedding(VOCAB, WIDTH)
        self.start, self.first = nn.Parameter(torch.zeros(WIDTH)), nn.Parameter(torch.zeros(WIDTH))
        self.places = nn.Parameter(0.02 * torch.randn(8, WIDTH))
        self.globally = nn.Sequential(*(Block(PlainAttention()) for _ in range(2)))
        self.locally, self.down = Block(PlainAttention()), bare(WIDTH // patch, WIDTH)
        self.norm, self.head = nn.RMSNorm(WIDTH), bare(WIDTH, VOCAB)
        gpt_init(self)

    def forward(self, tokens: Tensor) -> Tensor:
        patches = self.large(tokens).unflatten(1, (-1, self.patch)).flatten(2)
        patches = torch.cat([self.start.expand(len(tokens), 1, -1), patches[:, :-1]], 1)
        seen = self.globally(patches + self.places[: patches.shape[1]])
        seen = self.down(seen.unflatten(-1, (self.patch, -1))).flatten(0, 1)
        known = self.small(tokens).unflatten(1, (-1, self.patch)).flatten(0, 1)
        known = torch.cat([self.first.expand(len(known), 1, -1), known[:, :-1]], 1)
        logits = self.head(self.norm(self.locally(seen + known)))
        return F.cross_entropy(logits.flatten(0, 1), tokens.flatten())


class MaskedDiffusion(nn.Module):
    """LLaDA: a share of the tokens is hidden, and their cross entropy weighs one over the share."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.places = nn.Embedding(VOCAB + 1, WIDTH), nn.Embedding(16, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, 2, 64, 0.0, "gelu", batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 2, nn.LayerNorm(WIDTH), enable_nested_tensor=False)
        self.head = bare(WIDTH, VOCAB)
        gpt_init(self)

    def forward(self, tokens: Tensor) -> Tensor:
        share = 0.999 * torch.rand(len(tokens), 1) + 0.001
        hidden = torch.rand(tokens.shape) < share
        x = self.embed(tokens.masked_fill(hidden, VOCAB)) + self.places.weight[: tokens.shape[1]]
        loss = F.cross_entropy(self.head(self.body(x)).transpose(1, 2), tokens, reduction="none")
        return (loss * hidden / share).sum() / tokens.numel()


class OddsRatio(nn.Module):
    """ORPO: likelihood of the chosen answer, and its odds against the rejected one's."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Writer(lambda: Block(PlainAttention()), depth=2)

    def level(self, tokens: Tensor) -> Tensor:
        """Mean log likelihood of each sequence."""
        logits = self.net(tokens[:, :-1]).transpose(1, 2)
        return -F.cross_entropy(logits, tokens[:, 1:], reduction="none").mean(1)

    def forward(self, chosen: Tensor, rejected: Tensor) -> Tensor:
        good, bad = self.level(chosen), self.level(rejected)
        odds = (good - bad) - (torch.log1p(-good.exp()) - torch.log1p(-bad.exp()))
        return -good.mean() - 0.1 * F.logsigmoid(odds).mean()


def judged(seed: int, size: int) -> Batch:
    """Answers that count upwards, and the same with their ends scrambled."""
    good = progressions(VOCAB, 12)(seed, size)
    noise = torch.randint(SPECIAL, VOCAB, (size, 8), generator=generator(seed + 1000))
    return good, torch.cat([good[:, :4], noise], 1)


def cases() -> list[Case]:
    """The cases of this file."""
    return [
        case(
            "fourth_text_latent_attention",
            "fourth/latent_attention",
            lambda: Writer(lambda: Block(LatentAttention())),
            progressions(VOCAB, 16),
            next_token,
            round=4,
        ),
        case(
            "fourth_text_gated_attention",
            "fourth/gated_attention",
            lambda: Writer(lambda: Block(GatedAttention())),
            progressions(VOCAB, 16),
            next_token,
            round=4,
        ),
        case(
            "fourth_text_forgetting_attention",
            "fourth/forgetting_attention",
            lambda: Writer(lambda: Block(ForgettingAttention())),
            progressions(VOCAB, 16),
            next_token,
            round=4,
        ),
        case(
            "fourth_text_taylor_attention",
            "fourth/taylor_attention",
            lambda: Writer(lambda: Block(TaylorAttention())),
            progressions(VOCAB, 16),
            next_token,
            round=4,
        ),
        case(
            "fourth_text_parameter_tokens",
            "fourth/parameter_tokens",
            lambda: Writer(lambda: Block(ParameterTokens())),
            progressions(VOCAB, 16),
            next_token,
            round=4,
        ),
        case(
            "fourth_text_slstm",
            "fourth/slstm",
            lambda: Writer(lambda: Block(ScalarLstm()), 2, init=False),
            progressions(VOCAB, 16),
            next_token,
            round=4,
        ),
        case(
            "fourth_text_h3",
            "fourth/h3",
            lambda: Writer(lambda: Block(HungryHippo()), 2, init=False),
            progressions(VOCAB, 16),
            next_token,
            round=4,
        ),
        case(
            "fourth_text_product_key_memory",
            "fourth/product_key_memory",
            lambda: Writer(lambda: Block(PlainAttention(), ProductKeys()), 2, init=False),
            progressions(VOCAB, 16),
            next_token,
            round=4,
        ),
        case(
            "fourth_text_expert_choice",
            "fourth/expert_choice",
            lambda: Writer(lambda: Block(PlainAttention(), ExpertChoice())),
            progressions(VOCAB, 16),
            next_token,
            round=4,
        ),
        case("fourth_text_palm", "fourth/palm", Palm, progressions(VOCAB, 16), next_token, round=4),
        case(
            "fourth_text_nanogpt_speedrun",
            "fourth/nanogpt_speedrun",
            Speedrun,
            progressions(VOCAB, 16),
            next_token,
            round=4,
        ),
        case(
            "fourth_text_recurrent_depth",
            "fourth/recurrent_depth",
            RecurrentDepth,
            progressions(VOCAB, 16),
            next_token,
            round=4,
        ),
        case("fourth_text_megabyte", "fourth/megabyte", Megabyte, progressions(VOCAB, 16), own_loss, round=4),
        case(
            "fourth_text_masked_diffusion",
            "fourth/masked_diffusion",
            MaskedDiffusion,
            progressions(VOCAB, 16),
            own_loss,
            round=4,
        ),
        case("fourth_text_orpo", "fourth/orpo", OddsRatio, judged, own_loss, round=4),
    ]
