"""What a finding says of its cause, on faults that look alike from afar."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from networks import BATCHES, CLASSES, WIDTH, Apply, chain, examined, images, only, rows, sequences
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def zeroed() -> nn.Module:
    model = chain(4, nn.ReLU)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    return model  # type: ignore[no-any-return]


def hooked() -> nn.Module:
    model = chain(3, nn.Tanh)
    model[2].weight.register_hook(lambda gradient: gradient * (torch.arange(WIDTH) < 1).unsqueeze(1))
    return model  # type: ignore[no-any-return]


def batch_norms(eps: float) -> nn.Module:
    layers = [nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH, eps=eps), nn.ReLU()) for _ in range(6)]
    return nn.Sequential(*layers, nn.Linear(WIDTH, CLASSES))


class Drawn(nn.Module):
    """A latent that is drawn, and loses its gradient there."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        latent = torch.distributions.Normal(self.encoder(x), 1.0).sample()
        output: Tensor = self.head(latent)
        return output


class Placed(nn.Module):
    """A learnt shift of the model's own, which is detached; its scale is not."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.ones(WIDTH)), nn.Parameter(torch.zeros(WIDTH))
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.head(x * self.scale + self.shift.detach())
        return output


@pytest.mark.parametrize(
    ("build", "word"),
    [
        (zeroed, "all zero"),
        (lambda: chain(4, nn.ReLU, {1: [Apply(lambda x: x.mean(0, keepdim=True).expand_as(x))]}), "over the batch"),
        (lambda: batch_norms(1e5), "eps"),
        (hooked, "hook"),
        (Drawn, r"sample\(\) at test_causes.py"),
        (Placed, r"detach\(\) at test_causes.py"),
    ],
    ids=["weights of zero", "batch mean", "eps", "hook on a weight", "sample", "detached parameter"],
)
def test_the_cause_is_the_one(build: Callable[[], nn.Module], word: str) -> None:
    finding = examined(build, BATCHES).findings[0]
    assert re.search(word, f"{finding.cause} {finding.remedy}")


def test_a_normalisation_over_a_single_value() -> None:
    build = lambda: nn.Sequential(  # noqa: E731
        nn.Conv2d(3, 8, 12), nn.GroupNorm(8, 8), nn.ReLU(), nn.Flatten(), nn.Linear(8, CLASSES)
    )
    assert "a single value" in examined(build, [images(seed=1)]).findings[0].cause


def test_indices_of_padding_alone() -> None:
    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.drop = nn.Embedding(9, WIDTH, padding_idx=0), nn.Dropout(0.2)
            self.body, self.head = nn.Linear(WIDTH, WIDTH, bias=False), nn.Linear(WIDTH, CLASSES)

        def forward(self, ids: Tensor) -> Tensor:
            output: Tensor = self.head(self.body(self.drop(self.words(ids * 0))).relu().mean(1))
            return output

    draw = torch.Generator().manual_seed(0)
    batch = torch.randint(1, 9, (8, 6), generator=draw), torch.randint(CLASSES, (8,), generator=draw)
    causes = [finding.cause + finding.remedy for finding in examined(Padded, [batch]).findings]
    assert causes
    assert not any("probability p" in cause for cause in causes)


def test_a_loss_made_of_numbers() -> None:
    step = lambda model, batch: torch.tensor(  # noqa: E731
        F.cross_entropy(model(batch[0]), batch[1]).item(), requires_grad=True
    )
    finding = examined(lambda: chain(2, nn.ReLU), BATCHES, step=step).findings[0]
    assert "item()" in finding.cause
    assert "keep working with the tensor" in finding.remedy


def test_growth_is_told_on_its_way_forward() -> None:
    build = lambda: chain(6, nn.ReLU, {i: [Apply(lambda x: 20 * x)] for i in range(6)})  # noqa: E731
    finding = examined(build, BATCHES).findings[0]
    assert finding.fault == "exploding"
    assert "on its way back" not in finding.cause


def test_nan_behind_the_last_module() -> None:
    step = lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]) * torch.tensor(float("nan"))  # noqa: E731
    finding = examined(lambda: chain(2, nn.ReLU), BATCHES, step=step).findings[0]
    assert "behind '4', the last module" in finding.message


def test_no_line_of_this_package_is_named_as_the_cause() -> None:
    """A model that is torch's own from end to end has no line of the user's."""
    build = lambda: nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Softmax(-1), nn.Linear(WIDTH, 1), nn.Softmax(-1))  # noqa: E731
    batch = torch.randn(8, WIDTH), torch.rand(8, 1)
    check = examined(build, [batch], loss=F.mse_loss)
    assert check.record.operations
    assert not any("pytest_gradhealth" in o.where or "checks.py" in o.where for o in check.record.operations)


class Checkpointed(nn.Module):
    """A frozen embedding in front of blocks that are computed twice to save memory."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.reentrant = reentrant
        self.embedding, self.block, self.head = (
            nn.Linear(WIDTH, WIDTH),
            nn.Linear(WIDTH, WIDTH),
            nn.Linear(WIDTH, CLASSES),
        )
        self.embedding.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.head(checkpoint(self.block, self.embedding(x), use_reentrant=self.reentrant))
        return output


