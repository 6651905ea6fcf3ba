"""Ways to learn: robustness, distillation, adapters, sparsity, search, self-supervision and acting."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case
from benchmarks.detection.healthy.common import (
    Build,
    Maker,
    Step,
    classify,
    generator,
    later_cases,
    mlp,
    next_token,
    only,
    own_loss,
    patterns,
    pictures,
    pooled_head,
    progressions,
    prototypes,
)


def small_cnn(outputs: int = 4) -> nn.Sequential:
    """Two convolutions with batch norm and a head."""
    layers: list[nn.Module] = []
    for inputs, width in ((3, 16), (16, 32)):
        layers += [nn.Conv2d(inputs, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers, *pooled_head(32, outputs))


class Trades(nn.Module):
    """TRADES: the divergence between clean and attacked predictions, six times; the attack is three steps long."""

    def __init__(self) -> None:
        super().__init__()
        self.net = small_cnn()

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        clean = self.net(x)
        chance = clean.detach().softmax(1)
        worse = x + 0.001 * torch.randn_like(x)
        for _ in range(3):
            worse = worse.detach().requires_grad_(True)
            with torch.enable_grad():
                away = F.kl_div(self.net(worse).log_softmax(1), chance, reduction="sum")
                (slope,) = torch.autograd.grad(away, worse)
            worse = x + (worse + 0.05 * slope.sign() - x).clamp(-0.1, 0.1)
        attacked = self.net(worse.detach()).log_softmax(1)
        return F.cross_entropy(clean, label) + 6 * F.kl_div(attacked, clean.softmax(1), reduction="batchmean")


class Relational(nn.Module):
    """Relational distillation: distances and angles among a batch's codes should be the teacher's."""

    def __init__(self) -> None:
        super().__init__()
        self.teacher, self.student = mlp([32, 64, 64, 16]).requires_grad_(False), mlp([32, 24, 16])

    @staticmethod
    def relations(code: Tensor) -> tuple[Tensor, Tensor]:
        """Distances over their mean, and cosines at every corner."""
        gap = code[None] - code[:, None]
        off = ~torch.eye(len(code), dtype=torch.bool)
        far = (gap.square().sum(-1) + 1e-12).sqrt()
        way = F.normalize(gap, dim=2)
        return far / far[off].mean(), way @ way.transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        far, corner = self.relations(self.student(x))
        with torch.no_grad():
            true_far, true_corner = self.relations(self.teacher(x))
        return 25 * F.smooth_l1_loss(far, true_far) + 50 * F.smooth_l1_loss(corner, true_corner)


class OrthogonalTuning(nn.Module):
    """OFT: a frozen layer turned by blocks of Cayley rotations that start at the identity."""

    def __init__(self, base: nn.Linear, blocks: int = 4) -> None:
        super().__init__()
        self.base, size = base.requires_grad_(False), base.in_features // blocks
        self.skew = nn.Parameter(torch.zeros(blocks, size, size))

    def forward(self, x: Tensor) -> Tensor:
        skew, eye = 0.5 * (self.skew - self.skew.transpose(1, 2)), torch.eye(self.skew.shape[1])
        turn = (eye + skew) @ torch.linalg.inv(eye - skew)
        turned = torch.einsum("nbi,bij->nbj", x.view(len(x), len(turn), -1), turn).flatten(1)
        out: Tensor = self.base(turned)
        return out


class OftClassifier(nn.Module):
    """A pretrained perceptron tuned by rotations, with a new head."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = (
            OrthogonalTuning(nn.Linear(32, 64)),
            OrthogonalTuning(nn.Linear(64, 64)),
            nn.Linear(64, 4),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.gelu(self.second(F.gelu(self.first(x)))))


class ZeroGated(nn.Module):
    """A frozen decoder layer of the LLaMA-Adapter: a learnt prompt is attended to behind a gate that starts at zero."""

    def __init__(self, width: int = 32, prompt: int = 4) -> None:
        super().__init__()
        self.norm, self.between = nn.RMSNorm(width), nn.RMSNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.feed = mlp([width, 2 * width, width], nn.SiLU)
        self.requires_grad_(False)
        self.prompt, self.gate = nn.Parameter(torch.randn(prompt, width)), nn.Parameter(torch.zeros(2, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (2, -1)).transpose(1, 2) for part in self.qkv(self.norm(x)).chunk(3, -1))
        _, a, b = self.qkv(self.prompt).chunk(3, -1)
        a, b = (part.unflatten(-1, (2, -1)).transpose(0, 1) for part in (a, b))
        read = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        read = read + self.gate.tanh() * ((q @ a.transpose(-1, -2) / 4).softmax(-1) @ b)
        x = x + self.out(read.transpose(1, 2).flatten(2))
        out: Tensor = x + self.feed(self.between(x))
        return out


