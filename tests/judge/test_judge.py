"""What holds for every rule, whatever it looks for."""

from __future__ import annotations

from networks import BATCHES, HEALTHY, SICK, WIDTH, conv_bn, encoder, examined, kinds, sequences
from records import changed, found, record
from torch import nn

# --- by hand -----------------------------------------------------------------------------------------------------


def test_a_healthy_record_has_no_finding() -> None:
    assert found(record()) == []


def test_a_record_without_layers_says_nothing() -> None:
    assert found(record([])) == []


def test_an_ignored_layer_is_not_judged() -> None:
    sick = record(changed(1, norm=None, missing=("weight",)))
    assert [f.fault for f in found(sick)] == ["missing"]
    assert found(sick, ignore=["fc1"]) == []


# --- real models -------------------------------------------------------------------------------------------------


def test_conv_networks_and_encoders_have_no_finding_over_seeds() -> None:
    for seed in range(5):
        assert not kinds(examined(conv_bn, [HEALTHY["conv and batch norm"][1](seed=seed)], seed=seed))
        assert not kinds(examined(encoder, [sequences(seed=seed)], seed=seed))


def test_layers_named_in_a_check_are_layers_of_the_model() -> None:
    for build, batch, _ in SICK.values():
        check = examined(build, [batch(seed=1)])
        modules = dict(build().named_modules())
        assert all(name in modules for finding in check.findings for name in finding.layers)


def test_what_a_plain_mean_of_a_normalised_output_sends_back_is_not_judged() -> None:
    build = lambda: nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 8), nn.LayerNorm(8))  # noqa: E731
    check = examined(build, BATCHES, step=lambda model, batch: model(batch[0]).mean())
    assert not check.findings
    assert any("does not depend on what '3'" in note for note in check.record.notes)
