"""Not everything that calls backward trains: what such tests are not judged for, and what they are still judged for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytest_gradhealth import GradHealth, GradientHealthError, MeasurementError, Settings
from pytest_gradhealth.record import Check


def watched(run: Callable[[], object]) -> list[Check]:
    """Every check that comes of watching this."""
    kept: list[Check] = []
    torch.manual_seed(0)
    try:
        with GradHealth(Settings(device="cpu"), sink=kept.append).watch():
            run()
    except (GradientHealthError, MeasurementError):
        pass
    return kept


def kinds(run: Callable[[], object]) -> set[str]:
    return {finding.fault for check in watched(run) for finding in check.findings}


def notes(run: Callable[[], object]) -> str:
    return "; ".join(note for check in watched(run) for note in check.record.notes)


def deep(*, norm: bool = False, depth: int = 12) -> nn.Sequential:
    """A stack of sigmoids, in which the gradient vanishes."""
    layers = [layer for _ in range(depth) for layer in (nn.Linear(8, 8), nn.Sigmoid())]
    return nn.Sequential(*layers, *([nn.BatchNorm1d(8), nn.ReLU()] if norm else []))


class OneStep(nn.Module):
    """Attention over whatever it is given, with a projection for each of query, key and value."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(8, 8) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        weights = (self.query(x) @ self.key(x).transpose(1, 2)).softmax(-1)
        return self.value(x) + weights @ self.value(x)


class Dropped(nn.Module):
    """Blocks of which each is left out with a probability of 0.8; or always the last."""

    def __init__(self, *, always: bool = False) -> None:
        super().__init__()
        self.blocks, self.head = nn.ModuleList(nn.Linear(8, 8) for _ in range(6)), nn.Linear(8, 3)
        self.always = always

    def forward(self, x: Tensor) -> Tensor:
        for number, block in enumerate(self.blocks):
            if number < 5 if self.always else torch.rand(()) < 0.2 or number == 0:
                x = x + block(x).tanh()
        return self.head(x)


class Twins(nn.Module):
    """Two critics, of which the smaller value counts."""

    def __init__(self, apart: float = 5.0) -> None:
        super().__init__()
        self.first, self.second = (nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1)) for _ in range(2))
        nn.init.constant_(self.second[2].bias, apart)

    def forward(self, x: Tensor) -> Tensor:
        return torch.minimum(self.first(x), self.second(x))


class OwnSlope(nn.Module):
    """Takes the slope of its inner network with respect to its own weights on the way forward."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(8, 8), nn.SiLU(), nn.Linear(8, 8))

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.inner(x).sum(), x, create_graph=True)
            torch.autograd.grad(slope.sum(), list(self.inner.parameters()), allow_unused=True)
        return slope.detach()


class Slope(torch.autograd.Function):
    """The same from inside a function with a backward of its own."""

    @staticmethod
    def forward(ctx: Any, model: nn.Module, x: Tensor) -> Tensor:
        with torch.enable_grad():
            torch.autograd.grad(model(x).sum(), list(model.parameters())[:1])
        return x.clone()


def x(*shape: int) -> Tensor:
    return torch.randn(*(shape or (16, 8)))


def train(model: nn.Module, steps: int = 1) -> None:
    optimiser = torch.optim.SGD(model.parameters(), 1e-3)
    for _ in range(steps):
        optimiser.zero_grad()
        given = x()
        F.cross_entropy(model(given), given[:, :3].argmax(1)).backward()
        optimiser.step()


def masked() -> None:
    """As an autoregressive network is tested: the first output depends on no input."""
    model = nn.Linear(8, 8)
    with torch.no_grad():
        model.weight[0] = 0
    masked = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), model)
    for number in range(3):
        masked(x(1, 8))[0, number].backward()


def recurrent() -> None:
    model = nn.GRU(8, 4)
    assert len(model(x(1, 3, 8))) == 2
    model(x(1, 3, 8))[0].square().mean().backward()


def cancelled() -> None:
    """A critic's score has no scale of its own: here its mean is next to nothing beside what it is made of."""
    model, given = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 1)), x()
    with torch.no_grad():
        model[2].weight.mul_(1e3)
        model[2].bias.sub_(model(given).mean())
    optimiser = torch.optim.SGD(model.parameters(), 1e-9)
    for _ in range(2):
        optimiser.zero_grad()
        (-model(given).mean()).backward()
        optimiser.step()


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(cancelled, id="a mean without a scale"),
        pytest.param(lambda: nn.Linear(8, 3)(x(0, 8)).square().mean().backward(), id="no samples"),
        pytest.param(masked, id="one output at a time"),
        pytest.param(lambda: deep(norm=True)(x()).mean().backward(), id="mean behind a normalisation"),
        pytest.param(lambda: OneStep()(x(4, 1, 8)).square().mean().backward(), id="attention over one position"),
        pytest.param(recurrent, id="a recurrence over one step, looked at before"),
        pytest.param(lambda: train(Dropped()), id="blocks left out by chance"),
        pytest.param(lambda: Twins()(x()).square().mean().backward(), id="one of two twins"),
        pytest.param(lambda: OwnSlope()(x()), id="a slope on the way forward"),
        pytest.param(lambda: Slope.apply(nn.Linear(8, 8), x().requires_grad_()), id="a slope in a function"),
        pytest.param(lambda: (deep()(x()) * torch.zeros(8) + 1).square().mean().backward(), id="a factor of zero"),
        pytest.param(lambda: nn.Linear(8, 3)(x() / 0).square().mean().backward(), id="made to be infinite"),
    ],
)
def test_no_evidence_of_a_fault(run: Callable[[], object]) -> None:
    assert not kinds(run)


