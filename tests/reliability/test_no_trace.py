"""A check leaves models, optimisers, generators and the process as they were, bit for bit, however it ends."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytest_gradhealth import GradHealth, GradientHealthError, MeasurementError, Settings
from pytest_gradhealth.measure.passes.interrupts import uninterrupted
from tests.reliability import snapshot
from tests.reliability.models import CASES, Case, classified

HEALTH = GradHealth(Settings(device="cpu"))


class Timeout(BaseException):
    """What pytest-timeout and pytest.fail raise is no Exception."""


ERRORS = (RuntimeError, MemoryError, KeyboardInterrupt, pytest.exit.Exception, Timeout)


def raising(error: type[BaseException]) -> Callable[..., Any]:
    def hook(*args: Any) -> None:
        raise error("on purpose")

    return hook


def before_the_model(case: Case, error: type[BaseException]) -> Callable[..., Any]:
    return lambda model, batch: raising(error)()


def inside_the_model(case: Case, error: type[BaseException]) -> Callable[..., Any]:
    case.model.register_forward_hook(raising(error))
    return case.step


def behind_the_model(case: Case, error: type[BaseException]) -> Callable[..., Any]:
    return lambda model, batch: (case.step(model, batch), raising(error)())[0]


def in_a_backward_hook(case: Case, error: type[BaseException]) -> Callable[..., Any]:
    def step(model: nn.Module, batch: Any) -> Tensor:
        loss = case.step(model, batch)
        loss.register_hook(raising(error))
        return loss

    return step


ENDS = (before_the_model, inside_the_model, behind_the_model, in_a_backward_hook)


def check(case: Case, step: Callable[..., Any] | None = None) -> None:
    with suppress(GradientHealthError):
        HEALTH.check(case.model, [case.batch, case.batch], step=step or case.step)


def made(name: str) -> Case:
    """With a gradient and a mixed mode, so that neither may be lost."""
    case = CASES[name]()
    parameter = next(iter(case.model.parameters()))
    parameter.grad = torch.ones_like(parameter)
    list(case.model.modules())[-1].eval()
    return case


def trained(model: nn.Module) -> torch.optim.Optimizer:
    """An optimiser with a state, and hooks in front of its steps and behind them."""
    optimiser = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9)
    optimiser.step()
    optimiser.register_step_pre_hook(lambda *args: None)
    optimiser.register_step_post_hook(lambda *args: None)
    return optimiser


@pytest.mark.parametrize("name", CASES)
def test_however_a_check_ends(name: str) -> None:
    for number, end in enumerate((None, *ENDS)):
        error, case = ERRORS[(number + len(name)) % len(ERRORS)], made(name)
        optimiser, step = trained(case.model), case.step if end is None else end(case, error)
        model, state, process = snapshot.of_model(case.model), snapshot.of_optimiser(optimiser), snapshot.of_process()
        with nullcontext() if end is None else pytest.raises(error, match="on purpose"):
            check(case, step)
        assert snapshot.differences(snapshot.of_model(case.model), model) == [], end
        assert snapshot.differences(snapshot.of_optimiser(optimiser), state) == [], end
        assert snapshot.differences(snapshot.of_process(), process) == [], end


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("end", ENDS)
def test_every_end_with_every_error(end: Callable[..., Any], error: type[BaseException]) -> None:
    case = made("counting")
    step, model, process = end(case, error), snapshot.of_model(case.model), snapshot.of_process()
    with pytest.raises(error, match="on purpose"):
        check(case, step)
    assert snapshot.differences(snapshot.of_model(case.model), model) == []
    assert snapshot.differences(snapshot.of_process(), process) == []


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_in_the_loss(error: type[BaseException]) -> None:
    case = made("counting")
    model, process = snapshot.of_model(case.model), snapshot.of_process()
    with pytest.raises(error, match="on purpose"):
        HEALTH.check(case.model, [case.batch, case.batch], loss=raising(error))
    assert snapshot.differences(snapshot.of_model(case.model), model) == []
    assert snapshot.differences(snapshot.of_process(), process) == []


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_inside_a_coroutine(times: int) -> None:
    """The loop's own handler cancels the task at its next await; at a second signal it raises at once."""
    case, reached, signals = made("counting"), list[str](), iter([signal.SIGINT] * times)

    def step(model: nn.Module, batch: Any) -> Tensor:
        for number in signals:
            signal.raise_signal(number)
        return case.step(model, batch)

    async def test() -> None:
        check(case, step)
        reached.append("the end of the check")
        await asyncio.sleep(0)
        reached.append("the end of the test")

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        model, process = snapshot.of_model(case.model), snapshot.of_process()
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(test())
        assert reached == (["the end of the check"] if times == 1 else [])
        assert snapshot.differences(snapshot.of_model(case.model), model) == []
        assert snapshot.differences(snapshot.of_process(), process) == []
    finally:
        signal.signal(signal.SIGINT, handler)


