"""What goes wrong is a clear error of the test it goes wrong in, shown at the user's own line."""

from __future__ import annotations

import pytest

HEADER = """
import pytest
import torch
from torch import nn
from small_nets import *

class Raises(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x):
        raise RuntimeError("out of cheese")

def used_up():
    batches = iter([X])
    list(batches)
    return batches

def no_grad(model, batch):
    with torch.no_grad():
        return model(batch).sum()

class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x):
        return self.layer(x), self.layer(x).sum()

class Lazy(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.unused = nn.Linear(3, 2), nn.LazyLinear(2)

    def forward(self, x):
        return self.layer(x)

def test_it(gradhealth):
"""

BAD = {
    "no parameters": ("nn.ReLU(), X, square", "*MeasurementError: ReLU has no parameters: there is no gradient to measure"),
    "all frozen": ("net().requires_grad_(False), X, square", "*every parameter of Sequential is frozen: set requires_grad *"),
    "no model": ("3, X, square", "*model must be an nn.Module or a function that makes one, got 3"),
    "model class by mistake": ("nn.Linear, X, square", "*TypeError: Linear.__init__() missing 2 required *"),
    "factory of junk": ("lambda: [1], X, square", "*the model factory must return an nn.Module, got list"),
    "scripted": ("torch.jit.script(nn.Linear(3, 2)), X, square", "*a scripted model hides its layers: give the nn.Module *"),
    "lazy and unused": ("Lazy(), X, square", "*lazy parameters that no forward pass initialises: unused.weight, unused.bias"),
    "empty list": ("net(), [], square", "*batches is empty: the list yields nothing; give at least one batch"),
    "empty loader": ("net(), torch.utils.data.DataLoader([]), square", "*batches is empty: the DataLoader yields nothing; *"),
    "used up": ("net(), used_up(), square", "*batches is empty: the generator was already used up*make it anew"),
    "empty tensor": ("net(), torch.empty(0, 3), square", "*batch 0 holds no samples: every tensor in it is empty"),
    "empty second": ("net(), [X, X[:0]], square", "*batch 1 holds no samples: every tensor in it is empty"),
    "no batches": ("net(), None, square", "*batches must be a batch (*) or an iterable of batches, got None"),
    "vector loss": ("net(), X, lambda out: out.sum(dim=1)", "*the loss must be one number, got a tensor of shape (4,): *"),
    "number loss": ("net(), X, lambda out: out.sum().item()", "*must return the loss *, got *"),
    "no loss": ("net(), X, lambda out: None", "*loss(output, target) must return the loss *, got None"),
    "number from step": ("net(), X, None, lambda m, x: 1.5", "*step(model, batch) must return the loss *, got *"),
    "complex loss": ("net(), X, lambda out: out.sum() * 1j", "*the loss must be real, got a complex tensor: take .abs() *"),
    "no loss at all": ("net(), X", "*no loss was given and Sequential returns none. Tried: *"),
    "loss and step": ("net(), X, square, square", "*give either loss or step, not both: step already returns the loss"),
    "loss is a class": ("net(), X, nn.MSELoss", "*loss is the class MSELoss: give an instance of it, as in loss=MSELoss()"),
    "swapped": (
        "X, net(), square",
        "*the model comes first, then the batches: got float32 tensor of shape (4, 3) as the model and the module Seq*",
    ),
    "swapped with a factory": ("(X, X), net, square", "*got a tuple (float32 tensor of shape (4, 3), * the function net as *"),
    "a loss that raises": (
        "net(), (X, X), nn.CrossEntropyLoss()",
        "*gradhealth: raised by the loss CrossEntropyLoss, given output = float32 tensor of shape (4, 2), target = *(4, 3)",
    ),
    "an output of several": (
        "Two(), (X, X), torch.nn.functional.mse_loss",
        "*to choose from the output: loss=lambda output, target: your_loss(output[0], target)",
    ),
    "logits and loss": ("Two(), X", "*If item 1 is the loss: step=lambda model, batch: model(*batch)[1]"),
    "loss is a word": ("net(), X, 'mse'", "*loss must be callable, got 'mse'"),
    "step is a number": ("net(), X, None, 3", "*step must be callable, got 3"),
    "unknown limit": ("net(), X, square, max_raito=3", "*there is no limit 'max_raito'; did you mean 'max_ratio'? allowed: *"),
    "bad limit": ("net(), X, square, max_ratio=-3", "*max_ratio=-3 is out of range: it must be a number of at least 1"),
    "bad setting": ("net(), X, square, max_batches=0", "*max_batches=0 must be a whole number of at least 1"),
    "bad device": ("net(), X, square, device='gpu'", "*device='gpu' must be one of auto, *"),
    "unknown limit of a layer": (
        "net(), X, square, layers={'0': {'max_rato': 1}}",
        "*layers['0']: there is no limit 'max_rato'; did you mean 'max_ratio'*",
    ),
    "contradiction": ("net(), X, square, min_norm=2, max_norm=1", "*min_norm=2 is above max_norm=1: no layer can meet both"),
    "integer batch": ("net(), torch.ones(4, 3, dtype=torch.long), square", "*the batch is int64 and the model float32: convert *"),
    "double batch": ("net(), X.double(), square", "*the batch is float64 and the model float32: convert one of them"),
    "half model": ("net().bfloat16(), X.half(), square", "*the batch is float16 and the model bfloat16: convert one of them"),
    "wrong shape": ("net(), torch.ones(4, 5), square", "*gradhealth: raised by Sequential on batch 0 of 1, on cpu"),
    "second batch": ("net(), [(X,), (torch.ones(4, 5),)], square", "*gradhealth: raised by Sequential on batch 1 of 2, on cpu"),
    "a model that raises": ("Raises(), X, square", "*RuntimeError: out of cheese"),
}  # fmt: skip


