"""Tables, recommendation, forecasting, graphs and physics that stand nowhere else."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case
from benchmarks.detection.healthy.common import (
    Build,
    Maker,
    Step,
    classify,
    fit,
    generator,
    later_cases,
    mlp,
    own_loss,
    patterns,
    prototypes,
    regression,
    supervised,
)

ROWS = 40
Case3 = dict[str, tuple[Build, Maker, Step]]


# --- recommendation ----------------------------------------------------------------------------------------------


def fields(count: int = 6) -> Maker:
    """Ids of several fields and whether there was a click."""
    taste = prototypes(count * ROWS, 3).view(count, ROWS, 3)

    def make(seed: int, size: int) -> Batch:
        g = generator(seed)
        ids = torch.randint(ROWS, (size, count), generator=g)
        drawn = torch.stack([taste[i][ids[:, i]] for i in range(count)], 1)
        logit = (drawn.sum(1).square().sum(1) - drawn.square().sum((1, 2))) / 6
        return ids, (logit + 0.3 * torch.randn(size, generator=g) > 0).float()

    return make


class Fields(nn.Module):
    """Embeddings of all fields in one table, xavier as in the usual click-through libraries."""

    def __init__(self, count: int = 6, width: int = 8) -> None:
        super().__init__()
        self.table = nn.Embedding(count * ROWS, width)
        nn.init.xavier_uniform_(self.table.weight)
        self.register_buffer("offsets", ROWS * torch.arange(count))

    def forward(self, ids: Tensor) -> Tensor:
        return self.table(ids + self.offsets)  # type: ignore[operator]


class Compressed(nn.Module):
    """xDeepFM: outer products of fields, compressed by 1x1 convolutions, beside a deep part."""

    def __init__(self) -> None:
        super().__init__()
        self.fields, self.deep = Fields(), mlp([48, 32, 1])
        self.convs = nn.ModuleList(nn.Conv1d(6 * n, 8, 1) for n in (6, 8))
        self.head = nn.Linear(16, 1)

    def forward(self, ids: Tensor) -> Tensor:
        first = hidden = self.fields(ids)
        pooled = []
        for conv in self.convs:
            hidden = F.relu(conv((first[:, :, None] * hidden[:, None]).flatten(1, 2)))
            pooled.append(hidden.sum(2))
        return (self.head(torch.cat(pooled, 1)) + self.deep(first.flatten(1)))[:, 0]


class AutoInt(nn.Module):
    """Self-attention between fields with a ReLU residual."""

    def __init__(self) -> None:
        super().__init__()
        self.fields = Fields()
        self.layers = nn.ModuleList(nn.MultiheadAttention(8, 2, batch_first=True) for _ in range(2))
        self.skips, self.head = nn.ModuleList(nn.Linear(8, 8) for _ in range(2)), nn.Linear(48, 1)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.fields(ids)
        for layer, skip in zip(self.layers, self.skips, strict=True):
            x = F.relu(layer(x, x, x)[0] + skip(x))
        return self.head(x.flatten(1))[:, 0]


class Product(nn.Module):
    """PNN: inner products of all pairs of fields, then a perceptron with norms and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.fields = Fields()
        layers = [nn.Linear(48 + 15, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 1)]
        self.deep = nn.Sequential(*layers)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.fields(ids)
        rows, columns = torch.triu_indices(6, 6, 1)
        return self.deep(torch.cat([x.flatten(1), (x[:, rows] * x[:, columns]).sum(2)], 1))[:, 0]


class Attentional(nn.Module):
    """AFM: pairs of fields, weighed by an attention."""

    def __init__(self) -> None:
        super().__init__()
        self.fields, self.linear = Fields(), nn.Embedding(6 * ROWS, 1)
        self.attend = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1), nn.Softmax(1))
        self.head = nn.Linear(8, 1)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.fields(ids)
        rows, columns = torch.triu_indices(6, 6, 1)
        pairs = x[:, rows] * x[:, columns]
        return self.head((self.attend(pairs) * pairs).sum(1))[:, 0] + self.linear(ids + self.fields.offsets).sum((1, 2))  # type: ignore[operator]


