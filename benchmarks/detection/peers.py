"""The published rules of other tools on the same cases, each as one small function over the same raw numbers.

python -m benchmarks.detection.peers [--part PART] [--kind healthy|faulty] [--only GLOB] [--jobs N] [--resume]

These are the formulae and default limits of the tools (sources and versions: the table at the end), not the tools: what
needs a training run of many steps is judged by what two batches and one step of Adam (lr 1e-3) show, and the accuracy
gate of AUTOTRAINER, which keeps it silent while a model learns, is left open. Where a tool looks at everything in
training (data, labels, accuracy), only its part about gradients, weights and activations is here.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.detection.cases import Batch, Case
from benchmarks.detection.run import BATCH_SEEDS, chosen, parser
from benchmarks.detection.spread import prepare, spread
from pytest_gradhealth.measure.passes.nesting import copied, floating
from pytest_gradhealth.measure.runs.state import isolated_rng

LEARNING_RATE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Gradient:
    """What came to one parameter. NaN stands where there is nothing to compute from."""

    norm: float = 0.0
    mean: float = 0.0
    mean_abs: float = 0.0
    max_abs: float = 0.0
    std: float = 0.0
    p5: float = 0.0
    p95: float = 0.0
    zero_share: float = 0.0
    finite: bool = True
    sparse: bool = False


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One trainable parameter: its weights, its gradient in each batch (None: none came), and one step of Adam."""

    name: str
    dimensions: int
    gradients: tuple[Gradient | None, ...]
    weight_norm: float
    weight_mean_abs: float
    weight_max_abs: float
    weight_variance: float
    changed: bool = True
    update_mean_abs: float = 0.0
    after: Gradient | None = None
    """The gradient after the step."""

    @property
    def first(self) -> Gradient | None:
        return self.gradients[0]


@dataclass(frozen=True, kw_only=True)
class Output:
    """What one module without children gave in the first batch, and the gradient that came back to it."""

    name: str
    kind: str
    norm: float | None
    rms: float | None
    mean: float
    zero_share: float
    not_positive: float
    far: float
    """Share of its inputs beyond +-5."""


@dataclass(frozen=True, kw_only=True)
class Raw:
    """One case, measured plainly. Parameters stand in the order of registration, outputs in that of execution."""

    parameters: tuple[Parameter, ...]
    outputs: tuple[Output, ...] = ()
    uncalled: tuple[str, ...] = ()
    loss_finite: bool = True
    graph: bool = True
    """Whether the loss could be differentiated at all."""

    @property
    def came(self) -> list[tuple[Parameter, Gradient]]:
        """Parameters with the gradient of the first batch."""
        return [(p, p.first) for p in self.parameters if p.first is not None]

    @property
    def weights(self) -> list[tuple[Parameter, Gradient]]:
        """The same, of weights only: what Keras calls kernels."""
        return [(p, g) for p, g in self.came if p.dimensions > 1]

    @property
    def finite(self) -> bool:
        return self.loss_finite and all(g.finite for _, g in self.came)


# --- measuring ---------------------------------------------------------------------------------------------------


def measure_raw(case: Case, seed: int = 0) -> Raw:
    """The model, batches and random numbers that ours is given, without anything of ours."""
    with isolated_rng(seed):
        model = case.build()
        batches = [case.batch(batch_seed + 100 * seed, case.batch_size) for batch_seed in BATCH_SEEDS]
        if any(map(nn.parameter.is_lazy, model.parameters())):
            with torch.no_grad():
                case.step(model, copied(batches[0], torch.device("cpu")))
    model.train()
    with isolated_rng(seed), _Outputs(model) as seen:
        graph, loss = _backward(case, model, batches[0])
        outputs = tuple(seen.finished())
    return _measured(case, model, batches, seed, Raw(parameters=(), outputs=outputs, loss_finite=loss, graph=graph))


def _measured(case: Case, model: nn.Module, batches: list[Batch], seed: int, raw: Raw) -> Raw:
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    first = {name: _gradient(p.grad) for name, p in trained.items()}
    before = {name: p.detach().clone() for name, p in trained.items()}
    _step(list(trained.values()))
    moved = {name: (p.detach() - before[name]).abs() for name, p in trained.items()}
    with isolated_rng(seed):
        _backward(case, model, batches[0])
    after = {name: _gradient(p.grad) for name, p in trained.items()}
    with torch.no_grad():
        for name, p in trained.items():
            p.copy_(before[name])
    with isolated_rng(seed + 1):
        _backward(case, model, batches[1])
    parameters = tuple(
        Parameter(
            name=name,
            dimensions=p.ndim,
            gradients=(first[name], _gradient(p.grad)),
            **_weights(before[name]),
            changed=bool(moved[name].ne(0).any()),
            update_mean_abs=float(moved[name].float().mean()),
            after=after[name],
        )
        for name, p in trained.items()
        if p.numel()
    )
    called = {output.name for output in raw.outputs}
    uncalled = tuple(name for name, module in model.named_modules() if _is_layer(module) and name not in called)
    return Raw(
        parameters=parameters, outputs=raw.outputs, uncalled=uncalled, loss_finite=raw.loss_finite, graph=raw.graph
    )


