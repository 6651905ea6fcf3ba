"""What a ladder of small networks tells of a large one: the verdict, the size from which it turns, and what it cannot tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch.nn.functional as F
from faulty_networks import CLASSES, WIDTH, batches, deep
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from pytest_gradhealth import ConfigurationError, Forecast, GradHealth, GradientHealthError, forecast
from pytest_gradhealth.experiment.laws import fit
from pytest_gradhealth.report.store import read_report

Factory = Callable[..., nn.Module]


def foretold(factory: Factory, **options: Any) -> Forecast:
    sizes: dict[str, Any] = {"depth": [4, 8, 12], "target": {"depth": 32}, **options}
    return forecast(factory, batches(), F.cross_entropy, device="cpu", **sizes)


def stack(init: Callable[[Tensor], Any] | None, activation: type[nn.Module]) -> Factory:
    """Seeded by the check, not by itself."""

    def make(depth: int) -> nn.Module:
        layers: list[nn.Module] = []
        for _ in range(depth):
            linear = nn.Linear(WIDTH, WIDTH)
            if init is not None:
                init(linear.weight)
            layers += [linear, activation()]
        return nn.Sequential(*layers, nn.Linear(WIDTH, CLASSES))

    return make


def is_sick(factory: Factory, depth: int) -> bool:
    try:
        GradHealth().check(lambda: factory(depth=depth), batches(), loss=F.cross_entropy, device="cpu")
    except GradientHealthError:
        return True
    return False


@pytest.fixture(scope="module")
def tanh() -> Forecast:
    return foretold(stack(None, nn.Tanh))


def test_a_stack_that_passes_small_is_foretold_to_vanish_large(tanh: Forecast) -> None:
    assert [verdict for _, verdict in tanh.rungs] == ["healthy"] * 3
    assert tanh["reach"].breaks
    assert tanh.certain
    assert is_sick(stack(None, nn.Tanh), 32)


def test_the_size_from_which_it_turns_is_near_the_measured_one(tanh: Forecast) -> None:
    since = tanh["reach"].since
    assert since is not None
    assert not is_sick(stack(None, nn.Tanh), since - 8)
    assert is_sick(stack(None, nn.Tanh), since + 8)


def test_its_law_is_a_factor_for_each_layer(tanh: Forecast) -> None:
    assert tanh["reach"].law.words.endswith("per depth")


def test_weights_that_keep_the_size_are_foretold_healthy() -> None:
    told = foretold(stack(nn.init.kaiming_normal_, nn.ReLU))
    assert told.healthy
    assert not is_sick(stack(nn.init.kaiming_normal_, nn.ReLU), 32)


def test_it_is_judged_by_the_users_limits(tanh: Forecast) -> None:
    looser = foretold(stack(None, nn.Tanh), min_reach=0.0, min_variation=0.0, min_amplitude=0.0)
    assert looser.healthy
    assert not tanh.healthy


def test_width_is_a_power_law() -> None:
    def make(width: int) -> nn.Module:
        return nn.Sequential(nn.Linear(WIDTH, width), nn.ReLU(), nn.Linear(width, CLASSES))

    told = forecast(make, batches(), F.cross_entropy, width=[16, 32, 64, 128], target={"width": 1024}, device="cpu")
    assert told["gradient rms"].law.words.startswith("width^-")


def test_batches_may_follow_the_size() -> None:
    def make(width: int) -> nn.Module:
        return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, CLASSES))

    def made(width: int) -> tuple[Tensor, Tensor]:
        inputs, labels = batches()[0]
        return inputs.repeat(1, width // WIDTH), labels

    told = forecast(make, made, F.cross_entropy, width=[32, 64, 128], target={"width": 256}, device="cpu")
    assert len(told.rungs) == 3


def test_two_sizes_are_called_too_few() -> None:
    notes = foretold(stack(None, nn.Tanh), depth=[4, 8]).notes
    assert any("the ladder is too short" in note for note in notes)


def test_a_target_far_away_is_called_far() -> None:
    assert any(
        "depth=200 is far: 17 times" in note for note in foretold(stack(None, nn.Tanh), target={"depth": 200}).notes
    )


def test_no_law_is_called_none() -> None:
    """Weights of one size of three are far smaller than the others'."""

    def make(depth: int) -> nn.Module:
        model = deep(nn.ReLU, depth, scale=1.4)
        if depth == 8:
            for weight in model.parameters():
                weight.data *= 0.3
        return model

    assert any(note.startswith("no law fits") for note in foretold(make).notes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": []}, "give a ladder of sizes"),
        ({"depth": [4]}, "two sizes at least"),
        ({"depth": [4, 4]}, "different whole numbers"),
        ({"target": {}}, "has no 'depth'"),
        ({"target": {"depth": 8, "width": 3}}, "has no ladder"),
    ],
)
def test_a_ladder_that_leads_nowhere_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        foretold(stack(None, nn.Tanh), **options)


def test_it_prints_a_sentence_and_a_table(tanh: Forecast) -> None:
    text = str(tanh)
    assert "healthy at depth=12; at depth=32 " in text.replace("\n  ", " ")
    assert "from about depth=" in text
    assert max(map(len, text.splitlines())) <= 80


@given(slope=st.floats(-0.5, 0.5), start=st.floats(-3, 3), depths=st.lists(st.integers(1, 40), min_size=3, unique=True))
def test_an_exact_factor_per_layer_is_found_again(slope: float, start: float, depths: list[int]) -> None:
    values = [10 ** (start + slope * depth) for depth in depths]
    band = fit([{"depth": depth} for depth in depths], values).at({"depth": 60})
    assert band.low <= 10 ** (start + slope * 60) * 1.001
    assert band.high >= 10 ** (start + slope * 60) * 0.999


def test_the_fixture_forecasts_too(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import torch, torch.nn.functional as F
        from torch import nn

        def net(depth):
            return nn.Sequential(*(nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in range(depth)), nn.Linear(8, 3))

        def test_it(gradhealth):
            batch = torch.randn(8, 8), torch.arange(8) % 3
            told = gradhealth.forecast(net, batch, F.cross_entropy, depth=[2, 4, 6], target={"depth": 64})
            assert not told.healthy
        """
    )
    result = pytester.runpytest("--gradhealth-report", "--gradhealth-json=out.json")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["Sequential: * at depth=64 *", "note: *"])
    (stored,) = read_report(pytester.path / "out.json").checks
    assert (stored.check.name, stored.check.judged) == ("Sequential forecast", False)
    told = stored.check.forecast
    assert told is not None
    assert (told.healthy, told.axis, told.target) == (False, "depth", {"depth": 64})
    assert all(curve.sizes[-1] == 64 and set(curve.measured_at) == {2, 4, 6} for curve in told.curves)
    assert all(
        low <= middle <= high for c in told.curves for low, middle, high in zip(c.low, c.middle, c.high, strict=True)
    )
