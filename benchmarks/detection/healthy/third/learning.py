"""Agents, learning to learn, learning without labels, and layers that are trained in ways of their own."""

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
    fit,
    generator,
    later_cases,
    mlp,
    own_loss,
    patterns,
    pictures,
    prototypes,
    regression,
)


def orthogonal(layer: nn.Linear, gain: float = 2**0.5) -> nn.Linear:
    """CleanRL's initialisation."""
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer


class ContinuousPpo(nn.Module):
    """CleanRL's PPO for continuous actions: tanh, orthogonal weights, a mean that starts near zero."""

    def __init__(self) -> None:
        super().__init__()
        self.critic = nn.Sequential(*self.trunk(), orthogonal(nn.Linear(64, 1), 1.0))
        self.actor = nn.Sequential(*self.trunk(), orthogonal(nn.Linear(64, 2), 0.01))
        self.log_std = nn.Parameter(torch.zeros(1, 2))

    @staticmethod
    def trunk() -> list[nn.Module]:
        """Two layers."""
        return [orthogonal(nn.Linear(6, 64)), nn.Tanh(), orthogonal(nn.Linear(64, 64)), nn.Tanh()]

    def forward(self, state: Tensor, action: Tensor, gain: Tensor) -> Tensor:
        mean = self.actor(state)
        chosen = torch.distributions.Normal(mean, self.log_std.exp().expand_as(mean))
        likelihood = chosen.log_prob(action).sum(1)  # type: ignore[no-untyped-call]
        before = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean)).log_prob(action).sum(1)  # type: ignore[no-untyped-call]
        ratio, advantage = (likelihood - before).exp(), (gain - gain.mean()) / (gain.std() + 1e-8)
        policy = torch.maximum(-advantage * ratio, -advantage * ratio.clamp(0.8, 1.2)).mean()
        value = 0.5 * (self.critic(state)[:, 0] - gain).square().mean()
        return policy + 0.5 * value - 0.01 * chosen.entropy().sum(1).mean()  # type: ignore[no-untyped-call]


def pushes(seed: int, size: int) -> Batch:
    """States, continuous actions and what they brought."""
    g = generator(seed)
    state, action = torch.randn(size, 6, generator=g), torch.randn(size, 2, generator=g)
    wish = torch.tanh(state @ prototypes(6, 2))
    return state, action, -(action - wish).square().sum(1)


class Conservative(nn.Module):
    """CQL over discrete actions: the usual error, and the values of what nobody did pushed down; frozen target."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp([6, 64, 64, 4])
        self.target = copy.deepcopy(self.net).requires_grad_(False)

    def forward(self, state: Tensor, action: Tensor, reward: Tensor, after: Tensor) -> Tensor:
        values = self.net(state)
        taken = values.gather(1, action[:, None])[:, 0]
        goal = reward + 0.9 * self.target(after).amax(1)
        return 0.5 * F.mse_loss(taken, goal) + (values.logsumexp(1) - taken).mean()


def moves(seed: int, size: int) -> Batch:
    """States, one of four actions, reward and the next state."""
    g = generator(seed)
    state, action = torch.randn(size, 6, generator=g), torch.randint(4, (size,), generator=g)
    after = state + 0.3 * prototypes(4, 6)[action]
    return state, action, after.square().mean(1) - state.square().mean(1), after


class RecurrentState(nn.Module):
    """Dreamer's world model: a GRU, categorical codes straight through, balanced KL, image and reward heads."""

    def __init__(self, width: int = 32, groups: int = 4, classes: int = 8) -> None:
        super().__init__()
        self.shape, code = (groups, classes), groups * classes
        self.cell, self.inward = nn.GRUCell(width, width), nn.Sequential(nn.Linear(code + 4, width), nn.ELU())
        self.prior, self.posterior = mlp([width, width, code], nn.ELU), mlp([width + 6, width, code], nn.ELU)
        self.image, self.reward = mlp([width + code, width, 6], nn.ELU), mlp([width + code, width, 1], nn.ELU)

    @staticmethod
    def divergence(one: Tensor, two: Tensor) -> Tensor:
        """Between groups of categories."""
        return (one.softmax(-1) * (one.log_softmax(-1) - two.log_softmax(-1))).sum((1, 2)).mean()

    def forward(self, seen: Tensor, action: Tensor, reward: Tensor) -> Tensor:
        state = seen.new_zeros(len(seen), self.cell.hidden_size)
        code, cost = seen.new_zeros(len(seen), math.prod(self.shape)), torch.zeros(())
        for t in range(seen.shape[1]):
            state = self.cell(self.inward(torch.cat([code, F.one_hot(action[:, t], 4)], 1)), state)
            prior = self.prior(state).unflatten(1, self.shape)
            posterior = self.posterior(torch.cat([state, seen[:, t]], 1)).unflatten(1, self.shape)
            chance = posterior.softmax(-1)
            drawn = F.one_hot(torch.distributions.Categorical(probs=chance).sample(), self.shape[1])  # type: ignore[no-untyped-call]
            code = (drawn + chance - chance.detach()).flatten(1)
            both = torch.cat([state, code], 1)
            balanced = 0.8 * self.divergence(posterior.detach(), prior) + 0.2 * self.divergence(
                posterior, prior.detach()
            )
            error = F.mse_loss(self.image(both), seen[:, t]) + F.mse_loss(self.reward(both)[:, 0], reward[:, t])
            cost = cost + error + 0.1 * balanced
        return cost / seen.shape[1]