def _is_layer(module: nn.Module) -> bool:
    return next(module.children(), None) is None and next(module.parameters(), None) is not None


def _backward(case: Case, model: nn.Module, batch: Batch) -> tuple[bool, bool]:
    """Whether there was a graph, and whether the loss was finite."""
    model.zero_grad()
    loss = case.step(model, copied(batch, torch.device("cpu")))
    if loss.requires_grad:
        torch.autograd.backward(loss)
    return loss.requires_grad, bool(torch.isfinite(loss.detach()))


def _step(parameters: list[nn.Parameter]) -> None:
    for parameter in parameters:
        if parameter.grad is not None and parameter.grad.layout != torch.strided:
            parameter.grad = parameter.grad.to_dense()
    torch.optim.Adam(parameters, lr=LEARNING_RATE).step()


@torch.no_grad()
def _gradient(gradient: Tensor | None) -> Gradient | None:
    if gradient is None:
        return None
    sparse = gradient.layout != torch.strided
    values = _real(gradient.to_dense() if sparse else gradient)
    if not values.numel() or not bool(values.isfinite().all()):
        return Gradient(finite=not values.numel(), sparse=sparse, max_abs=math.nan, mean_abs=math.nan, norm=math.nan)
    p5, p95 = torch.quantile(values[:1_000_000], torch.tensor([0.05, 0.95], dtype=values.dtype)).tolist()
    return Gradient(
        norm=float(values.norm()),
        mean=float(values.mean()),
        mean_abs=float(values.abs().mean()),
        max_abs=float(values.abs().max()),
        std=float(values.std(correction=0)),
        p5=p5,
        p95=p95,
        zero_share=float(values.eq(0).double().mean()),
        sparse=sparse,
    )


def _weights(weight: Tensor) -> dict[str, float]:
    values = _real(weight)
    return {
        "weight_norm": float(values.norm()),
        "weight_mean_abs": float(values.abs().mean()),
        "weight_max_abs": float(values.abs().max()),
        "weight_variance": float(values.var(correction=0)),
    }


def _real(tensor: Tensor) -> Tensor:
    values = tensor.detach()
    return (torch.view_as_real(values) if values.is_complex() else values).double().flatten()


