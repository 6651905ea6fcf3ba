"""Gradients of any framework, given as arrays, as the record that everything else speaks. No torch in here."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_gradhealth.errors import MeasurementError
from pytest_gradhealth.measure.passes.histogram import Tally, histogram_of
from pytest_gradhealth.record import GradientRecord, LayerGradient, ParameterGradient

__all__ = ["record_of"]

__tracebackhide__ = True

BIASES = ("b", "bias", "beta", "offset", "shift")
"""What may begin at zero and closes nothing."""

Array = npt.NDArray[Any]


def record_of(
    gradients: Any,
    weights: Any = None,
    *,
    loss: float | None = None,
    name: str = "gradients",
    histograms: bool = False,
) -> GradientRecord:
    """A record of gradients, and of the weights of the same names where they are given.

    Raises:
        MeasurementError: there is no gradient in it, or its names or shapes are not those of the weights.
    """
    found = {path: _array(path, leaf) for path, leaf in _flattened(gradients)}
    held = {path: _array(path, leaf) for path, leaf in _flattened(weights)} if weights is not None else None
    _require_match(found, held)
    order = list(found if held is None else held)  # a framework may have sorted the gradients' names
    layers = [
        _layer(layer, paths, found, held, place, histograms)
        for place, (layer, paths) in enumerate(_layers(order).items())
    ]
    first = next((array for array in found.values() if array is not None), None)
    return GradientRecord(
        model=name,
        precision="float32" if first is None else str(first.dtype),
        loss=None if loss is None else float(loss),
        layers=_with_reach(layers),
    )


def _flattened(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested mappings, sequences and dataclasses, under dotted names."""
    for key, item in _children(tree):
        name = f"{path}.{key}" if path else str(key)
        if _is_nested(item):
            yield from _flattened(item, name)
        else:
            yield name, item