@pytest.fixture
def moments() -> Iterator[Callable[..., int]]:
    """Runs something with a signal at the n-th place where CPython looks for one: a call, or a builtin's return."""

    def handler(number: int, frame: FrameType | None) -> None:
        raise Timeout("at a random moment")

    def run(action: Callable[[], None], at: int = -1) -> int:
        seen = 0

        def profile(frame: FrameType, event: str, arg: Any) -> None:
            nonlocal seen
            if event not in ("call", "c_return"):
                return
            seen += 1
            if seen == at:
                signal.raise_signal(signal.SIGALRM)

        sys.setprofile(profile)
        try:
            action()
        finally:
            sys.setprofile(None)
        return seen

    before = signal.signal(signal.SIGALRM, handler)
    yield run
    signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="Windows has no such signal")
def test_a_signal_while_signals_begin_or_cease_to_wait(moments: Callable[..., int]) -> None:
    """At each of the moments: it is not swallowed, and neither is another that comes later."""

    def context() -> None:
        with uninterrupted():
            len(())

    before, last = snapshot.of_process(), moments(context)
    for at in range(1, last):
        for moment in (at, last * 2 // 3):
            with pytest.raises(Timeout):
                moments(context, moment)
        assert snapshot.differences(snapshot.of_process(), before) == [], at


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="Windows has no such signal")
@pytest.mark.parametrize("name", ["counting", "batch norm"])
def test_a_signal_at_any_moment(moments: Callable[..., int], monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """What a handler raises while Python closes a generator is lost by Python itself, which says so in a hook."""
    lost: list[type[BaseException] | None] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: lost.append(told.exc_type))
    check(made(name))
    whole = made(name)
    last, reached = moments(lambda: check(whole)), 0
    for at in np.random.default_rng(0).integers(1, last, 60).tolist():
        case = made(name)
        model, process = snapshot.of_model(case.model), snapshot.of_process()
        lost.clear()
        with suppress(Timeout):
            assert moments(lambda case=case: check(case), at) < at or Timeout in lost, "a signal was swallowed"
            continue
        reached += 1
        assert snapshot.differences(snapshot.of_model(case.model), model) == [], at
        assert snapshot.differences(snapshot.of_process(), process) == [], at
    assert reached > 30


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="Windows has no such signal")
def test_a_watch_is_not_left_open_by_a_signal(moments: Callable[..., int]) -> None:
    def watched(case: Case) -> None:
        with HEALTH.watch(case.model):
            for _ in range(2):
                case.step(case.model, case.batch).backward()

    watched(made("batch norm"))
    whole = made("batch norm")
    last = moments(lambda: watched(whole))
    for at in np.random.default_rng(0).integers(1, last, 60).tolist():
        case, process = made("batch norm"), snapshot.of_process()
        hooks = [(dict(p._backward_hooks or ()), dict(m._forward_hooks)) for m in case.model.modules() for p in m.parameters()]  # fmt: skip
        with suppress(Timeout):
            moments(lambda case=case: watched(case), at)
        found = [(dict(p._backward_hooks or ()), dict(m._forward_hooks)) for m in case.model.modules() for p in m.parameters()]  # fmt: skip
        assert found == hooks, at
        assert snapshot.differences(snapshot.of_process(), process) == [], at


