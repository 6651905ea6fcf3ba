"""Hosts of the fourth round: twelve nets, each written as its own kind of project would write it."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations, pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# --- transformers ------------------------------------------------------------------------------------------------


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


class PerceiverBlock(nn.Module):
    """Latents ask the inputs, then each other."""

    def __init__(self, dim: int, heads: int = 2) -> None:
        super().__init__()
        self.norm_latents, self.norm_inputs, self.norm_self = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.cross = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.self_attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.ff = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, latents: Tensor, inputs: Tensor) -> Tensor:
        source = self.norm_inputs(inputs)
        latents = latents + self.cross(self.norm_latents(latents), source, source, need_weights=False)[0]
        own = self.norm_self(latents)
        latents = latents + self.self_attention(own, own, own, need_weights=False)[0]
        return latents + self.ff(latents)


class Perceiver(nn.Module):
    def __init__(self, inputs: int = 2, dim: int = 24, latents: int = 4, depth: int = 2) -> None:
        super().__init__()
        self.to_tokens = nn.Sequential(nn.Linear(inputs, dim), nn.GELU(), nn.Linear(dim, dim))
        self.latents = nn.Parameter(torch.randn(latents, dim) * 0.2)
        self.blocks = nn.ModuleList(PerceiverBlock(dim) for _ in range(depth))
        self.to_answer = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 1))

    def forward(self, points: Tensor) -> Tensor:
        tokens = self.to_tokens(points)
        latents = self.latents.expand(len(points), -1, -1)
        for block in self.blocks:
            latents = block(latents, tokens)
        return self.to_answer(latents.mean(1))


# --- pictures ----------------------------------------------------------------------------------------------------


class AllConv(nn.Module):
    """Ten convolutions in a row, strides in the place of pools, ReLU as a function, no norm."""

    def __init__(self, channels: int = 12, depth: int = 10, classes: int = 4) -> None:
        super().__init__()
        strides = [2 if i in (3, 6) else 1 for i in range(depth)]
        self.convs = nn.ModuleList(
            nn.Conv2d(channels if i else 1, channels, 3, stride, 1) for i, stride in enumerate(strides)
        )
        self.fc = nn.Linear(4 * channels, classes)
        self.nonlinearity: Callable[[Tensor], Tensor] = F.relu
        for conv in self.convs:
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")  # type: ignore[arg-type]
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]

    def features(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = self.nonlinearity(conv(x))
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.flatten(self.features(x), 1))


class GroupNormBlock(nn.Module):
    """The basic block of a ResNet, with group norm and a projection where the shape changes."""

    def __init__(self, inplanes: int, planes: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1, self.gn1 = nn.Conv2d(inplanes, planes, 3, stride, 1, bias=False), nn.GroupNorm(4, planes)
        self.conv2, self.gn2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False), nn.GroupNorm(4, planes)
        self.relu = nn.ReLU()
        same = stride == 1 and inplanes == planes
        self.downsample = nn.Identity() if same else nn.Conv2d(inplanes, planes, 1, stride, bias=False)

    def branch(self, x: Tensor) -> Tensor:
        return self.gn2(self.conv2(self.relu(self.gn1(self.conv1(x)))))

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.branch(x) + self.downsample(x))


class GroupNormResNet(nn.Module):
    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.conv1, self.gn1 = nn.Conv2d(1, 8, 3, 1, 1, bias=False), nn.GroupNorm(4, 8)
        self.layer1 = nn.Sequential(GroupNormBlock(8, 8), GroupNormBlock(8, 8))
        self.layer2 = nn.Sequential(GroupNormBlock(8, 16, 2), GroupNormBlock(16, 16))
        self.fc = nn.Linear(256, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.gn1(self.conv1(x)))
        return self.fc(self.layer2(self.layer1(x)).flatten(1))


class ConvVAE(nn.Module):
    """Strided convolutions down to a few numbers, transposed ones up again."""

    def __init__(self, latent: int = 4, channels: int = 12) -> None:
        super().__init__()
        self.enc = nn.Sequential(
            nn.Conv2d(1, channels, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(channels, channels, 4, 2, 1),
            nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(4 * channels, 32), nn.LeakyReLU(0.2),
        )  # fmt: skip
        self.fc_mu, self.fc_logvar = nn.Linear(32, latent), nn.Linear(32, latent)
        self.fc_up = nn.Linear(latent, 4 * channels)
        self.dec = nn.Sequential(
            nn.LeakyReLU(0.2), nn.Unflatten(1, (channels, 2, 2)), nn.ConvTranspose2d(channels, channels, 4, 2, 1),
            nn.LeakyReLU(0.2), nn.ConvTranspose2d(channels, 1, 4, 2, 1),
        )  # fmt: skip
        for module in (*self.enc, *self.dec):
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.xavier_uniform_(module.weight, gain=1.3)
        nn.init.constant_(self.fc_logvar.bias, -3.0)

    def reparameterise(self, mu: Tensor, logvar: Tensor) -> Tensor:
        return mu + torch.randn_like(mu) * (0.5 * logvar).exp() if self.training else mu

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.enc(x)
        mu, logvar = self.fc_mu(h), self.fc_logvar(h)
        return self.dec(self.fc_up(self.reparameterise(mu, logvar))), mu, logvar


# --- sequences ---------------------------------------------------------------------------------------------------


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


class SelectiveSSM(nn.Module):
    """Mamba's block as a loop: a state whose decay and whose input depend on what is read."""

    def __init__(self, d_model: int, d_state: int = 4, expand: int = 2) -> None:
        super().__init__()
        d_inner = expand * d_model
        self.in_proj, self.out_proj = nn.Linear(d_model, 2 * d_inner, bias=False), nn.Linear(d_inner, d_model, False)
        self.conv1d = nn.Conv1d(d_inner, d_inner, 2, padding=1, groups=d_inner)
        self.x_proj, self.dt_proj = nn.Linear(d_inner, 2 * d_state, bias=False), nn.Linear(d_inner, d_inner)
        self.A_log = nn.Parameter(torch.arange(1, d_state + 1).float().log().repeat(d_inner, 1))
        self.D = nn.Parameter(torch.ones(d_inner))
        nn.init.constant_(self.dt_proj.bias, -1.5)

    def decay(self, dt: Tensor) -> Tensor:
        return torch.exp(-dt[..., None] * self.A_log.exp())

    def scan(self, x: Tensor) -> Tensor:
        dt = F.softplus(self.dt_proj(x))
        b, c = self.x_proj(x).chunk(2, dim=-1)
        kept, given = self.decay(dt), (dt * x)[..., None] * b[:, :, None]
        state, ys = torch.zeros_like(given[:, 0]), []
        for t in range(x.shape[1]):
            state = kept[:, t] * state + given[:, t]
            ys.append((state * c[:, t, None]).sum(-1))
        return torch.stack(ys, dim=1) + self.D * x

    def forward(self, x: Tensor) -> Tensor:
        inner, gate = self.in_proj(x).chunk(2, dim=-1)
        inner = F.silu(self.conv1d(inner.transpose(1, 2))[..., : x.shape[1]].transpose(1, 2))
        return self.out_proj(self.scan(inner) * F.silu(gate))


