"""Models by name, and batches made up for them: what the command line checks where there is no test."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pytest_gradhealth.errors import MeasurementError

__all__ = ["InputShape", "factory", "load", "synthetic_batch"]

TINY = {
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "dim"), 64),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers"), 4),
    **dict.fromkeys(("num_attention_heads", "num_key_value_heads", "n_head", "n_heads"), 4),
    **dict.fromkeys(("intermediate_size", "d_ff", "n_inner", "hidden_dim"), 128),
    "vocab_size": 1000,
}
"""Sizes of a transformers configuration under the names that its models use."""
TOKENS = 16


@dataclass(frozen=True)
class InputShape:
    """One input of a model: its shape, and for whole numbers how many there are (a vocabulary)."""

    shape: tuple[int, ...]
    vocabulary: int | None = None

    @classmethod
    def parse(cls, text: str) -> InputShape:
        """``8,3,64,64`` is floating point; ``8,16:1000`` are whole numbers below 1000.

        Raises:
            MeasurementError: the text is no shape.
        """
        numbers, _, vocabulary = text.partition(":")
        try:
            shape = tuple(int(number) for number in numbers.split(","))
            made = cls(shape, int(vocabulary) if vocabulary else None)
        except ValueError:
            raise MeasurementError(
                f"{text!r} is no shape: write 8,3,64,64, or 8,16:1000 for tokens below 1000"
            ) from None
        if min(shape) < 1 or (made.vocabulary is not None and made.vocabulary < 1):
            raise MeasurementError(f"{text!r} is no shape: every number must be at least 1")
        return made


def load(name: str) -> Any:
    """What ``package.module:attribute`` names.

    Raises:
        MeasurementError: there is no such module or attribute.
    """
    module, _, attribute = name.partition(":")
    if not attribute:
        raise MeasurementError(f"{name!r} names no object: write package.module:name")
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MeasurementError(f"{name!r}: {error}; start from the folder that holds it, or install it") from None
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise MeasurementError(f"{name!r}: {module} has no attribute {attribute!r}")
        found = getattr(found, part)
    return found


def factory(target: str, classes: int | None = None) -> Callable[[], nn.Module]:
    """A function that makes the model ``package.module:factory``, ``timm:NAME`` or ``transformers:TYPE``.

    Raises:
        MeasurementError: there is no such model, or its library is not installed.
    """
    library, _, name = target.partition(":")
    if library == "timm" and name:
        return lambda: _timm(name, classes)
    if library == "transformers" and name:
        return lambda: _transformers(name, classes)
    found = load(target)
    if not callable(found):
        raise MeasurementError(f"{target!r} is {type(found).__name__}, not a model or a function that makes one")
    return lambda: found if isinstance(found, nn.Module) else found()


def synthetic_batch(
    inputs: Sequence[InputShape], *, classes: int | None = None, target: InputShape | None = None, seed: int = 0
) -> Any:
    """Normal noise, or random tokens, as ``(inputs..., target)``; without classes or target the inputs alone."""
    draw = torch.Generator("cpu").manual_seed(seed)
    made = [_drawn(shape, draw) for shape in inputs]
    if target is not None:
        made.append(_drawn(target, draw))
    elif classes is not None:
        made.append(torch.randint(classes, (inputs[0].shape[0],), generator=draw))
    return tuple(made) if len(made) > 1 else made[0]


def _drawn(wanted: InputShape, draw: torch.Generator) -> Tensor:
    if wanted.vocabulary is not None:
        return torch.randint(wanted.vocabulary, wanted.shape, generator=draw, device=draw.device)
    return torch.randn(wanted.shape, generator=draw, device=draw.device)


def _timm(name: str, classes: int | None) -> nn.Module:
    timm = _library("timm", "timm")
    try:
        made: nn.Module = timm.create_model(name, pretrained=False, num_classes=classes or 10)
    except RuntimeError as error:
        raise MeasurementError(f"timm:{name}: {error}") from None
    return made


def _transformers(name: str, classes: int | None) -> nn.Module:
    """A tiny model of a type, with random weights: nothing is downloaded."""
    library = _library("transformers", "transformers")
    try:
        config = library.AutoConfig.for_model(name)
    except (KeyError, ValueError):
        raise MeasurementError(f"transformers:{name}: there is no model type {name!r}, as in gpt2 or bert") from None
    for key, value in TINY.items():
        if hasattr(config, key):
            setattr(config, key, value)
    if classes is None:
        made: nn.Module = library.AutoModelForCausalLM.from_config(config)
        return made
    config.num_labels, config.pad_token_id = classes, 0
    classifier: nn.Module = library.AutoModelForSequenceClassification.from_config(config)
    return classifier


def _library(name: str, extra: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise MeasurementError(f"{name} is not installed: python -m pip install {extra}") from None
