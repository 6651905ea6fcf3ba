"""Further mixers of tokens, ways to stop early, and further objectives."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Build, Case
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import VOCAB, WIDTH, progressions, token_classes
from benchmarks.detection.vocabulary.initialisation import gpt_init
from benchmarks.detection.vocabulary.losses import next_token, own_loss


class Decoder(nn.Module):
    """Words and places, two blocks, a norm and a head; GPT-2's initialisation unless the blocks bring their own."""

    def __init__(self, block: Build, init: bool = True) -> None:
        super().__init__()
        self.embed, self.places = nn.Embedding(VOCAB, WIDTH), nn.Embedding(16, WIDTH)
        self.blocks = nn.Sequential(block(), block())
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCAB, bias=False)
        if init:
            gpt_init(self)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens) + self.places.weight[: tokens.shape[1]]
        return self.head(self.norm(self.blocks(x)))


class Block(nn.Module):
    """A pre-norm transformer block around the given attention and feed-forward."""

    def __init__(self, attention: nn.Module, feed: nn.Module | None = None) -> None:
        super().__init__()
        self.attention, self.norm1, self.norm2 = attention, nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.feed = feed or nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.feed(self.norm2(x))


class Primer(nn.Module):
    """Primer: a depthwise convolution of three words behind the projections; its feed-forward squares the ReLU."""

    def __init__(self, heads: int = 2) -> None:
        super().__init__()
        self.heads, self.qkv, self.out = heads, nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.local = nn.Conv1d(3 * WIDTH, 3 * WIDTH, 3, groups=3 * WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.local(F.pad(self.qkv(x).transpose(1, 2), (2, 0))).transpose(1, 2)
        query, key, value = mixed.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.out(seen.transpose(1, 2).flatten(2))


class SquaredReLU(nn.Module):
    """The square of the positive part."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x).square()


def primed() -> nn.Module:
    """Primer's block."""
    return Block(Primer(), nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), SquaredReLU(), nn.Linear(4 * WIDTH, WIDTH)))


def causal(length: int) -> Tensor:
    """True where one may look."""
    return torch.ones(length, length, dtype=torch.bool).tril()