@dataclass
class _Outputs:
    """Hooks on the modules without children."""

    model: nn.Module
    seen: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __enter__(self) -> _Outputs:
        leaves = [(name, m) for name, m in self.model.named_modules() if next(m.children(), None) is None]
        self.handles = [module.register_forward_hook(self._hook(name)) for name, module in leaves]
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self.handles:
            handle.remove()

    def _hook(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def note(module: nn.Module, args: Any, output: Any) -> None:
            entry = self.seen.setdefault(name, {"kind": type(module).__name__, "squares": [], "numel": 0})
            given, gave = (next(iter(floating(value)), None) for value in (args, output))
            if gave is None or gave.is_complex():
                return
            entry |= _described(gave.detach(), given)
            if gave.requires_grad:
                entry["numel"] += gave.numel()
                gave.register_hook(partial(_add_square, entry["squares"]))  # type: ignore[no-untyped-call]

        return note

    def finished(self) -> Iterator[Output]:
        for name, entry in self.seen.items():
            if "mean" in entry:
                norm = float(sum(entry["squares"])) ** 0.5 if entry["squares"] else None
                rms = norm / entry["numel"] ** 0.5 if norm is not None else None
                numbers = {key: entry[key] for key in ("kind", "mean", "zero_share", "not_positive", "far")}
                yield Output(name=name, norm=norm, rms=rms, **numbers)


@torch.no_grad()
def _add_square(squares: list[Tensor], gradient: Tensor | None) -> None:
    if gradient is not None:  # a custom backward may send nothing back
        squares.append(gradient.detach().double().square().sum())


def _described(gave: Tensor, given: Tensor | None) -> dict[str, float]:
    values = gave.double()
    far = 0.0 if given is None or given.is_complex() else float(given.detach().abs().gt(5).double().mean())
    return {
        "mean": float(values.mean()),
        "zero_share": float(values.eq(0).double().mean()),
        "not_positive": float(values.le(0).double().mean()),
        "far": far,
    }


# --- the rules: whether they alarm -------------------------------------------------------------------------------


def sagemaker_vanishing(raw: Raw) -> bool:
    """VanishingGradient: mean absolute value of any gradient below 1e-7."""
    return any(g.mean_abs < 1e-7 for _, g in raw.came)


def sagemaker_exploding(raw: Raw) -> bool:
    """ExplodingTensor: NaN or infinity; it has no limit on magnitude."""
    return not raw.finite


def sagemaker_poor_init(raw: Raw) -> bool:
    """PoorWeightInitialization: variances of weights more than 10 apart, or a gradient's 5..95 % range below 1e-3."""
    variances = [p.weight_variance for p in raw.parameters if p.dimensions > 1]
    apart = bool(variances) and max(variances) > 10 * min(variances)
    return apart or any(g.p95 - g.p5 < 1e-3 for _, g in raw.weights)


def sagemaker_update_ratio(raw: Raw) -> bool:
    """WeightUpdateRatio: mean update over mean weight above 10 or below 1e-8."""
    ratios = [p.update_mean_abs / (p.weight_mean_abs + 1e-9) for p in raw.parameters]
    return any(ratio > 10 or ratio < 1e-8 for ratio in ratios)


def autotrainer(raw: Raw) -> bool:
    """First over last kernel below 1e-3 with the first below 1e-4; above 70; NaN; 70 % zeros; its gate left open."""
    if not raw.finite:
        return True
    if not raw.weights:
        return False
    first, last = raw.weights[0][1].norm, raw.weights[-1][1].norm
    zeros = statistics.fmean(g.zero_share for _, g in raw.weights)
    return (first < 1e-3 * last and first < 1e-4) or first > 70 * last or zeros >= 0.7


def deeplocalize(raw: Raw) -> bool:
    """A mean gradient or mean activation of exactly zero in both batches, NaN or infinity."""
    flat = any(all(g is not None and g.finite and g.mean == 0 for g in p.gradients) for p in raw.parameters)
    return not raw.finite or flat or any(output.mean == 0 for output in raw.outputs)


def deepdiagnosis(raw: Raw) -> bool:
    """Kernels: mean below 1e-7, NaN; ReLUs 70 % off; sigmoid and tanh inputs half beyond +-5."""
    relu = any(o.kind == "ReLU" and o.not_positive >= 0.7 for o in raw.outputs)
    saturated = any(o.kind in ("Sigmoid", "Tanh") and o.far > 0.5 for o in raw.outputs)
    return not raw.finite or relu or saturated or any(g.mean_abs < 1e-7 for _, g in raw.weights)


def thedeepchecker(raw: Raw) -> bool:
    """Its part about gradients: mean below 1e-6 or above 1e6, NaN."""
    return not raw.finite or any(not 1e-6 <= g.mean_abs <= 1e6 for _, g in raw.came)


def bttackler(raw: Raw) -> bool:
    """Median mean below 1e-5 or above 1e4, median quotient of neighbours outside 1e-4..1e3, any zero, NaN."""
    means = [g.mean_abs for _, g in raw.weights]
    if not raw.finite or any(mean == 0 for mean in means):
        return True
    quotients = [first / second for first, second in pairwise(means)]
    middle = statistics.median(means) if means else 1.0
    step = statistics.median(quotients) if quotients else 1.0
    return not 1e-5 <= middle <= 1e4 or not 1e-4 <= step <= 1e3


def torchlens_norm(raw: Raw) -> bool:
    """Gradient of any output: norm below 1e-7 (or zero), above 1e4, or NaN."""
    return any(not 1e-7 <= o.norm <= 1e4 for o in raw.outputs if o.norm is not None)


def torchlens_rms(raw: Raw) -> bool:
    """The same by root mean square."""
    return any(not 1e-7 <= o.rms <= 1e4 for o in raw.outputs if o.rms is not None)


def neuraldbg(raw: Raw) -> bool:
    """Gradient of any output: norm below 1e-6 or above 1e3; more than 90 % of an output zero. NaN passes."""
    far = any(o.norm < 1e-6 or o.norm > 1e3 for o in raw.outputs if o.norm is not None)
    return far or any(o.zero_share > 0.9 for o in raw.outputs)


def torchdiag(raw: Raw) -> bool:
    """Any gradient with its largest value above 100 or below 1e-7, or None. NaN passes."""
    return any(p.first is None or p.first.max_abs > 100 or p.first.max_abs < 1e-7 for p in raw.parameters)


def torch_audit(raw: Raw) -> bool:
    """NaN; global norm above 100; no gradient at all; an output more than 90 % zero; a layer that is never called."""
    total = math.hypot(*(g.norm for _, g in raw.came)) if raw.finite else math.inf
    return total > 100 or not raw.came or any(o.zero_share > 0.9 for o in raw.outputs) or bool(raw.uncalled)


def torchtest(raw: Raw) -> bool:
    """torchtest, torcheck: a parameter that one step leaves bit for bit as it was, or NaN."""
    return not raw.finite or any(not p.changed for p in raw.parameters)


def torchtest2(raw: Raw) -> bool:
    """By default: None in all batches, NaN, or a large gradient that moves nothing."""
    return any(_none(p) or _loud(p) for p in raw.parameters) or not raw.finite


def torchtest2_strict(raw: Raw) -> bool:
    """Also: zero before and after a step; norm over max(weight norm, 1) above 1e3; unchanged."""
    return torchtest2(raw) or any(map(_suspect, raw.parameters))


def _none(p: Parameter) -> bool:
    return all(g is None for g in p.gradients)


def _loud(p: Parameter) -> bool:
    return p.first is not None and not p.changed and p.first.max_abs >= 1e-4 * p.weight_max_abs and p.first.max_abs > 0


def _suspect(p: Parameter) -> bool:
    if p.first is None:
        return False
    still = p.first.norm == 0 and p.after is not None and p.after.norm == 0
    steep = p.first.norm / max(p.weight_norm, 1) > 1e3
    faint = not p.changed and 0 < p.first.max_abs < 1e-4 * p.weight_max_abs
    return still or steep or faint


def pytest_torch(raw: Raw) -> bool:
    """A gradient that is None, exactly zero or not finite."""
    return not raw.finite or any(p.first is None or p.first.norm == 0 for p in raw.parameters)


def allennlp(raw: Raw) -> bool:
    """A gradient that is None or all zero; sparse ones are not looked at, dropout stays on."""
    return any(p.first is None or (p.first.norm == 0 and not p.first.sparse) for p in raw.parameters)


def grad_is_none(raw: Raw) -> bool:
    """transformers, timm: a gradient that is None."""
    return any(p.first is None for p in raw.parameters)


def first_last(raw: Raw) -> bool:
    """Norm of the first weight's gradient over the last one's outside 1e-3..1e3."""
    if not raw.weights:
        return False
    first, last = raw.weights[0][1].norm, raw.weights[-1][1].norm
    return not (1e-3 * last <= first <= 1e3 * last) or first == last == 0


Rule = Callable[[Raw], bool]

RULES: dict[str, tuple[str, Rule]] = {
    "SageMaker VanishingGradient": ("developer guide at 1c4d5ff", sagemaker_vanishing),
    "SageMaker ExplodingTensor": ("the same", sagemaker_exploding),
    "SageMaker PoorWeightInitialization": ("the same", sagemaker_poor_init),
    "SageMaker WeightUpdateRatio": ("the same", sagemaker_update_ratio),
    "AUTOTRAINER, ungated": ("ICSE 2021", autotrainer),
    "DeepLocalize": ("ICSE 2021", deeplocalize),
    "DeepDiagnosis": ("ICSE 2022", deepdiagnosis),
    "TheDeepChecker, gradients": ("TOSEM 2022", thedeepchecker),
    "BTTackler": ("KDD 2024", bttackler),
    "TorchLens, norm": ("2.36.1", torchlens_norm),
    "TorchLens, rms": ("2.36.1", torchlens_rms),
    "NeuralDBG": ("1.3.2", neuraldbg),
    "torchdiag": ("0.1.0", torchdiag),
    "torch-audit": ("0.3.0", torch_audit),
    "torchtest, torcheck": ("0.5, 1.0.1", torchtest),
    "torchtest2, strict": ("0.1.0", torchtest2_strict),
    "torchtest2": ("0.1.0", torchtest2),
    "pytest-torch": ("1.1.1", pytest_torch),
    "AllenNLP": ("archived", allennlp),
    "transformers, timm: grad is not None": ("", grad_is_none),
    "first over last weight in 1e-3..1e3": ("", first_last),
}


def alarms(raw: Raw) -> list[str]:
    """Names of the rules that alarm; where nothing can be differentiated every tool fails."""
    return [name for name, (_, rule) in RULES.items() if not raw.graph or rule(raw)]


def judge_case(case: Case) -> dict[str, Any]:
    """What the other tools say of one case. A model that raises fails any test."""
    try:
        found, error = alarms(measure_raw(case)), ""
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as problem:
        found, error = list(RULES), f"{type(problem).__name__}: {problem}"[:200]
    return {"part": case.part, "operator": case.operator, "alarms": found, "error": error}


def rates(results: Iterable[dict[str, Any]]) -> dict[str, int]:
    """For each rule, how many of the results it alarms on."""
    counts = dict.fromkeys(RULES, 0)
    for result in results:
        for name in result["alarms"]:
            counts[name] += 1
    return counts


def main() -> None:
    """Parse the command line and run."""
    options = parser("peers.json", __doc__).parse_args()
    prepare()
    spread(judge_case, chosen(options), options.output, jobs=options.jobs, resume=options.resume)


if __name__ == "__main__":
    main()