def episodes(seed: int, size: int) -> Batch:
    """Six steps: what is seen, what is done, what it brings."""
    g = generator(seed)
    action, state = torch.randint(4, (size, 6), generator=g), torch.randn(size, 6, generator=g)
    seen = state[:, None] + 0.5 * prototypes(4, 6)[action].cumsum(1)
    return seen, action, seen[..., 0]


class MuZero(nn.Module):
    """MuZero: representation, dynamics unrolled for three steps, prediction; states scaled to [0, 1]."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.represent, self.dynamics = mlp([6, width, width], nn.ELU), mlp([width + 4, width, width], nn.ELU)
        self.reward, self.policy, self.value = (
            mlp([width + 4, width, 1]),
            mlp([width, width, 4]),
            mlp([width, width, 1]),
        )

    @staticmethod
    def scaled(state: Tensor) -> Tensor:
        """Between zero and one."""
        low, high = state.amin(1, keepdim=True), state.amax(1, keepdim=True)
        return (state - low) / (high - low).clamp(min=1e-5)

    @staticmethod
    def squashed(x: Tensor) -> Tensor:
        """Targets go through the root that the paper takes from R2D2."""
        return x.sign() * ((x.abs() + 1).sqrt() - 1) + 1e-3 * x

    def forward(self, seen: Tensor, action: Tensor, reward: Tensor) -> Tensor:
        value, reward = self.squashed(reward.flip(1).cumsum(1).flip(1)), self.squashed(reward)
        state, cost = self.scaled(self.represent(seen[:, 0])), torch.zeros(())
        for t in range(4):
            share = 1.0 if t == 0 else 1 / 3
            errors = F.cross_entropy(self.policy(state), action[:, t]) + F.mse_loss(
                self.value(state)[:, 0], value[:, t]
            )
            both = torch.cat([state, F.one_hot(action[:, t], 4)], 1)
            cost = cost + share * (errors + F.mse_loss(self.reward(both)[:, 0], reward[:, t]))
            state = self.scaled(self.dynamics(both))
            state = 0.5 * state + 0.5 * state.detach()
        return cost


class Policy2Value(nn.Module):
    """AlphaZero on a small board: a residual tower, search probabilities as the policy's goal, tanh as the value."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        conv = (nn.Sequential(nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)) for _ in range(4))
        self.convs = nn.ModuleList(conv)
        look = [nn.Conv2d(width, 2, 1, bias=False), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten()]
        self.policy = nn.Sequential(*look, nn.Linear(50, 25))
        judge = [nn.Conv2d(width, 1, 1, bias=False), nn.BatchNorm2d(1), nn.ReLU(), nn.Flatten()]
        self.value = nn.Sequential(*judge, nn.Linear(25, 16), nn.ReLU(), nn.Linear(16, 1), nn.Tanh())

    def forward(self, board: Tensor, searched: Tensor, won: Tensor) -> Tensor:
        x = self.stem(board)
        for one, two in zip(self.convs[::2], self.convs[1::2], strict=True):
            x = F.relu(x + two(F.relu(one(x))))
        return F.cross_entropy(self.policy(x), searched) + F.mse_loss(self.value(x)[:, 0], won)


def boards(seed: int, size: int) -> Batch:
    """Stones of both sides, a policy near one's own stones, and who has more."""
    g = generator(seed)
    stones = torch.randint(3, (size, 5, 5), generator=g)
    board = torch.stack([stones == 1, stones == 2], 1).float()
    near = F.conv2d(board[:, :1], torch.ones(1, 1, 3, 3), padding=1)[:, 0] - 5 * board.sum(1)
    return board, near.flatten(1).softmax(1), (board[:, 0] - board[:, 1]).sum((1, 2)).sign()