class Interest(nn.Module):
    """DIN: the history is weighed by how it fits the candidate; PReLU, no softmax."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.items = nn.Embedding(ROWS, width)
        self.fits = nn.Sequential(nn.Linear(4 * width, 16), nn.PReLU(), nn.Linear(16, 1))
        self.head = nn.Sequential(nn.Linear(2 * width, 16), nn.PReLU(), nn.Linear(16, 1))

    def forward(self, ids: Tensor) -> Tensor:
        wanted, past = self.items(ids[:, :1]), self.items(ids[:, 1:])
        wide = wanted.expand_as(past)
        weight = self.fits(torch.cat([wide, past, wide - past, wide * past], -1))
        return self.head(torch.cat([wanted[:, 0], (weight * past).sum(1)], 1))[:, 0]


def repeated() -> Maker:
    """A candidate and a history that may hold it."""

    def make(seed: int, size: int) -> Batch:
        g = generator(seed)
        ids, seen = torch.randint(ROWS, (size, 7), generator=g), torch.rand(size, generator=g) < 0.5
        ids[:, 3] = torch.where(seen, ids[:, 0], ids[:, 3])
        return ids, (ids[:, 1:] == ids[:, :1]).any(1).float()

    return make


class Extraction(nn.Module):
    """MMoE's experts and gates in the progressive form (PLE): shared experts, and some of each task's own."""

    def __init__(self, inputs: int = 16, width: int = 16) -> None:
        super().__init__()
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(inputs, width), nn.ReLU()) for _ in range(3))
        self.gates = nn.ModuleList(nn.Linear(inputs, 2) for _ in range(2))
        self.towers = nn.ModuleList(mlp([width, 16, 1]) for _ in range(2))
        self.log_variance = nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        out = [expert(x) for expert in self.experts]
        answers = []
        for i, (gate, tower) in enumerate(zip(self.gates, self.towers, strict=True)):
            weight = gate(x).softmax(1)
            answers.append(tower(weight[:, :1] * out[0] + weight[:, 1:] * out[i + 1]))
        return torch.cat(answers, 1)


def uncertain(model: nn.Module, batch: Batch) -> Tensor:
    """Two tasks, weighed by uncertainties that are learnt."""
    x, y = batch
    errors = (model(x) - y).square().mean(0)
    log_variance: Tensor = model.log_variance  # type: ignore[assignment]
    return ((-log_variance).exp() * errors + log_variance).sum() / 2


class SessionGru(nn.Module):
    """GRU4Rec with the in-batch items as negatives and the BPR-max loss."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.items, self.rnn = nn.Embedding(ROWS, width), nn.GRU(width, width, batch_first=True)
        self.out, self.bias = nn.Embedding(ROWS, width), nn.Embedding(ROWS, 1)
        nn.init.xavier_uniform_(self.items.weight)
        nn.init.xavier_uniform_(self.out.weight)
        nn.init.zeros_(self.bias.weight)

    def forward(self, session: Tensor) -> Tensor:
        state, wanted = self.rnn(self.items(session[:, :-1]))[0][:, -1], session[:, -1]
        scores = state @ self.out(wanted).T + self.bias(wanted)[:, 0]
        apart = ~torch.eye(len(session), dtype=torch.bool)
        weight = scores.masked_fill(~apart, -math.inf).softmax(1)
        better = (scores.diag()[:, None] - scores).sigmoid()
        return -((weight * better).sum(1) + 1e-24).log().mean() + (weight * scores.square()).sum(1).mean()


def sessions(seed: int, size: int) -> Batch:
    """Items visited in order."""
    g = generator(seed)
    start, stride = torch.randint(ROWS, (size, 1), generator=g), torch.randint(1, 4, (size, 1), generator=g)
    return (start + stride * torch.arange(7)) % ROWS


class LightGcn(nn.Module):
    """LightGCN: embeddings, N(0, 0.1), averaged over the graph; nothing else is learnt; BPR."""

    def __init__(self, users: int = 20, items: int = 20, width: int = 16) -> None:
        super().__init__()
        self.users, self.table = users, nn.Embedding(users + items, width)
        nn.init.normal_(self.table.weight, std=0.1)
        edges = (torch.arange(users)[:, None] % 4 == torch.arange(items) % 4).float()
        whole = torch.zeros(users + items, users + items)
        whole[:users, users:], whole[users:, :users] = edges, edges.T
        self.register_buffer(
            "graph", whole / whole.sum(1).clamp(min=1).sqrt() / whole.sum(0).clamp(min=1).sqrt()[:, None]
        )

    def forward(self, triples: Tensor) -> Tensor:
        layers = [self.table.weight]
        for _ in range(3):
            layers.append(self.graph @ layers[-1])  # type: ignore[operator]
        final = torch.stack(layers).mean(0)
        user, liked, other = final[triples[:, 0]], final[self.users + triples[:, 1]], final[self.users + triples[:, 2]]
        size = self.table(triples + torch.tensor([0, self.users, self.users])).square().sum() / len(triples)
        return F.softplus((user * other).sum(1) - (user * liked).sum(1)).mean() + 5e-5 * size


