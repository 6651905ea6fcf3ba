"""GH601: parameters are trained that the model does not list."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.errors import counted
from pytest_gradhealth.judge.families import UNREGISTERED
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.judge.wording import Explanation
from pytest_gradhealth.record import Finding, UnregisteredParameter, path_of, short_place

__all__ = ["RULE", "find"]

RULE = Rule(
    code="GH601",
    slug="unregistered-parameter",
    title="unregistered parameters",
    summary="Parameters that receive a gradient are not in model.parameters(), so no optimiser updates them.",
    family=UNREGISTERED,
    when_silenced=True,
    theory="""\
torch finds parameters in attributes that are a `Parameter` or a `Module` ([PyTorch:
Module](https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html)). Layers in a plain list or dict, a
tensor with `requires_grad` that is no `Parameter` (`nn.Parameter(...).to(device)` is none), and a layer that `forward`
makes anew each time receive a gradient and belong to no optimiser. What is frozen, or runs under `no_grad` (a teacher
hidden on purpose), is left alone.""",
    remedies=(
        "Use `nn.ModuleList`, `nn.ModuleDict`, `nn.ParameterList` or `nn.Parameter`.",
        "Create layers in `__init__`, not in `forward`.",
    ),
    sick="""\
class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = [nn.Linear(8, 16), nn.Linear(16, 16)]
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        for layer in self.hidden:
            x = layer(x).relu()
        return self.head(x)

model = Network
batch = torch.randn(32, 8), torch.randint(4, (32,))
loss = F.cross_entropy
""",
    healthy="""\
class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.ModuleList([nn.Linear(8, 16), nn.Linear(16, 16)])
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        for layer in self.hidden:
            x = layer(x).relu()
        return self.head(x)

model = Network
batch = torch.randn(32, 8), torch.randint(4, (32,))
loss = F.cross_entropy
""",
)


def find(view: View) -> Iterator[Finding]:
    """Parameters that receive a gradient in a model that does not list them."""
    unregistered = [found for found in view.record.unregistered if view.limits.judges(found.module)]
    if not unregistered:
        return
    first, *others = unregistered
    more = f" (and in {counted(len(others), 'other place')})" if others else ""
    yield RULE.finding(
        dict.fromkeys(found.module for found in unregistered),
        f"{_holder(first)} has {counted(first.parameters, 'parameter')} that model.parameters() does not list, so no "
        f"optimiser updates them{more}",
        value=float(sum(found.parameters for found in unregistered)),
        **_explanation(first),
    )


def _holder(found: UnregisteredParameter) -> str:
    """What holds parameters that the model does not list."""
    if found.where:
        return f"the {found.name} that {found.module or 'the model'!r} creates in its forward pass"
    return repr(path_of(found.module, found.name))


def _explanation(found: UnregisteredParameter) -> Explanation:
    """Made anew each time, or held where torch does not look."""
    if found.where:
        cause = f"{found.name} is created anew at {short_place(found.where)} in each forward pass"
        remedy = "create it once, in __init__, as an attribute of the module"
        return Explanation(cause=cause, remedy=remedy, where=found.where)
    cause = f"{found.name!r} is a plain attribute: torch finds parameters in Parameters and Modules only"
    remedy = (
        "use nn.ModuleList, nn.ModuleDict, nn.ParameterList or nn.Parameter, without .to() behind it; or "
        "requires_grad_(False)"
    )
    return Explanation(cause=cause, remedy=remedy)
