"""The table of what was measured on which hardware is that of the command that writes it."""

from __future__ import annotations

from benchmarks import hardware

PRECISE, HALVES = 1e-5, 0.02


def measured() -> dict[tuple[str, str], float]:
    """The largest difference of each row that has one, by precision and parallelism."""
    table = hardware.PAGE.read_text("utf-8").partition(hardware.BEGIN)[2].partition(hardware.END)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:1] == "|"]
    return {(row[1], row[2]): float(row[3].split()[-1]) for row in rows if "largest difference" in row[3]}


def test_every_precision_and_every_way_to_spread_a_model_was_measured() -> None:
    alone = {precision for precision, way in measured() if way == "one process"}
    assert alone == set(hardware.PRECISIONS)
    assert {way for _, way in measured()} == {"one process", *hardware.SPREAD, *hardware.PIPELINES}


def test_what_is_spread_is_what_the_whole_model_has() -> None:
    for (precision, way), difference in measured().items():
        allowed = PRECISE if precision == "float32" and "bfloat16" not in way else HALVES
        assert difference <= allowed, (precision, way)
