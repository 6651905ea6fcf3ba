"""Policies, planners and models of the world."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import (
    ACTIONS_3,
    ACTIONS_4,
    STATES_6,
    STATES_8,
    changes_of_state,
    generator,
    moves,
    pictures,
    prototypes,
    transitions,
)
from benchmarks.detection.vocabulary.blocks import mlp
from benchmarks.detection.vocabulary.losses import classify_pair, own_loss


def orthogonal_mlp(sizes: list[int], last: float) -> nn.Sequential:
    """A tanh network as in PPO: orthogonal weights with gain root two, zero biases, the head with a gain of its own."""
    net = mlp(sizes, nn.Tanh)
    layers = [layer for layer in net if isinstance(layer, nn.Linear)]
    for layer in layers:
        nn.init.orthogonal_(layer.weight, last if layer is layers[-1] else 2**0.5)
        nn.init.zeros_(layer.bias)
    return net


class PPO(nn.Module):
    """Actor and critic with the clipped objective; the policy head's gain is 0.01."""

    def __init__(self) -> None:
        super().__init__()
        self.actor, self.critic = (
            orthogonal_mlp([STATES_8, 64, 64, ACTIONS_4], 0.01),
            orthogonal_mlp([STATES_8, 64, 64, 1], 1.0),
        )

    def forward(self, state: Tensor, action: Tensor, reward: Tensor, after: Tensor, end: Tensor) -> Tensor:
        policy = torch.distributions.Categorical(logits=self.actor(state))
        value = self.critic(state)[:, 0]
        gain = reward - value.detach()
        gain = (gain - gain.mean()) / (gain.std() + 1e-8)
        ratio = torch.exp(policy.log_prob(action) + torch.log(torch.tensor(float(ACTIONS_4))))  # type: ignore[no-untyped-call]
        clipped = torch.min(ratio * gain, ratio.clamp(0.8, 1.2) * gain)
        out: Tensor = -clipped.mean() + 0.5 * F.mse_loss(value, reward) - 0.01 * policy.entropy().mean()  # type: ignore[no-untyped-call]
        return out


class Reinforce(nn.Module):
    """The plain policy gradient with normalised returns: a loss whose mean is close to zero."""

    def __init__(self) -> None:
        super().__init__()
        self.actor = mlp([STATES_8, 64, ACTIONS_4])

    def forward(self, state: Tensor, action: Tensor, reward: Tensor, after: Tensor, end: Tensor) -> Tensor:
        gain = (reward - reward.mean()) / (reward.std() + 1e-8)
        out: Tensor = -(gain * torch.distributions.Categorical(logits=self.actor(state)).log_prob(action)).mean()  # type: ignore[no-untyped-call]
        return out


def detached(net: nn.Module) -> dict[str, Tensor]:
    """A network's parameters without their graph."""
    return {name: weight.detach() for name, weight in net.named_parameters()}


