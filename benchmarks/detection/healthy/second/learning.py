"""Reinforcement learning, learning without labels and adaptation, as they stand nowhere else."""

from __future__ import annotations

import copy
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
    generator,
    later_cases,
    mlp,
    own_loss,
    patterns,
    pictures,
    progressions,
    token_classes,
)

STATE, ACTIONS = 6, 3


def moves(seed: int, size: int) -> Batch:
    """States, actions, rewards, next states and whether it ended there."""
    g = generator(seed)
    state, action = torch.randn(size, STATE, generator=g), torch.randint(ACTIONS, (size,), generator=g)
    reward = (state[:, :ACTIONS].gather(1, action[:, None])[:, 0]).tanh()
    after = 0.9 * state + 0.3 * torch.randn(size, STATE, generator=g)
    return state, action, reward, after, (torch.rand(size, generator=g) < 0.1).float()


def pushes(seed: int, size: int) -> Batch:
    """The same with continuous actions."""
    state, _, _, after, ended = moves(seed, size)
    action = torch.rand(size, 2, generator=generator(seed + 1)) * 2 - 1
    return state, action, -(action - state[:, :2].tanh()).square().sum(1), after, ended


def orthogonal(model: nn.Module, gain: float = math.sqrt(2)) -> nn.Module:
    """The initialisation of the usual policy gradient libraries."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.orthogonal_(module.weight, gain)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model


class Noisy(nn.Module):
    """NoisyNet: factorised noise on the weights, sigma 0.5 over the root of the inputs."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))
        self.weight_sigma = nn.Parameter(torch.full((outputs, inputs), 0.5 * bound))
        self.bias_sigma = nn.Parameter(torch.full((outputs,), 0.5 * bound))

    def forward(self, x: Tensor) -> Tensor:
        left, right = (torch.randn(n) for n in self.weight.shape)
        left, right = left.sign() * left.abs().sqrt(), right.sign() * right.abs().sqrt()
        return F.linear(x, self.weight + self.weight_sigma * left[:, None] * right, self.bias + self.bias_sigma * left)


class Rainbow(nn.Module):
    """Noisy, dueling and distributional; the target net stays as it is."""

    def __init__(self, atoms: int = 11) -> None:
        super().__init__()
        self.body, self.atoms = mlp([STATE, 32, 32]), atoms
        self.value = nn.Sequential(Noisy(32, 32), nn.ReLU(), Noisy(32, atoms))
        self.advantage = nn.Sequential(Noisy(32, 32), nn.ReLU(), Noisy(32, ACTIONS * atoms))
        self.register_buffer("support", torch.linspace(-5, 5, atoms))

    def forward(self, state: Tensor) -> Tensor:
        hidden = F.relu(self.body(state))
        advantage = self.advantage(hidden).unflatten(1, (ACTIONS, self.atoms))
        return (self.value(hidden)[:, None] + advantage - advantage.mean(1, keepdim=True)).log_softmax(2)


def projected(model: Rainbow, batch: Batch) -> Tensor:
    """Cross entropy against the projected distribution of the bootstrap."""
    state, action, reward, after, ended = batch
    rows = torch.arange(len(state))
    support, chosen = model.support, model(state)[rows, action]
    with torch.no_grad():
        share = model(after).exp()
        best = share[rows, (share * support).sum(2).argmax(1)]
        moved = (reward[:, None] + 0.9 * (1 - ended[:, None]) * support).clamp(-5, 5)
        weight = (1 - (moved[:, :, None] - support).abs()).clamp(min=0)
        target = (best[:, :, None] * weight).sum(1)
    return -(target * chosen).sum(1).mean()


