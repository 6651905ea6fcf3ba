"""``python -m pytest_gradhealth check TARGET``: a model without a test file, judged on a batch made up or given."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pytest_gradhealth.checks import Checker
from pytest_gradhealth.errors import ConfigurationError, GradientHealthError, MeasurementError, unknown
from pytest_gradhealth.judge.limits import Limits
from pytest_gradhealth.record import Check
from pytest_gradhealth.report.table import render
from pytest_gradhealth.settings import Settings

__all__ = ["add_check"]

HEALTHY, SICK, USAGE = 0, 1, 2
LOSSES = ("cross_entropy", "mse_loss", "l1_loss", "binary_cross_entropy_with_logits")
TARGETS = "package.module:factory, timm:NAME or transformers:TYPE"


def add_check(commands: Any) -> None:
    """Add the command to the others."""
    check = commands.add_parser("check", help="judge a model without a test; exit code 1 if it is unhealthy")
    check.add_argument("target", metavar="TARGET", help=TARGETS)
    check.add_argument(
        "--input", metavar="SHAPE", action="append", default=[], help="8,3,64,64 for noise, 8,16:1000 for tokens"
    )
    check.add_argument("--classes", metavar="N", type=int, help="draw labels below N, for a cross entropy")
    check.add_argument("--target", metavar="SHAPE", dest="target_shape", help="draw targets of this shape")
    check.add_argument("--batches", metavar="module:name", help="real batches, or a function that makes them")
    check.add_argument("--loss", help=f"one of {', '.join(LOSSES)}, or module:name; default: what fits the target")
    check.add_argument("--device", default="auto", help="default: %(default)s")
    check.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    check.add_argument(
        "--limit", metavar="NAME=VALUE", action="append", default=[], help="as in min_reach=1e-3, or max_dead=off"
    )
    check.add_argument("-v", "--verbose", action="count", default=0, help="every layer")
    check.add_argument("--ascii", action="store_true", help="use no character beyond ASCII")
    check.set_defaults(run=_check)


def _check(options: argparse.Namespace) -> int:
    sys.path.insert(0, str(Path.cwd()))  # python -m does so, an installed script does not
    kept: list[Check] = []
    try:
        settings = Settings(device=options.device, seed=options.seed, limits=Limits(**_limits(options.limit)))
        model, batches, loss = _asked(options)
        Checker(settings, sink=kept.append).check(model, batches, loss, name=options.target)
    except GradientHealthError:
        pass
    except (MeasurementError, ConfigurationError) as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE
    except Exception as error:  # the model's own: what it says, and what batch it was given
        notes = getattr(error, "__notes__", ())
        print("\n".join([f"error: {type(error).__name__}: {error}", *notes]), file=sys.stderr)
        return USAGE
    (check,) = kept[-1:]
    width = shutil.get_terminal_size().columns
    print(render(check, width=width, ascii_only=options.ascii, verbosity=options.verbose))
    return HEALTHY if check.healthy else SICK


def _asked(options: argparse.Namespace) -> tuple[Callable[[], Any], Any, Callable[..., Any] | None]:
    """Model, batches and loss."""
    from pytest_gradhealth.measure.runs import factories

    model = factories.factory(options.target, options.classes)
    if options.batches:
        batches = factories.load(options.batches)
        return model, batches() if callable(batches) else batches, _loss(options)
    shapes = [factories.InputShape.parse(text) for text in options.input]
    if not shapes and not options.target.startswith("transformers:"):
        raise MeasurementError("there is no batch: give --input 8,3,64,64 for a made-up one, or --batches module:name")
    target = factories.InputShape.parse(options.target_shape) if options.target_shape else None
    if options.target.startswith("transformers:"):
        return model, _tokens(shapes, options), None
    return (
        model,
        factories.synthetic_batch(shapes, classes=options.classes, target=target, seed=options.seed),
        _loss(options),
    )


def _tokens(shapes: list[Any], options: argparse.Namespace) -> Mapping[str, Any]:
    """What a transformers model takes: tokens, and labels that are the tokens themselves or classes."""
    from pytest_gradhealth.measure.runs import factories

    shape = shapes or [factories.InputShape((4, factories.TOKENS), factories.TINY["vocab_size"])]
    made = factories.synthetic_batch(shape, classes=options.classes, seed=options.seed)
    tokens, labels = made if options.classes else (made, made)
    return {"input_ids": tokens, "labels": labels}


def _loss(options: argparse.Namespace) -> Callable[..., Any] | None:
    from pytest_gradhealth.measure.runs import factories

    name = options.loss or ("mse_loss" if options.target_shape else "cross_entropy" if options.classes else None)
    if name is None:
        return None
    found: Callable[..., Any] = factories.load(f"torch.nn.functional:{name}" if name in LOSSES else name)
    return found


def _limits(given: list[str]) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    for text in given:
        name, _, value = text.partition("=")
        if name not in Limits.names():
            raise ConfigurationError(f"--limit {text}: there is no limit {unknown(name, Limits.names())}")
        try:
            limits[name] = None if value == "off" else float(value)
        except ValueError:
            raise ConfigurationError(f"--limit {text}: {value!r} is no number") from None
    return limits
