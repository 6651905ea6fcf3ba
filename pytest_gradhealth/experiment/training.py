"""A few steps of training on a copy: they show what the gradients of one pass cannot."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from pytest_gradhealth.experiment.subject import Subject
from pytest_gradhealth.measure.passes.nesting import copied
from pytest_gradhealth.measure.passes.pause import paused
from pytest_gradhealth.measure.runs.adam import Adam
from pytest_gradhealth.measure.runs.state import isolated_rng

__all__ = ["loss_before_training", "losses_while_training", "mean_losses"]


def losses_while_training(subject: Subject, steps: int, learning_rate: float) -> list[float]:
    """The loss of each pass while Adam trains a subject in place, its batches taking turns.

    One more pass for each batch follows the last step, so that ends can be compared with beginnings. Empty where the
    loss has no gradient.

    Args:
        subject: what is trained; its model is changed.
        steps: optimiser steps.
        learning_rate: of Adam.
    """
    model, count = subject.model, len(subject.batches)
    optimiser = Adam([p for p in model.parameters() if p.requires_grad], learning_rate, widened=False)  # as users' own
    device, losses = next(model.parameters()).device, list[float]()
    with paused(), isolated_rng(subject.seed), torch.enable_grad():
        model.train()
        for index in range(steps + count):
            optimiser.zero_grad()
            loss = subject.step(model, copied(subject.batches[index % count], device))
            losses.append(float(loss.detach()))
            if not loss.requires_grad:
                return []
            torch.autograd.backward(loss)
            optimiser.step()
    return losses


def loss_before_training(subject: Subject) -> float:
    """Mean loss of a subject's batches as it stands; leaves no trace on it."""
    one_each = (replace(subject, batches=[batch]) for batch in subject.batches)
    return sum(float(one.dry_run().detach()) for one in one_each) / len(subject.batches)


def mean_losses(losses: list[float], count: int, steps: int) -> tuple[float, float]:
    """Mean loss of ``count`` batches before training and after so many steps; infinite where it became NaN."""
    before, after = sum(losses[:count]) / count, sum(losses[steps : steps + count]) / count
    return before, after if math.isfinite(after) else math.inf
