"""How often the first tried cure is the true one, beside the rule of thumb, on faulty cases of the detection benchmark.

    python -m benchmarks.experiment.remedies [--curable N] [--others N] [--seconds S] [--resume]

Cases are those that training calls faulty and a check finds, taken evenly over operators by the hash of their names.
A cure is true where it undoes what the operator did; ``TRUE`` says which does, by the cause that it is reported with,
and ``RULE`` which words of today's cause or remedy would say the same. Operators that no change of code in ``TRUE``
could undo are counted apart: there the honest answer is that nothing cures.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.detection.cases import Case
from benchmarks.detection.label import read
from benchmarks.detection.run import BATCH_SEEDS
from benchmarks.detection.spread import all_cases, prepare
from pytest_gradhealth import GradHealth, GradientHealthError, MeasurementError, Settings
from pytest_gradhealth.experiment.explore import explore
from pytest_gradhealth.record import Check

RESULTS = Path(__file__).with_name("remedies.json")
INIT = ("initialisation", "scale of the weights", "recurrent weights", "weights of the normalisation")
SCALE = (*INIT, "biases")
CUT = ("detach", ".data", "no_grad")
OUTPUT = ("activation between the model and its loss", "activation at the end", "scale of the loss", "constant factor")
TRUE: dict[str, tuple[str, ...]] = {
    "activation-sigmoid": ("the activation",),
    "activation-saturated": ("the activation", *SCALE, "clamp"),
    "activation-argument": ("the activation", "clamp", *SCALE),
    "no-residual": ("skip",),
    "no-norm": ("normalisation", *SCALE),
    "no-residual-no-norm": ("skip", "normalisation"),
    "norm-eps": ("eps of the normalisation",),
    "norm-in-eval-mode": ("normalisation",),
    "norms-at-zero": ("weights of the normalisation", *INIT),
    "deep-linear-gain": (*INIT, "lack of activations"),
    **dict.fromkeys(
        ("init-small", "init-large", "init-zero", "init-constant", "init-ones", "init-uniform-0-1", "init-narrow",
         "init-uninitialised", "init-slope-mistaken", "init-mean-mistaken", "double-zero-branch", "lora-both-zero",
         "table-of-zeros", "exploding-recurrence", "vanishing-recurrence", "double-zero-gate"),
        SCALE,
    ),
    "dead-units": SCALE,
    "head-bias": SCALE,
    "gate-saturated": SCALE,
    **dict.fromkeys(("detach", "detach-partial", "no-grad"), CUT),
    "round-trip": CUT,
    "hard-step": ("step",),
    "straight-through": ("step", *CUT),
    "clamp": ("clamp",),
    "dropout-one": ("dropout",),
    "nan-backward": ("root",),
    "nan-forward": ("root",),
    "distance-to-itself": ("root",),
    "angle-to-itself": ("root",),
    "over-std": ("root",),
    "branch-times-zero": ("constant factor",),
    "scaled-twice": ("scale of the inputs",),
    "attention-mask": ("mask",),
    "mask-hides-itself": ("mask",),
    "mask-inverted": ("mask",),
    "unregistered": ("not registered",),
    "not-a-parameter": ("not registered",),
    "double-softmax": OUTPUT,
    "sigmoid-before-softmax": OUTPUT,
    "double-sigmoid": OUTPUT,
    "relu-on-logits": OUTPUT,
    "relu-on-regression": OUTPUT,
    "tanh-on-raw-targets": (*OUTPUT, "scale of the targets"),
    "softmax-temperature": OUTPUT,
    "cold-logits": OUTPUT,
    "loss-scale": ("scale of the loss",),
    "loss-sign": ("sign of the loss",),
    "margin-sign": ("sign of the loss",),
    "loss-broadcast": ("shapes",),
    "nll-on-logits": OUTPUT,
    "log-of-softmax": (*OUTPUT, "root"),
    "mean-before-square": ("differences",),
    "error-not-squared": ("differences",),
    "raw-targets": ("scale of the targets",),
    "targets-unscaled": ("scale of the targets",),
    "tiny-input": ("scale of the inputs",),
    "unscaled-input": ("scale of the inputs",),
    "half-precision": ("half precision", "scale of the loss"),
    "half-overflow": ("half precision",),
    "checkpoint-reentrant": ("checkpoint",),
    "long-sequence": ("recurren",),
    "wrong-dim": (),
}  # fmt: skip
"""Words of a cause, by operator."""
RULE: dict[str, tuple[str, ...]] = {
    "initialisation": ("initialis", "weights", "start"),
    "biases": ("bias",),
    "scale of the weights": ("initialis", "weights"),
    "recurrent": ("recurren", "forget", "lstm"),
    "the activation": ("relu or gelu", "slope is at most", "saturated"),
    "skip": ("skip connection",),
    "eps of the normalisation": ("usual eps", "eps outweighs"),
    "weights of the normalisation": ("start", "weight"),
    "normalisation": ("normalisation",),
    "root": ("eps", "clamp its input", "slope is infinite", "left its domain"),
    "step": ("straight-through",),
    "constant factor": ("factor", "multiplied", "scale"),
    "activation between the model and its loss": ("logits", "raw scores", "log_softmax", "remove"),
    "activation at the end": ("remove", "logits"),
    "scale of the loss": ("scale the loss", "loss is multiplied", "loss is scaled"),
    "sign of the loss": ("minus", "negative sign"),
    "shapes": ("same shape",),
    "differences": ("square",),
    "scale of the targets": ("scale the targets", "targets"),
    "scale of the inputs": ("input",),
    "half precision": ("float32", "float16", "scale the loss"),
    "not registered": ("modulelist", "parameter", "register"),
    "checkpoint": ("reentrant", "no_grad"),
    "recurren": ("recurren", "forget", "lstm"),
    "detach": ("detach",),
    ".data": (".data", "data"),
    "no_grad": ("no_grad",),
}


def true_causes(case: Case) -> tuple[str, ...]:
    """Words of the cause that the operator stands for; none: no change that is tried could undo it."""
    return TRUE.get(case.operator, ())


def names(words: tuple[str, ...], text: str) -> bool:
    """Whether a text says one of the causes."""
    return any(word in text for word in words)


def rule_is_right(words: tuple[str, ...], check: Check) -> bool:
    """Whether the rule of thumb's cause or remedy for the first finding says one of the causes."""
    text = f"{check.findings[0].cause} {check.findings[0].remedy}".lower()
    return any(alias in text for word in words for alias in RULE.get(word, (word,)))


