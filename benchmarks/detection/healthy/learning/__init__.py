"""Ways to train that belong to no field: self-supervision, metrics, adaptation, further objectives."""

from . import adaptation, metric, objectives, selfsupervised

MODULES = (
    adaptation,
    metric,
    objectives,
    selfsupervised,
)
