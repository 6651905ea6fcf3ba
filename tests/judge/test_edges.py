"""Both sides of every number that a verdict hangs on: the last healthy value, and the first sick one.

The record is that of the rule's own sick network, or a healthy one made by hand; one field of it is set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from records import found
from test_rules import examined

from pytest_gradhealth import Limits
from pytest_gradhealth.judge.registry import entries
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.record import Finding, GradientRecord

RULES = {entry.rule.slug: entry.rule for entry in entries()}
MEASURED = [rule for rule in RULES.values() if rule.sick and rule.limits]


@cache
def sick(slug: str) -> GradientRecord:
    """What was measured of a rule's sick network, without the second look."""
    return replace(examined(RULES[slug].sick).record, later=None)


def put(holder: Any, path: str, value: Any) -> Any:
    """The record with one field set: ``layers[0].norm``, ``signals[Dropout].dropout``, or all of ``layers[*]``."""
    head, _, rest = path.partition(".")
    name, _, where = head.rstrip("]").partition("[")
    old = getattr(holder, name)
    if not where:
        return replace(holder, **{name: put(old, rest, value) if rest else value})
    chosen = [i for i, item in enumerate(old) if where in ("*", str(i), getattr(item, "kind", None), item.name)]
    assert chosen, f"nothing is {path}"
    return replace(holder, **{name: tuple(put(x, rest, value) if i in chosen else x for i, x in enumerate(old))})


def of_kind(slug: str, given: GradientRecord, **limits: Any) -> Finding | None:
    return next((finding for finding in found(given, **limits) if finding.kind == slug), None)


@pytest.mark.parametrize("rule", MEASURED, ids=lambda rule: rule.slug)
def test_a_value_at_the_limit_is_healthy_and_beyond_it_sick(rule: Rule) -> None:
    given, (limit,) = sick(rule.slug), rule.limits
    assert limit.default is not None
    own = limit.default * 1.001  # the default itself may give way to what is known of the network
    off = dict.fromkeys(Limits.names())
    broken = of_kind(rule.slug, given, **{**off, limit.name: own})
    assert broken is not None
    assert broken.value is not None
    assert broken.limit is not None
    at = broken.value / round(broken.limit / own)
    stricter = at * (1 - 1e-12) if limit.name.startswith("max") else at * (1 + 1e-12)
    assert of_kind(rule.slug, given, **{**off, limit.name: at}) is None
    assert of_kind(rule.slug, given, **{**off, limit.name: stricter}) is not None


EDGES: list[tuple[str, str, Sequence[Any], Sequence[Any]]] = [
    # rule, field of the sick network's record, healthy values, sick values
    ("single-class", "loss_graph.classes", [2], [1]),
    ("clamped-probabilities", "loss_graph.clamped", [0.0, 0.5], [0.51, 1.0]),
    ("ignored-targets", "loss_graph.ignored_targets", [0.99], [1.0]),
    ("scores-as-log-probabilities", "loss_graph.probability_sum", [None, 1.0, 1.5], [1.51]),
    ("targets-out-of-range", "loss_graph.target_excess", [0.0, 1e-3], [1.1e-3]),
    ("unreachable-targets", "loss_graph.unreachable", [0.15, 0.4], [0.41]),
    ("large-initial-loss", "loss_graph.initial_loss", [None, 1.0, 30.0], [30.1]),
    ("large-outputs", "loss_graph.output_scale", [None, 1.0, 30.0], [30.1]),
    ("closed-recurrent-gate", "signals[rnn].time_reach", [None, 0.301**15], [0.299**15]),
    ("vanishing-over-time", "signals[rnn].steps", [99], [100]),
    ("collapsed-samples", "samples", [None, 0, 1], [2]),
    ("constant-input", "samples", [None, 1], [2]),
    ("constant-input", "signals[0].input_variation", [None, 0.01], [0.0099]),
    ("constant-input", "signals[*].sample_variation", [0.1], [0.099]),
    ("fading-signal", "samples", [None, 1], [2]),
    ("unused-recurrent-state", "signals[cell].calls", [2], [3]),
    ("excessive-dropout", "signals[Dropout].dropout", [0.0, 0.9, 1.0], [0.91, 0.999]),
    ("dead-units", "layers[0].dead", [0.5], [0.51]),
    ("mixed-samples", "sample_mixing", [None], [1e-3]),
    ("negligible-gradients", "loss", [None], [0.0, 1e-9]),
    ("ineffective-normalisation", "signals[LayerNorm].rms", [0.03], [0.0299]),
    ("starved-layer", "precision", ["float64"], ["float32", "bfloat16"]),
]


@pytest.mark.parametrize(
    ("slug", "path", "value", "is_sick"),
    [
        (slug, path, value, is_sick)
        for slug, path, healthy, ill in EDGES
        for is_sick, values in ((False, healthy), (True, ill))
        for value in values
    ],
)
def test_a_measured_number_on_either_side(slug: str, path: str, value: Any, is_sick: bool) -> None:
    assert (of_kind(slug, put(sick(slug), path, value)) is not None) is is_sick
