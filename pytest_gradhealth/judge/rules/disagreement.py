"""GH802: devices or precisions disagree; found in ``judge/disagreement.py``."""

from __future__ import annotations

from pytest_gradhealth.judge.families import DISAGREEMENT
from pytest_gradhealth.judge.rule import Limit, Rule

__all__ = ["MAX_DISAGREEMENT", "RULE"]

MAX_DISAGREEMENT = Limit(
    "max_disagreement", 100.0, 0, None, "FACTOR", "Largest difference between devices or precisions, in roundings"
)
RULE = Rule(
    code="GH802",
    slug="disagreement",
    title="devices or precisions disagree",
    summary="A layer's gradient differs between devices or precisions by more than rounding explains.",
    family=DISAGREEMENT,
    limits=(MAX_DISAGREEMENT,),
    theory="""\
A model that is checked on several devices (`--gradhealth-device all`) or in several precisions (`dtypes=[...]`) is
compared with the first of them, layer by layer. The unit of the limit is the relative rounding error of one
operation in the coarser of the two: 2^-8 in bfloat16, 2^-11 in float16 and TF32. Gradients below a thousandth of
the largest are left out, and so are models whose gradients differ as much with another seed. The layer named first
is the one where it begins: the first whose output differs, else the last whose gradient does.""",
    remedies=(
        "Compute there in float32: `with torch.autocast(device, enabled=False)`.",
        "Keep sums, normalisations and exponentials in float32.",
    ),
)
