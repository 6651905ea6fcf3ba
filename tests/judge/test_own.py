"""The user's own bounds, on records made by hand."""

from __future__ import annotations

import pytest
from records import changed, found, record


def test_the_users_own_limits_hold_exactly() -> None:
    assert found(record(), min_norm=0.1, max_norm=0.1) == []
    weak, strong = found(record(changed(1, norm=0.01)), min_norm=0.05), found(record(), max_norm=0.05)
    assert [(f.kind, f.layer, f.limit_name) for f in weak] == [("small-norm", "fc1", "min_norm")]
    assert {f.limit_name for f in strong} == {"max_norm"}
    assert len(strong) == 8


def test_max_ratio_compares_strongest_and_weakest() -> None:
    (finding,) = found(record(changed(1, norm=0.001)), max_ratio=50)
    assert finding.kind == "uneven-norms"
    assert finding.layers[0] == "fc1"
    assert finding.value == pytest.approx(100)
    assert found(record(changed(1, norm=0.001)), max_ratio=101) == []
    assert found(record(changed(1, norm=0.001))) == []
