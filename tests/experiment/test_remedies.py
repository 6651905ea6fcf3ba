"""What cures a network is tried, and told; the verdict, the network and the random numbers stay as they were."""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from faulty_networks import (
    CLASSES,
    WIDTH,
    Checkpointed,
    Cut,
    Data,
    Erased,
    NoGrad,
    Regressor,
    Root,
    Rounded,
    Unregistered,
    batches,
    deep,
    mismatched,
)
from torch import nn

from pytest_gradhealth import Check, GradHealth, GradientHealthError, Limits, Settings
from pytest_gradhealth.experiment.explore import explore
from pytest_gradhealth.experiment.subject import Subject
from pytest_gradhealth.measure.runs.runner import Runner


def tried(model: Any, given: Any = None, loss: Callable[..., Any] = F.cross_entropy, **settings: Any) -> Check:
    """The failed check of a model."""
    health = GradHealth(Settings(device="cpu", **{"try_seconds": 60.0, **settings}), explore=explore)
    with pytest.raises(GradientHealthError) as caught:
        health.check(model, given or batches(), loss=loss)
    assert caught.value.check is not None
    return caught.value.check


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize(
    ("model", "cause"),
    [
        (Cut, "detach() at faulty_networks.py"),
        (Data, ".data at faulty_networks.py"),
        (NoGrad, "no_grad at"),
        (Checkpointed, "the reentrant checkpoint"),
        (Rounded, "a step, whose slope is zero"),
        (Root, "a root, logarithm, norm or quotient at zero"),
        (Erased, "a constant factor"),
        (Unregistered, "layers or weights that are not registered"),
        (lambda: deep(nn.ReLU, 20), "the initialisation"),
        (lambda: deep(nn.ReLU, 12, scale=0.1), "the initialisation"),
        (lambda: deep(nn.ReLU, 12, scale=10.0), "the initialisation"),
        (lambda: deep(nn.Sigmoid, 10, scale=1.0), "the activation"),
    ],
)
def test_the_cure_that_is_told_first_names_the_fault(model: Any, cause: str) -> None:
    first = tried(model).tried[0]
    assert first.cures
    assert cause in first.cause


def test_functions_are_swapped_as_modules_are() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(m for m in deep(nn.ReLU, 10, scale=1.0) if isinstance(m, nn.Linear))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for layer in self.layers[:-1]:
                x = torch.sigmoid(layer(x))
            return self.layers[-1](x)

    assert tried(Functional).tried[0].cause == "the activation"


def test_inputs_out_of_scale_are_standardised() -> None:
    first = tried(lambda: deep(nn.ReLU, 4, scale=1.0), batches(scale=300.0, shift=5000.0)).tried[0]
    assert first.cures
    assert first.cause == "the scale of the inputs"


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_shapes_that_broadcast_are_made_alike() -> None:
    first = tried(Regressor, loss=mismatched).tried[0]
    assert first.cures
    assert first.cause == "the shapes of outputs and targets"


def test_a_loss_with_the_wrong_sign_gets_the_other() -> None:
    first = tried(lambda: deep(nn.ReLU, 2), loss=lambda o, t: -F.cross_entropy(o, t)).tried[0]
    assert first.cures
    assert first.cause == "the sign of the loss"


def test_two_cures_together_help_where_none_does_alone() -> None:
    first = tried(lambda: deep(nn.Sigmoid, 12)).tried[0]
    assert first.cures
    assert set(first.change.split(" and ")) == {"ReLU for bounded activations", "He initialisation"}


def test_what_does_not_cure_is_told_with_its_number() -> None:
    told = [attempt.outcome for attempt in tried(lambda: deep(nn.Sigmoid, 12)).tried if not attempt.cures]
    assert told
    assert all(outcome.startswith("reach 3.2e-08 -> ") and outcome.endswith("still vanishing") for outcome in told)


def test_a_cure_does_not_raise_a_limit() -> None:
    """Xavier's weights meet the default limit, and are no cure by a stricter one of the user's own."""

    def xavier(limits: Limits) -> bool:
        check = tried(lambda: deep(nn.ReLU, 20), limits=limits)
        return next(attempt.cures for attempt in check.tried if attempt.change == "Xavier initialisation")

    assert xavier(Limits())
    assert not xavier(Limits(min_reach=0.9))