def test_training_goes_on_as_if_nothing_had_been_checked() -> None:
    def curve(checks: bool) -> list[float]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 3))
        order = torch.Generator().manual_seed(3)
        data = torch.utils.data.TensorDataset(torch.randn(32, 4), torch.randint(0, 3, (32,)))
        loader = torch.utils.data.DataLoader(data, 8, shuffle=True, generator=order)
        optimiser = torch.optim.Adam(model.parameters(), 1e-2)
        schedule, losses = torch.optim.lr_scheduler.StepLR(optimiser, 2), []
        for _ in range(3):
            for x, y in loader:
                loss = F.cross_entropy(model(x), y)
                if checks:
                    HEALTH.check(model, loader, loss=F.cross_entropy)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                losses.append(loss.item())
            schedule.step()
        return losses

    assert curve(checks=True) == curve(checks=False)


def test_a_graph_that_was_built_before_can_still_be_sent_back() -> None:
    for name in ("batch norm", "a head of zeros", "old spectral norm"):
        case = CASES[name]()
        loss = case.step(case.model, case.batch)
        expected = torch.autograd.grad(loss, list(case.model.parameters()), retain_graph=True)
        check(case)
        found = torch.autograd.grad(loss, list(case.model.parameters()))
        assert all(map(torch.equal, found, expected))


def test_an_optimiser_that_steps_inside_the_backward_pass_does_not() -> None:
    case = CASES["relu"]()
    optimisers = {p: torch.optim.Adam([p]) for p in case.model.parameters()}
    for parameter in optimisers:
        parameter.register_post_accumulate_grad_hook(lambda p: optimisers[p].step())
    case.step(case.model, case.batch).backward()
    before = [snapshot.of_optimiser(optimiser) for optimiser in optimisers.values()], snapshot.of_model(case.model)
    assert optimisers[case.model[0].weight].state[case.model[0].weight]["step"] == 1
    check(case)
    after = [snapshot.of_optimiser(optimiser) for optimiser in optimisers.values()], snapshot.of_model(case.model)
    assert after == before
    case.step(case.model, case.batch).backward()
    assert optimisers[case.model[0].weight].state[case.model[0].weight]["step"] == 2


def test_an_optimiser_that_the_step_drives_gets_its_state_back() -> None:
    """A training step that optimises by hand, as Lightning allows."""
    case = CASES["relu"]()
    optimiser = torch.optim.AdamW(case.model.parameters())
    case.step(case.model, case.batch).backward()
    optimiser.step()
    before = snapshot.of_optimiser(optimiser), snapshot.of_model(case.model)

    def step(model: nn.Module, batch: Any) -> Tensor:
        optimiser.param_groups[0]["lr"] *= 0.5
        optimiser.step()
        return case.step(model, batch)

    check(case, step)
    assert snapshot.differences((snapshot.of_optimiser(optimiser), snapshot.of_model(case.model)), before) == []


def test_generators_that_data_loss_and_step_have_of_their_own() -> None:
    order, noise, rng = torch.Generator().manual_seed(1), np.random.default_rng(2), __import__("random").Random(3)

    class Noisy(torch.utils.data.Dataset[Tensor]):
        def __init__(self) -> None:
            self.rng = rng

        def __len__(self) -> int:
            return 16

        def __getitem__(self, index: int) -> Tensor:
            return torch.full((4,), index + self.rng.random())

    loader = torch.utils.data.DataLoader(Noisy(), 4, shuffle=True, generator=order)
    before = [snapshot.of(generator) for generator in (order, noise, rng)]
    HEALTH.measure(nn.Linear(4, 2), loader, loss=lambda output: output.square().mean() * (1 + noise.random()))
    assert [snapshot.of(generator) for generator in (order, noise, rng)] == before
    first = HEALTH.measure(nn.Linear(4, 2), loader, loss=lambda output: output.square().mean())
    assert [snapshot.of(generator) for generator in (order, noise, rng)] == before
    assert first.loss


def test_what_a_loss_holds_is_put_back() -> None:
    class Centre(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("centre", torch.zeros(2))
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, output: Tensor) -> Tensor:
            self.centre.lerp_(output.detach().mean(0), 0.1)
            return (output - self.centre).square().mean() * self.scale

    loss = Centre()
    before = snapshot.of_model(loss)
    HEALTH.measure(nn.Linear(4, 2), torch.randn(6, 4), loss=loss)
    assert snapshot.differences(snapshot.of_model(loss), before) == []


