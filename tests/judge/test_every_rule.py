"""What a rule says of itself holds in the verdict: what a later look redeems, and what can be told of a silenced model.

Everything is judged again from the record of the rule's own sick network.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from records import record
from test_edges import RULES, of_kind, sick, use

from pytest_gradhealth.judge.judge import is_open
from pytest_gradhealth.judge.limits import Limits
from pytest_gradhealth.record import GradientRecord, Signal

SHOWN = sorted(slug for slug, rule in RULES.items() if rule.sick)
BY_A_GATE = {
    "closed-recurrent-gate", "collapsed-positions", "collapsed-samples", "constant-input", "dead-layer", "dead-slice", "dead-units",
    "exploding-gradient", "exploding-signal", "fading-signal", "identical-units", "ineffective-normalisation", "insensitive-loss",
    "large-initial-loss", "negligible-gradients", "saturated-activations", "starved-layer", "vanishing-gradient",
    "vanishing-over-positions", "vanishing-over-time",
}  # fmt: skip
"""What a gate that is closed at first could explain: not what is wrong with the data, the loss or the wiring."""
WITHOUT_GRADIENTS = {
    "activation-before-loss", "broadcast-targets", "clamped-probabilities", "collapsed-positions", "collapsed-samples",
    "detached-layer", "excessive-dropout", "identical-units", "ignored-targets", "maximised-loss", "mixed-samples",
    "scores-as-log-probabilities", "signed-mean-loss", "single-class", "softmax-for-several-labels", "softmax-over-samples",
    "targets-out-of-range", "unbounded-loss", "unscaled-targets", "unreachable-targets", "unregistered-parameter", "unused-parameter", "wrong-backward",
}  # fmt: skip
"""What does not hang on the size of a gradient, so that rounding noise in its place hides nothing."""


@pytest.mark.parametrize("slug", SHOWN)
def test_a_healthy_second_look_redeems_what_a_gate_explains(slug: str) -> None:
    stands = of_kind(slug, replace(sick(slug), later=record(steps=8))) is not None
    assert stands is (slug not in BY_A_GATE)


@pytest.mark.parametrize("slug", SHOWN)
def test_a_normalisation_that_silences_all_gradients_leaves_what_needs_none(slug: str) -> None:
    seen = of_kind(slug, silenced(sick(slug))) is not None
    assert seen is (slug in WITHOUT_GRADIENTS)


def silenced(given: GradientRecord) -> GradientRecord:
    """With a normalisation behind all else that sends nothing back but noise."""
    size = {"gradient": 1.0, "input_gradient": 1e-12, "peak": 1.0, "rms": 1.0, "input_min": -1.0, "input_max": 1.0}
    return replace(given, signals=(*given.signals, Signal(name="last", kind="BatchNorm1d", order=10**6, **size)))


@pytest.mark.parametrize(
    ("slug", "given", "limits"),
    [
        ("idle-optimiser", record(optimisers=(use(),)), {}),
        ("small-norm", record(), {"min_norm": 1.0}),
        ("large-norm", record(), {"max_norm": 0.01}),
    ],
)
def test_so_it_does_with_limits_of_ones_own_and_optimisers(
    slug: str, given: GradientRecord, limits: dict[str, float]
) -> None:
    assert of_kind(slug, silenced(given), **limits) is not None
    assert of_kind(slug, replace(given, later=record(steps=8)), **limits) is not None


def test_what_is_open_until_a_later_look() -> None:
    healthy = record()
    assert not is_open(healthy, (), Limits())
    assert is_open(silenced(healthy), (), Limits())
    for slug in ("dead-layer", "single-class"):
        finding = of_kind(slug, sick(slug))
        assert finding is not None
        assert is_open(sick(slug), [finding], Limits()) is (slug in BY_A_GATE)


def test_what_is_silenced_later_redeems_nothing() -> None:
    first = sick("dead-layer")
    assert of_kind("dead-layer", replace(first, later=silenced(record(steps=8)))) is not None
