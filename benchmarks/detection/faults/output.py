"""Faults of the last layer: an activation that the loss does not expect."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.detection.cases import Case, Loss
from benchmarks.detection.faults.mutations import after, all_of, parameters_at
from benchmarks.detection.faults.placing import LAST, another_loss, at, make, output_change, raw_targets
from benchmarks.detection.hosts import HOSTS

CLASSIFIERS = ("mlp4-relu", "mlp12-tanh", "vgg-bn", "resnet", "lenet", "encoder4-pre", "lstm", "pointnet")


def log_of_softmax(x: Tensor) -> Tensor:
    return (200 * x).softmax(-1).log()


def probabilities(factor: float) -> Loss:
    return lambda out, target: F.binary_cross_entropy((factor * out).sigmoid(), target)


def double_softmax_cases() -> Iterator[Case]:
    for host in CLASSIFIERS:
        yield output_change(host, "double-softmax", lambda x: x.softmax(-1))
    for host in ("repvgg", "llama", "gin"):
        yield output_change(host, "double-softmax", lambda x: x.softmax(-1))
    for host in ("deep-cnn", "gat", "lstm-lm"):
        yield output_change(host, "double-softmax", lambda x: x.softmax(-1))
    for host in ("groupnorm-resnet", "bracket-encoder"):
        yield output_change(host, "double-softmax", lambda x: x.softmax(-1))


def sigmoid_before_softmax_cases() -> Iterator[Case]:
    for host in CLASSIFIERS[:6]:
        yield output_change(host, "sigmoid-before-softmax", torch.sigmoid)


def double_sigmoid_cases() -> Iterator[Case]:
    for host in ("discriminator", "unet"):
        yield output_change(host, "double-sigmoid", torch.sigmoid)
        yield output_change(host, "double-sigmoid", lambda x: x.sigmoid().sigmoid(), "twice")
    yield output_change("bars", "double-sigmoid", torch.sigmoid)
    yield output_change("dlrm", "double-sigmoid", torch.sigmoid)


def relu_on_logits_cases() -> Iterator[Case]:
    for host in CLASSIFIERS[::2]:
        yield output_change(host, "relu-on-logits", torch.relu)
    for host in ("mlp4-relu", "vgg-plain", "encoder4-pre", "lenet"):
        yield output_change(host, "relu-on-logits", lambda x: torch.relu(x - 20), "shifted")
    yield output_change("llama", "relu-on-logits", lambda x: torch.relu(x - 20), "shifted")


def relu_on_regression_cases() -> Iterator[Case]:
    for host in ("siren", "nhits", "mingru"):
        yield make(host, "relu-on-regression", after("", torch.relu), at("head", "heads"))
        yield make(
            host, "relu-on-regression", after("", lambda x: (x - 5).relu()), at("head", "heads"), variant="shifted"
        )
    yield make(
        "tall-regressor",
        "relu-on-regression",
        all_of(after("", F.relu), parameters_at("24.bias", -20.0)),
        LAST["tall-regressor"],
        variant="shifted",
    )


def tanh_on_raw_targets_cases() -> Iterator[Case]:
    for host in ("siren", "nhits", "mingru"):
        for factor in (10.0, 1e5):
            yield make(
                host,
                "tanh-on-raw-targets",
                after("", torch.tanh),
                at("head", "heads"),
                variant=f"{factor:g}",
                batch=raw_targets(HOSTS[host], factor),
            )


def cold_logits_cases() -> Iterator[Case]:
    for host in ("mlp4-relu", "vgg-bn", "ft-transformer"):
        yield output_change(host, "cold-logits", lambda x: x * 1e-6)


def log_softmax_twice_cases() -> Iterator[Case]:
    for host in ("repvgg", "llama", "gin"):
        yield output_change(host, "log-softmax-twice", lambda x: x.log_softmax(-1))


def log_of_softmax_cases() -> Iterator[Case]:
    for host in ("repvgg", "llama", "gin"):
        yield output_change(host, "log-of-softmax", log_of_softmax)


def softmax_over_batch_cases() -> Iterator[Case]:
    for host in ("repvgg", "inception", "gin", "retrieval"):
        yield make(
            host,
            "softmax-over-batch",
            after("", lambda x: x.softmax(0)),
            at("head") if host != "retrieval" else ("query*", "document*"),
        )


def saturated_probabilities_cases() -> Iterator[Case]:
    for host in ("dcn", "pyramid"):
        for factor in (1.0, 1e4):
            yield make(
                host,
                "saturated-probabilities",
                None,
                at("head"),
                variant=f"x{factor:g}",
                step=another_loss(probabilities(factor)),
            )


def nll_on_logits_cases() -> Iterator[Case]:
    for host in ("repvgg", "gin"):
        step = another_loss(lambda out, target: F.nll_loss(out, target))
        yield make(host, "nll-on-logits", None, at("head"), step=step)


OPERATORS = (
    double_softmax_cases,
    sigmoid_before_softmax_cases,
    double_sigmoid_cases,
    relu_on_logits_cases,
    relu_on_regression_cases,
    tanh_on_raw_targets_cases,
    cold_logits_cases,
    log_softmax_twice_cases,
    log_of_softmax_cases,
    softmax_over_batch_cases,
    saturated_probabilities_cases,
    nll_on_logits_cases,
)