def liked(seed: int, size: int) -> Batch:
    """A user, an item that was liked and one that was not."""
    g = generator(seed)
    user, which = torch.randint(20, (size,), generator=g), torch.randint(5, (size, 2), generator=g)
    return torch.stack([user, user % 4 + 4 * which[:, 0], (user + 1) % 4 + 4 * which[:, 1]], 1)


class MultVae(nn.Module):
    """Mult-VAE: normalised histories, dropout, tanh, xavier weights and N(0, 0.001) biases, a multinomial."""

    def __init__(self, items: int = 40) -> None:
        super().__init__()
        self.encode, self.decode = mlp([items, 32, 16], nn.Tanh), mlp([8, 32, items], nn.Tanh)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_normal_(module.weight)
                nn.init.normal_(module.bias, std=0.001)

    def forward(self, x: Tensor) -> Tensor:
        mean, log_variance = self.encode(F.dropout(F.normalize(x), 0.5, self.training)).chunk(2, 1)
        out = self.decode(mean + (log_variance / 2).exp() * torch.randn_like(mean))
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
        return -(out.log_softmax(1) * x).sum(1).mean() + 0.2 * divergence


def baskets(seed: int, size: int) -> Batch:
    return (patterns(40)(seed, size)[0] > 0.5).float()


# --- tables ------------------------------------------------------------------------------------------------------


class Saint(nn.Module):
    """SAINT: attention over features, then over the rows of the batch."""

    def __init__(self, features: int = 8, width: int = 8) -> None:
        super().__init__()
        self.tokens = nn.ModuleList(mlp([1, 16, width]) for _ in range(features))
        self.columns = nn.TransformerEncoderLayer(width, 2, 32, 0.1, "gelu", batch_first=True, norm_first=True)
        self.rows = nn.TransformerEncoderLayer(features * width, 2, 64, 0.1, "gelu", batch_first=True, norm_first=True)
        self.head = mlp([features * width, 32, 4])

    def forward(self, x: Tensor) -> Tensor:
        tokens = torch.stack([token(x[:, i : i + 1]) for i, token in enumerate(self.tokens)], 1)
        return self.head(self.rows(self.columns(tokens).flatten(1)[None])[0])


class Oblivious(nn.Module):
    """NODE: soft oblivious trees, features chosen by a sparse softmax, data-aware thresholds left out."""

    def __init__(self, features: int = 8, trees: int = 16, depth: int = 3, outputs: int = 4) -> None:
        super().__init__()
        self.choose = nn.Parameter(torch.rand(trees, depth, features))
        self.threshold, self.log_heat = nn.Parameter(torch.randn(trees, depth)), nn.Parameter(torch.zeros(trees, depth))
        self.leaves = nn.Parameter(torch.randn(trees, 2**depth, outputs))

    def forward(self, x: Tensor) -> Tensor:
        value = torch.einsum("nf,tdf->ntd", x, self.choose.softmax(-1))
        right = (0.5 * (value - self.threshold) * (-self.log_heat).exp() + 0.5).clamp(0, 1)
        weight = torch.ones(*value.shape[:2], 1)
        for d in range(value.shape[2]):
            share = right[..., d : d + 1]
            weight = torch.cat([weight * share, weight * (1 - share)], -1)
        return torch.einsum("ntl,tlo->no", weight, self.leaves) / len(self.leaves)


