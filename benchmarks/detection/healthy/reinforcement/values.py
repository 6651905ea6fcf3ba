"""Values of states and actions."""

from __future__ import annotations

import copy
import math
from functools import partial

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
    prototypes,
    transitions,
)
from benchmarks.detection.vocabulary.blocks import mlp
from benchmarks.detection.vocabulary.losses import own_loss


class Dueling(nn.Module):
    """A value and an advantage, whose mean is taken off."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(STATES_8, 64), nn.ReLU())
        self.value, self.advantage = nn.Linear(64, 1), nn.Linear(64, ACTIONS_4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.trunk(x)
        advantage = self.advantage(h)
        out: Tensor = self.value(h) + advantage - advantage.mean(dim=1, keepdim=True)
        return out


class DQN(nn.Module):
    """Deep Q-learning with a frozen target network; double and dueling on request."""

    def __init__(self, double: bool = False, dueling: bool = False) -> None:
        super().__init__()
        self.online: nn.Module = Dueling() if dueling else mlp([STATES_8, 64, 64, ACTIONS_4])
        self.target, self.twice = copy.deepcopy(self.online).requires_grad_(False), double

    def forward(self, state: Tensor, action: Tensor, reward: Tensor, after: Tensor, end: Tensor) -> Tensor:
        value = self.online(state).gather(1, action[:, None])[:, 0]
        with torch.no_grad():
            ahead = self.target(after)
            best = (self.online(after) if self.twice else ahead).argmax(dim=1, keepdim=True)
            goal = reward + 0.99 * (1 - end) * ahead.gather(1, best)[:, 0]
        return F.smooth_l1_loss(value, goal)


class Distributional(nn.Module):
    """C51: a categorical distribution over returns for every action."""

    def __init__(self, atoms: int = 11) -> None:
        super().__init__()
        self.net, self.atoms = mlp([STATES_8, 64, ACTIONS_4 * atoms]), atoms

    def forward(self, state: Tensor, action: Tensor, reward: Tensor, after: Tensor, end: Tensor) -> Tensor:
        logits = self.net(state).unflatten(1, (ACTIONS_4, self.atoms))[torch.arange(len(action)), action]
        place = (reward.clamp(-1, 1) + 1) / 2 * (self.atoms - 1)
        share = (1 - (place[:, None] - torch.arange(self.atoms)).abs()).clamp(min=0)
        return F.cross_entropy(logits, share)


class Quantile(nn.Module):
    """QR-DQN: the quantile Huber loss."""

    def __init__(self, quantiles: int = 8) -> None:
        super().__init__()
        self.net, self.quantiles = mlp([STATES_8, 64, ACTIONS_4 * quantiles]), quantiles

    def forward(self, state: Tensor, action: Tensor, reward: Tensor, after: Tensor, end: Tensor) -> Tensor:
        made = self.net(state).unflatten(1, (ACTIONS_4, self.quantiles))[torch.arange(len(action)), action]
        level = (torch.arange(self.quantiles) + 0.5) / self.quantiles
        miss = reward[:, None] - made
        distance = F.huber_loss(made, reward[:, None].expand_as(made), reduction="none")
        out: Tensor = ((level - (miss < 0).float()).abs() * distance).mean()
        return out


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
        self.body, self.atoms = mlp([STATES_6, 32, 32]), atoms
        self.value = nn.Sequential(Noisy(32, 32), nn.ReLU(), Noisy(32, atoms))
        self.advantage = nn.Sequential(Noisy(32, 32), nn.ReLU(), Noisy(32, ACTIONS_3 * atoms))
        self.register_buffer("support", torch.linspace(-5, 5, atoms))

    def forward(self, state: Tensor) -> Tensor:
        hidden = F.relu(self.body(state))
        advantage = self.advantage(hidden).unflatten(1, (ACTIONS_3, self.atoms))
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
        self.body, self.head = mlp([STATES_6, 32, 32]), mlp([32, 32, ACTIONS_3])
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
        self.critics = nn.ModuleList(mlp([STATES_6 + 2, 48, 48, 1]) for _ in range(2))
        self.slow = copy.deepcopy(self.critics).requires_grad_(False)
        self.actor = mlp([STATES_6, 48, 2]).requires_grad_(False)

    def forward(self, state: Tensor, action: Tensor, reward: Tensor, after: Tensor, ended: Tensor) -> Tensor:
        with torch.no_grad():
            noise = (0.2 * torch.randn_like(action)).clamp(-0.5, 0.5)
            next_pair = torch.cat([after, (self.actor(after).tanh() + noise).clamp(-1, 1)], 1)
            ahead = torch.minimum(*(critic(next_pair) for critic in self.slow))[:, 0]
            target = reward + 0.9 * (1 - ended) * ahead
        pair = torch.cat([state, action], 1)
        return sum((F.mse_loss(critic(pair)[:, 0], target) for critic in self.critics), torch.zeros(()))


def pushes(seed: int, size: int) -> Batch:
    """The same with continuous actions."""
    state, _, _, after, ended = moves(seed, size)
    action = torch.rand(size, 2, generator=generator(seed + 1)) * 2 - 1
    return state, action, -(action - state[:, :2].tanh()).square().sum(1), after, ended


class Expectile(nn.Module):
    """IQL: an expectile value, a critic on it, and a policy weighed by the advantage."""

    def __init__(self) -> None:
        super().__init__()
        self.critic, self.value = mlp([STATES_6 + 2, 48, 48, 1]), mlp([STATES_6, 48, 48, 1])
        self.policy, self.log_std = mlp([STATES_6, 48, 48, 2]), nn.Parameter(torch.zeros(2))
        self.slow = copy.deepcopy(self.critic).requires_grad_(False)

    def forward(self, state: Tensor, action: Tensor, reward: Tensor, after: Tensor, ended: Tensor) -> Tensor:
        pair = torch.cat([state, action], 1)
        gap = self.slow(pair)[:, 0] - self.value(state)[:, 0]
        value = ((0.7 - (gap < 0).float()).abs() * gap.square()).mean()
        target = (reward + 0.9 * (1 - ended) * self.value(after)[:, 0]).detach()
        critic = F.mse_loss(self.critic(pair)[:, 0], target)
        likely = torch.distributions.Normal(self.policy(state).tanh(), self.log_std.exp()).log_prob(action).sum(1)  # type: ignore[no-untyped-call]
        return value + critic - ((3 * gap.detach()).exp().clamp(max=100) * likely).mean()


class Monotonic(nn.Module):
    """QMIX: agents' values, mixed by a net whose non-negative weights come from hypernetworks."""

    def __init__(self, agents: int = 3, width: int = 8) -> None:
        super().__init__()
        self.agents, self.width = agents, width
        self.agent = mlp([STATES_6, 32, ACTIONS_3])
        self.first, self.bias = nn.Linear(agents * STATES_6, agents * width), nn.Linear(agents * STATES_6, width)
        self.second, self.value = nn.Linear(agents * STATES_6, width), mlp([agents * STATES_6, width, 1])

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        values = self.agent(states).gather(2, actions[..., None])[..., 0]
        whole = states.flatten(1)
        weight = self.first(whole).abs().view(-1, self.agents, self.width)
        hidden = F.elu((values[:, None] @ weight)[:, 0] + self.bias(whole))
        return (hidden * self.second(whole).abs()).sum(1) + self.value(whole)[:, 0]