def chosen(curable: int, others: int) -> list[Case]:
    """Faulty cases that a change could undo, and others: spread evenly over operators, within one by hash."""
    labels, groups = read()["cases"], defaultdict(list)
    for case in all_cases().values():
        if case.faulty and labels.get(case.name, {}).get("label") == "faulty":
            groups[case.operator].append(case)
    for group in groups.values():
        group.sort(key=lambda case: hashlib.sha256(case.name.encode()).digest())
    rounds = ([g[i] for _, g in sorted(groups.items()) if i < len(g)] for i in range(max(map(len, groups.values()))))
    ordered = [case for one in rounds for case in one]
    known, unknown = ([case for case in ordered if bool(true_causes(case)) is is_known] for is_known in (True, False))
    return known[:curable] + unknown[:others]


def examine(case: Case, seconds: float) -> dict[str, Any] | None:
    """What was tried on one case; None: nothing was found in it."""
    batches = [case.batch(seed, case.batch_size) for seed in BATCH_SEEDS]
    settings = Settings(device="cpu", try_seconds=seconds)
    begun = time.perf_counter()
    kept: list[Check] = []
    with suppress(GradientHealthError, MeasurementError, RuntimeError, ValueError, TypeError):
        GradHealth(settings, explore=explore, sink=kept.append).check(case.build, iter(batches), step=case.step)
    if not kept or kept[-1].healthy:
        return None
    check = kept[-1]
    words = true_causes(case)
    cured = [attempt for attempt in check.tried if attempt.cures]
    return {
        "operator": case.operator,
        "curable": bool(words),
        "kinds": [finding.kind for finding in check.findings],
        "rule": rule_is_right(words, check),
        "told": f"{check.findings[0].cause} / {check.findings[0].remedy}",
        "first": bool(cured) and names(words, cured[0].cause),
        "second": any(names(words, attempt.cause) for attempt in cured[:2]),
        "cured": [attempt.change for attempt in cured],
        "causes": [attempt.cause for attempt in cured],
        "tried": [f"{attempt.change}: {attempt.outcome}" for attempt in check.tried],
        "untried": check.untried,
        "seconds": round(time.perf_counter() - begun, 2),
    }


def main() -> None:
    """Examine the cases and write what was tried, as it comes."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--curable", type=int, default=175)
    options.add_argument("--others", type=int, default=60)
    options.add_argument("--seconds", type=float, default=25.0)
    options.add_argument("--only", default="", help="part of a case's name; nothing is written then")
    options.add_argument("--resume", action="store_true", help="keep what is in the file already")
    given = options.parse_args()
    prepare()
    found = json.loads(RESULTS.read_text()) if given.resume and RESULTS.exists() else {}
    for case in chosen(10_000, 10_000) if given.only else chosen(given.curable, given.others):
        if given.only not in case.name or case.name in found:
            continue
        result = examine(case, given.seconds)
        if result is None:
            continue
        found[case.name] = result
        flag = "+" if result["first"] else "2" if result["second"] else "-" if result["curable"] else " "
        print(flag, "R" if result["rule"] else " ", case.name, result["kinds"], result["cured"], flush=True)
        if not given.only:
            RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(summary(found))


def summary(found: dict[str, Any]) -> str:
    """The table of the docs, as Markdown."""
    curable, others = ([one for one in found.values() if one["curable"] is known] for known in (True, False))
    cured = [one for one in curable if one["cured"]]
    shares = (
        ("rule of thumb names the true cause", curable, "rule"),
        ("the first cure is the true one", curable, "first"),
        ("one of the first two is", curable, "second"),
        ("the same, where anything cured", cured, "second"),
    )
    rows = ["| | cases | share |", "|---|---|---|"]
    counts = [(label, sum(one[name] for one in group), len(group)) for label, group, name in shares]
    silent = sum(not one["cured"] for one in others)
    for label, count, total in (*counts, ("nothing could undo it, and nothing was said to cure", silent, len(others))):
        rows.append(f"| {label} | {count} of {total} | {count / max(total, 1):.0%} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
