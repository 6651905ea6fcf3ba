"""Faults of the loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.detection.cases import Batch, Case, Loss, Step
from benchmarks.detection.faults.placing import LAST, another_loss, at, make, on_loss
from benchmarks.detection.hosts import HOSTS
from benchmarks.detection.hosts.generative import variational
from benchmarks.detection.hosts.host import Host


def divergence_alone(out: Any, target: Tensor) -> Tensor:
    """The reconstruction is averaged over all pixels, the divergence summed and multiplied once more."""
    drawn, mean, spread = out
    return F.mse_loss(drawn, target) + 100 * 0.5 * (mean.square() + spread.exp() - 1 - spread).sum(1).mean()


def divergence_rewarded(out: Any, target: Tensor) -> Tensor:
    """The divergence with a minus: the further from the prior, the better."""
    drawn, mean, spread = out
    return F.mse_loss(drawn, target) - 0.5 * (mean.square() + spread.exp() - 1 - spread).sum(1).mean()


def last_bias(model: nn.Module) -> Tensor:
    return next(p for name, p in reversed(list(model.named_parameters())) if name.endswith("bias"))


def bias_only(host: Host) -> Step:
    """The prediction is overwritten by the last bias before the loss: the model runs for nothing."""

    def step(model: nn.Module, batch: Batch) -> Tensor:
        inputs, target = batch
        out = model(*inputs)
        return host.task.loss(out.detach() * 0 + last_bias(model), target)

    return step


def one_head(model: nn.Module, batch: Batch) -> Tensor:
    inputs, target = batch
    return F.cross_entropy(model(*inputs)[0], target[0])


def value_only(model: nn.Module, batch: Batch) -> Tensor:
    (right, taken), (_, value) = batch[1], model(*batch[0])
    return F.mse_loss(value[:, 0], (right == taken).float())


def masked(host: Host) -> Step:
    """The loss is masked, and the mask is empty."""
    return lambda model, batch: (host.task.loss(model(*batch[0]), batch[1]) * torch.zeros(len(batch[1]))).mean()


def broadcast_step(model: nn.Module, batch: Batch) -> Tensor:
    """(n, 1) against (n,): every prediction is compared with every target."""
    inputs, target = batch
    wanted = target[0].gather(1, target[1]) if isinstance(target, tuple) else target
    out = model(*inputs)
    guess = out.gather(1, target[1]) if isinstance(target, tuple) else out
    error: Tensor = guess - wanted.squeeze(1)
    return error.square().mean()


def broadcast(out: Tensor, target: Tensor) -> Tensor:
    """(n, 1) against (n,): every prediction is compared with every target."""
    error: Tensor = out - target.squeeze(1)
    return error.square().mean()


def rewrapped(loss: Tensor) -> Tensor:
    """What people do when told that the loss does not require a gradient."""
    return torch.tensor(loss.item(), requires_grad=True)


def accuracy(out: Tensor, target: Tensor) -> Tensor:
    return 1 - (out.argmax(-1) == target).float().mean().requires_grad_()


def listed(loss: Tensor) -> Tensor:
    """The losses of an epoch are collected as numbers and made a tensor again."""
    return torch.tensor([loss.item()], requires_grad=True).mean()


def on_class_index(out: Tensor, target: Tensor) -> Tensor:
    """A regression on the number of the class."""
    return F.mse_loss(out.flatten(0, -2), target.flatten()[:, None].float().expand_as(out.flatten(0, -2)))


def swapped(out: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy with its arguments the wrong way round."""
    probabilities = out.flatten(0, -2).softmax(-1)
    return F.cross_entropy(F.one_hot(target.flatten(), out.shape[-1]).float(), probabilities)