class AdapterWriter(nn.Module):
    """Frozen embedding and layers of an untrained LLaMA with adapters, and a head that is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.blocks = nn.Embedding(64, 32), nn.Sequential(ZeroGated(), ZeroGated())
        self.norm, self.head = nn.RMSNorm(32), nn.Linear(32, 64, bias=False)
        self.embed.requires_grad_(False)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.norm(self.blocks(self.embed(tokens))))


class VisualPrompts(nn.Module):
    """Visual prompt tuning, deep: every layer of a frozen ViT gets learnt tokens of its own; a linear head."""

    def __init__(self, width: int = 32, prompts: int = 3) -> None:
        super().__init__()
        self.patch, self.places = nn.Conv2d(3, width, 4, 4), nn.Parameter(0.02 * torch.randn(17, width))
        self.start = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 2, 64, 0.0, "gelu", batch_first=True, norm_first=True) for _ in range(3)
        )
        self.norm = nn.LayerNorm(width)
        self.requires_grad_(False)
        bound = (6 / (3 * 16 + width)) ** 0.5
        self.prompts = nn.ParameterList(
            nn.Parameter(torch.empty(prompts, width).uniform_(-bound, bound)) for _ in range(3)
        )
        self.head = nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patch(x).flatten(2).transpose(1, 2)
        y = torch.cat([self.start.expand(len(x), -1, -1), patches], 1) + self.places
        for layer, prompt in zip(self.layers, self.prompts, strict=True):
            y = layer(torch.cat([y[:, :1], prompt.expand(len(x), -1, -1), y[:, 1:]], 1))
            y = torch.cat([y[:, :1], y[:, 1 + len(prompt) :]], 1)
        return self.head(self.norm(y[:, 0]))


class ClippedLevels(nn.Module):
    """PACT: ReLU with a learnt ceiling and four bits; DoReFa weights of four bits; straight-through rounding."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 16, 3, 2, 1), nn.Linear(32, 4)
        self.convs = nn.ModuleList(nn.Conv2d(a, 32, 3, s, 1, bias=False) for a, s in ((16, 2), (32, 1)))
        self.norms = nn.ModuleList(nn.BatchNorm2d(n) for n in (16, 32, 32))
        self.ceilings = nn.Parameter(torch.full((3,), 6.0))

    @staticmethod
    def rounded(x: Tensor, levels: int = 15) -> Tensor:
        """Between zero and one on a grid."""
        return x + ((x * levels).round() / levels - x).detach()

    def bend(self, x: Tensor, i: int) -> Tensor:
        """The clipped ReLU, quantised."""
        top = self.ceilings[i]
        clipped = 0.5 * (x.abs() - (x - top).abs() + top)
        return self.rounded(clipped / top) * top

    def forward(self, x: Tensor) -> Tensor:
        x = self.bend(self.norms[0](self.first(x)), 0)
        for i, conv in enumerate(self.convs, 1):
            bent = conv.weight.tanh()  # type: ignore[operator]
            weight = 2 * self.rounded(bent / (2 * bent.abs().max().detach()) + 0.5) - 1
            x = F.conv2d(x, weight, stride=3 - i, padding=1)
            x = self.bend(self.norms[i](x), i)
        return self.last(x.mean((2, 3)))


