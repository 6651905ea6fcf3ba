"""What counts as moved, and what does not."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from pytest_gradhealth.judge.drift import Profile, drift, measure_drift


def test_a_record_does_not_drift_from_itself(make_record):
    assert measure_drift(make_record(), make_record()) == measure_drift(make_record(), make_record())
    assert drift(make_record(), make_record()) == []
    assert measure_drift(make_record(), make_record()).notes == ()


@pytest.mark.parametrize(("factor", "moved"), [(2.99, False), (3.01, True), (1 / 2.99, False), (1 / 3.01, True)])
def test_the_limit_is_a_factor_up_and_down(make_record, scale, factor, moved):
    found = drift(scale(make_record(), {"fc2": factor}), make_record())
    assert [finding.kind for finding in found] == ["drift"] * moved


def test_a_weakened_layer_is_named_with_both_numbers(make_record, scale):
    (found,) = drift(scale(make_record(), {"fc3": 0.1}), make_record())
    assert found.layers == ("fc3",)
    assert "gradient norm of fc3 0.13 -> 0.013 (10x less)" in found.message
    assert "signal of fc3 0.05 -> 0.005 (10x less)" in found.message
    assert found.value == pytest.approx(10)
    assert (found.limit, found.limit_name) == (3.0, "max_drift")
    assert found.cause
    assert found.remedy == "look at what changed in or behind fc3"


def test_the_layer_whose_weights_start_smaller_is_the_culprit(make_record, scale):
    now = scale(make_record(), {"fc0": 0.1, "fc1": 0.1, "fc2": 0.1})
    layers = tuple(replace(item, weight_norm=0.2) if item.name == "fc3" else item for item in now)
    (found,) = drift(replace(now, layers=layers), make_record())
    assert set(found.layers) == {"fc3", "fc0", "fc1", "fc2"}
    assert found.layer == "fc3"
    assert found.cause == "the weight norm of fc3 moved 2 -> 0.2 (10x less)"


def test_the_layer_that_passes_less_back_is_the_culprit(make_record, scale):
    now = scale(make_record(), {"fc0": 0.1, "fc1": 0.1})
    layers = tuple(replace(item, gain=0.09) if item.name == "fc2" else item for item in now)
    (found,) = drift(replace(now, layers=layers), make_record())
    assert found.layer == "fc2"
    assert "gain of fc2" in found.cause


def test_a_branch_that_ends_behind_the_moved_layers_is_not_the_culprit(make_record, make_layer, scale):
    before = make_record(*(make_layer(f"blocks.{i // 2}.conv{i % 2}", i) for i in range(8)))
    now = scale(before, {"blocks.1.conv0": 0.1, "blocks.1.conv1": 0.1})
    layers = tuple(replace(item, gain=0.09) if item.name == "blocks.2.conv0" else item for item in now)
    (found,) = drift(replace(now, layers=layers), before)
    assert set(found.layers) == {"blocks.1.conv0", "blocks.1.conv1"}
    assert found.cause == "only layers in blocks.1 moved, so the change is in there"


def test_a_fallen_reach_is_a_drift(make_record):
    layers = tuple(replace(item, reach=item.reach / 5) if item.name == "fc1" else item for item in make_record())
    (move,) = measure_drift(make_record(*layers), make_record()).moves
    assert (move.layer, move.quantity, move.factor) == ("fc1", "reach", pytest.approx(5))
    assert str(move).endswith("(5x less)")


@pytest.mark.parametrize("factor", [8.0, 1 / 8, 1e6])
def test_a_scaled_loss_is_one_finding(make_record, scale, factor):
    (found,) = drift(scale(make_record(), {"*": factor}, loss=2.3 * factor), make_record())
    assert found.layers == ()
    assert found.message.startswith("every gradient norm and signal moved by one factor")
    assert found.value == pytest.approx(max(factor, 1 / factor))
    assert "the loss itself moved by that factor" in found.cause


def test_norms_that_are_scaled_without_the_signal_are_one_finding(make_record):
    layers = tuple(replace(item, norm=item.norm * 8) for item in make_record())
    (found,) = drift(make_record(*layers), make_record())
    assert found.message.startswith("every gradient norm moved")
    assert "the loss did not move by that factor" in found.cause


def test_a_layer_that_moves_against_a_scaled_loss_is_named_too(make_record, scale):
    now = scale(make_record(), {"*": 8.0, "fc5": 0.08})
    scaled, layer = drift(now, make_record())
    assert scaled.layers == ()
    assert layer.layers == ("fc5",)
    assert layer.value == pytest.approx(100)


@pytest.mark.parametrize(
    ("factor", "words"),
    [(20.0, "0.15 -> 3 (5x less than the others)"), (500.0, "0.15 -> 75 (5x more than the others)")],
)
def test_a_layer_that_moves_less_than_all_others_is_said_to(make_record, scale, factor, words):
    _, layer = drift(scale(make_record(), {"*": 100.0, "fc5": factor}), make_record())
    assert layer.layers == ("fc5",)
    assert f"gradient norm of fc5 {words}" in layer.message


def test_a_culprit_moves_less_than_the_others_too(make_record, scale):
    before = make_record()
    layers = tuple(
        replace(item, weight_norm=item.weight_norm * (0.2 if item.name == "fc3" else 0.01))
        for item in scale(before, {"fc3": 0.1})
    )
    (found,) = drift(replace(before, layers=layers), before)
    assert found.cause == "the weight norm of fc3 moved 2 -> 0.4 (20x more than the others)"


def test_rounding_noise_is_not_compared(make_record, make_layer):
    def noisy(norm: float):
        return make_record(make_layer("fc", 0, norm=0.5), make_layer("bias", 1, norm=norm, signal=norm, reach=1.0))

    for before, after in ((1e-9, 4e-8), (4e-8, 1e-9), (1e-9, 0.0), (0.0, 1e-9)):
        assert drift(noisy(after), noisy(before)) == []
    assert drift(noisy(1e-4), noisy(1e-9))
    assert drift(noisy(1e-9), noisy(1e-4))


def test_noise_stays_noise_under_a_scaled_loss(make_record, make_layer, scale):
    def noisy(norm: float):
        strong = [make_layer(f"fc{i}", i, norm=0.5) for i in range(6)]
        return make_record(*strong, make_layer("bias", 9, norm=norm, signal=0.05))

    (found,) = drift(scale(noisy(1e-8), {"*": 1e4}), noisy(3e-7))
    assert found.layers == ()


def test_the_floor_follows_the_precision(make_record, make_layer):
    def small(norm: float, precision: str):
        return make_record(make_layer("a", 0), make_layer("b", 1, norm=norm), precision=precision)

    assert drift(small(1e-6, "float32"), small(1e-5, "float32"))
    assert drift(small(1e-6, "bfloat16"), small(1e-5, "bfloat16")) == []
    assert drift(small(1e-6, "float32"), small(1e-5, "bfloat16")) == []
    assert drift(small(1e-10, "float64"), small(1e-9, "float64"))


def test_an_exploding_layer_does_not_hide_the_others(make_record, scale):
    (found,) = drift(scale(make_record(), {"fc7": 1e9}), make_record())
    assert found.layers == ("fc7",)
    (found,) = drift(scale(make_record(), {"fc7": 1e9, "fc2": 0.01}), make_record())
    assert set(found.layers) == {"fc7", "fc2"}


def test_most_layers_are_not_all_layers(make_record, scale):
    (found,) = drift(scale(make_record(), {f"fc{i}": 0.1 for i in range(5)}), make_record())
    assert set(found.layers) == {f"fc{i}" for i in range(5)}


@pytest.mark.parametrize("value", [None, 0.0, math.nan, math.inf])
def test_a_gradient_that_stops_arriving_or_being_a_number_is_infinitely_far(make_record, make_layer, value):
    before = make_record(make_layer("a", 0), make_layer("b", 1))
    after = make_record(make_layer("a", 0), make_layer("b", 1, norm=value))
    (move,) = measure_drift(after, before).moves
    assert (move.layer, move.quantity, move.factor) == ("b", "norm", math.inf)
    assert str(move).endswith("(not finite)" if value and not math.isfinite(value) else "(lost)")
    (back,) = measure_drift(before, after).moves
    assert str(back).endswith("(finite again)" if value and not math.isfinite(value) else "(new)")
    assert drift(after, after) == []


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_layer_that_is_no_number_throughout_does_not_hide_the_others(make_record, make_layer, value):
    def record(norm: float):
        return make_record(make_layer("a", 0, norm=value), make_layer("b", 1, norm=norm), make_layer("c", 2))

    (found,) = drift(record(0.01), record(0.1))
    assert found.layers == ("b",)


def test_a_tilted_profile_is_found_though_no_layer_moved_enough(make_record):
    factors = [2.5, 2.5, 2.2, 1.4, 0.9, 0.6, 0.42, 0.42]
    layers = tuple(replace(item, norm=item.norm * factor) for item, factor in zip(make_record(), factors, strict=True))
    (found,) = drift(make_record(*layers), make_record())
    assert "tilted" in found.message
    assert found.value == pytest.approx(2.5 / 0.42)
    even = tuple(replace(item, norm=item.norm * 2.5) for item in make_record())
    assert drift(make_record(*even), make_record()) == []


def test_new_and_removed_layers_are_told_and_no_finding(make_record, make_layer):
    before = make_record()
    extra = make_layer("extra", 9, kind="Conv2d", norm=50.0)
    after = make_record(*before.layers[1:], extra)
    told = measure_drift(after, before)
    assert told.findings == ()
    assert (told.new, told.removed) == (("extra",), ("fc0",))
    assert told.notes == ("new since the baseline: extra", "in the baseline only: fc0")


def test_renamed_layers_are_compared_by_position_kind_and_shape(make_record, scale):
    before = make_record()
    renamed = tuple(replace(item, name=f"module.{item.name}") for item in scale(before, {"fc3": 0.1}))
    told = measure_drift(make_record(*renamed), before)
    assert told.renamed == {f"fc{i}": f"module.fc{i}" for i in range(8)}
    assert told.layers is not None
    assert told.layers.layers == ("module.fc3",)
    assert any(note.startswith("renamed: fc0 is now module.fc0") for note in told.notes)


def test_another_shape_or_place_is_another_layer(make_record):
    before = make_record()
    other = replace(before.layers[0], name="stem", shape=(3, 3))
    assert measure_drift(make_record(other, *before.layers[1:]), before).removed == ("fc0",)
    moved = replace(before.layers[0], name="stem")
    assert measure_drift(make_record(*before.layers[1:], moved), before).renamed == {}


def test_a_baseline_of_another_model_is_a_finding(make_record, make_layer):
    other = make_record(*(make_layer(f"conv{i}", i, kind="Conv2d") for i in range(8)))
    (found,) = drift(other, make_record())
    assert "only 0 of the baseline's 8 layers" in found.message


def test_other_circumstances_are_said_and_compared(make_record, scale):
    before = make_record(torch="2.12.0", device="cuda", precision="bfloat16", samples=8)
    told = measure_drift(scale(make_record(), {"fc3": 0.1}), before)
    assert told.layers is not None
    assert told.differences == (
        "torch is 2.13.0, the baseline's is 2.12.0",
        "device is cpu, the baseline's is cuda",
        "precision is float32, the baseline's is bfloat16",
        "samples is 4, the baseline's is 8",
    )


def test_with_another_seed_single_layers_are_not_compared(make_record, scale):
    told = measure_drift(scale(make_record(seed=1), {"fc3": 0.1}), make_record(seed=0))
    assert told.findings == ()
    assert "another draw" in told.differences[0]
    assert drift(scale(make_record(seed=1), {"*": 10.0}), make_record(seed=0))
    assert drift(scale(make_record(seed=None), {"fc3": 0.1}), make_record(seed=0))


@pytest.mark.parametrize("limit", [1.0, 0.5, math.inf, math.nan])
def test_the_limit_must_be_a_factor_above_one(make_record, limit):
    with pytest.raises(ValueError, match="factor above 1"):
        drift(make_record(), make_record(), limit)


def test_a_profile_is_the_same_from_a_record_and_from_its_json(make_record, make_layer):
    record = make_record(make_layer("a", 0), make_layer("b", 1, norm=math.inf, signal=None, gain=None))
    loaded, made = Profile.load(record.to_dict()), Profile.of(record)
    for name in ("names", "kinds", "norm", "reach", "signal", "gain", "weight"):
        assert list(getattr(loaded, name)) == list(getattr(made, name))
    assert loaded.facts == made.facts
    assert list(map(tuple, loaded.shapes)) == list(made.shapes)


def test_empty_records_do_not_drift(make_record):
    empty = replace(make_record(), layers=())
    assert drift(empty, empty) == []