def _needs_limits(case: str, method: str) -> bool:
    """``measure`` takes none."""
    return method == "measure" and any(word in BAD[case][0] for word in ("max_r", "max_n", "layers="))


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize(
    ("case", "method"),
    [(case, method) for case in BAD for method in ("check", "measure") if not _needs_limits(case, method)],
)
def test_bad_input_is_a_clear_error_of_its_test(project: pytest.Pytester, case: str, method: str) -> None:
    arguments, message = BAD[case]
    project.makepyfile(f"{HEADER}    gradhealth.{method}({arguments})\n\ndef test_next():\n    pass\n")
    result = project.runpytest("-Wignore")
    result.assert_outcomes(failed=1, passed=1)
    text = result.stdout.str()
    assert f">       gradhealth.{method}({arguments})" in result.outlines
    assert any(_matches(line, message) for line in result.outlines)
    assert "INTERNALERROR" not in text
    assert "pytest_gradhealth/" not in text


def _matches(line: str, pattern: str) -> bool:
    from fnmatch import fnmatchcase

    return line.startswith("E ") and fnmatchcase(line, pattern.replace("[", "[[]"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("net(), X, lambda out: out.sum().detach()", "*E *GradientHealthError: GH105 detached layer in Sequential: *"),
        ("net(), X, None, no_grad", "*E *GradientHealthError: GH105 detached layer in Sequential: *"),
        (
            "net(), X, lambda out: out.sum() * float('nan')",
            "*E *GradientHealthError: GH301 non-finite gradient in Sequential: *",
        ),
        ("net(), X * float('inf'), square", "*E *GradientHealthError: GH301 non-finite gradient in Sequential: *"),
    ],
    ids=["loss without grad", "no_grad", "NaN loss", "infinite data"],
)
def test_what_can_be_measured_but_not_trained_is_a_finding(
    project: pytest.Pytester, arguments: str, message: str
) -> None:
    project.makepyfile(f"{HEADER}    gradhealth.check({arguments})\n")
    result = project.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([message])