class SAC(nn.Module):
    """Soft actor-critic: a tanh-squashed Gaussian policy, two critics with frozen targets, a learnt temperature."""

    def __init__(self) -> None:
        super().__init__()
        self.actor = mlp([STATES_8, 64, 2 * ACTIONS_4])
        self.one, self.two = mlp([STATES_8 + ACTIONS_4, 64, 1]), mlp([STATES_8 + ACTIONS_4, 64, 1])
        self.targets = nn.ModuleList(copy.deepcopy([self.one, self.two])).requires_grad_(False)
        self.temperature = nn.Parameter(torch.zeros(()))

    def act(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """A sampled action and its log probability after the squashing."""
        mean, spread = self.actor(state).chunk(2, dim=1)
        raw = torch.distributions.Normal(mean, spread.clamp(-5, 2).exp())
        drawn = raw.rsample()
        squashed = 2 * (0.6931 - drawn - F.softplus(-2 * drawn))
        return torch.tanh(drawn), (raw.log_prob(drawn) - squashed).sum(dim=1)  # type: ignore[no-untyped-call]

    def forward(self, state: Tensor, action: Tensor, reward: Tensor, after: Tensor, end: Tensor) -> Tensor:
        with torch.no_grad():
            drawn, log_prob = self.act(after)
            pair = torch.cat([after, drawn], dim=1)
            ahead = torch.min(self.targets[0](pair), self.targets[1](pair))[:, 0] - self.temperature.exp() * log_prob
            goal = reward + 0.99 * (1 - end) * ahead
        seen = torch.cat([state, action], dim=1)
        critics = F.mse_loss(self.one(seen)[:, 0], goal) + F.mse_loss(self.two(seen)[:, 0], goal)
        return critics + self.improve(state)

    def improve(self, state: Tensor) -> Tensor:
        """The actor's and the temperature's losses; the critics are read here, not trained."""
        drawn, log_prob = self.act(state)
        pair, fixed = torch.cat([state, drawn], dim=1), self.temperature.exp().detach()
        values = [torch.func.functional_call(c, detached(c), (pair,)) for c in (self.one, self.two)]
        actor = (fixed * log_prob - torch.min(*values)[:, 0]).mean()
        out: Tensor = actor - self.temperature * (log_prob.detach() - ACTIONS_4).mean()
        return out


class DDPGActor(nn.Module):
    """DDPG's actor step: the critic is frozen, the last layer starts within 3e-3."""

    def __init__(self) -> None:
        super().__init__()
        self.actor, self.critic = (
            mlp([STATES_8, 64, ACTIONS_4]),
            mlp([STATES_8 + ACTIONS_4, 64, 1]).requires_grad_(False),
        )
        last = self.actor[-1]
        assert isinstance(last, nn.Linear)
        nn.init.uniform_(last.weight, -3e-3, 3e-3)
        nn.init.uniform_(last.bias, -3e-3, 3e-3)

    def forward(self, state: Tensor, *_: Tensor) -> Tensor:
        value: Tensor = self.critic(torch.cat([state, torch.tanh(self.actor(state))], dim=1))
        return -value.mean()


class Preference(nn.Module):
    """Direct preference optimisation against a frozen reference policy: the loss starts at exactly log two."""

    def __init__(self) -> None:
        super().__init__()
        self.policy = mlp([STATES_8, 64, ACTIONS_4])
        self.reference = copy.deepcopy(self.policy).requires_grad_(False)

    def forward(self, state: Tensor, action: Tensor, reward: Tensor, after: Tensor, end: Tensor) -> Tensor:
        gain = F.log_softmax(self.policy(state), dim=1) - F.log_softmax(self.reference(state), dim=1)
        worse = ((action + 1) % ACTIONS_4)[:, None]
        gap = gain.gather(1, action[:, None]) - gain.gather(1, worse)
        return -F.logsigmoid(torch.sign(reward)[:, None] * gap).mean()


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
        self.features = mlp([STATES_6, 32, 16], nn.ELU)
        self.inverse, self.ahead = mlp([32, 32, ACTIONS_3]), mlp([16 + ACTIONS_3, 32, 16])

    def forward(self, state: Tensor, action: Tensor) -> Tensor:
        after = state + F.pad(F.one_hot(action, ACTIONS_3).float(), (0, STATES_6 - ACTIONS_3))
        before, then = self.features(state), self.features(after)
        told = F.cross_entropy(self.inverse(torch.cat([before, then], 1)), action)
        guess = self.ahead(torch.cat([before, F.one_hot(action, ACTIONS_3).float()], 1))
        return 0.8 * told + 0.2 * F.mse_loss(guess, then)


def acted(seed: int, size: int) -> Batch:
    return moves(seed, size)[:2]


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


def normal(parameters: Tensor) -> torch.distributions.Normal:
    """A Gaussian from a mean and an unconstrained scale."""
    mean, scale = parameters.chunk(2, dim=1)
    return torch.distributions.Normal(mean, F.softplus(scale) + 0.1)


class World(nn.Module):
    """A recurrent state-space model: deterministic GRU, stochastic code, reconstruction and a balanced divergence."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.cell, self.prior = nn.GRUCell(8 + ACTIONS_4, width), nn.Linear(width, 16)
        self.posterior, self.decode = nn.Linear(width + STATES_8, 16), mlp([width + 8, 32, STATES_8])
        self.width = width

    def forward(self, state: Tensor, action: Tensor, reward: Tensor, after: Tensor, end: Tensor) -> Tensor:
        h, z, loss = state.new_zeros(len(state), self.width), state.new_zeros(len(state), 8), state.new_zeros(())
        for seen in (state, after):
            h = self.cell(torch.cat([z, action], dim=1), h)
            believed, known = normal(self.prior(h)), normal(self.posterior(torch.cat([h, seen], dim=1)))
            z = known.rsample()
            loss = loss + F.mse_loss(self.decode(torch.cat([h, z], dim=1)), seen)
            loss = loss + 0.1 * torch.distributions.kl_divergence(known, believed).mean()
        return loss


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


def cases() -> list[Case]:
    """The cases of this file."""
    return [
        case("rl_ppo", "rl/ppo", PPO, transitions(), own_loss),
        case("rl_reinforce", "rl/reinforce", Reinforce, transitions(), own_loss),
        case("rl_sac", "rl/sac", SAC, transitions(continuous=True), own_loss),
        case("rl_ddpg_actor", "rl/ddpg", DDPGActor, transitions(continuous=True), own_loss),
        case("rl_preferences", "rl/dpo", Preference, transitions(), own_loss),
        case("second_learning_impala", "second/impala", Impala, pictures(side=16), actor_critic, size=16, round=2),
        case("second_learning_icm", "second/icm", Curiosity, acted, own_loss, size=16, round=2),
        case("third_learning_ppo_continuous", "third/ppo_continuous", ContinuousPpo, pushes, own_loss, round=3),
        case("third_learning_alphazero", "third/alphazero", Policy2Value, boards, own_loss, round=3),
        case("third_learning_diffusion_policy", "third/diffusion_policy", DiffusionPolicy, plans, own_loss, round=3),
        case("fourth_learning_action_chunking", "fourth/action_chunking", Chunks, demonstrations, own_loss, round=4),
        case("fourth_learning_attention_routing", "fourth/attention_routing", RouteBuilder, tours, own_loss, round=4),
        case("rl_world_model", "rl/world", World, transitions(continuous=True), own_loss),
        case("third_learning_dreamer", "third/dreamer", RecurrentState, episodes, own_loss, round=3),
        case("third_learning_muzero", "third/muzero", MuZero, episodes, own_loss, round=3),
        case("third_learning_value_iteration", "third/value_iteration", Planner, mazes, classify_pair, round=3),
        case("fourth_learning_pets_dynamics", "fourth/pets_dynamics", Dynamics, changes_of_state, own_loss, round=4),
    ]