class GatedResidual(nn.Module):
    """The gated residual network of the Temporal Fusion Transformer."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.skip = nn.Linear(inputs, width) if inputs != width else nn.Identity()
        self.first, self.second, self.gate = (
            nn.Linear(inputs, width),
            nn.Linear(width, width),
            nn.Linear(width, 2 * width),
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.skip(x) + F.glu(self.gate(self.second(F.elu(self.first(x)))), -1))


class KernelProcess(nn.Module):
    """Deep kernel learning: the exact marginal likelihood of a Gaussian process on learnt features."""

    def __init__(self) -> None:
        super().__init__()
        self.features = mlp([8, 32, 16, 2])
        self.raw_scale, self.raw_noise, self.mean = (nn.Parameter(torch.zeros(())) for _ in range(3))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        z = self.features(x)
        gaps = (z[:, None] - z).square().sum(-1)
        noise = F.softplus(self.raw_noise) + 1e-4
        covariance = (-gaps / (2 * F.softplus(self.raw_scale) ** 2)).exp() + noise * torch.eye(len(x))
        shape = torch.distributions.MultivariateNormal(self.mean.expand(len(x)), covariance)
        return -shape.log_prob(y[:, 0]) / len(x)  # type: ignore[no-untyped-call]


class NeuralProcess(nn.Module):
    """A conditional neural process: a few points of a function tell the others, with their spread."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = mlp([2, 32, 32, 32]), mlp([33, 32, 32, 2])

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        known = self.encode(torch.cat([x, y], -1)[:, :6]).mean(1, keepdim=True)
        mean, raw = self.decode(torch.cat([known.expand(-1, x.shape[1], -1), x], -1)).chunk(2, -1)
        spread = 0.1 + 0.9 * F.softplus(raw)
        return -torch.distributions.Normal(mean, spread).log_prob(y).mean()  # type: ignore[no-untyped-call]


def functions(seed: int, size: int) -> Batch:
    """Sines of several phases, seen at random places."""
    g = generator(seed)
    x = 4 * torch.rand(size, 16, 1, generator=g) - 2
    return x, (2 * x + 6.283 * torch.rand(size, 1, 1, generator=g)).sin()


# --- series ------------------------------------------------------------------------------------------------------


def series(past: int = 24, ahead: int = 8, channels: int = 3) -> Maker:
    """Sines with noise in several channels, and how they go on."""

    def make(seed: int, size: int) -> Batch:
        g = generator(seed)
        phase, period = (torch.rand(size, 1, channels, generator=g) for _ in range(2))
        time = torch.arange(past + ahead)[:, None]
        x = (6.283 * (time / (6 + 6 * period) + phase)).sin() + 0.1 * torch.randn(
            size, past + ahead, channels, generator=g
        )
        return x[:, :past], x[:, past:]

    return make


class Fusion(nn.Module):
    """A small Temporal Fusion Transformer: chosen variables, an LSTM, gated attention, quantiles."""

    def __init__(self, channels: int = 3, width: int = 16, ahead: int = 8) -> None:
        super().__init__()
        self.lift = nn.ModuleList(nn.Linear(1, width) for _ in range(channels))
        self.each = nn.ModuleList(GatedResidual(width, width) for _ in range(channels))
        self.choose, self.rnn = GatedResidual(channels * width, channels), nn.LSTM(width, width, batch_first=True)
        self.attention, self.gate = nn.MultiheadAttention(width, 2, batch_first=True), nn.Linear(width, 2 * width)
        self.norm, self.last, self.head = (
            nn.LayerNorm(width),
            GatedResidual(width, width),
            nn.Linear(width, 3 * channels * ahead),
        )

    def forward(self, x: Tensor) -> Tensor:
        lifted = [lift(x[..., i : i + 1]) for i, lift in enumerate(self.lift)]
        weight = self.choose(torch.cat(lifted, -1)).softmax(-1)
        chosen = torch.stack([each(v) for each, v in zip(self.each, lifted, strict=True)], -1) @ weight[..., None]
        hidden = self.rnn(chosen[..., 0])[0]
        hidden = self.norm(hidden + F.glu(self.gate(self.attention(hidden, hidden, hidden)[0]), -1))
        return self.head(self.last(hidden)[:, -1]).view(len(x), 3, -1, x.shape[2])


def pinball(model: nn.Module, batch: Batch) -> Tensor:
    """Three quantiles."""
    x, y = batch
    level = torch.tensor([0.1, 0.5, 0.9])[:, None, None]
    error = y[:, None] - model(x)
    return torch.maximum(level * error, (level - 1) * error).mean()