def test_a_reentrant_checkpoint_behind_frozen_layers() -> None:
    finding = only(examined(lambda: Checkpointed(True), BATCHES), "missing")
    assert "reentrant checkpoint at test_causes.py:" in finding.cause
    assert "use_reentrant=False" in finding.remedy
    assert examined(lambda: Checkpointed(False), BATCHES).healthy


class Padded(nn.Module):
    """Attention over sequences of which one is nothing but padding; what it returns there is thrown away."""

    def __init__(self, hides_all: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, 1, batch_first=True)
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CLASSES)
        self.hides_all = hides_all

    def forward(self, x: Tensor) -> Tensor:
        mask = torch.zeros(x.shape[:2], dtype=torch.bool)
        mask[0, 0 if self.hides_all else 1 :] = True
        found = self.norm(self.attention(x, x, x, key_padding_mask=mask)[0])
        output: Tensor = self.head(torch.where(mask[..., None], torch.zeros(()), found).mean(1))
        return output


def test_a_mask_that_leaves_a_row_nothing_to_choose() -> None:
    finding = only(examined(lambda: Padded(True), [sequences()]), "non-finite")
    assert "'attention' (MultiheadAttention) returns NaN" in finding.cause
    assert "mask padded keys only" in finding.remedy
    assert examined(lambda: Padded(False), [sequences()]).healthy


def test_a_rectifier_at_the_end_of_a_regression() -> None:
    def build() -> nn.Module:
        model = nn.Sequential(nn.Linear(WIDTH, 8), nn.ReLU(), nn.Linear(8, 1), nn.ReLU())
        nn.init.constant_(model[2].bias, -100.0)  # type: ignore[arg-type]
        return model

    inputs = rows()[0]
    finding = only(examined(build, [(inputs, inputs[:, :1].abs())], loss=nn.functional.mse_loss), "dead")
    assert "at the end of the model is zero" in finding.cause
    assert "remove the ReLU at the end" in finding.remedy


def test_parameters_in_a_list_that_nothing_uses() -> None:
    class Listed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scales, self.head = nn.ParameterList([torch.ones(WIDTH)]), nn.Linear(WIDTH, CLASSES)

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = self.head(x)
            return output

    cause = only(examined(Listed, BATCHES), "missing").cause
    assert "never called" not in cause
    assert "nothing on the way to the loss uses the parameters in 'scales'" in cause


def test_a_dropout_that_drops_everything() -> None:
    class DropPath(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * 0.0

    finding = only(
        examined(lambda: nn.Sequential(nn.Linear(WIDTH, 8), DropPath(), nn.Linear(8, CLASSES)), BATCHES), "dead"
    )
    assert "LeakyReLU" not in finding.remedy
    assert "'1' drops everything" in finding.cause


def test_a_parameter_of_the_model_itself_has_a_name_in_the_sentence() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, CLASSES)
            self.scale = nn.Parameter(torch.ones(WIDTH))

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = self.head(self.first(x)) + (self.scale * 0.0).sum()
            return output

    message = only(examined(Gated, BATCHES), "dead").message
    assert "the gradient of the model itself is exactly zero" in message