class Implicit(nn.Module):
    """IQN: quantile levels as cosines, multiplied into the state's features."""

    def __init__(self, cosines: int = 16) -> None:
        super().__init__()
        self.body, self.head = mlp([STATE, 32, 32]), mlp([32, 32, ACTIONS])
        self.level, self.cosines = nn.Linear(cosines, 32), cosines

    def forward(self, state: Tensor, levels: Tensor) -> Tensor:
        waves = (math.pi * levels[..., None] * torch.arange(self.cosines)).cos()
        return self.head(F.relu(self.body(state))[:, None] * F.relu(self.level(waves)))


def implicit(model: nn.Module, batch: Batch) -> Tensor:
    """Quantile Huber loss between sampled levels."""
    state, action, reward, after, ended = batch
    levels, rows = torch.rand(len(state), 8), torch.arange(len(state))
    found = model(state, levels)[rows, :, action]
    with torch.no_grad():
        ahead = model(after, torch.rand(len(state), 8))
        ahead = ahead[rows, :, ahead.mean(1).argmax(1)]
        target = reward[:, None] + 0.9 * (1 - ended[:, None]) * ahead
    error = target[:, None] - found[:, :, None]
    huber = torch.where(error.abs() <= 1, 0.5 * error.square(), error.abs() - 0.5)
    return ((levels[:, :, None] - (error < 0).float()).abs() * huber).sum(1).mean()


class Twins(nn.Module):
    """TD3: two critics and their slow copies, an actor's slow copy for the smoothed target."""

    def __init__(self) -> None:
        super().__init__()
        self.critics = nn.ModuleList(mlp([STATE + 2, 48, 48, 1]) for _ in range(2))
        self.slow = copy.deepcopy(self.critics).requires_grad_(False)
        self.actor = mlp([STATE, 48, 2]).requires_grad_(False)

    def forward(self, state: Tensor, action: Tensor, reward: Tensor, after: Tensor, ended: Tensor) -> Tensor:
        with torch.no_grad():
            noise = (0.2 * torch.randn_like(action)).clamp(-0.5, 0.5)
            next_pair = torch.cat([after, (self.actor(after).tanh() + noise).clamp(-1, 1)], 1)
            ahead = torch.minimum(*(critic(next_pair) for critic in self.slow))[:, 0]
            target = reward + 0.9 * (1 - ended) * ahead
        pair = torch.cat([state, action], 1)
        return sum((F.mse_loss(critic(pair)[:, 0], target) for critic in self.critics), torch.zeros(()))


class Expectile(nn.Module):
    """IQL: an expectile value, a critic on it, and a policy weighed by the advantage."""

    def __init__(self) -> None:
        super().__init__()
        self.critic, self.value = mlp([STATE + 2, 48, 48, 1]), mlp([STATE, 48, 48, 1])
        self.policy, self.log_std = mlp([STATE, 48, 48, 2]), nn.Parameter(torch.zeros(2))
        self.slow = copy.deepcopy(self.critic).requires_grad_(False)

    def forward(self, state: Tensor, action: Tensor, reward: Tensor, after: Tensor, ended: Tensor) -> Tensor:
        pair = torch.cat([state, action], 1)
        gap = self.slow(pair)[:, 0] - self.value(state)[:, 0]
        value = ((0.7 - (gap < 0).float()).abs() * gap.square()).mean()
        target = (reward + 0.9 * (1 - ended) * self.value(after)[:, 0]).detach()
        critic = F.mse_loss(self.critic(pair)[:, 0], target)
        likely = torch.distributions.Normal(self.policy(state).tanh(), self.log_std.exp()).log_prob(action).sum(1)  # type: ignore[no-untyped-call]
        return value + critic - ((3 * gap.detach()).exp().clamp(max=100) * likely).mean()