@pytest.mark.parametrize(
    ("run", "note"),
    [
        (masked, "one number of the output was sent back"),
        (lambda: deep(norm=True)(x()).mean().backward(), "behind a normalisation, and nothing trained"),
        (lambda: train(Dropped()), "it may be chance"),
        (lambda: Twins()(x()).square().mean().backward(), "one of several towers alike was not chosen"),
        (lambda: (deep()(x()) * torch.zeros(8) + 1).square().mean().backward(), "did not change with the output"),
    ],
)
def test_what_was_not_judged_is_told(run: Callable[[], object], note: str) -> None:
    assert note in notes(run)


def underflown() -> None:
    """The loss is so small that half precision has lost its gradient."""
    model, given = deep(depth=2).half(), x().half()
    ((model(given).float() - given.float()).square().mean() * 1e-8).backward()


def rounded() -> None:
    model, given = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1)), x()
    (model(given).round() - given[:, :1]).square().mean().backward()


@pytest.mark.parametrize(
    ("run", "kind"),
    [
        pytest.param(lambda: train(deep()), "vanishing", id="one step"),
        pytest.param(lambda: deep()(x()).square().mean().backward(), "vanishing", id="one backward"),
        pytest.param(lambda: train(Dropped(), 40), "", id="chance brings every block in time"),
        pytest.param(lambda: train(Dropped(always=True)), "missing", id="left out without chance"),
        pytest.param(lambda: train(Dropped(always=True), 6), "missing", id="left out in six steps"),
        pytest.param(underflown, "dead", id="a gradient lost in half precision"),
        pytest.param(rounded, "dead", id="a step function behind the model"),
        pytest.param(lambda: train(nn.Sequential(nn.Linear(8, 3), nn.Softmax(0))[:1]), "", id="healthy"),
    ],
)
def test_evidence_is_still_judged(run: Callable[[], object], kind: str) -> None:
    assert kinds(run) == ({kind} if kind else set())


def test_a_parameter_that_another_model_of_the_test_trains_is_not_missing() -> None:
    """A critic that looks through the actor's eyes, and does not train them."""

    class Critic(nn.Module):
        def __init__(self, eyes: nn.Module) -> None:
            super().__init__()
            self.eyes, self.head = eyes, nn.Linear(8, 1)

        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                x = self.eyes(x)
            return self.head(x)

    def run() -> None:
        actor = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 3))
        critic = Critic(actor[0])
        critic(x()).square().mean().backward()
        train(actor)

    assert not kinds(run)


def test_a_target_may_be_given_first() -> None:
    """``mse_loss`` does not care, and the output is the side that was computed."""
    model = nn.Linear(8, 1)
    (check,) = watched(lambda: [F.mse_loss(1e3 + x(16, 1), model(x())).backward() for _ in range(6)])
    assert check.record.loss_graph is not None
    assert check.record.loss_graph.output_scale == pytest.approx(0, abs=0.01)