def test_the_verdict_is_the_same_without_trying() -> None:
    with_cures, without = tried(lambda: deep(nn.ReLU, 20)), tried(lambda: deep(nn.ReLU, 20), try_seconds=0)
    assert with_cures.findings == without.findings
    assert with_cures.record == without.record
    assert not without.tried
    assert not without.untried


def test_it_is_deterministic() -> None:
    assert tried(lambda: deep(nn.Sigmoid, 12)).tried == tried(lambda: deep(nn.Sigmoid, 12)).tried


def test_it_leaves_no_trace() -> None:
    model = deep(nn.Sigmoid, 10, scale=1.0)
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    tried(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert [type(m) for m in model] == [type(m) for m in deep(nn.Sigmoid, 10)]
    assert all(p.grad is None for p in model.parameters())
    assert "apply" not in vars(torch.utils.checkpoint.CheckpointFunction)


def test_a_model_that_cannot_be_copied_says_so() -> None:
    class Stubborn(Cut):
        def __deepcopy__(self, memo: Any) -> Any:
            raise TypeError("no")

    check = tried(Stubborn())
    assert check.tried == ()
    assert "cannot be copied (TypeError)" in check.untried
    assert tried(Stubborn).tried[0].cures  # a factory makes another


def test_time_that_is_up_is_said() -> None:
    check = tried(lambda: deep(nn.Sigmoid, 12), try_seconds=1e-6)
    assert check.tried == ()
    assert "try_seconds=1e-06 ran out" in check.untried


def test_it_travels_as_plain_data() -> None:
    check = tried(Cut)
    assert Check.from_dict(check.to_dict()).tried == check.tried


SUITE = """
    import pytest, torch, torch.nn.functional as F
    from torch import nn

    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 3)
        def forward(self, x):
            return self.last(self.first(x).detach())

    BATCH = torch.randn(4, 8), torch.tensor([0, 1, 2, 0])

    def test_asked(gradhealth):
        gradhealth.check(Cut, BATCH, loss=F.cross_entropy)

    @pytest.mark.gradhealth
    def test_watched():
        model = Cut()
        F.cross_entropy(model(BATCH[0]), BATCH[1]).backward()
"""


def test_a_session_prints_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SUITE)
    result = pytester.runpytest("-k", "asked")
    result.stdout.fnmatch_lines(["*tried:  detach() at test_a_session_prints_it.py:* taken out: healthy*"])


def test_a_watched_test_says_why_nothing_was_tried(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SUITE)
    result = pytester.runpytest("-k", "watched")
    result.stdout.fnmatch_lines(["*tried:  nothing: training inside a test cannot be repeated*"])


@pytest.mark.parametrize("way", ["option", "ini"])
def test_it_can_be_switched_off(pytester: pytest.Pytester, way: str) -> None:
    pytester.makepyfile(SUITE)
    pytester.makeini(f"[pytest]\n{'gradhealth_try_seconds = 0' if way == 'ini' else ''}")
    result = pytester.runpytest(*(["--gradhealth-try-seconds=0"] if way == "option" else []))
    result.assert_outcomes(failed=2)
    result.stdout.no_fnmatch_line("*tried:*")


def test_a_negative_time_is_refused(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest("--gradhealth-try-seconds=-1")
    result.stderr.fnmatch_lines(["*--gradhealth-try-seconds: try_seconds=-1.0 must be a number of seconds, 0 or more*"])


@pytest.mark.parametrize(("option", "file"), [("markdown", "out.md"), ("html", "out.html"), ("json", "out.json")])
def test_reports_tell_what_was_tried(pytester: pytest.Pytester, option: str, file: str) -> None:
    pytester.makepyfile(SUITE)
    pytester.runpytest("-k", "asked", f"--gradhealth-{option}={file}")
    text = (pytester.path / file).read_text(encoding="utf-8")
    assert "taken out" in text
    assert "healthy" in text


def test_a_cure_that_training_disproves_is_none() -> None:
    """Without the tanh at its end the model could reach its targets, but they are hundreds of times too far."""
    torch.manual_seed(0)
    given = [(torch.randn(32, 20), torch.randn(32, 1) * 500)]
    check = tried(lambda: nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 1), nn.Tanh()), given, F.mse_loss)
    (idle,) = [attempt for attempt in check.tried if attempt.change == "no activation at the end"]
    assert "healthy, but loss" in idle.outcome
    assert not idle.cures


