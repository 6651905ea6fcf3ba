"""Every form in which data and losses come."""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import rnn
from torch.utils.data import DataLoader, TensorDataset

from pytest_gradhealth import GradHealth, MeasurementError, Settings, plugins
from pytest_gradhealth.record import GradientRecord

X, Y = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 1, 0, 1, 0])


def model() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 2)


def measure(model: Any, batches: Any, *args: Any, max_batches: int = 4, **kwargs: Any) -> GradientRecord:
    return GradHealth(Settings(device="cpu", max_batches=max_batches)).measure(model, batches, *args, **kwargs)


def expected(batches: int = 1, x: Tensor = X, y: Tensor = Y) -> tuple[int, float, float]:
    """Number of batches, loss and gradient norm that every form of the data must give."""
    reference = model()
    loss = F.cross_entropy(reference(x), y)
    gradients = torch.autograd.grad(loss, list(reference.parameters()))
    return batches, loss.item(), float(torch.cat([g.flatten() for g in gradients]).double().norm())


def found(record: GradientRecord) -> tuple[int, float | None, float | None]:
    return record.batches, record.loss, record[0].norm


class Named(NamedTuple):
    x: Tensor
    target: Tensor


@dataclasses.dataclass
class Batch:
    x: Tensor
    labels: Tensor


@dataclasses.dataclass(frozen=True)
class FrozenBatch:
    x: Tensor
    y: Tensor