class Divergence(nn.Module):
    """Takes a vectorised Jacobian on its way forward, as continuous flows do."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 16), nn.ELU(), nn.Linear(16, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = x.clone().requires_grad_()
        y = self.net(x)
        rows = torch.eye(3).expand(len(x), 3, 3).movedim(1, 0)
        (slopes,) = torch.autograd.grad(y, x, rows, create_graph=True, is_grads_batched=True)
        return (slopes.diagonal(0, 0, 2).sum(1) + y.square().sum(1)).mean()


def test_a_vectorised_jacobian_on_the_way_forward() -> None:
    given = x(16, 3)
    record = GradHealth(Settings(device="cpu")).check(Divergence, [(given,), (given + 1,)])
    assert all(layer.norm for layer in record)
    assert not kinds(lambda: Divergence()(given).backward())


@pytest.mark.filterwarnings("error::UserWarning")
def test_weights_that_are_no_leaves() -> None:
    """Fast weights, as in meta-learning: torch warns of whoever reads their ``.grad``."""

    def run() -> None:
        model, spare = nn.Linear(8, 3), nn.Linear(8, 3)
        whole = nn.ModuleDict({"used": model, "spare": spare})
        for module in (model, spare):
            for name, parameter in list(module._parameters.items()):
                module._parameters[name] = parameter.clone() if parameter is not None else None
        whole.forward = lambda x: whole["used"](x)  # type: ignore[method-assign]
        for _ in range(4):
            loss = whole(x()).square().mean()
            torch.autograd.grad(loss, model.weight, create_graph=True)

    assert "missing" in kinds(run)


def cancelled() -> None:
    """A model of one number for one sample, which may have either sign, near zero by chance."""
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
    given = x(1, 8)
    with torch.no_grad():
        model[2].bias -= model(given)[0] - 1e-6
    model(given).mean().backward()


def test_the_mean_of_one_number_is_near_zero_by_chance() -> None:
    assert not kinds(cancelled)


class Detached(nn.Module):
    """What attention projects with is a layer that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.head = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.attention(x, x, x)[0].detach())
        return out


def test_a_projection_that_attention_uses_itself_is_cut_off_with_it() -> None:
    (check,) = watched(lambda: F.cross_entropy(Detached()(x(8, 5, 8)).flatten(0, 1), torch.arange(40) % 3).backward())
    (finding,) = check.findings
    assert set(finding.layers) == {"attention", "attention.out_proj"}


class Frames(nn.Module):
    """A recurrence over frames that expects time first, or samples first."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.rnn, self.head = nn.GRU(4, 8, batch_first=batch_first), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0][:, -1])  # type: ignore[no-any-return]


@pytest.mark.parametrize("batch_first", [False, True])
def test_samples_taken_for_time_are_seen_in_a_test_that_trains(batch_first: bool) -> None:
    def train() -> None:
        model, x, y = Frames(batch_first), torch.randn(8, 5, 4), torch.arange(8) % 3
        optimiser = torch.optim.Adam(model.parameters(), 1e-3)
        for _ in range(6):
            optimiser.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimiser.step()

    assert kinds(train) == (set() if batch_first else {"mixed"})


class Scored(nn.Module):
    """Weighs positions by scores that are to sum to one along ``dim``; or by a table of its own, of the same shape."""

    def __init__(self, dim: int, *, own: bool = False) -> None:
        super().__init__()
        self.score = None if own else nn.Linear(6, 1)
        self.table = nn.Parameter(torch.randn(8, 5)) if own else None
        self.head, self.dim = nn.Linear(6, 3), dim

    def forward(self, x: Tensor) -> Tensor:
        scores = self.table if self.score is None else self.score(x).squeeze(-1)
        assert scores is not None
        made: Tensor = self.head((scores.softmax(self.dim)[..., None] * x).sum(1))
        return made


@pytest.mark.parametrize(
    ("dim", "length", "own", "found"),
    [
        (0, 5, False, True),
        (1, 5, False, False),
        (0, 8, False, False),  # as many positions as samples: any of the two may be the samples
        (0, 5, True, False),
    ],
)
def test_a_softmax_over_the_samples_is_seen_in_a_test_that_trains(
    dim: int, length: int, own: bool, found: bool
) -> None:
    def run() -> None:
        model = Scored(dim, own=own)
        optimiser = torch.optim.Adam(model.parameters())
        for _ in range(5):
            optimiser.zero_grad()
            F.cross_entropy(model(x(8, length, 6)), torch.arange(8) % 3).backward()
            optimiser.step()

    findings = [finding for check in watched(run) for finding in check.findings]
    assert [(finding.code, finding.layers) for finding in findings] == ([("GH406", ("score",))] if found else [])
