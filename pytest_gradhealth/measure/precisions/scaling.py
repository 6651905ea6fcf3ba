"""What a loss scale has done to the numbers of a pass, undone."""

from __future__ import annotations

from dataclasses import replace

from pytest_gradhealth.measure.passes.results import Pass

__all__ = ["unscaled"]


def unscaled(measured: Pass, scale: float) -> Pass:
    """What the loss alone produced, without the factor of a gradient scaler."""
    if scale == 1.0:
        return measured
    parameters = {
        name: replace(p, norm=p.norm / scale, tallies=tuple(tally.scaled(1 / scale) for tally in p.tallies))
        for name, p in measured.parameters.items()
    }
    modules = {
        name: replace(
            m, numbers=m.numbers | {k: v / scale for k, v in m.numbers.items() if k in ("gradient", "returned")}
        )
        for name, m in measured.modules.items()
    }
    loss = None if measured.loss is None else measured.loss / scale
    return replace(measured, modules=modules, parameters=parameters, loss=loss)