def test_no_model_is_kept_alive() -> None:
    def one(sick: bool) -> weakref.ref[nn.Module]:
        layers = [layer for _ in range(10) for layer in (nn.Linear(8, 8), nn.Sigmoid() if sick else nn.Tanh())]
        model = nn.Sequential(*layers, nn.Linear(8, 3))
        try:
            HEALTH.check(model, (torch.randn(16, 8), torch.arange(16) % 3), loss=F.cross_entropy)
            assert not sick
        except GradientHealthError:
            assert sick
        return weakref.ref(model)

    gc.collect()
    gc.disable()
    try:
        assert [one(sick)() for sick in (False, True)] == [None, None]
    finally:
        gc.enable()


def test_memory_does_not_grow_over_a_thousand_checks() -> None:
    def checks(case: Case, number: int) -> None:
        for _ in range(number):
            check(case)

    batch = (torch.randn(6, 4), torch.arange(6) % 3)
    case = Case(nn.Linear(4, 3), batch, classified)
    sick = Case(nn.Sequential(nn.Linear(4, 3), nn.Linear(4, 4)), batch, lambda m, b: classified(m[0], b))
    checks(case, 5)
    checks(sick, 5)
    gc.collect()
    objects, blocks = len(gc.get_objects()), sys.getallocatedblocks()
    checks(case, 960)
    checks(sick, 40)
    gc.collect()
    assert len(gc.get_objects()) - objects < 50
    assert sys.getallocatedblocks() - blocks < 500


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no such signal")
def test_a_timeout_raised_by_a_signal_is_never_swallowed() -> None:
    """An experiment that tries whether a model runs on a part of its batch takes an error for a no."""

    def handler(number: int, frame: FrameType | None) -> None:
        raise TimeoutError("too slow")

    class Slow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.GRU(4, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            if not self.training:  # in the experiment alone
                signal.setitimer(signal.ITIMER_REAL, 0.001)
                end = time.monotonic() + 5
                while time.monotonic() < end:
                    pass
            output: Tensor = self.head(self.body(x)[0])
            return output

    before = signal.signal(signal.SIGALRM, handler)
    try:
        with pytest.raises(TimeoutError, match="too slow"):
            HEALTH.measure(Slow(), torch.randn(6, 5, 4), loss=lambda output: output.square().mean())
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_handler_that_the_step_installs_stays() -> None:
    def handler(number: int, frame: FrameType | None) -> None:
        raise AssertionError

    def step(model: nn.Module, batch: Any) -> Tensor:
        signal.signal(signal.SIGTERM, handler)
        return classified(model, batch)

    case, before = CASES["relu"](), signal.getsignal(signal.SIGTERM)
    try:
        check(case, step)
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)


def test_ctrl_c_between_two_batches_is_delivered_once_everything_is_put_back() -> None:
    case = made("batch norm")

    def progress(text: str) -> None:
        if "batch 2" in text:
            signal.raise_signal(signal.SIGINT)

    health, before = GradHealth(Settings(device="cpu"), progress=progress), snapshot.of_model(case.model)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job in the background ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            health.check(case.model, [case.batch, case.batch], step=case.step)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert snapshot.differences(snapshot.of_model(case.model), before) == []


def test_a_check_in_another_thread_touches_no_signal() -> None:
    import threading

    found: list[Any] = []
    case = made("batch norm")

    def step(model: nn.Module, batch: Any) -> Tensor:
        found.append(signal.getsignal(signal.SIGINT))
        return case.step(model, batch)

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=lambda: check(case, step))
    thread.start()
    thread.join()
    assert found
    assert all(handler is before for handler in found)


def test_an_unusable_model_is_refused_without_a_trace() -> None:
    model, batch = nn.Linear(3, 2, device="meta"), torch.randn(2, 3)
    process = snapshot.of_process()
    with pytest.raises(MeasurementError, match="meta"):
        HEALTH.check(model, batch, loss=lambda output: output.sum())
    assert snapshot.differences(snapshot.of_process(), process) == []
