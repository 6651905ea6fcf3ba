"""GH301: NaN or infinity in the loss or in a gradient."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from pytest_gradhealth.errors import counted
from pytest_gradhealth.judge import localise
from pytest_gradhealth.judge.families import NON_FINITE
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.judge.wording import Explanation, located, named, place
from pytest_gradhealth.record import Finding

__all__ = ["RULE", "find"]

RULE = Rule(
    code="GH301",
    slug="non-finite",
    title="non-finite gradient",
    summary="The loss or a gradient is NaN or infinite, and one step of the optimiser spreads it to every weight.",
    family=NON_FINITE,
    theory="""\
`sqrt` and `norm` have an infinite slope at 0, `log` and division near 0, and `exp` overflows from 89 on in float32
and from 12 on in float16 ([IEEE 754](https://doi.org/10.1109/IEEESTD.2019.8766229)). The layer named is the one
where NaN or infinity first arises: the first module whose output is not finite; if all are, the last one to whose
output the gradient came back broken. Minus infinity in masked logits is no fault. NaN gradients have no size, so
nothing else is reported beside it.""",
    remedies=(
        "Add a small constant inside: `sqrt(x + eps)`, `log(x + eps)`, `x / (norm + eps)`.",
        "Use the stable form: `log_softmax`, `logsumexp`, `binary_cross_entropy_with_logits`.",
        "Lower the learning rate, clip the gradient norm, or warm up.",
    ),
    sick="""\
class Distance(nn.Module):
    def forward(self, x):
        return (x - x.detach()).square().sum(-1, keepdim=True).sqrt() + x

model = lambda: nn.Sequential(nn.Linear(8, 16), Distance(), nn.Linear(16, 4))
batch = torch.randn(32, 8), torch.randint(4, (32,))
loss = F.cross_entropy
""",
    healthy="""\
class Distance(nn.Module):
    def forward(self, x):
        return ((x - x.detach()).square().sum(-1, keepdim=True) + 1e-6).sqrt() + x

model = lambda: nn.Sequential(nn.Linear(8, 16), Distance(), nn.Linear(16, 4))
batch = torch.randn(32, 8), torch.randint(4, (32,))
loss = F.cross_entropy
""",
)

CHOOSES = re.compile("Attention|Softmax")
"""Modules that choose among what a mask leaves."""


def find(view: View) -> Iterator[Finding]:
    """NaN or infinity in the loss or in any gradient."""
    sick = [layer for layer in view.judged if layer.nan or layer.inf]
    loss = view.record.loss
    if not sick and (loss is None or math.isfinite(loss)):
        return
    culprit, where = _behind_operation(view) or localise.first_nonfinite(view)
    affected = [layer.name for layer in sick if layer.name != culprit]
    share = f"; {len(sick)} of {len(view.judged)} layers have NaN or infinite gradients" if sick else ""
    yield RULE.finding([culprit, *affected], f"{where}{share}", value=loss, **_explanation(view, culprit))


def _explanation(view: View, culprit: str) -> Explanation:
    """Overflow forward, or an infinite slope."""
    signal, record = view.signal(culprit), view.record
    if signal is not None and signal.nonfinite_input and signal is view.leaves[0]:
        return Explanation(cause="the batch itself contains NaN or infinity", remedy="clean or normalise the input")
    if record.steps and any(use.eps_underflows for use in record.optimisers):
        use = next(use for use in record.optimisers if use.eps_underflows)
        cause = f"the eps of {use.kind} is zero in float16, so its step is 0/0 wherever a gradient is zero"
        return Explanation(cause=cause, remedy="set eps=1e-4, or keep the weights in float32 and use torch.autocast")
    broken = next((layer.name for layer in record if not math.isfinite(layer.weight_norm)), None)
    if broken is not None:
        if not record.steps:
            cause = (
                f"the weights of {named(broken)} hold NaN or infinity from the start: never initialised, or loaded so"
            )
            remedy = (
                "initialise what torch.empty or torch.Tensor(...) allocates; check what was loaded, or trained before"
            )
            return Explanation(cause=cause, remedy=remedy)
        cause = f"the weights of {named(broken)} already contain NaN or infinity: an earlier step was too large"
        return Explanation(cause=cause, remedy="lower the learning rate, clip the gradient norm, or warm up")
    if record.precision == "float16":
        cause = "float16 overflows beyond 65504"
        return Explanation(cause=cause, remedy="compute the large step in float32, or train in bfloat16")
    if masked := next(
        (s for s in view.leaves if s.nonfinite and not s.nonfinite_input and CHOOSES.search(s.kind)), None
    ):
        cause = f"{masked.name!r} ({masked.kind}) returns NaN: a mask leaves a row nothing to choose, so it is all -inf"
        return Explanation(cause=cause, remedy="leave each row at least one key: mask padded keys only, not whole rows")
    if record.loss is not None and math.isfinite(record.loss):
        return _steep(view)
    return _outside_its_domain(view)


def _behind_operation(view: View) -> tuple[str, str] | None:
    """The layer whose output the operation was given that makes NaN, where that is no module's own; None: no such."""
    record = view.record
    broken = any(not math.isfinite(layer.weight_norm) for layer in record)
    found = next((o for o in record.operations if o.nonfinite and o.upstream), None)
    if broken or found is None or record.loss is None or math.isfinite(record.loss):
        return None
    if any(signal.nonfinite and not signal.nonfinite_input for signal in view.leaves):
        return None
    return found.upstream[0], f"NaN or infinity arises behind {named(found.upstream[0])}"


REMEDIES = {
    "softmax": "leave each row at least one key: a row that a mask fills with -inf has no softmax",
    "log": "take it of what is above 0: log(x + eps), or the stable form (log_softmax, logsigmoid)",
    "exp": "bound what it is given, as by logvar.clamp(-10, 10), or use softplus; and scale the input",
    "sqrt": "take it of what is above 0: sqrt(x.clamp(min=eps))",
    "std": "take it of two values at least",
    "var": "take it of two values at least",
    "truediv": "keep what it divides by away from 0: x / (y + eps)",
    "div": "keep what it divides by away from 0: x / (y + eps)",
}
ROOT = ("is 0 at {}, where its slope is infinite", "add a small constant inside: sqrt(x + eps), and not sqrt(x) + eps")
"""What is singular at a root, and the remedy."""
ARC = (
    "is given 1 or -1 at {}, where its slope is infinite",
    "keep it inside: x.clamp(-1 + eps, 1 - eps), or use atan2",
)
SPECTRUM = ("finds equal values at {}, whose vectors have no slope", "train on the values alone, or set them apart")
STEEP = {
    **dict.fromkeys(("acos", "arccos", "arcsin", "asin"), ARC),
    **dict.fromkeys(("linalg_eigh", "linalg_svd", "svd"), SPECTRUM),
}
CLAMP = "clamp its input, use the stable form (log_softmax, logsumexp), or mask differently"


def _outside_its_domain(view: View) -> Explanation:
    """The operation that made NaN or infinity of finite numbers; or what such operations are."""
    if found := next((o for o in view.record.operations if o.nonfinite), None):
        name = found.name.strip("_")
        cause = f"{name}(){place(found)} gives NaN or infinity at {counted(found.nonfinite, 'place')}"
        return located(Explanation(cause=cause, remedy=REMEDIES.get(name, CLAMP)), found)
    cause = (
        "an operation left its domain or overflowed: log or sqrt of a negative number, division by 0, exp of a large "
        "one, softmax over a row that is masked to -inf"
    )
    return Explanation(cause=cause, remedy=CLAMP)


def _steep(view: View) -> Explanation:
    """The operation whose slope is infinite; or what such operations are."""
    if found := next((o for o in view.record.operations if o.infinite_slope), None):
        name = found.name.strip("_")
        what, remedy = STEEP.get(name, ROOT)
        cause = f"{name}(){place(found)} {what.format(counted(found.infinite_slope, 'place'))}"
        return located(Explanation(cause=cause, remedy=remedy), found)
    cause = (
        "an operation has no finite slope at its input: sqrt, norm or a power at 0, log or division near 0, acos or "
        "asin at 1; torch.where lets it through, also from values that it does not take"
    )
    remedy = (
        "keep the input away from there, before the operation: sqrt(x + eps), log(x + eps), x / (norm + eps), "
        "acos(x.clamp(-1 + eps, 1 - eps)), torch.where(safe, x, 1)"
    )
    return Explanation(cause=cause, remedy=remedy)