class AttentionFree(nn.Module):
    """AFT: learnt biases between places, an exponential of the keys, a sigmoid gate."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.bias = nn.Parameter(torch.empty(16, 16))
        nn.init.xavier_uniform_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).chunk(3, 2)
        length = x.shape[1]
        bias = self.bias[:length, :length].masked_fill(~causal(length), -torch.inf).exp()
        key = (key - key.amax(1, keepdim=True)).exp()
        return self.out(query.sigmoid() * (bias @ (key * value)) / (bias @ key))


class Sparsemax(nn.Module):
    """Attention whose weights are a projection onto the simplex: most of them are exactly zero."""

    def __init__(self, heads: int = 2) -> None:
        super().__init__()
        self.heads, self.qkv, self.out = heads, nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    @staticmethod
    def project(scores: Tensor) -> Tensor:
        """Sparsemax by sorting."""
        ranked = scores.sort(-1, descending=True).values
        rank = torch.arange(1, scores.shape[-1] + 1)
        total = ranked.cumsum(-1) - 1
        support = (rank * ranked > total).sum(-1, keepdim=True)
        return F.relu(scores - total.gather(-1, support - 1) / support)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        weight = self.project(scores.masked_fill(~causal(x.shape[1]), -1e4))
        return self.out((weight @ value).transpose(1, 2).flatten(2))


class AdaptiveSpan(nn.Module):
    """Every head learns how far it looks: a soft mask whose span starts at zero, with relative places."""

    def __init__(self, heads: int = 2, ramp: float = 4.0) -> None:
        super().__init__()
        self.heads, self.ramp, self.qkv = heads, ramp, nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.out, self.span = nn.Linear(WIDTH, WIDTH, bias=False), nn.Parameter(torch.zeros(heads, 1, 1))
        self.relative = nn.Parameter(torch.randn(WIDTH // heads, 16))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        place = torch.arange(x.shape[1])
        gap = place[:, None] - place
        moved = (query @ self.relative).gather(-1, gap.clamp(min=0).expand(len(x), self.heads, -1, -1))
        scores = (query @ key.transpose(-1, -2) + moved) / query.shape[-1] ** 0.5
        weight = scores.masked_fill(gap < 0, -torch.inf).softmax(-1)
        weight = weight * ((16 * self.span - gap) / self.ramp + 1).clamp(0, 1)
        weight = weight / (weight.sum(-1, keepdim=True) + 1e-8)
        return self.out((weight @ value).transpose(1, 2).flatten(2))


class NormalisedBlock(nn.Module):
    """nGPT: states live on a sphere and move by learnt step sizes; matrices have rows of length one."""

    def __init__(self, heads: int = 2) -> None:
        super().__init__()
        self.heads, base = heads, WIDTH**-0.5
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.up, self.down = nn.Linear(WIDTH, 8 * WIDTH, bias=False), nn.Linear(4 * WIDTH, WIDTH, bias=False)
        self.steps = nn.Parameter(torch.full((2, WIDTH), base))
        self.sharp, self.wide = nn.Parameter(torch.full((WIDTH // heads,), base)), nn.Parameter(torch.ones(8 * WIDTH))
        for layer in (self.qkv, self.out, self.up, self.down):
            nn.init.normal_(layer.weight, std=base)

    def attend(self, x: Tensor) -> Tensor:
        """Queries and keys of length one, scaled by what was learnt."""
        qkv = F.linear(x, F.normalize(self.qkv.weight, dim=1)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # type: ignore[no-untyped-call]
        sharp = self.sharp * WIDTH**0.5
        query, key = F.normalize(qkv[0], dim=-1) * sharp, F.normalize(qkv[1], dim=-1) * sharp
        seen = F.scaled_dot_product_attention(query, key, qkv[2], is_causal=True, scale=(WIDTH // self.heads) ** 0.5)
        return F.linear(seen.transpose(1, 2).flatten(2), F.normalize(self.out.weight, dim=0))

    def feed(self, x: Tensor) -> Tensor:
        """A gated feed-forward."""
        up, gate = (F.linear(x, F.normalize(self.up.weight, dim=1)) * self.wide * WIDTH**0.5).chunk(2, -1)
        return F.linear(up * F.silu(gate), F.normalize(self.down.weight, dim=0))

    def forward(self, x: Tensor) -> Tensor:
        for branch, step in zip((self.attend, self.feed), self.steps, strict=True):
            x = F.normalize(x, dim=-1)
            size = (step * 0.05 * WIDTH**0.5).abs()
            x = F.normalize(x + size * (F.normalize(branch(x), dim=-1) - x), dim=-1)
        return x


class NormalisedGpt(nn.Module):
    """nGPT between normalised tables, with a learnt scale of the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.places = nn.Embedding(VOCAB, WIDTH), nn.Embedding(16, WIDTH)
        self.blocks, self.head = (
            nn.Sequential(NormalisedBlock(), NormalisedBlock()),
            nn.Linear(WIDTH, VOCAB, bias=False),
        )
        self.scale = nn.Parameter(torch.full((VOCAB,), WIDTH**-0.5))
        for layer in (self.embed, self.places, self.head):
            nn.init.normal_(layer.weight, std=WIDTH**-0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        words = F.normalize(self.embed.weight, dim=1)[tokens] + self.places.weight[: tokens.shape[1]]
        logits = F.linear(self.blocks(F.normalize(words, dim=-1)), F.normalize(self.head.weight, dim=1))
        return logits * self.scale * WIDTH**0.5


class TestTime(nn.Module):
    """TTT-linear: the state is a linear model, trained by one gradient step per word on what the keys should say."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH)
        self.start, self.rate = nn.Parameter(0.02 * torch.randn(WIDTH, WIDTH)), nn.Linear(WIDTH, 1)
        self.norm, self.post = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).chunk(3, 2)
        rate, state, out = self.rate(x).sigmoid() / WIDTH, self.start.expand(len(x), -1, -1), []
        for t in range(x.shape[1]):
            error = (key[:, t, None] @ state)[:, 0] - (value[:, t] - key[:, t])
            state = state - rate[:, t, :, None] * key[:, t, :, None] * error[:, None]
            out.append(query[:, t] + self.norm((query[:, t, None] @ state)[:, 0]))
        return self.out(self.post(torch.stack(out, 1)))


class Diagonal(nn.Module):
    """S5: one complex diagonal state space for all channels, HiPPO-N's eigenvalues, learnt steps, GELU gate."""

    def __init__(self, states: int = 16) -> None:
        super().__init__()
        index = torch.arange(states, dtype=torch.float64)
        below = -((2 * index[:, None] + 1) * (2 * index + 1)).sqrt() / 2
        normal = below.tril(-1) - below.triu(1) - 0.5 * torch.eye(states, dtype=torch.float64)
        values, vectors = torch.linalg.eig(normal)
        inward = vectors.inverse() @ (torch.randn(states, WIDTH) / WIDTH**0.5).to(vectors)
        outward = (torch.randn(WIDTH, states) / states**0.5).to(vectors) @ vectors
        self.poles = nn.Parameter(torch.view_as_real(values).float().contiguous())
        self.b, self.c = (nn.Parameter(torch.view_as_real(m).float().contiguous()) for m in (inward, outward))
        self.d, self.step = nn.Parameter(torch.randn(WIDTH)), nn.Parameter(torch.empty(states).uniform_(-6.9, -2.3))
        self.gate = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        poles, b, c = (torch.view_as_complex(p) for p in (self.poles, self.b, self.c))
        poles = torch.complex(-poles.real.abs().clamp(min=1e-4), poles.imag)
        decay = (poles * self.step.exp()).exp()
        drive = x.to(b) @ (((decay - 1) / poles)[:, None] * b).T
        power = torch.arange(x.shape[1])
        kernel = decay[None, None] ** (power[:, None] - power).clamp(min=0)[..., None] * causal(len(power))[..., None]
        states = torch.einsum("tsn,bsn->btn", kernel, drive)
        out = F.gelu((states @ c.T).real + self.d * x)
        return out * self.gate(out).sigmoid()


class HyperConnected(nn.Module):
    """Hyper-connections: four streams, mixed before and after every layer by matrices that start as a residual."""

    def __init__(self, streams: int = 4, layers: int = 4) -> None:
        super().__init__()
        self.embed, self.places = nn.Embedding(VOCAB, WIDTH), nn.Embedding(16, WIDTH)
        feed = (nn.Sequential(nn.Linear(WIDTH, 64), nn.GELU(), nn.Linear(64, WIDTH)) for _ in range(layers // 2))
        pairs = zip((Primer() for _ in range(layers // 2)), feed, strict=True)
        self.layers = nn.ModuleList(layer for pair in pairs for layer in pair)
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(layers))
        first = torch.eye(streams).repeat(layers // streams + 1, 1)[:layers]
        self.reads, self.writes = nn.Parameter(first.clone()), nn.Parameter(torch.ones(layers, streams))
        self.mixes = nn.Parameter(torch.eye(streams).repeat(layers, 1, 1))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCAB, bias=False)
        gpt_init(self)

    def forward(self, tokens: Tensor) -> Tensor:
        x = (self.embed(tokens) + self.places.weight[: tokens.shape[1]])[..., None].expand(-1, -1, -1, 4)
        for i, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            out = layer(norm(x @ self.reads[i]))
            x = x @ self.mixes[i] + out[..., None] * self.writes[i]
        return self.head(self.norm(x.sum(-1)))


class ExponentialMoving(nn.Module):
    """A hierarchical gated recurrence (HGRN): forget gates with a lower bound that grows with depth."""

    def __init__(self, layers: int = 3) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(VOCAB, WIDTH), nn.Linear(WIDTH, VOCAB)
        self.floors = nn.Parameter(torch.zeros(layers, WIDTH))
        self.layers = nn.ModuleList(nn.Linear(WIDTH, 3 * WIDTH) for _ in range(layers))
        self.outs = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(2 * layers))

    def forward(self, tokens: Tensor) -> Tensor:
        x, share = self.embed(tokens), self.floors.softmax(0)
        floors = share.cumsum(0) - share[0]
        for i, (layer, out) in enumerate(zip(self.layers, self.outs, strict=True)):
            new, forget, gate = layer(self.norms[2 * i](x)).chunk(3, -1)
            forget = floors[i] + (1 - floors[i]) * forget.sigmoid()
            state, states = torch.zeros_like(x[:, 0]), []
            for t in range(x.shape[1]):
                state = forget[:, t] * state + (1 - forget[:, t]) * F.silu(new[:, t])
                states.append(state)
            x = x + out(self.norms[2 * i + 1](torch.stack(states, 1)) * F.silu(gate))
        return self.head(x)


class ManyTokens(nn.Module):
    """Multi-token prediction: a shared trunk, one more block for every distance, one shared head."""

    def __init__(self, ahead: int = 3) -> None:
        super().__init__()
        self.trunk, self.ahead = Decoder(lambda: Block(Primer())), nn.ModuleList(Block(Primer()) for _ in range(ahead))
        gpt_init(self.ahead)

    def forward(self, tokens: Tensor) -> Tensor:
        n = len(self.ahead)
        given = tokens[:, :-n]
        x = self.trunk.blocks(self.trunk.embed(given) + self.trunk.places.weight[: given.shape[1]])
        cost = torch.zeros(())
        for i, block in enumerate(self.ahead):
            logits = self.trunk.head(self.trunk.norm(block(x)))
            truth = tokens[:, i + 1 : tokens.shape[1] - n + i + 1]
            cost = cost + F.cross_entropy(logits.flatten(0, 1), truth.flatten())
        return cost / n


class Preference(nn.Module):
    """DPO: a policy and its frozen copy; the preferred text shall gain more than the other one."""

    def __init__(self) -> None:
        super().__init__()
        self.policy, self.reference = (Decoder(lambda: Block(Primer())) for _ in range(2))
        self.reference.load_state_dict(self.policy.state_dict())
        self.reference.requires_grad_(False)

    @staticmethod
    def likelihood(model: nn.Module, tokens: Tensor) -> Tensor:
        """The logarithm of a text's probability."""
        return -F.cross_entropy(model(tokens[:, :-1]).transpose(1, 2), tokens[:, 1:], reduction="none").sum(1)

    def forward(self, tokens: Tensor) -> Tensor:
        worse = tokens.flip(1)
        ours = self.likelihood(self.policy, tokens) - self.likelihood(self.policy, worse)
        theirs = self.likelihood(self.reference, tokens) - self.likelihood(self.reference, worse)
        return -F.logsigmoid(0.1 * (ours - theirs)).mean()


class HierarchicalSoftmax(nn.Module):
    """CBOW whose answer is a path through a binary tree; vectors within 0.5 / width, the nodes at zero."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.words, self.nodes = nn.Embedding(VOCAB, width), nn.Embedding(VOCAB, width)
        nn.init.uniform_(self.words.weight, -0.5 / width, 0.5 / width)
        nn.init.zeros_(self.nodes.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        context = self.words(tokens.unfold(1, 5, 1)[..., [0, 1, 3, 4]]).mean(2)
        leaf, cost = tokens[:, 2:-2] + VOCAB, torch.zeros(())
        while int(leaf.max()) > 1:
            turn, leaf = (leaf % 2).float(), leaf // 2
            score = (context * self.nodes(leaf)).sum(-1)
            cost = cost + F.binary_cross_entropy_with_logits(score, turn)
        return cost


class Ponder(nn.Module):
    """PonderNet: a GRU thinks up to six times; the loss is expected over when it stops, near a geometric prior."""

    def __init__(self, steps: int = 6) -> None:
        super().__init__()
        self.steps, self.embed, self.cell = steps, nn.EmbeddingBag(VOCAB, WIDTH), nn.GRUCell(WIDTH, WIDTH)
        self.halt, self.head = nn.Linear(WIDTH, 1), nn.Linear(WIDTH, 4)

    def forward(self, tokens: Tensor, label: Tensor) -> Tensor:
        x = self.embed(tokens)
        state, left, chances, costs = self.cell(x), x.new_ones(len(x)), [], []
        for step in range(self.steps):
            halt = self.halt(state)[:, 0].sigmoid() if step < self.steps - 1 else x.new_ones(len(x))
            chances.append(left * halt)
            costs.append(F.cross_entropy(self.head(state), label, reduction="none"))
            left, state = left * (1 - halt), self.cell(x, state)
        chance = torch.stack(chances, 1)
        prior = 0.3 * 0.7 ** torch.arange(float(self.steps))
        away = F.kl_div((prior / prior.sum()).log().expand_as(chance), chance, reduction="batchmean")
        return (chance * torch.stack(costs, 1)).sum(1).mean() + 0.01 * away


class Reader(nn.Module):
    """Two blocks without a mask, the mean, a classifier."""

    def __init__(self, attention: Build) -> None:
        super().__init__()
        self.embed, self.places = nn.Embedding(VOCAB, WIDTH), nn.Embedding(16, WIDTH)
        self.blocks = nn.Sequential(Block(attention()), Block(attention()))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.norm(self.blocks(self.embed(tokens) + self.places.weight)).mean(1))


class Linformer(nn.Module):
    """Attention over keys and values that were projected along the sequence to four places, shared by both."""

    def __init__(self, heads: int = 2, places: int = 4) -> None:
        super().__init__()
        self.heads, self.qkv, self.out = heads, nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH)
        self.shrink = nn.Parameter(torch.empty(16, places).uniform_(-(places**-0.5), places**-0.5))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        key, value = (torch.einsum("bhtd,tp->bhpd", part, self.shrink) for part in (key, value))
        return self.out(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


def cases() -> list[Case]:
    """The cases of this file."""
    return [
        case(
            "third_text_primer", "third/primer", lambda: Decoder(primed), progressions(VOCAB, 14), next_token, round=3
        ),
        case(
            "third_text_attention_free",
            "third/attention_free",
            lambda: Decoder(lambda: Block(AttentionFree())),
            progressions(VOCAB, 14),
            next_token,
            round=3,
        ),
        case(
            "third_text_sparsemax",
            "third/sparsemax",
            lambda: Decoder(lambda: Block(Sparsemax())),
            progressions(VOCAB, 14),
            next_token,
            round=3,
        ),
        case(
            "third_text_adaptive_span",
            "third/adaptive_span",
            lambda: Decoder(lambda: Block(AdaptiveSpan()), init=False),
            progressions(VOCAB, 14),
            next_token,
            round=3,
        ),
        case("third_text_ngpt", "third/ngpt", NormalisedGpt, progressions(VOCAB, 14), next_token, round=3),
        case(
            "third_text_test_time_training",
            "third/test_time_training",
            lambda: Decoder(lambda: Block(TestTime()), init=False),
            progressions(VOCAB, 14),
            next_token,
            round=3,
        ),
        case(
            "third_text_s5",
            "third/s5",
            lambda: Decoder(lambda: Block(Diagonal()), init=False),
            progressions(VOCAB, 14),
            next_token,
            round=3,
        ),
        case(
            "third_text_hyper_connections",
            "third/hyper_connections",
            HyperConnected,
            progressions(VOCAB, 14),
            next_token,
            round=3,
        ),
        case("third_text_hgrn", "third/hgrn", ExponentialMoving, progressions(VOCAB, 14), next_token, round=3),
        case(
            "third_text_multi_token_prediction",
            "third/multi_token_prediction",
            ManyTokens,
            progressions(VOCAB, 14),
            own_loss,
            round=3,
        ),
        case(
            "third_text_direct_preference",
            "third/direct_preference",
            Preference,
            progressions(VOCAB, 14),
            own_loss,
            round=3,
        ),
        case(
            "third_text_hierarchical_softmax",
            "third/hierarchical_softmax",
            HierarchicalSoftmax,
            progressions(VOCAB, 14),
            own_loss,
            round=3,
        ),
        case("third_text_pondernet", "third/pondernet", Ponder, token_classes(VOCAB, 16, 4), own_loss, round=3),
        case(
            "third_text_linformer", "third/linformer", lambda: Reader(Linformer), token_classes(VOCAB, 16, 4), round=3
        ),
    ]