class ModelOutput(collections.OrderedDict[str, Any]):
    """As in transformers: a mapping whose keys are attributes too."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class Keyword(nn.Module):
    def __init__(self, name: str = "x") -> None:
        super().__init__()
        self.layer, self.name = model(), name

    def forward(self, **inputs: Tensor) -> Tensor:
        assert set(inputs) == {self.name}
        output: Tensor = self.layer(inputs[self.name])
        return output


def test_a_tensor_is_one_batch() -> None:
    record = measure(model(), X, loss=lambda out: F.cross_entropy(out, Y))
    assert found(record) == pytest.approx(expected())


@pytest.mark.parametrize(
    "batch",
    [(X, Y), [X, Y], Named(X, Y), [(X, Y)], ((X, Y),)[:1][0]],
    ids=["tuple", "list", "named", "in list", "item"],
)
def test_inputs_and_target_by_place(batch: Any) -> None:
    assert found(measure(model(), batch, loss=F.cross_entropy)) == pytest.approx(expected())


@pytest.mark.parametrize(
    "batch",
    [
        {"x": X, "labels": Y},
        {"target": Y, "x": X},
        Batch(X, Y),
        FrozenBatch(X, Y),
        ModelOutput(x=X, labels=Y),
        collections.UserDict({"x": X, "label": Y}),
        ({"x": X}, Y),
    ],
    ids=["dict", "target first", "dataclass", "frozen", "model output", "user dict", "dict and target"],
)
def test_inputs_and_target_by_name(batch: Any) -> None:
    assert found(measure(Keyword(), batch, loss=F.cross_entropy)) == pytest.approx(expected())


def test_several_inputs_and_a_target() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = model()

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            output: Tensor = self.layer(a + b)
            return output

    assert found(measure(Sum(), (X / 2, X / 2, Y), loss=F.cross_entropy)) == pytest.approx(expected())


def test_a_data_loader() -> None:
    data = DataLoader(TensorDataset(X, Y), batch_size=6)
    assert found(measure(model(), data, loss=F.cross_entropy)) == pytest.approx(expected())


def test_what_a_data_loader_yields() -> None:
    batch = next(iter(DataLoader(TensorDataset(X, Y), batch_size=6)))
    assert isinstance(batch, list)
    assert found(measure(model(), batch, loss=F.cross_entropy)) == pytest.approx(expected())


PAIRS = DataLoader(TensorDataset(X, 2 * X), batch_size=6)


def test_two_equal_tensors_in_a_list_are_one_batch_and_the_record_says_so() -> None:
    torch.manual_seed(0)
    same = nn.Linear(3, 3)
    record = measure(same, next(iter(PAIRS)), loss=F.mse_loss)
    assert (record.batches, record.loss) == (1, pytest.approx(F.mse_loss(same(X), 2 * X).item()))
    assert "taken for one batch" in record.notes[0]
    assert "[(x,), (y,)]" in record.notes[0]


@pytest.mark.parametrize(
    "batches", [(X, 2 * X), PAIRS, [(X, 2 * X)], list(PAIRS)], ids=["tuple", "loader", "list", "all"]
)
def test_what_can_be_read_in_one_way_only_needs_no_note(batches: Any) -> None:
    assert measure(nn.Linear(3, 3), batches, loss=F.mse_loss).notes == ()


def test_the_way_out_of_the_note_gives_two_batches() -> None:
    assert measure(nn.Linear(3, 3), [(X,), (X,)], loss=F.mse_loss).batches == 2


def test_a_nested_list_of_inputs_and_a_target_is_one_batch() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = model()

        def forward(self, pair: list[Tensor]) -> Tensor:
            output: Tensor = self.layer(pair[0] + pair[1])
            return output

    assert found(measure(Sum(), [[X / 2, X / 2], Y], loss=F.cross_entropy)) == pytest.approx(expected())


@pytest.mark.parametrize("limit", [1, 3])
def test_an_iterable_is_taken_no_further_than_max_batches(limit: int) -> None:
    taken: list[int] = []

    def endless() -> Iterator[tuple[Tensor, Tensor]]:
        for number in itertools.count():
            taken.append(number)
            yield X, Y

    assert measure(model(), endless(), loss=F.cross_entropy, max_batches=limit).batches == limit
    assert taken == list(range(limit))


def test_max_batches_may_be_given_with_the_call() -> None:
    record = GradHealth(Settings(device="cpu")).measure(model(), [(X, Y)] * 9, F.cross_entropy, max_batches=2)
    assert record.batches == 2


def test_a_list_of_inputs_holds_batches_though_the_last_is_smaller() -> None:
    record = measure(model(), [X, X, X[:2]], loss=torch.sum)
    assert (record.batches, record.samples) == (3, 2)


def test_a_batch_with_its_own_way_to_a_device() -> None:
    class Graph:
        def __init__(self, x: Tensor, moved: bool = False) -> None:
            self.x, self.moved = x, moved

        def to(self, device: torch.device) -> Graph:
            return Graph(self.x.to(device), moved=True)

    class Convolution(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = model()

        def forward(self, graph: Graph) -> Tensor:
            assert graph.moved
            output: Tensor = self.layer(graph.x)
            return output

    record = measure(Convolution(), Graph(X), loss=lambda out: F.cross_entropy(out, Y))
    assert found(record) == pytest.approx(expected())


def test_a_packed_sequence_is_one_input() -> None:
    packed = rnn.pack_padded_sequence(torch.randn(2, 4, 3), torch.tensor([4, 2]), batch_first=True)
    lstm = nn.LSTM(3, 2, batch_first=True)
    assert measure(lstm, packed, loss=lambda out: out[0].data.sum())[""].norm
    assert measure(lstm, (packed, Y[:2]), loss=lambda out, target: out[0].data.sum())[""].norm


def test_nesting_is_kept() -> None:
    seen: list[Any] = []

    def step(model: nn.Module, batch: Any) -> Tensor:
        seen.append(batch)
        return F.cross_entropy(model(batch["inputs"][0].x), batch["y"])

    batch = {"inputs": (Batch(X, Y), None, "words", 3), "y": Y, "named": Named(X, Y)}
    measure(model(), batch, step=step)
    assert [type(item) for item in seen[0]["inputs"]] == [Batch, type(None), str, int]
    assert type(seen[0]["named"]) is Named


class WithLoss(nn.Module):
    """Computes its own loss and gives it in some form."""

    def __init__(self, form: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.layer, self.form = model(), form

    def forward(self, x: Tensor, labels: Tensor) -> Any:
        output = self.layer(x)
        return self.form(F.cross_entropy(output, labels), output)


@dataclasses.dataclass
class Output:
    loss: Tensor
    logits: Tensor


@pytest.mark.parametrize(
    "form",
    [
        lambda loss, out: loss,
        lambda loss, out: loss.reshape(1),
        lambda loss, out: {"logits": out, "loss": loss},
        Output,
        lambda loss, out: ModelOutput(logits=out, loss=loss),
        lambda loss, out: (loss, out),
    ],
    ids=["scalar", "one element", "dict", "dataclass", "model output", "tuple"],
)
@pytest.mark.parametrize("batch", [{"x": X, "labels": Y}, (X, Y), Batch(X, Y)], ids=["dict", "tuple", "dataclass"])
def test_the_models_own_loss(form: Callable[[Tensor, Tensor], Any], batch: Any) -> None:
    record = measure(WithLoss(form), batch)
    assert record["layer"].norm == pytest.approx(expected()[2])
    assert record.loss == pytest.approx(expected()[1])


@pytest.mark.parametrize(
    "loss",
    [F.cross_entropy, nn.CrossEntropyLoss(), lambda out, y: {"loss": F.cross_entropy(out, y)}],
    ids=["function", "module", "mapping"],
)
def test_a_loss_function(loss: Any) -> None:
    assert found(measure(model(), (X, Y), loss)) == pytest.approx(expected())


def test_a_step() -> None:
    record = measure(model(), (X, Y), step=lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]))
    assert found(record) == pytest.approx(expected())


class Lightning(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = model()

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Mapping[str, Tensor]:
        x, y = batch
        return {"loss": F.cross_entropy(self.layer(x), y)}


def test_a_training_step() -> None:
    record = measure(Lightning(), (X, Y))
    assert record["layer"].norm == pytest.approx(expected()[2])


def test_a_given_loss_goes_before_the_training_step() -> None:
    class Both(Lightning):
        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = self.layer(x)
            return output

    assert measure(Both(), (X, Y), loss=lambda out, y: out.sum() * 0 + 7).loss == 7


def test_the_hook_goes_before_what_the_model_offers() -> None:
    class Extension:
        def pytest_gradhealth_step(self, model: nn.Module, batch: Any) -> Tensor | None:
            if not isinstance(model, Lightning):
                return None
            return F.cross_entropy(model.layer(batch[0]), batch[1]) * 2

    extension = Extension()
    plugins().register(extension)
    try:
        assert measure(Lightning(), (X, Y)).loss == pytest.approx(2 * expected()[1])
        assert measure(WithLoss(lambda loss, out: loss), (X, Y)).loss == pytest.approx(expected()[1])
    finally:
        plugins().unregister(extension)


@pytest.mark.parametrize("batch", [X, (X,), [X], {"x": X}], ids=["tensor", "tuple", "list", "dict"])
def test_an_autoencoder_is_its_own_target(batch: Any) -> None:
    class Auto(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = self.layer(x)
            return output

    auto = Auto()
    assert measure(auto, batch, loss=F.mse_loss).loss == pytest.approx(F.mse_loss(auto(X), X).item())


@pytest.mark.parametrize(
    ("made", "batch", "tried"),
    [
        (
            model,
            X,
            "training_step method, a scalar output, output.loss, output['loss']; the output is float32 tensor of shape",
        ),
        (model, (X, Y), "cannot take the batch's 2 items (too many positional arguments)"),
        (lambda: WithLoss(lambda loss, out: {"a": out}), {"x": X, "labels": Y}, "a dict with keys a"),
        (lambda: WithLoss(lambda loss, out: (out, out)), {"x": X, "labels": Y}, "a tuple (float32 tensor of shape"),
        (lambda: WithLoss(lambda loss, out: None), (X, Y), "the output is None"),
        (lambda: WithLoss(lambda loss, out: out), {"x": X, "y": Y}, "cannot take the batch's 2 items"),
        (lambda: WithLoss(lambda loss, out: out), Named(X, Y)._asdict(), "model(**batch)"),
    ],
)
def test_without_a_loss_the_error_says_what_was_tried_and_the_two_ways(made: Any, batch: Any, tried: str) -> None:
    with pytest.raises(MeasurementError) as caught:
        measure(made(), batch)
    assert tried in str(caught.value)
    assert "loss=F.cross_entropy" in str(caught.value)
    assert "step=lambda model, batch:" in str(caught.value)
