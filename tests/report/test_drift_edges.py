"""Both sides of every number by which a record is compared with its baseline."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from pytest_gradhealth.judge.drift import drift, measure_drift
from pytest_gradhealth.judge.moves import Move, shown, size_of, told
from pytest_gradhealth.judge.profile import Profile
from pytest_gradhealth.record import GradientRecord


@pytest.mark.parametrize(
    ("precision", "floor"),
    [("float64", 1e-12), ("float32", 1e-6), ("tf32", 1e-4), ("bfloat16", 1e-3), ("float16", 1e-3), ("int8", 1e-6)],
)
@pytest.mark.parametrize(("more", "moved"), [(3.1, True), (2.9, False)])
def test_what_is_below_the_floor_counts_as_the_floor(make_record, make_layer, precision, floor, more, moved):
    def noisy(share: float):
        layers = make_layer("a", 0, norm=0.5), make_layer("b", 1, norm=0.5 * floor * share, signal=0.05)
        return make_record(*layers, precision=precision)

    assert bool(drift(noisy(more), noisy(0.01))) is moved
    assert bool(drift(noisy(0.01), noisy(more))) is moved


@pytest.mark.parametrize(("number", "together"), [(8, True), (7, False)])
def test_most_of_ten_layers_moved_by_one_factor(make_record, make_layer, scale, number, together):
    before = make_record(*(make_layer(f"fc{i}", i) for i in range(10)))
    findings = drift(scale(before, {f"fc{i}": 10.0 for i in range(number)}), before)
    assert ("by one factor" in findings[0].message) is together


@pytest.mark.parametrize(("spread", "together"), [(1.73, True), (1.74, False)])
def test_together_is_within_the_root_of_the_limit(make_record, make_layer, scale, spread, together):
    before = make_record(*(make_layer(f"fc{i}", i) for i in range(10)))
    factors = {f"fc{i}": 10.0 * (spread if i < 3 else 1.0) for i in range(10)}
    assert ("by one factor" in drift(scale(before, factors), before)[0].message) is together
    factors = {f"fc{i}": 10.0 / (spread if i < 3 else 1.0) for i in range(10)}
    assert ("by one factor" in drift(scale(before, factors), before)[0].message) is together


@pytest.mark.parametrize(("left", "another"), [(4, False), (3, True)])
def test_half_of_the_layers_are_enough_to_compare(make_record, left, another):
    before = make_record()
    findings = drift(make_record(*before.layers[:left]), before)
    assert bool(findings) is another
    assert not another or findings[0].message == f"only {left} of the baseline's 8 layers are in this model"


@pytest.mark.parametrize(("number", "rest"), [(3, "less)"), (4, "and 1 more"), (5, "and 2 more")])
def test_three_moves_are_named(make_record, scale, number, rest):
    before = make_record()
    layers = tuple(replace(x, norm=x.norm / 10) if i < number else x for i, x in enumerate(before))
    (found,) = drift(make_record(*layers), before)
    assert found.message.startswith("moved by more than 3x from the baseline: gradient norm of fc0 ")
    assert found.message.endswith(rest)
    assert found.message.count("gradient norm of") == 3


@pytest.mark.parametrize(("number", "rest"), [(5, "e4"), (6, "e4 and 1 more"), (7, "e4 and 2 more")])
def test_five_layers_are_told(make_record, make_layer, number, rest):
    before = make_record()
    after = make_record(*before.layers, *(make_layer(f"e{i}", 9 + i, kind="New") for i in range(number)))
    (note,) = measure_drift(after, before).notes
    assert note == f"new since the baseline: e0, e1, e2, e3, {rest}"


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (2.3 * 10 * 1.49, "it is scaled"),
        (2.3 * 10 * 1.51, "the loss did not move by that factor"),
        (2.3 * 10 / 1.49, "it is scaled"),
        (None, "the loss is scaled by a constant"),
        (0.0, "the loss is scaled by a constant"),
        (-1.0, "the loss is scaled by a constant"),
        (math.inf, "the loss is scaled by a constant"),
    ],
)
def test_whether_the_loss_moved_with_its_gradient(make_record, scale, loss, said):
    (found,) = drift(scale(make_record(), {"*": 10.0}, loss=loss), make_record())
    assert said in found.cause


@pytest.mark.parametrize(("more", "number"), [(1.19, 1), (1.21, 2)])
def test_norms_and_signals_that_move_by_nearly_one_factor_are_one_finding(make_record, scale, more, number):
    layers = tuple(replace(x, signal=x.signal * 10 * more, norm=x.norm * 10) for x in make_record())
    assert len(drift(make_record(*layers), make_record())) == number


@pytest.mark.parametrize(("number", "tilted"), [(3, False), (4, True), (8, True)])
def test_a_profile_tilts_from_four_layers_on(make_record, make_layer, number, tilted):
    before = make_record(*(make_layer(f"fc{i}", i) for i in range(number)))
    layers = [replace(x, norm=x.norm * 2.9 ** (1 - 2 * i / (number - 1))) for i, x in enumerate(before)]
    findings = drift(make_record(*layers), before)
    assert bool(findings) is tilted
    assert not tilted or findings[0].message.startswith("the profile of the gradient norm over depth tilted")


@pytest.mark.parametrize(("tilt", "found"), [(2.99, False), (3.01, True)])
def test_the_limit_holds_for_the_tilt_too(make_record, tilt, found):
    for direction in (1, -1):
        factors = [tilt**0.5, tilt**0.5, 1, 1, 1, 1, tilt**-0.5, tilt**-0.5][::direction]
        layers = (replace(x, signal=x.signal * factor) for x, factor in zip(make_record(), factors, strict=True))
        assert bool(drift(make_record(*layers), make_record())) is found


def test_a_number_that_appears_among_noise_does_not_hide_a_common_factor(make_record, make_layer):
    """What is noise before or after tells the factor of neither."""

    def record(factor: float, noise: float):
        strong = [make_layer(f"fc{i}", i, norm=0.5 * factor, signal=0.05) for i in range(6)]
        weak = [make_layer(f"bias{i}", 6 + i, norm=noise, signal=0.05) for i in range(8)]
        return make_record(*strong, *weak)

    (found,) = drift(record(10.0, 2e-9), record(1.0, 1e-9))
    assert found.message.startswith("every gradient norm moved by one factor")


@pytest.mark.parametrize(("before", "after"), [(math.nan, 0.1), (0.1, math.nan)])
def test_a_number_that_is_none_is_as_far_as_can_be(make_record, make_layer, before, after):
    def record(norm: float):
        return make_record(make_layer("a", 0), make_layer("b", 1, norm=norm))

    (move,) = measure_drift(record(after), record(before)).moves
    assert math.isnan(move.ratio)
    assert move.factor == math.inf
    assert measure_drift(record(math.nan), record(math.nan)).moves == ()


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (3.21, "3.21x more"),
        (1 / 3.21, "3.21x less"),
        (99.9, "99.9x more"),
        (123.4, "123x more"),
        (100.0, "100x more"),
        (999999.0, "999999x more"),
        (1.5e6, "1.5e+06x more"),
        (1.0, "1x more"),
        (0.0, "lost"),
        (math.inf, "new"),
    ],
)
def test_a_ratio_in_words(ratio, words):
    assert told(ratio) == words


def test_how_far_a_ratio_is_from_one():
    assert (size_of(4.0), size_of(0.25), size_of(1.0)) == (4.0, 4.0, 1.0)
    assert size_of(0.0) == size_of(math.nan) == size_of(math.inf) == math.inf
    assert (shown(None), shown(0.12345)) == ("no gradient", "0.123")


@pytest.mark.parametrize(
    ("head", "base", "ratio", "scale", "words"),
    [
        (0.2, 0.1, 2.0, 1.0, "0.1 -> 0.2 (2x more)"),
        (0.2, 0.1, 2.0, 5.0, "0.1 -> 0.2 (2x more than the others)"),
        (None, 0.1, 0.0, 5.0, "0.1 -> no gradient (lost)"),
        (0.1, None, math.inf, 1.0, "no gradient -> 0.1 (new)"),
        (math.nan, 0.1, math.nan, 1.0, "0.1 -> nan (not finite)"),
        (0.1, math.inf, 0.0, 1.0, "inf -> 0.1 (finite again)"),
    ],
)
def test_a_move_in_words(head, base, ratio, scale, words):
    move = Move("", "norm", base, head, ratio, scale)
    assert move.change == words
    assert str(move) == f"gradient norm of the model {words}"


def test_what_a_report_leaves_out_of_a_record_is_its_default():
    bare = GradientRecord(model="Net")
    assert Profile.load(bare.to_dict()).facts == Profile.of(bare).facts


def other_seed(record):
    return replace(record, seed=record.seed + 1)


@pytest.mark.parametrize("limit", [1.01, 1.2, 3.0])
def test_what_did_not_move_is_within_any_limit(make_record, limit):
    before = make_record()
    assert drift(before, before, limit) == []
    assert drift(other_seed(before), before, limit) == []
    reach = replace(before.layers[0], reach=before.layers[0].reach / 1.005)
    assert drift(make_record(reach, *before.layers[1:]), before, limit) == []


def test_a_quarter_of_which_nothing_is_left_tilts_nothing(make_record):
    """With another seed single layers are not compared, and a gradient that is gone has no place in a profile."""
    before = make_record()
    layers = [
        replace(x, norm=None if i < 2 else x.norm, signal=0.0 if i < 2 else x.signal) for i, x in enumerate(before)
    ]
    assert drift(other_seed(make_record(*layers)), before, 1.2) == []


@pytest.mark.parametrize(("base", "head"), [(0.0, 5e-7), (5e-7, 0.0), (5e-7, 5e-7), (4e-7, 5e-7)])
def test_a_number_at_the_floor_is_noise(make_record, make_layer, base, head):
    def record(norm: float):
        return make_record(make_layer("a", 0, norm=0.5), make_layer("b", 1, norm=norm, signal=0.05))

    assert drift(record(head), record(base)) == []


@pytest.mark.parametrize(("number", "more"), [(1, ""), (2, ", and that of 1 more"), (3, ", and that of 2 more")])
def test_other_layers_whose_weights_moved_are_counted(make_record, number, more):
    before = make_record()
    layers = [
        replace(x, norm=x.norm / 10, weight_norm=x.weight_norm / (9 - i)) if i < number else x
        for i, x in enumerate(before)
    ]
    (found,) = drift(make_record(*layers), before)
    assert found.layers[0] == "fc0"
    assert found.message.startswith("moved by more than 3x from the baseline around fc0: gradient norm of fc0 ")
    assert found.cause.endswith(f"(9x less){more}")


@pytest.mark.parametrize(("scale", "by_one"), [(2.99, False), (3.01, True), (1 / 2.99, False), (1 / 3.01, True)])
def test_a_common_factor_counts_beyond_the_limit(make_record, scale, by_one):
    layers = [replace(x, norm=x.norm * scale) for x in make_record()]
    assert [found.layers for found in drift(make_record(*layers), make_record())] == ([()] if by_one else [])


def ten(make_layer, *rest, norm=0.5, signal=0.05):
    """Ten strong layers that may move together, and others."""
    return [make_layer(f"fc{i}", i, norm=norm, signal=signal) for i in range(10)] + list(rest)


@pytest.mark.parametrize("largest", [0.5, 1000.0])
def test_what_is_noise_beside_the_strongest_does_not_tell_the_common_factor(make_record, make_layer, largest):
    def record(factor, noise):
        weak = [make_layer(f"bias{i}", 20 + i, norm=noise, signal=0.05) for i in range(12)]
        return make_record(*ten(make_layer, *weak, norm=largest * factor))

    (found,) = drift(record(10.0, largest * 2e-9), record(1.0, largest * 1e-9))
    assert found.value == pytest.approx(10.0)


def test_the_floor_moves_with_the_common_factor(make_record, make_layer):
    """One layer is two floors high before and half of one after: that is noise, and no third."""

    def record(factor, weak):
        return make_record(*ten(make_layer, make_layer("weak", 10, norm=weak, signal=0.05), norm=0.5 * factor))

    assert [found.layers for found in drift(record(10.0, 2.5e-6), record(1.0, 1e-6))] == [()]
    assert [found.layers for found in drift(record(10.0, 1e-6), record(1.0, 1e-5))] == [(), ("weak",)]


def test_a_strongest_layer_that_fell_lowers_the_floor(make_record, make_layer):
    def record(factor, strongest, weak):
        own = [make_layer("s", 10, norm=strongest, signal=0.05), make_layer("weak", 11, norm=weak, signal=0.05)]
        return make_record(*ten(make_layer, *own, norm=0.5 * factor))

    findings = drift(record(10.0, 5.0, 2e-5), record(1.0, 50.0, 1e-5))
    assert [set(found.layers) for found in findings] == [set(), {"s", "weak"}]


def test_the_common_factor_is_the_median(make_record):
    layers = [replace(x, norm=x.norm * (5.9 if i < 3 else 10.0)) for i, x in enumerate(make_record())]
    (found,) = drift(make_record(*layers), make_record())
    assert found.value == pytest.approx(10.0)
    assert "(10x more, limit 3x)" in found.message


@pytest.mark.parametrize("factor", [2.0, 0.5])
def test_what_moved_by_just_the_limit_is_within_it(make_record, factor):
    layers = [replace(x, norm=x.norm * factor if i == 3 else x.norm) for i, x in enumerate(make_record())]
    assert drift(make_record(*layers), make_record(), 2.0) == []
    assert drift(make_record(*layers), make_record(), 1.99)[0].layers == ("fc3",)


@pytest.mark.parametrize("limit", [1.2, 3.0])
def test_nothing_on_either_side_is_no_move(make_record, make_layer, limit):
    def record(nothing):
        return make_record(*(make_layer(f"fc{i}", i, norm=nothing, signal=nothing, reach=0.0) for i in range(4)))

    assert drift(record(0.0), record(None), limit) == []
    among = [make_record(make_layer("a", 0), make_layer("b", 1, norm=noise)) for noise in (1e-9, 4e-9)]
    assert drift(*among, limit) == []


@pytest.mark.parametrize(("loss", "scaled"), [(15.0, False), (14.9, True)])
def test_a_loss_that_moved_by_half_as_much_again(make_record, scale, loss, scaled):
    (found,) = drift(scale(make_record(), {"*": 10.0}, loss=loss), make_record(loss=1.0))
    assert ("it is scaled" in found.cause and "did not" not in found.cause) is scaled


def test_where_all_moved_no_path_explains_it(make_record, make_layer):
    def record(*factors, path="net."):
        return make_record(
            *(make_layer(f"{path}fc{i}", i, norm=0.1 * factor, gain=None) for i, factor in enumerate(factors))
        )

    def cause(moved, path):
        (found,) = drift(record(*moved, path=path), record(*[1.0] * len(moved), path=path))
        return found.cause

    everywhere = "the forward pass, the loss or the data changed"
    assert cause((10.0, 100.0, 1e3, 1e4), "net.") == everywhere
    assert cause((10.0, 100.0, 1.0, 1.0), "net.") == "only layers in net moved, so the change is in there"
    assert cause((10.0, 100.0, 1.0, 1.0), "") == everywhere


def test_another_model_is_told_at_its_first_new_layer(make_record, make_layer):
    others = [make_layer(f"other{i}", i, kind="Conv2d", shape=(3, 3)) for i in range(3)]
    (found,) = drift(make_record(*others), make_record())
    assert found.layers == ("other0",)
    assert found.message == "only 0 of the baseline's 8 layers are in this model"


def test_a_tilt_is_told_at_the_first_layer(make_record):
    layers = [replace(x, norm=x.norm * 2.9 ** (1 - 2 * i / 7)) for i, x in enumerate(make_record())]
    (found,) = drift(make_record(*layers), make_record())
    assert found.layers == ("fc0",)
    assert "first quarter 2.49x more, last 2.49x less" in found.message


@pytest.mark.parametrize("names", [["a", "a"], ["a", 1], [1, 2]])
def test_layers_of_a_baseline_have_names_of_their_own(names):
    layers = [{"name": name, "kind": "Linear"} for name in names]
    with pytest.raises(ValueError, match="unique strings"):
        Profile.load({"layers": layers})


def test_what_a_layer_of_a_baseline_leaves_out_is_its_default():
    profile = Profile.load({"layers": [{"name": "a", "kind": "Linear"}]})
    assert (profile.reach, profile.weight, profile.norm, profile.signal, profile.gain) == ([0.0], [0.0], *[[None]] * 3)
