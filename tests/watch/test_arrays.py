"""Gradients as plain arrays: the same limits and the same table, whatever framework they come from."""

from __future__ import annotations

import subprocess
import sys
from collections import namedtuple
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import pytest_gradhealth
from pytest_gradhealth import Check, GradHealth, GradientHealthError, MeasurementError
from pytest_gradhealth.measure.runs.runner import Runner

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(16, 20)), RNG.integers(5, size=16)


def network(depth: int, slope: str) -> tuple[dict[str, Any], dict[str, Any], float]:
    """Weights, gradients and loss of a stack of layers, in NumPy alone."""
    rng = np.random.default_rng(1)
    sizes = [20, *[32] * (depth - 1), 5]
    weights = {
        f"layer{i}": {"w": rng.normal(size=(a, b)) / a**0.5, "b": np.zeros(b)}
        for i, (a, b) in enumerate(pairwise(sizes))
    }
    values, steep = [X], []
    for index, layer in enumerate(weights.values()):
        z = values[-1] @ layer["w"] + layer["b"]
        if index == depth - 1:
            out, slopes = z, np.ones_like(z)
        elif slope == "sigmoid":
            out = 1 / (1 + np.exp(-z))
            slopes = out * (1 - out)
        else:
            out, slopes = np.maximum(z, 0) * 2**0.5, (z > 0) * 2**0.5
        values.append(out)
        steep.append(slopes)
    chances = np.exp(values[-1] - values[-1].max(1, keepdims=True))
    chances /= chances.sum(1, keepdims=True)
    loss = -np.log(chances[np.arange(16), Y]).mean()
    signal = (chances - np.eye(5)[Y]) / 16
    gradients: dict[str, Any] = {}
    for index in reversed(range(depth)):
        signal = signal * steep[index]
        gradients[f"layer{index}"] = {"w": values[index].T @ signal, "b": signal.sum(0)}
        signal = signal @ weights[f"layer{index}"]["w"].T
    return weights, {name: gradients[name] for name in weights}, float(loss)


def test_healthy_gradients_pass_and_are_returned() -> None:
    weights, gradients, loss = network(6, "relu")
    record = pytest_gradhealth.check_gradients(gradients, weights, loss=loss)
    assert record.names == tuple(f"layer{i}" for i in range(6))
    assert record["layer0"].norm == pytest.approx(np.hypot(*(np.linalg.norm(g) for g in gradients["layer0"].values())))
    assert record["layer0"].sensitivity == pytest.approx(record["layer0"].norm * record["layer0"].weight_norm)


@pytest.mark.parametrize("with_weights", [True, False])
def test_vanishing_gradients_are_named(with_weights: bool) -> None:
    weights, gradients, loss = network(14, "sigmoid")
    with pytest.raises(GradientHealthError, match="vanishing gradient in gradients") as raised:
        pytest_gradhealth.check_gradients(gradients, weights if with_weights else None, loss=loss)
    assert "layer3" in str(raised.value)


def test_the_order_of_the_weights_counts() -> None:
    """A framework that sorts names would put layer10 in front of layer2."""
    weights, gradients, _ = network(12, "relu")
    shuffled = {name: gradients[name] for name in sorted(gradients)}
    assert pytest_gradhealth.check_gradients(shuffled, weights).names == tuple(weights)


def test_none_is_missing() -> None:
    with pytest.raises(GradientHealthError, match="GH106 unused parameter in gradients: 'b' never receives a gradient"):
        pytest_gradhealth.check_gradients({"a": np.ones(3), "b": None, "c": np.ones(3)})


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_gradients(value: float) -> None:
    with pytest.raises(GradientHealthError, match="non-finite gradient"):
        pytest_gradhealth.check_gradients({"a.w": np.ones(3), "b.w": np.array([1.0, value])})


def test_zero_gradients_are_dead() -> None:
    with pytest.raises(GradientHealthError, match="'b' is exactly zero"):
        pytest_gradhealth.check_gradients({"a": np.ones((3, 3)), "b": np.zeros((3, 3)), "c": np.ones((3, 3))})


def test_limits_and_sink() -> None:
    checks: list[Check] = []
    with pytest.raises(GradientHealthError, match="max_ratio=10"):
        GradHealth(sink=checks.append).check_gradients(
            {"a": np.ones(3), "b": np.full(3, 50.0)}, name="mine", max_ratio=10
        )
    assert checks[0].name == "mine"
    assert checks[0].limits["max_ratio"] == 10