def test_an_error_in_the_users_data_shows_the_users_code_only(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        from small_nets import *

        def batches():
            yield X
            raise OSError("disk on fire")

        def test_it(gradhealth):
            gradhealth.check(net(), batches(), square)
        """
    )
    result = project.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([">       gradhealth.check(net(), batches(), square)", "E       OSError: disk on fire"])
    assert "pytest_gradhealth/" not in result.stdout.str()


def test_a_loss_that_fails_shows_the_users_line_and_not_the_pages_of_torch(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import torch.nn.functional as F
        from small_nets import *

        def chosen(output, target):
            return F.cross_entropy((output,), target)

        def test_function(gradhealth):
            gradhealth.check(net(), (X, X), chosen)

        def test_of_torch(gradhealth):
            gradhealth.check(net(), (X, torch.zeros(3, 3, 3)), F.cross_entropy)
        """
    )
    result = project.runpytest()
    result.assert_outcomes(failed=2)
    text = result.stdout.str()
    assert "Compute the cross entropy loss" not in text
    result.stdout.fnmatch_lines([">       return F.cross_entropy((output,), target)", "E       TypeError: *"])
    result.stdout.fnmatch_lines([">       gradhealth.check(net(), (X, torch.zeros(3, 3, 3)), F.cross_entropy)"])
    result.stdout.fnmatch_lines(["E       gradhealth: raised by the loss cross_entropy, given output = *"])


def test_the_short_summary_begins_with_what_is_wrong(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    project.makepyfile(test_a=f"{HEADER}    gradhealth.check(net(), X, square, min_rech=1)\n")
    project.runpytest().stdout.fnmatch_lines(["FAILED *::test_it - there is no limit*"])


def test_an_error_in_the_backward_pass_says_where_it_came_from(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        from small_nets import *

        class Broken(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x * 2

            @staticmethod
            def backward(ctx, gradient):
                raise RuntimeError("no way back")

        def test_it(gradhealth):
            gradhealth.check(net(), X, lambda out: Broken.apply(out).sum())
        """
    )
    result = project.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*no way back", "E*gradhealth: raised by Sequential on batch 0 of 1, on cpu"])


def test_a_step_that_goes_back_itself_says_so(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        from small_nets import *

        def step(model, batch):
            loss = square(model(batch))
            loss.backward()
            return loss

        def test_it(gradhealth):
            gradhealth.check(net(), X, step=step)
        """
    )
    result = project.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*step must return the loss and leave loss.backward() to the plugin*"])


def test_a_failed_check_shows_the_users_line_and_the_verdict_first(project: pytest.Pytester) -> None:
    project.makepyfile(f"{HEADER}    gradhealth.check(net(), X, square, max_norm=1e-9)\n")
    result = project.runpytest("-rf")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            ">       gradhealth.check(net(), X, square, max_norm=1e-9)",
            "E       pytest_gradhealth.GradientHealthError: GH702 large gradient norm in Sequential: *above max_norm=1e-09*",
            "E *layer *kind *",
        ]
    )
    assert "pytest_gradhealth/" not in result.stdout.str()


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        (
            "def pytest_gradhealth_metadata(check): return {'when': object()}",
            "*TypeError: <object object at *> is neither *",
        ),
        ("def pytest_gradhealth_rules(record, limits): return 3", "*TypeError: *"),
        ("def pytest_gradhealth_columns(record): return {'a': 3}", "*"),
        (
            "def pytest_gradhealth_step(model, batch): return 3",
            "*the hook pytest_gradhealth_step must return the loss *",
        ),
    ],
    ids=["metadata", "rules", "columns", "step"],
)
def test_an_extension_that_returns_junk_is_an_error_of_the_test(
    project: pytest.Pytester, hook: str, message: str
) -> None:
    project.makeconftest(hook)
    loss = "" if "step" in hook else ", square"
    project.makepyfile(f"{HEADER}    gradhealth.check(net(), X{loss})\n\ndef test_next():\n    pass\n")
    result = project.runpytest("--gradhealth-report")
    result.assert_outcomes(failed=1, passed=1)
    assert any(_matches(line, "E" + message) for line in result.outlines)
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()