class TwoOfFour(torch.autograd.Function):
    """SR-STE: two of every four weights stay; the gradient goes to all, and the others are pulled to zero."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        """Zero the two smaller of every four."""
        groups = weight.view(-1, 4)
        mask = torch.zeros_like(groups).scatter(1, groups.abs().topk(2, 1).indices, 1).view_as(weight)
        ctx.save_for_backward(weight, mask)
        return weight * mask

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        """Straight through, with decay of what is masked."""
        weight, mask = ctx.saved_tensors
        return slopes[0] + 2e-4 * (1 - mask) * weight


class SparseLinear(nn.Linear):
    """A linear layer with structured sparsity."""

    def forward(self, input: Tensor) -> Tensor:
        weight: Tensor = TwoOfFour.apply(self.weight)  # type: ignore[no-untyped-call]
        return F.linear(input, weight, self.bias)


def sparse_mlp() -> nn.Module:
    """Three sparse layers."""
    return nn.Sequential(SparseLinear(32, 64), nn.ReLU(), SparseLinear(64, 64), nn.ReLU(), SparseLinear(64, 4))


class MixedOperation(nn.Module):
    """DARTS: all candidate operations, weighed by a softmax that is learnt with the weights."""

    def __init__(self, width: int) -> None:
        super().__init__()
        conv = [
            nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 1, groups=width, bias=False),
            nn.Conv2d(width, width, 1, bias=False),
        ]
        wide = [
            nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 2, 2, groups=width, bias=False),
            nn.Conv2d(width, width, 1, bias=False),
        ]
        mean, top = [nn.AvgPool2d(3, 1, 1, count_include_pad=False)], [nn.MaxPool2d(3, 1, 1)]
        parts: tuple[list[Any], ...] = (conv, wide, mean, top)
        self.parts = nn.ModuleList(nn.Sequential(*part, nn.BatchNorm2d(width, affine=False)) for part in parts)
        self.choice = nn.Parameter(1e-3 * torch.randn(len(self.parts) + 1))

    def forward(self, x: Tensor) -> Tensor:
        share = self.choice.softmax(0)
        return share[-1] * x + sum(w * part(x) for w, part in zip(share, self.parts, strict=False))


class SearchCell(nn.Module):
    """A cell of two nodes, each the sum of mixed operations on all nodes before it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.edges = nn.ModuleList(MixedOperation(width) for _ in range(3))
        self.join = nn.Sequential(
            nn.ReLU(), nn.Conv2d(2 * width, width, 1, bias=False), nn.BatchNorm2d(width, affine=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        first = self.edges[0](x)
        return self.join(torch.cat([first, self.edges[1](x) + self.edges[2](first)], 1))


def darts() -> nn.Module:
    """A stem, two search cells and a head; first order, weights and choices on one loss."""
    stem = [nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16)]
    return nn.Sequential(*stem, SearchCell(16), SearchCell(16), *pooled_head(16))


class CrossStitch(nn.Module):
    """Cross-stitch units mix two tasks' features; homoscedastic uncertainties weigh the losses."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.towers = nn.ModuleList(nn.ModuleList([nn.Linear(32, width), nn.Linear(width, width)]) for _ in range(2))
        self.stitch = nn.Parameter(torch.tensor([[0.9, 0.1], [0.1, 0.9]]).repeat(2, 1, 1))
        self.heads, self.spread = (
            nn.ModuleList([nn.Linear(width, 4), nn.Linear(width, 1)]),
            nn.Parameter(torch.zeros(2)),
        )

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        both = [x, x]
        for level, stitch in enumerate(self.stitch):
            made = [F.relu(tower[level](part)) for tower, part in zip(self.towers, both, strict=True)]  # type: ignore[index]
            both = [stitch[i, 0] * made[0] + stitch[i, 1] * made[1] for i in range(2)]
        first = F.cross_entropy(self.heads[0](both[0]), label)
        second = F.mse_loss(self.heads[1](both[1])[:, 0], x.square().mean(1))
        weight = (-self.spread).exp()
        return weight[0] * first + 0.5 * weight[1] * second + 0.5 * self.spread.sum()


class InvariantRisk(nn.Module):
    """Invariant risk minimisation: two environments, and the gradient of a dummy scale as a penalty."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp([34, 48, 48, 1])
        for module in self.net:
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        target, total = (label % 2).float(), torch.zeros(())
        for share, part in ((0.1, slice(0, None, 2)), (0.2, slice(1, None, 2))):
            y, scale = target[part], torch.ones(()).requires_grad_(True)
            colour = F.one_hot((y + (torch.rand_like(y) < share)).long() % 2, 2)
            risk = F.binary_cross_entropy_with_logits(scale * self.net(torch.cat([x[part], colour], 1))[:, 0], y)
            (slope,) = torch.autograd.grad(risk, scale, create_graph=True)
            total = total + 0.5 * (risk + slope.square())
        return total


class BatchEnsemble(nn.Module):
    """BatchEnsemble: four members share every matrix and own the signs and sizes around it."""

    def __init__(self, members: int = 4) -> None:
        super().__init__()
        self.members, sizes = members, ((32, 64), (64, 64), (64, 4))
        self.layers = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in sizes)
        self.ins, self.outs = (
            nn.ParameterList(nn.Parameter(torch.randint(2, (members, s[i])).float() * 2 - 1) for s in sizes)
            for i in range(2)
        )
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(members, b)) for _, b in sizes)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        x = x[:, None].expand(-1, self.members, -1)
        for i, (layer, inward, out, bias) in enumerate(zip(self.layers, self.ins, self.outs, self.biases, strict=True)):
            x = layer(x * inward) * out + bias
            x = F.relu(x) if i < 2 else x
        return F.cross_entropy(x.flatten(0, 1), label.repeat_interleave(self.members))