class Planner(nn.Module):
    """A value iteration network: reward and transitions are convolutions, the maximum over actions, ten rounds."""

    def __init__(self, actions: int = 8) -> None:
        super().__init__()
        self.hidden, self.reward = nn.Conv2d(2, 32, 3, padding=1), nn.Conv2d(32, 1, 1, bias=False)
        self.q, self.w = nn.Conv2d(1, actions, 3, padding=1, bias=False), nn.Parameter(torch.zeros(actions, 1, 3, 3))
        self.head = nn.Linear(actions, 4, bias=False)

    def forward(self, maze: Tensor, place: Tensor) -> Tensor:
        reward = self.reward(self.hidden(maze))
        value = self.q(reward).amax(1, keepdim=True)
        weight = torch.cat([self.q.weight, self.w], 1)
        for _ in range(10):
            value = F.conv2d(torch.cat([reward, value], 1), weight, padding=1).amax(1, keepdim=True)
        values = F.conv2d(torch.cat([reward, value], 1), weight, padding=1)
        return self.head(values[torch.arange(len(maze)), :, place[:, 0], place[:, 1]])


def mazes(seed: int, size: int) -> Batch:
    """Boards with stones and a goal, a place, and the direction that leads there."""
    g = generator(seed)
    stones = (torch.rand(size, 7, 7, generator=g) < 0.2).float()
    goal, place = torch.randint(7, (size, 2), generator=g), torch.randint(7, (size, 2), generator=g)
    marked = torch.zeros(size, 7, 7)
    marked[torch.arange(size), goal[:, 0], goal[:, 1]] = 10
    gap = goal - place
    rows = gap[:, 0].abs() >= gap[:, 1].abs()
    return torch.stack([stones, marked], 1), place, torch.where(rows, gap[:, 0] > 0, 2 + (gap[:, 1] > 0).long()).long()


def planned(model: nn.Module, batch: Batch) -> Tensor:
    """Cross entropy of the direction."""
    maze, place, direction = batch
    return F.cross_entropy(model(maze, place), direction)


class DiffusionPolicy(nn.Module):
    """A policy that denoises a short plan given the state: FiLM-conditioned convolutions with group norm and Mish."""

    alphas: Tensor

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(8, 32), nn.Mish(), nn.Linear(32, 16))
        self.convs = nn.ModuleList(nn.Conv1d(a, width, 3, padding=1) for a in (2, width, width, width))
        self.norms = nn.ModuleList(nn.GroupNorm(4, width) for _ in range(4))
        self.films = nn.ModuleList(nn.Sequential(nn.Mish(), nn.Linear(16 + 6, 2 * width)) for _ in range(2))
        self.skip, self.head = nn.Conv1d(2, width, 1), nn.Conv1d(width, 2, 1)
        self.register_buffer("alphas", (torch.linspace(0, 1, 40) * math.pi / 2).cos().square().clamp(1e-3, 0.999))

    def forward(self, state: Tensor, plan: Tensor) -> Tensor:
        time, noise = torch.randint(40, (len(plan),)), torch.randn_like(plan)
        alpha = self.alphas[time][:, None, None]
        x = alpha.sqrt() * plan + (1 - alpha).sqrt() * noise
        angle = time[:, None] * (-math.log(10000) * torch.arange(4) / 3).exp()
        given = torch.cat([self.time(torch.cat([angle.sin(), angle.cos()], 1)), state], 1)
        for i, film in enumerate(self.films):
            h = F.mish(self.norms[2 * i](self.convs[2 * i](x)))
            scale, shift = film(given)[..., None].chunk(2, 1)
            h = F.mish(self.norms[2 * i + 1](self.convs[2 * i + 1](scale * h + shift)))
            x = h + (self.skip(x) if i == 0 else x)
        return F.mse_loss(self.head(x), noise)


def plans(seed: int, size: int) -> Batch:
    """States and straight plans of eight steps towards what they want."""
    state = torch.randn(size, 6, generator=generator(seed))
    wish = torch.tanh(state @ prototypes(6, 2))
    return state, wish[..., None] * torch.linspace(0.2, 1, 8)


