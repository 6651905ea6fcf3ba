"""The table: its first line stands alone, it fits, it folds, and no name breaks it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from pytest_gradhealth.record import Check, Finding, GradientRecord, LayerGradient, Signal
from pytest_gradhealth.report.table import render, render_failure, verdict


def layer(name: str, order: int = 0, **fields: Any) -> LayerGradient:
    numbers: dict[str, Any] = {"norm": 0.1, "reach": 0.5, "gain": 1.25, "dead": 0.5, "units": 8}
    values: dict[str, Any] = {"kind": "Linear", "parameters": 72, "trainable": 72}
    return LayerGradient(name=name, order=order, **{**values, **numbers, **fields})


def check(count: int = 4, sick: tuple[int, ...] = (), **fields: Any) -> Check:
    layers = fields.pop("layers", None) or tuple(layer(f"blocks.{i}.fc", i) for i in range(count))
    found = tuple(
        Finding(
            kind="vanishing-gradient",
            code="GH101",
            title="vanishing gradient",
            family="vanishing",
            layers=tuple(layers[i].name for i in sick),
            message=f"{layers[sick[0]].name} has reach 1.0e-9, below min_reach=1e-4",
            cause="a sigmoid's slope is at most 0.25",
            remedy="use ReLU",
        )
        for _ in sick[:1]
    )
    record = GradientRecord(model="Net", layers=layers, batches=fields.pop("batches", 1), loss=2.345)
    return Check(**{"name": "Net", "record": record, "findings": found, **fields})


def rows(text: str) -> list[str]:
    """The lines below the rule."""
    lines = text.splitlines()
    rule = next(i for i, line in enumerate(lines) if set(line) <= set("─- ") and line)
    return lines[rule + 1 :]


def test_the_first_line_is_the_verdict_and_stands_alone() -> None:
    first = render(check(sick=(1,))).splitlines()[0]
    assert first == "GH101 vanishing gradient in Net: blocks.1.fc has reach 1.0e-9, below min_reach=1e-4"


def test_further_findings_are_counted_in_the_first_line_and_told_below() -> None:
    one = check(sick=(1,)).findings[0]
    other = Finding(kind="dead", layers=("blocks.2.fc",), message="blocks.2.fc has 100% dead units")
    lines = render(check(findings=(one, other, other))).splitlines()
    assert lines[0].endswith("(+2 more findings)")
    assert "  dead: blocks.2.fc has 100% dead units" in lines
    assert render(check(findings=(one, other))).splitlines()[0].endswith("(+1 more finding)")


def test_cause_and_remedy_follow() -> None:
    lines = render(check(sick=(1,))).splitlines()
    assert lines[1:3] == ["  cause:  a sigmoid's slope is at most 0.25", "  remedy: use ReLU"]


@pytest.mark.parametrize("width", range(30, 60))
def test_what_is_to_be_typed_is_not_broken(width: int) -> None:
    command = "pytest test_a.py::test_b --gradhealth-baseline=base.json --gradhealth-update"
    found = Finding(kind="drift", layers=(), message="m", remedy=f"look, or use --gradhealth-update:\n{command}")
    lines = render(check(findings=(found,)), width=width).splitlines()
    assert sum("--gradhealth-update" in line for line in lines) == 2
    assert f"          {command}" in lines


def test_notes_are_shown() -> None:
    found = check()
    noted = GradientRecord(model="Net", layers=found.record.layers, notes=("one sample only",))
    assert "  note:   one sample only" in render(Check(name="Net", record=noted)).splitlines()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "Net: healthy (4 layers, 1 batch, cpu float32, loss 2.35)"),
        ({"judged": False, "batches": 3}, "Net: measured (4 layers, 3 batches, cpu float32, loss 2.35)"),
    ],
)
def test_the_first_line_of_a_healthy_model(fields: dict[str, Any], expected: str) -> None:
    assert verdict(check(**fields)) == expected


def test_the_columns_at_80() -> None:
    text = render(check(2, sick=(0,)))
    assert text.splitlines()[4] == "layer       kind   params grad reach gain dead size     finding"
    assert rows(text) == [
        "blocks.0.fc Linear     72  0.1   0.5  1.2  50% ████████ ✗ vanishing",
        "blocks.1.fc Linear     72  0.1   0.5  1.2  50% ████████",
    ]


LONG = tuple(
    layer(
        f"encoder.layers.{i}.self_attention.output_projection.dense",
        i,
        kind="NonDynamicallyQuantizableLinear",
        parameters=123_456_789,
        norm=1.2e-7,
        reach=3.4e-8,
        gain=1.5e-9,
    )
    for i in range(40)
)


@pytest.mark.parametrize("width", [36, 40, 50, 60, 72, 80, 100, 120, 200])
@pytest.mark.parametrize("verbosity", [0, 1])
def test_it_fits(width: int, verbosity: int) -> None:
    found = check(layers=LONG, sick=(2, 3), columns={"extra": {LONG[0].name: "some words"}})
    lines = render(found, width=width, verbosity=verbosity).splitlines()
    assert max(map(len, lines[1:])) <= width
    assert any("vanishing" in line for line in lines[1:])
    assert lines[lines.index("") + 1].startswith("layer ")


def test_a_narrow_table_leaves_out_what_tells_least() -> None:
    def header(width: int) -> list[str]:
        text = render(check(layers=LONG, sick=(2,)), width=width)
        return next(line for line in text.splitlines() if line.startswith("layer")).split()

    assert header(36) == ["layer", "grad", "finding"]
    assert header(50) == ["layer", "grad", "reach", "finding"]
    assert header(60) == ["layer", "kind", "grad", "reach", "finding"]
    assert header(90) == ["layer", "kind", "params", "grad", "reach", "gain", "dead", "size", "finding"]


def test_a_wide_table_shows_names_whole() -> None:
    assert f"{LONG[-1].name} NonDynamicallyQuantizableLinear" in render(check(layers=LONG), width=200)


@pytest.mark.parametrize("ascii_only", [False, True])
def test_long_names_keep_their_numbers_and_their_last_part(ascii_only: bool) -> None:
    names = [line.split()[0] for line in rows(render(check(layers=LONG[:16]), ascii_only=ascii_only))]
    cut = "~" if ascii_only else "…"
    assert names == [f"e{cut}.l{cut}.{i}.s{cut}.o{cut}.dense" for i in range(16)]


@pytest.mark.parametrize("width", [60, 72, 80, 100])
def test_names_stay_apart(width: int) -> None:
    names = [f"transformer.{i}.attention.{part}" for i in range(6) for part in ("query_key_value", "projection")]
    layers = tuple(layer(name, i, norm=1e-9, reach=1e-9) for i, name in enumerate(names))
    shown = [line.split()[0] for line in rows(render(check(layers=layers, sick=(0, 1)), width=width))]
    assert len(set(shown)) == len(names)
    assert all(f".{i // 2}." in short for i, short in enumerate(shown))


def evident(limit: str, value: float, **fields: Any) -> list[str]:
    """The header and the first row of a table whose verdict is about a signal."""
    found = Finding(kind="x", layers=("act",), message="m", limit_name=limit, value=value, limit=1.0)
    signals = (
        Signal(name="fc", kind="Linear", order=0, rms=3.25),
        Signal(
            name="act", kind="Tanh", order=1, saturation=0.75, sample_variation=2.5e-7, rms=6.5, position_reach=4.4e-4
        ),
    )
    layers = (layer("fc", 0, sensitivity=5.0), layer("out", 2))
    record = GradientRecord(model="Net", layers=layers, signals=signals, loss=2.0, **fields)
    lines = render(Check(name="Net", record=record, findings=(found,)), width=100).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("layer"))
    assert lines[start + 3].startswith("act   Tanh")
    assert lines[start + 3].endswith("✗ x")
    return [" ".join(lines[start + i].split()) for i in (0, 2, 3)]


@pytest.mark.parametrize(
    ("limit", "value", "title", "layer_cell", "module_cell"),
    [
        ("max_saturation", 0.75, "saturated", "0.75", "0.75"),
        ("min_variation", 2.5e-7, "variation", "2.5e-7", "2.5e-7"),
        ("max_growth", 2.0, "rms", "3.2", "6.5"),
        ("max_elasticity", 2.5, "elasticity", "2.5", ""),
        ("min_position_reach", 4.4e-4, "position reach", "4.4e-4", "4.4e-4"),
    ],
)
def test_the_number_of_the_verdict_has_a_column(
    limit: str, value: float, title: str, layer_cell: str, module_cell: str
) -> None:
    header, first, second = evident(limit, value)
    assert f" {title} finding" in header
    assert first.endswith(f" {layer_cell}")
    assert f"{module_cell} ✗ x".strip() in second


def test_the_table_is_of_the_pass_that_broke_the_limit() -> None:
    early, late = layer("fc", norm=0.5), layer("fc", norm=math.nan, nan=7)
    finding = Finding(kind="non-finite", layers=("fc",), message="NaN")
    later = GradientRecord(model="Net", layers=(late,), steps=32)
    record = GradientRecord(model="Net", layers=(early,), later=later)
    text = render(Check(name="Net", record=record, findings=(finding,)))
    assert "numbers of pass 33 of 33" in text.splitlines()
    assert " nan " in rows(text)[0]
    looked = replace(record, seed=0, later=replace(later, layers=(early,), steps=8))
    lines = render(check(findings=(finding,), layers=None)).splitlines()
    assert not any("numbers" in line for line in lines)
    lines = render(Check(name="Net", record=looked, findings=(finding,))).splitlines()
    assert "numbers before training; looked at again after 8 optimiser steps" in lines


@pytest.mark.parametrize("sick", [tuple(range(100)), tuple(range(0, 100, 3)), tuple(range(40, 60))])
def test_one_fault_over_many_layers_takes_25_lines(sick: tuple[int, ...]) -> None:
    text = render(check(100, sick=sick))
    assert len(text.splitlines()) <= 27
    assert any(line.startswith(f"blocks.{sick[0]}.fc") and "✗" in line for line in rows(text))
    findings = tuple(
        Finding(kind="missing", layers=(f"blocks.{i}.fc",), message="m", cause="c", remedy="r") for i in sick
    )
    lines = render(check(100, findings=findings)).splitlines()
    assert len(lines) < 45
    assert f"  and {len(sick) - 4} more findings; -v shows all" in lines


def test_healthy_layers_are_folded_around_those_that_matter() -> None:
    shown = rows(render(check(100, sick=(50,))))
    assert [line.split()[0] for line in shown] == [
        "blocks.0.fc",
        "blocks.1.fc",
        "…",
        "blocks.49.fc",
        "blocks.50.fc",
        "blocks.51.fc",
        "…",
        "blocks.98.fc",
        "blocks.99.fc",
    ]
    assert shown[2] == "… 47 healthy layers"
    assert shown[6] == "… 46 healthy layers"


def test_a_fold_that_hides_findings_says_so() -> None:
    sick = tuple(range(20, 80))
    shown = rows(render(check(100, sick=sick)))
    fold = next(line for line in shown if "findings" in line)
    assert fold == "… 49 layers, 49 with findings"
    assert len(shown) <= 20


def test_a_culprit_among_many_layers_that_are_healthy_by_design_is_shown() -> None:
    found = check(
        200, sick=(100,), by_design={f"blocks.{i}.fc": "starts at zero" for i in range(0, 200, 2) if i != 100}
    )
    shown = rows(render(found))
    assert any(line.startswith("blocks.100.fc") and "✗ vanishing" in line for line in shown)
    assert len(shown) < 30


def test_the_culprit_of_every_finding_is_shown_however_many_there_are() -> None:
    def finding(*indices: int) -> Finding:
        return Finding(kind="dead", layers=tuple(f"blocks.{i}.fc" for i in indices), message="dead")

    found = check(200, findings=(finding(*range(10, 60)), finding(33), finding(*range(120, 190))))
    shown = rows(render(found))
    assert all(any(line.startswith(f"blocks.{i}.fc ") for line in shown) for i in (10, 33, 120))


def test_one_layer_is_not_folded() -> None:
    shown = rows(render(check(17, sick=(4, 8))))
    assert [line.split()[0] for line in shown if "…" in line] == ["…"]
    assert any(line.startswith("blocks.2.fc") for line in shown)


def test_verbose_shows_every_layer() -> None:
    assert len(rows(render(check(100), verbosity=1))) == 100


def test_quiet_leaves_the_table_out_and_says_so() -> None:
    found = check(sick=(1,))
    lines = render(found, verbosity=-1).splitlines()
    assert lines[:3] == [verdict(found), "  cause:  a sigmoid's slope is at most 0.25", "  remedy: use ReLU"]
    assert lines[3].startswith("  table:  hidden by -q")
    assert len(lines) == 4
    assert "  accept for" not in render_failure(check(), verbosity=-1)


SUFFIX = "    (ini file)"


def _ways(found: Finding) -> list[str]:
    text = render_failure(check(findings=(found,), limits={"min_reach": 1e-4}))
    return text[text.rindex("\n\n") + 2 :].splitlines()


def test_a_failure_ends_with_the_ways_to_accept_it_and_the_rules_page() -> None:
    finding = Finding(
        kind="vanishing-gradient",
        code="GH101",
        url="https://example.org/vanishing-gradient.md",
        layers=("blocks[1].fc",),
        message="m",
        value=3.1e-9,
        limit=1e-4,
        limit_name="min_reach",
    )
    assert _ways(finding) == [
        'accept for this layer: @pytest.mark.gradhealth(ignore=["GH101:blocks[[]1].fc"])',
        "       for this test:  @pytest.mark.gradhealth(min_reach=1e-9)",
        '       for the suite:  gradhealth_ignore = ["GH101:blocks[[]1].fc"]' + SUFFIX,
        "docs: https://example.org/vanishing-gradient.md",
    ]


def test_a_finding_without_a_limit_at_many_layers_is_accepted_by_its_rule() -> None:
    layers = tuple(f"blocks.{i}.fc" for i in range(4))
    found = Finding(kind="dead-layer", code="GH201", family="dead", layers=layers, message="m")
    assert _ways(found) == [
        'accept for this test:  @pytest.mark.gradhealth(ignore=["GH201"])',
        '       for the suite:  gradhealth_ignore = ["GH201"]' + SUFFIX,
    ]


def test_what_an_extension_finds_is_accepted_by_its_layer() -> None:
    assert _ways(Finding(kind="odd", layers=("fc",), message="m")) == [
        'accept for this layer: @pytest.mark.gradhealth(ignore=["fc"])',
        "       for this test:  @pytest.mark.xfail(strict=True)",
        '       for the suite:  gradhealth_ignore = ["fc"]' + SUFFIX,
    ]


def test_a_finding_at_several_layers_and_several_findings_at_one() -> None:
    kinds = ("dead", "non-finite")
    findings = tuple(Finding(kind=kind, layers=("blocks.0.fc",), message=kind) for kind in kinds)
    assert rows(render(check(2, findings=findings), width=100))[0].endswith("✗ dead non-finite")


def test_why_an_odd_number_is_meant_to_be() -> None:
    assert rows(render(check(2, by_design={"blocks.0.fc": "starts at zero"})))[0].endswith("starts at zero")


HOSTILE = [
    "new\nline",
    "carriage\rreturn",
    "tab\tstop",
    "escape\x1b[31mred",
    "bell\a",
    "nul\0",
    "right\u202eto left",
    "line\u2028separator",
    "lone\udc80surrogate",
    "  spaces  ",
    "{braces} %s %d",
    "層.注意",
    "🔥",
    "<script>",
    "a|b|c",
    "",
]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("ascii_only", [False, True])
def test_no_name_breaks_the_table(name: str, ascii_only: bool) -> None:
    layers = (layer(name, kind=name), layer("plain", 1, tied=(name,)))
    found = check(
        layers=layers,
        name=name,
        findings=(Finding(kind="dead", layers=(name,), message=f"{name} is dead", cause=name, remedy=name),),
        columns={name or "x": {name: name}},
        by_design={"plain": name},
    )
    text = render(found, ascii_only=ascii_only)
    assert all(line.isprintable() for line in text.split("\n"))
    assert len(rows(text)) == 2
    assert text.split("\n")[0].endswith("is dead")
    text.encode()


@pytest.mark.parametrize("verbosity", [-1, 0, 1])
def test_the_ascii_form_is_pure_ascii(verbosity: int) -> None:
    found = check(60, sick=(30,), name="Netz für Größe", by_design={"blocks.3.fc": "…"})
    text = render_failure(found, ascii_only=True, verbosity=verbosity)
    assert text.isascii()
    assert verbosity < 0 or {"#", "-"} <= set(text)


def test_the_root_and_ties_are_named() -> None:
    shown = rows(render(check(layers=(layer(""), layer("embed", tied=("head",)))), width=100))
    assert [line.split("  ")[0] for line in shown] == ["(model)", "embed = head Linear"]


@pytest.mark.parametrize(
    ("fields", "cell"),
    [
        ({"norm": None}, "none"),
        ({"trainable": 0, "norm": None}, "frozen"),
        ({"norm": 0.0}, "0"),
        ({"norm": math.nan}, "nan"),
        ({"norm": math.inf}, "inf"),
        ({"norm": 1e-30}, "1.0e-30"),
        ({"norm": 123.4}, "123"),
        ({"norm": 99.7}, "100"),
        ({"norm": 999.9}, "1.0e3"),
        ({"norm": 12345.0}, "1.2e4"),
        ({"norm": 0.0123}, "0.012"),
        ({"norm": 0.00999}, "1.0e-2"),
    ],
)
def test_gradient_norms_are_short(fields: dict[str, Any], cell: str) -> None:
    assert rows(render(check(layers=(layer("fc", **fields),))))[0].split()[3] == cell


@pytest.mark.parametrize(
    ("parameters", "cell"),
    [(0, "0"), (999, "999"), (1000, "1k"), (999_499, "999k"), (999_600, "1M"), (1_234_567, "1.23M"), (7 * 10**9, "7G"),
     (2 * 10**12, "2T")],
)  # fmt: skip
def test_parameters_are_short(parameters: int, cell: str) -> None:
    assert rows(render(check(layers=(layer("fc", parameters=parameters),))))[0].split()[2] == cell


@pytest.mark.parametrize(
    ("norm", "blocks"),
    [(1.0, 8), (0.1, 7), (1e-4, 4), (1e-8, 0), (1e-300, 0), (0.0, 0), (math.nan, 0), (math.inf, 0), (None, 0)],
)
def test_the_bar_has_a_block_for_every_order_of_magnitude(norm: float | None, blocks: int) -> None:
    shown = rows(render(check(layers=(layer("strongest", norm=1.0), layer("fc", 1, norm=norm)))))[1]
    assert shown.count("█") == blocks
    assert shown.count("·") == 8 - blocks


def test_a_bar_over_the_whole_range_of_floats() -> None:
    assert render(check(layers=(layer("a", norm=1e300), layer("b", 1, norm=1e-300))))


def test_no_layers_at_all() -> None:
    assert "layer" in render(Check(name="Net", record=GradientRecord(model="Net")))


def test_dead_is_empty_where_there_are_no_units() -> None:
    text = rows(render(check(layers=(layer("norm", units=0), layer("fc", 1, dead=1.0)))))
    assert "%" not in text[0]
    assert "100%" in text[1]


def test_columns_of_extensions() -> None:
    lines = render(check(2, columns={"weight": {"blocks.0.fc": "2.5"}}), width=100).splitlines()
    assert "weight finding" in next(line for line in lines if line.startswith("layer"))
    assert "2.5" in rows("\n".join(lines))[0]
