"""GH407: inputs that are far from the scale that initialisations are made for."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.judge.families import UNSCALED
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.judge.wording import UNEVEN
from pytest_gradhealth.record import Finding, ModelInput

__all__ = ["RULE", "find"]

PIXELS, BRIGHT = 255, 128
"""Largest value of a pixel, and the largest in a batch from which whole numbers are raw pixels."""
IMAGE, COLOURS = 4, (1, 3, 4)
"""Dimensions and channels of a batch of images."""
FLAT, PICTURE = 2, 256
"""Dimensions of a batch of images that are flattened, and the fewest pixels of one."""
HALF = 0.5
"""Share of an input's size from which it comes to the first module as it is."""
LARGE = 1000
"""Size of the largest feature from which it is reported by itself."""

RULE = Rule(
    code="GH407",
    slug="unscaled-input",
    title="unscaled input",
    summary="The model is given raw pixels, or one feature far larger than the others, and nothing normalises them.",
    family=UNSCALED,
    leads=True,
    theory="""\
Initialisations keep the scale of what they are given (Glorot & Bengio, 2010; He et al., 2015), so they need inputs of
mean 0 and deviation 1. Inputs of 0 to 255 make the loss and its gradients as many times too steep; a feature a thousand
times as large as the others leaves these without effect (LeCun et al., 1998, section 4.3). A normalisation as the first
module takes care of both.

Only clear cases are reported: whole numbers up to 255 in a batch of images, and a feature that is 100 times as large as
the median feature and beyond 1,000.""",
    remedies=(
        "Scale pixels: `x / 255`, or `torchvision.transforms.v2.ToDtype(torch.float32, scale=True)`.",
        "Standardise each feature: subtract its mean and divide by its deviation.",
        "Put a normalisation in front: `nn.BatchNorm1d(features)`.",
    ),
    sick="""\
model = lambda: nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
batch = torch.rand(16, 4) * torch.tensor([1.0, 1.0, 1.0, 20_000.0]), torch.randint(3, (16,))
loss = F.cross_entropy
""",
    healthy="""\
model = lambda: nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
batch = torch.rand(16, 4), torch.randint(3, (16,))
loss = F.cross_entropy
""",
)


def find(view: View) -> Iterator[Finding]:
    """The first input that is out of scale, where no normalisation comes first."""
    first = view.leaves[0] if view.leaves else None
    if first is None or view.normalises_input or not view.limits.judges(first.name):
        return
    for given in view.record.inputs:
        if first.input_peak < HALF * max(-given.low, given.high):
            continue  # the model scales it by itself
        told = _pixels(given) or _feature(given)
        if told:
            message, cause, remedy = told
            yield RULE.finding([first.name], message, value=given.high, cause=cause, remedy=remedy)
            return


def _pixels(given: ModelInput) -> tuple[str, str, str] | None:
    images = len(given.shape) == IMAGE and given.shape[1] in COLOURS
    flattened = len(given.shape) == FLAT and given.shape[1] >= PICTURE
    if not ((images or flattened) and given.whole and given.low >= 0 and BRIGHT < given.high <= PIXELS):
        return None
    message = f"input {given.name} holds whole numbers from {given.low:.0f} to {given.high:.0f}"
    return message, "raw pixels reach the first layer", "scale them: x / 255, or to mean 0 and deviation 1"


def _feature(given: ModelInput) -> tuple[str, str, str] | None:
    peak = max(-given.low, given.high)
    if given.feature is None or given.feature_scale < UNEVEN or peak < LARGE:
        return None
    message = (
        f"feature {given.feature} of input {given.name} is {given.feature_scale:.0f} times as large as the median "
        f"feature, and reaches {peak:.3g}"
    )
    return (
        message,
        "that feature drowns the others",
        "standardise each feature: subtract its mean, divide by its deviation",
    )