class Matching(nn.Module):
    """Matching networks: cosine attention over the support, in full context by a bidirectional LSTM."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.embed, self.context = (
            mlp([16, 48, width]),
            nn.LSTM(width, width // 2, bidirectional=True, batch_first=True),
        )

    def forward(self, support: Tensor, query: Tensor, label: Tensor) -> Tensor:
        keys = self.embed(support)
        keys = keys + self.context(keys)[0]
        weight = (F.normalize(self.embed(query), dim=-1) @ F.normalize(keys, dim=-1).transpose(1, 2)).softmax(-1)
        chance = weight.unflatten(2, (4, 2)).sum(3)  # type: ignore[no-untyped-call]
        return F.nll_loss((chance + 1e-8).log().flatten(0, 1), label.flatten())


class RidgeLearner(nn.Module):
    """R2-D2: features are learnt through the closed solution of a ridge regression on the support."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.embed, self.log_ridge = mlp([16, 48, width], lambda: nn.LeakyReLU(0.1)), nn.Parameter(torch.zeros(()))
        self.scale, self.shift = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(0.0))

    def forward(self, support: Tensor, query: Tensor, label: Tensor) -> Tensor:
        x, z = (F.pad(self.embed(part), (0, 1), value=1.0) for part in (support, query))
        truth = torch.eye(4).repeat_interleave(2, 0).expand(len(x), -1, -1)
        kernel = x @ x.transpose(1, 2) + self.log_ridge.exp() * torch.eye(8)
        weight = x.transpose(1, 2) @ torch.linalg.solve(kernel, truth)
        return F.cross_entropy((self.scale * (z @ weight) + self.shift).flatten(0, 1), label.flatten())


def tasks(seed: int, size: int) -> Batch:
    """Four new classes with two examples each, and eight questions."""
    g = generator(seed)
    centre, label = torch.randn(size, 4, 16, generator=g), torch.randint(4, (size, 8), generator=g)
    support = centre.repeat_interleave(2, 1) + 0.7 * torch.randn(size, 8, 16, generator=g)
    query = centre.gather(1, label[..., None].expand(-1, -1, 16))
    return support, query + 0.7 * torch.randn(size, 8, 16, generator=g), label


class InContext(nn.Module):
    """A small prior-fitted network: rows with their answers and rows without, one transformer, as in TabPFN."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.x, self.y = nn.Linear(4, width), nn.Linear(1, width)
        layer = nn.TransformerEncoderLayer(width, 2, 64, 0.0, "gelu", batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.Linear(width, 64), nn.GELU(), nn.Linear(64, 2))
        for block in self.body.layers:
            for last in (block.linear2, block.self_attn.out_proj):
                nn.init.zeros_(last.weight)
                nn.init.zeros_(last.bias)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        known = 16
        rows = self.x(x)
        rows = torch.cat([rows[:, :known] + self.y(y[:, :known, None]), rows[:, known:]], 1)
        hidden = torch.zeros(rows.shape[1], rows.shape[1], dtype=torch.bool)
        hidden[:, known:] = ~torch.eye(rows.shape[1], dtype=torch.bool)[:, known:]
        logits = self.head(self.body(rows, mask=hidden)[:, known:])
        return F.cross_entropy(logits.flatten(0, 1), y[:, known:].flatten().long())


def priors(seed: int, size: int) -> Batch:
    """Small tables, each cut by a plane of its own through the same corner of space."""
    g = generator(seed)
    x = torch.randn(size, 24, 4, generator=g)
    plane = torch.tensor([1.0, 0.5, 0, 0]) + 0.5 * torch.randn(size, 4, 1, generator=g)
    return x, ((x @ plane)[..., 0] > 0).float()


class Facenet(nn.Module):
    """FaceNet: vectors of length one, every anchor with its hardest positive and negative, margin 0.2."""

    def __init__(self) -> None:
        super().__init__()
        convs = [nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU()]
        self.net = nn.Sequential(*convs, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 16))

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        code = F.normalize(self.net(x))
        gap, same = (2 - 2 * code @ code.T).clamp(min=0), label[:, None] == label
        far = gap.masked_fill(~same, -1).amax(1)
        near = gap.masked_fill(same, 9).amin(1)
        return F.relu(far - near + 0.2).mean()


class SupervisedContrast(nn.Module):
    """SupCon: two noisy views, everything of one class attracts, temperature 0.1."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.project = mlp([16, 64, 32]), mlp([32, 32, 16])

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        views, kinds = torch.cat([x + 0.3 * torch.randn_like(x) for _ in range(2)]), torch.cat([label, label])
        code = F.normalize(self.project(F.relu(self.encode(views))))
        own = torch.eye(len(code), dtype=torch.bool)
        score = (code @ code.T / 0.1).masked_fill(own, -torch.inf)
        same = (kinds[:, None] == kinds) & ~own
        likelihood = (score - score.logsumexp(1, keepdim=True)).masked_fill(~same, 0)
        return -(likelihood.sum(1) / same.sum(1)).mean()