class Inverted(nn.Module):
    """iTransformer: every channel is a token, normalised over time."""

    def __init__(self, past: int = 24, ahead: int = 8, width: int = 32) -> None:
        super().__init__()
        self.embed, self.head = nn.Linear(past, width), nn.Linear(width, ahead)
        layer = nn.TransformerEncoderLayer(width, 2, 64, 0.1, "gelu", batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        mean, spread = x.mean(1, keepdim=True), (x.var(1, keepdim=True, unbiased=False) + 1e-5).sqrt()
        out = self.head(self.body(self.embed(((x - mean) / spread).transpose(1, 2))))
        return out.transpose(1, 2) * spread + mean


class TsMixer(nn.Module):
    """TSMixer: perceptrons over time and over channels in turn, with batch normalisation."""

    def __init__(self, past: int = 24, ahead: int = 8, channels: int = 3) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm1d(past) for _ in range(4))
        self.time = nn.ModuleList(nn.Linear(past, past) for _ in range(2))
        self.wide = nn.ModuleList(mlp([channels, 16, channels]) for _ in range(2))
        self.head = nn.Linear(past, ahead)

    def forward(self, x: Tensor) -> Tensor:
        for i in range(2):
            x = x + F.relu(self.time[i](self.norms[2 * i](x).transpose(1, 2))).transpose(1, 2)
            x = x + self.wide[i](self.norms[2 * i + 1](x))
        return self.head(x.transpose(1, 2)).transpose(1, 2)


class LstNet(nn.Module):
    """LSTNet: convolution, a GRU, a GRU that skips, and an autoregression beside them."""

    def __init__(self, channels: int = 3, width: int = 16, skip: int = 4) -> None:
        super().__init__()
        self.conv, self.skip = nn.Conv1d(channels, width, 5), skip
        self.rnn, self.slow = nn.GRU(width, width, batch_first=True), nn.GRU(width, 8, batch_first=True)
        self.head, self.linear = nn.Linear(width + skip * 8, 8 * channels), nn.Linear(12, 8)

    def forward(self, x: Tensor) -> Tensor:
        seen = F.relu(self.conv(x.transpose(1, 2))).transpose(1, 2)
        fast = self.rnn(seen)[0][:, -1]
        lanes = seen.unflatten(1, (-1, self.skip)).transpose(1, 2).flatten(0, 1)  # type: ignore[no-untyped-call]
        slow = self.slow(lanes)[0][:, -1].unflatten(0, (len(x), self.skip)).flatten(1)
        straight = self.linear(x[:, -12:].transpose(1, 2)).transpose(1, 2)
        return self.head(torch.cat([fast, slow], 1)).view(len(x), 8, -1) + straight


class Controlled(nn.Module):
    """A neural controlled differential equation: the change of the state is a matrix times the change of the input."""

    def __init__(self, channels: int = 3, width: int = 8) -> None:
        super().__init__()
        self.start, self.field = nn.Linear(channels, width), mlp([width, 32, width * channels])
        self.head = nn.Linear(width, 8 * channels)

    def forward(self, x: Tensor) -> Tensor:
        state = self.start(x[:, 0])
        for change in x.diff(dim=1).unbind(1):
            field = self.field(state).tanh().view(len(x), -1, x.shape[2])
            state = state + (field @ change[..., None])[..., 0]
        return self.head(state).view(len(x), 8, -1)


# --- graphs ------------------------------------------------------------------------------------------------------


def graphs(nodes: int = 10) -> Maker:
    """Random graphs with two kinds of nodes that mostly keep to themselves: which kind is each of?"""

    def make(seed: int, size: int) -> Batch:
        g = generator(seed)
        kind = torch.randint(2, (size, nodes), generator=g)
        chance = torch.where(kind[:, :, None] == kind[:, None], 0.5, 0.1)
        upper = (torch.rand(size, nodes, nodes, generator=g) < chance).float().triu(1)
        features = torch.randn(size, nodes, 6, generator=g) + (2 * kind[..., None] - 1) * 0.5 * prototypes(1, 6)
        return features, upper + upper.transpose(1, 2), kind

    return make


def nodewise(model: nn.Module, batch: Batch) -> Tensor:
    """Cross entropy of every node."""
    return F.cross_entropy(model(*batch[:2]).flatten(0, 1), batch[2].flatten())


def normalised(edges: Tensor) -> Tensor:
    whole = edges + torch.eye(edges.shape[-1])
    root = whole.sum(-1).rsqrt()
    return root[:, :, None] * whole * root[:, None]


class InitialResidual(nn.Module):
    """GCNII: every layer mixes in the first one and stays near the identity."""

    def __init__(self, width: int = 16, layers: int = 6) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(6, width), nn.Linear(width, 2)
        self.layers = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(layers))

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        first = h = F.relu(self.stem(x))
        graph = normalised(edges)
        for i, layer in enumerate(self.layers):
            beta = math.log(0.5 / (i + 1) + 1)
            mixed = 0.9 * graph @ h + 0.1 * first
            h = F.relu((1 - beta) * mixed + beta * layer(mixed))
        return self.head(h)