class MambaLayer(nn.Module):
    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.norm, self.mixer = nn.RMSNorm(d_model), SelectiveSSM(d_model)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mixer(self.norm(x))


class Mamba(nn.Module):
    def __init__(self, inputs: int = 2, d_model: int = 16, n_layer: int = 2) -> None:
        super().__init__()
        self.inlet = nn.Linear(inputs, d_model)
        self.layers = nn.Sequential(*(MambaLayer(d_model) for _ in range(n_layer)))
        self.norm_f, self.readout = nn.RMSNorm(d_model), nn.Linear(d_model, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.norm_f(self.layers(self.inlet(x))[:, -1]))


# --- tables, graphs, equations -----------------------------------------------------------------------------------


def tall_regressor(inputs: int = 10, width: int = 32, depth: int = 12) -> nn.Sequential:
    """A flat list of linear layers and ReLUs, He, one number at the end."""
    sizes = [inputs, *[width] * depth]
    layers: list[nn.Module] = []
    for before, behind in pairwise(sizes):
        layers += [nn.Linear(before, behind), nn.ReLU()]
    net = nn.Sequential(*layers, nn.Linear(width, 1))
    for module in net:
        if isinstance(module, nn.Linear):
            nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)
    return net


class DLRM(nn.Module):
    """Numbers through one perceptron, ids through tables, all their products through another."""

    def __init__(self, sizes: tuple[int, ...] = (30, 12, 7), numbers: int = 4, dim: int = 8) -> None:
        super().__init__()
        self.emb_l = nn.ModuleList(nn.EmbeddingBag(size, dim, mode="sum") for size in sizes)
        self.bot_l = nn.Sequential(nn.Linear(numbers, 16), nn.ReLU(), nn.Linear(16, dim), nn.ReLU())
        pairs = len(list(combinations(range(len(sizes) + 1), 2)))
        self.top_l = nn.Sequential(
            nn.Linear(pairs + dim, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1)
        )
        for table in self.emb_l:
            nn.init.normal_(table.weight, std=0.5)  # type: ignore[arg-type]

    def interact(self, parts: Tensor) -> Tensor:
        products = parts @ parts.transpose(1, 2)
        rows, columns = torch.triu_indices(parts.shape[1], parts.shape[1], 1)
        return products[:, rows, columns]

    def look_up(self, ids: Tensor) -> list[Tensor]:
        return [table(ids[:, i : i + 1]) for i, table in enumerate(self.emb_l)]

    def forward(self, numbers: Tensor, ids: Tensor) -> Tensor:
        dense = self.bot_l(numbers)
        parts = torch.stack([dense, *self.look_up(ids)], dim=1)
        return self.top_l(torch.cat([dense, self.interact(parts)], dim=1))