class Impala(nn.Module):
    """IMPALA's residual net over pictures, with a policy and a value."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(i, width, 3, padding=1) for i in (3, width))
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.ReLU(), nn.Conv2d(width, width, 3, 1, 1), nn.ReLU(), nn.Conv2d(width, width, 3, 1, 1))
            for _ in range(4)
        )
        self.fc = nn.Linear(width * 16, 48)
        self.policy, self.value = nn.Linear(48, 4), nn.Linear(48, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        for i, conv in enumerate(self.convs):
            x = F.max_pool2d(conv(x), 3, 2, 1)
            for block in self.blocks[2 * i : 2 * i + 2]:
                x = x + block(x)
        hidden = F.relu(self.fc(F.relu(x).flatten(1)))
        return self.policy(hidden), self.value(hidden)[:, 0]


def actor_critic(model: nn.Module, batch: Batch) -> Tensor:
    """Advantage actor critic on one step: the right action is rewarded; entropy bonus."""
    image, right = batch
    logits, value = model(image)
    share = logits.log_softmax(1)
    action = share.exp().multinomial(1)
    reward = (action[:, 0] == right).float()
    advantage = (reward - value).detach()
    entropy = -(share.exp() * share).sum(1).mean()
    policy = -(advantage * share.gather(1, action)[:, 0]).mean()
    return policy + 0.5 * F.mse_loss(value, reward) - 0.01 * entropy


class Curiosity(nn.Module):
    """ICM: features from which the action can be told, and a model of how actions change them."""

    def __init__(self) -> None:
        super().__init__()
        self.features = mlp([STATE, 32, 16], nn.ELU)
        self.inverse, self.ahead = mlp([32, 32, ACTIONS]), mlp([16 + ACTIONS, 32, 16])

    def forward(self, state: Tensor, action: Tensor) -> Tensor:
        after = state + F.pad(F.one_hot(action, ACTIONS).float(), (0, STATE - ACTIONS))
        before, then = self.features(state), self.features(after)
        told = F.cross_entropy(self.inverse(torch.cat([before, then], 1)), action)
        guess = self.ahead(torch.cat([before, F.one_hot(action, ACTIONS).float()], 1))
        return 0.8 * told + 0.2 * F.mse_loss(guess, then)


class Distillation(nn.Module):
    """RND: a predictor of a random net, orthogonal both."""

    def __init__(self) -> None:
        super().__init__()
        self.target = orthogonal(mlp([STATE, 32, 16])).requires_grad_(False)
        self.predict = orthogonal(mlp([STATE, 32, 32, 16]))

    def forward(self, state: Tensor) -> Tensor:
        return F.mse_loss(self.predict(state), self.target(state))


class Monotonic(nn.Module):
    """QMIX: agents' values, mixed by a net whose non-negative weights come from hypernetworks."""

    def __init__(self, agents: int = 3, width: int = 8) -> None:
        super().__init__()
        self.agents, self.width = agents, width
        self.agent = mlp([STATE, 32, ACTIONS])
        self.first, self.bias = nn.Linear(agents * STATE, agents * width), nn.Linear(agents * STATE, width)
        self.second, self.value = nn.Linear(agents * STATE, width), mlp([agents * STATE, width, 1])

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        values = self.agent(states).gather(2, actions[..., None])[..., 0]
        whole = states.flatten(1)
        weight = self.first(whole).abs().view(-1, self.agents, self.width)
        hidden = F.elu((values[:, None] @ weight)[:, 0] + self.bias(whole))
        return (hidden * self.second(whole).abs()).sum(1) + self.value(whole)[:, 0]


def teams(seed: int, size: int) -> Batch:
    """What three agents see and do, and what they get together."""
    g = generator(seed)
    states, actions = torch.randn(size, 3, STATE, generator=g), torch.randint(ACTIONS, (size, 3), generator=g)
    return states, actions, states[..., :ACTIONS].gather(2, actions[..., None]).sum((1, 2)).tanh()


def teamwork(model: nn.Module, batch: Batch) -> Tensor:
    """Squared error of the joint value."""
    return F.mse_loss(model(*batch[:2]), batch[2])


# --- without labels ----------------------------------------------------------------------------------------------


def views(model: nn.Module, batch: Batch) -> Tensor:
    """Two noisy views of every example."""
    x = batch[0]
    loss: Tensor = model(x + 0.5 * torch.randn_like(x), x + 0.5 * torch.randn_like(x))
    return loss