class ProxyAnchor(nn.Module):
    """Proxy anchor: learnt proxies of the classes pull and push, margin 0.1, scale 32."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.proxies = mlp([16, 64, 16]), nn.Parameter(torch.empty(4, 16))
        nn.init.kaiming_normal_(self.proxies, mode="fan_out")

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        cosine, own = F.normalize(self.net(x)) @ F.normalize(self.proxies).T, F.one_hot(label, 4).bool()
        pull = (-32 * (cosine - 0.1)).exp().masked_fill(~own, 0).sum(0).log1p()
        push = (32 * (cosine + 0.1)).exp().masked_fill(own, 0).sum(0).log1p()
        return pull.sum() / own.any(0).sum() + push.sum() / 4


class Data2Vec(nn.Module):
    """A student that sees half of the places predicts the averaged layers of a teacher that sees all."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.student = nn.ModuleList([nn.Linear(8, width), *(self.layer(width) for _ in range(2))])
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.mask, self.places = (
            nn.Parameter(torch.empty(width).uniform_()),
            nn.Parameter(0.02 * torch.randn(16, width)),
        )
        self.head = nn.Linear(width, width)

    @staticmethod
    def layer(width: int) -> nn.Module:
        """A post-norm transformer layer."""
        return nn.TransformerEncoderLayer(width, 2, 64, 0.0, "gelu", batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.rand(x.shape[:2]) < 0.5
        stem, *layers = self.student
        h = torch.where(hidden[..., None], self.mask, stem(x)) + self.places
        for layer in layers:
            h = layer(h)
        with torch.no_grad():
            stem, *layers = self.teacher
            states = [stem(x) + self.places]
            for layer in layers:
                states.append(layer(states[-1]))
            goal = torch.stack([F.layer_norm(s, s.shape[-1:]) for s in states[1:]]).mean(0)
        return F.smooth_l1_loss(self.head(h)[hidden], goal[hidden])


def frames(seed: int, size: int) -> Tensor:
    """Slow random walks in eight channels."""
    g = generator(seed)
    start, step = torch.randn(size, 1, 8, generator=g), torch.randn(size, 1, 8, generator=g)
    return start + 0.3 * step * torch.arange(16.0)[:, None] + 0.2 * torch.randn(size, 16, 8, generator=g)


class HintDistillation(nn.Module):
    """FitNets: a thin, deep student follows the middle of a frozen teacher, its soft answers and the labels."""

    def __init__(self) -> None:
        super().__init__()
        self.teacher = mlp([16, 96, 96, 4]).requires_grad_(False)
        self.low, self.high, self.regressor = mlp([16, 24, 24, 24]), mlp([24, 24, 4]), nn.Linear(24, 96)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        middle = F.relu(self.low(x))
        answer, soft = self.high(middle), self.teacher(x)
        hint = F.mse_loss(self.regressor(middle), F.relu(self.teacher[0](x)))
        follow = F.kl_div((answer / 4).log_softmax(1), (soft / 4).softmax(1), reduction="batchmean") * 16
        return F.cross_entropy(answer, label) + hint + follow


class FixMatch(nn.Module):
    """FixMatch: few labels; where a weak view is sure enough, a strong one shall agree."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(16, 64), nn.BatchNorm1d(64), nn.LeakyReLU(0.1), nn.Linear(64, 4))

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        half = len(x) // 2
        weak, strong = x + 0.1 * torch.randn_like(x), F.dropout(x + 0.3 * torch.randn_like(x), 0.2)
        answers = self.net(torch.cat([weak[:half], weak[half:], strong[half:]]))
        sure, guess = answers[half : len(x)].detach().softmax(1).max(1)
        agree = F.cross_entropy(answers[len(x) :], guess, reduction="none") * (sure > 0.8)
        return F.cross_entropy(answers[:half], label[:half]) + agree.mean()


class ForwardForward(nn.Module):
    """Hinton's forward-forward: every layer for itself tells right labels from wrong by its activity."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, 64) for a in (20, 64, 64))

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        wrong = (label + torch.randint(1, 4, label.shape)) % 4
        right, false = (torch.cat([x, F.one_hot(kind, 4)], 1) for kind in (label, wrong))
        cost = torch.zeros(())
        for layer in self.layers:
            right, false = (
                F.relu(layer(h.detach() / (h.detach().norm(dim=1, keepdim=True) + 1e-4))) for h in (right, false)
            )
            scores = torch.cat([2 - right.square().mean(1), false.square().mean(1) - 2])
            cost = cost + F.softplus(scores).mean()
        return cost


class Feedback(torch.autograd.Function):
    """A linear layer whose error comes back through a fixed random matrix."""

    @staticmethod
    def forward(ctx, x, weight, bias, back):  # type: ignore[no-untyped-def]
        """The usual product."""
        ctx.save_for_backward(x, back)
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        """The usual gradients of the parameters, the input's through the random matrix."""
        x, back = ctx.saved_tensors
        return grad @ back, grad.T @ x, grad.sum(0), None


class Aligned(nn.Linear):
    """Feedback alignment."""

    back: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.register_buffer("back", torch.empty(outputs, inputs).uniform_(-(inputs**-0.5), inputs**-0.5))

    def forward(self, x: Tensor) -> Tensor:
        return Feedback.apply(x, self.weight, self.bias, self.back)  # type: ignore[no-untyped-call]


class Supermask(nn.Linear):
    """Edge-popup: weights stay random, scores are learnt, the better half of the connections is used."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)
        self.weight.requires_grad_(False)
        nn.init.kaiming_normal_(self.weight, mode="fan_in")
        self.scores = nn.Parameter(torch.empty(outputs, inputs))
        nn.init.kaiming_uniform_(self.scores, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        size = self.scores.abs()
        kept = (size > size.detach().median()).float()
        return F.linear(x, self.weight * (kept - size.detach() + size))


class Pruned(nn.Linear):
    """A lottery ticket: four fifths of the weights are masked out."""

    mask: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        rank = self.weight.detach().abs().flatten().argsort(descending=True).argsort()
        self.register_buffer("mask", (rank < len(rank) // 5).float().view_as(self.weight))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.mask, self.bias)


class Winners(nn.Module):
    """k winners take all: the rest of the units is silent."""

    def forward(self, x: Tensor) -> Tensor:
        least = x.topk(x.shape[1] // 4, 1).values[:, -1:]
        return torch.where(x >= least, x, 0.0)


class GroupSort(nn.Module):
    """Sorts pairs of units: an activation that keeps lengths."""

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (-1, 2)).sort(2).values.flatten(1)  # type: ignore[no-untyped-call]


def lipschitz() -> nn.Module:
    """A 1-Lipschitz net: orthogonal matrices (Cayley) and GroupSort; the head is orthogonal as well."""
    norm = nn.utils.parametrizations.orthogonal
    layers: list[nn.Module] = []
    for inputs, outputs in ((16, 32), (32, 32)):
        layers += [norm(nn.Linear(inputs, outputs), orthogonal_map="cayley"), GroupSort()]
    return nn.Sequential(*layers, norm(nn.Linear(32, 4), orthogonal_map="cayley"))


class Rational(nn.Module):
    """A Pade activation unit: a learnt quotient of polynomials that starts as a leaky ReLU."""

    def __init__(self) -> None:
        super().__init__()
        above = [0.02996348, 0.61690165, 2.37539147, 3.06608078, 1.52474449, 0.25281987]
        self.above, self.below = (
            nn.Parameter(torch.tensor(above)),
            nn.Parameter(torch.tensor([1.19160814, 4.40811795, 0.91111034, 0.34885983])),
        )

    def forward(self, x: Tensor) -> Tensor:
        powers = torch.stack([x**i for i in range(6)], -1)
        return (powers @ self.above) / (1 + (powers[..., 1:5] * self.below).sum(-1).abs())


class Snake(nn.Module):
    """x + sin^2(ax) / a."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return x + (self.a * x).sin().square() / self.a


class Circulant(nn.Module):
    """A circulant layer by the Fourier transform, with random signs in front."""

    signs: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.kernel, self.bias = nn.Parameter(torch.randn(width) / width**0.5), nn.Parameter(torch.zeros(width))
        self.register_buffer("signs", torch.randint(2, (width,)) * 2.0 - 1)

    def forward(self, x: Tensor) -> Tensor:
        product = torch.fft.rfft(x * self.signs) * torch.fft.rfft(self.kernel)
        return torch.fft.irfft(product, x.shape[-1]) + self.bias


class TensorTrain(nn.Module):
    """A layer whose matrix is a train of two small tensors."""

    def __init__(self, rank: int = 4) -> None:
        super().__init__()
        std = (2 / (64 + 64)) ** 0.25 / rank**0.25
        self.one = nn.Parameter(std * torch.randn(8, 8, rank))
        self.two = nn.Parameter(std * torch.randn(rank, 8, 8))
        self.bias = nn.Parameter(torch.zeros(64))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bij,iar,rjc->bac", x.unflatten(1, (8, 8)), self.one, self.two).flatten(1) + self.bias  # type: ignore[no-untyped-call]


class Quaternion(nn.Module):
    """A quaternion layer: four real matrices in Hamilton's product, polar initialisation."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        size, turn = (2 * (inputs + outputs)) ** -0.5, torch.empty(outputs, inputs).uniform_(-math.pi, math.pi)
        length = size * torch.randn(4, outputs, inputs).norm(dim=0)
        axis = F.normalize(torch.rand(3, outputs, inputs), dim=0)
        self.weight = nn.Parameter(torch.cat([(length * turn.cos())[None], length * axis * turn.sin()]))
        self.bias = nn.Parameter(torch.zeros(4 * outputs))

    def forward(self, x: Tensor) -> Tensor:
        r, i, j, k = self.weight
        rows = ((r, -i, -j, -k), (i, r, -k, j), (j, k, r, -i), (k, -j, i, r))
        return F.linear(x, torch.cat([torch.cat(row, 1) for row in rows]), self.bias)


class ComplexNet(nn.Module):
    """A deep complex network: complex layers, ReLU on both parts, the sizes are read."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, 32, dtype=torch.cfloat) for a in (16, 32))
        self.head = nn.Linear(32, 4)
        for layer in self.layers:
            size = torch.distributions.Weibull(layer.in_features**-0.5, 2.0).sample(layer.weight.shape)  # type: ignore[no-untyped-call, operator]
            turn = torch.empty(layer.weight.shape).uniform_(-math.pi, math.pi)  # type: ignore[arg-type]
            layer.weight.data = torch.polar(size, turn)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        z = torch.fft.fft(x, norm="ortho")
        for layer in self.layers:
            z = layer(z)
            z = torch.complex(F.relu(z.real), F.relu(z.imag))
        return self.head((z.real.square() + z.imag.square() + 1e-8).sqrt())


class HyperLstm(nn.Module):
    """A small LSTM scales the gates of a larger one at every step, from a tenth on; their norms make up for that."""

    def __init__(self, inputs: int = 4, width: int = 24, small: int = 8) -> None:
        super().__init__()
        self.x, self.h = nn.Linear(inputs, 4 * width, bias=False), nn.Linear(width, 4 * width, bias=False)
        self.hyper, self.width = nn.LSTMCell(inputs + width, small), width
        self.codes = nn.Linear(small, 2 * 4)
        self.scales, self.bias = nn.ModuleList(nn.Linear(4, 4 * width) for _ in range(2)), nn.Linear(small, 4 * width)
        self.norms, self.norm = nn.ModuleList(nn.LayerNorm(width) for _ in range(4)), nn.LayerNorm(width)
        self.head = nn.Linear(width, 4)
        nn.init.zeros_(self.bias.weight)
        nn.init.zeros_(self.bias.bias)
        nn.init.zeros_(self.codes.weight)
        nn.init.ones_(self.codes.bias)
        for scale in self.scales:
            nn.init.constant_(scale.weight, 0.1 / 4)  # type: ignore[arg-type]
            nn.init.zeros_(scale.bias)  # type: ignore[arg-type]
        nn.init.orthogonal_(self.h.weight)

    def forward(self, x: Tensor) -> Tensor:
        state, memory = x.new_zeros(2, len(x), self.width)
        small: tuple[Tensor, Tensor] | None = None
        for now in x.unbind(1):
            small = self.hyper(torch.cat([now, state], 1), small)
            code = self.codes(small[0]).chunk(2, 1)
            gates = (
                self.scales[0](code[0]) * self.x(now) + self.scales[1](code[1]) * self.h(state) + self.bias(small[0])
            )
            i, f, o, g = (norm(part) for norm, part in zip(self.norms, gates.chunk(4, 1), strict=True))
            memory = (f + 1).sigmoid() * memory + i.sigmoid() * g.tanh()
            state = o.sigmoid() * self.norm(memory).tanh()
        return self.head(state)


def curves(seed: int, size: int) -> Batch:
    """Sequences of four channels around the pattern of their class."""
    x, label = patterns(12, 4)(seed, size)
    return x, label


class SinkhornSort(nn.Module):
    """Gumbel-Sinkhorn: a net scores numbers for places; the soft permutation has to sort them."""

    def __init__(self, numbers: int = 6) -> None:
        super().__init__()
        self.score = mlp([1, 32, numbers])

    def forward(self, x: Tensor) -> Tensor:
        log = self.score(x[..., None])
        noise = -(-(torch.rand_like(log) + 1e-9).log() + 1e-9).log()
        log = (log + 0.1 * noise) / 1.0
        for _ in range(10):
            log = log - log.logsumexp(2, keepdim=True)
            log = log - log.logsumexp(1, keepdim=True)
        return F.mse_loss((log.exp().transpose(1, 2) @ x[..., None])[..., 0], x.sort(1).values)


def unsorted(seed: int, size: int) -> Tensor:
    """Six numbers in [0, 1]."""
    return torch.rand(size, 6, generator=generator(seed))


class Adapted(nn.Module):
    """LayerNorm tuning: a frozen transformer in which only norms, the class token and the head learn."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.embed = nn.Linear(12, width)
        layer = nn.TransformerEncoderLayer(width, 2, 64, 0.0, "gelu", batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 2, nn.LayerNorm(width), enable_nested_tensor=False).requires_grad_(
            False
        )
        self.embed.requires_grad_(False)
        for module in self.body.modules():
            if isinstance(module, nn.LayerNorm):
                module.requires_grad_(True)
        self.token, self.head = nn.Parameter(0.02 * torch.randn(1, 1, width)), nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2))
        return self.head(self.body(torch.cat([self.token.expand(len(x), -1, -1), tokens], 1))[:, 0])


def three(layer: type[nn.Linear]) -> Build:
    """Two such hidden layers and such a head."""
    return lambda: nn.Sequential(layer(16, 64), nn.ReLU(), layer(64, 64), nn.ReLU(), layer(64, 4))


def cases() -> list[Case]:
    """All cases of this module."""
    vectors, smooth = patterns(16), regression(16)
    models: dict[str, tuple[Build, Maker, Step]] = {
        "ppo_continuous": (ContinuousPpo, pushes, own_loss),
        "conservative_q": (Conservative, moves, own_loss),
        "dreamer": (RecurrentState, episodes, own_loss),
        "muzero": (MuZero, episodes, own_loss),
        "alphazero": (Policy2Value, boards, own_loss),
        "value_iteration": (Planner, mazes, planned),
        "diffusion_policy": (DiffusionPolicy, plans, own_loss),
        "matching_network": (Matching, tasks, own_loss),
        "ridge_learner": (RidgeLearner, tasks, own_loss),
        "prior_fitted": (InContext, priors, own_loss),
        "facenet": (Facenet, pictures(side=16), own_loss),
        "supervised_contrast": (SupervisedContrast, vectors, own_loss),
        "proxy_anchor": (ProxyAnchor, vectors, own_loss),
        "masked_self_distillation": (Data2Vec, frames, own_loss),
        "hint_distillation": (HintDistillation, vectors, own_loss),
        "fixmatch": (FixMatch, vectors, own_loss),
        "forward_forward": (ForwardForward, vectors, own_loss),
        "feedback_alignment": (three(Aligned), vectors, classify),
        "supermask": (three(Supermask), vectors, classify),
        "lottery_ticket": (three(Pruned), vectors, classify),
        "k_winners": (lambda: mlp([16, 64, 64, 4], Winners), vectors, classify),
        "lipschitz_groupsort": (lipschitz, vectors, classify),
        "pade_units": (lambda: mlp([16, 32, 32, 1], Rational), smooth, fit),
        "snake": (lambda: mlp([16, 32, 32, 1], Snake), smooth, fit),
        "circulant": (
            lambda: nn.Sequential(nn.Linear(16, 64), nn.ReLU(), Circulant(64), nn.ReLU(), nn.Linear(64, 4)),
            vectors,
            classify,
        ),
        "tensor_train": (
            lambda: nn.Sequential(nn.Linear(16, 64), nn.ReLU(), TensorTrain(), nn.ReLU(), nn.Linear(64, 4)),
            vectors,
            classify,
        ),
        "quaternion": (
            lambda: nn.Sequential(Quaternion(4, 8), nn.ReLU(), Quaternion(8, 8), nn.ReLU(), nn.Linear(32, 4)),
            vectors,
            classify,
        ),
        "deep_complex": (ComplexNet, vectors, classify),
        "hyper_lstm": (HyperLstm, curves, classify),
        "sinkhorn_sort": (SinkhornSort, unsorted, own_loss),
        "norm_tuning": (Adapted, pictures(side=8), classify),
    }
    return later_cases(3, "learning", models)