def _children(tree: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(tree, Mapping):
        yield from tree.items()
    elif hasattr(tree, "_fields"):
        yield from zip(tree._fields, tree, strict=True)
    elif isinstance(tree, Sequence) and not isinstance(tree, str):
        yield from enumerate(tree)
    elif dataclasses.is_dataclass(tree):
        yield from ((field.name, getattr(tree, field.name)) for field in dataclasses.fields(tree))
    else:
        raise MeasurementError(
            f"gradients must map names to arrays, in forward order, got {type(tree).__name__}: "
            "{'layer1.weight': array, ...}, or nested dicts and lists of arrays"
        )


def _is_nested(item: Any) -> bool:
    if hasattr(item, "__array__") or hasattr(item, "indices"):
        return False
    numbers = isinstance(item, list) and bool(item) and all(isinstance(x, int | float) for x in item)
    return (isinstance(item, Mapping | list | tuple) or dataclasses.is_dataclass(item)) and not numbers


def _array(path: str, leaf: Any) -> Array | None:
    """A leaf as an array; None where there is no gradient."""
    if leaf is None:
        return None
    if hasattr(leaf, "indices") and hasattr(leaf, "dense_shape"):  # TensorFlow's gradient of an embedding
        dense = np.zeros(tuple(int(n) for n in leaf.dense_shape), np.float64)
        np.add.at(dense, np.asarray(leaf.indices), np.asarray(leaf.values, np.float64))
        return dense
    if hasattr(leaf, "detach"):  # a torch tensor: NumPy knows neither its bfloat16 nor its devices
        leaf = leaf.detach().to_dense() if str(leaf.layout) != "torch.strided" else leaf.detach()
        leaf = (leaf.float() if "bfloat16" in str(leaf.dtype) else leaf).cpu().numpy()
    array = np.asarray(leaf)
    if array.dtype.kind in "OSUMm":
        raise MeasurementError(f"{path!r} must be an array of numbers, got {type(leaf).__name__}")
    return array


def _require_match(gradients: dict[str, Array | None], weights: dict[str, Array | None] | None) -> None:
    if not gradients:
        raise MeasurementError("there is no gradient: give a mapping of names to arrays")
    if weights is None:
        return
    if unknown := sorted(gradients.keys() ^ weights.keys()):
        raise MeasurementError(
            f"gradients and weights must have the same names; only one of them has {', '.join(unknown)}"
        )
    for path, gradient in gradients.items():
        weight = weights[path]
        if gradient is not None and weight is not None and gradient.shape != weight.shape:
            raise MeasurementError(f"{path!r}: the gradient's shape is {gradient.shape}, the weight's {weight.shape}")


def _layers(paths: Sequence[str]) -> dict[str, list[str]]:
    """Parameters by the layer that owns them: what stands in front of the last dot or slash."""
    layers: dict[str, list[str]] = {}
    for path in paths:
        cut = max(path.rfind("."), path.rfind("/"))
        layers.setdefault(path[:cut] if cut > 0 else path, []).append(path)
    return layers


def _layer(
    name: str,
    paths: Sequence[str],
    gradients: dict[str, Array | None],
    weights: dict[str, Array | None] | None,
    place: int,
    histograms: bool,
) -> LayerGradient:
    came = {path: array for path in paths if (array := gradients[path]) is not None}
    held = {path: array for path in paths if weights is not None and (array := weights[path]) is not None}
    known = [*held.values(), *came.values()]
    norm = math.hypot(*map(_norm, came.values())) if came else None
    weight_norm = math.hypot(*map(_norm, held.values()))
    elements = sum(array.size for array in (held or came).values())
    return LayerGradient(
        name=name,
        kind="parameter" if [name] == list(paths) else "layer",
        order=place,
        parameters=elements,
        trainable=max(elements, 1),
        shape=max((array.shape for array in known), key=math.prod, default=()),
        gradients=tuple(_gradient(path, name, gradients[path], histograms) for path in paths),
        norm=norm,
        lowest=norm,
        highest=norm,
        weight_norm=weight_norm,
        sensitivity=(norm or 0.0) * (weight_norm if held else 1.0),
        nan=sum(int(np.isnan(array).sum()) for array in came.values()),
        inf=sum(int(np.isinf(array).sum()) for array in came.values()),
        missing=tuple(_own(path, name) for path in paths if path not in came),
        zero_gradients=tuple(_own(path, name) for path, array in came.items() if not array.any()),
        zero_weights=tuple(
            own for path, array in held.items() if not array.any() and (own := _own(path, name)) not in BIASES
        ),
        histogram=histogram_of(map(Tally.of, came.values())) if histograms else None,
    )


def _gradient(path: str, layer: str, array: Array | None, histograms: bool) -> ParameterGradient:
    if array is None:
        return ParameterGradient(name=_own(path, layer), shape=(), norm=None)
    largest = float(np.abs(array).max(initial=0.0)) if histograms else None
    return ParameterGradient(name=_own(path, layer), shape=array.shape, norm=_norm(array), largest=largest)


def _norm(array: Array) -> float:
    wide = np.abs(array).astype(np.float64, copy=False).ravel()
    largest = float(wide.max(initial=0.0))
    return float(np.linalg.norm(wide / largest)) * largest if 0 < largest < math.inf else largest


def _own(path: str, layer: str) -> str:
    return path.removeprefix(layer).lstrip("./") or path


def _with_reach(layers: Sequence[LayerGradient]) -> tuple[LayerGradient, ...]:
    strongest, running, reached = max((_finite(layer) for layer in layers), default=0.0), 0.0, []
    for layer in layers:
        running = max(running, _finite(layer))
        reached.append(dataclasses.replace(layer, reach=running / strongest if strongest else 0.0))
    return tuple(reached)


def _finite(layer: LayerGradient) -> float:
    return layer.sensitivity if math.isfinite(layer.sensitivity) else 0.0