def test_nested_containers_and_separators() -> None:
    Pair = namedtuple("Pair", "w b")
    tree = {
        "body": [{"w": np.ones((2, 3)), "b": np.ones(3)}, Pair(np.ones((3, 3)), np.ones(3))],
        "head/w": np.ones(2),
        "scale": 2.0,
    }
    record = pytest_gradhealth.check_gradients(tree)
    assert record.names == ("body.0", "body.1", "head", "scale")
    assert record["body.1"].norm == pytest.approx(12**0.5)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_extreme_sizes_keep_their_norm(scale: float) -> None:
    record = GradHealth().check_gradients({"a": np.full(4, scale), "b": np.full(4, scale)})
    assert record["a"].norm == pytest.approx(2 * scale)


@pytest.mark.parametrize(
    ("gradients", "weights", "message"),
    [
        ({}, None, "there is no gradient"),
        (np.ones(3), None, "must map names to arrays"),
        ("text", None, "must map names to arrays"),
        ({"a": "text"}, None, "'a' must be an array of numbers"),
        ({"a": np.ones(3)}, {"b": np.ones(3)}, "only one of them has a, b"),
        ({"a": np.ones(3)}, {"a": np.ones(4)}, r"'a': the gradient's shape is \(3,\), the weight's \(4,\)"),
    ],
)
def test_what_is_no_gradient_is_refused(gradients: Any, weights: Any, message: str) -> None:
    with pytest.raises(MeasurementError, match=message):
        pytest_gradhealth.check_gradients(gradients, weights)


def test_torch_agrees_with_a_measured_model() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(20, 32), torch.nn.ReLU(), torch.nn.Linear(32, 5))
    batch = torch.randn(16, 20), torch.arange(16) % 5
    loss = torch.nn.functional.cross_entropy(model(batch[0]), batch[1])
    loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    record = pytest_gradhealth.check_gradients(gradients, dict(model.named_parameters()), loss=loss.item())
    model.zero_grad()
    measured = Runner(model, [batch], loss=torch.nn.functional.cross_entropy).measure()
    for layer in measured:
        assert record[layer.name].norm == pytest.approx(layer.norm, rel=1e-5)
        assert record[layer.name].reach == pytest.approx(layer.reach, rel=1e-5)


def test_torch_of_other_types() -> None:
    torch = pytest.importorskip("torch")
    sparse = torch.sparse_coo_tensor([[1, 1]], torch.ones(2, 4), (3, 4))
    record = pytest_gradhealth.check_gradients({"a": torch.ones(4, dtype=torch.bfloat16), "b": sparse})
    assert (record["a"].norm, record["b"].norm) == (2.0, 4.0)


def test_jax() -> None:
    jax = pytest.importorskip("jax")
    import jax.numpy as jnp

    def loss(weights: Any, slope: Any) -> Any:
        x = jnp.asarray(X)
        for index, layer in enumerate(weights):
            x = x @ layer["w"] + layer["b"]
            x = slope(x) if index < len(weights) - 1 else x
        return -jax.nn.log_softmax(x)[jnp.arange(16), Y].mean()

    weights = [jax.tree.map(jnp.asarray, layer) for layer in network(14, "relu")[0].values()]
    gradients = jax.grad(loss)(weights, lambda x: 2**0.5 * jax.nn.relu(x))
    assert len(pytest_gradhealth.check_gradients(gradients, weights)) == 14
    with pytest.raises(GradientHealthError, match="vanishing"):
        pytest_gradhealth.check_gradients(jax.grad(loss)(weights, jax.nn.sigmoid), weights)
    half = jax.tree.map(lambda g: g.astype(jnp.bfloat16), gradients)
    assert pytest_gradhealth.check_gradients(half, weights).precision == "bfloat16"


def test_tensorflow() -> None:
    tf = pytest.importorskip("tensorflow")
    table, kernel = (
        tf.Variable(tf.random.normal((10, 8)), name="table"),
        tf.Variable(tf.random.normal((8, 5)), name="kernel"),
    )
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(tf.gather(table, [1, 1, 3]) @ kernel))
    gradients = dict(zip(["table", "kernel"], tape.gradient(loss, [table, kernel]), strict=True))
    record = pytest_gradhealth.check_gradients(gradients, {"table": table, "kernel": kernel}, loss=float(loss))
    assert record["table"].norm == pytest.approx(float(tf.norm(tf.convert_to_tensor(gradients["table"]))), rel=1e-5)


def test_torch_is_not_imported() -> None:
    code = (
        "import sys, numpy, pytest_gradhealth; "
        "pytest_gradhealth.check_gradients({'a': numpy.ones(3), 'b': numpy.ones(3)}); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
