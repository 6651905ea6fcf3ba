"""Losses of one batch that several models share."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Loss, Step

LOG_2_PI = math.log(2 * math.pi)


def supervised(loss: Loss = F.cross_entropy) -> Step:
    """The usual step: the loss between the output and the target."""

    def step(model: nn.Module, batch: Batch) -> Tensor:
        x, y = batch
        return loss(model(x), y)

    return step


def next_token(model: nn.Module, tokens: Batch) -> Tensor:
    """Cross entropy of every token given those before it."""
    logits = model(tokens[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())


def reconstruct(model: nn.Module, x: Batch) -> Tensor:
    """Mean squared error of an autoencoder."""
    return F.mse_loss(model(x), x)


def own_loss(model: nn.Module, batch: Batch) -> Tensor:
    """For models whose forward pass returns the loss itself."""
    loss: Tensor = model(*batch) if isinstance(batch, tuple) else model(batch)
    return loss


classify: Step = supervised()
fit: Step = supervised(F.mse_loss)


def copied(model: nn.Module, tokens: Batch) -> Tensor:
    """Teacher forcing on the source itself."""
    logits = model(tokens, tokens[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())


def ctc(model: nn.Module, batch: Batch) -> Tensor:
    """The CTC loss of the whole batch."""
    x, words = batch
    logits = model(x)
    frames = torch.full((x.shape[0],), logits.shape[0])
    return F.ctc_loss(logits, words, frames, torch.full((x.shape[0],), words.shape[1]))


def classify_pair(model: nn.Module, batch: Batch) -> Tensor:
    """Cross entropy of a model of two inputs."""
    x, other, label = batch
    return F.cross_entropy(model(x, other), label)