def smoothed(out: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(out.flatten(0, -2), target.flatten(), label_smoothing=1.0)


def all_ignored(out: Tensor, target: Tensor) -> Tensor:
    """Every target carries the index that is ignored."""
    return F.cross_entropy(out.flatten(0, -2), torch.full_like(target.flatten(), -100))


def weightless(out: Tensor, target: Tensor) -> Tensor:
    """Class weights of zero but for one class."""
    weight = F.one_hot(torch.tensor(0), out.shape[-1]).float()
    return F.cross_entropy(out.flatten(0, -2), target.flatten(), weight=weight)


def divergence_of_probabilities(out: Tensor, target: Tensor) -> Tensor:
    """``kl_div`` is given probabilities where it asks for their logarithms."""
    right = F.one_hot(target.flatten(), out.shape[-1]).float()
    return F.kl_div(out.flatten(0, -2).softmax(-1), right, reduction="batchmean")


def viewed_targets(out: Tensor, target: Tensor) -> Tensor:
    """(N, T, C) viewed as if it were (N, C, T): logits of other places and classes are mixed."""
    return F.cross_entropy(out.reshape(len(out), out.shape[-1], -1), target)


def over_batch(out: Tensor, target: Tensor) -> Tensor:
    """Log-probabilities over the batch."""
    return F.nll_loss(out.flatten(0, -2).log_softmax(0), target.flatten())


def focal(out: Tensor, target: Tensor) -> Tensor:
    """The focusing exponent swallows every example that is not hopeless."""
    likely = out.flatten(0, -2).log_softmax(-1).gather(1, target.flatten()[:, None])
    return -((1 - likely.exp()) ** 200 * likely).mean()


def hard_dice(out: Tensor, target: Tensor) -> Tensor:
    """Dice on a thresholded mask, with an offset that lets it be differentiated."""
    mask = (out > 0).float() + 0 * out
    return 1 - 2 * (mask * target).sum() / (mask.sum() + target.sum() + 1)


def flat(out: Tensor, target: Tensor) -> Tensor:
    """Huber's loss with a threshold that nothing reaches."""
    return F.smooth_l1_loss(out, target, beta=1e12)


def far_margin(out: Any, target: Any) -> Tensor:
    """The margin carries the wrong sign: the loss is zero as it is."""
    anchor, like, unlike = out
    near, far = (anchor - like).norm(dim=1), (anchor - unlike).norm(dim=1)
    return (near - far - 100).relu().mean()


def likes_only(out: Any, target: Any) -> Tensor:
    """What is alike is drawn together, and nothing apart."""
    return (out[0] - out[1]).square().mean()


def one_to_itself(out: Any, target: Any) -> Tensor:
    """The anchor is compared with itself, by a root without an epsilon."""
    anchor, _, unlike = out
    near = (anchor - anchor).square().sum(1).sqrt()
    return (near - (anchor - unlike).square().sum(1).sqrt() + 1).relu().mean()


def bytes_as_targets(out: Tensor, target: Tensor) -> Tensor:
    """Pictures of 0 to 255 where probabilities were expected."""
    return F.binary_cross_entropy_with_logits(out, 255 * target)


def mean_before_square(out: Tensor, target: Tensor) -> Tensor:
    """The errors cancel before they are squared."""
    return (out - target).mean().square()


def not_squared(out: Tensor, target: Tensor) -> Tensor:
    """The difference itself: best at minus infinity."""
    return (out - target).mean()


def with_itself(out: Tensor, target: Tensor) -> Tensor:
    """``criterion(output, output)``."""
    return F.mse_loss(out, out)


def columns_picked(out: Tensor, target: Tensor) -> Tensor:
    """``log_p[:, target]`` takes the columns of all targets for every example."""
    return -out.log_softmax(-1)[:, target].mean()


def hinge_of_zero(out: Tensor, target: Tensor) -> Tensor:
    """The hinge loss asks for labels -1 and 1 and gets 0 and 1."""
    return F.relu(1 - out * target).mean()


def no_negatives(out: Tensor, target: Tensor) -> Tensor:
    """Only what is true counts."""
    return -(target * F.logsigmoid(out)).mean()


def item_partial(which: int) -> Loss:
    """One of two losses is added as a number."""

    def loss(out: Any, target: Any) -> Tensor:
        parts = [F.cross_entropy(out[0], target[0]), F.smooth_l1_loss(out[1], target[1])]
        return parts[1 - which] + parts[which].item()

    return loss


def in_millionths(seed: int, size: int) -> Batch:
    """The place in a unit that makes its error all that counts."""
    inputs, (kind, box) = HOSTS["localiser"].task.batch(seed, size)
    return inputs, (kind, 1e6 * box)


def squares(out: Any, target: Any) -> Tensor:
    return F.cross_entropy(out[0], target[0]) + F.mse_loss(out[1], target[1])


def with_penalty(host: str, weight: float) -> Step:
    """A penalty on the weights that is all the loss there is."""

    def step(model: nn.Module, batch: Batch) -> Tensor:
        penalty = torch.stack([parameter.abs().sum() for parameter in model.parameters()]).sum()
        return HOSTS[host].step(model, batch) + weight * penalty

    return step


def without_walls(out: Any, target: Tensor) -> Tensor:
    """The conditions at the walls are missing: any straight line may be added."""
    inside, _, bend = out
    return 0.02 * F.mse_loss(bend, -(torch.pi**2) * (target - 0.5 * inside[1]))


def cancelling_residual(out: Any, target: Tensor) -> Tensor:
    """The residual is averaged before it is squared."""
    inside, walls, bend = out
    off = (bend + torch.pi**2 * (target - 0.5 * inside[1])).mean().square()
    return 0.02 * off + F.mse_loss(walls, torch.tensor([[-0.5], [0.5]]))


def loss_sign_and_scale_cases() -> Iterator[Case]:

    def scaled(host: Host, factor: float) -> Step:
        return lambda model, batch: host.step(model, batch) * factor

    for name in ("mlp4-relu", "resnet", "encoder4-pre", "dqn", "lstm"):
        host = HOSTS[name]
        for factor in (1e-12, 1e-6, -1.0):
            yield make(
                name,
                "loss-sign" if factor < 0 else "loss-scale",
                None,
                ("*",),
                variant="" if factor < 0 else f"{factor:g}",
                step=scaled(host, factor),
            )


def loss_scale_cases() -> Iterator[Case]:

    def scaled(host: Host, factor: float) -> Step:
        return lambda model, batch: host.step(model, batch) * factor

    for name in ("mlp4-relu", "dqn"):
        yield make(name, "loss-scale", None, ("*",), variant="1e+12", step=scaled(HOSTS[name], 1e12))
    collapsed = variational(weight=100.0)
    yield make(
        "vae",
        "loss-scale",
        None,
        at("mean", "logvar"),
        variant="divergence",
        step=lambda model, batch: collapsed.loss(model(*batch[0]), batch[1]),
    )
    for host in ("inception", "siren", "denoiser"):
        yield make(host, "loss-scale", None, ("*",), variant="1e-12", step=on_loss(host, lambda loss: loss * 1e-12))
    for host in ("fourier", "quantiles"):
        yield make(host, "loss-scale", None, ("*",), variant="1e-12", step=on_loss(host, lambda loss: loss * 1e-12))
    yield make(
        "tall-regressor",
        "loss-scale",
        None,
        ("*",),
        variant="1e-12",
        step=on_loss("tall-regressor", lambda loss: loss * 1e-12),
    )
    yield make(
        "conv-vae",
        "loss-scale",
        None,
        ("fc_mu", "fc_logvar"),
        variant="divergence",
        step=another_loss(divergence_alone),
    )


def loss_sign_cases() -> Iterator[Case]:
    yield make("nhits", "loss-sign", None, ("*",), step=on_loss("nhits", lambda loss: -loss))
    for host in ("siamese", "elman"):
        yield make(host, "loss-sign", None, ("*",), step=on_loss(host, lambda loss: -loss))
    yield make("dlrm", "loss-sign", None, ("*",), step=on_loss("dlrm", lambda loss: -loss))
    yield make(
        "conv-vae",
        "loss-sign",
        None,
        ("fc_mu", "fc_logvar", "*"),
        variant="divergence",
        step=another_loss(divergence_rewarded),
    )


def loss_misses_model_cases() -> Iterator[Case]:
    for name in ("mlp4-relu", "vgg-bn", "encoder4-pre"):
        yield make(name, "loss-misses-model", None, ("*",), step=bias_only(HOSTS[name]))
    yield make("multitask", "loss-misses-model", None, at("tower", "head"), variant="one-head", step=one_head)
    yield make("actor-critic", "loss-misses-model", None, at("policy"), variant="value-only", step=value_only)
    yield make("denoiser", "loss-misses-model", None, ("*",), variant="empty-mask", step=masked(HOSTS["denoiser"]))


def loss_broadcast_cases() -> Iterator[Case]:
    yield make("dqn", "loss-broadcast", None, at("head"), step=broadcast_step)
    yield make("recommender", "loss-broadcast", None, at("head"), step=broadcast_step)
    for host in ("set-transformer", "elman"):
        yield make(host, "loss-broadcast", None, at("head"), step=another_loss(broadcast))
    for host in ("tall-regressor", "sage-jump"):
        yield make(host, "loss-broadcast", None, LAST[host], step=another_loss(broadcast))


def loss_rewrapped_cases() -> Iterator[Case]:
    for host in ("siren", "repvgg", "tagger"):
        yield make(host, "loss-rewrapped", None, ("*",), variant="item", step=on_loss(host, rewrapped))
    for host in ("repvgg", "gin"):
        yield make(host, "loss-rewrapped", None, ("*",), variant="accuracy", step=another_loss(accuracy))
    yield make("fourier", "loss-rewrapped", None, ("*",), variant="list", step=on_loss("fourier", listed))


def loss_misfit_cases() -> Iterator[Case]:
    misfits: tuple[tuple[str, str, Loss], ...] = (
        ("loss-on-class-index", "deep-cnn", on_class_index),
        ("loss-arguments-swapped", "gat", swapped),
        ("label-smoothing-one", "lstm-lm", smoothed),
        ("class-weights-zero", "deep-cnn", weightless),
        ("divergence-of-probabilities", "seq2seq", divergence_of_probabilities),
        ("logits-viewed-wrongly", "lstm-lm", viewed_targets),
        ("likelihood-over-batch", "gat", over_batch),
        ("likes-only", "siamese", likes_only),
        ("distance-to-itself", "siamese", one_to_itself),
        ("targets-unscaled", "bars", bytes_as_targets),
    )
    silent: tuple[tuple[str, str, Loss], ...] = (
        ("targets-ignored", "gat", all_ignored),
        ("focal-exponent", "deep-cnn", focal),
        ("hard-dice", "bars", hard_dice),
        ("threshold-out-of-reach", "fourier", flat),
        ("margin-sign", "siamese", far_margin),
    )
    for culprit, some in ((at("head"), misfits), (("*",), silent)):
        for name, host, loss in some:
            yield make(host, name, None, culprit, step=another_loss(loss))
    for host, name, loss in (
        ("tall-regressor", "mean-before-square", mean_before_square),
        ("mamba", "mean-before-square", mean_before_square),
        ("sage-jump", "error-not-squared", not_squared),
        ("tall-regressor", "loss-with-itself", with_itself),
        ("all-conv", "columns-picked", columns_picked),
        ("dlrm", "hinge-of-zero", hinge_of_zero),
        ("dlrm", "negatives-forgotten", no_negatives),
    ):
        yield make(host, name, None, ("*",) if name == "loss-with-itself" else LAST[host], step=another_loss(loss))


def loss_item_partial_cases() -> Iterator[Case]:
    for which, name in enumerate(("kind", "box")):
        yield make(
            "localiser", "loss-item-partial", None, at(name), variant=name, step=another_loss(item_partial(which))
        )


def loss_drowned_cases() -> Iterator[Case]:
    yield make("localiser", "loss-drowned", None, at("box"), step=another_loss(squares), batch=in_millionths)


def penalty_dominates_cases() -> Iterator[Case]:
    yield make("quantiles", "penalty-dominates", None, ("*",), step=with_penalty("quantiles", 10.0))


def loss_clamped_cases() -> Iterator[Case]:
    for limit, host in ((0.001, "fourier"), (0.5, "gat")):
        yield make(
            host,
            "loss-clamped",
            None,
            ("*",),
            variant=f"{limit:g}",
            step=on_loss(host, lambda loss, limit=limit: loss.clamp(max=limit)),  # type: ignore[misc]
        )


def volume_forgotten_cases() -> Iterator[Case]:
    yield make("flow", "volume-forgotten", None, ("body*",), step=another_loss(lambda out, _: out[0].square().mean()))


def condition_forgotten_cases() -> Iterator[Case]:
    yield make("pinn", "condition-forgotten", None, ("net.6", "net"), step=another_loss(without_walls))


def mean_before_square_cases() -> Iterator[Case]:
    yield make("pinn", "mean-before-square", None, ("net.6", "net"), step=another_loss(cancelling_residual))


OPERATORS = (
    loss_sign_and_scale_cases,
    loss_scale_cases,
    loss_sign_cases,
    loss_misses_model_cases,
    loss_broadcast_cases,
    loss_rewrapped_cases,
    loss_misfit_cases,
    loss_item_partial_cases,
    loss_drowned_cases,
    penalty_dominates_cases,
    loss_clamped_cases,
    volume_forgotten_cases,
    condition_forgotten_cases,
    mean_before_square_cases,
)