def projector(width: int = 32, outputs: int = 32) -> nn.Module:
    """An encoder with a projector, both with batch normalisation."""
    hidden = [nn.Linear(16, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width)]
    return nn.Sequential(*hidden, nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, outputs, bias=False))


class VicReg(nn.Module):
    """Invariance, variance and covariance."""

    def __init__(self) -> None:
        super().__init__()
        self.net = projector()

    @staticmethod
    def spread(z: Tensor) -> Tensor:
        z = z - z.mean(0)
        covariance = z.T @ z / (len(z) - 1)
        apart = covariance.square().sum() - covariance.diagonal().square().sum()
        return 25 * F.relu(1 - (z.var(0) + 1e-4).sqrt()).mean() / 2 + apart / z.shape[1]

    def forward(self, one: Tensor, two: Tensor) -> Tensor:
        a, b = self.net(one), self.net(two)
        return 25 * F.mse_loss(a, b) + self.spread(a) + self.spread(b)


class Dino(nn.Module):
    """DINO: a student that follows a centred and sharpened teacher; normalised last layer."""

    def __init__(self, prototypes: int = 32) -> None:
        super().__init__()
        body = nn.Sequential(mlp([16, 48, 48, 16], nn.GELU))
        self.student, self.last = body, nn.utils.parametrizations.weight_norm(nn.Linear(16, prototypes, bias=False))
        self.last.parametrizations.weight.original0.requires_grad_(False).fill_(1)
        self.teacher = copy.deepcopy(body).requires_grad_(False)
        self.frozen = copy.deepcopy(self.last).requires_grad_(False)

    def forward(self, one: Tensor, two: Tensor) -> Tensor:
        with torch.no_grad():
            target = [self.frozen(F.normalize(self.teacher(x))) for x in (two, one)]
            centre = torch.cat(target).mean(0)
        loss = torch.zeros(())
        for view, wanted in zip((one, two), target, strict=True):
            share = (self.last(F.normalize(self.student(view))) / 0.1).log_softmax(1)
            loss = loss - (((wanted - centre) / 0.04).softmax(1) * share).sum(1).mean() / 2
        return loss


class Swapped(nn.Module):
    """SwAV: each view's codes, by three Sinkhorn steps, are foretold from the other view."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.prototypes = projector(), nn.Linear(32, 12, bias=False)

    @staticmethod
    @torch.no_grad()
    def codes(scores: Tensor) -> Tensor:
        share = (scores / 0.05).exp()
        for _ in range(3):
            share = share / share.sum(0) / share.shape[1]
            share = share / share.sum(1, keepdim=True) / len(share)
        return share * len(share)

    def forward(self, one: Tensor, two: Tensor) -> Tensor:
        a, b = (self.prototypes(F.normalize(self.net(x))) for x in (one, two))
        first = -(self.codes(b) * (a / 0.1).log_softmax(1)).sum(1).mean()
        return (first - (self.codes(a) * (b / 0.1).log_softmax(1)).sum(1).mean()) / 2


class Predictive(nn.Module):
    """CPC: a GRU's context foretells later codes; other lines' codes are the wrong answers."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.encode, self.rnn = nn.Embedding(64, width), nn.GRU(width, width, batch_first=True)
        self.ahead = nn.ModuleList(nn.Linear(width, width) for _ in range(3))

    def forward(self, tokens: Tensor) -> Tensor:
        codes = self.encode(tokens)
        context, loss = self.rnn(codes[:, :8])[0][:, -1], torch.zeros(())
        for i, ahead in enumerate(self.ahead):
            loss = loss + F.cross_entropy(ahead(context) @ codes[:, 8 + i].T, torch.arange(len(tokens)))
        return loss / 3