@pytest.mark.parametrize("columns", [0, slice(0, 1)])
def test_a_broadcast_is_mended_by_one_remedy_in_both_directions(columns: int | slice) -> None:
    inputs = rows()[0]
    other = 0 if columns != 0 else slice(0, 1)
    batch, loss = [(inputs, inputs[:, columns])], lambda output, target: ((output[:, other] - target) ** 2).mean()
    finding = only(examined(lambda: nn.Linear(WIDTH, 1), batch, loss=loss), "objective")
    assert "target.view_as(output)" in finding.remedy


class Masked(nn.Module):
    """Attention written by hand, with a mask that may leave a row nothing."""

    def __init__(self, keys: int) -> None:
        super().__init__()
        self.query, self.head, self.keys = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, CLASSES), keys

    def forward(self, x: Tensor) -> Tensor:
        scores = self.query(x) @ x.transpose(1, 2)
        mask = torch.ones_like(scores, dtype=torch.bool)
        mask[0, 0, self.keys :] = False
        output: Tensor = self.head((scores.masked_fill(~mask, float("-inf")).softmax(-1) @ x).mean(1))
        return output


def test_the_operation_that_makes_nan_is_named_with_its_line() -> None:
    finding = only(examined(lambda: Masked(0), [sequences()]), "non-finite")
    assert "softmax() at test_causes.py:" in finding.cause
    assert "at least one key" in finding.remedy
    assert examined(lambda: Masked(1), [sequences()]).healthy


@pytest.mark.parametrize("eps", [0.0, 1e-6])
def test_the_root_whose_slope_is_infinite_is_named_with_its_line(eps: float) -> None:
    size = Apply(lambda x: ((x * 0).square().sum(1, keepdim=True) + eps).sqrt() + x)
    check = examined(lambda: chain(2, nn.ReLU, {1: [size]}), BATCHES)
    assert check.healthy == bool(eps)
    if not eps:
        assert "sqrt() at test_causes.py:" in check.findings[0].cause
        assert "sqrt(x + eps)" in check.findings[0].remedy


def test_weights_that_nobody_initialised() -> None:
    def build() -> nn.Module:
        model = chain(2, nn.ReLU)
        model[2].bias.data[0] = float("nan")
        return model  # type: ignore[no-any-return]

    finding = only(examined(build, BATCHES), "non-finite")
    assert "'2' hold NaN or infinity from the start" in finding.cause
    assert "torch.empty" in finding.remedy


class Quantised(nn.Module):
    """A code book of which all samples choose the same row, passed straight through."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.codebook, self.head = nn.Linear(WIDTH, 4), nn.Embedding(6, 4), nn.Linear(4, CLASSES)
        self.codebook.weight.data[1:] += 100

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        encoded = self.encoder(x)
        rows = self.codebook(torch.cdist(encoded, self.codebook.weight).argmin(1))
        through = encoded + (rows - encoded).detach()
        return self.head(through), encoded, rows, through


def quantised(which: int) -> Callable[[nn.Module, tuple[Tensor, Tensor]], Tensor]:
    def step(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        out = model(batch[0])
        return F.cross_entropy(out[0], batch[1]) + F.mse_loss(out[which], out[1].detach())

    return step


def test_a_code_book_that_its_loss_does_not_reach() -> None:
    finding = only(examined(Quantised, BATCHES, step=quantised(3)), "missing")
    assert finding.layer == "codebook"
    assert "in front of the detach()" in finding.remedy


def test_a_code_book_that_starts_with_one_row_is_passed_by() -> None:
    assert examined(Quantised, BATCHES, step=quantised(2)).healthy


class Forgetful(nn.Module):
    """A recurrence written by hand; what it is asked for was shown at the first step."""

    def __init__(self, decay: float) -> None:
        super().__init__()
        self.decay, self.inp = nn.Parameter(torch.tensor(decay)), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        state, states = torch.zeros_like(x[:, 0]), []
        for here in self.inp(x).unbind(1):
            state = self.decay * state + here
            states.append(state)
        return torch.stack(states, 1)


class Recalling(nn.Module):
    def __init__(self, decay: float) -> None:
        super().__init__()
        self.memory, self.head = Forgetful(decay), nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.head(self.memory(x)[:, -1])
        return output


def test_what_is_read_at_positions_that_are_all_alike() -> None:
    inputs, target = sequences()
    inputs[:, 1:] = inputs[:1, 1:]
    finding = only(examined(lambda: Recalling(1e-9), [(inputs, target)]), "collapse")
    assert finding.layer == "memory"
    assert "stands at other positions" in finding.cause
    assert examined(lambda: Recalling(0.9), [(inputs, target)]).healthy


class Weigh(torch.autograd.Function):
    """A product whose backward forgets the second factor."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(values, weights)
        return values * weights

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        _, weights = ctx.saved_tensors
        return grads[0] * weights, None