class CircleLoss(nn.Module):
    """Metric learning with the circle loss on all pairs of a batch; margin 0.25, scale 64."""

    def __init__(self) -> None:
        super().__init__()
        self.net = small_cnn(16)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        code = F.normalize(self.net(x), dim=1)
        alike, upper = code @ code.T, torch.ones(len(x), len(x)).triu(1) > 0
        same = label[:, None] == label
        near, far = alike[same & upper], alike[~same & upper]
        pull = -64 * F.relu(1.25 - near.detach()) * (near - 0.75)
        push = 64 * F.relu(far.detach() + 0.25) * (far - 0.25)
        return F.softplus(pull.logsumexp(0) + push.logsumexp(0))


class SimMim(nn.Module):
    """SimMIM: masked patches of a picture become a learnt token; a linear layer tells their pixels; L1."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.patch, self.hidden = nn.Conv2d(3, width, 4, 4), nn.Parameter(torch.zeros(width))
        self.places = nn.Parameter(torch.zeros(16, width))
        layer = nn.TransformerEncoderLayer(width, 2, 64, 0.0, "gelu", batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 2, nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, 48)
        nn.init.trunc_normal_(self.hidden, std=0.02)
        nn.init.trunc_normal_(self.places, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        mask = (torch.rand(tokens.shape[:2]).argsort(1) < 10)[..., None]
        made = self.head(self.body(torch.where(mask, self.hidden, tokens) + self.places))
        truth = F.unfold(x, 4, stride=4).transpose(1, 2)
        return ((made - truth).abs() * mask).sum() / (mask.sum() * 48)


class Chunks(nn.Module):
    """ACT: a conditional VAE over chunks of actions, transformers as in DETR, L1 and ten times the divergence."""

    def __init__(self, width: int = 32, chunk: int = 6) -> None:
        super().__init__()
        self.act, self.state, self.start = nn.Linear(2, width), nn.Linear(8, width), nn.Embedding(1, width)
        self.code, self.back, self.queries = nn.Linear(width, 16), nn.Linear(8, width), nn.Embedding(chunk, width)
        self.style = nn.TransformerEncoder(self.layer(width), 1, enable_nested_tensor=False)
        self.encode = nn.TransformerEncoder(self.layer(width), 1, enable_nested_tensor=False)
        decoder = nn.TransformerDecoderLayer(width, 2, 64, 0.1, batch_first=True)
        self.decode, self.head = nn.TransformerDecoder(decoder, 1), nn.Linear(width, 2)
        for weight in (*self.encode.parameters(), *self.decode.parameters()):
            if weight.dim() > 1:
                nn.init.xavier_uniform_(weight)

    @staticmethod
    def layer(width: int) -> nn.TransformerEncoderLayer:
        """One encoder layer."""
        return nn.TransformerEncoderLayer(width, 2, 64, 0.1, batch_first=True)

    def forward(self, state: Tensor, actions: Tensor) -> Tensor:
        seen = self.state(state)[:, None]
        tokens = torch.cat([self.start.weight.expand(len(state), 1, -1), seen, self.act(actions)], 1)
        mean, logvar = self.code(self.style(tokens)[:, 0]).chunk(2, 1)
        code = mean + (0.5 * logvar).exp() * torch.randn_like(mean)
        memory = self.encode(torch.cat([self.back(code)[:, None], seen], 1))
        made = self.head(self.decode(self.queries.weight.expand(len(state), -1, -1), memory))
        away = -0.5 * (1 + logvar - mean.square() - logvar.exp()).sum(1).mean()
        return F.l1_loss(made, actions) + 10 * away


def demonstrations(seed: int, size: int) -> Batch:
    """States of an arm and the six joint moves a person made from there."""
    g = generator(seed)
    state = torch.randn(size, 8, generator=g)
    goal, speed = state @ prototypes(8, 2) / 3, 0.3 + 0.2 * torch.randn(size, 1, 1, generator=g)
    return state, goal[:, None] * (1 - (-speed * (1 + torch.arange(6))[:, None]).exp())


class Dynamics(nn.Module):
    """PETS: probabilistic networks with bounded variances, Swish, truncated weights; three of them at once."""

    def __init__(self, members: int = 3, width: int = 48) -> None:
        super().__init__()
        sizes = ((10, width), (width, width), (width, 16))
        tables = (torch.empty(members, a, b) for a, b in sizes)
        self.tables = nn.ParameterList(
            nn.Parameter(nn.init.trunc_normal_(t, std=0.5 / t.shape[1] ** 0.5)) for t in tables
        )
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(members, 1, b)) for _, b in sizes)
        self.top, self.bottom = nn.Parameter(torch.full((8,), 0.5)), nn.Parameter(torch.full((8,), -10.0))

    def forward(self, x: Tensor, later: Tensor) -> Tensor:
        y = x.expand(len(self.tables[0]), -1, -1)
        for i, (table, bias) in enumerate(zip(self.tables, self.biases, strict=True)):
            y = y @ table + bias
            y = F.silu(y) if i < 2 else y
        mean, raw = y.chunk(2, -1)
        logvar = self.top - F.softplus(self.top - raw)
        logvar = self.bottom + F.softplus(logvar - self.bottom)
        gap = ((mean - later).square() * (-logvar).exp() + logvar).mean((1, 2)).sum()
        decay = sum(w * t.square().sum() for w, t in zip((2.5e-5, 5e-5, 7.5e-5), self.tables, strict=True))
        return gap + decay + 0.01 * (self.top.sum() - self.bottom.sum())


def transitions(seed: int, size: int) -> Batch:
    """Normalised states and actions, and how the state changes, less in some places."""
    g = generator(seed)
    x = torch.randn(4 * size, 10, generator=g)
    clean = (x @ prototypes(10, 8) / 3).tanh()
    return x, clean + 0.2 * clean.abs() * torch.randn(4 * size, 8, generator=g)


class SuccessorFeatures(nn.Module):
    """Universal successor features: Q is their product with a task vector; a target copy bootstraps the features."""

    def __init__(self, tasks: int = 4, actions: int = 3) -> None:
        super().__init__()
        self.tasks, self.actions = tasks, actions
        self.net = mlp([8 + tasks, 64, 64, tasks * actions])
        self.target = mlp([8 + tasks, 64, 64, tasks * actions]).requires_grad_(False)
        self.target.load_state_dict(self.net.state_dict())

    def features(self, net: nn.Module, state: Tensor, task: Tensor) -> Tensor:
        """What every action will see."""
        return net(torch.cat([state, task], 1)).view(-1, self.actions, self.tasks)

    def forward(self, state: Tensor, action: Tensor, seen: Tensor, later: Tensor, task: Tensor) -> Tensor:
        now = self.features(self.net, state, task)[torch.arange(len(state)), action]
        with torch.no_grad():
            best = (self.features(self.net, later, task) * task[:, None]).sum(2).argmax(1)
            after = self.features(self.target, later, task)[torch.arange(len(state)), best]
        return F.mse_loss(now, seen + 0.9 * after)


def wanderings(seed: int, size: int) -> Batch:
    """States, actions, four features of what happened, states after, and what is wanted."""
    g = generator(seed)
    state, action = torch.randn(4 * size, 8, generator=g), torch.randint(3, (4 * size,), generator=g)
    later = 0.9 * state + 0.3 * prototypes(3, 8)[action]
    seen = (later @ prototypes(8, 4) / 3).sigmoid()
    return state, action, seen, later, F.normalize(torch.randn(4 * size, 4, generator=g), dim=1)


class HistogramValue(nn.Module):
    """HL-Gauss: values are learnt by cross entropy against a Gaussian spread over the bins; residual layer norms."""

    places: Tensor

    def __init__(self, bins: int = 21, width: int = 48) -> None:
        super().__init__()
        self.register_buffer("places", torch.linspace(-10, 10, bins + 1))
        self.enter, self.norms = nn.Linear(10, width), nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.blocks, self.head = nn.ModuleList(mlp([width, 4 * width, width]) for _ in range(2)), nn.Linear(width, bins)
        nn.init.orthogonal_(self.enter.weight)
        for block in self.blocks:
            for layer in block.modules():
                if isinstance(layer, nn.Linear):
                    nn.init.kaiming_normal_(layer.weight)
                    nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, later: Tensor) -> Tensor:
        y = self.enter(x)
        for norm, block in zip(self.norms, self.blocks, strict=False):
            y = y + block(norm(y))
        value = 4 * later.sum(1, keepdim=True).clamp(-2.4, 2.4)
        below = torch.erf((self.places - value) / (0.75 * math.sqrt(2)))
        truth = below.diff(dim=1) / (below[:, -1:] - below[:, :1])
        return F.cross_entropy(self.head(self.norms[2](y)), truth)


class RouteBuilder(nn.Module):
    """Attention learns to route: a transformer with batch norms, a tour by sampling, REINFORCE on its length."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.enter, self.attend = (
            nn.Linear(2, width),
            nn.ModuleList(nn.MultiheadAttention(width, 2, bias=False, batch_first=True) for _ in range(2)),
        )
        self.feed = nn.ModuleList(mlp([width, 64, width]) for _ in range(2))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(4))
        self.whole, self.step = nn.Linear(width, width, bias=False), nn.Linear(2 * width, width, bias=False)
        self.key, self.first = nn.Linear(width, width, bias=False), nn.Parameter(torch.empty(2 * width).uniform_(-1, 1))
        for weight in self.parameters():
            bound = weight.shape[-1] ** -0.5
            nn.init.uniform_(weight, -bound, bound)

    def forward(self, cities: Tensor, order: Tensor, gain: Tensor) -> Tensor:
        x = self.enter(cities)
        for i, (attend, feed) in enumerate(zip(self.attend, self.feed, strict=True)):
            x = x + attend(x, x, x, need_weights=False)[0]
            x = self.norms[2 * i](x.flatten(0, 1)).view_as(x)
            x = x + feed(x)
            x = self.norms[2 * i + 1](x.flatten(0, 1)).view_as(x)
        keys, whole, batch = self.key(x), self.whole(x.mean(1)), torch.arange(len(x))
        context, gone, total = self.first.expand(len(x), -1), torch.zeros(x.shape[:2], dtype=torch.bool), torch.zeros(1)
        for chosen in order.unbind(1):
            query = whole + self.step(context)
            logits = 10 * ((keys @ query[..., None])[..., 0] / x.shape[-1] ** 0.5).tanh()
            total = total + logits.masked_fill(gone, -torch.inf).log_softmax(1)[batch, chosen]
            gone = gone.scatter(1, chosen[:, None], True)
            context = torch.cat([x[batch, order[:, 0]], x[batch, chosen]], 1)
        return -(gain * total).mean()