class MeanTeacher(nn.Module):
    """Half of the batch has labels; on all of it the student must agree with its slow teacher."""

    def __init__(self) -> None:
        super().__init__()
        self.student = mlp([16, 48, 48, 4])
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        half = len(x) // 2
        logits = self.student(x + 0.1 * torch.randn_like(x))
        with torch.no_grad():
            wanted = self.teacher(x + 0.1 * torch.randn_like(x)).softmax(1)
        return F.cross_entropy(logits[:half], y[:half]) + F.mse_loss(logits.softmax(1), wanted)


class Relation(nn.Module):
    """A relation network: a learnt comparison of queries with class means."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU())
        self.relate = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1), nn.Sigmoid())

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        half = len(x) // 2
        codes, kinds = self.embed(x), F.one_hot(y, 4).float()
        means = kinds[:half].T @ codes[:half] / kinds[:half].sum(0)[:, None].clamp(min=1)
        pairs = torch.cat(torch.broadcast_tensors(codes[half:, None], means[None]), -1)  # type: ignore[no-untyped-call]
        return F.mse_loss(self.relate(pairs)[..., 0], kinds[half:])


# --- adaptation --------------------------------------------------------------------------------------------------


class Scaled(nn.Module):
    """IA3: a frozen layer's output times a vector of ones."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer, self.scale = layer.requires_grad_(False), nn.Parameter(torch.ones(layer.out_features))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * self.scale


class Decomposed(nn.Module):
    """DoRA: magnitude and direction of a frozen weight, the direction moved by a low rank."""

    def __init__(self, layer: nn.Linear, rank: int = 4) -> None:
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.magnitude = nn.Parameter(layer.weight.norm(dim=1))
        self.down, self.up = (
            nn.Parameter(torch.empty(rank, layer.in_features)),
            nn.Parameter(torch.zeros(layer.out_features, rank)),
        )
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        moved = self.layer.weight + self.up @ self.down
        return F.linear(x, self.magnitude[:, None] * moved / moved.norm(dim=1, keepdim=True).detach(), self.layer.bias)


class Shared(nn.Module):
    """VeRA: frozen random matrices, and two vectors, one of them zero."""

    def __init__(self, layer: nn.Linear, rank: int = 16) -> None:
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.register_buffer("down", nn.init.kaiming_uniform_(torch.empty(rank, layer.in_features)))
        self.register_buffer("up", nn.init.kaiming_uniform_(torch.empty(layer.out_features, rank)))
        self.inner, self.outer = nn.Parameter(torch.full((rank,), 0.1)), nn.Parameter(torch.zeros(layer.out_features))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + F.linear(F.linear(x, self.down) * self.inner, self.up) * self.outer  # type: ignore[arg-type]


def adapted(kind: type[Scaled] | type[Decomposed] | type[Shared]) -> Build:
    """A frozen perceptron, adapted in every hidden layer, with a new head."""

    def build() -> nn.Module:
        body = [kind(nn.Linear(16, 48)), nn.ReLU(), kind(nn.Linear(48, 48)), nn.ReLU()]
        return nn.Sequential(*body, nn.Linear(48, 4))

    return build


