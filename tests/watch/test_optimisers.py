"""What optimisers hold, what of it ever has a gradient, and what moves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytest_gradhealth import GradHealth, GradientHealthError, Settings
from pytest_gradhealth.record import Check, Finding


def watched(run: Callable[[], object]) -> list[Check]:
    """Every check that comes of watching this."""
    kept: list[Check] = []
    torch.manual_seed(0)
    try:
        with GradHealth(Settings(device="cpu"), sink=kept.append).watch():
            run()
    except GradientHealthError:
        pass
    return kept


def kinds(checks: Iterable[Check]) -> list[str]:
    return [finding.fault for check in checks for finding in check.findings]


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))


def batch(step: int = 0) -> tuple[Tensor, Tensor]:
    x = torch.randn(32, 6, generator=torch.Generator().manual_seed(step))
    return x, x[:, :3].argmax(1)


def train(model: nn.Module, optimiser: torch.optim.Optimizer, steps: int = 6, dtype: torch.dtype | None = None) -> None:
    for step in range(steps):
        x, y = batch(step)
        optimiser.zero_grad()
        F.cross_entropy(model(x.to(dtype)), y).backward()
        optimiser.step()


def test_layers_replaced_after_the_optimiser_was_made() -> None:
    def run() -> None:
        model = net()
        optimiser = torch.optim.Adam(model.parameters())
        model[2] = nn.Linear(16, 16)
        train(model, optimiser)

    (check,) = watched(run)
    (finding,) = check.findings
    assert (finding.kind, finding.layers) == ("unoptimised-layer", ("2",))
    assert "before layers were replaced" in finding.cause
    assert [layer.optimised for layer in check.record] == [True, False, True]
    assert [layer.update is not None for layer in check.record] == [True, False, True]


def test_a_model_made_anew_after_the_optimiser() -> None:
    (check,) = watched(lambda: train(net(), torch.optim.Adam(net().parameters())))
    (finding,) = check.findings
    assert finding.kind == "idle-optimiser"
    assert set(finding.layers) == {"0", "2", "4"}
    assert "before layers were replaced" in finding.cause


def test_a_loss_that_only_pretends_to_have_a_graph() -> None:
    def run() -> None:
        model = net()
        optimiser = torch.optim.SGD(model.parameters(), 0.1)
        for step in range(3):
            x, y = batch(step)
            wrong = (model(x).argmax(1) != y).float().mean().requires_grad_(True)
            optimiser.zero_grad()
            wrong.backward()
            optimiser.step()

    (check,) = watched(run)
    (finding,) = check.findings
    assert (finding.kind, finding.layer) == ("idle-optimiser", "4")
    assert "requires_grad_(True)" in finding.cause


def gan(*, detached: bool, steps: int = 4) -> None:
    generator, critic = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 6)), net()
    makes = torch.optim.Adam(generator.parameters(), 1e-3)
    judges = torch.optim.Adam(critic.parameters(), 1e-3)
    for step in range(steps):
        fake = generator(torch.randn(32, 4))
        judges.zero_grad()
        (F.softplus(-critic(batch(step)[0])).mean() + F.softplus(critic(fake.detach())).mean()).backward()
        judges.step()
        makes.zero_grad()
        F.softplus(-critic(fake.detach() if detached else fake)).mean().backward()
        makes.step()


def test_a_generator_that_is_detached() -> None:
    checks = watched(lambda: gan(detached=True))
    (finding,) = (finding for check in checks for finding in check.findings)
    assert finding.kind == "idle-optimiser"
    assert "4 parameters" in finding.message
    assert "cut off" in finding.cause


def probe() -> None:
    """Only a new head is trained: the rest has gradients, and no optimiser on purpose."""
    model = net()
    train(model, torch.optim.Adam(model[4].parameters()))


def rehearsal() -> None:
    """A scheduler asks for a step in front of its own; what is trained is another model."""
    model = net()
    optimiser = torch.optim.SGD(net().parameters(), 0.1)
    for _ in range(3):
        optimiser.step()
    train(model, torch.optim.Adam(model.parameters()))


def closures() -> None:
    model, (x, y) = net(), batch()
    optimiser = torch.optim.LBFGS(model.parameters(), 0.1)

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        return loss

    for _ in range(2):
        optimiser.step(closure)


@pytest.mark.parametrize("run", [lambda: gan(detached=False), probe, rehearsal, closures])
def test_what_is_meant_so_is_no_finding(run: Callable[[], None]) -> None:
    checks = watched(run)
    assert checks
    assert not kinds(checks)


def half(rate: float, dtype: torch.dtype, warm_up: int = 0, **options: object) -> None:
    model = net().to(dtype)
    optimiser = torch.optim.Adam(model.parameters(), rate, **options)  # type: ignore[arg-type]
    for step in range(6):
        for group in optimiser.param_groups:
            group["lr"] = 0.0 if step < warm_up else rate
        train(model, optimiser, 1, dtype)


def test_steps_below_the_resolution_of_half_precision() -> None:
    (check,) = watched(lambda: half(1e-6, torch.bfloat16))
    (finding,) = check.findings
    assert finding.kind == "lost-update"
    assert finding.value is not None
    assert finding.value > 0.9


@pytest.mark.parametrize("warm_up", [0, 2])
def test_steps_that_half_precision_holds(warm_up: int) -> None:
    checks = watched(lambda: half(1e-2, torch.bfloat16, warm_up))
    assert checks
    assert not kinds(checks)


def test_an_eps_that_is_zero_in_half_precision() -> None:
    (check,) = watched(lambda: half(1e-3, torch.float16))
    (finding,) = check.findings
    assert finding.kind == "non-finite"
    assert "eps of Adam is zero" in finding.cause
    assert check.record.steps > 0
    assert not kinds(watched(lambda: half(1e-3, torch.float16, eps=1e-4)))


def test_the_update_is_that_of_the_optimiser() -> None:
    def run() -> None:
        model = nn.Sequential(nn.Linear(6, 3, bias=False))
        model[0].weight.data.fill_(0.5)
        train(model, torch.optim.SGD(model.parameters(), 0.1), 1)

    (check,) = watched(run)
    layer = check.record["0"]
    assert layer.update == pytest.approx(0.1 * (layer.norm or 0) / layer.weight_norm, rel=1e-4)
    assert check.record.optimisers[0].steps == 1


def test_no_hook_stays() -> None:
    from torch.optim import optimizer

    before = (len(optimizer._global_optimizer_pre_hooks), len(optimizer._global_optimizer_post_hooks))
    watched(probe)
    assert before == (len(optimizer._global_optimizer_pre_hooks), len(optimizer._global_optimizer_post_hooks))


def trained(optimiser: Callable[..., torch.optim.Optimizer], steps: int = 34) -> list[Finding]:
    """What is found where a network is trained so many steps."""

    def run() -> None:
        model = net()
        train(model, optimiser(model.parameters()), steps)

    return [finding for check in watched(run) for finding in check.findings]


@pytest.mark.parametrize("optimiser", [partial(torch.optim.Adam, lr=3.0), partial(torch.optim.SGD, lr=100.0)])
def test_steps_that_sweep_the_weights_away(optimiser: Callable[..., torch.optim.Optimizer]) -> None:
    (finding,) = trained(optimiser)
    assert finding.kind == "excessive-steps"
    assert "learning rate" in finding.cause
    assert finding.value is not None
    assert finding.value > 1


def test_steps_that_are_nothing_beside_the_weights() -> None:
    (finding,) = trained(partial(torch.optim.Adam, lr=1e-8))
    assert finding.kind == "negligible-steps"
    assert "1e-08" in finding.cause


@pytest.mark.parametrize("optimiser", [partial(torch.optim.Adam, lr=0.02), partial(torch.optim.SGD, lr=1e-3)])
def test_steps_of_a_common_size(optimiser: Callable[..., torch.optim.Optimizer]) -> None:
    assert not trained(optimiser)


def test_a_few_steps_of_any_size_are_no_training() -> None:
    assert not trained(partial(torch.optim.Adam, lr=1e-8), steps=8)


def test_a_learning_rate_that_warms_up_is_not_negligible() -> None:
    def warming(parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
        optimiser = torch.optim.Adam(parameters, lr=0.0)
        optimiser.register_step_pre_hook(
            lambda held, *_: held.param_groups[0].update(lr=held.param_groups[0]["lr"] + 3e-9)
        )
        return optimiser

    assert not trained(warming)


def test_a_classifier_without_activations_in_a_training_but_not_in_a_few_steps() -> None:
    def run(steps: int, *between: nn.Module) -> list[str]:
        model = nn.Sequential(nn.Linear(6, 16), *between, nn.Linear(16, 3))
        checks = watched(lambda: train(model, torch.optim.Adam(model.parameters()), steps))
        return [finding.kind for check in checks for finding in check.findings]

    assert run(34, nn.Linear(16, 16)) == ["missing-activation"]
    assert run(8, nn.Linear(16, 16)) == []
    assert run(34) == []  # an encoder and a head are a minimal example of anything


@pytest.mark.parametrize(
    ("lose", "cause"),
    [
        (lambda model, optimiser: nn.utils.clip_grad_norm_(model.parameters(), 0.0), "clip_grad_norm_"),
        (lambda model, optimiser: optimiser.zero_grad(), "zero_grad() runs between"),
        (lambda model, optimiser: nn.utils.clip_grad_norm_(model.parameters(), 1.0), None),
    ],
    ids=["clipped at 0", "zeroed before the step", "clipped at 1"],
)
def test_gradients_that_are_gone_before_the_step(
    lose: Callable[[nn.Module, torch.optim.Optimizer], object], cause: str | None
) -> None:
    def run() -> None:
        model = net()
        optimiser = torch.optim.SGD(model.parameters(), 0.1)
        for step in range(3):
            x, y = batch(step)
            optimiser.zero_grad()
            F.cross_entropy(model(x), y).backward()
            lose(model, optimiser)
            optimiser.step()

    findings = [finding for check in watched(run) for finding in check.findings]
    assert [finding.kind for finding in findings] == ([] if cause is None else ["idle-optimiser"])
    assert all(cause in finding.cause and finding.layers == ("0", "2", "4") for finding in findings if cause)


def test_an_optimiser_that_asks_for_gradients_inside_its_step() -> None:
    def run() -> None:
        model = net()
        optimiser = torch.optim.LBFGS(model.parameters(), max_iter=2)

        def closure() -> Tensor:
            optimiser.zero_grad()
            loss = F.cross_entropy(model(batch()[0]), batch()[1])
            loss.backward()
            return loss

        for _ in range(3):
            optimiser.step(closure)
            optimiser.zero_grad()

    assert kinds(watched(run)) == []