def teams(seed: int, size: int) -> Batch:
    """What three agents see and do, and what they get together."""
    g = generator(seed)
    states, actions = torch.randn(size, 3, STATES_6, generator=g), torch.randint(ACTIONS_3, (size, 3), generator=g)
    return states, actions, states[..., :ACTIONS_3].gather(2, actions[..., None]).sum((1, 2)).tanh()


def teamwork(model: nn.Module, batch: Batch) -> Tensor:
    """Squared error of the joint value."""
    return F.mse_loss(model(*batch[:2]), batch[2])


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


def scored_moves(seed: int, size: int) -> Batch:
    """States, one of four actions, reward and the next state."""
    g = generator(seed)
    state, action = torch.randn(size, 6, generator=g), torch.randint(4, (size,), generator=g)
    after = state + 0.3 * prototypes(4, 6)[action]
    return state, action, after.square().mean(1) - state.square().mean(1), after


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


def orthogonal(model: nn.Module, gain: float = math.sqrt(2)) -> nn.Module:
    """The initialisation of the usual policy gradient libraries."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.orthogonal_(module.weight, gain)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model


class Distillation(nn.Module):
    """RND: a predictor of a random net, orthogonal both."""

    def __init__(self) -> None:
        super().__init__()
        self.target = orthogonal(mlp([STATES_6, 32, 16])).requires_grad_(False)
        self.predict = orthogonal(mlp([STATES_6, 32, 32, 16]))

    def forward(self, state: Tensor) -> Tensor:
        return F.mse_loss(self.predict(state), self.target(state))


def states(seed: int, size: int) -> Batch:
    return moves(seed, size)[0]


def cases() -> list[Case]:
    """The cases of this file."""
    return [
        case("rl_dqn", "rl/dqn", DQN, transitions(), own_loss),
        case("rl_double_dueling_dqn", "rl/dueling", partial(DQN, True, True), transitions(), own_loss),
        case("rl_c51", "rl/c51", Distributional, transitions(), own_loss),
        case("rl_quantile_dqn", "rl/quantile", Quantile, transitions(), own_loss),
        case("second_learning_rainbow", "second/rainbow", Rainbow, moves, projected, size=16, round=2),  # type: ignore[arg-type]
        case("second_learning_iqn", "second/iqn", Implicit, moves, implicit, size=16, round=2),
        case("second_learning_td3_critics", "second/td3_critics", Twins, pushes, own_loss, size=16, round=2),
        case("second_learning_iql", "second/iql", Expectile, pushes, own_loss, size=16, round=2),
        case("second_learning_qmix", "second/qmix", Monotonic, teams, teamwork, size=16, round=2),
        case("third_learning_conservative_q", "third/conservative_q", Conservative, scored_moves, own_loss, round=3),
        case(
            "fourth_learning_histogram_value",
            "fourth/histogram_value",
            HistogramValue,
            changes_of_state,
            own_loss,
            round=4,
        ),
        case(
            "fourth_learning_successor_features",
            "fourth/successor_features",
            SuccessorFeatures,
            wanderings,
            own_loss,
            round=4,
        ),
        case("second_learning_rnd", "second/rnd", Distillation, states, own_loss, size=16, round=2),
    ]
