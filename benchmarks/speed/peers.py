"""Other tools on the same models, each called as its documentation says; rows of those that are installed.

``pip install torchlens torch-audit torchtest2 pytest-torch`` installs them. What trains for many steps is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from torch import nn

__all__ = ["PEERS", "installed"]

Step = Callable[[], object]


def installed() -> dict[str, Callable[[nn.Module, Any, Any], Step]]:
    """Those that can be timed here, under their names and versions."""
    found = {}
    for name, make in PEERS.items():
        try:
            found[f"{name} {version(name)}"] = make
        except PackageNotFoundError:
            continue
    return found


def _torchlens(model: nn.Module, batch: Any, loss: Any) -> Step:
    """A trace of every operation with its gradient, and the audit of those."""
    torchlens, debug = import_module("torchlens"), import_module("torchlens.debug")
    kept = torchlens.options.CaptureOptions(save_grads=True)

    def step() -> None:
        model.zero_grad()
        trace = torchlens.trace(model, batch[0], capture=kept)
        trace.log_backward(loss(trace[trace.output_layers[0]].out, batch[1]))
        debug.gradient_flow_audit_rows(trace)

    return step


def _torch_audit(model: nn.Module, batch: Any, loss: Any) -> Step:
    """An audited forward and backward."""
    audited = import_module("torch_audit").Auditor

    def step() -> None:
        model.zero_grad()
        auditor = audited(model, every_n_steps=1, reporters=[])
        auditor.backward(loss(auditor.forward(batch[0]), batch[1]))
        auditor.detach()  # else its hooks slow what comes next

    return step


def _torchtest2(model: nn.Module, batch: Any, loss: Any) -> Step:
    """All its checks of one batch but the one that trains for 200 steps."""
    check_model = import_module("torchtest2").check_model
    return lambda: check_model(model, *batch, loss_fn=loss, skip=("overfit_batch",))


def _pytest_torch(model: nn.Module, batch: Any, loss: Any) -> Step:
    """Its two assertions on gradients."""
    assertions = import_module("pytest_torch")

    def step() -> None:
        assertions.assert_all_params_receive_grad(model, batch[0], lambda output: loss(output, batch[1]))
        assertions.assert_gradients_finite(model, batch[0], lambda output: loss(output, batch[1]))

    return step


PEERS: dict[str, Callable[[nn.Module, Any, Any], Step]] = {
    "torchlens": _torchlens,
    "torch-audit": _torch_audit,
    "torchtest2": _torchtest2,
    "pytest-torch": _pytest_torch,
}