class SAGEConv(nn.Module):
    """What a node holds, and the mean of what its neighbours hold."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.lin_l, self.lin_r = nn.Linear(inputs, outputs), nn.Linear(inputs, outputs, bias=False)

    def aggregate(self, x: Tensor, adj: Tensor) -> Tensor:
        return adj @ x / adj.sum(dim=-1, keepdim=True).clamp(min=1)

    def forward(self, x: Tensor, adj: Tensor) -> Tensor:
        return self.lin_l(self.aggregate(x, adj)) + self.lin_r(x)


class GraphSAGE(nn.Module):
    """Three convolutions; the read-out sees the results of all of them."""

    def __init__(self, inputs: int = 3, hidden: int = 24, depth: int = 3) -> None:
        super().__init__()
        self.convs = nn.ModuleList(SAGEConv(hidden if i else inputs, hidden) for i in range(depth))
        self.act = nn.ReLU()
        self.lin = nn.Sequential(nn.Linear(depth * hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def jump(self, found: list[Tensor]) -> Tensor:
        return torch.cat(found, dim=-1)

    def forward(self, x: Tensor, adj: Tensor) -> Tensor:
        found = []
        for conv in self.convs:
            x = self.act(conv(x, adj))
            found.append(x)
        return self.lin(self.jump(found)).flatten(0, 1)


class PINN(nn.Module):
    """A net that gives back its values, those at the walls and its second derivative."""

    def __init__(self, width: int = 24, depth: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(depth):
            layers += [nn.Linear(width if i else 1, width), nn.Tanh()]
        self.net = nn.Sequential(*layers, nn.Linear(width, 1))
        for module in self.net:
            if isinstance(module, nn.Linear):
                nn.init.xavier_normal_(module.weight, gain=5 / 3)

    def slope(self, u: Tensor, x: Tensor) -> Tensor:
        (found,) = torch.autograd.grad(u, x, torch.ones_like(u), create_graph=True)
        return found

    def forward(self, place: Tensor, walls: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor, Tensor]:
        with torch.enable_grad():
            x = place.detach().clone().requires_grad_()
            u = self.net(x)
            bend = self.slope(self.slope(u, x), x)
        return (u, place), self.net(walls), bend
