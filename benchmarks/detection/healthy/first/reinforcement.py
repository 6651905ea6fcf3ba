"""Agents: value, policy and actor-critic losses on recorded transitions, and learnt dynamics."""

from __future__ import annotations

import copy
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Case
from benchmarks.detection.healthy.common import Maker, case, generator, mlp, own_loss, prototypes

STATES, ACTIONS = 8, 4


def transitions(continuous: bool = False) -> Maker:
    """States, actions, rewards that favour one action per state, next states and ends of episodes."""

    def make(seed: int, size: int) -> tuple[Tensor, ...]:
        g = generator(seed)
        state, after = torch.randn(2, size, STATES, generator=g).unbind(0)
        best = torch.tanh(state @ prototypes(STATES, ACTIONS))
        action = torch.rand(size, ACTIONS, generator=g) * 2 - 1 if continuous else chosen(size, g)
        score = -((action - best) ** 2).mean(dim=1) if continuous else best.gather(1, action[:, None])[:, 0]
        return state, action, score, after, (torch.rand(size, generator=g) < 0.1).float()

    return make


def chosen(size: int, g: torch.Generator) -> Tensor:
    """Random discrete actions."""
    return torch.randint(ACTIONS, (size,), generator=g)


def orthogonal(sizes: list[int], last: float) -> nn.Sequential:
    """A tanh network as in PPO: orthogonal weights with gain root two, zero biases, the head with a gain of its own."""
    net = mlp(sizes, nn.Tanh)
    layers = [layer for layer in net if isinstance(layer, nn.Linear)]
    for layer in layers:
        nn.init.orthogonal_(layer.weight, last if layer is layers[-1] else 2**0.5)
        nn.init.zeros_(layer.bias)
    return net


class DQN(nn.Module):
    """Deep Q-learning with a frozen target network; double and dueling on request."""

    def __init__(self, double: bool = False, dueling: bool = False) -> None:
        super().__init__()
        self.online: nn.Module = Dueling() if dueling else mlp([STATES, 64, 64, ACTIONS])
        self.target, self.twice = copy.deepcopy(self.online).requires_grad_(False), double

    def forward(self, state: Tensor, action: Tensor, reward: Tensor, after: Tensor, end: Tensor) -> Tensor:
        value = self.online(state).gather(1, action[:, None])[:, 0]
        with torch.no_grad():
            ahead = self.target(after)
            best = (self.online(after) if self.twice else ahead).argmax(dim=1, keepdim=True)
            goal = reward + 0.99 * (1 - end) * ahead.gather(1, best)[:, 0]
        return F.smooth_l1_loss(value, goal)


class Dueling(nn.Module):
    """A value and an advantage, whose mean is taken off."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(STATES, 64), nn.ReLU())
        self.value, self.advantage = nn.Linear(64, 1), nn.Linear(64, ACTIONS)

    def forward(self, x: Tensor) -> Tensor:
        h = self.trunk(x)
        advantage = self.advantage(h)
        out: Tensor = self.value(h) + advantage - advantage.mean(dim=1, keepdim=True)
        return out


class PPO(nn.Module):
    """Actor and critic with the clipped objective; the policy head's gain is 0.01."""

    def __init__(self) -> None:
        super().__init__()
        self.actor, self.critic = orthogonal([STATES, 64, 64, ACTIONS], 0.01), orthogonal([STATES, 64, 64, 1], 1.0)

    def forward(self, state: Tensor, action: Tensor, reward: Tensor, after: Tensor, end: Tensor) -> Tensor:
        policy = torch.distributions.Categorical(logits=self.actor(state))
        value = self.critic(state)[:, 0]
        gain = reward - value.detach()
        gain = (gain - gain.mean()) / (gain.std() + 1e-8)
        ratio = torch.exp(policy.log_prob(action) + torch.log(torch.tensor(float(ACTIONS))))  # type: ignore[no-untyped-call]
        clipped = torch.min(ratio * gain, ratio.clamp(0.8, 1.2) * gain)
        out: Tensor = -clipped.mean() + 0.5 * F.mse_loss(value, reward) - 0.01 * policy.entropy().mean()  # type: ignore[no-untyped-call]
        return out


class Reinforce(nn.Module):
    """The plain policy gradient with normalised returns: a loss whose mean is close to zero."""

    def __init__(self) -> None:
        super().__init__()
        self.actor = mlp([STATES, 64, ACTIONS])

    def forward(self, state: Tensor, action: Tensor, reward: Tensor, after: Tensor, end: Tensor) -> Tensor:
        gain = (reward - reward.mean()) / (reward.std() + 1e-8)
        out: Tensor = -(gain * torch.distributions.Categorical(logits=self.actor(state)).log_prob(action)).mean()  # type: ignore[no-untyped-call]
        return out


class SAC(nn.Module):
    """Soft actor-critic: a tanh-squashed Gaussian policy, two critics with frozen targets, a learnt temperature."""

    def __init__(self) -> None:
        super().__init__()
        self.actor = mlp([STATES, 64, 2 * ACTIONS])
        self.one, self.two = mlp([STATES + ACTIONS, 64, 1]), mlp([STATES + ACTIONS, 64, 1])
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
        out: Tensor = actor - self.temperature * (log_prob.detach() - ACTIONS).mean()
        return out