class Personalised(nn.Module):
    """APPNP: a perceptron, then ten steps of personalised PageRank."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp([6, 32, 2])

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        first = h = self.net(x)
        graph = normalised(edges)
        for _ in range(10):
            h = 0.9 * graph @ h + 0.1 * first
        return h


class GraphAttention2(nn.Module):
    """GATv2: attention by a perceptron of both ends, with residuals."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(6, width), nn.Linear(width, 2)
        self.left, self.right = (nn.ModuleList(nn.Linear(width, width) for _ in range(2)) for _ in range(2))
        self.ask = nn.ParameterList(nn.init.xavier_uniform_(torch.empty(1, width))[0] for _ in range(2))

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        h, hidden = self.stem(x), (edges + torch.eye(edges.shape[-1])) == 0
        for left, right, ask in zip(self.left, self.right, self.ask, strict=True):
            value = right(h)
            scores = F.leaky_relu(left(h)[:, :, None] + value[:, None], 0.2) @ ask
            h = h + F.elu(scores.masked_fill(hidden, -math.inf).softmax(-1) @ value)
        return self.head(h)


class Graphormer(nn.Module):
    """Graphormer: attention over all nodes, with biases for distances and embeddings of degrees."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem, self.degree, self.near = nn.Linear(6, width), nn.Embedding(16, width), nn.Embedding(4, 1)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed, self.head = mlp([width, 32, width], nn.GELU), nn.Linear(width, 2)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        two = ((edges @ edges) > 0).long()
        distance = torch.where(edges > 0, 1, 3 - two) * (1 - torch.eye(edges.shape[-1]).long())
        h = self.stem(x) + self.degree(edges.sum(-1).long())
        query, key, value = self.qkv(self.norm1(h)).chunk(3, -1)
        scores = query @ key.transpose(1, 2) / query.shape[-1] ** 0.5 + self.near(distance)[..., 0]
        h = h + self.out(scores.softmax(-1) @ value)
        return self.head(h + self.feed(self.norm2(h)))


class EdgeConv(nn.Module):
    """DGCNN: neighbours in feature space, the greatest of what edges say."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.edges = nn.ModuleList(
            nn.Sequential(nn.Conv2d(2 * n, width, 1, bias=False), nn.BatchNorm2d(width), nn.LeakyReLU(0.2))
            for n in (3, width)
        )
        self.join = nn.Sequential(nn.Conv1d(2 * width, 32, 1, bias=False), nn.BatchNorm1d(32), nn.LeakyReLU(0.2))
        self.head = nn.Sequential(nn.Linear(32, 16), nn.LeakyReLU(0.2), nn.Dropout(0.5), nn.Linear(16, 3))

    def forward(self, points: Tensor) -> Tensor:
        x, levels = points, []
        for edge in self.edges:
            near = torch.cdist(x, x).topk(4, largest=False).indices
            others = x[torch.arange(len(x))[:, None, None], near]
            pairs = torch.cat([others - x[:, :, None], x[:, :, None].expand_as(others)], -1)
            x = edge(pairs.permute(0, 3, 1, 2)).amax(3).transpose(1, 2)
            levels.append(x)
        return self.head(self.join(torch.cat(levels, 2).transpose(1, 2)).amax(2))


class Grouped(nn.Module):
    """PointNet++: centres, the points around each through a small net, and once more over the centres."""

    def __init__(self) -> None:
        super().__init__()
        self.local = nn.Sequential(nn.Conv2d(3, 16, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 1))
        self.whole = nn.Sequential(nn.Conv1d(19, 32, 1), nn.BatchNorm1d(32), nn.ReLU(), nn.Conv1d(32, 32, 1))
        self.head = nn.Sequential(nn.Linear(32, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.4), nn.Linear(16, 3))

    def forward(self, points: Tensor) -> Tensor:
        centres = points[:, :6]
        near = torch.cdist(centres, points).topk(6, largest=False).indices
        around = points[torch.arange(len(points))[:, None, None], near] - centres[:, :, None]
        local = F.relu(self.local(around.permute(0, 3, 1, 2)).amax(3))
        return self.head(F.relu(self.whole(torch.cat([centres.transpose(1, 2), local], 1)).amax(2)))


