"""Decoders and their classic kin: transformers, state spaces, mixtures of experts, encoders with attention."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case, Maker
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import COUNTING, TOKENS, VOCAB, dictation, generator, patterns
from benchmarks.detection.vocabulary.blocks import Apply, Block, CausalAttention, Decoder, Positions, conv_bn, feed, gpt
from benchmarks.detection.vocabulary.losses import copied, ctc, next_token


def stack(mixer: Callable[[], nn.Module], kind: str = "pre", depth: int = 3) -> nn.Module:
    """A decoder of equal blocks."""
    return Decoder([Block(mixer(), kind) for _ in range(depth)], normed=kind == "pre")


class RelativeAttention(nn.Module):
    """Transformer-XL's attention: sinusoidal relative positions with the global biases u and v, over a memory."""

    def __init__(self, width: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.project, self.position = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.u, self.v = (
            nn.Parameter(torch.zeros(heads, 1, width // heads)),
            nn.Parameter(torch.zeros(heads, 1, width // heads)),
        )
        self.out, self.heads = nn.Linear(width, width, bias=False), heads

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.project(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        n = x.shape[1]
        gap = (torch.arange(n)[:, None] - torch.arange(n)).clamp(min=0)
        angle = torch.arange(n)[:, None] * torch.exp(-math.log(1e4) * torch.arange(16) / 16)
        r = self.position(torch.cat([angle.sin(), angle.cos()], dim=1)).unflatten(-1, (self.heads, -1)).transpose(0, 1)
        far = ((q + self.v) @ r.transpose(1, 2)).gather(-1, gap.expand(*q.shape[:2], n, n))
        score = ((q + self.u) @ k.transpose(-1, -2) + far) / math.sqrt(q.shape[-1])
        masked = score.masked_fill(torch.ones(n, n).triu(1).bool(), -math.inf)
        out: Tensor = self.out((masked.softmax(-1) @ v).transpose(1, 2).flatten(2))
        return out


class Router(nn.Module):
    """Mixture of depths: a router lets half of the tokens through the block and scales its output."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.route, self.inner = nn.Linear(width, 1), feed(width, 2 * width)

    def forward(self, x: Tensor) -> Tensor:
        score = torch.sigmoid(self.route(x))
        hard = (score >= score.median(dim=1, keepdim=True).values).float()
        gate = hard - score.detach() + score  # straight through: all tokens' scores learn
        out: Tensor = gate * self.inner(x)
        return out


class TiedLSTM(nn.Module):
    """A character LSTM whose decoder shares its weights with the embedding (uniform 0.1, as in the PyTorch example)."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.embed, self.layer = nn.Embedding(VOCAB, width), nn.LSTM(width, width, 2, batch_first=True, dropout=0.2)
        self.decode = nn.Linear(width, VOCAB)
        nn.init.uniform_(self.embed.weight, -0.1, 0.1)
        nn.init.zeros_(self.decode.bias)
        self.decode.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.decode(self.layer(self.embed(tokens))[0])
        return out


def deepnorm(depth: int = 18) -> nn.Module:
    """DeepNorm for decoders: post-norm with alpha = (2N)^(1/4), values, outputs and feed-forwards scaled by beta."""
    net = Decoder([Block(CausalAttention(), "post", (2 * depth) ** 0.25) for _ in range(depth)], normed=False)
    beta = (8 * depth) ** -0.25
    for module in net.modules():
        if isinstance(module, Block):
            assert isinstance(module.mix, CausalAttention)
            weight = module.mix.project.weight
            for part, gain in zip(weight.data.chunk(3), (1.0, 1.0, beta), strict=True):
                nn.init.xavier_normal_(part, gain)
            for layer in (module.mix.out, module.feed[0], module.feed[2]):
                nn.init.xavier_normal_(layer.weight, beta)  # type: ignore[arg-type]
    return net


def tfixup(depth: int = 6) -> nn.Module:
    """T-Fixup for a decoder: no normalisation, no warm-up; embeddings and values scaled down by (9N)^(-1/4)."""
    net = Decoder([Block(CausalAttention(), "plain") for _ in range(depth)], normed=False)
    shrink = (9 * depth) ** -0.25
    for name, weight in net.named_parameters():
        if "embed" in name:
            nn.init.normal_(weight, std=32**-0.5)
            weight.data.mul_(shrink)
        elif weight.dim() > 1:
            nn.init.xavier_uniform_(weight)
            part = weight.data[-32:] if name.endswith("project.weight") else weight.data
            part.mul_(1.0 if name.startswith("head") else shrink)
    return net


class TopOne(nn.Module):
    """Switch routing: eight experts, one for each token."""

    def __init__(self, width: int = 32, experts: int = 8) -> None:
        super().__init__()
        self.route = nn.Linear(width, experts, bias=False)
        self.experts = nn.ModuleList([feed(width, width) for _ in range(experts)])

    def forward(self, x: Tensor) -> Tensor:
        best, index = self.route(x).softmax(dim=-1).max(dim=-1)
        out = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            out[index == number] = expert(x[index == number]) * best[index == number][:, None]
        return out


def balance(logits: Tensor) -> Tensor:
    """The load-balancing loss of Switch Transformers for one router."""
    chance = logits.softmax(dim=-1)
    share = F.one_hot(chance.argmax(dim=-1), logits.shape[-1]).float().mean((0, 1))
    out: Tensor = logits.shape[-1] * (share * chance.mean((0, 1))).sum()
    return out


def balanced(model: nn.Module, tokens: Batch) -> Tensor:
    """Next-token loss and a hundredth of every router's balance loss."""
    routed: list[Tensor] = []
    routers = [part.route for part in model.modules() if isinstance(part, TopOne)]
    hooks = [route.register_forward_hook(lambda _, __, logits: routed.append(logits)) for route in routers]
    loss = next_token(model, tokens)
    for hook in hooks:
        hook.remove()
    return loss + 0.01 * torch.stack([balance(logits) for logits in routed]).sum()


def labelled(*blocks: nn.Module) -> nn.Module:
    """Blocks over tokens, mean pooling and a classifier."""
    return nn.Sequential(Positions(), *blocks, nn.LayerNorm(32), Apply(lambda x: x.mean(dim=1)), nn.Linear(32, 4))


class AllToAll(nn.Module):
    """Unmasked self-attention."""

    def __init__(self, width: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.attend(x, x, x, need_weights=False)[0]
        return out


class SoftExperts(nn.Module):
    """Soft mixture of experts: every slot is a weighted mean of all tokens, so this is a layer for encoders."""

    def __init__(self, width: int = 32, experts: int = 4, slots: int = 2) -> None:
        super().__init__()
        self.phi = nn.Parameter(torch.randn(width, experts * slots) * width**-0.5)
        self.scale = nn.Parameter(torch.ones(()))
        self.experts = nn.ModuleList([feed(width, width) for _ in range(experts)])

    def forward(self, x: Tensor) -> Tensor:
        logits = F.normalize(x, dim=-1) @ (self.scale * F.normalize(self.phi, dim=0))
        slots = (logits.softmax(dim=1).transpose(1, 2) @ x).chunk(len(self.experts), dim=1)
        made = torch.cat([expert(part) for expert, part in zip(self.experts, slots, strict=True)], dim=1)
        return logits.softmax(dim=2) @ made


class Perceiver(nn.Module):
    """Learnt latents read the input by cross-attention and then process themselves."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.embed, self.latents = nn.Linear(16, width), nn.Parameter(torch.randn(6, width) * 0.02)
        self.read = nn.MultiheadAttention(width, 4, batch_first=True)
        self.think = nn.Sequential(Block(AllToAll()), Block(AllToAll()))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        h, z = self.norm(self.embed(x)), self.latents.expand(x.shape[0], -1, -1)
        z = z + self.read(z, h, h, need_weights=False)[0]
        out: Tensor = self.head(self.think(z).mean(dim=1))
        return out


class Hopfield(nn.Module):
    """A modern Hopfield layer: association with stored patterns, iterated twice."""

    def __init__(self, width: int = 16, stored: int = 12, beta: float = 0.25) -> None:
        super().__init__()
        self.query, self.beta = nn.Linear(width, 32), beta
        self.keys, self.values = nn.Parameter(torch.randn(stored, 32)), nn.Parameter(torch.randn(stored, 32) * 0.1)
        self.head = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        state = self.query(x)
        for _ in range(2):
            match = (self.beta * state @ self.keys.T).softmax(dim=-1)
            state = match @ self.keys
        out: Tensor = self.head(match @ self.values)
        return out


class LinearAttention(nn.Module):
    """Causal linear attention with the elu+1 feature map."""

    def __init__(self, width: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.project, self.out, self.heads = nn.Linear(width, 3 * width), nn.Linear(width, width), heads

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.project(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = F.elu(q) + 1, F.elu(k) + 1
        state = (k[..., None] * v[..., None, :]).cumsum(dim=2)
        mixed = (q[..., None] * state).sum(-2) / ((q * k.cumsum(dim=2)).sum(-1, keepdim=True) + 1e-6)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out


class DiagonalSSM(nn.Module):
    """S4D: a diagonal state space with the S4D-Lin initialisation, run as a convolution."""

    def __init__(self, width: int = 32, states: int = 8) -> None:
        super().__init__()
        self.log_step = nn.Parameter(torch.empty(width).uniform_(math.log(1e-3), math.log(1e-1)))
        self.log_decay = nn.Parameter(torch.full((width, states), math.log(0.5)))
        self.turn = nn.Parameter(math.pi * torch.arange(states).repeat(width, 1).float())
        self.read = nn.Parameter(torch.randn(width, states, 2) * 0.5**0.5)
        self.skip, self.out = nn.Parameter(torch.randn(width)), nn.Linear(width, 2 * width)

    def forward(self, x: Tensor) -> Tensor:
        n, step = x.shape[1], self.log_step.exp()[:, None]
        a = torch.complex(-self.log_decay.exp(), self.turn)
        c = torch.view_as_complex(self.read) * (torch.exp(a * step) - 1) / a
        kernel = 2 * (c[..., None] * torch.exp((a * step)[..., None] * torch.arange(n))).sum(1).real
        wave = torch.fft.rfft(x.transpose(1, 2), n=2 * n) * torch.fft.rfft(kernel, n=2 * n)
        y = torch.fft.irfft(wave, n=2 * n)[..., :n].transpose(1, 2) + x * self.skip
        return F.glu(self.out(F.gelu(y)), dim=-1)


class TimeMix(nn.Module):
    """RWKV-4's time mixing: token shift, per-channel decay and the first-token bonus."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.linspace(0, 1, width).repeat(3, 1))
        self.decay = nn.Parameter(-5 + 8 * torch.linspace(0, 1, width) ** 0.7)
        self.bonus = nn.Parameter(torch.full((width,), math.log(0.3)))
        self.key, self.value, self.gate, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        before, parts = F.pad(x, (0, 0, 1, -1)), (self.key, self.value, self.gate)
        k, v, r = (part(torch.lerp(before, x, mix)) for part, mix in zip(parts, self.shift, strict=True))
        top = v.new_zeros(v.shape[0], v.shape[2])
        below, rows, decay = top, [], torch.exp(-self.decay.exp())
        for now, seen in zip(k.clamp(max=20).exp().unbind(1), v.unbind(1), strict=True):
            own = now * self.bonus.exp()
            rows.append((top + own * seen) / (below + own))
            top, below = decay * top + now * seen, decay * below + now
        out: Tensor = self.out(torch.sigmoid(r) * torch.stack(rows, dim=1))
        return out


class Retention(nn.Module):
    """RetNet's parallel retention with fixed decays per head and group normalisation."""

    def __init__(self, width: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.project, self.gate = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.out, self.norm, self.heads = nn.Linear(width, width, bias=False), nn.GroupNorm(heads, width), heads

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.project(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        gap = torch.arange(x.shape[1])[:, None] - torch.arange(x.shape[1])
        rate = 1 - 2.0 ** (-3 - torch.arange(self.heads))[:, None, None]
        weight = torch.where(gap >= 0, rate ** gap.clamp(min=0), 0.0)
        mixed = ((q @ k.transpose(-1, -2)) * weight / math.sqrt(q.shape[-1]) @ v).transpose(1, 2).flatten(2)
        normed = self.norm(mixed.flatten(0, 1)).unflatten(0, mixed.shape[:2])
        out: Tensor = self.out(F.silu(self.gate(x)) * normed)
        return out


class Selective(nn.Module):
    """Mamba's selective scan with its own initialisation of the step size and of A."""

    def __init__(self, width: int = 32, states: int = 4) -> None:
        super().__init__()
        self.inside, self.conv = (
            nn.Linear(width, 2 * width, bias=False),
            nn.Conv1d(width, width, 4, padding=3, groups=width),
        )
        self.select, self.step = nn.Linear(width, 2 * states + 2, bias=False), nn.Linear(2, width)
        self.log_a = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(width, 1))
        self.skip, self.out, self.states = nn.Parameter(torch.ones(width)), nn.Linear(width, width, bias=False), states
        start = torch.exp(torch.rand(width) * math.log(100) + math.log(1e-3))
        nn.init.uniform_(self.step.weight, -(2**-0.5), 2**-0.5)
        self.step.bias.data.copy_(start + torch.log(-torch.expm1(-start)))

    def forward(self, x: Tensor) -> Tensor:
        x, gate = self.inside(x).chunk(2, dim=-1)
        x = F.silu(self.conv(x.transpose(1, 2))[..., : x.shape[1]].transpose(1, 2))
        step, b, c = self.select(x).split([2, self.states, self.states], dim=-1)
        step = F.softplus(self.step(step))
        decay, fed = torch.exp(step[..., None] * -self.log_a.exp()), (step * x)[..., None] * b[..., None, :]
        state, rows = torch.zeros_like(fed[:, 0]), []
        for kept, new, read in zip(decay.unbind(1), fed.unbind(1), c.unbind(1), strict=True):
            state = kept * state + new
            rows.append((state * read[:, None]).sum(-1))
        out: Tensor = self.out((torch.stack(rows, dim=1) + self.skip * x) * F.silu(gate))
        return out


class Bahdanau(nn.Module):
    """Sequence to sequence: a bidirectional GRU, additive attention, a GRU cell."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.embed, self.encode = (
            nn.Embedding(VOCAB, width),
            nn.GRU(width, width // 2, bidirectional=True, batch_first=True),
        )
        self.query, self.key, self.score = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, 1)
        self.cell, self.head = nn.GRUCell(2 * width, width), nn.Linear(2 * width, VOCAB)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        memory, last = self.encode(self.embed(source))
        state, rows = torch.cat([last[0], last[1]], dim=1), []
        for word in self.embed(target).unbind(1):
            weight = self.score(torch.tanh(self.query(state)[:, None] + self.key(memory))).softmax(dim=1)
            context = (weight * memory).sum(dim=1)
            state = self.cell(torch.cat([word, context], dim=1), state)
            rows.append(self.head(torch.cat([state, context], dim=1)))
        return torch.stack(rows, dim=1)


class Pointer(nn.Module):
    """A pointer network that learns to point at its inputs in increasing order."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.encode, self.cell = nn.LSTM(1, width, batch_first=True), nn.LSTMCell(1, width)
        self.query, self.key = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.score, self.start = nn.Linear(width, 1, bias=False), nn.Parameter(torch.randn(1, 1) * 0.1)

    def forward(self, x: Tensor, order: Tensor) -> Tensor:
        memory, (h, c) = self.encode(x)
        state, given, rows = (h[0], c[0]), self.start.expand(x.shape[0], 1), []
        for chosen in order.unbind(1):
            state = self.cell(given, state)
            rows.append(self.score(torch.tanh(self.query(state[0])[:, None] + self.key(memory)))[..., 0])
            given = x[torch.arange(x.shape[0]), chosen]
        return torch.stack(rows, dim=1)


def numbers(length: int = 5) -> Maker:
    """Random numbers and the order that sorts them."""

    def make(seed: int, size: int) -> tuple[Tensor, Tensor]:
        x = torch.rand(size, length, 1, generator=generator(seed))
        return x, x[..., 0].argsort(dim=1)

    return make


def pointed(model: nn.Module, batch: Batch) -> Tensor:
    """Cross entropy of every pointer."""
    x, order = batch
    return F.cross_entropy(model(x, order).flatten(0, 1), order.flatten())


class Whisper(nn.Module):
    """A small Whisper: two convolutions and sinusoidal positions in front of an encoder, and a decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv1d(8, 32, 3, padding=1), nn.GELU(), nn.Conv1d(32, 32, 3, 2, 1), nn.GELU())
        made = {"batch_first": True, "norm_first": True, "dropout": 0.0, "activation": "gelu"}
        encoder, decoder = nn.TransformerEncoderLayer(32, 4, 64, **made), nn.TransformerDecoderLayer(32, 4, 64, **made)  # type: ignore[arg-type]
        self.encode = nn.TransformerEncoder(encoder, 2, nn.LayerNorm(32), enable_nested_tensor=False)
        self.embed, self.decode = Positions(), nn.TransformerDecoder(decoder, 2, nn.LayerNorm(32))

    def forward(self, sound: Tensor, words: Tensor) -> Tensor:
        h = self.conv(sound.transpose(1, 2)).transpose(1, 2)
        angle = torch.arange(h.shape[1])[:, None] * torch.exp(-math.log(1e4) * torch.arange(16) / 15)
        memory = self.encode(h + torch.cat([angle.sin(), angle.cos()], dim=1))
        mask = nn.Transformer.generate_square_subsequent_mask(words.shape[1])
        out: Tensor = self.decode(self.embed(words), memory, tgt_mask=mask) @ self.embed.tokens.weight.T
        return out


def transcribe(model: nn.Module, batch: Batch) -> Tensor:
    """Teacher-forced cross entropy of the transcript."""
    sound, words = batch
    given = F.pad(words[:, :-1], (1, 0))
    return F.cross_entropy(model(sound, given).flatten(0, 1), words.flatten())


class CRNN(nn.Module):
    """Text recognition: convolutions, a bidirectional LSTM over the columns, CTC."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(conv_bn(1, 16), nn.MaxPool2d((2, 1)), conv_bn(16, 16), nn.MaxPool2d((2, 2)))
        self.layer, self.head = nn.LSTM(32, 32, bidirectional=True, batch_first=True), nn.Linear(64, 6)

    def forward(self, x: Tensor) -> Tensor:
        columns = self.conv(x.transpose(1, 2)[:, None]).flatten(1, 2).transpose(1, 2)
        return F.log_softmax(self.head(self.layer(columns)[0]), dim=-1).transpose(0, 1)


def cases() -> list[Case]:
    """The cases of this file."""
    return [
        case("seq_transformer_xl", "seq/transformer_xl", partial(stack, RelativeAttention), COUNTING, next_token),
        case(
            "seq_rezero_12_layers",
            "seq/rezero_12_layers",
            partial(stack, CausalAttention, "rezero", 12),
            COUNTING,
            next_token,
        ),
        case(
            "seq_mixture_of_depths",
            "seq/mixture_of_depths",
            lambda: Decoder([Block(CausalAttention()), Block(Router()), Block(CausalAttention())]),
            COUNTING,
            next_token,
        ),
        case("seq_lstm_tied", "seq/lstm_tied", TiedLSTM, COUNTING, next_token),
        case("seq_gpt_tied", "seq/gpt_tied", gpt, COUNTING, next_token),
        case("seq_gpt_tied_24_layers", "seq/gpt_tied_24_layers", partial(gpt, 24), COUNTING, next_token),
        case("seq_deepnorm_18_layers", "seq/deepnorm_18_layers", deepnorm, COUNTING, next_token),
        case("seq_tfixup", "seq/tfixup", tfixup, COUNTING, next_token),
        case(
            "seq_moe_top_1",
            "seq/moe_top_1",
            lambda: Decoder([Block(CausalAttention()), Block(TopOne()), Block(CausalAttention())]),
            COUNTING,
            balanced,
        ),
        case("seq_soft_moe", "seq/soft_moe", lambda: labelled(Block(AllToAll()), Block(SoftExperts())), TOKENS),
        case("seq_perceiver", "seq/perceiver", Perceiver, patterns(12, 16)),
        case("seq_hopfield", "seq/hopfield", Hopfield, patterns(16)),
        case("seq_linear_attention", "seq/linear_attention", partial(stack, LinearAttention), COUNTING, next_token),
        case("seq_s4d", "seq/s4d", partial(stack, DiagonalSSM), COUNTING, next_token),
        case("seq_rwkv", "seq/rwkv", partial(stack, TimeMix), COUNTING, next_token),
        case("seq_retnet", "seq/retnet", partial(stack, Retention), COUNTING, next_token),
        case("seq_mamba", "seq/mamba", partial(stack, Selective), COUNTING, next_token),
        case("seq_attention_gru", "seq/bahdanau", Bahdanau, COUNTING, copied),
        case("seq_pointer_network", "seq/pointer", Pointer, numbers(), pointed),
        case("seq_whisper", "seq/whisper", Whisper, dictation(), transcribe),
        case("seq_crnn_ctc", "seq/crnn", CRNN, dictation(), ctc),
    ]