class WeighBoth(Weigh):
    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        values, weights = ctx.saved_tensors
        return grads[0] * weights, grads[0] * values


class Weighed(nn.Module):
    """Values times weights, by functions of its own; the weights may be detached behind another one."""

    def __init__(self, weigh: type[torch.autograd.Function], detach: bool) -> None:
        super().__init__()
        self.values, self.weights, self.head = (
            nn.Linear(WIDTH, WIDTH),
            nn.Linear(WIDTH, WIDTH),
            nn.Linear(WIDTH, CLASSES),
        )
        self.weigh, self.detach = weigh, detach

    def forward(self, x: Tensor) -> Tensor:
        weights = self.weigh.apply(self.weights(x), torch.ones(WIDTH)) if self.detach else self.weights(x)
        weights = weights.detach() if self.detach else weights
        output: Tensor = self.head(self.weigh.apply(self.values(x), weights))  # type: ignore[no-untyped-call]
        return output


@pytest.mark.parametrize(
    ("weigh", "detach", "word"), [(Weigh, False, "Weigh.backward returns None for it"), (WeighBoth, True, "detach()")]
)
def test_a_backward_that_returns_nothing_for_an_input(
    weigh: type[torch.autograd.Function], detach: bool, word: str
) -> None:
    findings = examined(Weighed(weigh, detach), BATCHES).findings
    (finding,) = (finding for finding in findings if finding.kind == "detached-layer")
    assert finding.layers == ("weights",)
    assert word in finding.cause
    assert "test_causes.py:" in finding.cause


class Singular(nn.Module):
    """A layer whose outputs all are what its bias is, and a function that has no slope there."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layer, self.head, self.function = nn.Linear(WIDTH, 4), nn.Linear(WIDTH, CLASSES), function
        nn.init.zeros_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.head(x) + self.function(self.layer(x)).mean()
        return output


def vectors(x: Tensor) -> Tensor:
    symmetric = torch.diag_embed(x + 1)
    return torch.linalg.eigh(symmetric + symmetric.mT).eigenvectors.square()


@pytest.mark.parametrize(
    ("function", "cause", "remedy"),
    [
        (lambda x: (x + 1).acos(), "acos() at test_causes.py", "clamp"),
        (lambda x: torch.asin(x.cos()), "is given 1 or -1 at", "clamp"),
        (vectors, "finds equal values at", "values alone"),
        (lambda x: x.sqrt(), "is 0 at", "sqrt(x + eps)"),
    ],
    ids=["acos", "asin", "eigh", "sqrt"],
)
def test_a_point_without_a_slope_is_named(function: Callable[[Tensor], Tensor], cause: str, remedy: str) -> None:
    (finding, *_) = examined(Singular(function), BATCHES).findings
    assert finding.fault == "non-finite"
    assert cause in finding.cause
    assert remedy in finding.remedy


def test_a_layer_that_rectifies_inside_is_not_linear() -> None:
    class Linear(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).relu()

    def kinds(layer: type[nn.Linear]) -> list[str]:
        model = nn.Sequential(layer(WIDTH, 16), layer(16, 16), nn.Linear(16, CLASSES))
        return [finding.kind for finding in examined(lambda: model, BATCHES).findings]

    assert kinds(nn.Linear) == ["missing-activation"]
    assert kinds(Linear) == []