def test_layers_without_activations_are_not_cured_by_weights_alone() -> None:
    """New weights make a stack of linear layers pass and let its loss fall, and it stays what one layer could be."""
    torch.manual_seed(0)
    layers = [nn.Linear(WIDTH, WIDTH) for _ in range(10)]
    for layer in layers:
        nn.init.orthogonal_(layer.weight, gain=2.5)
    told = tried(lambda: nn.Sequential(*layers, nn.Linear(WIDTH, CLASSES))).tried
    assert told[0].cures
    assert all("ReLU between layers" in attempt.change for attempt in told)
    assert "the lack of activations and the initialisation" in {attempt.cause for attempt in told if attempt.cures}


def test_a_cut_between_linear_layers_is_mended_without_activations() -> None:
    class Linear(Cut):
        def __init__(self) -> None:
            super().__init__()
            self.middle = nn.Linear(WIDTH, WIDTH)

        def between(self, x: torch.Tensor) -> torch.Tensor:
            return self.middle(x.detach())

    given = [(inputs, torch.randn(len(inputs), CLASSES)) for inputs, _ in batches()]
    first = tried(Linear, given, F.mse_loss).tried[0]
    assert first.cures
    assert first.cause.startswith("detach() at ")


def test_new_weights_that_end_above_the_loss_of_the_old_ones_are_no_cure() -> None:
    """A network that says nothing is nearly right where targets are small: another has to do better than that."""

    def silent() -> nn.Module:
        model = deep(nn.ReLU, 20)
        for layer in model[::2]:
            nn.init.zeros_(layer.bias)
        return model

    given = [(inputs, torch.full((len(inputs), CLASSES), 0.01) * inputs[:, :CLASSES]) for inputs, _ in batches()]
    check = tried(silent, given, F.mse_loss)
    (he,) = [attempt for attempt in check.tried if attempt.change == "He initialisation"]
    assert not he.cures
    assert re.search(r"healthy, but loss \S+ -> \S+ in 20 steps, from \S+ without it", he.outcome)


def test_a_cure_must_hold_with_adam_in_the_models_own_precision() -> None:
    """In half precision Adam's epsilon is zero: only single precision undoes a loss of 1e-7 for the user's optimiser."""

    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = deep(nn.ReLU, 2).half()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x.to(self.net[0].weight.dtype))

    check = tried(Half, loss=lambda output, target: F.cross_entropy(output, target) * 1e-7)
    attempts = {attempt.change: attempt for attempt in check.tried}
    assert attempts["float32"].cures
    assert not attempts["no constant factor"].cures


def test_a_term_of_the_loss_that_is_switched_off_stays_so() -> None:
    """A hard Dice keeps its graph by a term times zero: with that term let in, another objective would be trained."""

    def hard_dice(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        mask = (output > 0).float() + 0 * output
        return 1 - 2 * (mask[:, 0] * target).sum() / (mask[:, 0].sum() + target.sum() + 1)

    told = tried(lambda: deep(nn.ReLU, 2), loss=hard_dice).tried
    assert "no constant factor" not in [attempt.change for attempt in told]


def test_of_several_cures_of_one_cause_the_one_that_trains_best_comes_first() -> None:
    told = [attempt for attempt in tried(lambda: deep(nn.Tanh, 12, scale=0.1)).tried if attempt.cures]
    assert len({attempt.cause for attempt in told}) == 1 < len(told)
    left = [float(attempt.outcome.rpartition(" -> ")[2].partition(" ")[0]) for attempt in told]
    assert left == sorted(left)


def test_no_pass_begins_when_the_time_is_over() -> None:
    runner = Runner(Cut, batches(), step=lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]), seed=0)
    assert torch.isfinite(Subject.of(runner, 0).dry_run())
    with pytest.raises(TimeoutError):
        Subject.of(runner, 0, deadline=time.perf_counter()).dry_run()