class Prefix(nn.Module):
    """Prefix tuning: keys and values in front of every layer of a frozen decoder, made by a perceptron."""

    def __init__(self, width: int = 32, length: int = 4, layers: int = 2) -> None:
        super().__init__()
        self.embed = nn.Embedding(64, width).requires_grad_(False)
        self.layers = nn.ModuleList(nn.MultiheadAttention(width, 2, batch_first=True) for _ in range(layers))
        self.feed = nn.ModuleList(mlp([width, 64, width], nn.GELU) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * layers))
        for part in (self.layers, self.feed, self.norms):
            part.requires_grad_(False)
        self.table, self.make = nn.Embedding(length, width), mlp([width, 48, layers * width], nn.Tanh)
        self.head = nn.Linear(width, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        x, prefixes = self.embed(tokens), self.make(self.table.weight).chunk(len(self.layers), 1)
        for i, prefix in enumerate(prefixes):
            normed = self.norms[2 * i](x)
            seen = torch.cat([prefix.expand(len(x), -1, -1), normed], 1)
            x = x + self.layers[i](normed, seen, seen)[0]
            x = x + self.feed[i](self.norms[2 * i + 1](x))
        return self.head(x.mean(1))


class Stepped(nn.Linear):
    """LSQ: weights on a grid of four bits whose step is learnt, with its own gradient scale."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.step = nn.Parameter(2 * self.weight.detach().abs().mean() / 7**0.5)

    def forward(self, x: Tensor) -> Tensor:
        scale = (self.weight.numel() * 7) ** -0.5
        step = (self.step - self.step * scale).detach() + self.step * scale
        level = (self.weight / step).clamp(-8, 7)
        return F.linear(x, (level + (level.round() - level).detach()) * step, self.bias)


class HardConcrete(nn.Linear):
    """L0 regularisation: stochastic gates, stretched and clamped, that start mostly open."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.log_alpha = nn.Parameter(math.log(0.5 / 0.5) + 0.01 * torch.randn(inputs))

    def forward(self, x: Tensor) -> Tensor:
        noise = torch.empty_like(self.log_alpha).uniform_(1e-6, 1 - 1e-6)
        soft = ((noise.log() - (-noise).log1p() + self.log_alpha) / (2 / 3)).sigmoid()
        return super().forward(x * (1.2 * soft - 0.1).clamp(0, 1))


class Ternary(nn.Linear):
    """Ternary weights: three values by a threshold of 0.7 of the mean, gradients straight through."""

    def forward(self, x: Tensor) -> Tensor:
        limit = 0.7 * self.weight.abs().mean(1, keepdim=True)
        kept = (self.weight.abs() > limit).float()
        scale = (self.weight.abs() * kept).sum(1, keepdim=True) / kept.sum(1, keepdim=True).clamp(min=1)
        hard = (scale * self.weight.sign() * kept).detach()
        return F.linear(x, hard + self.weight - self.weight.detach(), self.bias)


def layered(kind: type[nn.Linear]) -> Build:
    """Two such layers and a usual head."""
    return lambda: nn.Sequential(kind(16, 48), nn.ReLU(), kind(48, 48), nn.ReLU(), nn.Linear(48, 4))


def states(seed: int, size: int) -> Batch:
    return moves(seed, size)[0]


def acted(seed: int, size: int) -> Batch:
    return moves(seed, size)[:2]


def cases() -> list[Case]:
    """All cases of this module."""
    vectors: Maker = patterns(16)
    models: dict[str, tuple[Build, Maker, Step]] = {
        "rainbow": (Rainbow, moves, projected), "iqn": (Implicit, moves, implicit),  # type: ignore[dict-item]
        "td3_critics": (Twins, pushes, own_loss), "iql": (Expectile, pushes, own_loss),
        "impala": (Impala, pictures(side=16), actor_critic), "icm": (Curiosity, acted, own_loss),
        "rnd": (Distillation, states, own_loss), "qmix": (Monotonic, teams, teamwork),
        "vicreg": (VicReg, vectors, views), "dino": (Dino, vectors, views), "swav": (Swapped, vectors, views),
        "cpc": (Predictive, progressions(64, 11), own_loss), "mean_teacher": (MeanTeacher, vectors, own_loss),
        "relation_network": (Relation, vectors, own_loss), "ia3": (adapted(Scaled), vectors, classify),
        "dora": (adapted(Decomposed), vectors, classify), "vera": (adapted(Shared), vectors, classify),
        "prefix_tuning": (Prefix, token_classes(64, 12), classify), "lsq": (layered(Stepped), vectors, classify),
        "l0_gates": (layered(HardConcrete), vectors, classify), "ternary": (layered(Ternary), vectors, classify),
    }  # fmt: skip
    return later_cases(2, "learning", models, 16)