def detached(net: nn.Module) -> dict[str, Tensor]:
    """A network's parameters without their graph."""
    return {name: weight.detach() for name, weight in net.named_parameters()}


class DDPGActor(nn.Module):
    """DDPG's actor step: the critic is frozen, the last layer starts within 3e-3."""

    def __init__(self) -> None:
        super().__init__()
        self.actor, self.critic = mlp([STATES, 64, ACTIONS]), mlp([STATES + ACTIONS, 64, 1]).requires_grad_(False)
        last = self.actor[-1]
        assert isinstance(last, nn.Linear)
        nn.init.uniform_(last.weight, -3e-3, 3e-3)
        nn.init.uniform_(last.bias, -3e-3, 3e-3)

    def forward(self, state: Tensor, *_: Tensor) -> Tensor:
        value: Tensor = self.critic(torch.cat([state, torch.tanh(self.actor(state))], dim=1))
        return -value.mean()


class Distributional(nn.Module):
    """C51: a categorical distribution over returns for every action."""

    def __init__(self, atoms: int = 11) -> None:
        super().__init__()
        self.net, self.atoms = mlp([STATES, 64, ACTIONS * atoms]), atoms

    def forward(self, state: Tensor, action: Tensor, reward: Tensor, after: Tensor, end: Tensor) -> Tensor:
        logits = self.net(state).unflatten(1, (ACTIONS, self.atoms))[torch.arange(len(action)), action]
        place = (reward.clamp(-1, 1) + 1) / 2 * (self.atoms - 1)
        share = (1 - (place[:, None] - torch.arange(self.atoms)).abs()).clamp(min=0)
        return F.cross_entropy(logits, share)


class Quantile(nn.Module):
    """QR-DQN: the quantile Huber loss."""

    def __init__(self, quantiles: int = 8) -> None:
        super().__init__()
        self.net, self.quantiles = mlp([STATES, 64, ACTIONS * quantiles]), quantiles

    def forward(self, state: Tensor, action: Tensor, reward: Tensor, after: Tensor, end: Tensor) -> Tensor:
        made = self.net(state).unflatten(1, (ACTIONS, self.quantiles))[torch.arange(len(action)), action]
        level = (torch.arange(self.quantiles) + 0.5) / self.quantiles
        miss = reward[:, None] - made
        distance = F.huber_loss(made, reward[:, None].expand_as(made), reduction="none")
        out: Tensor = ((level - (miss < 0).float()).abs() * distance).mean()
        return out


class World(nn.Module):
    """A recurrent state-space model: deterministic GRU, stochastic code, reconstruction and a balanced divergence."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.cell, self.prior = nn.GRUCell(8 + ACTIONS, width), nn.Linear(width, 16)
        self.posterior, self.decode = nn.Linear(width + STATES, 16), mlp([width + 8, 32, STATES])
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


def normal(parameters: Tensor) -> torch.distributions.Normal:
    """A Gaussian from a mean and an unconstrained scale."""
    mean, scale = parameters.chunk(2, dim=1)
    return torch.distributions.Normal(mean, F.softplus(scale) + 0.1)


class Preference(nn.Module):
    """Direct preference optimisation against a frozen reference policy: the loss starts at exactly log two."""

    def __init__(self) -> None:
        super().__init__()
        self.policy = mlp([STATES, 64, ACTIONS])
        self.reference = copy.deepcopy(self.policy).requires_grad_(False)

    def forward(self, state: Tensor, action: Tensor, reward: Tensor, after: Tensor, end: Tensor) -> Tensor:
        gain = F.log_softmax(self.policy(state), dim=1) - F.log_softmax(self.reference(state), dim=1)
        worse = ((action + 1) % ACTIONS)[:, None]
        gap = gain.gather(1, action[:, None]) - gain.gather(1, worse)
        return -F.logsigmoid(torch.sign(reward)[:, None] * gap).mean()


def cases() -> list[Case]:
    """All cases of this module."""
    discrete, smooth = transitions(), transitions(continuous=True)
    return [
        case("rl_dqn", "rl/dqn", DQN, discrete, own_loss),
        case("rl_double_dueling_dqn", "rl/dueling", partial(DQN, True, True), discrete, own_loss),
        case("rl_ppo", "rl/ppo", PPO, discrete, own_loss),
        case("rl_reinforce", "rl/reinforce", Reinforce, discrete, own_loss),
        case("rl_sac", "rl/sac", SAC, smooth, own_loss),
        case("rl_ddpg_actor", "rl/ddpg", DDPGActor, smooth, own_loss),
        case("rl_c51", "rl/c51", Distributional, discrete, own_loss),
        case("rl_quantile_dqn", "rl/quantile", Quantile, discrete, own_loss),
        case("rl_world_model", "rl/world", World, smooth, own_loss),
        case("rl_preferences", "rl/dpo", Preference, discrete, own_loss),
    ]