def tours(seed: int, size: int) -> Batch:
    """Cities in the unit square, tours that were driven through them, and how much shorter than usual they were."""
    g = generator(seed)
    cities = torch.rand(size, 7, 2, generator=g)
    order = torch.rand(size, 7, generator=g).argsort(1)
    driven = cities.gather(1, order[..., None].expand(-1, -1, 2))
    length = (driven - driven.roll(1, 1)).norm(dim=2).sum(1)
    return cities, order, 3.6 - length


def cases() -> list[Case]:
    """All cases of this module."""
    small, rows, lines = pictures(side=16), patterns(32), progressions(64, 14)
    models: dict[str, tuple[Build, Maker, Step]] = {
        "trades": (Trades, small, own_loss),
        "relational_distillation": (Relational, only(rows), own_loss),
        "orthogonal_tuning": (OftClassifier, rows, classify),
        "llama_adapter": (AdapterWriter, lines, next_token),
        "visual_prompts": (VisualPrompts, small, classify),
        "pact_quantisation": (ClippedLevels, small, classify),
        "two_of_four_sparsity": (sparse_mlp, rows, classify),
        "darts": (darts, small, classify),
        "cross_stitch": (CrossStitch, rows, own_loss),
        "invariant_risk": (InvariantRisk, rows, own_loss),
        "batch_ensemble": (BatchEnsemble, rows, own_loss),
        "circle_loss": (CircleLoss, small, own_loss),
        "simmim": (SimMim, only(small), own_loss),
        "action_chunking": (Chunks, demonstrations, own_loss),
        "pets_dynamics": (Dynamics, transitions, own_loss),
        "successor_features": (SuccessorFeatures, wanderings, own_loss),
        "histogram_value": (HistogramValue, transitions, own_loss),
        "attention_routing": (RouteBuilder, tours, own_loss),
    }
    return later_cases(4, "learning", models)
