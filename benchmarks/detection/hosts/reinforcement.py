"""Hosts that act: values and policies."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from benchmarks.detection.hosts.host import Host
from benchmarks.detection.vocabulary.stacks import he, mlp
from benchmarks.detection.vocabulary.tasks import Task, TaskBatch, accuracy_gain, explained, randint


def action_values() -> Task:
    """The reward of one taken action out of three; scored on all three."""

    def draw(g: Generator, size: int) -> TaskBatch:
        state = torch.randn(size, 4, generator=g)
        x, y = state[:, 0], state[:, 1]
        values = torch.stack([(x * y).tanh(), x.abs() - 0.8, (x - y).sin()], 1)
        return (state,), (values, randint(g, 3, size, 1))

    def loss(out: Tensor, target: tuple[Tensor, Tensor]) -> Tensor:
        values, action = target
        return F.mse_loss(out.gather(1, action), values.gather(1, action))

    return Task(draw, loss, lambda out, target: explained(out, target[0]))


class ActorCritic(nn.Module):
    """PPO's shared tanh trunk: orthogonal, gain sqrt(2), 0.01 for the policy and 1 for the value."""

    def __init__(self, inputs: int = 4, width: int = 48, actions: int = 4) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh())
        self.policy, self.value = nn.Linear(width, actions), nn.Linear(width, 1)
        for layer, gain in ((self.body[0], 2**0.5), (self.body[2], 2**0.5), (self.policy, 0.01), (self.value, 1.0)):
            nn.init.orthogonal_(layer.weight, gain)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.body(state)
        return self.policy(hidden), self.value(hidden)


def bandit(actions: int = 4) -> Task:
    """One action taken at random and its reward; scored by the action that the policy likes best."""

    def draw(g: Generator, size: int) -> TaskBatch:
        state = torch.randn(size, 4, generator=g)
        right = 2 * (state[:, 0] * state[:, 1] > 0).long() + (state[:, 2] > 0).long()
        taken = randint(g, actions, size)
        return (state,), (right, taken)

    def loss(out: tuple[Tensor, Tensor], target: Any) -> Tensor:
        (logits, value), (right, taken) = out, target
        reward = (right == taken).float()
        chosen = logits.log_softmax(-1).gather(1, taken[:, None])[:, 0]
        ratio = (chosen + math.log(actions)).exp()
        return -(ratio * (reward - 0.25)).mean() + 0.5 * F.mse_loss(value[:, 0], reward)

    return Task(draw, loss, lambda out, target: accuracy_gain(actions)(out[0], target[0]))


def hosts() -> list[Host]:
    """The hosts of this file."""
    return [
        Host(name="dqn", build=lambda: mlp(4, nn.ReLU, he, outputs=3), task=action_values()),
        Host(
            name="actor-critic", build=ActorCritic, task=bandit(), trunk=("body*",), steps=320, train_batch=256, round=2
        ),
    ]