class PointAttention(nn.Module):
    """Point Transformer: vector attention with relative positions among neighbours."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem, self.qkv = nn.Linear(3, width), nn.Linear(width, 3 * width)
        self.place, self.weigh = mlp([3, width, width]), mlp([width, width, width])
        self.out, self.head = nn.Linear(width, width), mlp([width, 16, 3])

    def forward(self, points: Tensor) -> Tensor:
        h, near = self.stem(points), torch.cdist(points, points).topk(6, largest=False).indices
        rows = torch.arange(len(points))[:, None, None]
        query, key, value = self.qkv(h).chunk(3, -1)
        place = self.place(points[:, :, None] - points[rows, near])
        weight = self.weigh(query[:, :, None] - key[rows, near] + place).softmax(2)
        return self.head((h + self.out((weight * (value[rows, near] + place)).sum(2))).mean(1))


def clouds(count: int = 24) -> Maker:
    """Points of a sphere, a disc or a line."""

    def make(seed: int, size: int) -> Batch:
        g = generator(seed)
        kind = torch.randint(3, (size,), generator=g)
        x = F.normalize(torch.randn(size, count, 3, generator=g), dim=-1)
        keep = torch.tensor([[1.0, 1, 1], [1, 1, 0], [1, 0, 0]])[kind]
        return x * keep[:, None] + 0.05 * torch.randn(size, count, 3, generator=g), kind

    return make


class Rotation(nn.Module):
    """RotatE: relations turn complex entities; self-adversarial negatives, margin 6."""

    def __init__(self, entities: int = 30, width: int = 16, gamma: float = 6.0) -> None:
        super().__init__()
        self.span, self.gamma = (gamma + 2) / width, gamma
        self.entities, self.relations = nn.Embedding(entities, 2 * width), nn.Embedding(3, width)
        nn.init.uniform_(self.entities.weight, -self.span, self.span)
        nn.init.uniform_(self.relations.weight, -self.span, self.span)

    def score(self, head: Tensor, relation: Tensor, tail: Tensor) -> Tensor:
        (re, im), (tre, tim) = self.entities(head).chunk(2, -1), self.entities(tail).chunk(2, -1)
        phase = self.relations(relation) / (self.span / math.pi)
        turned = torch.stack([re * phase.cos() - im * phase.sin() - tre, re * phase.sin() + im * phase.cos() - tim])
        return self.gamma - turned.norm(dim=0).sum(-1)

    def forward(self, triples: Tensor, wrong: Tensor) -> Tensor:
        head, relation, tail = triples.unbind(1)
        good, bad = self.score(head, relation, tail), self.score(head[:, None], relation[:, None], wrong)
        weight = bad.detach().softmax(1)
        return -(F.logsigmoid(good).mean() + (weight * F.logsigmoid(-bad)).sum(1).mean()) / 2


def facts(seed: int, size: int) -> Batch:
    """Entities on a ring; every relation is a step of its own."""
    g = generator(seed)
    head, relation = torch.randint(30, (size,), generator=g), torch.randint(3, (size,), generator=g)
    triples = torch.stack([head, relation, (head + 5 * relation + 1) % 30], 1)
    return triples, torch.randint(30, (size, 8), generator=g)


# --- physics -----------------------------------------------------------------------------------------------------


class Hamiltonian(nn.Module):
    """A Hamiltonian network: the dynamics are the turned gradient of a learnt energy; orthogonal weights."""

    def __init__(self) -> None:
        super().__init__()
        hidden = [nn.Linear(2, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh()]
        self.energy = nn.Sequential(*hidden, nn.Linear(48, 1, bias=False))
        for layer in self.energy:
            if isinstance(layer, nn.Linear):
                nn.init.orthogonal_(layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = x.requires_grad_()
        (slope,) = torch.autograd.grad(self.energy(x).sum(), x, create_graph=True)
        return torch.stack([slope[:, 1], -slope[:, 0]], 1)


def pendulum(seed: int, size: int) -> Batch:
    """States of a pendulum and how they change."""
    x = 2 * torch.randn(size, 2, generator=generator(seed))
    return x, torch.stack([x[:, 1], -x[:, 0].sin()], 1)


class HashGrid(nn.Module):
    """Instant neural graphics: grids of several sizes, U(-1e-4, 1e-4), interpolated, and a small net."""

    def __init__(self, sizes: tuple[int, ...] = (4, 8, 16), width: int = 2) -> None:
        super().__init__()
        self.grids = nn.ParameterList(torch.empty(1, width, n, n).uniform_(-1e-4, 1e-4) for n in sizes)
        self.net = mlp([width * len(sizes), 32, 32, 1])

    def forward(self, x: Tensor) -> Tensor:
        seen = [F.grid_sample(grid, x[None, None], align_corners=True)[0, :, 0] for grid in self.grids]
        return self.net(torch.cat(seen).T)


class Fourier(nn.Module):
    """Random Fourier features in front of a perceptron."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("waves", 2 * torch.randn(2, 32))
        self.net = mlp([64, 64, 64, 1])

    def forward(self, x: Tensor) -> Tensor:
        angle = 6.283 * x @ self.waves  # type: ignore[operator]
        return self.net(torch.cat([angle.cos(), angle.sin()], 1))


class Distance(nn.Module):
    """DeepSDF: a code for every shape (N(0, 0.1)), weight normalisation, the input once more in the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.codes = nn.Embedding(4, 8)
        nn.init.normal_(self.codes.weight, std=0.1)
        norm = nn.utils.parametrizations.weight_norm
        self.layers = nn.ModuleList(norm(nn.Linear(*s)) for s in ((10, 32), (32, 22), (32, 32)))
        self.head = nn.Linear(32, 1)

    def forward(self, shape: Tensor, x: Tensor) -> Tensor:
        first = torch.cat([self.codes(shape), x], 1)
        h = F.relu(self.layers[1](F.relu(self.layers[0](first))))
        return self.head(F.relu(self.layers[2](torch.cat([h, first], 1)))).tanh()


def shapes(seed: int, size: int) -> Batch:
    """Places and their distance to a circle of the shape's radius."""
    g = generator(seed)
    shape, x = torch.randint(4, (size,), generator=g), 2 * torch.rand(size, 2, generator=g) - 1
    return shape, x, x.norm(dim=1, keepdim=True) - 0.2 * (shape[:, None] + 1)


def distance(model: nn.Module, batch: Batch) -> Tensor:
    """L1 of the clamped distance, and the size of the codes."""
    shape, x, truth = batch
    codes: Tensor = model.codes(shape)  # type: ignore[operator]
    return F.l1_loss(model(shape, x).clamp(-0.3, 0.3), truth.clamp(-0.3, 0.3)) + 1e-4 * codes.square().sum(1).mean()


def places(seed: int, size: int) -> Batch:
    """Coordinates and a wavy surface over them."""
    x = 2 * torch.rand(size, 2, generator=generator(seed)) - 1
    return x, (6 * x[:, :1]).sin() * (5 * x[:, 1:]).cos()


def cases() -> list[Case]:
    """All cases of this module."""
    clicked, table, rows = supervised(F.binary_cross_entropy_with_logits), patterns(8), regression(8, 1)
    models: Case3 = {
        "xdeepfm": (Compressed, fields(), clicked), "autoint": (AutoInt, fields(), clicked),
        "pnn": (Product, fields(), clicked), "afm": (Attentional, fields(), clicked),
        "din": (Interest, repeated(), clicked), "ple": (Extraction, regression(16, 2), uncertain),
        "gru4rec": (SessionGru, sessions, own_loss), "lightgcn": (LightGcn, liked, own_loss),
        "mult_vae": (MultVae, baskets, own_loss), "saint": (Saint, table, classify),
        "node": (Oblivious, table, classify), "deep_kernel": (KernelProcess, rows, own_loss),
        "neural_process": (NeuralProcess, functions, own_loss),
        "temporal_fusion": (Fusion, series(), pinball), "itransformer": (Inverted, series(), fit),
        "tsmixer": (TsMixer, series(), fit), "lstnet": (LstNet, series(), fit),
        "neural_cde": (Controlled, series(), fit), "gcn2": (InitialResidual, graphs(), nodewise),
        "appnp": (Personalised, graphs(), nodewise), "gatv2": (GraphAttention2, graphs(), nodewise),
        "graphormer": (Graphormer, graphs(), nodewise), "dgcnn": (EdgeConv, clouds(), classify),
        "pointnet_plus_plus": (Grouped, clouds(), classify), "point_transformer": (PointAttention, clouds(), classify),
        "rotate": (Rotation, facts, own_loss), "hamiltonian": (Hamiltonian, pendulum, fit),
        "hash_grid": (HashGrid, places, fit), "fourier_features": (Fourier, places, fit),
        "deep_sdf": (Distance, shapes, distance),
    }  # fmt: skip
    return later_cases(2, "tabular", models, 16)
